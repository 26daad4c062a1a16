"""Standalone HTML pages of text, tables and plotly figures that never ask the network for anything.

The bytes of a page depend on its content and the plotly version only.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from grokking.files import names
from grokking.files.json_files import atomic_write_text
from grokking.pictures.drawings import Drawing
from grokking.pictures.style import FONT, PAGE_COLORS

# No page fetches anything: the browser itself enforces it.
POLICY = (
    "connect-src 'none'; img-src data: blob:; font-src 'none'; media-src 'none'; "
    "frame-src 'none'; object-src 'none'; form-action 'none'; base-uri 'none'"
)


@dataclass(frozen=True)
class Prose:
    """Paragraphs, under a heading if there is one."""

    paragraphs: Sequence[str]
    heading: str = ""


@dataclass(frozen=True)
class Figures:
    """Drawings side by side that wrap on a narrow screen; `shares` are their relative widths.

    One with the title of its page does not repeat it.
    """

    drawings: Sequence[Drawing]
    shares: Sequence[float] = ()


@dataclass(frozen=True)
class Facts:
    """Names and values, side by side."""

    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Linked:
    """A cell of a table: (address relative to this page, text) each; without an address the text alone."""

    links: Sequence[tuple[str, str]]


TableCell = str | Linked


@dataclass(frozen=True)
class Table:
    """A table whose first row of cells is `header`; `ids` are those of its rows, if any.

    One with a file's name for `csv` can be sorted by its columns, and saved under that name.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[TableCell]]
    ids: Sequence[str] = ()
    csv: str = ""


@dataclass(frozen=True)
class Links:
    """A list of (address relative to this page, text)."""

    links: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Details:
    """A table that unfolds: the data behind the figure above it."""

    summary: str
    table: Table


@dataclass(frozen=True)
class Widget:
    """What plotly alone cannot do: static/NAME.html, in which %ID% is its id, NAME.css, and NAME.js,
    whose function `NAME` is given the id and `data`, any plotly figures among it.
    """

    name: Literal["film", "gallery"]
    data: Mapping[str, Any]


Block = Prose | Figures | Facts | Table | Links | Details | Widget


@dataclass
class _Page:
    """The blocks rendered so far: figures are numbered through the page."""

    title: str
    scripts: list[str] = field(default_factory=list)
    tables: int = 0  # that can be sorted
    figures: int = 0
    widgets: set[str] = field(default_factory=set)

    def files(self, kind: str) -> str:
        """The stylesheets or scripts that what is on this page needs, in order."""
        shared = [f"page.{kind}", *(["surface.js"] if self.widgets and kind == "js" else [])]
        return "".join(map(static, [*shared, *(f"{name}.{kind}" for name in sorted(self.widgets))]))


def write_page(
    path: Path, title: str, blocks: Sequence[Block], plotly_js: Literal["inline", "shared"]
) -> Path:
    """Write one page atomically and return its path. All strings are plain text, never markup.

    "inline" puts plotly.js into the page; "shared" links a version-named copy beside it,
    which is written if it is not there. Raises RunError if the disk refuses.
    """
    page = _Page(title)
    body = "\n".join(_render(block, page) for block in blocks)
    library = ""
    if page.figures or page.widgets:
        library = _inline_library() if plotly_js == "inline" else _shared_library(path.parent)
    atomic_write_text(path, _document(page, body, library))
    return path


def static(name: str) -> str:
    """A file of static/."""
    return (files("grokking.pictures") / "static" / name).read_text(encoding="utf-8")


def _document(page: _Page, body: str, library: str) -> str:
    title, scripts = escape(page.title), "\n".join(page.scripts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{_variables()}
{page.files("css")}</style>
{library}
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
<script>{page.files("js") if scripts else ""}{scripts}</script>
</body>
</html>
"""


def _variables() -> str:
    """Colours and font, as static/*.css know them."""
    listed = "".join(f" --{name}: {value};" for name, value in PAGE_COLORS.items())
    return f":root {{ color-scheme: light; --font: {FONT};{listed} }}"


def shared_library_name() -> str:
    """File name of the shared copy of plotly.js, e.g. plotly-4.1.1.min.js."""
    return names.LIBRARY.format(get_plotlyjs_version())


@cache
def _plotly_js() -> tuple[str, bytes]:
    """The library as text and in UTF-8: some MB, which every page of a run needs."""
    text = get_plotlyjs()
    return text, text.encode()


def _inline_library() -> str:
    return f"<script>{_plotly_js()[0]}</script>"


def _shared_library(directory: Path) -> str:
    path, (text, encoded) = directory / shared_library_name(), _plotly_js()
    if not path.is_file() or path.read_bytes() != encoded:
        atomic_write_text(path, text)
    return f'<script src="{escape(path.name)}"></script>'


def _render(block: Block, page: _Page) -> str:
    match block:
        case Prose(paragraphs, heading):
            lines = (f"<p>{escape(text)}</p>" for text in paragraphs)
            return "\n".join([_heading(heading), *lines])
        case Facts(facts):
            items = (f"<div><dt>{escape(n)}</dt><dd>{escape(v)}</dd></div>" for n, v in facts)
            return f"<dl>{''.join(items)}</dl>"
        case Links(links):
            items = (f'<li><a href="{escape(to)}">{escape(text)}</a></li>' for to, text in links)
            return f"<ul>{''.join(items)}</ul>"
        case Table():
            return _table(block, page)
        case Figures(drawings, shares):
            widths = shares or [1.0] * len(drawings)
            parts = (_figure(d, share, page) for d, share in zip(drawings, widths, strict=True))
            kind = "row" if shares else "row even"
            return f'<div class="{kind}">\n' + "\n".join(parts) + "\n</div>"
        case Details(summary, table):
            return (
                f"<details><summary>{escape(summary)}</summary>\n{_render(table, page)}</details>"
            )
        case Widget(name, data):
            element = f"{name}-{len(page.scripts) + 1}"
            page.widgets.add(name)
            page.scripts.append(f'{name}("{element}", {_script_json(data)});')
            return static(f"{name}.html").replace("%ID%", element)


def _heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>" if text else ""


def _table(table: Table, page: _Page) -> str:
    ids = table.ids or [""] * len(table.rows)
    body = "\n".join(_table_row("td", *row) for row in zip(table.rows, ids, strict=True))
    name = ""
    if table.csv:
        page.tables += 1
        name = f' id="table-{page.tables}"'
        page.scripts.append(f'sortable("table-{page.tables}", {_script_json(table.csv)});')
    return (
        f'<div class="scroll"><table{name}><caption>{escape(table.caption)}</caption>\n'
        f"<thead>{_table_row('th', table.header)}</thead>\n<tbody>{body}</tbody></table></div>"
    )


def _table_row(tag: str, cells: Sequence[TableCell], name: str = "") -> str:
    row = f'<tr id="{escape(name)}">' if name else "<tr>"
    return row + "".join(f"<{tag}>{_cell(cell)}</{tag}>" for cell in cells) + "</tr>"


def _cell(cell: TableCell) -> str:
    if isinstance(cell, str):
        return escape(cell)
    return ", ".join(
        f'<a href="{escape(to)}">{escape(text)}</a>' if to else escape(text)
        for to, text in cell.links
    )


def _figure(drawing: Drawing, share: float, page: _Page) -> str:
    page.figures += 1
    name = f"figure-{page.figures}"
    figure, title, look_for, choice = drawing
    calls = [] if choice is None else [button._asdict() for button in choice.buttons]
    page.scripts.append(f'draw("{name}", {_script_json(figure)}, {_script_json(calls)});')
    height = figure.layout.height
    size = "aspect-ratio: 1" if height is None else f"height: {height}px"
    return "\n".join(
        [
            f'<figure style="--share: {share:g}">',
            _heading(title if title != page.title else ""),
            f'<p class="look" id="{name}-look" aria-live="polite">{escape(look_for)}</p>',
            "" if choice is None else _group(name, choice.of),
            f'<div class="plot" id="{name}" style="{size}"></div>',
            "</figure>",
        ]
    )


def _group(name: str, of: str) -> str:
    return f'<div class="buttons" role="group" aria-label="{escape(of)}" id="{name}-buttons"></div>'


def _plain(value: Any) -> Any:
    """The value with every figure in it as its record."""
    if isinstance(value, go.Figure):
        return json.loads(value.to_json())
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _script_json(value: object) -> str:
    """JSON that stays inside its <script>: no <, >, & or line separators appear in it."""
    text = json.dumps(_plain(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
