"""The server's own clock, for those who ask about no node: this machine's, sampled by NTP in the background.

Only an exchange that passes every check of ``ntp_packet.read_exchange`` is a sample. Without an NTP server, or before
there are enough samples, there is a reason and no number.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from time_services.listening import cause, format_address
from time_services.models import NotReady, NtpSample, Prediction
from time_services.ntp_packet import BELIEVED_STRATUM, PacketError, read_exchange, write_question
from time_services.ntp_proxy import connected_sockets
from time_services.ntp_server import measured_precision

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from time_services.models import Model

TIMEOUT_S = 1.0
INTERVAL_S = 8.0
QUICK_SAMPLES, QUICK_S = 4, 0.25  # the first few follow each other quickly
LARGEST_DATAGRAM = 2048
PAIR_READS = 8
UNDISTURBED_NS = 5_000  # reading both clocks takes less, if nothing comes in between


class ClockPair(NamedTuple):
    """One instant on the wall clock and on the raw oscillator, read at most ``apart_ns`` apart, all in ns."""

    wall_ns: int
    raw_ns: int
    apart_ns: int


def clock_pair() -> ClockPair:
    """Return the narrowest of a few readings: what comes between two clocks would be taken for an offset."""
    pairs = []
    for _ in range(PAIR_READS):
        before_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        wall_ns = time.time_ns()
        after_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        pairs.append(ClockPair(wall_ns, (before_ns + after_ns) // 2, -(-(after_ns - before_ns) // 2)))
        if after_ns - before_ns <= UNDISTURBED_NS:
            break
    return min(pairs, key=lambda pair: pair.apart_ns)


class OwnClock:
    """Samples ``servers`` in a thread of its own and predicts this machine's offset."""

    def __init__(
        self,
        servers: Sequence[tuple[str, int]],
        model: Model,
        interval_s: float = INTERVAL_S,
        max_stratum: int = BELIEVED_STRATUM,
    ) -> None:
        self.model = model
        self._max_stratum = max_stratum
        self.failed = 0  # exchanges without a sample
        self.last_failure = ""
        self._servers = servers
        self._interval_s = interval_s
        self._precision_ns = max(1, round(2.0 ** measured_precision() * 1e9))
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._sample_again_and_again, name="own clock", daemon=True)

    def start(self) -> None:
        """Start sampling."""
        self._thread.start()

    def stop(self) -> None:
        """Stop sampling; an exchange under way is waited for."""
        self._ending.set()
        self._thread.join()

    def predict(self) -> tuple[int, Prediction | NotReady]:
        """Return this instant of the wall clock, ns, and the offset predicted for it.

        By what the two clocks may have been read apart, the offset may be wrong besides: it is part of the asymmetry.
        """
        with self._lock:
            now = clock_pair()
            self.model.feed(now.wall_ns, now.raw_ns, ())
            predicted = self.model.predict(now.raw_ns)
        if isinstance(predicted, Prediction):
            predicted = replace(predicted, asymmetry_s=predicted.asymmetry_s + now.apart_ns / 1e9)
        return now.wall_ns, predicted

    def _sample_again_and_again(self) -> None:
        rounds = 0
        while not self._ending.is_set():
            for host, port in self._servers:
                try:
                    sample = self._ask(host, port)
                except (OSError, PacketError) as error:
                    self.failed += 1
                    self.last_failure = f"{format_address(host, port)}: {cause(error)}"
                    continue
                with self._lock:
                    now = clock_pair()
                    self.model.feed(now.wall_ns, now.raw_ns, (sample,))
            rounds += 1
            self._ending.wait(QUICK_S if rounds < QUICK_SAMPLES else self._interval_s)

    def _ask(self, host: str, port: int) -> NtpSample:
        """Ask a server's addresses in turn. Raises OSError (a timeout too) or PacketError, of the last of them."""
        problem: OSError | PacketError | None = None
        for connected in connected_sockets(host, port):
            with connected:
                try:
                    return self._exchange(connected, format_address(host, port))
                except (OSError, PacketError) as error:
                    problem = problem or error
        raise problem or OSError(f"{host} has no address")

    def _exchange(self, connected: socket.socket, server: str) -> NtpSample:
        transmit = secrets.token_bytes(8)
        connected.settimeout(TIMEOUT_S)
        raw_ns, sent_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW), time.time_ns()
        connected.send(write_question(transmit))
        datagram = connected.recv(LARGEST_DATAGRAM)
        received_ns = time.time_ns()
        after_raw_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        told = read_exchange(datagram, transmit, sent_ns, received_ns, self._precision_ns, self._max_stratum)
        middle_ns = (raw_ns + after_raw_ns) // 2
        return NtpSample(server, middle_ns, told.offset_ns / 1e6, told.delay_ns / 1e6, told.bound_ns / 1e6)
