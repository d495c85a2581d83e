"""The longest files of a run are in memory one at a time."""

from __future__ import annotations

import gc
import weakref

from run_folder import Clock, Folder, write

from analysis.by_event import readings
from analysis.questions.waits.remeasurement import Remeasured
from analysis.run import load


def test_a_nodes_table_is_let_go_before_the_next_one_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "KEPT_BYTES", 0)
    run = Folder({"a": Clock(), "b": Clock()}, remeasured={2.0: {"ntp": 0.02}})
    table = readings.table(load.load(write(run, tmp_path / "r")))
    seen: list[weakref.ref] = []
    still_there: list[int] = []
    read = load.NodeTables.__getitem__

    def noted(tables, node_id):
        gc.collect()
        still_there.append(sum(frame() is not None for frame in seen))
        frame = read(tables, node_id)
        seen.append(weakref.ref(frame))
        return frame

    monkeypatch.setattr(load.NodeTables, "__getitem__", noted)
    assert Remeasured(table).delays("ntp") == [2.0]
    assert still_there == [0, 0, 0]
