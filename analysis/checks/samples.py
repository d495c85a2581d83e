"""What is wrong with a run's samples: answers held at a limit, served again as new ones, outvoted, unfit, of others.

A reading of a sample moves with its stamp; what a server said is exact only in samples.csv.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.by_event import scopes, serving_samples
from analysis.checks.finding import CONTRACT, ERROR, WARNING, Finding, error
from analysis.checks.subject import raw_file
from analysis.run import csv_tables, drift_limits, load
from analysis.run.stored import in_memory
from node_agent.clocks.holdover import drift_per_ns
from node_agent.clocks.ntp import falsetickers
from node_agent.clocks.self_report import KISS_ENDS, KISS_RATE, describe, is_unfit
from node_agent.contract import records
from node_agent.contract.records import CHRONOTICK, NTP, OK

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from analysis.checks.subject import Subject
    from analysis.run.load import Run
    from analysis.run.stored import Frame

MIN_ANSWERS: Final = 5  # so many answers with one number, to the ns, are no coincidence
MIN_SIGMAS: Final = 10
ROUND_NS: Final = 10_000  # a limit somebody set is a multiple of 10 us
MIN_UNFIT: Final = 3  # said less often, unless at the end, it passed
MIN_VOTES: Final = 3  # outvoted less often, a server was late, not wrong


def find(run: Run) -> Iterator[Finding]:
    """Yield the findings about what servers answered, node by node."""
    for node, frame in run.samples.items():
        good = frame[frame["outcome"] == OK]
        predicted = good[good["source"] == CHRONOTICK]
        yield from _clamp(node, predicted)
        yield from _frozen(node, predicted)
        yield from _constant(node, predicted)
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
        yield Finding("clamped-offset", ERROR, node, CHRONOTICK, text, numbers)


def _frozen(node: str, frame: pd.DataFrame) -> Iterator[Finding]:
    """Find one answer (offset and sigma, to the ns) given again and again for later and later instants."""
    columns = ["offset_ns", "sigma_ns", "raw_at_ns"]
    if not set(columns) <= set(frame.columns):
        return
    answers = frame[columns].dropna().to_numpy(dtype=np.int64)
    if len(answers) < MIN_ANSWERS:
        return
    steps = np.diff(answers, axis=0)
    again = (steps[:, 0] == 0) & (steps[:, 1] == 0) & (steps[:, 2] > 0)
    starts = np.flatnonzero(np.concatenate([[True], ~again]))
    lengths = np.diff(np.append(starts, len(answers)))
    longest = int(lengths.argmax())
    count, first = int(lengths[longest]), int(starts[longest])
    span_s = float(answers[first + count - 1, 2] - answers[first, 2]) / 1e9
    if count < MIN_ANSWERS or span_s < MIN_ANSWERS * float(np.median(steps[:, 2])) / 1e9 / 2:
        return  # the same instant told again is an old answer that says so: it ages, and becomes stale
    offset_ms, sigma_ms = float(answers[first, 0]) / 1e6, float(answers[first, 1]) / 1e6
    text = (
        f"{CHRONOTICK} gave one answer ({offset_ms:.6f} ms ± {sigma_ms:.6f} ms) {count:,} "
        f"times in a row, over {span_s:.1f} s, each time as if it were new: it no longer follows the clock"
    )
    numbers = {"answers": count, "of": len(answers), "span_s": span_s, "offset_ms": offset_ms, "sigma_ms": sigma_ms}
    yield Finding("frozen-answers", ERROR, node, CHRONOTICK, text, numbers)


def _constant(node: str, frame: pd.DataFrame) -> Iterator[Finding]:
    """Find one sigma in all of many different answers that claim a drift: in rows it grows, and no longer looks so."""
    columns = ["offset_ns", "sigma_ns", "drift_sigma_fs_per_s"]
    if not set(columns) <= set(frame.columns):
        return
    offsets, sigmas, _drifts = frame[columns].dropna().to_numpy(dtype=np.int64).reshape(-1, 3).T
    if len(sigmas) >= MIN_SIGMAS and len(set(offsets.tolist())) >= MIN_ANSWERS and sigmas.min() == sigmas.max():
        text = (
            f"{CHRONOTICK} answered uncertainty_ms {sigmas[0] / 1e6:g} in every one of {len(sigmas):,} answers that "
            f"claim a drift: a constant, not a measurement"
        )
        numbers = {"value_ms": float(sigmas[0]) / 1e6, "answers": len(sigmas)}
        yield Finding("constant-uncertainty", ERROR, node, CHRONOTICK, text, numbers)


def _falsetickers(run: Run, node: str, frame: pd.DataFrame) -> Iterator[Finding]:
    """Find servers whose newest answer misses what the majority of the newest answers leaves possible."""
    if (ppm := drift_limits.of_node(run, node)) is None:
        return  # without a bound on the drift, answers of different instants cannot be compared
    columns = ["raw_at_ns", "reference_at_ns", "bound_ns", "root_delay_ns", "root_dispersion_ns"]
    if not {"server", *columns} <= set(frame.columns) or frame["server"].nunique() < 3:
        return
    rows = frame.dropna(subset=["server", *columns[:3]]).sort_values("raw_at_ns")
    rate, per = drift_per_ns(ppm)
    newest: dict[str, list[int]] = {}
    outvoted: dict[str, int] = {}
    votes: dict[str, int] = {}
    answers = rows[columns].fillna(0).to_numpy(dtype=np.int64).tolist()
    for server, answer in zip(rows["server"].tolist(), answers, strict=True):
        newest[server] = answer
        intervals = {}
        for name, (raw_at, reference, bound, root_delay, dispersion) in newest.items():
            age = answer[0] - raw_at
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
            numbers = {"server": server, "answers": count, "of": votes[server]}
            yield Finding("falseticker", WARNING, node, NTP, text, numbers)


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
            yield Finding("unfit-source", WARNING, node, str(source), text, numbers)


# --- whose clock they are about ---------------------------------------------------------------------------------------


def about(subject: Subject) -> Iterator[Finding]:
    """Yield which answers are about the server's own clock, and what that means for every number made from them.

    A warning and no error: to ask a plain server is allowed, and where it runs on the node itself the two clocks are
    one, which no run folder can tell (``scopes``). The numbers that would accuse the clock are not made, so none
    misleads. A word that is no scope is an error.
    """
    for node in subject.roles:
        file, frame = raw_file(node, records.SAMPLES_FILE), subject.raw(node, records.SAMPLES_FILE)
        if frame is None or not {"source", "outcome", "scope", "sample_id"} <= set(frame.columns):
            continue
        samples = in_memory(frame)
        if strange := sorted(set(samples["scope"].dropna()) - {scopes.NODE, scopes.SERVER}):
            text = f"scope: expected {scopes.NODE}, {scopes.SERVER} or nothing, got {strange[0]!r}"
            yield error("scope", file, text, node)
        for source, (count, good) in scopes.counts(samples).items():
            served, of = _readings(subject.of_node(node), samples, source)
            text = (
                f"{count:,} of {good:,} answers of {source} do not echo the node that asked (scope server): they "
                f"predict the server's clock, not this node's. {served:,} of {of:,} readings rest on them: their clock "
                "quality and releases too early are not evaluable, and orders and windows are what this node would "
                "decide by a clock that is not its own; use a server that echoes node_id"
            )
            numbers = {"answers": count, "of": good, "readings": served, "of_readings": of}
            yield Finding("server-scope", WARNING, node, source, text, numbers, CONTRACT, file)


def _readings(frame: Frame | None, samples: pd.DataFrame, source: str) -> tuple[int, int]:
    """Return how many of a node's readings of a source rest on answers about the server's clock, and of how many."""
    prefix = records.COLUMN_PREFIX.get(source, source)
    if frame is None or prefix not in load.prefixes([frame]) or f"{prefix}_sample_id" not in frame:
        return 0, 0
    ids = csv_tables.plain(frame[[f"{prefix}_status", f"{prefix}_sample_id"]])
    there: NDArray[np.bool_] = (ids[f"{prefix}_status"] == OK).fillna(value=False).to_numpy(dtype=bool)
    about = scopes.of_samples(samples, source, serving_samples.different(ids[f"{prefix}_sample_id"]))
    return int(about[there].sum()), int(there.sum())
