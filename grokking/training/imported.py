"""Weights that were trained elsewhere: evaluated here, and written as the folder of a finished run."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from grokking.analysis.hindsight import Examined, examine
from grokking.config import IDENTITY, Config, as_record, from_values, task_of
from grokking.detection import detect_between
from grokking.files import names, trajectory
from grokking.files.checkpoint import save_checkpoint
from grokking.files.folder import clear
from grokking.files.foreign import Foreign
from grokking.files.history import History, write_history
from grokking.files.json_files import finite_or_none, write_json
from grokking.files.run_files import UNKNOWN
from grokking.pictures.experiment import Experiment
from grokking.pictures.introduction import run_described
from grokking.pictures.pages.run import write_run_pages
from grokking.schema import VERSION
from grokking.system.errors import UserError
from grokking.training.run import Machine, export_surfaces, grokking_record

# The settings that weights tell by their sizes, and by what they are said to compute.
KNOWN = ("task", "modulus", "d_model", "num_heads", "d_mlp")


class Imported(NamedTuple):
    """Evaluated weights, ready to be written."""

    foreign: Foreign
    config: Config  # true of KNOWN alone
    history: History
    last: Examined


def evaluate(
    foreign: Foreign, machine: Machine, shown: Callable[[Iterable[int]], Iterable[int]]
) -> Imported:
    """Evaluate every state on all pairs; `shown` passes the epochs on, and may show how far it is.

    UserError for sizes that no run of ours can have, and for a loss that is not finite.
    """
    config, history = _config_of(foreign), History([], [], [], [], [])
    task = task_of(config)
    for epoch in shown(foreign.states):
        state = examine(_checkpoint(foreign, epoch, config), task, machine.backend)
        if not np.isfinite(state.losses).all():
            raise UserError(
                f"{foreign.path}: the loss of its weights at epoch {epoch} is not finite"
            )
        history.epochs.append(epoch)
        history.training_losses.append(finite_or_none(state.training_loss))
        history.validation_losses.append(state.validation_loss)
        history.training_accuracies.append(finite_or_none(state.training_accuracy))
        history.validation_accuracies.append(state.validation_accuracy)
    return Imported(foreign, config, history, state)


def _config_of(foreign: Foreign) -> Config:
    weights = next(iter(foreign.states.values()))
    d_model, d_mlp = weights["W_in"].shape
    sizes = {"d_model": d_model, "num_heads": len(weights["W_Q"]), "d_mlp": d_mlp}
    try:
        modulus = len(weights["W_E"]) - 1
        return from_values({"task": foreign.task, "modulus": modulus, **sizes}).config
    except UserError as error:
        raise UserError(f"{foreign.path}: {error}") from error


def _checkpoint(foreign: Foreign, epoch: int, config: Config) -> dict[str, Any]:
    """As a run saves them; without training pairs where the split is not known."""
    settings, pairs = as_record(config), foreign.train_pairs
    return {
        "epoch": epoch,
        "config": {name: settings[name] if name in KNOWN else None for name in IDENTITY},
        "model": foreign.states[epoch],
        "train_pairs": torch.tensor([], dtype=torch.int64) if pairs is None else pairs,
    }


def write_imported(imported: Imported, directory: Path, machine: Machine) -> Experiment:
    """Write the folder, in the place of a run that is there; grokking.json is the last file.

    Returns what the pages say of it.
    """
    foreign, config, history, last = imported
    clear(directory)
    write_json(directory / names.CONFIG, _config_record(foreign, config, machine))
    for epoch in foreign.states:
        trajectory.record(directory, epoch, _checkpoint(foreign, epoch, config), thinned=False)
    final = names.labeled_path(directory, "final")
    final.parent.mkdir(exist_ok=True)
    save_checkpoint(final, _checkpoint(foreign, last.epoch, config))
    write_history(directory, history)
    neurons = config.exported_neurons
    surfaces = export_surfaces(directory, last.task, neurons, last.surfaces(neurons), last.epoch)
    accuracies = (history.training_accuracies, history.validation_accuracies)
    result = grokking_record(history, detect_between(history.epochs, *accuracies))
    described = run_described(directory, last.epoch, history, result)
    write_run_pages(directory, described, history, result, surfaces, last.task)
    write_json(directory / names.RESULT, result)
    return described


def _config_record(foreign: Foreign, config: Config, machine: Machine) -> dict[str, Any]:
    """The content of config.json: a setting that is not known is null, and says so."""
    fields = {
        name: {"value": value, "source": "weights"} if name in KNOWN else UNKNOWN
        for name, value in as_record(config).items()
    }
    pairs = foreign.train_pairs
    told = {
        "file": foreign.path.name,
        "form": foreign.form,
        "training_pairs": None if pairs is None else len(pairs),
        "changes": foreign.changes,
    }
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    start = {"epoch": min(foreign.states), "time": now, **machine.described()}
    return {"schema_version": VERSION, "config": fields, "imported": told, "starts": [start]}
