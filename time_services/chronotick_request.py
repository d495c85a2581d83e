"""What a node may ask: the body of ``POST /get_time``, read strictly. What is wrong is refused, never repaired."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from time_services.drift_filter import Sample

NODE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
MAX_SAMPLES = 64
LARGEST_INSTANT_NS = 2**63 - 1
LARGEST_MS = 1e13  # some 300 years: further off than any wall clock can be
LEAST_DELAY_MS = -1.0  # a measured delay may be negative by the two clocks' precisions; it then means zero

REQUEST_KEYS = {"node_id", "instant_ns", "raw_ns", "ntp_samples"}
OPTIONAL_KEYS = {"use_dual_model"}
SAMPLE_KEYS = {"raw_ns", "offset_ms", "delay_ms", "bound_ms"}


class RequestError(ValueError):
    """A request that cannot be answered: which key, what was expected, what was seen."""


@dataclass(frozen=True)
class TimeRequest:
    """A node asks for the offset at one instant of its own clocks (wall ``instant_ns``, raw ``raw_ns``)."""

    node_id: str
    instant_ns: int
    raw_ns: int
    samples: list[Sample]


def read_request(body: bytes) -> TimeRequest:
    """Read the JSON body of a request. Raises RequestError."""
    try:
        data = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"body: expected JSON, got {error}") from error
    _keys("body", data, REQUEST_KEYS, OPTIONAL_KEYS)
    node_id = data["node_id"]
    if not isinstance(node_id, str) or not NODE_ID.fullmatch(node_id):
        raise RequestError(f"node_id: expected 1 to 64 letters, digits, '_', '.', '-', got {_shown(node_id)}")
    if not isinstance(data.get("use_dual_model", True), bool):
        raise RequestError(f"use_dual_model: expected true or false, got {_shown(data['use_dual_model'])}")
    samples = data["ntp_samples"]
    if not isinstance(samples, list) or len(samples) > MAX_SAMPLES:
        raise RequestError(f"ntp_samples: expected a list of at most {MAX_SAMPLES}, got {_shown(samples)}")
    return TimeRequest(
        node_id,
        _instant("instant_ns", data["instant_ns"]),
        _instant("raw_ns", data["raw_ns"]),
        [_sample(f"ntp_samples[{index}]", item) for index, item in enumerate(samples)],
    )


def _sample(where: str, data: Any) -> Sample:
    _keys(where, data, SAMPLE_KEYS, set())
    return Sample(
        _instant(f"{where}.raw_ns", data["raw_ns"]),
        _milliseconds(f"{where}.offset_ms", data["offset_ms"], -LARGEST_MS) / 1e3,
        max(_milliseconds(f"{where}.delay_ms", data["delay_ms"], LEAST_DELAY_MS), 0.0) / 1e3,
        _milliseconds(f"{where}.bound_ms", data["bound_ms"], 0.0) / 1e3,
    )


def _keys(where: str, data: Any, required: set[str], optional: set[str]) -> None:
    if not isinstance(data, dict):
        raise RequestError(f"{where}: expected an object, got {_shown(data)}")
    for key in sorted(required - set(data)):
        raise RequestError(f"{where}: key {key!r} is missing")
    for key in sorted(set(data) - required - optional):
        raise RequestError(f"{where}: unknown key {_shown(key)}")


def _instant(where: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST_INSTANT_NS:
        raise RequestError(f"{where}: expected whole nanoseconds from 0 to 2^63 - 1, got {_shown(value)}")
    return value


def _milliseconds(where: str, value: Any, least: float) -> float:
    if type(value) not in {int, float} or not least <= value <= LARGEST_MS or not math.isfinite(value):
        raise RequestError(f"{where}: expected milliseconds from {least:g} to {LARGEST_MS:g}, got {_shown(value)}")
    return float(value)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is no JSON")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
