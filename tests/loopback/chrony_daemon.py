"""A real chronyd of a test's own, which sets no clock."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from agents import free_port
from awaiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "127.0.66.90"


@contextlib.contextmanager
def chronyd(folder: Path, *directives: str, host: str = HOST) -> Iterator[tuple[str, str]]:
    """Run a chronyd that sets no clock; yield where it serves time and its command socket."""
    folder.mkdir(mode=0o700)
    port = free_port(host)
    lines = [*directives, f"bindaddress {host}", f"port {port}", "allow 127.0.0.0/8", "cmdport 0", "user root"]
    lines += [f"bindcmdaddress {folder}/command", f"pidfile {folder}/pid"]
    (folder / "conf").write_text("\n".join(lines) + "\n")
    argv = ["chronyd", "-x", "-d", "-f", str(folder / "conf")]
    with (folder / "log").open("w") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            until((folder / "command").exists, f"chronyd's socket; it says {(folder / 'log').read_text()}")
            yield f"{host}:{port}", f"{folder}/command"
        finally:
            process.terminate()


def follow(upstream: str) -> str:
    host, port = upstream.split(":")
    return f"server {host} port {port} iburst minpoll -2"
