"""Models of nodes' clocks, by name: ``MODELS[name]()`` is a new one for one node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from time_services.models.base import Model, NotReady, NtpSample, Prediction
from time_services.models.dual import Dual
from time_services.models.holdover import Holdover
from time_services.models.kalman_bank import KalmanBank
from time_services.models.median import Median

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MODELS: Final[Mapping[str, Callable[[], Model]]] = {kind.name: kind for kind in (KalmanBank, Dual, Holdover, Median)}
DEFAULT: Final = KalmanBank.name

__all__ = ["DEFAULT", "MODELS", "Model", "NotReady", "NtpSample", "Prediction"]
