"""One source's readings on one node, in file order, as checks look at them: its rows, and what of them are numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.by_event.event_rows import Instants, floats, integers
from analysis.by_event.table import NO_STATUS
from analysis.clocks import offset_levels
from analysis.run import drift_limits, load, series
from analysis.run.stored import consecutive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from analysis.arrays import Floats
    from analysis.run.load import Run
    from analysis.run.stored import Frame


@dataclass(frozen=True)
class Series:
    """One source's readings on one node, in file order: its rows, and what of them are numbers (``stamps`` and on).

    ``stamp``: the column of the instants they are of.
    ``required``: the run was not to begin without it, as far as the manifest tells. ``of_a_log``: another program
    wrote them, which may have a floor where it knows no more.
    """

    node: str
    prefix: str
    frame: Frame
    stamp: str
    statuses: dict[str, int]
    samples: NDArray[np.int32]  # a number for each row's sample, -1 where it names none
    sample_names: pd.Index[Any]
    stamps: NDArray[np.int64]
    offsets: Floats
    uncertainties: Floats
    half_widths_ms: Floats
    first_rows: NDArray[np.intp]
    required: bool
    of_a_log: bool

    @property
    def source(self) -> str:
        """Return the source's name."""
        return load.source_name(self.prefix)

    @property
    def known(self) -> Floats:
        """Return the uncertainties that there are, in ms."""
        return self.uncertainties[~np.isnan(self.uncertainties)]


def every(run: Run) -> Iterator[Series]:
    """Yield every source's readings on every node; one is large, so let go of it before the next."""
    for node, frame in run.rows_by_node().items():
        for prefix in load.prefixes([frame]):
            yield _of_source(run, node, frame, prefix)


def _of_source(run: Run, node: str, frame: Frame, prefix: str) -> Series:
    codes, sample_names = pd.factorize(frame[f"{prefix}_sample_id"])
    samples = codes.astype(np.int32)
    del codes  # of a long run every column is large: what is not kept is read part by part
    stamp = run.stamp_column(node)
    numbers = _numbers(frame, prefix, stamp, samples)
    return Series(
        node=node,
        prefix=prefix,
        frame=frame,
        stamp=stamp,
        statuses=_statuses(frame[f"{prefix}_status"]),
        samples=samples,
        sample_names=sample_names,
        stamps=numbers.stamps,
        offsets=numbers.offsets,
        uncertainties=numbers.uncertainties,
        half_widths_ms=numbers.half_widths_ms,
        first_rows=offset_levels.answers(numbers.offsets, None if (numbers.samples < 0).any() else numbers.samples),
        required=_required(run, load.source_name(prefix)),
        of_a_log=run.manifest.imported is not None and not series.has_events(run.manifest),
    )


class _Numbers(NamedTuple):
    """What of a table's rows are numbers, and the sample of each."""

    samples: NDArray[np.int32]
    stamps: NDArray[np.int64]
    offsets: Floats
    uncertainties: Floats
    half_widths_ms: Floats


def _numbers(frame: Frame, prefix: str, stamp: str, samples: NDArray[np.int32]) -> _Numbers:
    kinds = np.int32, np.int64, np.float64, np.float64, np.float64
    whole: list[NDArray[Any]] = [np.zeros(len(frame), kind) for kind in kinds]  # not written to, they take no memory
    row = count = 0
    for rows in consecutive(frame):
        (stamps, stamped), offsets = integers(rows, stamp), floats(rows, f"{prefix}_offset_ms")
        there = ~np.isnan(offsets) & stamped
        uncertainties = floats(rows, f"{prefix}_uncertainty_ms")
        low, high = (Instants(*integers(rows, f"{prefix}_{end}_bound_ns")) for end in ("lower", "upper"))
        width = np.where(low.known & high.known, high.ns - low.ns, np.nan)
        half_widths = np.where(np.isnan(width), uncertainties, width / 2e6)
        of_rows: tuple[NDArray[Any], ...] = samples[row : row + len(rows)], stamps, offsets, uncertainties, half_widths
        end = count + int(np.count_nonzero(there))
        for column, cells in zip(whole, of_rows, strict=True):
            column[count:end] = cells[there]
        row, count = row + len(rows), end
    return _Numbers(*(column[:count] for column in whole))


def _required(run: Run, source: str) -> bool:
    """Tell whether a run needs a source; of a manifest that does not say which it needs, all of them."""
    required = drift_limits.value_at(run.manifest.config, "worker", "clocks", "required")
    return required is None or source in required


def _statuses(column: pd.Series[Any]) -> dict[str, int]:
    counts = {str(name): int(count) for name, count in column.value_counts().items() if count}
    return counts | ({NO_STATUS: missing} if (missing := int(column.isna().sum())) else {})
