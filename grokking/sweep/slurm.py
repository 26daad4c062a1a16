"""A sweep on a Slurm cluster: one job array, a task per run, then a job that analyses and plots.

A task is `sweep --resume DIR --task N`, so a requeued or resubmitted one continues its run.
Options that are not given are Slurm's own to decide, SBATCH_ variables included.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from grokking.errors import RunError, UserError
from grokking.sweep.plan import Plan

ROOT = Path(__file__).resolve().parents[2]


def check_available() -> None:
    """UserError where jobs cannot be submitted."""
    if shutil.which("sbatch") is None:
        raise UserError(
            "--slurm needs sbatch, which is not on PATH; run it on a node that submits jobs"
        )


def check_names(directory: Path, options: argparse.Namespace) -> None:
    """UserError for names that an #SBATCH line cannot hold: it has no way to escape a character."""
    given = {"--output": str(directory.absolute()), "--slurm-partition": options.slurm_partition}
    given |= {"--slurm-time": options.slurm_time, "--slurm-gpus": options.slurm_gpus}
    for name, value in given.items():
        if value is not None and re.search(r'["\\%\x00-\x1f\x7f]', value):
            raise UserError(
                f"{name} is {value!r}, which Slurm cannot be told; expected a name without quotes, "
                "backslashes, % and line breaks"
            )


def submit(plan: Plan, directory: Path, options: argparse.Namespace) -> str:
    """Write both job scripts into DIR/slurm, submit them, and return what to tell the user.

    Raises RunError with sbatch's own words if it refuses; the scripts stay.
    """
    directory = directory.absolute()
    folder = directory / "slurm"
    folder.mkdir()
    runs, analysis = folder / "runs.sbatch", folder / "analysis.sbatch"
    runs.write_text(array_script(plan, directory, options), encoding="utf-8")
    analysis.write_text(analysis_script(directory, options), encoding="utf-8")
    array = _sbatch([str(runs)])
    last = _sbatch([f"--dependency=afterany:{array}", str(analysis)])
    return (
        f"submitted {len(plan.runs())} runs as job array {array} and their analysis as job {last}\n"
        f"watch them with: squeue -j {array},{last}\n"
        f"submit again what was cut off with: sbatch {shlex.quote(str(runs))}"
    )


def array_script(plan: Plan, directory: Path, options: argparse.Namespace) -> str:
    """The job array: task N is run number N of the plan."""
    settings = {
        "job-name": "grokking",
        "array": f"0-{len(plan.runs()) - 1}",
        "output": directory / "slurm" / "run_%a.log",
        "ntasks": 1,
        "cpus-per-task": plan.environment.get("GROK_THREADS", "1"),
        "partition": options.slurm_partition,
        "time": options.slurm_time,
        "gpus": options.slurm_gpus,
    }
    resume = ["--resume", directory, "--inexact"]  # nodes differ; each run records what it had
    resume += [*["--no-reports"] * options.no_reports, "--task"]
    task = _shell([sys.executable, "-m", "grokking", "sweep", *resume])
    return _script(settings, [f'exec {task} "$SLURM_ARRAY_TASK_ID"'])


def analysis_script(directory: Path, options: argparse.Namespace) -> str:
    """The job that follows: statistics, then pictures."""
    settings = {
        "job-name": "grokking-analysis",
        "output": directory / "slurm" / "analysis.log",
        "ntasks": 1,
        "partition": options.slurm_partition,
    }
    scripts = ("analyze_weight_decay_sweep.py", "plot_sweep_comparison.py")
    return _script(
        settings, [_shell([sys.executable, ROOT / "scripts" / s, directory]) for s in scripts]
    )


def _script(settings: dict[str, object], commands: Sequence[str]) -> str:
    given = [f'#SBATCH --{name}="{value}"' for name, value in settings.items() if value is not None]
    lines = [
        "#!/bin/bash",
        *given,
        "set -eu",
        f"export PYTHONPATH={shlex.quote(str(ROOT))}",
        *commands,
    ]
    return "\n".join(lines) + "\n"


def _shell(words: Sequence[object]) -> str:
    return shlex.join(map(str, words))


def _sbatch(arguments: Sequence[str]) -> str:
    """Submit and return the job's number."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GROK_")}
    asked = subprocess.run(
        ["sbatch", "--parsable", *arguments], capture_output=True, text=True, check=False, env=clean
    )
    if asked.returncode != 0:
        said = " ".join(asked.stderr.split()) or f"exit code {asked.returncode}"
        raise RunError(f"sbatch refused {arguments[-1]}: {said}")
    return asked.stdout.strip().split(";")[0]  # "id;cluster" on a federation
