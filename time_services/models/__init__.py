"""Models of nodes' clocks, by name: ``MODELS[name]()`` is a new one for one node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from time_services.models.base import Model, NotReady, NtpSample, Prediction
from time_services.models.kalman_bank import KalmanBank

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MODELS: Final[Mapping[str, Callable[[], Model]]] = {"kalman_bank": KalmanBank}
DEFAULT: Final = "kalman_bank"

__all__ = ["DEFAULT", "MODELS", "Model", "NotReady", "NtpSample", "Prediction"]
