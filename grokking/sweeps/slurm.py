"""A sweep is submitted to a Slurm cluster: as job arrays, then the job that analyses and plots."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from grokking.sweeps.plan import Plan
from grokking.sweeps.slurm_scripts import (
    SlurmOptions,
    check_names,
    given,
    job_arrays,
    shell,
    write_scripts,
)
from grokking.system.errors import RunError, UserError
from grokking.system.signals import StopRequest

DEFAULT_ARRAY_LIMIT = 1001  # Slurm's own
POLL_SECONDS = 0.05


class Unanswered(RunError):
    """sbatch may have submitted a job, but has not given its number."""


def array_limit(directory: Path, options: SlurmOptions) -> int:
    """The cluster's MaxArraySize, below which task numbers lie.

    UserError where nothing can be submitted, or not under the names of this folder and these options.
    """
    if shutil.which("sbatch") is None:
        raise UserError(
            "--slurm needs sbatch, which is not on PATH; run it on a node that submits jobs"
        )
    limit = _configured_limit()
    if limit < 1:
        raise UserError(
            "--slurm needs job arrays, which this cluster has switched off (its MaxArraySize is 0); "
            "hand the lines of --dry-run to another scheduler"
        )
    check_names(directory, options)
    return limit


def _configured_limit() -> int:
    """MaxArraySize, or Slurm's default where it cannot be asked: then sbatch will say what is wrong."""
    if shutil.which("scontrol") is None:
        return DEFAULT_ARRAY_LIMIT
    command = ["scontrol", "show", "config"]
    try:
        answer = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return DEFAULT_ARRAY_LIMIT
    limit = re.search(rb"^MaxArraySize\s*=\s*(\d{1,9})\s*$", answer.stdout, re.MULTILINE)
    return int(limit[1]) if limit else DEFAULT_ARRAY_LIMIT


def submit(
    plan: Plan,
    numbers: Sequence[int],
    limit: int,
    directory: Path,
    options: SlurmOptions,
    stop: StopRequest,
) -> str:
    """Write the job scripts of these runs, submit them, and return what to tell the user.

    `numbers` are the runs' in the plan, ascending; `limit` is array_limit(). RunError in sbatch's own
    words if it refuses, with what is submitted until then, and so after a signal; the scripts stay.
    """
    directory = directory.absolute()
    *arrays, analysis = write_scripts(plan, job_arrays(numbers, limit), directory, options)
    again = _again(directory, options)
    jobs: list[str] = []
    try:
        for script in arrays:  # a throttle is of one array, so several take turns
            jobs.append(_sbatch(script, jobs[-1:] if options.slurm_throttle else [], stop))
        last = _sbatch(analysis, jobs, stop)
    except RunError as error:
        nothing = "nothing else" if isinstance(error, Unanswered) else "nothing"
        error.args = (f"{error}; {_left_behind(jobs, nothing, again)}",)
        if stop.number is not None:
            error.exit_code = stop.exit_code
        raise
    runs = f"{len(numbers)} runs as {_arrays(jobs)} and their" if jobs else "no run, but the"
    return (
        f"submitted {runs} analysis as job {last}\n"
        f"watch them with: squeue -j {','.join([*jobs, last])}\n"
        f"submit again what was cut off with: {again}"
    )


def _arrays(jobs: Sequence[str]) -> str:
    return f"job array{'s' if len(jobs) > 1 else ''} {', '.join(jobs)}"


def _left_behind(jobs: Sequence[str], nothing: str, again: str) -> str:
    """What a failure leaves behind, and what to do about it."""
    if not jobs:
        return f"{nothing} is submitted; try again with: {again}"
    return (
        f"submitted before and going on: {_arrays(jobs)} (to stop: scancel {' '.join(jobs)}); when "
        f"ended, submit what is left with: {again}"
    )


def _again(directory: Path, options: SlurmOptions) -> str:
    """The command that submits whatever is unfinished of the sweep."""
    words = [word for option in given(options).items() for word in option]
    words += ["--no-reports"] * options.no_reports
    return f"{options.program} {shell(['--slurm', *words, '--resume', directory])}"


def _sbatch(script: Path, before: Sequence[str], stop: StopRequest) -> str:
    """Submit a script, to start when the jobs `before` it have ended, and return its job's number."""
    if stop.number is not None:
        raise RunError(f"{stop.name} before {script} was submitted")
    after = [f"--dependency=afterany:{':'.join(before)}"] if before else []
    try:
        code, said = _call(["sbatch", "--parsable", *after, str(script)], stop)
    except OSError as error:
        raise RunError(f"sbatch cannot be run: {error.strerror}") from error
    numbers = re.findall(r"^(\d+)(?:;.*)?$", said, re.MULTILINE)  # "id;cluster" on a federation
    if numbers and (code == 0 or stop.number is not None):
        return str(numbers[-1])  # a site's own words may stand above it
    words = " ".join(said.split())
    if stop.number is not None:
        raise Unanswered(
            f"{stop.name} while sbatch was at work on {script}, which squeue --me shows if it was taken"
        )
    if code != 0:
        raise RunError(f"sbatch refused {script}: {words or f'exit code {code}'}")
    raise Unanswered(
        f"sbatch took {script} without giving its job's number (it said: {words or 'nothing'}); "
        "squeue --me shows it"
    )


def _call(command: Sequence[str], stop: StopRequest) -> tuple[int, str]:
    """Exit code and output of a program without our variables, which a signal to us ends."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GROK_")}
    with (
        tempfile.TemporaryFile() as output,  # a pipe would be waited for until its last holder ends
        subprocess.Popen(
            command, env=clean, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        ) as process,
    ):
        while process.poll() is None:
            if stop.number is not None:
                os.killpg(process.pid, signal.SIGKILL)  # sbatch may be a script that called another
            time.sleep(POLL_SECONDS)
        output.seek(0)
        return process.returncode, output.read().decode(errors="backslashreplace")
