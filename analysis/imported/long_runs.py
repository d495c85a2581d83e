"""The long-run files of the original ChronoTick programs: a row every ten seconds or so, NTP in some of them.

    file                              ChronoTick                  NTP
    chronotick_stability_*.csv        offset and uncertainty      offset, delay
    chronotick_client_validation_*    offset and uncertainty      time, offset; its uncertainty is root delay / 2
    overnight summary (summary_*)     offset                      offset, uncertainty = delay / 2

Offsets are to be added to the local clock in all of them, which is this house's sign (chronotick_time - system_time is
chronotick_offset_ms). NTP's interval is the one exchange's, ± delay / 2. The validation file has no delay, and its
``ntp_time`` is the server's at the end of the way there: ntp_time - system_time = T2 - T1 = θ + δ / 2 is the upper end.
ChronoTick's files hold no interval, and what their uncertainty means is not in them.
"""

from __future__ import annotations

import csv
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from analysis.imported.logged import (
    About,
    Cells,
    LogFormat,
    NotOfThisFormatError,
    Row,
    number,
    reading,
    unavailable,
    wall_ns,
)
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Cell = Mapping[str, str]

MS: Final = Decimal(1000)
ABSENT: Final = {"", "nan", "none", "null"}
ERROR: Final = "error"  # what ``chronotick_source`` says where there is no reading, beside zeros


def _format(
    name: str, columns: tuple[str, ...], instant: str, read: Callable[[Cell, int], dict[str, Cells]], uncertainty: str,
    ntp_interval: str,
) -> LogFormat:  # fmt: skip
    about = {
        records.NTP: About("of one exchange with the server, as logged", ntp_interval),
        records.CHRONOTICK: About("as logged", f"none was logged: {uncertainty}"),
    }

    def rows(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Row]]:
        places: list[int] = []

        def texts() -> Iterator[str]:
            for place, line in lines:
                places[:] = [place]
                yield line

        table = csv.DictReader(texts(), strict=True)
        head = table.fieldnames or ()
        if wrong := next((column for column in head if list(head).count(column) > 1), None):
            raise NotOfThisFormatError(f"expected every column named once, got {wrong!r} more than once")
        for cells in table:
            if None in cells or None in cells.values():
                got = "more" if None in cells else "fewer"
                raise NotOfThisFormatError(f"expected {len(head)} cells, got {got}")
            at_ns = wall_ns(instant, number(instant, cells[instant]))
            yield places[0], Row(at_ns, read(cells, at_ns))

    def begins(line: str) -> bool:
        return set(columns) <= {cell.strip() for cell in line.lstrip("\ufeff").split(",")}

    return LogFormat(
        name=name,
        begins=begins,
        rows=rows,
        about=about.__getitem__,
        stamps="of the program's own row; when in it NTP was asked is not logged",
        missing=("the server's root delay and dispersion, the stamps' precision, and the drift during the exchange",),
    )


def _there(cells: Cell, column: str) -> Decimal | None:
    text = cells.get(column, "").strip()
    return None if text.lower() in ABSENT else number(column, text)


def _chronotick(cells: Cell, at_ns: int, prefix: str) -> dict[str, Cells]:
    offset = _there(cells, f"{prefix}_offset_ms")
    source = cells.get(f"{prefix}_source", "").strip().lower()
    if offset is None or source == ERROR:
        return {records.CHRONOTICK: unavailable(ERROR if source == ERROR else "not_recorded")}
    return {records.CHRONOTICK: reading(at_ns, offset, claimed_ms=_there(cells, f"{prefix}_uncertainty_ms"))}


def _ntp(cells: Cell, at_ns: int, offset: Decimal | None, half: Decimal | None) -> dict[str, Cells]:
    """Return NTP's cells; a negative half-width is of no exchange, and leaves a point."""
    if offset is None:
        return {}
    server = cells.get("ntp_server", "").strip()
    interval = half if half is not None and half >= 0 else None
    return {records.NTP: reading(at_ns, offset, half_ms=interval, reference=f"server:{server or 'unknown'}")}


def _stability(cells: Cell, at_ns: int) -> dict[str, Cells]:
    delay = _there(cells, "ntp_delay_ms")
    half = None if delay is None else delay / 2
    return {
        **_ntp(cells, at_ns, _there(cells, "ntp_offset_ms"), half),
        **_chronotick(cells, at_ns, "chronotick"),
    }


def _validation(cells: Cell, at_ns: int) -> dict[str, Cells]:
    offset, server_time = _there(cells, "ntp_offset_ms"), _there(cells, "ntp_time")
    half = None
    if offset is not None and server_time is not None:
        half = (server_time - number("system_time", cells["system_time"])) * MS - offset
    return {**_ntp(cells, at_ns, offset, half), **_chronotick(cells, at_ns, "chronotick")}


def _overnight(cells: Cell, at_ns: int) -> dict[str, Cells]:
    offset, half = _there(cells, "ntp_ground_truth_offset_ms"), _there(cells, "ntp_uncertainty_ms")
    return {**_ntp(cells, at_ns, offset, half), **_chronotick(cells, at_ns, "client")}


UNCERTAINTY: Final = "chronotick_uncertainty_ms is a number of no stated meaning"
STABILITY: Final = _format(
    "ChronoTick's stability file",
    ("system_time", "chronotick_offset_ms", "ntp_offset_ms", "ntp_delay_ms"),
    "system_time", _stability, UNCERTAINTY, "± ntp_delay_ms / 2, to this server",
)  # fmt: skip
VALIDATION: Final = _format(
    "ChronoTick's client validation file",
    ("system_time", "chronotick_offset_ms", "ntp_time", "ntp_offset_ms", "ntp_uncertainty_ms"),
    "system_time", _validation, UNCERTAINTY,
    "± (ntp_time - system_time - ntp_offset_ms), which is delay / 2, to this server; ntp_uncertainty_ms is half the "
    "server's root delay, and of no use for this path",
)  # fmt: skip
OVERNIGHT: Final = _format(
    "ChronoTick's overnight summary",
    ("timestamp", "client_offset_ms", "ntp_ground_truth_offset_ms", "ntp_uncertainty_ms"),
    "timestamp", _overnight, "client_offset_ms is all there is",
    "± ntp_uncertainty_ms, which is delay / 2, to this server",
)  # fmt: skip
