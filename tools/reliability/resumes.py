"""Sweeps of tiny runs that are resumed, whatever has become of their runs."""

import random
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from grokking.files import names
from grokking.files.json_files import read_json
from grokking.sweeps.axis import AXIS
from grokking.sweeps.plan import Plan, PlannedRun, write_plan
from tools.reliability.forked import differences, forked_run, outcome, unreadable
from tools.reliability.outcome import Outcome
from tools.reliability.small_sweeps import DIVERGING, EPOCHS, SETTINGS, forked_sweep
from tools.reliability.spoiling import ANY_FILE, FLIPPED, JSON_FILE, RUN_FILES, remove
from tools.reliability.tampering import at_epoch, at_file_operation, die, operations, signalling

DECAYS, SEEDS, STOPS = (0.5, 1.0, DIVERGING), (1, 2), (1, 8, 20)
CHECKPOINTS = ("checkpoint_latest.pt", "checkpoint_previous.pt")
TOLD = (names.OUTPUT, names.FAILURE)  # of what a run printed, and why it failed
NOT_THERE = ("gone", "a link to itself")  # as if there were no such file
IN_THE_WAY = ("a folder", "a pipe", "not permitted")  # what a run can neither read nor replace
Bytes = dict[str, tuple[bytes, int]]  # of every file of a folder, with its time


class Templates(NamedTuple):
    """The runs of a plan by name, as they are after some epochs and when they have finished."""

    finished: dict[str, Path]
    stopped: dict[str, list[Path]]
    outcomes: dict[str, dict[str, Any]]
    operations: int  # on the disk, of a whole run


@dataclass
class State:
    """What a resumed sweep must make of a folder."""

    kept: bool = False  # not a byte of it changes, but for what it tells
    aside: bool = False  # it goes to damaged/ as it is, and the run begins anew
    refused: bool = False  # its run fails, and says why
    uncertain: bool = False  # any of that: what one flipped bit does


def sweep_resumes(count: int, chance: random.Random, folder: Path) -> Outcome:
    """Resumed, every planned run ends as it should; resumed again, nothing is left to do."""
    result = Outcome()
    templates = _templates(folder)
    for _ in range(count):
        seed = chance.getrandbits(32)
        result.tried += 1
        faults = _resume(folder / f"sweep_{seed}", templates, random.Random(seed))
        result.broken += [f"seed {seed}: {fault}" for fault in faults]
        remove(folder / f"sweep_{seed}")
    return result


def _templates(folder: Path) -> Templates:
    finished, stopped, outcomes = folder / "finished", {}, {}
    plan = Plan((AXIS.over(DECAYS),), SEEDS, (EPOCHS,) * len(DECAYS), SETTINGS)
    finished.mkdir(parents=True)
    write_plan(finished, plan)
    ended, told = forked_sweep("--resume", finished, folder=folder)
    assert ended.code == 1 and "diverged" in told, (ended, told)
    for run in plan.runs():
        outcomes[run.name] = outcome(finished / run.name)
        directories = [folder / f"{run.name}_{epoch}" for epoch in STOPS]
        for epoch, directory in zip(STOPS, directories, strict=True):
            stop = signalling(signal.SIGTERM)
            forked_run(directory, lambda: at_epoch(epoch, stop), **run.variables)  # noqa: B023
        stopped[run.name] = [d for d in directories if not (d / "grokking.json").exists()]
    variables = plan.runs()[0].variables
    made = operations(lambda: forked_run(folder / "counted", **variables).code, folder)
    return Templates({n: finished / n for n in outcomes}, stopped, outcomes, made)


def _resume(directory: Path, templates: Templates, chance: random.Random) -> Iterator[str]:
    """What is wrong with two resumes of a mixture."""
    decays = tuple(chance.sample(DECAYS, 2))
    plan = Plan((AXIS.over(decays),), SEEDS, (EPOCHS, EPOCHS), SETTINGS)
    directory.mkdir()
    write_plan(directory, plan)
    states = {r.name: _prepare(directory / r.name, r, templates, chance) for r in plan.runs()}
    stranger = chance.random() < 0.2
    if stranger:
        (directory / "notes").mkdir()
        (directory / "notes" / "config.json").write_text("{}")
    before = {name: _bytes(directory / name) for name in states}
    if chance.random() < 0.1:
        yield from _without_a_plan(directory, chance)
        return
    refused = any(state.refused for state in states.values())
    wrong = DIVERGING in decays or refused or stranger
    uncertain = any(state.uncertain for state in states.values())
    codes = (1,) if wrong else (0, 1) if uncertain else (0,)
    ended, told = forked_sweep("--resume", directory, folder=directory.parent)
    if ended.code not in codes or ended.errors:
        yield f"exit code {ended.code}, expected {codes}: {ended.errors} {told[-400:]}"
        return
    yield from _unaccounted(directory, states)
    for name, state in states.items():
        faults = _of_one(directory, name, state, before[name], told, templates.outcomes[name])
        yield from (f"{name}, {state}: {fault}" for fault in faults)
    if refused or uncertain:
        return
    before = {name: _bytes(directory / name) for name in states}
    ended, told = forked_sweep("--resume", directory, folder=directory.parent)
    if ended.code != int(wrong) or f"0 runs ({len(states)} finished before" not in told:
        yield f"something was left to do: {ended} {told[-1000:]}"
    yield from (
        f"{name} changed when nothing was left to do"
        for name, content in before.items()
        if _bytes(directory / name) != content
    )


def _prepare(folder: Path, run: PlannedRun, templates: Templates, chance: random.Random) -> State:
    """Put a run into the folder in some state, and say what must come of it."""
    kinds = [_whole, _whole, _begun, _spoilt_result, _spoilt_result, _spoilt_on_the_way]
    kinds += [_killed, _flipped, _in_the_way]
    if float(run.variables["GROK_WEIGHT_DECAY"]) != DIVERGING:  # whose checkpoints nothing reads
        kinds.append(_spoilt_checkpoints)
    return chance.choice(kinds)(folder, run, templates, chance)


def _whole(folder: Path, run: PlannedRun, templates: Templates, chance: random.Random) -> State:
    shutil.copytree(templates.finished[run.name], folder)
    return State(kept=True)


def _begun(folder: Path, run: PlannedRun, templates: Templates, chance: random.Random) -> State:
    """Not there, an empty folder, or stopped at an epoch."""
    source = chance.choice([None, "", *templates.stopped[run.name]])
    if source == "":
        folder.mkdir()
    elif source is not None:
        shutil.copytree(source, folder)
    return State()


def _spoilt_result(
    folder: Path, run: PlannedRun, templates: Templates, chance: random.Random
) -> State:
    """A finished run with one damaged file that its statistics come from."""
    _whole(folder, run, templates, chance)
    name = chance.choice(list(RUN_FILES))
    how = chance.choice(list(RUN_FILES[name]))
    RUN_FILES[name][how](folder / name, chance)
    return State(aside=not (name == "grokking.json" and how in NOT_THERE))


def _spoilt_on_the_way(
    folder: Path, run: PlannedRun, templates: Templates, chance: random.Random
) -> State:
    """A stopped run with another damaged file than its checkpoints."""
    shutil.copytree(chance.choice(templates.stopped[run.name]), folder)
    path = folder / chance.choice(("config.json", "measures.npy", "loss_history.json"))
    kinds = JSON_FILE if path.suffix == ".json" else ANY_FILE
    unwanted = {"config.json": (), "measures.npy": NOT_THERE, "loss_history.json": IN_THE_WAY[:1]}
    how = chance.choice([how for how in kinds if how not in unwanted[path.name]])
    whole = path.read_bytes()
    kinds[how](path, chance)
    read_back = path.name != "loss_history.json" and how not in NOT_THERE
    changed = how in IN_THE_WAY or not path.exists() or path.read_bytes() != whole
    return State(aside=read_back and changed)


def _spoilt_checkpoints(
    folder: Path, run: PlannedRun, templates: Templates, chance: random.Random
) -> State:
    """A stopped run, one or each of its checkpoints damaged: what is whole is gone on from."""
    shutil.copytree(chance.choice(templates.stopped[run.name]), folder)
    there = [folder / name for name in CHECKPOINTS if (folder / name).exists()]
    damaged = chance.sample(there, chance.randint(1, len(there)))
    for path in damaged:
        how = chance.choice(("cut", "foreign", "a list"))
        ANY_FILE[how](path, chance)
    return State(aside=len(damaged) == len(there))


def _killed(folder: Path, run: PlannedRun, templates: Templates, chance: random.Random) -> State:
    """A run that was killed at some operation on the disk."""
    number, elsewhere = chance.randint(1, templates.operations), folder.parents[1] / folder.name
    forked_run(elsewhere, lambda: at_file_operation(number, die), **run.variables)
    if elsewhere.exists():
        elsewhere.rename(folder)
    return State(kept=(folder / "grokking.json").exists())


def _flipped(folder: Path, run: PlannedRun, templates: Templates, chance: random.Random) -> State:
    _whole(folder, run, templates, chance)
    FLIPPED(folder / chance.choice(list(RUN_FILES)), chance)
    return State(uncertain=True)


def _in_the_way(
    folder: Path, run: PlannedRun, templates: Templates, chance: random.Random
) -> State:
    """A file of the folder's name, a folder without permission, or another run than the planned one."""
    kind = chance.choice(("a file", "closed", "another", "another"))
    if kind == "a file":
        folder.write_text("notes")
    elif kind == "closed":
        _whole(folder, run, templates, chance)
        folder.chmod(0)
    else:
        others = [name for name in templates.finished if name != run.name]
        sources = [path for name in others for path in templates.stopped[name]]
        sources += [templates.finished[name] for name in others] * len(STOPS)
        shutil.copytree(chance.choice(sources), folder)
    return State(kept=True, refused=True)


def _without_a_plan(directory: Path, chance: random.Random) -> Iterator[str]:
    """A sweep whose plan is damaged is refused, and nothing in its folder changes."""
    JSON_FILE[chance.choice(list(JSON_FILE))](directory / names.PLAN, chance)
    before = _bytes(directory)
    ended, _ = forked_sweep("--resume", directory, folder=directory.parent)
    if ended.code != 2 or ended.errors.count("\n") != 1:
        yield f"without a plan: {ended}"
    if _bytes(directory) != before:
        yield "without a plan something was changed"


def _unaccounted(directory: Path, states: dict[str, State]) -> Iterator[str]:
    """Planned runs that the summary does not count, though nothing stands in their way."""
    summary = read_json(directory / "analysis_summary.json")
    counted = {run["directory"] for run in summary["runs"]}
    counted |= {f["directory"] for f in summary["faults"] if f["fault"].startswith("repeats ")}
    yield from (
        f"{name}, {state}, was not counted"
        for name, state in states.items()
        if name not in counted and not (state.refused or state.uncertain)
    )
    aside = {path.name for path in (directory / "damaged").glob("*")}
    due = {name for name, state in states.items() if state.aside}
    perhaps = {name for name, state in states.items() if state.uncertain}
    if not due <= aside <= due | perhaps:
        yield f"in damaged/ are {aside}, expected {due}"


def _of_one(
    directory: Path,
    name: str,
    state: State,
    before: Bytes,
    told: str,
    expected: dict[str, Any],
) -> Iterator[str]:
    """What is wrong with one run after the resume."""
    if state.kept and _bytes(directory / name) != before:
        yield "changed"
    if state.aside:
        if _bytes(directory / "damaged" / name) != before:
            yield "changed on its way to damaged/"
        if f"{name} is damaged and runs again" not in told:
            yield "moved away without a word"
    if state.refused:
        if f"{name}  failed" not in told or name not in told.splitlines()[-1]:
            yield f"failed without a word: {told[-500:]}"
        return
    if not state.uncertain:
        broken = unreadable(directory / name)
        different = broken or differences(outcome(directory / name), expected)
        if name.startswith(f"wd{DIVERGING}"):  # it is no further than when it was last saved
            different = [path for path in different if not path.startswith("checkpoint_latest")]
        yield from (f"ended with another {path}" for path in different)


def _bytes(folder: Path) -> Bytes:
    """Every file with its time, but what a run told; of one's own, whatever it permits."""
    if folder.is_file():
        return {"": (folder.read_bytes(), folder.stat().st_mtime_ns)}
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in TOLD:
            found[path.relative_to(folder).as_posix()] = path.read_bytes(), path.stat().st_mtime_ns
    return found
