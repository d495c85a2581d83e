"""A real chronyd's logs, imported: a server that is ahead is to be added, in both of them."""

from __future__ import annotations

import csv
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from agents import service
from awaiting import until
from chrony_daemon import chronyd, follow

from analysis.imported import series
from node_agent.contract import records

if TYPE_CHECKING:
    from pathlib import Path

AHEAD_MS = 12.5

pytestmark = pytest.mark.skipif(
    shutil.which("chronyd") is None or os.geteuid() != 0, reason="needs chronyd, and the right to run one"
)


def test_a_server_that_is_ahead_is_ahead_in_measurements_and_in_tracking(tmp_path: Path) -> None:
    tracking = tmp_path / "c" / "tracking.log"
    log = ("log measurements tracking", f"logdir {tmp_path}/c")
    with (
        service("time_services.ntp_server", "127.0.66.93", ("--error-ms", str(AHEAD_MS))) as (_, upstream),
        chronyd(tmp_path / "c", follow(upstream), *log),
    ):
        until(lambda: tracking.exists() and " N " in tracking.read_text(), "chronyd's first update")
    folder = series.import_series(tmp_path / "c", "x", tmp_path / "results", "here")
    with (folder / series.readings_file("here")).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for source in ("chrony", "127.0.66.93"):
        first = next(row for row in rows if row[f"{source}_status"] == records.OK)
        assert float(first[f"{source}_offset_ms"]) == pytest.approx(AHEAD_MS, abs=2.0)
