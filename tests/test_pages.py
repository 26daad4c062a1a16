"""Pages: what stands in the HTML, and what a browser makes of it."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from grokking.pictures.drawings import Button, Buttons, Drawing
from grokking.pictures.pages.page import (
    Block,
    Details,
    Facts,
    Figures,
    Links,
    Prose,
    Table,
    write_page,
)
from grokking.pictures.style import PAGE_COLORS
from grokking.system.errors import RunError
from tests.support.browser import Chromium
from tests.support.environment import ROOT, clean_environment

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>&\"\u2028"


def drawing(title: str = "Heights", name: str = "boys") -> Drawing:
    """A line with buttons that shift it and rename the sentence."""
    figure = go.Figure(go.Scatter(x=[1, 2, 3], y=[1, 2, 3], name=name, showlegend=True))
    buttons = [
        Button(label, {"y": [[1 + up, 2 + up, 3 + up]]}, {}, f"Now {label}.")
        for label, up in (("low", 0), ("high", 10))
    ]
    figure.update_layout(height=300)
    return Drawing(figure, title, "Look at the slope.", Buttons(name, buttons))


class Outline(HTMLParser):
    """Start tags, with their attributes, and the text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.text += data + "\n"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_a_page_has_language_title_viewport_and_one_main_heading(tmp_path: Path) -> None:
    path = write_page(tmp_path / "a.html", "My run", [Prose(["Hello."], "Part")], "inline")
    html = path.read_text(encoding="utf-8")
    outline = Outline(html)
    assert html.startswith("<!DOCTYPE html>\n")
    assert outline.all("html") == [{"lang": "en"}]
    assert {"charset": "utf-8"} in outline.all("meta")
    assert any(meta.get("name") == "viewport" for meta in outline.all("meta"))
    assert len(outline.all("h1")) == len(outline.all("title")) == 1
    assert "My run" in outline.text and "Hello." in outline.text and "Part" in outline.text


def test_an_installed_package_has_the_files_that_pages_are_made_of(tmp_path: Path) -> None:
    """Away from the source tree, as from a wheel, and without torch."""
    build = [sys.executable, "setup.py", "-q", "build_py", f"--build-lib={tmp_path}"]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    program = (
        "import pathlib\nfrom grokking.pictures.pages import page\n"
        "for name in ('film', 'gallery'):\n"
        "    path = pathlib.Path(f'{name}.html')\n"
        "    print(page.write_page(path, 't', [page.Widget(name, {})], 'shared'), page.__file__)"
    )
    environment = clean_environment(PYTHONPATH=str(tmp_path))
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.count(str(tmp_path / "grokking")) == 2, done.stderr
    for path in (ROOT / "grokking" / "pictures" / "static").iterdir():
        name = path.stem if path.stem in ("film", "gallery") else "film"
        text = path.read_text().replace("%ID%", f"{name}-1")
        assert text in (tmp_path / f"{name}.html").read_text(), path


def test_every_variable_of_the_stylesheets_has_a_value() -> None:
    files = list((ROOT / "grokking" / "pictures" / "static").glob("*.css"))
    used = {name for path in files for name in re.findall(r"var\(--([a-z]+)\)", path.read_text())}
    assert files and used == {"font", "share", *PAGE_COLORS}  # a figure's share is its own


def test_a_page_without_figures_carries_no_plotly(tmp_path: Path) -> None:
    path = write_page(tmp_path / "a.html", "t", [Prose(["x"])], "shared")
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]
    assert path.stat().st_size < 10_000


def test_inline_pages_hold_plotly_and_need_no_other_file(tmp_path: Path) -> None:
    path = write_page(tmp_path / "a.html", "t", [Figures([drawing()])], "inline")
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]
    html = path.read_text(encoding="utf-8")
    assert get_plotlyjs() in html
    assert not re.search(r'(src|href)="(?!data:)', html.replace(get_plotlyjs(), ""))


def test_shared_pages_link_one_version_named_copy(tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_page(tmp_path / name, "t", [Figures([drawing()])], "shared")
    library = f"plotly-{get_plotlyjs_version()}.min.js"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html", library]
    assert (tmp_path / library).read_text(encoding="utf-8") == get_plotlyjs()
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert f'<script src="{library}">' in page and len(page) < 50_000


def test_a_damaged_shared_copy_is_repaired_and_a_good_one_left_alone(tmp_path: Path) -> None:
    library = tmp_path / f"plotly-{get_plotlyjs_version()}.min.js"
    library.write_text("half a li", encoding="utf-8")
    write_page(tmp_path / "a.html", "t", [Figures([drawing()])], "shared")
    assert library.read_text(encoding="utf-8") == get_plotlyjs()
    before = library.stat().st_ino
    write_page(tmp_path / "b.html", "t", [Figures([drawing()])], "shared")
    assert library.stat().st_ino == before


@pytest.mark.parametrize("plotly_js", ("inline", "shared"))
def test_the_same_content_gives_the_same_bytes(
    tmp_path: Path, plotly_js: Literal["inline", "shared"]
) -> None:
    pages = [
        write_page(tmp_path / f"{n}.html", "t", [Figures([drawing(), drawing()])], plotly_js)
        for n in range(2)
    ]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_title_sentence_and_buttons_of_a_drawing_become_html(
    tmp_path: Path, chromium: Chromium
) -> None:
    path = write_page(tmp_path / "a.html", "My run", [Figures([drawing()])], "shared")
    outline = Outline(path.read_text(encoding="utf-8"))
    assert len(outline.all("h2")) == 1
    assert all(text in outline.text for text in ("Heights", "Look at the slope."))
    with chromium.open(path) as page:
        buttons = page.evaluate(
            "[...document.querySelectorAll('[role=group][aria-label=boys] button')]"
            ".map(b => [b.textContent, b.ariaPressed])"
        )
    assert buttons == [["low", "true"], ["high", "false"]]


def test_a_figure_titled_as_its_page_does_not_repeat_the_title(tmp_path: Path) -> None:
    path = write_page(tmp_path / "a.html", "Heights", [Figures([drawing()])], "shared")
    assert not Outline(path.read_text(encoding="utf-8")).all("h2")


def test_a_page_that_cannot_be_written_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot write"):
        write_page(tmp_path / "missing" / "a.html", "t", [], "inline")


def test_hostile_strings_stay_text_everywhere(tmp_path: Path, chromium: Chromium) -> None:
    blocks: list[Block] = [
        Prose([HOSTILE], HOSTILE),
        Facts([(HOSTILE, HOSTILE)]),
        Table(HOSTILE, [HOSTILE], [[HOSTILE]]),
        Links([(HOSTILE, HOSTILE)]),
        Details(HOSTILE, Table(HOSTILE, [HOSTILE], [[HOSTILE]])),
        Figures([drawing(HOSTILE, HOSTILE)]),
    ]
    path = write_page(tmp_path / "a.html", HOSTILE, blocks, "shared")
    outline = Outline(path.read_text(encoding="utf-8"))
    assert len(outline.all("script")) == 2 and not outline.all("img")
    with chromium.open(path) as page:
        assert page.evaluate("window.hacked === undefined")
        assert page.evaluate("document.title.replace(/\\s/g, ' ')") == HOSTILE.replace(
            "\u2028", " "
        )
        assert page.evaluate("document.querySelectorAll('.plot svg').length > 0")
        assert page.errors == []
        library = tmp_path / f"plotly-{get_plotlyjs_version()}.min.js"
        assert page.requests == [path.as_uri(), library.as_uri()]


def test_pressing_a_button_changes_data_sentence_and_pressed_state(
    tmp_path: Path, chromium: Chromium
) -> None:
    path = write_page(tmp_path / "a.html", "t", [Figures([drawing(), drawing()])], "shared")
    with chromium.open(path) as page:
        page.press("high")
        assert page.evaluate("[...document.getElementById('figure-1').data[0].y]") == [11, 12, 13]
        assert page.evaluate("[...document.getElementById('figure-2').data[0].y]") == [1, 2, 3]
        assert page.evaluate("document.getElementById('figure-1-look').textContent") == "Now high."
        pressed = "[...document.querySelectorAll('.buttons button')].map(b => b.ariaPressed)"
        assert page.evaluate(pressed) == ["false", "true", "true", "false"]
        page.press("low")
        assert page.evaluate("[...document.getElementById('figure-1').data[0].y]") == [1, 2, 3]
        assert page.errors == []


@pytest.mark.parametrize("width", (320, 390, 1280))
def test_no_page_scrolls_sideways(tmp_path: Path, chromium: Chromium, width: int) -> None:
    blocks: list[Block] = [
        Prose(["a" * 300], "b" * 100),
        Facts([("c" * 100, "d" * 100)]),
        Table("wide", ["e" * 30] * 20, [["f" * 30] * 20]),
        Links([("g", "h" * 200)]),
        Figures([drawing("i" * 100), drawing(), drawing()], (1.35, 1, 1)),
        Figures([drawing(), drawing(), drawing(), drawing()]),
    ]
    path = write_page(tmp_path / "a.html", "j" * 200, blocks, "shared")
    with chromium.open(path, width, 800) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        overflow = "[...document.querySelectorAll('.plot svg')].map(s => s.clientWidth)"
        assert max(page.evaluate(overflow)) <= width


def test_the_page_itself_forbids_the_network(tmp_path: Path, chromium: Chromium) -> None:
    path = write_page(tmp_path / "a.html", "t", [Figures([drawing()])], "shared")
    with chromium.open(path) as page:
        blocked = page.evaluate(
            "new Promise(done => {"
            "  const seen = [];"
            "  addEventListener('securitypolicyviolation', e => {"
            "    seen.push(e.effectiveDirective);"
            "    if (seen.length === 2) done(seen.sort());"
            "  });"
            "  fetch('http://127.0.0.1:9/').catch(() => null);"
            "  new Image().src = 'http://127.0.0.1:9/a.png';"
            "})"
        )
    assert blocked == ["connect-src", "img-src"]


def test_a_page_moved_away_from_its_library_says_so(tmp_path: Path, chromium: Chromium) -> None:
    path = write_page(tmp_path / "a.html", "t", [Figures([drawing()])], "shared")
    (tmp_path / f"plotly-{get_plotlyjs_version()}.min.js").unlink()
    with chromium.open(path) as page:
        assert "missing" in page.evaluate("document.getElementById('figure-1').textContent")
