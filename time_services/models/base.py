"""What every model of a node's clock takes and gives: samples in, one prediction out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NS_PER_S = 1e9


@dataclass(frozen=True)
class NtpSample:
    """One NTP sample of a node, against ``server`` ("" where the request named none), at ``raw_ns`` of its oscillator.

    ``offset_ms`` is reference - local wall, ``delay_ms`` the round trip, ``bound_ms`` what the offset may be wrong by.
    """

    server: str
    raw_ns: int
    offset_ms: float
    delay_ms: float
    bound_ms: float


@dataclass(frozen=True)
class Prediction:
    """The offset (reference - local wall, s) at the asked instant, and what is not known of it.

    ``sigma_s`` is one sigma of what is random, ``asymmetry_s`` the half-width of what no averaging removes.
    ``drift`` is the rate of the reference against the node's raw oscillator, minus 1, and ``drift_sigma`` its sigma:
    t s of the oscillator later the reference is at its estimate + t (1 + drift). It holds for ``valid_for_s`` from the
    asked instant. ``calibration`` is the state of the guard of sigma; ``model`` says which model it was.
    """

    offset_s: float
    sigma_s: float
    asymmetry_s: float
    drift: float
    drift_sigma: float
    valid_for_s: float
    samples: int
    newest_age_s: float
    newest_raw_ns: int
    calibration: Mapping[str, float]
    model: str


@dataclass(frozen=True)
class NotReady:
    """Why there is no prediction, and how many samples are known."""

    samples: int
    detail: str


class Model(Protocol):
    """What one node's clock is doing. One instance per node; it knows the node only by what its requests say."""

    name: str
    restarts: int

    def feed(self, instant_ns: int, raw_ns: int, samples: Sequence[NtpSample]) -> int:
        """Take a request's samples, and its instant on the wall clock and the oscillator; return how many were new."""
        ...

    def predict(self, raw_ns: int) -> Prediction | NotReady:
        """Predict the offset at ``raw_ns`` of the oscillator, against the wall clock as the last request showed it."""
        ...
