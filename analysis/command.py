"""What every analysis does when run by hand: find the run, print its statistics as JSON, draw its figure."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from analysis import registry
from analysis.by_event import open_run
from analysis.errors import AnalysisError, UsageError
from analysis.figures import drawing, style
from analysis.questions.windows import WINDOW_SIZES_MS
from analysis.run import load
from node_agent import streams
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.analyses.analysis import Analysis
    from analysis.by_event.table import Table

USAGE_ERROR = 2
MOST_JOBS = 1024
WIDTHS = (("column", style.COLUMN_IN, "a column of a paper"), ("wide", style.PAGE_IN, "its page (the default)"))


class _OneLineParser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong; argparse puts the whole usage in front."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong on standard error and end with exit code 2."""
        self.exit(USAGE_ERROR, f"error: {message}\n")


def table_of(experiment: str | Path) -> Table:
    """Return the readings of a run given by name or path. Raises AnalysisError where it cannot be judged."""
    return open_run.table_of(load.resolve(experiment))


def window_sizes(text: str) -> tuple[int, ...]:
    """Read window widths like "50,100,500" (ms); raises argparse.ArgumentTypeError for anything else."""
    parts = text.replace(",", " ").split()
    if not parts or not all(part.isascii() and part.isdigit() and 0 < int(part) <= 86_400_000 for part in parts):
        raise argparse.ArgumentTypeError(f"window sizes: expected whole milliseconds like 50,100,500, got {text!r}")
    return tuple(dict.fromkeys(int(part) for part in parts))


def jobs(text: str) -> int:
    """Read a number of processes; raises argparse.ArgumentTypeError for anything else."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_JOBS):
        raise argparse.ArgumentTypeError(f"expected a number of processes from 1 to {MOST_JOBS}, got {text!r}")
    return int(text)


def parser(description: str | None, *, windows: bool) -> argparse.ArgumentParser:
    """Return the options that all analyses share."""
    as_written = argparse.RawDescriptionHelpFormatter
    options = _OneLineParser(description=description, formatter_class=as_written, allow_abbrev=False)
    options.add_argument("--experiment", help="a name under the results folder, or a path; default: the latest run")
    options.add_argument("--results-dir", type=Path, default=load.RESULTS_DIR, help="default: %(default)s")
    width = options.add_mutually_exclusive_group()
    for name, width_in, what in WIDTHS:
        told = f"figures as wide as {what}, {width_in:g} in"
        width.add_argument(f"--{name}", dest="width_in", action="store_const", const=width_in, help=told)
    options.set_defaults(width_in=style.PAGE_IN)
    if windows:
        options.add_argument("--window-sizes", type=window_sizes, help="in ms, like 50,100,500,1000")
    return options


class Door:
    """One analysis run by hand, described by the text of its module."""

    def __init__(self, analysis: Analysis, description: str | None) -> None:
        self._analysis, self._description = analysis, description

    def analyze(self, experiment_dir: str | Path, window_sizes_ms: Sequence[int] | None = None) -> dict[str, Any]:
        """Return the statistics of a run folder. Raises AnalysisError where it cannot be judged."""
        return self._analysis.statistics(self._result(experiment_dir, window_sizes_ms))

    def generate_figure(
        self,
        experiment_dir: str | Path,
        output_dir: str | Path,
        window_sizes_ms: Sequence[int] | None = None,
        width_in: float = style.PAGE_IN,
    ) -> list[Path]:
        """Draw the figure of a run folder as PNG and PDF; return their paths, none where there is nothing to draw."""
        if self._analysis.draw is None:
            return []
        sheet = self._analysis.draw(self._result(experiment_dir, window_sizes_ms))
        return drawing.write(sheet, Path(output_dir), self._analysis.figure, width_in)[0]

    def main(self, argv: list[str] | None = None) -> int:
        """Print the statistics of one experiment as JSON and draw its figure.

        Returns the exit code: 2 no such run, 7 not to be analysed.
        """
        streams.install()
        arguments = parser(self._description, windows=self._analysis.windows).parse_args(argv)
        sizes = arguments.window_sizes if self._analysis.windows else None
        try:
            path = load.resolve(arguments.experiment, arguments.results_dir)
            sys.stdout.write(json.dumps(self.analyze(path, sizes), indent=1, ensure_ascii=False) + "\n")
            for figure in self.generate_figure(path, path / records.FIGURES_DIR, sizes, arguments.width_in):
                sys.stderr.write(f"{figure}\n")
        except AnalysisError as error:
            sys.stderr.write(f"error: {error}\n")
            return error.exit_code
        return 0

    def _result(self, experiment_dir: str | Path, window_sizes_ms: Sequence[int] | None) -> Any:
        if window_sizes_ms is not None and not self._analysis.windows:
            raise UsageError("window_sizes_ms: expected none, for this analysis has no windows")
        sizes = WINDOW_SIZES_MS if window_sizes_ms is None else window_sizes_ms
        return registry.only(self._analysis, table_of(experiment_dir), sizes)
