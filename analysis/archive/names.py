"""The names inside an archive: what they are, which are safe to write, and the list of checksums.

NAME/SHA256SUMS                  the checksum of every other file, as sha256sum writes and checks them
NAME/ro-crate-metadata.json      the description
NAME/results/RUN/...             run folders; of a sweep all of them, and NAME.sweep/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Mapping

SUMS_FILE: Final = records.CHECKSUMS_FILE
CRATE_FILE: Final = "ro-crate-metadata.json"
RESULTS: Final = "results"
SWEEP_ENDING: Final = ".sweep"
ENDING: Final = ".tar.zst"

MOST_BYTES: Final = 1000  # of a name; systems take 4096, with what stands before it
MOST_PART_BYTES: Final = 255
_LINE: Final = re.compile(r"([0-9a-f]{64})  (.+)")


def wrong_with(name: str) -> str:
    """Return in a few words why a name is not safe to write below a folder, on this or another machine; "" if it is.

    Safe are relative paths of plain parts with ``/`` between them, in UTF-8, without control characters.
    """
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError:
        return "bytes that are no UTF-8"
    parts = name.split("/")
    if name.startswith("/"):
        return "an absolute path"
    if ".." in parts:
        return "a path that leaves its folder"
    if not all(parts) or "." in parts:
        return "a path with an empty part"
    if "\\" in name or not name.isprintable():
        return "a backslash or a character that cannot be printed"
    if len(encoded) > MOST_BYTES or any(len(part.encode("utf-8")) > MOST_PART_BYTES for part in parts):
        return "a name that is too long"
    return ""


def render_sums(digests: Mapping[str, str]) -> str:
    """Return the list of checksums, sorted by name; ``sha256sum -c`` reads it."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(digests.items()))


def parse_sums(text: str) -> dict[str, str]:
    """Return the checksums by name. Raises ValueError, in a line, for anything else."""
    digests: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{SUMS_FILE}: expected '<sha256>  <name>', got {line[:80]!a}")
        if match[2] in digests:
            raise ValueError(f"{SUMS_FILE}: expected every name once, got {match[2]!a} twice")
        digests[match[2]] = match[1]
    return digests
