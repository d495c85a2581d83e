"""The baseline every source must beat: the last sample held.

At each event take the sample that served the source's reading, and nothing but that sample: the estimate is the node's
wall stamp plus the sample's own offset (reference - wall clock when it was taken), and the interval is the sample's own
bound (``bound_ns``, with root delay / 2 and root dispersion where readings refer to UTC; else the source's multiplier
times ``sigma_ns``, plus ``asymmetry_ns``). One that refers to a server is judged to UTC as the readings are: with root
distance (``utc``).
Nothing ages, nothing is predicted, nothing is intersected with older samples,
and the oscillator is not consulted: it is what a program does that sets its clock by every answer and looks no further.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.by_event import utc
from analysis.clocks import calibration
from node_agent.contract import records

if TYPE_CHECKING:
    import pandas as pd

    from analysis.arrays import Ints
    from analysis.by_event.event_rows import Instants
    from analysis.by_event.table import Readings
    from analysis.clocks.claims import SourceRows


def held(
    readings: Readings,
    rows: SourceRows,
    stamps: Instants,
    samples: pd.DataFrame | None,
    *,
    utc_wanted: bool,
) -> Readings | None:
    """Return the readings of the last sample held, or None where the run has no samples of the source.

    ``utc_wanted``: some readings of this source on this node, anywhere in the run, refer to UTC.
    """
    if samples is None or not rows.sample.words or "offset_ns" not in samples:
        return None
    chosen = samples[(samples["source"] == readings.source) & samples["offset_ns"].notna()]
    place = chosen.drop_duplicates("sample_id").set_index("sample_id").reindex(list(rows.sample.words))
    offset = _int64(place["offset_ns"])
    lacks_root = readings.source == records.NTP  # its bound is to the server; a clock that bounds itself does so to UTC
    level = readings.level
    sigmas = calibration.multiplier(level) if level is not None and 0.0 < level < 1.0 else 0.0
    half = _half_ns(place, sigmas, to_utc=lacks_root and utc_wanted)
    there = np.append(np.asarray(place["offset_ns"].notna()), values=False)[rows.sample.codes]
    known = readings.known & there & stamps.known
    est = np.where(known, stamps.ns + np.append(offset, 0)[rows.sample.codes], 0)
    arm = np.append(half, -1)[rows.sample.codes]
    bounded = known & readings.bounded & (arm >= 0)
    arm = np.where(bounded, arm, 0)
    return replace(readings, known=known, bounded=bounded, est=est, earliest=est - arm, latest=est + arm)


def _half_ns(samples: pd.DataFrame, multiplier: float, *, to_utc: bool) -> Ints:
    """Return the half-width every sample claims for itself, in ns; -1 where it claims none."""
    bound = _int64(samples["bound_ns"], -1) if "bound_ns" in samples else np.full(len(samples), -1)
    if to_utc:
        root = utc.of_samples(samples)
        bound = np.where((bound >= 0) & root.known, bound + root.ns, -1)
    if "sigma_ns" in samples:
        sigma = _int64(samples["sigma_ns"], -1)
        asymmetry = _int64(samples["asymmetry_ns"]) if "asymmetry_ns" in samples else 0
        bound = np.where(sigma >= 0, np.ceil(multiplier * sigma).astype(np.int64) + asymmetry, bound)
    return bound.astype(np.int64)


def _int64(column: pd.Series[Any], missing: int = 0) -> Ints:
    return np.asarray(column.fillna(missing).to_numpy(dtype=np.int64))
