"""Pieces on disk come back as they were, each time, and nothing of them is left."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pytest

from analysis.errors import AnalysisError
from analysis.processes import pieces
from analysis.storage.scratch import Scratch, in_memory
from analysis.storage.spool import Spool


@dataclass(frozen=True)
class Some:
    numbers: np.ndarray
    same: np.ndarray
    words: pd.Categorical
    said: str


def some(count):
    numbers = np.arange(count) * 3
    words = pd.Categorical.from_codes(np.arange(count) % 2, categories=["ok", "lost"])
    return Some(numbers, numbers, words, "x" * count)


@pytest.mark.parametrize("on_disk", [True, False])
def test_pieces_come_back_as_they_were_put_as_often_as_they_are_gone_through(tmp_path, on_disk):
    kept = Spool(tmp_path if on_disk else None)
    put = [some(count) for count in (1_000, 0, 1, 70_000)]
    for piece in put:
        kept.put(piece)
    assert len(kept) == 4
    for _ in range(3):
        for back, piece in zip(kept, put, strict=True):
            assert back.numbers.tolist() == piece.numbers.tolist()
            assert back.same is back.numbers, "one object stays one"
            assert list(back.words) == list(piece.words)
            assert back.said == piece.said
    assert list(tmp_path.iterdir()) == [], "its file has no name"


def test_a_piece_outlives_the_ones_after_it(tmp_path):
    kept = Spool(tmp_path)
    for count in (5, 6):
        kept.put(some(count))
    first, second = kept
    del kept
    assert (len(first.numbers), len(second.numbers)) == (5, 6)
    assert first.numbers.sum() == 30


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    kept = Spool(tmp_path)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(AnalysisError, match=r"expected room .* got No space left on device; make room on that disk"):
        kept.put(some(3))


def test_what_one_process_keeps_the_others_read(tmp_path):
    """Several write at a time, long pieces in more than one go, and none over another's."""
    scratch = Scratch(tmp_path)
    own = scratch.keep(np.arange(3, dtype=np.int8))
    written = pieces.results([partial(several, scratch, seed) for seed in range(8)], 3)
    for seed, kept in enumerate(written):
        for number, place in enumerate(kept):
            expected = np.full(seed * 1_000 + number, seed - number)
            assert in_memory(place).tolist() == expected.tolist()
    assert in_memory(own).tolist() == [0, 1, 2]
    assert in_memory(own).dtype == np.int8
    assert list(tmp_path.iterdir()) == []


def several(scratch, seed):
    return [scratch.keep(np.full(seed * 1_000 + number, seed - number)) for number in range(20)]
