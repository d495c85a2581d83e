"""What ChronoTick answers mean: a strict schema, and a probabilistic interval of some sigmas."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from node_agent.clocks.base import aged_bound_ns, stamp_bound_ns
from node_agent.contract.records import (
    CHRONOTICK,
    NOT_YET_VALID,
    PROBABILISTIC,
    STALE,
    Available,
    Reading,
    Sample,
    Stamp,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_MS = 1e12  # 31 years: beyond it nothing is a clock offset, and ns would leave 64 bits


@dataclass(frozen=True)
class Prediction:
    """A server's answer: the offset (reference - local wall) at ``prediction_time_ns``, None meaning when asked."""

    offset_ns: int
    sigma_ns: int
    prediction_time_ns: int | None
    scope: str


@dataclass(frozen=True)
class BadAnswer:
    """Why an answer is not believed."""

    outcome: str


@dataclass(frozen=True)
class ChronoTickSource:
    """The ChronoTick clock: newest prediction +- ``multiplier`` sigma, aged from the instant it holds at."""

    server: str
    multiplier: float
    max_drift_ppm: float
    valid_for_ns: int
    name: str = CHRONOTICK

    def read(self, samples: Sequence[Sample], stamp: Stamp, raw_ns: int) -> Reading:
        """Return the newest sample's interval at the stamp."""
        sample = samples[-1]
        if sample.raw_at_ns is None or sample.reference_at_ns is None or sample.sigma_ns is None:
            raise ValueError(f"sample {sample.sample_id}: a good ChronoTick sample has raw, reference and sigma")
        age = raw_ns - sample.raw_at_ns
        if age > self.valid_for_ns:
            return Unavailable(STALE)
        if -age > self.valid_for_ns:  # an answer about a time that far ahead says no more about now than an old one
            return Unavailable(NOT_YET_VALID)
        est = sample.reference_at_ns + age
        at_sample = math.ceil(self.multiplier * sample.sigma_ns) + (sample.bound_stamp_ns or 0)
        half = aged_bound_ns(at_sample, age, self.max_drift_ppm)
        half += stamp_bound_ns(stamp.raw_error_ns, self.max_drift_ppm)
        return Available(
            est, est - half, est + half, PROBABILISTIC, self._level, self._reference, sample.sigma_ns, age,
            sample.sample_id,
        )  # fmt: skip

    @cached_property
    def _level(self) -> float:
        return math.erf(self.multiplier / math.sqrt(2))

    @cached_property
    def _reference(self) -> str:
        return f"server:{self.server}"


def parse(text: str, node_id: str) -> Prediction | BadAnswer:
    """Read an answer to ``POST /get_time``. Missing key, wrong type, NaN or negative uncertainty: a failed sample.

    An answer that echoes ``node_id`` is about the node's clock (scope ``node``); one that does not is about the
    server's own (scope ``server``).
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):  # the latter: thousands of nested brackets
        return BadAnswer("not_json")
    if not isinstance(data, dict):
        return BadAnswer("not_an_object")
    values: dict[str, float] = {}
    for key in ("offset_ms", "uncertainty_ms"):
        if key not in data:
            return BadAnswer(f"missing_{key}")
        value = data[key]
        if not _is_number(value):
            return BadAnswer(f"wrong_type_{key}")
        if not abs(value) <= _MAX_MS:  # so written, NaN and integers that no float holds are caught too
            return BadAnswer(f"not_finite_{key}")
        values[key] = value
    if values["uncertainty_ms"] < 0:
        return BadAnswer("negative_uncertainty_ms")
    when = data.get("prediction_time_ns")
    if when is not None and (type(when) is not int or not 0 < when < 1 << 63):
        return BadAnswer("wrong_type_prediction_time_ns")
    echoed = data.get("node_id")
    if echoed is not None and echoed != node_id:
        return BadAnswer("wrong_node_id")
    offset_ns = round(values["offset_ms"] * 1e6)
    if when is not None and not abs(when + offset_ns) < 1 << 63:
        return BadAnswer("out_of_range_prediction_time_ns")  # a reference time that no file of ours can hold
    return Prediction(
        offset_ns=offset_ns,
        sigma_ns=math.ceil(values["uncertainty_ms"] * 1e6),
        prediction_time_ns=when,
        scope="node" if echoed == node_id else "server",
    )


def _is_number(value: Any) -> bool:
    return type(value) in {int, float}
