"""Numbers on a command line: declared as text, because invoke answers text that is no number with a traceback."""

from __future__ import annotations

import math

from harness.errors import ConfigError


def whole_number(option: str, text: str, at_least: int, at_most: float = math.inf) -> int:
    """Return a whole number. Raises ConfigError, which names the option."""
    try:
        number = int(text)
    except ValueError:
        number = at_least - 1
    if not at_least <= number <= at_most:
        limits = f"of {at_least} or more" if math.isinf(at_most) else f"from {at_least} to {at_most}"
        raise ConfigError(f"--{option}: expected a whole number {limits}, got {text!r}")
    return number


def positive_number(option: str, text: str, at_most: float = math.inf) -> float:
    """Return a number above 0. Raises ConfigError, which names the option."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= at_most or math.isinf(number):
        above = "" if math.isinf(at_most) else f" and at most {at_most:g}"
        raise ConfigError(f"--{option}: expected a number above 0{above}, got {text!r}")
    return number
