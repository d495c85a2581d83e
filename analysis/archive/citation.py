r"""``report/archive.tex``: LaTeX macros that name an archive and its SHA-256.

The archive holds ``results.tex``, so that file cannot say the sha256 of what it is in. These macros are a file of
their own beside it, written after the archive and never in one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis import output
from analysis.report import latex

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.archive.archive import Archived

MACROS_FILE: Final = "archive.tex"
SHORT: Final = 12  # digits
BREAK_AFTER: Final = 8  # digits
HEAD: Final = """% Names the archive of these results; do not edit. It is not in there: no file can hold its own sha256.
% Sha: of the archive. ContentSha: of its list SHA256SUMS, whatever compressed it. Breakable: may go over lines.
"""


def write(folder: Path, archived: Archived) -> Path:
    """Write the macros of an archive into a folder and return their path."""
    sha256 = archived.sha256
    texts = {
        "file": latex.escape(archived.path.name),
        "bytes": str(archived.size_bytes),
        "files": str(archived.files),
        "sha256": sha256,
        "sha256 short": sha256[:SHORT],
        "sha256 breakable": r"\allowbreak{}".join(
            sha256[place : place + BREAK_AFTER] for place in range(0, len(sha256), BREAK_AFTER)
        ),
        "content sha256": archived.content_sha256,
    }
    lines = [rf"\newcommand{{\{latex.PREFIX}Archive{latex.word(name)}}}{{{text}}}" for name, text in texts.items()]
    return output.write_text(folder / MACROS_FILE, HEAD + "\n".join(lines) + "\n")
