"""``setup``: what every command on a node begins with, such as the module that has the Python."""

from __future__ import annotations

import pytest

from harness.configuration.cluster import ClusterConfig
from harness.errors import ConfigError, RemoteCommandError
from harness.ssh.cluster import connect


def asked(hosts: ClusterConfig, setup: list[str], command: str, stdin: bytes = b"") -> str:
    with connect(hosts.model_copy(update={"setup": setup})) as cluster:
        return cluster.plain["comp11"].ask(command, stdin=stdin)


def test_a_command_finds_what_the_lines_before_it_made(hosts):
    """Variables, functions and what is on PATH: all lines run in the command's own shell, in their order."""
    setup = ["first=1  # a comment", "module() { loaded=$1; }", "module python/3.11; export second=$((first + 1))"]
    assert asked(hosts, setup, "echo $loaded; sh -c 'echo $second'") == "python/3.11\n2\n"


def test_what_the_lines_print_or_read_is_not_the_command_s(hosts):
    """A line may be chatty and may read; the command's answer and its input stay whole."""
    setup = ["echo loading; echo warned >&2", "cat"]
    assert asked(hosts, setup, "cat", stdin=b"the run key\n") == "the run key\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("echo 'no such module' >&2; false", "got exit 1; it said: no such module"),
        ("module load python/3.11", "got exit 127; it said: "),
        ("(exit 7)", "got exit 7; it said: nothing"),
    ],
)
def test_a_line_that_fails_is_named_and_the_command_is_not_run(hosts, tmp_path, line, words):
    with pytest.raises(RemoteCommandError) as raised:
        asked(hosts, ["true", line], f"touch {tmp_path}/ran")
    assert f"comp11: setup: expected {line!r} to succeed before touch" in str(raised.value)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("exit 0", "exit 0; it said: nothing"),
        ("exec true", "exit 0; it said: nothing"),
        ("if true", "Syntax error|syntax error"),
        ("cat <<E", "yntax error"),
        ("set -u; echo $NOPE", "NOPE"),
        ("exec >/dev/null", "it said: nothing"),
    ],
)
def test_a_line_that_ends_or_breaks_the_shell_is_called_one_of_setup(hosts, line, said):
    """Nobody is sent to look into a .bashrc, and no mark of ours is shown as what was said."""
    with pytest.raises(RemoteCommandError, match=said) as raised:
        asked(hosts, ["true", line], "cat", b"x")
    assert str(raised.value).startswith("comp11: setup: expected lines after which the shell goes on to cat, got exit ")
    assert "bashrc" not in str(raised.value)
    assert "setup-begun" not in str(raised.value)


@pytest.mark.parametrize("setup", [[""], ["  "], ["a\nb"], "module load x", [3]])
def test_lines_that_are_none_are_refused(hosts, setup):
    values = hosts.model_dump() | {"setup": setup}
    with pytest.raises((ConfigError, ValueError), match="setup"):
        ClusterConfig.model_validate(values)
