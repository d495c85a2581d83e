"""The options of fabric and invoke themselves, those before or beside a task: obeyed, or refused with one line.

They are made for programs that run shell commands through them, which no task here does: ``--dry`` would do all of it
for real, ``-H`` would be ignored. What is obeyed is in docs/DEPLOYMENT.md. Whatever is wrong with a command line ends
in one line and exit code 2; left alone, the two programs end with 1 or a traceback.
"""

from __future__ import annotations

import contextlib
import math
import os
import pwd
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from invoke.exceptions import Exit, ParseError

import harness
from harness.errors import EXIT_USAGE, ConfigError
from node_agent.contract.records import NAME_FORM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROJECT: Final = Path(harness.__file__).parents[1]
LIST_FORMATS: Final = ("flat", "nested", "json")

_NO_SHELL: Final = "no task hands commands to fabric or invoke"
REFUSED: Final = {
    "command-timeout": f"-T/--command-timeout: {_NO_SHELL}; every action has a deadline of its own",
    "dry": "-R/--dry: nothing here can be tried without doing it; `check` changes nothing but the agent's cache",
    "echo": f"-e/--echo: {_NO_SHELL}; `logs` and `status` show what the nodes do",
    "hide": f"--hide: {_NO_SHELL}; redirect standard output instead",
    "hosts": "-H/--hosts: the hosts are those of a file in configs/clusters/; name the cluster before the task",
    "prompt-for-sudo-password": f"--prompt-for-sudo-password: {_NO_SHELL}, and none needs sudo",
    "pty": f"-p/--pty: {_NO_SHELL}",
    "warn-only": f"-w/--warn-only: {_NO_SHELL}; what may go on after a failure does so by itself (exit code 5)",
}  # fmt: skip
_REMAINDER: Final = "what comes after `--` would be a shell command for hosts, which no task here runs; leave it out"
_WANTED: Final = {"experiment": f"experiment name: expected {NAME_FORM}"}
_NOT_A_NUMBER: Final = re.compile(r"invalid literal for int\(\) with base 10: (.*)")
_HOOKED: Final = "refuses_what_is_not_obeyed"


def install(program: Any, known_instead: Callable[[ParseError], str] = lambda _: "") -> None:
    """Let ``program`` (fabric's or invoke's) end every faulty command line with one line and exit code 2.

    ``known_instead`` says of an unknown word what could have been meant. It may be called twice: as early as there is a
    program, and by the fabfile, which knows the words.
    """
    hooked = getattr(program, _HOOKED, None)
    if hooked is not None:
        hooked["known_instead"] = known_instead
        return
    hooked = {"known_instead": known_instead}
    setattr(program, _HOOKED, hooked)
    _wrap(program, "parse_core", hooked, before=_know_home, after=_refuse_unobeyed)
    _wrap(program, "load_collection", hooked, before=_find_project)
    _wrap(program, "parse_tasks", hooked, after=_refuse_what_says_nothing)
    _wrap(program, "parse_cleanup", hooked)
    _wrap(program, "update_config", hooked, before=_demand_files)


def _nothing(_program: Any) -> None:
    pass


def _wrap(
    program: Any, name: str, hooked: dict[str, Any], *, before: Callable[[Any], None] = _nothing,
    after: Callable[[Any], None] = _nothing,
) -> None:  # fmt: skip
    step = getattr(program, name)

    def told(*arguments: Any, **options: Any) -> Any:
        with _one_line(hooked["known_instead"]):
            before(program)
            result = step(*arguments, **options)
            after(program)
            return result

    setattr(program, name, told)


@contextlib.contextmanager
def _one_line(known_instead: Callable[[ParseError], str]) -> Iterator[None]:
    try:
        yield
    except ParseError as error:
        instead = known_instead(error)
        raise Exit(f"{error} ({instead})" if instead else str(error), EXIT_USAGE) from None
    except ValueError as error:
        if (match := _NOT_A_NUMBER.fullmatch(str(error))) is None:
            raise
        raise Exit(f"-t, -D, -T: expected a whole number, got {match[1]}", EXIT_USAGE) from None
    except Exit as error:  # invoke ends with 1 what is a matter of usage (a collection that is not there)
        raise Exit(error.message, EXIT_USAGE if error.message and error.code == 1 else error.code) from None


def _refuse_unobeyed(program: Any) -> None:
    """Raise Exit naming every option that was given and that nothing here obeys, and what to do instead."""
    lines = [line for name, line in REFUSED.items() if name in program.args and program.args[name].value]
    if program.core.remainder and not program.args.complete.value:
        lines.append(_REMAINDER)
    # Fabric's, not invoke's; `get` knows no second name of an option.
    timeout = program.args["connect-timeout"] if "connect-timeout" in program.args else None  # noqa: SIM401
    if timeout is not None and timeout.value is not None and timeout.value < 1:
        lines.append(f"-t/--connect-timeout: expected a whole number of seconds above 0, got {timeout.value}")
    if (form := program.args["list-format"].value) not in LIST_FORMATS:
        lines.append(f"-F/--list-format: expected one of {', '.join(LIST_FORMATS)}, got {form!r}")
    if lines:
        raise Exit("\n".join(lines), EXIT_USAGE)


def _refuse_what_says_nothing(program: Any) -> None:
    """Raise Exit for an option of a task that was given without anything in it (``--experiment "$NAME"``).

    A task would take it for one that was not given, and do its work on the latest run.
    """
    _refuse_unobeyed(program)
    for context in program.tasks:
        for argument in context.args.values():
            given = argument.value if argument.kind is list else [argument.raw_value]
            if any(isinstance(value, str) and not value.strip() for value in given or ()):
                option = context.args[argument.name].names[0].replace("_", "-")
                wanted = _WANTED.get(option, f"--{option}: expected a value")
                raise Exit(f"{wanted}, got ''; or leave --{option} out", EXIT_USAGE)


def _know_home(_program: Any) -> None:
    """Let HOME name the account's home where it names no folder (unset, empty, relative). Raises Exit if none is known.

    Left alone, libraries take an empty HOME for ``/`` and put their files there.
    """
    given = os.environ.get("HOME", "")
    if Path(given).is_absolute():
        return
    try:
        os.environ["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        told = f"HOME: expected a home folder, got {given!r}, and uid {os.getuid()} has no account here to ask"
        raise Exit(f"{told}; export HOME=FOLDER", EXIT_USAGE) from None


def _find_project(program: Any) -> None:
    """Let the project's own tasks be found from anywhere (``uv run --project``), unless a folder was named (``-r``)."""
    root, name = program.args["search-root"], program.args.collection.value or program.config.tasks.collection_name
    here = Path(root.value or Path.cwd()).absolute()
    if root.value is not None and not here.is_dir():
        raise Exit(f"-r/--search-root: expected a folder, got none at {here}", EXIT_USAGE)
    if root.value is not None or any((folder / f"{name}.py").is_file() for folder in (here, *here.parents)):
        return
    if (PROJECT / f"{name}.py").is_file():
        root._value = str(PROJECT)  # noqa: SLF001 - as invoke itself does for an option given after a task


def _demand_files(program: Any) -> None:
    """Raise Exit if a file that an option names is not there; fabric would go on without it."""
    named = [("-f", "a file of settings", program.args.config.value)]
    if "ssh-config" in program.args:
        named.append(("-S", "an ssh_config", program.args["ssh-config"].value))
        named += [("-i", "a private key", key) for key in program.args.identity.value or ()]
    for option, what, path in named:
        place = None if path is None else Path(path).expanduser()
        if place is not None and (not place.exists() or place.is_dir()):
            got = "a folder" if place.is_dir() else "no such file"
            raise Exit(f"{option} {path}: expected {what}, got {got}", EXIT_USAGE)


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
