"""Data files whose every string is hostile, and the pages that are drawn from them in a browser."""

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

from browser import Chromium
from sweep_folders import write_run

from grokking.artifacts import read_surface
from grokking.errors import RunError, UserError
from grokking.pictures.run_pages import write_run_pages
from grokking.pictures.surface_pages import write_combined_page
from grokking.sweep.analysis import analyze
from grokking.sweep.pages import write_sweep_pages
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
    with Chromium() as chromium:
        for number in range(count):
            text = _STRINGS[number % len(_STRINGS)].replace("%s", _TRAP).replace("%%", "%")
            text = (
                text
                if number < len(_STRINGS)
                else text.swapcase().replace("WINDOW.HIT", "window.hit")
            )
            for page in _pages(folder / f"sweep_{number}", text, chance):
                result.tried += 1
                with chromium.open(page) as tab:
                    hit = tab.evaluate("window.hit !== undefined")
                    asked = [url for url in tab.requests if not _is_local(url, folder)]
                    if hit or asked or tab.errors:
                        result.broken.append(f"{text!r} in {page.name}: {hit} {asked} {tab.errors}")
            shutil.rmtree(folder / f"sweep_{number}")
    outside = sorted(path.name for path in folder.iterdir())
    result.broken += [f"written outside the chosen folder: {name}" for name in outside]
    return result


def _is_local(url: str, folder: Path) -> bool:
    return url.startswith(folder.resolve().as_uri())


def _pages(sweep: Path, text: str, chance: random.Random) -> list[Path]:
    """Every kind of page, from files that hold the text wherever they hold a string."""
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
        for run in sweep.iterdir():
            if (run / "config.json").exists():
                surface = read_surface(run / "activation_surface_neuron_3.json")
                pages.append(write_combined_page(run / "surface.html", surface, "shared"))
        from grokking.artifacts import read_run

        read = read_run(sweep / "plain")
        pages += write_run_pages(sweep / "plain", read.history, read.grokking, [surface])
    except (UserError, RunError):
        pass  # refused in a line: nothing was drawn
    return pages[:8]


def _poisoned(value: Any, text: str) -> Any:
    """The text in the place of every string."""
    if isinstance(value, dict):
        return {key: _poisoned(item, text) for key, item in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        return [_poisoned(item, text) for item in value]
    return text if isinstance(value, str) else value


def _link(path: Path, target: Path) -> None:
    os.symlink(target, path, target_is_directory=True)
