"""The reference of one run: what may be asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.reference.model import DEFAULT_RHO_PPM, Check, Lags, Offsets, PairSummary, Walls

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from analysis.load import Run
    from analysis.readings import Table


@dataclass(frozen=True)
class Reference:
    """The reference of a run. Where it is not ``evaluable``, ``reason`` says why and every answer is unknown.

    ``nodes`` are those it knows anything about.
    """

    evaluable: bool
    reason: str
    rho_ppm: float
    nodes: tuple[str, ...]
    pairs: tuple[PairSummary, ...]

    def lag(
        self,
        a: str,
        raw_a_ns: NDArray[np.int64],
        b: str,
        raw_b_ns: NDArray[np.int64],
        error_a_ns: NDArray[np.int64] | int = 0,
        error_b_ns: NDArray[np.int64] | int = 0,
    ) -> Lags:
        """Return how much later b's instants are than a's, one by one, on a's raw oscillator."""
        raise NotImplementedError

    def offsets(self, a: str, b: str, raw_a_ns: NDArray[np.int64]) -> Offsets:
        """Return theta = raw_b - raw_a at instants of a's raw oscillator."""
        raise NotImplementedError

    def walls(self, scale: str, node: str, raw_ns: NDArray[np.int64], error_ns: NDArray[np.int64] | int = 0) -> Walls:
        """Return what the wall clock of ``scale`` showed at instants of another node's (or its own) raw oscillator."""
        raise NotImplementedError

    def self_checks(self, table: Table) -> tuple[Check, ...]:
        """Return the checks that gate every verdict against this reference."""
        raise NotImplementedError

    def as_statistics(self, checks: tuple[Check, ...]) -> dict[str, Any]:
        """Return everything about the reference as JSON-serialisable data."""
        raise NotImplementedError


def build(run: Run, *, rho_ppm: float = DEFAULT_RHO_PPM) -> Reference:
    """Build the reference of a run from its probes. Never raises for what a run lacks: the reason is in the result."""
    raise NotImplementedError
