"""measures.npy: what every probe has measured, one row per probed epoch, appended to.

A numpy structured array that `numpy.load` reads by itself; the fields are those of
`grokking.analysis.measures`. A run pays for its new rows only, whatever its length.

The last field of each row is a digest, `digest`: uint64, BLAKE2b of the digest of the row before it and
of this row. The chain begins with the names and types of the fields, so that a row that was changed, lost or
moved is noticed, and appending does not read what is there. Older files have none: they are read as they
are, and get theirs when their run goes on.
"""

import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from grokking.files import names
from grokking.files.json_files import atomic_write, open_file
from grokking.system.errors import RunError, UserError

DIGEST, DIGEST_BYTES = "digest", 8
Rows = NDArray[np.void]


def with_digest(fields: Sequence[Any]) -> np.dtype[np.void]:
    """The type of a row of these fields, its digest the last."""
    return np.dtype([*fields, (DIGEST, f"<u{DIGEST_BYTES}")])


def append(directory: Path, rows: Sequence[Rows]) -> None:
    """Add rows to the file; a crash in between leaves the file with its old rows.

    The rows are on the disk before the header, which np.save pads for the purpose, counts them.
    """
    if not rows:
        return
    new, path = np.concatenate(rows), directory / names.MEASURES
    try:
        if not path.exists():
            _write_header(path, new.dtype, 0, "xb")
        with path.open("r+b") as file:
            count, dtype = _read_header(file)
            if dtype != new.dtype:
                new = _as_before(new, dtype, path)
            file.seek(count * dtype.itemsize, os.SEEK_CUR)
            last = _seed(dtype)
            if count:
                file.seek(-DIGEST_BYTES, os.SEEK_CUR)
                last = file.read(DIGEST_BYTES)
            file.truncate()
            file.write(_chained(new, last))
            file.flush()
            os.fsync(file.fileno())
        _write_header(path, new.dtype, count + len(new), "r+b")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error


def _as_before(new: Rows, dtype: np.dtype[np.void], path: Path) -> Rows:
    """New rows with the fields of a file that an older program began, which measured less."""
    known, older = dict(new.dtype.fields or {}), dict(dtype.fields or {})
    if any(name not in known or known[name][0] != older[name][0] for name in older):
        raise UserError(f"{path}: holds the measures of another model")
    fewer = np.zeros(len(new), dtype)
    for name in dtype.names or ():
        fewer[name] = new[name]
    return fewer


def forget_after(directory: Path, epoch: int) -> None:
    """Drop the rows after `epoch`, of a run that is now resumed from there."""
    path = directory / names.MEASURES
    if not path.exists():
        return
    rows = read(directory)
    kept = rows[rows["epoch"] <= epoch]
    if _has_digests(rows.dtype):
        begin = _write_header(path, rows.dtype, len(kept), "r+b")
        os.truncate(path, begin + kept.nbytes)
    else:
        atomic_write(path, lambda file: np.save(file, _with_digests(kept), allow_pickle=False))


def copy_until(directory: Path, target: Path, epoch: int) -> None:
    """Begin the measures of a branch with its run's rows up to `epoch`, if that has measured any."""
    if not (directory / names.MEASURES).exists():
        return
    rows = read(directory)
    kept = rows[rows["epoch"] <= epoch]
    append(target, [kept if _has_digests(rows.dtype) else _with_digests(kept)])


def read(directory: Path) -> Rows:
    """All rows of a run's measures.npy, [n]; UserError names a file that is missing or damaged.

    Where there are digests they say how many rows there are: those of an append that was killed
    before the header counted them are whole, and count.
    """
    path = directory / names.MEASURES
    try:
        with open_file(path) as file:
            count, dtype = _read_header(file)
            content = file.read()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    whole = len(content) // dtype.itemsize
    intact = _intact(content, dtype) if _has_digests(dtype) else min(whole, count)
    if intact < count:
        damage = "it lost its end" if whole < count else f"row {intact} does not match its digest"
        raise UserError(f"{path}: damaged ({damage}); remove it to go on without it")
    return np.frombuffer(content, dtype, intact)


def _has_digests(dtype: np.dtype[np.void]) -> bool:
    return dtype.names is not None and dtype.names[-1] == DIGEST


def _seed(dtype: np.dtype[np.void]) -> bytes:
    """What the chain of digests begins with."""
    return blake2b(repr(dtype.descr).encode(), digest_size=DIGEST_BYTES).digest()


def _digest(last: bytes, row: bytes) -> bytes:
    return blake2b(last + row[:-DIGEST_BYTES], digest_size=DIGEST_BYTES).digest()


def _chained(rows: Rows, last: bytes) -> bytes:
    """The bytes of rows with their digests, which follow the digest `last`."""
    content = bytearray()
    for row in rows:
        last = _digest(last, row.tobytes())
        content += row.tobytes()[:-DIGEST_BYTES] + last
    return bytes(content)


def _intact(content: bytes, dtype: np.dtype[np.void]) -> int:
    """How many rows, from the first on, match their digests."""
    last, size = _seed(dtype), dtype.itemsize
    for number in range(len(content) // size):
        row = content[number * size : (number + 1) * size]
        last = _digest(last, row)
        if row[-DIGEST_BYTES:] != last:
            return number
    return len(content) // size


def _with_digests(rows: Rows) -> Rows:
    """Rows of an older version, which have none."""
    dtype = with_digest(rows.dtype.descr)
    new = np.zeros(len(rows), dtype)
    for name in rows.dtype.names or ():
        new[name] = rows[name]
    return np.frombuffer(_chained(new, _seed(dtype)), dtype)


def _read_header(file: IO[bytes]) -> tuple[int, np.dtype[np.void]]:
    """(number of rows, their type); the rows begin at file.tell(). UserError if it is none of ours."""
    try:
        np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)  # type: ignore[no-untyped-call]
    except (ValueError, SyntaxError, TokenError) as error:  # numpy lets Python's parser read it
        raise UserError(f"{file.name}: not a file of measures ({error})") from error
    known = not dtype.hasobject and "squares_total" in (dtype.names or ())
    if not known or len(shape) != 1 or shape[0] < 0:
        raise UserError(f"{file.name}: not a file of measures")
    return shape[0], dtype


def _write_header(path: Path, dtype: np.dtype[np.void], count: int, mode: str) -> int:
    """Write the header of so many rows; where they begin."""
    header = {"descr": dtype.descr, "fortran_order": False, "shape": (count,)}
    with path.open(mode) as file:
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
        begin = file.tell()
        file.flush()
        os.fsync(file.fileno())
    return begin
