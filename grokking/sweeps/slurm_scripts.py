"""The job scripts of a sweep on a Slurm cluster: arrays with a task per run, and the analysis.

A task is `sweep --resume DIR --run N`, so a requeued or resubmitted one continues its run.
Options that are not given are Slurm's own to decide, SBATCH_ variables included.
"""

import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Protocol

from grokking.files import names
from grokking.sweeps.plan import Plan
from grokking.system.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ("slurm_partition", "slurm_time", "slurm_gpus", "slurm_throttle")


class SlurmOptions(Protocol):
    """What the user wants of Slurm; None: left to it. And what was typed to get here."""

    @property
    def program(self) -> str: ...
    @property
    def slurm_partition(self) -> str | None: ...
    @property
    def slurm_time(self) -> str | None: ...
    @property
    def slurm_gpus(self) -> str | None: ...
    @property
    def slurm_throttle(self) -> int | None: ...
    @property
    def no_reports(self) -> bool: ...


class JobArray(NamedTuple):
    """The runs of one job array: its task T is run number `first` + T."""

    first: int
    tasks: list[int]  # ascending

    def name(self, stem: str) -> str:
        """What tells a later array's files from those of the one that begins with run 0."""
        return f"{stem}_from_{self.first}" if self.first else stem


def job_arrays(numbers: Iterable[int], limit: int) -> list[JobArray]:
    """Ascending numbers of runs as job arrays whose tasks are numbered below `limit`."""
    groups = groupby(numbers, key=lambda number: number // limit * limit)
    return [JobArray(first, [number - first for number in group]) for first, group in groups]


def given(options: SlurmOptions) -> dict[str, str]:
    """The Slurm options of the command line that have a value."""
    values = {f"--{name.replace('_', '-')}": getattr(options, name) for name in OPTIONS}
    return {name: str(value) for name, value in values.items() if value is not None}


def check_names(directory: Path, options: SlurmOptions) -> None:
    """UserError for names that an #SBATCH line cannot hold: it has no way to escape a character."""
    for name, value in {"--output": str(directory.absolute()), **given(options)}.items():
        if re.search(r'["\\%\x00-\x1f\x7f]', value):
            raise UserError(
                f"{name} is {value!r}, which Slurm cannot be told; expected a name without quotes, "
                "backslashes, % and line breaks"
            )


def write_scripts(
    plan: Plan, arrays: Sequence[JobArray], directory: Path, options: SlurmOptions
) -> list[Path]:
    """Write DIR/slurm/*.sbatch: one script per array, the analysis last."""
    folder = directory / names.SLURM
    folder.mkdir(exist_ok=True)
    texts = {
        job_array.name("runs"): array_script(plan, job_array, directory, options)
        for job_array in arrays
    }
    texts["analysis"] = analysis_script(directory, options)
    paths = [folder / f"{name}.sbatch" for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def array_script(plan: Plan, job_array: JobArray, directory: Path, options: SlurmOptions) -> str:
    """A job array of some of the plan's runs."""
    throttle = "" if options.slurm_throttle is None else f"%{options.slurm_throttle}"
    settings = {
        "job-name": "grokking",
        "array": f"{_ranges(job_array.tasks)}{throttle}",
        "output": directory / names.SLURM / f"{job_array.name('run')}_%a.log",
        "ntasks": 1,
        "cpus-per-task": plan.environment.get("GROK_THREADS", "1"),
        "partition": options.slurm_partition,
        "time": options.slurm_time,
        "gpus": options.slurm_gpus,
    }
    resume = ["--resume", directory, "--inexact"]  # nodes differ; each run records what it had
    resume += [*["--no-reports"] * options.no_reports, "--run"]
    task = shell([sys.executable, "-m", "grokking", "sweep", *resume])
    return _script(settings, [f'exec {task} "$(({job_array.first} + SLURM_ARRAY_TASK_ID))"'])


def analysis_script(directory: Path, options: SlurmOptions) -> str:
    """The job that follows: statistics, then pictures."""
    settings = {
        "job-name": "grokking-analysis",
        "output": directory / names.SLURM / "analysis.log",
        "ntasks": 1,
        "partition": options.slurm_partition,
    }
    program = [sys.executable, "-m", "grokking"]  # scripts/ need a checkout
    return _script(settings, [shell([*program, name, directory]) for name in ("analyze", "plot")])


def shell(words: Sequence[object]) -> str:
    """The words as one line of a shell."""
    return shlex.join(map(str, words))


def _ranges(tasks: Sequence[int]) -> str:
    """Ascending numbers as sbatch takes them: 0-4,7."""
    grouped = groupby(enumerate(tasks), key=lambda pair: pair[1] - pair[0])
    streaks = [[task for _, task in streak] for _, streak in grouped]
    return ",".join(f"{s[0]}-{s[-1]}" if len(s) > 1 else str(s[0]) for s in streaks)


def _script(settings: dict[str, object], commands: Sequence[str]) -> str:
    directives = [
        f'#SBATCH --{name}="{value}"' for name, value in settings.items() if value is not None
    ]
    lines = [
        "#!/bin/bash",
        *directives,
        "set -eu",
        f"export PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}",
        *commands,
    ]
    return "\n".join(lines) + "\n"
