"""What each probe proves: an upper or a lower bound on theta = raw_b - raw_a at one instant of a's raw oscillator.

Forward, a to b: the packet left at the true instant T and arrived at T' >= T. a's oscillator showed x at T, so
theta(x) = r_b(T) - x <= r_b(T') - x, as b's oscillator does not run backwards. Backward, b to a: it left b at T and
arrived at a at T' >= T, when a's oscillator showed x, so theta(x) = r_b(T') - x >= r_b(T) - x. Each bound holds at the
instant of *a's own* stamp, exactly and without a drift term, whatever the delay.

Stamps are wrong by up to e_a and e_b. Forward, with x anywhere in tx_a +- e_a: theta(x) <= rx_b + e_b - x; carried from
x to tx_a at the drift rho it is largest at x = tx_a - e_a. So

    theta(tx_a) <= rx_b - tx_a + e_b + e_a + rho e_a        theta(rx_a) >= tx_b - rx_a - e_b - e_a - rho e_a
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pandas as pd

from analysis.reference import drift
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.arrays import Bools, Ints, Places

    NodeStamps = Mapping[tuple[str, str], "Stamps"]


class Stamps(NamedTuple):
    """One node's stamps of the probes of one peer and direction: sequence number, wall and raw instant, its error."""

    sequence: Ints
    wall: Ints
    raw: Ints
    error: Ints
    known: Bools

    def take(self, chosen: Places) -> Stamps:
        """Return some of the stamps, in the order given."""
        sequence, wall, raw, error = (column[chosen] for column in (self.sequence, self.wall, self.raw, self.error))
        return Stamps(sequence, wall, raw, error, self.known[chosen])


# A wall clock shows as much in 2116, an oscillator after 36 years; with more, differences would leave 64 bits.
WALL_NS: Final = 1 << 62
RAW_NS: Final = 1 << 60

_EMPTY: Final = np.zeros(0, dtype=np.int64)
_NONE: Final = Stamps(_EMPTY, _EMPTY, _EMPTY, _EMPTY, np.zeros(0, dtype=np.bool_))


@dataclass(frozen=True)
class Bounds:
    """Bounds on theta in ns, in order of the instants ``at`` of the first node's oscillator they hold at.

    ``even`` says whether the probe's sequence number was: halves of the probes that check each other.
    """

    at: Ints
    value: Ints
    upper: Bools
    even: Bools

    def take(self, chosen: Bools | slice) -> Bounds:
        """Return some of the bounds."""
        return Bounds(self.at[chosen], self.value[chosen], self.upper[chosen], self.even[chosen])


class Ends(NamedTuple):
    """One node's stamps of joined probes: wall instant, raw instant and its error, in ns; without ``wall`` if empty."""

    wall: Ints
    raw: Ints
    error: Ints


@dataclass(frozen=True)
class Directed:
    """The joined probes of one direction: both ends' stamps, row by row; what could not be joined is counted.

    ``lost`` probes were sent and have no receipt; ``skipped`` ones lack a raw stamp, or their transmit stamp, as the
    ``unsent`` ones do.
    """

    sent: Ends
    received: Ends
    lost: int
    skipped: int
    unsent: int

    def without_walls(self) -> Directed:
        """Return the same without the wall instants."""
        sent, received = (end._replace(wall=_EMPTY) for end in (self.sent, self.received))
        return replace(self, sent=sent, received=received)


@dataclass(frozen=True)
class Joined:
    """The probes of one pair, both ways, and the bounds they are."""

    bounds: Bounds
    forward: Directed
    backward: Directed

    @property
    def joined(self) -> int:
        """Return how many probes have both their stamps."""
        return len(self.forward.sent.raw) + len(self.backward.sent.raw)

    @property
    def lost(self) -> int:
        """Return how many probes have no receipt."""
        return self.forward.lost + self.backward.lost

    @property
    def skipped(self) -> int:
        """Return how many probes lack a stamp."""
        return self.forward.skipped + self.backward.skipped


def merged(parts: list[Bounds]) -> Bounds:
    """Return bounds of several origins in order of their instants."""
    at = np.concatenate([part.at for part in parts])
    order = np.argsort(at, kind="stable")
    return Bounds(
        at[order],
        np.concatenate([part.value for part in parts])[order],
        np.concatenate([part.upper for part in parts])[order],
        np.concatenate([part.even for part in parts])[order],
    )


def stamps(frame: pd.DataFrame) -> dict[tuple[str, str], Stamps]:
    """Return a node's probe stamps by peer and direction; of rows with one sequence number the first counts."""
    usable = frame.dropna(subset=["peer", "sequence", "direction"])
    if not len(usable):
        return {}
    whole = Stamps(
        sequence=_whole_numbers(usable["sequence"]),
        wall=_whole_numbers(usable["wall_ns"]),
        raw=_whole_numbers(usable["raw_ns"]),
        error=_whole_numbers(usable["raw_error_ns"]),
        known=(within(usable["raw_ns"], RAW_NS) & within(usable["raw_error_ns"], RAW_NS, 0)).to_numpy(dtype=np.bool_),
    )
    keys, rows_by_key = _grouped(usable)
    return {key: whole.take(_first_of_each(whole.sequence, rows)) for key, rows in zip(keys, rows_by_key, strict=True)}


def _whole_numbers(column: pd.Series[int]) -> Ints:
    """Return a column as 64-bit integers, 0 where a cell is empty."""
    numbers: Ints = column.array.to_numpy(dtype=np.int64, na_value=0)
    return numbers


def _grouped(frame: pd.DataFrame) -> tuple[list[tuple[str, str]], list[Places]]:
    """Return the (peer, direction) there are, in order, and the rows of each, in theirs."""
    codes = []
    words = []
    for name in ("peer", "direction"):
        numbers, values = pd.factorize(frame[name], sort=True)
        codes.append(numbers.astype(np.int64))
        words.append([str(value) for value in values])
    group = codes[0] * len(words[1]) + codes[1]
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    numbers = group[order][starts].tolist()
    keys = [(words[0][number // len(words[1])], words[1][number % len(words[1])]) for number in numbers]
    return keys, np.split(order, starts[1:])


def _first_of_each(sequence: Ints, rows: Places) -> Places:
    """Return those of some rows whose sequence number none before them has."""
    numbers = sequence[rows]
    if (numbers[1:] > numbers[:-1]).all():  # as the agent writes them
        return rows
    _, first = np.unique(numbers, return_index=True)
    return rows[np.sort(first)]


def within(column: pd.Series[int], most_ns: int, least_ns: int | None = None) -> pd.Series[bool]:
    """Tell which of a column are there, no more than ``most_ns`` and no less than ``least_ns`` (None: - most_ns)."""
    return column.between(-most_ns if least_ns is None else least_ns, most_ns).fillna(value=False)


def join(first: str, first_stamps: NodeStamps, second: str, second_stamps: NodeStamps, ppb: int) -> Joined:
    """Join the probes between two nodes, each end's own stamps, by sequence number."""
    sent, received = (second, records.PROBE_TX), (first, records.PROBE_RX)
    forward, even_f = _directed(first_stamps.get(sent, _NONE), second_stamps.get(received, _NONE))
    sent, received = (first, records.PROBE_TX), (second, records.PROBE_RX)
    backward, even_b = _directed(second_stamps.get(sent, _NONE), first_stamps.get(received, _NONE))
    tx_a, rx_b = forward.sent, forward.received
    tx_b, rx_a = backward.sent, backward.received
    wide_f = tx_a.error + rx_b.error + drift.up(tx_a.error, ppb)
    wide_b = rx_a.error + tx_b.error + drift.up(rx_a.error, ppb)
    are, are_not = np.ones(len(tx_a.raw), dtype=np.bool_), np.zeros(len(rx_a.raw), dtype=np.bool_)
    uppers = Bounds(tx_a.raw, rx_b.raw - tx_a.raw + wide_f, are, even_f)
    lowers = Bounds(rx_a.raw, tx_b.raw - rx_a.raw - wide_b, are_not, even_b)
    return Joined(merged([uppers, lowers]), forward, backward)


def _directed(sent: Stamps, received: Stamps) -> tuple[Directed, Bools]:
    """Join one direction; tell also which of the joined probes have an even sequence number."""
    sequence, in_t, in_r = np.intersect1d(sent.sequence, received.sequence, assume_unique=True, return_indices=True)
    usable = sent.known[in_t] & received.known[in_r]
    unsent = len(received.sequence) - len(sequence)
    directed = Directed(
        sent=_ends(sent, in_t[usable]),
        received=_ends(received, in_r[usable]),
        lost=len(sent.sequence) - len(sequence),
        skipped=int((~usable).sum()) + unsent,
        unsent=unsent,
    )
    return directed, sequence[usable] % 2 == 0


def _ends(node: Stamps, chosen: Places) -> Ends:
    return Ends(node.wall[chosen], node.raw[chosen], node.error[chosen])


def set_backs(own: NodeStamps, pairs: pd.DataFrame | None) -> list[tuple[int, int]]:
    """Return the stretches (from, to) of a node's raw oscillator that it showed twice, having been set back.

    A node sends its probes to one peer in order of their sequence numbers and reads its clock pairs in file order.
    """
    stretches: list[tuple[int, int]] = []
    for (_peer, direction), sent in own.items():
        if direction == records.PROBE_TX:
            order = np.argsort(sent.sequence[sent.known], kind="stable")
            stretches += _decreases(sent.raw[sent.known][order], sent.error[sent.known][order])
    if pairs is not None and len(pairs):
        raw = pairs["raw_before_ns"][within(pairs["raw_before_ns"], RAW_NS)].to_numpy(dtype=np.int64)
        stretches += _decreases(raw, np.zeros(len(raw), dtype=np.int64))
    return sorted(stretches)


def _decreases(raw: Ints, error: Ints) -> list[tuple[int, int]]:
    back = np.flatnonzero(raw[1:] + error[1:] < raw[:-1] - error[:-1])
    return [(int(raw[place + 1] - error[place + 1]), int(raw[place] + error[place])) for place in back]
