"""Ways a ChronoTick server can be wrong on purpose, for tests of those who judge it: ``--misbehave KIND:AMOUNT``.

``overconfident``: claims its sigma, and that of its drift, AMOUNT times too small. ``biased``: offsets AMOUNT ms too
large. ``clamped``: offsets never leave +-AMOUNT ms. ``frozen`` and ``stale``: AMOUNT seconds after a node's first
answer it gets its last one again and again, as if that were new, or with the time it was of.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field
from typing import Any, Final

KINDS: Final = ("overconfident", "biased", "clamped", "frozen", "stale")
SIGMAS: Final = ("uncertainty_ms", "drift_uncertainty_ppm")


@dataclass
class Misbehaviour:
    """One way to be wrong; remembers, per node, the answer it will repeat."""

    kind: str
    amount: float
    _kept: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    def bend(self, said: dict[str, Any]) -> dict[str, Any]:
        """Return what the server claims in place of an honest answer."""
        if self.kind == "overconfident":
            return said | {name: said[name] / self.amount for name in SIGMAS if said.get(name) is not None}
        if self.kind == "biased":
            return {**said, "offset_ms": said["offset_ms"] + self.amount}
        if self.kind == "clamped":
            return {**said, "offset_ms": math.copysign(min(abs(said["offset_ms"]), self.amount), said["offset_ms"])}
        now_ns = said["prediction_time_ns"]
        first_ns, last = self._kept.get(said["node_id"], (now_ns, said))
        repeated = now_ns - first_ns > self.amount * 1e9
        self._kept[said["node_id"]] = (first_ns, last if repeated else said)
        if not repeated:
            return said
        return last if self.kind == "stale" else {**last, "prediction_time_ns": now_ns}


def misbehaviour(text: str) -> Misbehaviour:
    """Read ``KIND:AMOUNT``. Raises argparse.ArgumentTypeError naming what was expected."""
    kind, _, amount = text.partition(":")
    try:
        value = float(amount)
    except ValueError:
        value = math.nan
    if kind not in KINDS or not math.isfinite(value) or (kind != "biased" and value <= 0):
        raise argparse.ArgumentTypeError(f"expected KIND:AMOUNT, KIND one of {', '.join(KINDS)}, got {text!r}")
    return Misbehaviour(kind, value)
