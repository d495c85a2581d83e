"""A figure before it is drawn: its panels, and its caption with the counts; drawn as wide as asked.

What cannot be drawn is said in the caption; a panel whose values are all the same is a line of text; and a figure
without a single panel to draw is none, and its caption says why.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analysis.figures import labels, style

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Draw = Callable[[Axes], None]

TWO_ABREAST_IN: Final = 5.0  # a figure that is wider has two panels beside each other
LETTER_IN: Final = 0.0635  # as wide is a letter on average
LINE_IN: Final = 0.14
AROUND_IN: Final = 0.70  # above and below a panel: title, numbers and words of its axis
PLAIN_IN: Final = 1.45  # height of a panel
TITLE_PT: Final = 6.0  # from the axes, or the key above them, to the title
POINTS: Final = 72.0  # in an inch


@dataclass(frozen=True)
class Panel:
    """A part of a figure. ``says``: its part of the caption, with the counts; ``how``: what its marks mean.

    ``draw`` draws it. Without it, ``line`` is a line of text in its place; without either nothing is shown, and what
    ``says`` says is why. ``whole``: it takes the whole width; ``height_in`` is that of its axes, ``above_in``
    what it needs between them and its title. Panels of one ``group`` that follow each other have the same margins.
    """

    title: str
    says: str
    draw: Draw | None = None
    line: str = ""
    height_in: float = PLAIN_IN
    whole: bool = False
    group: str = ""
    above_in: float = 0.0
    how: str = ""


Row = list[tuple[str, Panel]]  # panels beside each other, each with its letter


@dataclass(frozen=True)
class Sheet:
    """A figure: its title, its panels, and what its caption says of all of them."""

    title: str
    panels: tuple[Panel, ...]
    says: str = ""

    @property
    def drawn(self) -> bool:
        """Tell whether there is anything to draw."""
        return any(panel.draw is not None for panel in self.panels)

    @property
    def caption(self) -> str:
        """Return the caption: what every panel shows, with its counts, and why a panel is not there.

        What marks mean is said once of all panels of which it is the same.
        """
        letters = self._letters()
        parts = [f"{letter}{panel.title}: {panel.says}" for letter, panel in letters if letter or self._shown(panel)]
        absent = [f"{panel.title}: {panel.says}" for _, panel in letters if not self._shown(panel)]
        if not self.drawn:
            return f"{self.title}: no figure. " + _sentences([f"{panel.title}: {panel.says}" for panel in self.panels])
        missing = f"Not drawn: {_sentences(absent)}" if absent else ""
        meant = _meant([(letter.strip(), panel.how) for letter, panel in letters if self._shown(panel)])
        return " ".join(part for part in (_sentences([self.title, *parts, *meant, self.says]), missing) if part)

    def figure(self, width_in: float) -> Figure:
        """Draw the figure as wide as asked. Raises ValueError if there is nothing to draw."""
        if not self.drawn:
            raise ValueError(f"{self.title}: expected a panel to draw, got none; ask ``drawn`` first")
        blocks = list(self._blocks(two=width_in >= TWO_ABREAST_IN))
        with style.context():
            heights = [sum(_height_in(row, width_in) for row in block) for block in blocks]
            figure = style.canvas(width_in, sum(heights))
            parts = figure.subfigures(len(blocks), 1, height_ratios=heights, squeeze=False)[:, 0]
            for part, block in zip(parts, blocks, strict=True):
                grid = part.add_gridspec(len(block), max(map(len, block)))
                for place, row in enumerate(block):
                    for column, title in enumerate(_titles(row, width_in)):
                        _fill(part.add_subplot(grid[place, column]), *row[column], width_in / len(row), title)
            labels.place(figure)
        return figure

    def _blocks(self, *, two: bool) -> Iterator[list[Row]]:
        """Yield rows of panels that share their margins: every row by itself, but for those of one ``group``."""
        block: list[Row] = []
        for row in self._rows(two=two):
            group = row[0][1].group
            if block and not (group and group == block[-1][0][1].group):
                yield block
                block = []
            block.append(row)
        if block:
            yield block

    def _shown(self, panel: Panel) -> bool:
        return panel.draw is not None or bool(panel.line)

    def _letters(self) -> list[tuple[str, Panel]]:
        """Return the panels, each shown with its letter; a panel that is alone needs none."""
        shown = [panel for panel in self.panels if self._shown(panel)]
        names = {id(panel): f"({chr(ord('a') + place)}) " for place, panel in enumerate(shown) if len(shown) > 1}
        return [(names.get(id(panel), ""), panel) for panel in self.panels]

    def _rows(self, *, two: bool) -> Iterator[Row]:
        """Yield the panels that are shown, row by row, in their order."""
        row: Row = []
        for lettered in self._letters():
            panel = lettered[1]
            if not self._shown(panel):
                continue
            alone = not two or panel.whole or panel.draw is None
            if row and (alone or len(row) == 2):
                yield row
                row = []
            row.append(lettered)
            if alone:
                yield row
                row = []
        if row:
            yield row


@dataclass(frozen=True)
class _Title:
    """A panel's title, and how far above its axes it stands."""

    text: str
    above_pt: float


def _titles(row: Row, width_in: float) -> list[_Title]:
    """Return the titles of panels beside each other, which begin at one height."""
    texts = [_wrapped(f"{letter}{panel.title}", width_in / len(row)) for letter, panel in row]
    lines = [text.count("\n") for text in texts]
    key_pt = POINTS * max(panel.above_in for _, panel in row)
    return [
        _Title(text, TITLE_PT + key_pt + POINTS * LINE_IN * (max(lines) - own))
        for text, own in zip(texts, lines, strict=True)
    ]


def _fill(axes: Axes, letter: str, panel: Panel, width_in: float, title: _Title) -> None:
    if panel.draw is None:
        labels.statement(axes, _line(panel, width_in, letter))
        return
    axes.set_title(title.text, loc="left", pad=title.above_pt)
    panel.draw(axes)


def _height_in(row: Row, width_in: float) -> float:
    """Return the height of a row of panels with what is around them."""
    drawn = [panel.height_in + panel.above_in + AROUND_IN for _, panel in row if panel.draw is not None]
    if drawn:
        return max(drawn)
    return max(LINE_IN * (2.0 + _line(panel, width_in, "(a) ").count("\n")) for _, panel in row)


def _line(panel: Panel, width_in: float, letter: str) -> str:
    return _wrapped(f"{letter}{panel.title}: {panel.line}", width_in)


def _wrapped(text: str, width_in: float) -> str:
    return "\n".join(textwrap.wrap(text, int((width_in - 0.15) / LETTER_IN)))


def _meant(panels: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield what the marks of panels mean, each with the letters of the panels."""
    for how in dict.fromkeys(how for _, how in panels if how):
        letters = ", ".join(letter for letter, others in panels if letter and others == how)
        yield f"{letters}: {how}" if letters else f"{how[0].upper()}{how[1:]}"


def _sentences(parts: Sequence[str]) -> str:
    return " ".join(part if part.endswith((".", "!", "?")) else f"{part}." for part in parts if part)
