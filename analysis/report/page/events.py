"""What the interactive part of a page shows: some events of some workers, with every clock's readings and verdicts.

All instants are in ns after the event's origin, the coordinator's own stamp of sending it to the worker, so that they
are small numbers; nothing is judged in the page. Verdicts are those of ``run.verdicts``, a digit per event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.by_event import excerpt, verdicts
from analysis.by_event.table import INTERVAL, POINT
from analysis.figures import style
from analysis.questions import judges
from analysis.questions.causality import QUESTION as CAUSALITY
from node_agent.contract.records import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.analyses.analysis import Results
    from analysis.arrays import Bools, Ints, Labels
    from analysis.by_event.table import Readings, Table
    from analysis.questions.judges import Judge

MOST_WORKERS: Final = 6
MOST_NUMBERS: Final = 100_000  # some 0.8 MB of JSON
FEWEST_EVENTS: Final = 60


def of(results: Results) -> dict[str, Any] | None:
    """Return the data of a page; None where no worker received anything."""
    table = results.table
    workers = _workers(results)
    if not workers or not table.sent.known.any():
        return None
    numbers = 6 * len(workers) * len(table.sources)
    positions = excerpt.choose(table, workers, max(FEWEST_EVENTS, min(excerpt.MOST, MOST_NUMBERS // numbers)))
    if not len(positions):
        return None
    some = table.take(positions)
    judging = judges.of(some, results.done["reference"])
    probed, true = judging
    return {
        "coordinator": table.coordinator_id,
        "workers": list(workers),
        "all_workers": len(table.heard),
        "all_events": int(table.sent.known.sum()),
        "events": [str(event) for event in some.event_ids.tolist()],
        "at_us": ((some.sent.ns - table.facts.first_sent_ns) // 1000).tolist(),
        "sources": [
            {"name": source, "label": style.label(source), "bounded": (source, INTERVAL) in table.clocks, "on": on}
            for source, on in _shown(table)
        ],
        "reference": probed.reason or None,
        "truth": true.reason or None,
        "pairs": [_pair(some, worker, judging) for worker in workers],
    }


def _shown(table: Table) -> list[tuple[str, bool]]:
    """Return the sources, each with whether it is shown at first: the uncorrected clock only if it is alone."""
    return [(source, source != SYSTEM or len(table.sources) == 1) for source in table.sources]


def _workers(results: Results) -> tuple[str, ...]:
    """Return the first worker and those with the most violated, wrong and ambiguous events, in the run's order."""
    heard = results.table.heard
    if len(heard) <= MOST_WORKERS:
        return heard
    answers = results.done[CAUSALITY]
    bad = {}
    for worker in heard:
        counts = []
        for clock, label in ((INTERVAL, verdicts.AFTER), (POINT, verdicts.AFTER), (INTERVAL, verdicts.AMBIGUOUS)):
            of_worker = [answer for answer in answers.of(clock=clock, subject=worker) if answer.source != SYSTEM]
            counts.append(sum(answer.labelled(label) for answer in of_worker))
        bad[worker] = tuple(counts)
    worst = sorted(heard[1:], key=lambda worker: bad[worker], reverse=True)[: MOST_WORKERS - 1]
    return tuple(worker for worker in heard if worker == heard[0] or worker in worst)


def _pair(table: Table, worker: str, judging: Sequence[Judge]) -> dict[str, Any]:
    """Return one worker's part: when it received each event for sure, and what every clock says of both ends."""
    probed, true = judging
    own = table.own_sends[worker]
    origin = np.where(own.known, own.ns, table.sent.ns)
    pair: dict[str, Any] = {"received": _digits(table.received[worker].astype(np.int8))}
    if not probed.reason:
        lag = probed.flights(worker)
        pair |= {"least": _numbers(lag.low, lag.known), "most": _numbers(lag.high, lag.known)}
        pair["reference"] = _digits(lag.order)
    sent, received = table.true_sends(worker), table.truth(worker)
    if not true.reason and sent is not None and received is not None:
        pair["true_send"] = _numbers(sent.ns - origin, sent.known)
        pair["true_receive"] = _numbers(received.ns - origin, received.known)
    pair["clocks"] = [_clock(table, worker, source, origin) for source in table.sources]
    return pair


def _clock(table: Table, worker: str, source: str, origin: Ints) -> dict[str, Any]:
    send, receive = table.sends(worker, source), table.readings(worker, source)
    return {
        "points": _digits(verdicts.labels(POINT, send, receive)),
        "intervals": _digits(verdicts.labels(INTERVAL, send, receive)),
        "send": _reading(send, origin),
        "receive": _reading(receive, origin),
    }


def _reading(block: Readings, origin: Ints) -> dict[str, Any]:
    """Return the estimates, and how far the intervals reach below and above them, where there are any."""
    reading: dict[str, Any] = {"est": _numbers(block.est - origin, block.known)}
    if block.bounded.any():
        reading["below"] = _numbers(block.est - block.earliest, block.bounded)
        reading["above"] = _numbers(block.latest - block.est, block.bounded)
    return reading


def _numbers(values: Ints, known: Bools) -> list[int | None]:
    return [value if there else None for value, there in zip(values.tolist(), known.tolist(), strict=True)]


def _digits(labels: Labels) -> str:
    return "".join(map(str, labels.tolist()))
