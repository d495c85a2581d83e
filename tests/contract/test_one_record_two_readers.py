"""The agent and the bridge read the ChronoTick daemon's record, and the kernel's frequency, by the same rules."""

from __future__ import annotations

import math
import random
import struct
from fractions import Fraction

import pytest
from segments import ChronoTickRecord, S

from node_agent.clocks import chronotick_shm, kernel
from node_agent.clocks.base import Refused
from time_services import chronotick_record, kernel_clock

WALL = 1_800_000_000 * S
GOOD = ChronoTickRecord(WALL / S)
ODD = [0.0, -0.0, -1.0, 1.0, 5e-324, 1e9, 1e10, 1e300, math.inf, -math.inf, math.nan, WALL / S, WALL / S - 10]


def images(seed, count=2_000):
    """Yield images of a good record with fields, or bytes, that are something else."""
    dice = random.Random(seed)
    for number in range(count):
        image = bytearray(GOOD.image())
        for _ in range(dice.randrange(4)):
            if number % 2:
                struct.pack_into("<d", image, 8 * dice.randrange(8), dice.choice(ODD) * dice.choice((1, 1, 0.5)))
            else:
                image[dice.randrange(80)] = dice.randrange(256)
        yield bytes(image[: dice.choice((127, 128, 128, 128, 128, 128))])


@pytest.mark.parametrize("seed", range(3))
def test_both_readers_believe_the_same_images_and_read_the_same_numbers_of_them(seed):
    outcomes = set()
    for image in images(seed):
        ours, theirs = chronotick_shm.parse(image), chronotick_record.parse(image)
        if isinstance(theirs, chronotick_record.Refused):
            assert ours == Refused(theirs.outcome)
            outcomes.add(theirs.outcome)
            continue
        assert ours.offset_ns == round(Fraction(theirs.offset_s) * S)
        assert ours.sigma_ns == math.ceil(Fraction(theirs.sigma_s) * S)
        assert ours.drift_fs_per_s == round(Fraction(theirs.drift) * 10**15)
        assert (ours.when_ns, ours.until_ns) == (theirs.when_ns, theirs.until_ns)
        for off_ns in (-2 * S, 0, S, 6 * S, 40 * S):
            said = ours.numbers(WALL + off_ns, 0, 0, 0)["outcome"]
            assert (theirs.outcome(WALL + off_ns) or "ok") == said
            outcomes.add(said)
    assert outcomes >= {"ok", "too_short", "not_valid", "not_finite", "inconsistent", "dead", "future"}


def test_both_read_the_same_frequency_of_the_kernel():
    dice = random.Random(4)
    for _ in range(200):
        freq, tick = dice.randrange(-(500 << 16), 500 << 16), dice.randrange(9_000, 11_001)
        timex = struct.pack("=I4x4qi4x6q", 0, 0, freq, 0, 0, 0, 0, 0, 500 << 16, 0, 0, tick)
        exact = kernel.decode(0, timex).frequency_fs_per_s
        assert kernel_clock.decode(timex) == pytest.approx(exact / 1e9, abs=1e-9)
