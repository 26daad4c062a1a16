"""Files written whole or not at all, and JSON that is read back with checks. Torch-free.

JSON is strict RFC 8259: NaN and Infinity are neither written nor accepted. An error names the file
and the fault.
"""

import errno
import json
import math
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from grokking.schema import (
    Record,
    kind_in_words,
)
from grokking.system.errors import RunError, UserError

SMALL_JSON = 40_000_000  # bytes that are read whatever is in them; parsed they take up to 0.6 GB
LARGEST_JSON = 1_000_000_000  # bytes, whatever a file says of itself
MOST_LISTS = 1_000_000  # and objects, in a file; empty ones take 30 times as much memory as text
NUMBER_BYTES = 32  # of a number in a file, at most: 24 for any float64, its comma, a line break


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
        fault = "is a folder, expected a file" if source.is_dir() else "no such file"
        raise UserError(f"{source}: {fault}")


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
