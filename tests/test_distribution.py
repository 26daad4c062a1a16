"""The wheel and the source distribution: complete, and at work away from any checkout."""

import os
import shutil
import subprocess
import sys
import tarfile

import pytest

from tests.support.environment import ROOT, clean_environment
from tests.support.tiny import TINY

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def run(*command, cwd, **variables):
    done = subprocess.run(
        command, cwd=cwd, env=clean_environment(**variables), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder with the source distribution of this tree, and the wheel made of that.

    Without the kernel, which takes a minute to compile and is tested elsewhere.
    """
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"
    source.mkdir()
    for name in ("setup.py", "build_cpu.py", "build_cuda.py", "pyproject.toml", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    for name in ("LICENSE", "README.md"):
        shutil.copy(ROOT / name, source)
    made = shutil.ignore_patterns("__pycache__", "*.so", "_build_info.py")
    for name in ("csrc", "grokking", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=made)
    run(sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", str(folder), cwd=source)
    (sdist,) = folder.glob("*.tar.gz")
    options = ["--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder)]
    run(*PIP, "wheel", *options, str(sdist), cwd=folder, GROK_BUILD_EXT="0")
    return folder


@pytest.fixture(scope="module")
def installed(built):
    """The wheel installed by itself, where no checkout is near."""
    (wheel,) = built.glob("grokking_lab-*.whl")
    target = built / "installed"
    run(*PIP, "install", "--quiet", "--no-deps", "--target", str(target), str(wheel), cwd=built)
    return target


def test_the_source_distribution_has_everything_that_is_compiled(built):
    (sdist,) = built.glob("grokking_lab-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    sources = {f"csrc/{path.name}" for path in (ROOT / "csrc").iterdir()}
    assert sources | {"build_cpu.py", "build_cuda.py", "setup.py", "LICENSE", "README.md"} <= names
    assert not [name for name in names if name.startswith("tests/")]  # half of them would be


def test_the_wheel_has_every_module_the_static_files_and_the_mark_of_types(installed):
    tree = {p.relative_to(ROOT) for p in (ROOT / "grokking").rglob("*.py")}
    tree |= {p.relative_to(ROOT) for p in (ROOT / "grokking/pictures/static").iterdir()}
    missing = {str(path) for path in tree if not (installed / path).exists()}
    assert missing <= {"grokking/_build_info.py"}
    assert (installed / "grokking" / "py.typed").exists()
    metadata = (next(installed.glob("*.dist-info")) / "METADATA").read_text()
    for line in ("Name: grokking-lab", "License-Expression: MIT", "Requires-Dist: torch>=2.10"):
        assert line in metadata or line.replace("-Expression", "") in metadata
    assert "# grokking" in metadata  # the README is its description


def test_installed_it_trains_draws_sweeps_and_answers_in_python(installed, tmp_path):
    environment = {
        **TINY,
        "PYTHONPATH": str(installed),
        "GROK_NUM_EPOCHS": "6",
        "GROK_KERNEL": "auto",
    }

    def grokking(*arguments, **variables):
        return run(
            sys.executable,
            "-P",
            "-m",
            "grokking",
            *arguments,
            cwd=tmp_path,
            **environment,
            **variables,
        )

    where = run(
        sys.executable,
        "-P",
        "-c",
        "import grokking; print(grokking.__file__)",
        cwd=tmp_path,
        **environment,
    )
    assert where.stdout.startswith(str(installed) + os.sep)
    grokking()
    assert (tmp_path / "artifacts" / "visualizations" / "index.html").exists()
    grokking("surface", "artifacts", "3", "--epoch", "2")
    drawn = grokking("visualize", "artifacts/activation_surface_neuron_3_epoch_2.json")
    assert "frequency" in drawn.stdout
    (tmp_path / "sweep").mkdir()
    (tmp_path / "artifacts").rename(tmp_path / "sweep" / "wd1.0_seed42")
    assert "KM median" in grokking("analyze", "sweep").stdout
    assert "open sweep/plots/index.html" in grokking("plot", "sweep").stdout
    program = "import grokking; print(grokking.load('sweep/wd1.0_seed42').at(2).surface(3).shape)"
    answered = run(sys.executable, "-P", "-c", program, cwd=tmp_path, **environment)
    assert answered.stdout == "(7, 7)\n"
