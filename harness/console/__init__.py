"""What the user sees. The only importer of rich: tables and a live display on a terminal, else plain lines."""

from harness.console.run_display import RunDisplay
from harness.console.screen import Console
from harness.console.sweep_display import CellRow, SweepDisplay, SweepView

__all__ = ["CellRow", "Console", "RunDisplay", "SweepDisplay", "SweepView"]
