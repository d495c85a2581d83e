"""What an analysis says of a run, as one digest per output: statistics, report, LaTeX and what each figure draws.

A digest is the sha256 of an output's bytes, with every fraction in it rounded to 12 significant digits: processors
differ in the last digits of logarithms and roots. Of a figure it is what is drawn: points, bars, lines, words.

    uv run python tests/golden/golden_record.py      # writes expected.json anew; the commit says why
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis import pipeline
from analysis.figures import style
from analysis.imported import older_format
from analysis.simulation import scenario as scenarios
from analysis.simulation.simulate import simulate
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

    from analysis.analyses.analysis import Results
    from analysis.figures.sheet import Sheet

HERE: Final = Path(__file__).parent
EXPECTED: Final = HERE / "expected.json"
DEMO: Final = HERE / "demo.tar.xz"  # `fab demo`, 40 events, recorded on 2026-11-28
PUBLISHED_RUN: Final = "ares-2025-10-25"
NODES, EVENTS, SEED = 3, 300, 7
TEXTS: Final = ("statistics/*.json", "statistics/*.csv", "report/*.md", "report/*.tex")

_FRACTION: Final = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")


def names() -> list[str]:
    """Return the names of all runs: the scenarios, the recorded demo, the published run."""
    return [*scenarios.names(), "demo", "published"]


def published_data() -> Path | None:
    """Return the folder of the published run, if it is on this machine."""
    given = os.environ.get("CHRONOTICK_SHARED_DATA")
    folders = [Path(given)] if given else []
    folders.append(HERE.parents[2] / "shared" / "data")
    return next((folder / PUBLISHED_RUN for folder in folders if (folder / PUBLISHED_RUN).is_dir()), None)


def make(name: str, results_dir: Path) -> Path:
    """Make the run folder of this name."""
    if name == "demo":
        with tarfile.open(DEMO) as archive:
            archive.extractall(results_dir, filter="data")
        return results_dir / "demo"
    if name == "published":
        source = published_data()
        if source is None:
            raise FileNotFoundError(PUBLISHED_RUN)
        return _timeless(older_format.import_published(source, name, results_dir))
    return _timeless(simulate(scenarios.read(name), NODES, EVENTS, seed=SEED, results=results_dir))


def _timeless(folder: Path) -> Path:
    """Take out of a run's manifest what is about its making: when, from where, by which command and which code."""
    file = folder / records.MANIFEST_FILE
    manifest = json.loads(file.read_text(encoding="utf-8"))
    manifest |= {"created_utc": "2026-11-28T00:00:00+00:00", "argv": ["made"], "code_version": {"git": "unknown"}}
    if manifest["imported"] is not None:
        manifest["imported"]["source"] = PUBLISHED_RUN
    file.write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def digests(folder: Path) -> dict[str, str]:
    """Analyse a run folder, drawing nothing into files; return a digest per output and per figure."""
    drawings: dict[str, Any] = {}

    def keep(found: Results) -> dict[str, Any]:
        drawings.update(drawings_of(found))
        return {}

    drawings_of = pipeline._drawings
    pipeline._drawings = keep
    try:
        pipeline.run_all(folder)
    finally:
        pipeline._drawings = drawings_of
    texts = sorted(path for pattern in TEXTS for path in folder.glob(pattern))
    said = {str(path.relative_to(folder)): _digest(path.read_text(encoding="utf-8")) for path in texts}
    return said | {f"figure {name}": _digest("\n".join(_shown(draw()))) for name, draw in drawings.items()}


def _digest(text: str) -> str:
    return hashlib.sha256(_FRACTION.sub(lambda match: f"{float(match[0]):.12g}", text).encode()).hexdigest()


def _shown(sheet: Sheet) -> Iterator[str]:
    """Yield a figure's caption and, where there is anything to draw, what it draws."""
    yield sheet.caption
    if sheet.drawn:
        yield from _drawn(sheet.figure(style.PAGE_IN))


def _drawn(figure: Figure) -> Iterator[str]:
    """Yield what a figure draws, artist by artist: its kind, its words, and its points in the order they are drawn."""
    artists: list[Artist] = [figure]
    while artists:
        artist = artists.pop()
        artists += reversed(artist.get_children())
        words = artist.get_text() if hasattr(artist, "get_text") else ""
        yield f"{type(artist).__name__} {words!r} {_points(artist)}"


def _points(artist: Any) -> str:
    """Return the data of an artist; positions that follow from the layout are left out."""
    values: list[Any] = []
    if hasattr(artist, "get_xydata"):
        values.append(artist.get_xydata())
    if hasattr(artist, "get_offsets"):
        values += [artist.get_offsets(), *(path.vertices for path in artist.get_paths())]
    if hasattr(artist, "get_width") and hasattr(artist, "get_xy"):
        values.append([*artist.get_xy(), artist.get_width(), artist.get_height()])
    flat = [np.ravel(np.asarray(value, dtype=float)) for value in values]
    return " ".join(f"{number:.9g}" for numbers in flat for number in numbers)


def main() -> None:
    """Write the digests of all runs."""
    said = {}
    for name in names():
        with tempfile.TemporaryDirectory() as scratch:
            said[name] = digests(make(name, Path(scratch)))
    EXPECTED.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
