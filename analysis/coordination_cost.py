"""Coordination by hand: the statistics and the figure of one run, by ``analysis.questions.coordination``."""

from analysis.analyses.coordination import ANALYSIS
from analysis.command import Door
from analysis.questions.coordination import compute

__all__ = ["FIGURE", "STATISTICS_FILE", "analyze", "compute", "generate_figure", "main"]

FIGURE, STATISTICS_FILE = ANALYSIS.figure, ANALYSIS.file
_DOOR = Door(ANALYSIS, __doc__)
analyze, generate_figure, main = _DOOR.analyze, _DOOR.generate_figure, _DOOR.main

if __name__ == "__main__":
    raise SystemExit(main())
