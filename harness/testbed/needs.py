"""What the testbed needs of a machine: Linux, root, and five Debian packages."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Final

SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PACKAGE_OF: Final = {
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "rsync": "rsync",
    "ip": "iproute2",
    "nft": "nftables",
}


def program(name: str) -> str:
    """Return the path of a program that may lie where only root's PATH looks. Raises FileNotFoundError."""
    path = _which(name)
    if path is None:
        raise FileNotFoundError(f"{name}: expected it installed (Debian package {PACKAGE_OF.get(name, 'unknown')})")
    return path


def missing_packages() -> list[str]:
    """Return the Debian packages that this machine lacks."""
    return [package for name, package in PACKAGE_OF.items() if _which(name) is None]


def why_not() -> str | None:
    """Return in one line why there can be no testbed here, or None."""
    if sys.platform != "linux":
        return f"it needs Linux, this is {sys.platform}"
    if os.geteuid() != 0:
        return "it needs root, for network namespaces"
    missing = missing_packages()
    return f"missing Debian packages: {', '.join(missing)}" if missing else None


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")
