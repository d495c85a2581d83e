"""Draw all figures of a run."""

from __future__ import annotations

import sys
from pathlib import Path

from analysis import command, registry
from analysis.errors import AnalysisError
from analysis.figures import style
from analysis.pipeline import draw
from analysis.questions.windows import WINDOW_SIZES_MS
from analysis.run import load
from node_agent import streams
from node_agent.contract import records


def generate_figure(experiment_dir: str | Path, output_dir: str | Path, width_in: float = style.PAGE_IN) -> list[Path]:
    """Draw all figures of a run folder as PNG and PDF, with their captions; return the paths."""
    paths, errors = draw(registry.compute(command.table_of(experiment_dir)), Path(output_dir), width_in)
    if errors:
        raise AnalysisError("; ".join(errors))
    return paths


def main(argv: list[str] | None = None) -> int:
    """Draw all figures of one experiment into its figures folder and print their paths."""
    streams.install()
    arguments = command.parser(__doc__, windows=True).parse_args(argv)
    try:
        path = load.resolve(arguments.experiment, arguments.results_dir)
        results = registry.compute(command.table_of(path), arguments.window_sizes or WINDOW_SIZES_MS)
    except AnalysisError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    paths, errors = draw(results, path / records.FIGURES_DIR, arguments.width_in)
    for figure in paths:
        sys.stdout.write(f"{figure}\n")
    for problem in errors:
        sys.stderr.write(f"error: {problem}\n")
    return AnalysisError.exit_code if errors else 0


if __name__ == "__main__":
    raise SystemExit(main())
