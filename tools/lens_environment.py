"""Environments of their own for releases of TransformerLens, which exclude each other.

    python tools/lens_environment.py 4.3.0 3.9.0

makes those that are missing. They lie in the user's cache, where every clone finds them.
"""

import argparse
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"

# Runs there, with a release and folders: the Python in RELEASE.py, then its `model` on tokens.pt.
# RELEASE.pt gets the logits in both precisions, or the error that the Python ended with.
RUNNER = """
import sys, torch
from pathlib import Path
release, *folders = sys.argv[1:]
for folder in map(Path, folders):
    made = {}
    try:
        exec((folder / f"{release}.py").read_text(), made)
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    else:
        tokens = torch.load(folder / "tokens.pt")
        with torch.no_grad():
            outcome = {"float32": made["model"](tokens), "float64": made["model"].double()(tokens)}
    torch.save(outcome, folder / f"{release}.pt")
"""


def folder(release: str) -> Path:
    """Where the environment of a release lies, whether it exists or not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "grokking" / f"transformer-lens-{release}-{torch_pin()}-{PYTHON}"


def torch_pin() -> str:
    """The requirement of torch that the project has: another torch would be another download."""
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return next(line for line in requirements if line.startswith("torch=="))


def is_complete(environment: Path) -> bool:
    """Whether its installation came to an end, and its Python is still there."""
    return (environment / "complete").exists() and (environment / "bin" / "python").exists()


def make(release: str) -> None:
    """Install a release, unless it is there; CalledProcessError with pip's exit code."""
    environment = folder(release)
    environment.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{environment}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another clone may be at it
        if is_complete(environment):
            return
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        pip: list[str | Path] = [environment / "bin" / "python", "-m", "pip", "install", "--quiet"]
        packages = [torch_pin(), f"transformer-lens=={release}"]
        # Compiling every file of torch takes as long as installing it; few are ever imported.
        subprocess.run([*pip, "--no-compile", *packages], check=True)
        (environment / "complete").touch()


def run(release: str, folders: Iterable[Path], variables: dict[str, str]) -> None:
    """Run each folder's RELEASE.py in that release; what follows is in each folder's RELEASE.pt."""
    python: list[str | Path] = [
        folder(release) / "bin" / "python",
        "-I",
        "-W",
        "ignore",
        "-c",
        RUNNER,
    ]
    subprocess.run([*python, release, *folders], env=variables, check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Make environments with TransformerLens for tests."
    )
    parser.add_argument("releases", nargs="+", metavar="RELEASE")
    for wanted in parser.parse_args().releases:
        try:
            make(wanted)
        except subprocess.CalledProcessError:
            sys.exit(f"TransformerLens {wanted} could not be installed, for the reason above")
