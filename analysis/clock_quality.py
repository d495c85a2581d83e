"""Clock quality by hand: the statistics and the figure of one run, by ``analysis.clocks.quality``."""

from analysis.analyses.clock_quality import ANALYSIS
from analysis.clocks.quality import compute
from analysis.command import Door

__all__ = ["FIGURE", "STATISTICS_FILE", "analyze", "compute", "generate_figure", "main"]

FIGURE, STATISTICS_FILE = ANALYSIS.figure, ANALYSIS.file
_DOOR = Door(ANALYSIS, __doc__)
analyze, generate_figure, main = _DOOR.analyze, _DOOR.generate_figure, _DOOR.main

if __name__ == "__main__":
    raise SystemExit(main())
