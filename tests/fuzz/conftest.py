"""How many cases: 2,000 in the suite, always the same ones; ``invoke fuzz`` asks for more, and for new ones."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = int(os.environ.get("FUZZ_CASES", "0"))
_COUNTED: dict[str, Counter[str]] = {}

settings.register_profile(
    "fuzz",
    max_examples=CASES or 2_000,
    derandomize=not CASES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return what counts a case by its outcome, for the summary at the end."""
    counted = _COUNTED.setdefault(request.node.name, Counter())

    def one(outcome: str) -> None:
        counted[outcome] += 1

    return one


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what a process of several has counted to the one that tells it."""
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["fuzz"] = {name: dict(counted) for name, counted in _COUNTED.items()}


class Totals:
    """Takes what the processes have counted."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Add one process's counts."""
        for name, counted in getattr(node, "workeroutput", {}).get("fuzz", {}).items():
            _COUNTED.setdefault(name, Counter()).update(counted)


def pytest_configure(config: pytest.Config) -> None:
    """Listen to the other processes, if there are any."""
    config.pluginmanager.register(Totals())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cases each parser took, and what came of them."""
    for name, counted in sorted(_COUNTED.items()):
        outcomes = ", ".join(f"{outcome} {number:,}" for outcome, number in counted.most_common())
        terminalreporter.write_line(f"fuzz {name}: {sum(counted.values()):,} cases: {outcomes}")
