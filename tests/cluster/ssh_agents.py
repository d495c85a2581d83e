"""An ssh-agent of the test's own, asked only once it answers."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def ssh_agent(path: Path) -> Iterator[None]:
    """Run an ssh-agent at a socket until the block ends.

    The agent announces itself after it listens. Its socket has a name before that, when a connection is still refused.

    Args:
        path: Where its socket shall be.
    """
    with subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        try:
            assert agent.stdout.readline().startswith("SSH_AUTH_SOCK=")
            yield
        finally:
            agent.terminate()
            agent.wait(10)
    path.unlink(missing_ok=True)
