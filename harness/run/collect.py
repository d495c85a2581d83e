"""Bringing the nodes' files home, verified; nothing at home is ever made worse.

A node writes SHA256SUMS over its own files, everything is copied beside its final place and checked there, and only a
set that contains what is already at home replaces it.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import CollectionError, HarnessError, NothingRecordedError, UnreachableError
from harness.planning import run_dir
from harness.results import RunFolder, told_of_disk
from harness.run.assembly import assemble
from node_agent.contract.plan import KEY_FILE
from node_agent.contract.records import CHECKSUMS_FILE, STATUS_FILE, NodeStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.agent import Agent
    from harness.cluster import Cluster
    from harness.remote import Remote

_NOT_DATA: Final = {CHECKSUMS_FILE, STATUS_FILE}  # these change as a whole; everything else is append-only


def collect(cluster: Cluster, agent: Agent, folder: RunFolder, delays_s: Sequence[float]) -> dict[str, HarnessError]:
    """Bring every node's files home, assemble them, and note both in the manifest (unsaved).

    Returns, by node, what went wrong: a node that cannot be collected does not keep the others from it. One that cannot
    be reached, but of which all is at home, is complete.
    """
    answers = cluster.each(lambda remote: _collect_node(cluster, remote, agent, folder))
    for node_id, how in answers.ok.items():
        folder.manifest.nodes[node_id].collected_by = how
    verify(folder)
    assemble(folder, delays_s)
    return {node_id: error for node_id, error in answers.failed.items() if not _whole(folder, node_id, error)}


def _whole(folder: RunFolder, node_id: str, error: HarnessError) -> bool:
    """Tell whether a node out of reach has nothing more to give: its agent had ended, and all of it is at home."""
    node = folder.manifest.nodes[node_id]
    ended = node.status is not None and node.status["outcome"] is not None
    return isinstance(error, UnreachableError) and node.checksums_verified and ended


def verify(folder: RunFolder) -> dict[str, str]:
    """Check what is at home against the nodes' checksums, note it in the manifest (unsaved), return what is wrong."""
    wrong = {}
    for node_id, node in folder.manifest.nodes.items():
        try:
            verify_checksums(folder.raw(node_id))
            node.checksums_verified = True
        except CollectionError as error:
            node.checksums_verified = False
            wrong[node_id] = f"{node_id}: {error}"
        status = folder.raw(node_id) / STATUS_FILE
        if status.is_file():
            with contextlib.suppress(ValueError, TypeError):  # torn by a crash: the last good one is kept
                node.status = asdict(NodeStatus.from_json(status.read_text(encoding="utf-8")))
    return wrong


def verify_checksums(folder: Path) -> None:
    """Raise CollectionError unless every file that ``folder/SHA256SUMS`` lists is there with that content."""
    sums = folder / CHECKSUMS_FILE
    if not sums.is_file():
        raise CollectionError(f"expected {CHECKSUMS_FILE} from the node, got none")
    for line in sums.read_text(encoding="ascii").splitlines():
        expected, _, name = line.partition("  ")
        if not name or "/" in name:
            raise CollectionError(f"{CHECKSUMS_FILE}: expected 'hash  name', got {line!r}")
        path = folder / name
        if not path.is_file():
            raise CollectionError(f"{name}: expected it beside {CHECKSUMS_FILE}, got none")
        with path.open("rb") as file:
            got = hashlib.file_digest(file, "sha256").hexdigest()
        if got != expected:
            raise CollectionError(f"{name}: expected sha256 {expected[:16]}..., got {got[:16]}...; damaged on the way")


def accept(staged: Path, home: Path) -> None:
    """Move a verified set of files into its place, unless it lacks something that is there already.

    Raises CollectionError, leaving ``home`` as it was, if a file at home is not a beginning of the new one.
    """
    if home.is_dir():
        for old in sorted(home.iterdir()):
            if old.is_file() and old.name not in _NOT_DATA and not _begins(old, staged / old.name):
                raise CollectionError(f"{old.name}: the node lacks what was collected before; kept that, took nothing")
    home.mkdir(parents=True, exist_ok=True)
    # The sums go last: until then the old ones tell that something is amiss.
    for new in sorted(staged.iterdir(), key=lambda path: path.name == CHECKSUMS_FILE):
        new.replace(home / new.name)


def _collect_node(cluster: Cluster, remote: Remote, agent: Agent, folder: RunFolder) -> str:
    """Bring one node's files home, verified; return how they came."""
    there, home = run_dir(cluster.config, folder.name, remote.id), folder.raw(remote.id)
    if not any(name.endswith(".csv") for name in remote.list(there) or {}):
        return _kept(remote.id, folder, home)
    agent.checksum(remote, there)
    with told_of_disk(home):
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=f".{remote.id}-") as scratch:
            staged = Path(scratch)
            how = remote.fetch(there, staged, without=(KEY_FILE,))
            try:
                verify_checksums(staged)
                accept(staged, home)
            except CollectionError as error:
                raise CollectionError(f"{remote.id}: {error}") from None
    return how


def _kept(node_id: str, folder: RunFolder, home: Path) -> str:
    """Return how the node came home earlier, if all of it did: it has nothing more to give (``fab clean``)."""
    try:
        verify_checksums(home)
    except CollectionError as error:
        if any(home.glob("*.csv")):
            raise CollectionError(f"{node_id}: nothing is left there, and at home: {error}") from None
        raise NothingRecordedError(f"{node_id}: nothing was recorded there") from None
    return folder.manifest.nodes[node_id].collected_by or "an earlier collection"


def _begins(old: Path, new: Path) -> bool:
    """Return whether the file ``new`` starts with all of ``old``."""
    if not new.is_file() or new.stat().st_size < old.stat().st_size:
        return False
    with old.open("rb") as kept, new.open("rb") as fetched:
        while chunk := kept.read(1 << 20):
            if fetched.read(len(chunk)) != chunk:
                return False
    return True
