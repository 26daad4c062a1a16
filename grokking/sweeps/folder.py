"""The folder of a sweep, read: which runs it holds, and which could not be read and why.

What a run is comes from its config.json, never from its folder's name. Folders that
cannot be read are listed with their fault, not dropped in silence.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from grokking.config import FIELDS, split_seed_of
from grokking.detection import DIVERGED, GENERALISED, delay
from grokking.files import names
from grokking.files.run_files import FinishedRun, read_run
from grokking.files.table_copy import read_copy
from grokking.laws import FILE
from grokking.sweeps.axis import AXIS
from grokking.sweeps.plan import RESERVED, read_plan, read_sessions
from grokking.sweeps.records import Condition, Fault, RunRecord, Sweep
from grokking.system.errors import UserError

# What makes two runs the same experiment, beside the value of the axis and the seed.
EXPERIMENT = tuple(
    name for name, field in FIELDS.items() if field.metadata["strict"] and name != AXIS.field
)


def read_sweep(directory: Path) -> Sweep:
    """Read every run in a sweep's folder; UserError if not a single one can be read."""
    folders = _run_folders(directory)
    read: dict[str, FinishedRun] = {}
    faults = []
    for folder in folders:
        try:
            run = read_run(folder)
            if run.imported is not None:
                raise UserError("holds imported weights, whose settings are not known")
            if run.config["task"].startswith(FILE):  # what it is called says nothing of it
                run.config["task"] = f"a table of sha256 {read_copy(folder).digest[:12]}"
            read[folder.name] = run
        except UserError as error:
            faults.append(Fault(folder.name, str(error).removeprefix(f"{folder}/")))
    faults += _missing(directory, {folder.name for folder in folders})
    if not read:
        raise UserError(_nothing_read(directory, faults))
    duplicates = _duplicates(read)
    faults += [
        Fault(name, f"repeats {kept}; counted once", repeats=True)
        for name, kept in duplicates.items()
    ]
    kept = {name: run for name, run in read.items() if name not in duplicates}
    return Sweep(
        directory,
        AXIS,
        [_record(name, run) for name, run in kept.items()],
        faults,
        [*_warnings(kept.values()), *_odd_ends(kept)],
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


def _missing(directory: Path, present: set[str]) -> list[Fault]:
    """Runs that the sweep's plan has and its folder has not; a folder without a plan misses nothing."""
    if not (directory / names.PLAN).exists():
        return []
    try:
        planned = {run.name for run in read_plan(directory).runs()}
    except UserError as error:
        return [Fault(names.PLAN, str(error).removeprefix(f"{directory / names.PLAN}: "))]
    return [
        Fault(name, "planned, but there is no such folder") for name in sorted(planned - present)
    ]


def _nothing_read(directory: Path, faults: Sequence[Fault]) -> str:
    if not faults:
        return f"{directory} holds no runs, expected folders such as wd1.0_seed42"
    first = faults[0]
    return (
        f"{directory}: none of {len(faults)} runs could be read; the first, {first.directory}: "
        f"{first.fault}"
    )


def _duplicates(runs: dict[str, FinishedRun]) -> dict[str, str]:
    """Folder -> the folder it repeats: same experiment, value of the axis and seed. The longest stays."""
    kept: dict[tuple[Any, ...], str] = {}
    repeats = {}
    for name in sorted(runs, key=lambda n: (-runs[n].history.epochs[-1], n)):
        config = runs[name].config
        fields = [AXIS.field, "seed", *EXPERIMENT]
        same = (split_seed_of(config), *(config.get(field) for field in fields))
        if kept.setdefault(same, name) != name:
            repeats[name] = kept[same]
    return repeats


def _warnings(runs: Iterable[FinishedRun]) -> list[str]:
    """Runs that are not one experiment cannot be compared; say in what they differ."""
    warnings = []
    for field in EXPERIMENT:
        values = sorted({str(run.config.get(field)) for run in runs})
        if len(values) > 1:
            warnings.append(f"the runs differ in {field} ({', '.join(values)}): not one experiment")
    return warnings


def _odd_ends(runs: dict[str, FinishedRun]) -> list[str]:
    """Runs that ended otherwise than by memorising, waiting and grokking, or not."""
    lines = []
    for name, run in runs.items():
        result = run.grokking
        generalized, last = result["generalization_epoch"], run.history.epochs[-1]
        if result["outcome"] == GENERALISED:
            lines.append(
                f"{name} generalised at once (epoch {generalized:,}), which is not grokking"
            )
        if result["outcome"] == DIVERGED:
            lines.append(f"{name} diverged at epoch {last:,}")
        if result["collapse_epoch"] is not None:
            lines.append(f"{name} lost its generalisation at epoch {result['collapse_epoch']:,}")
    return lines


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


def _record(name: str, run: FinishedRun) -> RunRecord:
    config, result = run.config, run.grokking
    memorized, generalized = result["memorization_epoch"], result["generalization_epoch"]
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
    )
