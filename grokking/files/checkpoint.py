"""The file format of checkpoints: a dict that carries its own digest.

torch.load accepts flipped bits in silence, so every checkpoint holds a SHA-256 over the
names, shapes, dtypes and bytes of its tensors and over all other values. A copied
file can be verified anywhere, and loads with weights_only=True: no code is run.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grokking.files.json_files import atomic_write
from grokking.schema import VERSION, Record
from grokking.system.errors import RunError, UserError


class Damaged(UserError):
    """The file is not what this program wrote: an earlier checkpoint may take its place."""


def save_checkpoint(path: Path, record: Mapping[str, Any]) -> None:
    """Write `record` (nested dicts and lists of tensors, numbers, strings, None) atomically."""
    content = {"schema_version": VERSION, **record}
    content["sha256"] = digest(content)
    atomic_write(path, lambda file: torch.save(content, file))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read and verify a checkpoint.

    Damaged for a file that is not intact, UserError for one that is not there or of a newer version,
    RunError if the disk does not give it: that says nothing about the file.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        record = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch.load raises many unrelated types on damaged input
        raise Damaged(f"{path}: not a readable checkpoint ({type(error).__name__})") from error
    if not isinstance(record, dict) or "sha256" not in record:
        raise Damaged(f"{path}: not a checkpoint of this program (it carries no digest)")
    expected = record.pop("sha256")
    try:
        intact = digest(record) == expected
    except (TypeError, ValueError, RecursionError):  # values that no checkpoint of ours holds
        intact = False
    if not intact:
        raise Damaged(f"{path}: damaged (its content does not match its digest)")
    Record(str(path), record).check_version()
    return record


def digest(record: Mapping[str, Any]) -> str:
    """SHA-256, as hex, over every name and value of a nested record."""
    state = hashlib.sha256()
    for name, value in _leaves((), record):
        if isinstance(value, Tensor):
            header = [*name, "tensor", str(value.dtype), list(value.shape)]
            state.update(json.dumps(header).encode())
            state.update(
                value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
            )
        else:
            state.update(json.dumps([*name, type(value).__name__, value]).encode())
        state.update(b"\n")
    return state.hexdigest()


def _leaves(name: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        yield name, sorted(map(str, value))
        for key in sorted(value, key=str):
            yield from _leaves((*name, str(key)), value[key])
    elif isinstance(value, (list, tuple)) and any(isinstance(v, (Tensor, Mapping)) for v in value):
        yield name, len(value)
        for position, item in enumerate(value):
            yield from _leaves((*name, str(position)), item)
    else:
        yield name, value
