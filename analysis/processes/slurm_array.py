"""Independent pieces of work on one run, shared out among the tasks of a Slurm job array.

Every node it runs on sees the run's folder and this Python at the same paths, as on a cluster with shared homes. A task
begins with everything this process has of the run, and hands its results over through that folder.
"""

from __future__ import annotations

import gc
import math
import pickle
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from analysis.errors import AnalysisError, UsageError, cause
from analysis.storage.scratch import SharedScratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from submitit.core.core import Job

TASKS: Final = 16
MINUTES: Final = 60  # a task may take; sbatch's own variables (SBATCH_TIMELIMIT ...) overrule it
LOOK_EVERY_S: Final = 1.0
ASK_EVERY_S: Final = 10.0
ASKING_S: Final = 60.0
LATE_S: Final = 60.0  # after a task ended its result may be seen: network file systems remember what was not there
WARNED_S: Final = 30  # before Slurm ends a task
_PIECES_FILE: Final = "pieces.pickle"


class SlurmArray:
    """A job array for one analysis, and the folder it works in, below the run's; leaving the block ends both.

    ``say`` is told which job it is. Raises UsageError where there is no Slurm.
    """

    def __init__(self, run_folder: Path, tasks: int | None, say: Callable[[str], None]) -> None:
        for program in ("sbatch", "squeue", "scancel"):
            if shutil.which(program) is None:
                where = "do it on a node of a Slurm cluster, or leave --slurm out"
                raise UsageError(f"--slurm: expected the program {program} on the PATH, got none; {where}")
        self._tasks = tasks or TASKS
        self._say = say
        self._jobs: list[Job[Any]] = []
        self.folder = Path(tempfile.mkdtemp(prefix=".array-", dir=run_folder.resolve()))
        self.scratch = SharedScratch(self.folder)
        self._failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End tasks that still go on; keep the folder where a task failed: its logs are there."""
        if not all(map(_there, self._jobs)):
            try:
                subprocess.run(["scancel", self._array], check=False, timeout=ASKING_S)
            except subprocess.TimeoutExpired:
                self._say(f"Slurm job {self._array}: scancel got no answer; end it yourself: scancel {self._array}")
        self.scratch.close()
        gc.collect()  # a network file system keeps what is removed and still open, and so its folder
        if not self._failed:
            shutil.rmtree(self.folder, ignore_errors=True)

    def results(self, pieces: Sequence[Callable[[], Any]]) -> list[Any]:
        """Return what every piece returns, in their order; long ones had better be first.

        Raises UsageError where Slurm takes no job, AnalysisError where a task ended without its result; what a piece
        raised as an AnalysisError is raised as it is.
        """
        import submitit  # noqa: PLC0415 - only for those who have a Slurm
        from submitit.core.utils import (  # noqa: PLC0415 - together with it
            FailedJobError,
            FailedSubmissionError,
            cloudpickle_dump,
        )

        path = self.folder / _PIECES_FILE
        cloudpickle_dump(list(pieces), path)
        tasks = min(self._tasks, len(pieces))
        shares = [_Share(path, range(task, len(pieces), tasks)) for task in range(tasks)]
        executor = submitit.SlurmExecutor(self.folder)
        executor.update_parameters(
            job_name="chronotick-analysis", time=MINUTES, stderr_to_stdout=True, use_srun=False,
            signal_delay_s=WARNED_S, array_parallelism=tasks,
        )  # fmt: skip
        try:
            self._jobs = executor.submit_array(shares)
        except (FailedJobError, FailedSubmissionError) as error:
            where = "ask again as it wants it, or leave --slurm out"
            raise UsageError(f"--slurm: expected sbatch to take a job array, got {cause(error)}; {where}") from error
        told = f"{tasks} {'task' if tasks == 1 else 'tasks'}"
        self._say(f"Slurm job {self._array}: the run is judged by {told}; squeue -j {self._array} shows them")
        made: list[Any] = [None] * len(pieces)
        for place, results in self._arriving():
            for number, result in zip(shares[place].numbers, results, strict=True):
                made[number] = result
        path.unlink()
        return made

    @property
    def _array(self) -> str:
        return self._jobs[0].job_id.split("_")[0]

    def _arriving(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield what every task leaves, with its place, as soon as it is there; raise as soon as one cannot leave any.

        That is one that Slurm knows no more, for as long as its result may take to be seen.
        """
        missing = dict(enumerate(self._jobs))
        asked, gone_since = time.monotonic(), dict.fromkeys(missing, math.inf)
        while missing:
            for place in [place for place, job in missing.items() if _there(job)]:
                yield place, self._result(missing.pop(place))
            now = time.monotonic()
            if missing and now - asked >= ASK_EVERY_S:
                asked, known = now, self._known()
                for place, job in missing.items():
                    gone = known is not None and job.job_id not in known
                    gone_since[place] = min(gone_since[place], now) if gone else math.inf
            for place, job in missing.items():
                if now - gone_since[place] > LATE_S:
                    raise self._without_result(job)
            time.sleep(LOOK_EVERY_S if missing else 0)

    def _known(self) -> set[str] | None:
        """Return which tasks of the array wait or go on, None where Slurm does not say."""
        words = ["squeue", "--noheader", "--array", "--format=%i", f"--jobs={self._array}"]
        try:
            answer = subprocess.run(words, check=False, capture_output=True, text=True, timeout=ASKING_S)
        except subprocess.TimeoutExpired:
            return None
        if (
            answer.returncode and "Invalid job id" not in answer.stderr
        ):  # which is what it says of one that is long over
            return None
        return set(answer.stdout.split())

    def _result(self, job: Job[Any]) -> list[Any]:
        outcome, result = pickle.loads(job.paths.result_pickle.read_bytes())  # noqa: S301 - our own task's
        if outcome == "error":
            raise self._without_result(job, str(result).strip().splitlines()[-1])
        if isinstance(result, AnalysisError):
            raise result
        made: list[Any] = result
        return made

    def _without_result(self, job: Job[Any], said: str = "none") -> AnalysisError:
        self._failed = True
        return AnalysisError(
            f"Slurm job {job.job_id}: expected a result, got {said}; its log is {job.paths.stdout} (where it was ended "
            "for its time or memory, set SBATCH_TIMELIMIT or SBATCH_MEM_PER_NODE)"
        )


@dataclass(frozen=True)
class _Share:
    """What one task does: some of the pieces, which are in a file."""

    pieces: Path
    numbers: range

    def __call__(self) -> list[Any] | AnalysisError:
        with self.pieces.open("rb") as file:
            pieces: list[Callable[[], Any]] = pickle.load(file)  # noqa: S301 - what the first process wrote
        try:
            return [pieces[number]() for number in self.numbers]
        except AnalysisError as error:
            return error


def _there(job: Job[Any]) -> bool:
    return bool(job.paths.result_pickle.exists())
