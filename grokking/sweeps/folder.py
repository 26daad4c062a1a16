"""The folder of a sweep, read: which runs it holds, and which could not be read and why.

What a run is comes from its config.json, never from its folder's name. Folders that
cannot be read are listed with their fault, not dropped in silence.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from grokking.config import IDENTITY, UNUSED, split_seed_of
from grokking.detection import DIVERGED, GENERALISED, delay
from grokking.files import names
from grokking.files.branches import CHANGED_FIELDS, CLAMP, Branch, read_branch
from grokking.files.run_files import FinishedRun, read_run
from grokking.files.table_copy import read_copy
from grokking.laws import FILE, own_modulus
from grokking.schema import is_finite
from grokking.sweeps.axis import AXIS, Axis, value_words, words
from grokking.sweeps.plan import RESERVED, Plan, read_plan, read_sessions
from grokking.sweeps.records import Condition, Fault, RunRecord, Sweep
from grokking.system.errors import UserError

# What makes two runs the same experiment, but for the seeds; of a branch, too, where it forked and its clamp.
FORKED, ORIGIN = "forked_at", "forked_from"
OF_BRANCHES = (FORKED, ORIGIN, CLAMP)
EXPERIMENT = (*(name for name in IDENTITY if name not in ("seed", "split_seed")), *OF_BRANCHES)
NAMED = 3  # runs that a warning names one by one; those beyond are counted


def read_sweep(directory: Path, fields: Sequence[str] = (), names_of: Iterable[str] = ()) -> Sweep:
    """Read every run in a sweep's folder; UserError if not a single one can be read.

    The axes are those of its plan, or `fields`, and whatever else the runs differ in. `names_of`: the
    folders to read, if not all.
    """
    wanted = set(names_of)
    folders = [path for path in _run_folders(directory) if not wanted or path.name in wanted]
    plan, plan_faults = _planned(directory)
    fields = fields or ([axis.field for axis in plan.axes] if plan else [])
    read: dict[str, FinishedRun] = {}
    tables: dict[str, str] = {}  # digest -> what its table is called here
    changed: dict[str, None] = {}  # by the branches among them, in order
    faults = []
    for folder in folders:
        try:
            run = read_run(folder)
            if run.imported is not None:
                raise UserError("holds imported weights, whose settings are not known")
            for name in _not_its_own(run.config):
                del run.config[name]
            if run.config["task"].startswith(FILE):  # what it is called says nothing of it
                digest = read_copy(folder).digest
                label = f"{value_words(run.config['task'])} (sha256 {digest[:12]})"
                run.config["task"] = tables.setdefault(digest, label)
            branch = read_branch(folder)
            if branch is not None:
                origin = _origin(run.config, branch)
                run.config.update({FORKED: branch.at, ORIGIN: origin, CLAMP: branch.clamp})
                changed.update(dict.fromkeys(branch.changes))
            read[folder.name] = run
        except UserError as error:
            faults.append(Fault(folder.name, str(error).removeprefix(f"{folder}/")))
    faults += plan_faults or _missing(plan, {folder.name for folder in folders})
    if not read:
        raise UserError(_nothing_read(directory, faults))
    duplicates = _duplicates(read)
    faults += [
        Fault(name, f"repeats {kept}; counted once", repeats=True)
        for name, kept in duplicates.items()
    ]
    kept = {name: run for name, run in read.items() if name not in duplicates}
    axes, warnings = _axes([*fields, *_varied(changed, kept.values())], list(kept.values()))
    return Sweep(
        directory,
        axes,
        [_record(name, run, axes, directory / name) for name, run in kept.items()],
        faults,
        [*warnings, *_odd_ends(kept)],
        {name: run.history for name, run in kept.items()},
        _conditions(kept.values()),
        _sessions(directory),
    )


def _run_folders(directory: Path) -> list[Path]:
    if not directory.is_dir():
        raise UserError(f"{directory}: no such folder, expected the folder of a sweep")
    if (directory / names.CONFIG).exists():
        raise UserError(f"{directory} holds a single run, expected the folder of a sweep above it")
    try:
        inside = [path for path in directory.iterdir() if path.is_dir()]
    except OSError as error:
        raise UserError(f"{directory}: cannot be read: {error.strerror}") from error
    return sorted(p for p in inside if p.name not in RESERVED and not p.name.startswith("."))


def _planned(directory: Path) -> tuple[Plan | None, list[Fault]]:
    """The plan in the folder, if there is a sound one, and what is wrong with it."""
    if not (directory / names.PLAN).exists():
        return None, []
    try:
        return read_plan(directory), []
    except UserError as error:
        fault = str(error).removeprefix(f"{directory / names.PLAN}: ")
        return None, [Fault(names.PLAN, fault)]


def _missing(plan: Plan | None, present: set[str]) -> list[Fault]:
    """Runs that the sweep's plan has and its folder has not; a folder without a plan misses nothing."""
    planned = {run.name for run in plan.runs()} if plan else set()
    return [
        Fault(name, "planned, but there is no such folder") for name in sorted(planned - present)
    ]


def _axes(fields: Sequence[str], runs: Sequence[FinishedRun]) -> tuple[tuple[Axis, ...], list[str]]:
    """What the runs vary in, and a warning for each setting in which they differ unplanned."""
    differing = {
        name: _distinct(run.config.get(name) for run in runs if _has(run, name))
        for name in EXPERIMENT
    }
    found = [name for name, values in differing.items() if len(values) > 1 and name not in fields]
    unplanned = [name for name in found if fields or name != AXIS.field]
    warnings = [
        f"the runs differ in {name} ({', '.join(sorted(map(str, differing[name])))}): not one experiment"
        for name in unplanned
    ]
    chosen = [*fields, *found] or [AXIS.field]
    axes = [Axis(name, _distinct(run.config.get(name) for run in runs)) for name in chosen]
    return tuple(axes), warnings


def _has(run: FinishedRun, name: str) -> bool:
    """Is that a setting of the run, or one that only branches have?"""
    return name in run.config or name in OF_BRANCHES


def _not_its_own(config: Mapping[str, Any]) -> list[str]:
    """The settings that a run's others decide: a table's modulus, betas of an optimiser without them."""
    own = ["modulus"] if config["task"].startswith(FILE) or own_modulus(config["task"]) else []
    return [*own, *UNUSED.get(config["optimizer"], ())]


def _origin(config: Mapping[str, Any], branch: Branch) -> str:
    """Under which settings the run went that a branch forks from, as far as a branch may change them."""
    before = {name: branch.before.get(name, config.get(name)) for name in CHANGED_FIELDS}
    before.pop("num_epochs")
    held = branch.before.get(CLAMP, branch.clamp if CLAMP not in branch.changes else None)
    told = [f"{words(name)} {value}" for name, value in before.items()]
    told += [f"norm held at {held:g}"] if held is not None else []
    return ", ".join([*told, *([] if branch.exact else ["inexact"])])


def _varied(changed: Iterable[str], branches: Iterable[FinishedRun]) -> list[str]:
    """Of the changes that branches make, those in which they differ: what their folder is about."""
    configs = [run.config for run in branches]
    return [
        name
        for name in changed
        if name in EXPERIMENT and len({config.get(name) for config in configs}) > 1
    ]


def _distinct(values: Iterable[Any]) -> tuple[Any, ...]:
    """Each value once, numbers before others, ascending; None last."""
    return tuple(sorted(dict.fromkeys(values), key=_order))


def _order(value: Any) -> tuple[int, Any, str]:
    number = is_finite(value)
    return (0 if number else 1 if value is not None else 2), value if number else 0, str(value)


def _nothing_read(directory: Path, faults: Sequence[Fault]) -> str:
    if not faults:
        return f"{directory} holds no runs, expected folders such as wd1.0_seed42"
    first = faults[0]
    return (
        f"{directory}: none of {len(faults)} runs could be read; the first, {first.directory}: "
        f"{first.fault}"
    )


def _duplicates(runs: dict[str, FinishedRun]) -> dict[str, str]:
    """Folder -> the folder it repeats: same experiment and seeds. The longest stays."""
    kept: dict[tuple[Any, ...], str] = {}
    repeats = {}
    for name in sorted(runs, key=lambda n: (-runs[n].history.epochs[-1], n)):
        config = runs[name].config
        fields = ["seed", *EXPERIMENT]
        same = (split_seed_of(config), *(config.get(field) for field in fields))
        if kept.setdefault(same, name) != name:
            repeats[name] = kept[same]
    return repeats


def _odd_ends(runs: dict[str, FinishedRun]) -> list[str]:
    """Runs that ended otherwise than by memorising, waiting and grokking, or not."""
    at_once, diverged, collapsed = [], [], []
    for name, run in runs.items():
        result = run.grokking
        generalized, last = result["generalization_epoch"], run.history.epochs[-1]
        if result["outcome"] == GENERALISED:
            at_once.append(
                f"{name} generalised at once (epoch {generalized:,}), which is not grokking"
            )
        if result["outcome"] == DIVERGED:
            diverged.append(f"{name} diverged at epoch {last:,}")
        if result["collapse_epoch"] is not None:
            collapsed.append(
                f"{name} lost its generalisation at epoch {result['collapse_epoch']:,}"
            )
    kinds = {"generalised at once": at_once, "diverged": diverged, "lost it again": collapsed}
    return [line for kind, lines in kinds.items() for line in _shortened(kind, lines)]


def _shortened(kind: str, lines: list[str]) -> list[str]:
    beyond = len(lines) - NAMED
    return lines if beyond <= 1 else [*lines[:NAMED], f"{beyond} more runs {kind}"]


def _conditions(runs: Iterable[FinishedRun]) -> list[Condition]:
    """The distinct conditions of the runs' starts and resumes, in words as config.json has them."""
    distinct: dict[Condition, None] = {}
    for run in runs:
        for start in run.starts:
            versions = start["versions"] or {}
            words = [start[key] for key in ("device_name", "kernel", "threads")]
            words += [versions.get(key) for key in ("torch", "python", "git_commit")]
            condition = Condition(*("unknown" if word is None else str(word) for word in words))
            distinct[condition] = None
    return list(distinct)


def _sessions(directory: Path) -> list[dict[str, Any]]:
    try:
        return read_sessions(directory)
    except UserError:
        return []  # no plan, or a damaged one, which _missing has reported


def _record(name: str, run: FinishedRun, axes: Sequence[Axis], folder: Path) -> RunRecord:
    config, result = run.config, run.grokking
    memorized, generalized = result["memorization_epoch"], result["generalization_epoch"]
    squares = _squares(folder, (memorized, generalized))
    return RunRecord(
        directory=name,
        weight_decay=float(config["weight_decay"]),
        seed=config["seed"],
        learning_rate=float(config["learning_rate"]),
        num_epochs=config["num_epochs"],
        last_epoch=run.history.epochs[-1],
        outcome=result["outcome"],
        collapse_epoch=result["collapse_epoch"],
        grokked=result["grokked"],
        grok_epoch=result["grok_epoch"],
        memorization_epoch=memorized,
        generalization_epoch=generalized,
        delay=delay(memorized, generalized),
        final_training_accuracy=result["final_training_accuracy"],
        final_validation_accuracy=result["final_validation_accuracy"],
        seconds=result["seconds"],
        epochs_per_second=result["epochs_per_second"],
        values={axis.field: config.get(axis.field) for axis in axes},
        forked_at=config.get(FORKED),
        squares_at_memorization=squares.get(memorized),
        squares_at_generalization=squares.get(generalized),
    )


def _squares(folder: Path, epochs: Sequence[int | None]) -> dict[int | None, float]:
    """V, the sum of all squared weights, at those of these epochs that the run has measured."""
    from grokking.files import measures

    try:
        rows = measures.read(folder)
    except UserError:
        return {}
    known = dict(zip(rows["epoch"].tolist(), rows["squares_total"].tolist(), strict=True))
    return {epoch: known[epoch] for epoch in epochs if epoch in known}
