"""The folder of one run: who may use it, what it holds, and what an old run leaves behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grokking.errors import RunError, UserError
from grokking.locks import locked

# What `grokking report` adds to a run's folder; a run that goes on outdates it.
REPORT_FILES = (
    "report_card.json",
    "report.html",
    "film.html",
    "gallery.html",
    "progress_measures.json",
    "checkpoint_labeled/circuit_formation.pt",
    "checkpoint_labeled/cleanup.pt",
)

# Everything that a run writes, newest claim first: while any of these is there, the folder holds a run.
RUN_FILES = (
    *REPORT_FILES,
    "grokking.json",
    "loss_history.json",
    "accuracy_history.json",
    "measures.npy",
    "activation_surface_neuron_*.json",
    "checkpoint_labeled/initial.pt",
    "checkpoint_labeled/memorization.pt",
    "checkpoint_labeled/grokking.pt",
    "checkpoint_labeled/grokked.pt",
    "checkpoint_labeled/final.pt",
    "trajectory/epoch_*.pt",
    "visualizations/index.html",
    "visualizations/training_history.html",
    "visualizations/activation_surface_neuron_*.html",
    "visualizations/plotly-*.min.js",
    "checkpoint_previous.pt",
    "checkpoint_latest.pt",
    "config.json",
)


def run_files(directory: Path) -> list[Path]:
    """The files of a run that are in the folder, in the order in which they may be removed."""
    return [path for pattern in RUN_FILES for path in sorted(directory.glob(pattern))]


def check_folder(directory: Path) -> None:
    """UserError if a file has the folder's name."""
    if directory.exists() and not directory.is_dir():
        raise UserError(f"GROK_ARTIFACTS_DIR is {directory}, which is a file, expected a folder")


def check_free(directory: Path) -> None:
    """UserError if the folder holds a run, finished or not."""
    if run_files(directory):
        raise UserError(
            f"{directory} already holds a run; set GROK_RESUME=1 to continue it, GROK_OVERWRITE=1 to "
            "replace it, or choose another folder with GROK_ARTIFACTS_DIR"
        )


@contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Create the folder if need be and hold its lock; UserError if it is a file or in use."""
    check_folder(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot use {directory}: {error.strerror}") from error
    refusal = (
        f"{directory} is in use by another run; wait for it, or choose another folder with "
        "GROK_ARTIFACTS_DIR"
    )
    with locked(directory, refusal):
        yield


def clear(directory: Path) -> None:
    """Remove an old run's files and nothing else; folders that become empty go too."""
    try:
        for path in run_files(directory):
            path.unlink()
        for name in ("checkpoint_labeled", "trajectory", "visualizations"):
            folder = directory / name
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    except OSError as error:
        raise RunError(f"cannot remove the old run in {directory}: {error.strerror}") from error
