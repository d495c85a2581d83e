"""What a broken connection interrupted is done once more; what cannot be reached at all is not waited for."""

from __future__ import annotations

import pytest

from harness import retry as module
from harness.errors import LostError, RemoteCommandError, UnreachableError
from harness.retry import again


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0)


class Line:
    """An action whose calls end as told, one after the other, the last one for ever."""

    def __init__(self, *endings: Exception | str) -> None:
        self.endings = list(endings)
        self.calls = 0

    def __call__(self, _host: object) -> str:
        self.calls += 1
        ending = self.endings.pop(0) if len(self.endings) > 1 else self.endings[0]
        if isinstance(ending, Exception):
            raise ending
        return ending


def test_an_action_is_repeated_until_the_connection_is_back() -> None:
    line = Line(LostError("lost"), UnreachableError("still away"), LostError("lost again"), "done")
    assert again(line)(None) == "done"  # type: ignore[arg-type]
    assert line.calls == 4


def test_a_node_that_was_never_reached_is_not_waited_for() -> None:
    line = Line(UnreachableError("away"))
    with pytest.raises(UnreachableError, match="away"):
        again(line)(None)  # type: ignore[arg-type]
    assert line.calls == 1


def test_an_error_of_the_command_itself_is_not_repeated() -> None:
    line = Line(LostError("lost"), RemoteCommandError("no"))
    with pytest.raises(RemoteCommandError, match="no"):
        again(line)(None)  # type: ignore[arg-type]
    assert line.calls == 2


def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0)
    line = Line(LostError("lost"), UnreachableError("away"))
    with pytest.raises(UnreachableError, match="away"):
        again(line)(None)  # type: ignore[arg-type]
    assert line.calls == 2


def test_what_may_not_be_done_twice_has_a_repeat_of_its_own() -> None:
    first, repeat = Line(LostError("lost")), Line("found done")
    assert again(first, repeat)(None) == "found done"  # type: ignore[arg-type]
    assert (first.calls, repeat.calls) == (1, 1)
