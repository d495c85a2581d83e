"""The reference: how two nodes' clocks truly stood to each other, by no clock under test (DESIGN sections 5 and 7)."""

from __future__ import annotations

from analysis.reference.model import (
    ASSUMPTIONS,
    DEFAULT_RHO_PPM,
    NO_PROBES,
    SHARED_CLOCK,
    Check,
    Lags,
    Offsets,
    PairSummary,
    Walls,
)
from analysis.reference.relation import Reference, build

__all__ = [
    "ASSUMPTIONS",
    "DEFAULT_RHO_PPM",
    "NO_PROBES",
    "SHARED_CLOCK",
    "Check",
    "Lags",
    "Offsets",
    "PairSummary",
    "Reference",
    "Walls",
    "build",
]
