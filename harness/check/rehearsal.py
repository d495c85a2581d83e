"""What a run does with a node, done once before: so that what is called fit has carried it out.

A run needs from each node: commands that read standard input (plans), files put in place, read and listed, and a folder
of its own. All nodes are asked at once and stay connected, as in a run. Only fetching may take another way, and does
without where that is refused.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from harness import shell
from harness.errors import PreflightError
from harness.planning import remote_base

if TYPE_CHECKING:
    from harness.configuration.cluster import ClusterConfig
    from harness.remote import Remote

_GUARD: Final = "case $- in *i*) ;; *) return;; esac"
_NOT_WRITABLE: Final = 3  # exit code of our own


def hear(remote: Remote) -> None:
    """Raise PreflightError unless a command gets the standard input that is sent to it, all of it."""
    sent = f"{secrets.token_hex(16)}\n"
    got = remote.ask("cat", stdin=sent.encode())
    if got != sent:
        what = "nothing of it" if not got else f"{len(got)} of {len(sent)} characters"
        advice = f"let a .bashrc read only where somebody types: begin it with `{_GUARD}`"
        why = f"it got {what}: its login shell reads it first"
        raise PreflightError(f"{remote.id}: expected a command to get its standard input, {why}; {advice}")


def use_files(remote: Remote, cluster: ClusterConfig) -> None:
    """Put a file in place, read and list it, with a command in between; leave nothing. Raises what a run would."""
    base = remote_base(cluster)
    folder, name, content = f"{base}/cache", f".rehearsal-{secrets.token_hex(8)}", secrets.token_bytes(64)
    path = f"{folder}/{name}"
    remote.write(path, content, 0o600)
    try:
        seen = remote.ask(f"wc -c < {shell.path(path)}").strip()
        read, names = remote.read(path), remote.list(folder)
    finally:
        remote.ask(f"rm -f {shell.path(path)}")
    if seen != str(len(content)) or read != content or names is None or names.get(name) != len(content):
        why = "a file that was put there is not the same for commands and for SFTP; do both see the same home?"
        raise PreflightError(f"{remote.id}: {folder}: {why}")
    runs = shell.path(f"{base}/runs")
    look = f"d={runs}; [ -e $d ] || d={shell.path(base)}; [ -d $d ] && [ -w $d ] && [ -x $d ] || exit {_NOT_WRITABLE}"
    if remote.run(look).exit_code == _NOT_WRITABLE:
        advice = "give it to the user who logs in, or set remote_base in the cluster file"
        wanted = f"expected {base}/runs to be a folder that can be written, it cannot"
        raise PreflightError(f"{remote.id}: {wanted}; {advice}")
