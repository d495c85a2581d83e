"""Metrics in Prometheus' text exposition format, version 0.0.4.

Source of the format: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_IN_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})
_IN_LABEL = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def family(name: str, kind: str, text: str, values: Iterable[tuple[Mapping[str, str], float]]) -> str:
    """Return one metric: its HELP and TYPE (``counter`` or ``gauge``) and a line per set of labels."""
    lines = [f"# HELP {name} {text.translate(_IN_HELP)}", f"# TYPE {name} {kind}"]
    for labels, value in values:
        named = ",".join(f'{key}="{label.translate(_IN_LABEL)}"' for key, label in labels.items())
        lines.append(f"{name}{{{named}}} {value!r}" if named else f"{name} {value!r}")
    return "".join(f"{line}\n" for line in lines)
