"""Clock quality by hand: the statistics and the figure of one run, by ``analysis.clocks.quality``."""

from __future__ import annotations

from analysis.clocks import quality
from analysis.clocks.quality import FIGURE, STATISTICS_FILE, compute
from analysis.command import Door

__all__ = ["FIGURE", "STATISTICS_FILE", "analyze", "compute", "generate_figure", "main"]

_DOOR = Door(quality)
analyze, generate_figure, main = _DOOR.analyze, _DOOR.generate_figure, _DOOR.main


if __name__ == "__main__":
    raise SystemExit(main())
