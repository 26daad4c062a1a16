"""The folder of one run: who may use it, what it holds, and what an old run leaves behind."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from grokking.files import names
from grokking.files.json_files import read_json
from grokking.system.errors import RunError, UserError
from grokking.system.locks import locked

LABELS = ("initial", "memorization", "grokking", "grokked", "final")
REPORT_LABELS = ("circuit_formation", "cleanup")


def _label(name: str) -> list[str]:
    return [f"{names.LABELED}/{name}{suffix}" for suffix in names.WEIGHTS]


# What `grokking report` adds to a run's folder.
REPORT_FILES = (
    names.CARD,
    names.REPORT,
    names.FILM,
    names.GALLERY,
    names.PROGRESS_MEASURES,
    *(path for label in REPORT_LABELS for path in _label(label)),
)

# What is made of a run's last state, its report included; a run that goes on outdates it.
RESULT_FILES = (
    *REPORT_FILES,
    names.RESULT,
    f"{names.SURFACE.format('*')}.json",
    f"{names.SURFACE.format('*')}.html",
    *_label("final"),
    f"{names.PICTURES}/{names.INDEX}",
    f"{names.PICTURES}/{names.TRAINING_HISTORY}",
    f"{names.PICTURES}/{names.SURFACE.format('*')}.html",
)

# Everything that a run writes, newest claim first: while any of these is there, the folder holds a run.
RUN_FILES = (
    *RESULT_FILES,
    names.LOSSES,
    names.ACCURACIES,
    names.MEASURES,
    *(path for label in LABELS for path in _label(label)),
    *(f"{names.TRAJECTORY}/epoch_*{suffix}" for suffix in names.WEIGHTS),
    f"{names.PICTURES}/{names.LIBRARY.format('*')}",
    *(f"{names.PREVIOUS}{suffix}" for suffix in names.WEIGHTS),
    *(f"{names.LATEST}{suffix}" for suffix in names.WEIGHTS),
    *(f"{names.FORK}{suffix}" for suffix in names.WEIGHTS),
    names.TASK,
    names.CONFIG,
)


def run_files(directory: Path) -> list[Path]:
    """The files of a run that are in the folder, in the order in which they may be removed."""
    return _matching(directory, RUN_FILES)


def _matching(directory: Path, patterns: Sequence[str]) -> list[Path]:
    paths = (path for pattern in patterns for path in sorted(directory.glob(pattern)))
    return list(dict.fromkeys(paths))  # once each: epoch_*.pt is also the end of an export's name


def check_folder(directory: Path, named: str = "GROK_ARTIFACTS_DIR") -> None:
    """UserError if a file has the folder's name; `named` is what the user has named it with."""
    if directory.exists() and not directory.is_dir():
        raise UserError(f"{named} is {directory}, which is a file, expected a folder")


TO_TRAIN = (
    "set GROK_RESUME=1 to continue it, GROK_OVERWRITE=1 to replace it, or choose another folder with "
    "GROK_ARTIFACTS_DIR"
)


def check_free(directory: Path, advice: str = TO_TRAIN) -> None:
    """UserError if the folder holds a run, finished or not."""
    if run_files(directory):
        raise UserError(f"{directory} already holds a run; {advice}")


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


def forget_results(directory: Path) -> None:
    """Remove what was made of the last state of a run that has gone on; not surfaces of other epochs."""
    at_epoch = names.AT_EPOCH.format("")
    outdated = _matching(directory, RESULT_FILES)
    _remove(directory, [path for path in outdated if at_epoch not in path.stem])


def forget_report(directory: Path, epoch: int) -> None:
    """Remove a report of another state than that of `epoch`, or of one that cannot be told."""
    card = directory / names.CARD
    try:
        if card.exists() and read_json(card).get("epoch") == epoch:
            return
    except UserError:
        pass  # damaged: the report goes with it
    _remove(directory, _matching(directory, REPORT_FILES))


def clear(directory: Path) -> None:
    """Remove an old run's files and nothing else; folders that become empty go too."""
    _remove(directory, run_files(directory))


def _remove(directory: Path, paths: Sequence[Path]) -> None:
    try:
        for path in paths:
            path.unlink()
        for name in (names.LABELED, "trajectory", names.PICTURES):
            folder = directory / name
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    except OSError as error:
        raise RunError(f"cannot remove the old run in {directory}: {error.strerror}") from error
