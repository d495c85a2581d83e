"""A run folder that is being imported: it appears whole, or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.errors import AnalysisError, UsageError, cause

if TYPE_CHECKING:
    from collections.abc import Iterator


class UnusableSource(AnalysisError):  # noqa: N818 - it says what is the matter, like its siblings in analysis.errors
    """What is to be imported is missing or has none of the formats, or there is no place to write it to."""

    exit_code = 2


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield a folder to write the run ``target`` into; it becomes the target when the block ends without an error.

    Raises UnusableSource where no folder can be made there, UsageError where somebody else made the target meanwhile,
    whose files stay.
    """
    results_dir = target.parent
    try:
        results_dir.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".import-{target.name}-", dir=results_dir))
    except OSError as error:
        raise UnusableSource(f"{results_dir}: expected a folder to write results to, got: {cause(error)}") from error
    try:
        yield staging
        staging.chmod(0o755)
        try:
            staging.rename(target)
        except OSError as error:
            raise UsageError(f"experiment {target.name}: expected a new name, got: {cause(error)}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)  # gone already if it became the target
