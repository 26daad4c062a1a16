"""Folders of sweeps as somebody may have them: runs of every end, damaged in any file, and strangers."""

import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grokking.config import FIELDS, Config
from grokking.files import names
from grokking.files.history import History, write_history
from grokking.files.json_files import write_json
from grokking.sweeps.axis import AXIS
from grokking.sweeps.plan import Plan, write_plan
from tools.reliability.spoiling import FLIPPED, JSON_FILE, RUN_FILES

NAMES = ("copy of a run", "<b>&amp;", "-rf", "a\nb", "100%#?", "ü" * 100, "\udcff", "'\"`$(x)")
_DECAYS, _ODD_DECAYS = (0.5, 1.0, 2.0), (0.0, 1e-300, 1e300)
_FORGOTTEN = ("outcome", "collapse_epoch", "final_epoch", "delay")  # keys that older versions lack

_NO_PLAN = ("gone", "a folder", "a link to itself")  # instead of a damaged one


@dataclass
class Mixture:
    """What lies in a sweep's folder, by name."""

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)  # whole: what is known of them
    flipped: set[str] = field(default_factory=set)  # one bit is another, which may be noticed
    faulty: set[str] = field(default_factory=set)  # to be named, never counted


def mix(directory: Path, chance: random.Random) -> Mixture:
    """Fill the folder of a sweep at random."""
    directory.mkdir()
    mixture = Mixture()
    decays = chance.sample(_DECAYS, chance.randint(1, 3))
    decays += chance.sample(_ODD_DECAYS, chance.choice((0, 0, 0, 1)))
    plan = Plan(
        (AXIS.over(decays),), tuple(range(1, chance.randint(2, 5))), (10,) * len(decays), {}
    )
    for cell in plan.runs():
        _fill(directory / cell.name, cell.variables, mixture, chance)
    for name in chance.sample(NAMES, chance.randint(0, 3)):
        _add_extra(directory / name, mixture, chance)
    _add_plan(directory, plan, mixture, chance)
    return mixture


def _fill(folder: Path, variables: dict[str, str], mixture: Mixture, chance: random.Random) -> None:
    """The folder of a planned run: mostly with one in it, whole or not."""
    state = chance.choice(
        ("whole",) * 6 + ("damaged",) * 4 + ("flipped", "unfinished", "empty", "closed")
    )
    if chance.random() < 0.1:
        return  # not begun
    folder.mkdir()
    if state == "empty":
        mixture.faulty.add(folder.name)
        return
    known = _write_run(folder, variables, chance)
    if state == "whole":
        mixture.runs[folder.name] = known
        _add_what_nobody_reads(folder, chance)
    elif state == "closed":
        mixture.faulty.add(folder.name)
        folder.chmod(0)
    elif state == "flipped":
        mixture.flipped.add(folder.name)
        FLIPPED(folder / chance.choice(list(RUN_FILES)), chance)
    else:
        mixture.faulty.add(folder.name)
        name = chance.choice(list(RUN_FILES)) if state == "damaged" else "grokking.json"
        how = chance.choice(list(RUN_FILES[name])) if state == "damaged" else "gone"
        RUN_FILES[name][how](folder / name, chance)


def _write_run(folder: Path, variables: dict[str, str], chance: random.Random) -> dict[str, Any]:
    """A finished run that ends somehow; returns what a summary must tell of it."""
    every, probes = chance.choice((1, 50, 100, 700)), chance.randint(1, 30)
    epochs = list(range(0, every * probes, every))
    settings = {
        "weight_decay": float(variables["GROK_WEIGHT_DECAY"]),
        "seed": int(variables["GROK_SEED"]),
        "learning_rate": chance.choice((1e-3,) * 9 + (3e-3,)),
        "train_fraction": chance.choice((0.3,) * 9 + (0.4,)),
        "num_epochs": chance.choice((max(1, epochs[-1]), 10_000, 20_000)),
    }
    if chance.random() < 0.1:
        settings["seed"] = 1  # so that it is what another may be
    result = _end(epochs, chance)
    write_history(folder, _curves(epochs, result))
    config = {field: {"value": getattr(Config(), field)} for field in FIELDS}
    config |= {name: {"value": value} for name, value in settings.items()}
    config.pop(chance.choice([name for name in FIELDS if name not in settings]))  # an older file
    kinds: list[dict[str, Any]] = [
        {},
        {"starts": [{"kernel": "torch", "threads": 1}]},
        {"starts": []},
    ]
    starts = chance.choice(kinds)
    write_json(folder / "config.json", {"schema_version": 1, "config": config, **starts})
    told = {key: value for key, value in result.items() if key != "delay"}
    if result["outcome"] != "diverged" and result["collapse_epoch"] is None:
        for key in chance.sample(_FORGOTTEN, chance.randint(0, len(_FORGOTTEN))):
            told.pop(key, None)
    write_json(folder / "grokking.json", {"schema_version": 1, **told})
    return {**settings, **result, "last_epoch": epochs[-1]}


def _end(epochs: list[int], chance: random.Random) -> dict[str, Any]:
    """Any order of memorising, generalising and collapsing, or none; it may diverge besides."""
    memorized, generalized = chance.choice([None, *epochs]), chance.choice([None, *epochs])
    later = [epoch for epoch in epochs if generalized is not None and epoch > generalized]
    late = memorized is not None and generalized is not None and generalized >= 3 * memorized
    delay = None
    if memorized is not None and generalized is not None and generalized >= memorized:
        delay = generalized - memorized
    if chance.random() < 0.1:
        outcome = "diverged"
    elif generalized is not None:
        outcome = "grokked" if late else "generalised"
    else:
        outcome = "learning" if memorized is None else "memorised"
    return {
        "outcome": outcome,
        "memorization_epoch": memorized,
        "generalization_epoch": generalized,
        "grok_epoch": generalized if late else None,
        "grokked": late,
        "collapse_epoch": chance.choice([*later, None, None]),
        "delay": delay,
        "final_training_accuracy": chance.choice((None, 0.0, 1.0, chance.random())),
        "final_validation_accuracy": chance.choice((None, 0.0, 1.0, chance.random())),
        "seconds": chance.choice((None, 0, 1e-9, 1e9, 100 * chance.random())),
        "epochs_per_second": chance.choice((None, 0, 1e300, 100 * chance.random())),
    }


def _curves(epochs: list[int], result: dict[str, Any]) -> History:
    """Accuracies that jump where the run did something, and losses with gaps."""
    memorized, generalized = result["memorization_epoch"], result["generalization_epoch"]
    collapse = result["collapse_epoch"]
    losses: list[float | None] = [4.7 * 0.99**epoch for epoch in epochs]
    if result["outcome"] == "diverged":
        losses[-1] = None
    training = [0.2 if memorized is None or epoch < memorized else 1.0 for epoch in epochs]
    validation = [
        0.01
        if generalized is None
        or epoch < generalized
        or (collapse is not None and epoch >= collapse)
        else 1.0
        for epoch in epochs
    ]
    return History(epochs, losses, losses[::-1], [*training], [*validation])


def _add_what_nobody_reads(folder: Path, chance: random.Random) -> None:
    """Files and folders of a run that no statistics come from, in whatever state."""
    pages = folder / "visualizations"
    pages.mkdir()
    (pages / "index.html").touch()
    for name in ("report_card.json", "measures.npy", "activation_surface_neuron_0.json"):
        (folder / name).write_bytes(chance.choice((b"", b"{", b"[NaN]")))
    pages.chmod(chance.choice((0o755, 0)))
    (folder / "report.html").symlink_to("report.html")


def _add_extra(folder: Path, mixture: Mixture, chance: random.Random) -> None:
    """Something that no plan has: a copy of a run or a link to it, or what belongs to somebody else."""
    whole = sorted(mixture.runs)
    kind = chance.choice(("copy", "link", "stranger", "file", "hidden", "no target"))
    if kind in ("copy", "link") and whole:
        source = folder.with_name(chance.choice(whole))
        mixture.runs[folder.name] = mixture.runs[source.name]
        if kind == "link":
            folder.symlink_to(source.name, target_is_directory=True)
        else:
            ignored = shutil.ignore_patterns("visualizations", "report.html")
            shutil.copytree(source, folder, ignore=ignored)
    elif kind == "file":
        folder.write_text("{}")
    elif kind == "no target":
        folder.symlink_to("nowhere")
    elif kind == "hidden":
        folder.with_name(f".{folder.name[:50]}").mkdir()
    else:
        mixture.faulty.add(folder.name)
        folder.mkdir()
        for name in chance.sample(("config.json", "README.md", "grokking.json"), 2):
            (folder / name).write_text(chance.choice(("{}", "", "# Notes", '{"config": {}}')))


def _add_plan(directory: Path, plan: Plan, mixture: Mixture, chance: random.Random) -> None:
    """Mostly the plan, under which runs are missed; or none, or a damaged one."""
    state = chance.choice(("whole", "whole", "none", "damaged"))
    if state == "none":
        return
    write_plan(directory, plan)
    if state == "damaged":
        mixture.faulty.add(names.PLAN)
        how = chance.choice([how for how in JSON_FILE if how not in _NO_PLAN])
        JSON_FILE[how](directory / names.PLAN, chance)
    else:
        mixture.faulty |= {run.name for run in plan.runs() if not (directory / run.name).is_dir()}
