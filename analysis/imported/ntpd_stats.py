"""ntpd's ``peerstats`` and ``loopstats`` (ntp.org's ntpd and NTPsec alike), as ntp.conf(5) describes them.

Instants are a Modified Julian Day and seconds past UTC midnight. Offsets are RFC 5905's θ, "the offset of the server
relative to the host": positive where the local clock is behind, which is this house's sign. Tried with NTPsec 1.2.2 and
servers that were 12.5 ms ahead (``tests/analysis/imported/logs/``).

``peerstats`` has what ntpd's clock filter made of the last eight answers: the offset and delay of the quickest, and a
dispersion, which begins at 16 s per answer that is still missing. ``loopstats`` has what the clock discipline was told:
an offset and a jitter, and neither delay nor dispersion.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from analysis.imported.logged import About, LogFormat, NotOfThisFormatError, Row, cells_of, number, reading, wall_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

NTPD: Final = "ntpd"
MS: Final = Decimal(1000)
DAY_S: Final = 86_400
MJD_OF_1970: Final = 40_587

_WHEN: Final = r"\d{5} +\d{1,5}(?:\.\d+)?"
_NUMBER: Final = r"-?\d+\.\d+(?:[eE][+-]?\d+)?"
_PEER: Final = re.compile(rf"{_WHEN} +(?!{_NUMBER} )\S+ +[0-9a-fA-F]{{1,8}}(?: +{_NUMBER}){{3,4}}")
_LOOP: Final = re.compile(rf"{_WHEN}(?: +{_NUMBER}){{4}} +\d+")


def _lines(lines: Iterator[tuple[int, str]], wanted: re.Pattern[str], name: str) -> Iterator[tuple[int, list[str]]]:
    most = 0
    for place, line in lines:
        if not line.strip() or line.startswith("#"):  # NTPsec can be told to head its files
            continue
        if not wanted.fullmatch(line.strip()):
            raise NotOfThisFormatError(f"expected a line of ntpd's {name}, got {line.strip()[:60]!r}")
        cells = cells_of(line, most)
        most = len(cells)
        yield place, cells


def _instant(day: str, seconds: str) -> int:
    past_midnight = number("seconds past midnight", seconds)
    if past_midnight > DAY_S:  # a leap second has the day's last number
        raise NotOfThisFormatError(f"seconds past midnight: expected at most {DAY_S}, got {seconds}")
    return wall_ns("day and seconds", Decimal((int(day) - MJD_OF_1970) * DAY_S) + past_midnight)


def _peers(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Row]]:
    for place, cells in _lines(lines, _PEER, "peerstats"):
        at_ns, address = _instant(cells[0], cells[1]), cells[2]
        names = ("offset", "delay", "dispersion")
        offset, delay, dispersion = (number(name, cell) for name, cell in zip(names, cells[4:7], strict=True))
        half = abs(delay) / 2 + dispersion
        said = reading(at_ns, offset * MS, half_ms=half * MS, reference=f"server:{address}")
        yield place, Row(at_ns, {address: said})


def _loop(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Row]]:
    for place, cells in _lines(lines, _LOOP, "loopstats"):
        at_ns = _instant(cells[0], cells[1])
        offset, jitter = number("offset", cells[2]), number("jitter", cells[4])
        yield place, Row(at_ns, {NTPD: reading(at_ns, offset * MS, claimed_ms=jitter * MS, reference="utc")})


STAMPS: Final = "to the ms"
PEERSTATS: Final = LogFormat(
    name="ntpd peerstats",
    begins=lambda line: _PEER.fullmatch(line.strip()) is not None,
    rows=_peers,
    about=lambda address: About(
        offset=f"θ of {address} as ntpd's clock filter chose it, as logged",
        interval="± (delay / 2 + dispersion), to this server and not to UTC",
    ),
    stamps=STAMPS,
    missing=("the servers' root delay and root dispersion, so how far each may be from UTC",),
)
LOOPSTATS: Final = LogFormat(
    name="ntpd loopstats",
    begins=lambda line: _LOOP.fullmatch(line.strip()) is not None,
    rows=_loop,
    about=lambda _source: About(
        offset="what the clock discipline was told, as logged",
        interval="none was logged: loopstats has neither delay nor dispersion; the uncertainty is the RMS jitter",
    ),
    stamps=STAMPS,
)
