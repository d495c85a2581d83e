"""How much the benchmark measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Scale:
    """How much is measured: ``quick`` fits into 50 s, the whole takes some minutes."""

    rates_hz: tuple[int, ...]
    try_s: float
    search_s: float
    delays_s: tuple[float, ...]
    stamps: int
    starts: int
    accuracy_s: float
    sampling_s: float
    memory_events: int


QUICK: Final = Scale((10_000, 15_000, 20_000, 25_000), 2.0, 20.0, (0.5, 1.0), 1_000, 2, 3.0, 1.5, 0)
WHOLE: Final = Scale(
    (5_000, 10_000, 12_500, 15_000, 17_500, 20_000, 25_000, 30_000), 10.0, 200.0, (2.0, 4.0), 10_000, 5, 15.0, 5.0,
    1_000_000,
)  # fmt: skip
