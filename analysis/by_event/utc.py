"""What an absolute judgement needs: a reading that refers to a server is about UTC only with the root distance added.

An NTP server may honestly be off: by RFC 5905 (section 4) its time is within its root distance, root delay / 2 + root
dispersion, of UTC, and it says so in every answer. A reading labelled ``server:H:P`` bounds that server's time. So
before it is held against true time it is widened, to both sides, by the root distance of the sample that served it:
the bound that the reading would have had to UTC, which ages as a whole and once, by what the reading
has aged already. Where the samples do not say the root distance, the interval cannot be judged to UTC at all. Between
two nodes that ask one server, its error cancels: differences need nothing added.

Best estimates are judged as points, as they are. A probabilistic reading is a claim about true time at its level: its
protocol has no root distance, its sigma is all the doubt that it states, and nothing is added unless its samples state
a root distance all the same. A reading labelled ``utc`` has all of it inside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.by_event import serving_samples
from analysis.by_event.event_rows import Instants, nothing
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from analysis.arrays import Bools, Ints
    from analysis.by_event.event_rows import Rows, Text
    from analysis.by_event.table import Readings, Table
    from analysis.run.stored import Frame

SERVER_LABEL: Final = "server:"
UTC_LABEL: Final = "utc"
NO_ROOT_DISTANCE: Final = "no_root_distance"
IN_WORDS: Final = "refer to a server whose root distance samples.csv does not say, and so not to UTC"
WITH_ROOT_DISTANCE: Final = "with the server's root distance"


@dataclass(frozen=True)
class RootDistance:
    """How far from UTC the time may be that a reading refers to, reading by reading, in ns; 0 where not ``known``.

    ``added``: the reading refers to a server and its root distance is known. A reading that needs none has 0, known.
    """

    ns: Ints
    known: Bools
    added: Bools


def of(table: Table, node_id: str, source: str) -> RootDistance:
    """Return the root distance of a node's readings of one source, event by event."""
    readings, rows = table.readings(node_id, source), table.rows.get(node_id)
    ids = serving_samples.sample_ids(rows, source, len(table.event_ids))
    stated = _stated(table.run.samples.get(node_id), source, ids.words)
    labels = np.array([str(word).startswith(SERVER_LABEL) for word in readings.reference.categories], dtype=np.bool_)
    to_server: Bools = np.append(labels, values=False)[readings.reference.codes]
    return _needed(
        to_server & ~_probabilistic(rows, source, len(to_server)),
        to_server,
        stated.ns[ids.codes],
        stated.known[ids.codes],
    )


def of_waits(rows: Frame | None, prefix: str, samples: pd.DataFrame | None, source: str, ids: Text) -> RootDistance:
    """Return the root distance of looks at a clock during a commit-wait, each by the id of the sample that served it.

    ``rows`` is the node's own table: commit_wait.csv does not say what a reading refers to, and no source changes that
    within a run. Without it nobody knows, and no root distance is known.
    """
    if rows is None:
        unknown = np.ones(len(ids.codes), dtype=np.bool_)
        return _needed(unknown, unknown, np.zeros(len(ids.codes), dtype=np.int64), ~unknown)
    stated = _stated(samples, source, ids.words)
    label, kind = f"{prefix}_reference", f"{prefix}_kind"
    labels = set(rows[label].dropna().unique()) if label in rows else set()
    kinds = set(rows[kind].dropna().unique()) if kind in rows else set()
    to_server = np.full(len(ids.codes), any(str(word).startswith(SERVER_LABEL) for word in labels))
    needed = to_server & (kinds != {records.PROBABILISTIC})
    return _needed(needed, to_server, stated.ns[ids.codes], stated.known[ids.codes])


def of_samples(samples: pd.DataFrame) -> Instants:
    """Return the root distance that samples state: root delay / 2, rounded up, + root dispersion, in ns.

    A negative one is nonsense and not known.
    """
    delay, dispersion = (serving_samples.numbers(samples, column) for column in ("root_delay_ns", "root_dispersion_ns"))
    known = delay.known & dispersion.known & (delay.ns >= 0) & (dispersion.ns >= 0)
    return Instants(np.where(known, -(-delay.ns // 2) + dispersion.ns, 0), known)


def absolute(readings: Readings, root: RootDistance) -> Readings:
    """Return readings as what they say of UTC: widened by the root distance, no interval where that is not known."""
    bounded = readings.bounded & root.known
    return replace(
        readings,
        bounded=bounded,
        earliest=np.where(bounded, readings.earliest - root.ns, 0),
        latest=np.where(bounded, readings.latest + root.ns, 0),
    )


def window_verdicts(readings: Readings, root: RootDistance, true: Instants, width_ns: int) -> tuple[Bools, Bools]:
    """Tell, of a node's certain windows (earliest and latest in one), which are right by true time and which are wrong.

    Right: the true window is the one. Wrong: it is another, and the server's root distance is no excuse, for the
    reading misses the true time with that added as well. What is neither is left open: it is certain of its server's
    time, which may honestly be in another window than UTC. Where the root distance is not known nothing is said.
    """
    index, true_index = readings.earliest // width_ns, true.ns // width_ns
    certain = readings.bounded & (index == readings.latest // width_ns) & true.known & root.known
    missed = (true.ns < readings.earliest - root.ns) | (true.ns > readings.latest + root.ns)
    return certain & (index == true_index), certain & (index != true_index) & missed


def _stated(samples: pd.DataFrame | None, source: str, ids: Sequence[str]) -> Instants:
    """Return the root distance of the samples of some ids, and, last, of a reading that names no sample.

    A reading that names none, or one that is not in the file, rests on one of the source's good samples: its root
    distance is at most the greatest of theirs, if all of them say it.
    """
    if samples is None:
        return nothing(len(ids) + 1)
    rows, root = serving_samples.rows_of(samples, source, [*ids, ""]), of_samples(samples)
    own_ns, own_known = (serving_samples.by_sample(column, rows) for column in (root.ns, root.known))
    good = ((samples["source"] == source) & (samples["outcome"] == records.OK)).fillna(value=False)
    of_good = np.flatnonzero(good.to_numpy(dtype=np.bool_))
    all_say = len(of_good) > 0 and bool(root.known[of_good].all())
    most = int(root.ns[of_good].max()) if all_say else 0
    unnamed = rows < 0
    return Instants(np.where(unnamed, most, own_ns), np.where(unnamed, all_say, own_known))


def _needed(required: Bools, to_server: Bools, stated_ns: Ints, stated: Bools) -> RootDistance:
    added = to_server & stated
    return RootDistance(np.where(added, stated_ns, 0), ~required | added, added)


def _probabilistic(rows: Rows | None, source: str, count: int) -> Bools:
    """Tell which readings claim a probability, and not that a miss is impossible."""
    name = f"{records.COLUMN_PREFIX.get(source, source)}_kind"
    if rows is None or name not in rows:
        return np.zeros(count, dtype=np.bool_)
    kinds = rows.text(name)
    probabilistic: Bools = serving_samples.by_event(
        np.array([word == records.PROBABILISTIC for word in kinds.words], dtype=np.bool_), kinds
    )
    return probabilistic
