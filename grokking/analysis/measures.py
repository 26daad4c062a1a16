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

The last is not the paper's restricted loss, whose frequencies are those of the final model.

Where Fourier measures do not exist (p even, or 1), the fields after `squares_total` are left out.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
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
from grokking.errors import RunError, UserError

NAME = "measures.npy"
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
    return np.dtype(fields)


def measure(
    epoch: int, weights: Weights, W_L: NDArray[Any], class_means: NDArray[np.float64]
) -> Rows:
    """One row [1] from the parameters, W_L = W_out W_U [d_mlp, p] and the class means S [p, p]."""
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
            file.truncate()
            file.write(new.tobytes())
            file.flush()
            os.fsync(file.fileno())
        _write_header(path, new.dtype, count + len(new), "r+b")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error


def forget_after(directory: Path, epoch: int) -> None:
    """Drop the rows after `epoch`, of a run that is now resumed from there."""
    if (directory / NAME).exists():
        rows = read(directory)
        kept = int((rows["epoch"] <= epoch).sum())
        _write_header(directory / NAME, rows.dtype, kept, "r+b")


def read(directory: Path) -> Rows:
    """All rows of a run's measures.npy, [n]; UserError names a file that is missing or damaged."""
    path = directory / NAME
    try:
        with path.open("rb") as file:
            count, dtype = _read_header(file)
            content = file.read(count * dtype.itemsize)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except ValueError as error:
        raise UserError(f"{path}: not a file of measures ({error})") from error
    if dtype.hasobject or dtype.names is None or "squares_total" not in dtype.names:
        raise UserError(f"{path}: not a file of measures")
    if len(content) < count * dtype.itemsize:
        raise UserError(f"{path}: damaged (it lost its end); remove it to go on without it")
    return np.frombuffer(content, dtype)


def _read_header(file: IO[bytes]) -> tuple[int, np.dtype[np.void]]:
    """(number of rows, their type); the rows begin at file.tell(). ValueError if damaged."""
    np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)  # type: ignore[no-untyped-call]
    return (shape[0] if shape else 0), dtype


def _write_header(path: Path, dtype: np.dtype[np.void], count: int, mode: str) -> None:
    header = {"descr": dtype.descr, "fortran_order": False, "shape": (count,)}
    with path.open(mode) as file:
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
        file.flush()
        os.fsync(file.fileno())
