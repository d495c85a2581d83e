"""What judges runs starts quickly: libraries that only figures or a few statistics need are imported by these."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = ("matplotlib", "scipy")


@pytest.mark.parametrize("module", ["analysis.pipeline", "analysis.checks.validate", "analysis.checks.replay"])
def test_neither_drawing_nor_scipy_is_loaded_before_it_is_needed(module: str) -> None:
    program = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=250)
    loaded = set(done.stdout.split())
    assert "numpy" in loaded
    assert loaded.isdisjoint(SLOW)
