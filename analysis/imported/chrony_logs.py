"""chrony's ``measurements.log`` and ``tracking.log``, as chrony.conf(5) describes them under its ``log`` directive.

Their instants are UTC to the whole second. Signs differ: of a measurement "positive indicates that the local clock is
slow of the remote source", which is this house's offset; of tracking "positive indicates the clock is fast of UTC",
which is its negative. What tracking calls offset is that of chronyd's own corrected time, of which the system clock is
still "the remaining offset correction" behind ("positive means the system clock is slow of UTC"), so

    reference - system clock = remaining correction - offset.

Both were tried with chronyd 4.3 and servers that were 12.5 ms ahead (``tests/analysis/imported/logs/``).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from analysis.imported.logged import (
    About,
    LogFormat,
    NotOfThisFormatError,
    Row,
    cells_of,
    number,
    reading,
    unavailable,
    wall_ns,
)
from node_agent.clocks.chrony import Tracking
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator

MS: Final = Decimal(1000)
NS: Final = Decimal(1_000_000_000)
UNSYNCHRONISED: Final = "unsynchronised"  # as the node's own chrony source calls it

_BANNER: Final = re.compile(r"=+|\s+Date \(UTC\) Time .*")
_INSTANT: Final = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
_NUMBER: Final = r"-?\d\S*"
_MEASUREMENT: Final = re.compile(
    rf"{_INSTANT} +\S+ +[N+?-] +\d+ +[01]{{3}} +[01]{{3}} +[01]{{4}} +-?\d+ +-?\d+ +\S+(?: +{_NUMBER}){{5}} +\S+.*"
)
_TRACKING: Final = re.compile(
    rf"{_INSTANT} +\S+ +\d+ +{_NUMBER} +{_NUMBER} +{_NUMBER} +[N+?-] +\d+(?:(?: +{_NUMBER}){{2}}|(?: +{_NUMBER}){{5}})"
)
_OLDER_TRACKING_CELLS: Final = 11  # before chrony 2.0: without root delay, root dispersion and maximum error


class _Begins:
    """Tell a log by its first line: the banner, whose heads of columns it has, or a line of numbers."""

    def __init__(self, line: re.Pattern[str], heads: tuple[str, ...]) -> None:
        self._line, self._heads = line, heads

    def __call__(self, line: str) -> bool:
        return self._line.fullmatch(line.rstrip()) is not None or (
            "Date (UTC) Time" in line and all(head in line for head in self._heads)
        )


def _instant(day: str, time: str) -> int:
    try:
        instant = datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=UTC)
    except ValueError as error:
        raise NotOfThisFormatError(f"date and time: expected YYYY-MM-DD HH:MM:SS, got '{day} {time}'") from error
    return wall_ns("date and time", Decimal(int(instant.timestamp())))


def _lines(lines: Iterator[tuple[int, str]], wanted: re.Pattern[str], name: str) -> Iterator[tuple[int, list[str]]]:
    most = 0
    for place, line in lines:
        if not line.strip() or _BANNER.fullmatch(line):
            continue
        if not wanted.fullmatch(line.rstrip()):
            raise NotOfThisFormatError(f"expected a line of chrony's {name}, got {line.strip()[:60]!r}")
        cells = cells_of(line, most)
        most = len(cells)
        yield place, cells


def _measurements(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Row]]:
    for place, cells in _lines(lines, _MEASUREMENT, "measurements.log"):
        at_ns, address = _instant(cells[0], cells[1]), cells[2]
        offset, delay, dispersion, root_delay, root_dispersion = (
            number(name, cell)
            for name, cell in zip(("offset", "delay", "dispersion", "root delay", "root dispersion"), cells[11:16],
                                  strict=True)
        )  # fmt: skip
        half = abs(delay) / 2 + dispersion + root_delay / 2 + root_dispersion
        said = reading(at_ns, offset * MS, half_ms=half * MS, reference="utc")
        failed = cells[5] + cells[6]  # the tests 1 to 3 and 5 to 7 of RFC 5905; `log measurements` writes none of these
        yield place, Row(at_ns, {address: unavailable("failed_tests") if "0" in failed else said})


def _tracking(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Row]]:
    for place, cells in _lines(lines, _TRACKING, "tracking.log"):
        at_ns = _instant(cells[0], cells[1])
        if cells[7] == "?":
            yield place, Row(at_ns, {records.CHRONY: unavailable(UNSYNCHRONISED)})
            continue
        offset = number("remaining correction", cells[10]) - number("offset", cells[6])
        half = None
        if len(cells) > _OLDER_TRACKING_CELLS:
            root_delay, root_dispersion = number("root delay", cells[11]), number("root dispersion", cells[12])
            ns = [round(value * NS) for value in (offset, root_delay, root_dispersion)]
            half = Decimal(Tracking(ns[0], ns[1], ns[2]).bound_ns) / NS
        said = reading(
            at_ns, offset * MS, half_ms=None if half is None else half * MS, kind=records.GUARANTEED, reference="utc"
        )
        yield place, Row(at_ns, {records.CHRONY: said})


STAMPS: Final = "to the whole second"
MEASUREMENTS: Final = LogFormat(
    name="chrony measurements.log",
    begins=_Begins(_MEASUREMENT, ("Peer del.", "Score")),
    rows=_measurements,
    about=lambda address: About(
        offset=f"θ of {address}, as logged: positive where the local clock is slow",
        interval="± (peer delay / 2 + peer dispersion + root delay / 2 + root dispersion), to UTC",
        clock="chronyd's corrected time, which the system clock is slewed to",
    ),
    stamps=STAMPS,
    missing=("the remaining correction of the system clock at each measurement (tracking.log has it at updates)",),
)
TRACKING: Final = LogFormat(
    name="chrony tracking.log",
    begins=_Begins(_TRACKING, ("Freq ppm", "Rem. corr.")),
    rows=_tracking,
    about=lambda _source: About(
        offset="remaining correction - offset, of the system clock, before chronyd corrects it by this update",
        interval="± (|remaining correction - offset| + root delay / 2 + root dispersion), as chronyc(1) bounds it; "
        "none where the log is of a chrony before 2.0",
    ),
    stamps=STAMPS,
)
