"""report.html for every finished run of a sweep, each written by a process of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from logging import getLogger
from pathlib import Path

from grokking.files import names
from grokking.sweeps.runner import child_environment
from grokking.system.cores import available_cores
from grokking.system.failure import ask, told

log = getLogger(__name__)


def write_reports(folders: Sequence[Path], jobs: int, settings: dict[str, str]) -> list[str]:
    """Report on those of these runs that have finished and have no report yet, `jobs` at a time.

    Returns a line for each run that could not be reported on: that is no fault of the sweep.
    """
    waiting = [
        folder
        for folder in folders
        if os.path.exists(folder / names.RESULT)  # False where it may not look
        and not os.path.exists(folder / names.REPORT)
    ]
    if waiting:
        log.info(f"writing the reports of {len(waiting)} runs ...")
    return report_on(waiting, jobs, settings)


def report_on(folders: Sequence[Path], jobs: int, settings: dict[str, str]) -> list[str]:
    """Report on these runs, `jobs` at a time; a line for each on which that failed.

    `settings` are the GROK_ variables of the sweep, of which the kernel's is obeyed.
    """
    with ThreadPoolExecutor(jobs) as workers:
        threads = max(1, available_cores() // jobs)
        kernel = {name: text for name, text in settings.items() if name == "GROK_KERNEL"}
        complaints = list(workers.map(lambda run: _report(run, threads, kernel), folders))
    return [complaint for complaint in complaints if complaint]


def _report(run: Path, threads: int, kernel: dict[str, str]) -> str:
    code = subprocess.run(
        [sys.executable, "-m", "grokking", "report", "--brief", f"--threads={threads}", str(run)],
        env=child_environment() | kernel | ask(run / names.FAILURE),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    ).returncode
    return "" if code == 0 else f"{run.name} has no report: {told(run / names.FAILURE, code)}"
