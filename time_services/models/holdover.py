"""The last sample held over, without a drift: the least that a model can be."""

from __future__ import annotations

from time_services.models.recent import RecentModel


class Holdover(RecentModel):
    """The newest observation."""

    name = "holdover"
    length = 1

    def level(self, values: list[float]) -> float:
        """Return the newest value."""
        return values[-1]
