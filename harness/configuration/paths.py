"""What a cluster file may say under ``paths``: how far apart the parts of an embedded cluster are."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from harness.configuration.base import Strict
from node_agent.contract.paths import NetworkPath

LONGEST_MS: Final = 1000.0  # of a delay, and of a mean queueing delay: longer than any clock source is waited for


class PathConfig(Strict):
    """One path; ``node_agent.contract.paths.NetworkPath`` says what the keys mean."""

    delay_ms: float = Field(ge=0, le=LONGEST_MS)
    tail_ms: float = Field(default=0.0, ge=0, le=LONGEST_MS)
    asymmetry: float = Field(default=1.0, ge=0.01, le=100)

    @property
    def path(self) -> NetworkPath:
        """Return the path."""
        return NetworkPath(self.delay_ms, self.tail_ms, self.asymmetry)


class PathsConfig(Strict):
    """The paths between two nodes (``lan``) and from the nodes to each time service; None is the plain loopback."""

    lan: PathConfig | None = None
    ntp: PathConfig | None = None
    chronotick: PathConfig | None = None

    @property
    def given(self) -> dict[str, NetworkPath]:
        """Return the paths that are given, by name."""
        configs = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: config.path for name, config in configs.items() if config is not None}
