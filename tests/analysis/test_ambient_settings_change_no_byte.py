"""Whoever analyses a run, with whatever settings: every file has the same bytes."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from analysis.figures import plotting, style
from analysis.simulation.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Callable

ANALYZE = Path(sys.executable).parent / "analyze"
HOSTILE_RC = """\
backend: TkAgg
axes.formatter.use_locale: True
axes.facecolor: black
axes.grid: True
axes.prop_cycle: cycler('color', ['r'])
figure.autolayout: True
figure.constrained_layout.w_pad: 0.5
font.family: cursive
lines.linestyle: --
mathtext.fontset: cm
path.sketch: 2, 50, 10
pdf.compression: 0
savefig.bbox: tight
savefig.dpi: 30
savefig.transparent: True
text.usetex: True
timezone: Asia/Kathmandu
xtick.direction: in
"""
OTHERS_WORK = "gateway: nobody@192.0.2.1\ntasks: {collection_name: other, search_root: /none}\nrun: {echo: true}\n"


def named(*files: str, content: bytes = HOSTILE_RC.encode()) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for name in files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    return make


def nothing(_: Path) -> None:
    pass


def unreadable(folder: Path) -> None:
    (folder / "matplotlibrc").symlink_to("/proc/self/mem")  # there, and not to be read, not even by root


CASES: dict[str, tuple[Callable[[Path], None], dict[str, str]]] = {
    "backend that needs a screen": (nothing, {"MPLBACKEND": "TkAgg", "DISPLAY": ""}),
    "backend that is none": (nothing, {"MPLBACKEND": "module://nowhere", "SOURCE_DATE_EPOCH": "1"}),
    "backend of no name": (nothing, {"MPLBACKEND": "nosuch", "PYTHONHASHSEED": "7"}),
    "matplotlibrc here": (named("matplotlibrc"), {"LC_ALL": "de_DE.UTF-8", "LC_NUMERIC": "de_DE.UTF-8"}),
    "matplotlibrc in no encoding": (named("matplotlibrc", content=b"font.family: \xe9\xff\n"), {"LC_ALL": "tr_TR"}),
    "matplotlibrc unreadable": (unreadable, {"PYTHONIOENCODING": "ascii", "TZ": "Asia/Kathmandu"}),
    "matplotlibrc by name": (named("rc"), {"MATPLOTLIBRC": "rc", "LC_ALL": "tr_TR.ISO-8859-9", "COLUMNS": "20"}),
    "user's": (
        named(".config/matplotlib/matplotlibrc", ".config/matplotlib/stylelib/classic.mplstyle"),
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONOPTIMIZE": "2"},
    ),
    "other work's": (
        named(".fabric.yaml", ".invoke.yaml", "invoke.yaml", ".env", content=OTHERS_WORK.encode()),
        {"LC_ALL": "en_US.ISO-8859-1", "INVOKE_RUN_ECHO": "1", "INVOKE_RUNTIME_CONFIG": "/nonexistent.yaml"},
    ),
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder that nobody has analysed."""
    return simulate("honest", 3, 40, seed=2, experiment="same", results=tmp_path_factory.mktemp("pristine"))


def analysed(run: Path, cwd: Path, environment: dict[str, str]) -> dict[str, str]:
    """Return the digest of every file of a run's copy that was analysed in a folder and an environment."""
    copy = cwd / "results/same"
    shutil.copytree(run, copy)
    done = subprocess.run(
        [ANALYZE, "--experiment", copy], cwd=cwd, env=environment, capture_output=True, check=False, timeout=250
    )
    said = (done.stdout + done.stderr).decode("latin-1")
    assert done.returncode == 0, said
    assert "Traceback" not in said
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    return {str(path.relative_to(copy)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def plain(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the digests where nothing is set."""
    known = {"PATH": os.environ["PATH"], "HOME": str(Path.home())}
    made = analysed(pristine, tmp_path_factory.mktemp("plain"), known)
    assert sum(name.endswith((".png", ".pdf")) for name in made) >= 16
    return made


@pytest.mark.parametrize("case", CASES)
def test_every_file_has_the_same_bytes(case: str, pristine: Path, plain: dict[str, str], tmp_path: Path) -> None:
    """Figures, statistics, merged table, LaTeX and report; the fonts that matplotlib has found may be kept."""
    make, environment = CASES[case]
    make(tmp_path)
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(Path.home() / ".cache")}
    made = analysed(pristine, tmp_path, {**os.environ, **home, **environment})
    assert [name for name in plain if made.get(name) != plain[name]] == []
    assert made.keys() == plain.keys()


def test_a_style_that_the_program_itself_has_chosen_changes_nothing() -> None:
    """As in a notebook, where others have drawn before."""
    with plotting.mpl.rc_context({"font.family": "serif", "axes.grid": True, "savefig.dpi": 10}):
        with style.context():
            inside = dict(plotting.mpl.rcParams)
        assert plotting.mpl.rcParams["savefig.dpi"] == 10
    with style.context():
        assert {name: value for name, value in plotting.mpl.rcParams.items() if inside[name] != value} == {}


def test_matplotlib_has_one_door() -> None:
    """Whatever imports it elsewhere, when the program runs, might be the first to, and let the user's settings in."""
    sources = Path(plotting.__file__).parent.rglob("*.py")
    others = [path.name for path in sources if path.name != "plotting.py" and _imports_matplotlib(path)]
    assert others == []


def _imports_matplotlib(path: Path) -> bool:
    return bool(re.search(r"^(from|import) matplotlib", path.read_text(encoding="utf-8"), re.MULTILINE))
