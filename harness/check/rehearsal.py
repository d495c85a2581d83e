"""What a run does with a node's SSH, done once before: so that what is called fit has carried it out.

A run needs from each node, through its one connection: commands that read standard input (plans), files put in place,
read and listed by SFTP (held open meanwhile, by the shell where there is none), and a folder of its own. All nodes are
asked at once and stay connected, as in a run. Only rsync logs in anew; where that is refused, SFTP does its work.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from harness.errors import PreflightError
from harness.planning import remote_base
from harness.ssh import shell

if TYPE_CHECKING:
    from harness.configuration.experiment import ClusterConfig
    from harness.ssh.host import Host

_GUARD: Final = "case $- in *i*) ;; *) return;; esac"
_NOT_WRITABLE: Final = 3  # exit code of our own


def hear(host: Host) -> None:
    """Raise PreflightError unless a command gets the standard input that is sent to it, all of it."""
    sent = f"{secrets.token_hex(16)}\n"
    got = host.ask("cat", stdin=sent.encode())
    if got != sent:
        what = "nothing of it" if not got else f"{len(got)} of {len(sent)} characters"
        advice = f"let a .bashrc read only where somebody types: begin it with `{_GUARD}`"
        told = "its login shell reads it first"
        raise PreflightError(
            f"{host.id}: expected a command to get its standard input, it got {what}: {told}; {advice}"
        )


def use_files(host: Host, cluster: ClusterConfig) -> None:
    """Put a file in place, read and list it, with a command in between; leave nothing. Raises what a run would."""
    base = remote_base(cluster)
    folder, name, content = f"{base}/cache", f".rehearsal-{secrets.token_hex(8)}", secrets.token_bytes(64)
    path = f"{folder}/{name}"
    host.write(path, content, 0o600)
    try:
        seen = host.ask(f"wc -c < {shell.path(path)}").strip()
        read, names = host.read(path), host.list(folder)
    finally:
        host.ask(f"rm -f {shell.path(path)}")
    if seen != str(len(content)) or read != content or names is None or names.get(name) != len(content):
        told = "a file that was put there is not the same for commands and for SFTP; do both see the same home?"
        raise PreflightError(f"{host.id}: {folder}: {told}")
    runs = shell.path(f"{base}/runs")
    look = f"d={runs}; [ -e $d ] || d={shell.path(base)}; [ -d $d ] && [ -w $d ] && [ -x $d ] || exit {_NOT_WRITABLE}"
    if host.run(look).exit_code == _NOT_WRITABLE:
        advice = "give it to the user who logs in, or set remote_base in the cluster file"
        raise PreflightError(f"{host.id}: expected {base}/runs to be a folder that can be written, it cannot; {advice}")
