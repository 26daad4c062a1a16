"""One run from its configuration to its last file: claim the folder, train, export, say what happened."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from grokking.config import Config, Loaded, as_record, as_text, command_line, task_of
from grokking.detection import DETECTION_RULE, DIVERGED, LATENESS, THRESHOLD, Detection, detect
from grokking.files import measures, names, trajectory
from grokking.files.branches import Branch, check_begun, command_to_resume, read_branch
from grokking.files.continuation import (
    ELSEWHERE,
    check_in_use,
    check_reached,
    check_same_experiment,
    check_trained_here,
    finished_run,
    missing_neurons,
)
from grokking.files.folder import check_free, claimed, clear, forget_report, forget_results
from grokking.files.history import History
from grokking.files.json_files import write_json
from grokking.files.run_files import FinishedRun, read_config, read_starts, read_task
from grokking.files.surfaces import Surface, surfaces_of, write_surface
from grokking.files.table_copy import write_copy
from grokking.kernels.backend import Backend
from grokking.kernels.choice import choose_backend, choose_device
from grokking.pictures.branch_sentences import branch_told
from grokking.pictures.experiment import Experiment
from grokking.pictures.introduction import run_described
from grokking.pictures.pages.run import write_run_pages
from grokking.schema import VERSION
from grokking.system.durations import clock
from grokking.system.environment import choose_threads, denormals_as_zero, device_name, versions
from grokking.system.errors import Diverged, RunError, UserError
from grokking.system.signals import StopRequest
from grokking.task import Task
from grokking.training.engine import Engine, choose_engine
from grokking.training.loop import Watcher, train
from grokking.training.recorder import Recorder, newest_checkpoint
from grokking.training.state import TrainingState, from_record, new_state, weights_of

log = getLogger(__name__)


class Ended(NamedTuple):
    """How a call of `run` ended: the exit code, and what there is to say of it."""

    exit_code: int
    message: str


def train_run(loaded: Loaded, watching: Callable[[int, int], Watcher], stop: StopRequest) -> Ended:
    """Train, or continue, the run that the Config describes, until its end or a request to stop.

    `watching` makes what is shown every epoch, from (first epoch, last epoch).
    """
    config, directory = loaded.config, Path(loaded.config.artifacts_dir)
    machine = choose_machine(config)
    torch.set_num_threads(machine.backend.torch_threads)
    with claimed(directory):
        if config.overwrite:
            clear(directory)
        elif not config.resume:
            check_free(directory)
        else:
            finished = look_at(directory, config)
            if finished is not None:
                return about_finished(finished, config)
        state = open_state(loaded, directory, machine)
        engine = choose_engine(state.task, state.split, machine.device, machine.backend)
        log.info(start_line(config, state.task, machine))
        recorder, watcher = Recorder(state, directory), watching(state.epoch, config.num_epochs)
        try:
            with denormals_as_zero():
                train(state, engine, recorder, watcher, stop)
        except Diverged:
            export_diverged(state, recorder, directory)
            raise
        finally:
            watcher.close()
        if stop.number is not None:
            again = command_to_resume(directory) or command_line(
                loaded.chosen | {"resume": True, "overwrite": None}
            )
            where = f"saved at epoch {state.epoch}; continue with: {again}"
            return Ended(stop.exit_code, f"{stop.name}: {where}")
        return Ended(0, export(state, engine, recorder, directory))


# --- before training -------------------------------------------------------------------------


class Machine(NamedTuple):
    """What a run is computed with."""

    device: torch.device
    backend: Backend

    def described(self) -> dict[str, Any]:
        """As each start of config.json tells it."""
        return {
            "versions": versions(),
            "device": str(self.device),
            "device_name": device_name(self.device),
            "threads": self.backend.threads,
            "kernel": self.backend.name,
            "kernel_reason": self.backend.reason,
        }


def choose_machine(config: Config) -> Machine:
    """The device, kernel and threads of GROK_DEVICE, GROK_KERNEL and GROK_THREADS on this machine."""
    device = choose_device(config.device)
    return Machine(device, choose_backend(config.kernel, device, choose_threads(config.threads)))


def look_at(directory: Path, config: Config) -> FinishedRun | None:
    """The run in the folder if there is nothing left to do for it; UserError if it is another one."""
    if (directory / names.CONFIG).exists():
        check_trained_here(directory)
        check_same_experiment(directory, read_config(directory), config)
    try:
        finished = finished_run(directory, config)
    except UserError:
        return None  # a damaged file is written again from the checkpoint
    if finished is None or finished.grokking["outcome"] == DIVERGED:
        return finished
    check_reached(directory, finished.history.epochs[-1], config)
    return None if missing_neurons(directory, config) else finished


def about_finished(finished: FinishedRun, config: Config) -> Ended:
    """What became of a run that has nothing left to do."""
    result, directory = finished.grokking, finished.directory
    last = finished.history.epochs[-1]
    if result["outcome"] == DIVERGED:
        words = f"{directory} holds this run, which diverged at epoch {last}; nothing to do"
        return Ended(Diverged.exit_code, words)
    lines = [f"{directory} holds this run, finished; nothing to do", *outcome_lines(result)]
    if last < config.num_epochs:
        lines.append(
            f"it ended at epoch {last} by GROK_STOP_AFTER_GROK={config.stop_after_grok}; without that "
            f"it goes on to epoch {config.num_epochs}"
        )
    return Ended(0, "\n".join(lines))


def open_state(loaded: Loaded, directory: Path, machine: Machine) -> TrainingState:
    """The newest intact checkpoint in the folder, or epoch 0; config.json then tells of this start."""
    config, task = loaded.config, task_of(loaded.config)
    check_begun(directory)
    record, fault = newest_checkpoint(directory)
    if fault:
        log.warning(f"{fault}; continuing from the one before")
    if record is None:
        if (directory / names.RESULT).exists():
            raise UserError(
                f"{directory} holds a finished run without the checkpoint that it would go on from; "
                f"set GROK_OVERWRITE=1 to train it again, or {ELSEWHERE}"
            )
        clear(directory)  # what was cut off before its first checkpoint
        describe_run(loaded, task, directory, machine, epoch=0)
        return new_state(config, machine.device, task)
    check_same_experiment(directory, record["config"], config)
    check_reached(directory, record["epoch"], config)
    inexact = check_in_use(directory, machine.described(), config)
    task = (
        read_task(directory) if task.table else task
    )  # by the name that its table had at the start
    state = from_record(record, config, machine.device, task)
    measures.forget_after(directory, state.epoch)
    trajectory.forget_after(directory, state.epoch)
    describe_run(loaded, task, directory, machine, state.epoch, inexact)
    log.info(opening(directory, state))
    return state


def opening(directory: Path, state: TrainingState) -> str:
    """What a run goes on from: its own checkpoint, or as a branch from its fork."""
    branch = read_branch(directory)
    if branch is not None and state.epoch == branch.at:
        return branch_told(branch)
    return f"resuming {directory} at epoch {state.epoch}"


def describe_run(
    loaded: Loaded,
    task: Task,
    directory: Path,
    machine: Machine,
    epoch: int,
    inexact: bool = False,
) -> None:
    """Write config.json: every setting, and on what each start and resume of the run was computed."""
    settings, earlier, branch = as_record(loaded.config), [], None
    if (directory / names.CONFIG).exists():
        earlier, branch = read_starts(directory), read_branch(directory)
        if task.table:  # the same one, whatever its file is called by now
            settings["task"] = read_config(directory)["task"]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    start = {"epoch": epoch, "time": now, "inexact": inexact, **machine.described()}
    starts = [*earlier, start]
    if task.table:
        write_copy(directory, task.table)
    content = config_record(settings, loaded.sources, starts, branch)
    write_json(directory / names.CONFIG, {**content, **machine.described()})


def config_record(
    settings: Mapping[str, Any],
    sources: Mapping[str, str],
    starts: Sequence[Mapping[str, Any]],
    branch: Branch | None,
) -> dict[str, Any]:
    """The content of config.json: the settings, where each came from, and every start."""
    fields = {
        name: {"value": value, "source": sources[name], "variable": f"GROK_{name.upper()}"}
        for name, value in settings.items()
    }
    content = {"schema_version": VERSION, "config": fields, "starts": starts}
    return content if branch is None else {**content, "branch": branch._asdict()}


def start_line(config: Config, task: Task, machine: Machine) -> str:
    """What runs, on what, and why."""
    return (
        f"training: {task.words}, weight decay {config.weight_decay:g}, seed {config.seed}, "
        f"{config.num_epochs} epochs, into {config.artifacts_dir}\n"
        f"device: {machine.device} ({device_name(machine.device)}); kernel: {machine.backend}"
    )


def resolved(config: Config) -> dict[str, str]:
    """What the settings that are left to the program come to on this machine, in words."""
    machine = choose_machine(config)
    return {
        "device": f"{machine.device} ({device_name(machine.device)})",
        "kernel": str(machine.backend),
        "threads": str(machine.backend.threads),
        "neurons": as_text(config.exported_neurons) or "none",
    }


# --- after training --------------------------------------------------------------------------


def export(state: TrainingState, engine: Engine, recorder: Recorder, directory: Path) -> str:
    """Write the last label, surfaces, pictures and, last of all, grokking.json; the summary."""
    history = state.history
    phases = detect(history.epochs, history.training_accuracies, history.validation_accuracies)
    if phases.grok_epoch is not None and phases.grok_epoch in state.kept:
        recorder.save_grokked(phases.grok_epoch)
    recorder.save_label("final", state.epoch, weights_of(state.model))
    neurons = state.config.exported_neurons
    values = engine.surfaces(state.model, neurons).numpy()
    surfaces = export_surfaces(directory, state.task, neurons, values, state.epoch)
    forget_report(directory, state.epoch)
    result = grokking_record(history, phases, state.seconds)
    write_run_pages(
        directory, described(directory, state, result), history, result, surfaces, state.task
    )
    write_json(directory / names.RESULT, result)
    return summary(result, directory, len(surfaces))


def export_diverged(state: TrainingState, recorder: Recorder, directory: Path) -> None:
    """Write what a run leaves whose loss is not finite: curves, and grokking.json last of all."""
    history = state.history
    phases = detect(
        history.epochs, history.training_accuracies, history.validation_accuracies, diverged=True
    )
    if phases.grok_epoch is not None and phases.grok_epoch in state.kept:
        recorder.save_grokked(phases.grok_epoch)
    forget_results(directory)
    result = grokking_record(history, phases, state.seconds)
    write_run_pages(directory, described(directory, state, result), history, result, [], state.task)
    write_json(directory / names.RESULT, result)


def described(directory: Path, state: TrainingState, result: dict[str, Any]) -> Experiment:
    """The run in words; RunError where it cannot read the config.json that it has written itself."""
    try:
        return run_described(directory, state.epoch, state.history, result)
    except UserError as error:
        raise RunError(str(error)) from error


def export_surfaces(
    directory: Path, task: Task, neurons: Sequence[int], values: NDArray[np.float32], epoch: int
) -> list[Surface]:
    """Write the surfaces [p, p, n] of some neurons at the run's last epoch."""
    surfaces = surfaces_of(task, neurons, values, epoch)
    for surface in surfaces:
        write_surface(directory, surface)
    return surfaces


def grokking_record(
    history: History, phases: Detection, seconds: float | None = None
) -> dict[str, Any]:
    """The content of grokking.json; `seconds` of training, where it was here."""
    epoch = history.epochs[-1]
    return {
        "schema_version": VERSION,
        **asdict(phases),
        "threshold": THRESHOLD,
        "rule": DETECTION_RULE,
        "final_epoch": epoch,
        "final_training_accuracy": history.training_accuracies[-1],
        "final_validation_accuracy": history.validation_accuracies[-1],
        "seconds": seconds,
        "epochs_per_second": epoch / seconds if seconds else None,
    }


def outcome_lines(result: dict[str, Any]) -> list[str]:
    """What became of a run, by its grokking.json."""
    memorized, generalized = result["memorization_epoch"], result["generalization_epoch"]
    lines = [] if memorized is None else [f"Memorised at epoch {memorized}"]
    if result["grok_epoch"] is not None:
        lines.append(f"Grokking detected at epoch {result['grok_epoch']}")
    elif generalized is not None:
        lines.append(
            f"Grokking not detected: generalised at epoch {generalized}, {not_late(memorized)}"
        )
    else:
        lines.append("Grokking not detected")
    if result["collapse_epoch"] is not None:
        lines.append(f"Collapsed at epoch {result['collapse_epoch']}: it no longer generalises")
    return lines


def not_late(memorized: int | None) -> str:
    """Why a generalisation is ordinary learning and no grokking."""
    if memorized is None:
        return "without having memorised"
    return f"before {LATENESS} times the epoch of memorising: ordinary learning"


def summary(result: dict[str, Any], directory: Path, surfaces: int) -> str:
    """What the run did and where to look, for a person."""
    speed = result["epochs_per_second"]
    lines = [
        *outcome_lines(result),
        f"final accuracy: training {result['final_training_accuracy']:.2%}, "
        f"validation {result['final_validation_accuracy']:.2%} at epoch {result['final_epoch']}",
        f"{clock(result['seconds'])} of training" + (f", {speed:.1f} epochs/s" if speed else ""),
        f"{surfaces} surfaces in {directory}; open {directory / names.PICTURES / names.INDEX}",
    ]
    return "\n".join(lines)
