"""Command line of the sweep -> what is to be done, checked before anything is written."""

import argparse
import math
import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from grokking.commands.cli import Parser
from grokking.commands.sweep_values import (
    HOW,
    MAX_RUNS,
    axis_of,
    seeds_of,
    values_of,
)
from grokking.config import IDENTITY, IN_USE, VARIABLES, Config, load, variables
from grokking.laws import FILE, table_of
from grokking.schema import integer, real
from grokking.sweeps.axis import AXIS, MOST, Axis
from grokking.sweeps.plan import Plan, passed_through, read_plan
from grokking.system.errors import UserError

_DEFAULT_VALUES = " ".join(map(str, AXIS.values))
DEFAULT_SEEDS = "42 123 456"
QUICK_EPOCHS = "100"
MARGIN = "500"  # epochs after grokking, of --stop-after-grok without a number
LARGE = 20  # runs, beyond which a sweep records no trajectories and writes no reports by itself


def program() -> str:
    """What was typed to get here: the script, which passes its own name on, or the subcommand."""
    script = os.environ.get("SWEEP_PROGRAM")
    if script:
        return shlex.quote(script)
    return f"{'python -m ' if Path(sys.argv[0]).name == '__main__.py' else ''}grokking sweep"


def parser() -> Parser:
    """All options; the help text is the reference."""
    sweep = Parser(
        prog=program(),
        description="Train one run per combination of the values of one to three settings, and seed, then "
        "analyse and plot them. GROK_ variables other than the sweep's own reach every run.",
        epilog="exit codes: 0 done, or --max-hours are used up; 1 a run failed; 2 wrong input; 128+n signal n",
        allow_abbrev=False,
    )
    sweep.together = False  # what varies is not yet in place; each run is checked by itself
    sweep.set_defaults(program=program())
    _add_grid(sweep)
    _add_conduct(sweep)
    _add_slurm(sweep)
    return sweep


def _add_grid(sweep: Parser) -> None:
    """Which runs there are, and how long each may be."""
    add = sweep.add_argument
    add(
        "--vary",
        action="append",
        metavar="NAME=VALUES",
        help="a setting that decides weights, as in train_fraction=0.2:0.6:0.05 or "
        f"weight_decay=log:0.1:10:9; {HOW}; up to {MOST} times",
    )
    add(
        AXIS.option,
        dest="values",
        metavar="LIST",
        help=f"--vary {AXIS.field}=LIST [{_DEFAULT_VALUES}]",
    )
    add("--seeds", metavar="LIST", help=f"[{DEFAULT_SEEDS}]; 1-20 is twenty of them")
    add(
        "--control",
        metavar="NAME=VALUE",
        help="the same grid with this setting beside it, as in task=random or weight_decay=0",
    )
    add(
        "--epochs",
        metavar="N",
        help="one number, or one per value of the first setting [GROK_NUM_EPOCHS or 10000]; with "
        "--resume: more of them",
    )
    add(
        "--stop-after-grok",
        nargs="?",
        const=MARGIN,
        metavar="N",
        help=f"end each run N epochs after its grokking was confirmed [{MARGIN}]",
    )
    add(
        "--max-hours",
        metavar="H",
        help="start no run that would not end within so many hours; --resume goes on with what is left",
    )


def _add_conduct(sweep: Parser) -> None:
    """How they are carried out, where, and what is made of them."""
    add = sweep.add_argument
    add("--quick", action="store_true", help=f"{QUICK_EPOCHS} epochs: a test of the machinery")
    add("--jobs", metavar="N", help="runs at a time [one per GPU, else one per core]")
    add(
        "--output",
        metavar="DIR",
        help="folder of the sweep [artifacts/sweep_NAMES_DATE_TIME]",
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
    add(
        "--reports",
        action="store_true",
        help=f"write each run's report.html at the end, of more than {LARGE} runs, too",
    )
    add("--no-reports", action="store_true", help="write none")


def _add_slurm(sweep: Parser) -> None:
    add = sweep.add_argument_group("Slurm").add_argument
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


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options whose combination makes sense; UserError names the one that does not."""
    options = parser().parse_args(arguments)
    if options.resume is not None:
        if not options.resume.strip():
            raise UserError("--resume is empty, expected the folder of a sweep")
        clashing = {"values": AXIS.option, "vary": "--vary", "seeds": "--seeds"}
        clashing |= {"control": "--control", "quick": "--quick"}
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
    if options.reports and options.no_reports:
        raise UserError("--reports and --no-reports are both given, expected at most one of them")
    if options.max_hours is not None:
        _check_budget(options)
    options.jobs = None if options.jobs is None else _count("--jobs", options.jobs)
    options.run = None if options.run is None else _count("--run", options.run, low=0)
    throttle = options.slurm_throttle
    options.slurm_throttle = None if throttle is None else _count("--slurm-throttle", throttle)
    return options


def _check_budget(options: argparse.Namespace) -> None:
    """--max-hours in hours, with what it goes by."""
    if options.no_estimate or options.slurm:
        other = "--no-estimate" if options.no_estimate else "--slurm"
        raise UserError(
            f"--max-hours does not go with {other}: it needs to know how long runs take here"
        )
    kind = real(lambda hours: hours > 0, "a number of hours above 0")
    hours = kind.parse(options.max_hours)
    if hours is None:
        raise UserError(f"--max-hours is {options.max_hours!r}, expected {kind.expected}")
    options.max_hours = hours


def plan_from(options: argparse.Namespace) -> Plan:
    """The plan of a new sweep, or of the one that is resumed."""
    environ = dict(os.environ)
    if options.stop_after_grok is not None:
        margin = _count("--stop-after-grok", options.stop_after_grok, low=0)
        environ["GROK_STOP_AFTER_GROK"] = str(margin)
    if options.resume is not None:
        plan = read_plan(Path(options.resume))
        return continued(plan, passed_through(environ, plan.axes), options)
    axes = _axes(options)
    for name in (*(axis.variable for axis in axes), "GROK_SEED", "GROK_RESUME", "GROK_OVERWRITE"):
        if os.environ.get(name):
            print(f"{name} is ignored: it belongs to the sweep, see --help", file=sys.stderr)
    axes = _with_control(axes, options.control)
    seeds = seeds_of(_default(options.seeds, DEFAULT_SEEDS))
    sizes = [*(len(axis.values) for axis in axes), len(seeds)]
    if math.prod(sizes) > MAX_RUNS:
        raise UserError(f"{' x '.join(map(str, sizes))} runs, expected at most {MAX_RUNS}")
    settings = passed_through(environ, axes)
    if math.prod(sizes) > LARGE:
        settings = {"GROK_TRAJECTORY": "0"} | settings
    plan = Plan(axes, tuple(seeds), _epochs(options, axes[0]), settings)
    plan.check()
    return plan


def _axes(options: argparse.Namespace) -> tuple[Axis, ...]:
    """What varies, in the order of the command line; weight decay where nothing is said."""
    axes = [axis_of("--vary", text) for text in options.vary or []]
    if options.values is not None or not axes:
        values = values_of(AXIS.option, _default(options.values, _DEFAULT_VALUES), AXIS.field)
        axes.append(AXIS.over(values))
    fields = [axis.field for axis in axes]
    twice = next((field for field in fields if fields.count(field) > 1), None)
    if twice:
        raise UserError(f"{twice} varies twice, expected each setting once, with all its values")
    if len(axes) > MOST:
        raise UserError(f"{len(axes)} settings vary ({', '.join(fields)}), expected at most {MOST}")
    return tuple(axes)


def _with_control(axes: tuple[Axis, ...], text: str | None) -> tuple[Axis, ...]:
    """The axes with the value of the controls: as one more of its axis, or as an axis of its own."""
    if text is None:
        return axes
    control = axis_of("--control", text)
    if len(control.values) != 1:
        raise UserError(f"--control is {text!r}, expected NAME=VALUE with one value")
    (value,) = control.values
    for number, axis in enumerate(axes):
        if axis.field != control.field:
            continue
        if value in axis.values:
            raise UserError(f"--control is {text!r}, which the grid has already")
        return (*axes[:number], axis.over([*axis.values, value]), *axes[number + 1 :])
    usual = getattr(load(os.environ, strict=False, together=False).config, control.field)
    if usual == value:
        raise UserError(f"--control is {text!r}, as every run of the grid has it")
    return (*axes, control.over([usual, value]))


def writes_reports(options: argparse.Namespace, plan: Plan) -> bool:
    """Is each run to have its report at the end?"""
    return options.reports or not (options.no_reports or len(plan.runs()) > LARGE)


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
        epochs = _epochs(options, plan.axes[0])
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


def wanted_directory(options: argparse.Namespace, axes: Sequence[Axis]) -> Path:
    """--output, or a folder named after the present second below GROK_ARTIFACTS_DIR (artifacts)."""
    if options.output is not None:
        return _new_directory(options.output)
    parent = Path(os.environ.get("GROK_ARTIFACTS_DIR") or Config.artifacts_dir)
    fields = "_".join(axis.field for axis in axes)
    return parent / time.strftime(f"sweep_{fields}_%Y%m%d_%H%M%S")


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


def _epochs(options: argparse.Namespace, axis: Axis) -> tuple[int, ...]:
    """Epochs of each value of the first axis."""
    groups = len(axis.values)
    if options.quick:
        return (int(QUICK_EPOCHS),) * groups
    from_environment = os.environ.get("GROK_NUM_EPOCHS")
    name, text = "--epochs", options.epochs
    if text is None and from_environment:
        name, text = "GROK_NUM_EPOCHS", from_environment
    text = text if text is not None else str(Config.num_epochs)
    epochs = values_of(name, text, "num_epochs", unique=False)
    if len(epochs) not in (1, groups):
        raise UserError(
            f"{name} has {len(epochs)} numbers, expected 1 or {groups}, one per {axis.name}"
        )
    return tuple(epochs) * groups if len(epochs) == 1 else tuple(epochs)


def _default(text: str | None, default: str) -> str:
    return default if text is None else text


def _count(option: str, text: str, low: int = 1) -> int:
    kind = integer(low)
    value: int | None = kind.parse(text)
    if value is None:
        raise UserError(f"{option} is {text!r}, expected {kind.expected}")
    return value
