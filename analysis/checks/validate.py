"""Check a whole run folder: whether it is complete, unchanged since it left the nodes, adds up, and measures anything.

Works on folders that are incomplete: what is missing is a finding, and what there is gets checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.checks import validity
from analysis.checks.files import integrity
from analysis.checks.subject import of_folder
from analysis.errors import NoSuchRun

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from analysis.checks.finding import Finding


def validate(experiment_dir: Path) -> list[Finding]:
    """Return what is off in a run folder, errors first. Raises NoSuchRun if there is no such folder."""
    if not experiment_dir.is_dir():
        raise NoSuchRun(f"{experiment_dir}: expected a run folder, found none; name one with --experiment")
    return validity.of(of_folder(experiment_dir))


def breaches(findings: Iterable[Finding]) -> list[str]:
    """Return, in a line each, the errors of the run's files, which end ``validate`` with an exit code of their own."""
    return [
        f"{finding.where or 'the run'}{' is ' if finding.code == integrity.CODE else ': '}{finding.message}"
        for finding in findings
        if finding.breaks_contract
    ]
