"""Every file format of a run: written atomically, read back with checks that name the file and the fault.

Checkpoints, which need torch, are in checkpoint.py; everything here is torch-free.
JSON is strict RFC 8259: NaN and Infinity are neither written nor accepted.
"""

import errno
import json
import math
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from grokking.config import FIELDS, Config, recorded_kind
from grokking.detection import OUTCOMES, outcome
from grokking.fourier import Wave, strongest_wave
from grokking.schema import (
    AMOUNT,
    BOOLEAN,
    EPOCH,
    FINITE,
    FRACTION,
    LIST,
    NATURAL,
    OBJECT,
    VERSION,
    WORD,
    Record,
    choice,
    integer,
    kind_in_words,
    or_null,
    shown,
)
from grokking.system.errors import RunError, UserError

SMALL_JSON = 40_000_000  # bytes that are read whatever is in them; parsed they take up to 0.6 GB
LARGEST_JSON = 1_000_000_000  # bytes, whatever a file says of itself
MOST_LISTS = 1_000_000  # and objects, in a file; empty ones take 30 times as much memory as text
NUMBER_BYTES = 32  # of a number in a file, at most: 24 for any float64, its comma, a line break


# --- writing ---------------------------------------------------------------------------------


def atomic_write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Fill a temporary file beside `path`, fsync it and rename it into place.

    A reader sees the old file or the new one, never a part. Raises RunError when the
    disk refuses; then the old file is untouched and no temporary file stays behind.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.fsync(file.fileno())
        os.replace(name, path)
        _sync_directory(path.parent)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error
    finally:
        Path(name).unlink(missing_ok=True)


def check_output(output: Path, source: Path | None = None) -> None:
    """UserError for an output that is a folder, has no folder, or is the file it is made from.

    RunError for one whose folder cannot be written: before anything is computed for it.
    """
    if not output.name or output.is_dir():
        raise UserError(f"{output} is a folder, expected the name of a file to write")
    if not output.parent.is_dir():
        raise UserError(f"{output}: the folder {output.parent} does not exist; create it first")
    if source is not None and output.exists() and source.exists() and output.samefile(source):
        raise UserError(f"{output} is the input itself, expected another file to write")
    check_writable(output.parent, "choose another folder for the output")


def check_writable(directory: Path, advice: str) -> None:
    """RunError, in the system's words and with the advice, where no file can be made in a folder.

    One that does not exist yet is judged by the folder that it would be made in.
    """
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise RunError(f"cannot write into {existing}: {error.strerror}; {advice}") from error


def check_input(source: Path) -> None:
    """UserError for a file that is not there, before names of outputs are made from its own."""
    if not source.is_file():
        told = "is a folder, expected a file" if source.is_dir() else "no such file"
        raise UserError(f"{source}: {told}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def atomic_write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically (see atomic_write); bytes of a file's name that are none: escaped."""
    content = text.encode(errors="backslashreplace")
    atomic_write(path, lambda file: file.write(content))


def write_json(path: Path, value: object) -> None:
    """Write strict JSON atomically; NaN and Infinity raise ValueError, so convert them before."""
    atomic_write_text(path, json.dumps(value, allow_nan=False) + "\n")


def finite_or_none(value: float) -> float | None:
    """The number, or None (JSON null) where it is NaN or infinite."""
    return value if math.isfinite(value) else None


# --- reading ---------------------------------------------------------------------------------


def open_file(path: Path) -> IO[bytes]:
    """Open a file for reading; OSError also for a pipe or a device, which may have no end."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "Not a regular file")
    return path.open("rb")


def no_numbers(file: IO[bytes]) -> int:
    """A file that does not say how many numbers it holds has no reason to be large."""
    return 0


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file, unchecked; UserError as for read_record."""
    return read_record(path).values


def read_record(path: Path, numbers: Callable[[IO[bytes]], int] = no_numbers) -> Record:
    """The JSON object in a file, to be checked; UserError names the file and what is wrong with it.

    A file above SMALL_JSON may be as large as the numbers that it says it holds: `numbers` reads
    that from the open file, if it can without reading all of it.
    """
    try:
        with open_file(path) as file:
            _check_size(path, file, numbers)
            text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if (lists := text.count("[") + text.count("{")) > MOST_LISTS:
        raise UserError(f"{path}: not a file of ours: it has {lists:,} lists and objects")
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise UserError(f"{path}: not a file of ours: nested too deeply") from error
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object, found {kind_in_words(value)}")
    record = Record(str(path), value)
    record.check_version()
    return record


def _check_size(path: Path, file: IO[bytes], numbers: Callable[[IO[bytes]], int]) -> None:
    """UserError for a file larger than it has reason to be; leaves the file at its start."""
    size = os.fstat(file.fileno()).st_size
    if size <= SMALL_JSON:
        return
    justified = min(SMALL_JSON + NUMBER_BYTES * numbers(file), LARGEST_JSON)
    if size > justified:
        raise UserError(
            f"{path}: not a file of ours: it has {size / 1e6:,.0f} MB, expected at most "
            f"{justified / 1e6:,.0f} MB by what it says of itself"
        )
    file.seek(0)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not allowed")


# --- surfaces --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Surface:
    """Post-ReLU activations of one MLP neuron at `=` over all operand pairs."""

    neuron_index: int
    modulus: int
    values: NDArray[Any]  # float32 or float64 [p, p], values[x][y], x the first operand
    epoch: int | None = None  # the state it was taken from

    @cached_property
    def wave(self) -> Wave | None:
        """Its strongest frequency; None where all pairs have one activation or p has no frequencies."""
        return strongest_wave(self.values)


def surface_path(directory: Path, neuron: int) -> Path:
    return directory / f"activation_surface_neuron_{neuron}.json"


def write_surface(directory: Path, surface: Surface) -> Path:
    """Write activation_surface_neuron_{i}.json; float32 values keep their shortest exact decimals."""
    if not np.isfinite(surface.values).all():
        raise RunError(
            f"neuron {surface.neuron_index} has activations that are not finite; not exported"
        )
    path = surface_path(directory, surface.neuron_index)
    values = surface.values.astype(np.float32).astype(str).astype(np.float64)
    record = {
        "schema_version": VERSION,
        "neuron_index": surface.neuron_index,
        "modulus": surface.modulus,
        "epoch": surface.epoch,
        "surface": values.tolist(),
    }
    write_json(path, record)
    return path


def _square_of_modulus(file: IO[bytes]) -> int:
    """The numbers of a surface, if it names its modulus before them, as those written here do."""
    named = re.search(rb'"modulus"\s*:\s*([0-9]{1,6})\b', file.read(4096))
    return int(named[1]) ** 2 if named else 0


def read_surface(path: Path) -> Surface:
    """Read and check one surface file; UserError in one line for every malformed one."""
    record = read_record(path, _square_of_modulus)
    neuron, modulus = record.get("neuron_index", NATURAL), record.get("modulus", integer(1))
    epoch = record.get("epoch", or_null(NATURAL), None)
    rows = record.series("surface", LIST)
    side = f"expected modulus = {shown(modulus)}"
    if len(rows) != modulus:
        raise record.fail(f"'surface' has {len(rows)} rows, {side}")
    for x, row in enumerate(rows):
        if len(row) != modulus:
            raise record.fail(f"'surface'[{x}] has {len(row)} numbers, {side}")
        record.check_entries(f"'surface'[{x}]", row, FINITE)
    return Surface(neuron, modulus, np.array(rows, dtype=np.float64), epoch)


# --- histories -------------------------------------------------------------------------------

Series = list[float | None]


@dataclass(frozen=True)
class History:
    """One entry per probed epoch; epoch e is the state after e steps; None marks a non-finite value."""

    epochs: list[int]
    training_losses: Series
    validation_losses: Series
    training_accuracies: Series
    validation_accuracies: Series


_HISTORY_FILES = {"loss_history.json": "losses", "accuracy_history.json": "accuracies"}
_HISTORY_VALUES = {"losses": or_null(AMOUNT), "accuracies": or_null(FRACTION)}


def write_history(directory: Path, history: History) -> None:
    """Write loss_history.json and accuracy_history.json."""
    for name, what in _HISTORY_FILES.items():
        record: dict[str, object] = {"schema_version": VERSION, "epochs": history.epochs}
        for part in ("training", "validation"):
            series: Iterable[float | None] = getattr(history, f"{part}_{what}")
            record[f"{part}_{what}"] = [v if v is None else finite_or_none(v) for v in series]
        write_json(directory / name, record)


def _entries_of_all_lists(file: IO[bytes]) -> int:
    """The numbers of a history file: its three lists are as long as the first."""
    entries = 0
    for _ in range(LARGEST_JSON >> 20):
        block, end, _ = file.read(1 << 20).partition(b"]")
        entries += block.count(b",")
        if end:
            break
    return 3 * entries


def read_history(directory: Path) -> History:
    """Read both history files of a run and check that they belong together."""
    columns: dict[str, list[Any]] = {}
    for name, what in _HISTORY_FILES.items():
        record = read_record(directory / name, _entries_of_all_lists)
        epochs = record.epochs()
        if columns.setdefault("epochs", epochs) != epochs:
            raise record.fail("'epochs' differs from the one in loss_history.json")
        for key in (f"{part}_{what}" for part in ("training", "validation")):
            columns[key] = record.series(key, _HISTORY_VALUES[what], like="epochs")
    return History(**columns)


# --- whole runs ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A finished run as its files tell it."""

    directory: Path
    config: dict[str, Any]  # field -> value
    starts: list[dict[str, Any]]  # see read_starts
    history: History
    grokking: dict[str, Any]  # the fields of grokking.json


def read_config(directory: Path) -> dict[str, Any]:
    """Field -> value of a run's config.json; a field that an older file lacks has its default."""
    return {**asdict(Config()), **{k: e["value"] for k, e in read_settings(directory).items()}}


def read_settings(directory: Path) -> dict[str, dict[str, Any]]:
    """Field -> its entry in a run's config.json: `value`, which may stand there, and `source`."""
    record = read_record(directory / "config.json")
    fields: dict[str, dict[str, Any]] = record.get("config", OBJECT)
    for name, entry in fields.items():
        if not OBJECT.accepts(entry) or "value" not in entry:
            raise record.fail(f"'config' field {shown(name)} has no 'value'")
        if name in FIELDS:
            record.checked(f"'config' field '{name}'", entry["value"], recorded_kind(name))
    return fields


_START = {
    "epoch": or_null(EPOCH),
    "inexact": BOOLEAN,
    **dict.fromkeys(("time", "device", "device_name", "threads", "kernel"), or_null(WORD)),
    "kernel_reason": or_null(WORD),
    "versions": or_null(OBJECT),
}


def read_starts(directory: Path) -> list[dict[str, Any]]:
    """What config.json tells of each start and resume, oldest first; of a run of 0.1.0, its last.

    What it does not tell is None.
    """
    record = read_record(directory / "config.json")
    told = record.series("starts", OBJECT, default=[record.values]) or [record.values]
    starts = [Record(f"{record.name}: 'starts'[{n}]", start) for n, start in enumerate(told)]
    untold = {**dict.fromkeys(_START), "inexact": False}
    return [{key: s.get(key, kind, untold[key]) for key, kind in _START.items()} for s in starts]


_EPOCHS = ("memorization_epoch", "generalization_epoch", "grok_epoch")
_RESULT = {
    **dict.fromkeys(_EPOCHS, or_null(EPOCH)),
    **dict.fromkeys(("final_training_accuracy", "final_validation_accuracy"), or_null(FRACTION)),
    **dict.fromkeys(("seconds", "epochs_per_second"), or_null(AMOUNT)),
    "grokked": BOOLEAN,
}
_OUTCOME = choice("|".join(OUTCOMES), ", ".join(OUTCOMES))


def read_grokking(directory: Path) -> dict[str, Any]:
    """The checked content of grokking.json, the last file that a run writes.

    `outcome` and `collapse_epoch`, which older files lack, are there: told by the epochs, and None.
    """
    record = read_record(directory / "grokking.json")
    values = record.values | {key: record.get(key, kind) for key, kind in _RESULT.items()}
    if values["grokked"] != (values["grok_epoch"] is not None):
        raise record.fail("'grokked' and 'grok_epoch' contradict each other")
    told = outcome(values["memorization_epoch"], values["generalization_epoch"])
    values["outcome"] = record.get("outcome", _OUTCOME, told)
    for key in ("collapse_epoch", "final_epoch"):
        values[key] = record.get(key, or_null(EPOCH), None)
    return values


def read_run(directory: Path) -> Run:
    """Read a finished run's folder; UserError names the first file that is missing or damaged."""
    config, starts, history = (
        read_config(directory),
        read_starts(directory),
        read_history(directory),
    )
    if not history.epochs:
        raise UserError(f"{directory / 'loss_history.json'}: 'epochs' is empty")
    grokking = read_grokking(directory)
    for key in _EPOCHS:
        if (grokking[key] or 0) > history.epochs[-1]:
            raise UserError(
                f"{directory / 'grokking.json'}: '{key}' is {shown(grokking[key])}, after the last epoch "
                f"{history.epochs[-1]}"
            )
    return Run(directory, config, starts, history, grokking)
