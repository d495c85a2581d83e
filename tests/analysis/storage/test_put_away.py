"""What is put on disk is what was in memory, and changes no result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cloudpickle
import pandas as pd
import pytest

from analysis import pipeline, registry
from analysis.by_event import open_run
from analysis.errors import AnalysisError
from analysis.simulation.simulate import simulate
from analysis.storage.put_away import PutAway
from analysis.storage.scratch import Scratch
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def test_values_are_the_same_in_memory_and_on_disk(tmp_path):
    frame = pd.DataFrame(
        {
            "n": pd.array([1, None, 3], dtype="Int64"),
            "x": [0.5, float("nan"), -0.0],
            "word": pd.Categorical(["a", None, "b"]),
        }
    )
    frames = PutAway({"one": frame, "none": frame.iloc[:0]})
    for _ in range(2):  # what is there already stays there
        frames.put_away(Scratch(tmp_path))
        assert list(frames) == ["one", "none"]
        assert len(frames) == 2
        pd.testing.assert_frame_equal(frames["one"], frame)
        pd.testing.assert_frame_equal(frames["none"], frame.iloc[:0])
    assert "another" not in frames
    with pytest.raises(KeyError):
        frames["another"]
    assert list(tmp_path.iterdir()) == []  # a file without a name


def test_a_disk_without_room_is_told(tmp_path, monkeypatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("analysis.storage.scratch._append", full)
    with pytest.raises(AnalysisError, match=r"expected room .*No space left on device; make room on that disk"):
        PutAway({"one": pd.DataFrame({"x": [1.0]})}).put_away(Scratch(tmp_path))


def test_probes_on_disk_change_no_statistics(tmp_path, monkeypatch):
    """Findings of the probes, what they cost and what the reference says, to the last digit."""
    monkeypatch.setattr(pipeline, "_drawings", lambda _found: {})
    folder = simulate("honest", 4, 60, seed=2, results=tmp_path)
    said = []
    for most in (registry.MOST_PROBES, 0):
        monkeypatch.setattr(registry, "MOST_PROBES", most)
        pipeline.run_all(folder)
        statistics = sorted((folder / records.STATISTICS_DIR).iterdir())
        said.append({file.name: file.read_bytes() for file in statistics})
    assert said[0] == said[1]


@pytest.mark.parametrize("failing", ["tempfile.TemporaryFile", "os.pwrite"])
def test_probes_that_cannot_be_put_on_disk_stay_in_memory(tmp_path, monkeypatch, failing):
    """A run folder that may only be read, or a full disk, ends no analysis that memory is enough for."""
    folder = simulate("honest", 3, 40, seed=3, results=tmp_path)
    here = registry.compute(open_run.table_of(folder)).as_statistics()

    def refuse(*_: object, **_keywords: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(registry, "MOST_PROBES", 0)
    monkeypatch.setattr(f"analysis.storage.scratch.{failing}", refuse)
    assert registry.compute(open_run.table_of(folder)).as_statistics() == here


def test_what_goes_to_other_machines_has_no_open_file(tmp_path, monkeypatch):
    """Tasks of an array get the run by pickling: its probes stay in memory, however many they are."""
    monkeypatch.setattr(registry, "MOST_PROBES", 0)
    readings = open_run.table_of(simulate("honest", 3, 40, seed=3, results=tmp_path))

    def elsewhere(pieces: Sequence[Callable[[], object]]) -> list[object]:
        return [cloudpickle.loads(cloudpickle.dumps(piece))() for piece in pieces]

    here = registry.compute(readings).as_statistics()
    again = open_run.table_of(readings.run.path)
    assert registry.compute(again, share_out=elsewhere).as_statistics() == here
