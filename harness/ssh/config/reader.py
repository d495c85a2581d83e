"""ssh_config(5) as OpenSSH reads it, for a machine that has no OpenSSH client to ask.

Keywords that matter to a login are read, others that OpenSSH knows are passed over, and what it does not know is
refused. What cannot be judged here is never taken as met: a ``Match`` criterion that is not known says so with file and
line.
"""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import ConfigError
from harness.ssh.config.match import Facts, list_fits, met, pattern_fits
from harness.ssh.config.question import NO_FILE, Question, home, local_user, under_home
from harness.ssh.config.tokens import expanded, tokens
from harness.ssh.config.words import KEYWORDS, BadLineError, split_keyword, words

if TYPE_CHECKING:
    from collections.abc import Mapping


SYSTEM_FILE: Final = Path("/etc/ssh/ssh_config")
MAX_DEPTH: Final = 16  # as OpenSSH
USUAL_KEYS: Final = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "id_dsa")
USUAL_KNOWN_HOSTS: Final = {
    "userknownhostsfile": ("~/.ssh/known_hosts", "~/.ssh/known_hosts2"),
    "globalknownhostsfile": ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"),
}

_ADDED_UP: Final = {"identityfile", "certificatefile"}
_WHOLE_LINE: Final = {"proxycommand", "knownhostscommand", "localcommand", "remotecommand"}
_LISTS: Final = set(USUAL_KNOWN_HOSTS)
_OTHER_NAMES: Final = {"pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms"}
_ALGORITHMS: Final = {
    "hostkeyalgorithms", "ciphers", "macs", "kexalgorithms", "pubkeyacceptedalgorithms", "casignaturealgorithms",
}  # fmt: skip
_ONE_WORD: Final = _ALGORITHMS | {
    "hostname", "user", "port", "identityfile", "certificatefile", "identitiesonly", "identityagent", "proxyjump",
    "hostkeyalias", "connecttimeout", "stricthostkeychecking", "hashknownhosts", "checkhostip", "addressfamily",
    "bindaddress", "bindinterface", "pubkeyauthentication", "preferredauthentications", "revokedhostkeys",
    "pkcs11provider", "securitykeyprovider", "verifyhostkeydns", "nohostauthenticationforlocalhost",
    "proxyusefdpass", "connectionattempts", "canonicalizehostname",
}  # fmt: skip
_READ: Final = _ONE_WORD | _WHOLE_LINE | _LISTS
_UNIT_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_TIME: Final = re.compile(r"(?:[0-9]+[smhdw])*[0-9]*")
_TIME_PART: Final = re.compile(r"([0-9]+)([smhdw]?)")


@dataclass
class _Reading:
    """What was found so far for one host; first values win."""

    name: str
    host: str
    final: bool = False
    wants_final: bool = False
    settings: dict[str, list[str]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)  # patterns of IgnoreUnknown
    notes: list[str] = field(default_factory=list)

    def facts(self) -> Facts:
        """Return what a Match line may ask about."""
        host = self.settings["hostname"][0] if "hostname" in self.settings else self.name
        host = self.host if self.final else host.replace("%h", self.name).replace("%%", "%")
        user = self.settings["user"][0] if "user" in self.settings else local_user()
        port = self.settings["port"][0] if "port" in self.settings else "22"
        return Facts(self.name, host, user, local_user(), port, self.final)


def read(question: Question) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Return every keyword in force that matters to a login, as ``ssh -G`` names it, and lines for the user.

    Raises ConfigError for a file or line that cannot be read, naming both.
    """
    reading = _Reading(question.host, question.host)
    for keyword, value in question.settings:
        _take(reading, keyword.lower(), words(value), value, "command line")
    _read_files(reading, question)
    reading.host = _host_of(reading)
    if reading.wants_final:
        reading.final = True
        _read_files(reading, question)
        reading.host = _host_of(reading)
    return _whole(reading), tuple(dict.fromkeys(reading.notes))


def _read_files(reading: _Reading, question: Question) -> None:
    given = question.config_file
    if given == NO_FILE:
        return
    if given is not None:
        _read_file(reading, Path(given), user=True, active=True, depth=0)
        return
    for path, user in ((home() / ".ssh/config", True), (SYSTEM_FILE, False)):
        if path.is_file():
            _read_file(reading, path, user=user, active=True, depth=0)


def _read_file(reading: _Reading, path: Path, *, user: bool, active: bool, depth: int) -> None:
    """Take over what a file says; a block of an included file is in force only if the block around it is."""
    if depth > MAX_DEPTH:
        raise ConfigError(f"{path}: expected Include at most {MAX_DEPTH} deep; does a file include itself?")
    try:
        lines = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    except OSError as error:
        raise ConfigError(f"ssh_config: {path}: {error.strerror}") from error
    around, here = active, active
    for number, line in enumerate(lines, 1):
        place = f"{path} line {number}"
        try:
            keyword, rest = split_keyword(line)
            if keyword and keyword not in KEYWORDS and not any(pattern_fits(keyword, word) for word in reading.ignored):
                raise BadLineError(f"expected a keyword of ssh_config(5), got {keyword!a}")
            if keyword == "host":
                here = around and list_fits(reading.host if reading.final else reading.name, words(rest))
            elif keyword == "match":
                here = met(words(rest, splitting="="), reading.facts(), place, reading.notes) and around
                reading.wants_final |= any(word.lower().lstrip("!") == "final" for word in words(rest, splitting="="))
            elif keyword == "include":
                for pattern in words(rest):
                    for name in _named(pattern, user=user):
                        _read_file(reading, name, user=user, active=here, depth=depth + 1)
            elif keyword and here:
                _take(reading, keyword, [] if keyword in _WHOLE_LINE else words(rest), rest, place)
        except BadLineError as error:
            raise ConfigError(f"ssh_config: {place}: {error}") from None


def _take(reading: _Reading, keyword: str, values: list[str], rest: str, place: str) -> None:
    """Take over one keyword, unless it has its value already."""
    keyword = _OTHER_NAMES.get(keyword, keyword)
    if keyword == "ignoreunknown" and not reading.ignored:
        reading.ignored = [pattern.lower() for value in values for pattern in value.split(",")]
    if keyword not in _READ:
        return
    if keyword in _WHOLE_LINE:
        values = [rest]
    if not values or (keyword in _ONE_WORD and len(values) > 1):
        raise ConfigError(f"ssh_config: {place}: {keyword}: expected one value, got {rest!r}")
    if keyword == "port" and not (values[0].isdecimal() and 0 < int(values[0]) < 65536):
        raise ConfigError(f"ssh_config: {place}: Port: expected 1 to 65535, got {values[0]}")
    if keyword == "connecttimeout":
        values = [_seconds(values[0], place)]
    if keyword in _ALGORITHMS and values[0].startswith(("+", "-", "^")):
        reading.notes.append(f"{place}: {keyword} {values[0]} changes a list that only ssh has; not obeyed here")
        return
    if keyword == "canonicalizehostname" and values[0].lower() not in {"no", "false", "none"}:
        told = "is not obeyed without ssh; write names in full"
        reading.notes.append(f"{place}: CanonicalizeHostname {values[0]} {told}")
    if keyword in _ADDED_UP:
        known = reading.settings.setdefault(keyword, [])
        known += [value for value in values if value not in known]
        return
    other = {"proxyjump": "proxycommand", "proxycommand": "proxyjump"}.get(keyword)
    none = keyword == "proxycommand" and reading.settings.get("proxyjump", [""])[0].lower() == "none"
    if other is None or other not in reading.settings or none:  # of these two the first one found counts
        reading.settings.setdefault(keyword, values)


def _named(pattern: str, *, user: bool) -> list[Path]:
    """Return the files that an argument of Include means, in order; none is no error."""
    base = home() / ".ssh" if user else SYSTEM_FILE.parent
    return [Path(name) for name in sorted(glob.glob(str(base / under_home(pattern)))) if Path(name).is_file()]  # noqa: PTH207 - the pattern may be absolute


def _host_of(reading: _Reading) -> str:
    name = reading.settings.get("hostname", [reading.name])[0]
    return expanded(name, {"h": reading.name, "%": "%"}, "hostname").lower()


def _whole(reading: _Reading) -> dict[str, list[str]]:
    """Return what was found, with what holds where nothing is said, and names of files as ``ssh -G`` has them."""
    settings = dict(reading.settings)
    settings["hostname"] = [reading.host]
    settings.setdefault("user", [local_user()])
    settings.setdefault("port", ["22"])
    settings.setdefault("identityfile", [f"~/.ssh/{name}" for name in USUAL_KEYS])
    alias = settings.get("hostkeyalias", [""])[0]
    known: Mapping[str, str] = tokens(reading.name, reading.host, settings["user"][0], settings["port"][0], alias, "")
    for keyword, usual in USUAL_KNOWN_HOSTS.items():
        settings[keyword] = [under_home(expanded(path, known, keyword)) for path in settings.get(keyword, usual)]
    return settings


def _seconds(text: str, place: str) -> str:
    """Return a time of sshd_config(5), TIME FORMATS, in seconds (``1m30s``)."""
    if text.lower() == "none":
        return text
    if not _TIME.fullmatch(text.lower()):
        raise ConfigError(f"ssh_config: {place}: ConnectTimeout: expected a time such as 10 or 1m30s, got {text}")
    return str(sum(int(number) * _UNIT_S[unit] for number, unit in _TIME_PART.findall(text.lower())))
