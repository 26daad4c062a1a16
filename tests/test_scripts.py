"""The two commands of the README, as a stranger's machine would run them."""

import os
import shutil
import subprocess

import pytest

from tests.support.environment import ROOT, clean_environment, impossible, require, unavailable
from tests.support.needs import NotPossible, without_network
from tests.support.tiny import TINY
from tools.docs.summaries import exported_wave

FOLDERS = (ROOT / "scripts", ROOT / "tools", ROOT / "tools" / "gpu", ROOT / "tools" / "docs")
SHELL_SCRIPTS = sorted(path for folder in FOLDERS for path in folder.glob("[!_]*.sh"))
INSTALLED = ROOT / ".venv" / "installed[test]"


def bash(script, *arguments, cwd, **variables):
    return subprocess.run(
        ["bash", str(script), *arguments],
        cwd=cwd,
        env=clean_environment(**variables),
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copied_scripts(tmp_path):
    """The scripts in a folder with spaces, with no .venv beside them."""
    folder = tmp_path / "a folder with spaces"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    for name in ("requirements.txt", "pyproject.toml", "setup.py", "build_cpu.py"):
        shutil.copy(ROOT / name, folder)
    (folder / "csrc").mkdir()
    return folder / "scripts"


def fake_python(folder, refuses):
    """A python3 that fails when its arguments contain the given text; returns a PATH that finds it."""
    folder.mkdir()
    real = shutil.which("python3")
    program = folder / "python3"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *"{refuses}"*) exit 1;; esac\nexec "{real}" "$@"\n'
    )
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize("script", ["quickstart.sh", "test.sh"])
@pytest.mark.parametrize(
    ("refuses", "words"),
    [("ensurepip", "install python3-venv"), ("version_info", "Python 3.10 or newer")],
)
def test_what_is_missing_is_said_in_one_line(copied_scripts, tmp_path, script, refuses, words):
    path = fake_python(tmp_path / "bin", refuses)
    done = bash(copied_scripts / script, cwd=tmp_path, PATH=path)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert words in done.stderr
    assert not (copied_scripts.parent / ".venv").exists()


def test_quickstart_refuses_arguments(tmp_path):
    done = bash(ROOT / "scripts" / "quickstart.sh", "--fast", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert (
        "usage: quickstart.sh"
        in bash(ROOT / "scripts/quickstart.sh", "--help", cwd=tmp_path).stdout
    )


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda path: path.name)
def test_every_shell_script_says_what_it_does_instead_of_doing_it(script, tmp_path):
    """From elsewhere, with no compiler, package manager or network tool in reach."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "sed", "dirname", "python3"):
        (tools / tool).symlink_to(require(tool))
    done = bash(script, "--help", cwd=tmp_path, PATH=str(tools))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.split()) > 5
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


@pytest.mark.parametrize(
    ("script", "arguments", "fault"),
    [
        ("../tools/lint.sh", ["--fast"], "unknown argument '--fast'"),
        ("../tools/check_arm64.sh", ["--fast"], "unknown argument '--fast'"),
        ("../tools/sanitize.sh", [], "expected address, undefined, address,undefined or thread"),
        (
            "../tools/sanitize.sh",
            ["memory"],
            "expected address, undefined, address,undefined or thread",
        ),
        ("../tools/gpu/wheels.sh", ["--all"], "unknown argument '--all'"),
        ("../tools/gpu/wheels.sh", ["3.12", "3.13"], "unknown argument '3.13'"),
        ("../tools/install_matrix.sh", ["out.md"], "usage: install_matrix.sh OUT.md PYTHON..."),
    ],
)
def test_a_wrong_argument_of_a_shell_script_is_one_line(script, arguments, fault, tmp_path):
    done = bash(ROOT / "scripts" / script, *arguments, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert fault in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_quickstart_trains_draws_and_reuses_with_no_network(tmp_path):
    if not INSTALLED.exists():
        unavailable(
            "not installed by scripts/test.sh, which this test would have to do over the network"
        )
    try:
        alone = without_network()
    except NotPossible as reason:
        impossible(reason)
    folder = tmp_path / "my artifacts"
    variables = clean_environment(**TINY, GROK_ARTIFACTS_DIR=str(folder))

    def quickstart():
        return subprocess.run(
            [*alone, "bash", str(ROOT / "scripts" / "quickstart.sh")],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
        )

    first = quickstart()
    assert first.returncode == 0, first.stderr
    assert (folder / "visualizations" / "index.html").exists()
    (combined,) = folder.glob("activation_surface_neuron_*_combined.html")
    shares = {
        path.stem: exported_wave(path)["share"]
        for path in folder.glob("activation_surface_neuron_*.json")
    }
    assert shares[combined.stem.removesuffix("_combined")] == max(shares.values())
    assert str(combined) in first.stdout
    assert str(folder / "report.html") in first.stdout
    assert (folder / "film.html").exists() and (folder / "gallery.html").exists()
    second = quickstart()
    assert second.returncode == 0, second.stderr
    assert "finished; nothing to do" in second.stdout


def test_shell_scripts_are_clean(tmp_path):
    shellcheck = require("shellcheck")
    scripts = [str(p) for folder in FOLDERS for p in sorted(folder.glob("*.sh"))]
    scripts.append(str(ROOT / ".ci" / "run"))
    done = subprocess.run(
        [shellcheck, "-x", *scripts], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
