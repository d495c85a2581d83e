"""The statements' tests build their runs with ``tests/analysis/run_folder.py``, one folder up."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
