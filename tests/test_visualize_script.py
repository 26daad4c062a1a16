"""scripts/visualize_activation_surface.py as a user runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grokking.files.surfaces import surface_path, write_surface
from tests.support import warm
from tests.support.browser import Chromium
from tests.support.environment import ROOT
from tests.support.synthetic import flat_surface, surface

SCRIPT = ROOT / "scripts" / "visualize_activation_surface.py"
Visualize = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def visualize(tmp_path: Path) -> Visualize:
    """Run the script in an empty folder; with variables by an interpreter of its own."""

    def call(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        if not environment:
            return warm.python(SCRIPT, *arguments, cwd=tmp_path, env=os.environ)
        return subprocess.run(
            [sys.executable, str(SCRIPT), *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )

    return call


def record(**changes: object) -> dict[str, object]:
    return {"neuron_index": 0, "modulus": 2, "surface": [[0, 1], [1, 0]], **changes}


def test_two_pages_beside_the_input_and_the_statistics_on_stdout(
    tmp_path: Path, visualize: Visualize, chromium: Chromium
) -> None:
    drawn = surface(113, 19, neuron_index=102)
    done = visualize(write_surface(tmp_path, drawn).name)
    assert (done.returncode, done.stderr) == (0, "")
    single = tmp_path / "activation_surface_neuron_102.html"
    combined = tmp_path / "activation_surface_neuron_102_combined.html"
    assert {p.name for p in tmp_path.glob("*")} == {
        surface_path(tmp_path, 102).name,
        single.name,
        combined.name,
    }
    values = dict(line.strip().rsplit(maxsplit=1) for line in done.stdout.splitlines()[1:])
    numbers = drawn.values
    for name, expected in {
        "minimum": numbers.min(),
        "maximum": numbers.max(),
        "mean": numbers.mean(),
        "diagonal mean": numbers.diagonal().mean(),
        "diagonal std": numbers.diagonal().std(),
        "diagonal range": numbers.diagonal().max() - numbers.diagonal().min(),
    }.items():
        assert abs(float(values[name]) - expected) <= 1e-3 * abs(expected), name
    assert values["dominant frequency on the diagonal"] == "19"
    assert values["strongest frequency of the surface"] == "19"
    assert 0.8 < float(values["its share of the variance"]) < 1
    assert 0.1 < float(values["periodicity strength (at most 0.5)"]) <= 0.5
    assert done.stdout.endswith(f"{single.name}\n3-D surface + heatmaps: {combined.name}\n")
    with chromium.open(combined, 390, 844) as page:
        assert page.errors == []
        assert page.requests == [combined.as_uri()]


def test_a_given_output_names_both_pages(tmp_path: Path, visualize: Visualize) -> None:
    (tmp_path / "in.json").write_text(json.dumps(record()))
    assert visualize("in.json", "my_plot.html").returncode == 0
    assert {p.name for p in tmp_path.glob("*.html")} == {"my_plot.html", "my_plot_combined.html"}


@pytest.mark.parametrize("p", (1, 2, 3, 4, 9, 15))
def test_a_dead_neuron_and_an_awkward_modulus_are_drawn(
    tmp_path: Path, visualize: Visualize, p: int
) -> None:
    drawn = surface(p, 3) if p > 9 else flat_surface(p)
    done = visualize(write_surface(tmp_path, drawn))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.glob("*.html"))) == 2


FAULTS: dict[str, tuple[str, str]] = {
    "not JSON": ("{", "not valid JSON"),
    "not UTF-8": ("\udcff", "not UTF-8"),
    "empty": ("", "not valid JSON"),
    "list": ("[]", "expected a JSON object"),
    "no surface": ('{"neuron_index": 0, "modulus": 2}', "'surface' is missing"),
    "no neuron": ('{"modulus": 1, "surface": [[0]]}', "'neuron_index' is missing"),
    "ragged": (json.dumps(record(surface=[[0, 1], [1]])), "has 1 numbers"),
    "not square": (json.dumps(record(surface=[[0, 1]])), "has 1 rows"),
    "not the modulus": (json.dumps(record(modulus=3)), "expected modulus = 3"),
    "0x0": (json.dumps(record(modulus=0, surface=[])), "'modulus' is 0"),
    "strings": (json.dumps(record(surface=[["0", 1], [1, 0]])), "'surface'[0][0]"),
    "null": (
        json.dumps(record(surface=[[0, None], [1, 0]])),
        "'surface' has null in it, expected nowhere",
    ),
    "NaN": (json.dumps(record(surface=[[0, 1], [float("nan"), 0]])), "NaN"),
    "Infinity": (json.dumps(record(surface=[[0, 1], [1, float("inf")]])), "Infinity"),
    "1e999": ('{"neuron_index": 0, "modulus": 1, "surface": [[1e999]]}', "'surface'[0][0]"),
    "negative neuron": (json.dumps(record(neuron_index=-1)), "'neuron_index' is -1"),
    "half neuron": (json.dumps(record(neuron_index=0.5)), "'neuron_index' is 0.5"),
    "true neuron": (json.dumps(record(neuron_index=True)), "'neuron_index' is true"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_malformed_surface_is_one_line_exit_2_and_nothing_written(
    tmp_path: Path, visualize: Visualize, fault: str
) -> None:
    text, complaint = FAULTS[fault]
    (tmp_path / "in.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    refused(tmp_path, visualize("in.json"), "in.json", complaint)


def refused(tmp_path: Path, done: Any, *complaints: str) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert all(complaint in done.stderr for complaint in complaints)
    assert not list(tmp_path.rglob("*.html"))


def test_bad_arguments_are_one_line_exit_2_and_nothing_written(
    tmp_path: Path, visualize: Visualize
) -> None:
    (tmp_path / "in.json").write_text(json.dumps(record()))
    (tmp_path / "folder").mkdir()
    refused(tmp_path, visualize(), "SURFACE.json", "--help")
    refused(tmp_path, visualize("absent.json"), "absent.json", "no such file")
    refused(tmp_path, visualize("folder"), "folder")
    refused(tmp_path, visualize("in.json", "nowhere/a.html"), "nowhere", "does not exist")
    refused(tmp_path, visualize("in.json", "folder"), "folder", "is a folder")
    refused(tmp_path, visualize("in.json", "in.json"), "in.json", "the input itself")
    refused(tmp_path, visualize("in.json", "a.html", "b.html"), "b.html")
    assert json.loads((tmp_path / "in.json").read_text()) == record()


def test_help_names_both_arguments(visualize: Visualize) -> None:
    done = visualize("--help")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("SURFACE.json", "OUT.html", "OUT_combined.html"))


@pytest.mark.parametrize("missing", ("numpy", "plotly"))
def test_a_missing_dependency_says_how_to_get_it(
    tmp_path: Path, visualize: Visualize, missing: str
) -> None:
    (tmp_path / missing).mkdir()
    (tmp_path / missing / "__init__.py").write_text(
        f"raise ModuleNotFoundError('no module', name='{missing}')"
    )
    done = visualize("in.json", PYTHONPATH=str(tmp_path))
    refused(tmp_path, done, missing, "pip install -r scripts/requirements.txt")


def test_neither_torch_nor_an_installed_package_is_needed(
    tmp_path: Path, visualize: Visualize
) -> None:
    """Another grokking that is installed is not the one that runs."""
    (tmp_path / "elsewhere" / "grokking").mkdir(parents=True)
    for name in ("torch.py", "grokking/__init__.py"):
        (tmp_path / "elsewhere" / name).write_text(f"raise SystemExit('{name} was imported')")
    (tmp_path / "in.json").write_text(json.dumps(record()))
    done = visualize("in.json", PYTHONPATH=str(tmp_path / "elsewhere"))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_pipe_is_exit_141_and_no_traceback(tmp_path: Path) -> None:
    write_surface(tmp_path, surface(13, 3))
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, str(SCRIPT), str(surface_path(tmp_path, 102))]
    with open(writer, "w") as stdout:
        done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (141, "")


def described(tmp_path: Path, visualize: Visualize, config: object) -> tuple[str, str]:
    """stderr, and the page of a surface beside this config.json."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = visualize(write_surface(tmp_path, surface(13, 3)).name)
    assert done.returncode == 0
    return done.stderr, (tmp_path / "activation_surface_neuron_102.html").read_text()


def test_a_surface_beside_its_run_says_what_was_trained(
    tmp_path: Path, visualize: Visualize
) -> None:
    fields = {"modulus": {"value": 13}, "seed": {"value": 7}}
    said, page = described(tmp_path, visualize, {"config": fields})
    assert said == ""
    assert "<title>Neuron 102, mod 13, epoch 8,123: frequency 3 holds" in page
    assert "<dt>seed</dt><dd>7</dd>" in page and "modulus 13 (there 113)" in page


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "gpt2"}, "key 'config' is missing"),
        ([], "expected a JSON object"),
        ({"config": {"modulus": {"value": 97}}}, "its modulus is 97, that of the surface 13"),
    ],
)
def test_a_config_of_something_else_is_named_and_not_used(
    tmp_path: Path, visualize: Visualize, config: object, reason: str
) -> None:
    said, page = described(tmp_path, visualize, config)
    assert said.count("\n") == 1 and reason in said
    assert said.startswith("the pages do not say what was trained: ")
    assert "<dt>task</dt>" not in page and "Neuron 102, mod 13" in page
