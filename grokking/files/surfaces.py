"""Activation surfaces: activation_surface_neuron_{i}.json. Torch-free."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from grokking.files import names
from grokking.files.json_files import read_record, write_json
from grokking.fourier import Wave, strongest_wave
from grokking.schema import (
    FINITE,
    LIST,
    NATURAL,
    VERSION,
    integer,
    or_null,
    shown,
)
from grokking.system.errors import RunError


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


def surface_path(directory: Path, neuron: int, epoch: int | None = None) -> Path:
    """The file of a neuron at the end of the run, or at `epoch`."""
    at_epoch = "" if epoch is None else names.AT_EPOCH.format(epoch)
    return directory / f"{names.SURFACE.format(neuron)}{at_epoch}.json"


def write_surface(directory: Path, surface: Surface, by_epoch: bool = False) -> Path:
    """Write activation_surface_neuron_{i}.json; float32 values keep their shortest exact decimals.

    `by_epoch`: its epoch is part of the name, since it is not the end of the run.
    """
    if not np.isfinite(surface.values).all():
        raise RunError(
            f"neuron {surface.neuron_index} has activations that are not finite; not exported"
        )
    path = surface_path(directory, surface.neuron_index, surface.epoch if by_epoch else None)
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
