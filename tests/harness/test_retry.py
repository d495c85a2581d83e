"""What a broken connection interrupted is done once more; what cannot be reached at all is not waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness import retry as module
from harness.errors import LostError, RemoteCommandError, UnreachableError
from harness.local import LocalRemote
from harness.remote import Result
from harness.retry import Retrying
from harness.shell import MARK
from node_agent.contract.plan import NodePlan

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0)


PLAN = NodePlan("x", "ab" * 16, "comp11", "worker", "~/runs/x/comp11", "127.0.0.1")


class Line(LocalRemote):
    """A node whose commands end as told, one after the other, the last one for ever."""

    def __init__(self, home: Path, *endings: Exception | str) -> None:
        super().__init__("comp11", home)
        self.endings = list(endings)
        self.commands: list[str] = []

    def run(self, command: str, **_: object) -> Result:
        self.commands.append(command)
        ending = self.endings.pop(0) if len(self.endings) > 1 else self.endings[0]
        if isinstance(ending, Exception):
            raise ending
        return Result(0, ending.encode(), "")


def test_an_action_is_repeated_until_the_connection_is_back(tmp_path: Path) -> None:
    line = Line(tmp_path, LostError("lost"), UnreachableError("still away"), LostError("lost again"), "done")
    assert Retrying(line).ask("true") == "done"
    assert len(line.commands) == 4


def test_a_node_that_was_never_reached_is_not_waited_for(tmp_path: Path) -> None:
    line = Line(tmp_path, UnreachableError("away"))
    with pytest.raises(UnreachableError, match="away"):
        Retrying(line).ask("true")
    assert len(line.commands) == 1


def test_an_error_of_the_command_itself_is_not_repeated(tmp_path: Path) -> None:
    line = Line(tmp_path, LostError("lost"), RemoteCommandError("no"))
    with pytest.raises(RemoteCommandError, match="no"):
        Retrying(line).ask("true")
    assert len(line.commands) == 2


def test_patience_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0)
    line = Line(tmp_path, LostError("lost"), UnreachableError("away"))
    with pytest.raises(UnreachableError, match="away"):
        Retrying(line).ask("true")
    assert len(line.commands) == 2


class Broken(LocalRemote):
    """A node that loses the connection after it made a folder, and in which somebody may put something then."""

    def __init__(self, home: Path, *, used: bool) -> None:
        super().__init__("comp11", home)
        self.used = used
        self.made = 0

    def make_folder(self, path: str) -> None:
        self.made += 1
        super().make_folder(path)
        if self.used:
            self.write(f"{path}/status.json", b"{}", 0o600)
        raise LostError("lost")


def test_what_may_not_be_done_twice_looks_first(tmp_path: Path) -> None:
    """A folder made before the connection broke is taken for ours while it is empty, and only then."""
    node = Broken(tmp_path, used=False)
    Retrying(node).make_folder("~/runs/one")
    assert node.made == 2
    with pytest.raises(RemoteCommandError, match="got one that an earlier run"):
        Retrying(Broken(tmp_path, used=True)).make_folder("~/runs/two")


class Starting(LocalRemote):
    """A node whose agent's starts end as told, one after the other, and that says each time whether one lives."""

    def __init__(self, home: Path, starts: list[Exception | None], lives: list[bool]) -> None:
        super().__init__("comp11", home)
        self.starts, self.lives = starts, lives

    def start_agent(self, program: str, plan: NodePlan, run_key: str) -> None:
        if (ending := self.starts.pop(0)) is not None:
            raise ending

    def run(self, command: str, **_: object) -> Result:
        assert " status --run-dir " in command
        alive = str(self.lives.pop(0)).lower()
        answer = f'{MARK}{{"alive": {alive}, "status": null, "problem": null, "death": null}}'
        return Result(0, answer.encode(), "")


LOST, REFUSED = LostError("lost"), RemoteCommandError("comp11: an agent is running there already")


@pytest.mark.parametrize(
    ("starts", "lives"),
    [
        ([LOST], [True]),
        ([LOST, None], [False]),
        ([LOST, LOST], [False, True]),
        ([LOST, REFUSED], [False, True]),
    ],
)
def test_an_agent_that_lives_was_started_before_the_connection_broke(
    tmp_path: Path, starts: list[Exception | None], lives: list[bool]
) -> None:
    node = Starting(tmp_path, [*starts], [*lives])
    Retrying(node).start_agent("agent", PLAN, "key")
    assert (node.starts, node.lives) == ([], [])


@pytest.mark.parametrize(("starts", "lives"), [([REFUSED], []), ([LOST, REFUSED], [False, False])])
def test_a_start_that_is_refused_is_told(tmp_path: Path, starts: list[Exception | None], lives: list[bool]) -> None:
    """One that lives where no connection broke is another's."""
    node = Starting(tmp_path, [*starts], [*lives])
    with pytest.raises(RemoteCommandError, match="running there already"):
        Retrying(node).start_agent("agent", PLAN, "key")
    assert (node.starts, node.lives) == ([], [])
