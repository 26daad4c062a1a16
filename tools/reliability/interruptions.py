"""Runs that are killed, signalled, cut at every epoch, refused the disk, or diverge."""

import errno
import os
import random
import shutil
import signal
import time
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch

from grokking.files.checkpoint import load_checkpoint
from grokking.files.history import read_history
from grokking.kernels.compiled import implementations
from grokking.system.errors import UserError
from grokking.training import run
from grokking.training.engine import TrainingStep
from tools.reliability.forked import (
    TINY,
    Fork,
    differences,
    forked_run,
    outcome,
    timed_run,
    train,
    unreadable,
)
from tools.reliability.outcome import Outcome
from tools.reliability.tampering import (
    ERRORS,
    at_epoch,
    at_file_operation,
    die,
    fail_with,
    operations,
    signalling,
)

EPOCHS = int(TINY["GROK_NUM_EPOCHS"])


def kills(count: int, chance: random.Random, folder: Path) -> Outcome:
    """SIGKILL at random moments and around every kind of file operation; resumed each time.

    Only a run that died counts: one that was done first is put away, and the next one begun.
    """
    result = Outcome()
    took = timed_run(folder / "reference")
    expected = outcome(folder / "reference")
    last = operations(lambda: train(folder / "counted"), folder, within_writes=True)
    number = 0
    while result.tried < count:
        directory = folder / f"run_{number}"
        number += 1
        reached, killed = -1, True
        while killed and result.tried < count:
            where, killed = _kill_once(directory, took, last, chance)
            result.tried += killed
            result.broken += [f"{where}: {fault}" for fault in unreadable(directory)]
            newest = _newest_epoch(directory)
            if newest < reached:
                result.broken.append(f"{where}: epoch {reached} was safe, now {newest}")
            reached = max(reached, newest)
        ended = forked_run(directory, GROK_RESUME="1")
        if ended.code != 0:
            result.broken.append(f"{directory.name} does not resume: {ended.errors}")
        else:
            different = differences(outcome(directory), expected)
            result.broken += [f"{directory.name} ends with another {name}" for name in different]
        shutil.rmtree(directory)
    return result


def _kill_once(directory: Path, took: float, last: int, chance: random.Random) -> tuple[str, bool]:
    """Continue the run and kill it: (when, whether it was still alive then)."""
    if chance.random() < 0.5:
        delay = chance.uniform(0, took)
        child = Fork(lambda: train(directory, GROK_RESUME="1"), directory.parent / "stderr")
        time.sleep(delay)
        child.signal(signal.SIGKILL)
        return f"killed after {delay:.3f} s", child.wait().code == -signal.SIGKILL
    number, after = chance.randint(1, last), chance.random() < 0.5
    ended = forked_run(
        directory,
        lambda: at_file_operation(number, die, after, within_writes=True),
        GROK_RESUME="1",
    )
    where = f"killed {'after' if after else 'before'} file operation {number}"
    return where, ended.code == -signal.SIGKILL


def _newest_epoch(directory: Path) -> int:
    """Of the checkpoints a resumed run could start from; -1 if there is none."""
    epochs = [-1]
    for path in directory.glob("checkpoint_*.pt"):
        try:
            epochs.append(load_checkpoint(path)["epoch"])
        except UserError:
            continue
    return max(epochs)


def cuts(count: int, chance: random.Random, folder: Path) -> Outcome:
    """Stopped at every epoch (twice in a row) and while exporting, with each kernel."""
    result = Outcome()
    for kernel in ("torch", *implementations()):
        if kernel == "cuda":
            continue
        reference = folder / f"reference_{kernel}"
        assert forked_run(reference, GROK_KERNEL=kernel).code == 0
        expected = outcome(reference)
        places = list(range(EPOCHS)) if count >= EPOCHS else chance.sample(range(EPOCHS), count)
        for epoch in places:
            directory = folder / f"{kernel}_{epoch}"
            result.tried += 1
            stops = [
                forked_run(
                    directory,
                    partial(at_epoch, at, signalling(signal.SIGTERM)),
                    GROK_RESUME="1",
                    GROK_KERNEL=kernel,
                ).code
                for at in (epoch, 1)
            ]
            if any(code != 128 + signal.SIGTERM for code in stops):
                result.broken.append(f"{kernel}, epoch {epoch}: exit codes {stops}")
            if epoch % 2 == 0:  # every other run is also killed while it exports
                last = forked_run(directory, _die_exporting, GROK_RESUME="1", GROK_KERNEL=kernel)
                if last.code != -signal.SIGKILL:
                    result.broken.append(f"{kernel}, exporting: exit code {last.code}")
            ended = forked_run(directory, GROK_RESUME="1", GROK_KERNEL=kernel)
            different = differences(outcome(directory), expected)
            if ended.code != 0 or different:
                result.broken.append(f"{kernel}, cut at {epoch}: {different} {ended.errors}")
            shutil.rmtree(directory)
    return result


def _die_exporting() -> None:
    patch.object(run, "write_run_pages", lambda *_: die()).start()


def faults(count: int, chance: random.Random, folder: Path) -> Outcome:
    """ENOSPC, EACCES, EROFS and EIO at the n-th file operation; then the disk recovers."""
    result = Outcome()
    timed_run(folder / "reference")
    expected = outcome(folder / "reference")
    last = operations(lambda: train(folder / "counted"), folder)
    places = [(number, error) for number in range(1, last + 1) for error in ERRORS]
    for number, error in places if count >= len(places) else chance.sample(places, count):
        directory = folder / f"fault_{number}_{error}"
        result.tried += 1
        where = f"{errno.errorcode[error]} at file operation {number}"
        ended = forked_run(directory, partial(at_file_operation, number, fail_with(error)))
        lines = [line for line in ended.errors.splitlines() if line.startswith("error: ")]
        if ended.code == 0:  # it can do without this one, such as asking for the processor's name
            different = differences(outcome(directory), expected)
            result.broken += [f"{where}: went on to another {name}" for name in different]
        elif ended.code != 1 or len(lines) != 1 or "Traceback" in ended.errors:
            result.broken.append(f"{where}: exit code {ended.code}, {ended.errors!r}")
        result.broken += [f"{where}: {fault}" for fault in unreadable(directory)]
        left = [path.name for path in directory.rglob("*.tmp")] if directory.exists() else []
        result.broken += [f"{where}: left {name}" for name in left]
        ended = forked_run(directory, GROK_RESUME="1")
        different = differences(outcome(directory), expected) if ended.code == 0 else ["nothing"]
        if different:
            result.broken.append(f"{where}: resumed to another {different} {ended.errors}")
        shutil.rmtree(directory, ignore_errors=True)
    return result


def signals(count: int, chance: random.Random, folder: Path) -> Outcome:
    """SIGINT, SIGTERM or SIGHUP at a random epoch; a second signal; a signal ignored at start."""
    result = Outcome()
    timed_run(folder / "reference")
    expected = outcome(folder / "reference")
    for _ in range(count):
        number = chance.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        epoch, kind = chance.randrange(EPOCHS), chance.choice(("one", "one", "two", "ignored"))
        directory = folder / f"run_{result.tried}"
        result.tried += 1
        where = f"{kind} {signal.Signals(number).name} at epoch {epoch}"

        def before(number: int = number, epoch: int = epoch, kind: str = kind) -> None:
            if kind == "ignored":
                signal.signal(number, signal.SIG_IGN)

            def act(step: TrainingStep) -> TrainingStep:
                for _ in range(2 if kind == "two" else 1):
                    os.kill(os.getpid(), number)
                return step

            at_epoch(epoch, act)

        ended = forked_run(directory, before)
        wanted = 0 if kind == "ignored" else 128 + number
        told = kind != "one" or "GROK_RESUME=1" in ended.errors
        saved = kind != "one" or _newest_epoch(directory) == epoch
        if ended.code != wanted or not told or not saved:
            result.broken.append(f"{where}: exit code {ended.code}, {ended.errors!r}")
        if forked_run(directory, GROK_RESUME="1").code != 0 or differences(
            outcome(directory), expected
        ):
            result.broken.append(f"{where}: resumed to another end")
        shutil.rmtree(directory)
    return result


def divergence(count: int, chance: random.Random, folder: Path) -> Outcome:
    """NaN in the weights at each epoch from 1 on: reported there, histories strict JSON."""
    result = Outcome()
    for epoch in range(1, count + 1):
        directory = folder / f"nan_{epoch}"
        result.tried += 1

        def plant(epoch: int = epoch) -> None:
            def act(step: TrainingStep) -> TrainingStep:
                return step._replace(loss=step.loss * torch.tensor(float("nan")))

            at_epoch(epoch - 1, act)  # the step from there makes every weight NaN

        ended = forked_run(directory, plant, GROK_NUM_EPOCHS="60")
        wrong = unreadable(directory)
        epochs = read_history(directory).epochs
        if ended.code != 1 or f"epoch {epoch}" not in ended.errors or wrong or epochs[-1] != epoch:
            result.broken.append(
                f"NaN at epoch {epoch}: exit code {ended.code}, {ended.errors!r}, last probe "
                f"{epochs[-1]}, {wrong}"
            )
        shutil.rmtree(directory)
    return result
