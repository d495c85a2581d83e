"""Nodes that are lent for a time: what a run must know of whoever lends them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class Allocation(ABC):
    """Nodes lent by a scheduler. A run on them ends ``margin_s`` before they are taken back."""

    margin_s: float

    @property
    @abstractmethod
    def name(self) -> str:
        """Return what a user calls it, as ``job 12``."""

    @property
    @abstractmethod
    def left_s(self) -> float | None:
        """Return the time until they are taken back, in s; None without a limit."""

    @abstractmethod
    def demand(self) -> None:
        """Raise AllocationError with the reason if they are taken back."""

    @abstractmethod
    def look(self) -> None:
        """Ask the scheduler now; what it does not answer changes nothing."""

    @abstractmethod
    def remarks(self, *, run_over: bool) -> list[str]:
        """Return what happened to them that a run cannot have been unharmed by, a line each.

        ``run_over``: every agent had ended by itself, so that their being taken back later harmed nothing.
        """

    @abstractmethod
    def why_ending(self, *, signalled: bool) -> str | None:
        """Return why they are being taken back, None if they are not.

        ``signalled``: this process was told to end, which may be the scheduler's warning.
        """

    @abstractmethod
    def give_back(self) -> None:
        """Give back what a controller that is no more had been lent for a run that is over and at home."""

    @abstractmethod
    def requeue(self) -> bool:
        """Let the job that we are in begin again if it was taken away and is to; return whether it will."""

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """Return what the manifest keeps of it."""
