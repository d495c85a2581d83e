"""Rows of events whose stamp reached the raw oscillator, of a machine that may be busy with something else.

There an agent may wake up more than 50 ms after a packet; such a row has no raw instant and no reading, and says so.
"""

from __future__ import annotations

from typing import Final

from node_agent.contract import records

LEAST_SHARE: Final = 0.8  # of the rows; with fewer, a test would say nothing of what it is about


def stamped(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the rows with a raw instant; fail if one without it has readings, or if these are most of them."""
    if not rows:
        return []
    column = next(name for name in ("receive_raw_ns", "send_raw_ns") if name in rows[0])
    for row in rows:
        if not row[column]:
            statuses = {cell for name, cell in row.items() if name.endswith("_status")}
            assert statuses <= {records.STAMP_GAP, records.NOT_CONFIGURED}, row
    found = [row for row in rows if row[column]]
    assert len(found) >= LEAST_SHARE * len(rows)
    return found
