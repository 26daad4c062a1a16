"""What every probe measures inside the model, and the file that keeps it: measures.npy.

One row per probed epoch, a numpy structured array that `numpy.load` reads by itself. The file is
appended to, so that a run pays for its new rows only, whatever its length.

| field | |
|---|---|
| `epoch` | int64 |
| `squares` | sum of squares of each parameter, float64, one field per name |
| `squares_total` | the same over all parameters |
| `W_E_norms` | float32 [(p-1)/2], norm of each frequency across the operand tokens |
| `W_L_norms` | float32 [(p-1)/2], norm of each frequency across the classes |
| `logit_cosines` | float32 [(p-1)/2], amplitude of cos(w_k (a + b - c)) in the logits |
| `W_E_gini`, `W_L_gini` | Gini coefficient of the norms of all p components, constant included |
| `leading_frequencies` | int64, how many frequencies the key rule finds in W_L at this epoch |
| `leading_restricted_loss` | loss of the logits restricted to those |
| `digest` | uint64: BLAKE2b of the digest of the row before it and of this row |

`leading_restricted_loss` is not the paper's restricted loss, whose frequencies are those of the final
model. Where Fourier measures do not exist (p even, or 1), the fields from `W_E_norms` on to it are
left out.

The digests are a chain that begins with the names and types of the fields, so that a row that was
changed, lost or moved is noticed, and appending does not read what is there. Older files have none:
they are read as they are, and get theirs when their run goes on.
"""

import os
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from grokking.analysis.spectra import (
    component_norms,
    cosine_amplitudes,
    frequency_norms,
    gini,
    has_spectrum,
    key_frequencies,
    restricted_loss,
)
from grokking.files.artifacts import atomic_write, open_file
from grokking.system.errors import RunError, UserError

NAME = "measures.npy"
DIGEST, DIGEST_BYTES = "digest", 8
PARAMETERS = (
    *("W_E", "W_pos", "W_Q", "W_K", "W_V", "W_O"),
    *("W_in", "b_in", "W_out", "b_out", "W_U"),
)
Weights = Mapping[str, NDArray[Any]]
Rows = NDArray[np.void]


def row_type(p: int) -> np.dtype[np.void]:
    """The fields of one row for modulus p."""
    fields: list[Any] = [
        ("epoch", "<i8"),
        ("squares", [(name, "<f8") for name in PARAMETERS]),
        ("squares_total", "<f8"),
    ]
    if has_spectrum(p):
        spectrum = ("<f4", ((p - 1) // 2,))
        fields += [(name, *spectrum) for name in ("W_E_norms", "W_L_norms", "logit_cosines")]
        fields += [("W_E_gini", "<f8"), ("W_L_gini", "<f8")]
        fields += [("leading_frequencies", "<i8"), ("leading_restricted_loss", "<f8")]
    return np.dtype([*fields, (DIGEST, "<u8")])


def measure(
    epoch: int, weights: Weights, W_L: NDArray[Any], class_means: NDArray[np.float64]
) -> Rows:
    """One row [1] from the parameters, W_L = W_out W_U [d_mlp, p] and the class means S [p, p].

    Its digest is filled in when it is appended.
    """
    p = len(class_means)
    row = np.zeros(1, row_type(p))
    row["epoch"] = epoch
    for name in PARAMETERS:
        row["squares"][name] = np.square(weights[name], dtype=np.float64).sum()
        row["squares_total"] += row["squares"][name]
    if has_spectrum(p):
        embedding = component_norms(weights["W_E"][:p])
        output = component_norms(W_L.T)
        leading = key_frequencies(frequency_norms(output))
        row["W_E_norms"], row["W_L_norms"] = frequency_norms(embedding), frequency_norms(output)
        row["logit_cosines"] = cosine_amplitudes(class_means)
        row["W_E_gini"], row["W_L_gini"] = gini(embedding), gini(output)
        row["leading_frequencies"] = len(leading)
        row["leading_restricted_loss"] = restricted_loss(class_means, leading)
    return row


def append(directory: Path, rows: Sequence[Rows]) -> None:
    """Add rows to the file; a crash in between leaves the file with its old rows.

    The rows are on the disk before the header, which np.save pads for the purpose, counts them.
    """
    if not rows:
        return
    new, path = np.concatenate(rows), directory / NAME
    try:
        if not path.exists():
            _write_header(path, new.dtype, 0, "xb")
        with path.open("r+b") as file:
            count, dtype = _read_header(file)
            if dtype != new.dtype:
                raise UserError(f"{path}: holds the measures of another model")
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


def forget_after(directory: Path, epoch: int) -> None:
    """Drop the rows after `epoch`, of a run that is now resumed from there."""
    path = directory / NAME
    if not path.exists():
        return
    rows = read(directory)
    kept = rows[rows["epoch"] <= epoch]
    if _has_digests(rows.dtype):
        begin = _write_header(path, rows.dtype, len(kept), "r+b")
        os.truncate(path, begin + kept.nbytes)
    else:
        atomic_write(path, lambda file: np.save(file, _with_digests(kept), allow_pickle=False))


def read(directory: Path) -> Rows:
    """All rows of a run's measures.npy, [n]; UserError names a file that is missing or damaged.

    Where there are digests they say how many rows there are: those of an append that was killed
    before the header counted them are whole, and count.
    """
    path = directory / NAME
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
        told = "it lost its end" if whole < count else f"row {intact} does not match its digest"
        raise UserError(f"{path}: damaged ({told}); remove it to go on without it")
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
    dtype = np.dtype([*rows.dtype.descr, (DIGEST, "<u8")])
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
