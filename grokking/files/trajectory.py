"""The recorded trajectory of a run: its weights at up to 200 epochs, one small checkpoint each.

Whatever needs the final key frequencies, or any surface at an earlier epoch, is derived from these
files afterwards. What lies in a folder is listed without torch. The epochs kept are a function of the
newest epoch alone, so that a run that is extended, stopped early or killed and resumed keeps what an
uninterrupted one keeps.
"""

from pathlib import Path
from typing import Any

from grokking.files import names
from grokking.system.errors import RunError, UserError

PER_OCTAVE = 8  # recorded epochs between each e and 2 e
EVEN = 96  # further recorded epochs, evenly spaced, at most


def is_kept(epoch: int, newest: int) -> bool:
    """Are the weights of `epoch` kept by a run that has reached epoch `newest`?

    Kept are all epochs up to 2 * PER_OCTAVE, then PER_OCTAVE in every doubling, and the multiples of the
    smallest power of two that fits at most EVEN times into `newest`. As the run goes on epochs
    leave the set and never return; below 200 of them up to 700,000 epochs.
    """
    octave = max(0, epoch.bit_length() - PER_OCTAVE.bit_length())
    spacing = max(0, (newest // (EVEN + 1)).bit_length())
    return epoch % (1 << min(octave, spacing)) == 0


def record(directory: Path, epoch: int, checkpoint: dict[str, Any], thinned: bool = True) -> None:
    """Save the checkpoint of `epoch`, the newest one, and remove those no longer kept.

    `thinned`: False keeps all, as of imported states, whose epochs are not ours to choose.
    """
    from grokking.files.checkpoint import save_checkpoint

    folder = directory / names.TRAJECTORY
    try:
        folder.mkdir(exist_ok=True)
        save_checkpoint(_path(folder, epoch), checkpoint)
        for earlier, path in recorded(directory).items():
            if thinned and not is_kept(earlier, epoch):
                path.unlink()
    except OSError as error:
        raise RunError(f"cannot record the weights in {folder}: {error.strerror}") from error


def recorded(directory: Path) -> dict[int, Path]:
    """Recorded epoch -> file, ascending; empty if nothing was recorded in this run folder."""
    paths = (directory / names.TRAJECTORY).glob("epoch_*.pt")
    epochs = {int(path.stem[6:]): path for path in paths if path.stem[6:].isdigit()}
    return dict(sorted(epochs.items()))


def forget_after(directory: Path, epoch: int) -> None:
    """Remove what was recorded after `epoch`, by a run that is now resumed from there."""
    for later, path in recorded(directory).items():
        if later > epoch:
            path.unlink(missing_ok=True)


def weights_path(directory: Path, epoch: int) -> Path:
    """The file of a recorded epoch; UserError names the recorded ones around it."""
    paths = recorded(directory)
    if epoch not in paths:
        near = sorted(paths, key=lambda e: abs(e - epoch))[:2]
        nearest = f"; the nearest are {', '.join(map(str, near))}" if near else ""
        raise UserError(f"{directory / names.TRAJECTORY} has no weights of epoch {epoch}{nearest}")
    return paths[epoch]


def read_recorded(directory: Path, epoch: int) -> dict[str, Any]:
    """The verified checkpoint of a recorded epoch: `epoch`, `config`, `model`, `train_pairs`."""
    from grokking.files.checkpoint import load_checkpoint

    return load_checkpoint(weights_path(directory, epoch))


def _path(folder: Path, epoch: int) -> Path:
    return folder / f"epoch_{epoch:06}.pt"
