"""Spoilt inputs: a valid one with some bytes or values changed, so that a parser is reached at any depth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

# What has broken parsers before: ends of strings and numbers, numbers no float or 64 bits hold, other encodings.
TOKENS = [
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b'"', b"'", b"\\", b",", b"\n", b"\r", b"\r\n",
    b"\x1a", b"[", b"{", b"]", b"}", b":", b"-", b"0", b"1.5", b"1e999", b"-1", b"NaN", b"Infinity", b"null", b"true",
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809", b"18446744073709551616", b"9" * 400,
    b"9" * 5_000, b"[" * 3_000, b"1_0", "\u0661".encode(), "\U0001f600".encode(), b"__class__", b"%s%n", b"$(id)",
]  # fmt: skip

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from([1 << 63, -(1 << 63) - 1, 1 << 64, 10**400, "1", "", "ok", "\0", "\ud800"])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def _cut_and_pasted(draw: Any, seeds: Sequence[bytes]) -> bytes:
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 12)))
        how = draw(st.sampled_from(["bit", "cut", "drop", "double", "token", "bytes", "splice"]))
        if how == "bit" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del data[at:]
        elif how == "drop":
            del data[at:end]
        elif how == "double":
            data[at:at] = data[at:end]
        elif how == "token":
            data[at:end] = draw(st.sampled_from(TOKENS))
        elif how == "bytes":
            data[at:end] = draw(st.binary(max_size=8))
        else:
            data[at:] = draw(st.sampled_from(seeds))[at:]
    return bytes(data)


def spoilt(*seeds: bytes, longest: int = 300) -> st.SearchStrategy[bytes]:
    """Return bytes: mostly a seed with up to four places changed, else any bytes at all."""
    mutated = _cut_and_pasted(list(seeds))
    return st.one_of(mutated, mutated, mutated, st.binary(max_size=longest))


@st.composite
def _other_values(draw: Any, seeds: Sequence[dict[str, Any]]) -> bytes:
    data = dict(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(sorted(data) or [""]))
        how = draw(st.sampled_from(["value", "value", "inside", "drop", "add"]))
        if how == "drop":
            data.pop(key, None)
        elif how == "add":
            data[draw(st.text(max_size=12))] = draw(VALUES)
        elif how == "inside" and isinstance(data.get(key), dict) and data[key]:
            inner = draw(st.sampled_from(sorted(data[key])))
            data[key] = {**data[key], inner: draw(VALUES)}
        else:
            data[key] = draw(VALUES)
    return json.dumps(data, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


def spoilt_json(*seeds: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """Return JSON text with other values, missing or more keys; sometimes what is no JSON any more."""
    other = _other_values(list(seeds))
    return st.one_of(other, other, spoilt(*(json.dumps(seed).encode() for seed in seeds)), VALUES.map(_dumped))


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")
