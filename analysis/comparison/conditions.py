"""What else differs between two sets of runs than what is measured: code, machines, configuration."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from analysis.run.load import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analysis.comparison.runs import MeasuredRun
    from node_agent.contract.records import Manifest

# What is another one in every run, and no condition: free ports, keys and instants of a test cluster, and the seed and
# the verdicts that a simulated run is to have.
CHANCE: Final = re.compile(
    r"(.*\.)?(port|epoch_ns|known_hosts_file|identity_file|user)|cluster\.(ntp|chronotick)_server.*"
    r"|scenario\.(seed|expected\..*)"
)
OF_A_NODE: Final = ("hostname", "kernel", "python", "clock_source")
LONGEST: Final = 60
NOTHING: Final = "nothing"


def differences(a: Sequence[MeasuredRun], b: Sequence[MeasuredRun]) -> list[str]:
    """Return a line for each thing that no run of A has as any run of B has it; and for what varies within a side."""
    first, second = _values(a), _values(b)
    lines = []
    for key in dict.fromkeys([*first, *second]):
        of_a, of_b = first.get(key, {NOTHING}), second.get(key, {NOTHING})
        if not of_a & of_b:
            lines.append(f"{key}: {_shown(of_a)} in A, {_shown(of_b)} in B")
        elif of_a != of_b or len(of_a) > 1:
            lines.append(f"{key}: {_shown(of_a)} in A, {_shown(of_b)} in B: not the same in all runs of a side")
    return lines


def _values(runs: Sequence[MeasuredRun]) -> dict[str, set[str]]:
    told = [dict(_told(run.manifest)) for run in runs]
    keys = dict.fromkeys(key for of_run in told for key in of_run)
    return {key: {of_run.get(key, NOTHING) for of_run in told} for key in keys}


def _if_told(name: str, digest: object) -> Iterator[tuple[str, str]]:
    if digest:
        yield name, str(digest)[:12]


def _told(manifest: Manifest) -> Iterator[tuple[str, str]]:
    code = manifest.code_version
    if code.get("source_sha256"):  # which tells whether code differs; other files change a commit, or make it "changed"
        of = "the simulation's sources" if manifest.cluster == SIMULATED else "the sources"  # of which those are some
        yield f"code (sha256 of {of})", str(code["source_sha256"])[:12]
        yield from _if_told("commit", code.get("git"))
    else:
        yield "code", str(code.get("git"))[:12] + (" (changed)" if code.get("dirty") else "")
    yield from _if_told("agent", code.get("agent_sha256"))
    yield "cluster", manifest.cluster
    for node_id, node in manifest.nodes.items():
        for name in OF_A_NODE:
            if (value := (node.status or {}).get(name)) is not None:
                yield f"{node_id}.{name}", str(value)
    for key, value in _flat(manifest.config):
        if not CHANCE.fullmatch(key):
            yield key, value


def _flat(data: Any, key: str = "") -> Iterator[tuple[str, str]]:
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else None
    if children is None:
        yield key, NOTHING if data in {None, ""} else str(data)
        return
    for name, value in children:
        yield from _flat(value, f"{key}.{name}" if key else str(name))


def _shown(values: set[str]) -> str:
    text = " or ".join(sorted(values))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(values)})"
