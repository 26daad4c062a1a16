"""From a folder of runs to analysis_summary.json: per weight decay statistics and verdicts.

What a run is comes from its config.json, never from its folder's name. Folders that
cannot be read are listed with their fault, not dropped in silence.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from grokking.artifacts import SCHEMA_VERSION, History, Run, read_run, write_json
from grokking.errors import UserError
from grokking.survival import Observation, median_time, wilson_interval
from grokking.sweep_plan import PLAN_FILE, RESERVED, read_plan
from grokking.sweep_verdicts import Followed, Verdict, verdicts

SUMMARY_FILE = "analysis_summary.json"
# What makes two runs the same experiment, beside weight decay and seed.
EXPERIMENT = (
    "train_fraction learning_rate beta1 beta2 warmup_steps modulus d_model num_heads d_mlp".split()
)


@dataclass(frozen=True)
class RunRecord:
    """One run in the summary. Epochs are probed epochs; None: not reached or not finite."""

    directory: str
    weight_decay: float
    seed: int
    learning_rate: float
    num_epochs: int
    last_epoch: int
    grokked: bool
    grok_epoch: int | None
    memorization_epoch: int | None
    generalization_epoch: int | None
    delay: int | None
    final_training_accuracy: float | None
    final_validation_accuracy: float | None
    seconds: float | None
    epochs_per_second: float | None

    @property
    def followed(self) -> Followed:
        """Grokked at grok_epoch, or censored at the last epoch."""
        if self.grok_epoch is None:
            return Followed(Observation(self.last_epoch, False), self.last_epoch)
        return Followed(Observation(self.grok_epoch, True), max(self.num_epochs, self.last_epoch))


@dataclass(frozen=True)
class Fault:
    """A folder that is not in the statistics, and why."""

    directory: str
    fault: str


@dataclass(frozen=True)
class Sweep:
    """What a sweep's folder holds. `histories` is keyed by the records' directory."""

    directory: Path
    runs: list[RunRecord]
    faults: list[Fault]
    warnings: list[str]
    histories: dict[str, History]

    def by_weight_decay(self) -> dict[float, list[RunRecord]]:
        """Runs grouped by weight decay, ascending, each group by seed."""
        groups: dict[float, list[RunRecord]] = {}
        for run in sorted(self.runs, key=lambda r: (r.weight_decay, r.seed, r.directory)):
            groups.setdefault(run.weight_decay, []).append(run)
        return groups

    def verdicts(self) -> list[Verdict]:
        return verdicts({wd: [r.followed for r in g] for wd, g in self.by_weight_decay().items()})


# --- reading ---------------------------------------------------------------------------------


def read_sweep(directory: Path) -> Sweep:
    """Read every run in a sweep's folder; UserError if not a single one can be read."""
    folders = _run_folders(directory)
    read: dict[str, Run] = {}
    faults = []
    for folder in folders:
        try:
            run = read_run(folder)
            _check(run)
            read[folder.name] = run
        except UserError as error:
            faults.append(Fault(folder.name, str(error).removeprefix(f"{folder}/")))
    planned = _planned(directory) - {folder.name for folder in folders}
    faults += [Fault(name, "planned, but there is no such folder") for name in sorted(planned)]
    if not read:
        raise UserError(_nothing_read(directory, faults))
    duplicates = _duplicates(read)
    faults += [Fault(name, f"repeats {kept}; counted once") for name, kept in duplicates.items()]
    kept = {name: run for name, run in read.items() if name not in duplicates}
    return Sweep(
        directory,
        [_record(name, run) for name, run in kept.items()],
        faults,
        _warnings(kept.values()),
        {name: run.history for name, run in kept.items()},
    )


def _run_folders(directory: Path) -> list[Path]:
    if not directory.is_dir():
        raise UserError(f"{directory}: no such folder, expected the folder of a sweep")
    if (directory / "config.json").exists():
        raise UserError(f"{directory} holds a single run, expected the folder of a sweep above it")
    try:
        inside = [path for path in directory.iterdir() if path.is_dir()]
    except OSError as error:
        raise UserError(f"{directory}: cannot be read: {error.strerror}") from error
    return sorted(p for p in inside if p.name not in RESERVED and not p.name.startswith("."))


def _planned(directory: Path) -> set[str]:
    if not (directory / PLAN_FILE).exists():
        return set()
    return {run.name for run in read_plan(directory).runs()}


def _nothing_read(directory: Path, faults: Sequence[Fault]) -> str:
    if not faults:
        return f"{directory} holds no runs, expected folders such as wd1.0_seed42"
    first = faults[0]
    return (
        f"{directory}: none of {len(faults)} runs could be read; the first, {first.directory}: "
        f"{first.fault}"
    )


def _check(run: Run) -> None:
    """What the statistics need of a run, beyond what read_run has checked."""
    for field, kind in {"weight_decay": (int, float), "seed": int, "num_epochs": int}.items():
        value = run.config.get(field)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise UserError(f"config.json: '{field}' is {value!r}, expected a number")
    if not run.history.epochs:
        raise UserError("loss_history.json: 'epochs' is empty")
    last, grok_epoch = run.history.epochs[-1], run.grokking["grok_epoch"]
    if grok_epoch is not None and grok_epoch > last:
        raise UserError(f"grokking.json: 'grok_epoch' is {grok_epoch}, after the last epoch {last}")


def _duplicates(runs: dict[str, Run]) -> dict[str, str]:
    """Folder -> the folder it repeats: same experiment, weight decay and seed. The longest stays."""
    kept: dict[tuple[Any, ...], str] = {}
    repeats = {}
    for name in sorted(runs, key=lambda n: (-runs[n].history.epochs[-1], n)):
        config = runs[name].config
        same = tuple(config.get(field) for field in ["weight_decay", "seed", *EXPERIMENT])
        if kept.setdefault(same, name) != name:
            repeats[name] = kept[same]
    return repeats


def _warnings(runs: Iterable[Run]) -> list[str]:
    """Runs that are not one experiment cannot be compared; say in what they differ."""
    found = []
    for field in EXPERIMENT:
        values = sorted({str(run.config.get(field)) for run in runs})
        if len(values) > 1:
            found.append(f"the runs differ in {field} ({', '.join(values)}): not one experiment")
    return found


def _record(name: str, run: Run) -> RunRecord:
    config, result = run.config, run.grokking
    memorized, generalized = result["memorization_epoch"], result["generalization_epoch"]
    reached_both = memorized is not None and generalized is not None
    return RunRecord(
        directory=name,
        weight_decay=float(config["weight_decay"]),
        seed=config["seed"],
        learning_rate=config.get("learning_rate"),
        num_epochs=config["num_epochs"],
        last_epoch=run.history.epochs[-1],
        grokked=result["grokked"],
        grok_epoch=result["grok_epoch"],
        memorization_epoch=memorized,
        generalization_epoch=generalized,
        delay=generalized - memorized if reached_both else None,
        final_training_accuracy=result["final_training_accuracy"],
        final_validation_accuracy=result["final_validation_accuracy"],
        seconds=result["seconds"],
        epochs_per_second=result["epochs_per_second"],
    )


# --- summarising -----------------------------------------------------------------------------


def summarize(sweep: Sweep) -> dict[str, Any]:
    """Everything that analysis_summary.json holds."""
    return {
        "schema_version": SCHEMA_VERSION,
        "sweep": sweep.directory.resolve().name,
        "runs_read": len(sweep.runs),
        "runs_not_counted": len(sweep.faults),
        "weight_decays": [_summarize_group(wd, g) for wd, g in sweep.by_weight_decay().items()],
        "verdicts": [_verdict_record(verdict) for verdict in sweep.verdicts()],
        "runs": [asdict(run) for group in sweep.by_weight_decay().values() for run in group],
        "faults": [asdict(fault) for fault in sweep.faults],
        "warnings": sweep.warnings,
    }


def _summarize_group(weight_decay: float, runs: Sequence[RunRecord]) -> dict[str, Any]:
    grokked = sum(run.grokked for run in runs)
    return {
        "weight_decay": weight_decay,
        "runs": len(runs),
        "grokked": grokked,
        "success_rate": grokked / len(runs),
        "success_rate_interval_95": wilson_interval(grokked, len(runs)),
        "grok_epoch": _spread(run.grok_epoch for run in runs),
        "kaplan_meier_median_grok_epoch": median_time([run.followed.observation for run in runs]),
        "censored_at": sorted(run.last_epoch for run in runs if not run.grokked),
        "memorization_epoch": _spread(run.memorization_epoch for run in runs),
        "delay": _spread(run.delay for run in runs),
        "final_training_accuracy": _spread(run.final_training_accuracy for run in runs),
        "final_validation_accuracy": _spread(run.final_validation_accuracy for run in runs),
        "seconds": _spread(run.seconds for run in runs),
    }


def _spread(values: Iterable[float | None]) -> dict[str, float | int | None]:
    """Median, minimum and maximum of the values that exist, and how many those are."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return {"count": 0, "median": None, "min": None, "max": None}
    return {"count": len(known), "median": median(known), "min": known[0], "max": known[-1]}


def _verdict_record(verdict: Verdict) -> dict[str, Any]:
    tests, found = verdict.comparison, {}
    if tests is not None:
        found = {
            "permutation_p_one_sided": tests.permutation_p,
            "permutation_horizon": tests.horizon,
            "log_rank_chi2": tests.log_rank.chi2 if tests.log_rank else None,
            "log_rank_p_two_sided": tests.log_rank.p if tests.log_rank else None,
        }
    return {
        "hypothesis": verdict.hypothesis,
        "claim": verdict.claim,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        **found,
    }


def analyze(directory: Path) -> tuple[Sweep, dict[str, Any]]:
    """Read a sweep, write its analysis_summary.json, and return both."""
    sweep = read_sweep(directory)
    summary = summarize(sweep)
    write_json(directory / SUMMARY_FILE, summary)
    return sweep, summary
