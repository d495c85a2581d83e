"""What a node may ask: the body of ``POST /get_time``, read strictly. What is wrong is refused, never repaired."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from time_services.models import NtpSample

NODE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
RUN_ID = re.compile(r"[A-Za-z0-9_.:+-]{0,128}")  # "" where an agent was started by hand
TAG = re.compile(r"[0-9a-f]{32}")
SERVER = re.compile(r"[!-~]{0,270}")
MAX_SAMPLES = 64
LARGEST_INSTANT_NS = 2**63 - 1
LARGEST_MS = 1e13  # some 300 years: further off than any wall clock can be
LEAST_DELAY_MS = -1.0  # a measured delay may be negative by the two clocks' precisions; it then means zero

REQUEST_KEYS = {"node_id", "instant_ns", "raw_ns", "ntp_samples"}
OPTIONAL_KEYS = {"use_dual_model", "run_id", "tag"}
SAMPLE_KEYS = {"raw_ns", "offset_ms", "delay_ms", "bound_ms"}
OPTIONAL_SAMPLE_KEYS = {"server"}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


class RequestError(ValueError):
    """A request that cannot be answered: which key, what was expected, what was seen."""


@dataclass(frozen=True)
class TimeRequest:
    """A node asks for the offset at one instant of its own clocks (wall ``instant_ns``, raw ``raw_ns``).

    ``tag`` is what only a node of a run with its key can say, "" where there is none. ``dual`` is None where the
    request leaves the model to the server.
    """

    node_id: str
    instant_ns: int
    raw_ns: int
    samples: list[NtpSample]
    run_id: str = ""
    tag: str = ""
    dual: bool | None = None


def read_request(body: bytes) -> TimeRequest | None:
    """Read the JSON body of a request; None for ``{}``, which asks for the server's own clock. Raises RequestError.

    A sample later than the request's own instant cannot be: the whole request is refused, since a node that sends one
    is not what it says, and what is dropped in silence would be looked for in vain.
    """
    try:
        data = _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise RequestError(f"body: expected JSON, got {error}") from error
    if data == {}:
        return None
    _keys("body", data, REQUEST_KEYS, OPTIONAL_KEYS)
    samples = data["ntp_samples"]
    if not isinstance(samples, list) or len(samples) > MAX_SAMPLES:
        raise RequestError(f"ntp_samples: expected a list of at most {MAX_SAMPLES}, got {_shown(samples)}")
    dual = data.get("use_dual_model")
    if not isinstance(dual, bool) and "use_dual_model" in data:
        raise RequestError(f"use_dual_model: expected true or false, got {_shown(dual)}")
    raw_ns = _instant("raw_ns", data["raw_ns"])
    return TimeRequest(
        _text("node_id", data["node_id"], NODE_ID, "1 to 64 letters, digits, '_', '.', '-'"),
        _instant("instant_ns", data["instant_ns"]),
        raw_ns,
        [_sample(f"ntp_samples[{index}]", item, raw_ns) for index, item in enumerate(samples)],
        _text("run_id", data.get("run_id", ""), RUN_ID, "at most 128 letters, digits, '_', '.', ':', '+', '-'"),
        _text("tag", data["tag"], TAG, "32 hexadecimal digits") if "tag" in data else "",
        dual,
    )


def _sample(where: str, data: Any, asked_raw_ns: int) -> NtpSample:
    _keys(where, data, SAMPLE_KEYS, OPTIONAL_SAMPLE_KEYS)
    raw_ns = _instant(f"{where}.raw_ns", data["raw_ns"])
    if raw_ns > asked_raw_ns:
        raise RequestError(f"{where}.raw_ns: expected at most the request's own raw_ns {asked_raw_ns}, got {raw_ns}")
    return NtpSample(
        _text(f"{where}.server", data.get("server", ""), SERVER, "at most 270 printable characters"),
        raw_ns,
        _milliseconds(f"{where}.offset_ms", data["offset_ms"], -LARGEST_MS),
        max(_milliseconds(f"{where}.delay_ms", data["delay_ms"], LEAST_DELAY_MS), 0.0),
        _milliseconds(f"{where}.bound_ms", data["bound_ms"], 0.0),
    )


def _text(where: str, value: Any, pattern: re.Pattern[str], expected: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise RequestError(f"{where}: expected {expected}, got {_shown(value)}")
    return value


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


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
