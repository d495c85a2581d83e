"""The median of the last samples, without a drift: no single one moves it."""

from __future__ import annotations

import statistics

from time_services.models.recent import RecentModel


class Median(RecentModel):
    """The median of the last 16 observations."""

    name = "median"
    length = 16

    def level(self, values: list[float]) -> float:
        """Return the median."""
        return statistics.median(values)
