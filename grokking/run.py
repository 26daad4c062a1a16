"""One run from its configuration to its last file: claim the folder, train, export, say what happened."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from grokking import trajectory
from grokking.analysis import measures
from grokking.artifacts import (
    SCHEMA_VERSION,
    Surface,
    read_config,
    read_grokking,
    write_json,
    write_surface,
)
from grokking.checkpoint import labeled_path
from grokking.config import FIELDS, Config, Loaded, identity
from grokking.detection import RULE, THRESHOLD, Phases, detect
from grokking.durations import clock
from grokking.engine import Engine, choose_engine
from grokking.environment import (
    choose_device,
    choose_threads,
    denormals_as_zero,
    device_name,
    set_torch_threads,
    versions,
)
from grokking.errors import UserError
from grokking.extension import CUDA, Kernel, choose_kernel
from grokking.first_use import kernel_on_gpu
from grokking.pictures.run_pages import write_run_pages
from grokking.progress import Progress
from grokking.recorder import Recorder, newest_checkpoint
from grokking.run_folder import REPORT_FILES, check_free, claimed, clear
from grokking.signals import graceful
from grokking.state import TrainingState, from_record, new_state, weights_of
from grokking.train import train


def run(loaded: Loaded) -> int:
    """Train, or continue, the run that the Config describes. Returns the exit code."""
    config, directory = loaded.config, Path(loaded.config.artifacts_dir)
    device, threads = choose_device(config), choose_threads(config)
    kernel = kernel_for(config, device, threads)
    set_torch_threads(kernel)
    with claimed(directory):
        if config.overwrite:
            clear(directory)
        elif not config.resume:
            check_free(directory)
        elif is_finished(directory, config):
            return report_finished(directory)
        state = open_state(directory, config, device)
        engine = choose_engine(config.modulus, state.split, device, kernel)
        describe_run(loaded, directory, device, kernel)
        print(start_line(config, device, kernel), flush=True)
        return train_and_export(state, engine, directory)


def train_and_export(state: TrainingState, engine: Engine, directory: Path) -> int:
    recorder = Recorder(state, directory)
    progress = Progress(state.epoch, state.config.num_epochs)
    with graceful() as stop:
        try:
            with denormals_as_zero():
                train(state, engine, recorder, progress, stop)
        finally:
            progress.close()
        if stop.number is not None:
            print(
                f"{stop.name}: saved at epoch {state.epoch}; continue with the same variables and "
                f"GROK_RESUME=1{' instead of GROK_OVERWRITE=1' if state.config.overwrite else ''}",
                file=sys.stderr,
            )
            return stop.exit_code
        export(state, engine, recorder, directory)
    return 0


# --- before training -------------------------------------------------------------------------


def is_finished(directory: Path, config: Config) -> bool:
    """Is this very run complete in the folder? UserError if the folder holds another one."""
    if (directory / "config.json").exists():
        check_same_run(directory, read_config(directory), config)
    if not (directory / "grokking.json").exists():
        return False
    return bool(read_config(directory)["num_epochs"] == config.num_epochs)


def check_same_run(directory: Path, old: dict[str, Any], config: Config) -> None:
    """A resumed run must compute what the old one did; only more epochs may be asked for."""
    new = identity(config)
    for name, value in new.items():
        longer = name == "num_epochs" and name in old and value >= old[name]
        if not longer and old.get(name) != value:
            raise UserError(
                f"GROK_{name.upper()} is {value}, but the run in {directory} has {old.get(name)}; resume "
                "with its own value, or choose another folder with GROK_ARTIFACTS_DIR"
            )


def report_finished(directory: Path) -> int:
    result = read_grokking(directory)
    print(f"{directory} holds this run, finished; nothing to do")
    print(detection_line(result["grok_epoch"]))
    return 0


def open_state(directory: Path, config: Config, device: torch.device) -> TrainingState:
    """The newest intact checkpoint in the folder, or epoch 0."""
    record, fault = newest_checkpoint(directory)
    if fault:
        print(f"{fault}; continuing from the one before", file=sys.stderr)
    if record is None:
        if (directory / "grokking.json").exists():
            raise UserError(
                f"{directory} holds a finished run without the checkpoint that it would go on from; "
                "set GROK_OVERWRITE=1 to train it again, or choose another folder with GROK_ARTIFACTS_DIR"
            )
        clear(directory)  # what was cut off before its first checkpoint
        return new_state(config, device)
    check_same_run(directory, record["config"], config)
    state = from_record(record, config, device)
    measures.forget_after(directory, state.epoch)
    trajectory.forget_after(directory, state.epoch)
    for stale in ("grokking.json", "checkpoint_labeled/final.pt", *REPORT_FILES):
        (directory / stale).unlink(missing_ok=True)  # the run is going on
    if state.watch.confirmed is None:
        labeled_path(directory, "grokked").unlink(missing_ok=True)
    print(f"resuming {directory} at epoch {state.epoch}")
    return state


def kernel_for(config: Config, device: torch.device, threads: int) -> Kernel:
    """The kernel of GROK_KERNEL on this device."""
    if device.type == "cuda" and config.kernel != "torch":
        return kernel_on_gpu(config.kernel, device, threads)
    if config.kernel == CUDA:
        seen = torch.cuda.is_available()
        advice = "set GROK_DEVICE=cuda" if seen else f"torch {torch.__version__} sees no GPU"
        raise UserError(f"GROK_KERNEL is {CUDA}, but the device is {device}; {advice}")
    return choose_kernel(config.kernel, threads)


def describe_run(loaded: Loaded, directory: Path, device: torch.device, kernel: Kernel) -> None:
    """Write config.json."""
    values = {**asdict(loaded.config), **identity(loaded.config)}
    record = {
        "schema_version": SCHEMA_VERSION,
        "config": {
            name: {
                "value": values[name],
                "source": loaded.sources[name],
                "variable": f"GROK_{name.upper()}",
            }
            for name in FIELDS
        },
        "versions": versions(),
        "device": str(device),
        "device_name": device_name(device),
        "threads": kernel.threads,
        "kernel": kernel.name or "torch",
        "kernel_reason": kernel.reason,
    }
    write_json(directory / "config.json", record)


def start_line(config: Config, device: torch.device, kernel: Kernel) -> str:
    """What runs, on what, and why."""
    return (
        f"training: modulus {config.modulus}, weight decay {config.weight_decay:g}, seed {config.seed}, "
        f"{config.num_epochs} epochs, into {config.artifacts_dir}\n"
        f"device: {device} ({device_name(device)}); kernel: {kernel}"
    )


# --- after training --------------------------------------------------------------------------


def export(state: TrainingState, engine: Engine, recorder: Recorder, directory: Path) -> None:
    """Write the last label, surfaces, pictures and, last of all, grokking.json; print the summary."""
    history = state.history
    phases = detect(history.epochs, history.training_accuracies, history.validation_accuracies)
    if phases.grok_epoch in state.kept:
        recorder.save_grokked(phases.grok_epoch)
    recorder.save_label("final", state.epoch, weights_of(state.model))
    neurons = state.config.exported_neurons
    values = engine.surfaces(state.model, neurons).numpy()
    surfaces = [
        Surface(neuron, state.config.modulus, values[:, :, i], state.epoch)
        for i, neuron in enumerate(neurons)
    ]
    for surface in surfaces:
        write_surface(directory, surface)
    result = grokking_record(state, phases)
    write_run_pages(directory, history, result, surfaces)
    write_json(directory / "grokking.json", result)
    print(summary(result, directory, len(surfaces)))


def grokking_record(state: TrainingState, phases: Phases) -> dict[str, Any]:
    """The content of grokking.json."""
    return {
        "schema_version": SCHEMA_VERSION,
        **asdict(phases),
        "threshold": THRESHOLD,
        "rule": RULE,
        "final_epoch": state.epoch,
        "final_training_accuracy": state.history.training_accuracies[-1],
        "final_validation_accuracy": state.history.validation_accuracies[-1],
        "seconds": state.seconds,
        "epochs_per_second": state.epoch / state.seconds if state.seconds > 0 else None,
    }


def detection_line(grok_epoch: int | None) -> str:
    if grok_epoch is None:
        return "Grokking not detected"
    return f"Grokking detected at epoch {grok_epoch}"


def summary(result: dict[str, Any], directory: Path, surfaces: int) -> str:
    """What the run did and where to look, for a person."""
    memorized = result["memorization_epoch"]
    speed = result["epochs_per_second"]
    lines = [
        "" if memorized is None else f"Memorised at epoch {memorized}",
        detection_line(result["grok_epoch"]),
        f"final accuracy: training {result['final_training_accuracy']:.2%}, "
        f"validation {result['final_validation_accuracy']:.2%} at epoch {result['final_epoch']}",
        f"{clock(result['seconds'])} of training" + (f", {speed:.1f} epochs/s" if speed else ""),
        f"{surfaces} surfaces in {directory}; open {directory / 'visualizations' / 'index.html'}",
    ]
    return "\n".join(line for line in lines if line)
