"""The page around its content: one HTML file with its style, its scripts and its data within, and a strict policy.

The library for the interactive plot is Plotly. Of the three that are kept well (Plotly, Bokeh, Vega) it alone draws
SVG, which prints as lines and not as pixels; is described by plain JSON, so that equal data give equal bytes (Bokeh
numbers its models by a counter of the process); and runs under a content security policy without ``unsafe-eval`` and
without ``unsafe-inline`` (Vega compiles expressions; Bokeh makes hundreds of inline styles). What it costs is 4.8 MB of
each page that has a plot. The script is taken from the installed package when a page is written.

The policy names every script and style by its hash, and allows no request at all. Plotly would add two styles: one it
leaves out where an element with its id has the class ``no-inline-styles``, the other, of maps, where there is an
element with its id; the page has both elements.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jinja2
from markupsafe import Markup

from analysis.errors import AnalysisError
from analysis.figures import style
from analysis.report import html
from analysis.tables import Grid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HERE: Final = Path(__file__).parent
PAGE: Final = "page.html.jinja"
STYLE: Final = "page.css"
LIBRARY: Final = "plotly"
PLOTLYS_OWN: Final = "plotly.js-style-global"  # the id of the style that Plotly makes for all its plots
_OTHER_STYLES: Final = re.compile(
    r'if\(!document\.getElementById\("([0-9a-f]{64})"\)\)\{var e=document\.createElement\("style"\)'
)
_LIGHTER: Final = 0.45  # by so much towards white in the dark scheme


def environment() -> jinja2.Environment:
    """Return where templates are rendered: everything is escaped that is not markup of ours."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), undefined=jinja2.StrictUndefined, autoescape=True, trim_blocks=True
    )
    made.filters |= {
        "marked": html.text,
        "table": html.table,
        "folded": html.folded,
        "grouped": html.grouped,
        "shown": _shown,
    }
    return made


def page(
    title: str, body: Markup, sources: Sequence[str] = (), data: Mapping[str, Any] | None = None, *scripts: str
) -> str:
    """Return a page; ``data`` and our own ``scripts`` (files beside this one) for what is interactive, if anything is.

    ``sources`` are the clock sources whose colours are needed.
    """
    own = "\n".join((HERE / name).read_text(encoding="utf-8") for name in scripts)
    styled = (HERE / STYLE).read_text(encoding="utf-8") + _colours(sources)
    library = _library() if scripts else ""
    allowed = [_hash(script) for script in (library, own) if script] or ["'none'"]
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(allowed)}",
            f"style-src {_hash(styled)} {_hash('')}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return (
        environment()
        .get_template(PAGE)
        .render(
            title=title,
            policy=policy,
            style=Markup(styled),  # noqa: S704 - our own file, and colours
            body=body,
            data=None if data is None else Markup(_json(data)),  # noqa: S704 - without any tag's beginning
            library=Markup(library),  # noqa: S704 - of an installed package
            own=Markup(own),  # noqa: S704 - our own files
            others_styles=_OTHER_STYLES.findall(library),
            plotlys_own=PLOTLYS_OWN,
        )
    )


def figure(address: str, name: str, caption: str = "") -> Markup:
    """Return a drawn figure as an image within the page, apart from the page's styles and names, with its caption.

    Where it is too wide to be read it scrolls by itself.
    """
    below = Markup("<figcaption>{}</figcaption>").format(caption) if caption else Markup("")
    return Markup(
        '<figure class="paper"><div class="scroll" role="region" tabindex="0" aria-label="{1}">'
        '<img src="{0}" alt="{1}"></div>{2}</figure>'
    ).format(address, name, below)


def _shown(said: Any, name: str) -> Markup:
    """Return a table folded, and words as a paragraph."""
    return html.folded(said, name) if isinstance(said, Grid) else Markup("<p>{}</p>").format(html.text(said))


def _json(data: Mapping[str, Any]) -> str:
    """Return data as JSON that ends no element and begins no comment, whatever its texts are."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@cache
def _library() -> str:
    """Return the script of the installed plotting library. Raises AnalysisError where it is not installed."""
    spec = importlib.util.find_spec(LIBRARY)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [file for folder in folders if (file := Path(folder) / "package_data" / "plotly.min.js").is_file()]
    if not files:
        raise AnalysisError(f"{LIBRARY}: expected it to be installed, with package_data/plotly.min.js; uv sync")
    return files[0].read_text(encoding="utf-8").replace("</script", "<\\/script")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


def _colours(sources: Sequence[str]) -> str:
    """Return the style of every source by its place: its one colour, lighter on a dark ground."""
    light = [f".source-{place}{{--source:{style.colour(source)}}}" for place, source in enumerate(sources)]
    dark = [f".source-{place}{{--source:{_lighter(style.colour(source))}}}" for place, source in enumerate(sources)]
    return "\n".join([*light, "@media screen and (prefers-color-scheme: dark) {", *dark, "}", ""])


def _lighter(colour: str) -> str:
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return "#" + "".join(f"{round(part + _LIGHTER * (255 - part)):02x}" for part in parts)
