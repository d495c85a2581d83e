"""An interrupt that Python loses on the way is raised again where the run waits."""

from __future__ import annotations

import os
import signal

import pytest

from harness import interrupts


class Hides:
    """Lose what is raised while it is destroyed, as Python does."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):  # the handler runs between two steps of this loop
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_lost_in_a_destructor_ends_the_wait():
    asked = []

    def missing():
        asked.append(None)
        if len(asked) == 2:
            Hides()
        return "the end"

    said = []
    with pytest.raises(KeyboardInterrupt), interrupts.told_of_interrupt(said.append):
        interrupts.until("the end", missing, timeout_s=60, poll_s=0.001)
    assert said == [interrupts.INTERRUPTED]
    assert len(asked) <= 3


def test_an_interrupt_that_was_heard_does_not_cut_what_follows_short():
    """What brings results home waits too; the interrupt that led there is not raised again before its end."""
    said, asked = [], []

    def missing():
        asked.append(None)
        return "it" if len(asked) < 5 else None

    def begin_and_bring_home():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            with interrupts.uninterrupted(said.append):
                interrupts.until("it", missing, timeout_s=60, poll_s=0.001)

    with pytest.raises(KeyboardInterrupt), interrupts.told_of_interrupt(said.append):
        begin_and_bring_home()
    assert len(asked) == 5
