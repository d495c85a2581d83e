"""A page in a real browser: Debian's Chromium, one for all tests; without it they are skipped, each saying so."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest
from playwright.sync_api import Error, sync_playwright

from analysis import pipeline
from analysis.simulation.simulate import simulate
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

CHROMIUM: Final = "chromium"
PACKAGE: Final = "apt-get install -y --no-install-recommends chromium"
ARGUMENTS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
DRAWN: Final = "html[data-drawn]"  # what the page says when its plot is there
DEADLINE_MS: Final = 60_000


@dataclass
class Opened:
    """A page that is open, and what it said and asked for that it should not."""

    page: Page
    said: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = shutil.which(CHROMIUM)
    if found is None:
        pytest.skip(f"page in a browser: expected chromium, got none: {PACKAGE}")
    with sync_playwright() as playwright:
        try:
            launched = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS), timeout=DEADLINE_MS)
        except Error as error:
            pytest.fail(f"{found} does not start: {error}")
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a run whose clocks are sure and wrong, so that every kind of verdict occurs; its figures are not drawn."""
    folder = simulate("overconfident", 3, 60, results=tmp_path_factory.mktemp("results"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_drawings", lambda _results: {})
        pipeline.run_all(folder)
    return folder


@pytest.fixture
def opened(browser: Browser, run: Path) -> Iterator[Opened]:
    """Open the run's page, and wait for its plot."""
    yield from show(browser, run / records.PAGE_FILE, width=1280)


@pytest.fixture
def show_page(browser: Browser) -> Iterator[Callable[[Path, int], Opened]]:
    """Return a function that opens a page in a window of some width."""
    shown: list[Iterator[Opened]] = []

    def open_page(file: Path, width: int) -> Opened:
        shown.append(show(browser, file, width=width))
        return next(shown[-1])

    yield open_page
    for page in shown:
        next(page, None)


def show(browser: Browser, file: Path, *, width: int) -> Iterator[Opened]:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme="light")
    context.set_default_timeout(DEADLINE_MS)
    opened = Opened(context.new_page())
    opened.page.on("console", lambda message: opened.said.append(message.text))
    opened.page.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.page.goto(file.as_uri())
    opened.page.wait_for_selector(DRAWN)
    yield opened
    context.close()
