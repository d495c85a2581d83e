"""Checks on whether a run adds up: the workers against the send log, the agents' counts against their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.checks.contract import ties
from analysis.checks.contract.tables import ERROR, WARNING, Problem, read
from analysis.checks.finding import ids
from analysis.run import load, payload_stamps
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pandas as pd


def check_status(
    node_id: str, node: records.NodeManifest, manifest: records.Manifest, tables: Mapping[str, pd.DataFrame]
) -> Iterator[Problem]:
    """Compare what the agent counted with what is in its table."""
    where = f"{records.MANIFEST_FILE} {node_id}"
    if not node.status:
        yield Problem(WARNING, where, "no status of this node")
        return
    if node.status.get("run_id") != manifest.run_id:
        yield Problem(
            ERROR, where, f"status of another run: expected {manifest.run_id}, got {node.status.get('run_id')}"
        )
    if node.status.get("phase") != records.FINISHED or node.status.get("outcome") != records.FINISHED_OK:
        detail = f" ({node.status['detail']})" if node.status.get("detail") else ""
        text = f"the agent ended {node.status.get('phase')}, {node.status.get('outcome')}{detail}"
        yield Problem(WARNING, where, text)
    counts: dict[str, Any] = node.status.get("counts") or {}
    key = "sent" if node.role == "coordinator" else "received"
    if node_id in tables and key in counts and counts[key] != len(tables[node_id]):
        yield Problem(
            ERROR, where, f"the agent counted {counts[key]:,} {key}, its table has {len(tables[node_id]):,} rows"
        )
    for prefix in records.SOURCE_PREFIXES:
        column, name = f"{prefix}_status", f"{prefix}_unavailable"
        if node_id in tables and name in counts and column in tables[node_id]:
            statuses = tables[node_id][column]
            gone = int((~statuses.isin([records.OK, records.NOT_CONFIGURED])).sum())
            if gone != counts[name]:
                text = f"the agent counted {counts[name]:,} {name}, its table has {gone:,}"
                yield Problem(ERROR, where, text)


def check_sends(
    path: Path,
    coordinator: str,
    tables: Mapping[str, pd.DataFrame],
    roles: Mapping[str, str],
    manifest: records.Manifest | None,
    pairs: pd.DataFrame | None,
) -> Iterator[Problem]:
    """Compare the workers' events with the send log, and the send log with the coordinator's table.

    ``pairs`` are the coordinator's clock pairs.
    """
    sent = tables[coordinator]
    if "event_id" not in sent:
        return
    broadcast = set(sent["event_id"].dropna())
    problems: list[Problem] = []
    sends_file = path / records.RAW_DIR / coordinator / records.SENDS_FILE
    sends = read(sends_file.parent, sends_file.name, problems) if sends_file.is_file() else None
    yield from problems
    if sends is not None and not {"event_id", "worker_id", "send_time_ns", "error"} <= set(sends.columns):
        yield Problem(
            ERROR, str(sends_file.relative_to(path)), f"expected the columns {', '.join(records.SENDS_COLUMNS)}"
        )
        sends = None
    if sends is not None:
        yield from _send_log(str(sends_file.relative_to(path)), sends, sent, roles)
        yield from ties.check_send_times(str(sends_file.relative_to(path)), sends, sent)
    yield from ties.check_payloads(tables, roles)
    logged = payload_stamps.of(sent, pairs) if "send_time_ns" in sent else None
    least = None if manifest is None else load.min_received_share(manifest)
    for node_id, table in tables.items():
        if roles[node_id] == "coordinator" or "event_id" not in table:
            continue
        name = records.worker_file(node_id)
        received = set(table["event_id"].dropna())
        addressed = broadcast
        if sends is not None:
            good = sends[(sends["worker_id"] == node_id) & sends["error"].isna()]
            addressed = set(good["event_id"].dropna())
        if strangers := received - addressed:
            text = f"{len(strangers):,} events the coordinator did not send here ({ids(strangers)})"
            yield Problem(ERROR, name, text)
        if missing := addressed - received:
            share = 1 - len(missing) / len(addressed)
            degraded = f", less than the {least:.0%} wanted" if least is not None and share < least else ""
            text = f"{len(missing):,} of {len(addressed):,} events are missing{degraded} ({ids(missing)})"
            yield Problem(WARNING, name, text)
        if logged is not None and "coordinator_send_time_ns" in table:
            yield from _payload_stamps(name, logged.judge(table["event_id"], table["coordinator_send_time_ns"]))


def _payload_stamps(name: str, payloads: payload_stamps.Payloads) -> Iterator[Problem]:
    most = f"{int(payloads.late_ns.max(initial=0)):,} ns"
    if wrong := int(payloads.after_send.sum()):
        yield Problem(ERROR, name, f"{wrong:,} payload stamps are after their own send (by up to {most})")
    if wrong := int(payloads.long_before.sum()):
        limit = payload_stamps.FOREIGN_NS // 1_000_000_000
        yield Problem(ERROR, name, f"{wrong:,} payload stamps are more than {limit} s before their own send")
    if set_back := int(payloads.set_back.sum()):
        text = (
            f"{set_back:,} payload stamps are after their own send (by up to {most}): the coordinator's wall clock was"
        )
        yield Problem(WARNING, name, f"{text} set back in between, as its raw oscillator shows")


def _send_log(where: str, sends: pd.DataFrame, sent: pd.DataFrame, roles: Mapping[str, str]) -> Iterator[Problem]:
    copies = int(sends.duplicated(["event_id", "worker_id"]).sum())
    if copies:
        yield Problem(ERROR, where, f"{copies:,} rows repeat an event and worker")
    if strangers := sorted(
        set(sends["worker_id"].dropna()) - {node for node, role in roles.items() if role == "worker"}
    ):
        yield Problem(ERROR, where, f"sends to a worker that is not in the manifest: {', '.join(strangers)}")
    broadcast, logged = set(sent["event_id"].dropna()), set(sends["event_id"].dropna())
    if only_sent := broadcast - logged:
        yield Problem(
            ERROR, where, f"{len(only_sent):,} events of {records.COORDINATOR_FILE} are not in it ({ids(only_sent)})"
        )
    if only_logged := logged - broadcast:
        text = f"{len(only_logged):,} events are not in {records.COORDINATOR_FILE} ({ids(only_logged)})"
        yield Problem(ERROR, where, text)
    if failed := int(sends["error"].notna().sum()):
        yield Problem(WARNING, where, f"{failed:,} of {len(sends):,} sends failed: {sends['error'].dropna().iloc[0]}")
    if empty := int((sends["send_time_ns"].isna() & sends["error"].isna()).sum()):
        yield Problem(ERROR, where, f"{empty:,} sends without error and without send_time_ns")
