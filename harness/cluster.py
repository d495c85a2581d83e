"""All nodes of a cluster, asked at once, and what they answer."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from harness.errors import HarnessError, RunError
from harness.retry import Retrying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from harness.allocation import Allocation
    from harness.configuration.cluster import ClusterConfig
    from harness.remote import Remote

MOST_THREADS: Final = 32

T = TypeVar("T")


@dataclass
class Answers(Generic[T]):
    """What several nodes said to one question, each for itself: partial failure is data."""

    ok: dict[str, T] = field(default_factory=dict)
    failed: dict[str, HarnessError] = field(default_factory=dict)

    def demand(self) -> None:
        """Raise RunError, one line per node, unless every node answered."""
        if self.failed:
            raise RunError("\n".join(str(error) for error in self.failed.values()))


class Cluster(AbstractContextManager["Cluster"]):
    """The nodes of a cluster. ``remotes`` outlive a connection that breaks, ``plain`` ones fail with it."""

    def __init__(
        self,
        config: ClusterConfig,
        remotes: Iterable[Remote],
        notes: Sequence[str] = (),
        shared: ExitStack | None = None,
        allocation: Allocation | None = None,
    ) -> None:
        """Take the nodes' (still unused) remotes.

        ``notes`` are lines about the way to them that the user should see; ``shared`` is what they share, closed last.
        ``allocation`` is what lends them, if they are lent.
        """
        self.config = config
        self.notes = notes
        self.allocation = allocation
        self.plain = {remote.id: remote for remote in remotes}
        self.remotes = {node_id: Retrying(remote) for node_id, remote in self.plain.items()}
        self._shared = shared or ExitStack()
        self._pool = ThreadPoolExecutor(max_workers=min(MOST_THREADS, len(self.plain)), thread_name_prefix="node")
        self._pending: set[Future[Any]] = set()

    def each(
        self, action: Callable[[Remote], T], nodes: Iterable[str] | None = None, *, plain: bool = False
    ) -> Answers[T]:
        """Do one thing on every node (or those named) at once; one's failure never hides another's answer.

        A ``plain`` remote fails with its connection, at once.
        """
        remotes = self.plain if plain else self.remotes
        futures = {name: self._pool.submit(action, remotes[name]) for name in (remotes if nodes is None else nodes)}
        self._pending = set(futures.values())
        answers: Answers[T] = Answers()
        for name, future in futures.items():
            try:
                answers.ok[name] = future.result()
            except HarnessError as error:  # noqa: PERF203 - each node's failure is its own
                answers.failed[name] = error
        return answers

    def settle(self) -> None:
        """Wait for actions that an interrupt left behind; each has its own deadline."""
        wait(self._pending)

    def close(self) -> None:
        """Close every remote and end the threads."""
        self._pool.shutdown(cancel_futures=True)
        with self._shared:
            for remote in self.plain.values():
                remote.close()

    def __exit__(self, *_: object) -> None:
        self.close()
