"""What a resumed sweep finds of a run: finished, damaged, or to be gone on with."""

from itertools import chain, count
from pathlib import Path

from grokking.artifacts import read_config
from grokking.config import load
from grokking.continuation import finished_run
from grokking.errors import RunError, UserError
from grokking.sweep.plan import DAMAGED_FOLDER, PlannedRun


def is_finished(folder: Path, run: PlannedRun) -> bool:
    """Does the folder hold a result that the plan does not take further? A damaged one is none."""
    try:
        return finished_run(folder, load(run.variables).config) is not None
    except UserError:
        return False


def fault_of(folder: Path, run: PlannedRun) -> str:
    """What keeps a run from being read or gone on with; empty if nothing does."""
    try:
        if (folder / "config.json").exists():
            read_config(folder)
        finished = finished_run(folder, load(run.variables).config)
    except UserError as error:
        return _without_folder(str(error), folder)
    if finished is not None or not any(folder.glob("checkpoint_*.pt")):
        return ""
    from grokking.recorder import AllDamaged, newest_checkpoint

    try:
        newest_checkpoint(folder)
    except AllDamaged as error:
        return _without_folder(str(error), folder)
    except (UserError, RunError):
        pass  # of a newer version, or the disk does not give it: the run itself will say so
    return ""


def set_aside(folder: Path) -> Path:
    """Move a damaged run to damaged/NAME (NAME_2 ... if that is taken); returns where it lies now.

    Raises RunError if the disk refuses.
    """
    shelf = folder.parent / DAMAGED_FOLDER
    names = chain([folder.name], (f"{folder.name}_{number}" for number in count(2)))
    aside = next(shelf / name for name in names if not (shelf / name).exists())
    try:
        shelf.mkdir(exist_ok=True)
        folder.rename(aside)
    except OSError as error:
        raise RunError(f"cannot move {folder} to {aside}: {error.strerror}") from error
    return aside


def _without_folder(message: str, folder: Path) -> str:
    return message.replace(f"{folder}/", "")
