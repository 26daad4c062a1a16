"""Data files whose every string is hostile, and the pages that are drawn from them in a browser."""

import contextlib
import io
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

from browser import Chromium
from needs import NotPossible
from sweep_folders import write_run

from grokking.artifacts import read_run, read_surface
from grokking.errors import RunError, UserError
from grokking.pictures.run_pages import write_run_pages
from grokking.pictures.surface_pages import write_combined_page
from grokking.report import FILM, GALLERY, REPORT, report
from grokking.sweep.analysis import analyze
from grokking.sweep.pages import write_sweep_pages
from reliability.forked import Fork, train
from reliability.outcome import Outcome

_TRAP = "window.hit = 1"
_STRINGS = [
    "<script>%s</script>",
    "</script><script>%s</script>",
    "</style><script>%s</script>",
    "<img src=x onerror='%s'>",
    '"><svg onload="%s">',
    "' onmouseover='%s' autofocus onfocus='%s",
    "javascript:%s",
    "<iframe srcdoc='<script>parent.%s</script>'>",
    "<a href='javascript:%s'>x</a>",
    "<!--<script>%s//-->",
    "\\u003cscript\\u003e%s\\u003c/script\\u003e",
    "${%s}`;%s//",
    "%%{y}<extra><script>%s</script></extra>",
    "<b>bold</b><a href='http://127.0.0.1:9/'>link</a>",
    "<link rel=stylesheet href='http://127.0.0.1:9/a.css'>",
    "<img src='http://127.0.0.1:9/a.png'>",
    "<base href='http://127.0.0.1:9/'>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "\u2028%s\u2029%s",
    "&lt;script&gt;%s&lt;/script&gt;",
    "]]><script>%s</script>",
    '\\"};%s;//',
    "$$x$$<script>%s</script>",
    "\x00<script>%s</script>",
    "=cmd|'%s'!A1",
]


def hostile_strings(count: int, chance: random.Random, folder: Path) -> Outcome:
    """In folder names, and in every string, key and null of every JSON file of a run and a sweep."""
    result = Outcome()
    browser = shutil.which("chromium")
    if browser is None:
        raise NotPossible("chromium is not installed")
    trained = folder / "trained"
    assert Fork(lambda: train(trained), folder.parent / "stderr").wait().code == 0
    with Chromium(browser) as chromium:
        for number in range(count):
            text = _STRINGS[number % len(_STRINGS)].replace("%s", _TRAP).replace("%%", "%")
            text = (
                text
                if number < len(_STRINGS)
                else text.swapcase().replace("WINDOW.HIT", "window.hit")
            )
            drawn = _pages(folder / f"sweep_{number}", text)
            drawn += _report_pages(folder / f"sweep_{number}" / "reported", trained, text)
            for page in drawn:
                result.tried += 1
                with chromium.open(page) as tab:
                    hit = tab.evaluate("window.hit !== undefined")
                    asked = [url for url in tab.requests if not _is_local(url, folder)]
                    if hit or asked or tab.errors:
                        result.broken.append(f"{text!r} in {page.name}: {hit} {asked} {tab.errors}")
            shutil.rmtree(folder / f"sweep_{number}")
    shutil.rmtree(trained)
    outside = sorted(path.name for path in folder.iterdir())
    result.broken += [f"written outside the chosen folder: {name}" for name in outside]
    return result


def _is_local(url: str, folder: Path) -> bool:
    return url.startswith(folder.resolve().as_uri())


def _pages(sweep: Path, text: str) -> list[Path]:
    """Pages of a sweep, of a run in a folder of that name, and of a surface, whose files hold the text."""
    named = "".join(c for c in text if c not in "/\0")[:200]
    for seed, name in enumerate((named, "..." + named[:100], "plain")):
        run = write_run(sweep, 1.0, seed, 4_000 + 1_000 * seed, every=500, name=name)
        surface = {"neuron_index": 3, "modulus": 3, "epoch": 1, "surface": [[0, 1, 2]] * 3}
        (run / "activation_surface_neuron_3.json").write_text(json.dumps(surface))
        for path in run.glob("*.json"):
            record = json.loads(path.read_text())
            if path.name == "config.json":
                record |= {"device_name": "", "kernel": "", "versions": {"torch": "", "python": ""}}
            path.write_text(json.dumps({**_poisoned(record, text), text: text}))
        (run / "visualizations").mkdir()
        (run / "visualizations" / "index.html").touch()
    _link(sweep / "linked", sweep / "plain")
    pages = []
    try:
        pages.append(write_sweep_pages(*analyze(sweep)))
        pages += sorted(path for path in (sweep / "plots").glob("*.html") if path != pages[0])
        run = read_run(sweep / named)
        surface = read_surface(run.directory / "activation_surface_neuron_3.json")
        pages.append(write_combined_page(run.directory / "surface.html", surface, "shared"))
        write_run_pages(run.directory, run.history, run.grokking, [surface])
        pages += sorted((run.directory / "visualizations").glob("*.html"))
    except (UserError, RunError):
        pass  # refused in a line: nothing was drawn
    return pages


def _report_pages(run: Path, trained: Path, text: str) -> list[Path]:
    """The story, the film and the gallery of a trained run whose JSON files hold the text."""
    shutil.copytree(trained, run)
    for path in run.glob("*.json"):
        path.write_text(json.dumps({**_poisoned(json.loads(path.read_text()), text), text: text}))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            report(run)
    except (UserError, RunError):
        pass  # refused in a line
    return [path for path in map(run.joinpath, (REPORT, FILM, GALLERY)) if path.exists()]


def _poisoned(value: Any, text: str) -> Any:
    """The text in the place of every string."""
    if isinstance(value, dict):
        return {key: _poisoned(item, text) for key, item in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        return [_poisoned(item, text) for item in value]
    return text if isinstance(value, str) else value


def _link(path: Path, target: Path) -> None:
    os.symlink(target, path, target_is_directory=True)
