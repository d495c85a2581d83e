"""What the benchmark found: numbers or the reasons why there are none, as bench.json and as a table."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from harness.bench.figures import Distribution

KEYS: Final = (
    "lossless_events_per_s", "lost", "receive_stamp_error_us", "send_jitter_us", "ntp_abs_error_us", "sample_cost_us",
    "cpu_us_per_event", "agent_rss_mb", "agent_start_s", "bundle_bytes",
)  # fmt: skip
NTP_METHODS: Final = ("agent", "ntplib", "naive")


@dataclass
class Results:
    """One value per key of bench.json, None where nothing was measured; ``notes`` say why, or what stands behind it."""

    values: dict[str, Any] = field(default_factory=lambda: dict.fromkeys(KEYS))
    notes: dict[str, str] = field(default_factory=dict)
    lines: list[tuple[str, str]] = field(default_factory=list)

    def put(self, key: str, value: float | None, unit: str, note: str = "") -> None:
        """Keep one number; without one, ``note`` is the reason."""
        self.values[key] = value
        self._tell(key, "-" if value is None else f"{value:,} {unit}".rstrip(), note)

    def put_distribution(self, key: str, found: Distribution | None, note: str = "") -> None:
        """Keep one distribution, in us; ``key`` may be ``ntp_abs_error_us.<method>``."""
        value = None if found is None else found.as_dict()
        name, _, part = key.partition(".")
        if part:
            self.values[name] = {**(self.values[name] or dict.fromkeys(NTP_METHODS)), part: value}
        else:
            self.values[name] = value
        if found is None:
            self._tell(key, "-", note)
            return
        numbers = f"p50 {found.p50:,.1f}   p99 {found.p99:,.1f}   p99.9 {found.p999:,.1f}   max {found.max:,.1f}"
        self._tell(key, f"{numbers}   (n = {found.count:,})", note)

    def line(self, name: str, said: str) -> None:
        """Add a line to the table that has no key of its own; it is kept among the notes."""
        self._tell(name, said, "")
        self.notes[name] = said

    def missing(self, keys: tuple[str, ...], reason: str) -> None:
        """Say why some keys have no value, unless they have one."""
        for key in keys:
            if self.values[key] is None:
                self.put(key, None, "", reason)

    def _tell(self, key: str, said: str, note: str) -> None:
        self.lines.append((key, f"{said}   {note}".rstrip()))
        if note:
            self.notes[key] = note

    def as_json(self) -> str:
        """Return the text of bench.json."""
        return json.dumps({**self.values, "notes": self.notes, "machine": machine()}, indent=1) + "\n"

    def table(self) -> str:
        """Return the results as plain text."""
        width = max((len(name) for name, _ in self.lines), default=0)
        about = "  ".join(f"{value}" for value in machine().values())
        return "\n".join([f"{'machine':{width}}  {about}", *(f"{name:{width}}  {said}" for name, said in self.lines)])


def machine() -> dict[str, Any]:
    """Return what the numbers were measured on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {
        "cpu": next(models, platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
