"""``analyze`` (or ``python -m analysis``): the whole analysis of one run, to its report."""

from __future__ import annotations

import gc
import sys
from functools import partial
from typing import Final

from analysis import command
from analysis.by_event import merged
from analysis.errors import AnalysisError
from analysis.pipeline import Outcome, run_all
from analysis.processes.slurm_array import TASKS, SlurmArray
from analysis.questions.windows import WINDOW_SIZES_MS
from analysis.run import load
from node_agent import streams

INTERRUPTED: Final = 130


def main(argv: list[str] | None = None) -> int:
    """Analyse one experiment (default: the latest) and return the exit code.

    0 ok, 2 no such run, 7 not to be analysed, or errors, 130 interrupted.
    """
    streams.install()
    streams.outlive_terminal()
    options = command.parser("Analyse one run: statistics, merged table, figures and report.", windows=True)
    options.add_argument("--merged", choices=merged.FORMATS, help="form of the merged table; default: by its length")
    told = "processes that judge parts and nodes of the run at a time; default: one per processor, if memory allows"
    options.add_argument("--jobs", type=command.jobs, help=told)
    told = f"share parts and nodes out among the tasks of a Slurm job array, --jobs of them; default: {TASKS}"
    options.add_argument("--slurm", action="store_true", help=told)
    arguments = options.parse_args(argv)
    gc.freeze()  # what the imports made stays: looking through it again and again takes a tenth of a short run's time
    try:
        path = load.resolve(arguments.experiment, arguments.results_dir)
        of_run = partial(run_all, path, arguments.window_sizes or WINDOW_SIZES_MS, arguments.merged, arguments.width_in)
        if arguments.slurm:
            with SlurmArray(path, arguments.jobs, _tell) as array:
                outcome = of_run(array=array)
        else:
            outcome = of_run(arguments.jobs)
    except AnalysisError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except OSError as error:  # a full disk, a folder that may not be written to; files are replaced whole or not at all
        sys.stderr.write(f"error: {error}\n")
        return AnalysisError.exit_code
    except MemoryError:
        sys.stderr.write(f"error: {path}: expected more memory than this machine has; analyse it on one with more\n")
        return AnalysisError.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what was not yet written anew is an earlier analysis's; analyse the run again\n")
        return INTERRUPTED
    return tell(outcome)


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def tell(outcome: Outcome) -> int:
    """Print headlines, paths of report and page, how many findings are errors, what failed; return the exit code."""
    table = outcome.table
    widths = [max(len(row[place]) for row in [table.columns, *table.rows]) for place in range(len(table.columns))]
    lines = [table.title, ""]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
              for row in [table.columns, *table.rows]]  # fmt: skip
    lines += ["", table.note] if table.note else []
    lines += ["", f"verdict: {outcome.verdict}"] if outcome.verdict else []
    lines += ["", f"report: {outcome.report}"]
    if count := outcome.error_findings:
        lines.append(f"{count} error {'finding' if count == 1 else 'findings'}: see the report")
    lines.append(f"page: {outcome.page}")
    sys.stdout.write("\n".join(lines) + "\n")
    for error in outcome.errors:
        sys.stderr.write(f"error: {error}\n")
    return AnalysisError.exit_code if outcome.errors else 0


if __name__ == "__main__":
    raise SystemExit(main())
