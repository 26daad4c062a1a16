"""Synthetic folders of runs for the tests of the sweep: real file formats, invented curves."""

import math
from pathlib import Path
from typing import Any

from grokking.config import FIELDS, Config
from grokking.detection import detect
from grokking.files.history import History, write_history
from grokking.files.json_files import write_json


def write_run(
    sweep: Path,
    weight_decay: float,
    seed: int,
    grok_epoch: int | None,
    last_epoch: int = 10_000,
    every: int = 50,
    name: str | None = None,
    **config: Any,
) -> Path:
    """A finished run that memorised at 150 and crossed 90 % at grok_epoch (None: stays at chance)."""
    directory = sweep / (name or f"wd{weight_decay}_seed{seed}")
    directory.mkdir(parents=True)
    epochs = sorted({*range(0, last_epoch, every), last_epoch} | ({grok_epoch} - {None}))
    validation = [_validation(epoch, grok_epoch) for epoch in epochs]
    training = [0.01 if epoch < 150 else 1.0 for epoch in epochs]
    losses = [4.7 * math.exp(-epoch / 500) + 1e-7 for epoch in epochs]
    history = History(epochs, losses, [5.0 * (1.001 - v) for v in validation], training, validation)
    write_history(directory, history)
    values = {field: getattr(Config(), field) for field in FIELDS}
    values |= {"weight_decay": weight_decay, "seed": seed, "num_epochs": last_epoch, **config}
    write_json(
        directory / "config.json",
        {"schema_version": 1, "config": {name: {"value": v} for name, v in values.items()}},
    )
    phases = detect(epochs, training, validation)
    write_json(
        directory / "grokking.json",
        {
            "schema_version": 1,
            "memorization_epoch": phases.memorization_epoch,
            "generalization_epoch": phases.generalization_epoch,
            "grok_epoch": phases.grok_epoch,
            "grok_interval": phases.grok_interval,
            "grokked": phases.grokked,
            "delay": phases.delay,
            "final_training_accuracy": training[-1],
            "final_validation_accuracy": validation[-1],
            "seconds": last_epoch / 100,
            "epochs_per_second": 100.0,
        },
    )
    return directory


def _validation(epoch: int, grok_epoch: int | None) -> float:
    """A logistic rise that passes 90 % at grok_epoch exactly."""
    if grok_epoch is None:
        return 0.01
    if epoch >= grok_epoch:
        return 1 - 0.1 * math.exp((grok_epoch - epoch) / 200)
    return 0.01 + 0.88 * math.exp((epoch - grok_epoch) / 300)


def typical_sweep(sweep: Path) -> Path:
    """Nine runs as the experiment expects them: 2.0 early, 1.0 in time, 0.5 not by 10,000."""
    groks = {
        0.5: (None, None, 9_650),
        1.0: (6_900, 8_050, 9_300),
        2.0: (2_800, 3_150, 3_600),
    }
    for weight_decay, epochs in groks.items():
        for seed, grok_epoch in zip((42, 123, 456), epochs, strict=True):
            write_run(sweep, weight_decay, seed, grok_epoch)
    return sweep
