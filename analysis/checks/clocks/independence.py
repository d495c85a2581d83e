"""What is not independent in a run: nodes of one machine, an NTP server that nothing checks, a clock fed by another.

None of it is wrong, and most runs have some of it. But a reader who does not know takes one error for several that
agree, so each is a line in the report's head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.by_event import scopes
from analysis.checks.finding import NOTE, WARNING, Finding, some
from node_agent.clocks.sources import BY_NAME, KINDS
from node_agent.contract.records import NTP, OK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.run.load import Run

ONE_BOOT: Final = "one-boot"
ONE_SERVER: Final = "one-ntp-server"
FED: Final = "fed-by-source"
CODES: Final = frozenset({ONE_BOOT, ONE_SERVER, FED})


def find(run: Run) -> Iterator[Finding]:
    """Yield what several numbers of the run have in common."""
    yield from _boots(run)
    yield from _servers(run)
    yield from _fed(run)


def _boots(run: Run) -> Iterator[Finding]:
    """Find nodes of one boot of one machine: meant so in an embedded cluster and on the testbed, else a mistake."""
    nodes: dict[str, list[str]] = {}
    for node_id, node in run.manifest.nodes.items():
        if boot_id := (node.status or {}).get("boot_id"):
            nodes.setdefault(str(boot_id), []).append(node_id)
    cluster = run.manifest.config.get("cluster") or {}
    meant = bool(cluster.get("embedded") or cluster.get("testbed"))
    for together in nodes.values():
        if len(together) > 1:
            why = "as on any test cluster" if meant else "and the cluster file does not say so"
            text = (
                f"{some(together)} ran on one machine (one boot id), {why}: they share its oscillator and its "
                "load, and no packet between them crossed a network"
            )
            yield Finding(ONE_BOOT, NOTE if meant else WARNING, "", "", text, {"nodes": together})


def _servers(run: Run) -> Iterator[Finding]:
    """Find nodes whose one NTP server is the one under test: if it is wrong, nothing outvotes it."""
    nodes: dict[str, list[str]] = {}
    for node_id, frame in run.samples.items():
        if "server" in frame:
            servers = frame.loc[frame["source"] == NTP, "server"].dropna().unique().tolist()
            if len(servers) == 1:
                nodes.setdefault(str(servers[0]), []).append(node_id)
    for server, alone in nodes.items():
        text = (
            f"{some(alone)} asked no other NTP server than {server}, which is under test: its own error is in all "
            "their readings of NTP alike, and nothing outvotes it"
        )
        yield Finding(ONE_SERVER, NOTE, "", NTP, text, {"server": server, "nodes": alone})


def _fed(run: Run) -> Iterator[Finding]:
    """Find sources that answer from another source's samples: what errs there errs here."""
    for kind in KINDS:
        nodes: list[str] = []
        servers: set[str] = set()
        for node_id, frame in run.samples.items():
            if not kind.fed_by or not {"server", "scope"} <= set(frame.columns):
                continue
            good = frame[frame["outcome"] == OK]
            own = good[(good["source"] == kind.name) & (good["scope"] == scopes.NODE)]
            fed = good.loc[good["source"] == kind.fed_by, "server"].dropna()
            if len(own) and len(fed):
                nodes.append(node_id)
                servers |= set(fed)
        if nodes:
            text = (
                f"{kind.label} is given the answers of {some(sorted(servers))}, which {BY_NAME[kind.fed_by].label} is "
                f"read from, too ({some(nodes)}): an error in them is in both, and that the two agree proves neither"
            )
            yield Finding(FED, NOTE, "", kind.name, text, {"fed_by": kind.fed_by, "nodes": nodes})
