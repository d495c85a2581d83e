"""Hold a million pending re-measurements, due at 10,000 a second, and print what that costs as JSON."""

import json
import sys
import threading
import time
from pathlib import Path

from node_agent.after_events.commit_wait import CommitWait
from node_agent.contract.records import PROBABILISTIC, Available
from node_agent.local.instants import LocalClock

PENDING, EVERY_NS, WATCHED_S = 1_000_000, 100_000, 3
LEAD_NS = 500_000_000


class Sampler:
    def snapshot(self):
        return None


class Readings:
    configured = ("ntp", "chronotick")

    def by_source(self, stamp, _snapshot):
        est = stamp.wall_ns
        reading = Available(est, est - 9, est + 9, PROBABILISTIC, 0.9, "server:x", 250_000, 0, "ct7")
        return dict.fromkeys(self.configured, reading)


class Lateness:
    """A journal that keeps how late each row was, in ns, and nothing else."""

    def __init__(self):
        self.late_ns = []

    def write(self, lines):
        for line in lines:
            cells = line.split(",", 5)
            self.late_ns.append(int(cells[4]) - int(cells[3]))


def pss_bytes():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


sys.setswitchinterval(0.000_5)  # the agent's
clock, journal = LocalClock(), Lateness()
before = pss_bytes()
timer = CommitWait((30.0, 60.0), 0.0, clock, Sampler(), Readings(), journal)
first = clock.raw_ns() - 30_000_000_000 + 3_000_000_000 + LEAD_NS
for start in range(0, PENDING, 1_000):
    timer.add([(i, first + i * EVERY_NS) for i in range(start, start + 1_000)])
after = pss_bytes()
threads = threading.active_count()
timer.start()
threads = len(list(Path("/proc/self/task").iterdir())) - threads
while timer.done < WATCHED_S * 1e9 / EVERY_NS:
    time.sleep(0.05)
late_ns = journal.late_ns[: 2 * int(WATCHED_S * 1e9 / EVERY_NS)]
second = len(late_ns) // WATCHED_S
p99_ms = [sorted(late_ns[i * second : (i + 1) * second])[round(0.99 * second)] / 1e6 for i in range(WATCHED_S)]
said = {"bytes": after - before, "threads": threads, "late_p99_ms": p99_ms, "earliest_ns": min(late_ns)}
sys.stdout.write(json.dumps(said))
