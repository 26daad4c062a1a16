"""Command line of the sweep -> what is to be done, checked before anything is written."""

import argparse
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from grokking.commands.cli import Parser
from grokking.config import FIELDS, IDENTITY, IN_USE, VARIABLES, Config, variables
from grokking.laws import FILE, table_of
from grokking.schema import integer
from grokking.sweeps.axis import AXIS, Axis
from grokking.sweeps.plan import Plan, passed_through, read_plan
from grokking.system.errors import UserError

_DEFAULT_VALUES = " ".join(map(str, AXIS.values))
DEFAULT_SEEDS = "42 123 456"
QUICK_EPOCHS = "100"
MAX_RUNS = 10_000


def program() -> str:
    """What was typed to get here: the script, which passes its own name on, or the subcommand."""
    script = os.environ.get("SWEEP_PROGRAM")
    if script:
        return shlex.quote(script)
    return f"{'python -m ' if Path(sys.argv[0]).name == '__main__.py' else ''}grokking sweep"


def parser() -> argparse.ArgumentParser:
    """All options; the help text is the reference."""
    sweep = Parser(
        prog=program(),
        description=f"Train one run per {AXIS.name} and seed, then analyse and plot them. "
        "GROK_ variables other than the sweep's own reach every run.",
        epilog="exit codes: 0 done; 1 a run failed; 2 wrong input; 128+n signal n",
        allow_abbrev=False,
    )
    sweep.set_defaults(program=program())
    add = sweep.add_argument
    add(AXIS.option, dest="values", metavar="LIST", help=f"[{_DEFAULT_VALUES}]")
    add("--seeds", metavar="LIST", help=f"[{DEFAULT_SEEDS}]")
    add(
        "--epochs",
        metavar="N",
        help=f"one number, or one per {AXIS.name} [GROK_NUM_EPOCHS or 10000]; with --resume: "
        "more of them",
    )
    add("--quick", action="store_true", help=f"{QUICK_EPOCHS} epochs: a test of the machinery")
    add("--jobs", metavar="N", help="runs at a time [one per GPU, else one per core]")
    add(
        "--output",
        metavar="DIR",
        help=f"folder of the sweep [artifacts/sweep_{AXIS.field}_DATE_TIME]",
    )
    add(
        "--resume",
        metavar="DIR",
        help="go on with a sweep: finished runs are kept, others continued",
    )
    add(
        "--inexact",
        action="store_true",
        help="with --resume: go on also with another kernel, device or thread count, which is recorded",
    )
    add("--dry-run", action="store_true", help="print one command line per run and write nothing")
    add("--no-estimate", action="store_true", help="do not measure the expected time and disk use")
    add("--no-reports", action="store_true", help="write no report.html for each run at the end")
    slurm = sweep.add_argument_group("Slurm")
    add = slurm.add_argument
    add(
        "--slurm",
        action="store_true",
        help="submit the runs as a job array, then the analysis; with --resume: what is unfinished",
    )
    add("--slurm-partition", metavar="NAME", help="[SBATCH_PARTITION, or the cluster's default]")
    add(
        "--slurm-time", metavar="TIME", help="limit of one run [SBATCH_TIMELIMIT, or the cluster's]"
    )
    add("--slurm-gpus", metavar="N", help="GPUs of one run [SBATCH_GPUS, or none]")
    add("--slurm-throttle", metavar="N", help="runs at a time [as many as the cluster lets]")
    add(
        "--run",
        "--task",  # as jobs have it that were submitted by older versions
        dest="run",
        metavar="N",
        help="with --resume: only run number N of the sweep (a task of the array)",
    )
    return sweep


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options whose combination makes sense; UserError names the one that does not."""
    options = parser().parse_args(arguments)
    if options.resume is not None:
        if not options.resume.strip():
            raise UserError("--resume is empty, expected the folder of a sweep")
        clashing = {"values": AXIS.option, "seeds": "--seeds", "quick": "--quick"}
        clashing |= {"output": "--output", "dry_run": "--dry-run"}
        for name, option in clashing.items():
            if getattr(options, name) not in (None, False):
                raise UserError(
                    f"{option} does not go with --resume, which repeats the sweep as it was begun"
                )
    for name in ("run", "inexact"):
        if getattr(options, name) not in (None, False) and options.resume is None:
            raise UserError(f"--{name} needs --resume DIR")
    if options.slurm and options.run is not None:
        raise UserError("--run does not go with --slurm, whose tasks it is for")
    if options.quick and options.epochs:
        raise UserError("--quick and --epochs both set the epochs, expected at most one of them")
    options.jobs = None if options.jobs is None else _count("--jobs", options.jobs)
    options.run = None if options.run is None else _count("--run", options.run, low=0)
    throttle = options.slurm_throttle
    options.slurm_throttle = None if throttle is None else _count("--slurm-throttle", throttle)
    return options


def plan_from(options: argparse.Namespace) -> Plan:
    """The plan of a new sweep, or of the one that is resumed."""
    settings = passed_through(os.environ)
    if options.resume is not None:
        return continued(read_plan(Path(options.resume)), settings, options)
    for name in (AXIS.variable, "GROK_SEED", "GROK_RESUME", "GROK_OVERWRITE"):
        if os.environ.get(name):
            print(f"{name} is ignored: it belongs to the sweep, see --help", file=sys.stderr)
    axis = AXIS
    values = _values(axis.option, _default(options.values, _DEFAULT_VALUES), axis.field)
    seeds = _values("--seeds", _default(options.seeds, DEFAULT_SEEDS), "seed")
    if len(values) * len(seeds) > MAX_RUNS:
        raise UserError(f"{len(values)} x {len(seeds)} runs, expected at most {MAX_RUNS}")
    epochs = _epochs(options, axis, len(values))
    return Plan(axis.over(value + 0.0 for value in values), tuple(seeds), epochs, settings)


def continued(plan: Plan, settings: dict[str, str], options: argparse.Namespace) -> Plan:
    """The plan of a sweep that is resumed: what decides no weight so far may be set anew."""
    defaults = variables(Config())
    for variable, text in settings.items():
        field, begun = VARIABLES[variable], plan.environment.get(variable, defaults.get(variable))
        if text == begun or not (field in IDENTITY or field in IN_USE):
            continue
        if _is_same_table(text, begun):
            continue
        advice = "unset it to resume"
        if field in IN_USE:
            if options.inexact:
                continue
            advice += ", or give --inexact to go on all the same, which is recorded"
        raise UserError(
            f"{variable} is {text}, but it was {begun or 'unset'} when the sweep began; {advice}"
        )
    epochs = plan.epochs
    if options.epochs is not None or os.environ.get("GROK_NUM_EPOCHS"):
        epochs = _epochs(options, plan.axis, len(plan.axis.values))
    if any(now < before for now, before in zip(epochs, plan.epochs, strict=True)):
        raise UserError(
            f"a sweep of {', '.join(map(str, dict.fromkeys(plan.epochs)))} epochs cannot be resumed with "
            f"fewer ({', '.join(map(str, dict.fromkeys(epochs)))})"
        )
    of_the_sweep = {name: text for name, text in settings.items() if not text.startswith(FILE)}
    return replace(plan, environment=plan.environment | of_the_sweep, epochs=epochs)


def _is_same_table(text: str, begun: str | None) -> bool:
    """Do both name the table that the sweep began with, which lies in its folder?"""
    if not text.startswith(FILE) or begun is None or not begun.startswith(FILE):
        return False
    return table_of(text).digest == table_of(begun).digest


def wanted_directory(options: argparse.Namespace) -> Path:
    """--output, or a folder named after the present second below GROK_ARTIFACTS_DIR (artifacts)."""
    if options.output is not None:
        return _new_directory(options.output)
    parent = Path(os.environ.get("GROK_ARTIFACTS_DIR") or Config.artifacts_dir)
    return parent / time.strftime(f"sweep_{AXIS.field}_%Y%m%d_%H%M%S")


def _new_directory(text: str) -> Path:
    directory = Path(text)
    if not text.strip() or "\0" in text:
        raise UserError(f"--output is {text!r}, expected a folder name")
    if directory.exists() and not directory.is_dir():
        raise UserError(f"--output is {text}, which is a file, expected a folder")
    if directory.is_dir() and any(directory.iterdir()):
        raise UserError(
            f"--output is {text}, which is not empty; choose another folder, or --resume {text}"
        )
    return directory


def _epochs(options: argparse.Namespace, axis: Axis, groups: int) -> tuple[int, ...]:
    """Epochs of each value of the axis."""
    if options.quick:
        return (int(QUICK_EPOCHS),) * groups
    from_environment = os.environ.get("GROK_NUM_EPOCHS")
    name, text = "--epochs", options.epochs
    if text is None and from_environment:
        name, text = "GROK_NUM_EPOCHS", from_environment
    text = text if text is not None else str(Config.num_epochs)
    epochs = _values(name, text, "num_epochs", unique=False)
    if len(epochs) not in (1, groups):
        raise UserError(
            f"{name} has {len(epochs)} numbers, expected 1 or {groups}, one per {axis.name}"
        )
    return tuple(epochs) * groups if len(epochs) == 1 else tuple(epochs)


def _default(text: str | None, default: str) -> str:
    return default if text is None else text


def _values(option: str, text: str, field: str, unique: bool = True) -> list[Any]:
    """A list separated by spaces or commas, each value as the variable of that field accepts it."""
    kind = FIELDS[field].metadata["kind"]
    values = []
    for word in re.split(r"[\s,]+", text.strip()):
        value = kind.parse(word)
        if value is None:
            raise UserError(f"{option} has {word!r}, expected {kind.expected}")
        if unique and value in values:
            raise UserError(f"{option} names {word} twice, expected each value once")
        values.append(value)
    return values


def _count(option: str, text: str, low: int = 1) -> int:
    kind = integer(low)
    value: int | None = kind.parse(text)
    if value is None:
        raise UserError(f"{option} is {text!r}, expected {kind.expected}")
    return value
