"""What a resumed sweep finds of a run: finished, damaged, or to be gone on with."""

from dataclasses import replace
from itertools import chain, count
from pathlib import Path

from grokking.config import load
from grokking.files import measures, names
from grokking.files.continuation import check_same_experiment, finished_run
from grokking.files.history import read_history
from grokking.files.run_files import read_config, read_starts
from grokking.sweeps.plan import PlannedRun
from grokking.system.errors import RunError, UserError


def is_finished(folder: Path, run: PlannedRun) -> bool:
    """Does the folder hold the run's result, which the plan does not take further, and which counts?

    A damaged one does not, nor that of another run; one that may not be looked at is none.
    """
    config = load(run.variables).config
    try:
        finished = finished_run(folder, config)
        if finished is None:
            return False
        check_same_experiment(folder, finished.config, config)
    except (UserError, OSError):
        return False
    return True


def remaining(run: PlannedRun, directory: Path) -> PlannedRun:
    """The run with the epochs that it has left to go, at least one."""
    try:
        reached = read_history(directory / run.name).epochs[-1]
    except (UserError, IndexError):
        return run
    return replace(run, epochs=max(1, run.epochs - reached))


def fault_of(folder: Path, run: PlannedRun) -> str:
    """What keeps a run from being counted or gone on with; empty if nothing does.

    Empty, too, where the run itself will say it: the disk does not give a file, or it is another run.
    """
    try:
        if (folder / names.CONFIG).exists():
            read_config(folder)
            read_starts(folder)
        finished = finished_run(folder, load(run.variables).config)
        if finished is None and (folder / names.MEASURES).exists():
            measures.read(folder)
    except UserError as error:
        return _without_folder(str(error), folder)
    except OSError:
        return ""
    if finished is not None or not any(folder.glob("checkpoint_*.pt")):
        return ""
    from grokking.training.recorder import AllDamaged, newest_checkpoint

    try:
        newest_checkpoint(folder)
    except AllDamaged as error:
        return _without_folder(str(error), folder)
    except (UserError, RunError):
        pass  # of a newer version, or the disk does not give it
    return ""


def set_aside(folder: Path) -> Path:
    """Move a damaged run to damaged/NAME (NAME_2 ... if that is taken); returns where it lies now.

    Raises RunError if the disk refuses.
    """
    shelf = folder.parent / names.DAMAGED
    candidates = chain([folder.name], (f"{folder.name}_{number}" for number in count(2)))
    aside = next(shelf / name for name in candidates if not (shelf / name).exists())
    try:
        shelf.mkdir(exist_ok=True)
        folder.rename(aside)
    except OSError as error:
        raise RunError(f"cannot move {folder} to {aside}: {error.strerror}") from error
    return aside


def _without_folder(message: str, folder: Path) -> str:
    return message.replace(f"{folder}/", "")
