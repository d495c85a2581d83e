"""What ``fab`` and every connection start from: fabric's defaults, see ``harness.invocation.settings``."""

from __future__ import annotations

import getpass
import os
from typing import Any

import fabric.config
import fabric.main

from harness.errors import ConfigError
from harness.invocation.settings import KnownState, start


class FabricSettings(KnownState, fabric.config.Config):  # type: ignore[misc]  # fabric publishes no types
    """Fabric's settings from a known state."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)


def begin() -> None:
    """Let ``fab`` start from the known state.

    Python calls it when ``fab`` is started (begin.pth), before that reads anything; the fabfile calls it too, for where
    fabric is installed without us.
    """
    fabric.config.get_local_user = _local_user
    start(fabric.main.program, FabricSettings)


def demand_local_user() -> None:
    """Raise ConfigError unless this user has a name, which SSH takes for the remote one and for ssh_config's ``%u``."""
    if _local_user() is None:
        told = f"user: expected this machine to have a name for uid {os.getuid()}, got none"
        raise ConfigError(f"{told}; SSH needs one: export LOGNAME with the name that you have on the nodes")


def _local_user() -> str | None:
    """Return the user's name here, None for a uid without one (a container's, say); fabric expects no OSError."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None
