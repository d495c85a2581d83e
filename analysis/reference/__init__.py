"""The reference: how two nodes' clocks truly stood to each other, by no clock under test."""

from __future__ import annotations

from analysis.reference.building import build
from analysis.reference.envelope import even_instants
from analysis.reference.model import DEFAULT_RHO_PPM, NO_PROBES, SHARED_CLOCK
from analysis.reference.relation import Reference

__all__ = ["DEFAULT_RHO_PPM", "NO_PROBES", "SHARED_CLOCK", "Reference", "build", "even_instants"]
