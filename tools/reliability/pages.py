"""Pages: of data files whose every string is hostile, in a browser; of equal files, byte for byte."""

import contextlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from grokking.commands.report import write_report
from grokking.config import FIELDS, recorded_kind
from grokking.files import names
from grokking.files.run_files import read_run, read_task
from grokking.files.surfaces import read_surface
from grokking.pictures.introduction import run_described
from grokking.pictures.pages.run import write_run_pages
from grokking.pictures.pages.surfaces import write_combined_page
from grokking.sweeps.analysis import analyze
from grokking.sweeps.pages import write_sweep_pages
from grokking.system.errors import RunError, UserError
from tests.support.browser import Chromium
from tests.support.needs import NotPossible
from tests.support.sweep_folders import write_run
from tools.reliability.forked import Fork, differences, train, undated
from tools.reliability.outcome import Outcome

ROOT = Path(__file__).resolve().parents[2]

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
        flat = {"neuron_index": 3, "modulus": 3, "epoch": 1, "surface": [[0, 1, 2]] * 3}
        (run / "activation_surface_neuron_3.json").write_text(json.dumps(flat))
        for path in run.glob("*.json"):
            record = json.loads(path.read_text())
            if path.name == "config.json":
                record |= {"device_name": "", "kernel": "", "versions": {"torch": "", "python": ""}}
            path.write_text(json.dumps(_hostile(record, text)))
        (run / "visualizations").mkdir()
        (run / "visualizations" / "index.html").touch()
    _link(sweep / "linked", sweep / "plain")
    pages = []
    try:
        pages.append(write_sweep_pages(*analyze(sweep)))
        pages += sorted(path for path in (sweep / "plots").glob("*.html") if path != pages[0])
        read = read_run(sweep / named)
        surface = read_surface(read.directory / "activation_surface_neuron_3.json")
        pages.append(write_combined_page(read.directory / "surface.html", surface, "shared"))
        described = run_described(read.directory, 1, read.history, read.grokking)
        write_run_pages(
            read.directory,
            described,
            read.history,
            read.grokking,
            [surface],
            read_task(read.directory),
        )
        pages += sorted((read.directory / "visualizations").glob("*.html"))
    except (UserError, RunError):
        pass  # refused in a line: nothing was drawn
    return pages


def _report_pages(run: Path, trained: Path, text: str) -> list[Path]:
    """The story, the film and the gallery of a trained run whose JSON files hold the text."""
    shutil.copytree(trained, run)
    for path in run.glob("*.json"):
        path.write_text(json.dumps(_hostile(json.loads(path.read_text()), text)))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            write_report(run)
    except (UserError, RunError):
        pass  # refused in a line
    return [
        path
        for path in map(run.joinpath, (names.REPORT, names.FILM, names.GALLERY))
        if path.exists()
    ]


def _hostile(record: dict[str, Any], text: str) -> dict[str, Any]:
    """A record that is still read: the text stands wherever no kind of value forbids it."""
    hostile = {**_poisoned(record, text), text: text}
    for name, entry in record.get("config", {}).items():
        if name in FIELDS and not recorded_kind(name).accepts(text):
            hostile["config"][name]["value"] = entry["value"]
    return hostile


def _poisoned(value: Any, text: str) -> Any:
    """The text in the place of every string."""
    if isinstance(value, dict):
        return {key: _poisoned(item, text) for key, item in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        return [_poisoned(item, text) for item in value]
    return text if isinstance(value, str) else value


def _link(path: Path, target: Path) -> None:
    os.symlink(target, path, target_is_directory=True)


# ---------------------------------------------------------------- the same bytes

_MODEL = {  # large enough for numpy and torch to divide its sums among threads
    "GROK_MODULUS": "59",
    "GROK_D_MODEL": "64",
    "GROK_D_MLP": "256",
    "GROK_NUM_EPOCHS": "24",
    "GROK_THREADS": "1",  # decides what is trained
    "GROK_SKIP_VALIDATION": "1",
}


def same_bytes(count: int, chance: random.Random, folder: Path) -> Outcome:
    """Every page by each program that writes it, on one thread and on four."""
    result = Outcome()
    for seed in range(count):
        name, surface = f"wd1.0_seed{seed}", "activation_surface_neuron_0.json"
        sweep, alone = folder / f"sweep_{seed}", folder / f"alone_{seed}"
        copy = folder / "copy" / sweep.name  # which the page of a sweep names
        grid = ("--weight-decays=1.0", f"--seeds={seed}", "--jobs=1", "--no-estimate")
        _python(1, "-m", "grokking", "sweep", *grid, f"--output={sweep}")
        shutil.copytree(sweep, copy, ignore=shutil.ignore_patterns("*.html"))
        shutil.copytree(
            sweep / name / "visualizations", copy / name / "visualizations", dirs_exist_ok=True
        )
        _python(1, "scripts/visualize_activation_surface.py", sweep / name / surface)

        _python(4, "-m", "tools.docs.cards", copy / "cards.json", copy / name)
        _python(4, "scripts/plot_sweep_comparison.py", copy)
        _python(4, "scripts/visualize_activation_surface.py", copy / name / surface)

        _python(4, "-m", "grokking", GROK_SEED=str(seed), GROK_ARTIFACTS_DIR=str(alone))
        _python(4, "-m", "grokking", "report", "--threads=4", alone)
        _python(4, "scripts/visualize_activation_surface.py", alone / surface)
        for ours, theirs in ((copy, sweep), (alone, sweep / name)):
            result.tried += len(_bytes_of(theirs))
            different = differences(_bytes_of(ours), _bytes_of(theirs))
            result.broken += [f"seed {seed}: {ours.name}/{page} differs" for page in different]
    return result


def _python(threads: int, *words: str | Path, **variables: str) -> None:
    """A program of this checkout, with so many threads for numpy's and torch's libraries."""
    inherited = {n: v for n, v in os.environ.items() if not n.startswith("GROK_")}
    libraries = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    env = inherited | dict.fromkeys(libraries, str(threads)) | _MODEL | variables
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def _bytes_of(folder: Path) -> dict[str, bytes]:
    pages = sorted(folder.rglob("*.html"))
    return {path.relative_to(folder).as_posix(): undated(path) for path in pages}
