"""Waiting ends: when the condition holds, or at the deadline with the last answer."""

from __future__ import annotations

import os
import signal

import pytest

from harness import interrupts
from harness.errors import DeadlineError


def test_waiting_ends_when_nothing_is_missing() -> None:
    answers = iter(["two", "one", None])
    interrupts.until("numbers", lambda: next(answers), timeout_s=30, poll_s=0.001)
    assert list(answers) == []


def test_a_deadline_names_what_was_still_missing() -> None:
    with pytest.raises(DeadlineError, match=r"ready: expected within 0\.05 s, still missing: comp11: ntp: timeout"):
        interrupts.until("nodes ready", lambda: "comp11: ntp: timeout", timeout_s=0.05, poll_s=0.01)


def test_an_interrupt_waits_until_results_are_home() -> None:
    done: list[str] = []

    def bring_home() -> None:
        with interrupts.uninterrupted(done.append):
            os.kill(os.getpid(), signal.SIGINT)
            done.append("collected")

    with pytest.raises(KeyboardInterrupt):
        bring_home()
    assert done[-1] == "collected"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
