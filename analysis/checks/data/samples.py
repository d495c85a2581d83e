"""What is wrong with a run's samples: answers held at a limit or served again as new ones, servers outvoted or unfit.

A reading of a sample moves with its stamp; what a server said is exact only in samples.csv.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.checks.finding import Finding
from analysis.run import drift_limits
from node_agent.clocks.base import drift_per_ns
from node_agent.clocks.ntp import falsetickers
from node_agent.clocks.self_report import KISS_ENDS, KISS_RATE, describe, is_unfit
from node_agent.contract.records import CHRONOTICK, NTP, OK

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from analysis.run.load import Run

MIN_ANSWERS: Final = 5  # so many answers with one number, to the ns, are no coincidence
ROUND_NS: Final = 10_000  # a limit somebody set is a multiple of 10 us
MIN_UNFIT: Final = 3  # said less often, unless at the end, it passed
MIN_VOTES: Final = 3  # outvoted less often, a server was late, not wrong


def find(run: Run) -> Iterator[Finding]:
    """Yield the findings about samples, node by node."""
    for node, frame in run.samples.items():
        good = frame[frame["outcome"] == OK]
        predicted = good[good["source"] == CHRONOTICK]
        yield from _clamp(node, predicted)
        yield from _frozen(node, predicted)
        yield from _falsetickers(run, node, good[good["source"] == NTP])
        yield from _unfit(node, frame)


def _clamp(node: str, frame: pd.DataFrame) -> Iterator[Finding]:
    offsets = frame["offset_ns"].dropna().to_numpy(dtype=np.int64)
    if len(offsets) < 2 * MIN_ANSWERS:
        return
    limit = int(np.abs(offsets).max())
    plus, minus = int((offsets == limit).sum()), int((offsets == -limit).sum())
    one_sided = limit % ROUND_NS == 0 and plus + minus >= 2 * MIN_ANSWERS  # a clock that runs one way meets one side
    if limit > 0 and (min(plus, minus) >= MIN_ANSWERS or one_sided):
        text = (
            f"{CHRONOTICK} answered exactly {limit / 1e6:+g} ms {plus:,} times and exactly {-limit / 1e6:+g} ms "
            f"{minus:,} times in {len(offsets):,} answers and never more: a clamp at ±{limit / 1e6:g} ms, no prediction"
        )
        numbers = {"limit_ms": limit / 1e6, "answers_at_plus": plus, "answers_at_minus": minus, "of": len(offsets)}
        yield Finding("clamped-offset", "error", node, CHRONOTICK, text, numbers)


def _frozen(node: str, frame: pd.DataFrame) -> Iterator[Finding]:
    """Find one answer (offset and sigma, to the ns) given again and again for later and later instants."""
    columns = ["offset_ns", "sigma_ns", "raw_at_ns"]
    if not set(columns) <= set(frame.columns):
        return
    said = frame[columns].dropna().to_numpy(dtype=np.int64)
    if len(said) < MIN_ANSWERS:
        return
    again = (said[1:, 0] == said[:-1, 0]) & (said[1:, 1] == said[:-1, 1]) & (said[1:, 2] > said[:-1, 2])
    starts = np.flatnonzero(np.concatenate([[True], ~again]))
    lengths = np.diff(np.append(starts, len(said)))
    longest = int(lengths.argmax())
    count, first = int(lengths[longest]), int(starts[longest])
    if count < MIN_ANSWERS:
        return
    span_s = float(said[first + count - 1, 2] - said[first, 2]) / 1e9
    if span_s < MIN_ANSWERS * _usual_gap_s(said[:, 2]) / 2:
        return  # the same instant told again is an old answer that says so: it ages, and becomes stale
    text = (
        f"{CHRONOTICK} gave one answer ({said[first, 0] / 1e6:.6f} ms ± {said[first, 1] / 1e6:.6f} ms) {count:,} times "
        f"in a row, over {span_s:.1f} s, each time as if it were new: it no longer follows the clock"
    )
    yield Finding(
        "frozen-answers", "error", node, CHRONOTICK, text, {"answers": count, "of": len(said), "span_s": span_s}
    )


def _usual_gap_s(raw_at: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
    return float(np.median(np.diff(raw_at))) / 1e9 if len(raw_at) > 1 else 0.0


def _falsetickers(run: Run, node: str, frame: pd.DataFrame) -> Iterator[Finding]:
    """Find servers whose newest answer misses what the majority of the newest answers leaves possible."""
    if (ppm := drift_limits.of_node(run, node)) is None:
        return  # without a bound on the drift, answers of different instants cannot be compared
    columns = ["raw_at_ns", "reference_at_ns", "bound_ns", "root_delay_ns", "root_dispersion_ns"]
    if not {"server", *columns} <= set(frame.columns) or frame["server"].nunique() < 3:
        return
    rows = frame.dropna(subset=["server", *columns[:3]]).sort_values("raw_at_ns")
    servers, numbers = rows["server"].tolist(), rows[columns].fillna(0).to_numpy(dtype=np.int64).tolist()
    rate, per = drift_per_ns(ppm)
    newest: dict[str, list[int]] = {}
    outvoted: dict[str, int] = {}
    votes: dict[str, int] = {}
    for server, said in zip(servers, numbers, strict=True):
        newest[server] = said
        intervals = {}
        for name, (raw_at, reference, bound, root_delay, dispersion) in newest.items():
            age = said[0] - raw_at
            half = bound - (-root_delay // 2) + dispersion - (-age * rate // per)
            intervals[name] = (reference + age - half, reference + age + half)
        if len(intervals) < 3:
            continue
        wrong = falsetickers(intervals)
        votes[server] = votes.get(server, 0) + 1
        if server in wrong and len(wrong) < len(intervals):
            outvoted[server] = outvoted.get(server, 0) + 1
    for server, count in outvoted.items():
        if count >= MIN_VOTES:
            text = (
                f"{server} was outvoted by the other NTP servers in {count:,} of its {votes[server]:,} answers: its "
                f"time cannot be right together with theirs"
            )
            yield Finding(
                "falseticker", "warning", node, NTP, text, {"server": server, "answers": count, "of": votes[server]}
            )


def _unfit(node: str, frame: pd.DataFrame) -> Iterator[Finding]:
    """Find servers that said of themselves, again and again or to the end, that they cannot be believed.

    A kiss code counts at once: it changes how the server was asked from then on.
    """
    if "server" not in frame:
        return
    for (source, server), rows in frame.groupby(["source", "server"], sort=True):
        outcomes = rows["outcome"].astype(str)
        counts = outcomes[outcomes.map(is_unfit)].value_counts(sort=False)
        for outcome, count in sorted((str(name), int(number)) for name, number in counts.items()):
            kiss = outcome == KISS_RATE or outcome in KISS_ENDS
            if not kiss and count < MIN_UNFIT and outcomes.iloc[-1] != outcome:
                continue
            then = ""
            if kiss:
                then = "; it was asked less often from then on" if outcome == KISS_RATE else "; it was not asked again"
            text = (
                f"{server} was not believed in {count:,} of {len(outcomes):,} answers or silences ({outcome}): "
                f"{describe(outcome)}{then}"
            )
            numbers = {"server": server, "outcome": outcome, "answers": count, "of": len(outcomes)}
            yield Finding("unfit-source", "warning", node, str(source), text, numbers)
