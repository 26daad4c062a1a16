"""Activation surfaces: activation_surface_neuron_{i}.json. Torch-free."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from grokking.config import TASK, Config
from grokking.files import names
from grokking.files.json_files import read_record, write_json
from grokking.fourier import Wave, strongest_wave
from grokking.laws import FILE, ON_NONZERO, is_prime, own_modulus
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
from grokking.task import Group, Task, group_of, make_task


@dataclass(frozen=True)
class Surface:
    """Post-ReLU activations of one MLP neuron at `=` over all operand pairs."""

    neuron_index: int
    modulus: int
    values: NDArray[
        Any
    ]  # float32 or float64 [p, p], values[x][y], x the first operand; NaN: no question
    epoch: int | None = None  # the state it was taken from
    task: str = "add"
    holes: NDArray[np.bool_] | None = None  # where there is no question; None: nowhere

    @cached_property
    def group(self) -> Group | None:
        """The group in which its waves are; None: no known basis."""
        return group_of(self.task, self.modulus)

    @cached_property
    def grid(self) -> NDArray[Any]:
        """The values by elements of the group, [n, n]; as they are where there is none."""
        return self.values if self.group is None else self.group.grid(self.values)

    @cached_property
    def wave(self) -> Wave | None:
        """Its strongest frequency; None where all pairs have one activation, or without a group."""
        return None if self.group is None else strongest_wave(self.grid, self.group.basis)


def surface_path(directory: Path, neuron: int, epoch: int | None = None) -> Path:
    """The file of a neuron at the end of the run, or at `epoch`."""
    at_epoch = "" if epoch is None else names.AT_EPOCH.format(epoch)
    return directory / f"{names.SURFACE.format(neuron)}{at_epoch}.json"


def write_surface(directory: Path, surface: Surface, by_epoch: bool = False) -> Path:
    """Write activation_surface_neuron_{i}.json; float32 values keep their shortest exact decimals.

    `by_epoch`: its epoch is part of the name, since it is not the end of the run.
    """
    finite = np.isfinite(surface.values)
    if not (finite if surface.holes is None else finite | surface.holes).all():
        raise RunError(
            f"neuron {surface.neuron_index} has activations that are not finite; not exported"
        )
    path = surface_path(directory, surface.neuron_index, surface.epoch if by_epoch else None)
    values: NDArray[Any] = surface.values.astype(np.float32).astype(str).astype(np.float64)
    if surface.holes is not None:
        values = values.astype(object)
        values[surface.holes] = None
    record = {
        "schema_version": VERSION,
        "neuron_index": surface.neuron_index,
        "modulus": surface.modulus,
        "task": surface.task,
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
    epoch, task = record.get("epoch", or_null(NATURAL), None), record.get("task", TASK, Config.task)
    rows = record.series("surface", LIST)
    side = f"expected modulus = {shown(modulus)}"
    if len(rows) != modulus:
        raise record.fail(f"'surface' has {len(rows)} rows, {side}")
    for x, row in enumerate(rows):
        if len(row) != modulus:
            raise record.fail(f"'surface'[{x}] has {len(row)} numbers, {side}")
        record.check_entries(f"'surface'[{x}]", row, or_null(FINITE))
    values = np.array(rows, dtype=np.float64)  # NaN for None
    holes = np.isnan(values)
    if not task.startswith(FILE):
        own = own_modulus(task)
        if own not in (None, modulus):
            raise record.fail(f"'modulus' is {modulus}, expected {own} for the task {task}")
        if task in ON_NONZERO and not is_prime(modulus):
            raise record.fail(f"'modulus' is {modulus}, but the task {task} needs a prime one")
        expected = make_task(task, modulus).holes
        if (holes != (False if expected is None else expected)).any():
            where = "nowhere" if expected is None else "where there is no question, and only there"
            raise record.fail(f"'surface' has null in it, expected {where} for the task {task}")
    return Surface(neuron, modulus, values, epoch, task, holes if holes.any() else None)


def surfaces_of(
    task: Task, neurons: Sequence[int], values: NDArray[Any], epoch: int
) -> list[Surface]:
    """The surfaces of some neurons at an epoch, from their activations at every pair [p, p, n]."""
    masked = task.masked(values)
    return [
        Surface(neuron, task.p, masked[:, :, i], epoch, task.name, task.holes)
        for i, neuron in enumerate(neurons)
    ]
