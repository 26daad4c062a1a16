"""Two runs, or two sweeps, that want one folder at once."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from grokking.commands.sweep import main as sweep
from grokking.files.run_files import read_grokking
from grokking.system.locks import is_locked
from tools.reliability.forked import TINY, Fork, forked_run, train
from tools.reliability.outcome import Outcome

_SWEEP = ("--weight-decays", "1.0", "--seeds", "42", "--jobs", "1", "--no-estimate", "--no-reports")
_LONG = TINY | {"GROK_NUM_EPOCHS": "1000", "GROK_CHECKPOINT_EVERY": "100"}  # some seconds


def runs(count: int, chance: random.Random, folder: Path) -> Outcome:
    """Two runs at once in one folder: one runs, one is refused; a killed holder blocks nobody."""
    result = Outcome()
    for round_number in range(count):
        directory = folder / f"race_{round_number}"
        result.tried += 1
        pair = [Fork(partial(train, directory), folder / "stderr") for _ in range(2)]
        ended = [child.wait() for child in pair]
        codes = sorted(end.code for end in ended)
        refusals = [end.errors for end in ended if end.code == 2]
        if codes != [0, 2] or not any(
            words in refusals[0] for words in ("is in use by another run", "already holds a run")
        ):
            result.broken.append(f"round {round_number}: exit codes {codes}, {refusals}")
        shutil.rmtree(directory)
        holder = Fork(partial(train, directory, GROK_NUM_EPOCHS="100000"), folder / "stderr")
        _wait_until((directory / "config.json").exists, holder)
        if forked_run(directory, GROK_RESUME="1", GROK_NUM_EPOCHS="100000").code != 2:
            result.broken.append(f"round {round_number}: a second run was let in")
        holder.signal(signal.SIGKILL)
        holder.wait()
        if forked_run(directory, GROK_OVERWRITE="1").code != 0:
            result.broken.append(f"round {round_number}: a dead holder blocks the folder")
        shutil.rmtree(directory)
    return result


def sweeps(count: int, chance: random.Random, folder: Path) -> Outcome:
    """A second sweep is refused while the first is at work; killed, the first blocks nobody."""
    result = Outcome()
    for round_number in range(count):
        directory = folder / f"sweep_{round_number}"
        run = directory / "wd1.0_seed42"
        result.tried += 1
        first = Fork(partial(_sweep, "--output", str(directory)), folder / "stderr")
        _wait_until(lambda: is_locked(directory), first)  # noqa: B023
        time.sleep(chance.uniform(0, 1))
        second = Fork(partial(_sweep, "--resume", str(directory)), folder / "stderr").wait()
        if second.code != 2 or "is in use by another sweep" not in second.errors:
            result.broken.append(f"round {round_number}: let in, {second}")
        _wait_until((run / "checkpoint_latest.pt").exists, first)
        first.signal(signal.SIGKILL)
        first.wait()
        third = Fork(partial(_sweep, "--resume", str(directory)), folder / "stderr").wait()
        if third.code != 0:
            result.broken.append(f"round {round_number}: a dead holder blocks, {third}")
        elif read_grokking(run)["final_epoch"] != int(_LONG["GROK_NUM_EPOCHS"]):
            result.broken.append(f"round {round_number}: resumed to another end")
        shutil.rmtree(directory)
    return result


def _wait_until(reached: Callable[[], bool], child: Fork) -> None:
    """Wait for what a child is to do; AssertionError if it has ended, or takes minutes."""
    deadline = time.monotonic() + 180
    while not reached():
        assert not child.has_ended(), "ended before it was waited for"
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def _sweep(*where: str) -> int:
    os.environ.update(_LONG)
    return sweep([*_SWEEP, *where] if where[0] == "--output" else ["--no-reports", *where])
