"""This build against that of another commit, on the same trained weights, in turns."""

import json
import os
import statistics
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from grokking.system.errors import RunError, UserError

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 3  # of a call in one turn
THIS, OTHER = "this build", "the other"
JOBS = ("step", "probed", "surfaces")


def full_name(commit: str) -> str:
    """The hash of a commit of this repository; UserError if it is none."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"--against is {commit!r}, expected a commit of this repository")
    return done.stdout.strip()


def build(commit: str, folder: Path) -> None:
    """That commit's package with its extension, in the folder; RunError where it cannot be built."""
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", commit], stdout=subprocess.PIPE)
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    environment = {**os.environ, "GROK_BUILD_EXT": "1", "GROK_BUILD_CUDA": "0"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RunError(f"{commit} could not be built: {done.stderr.strip().splitlines()[-1:]}")


class Worker:
    """A process that times one build's epochs."""

    def __init__(self, package: Path, states: Path, kernel: str, threads: int) -> None:
        command = [sys.executable, "-P", str(ROOT / "scripts" / "bench_worker.py")]
        environment = {
            **os.environ,
            "PYTHONPATH": str(package),
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": str(threads),
        }
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        arguments = [*command, str(states), kernel, str(threads)]
        self.process = subprocess.Popen(arguments, env=environment, **pipes)  # type: ignore[call-overload]

    def ask(self, job: str, epoch: int) -> list[Any]:
        """Seconds of each repeat; RunError if the process is gone."""
        try:
            self.process.stdin.write(f"{job} {epoch} {REPEATS}\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RunError(f"the process that times {job} of another build ended, see above")
        return list(json.loads(answer))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def workers(packages: dict[str, Path], *arguments: Any) -> Iterator[dict[str, Worker]]:
    started = {name: Worker(package, *arguments) for name, package in packages.items()}
    try:
        yield started
    finally:
        for worker in started.values():
            worker.close()


def compare_builds(
    other: Path, states: Path, kernel: str, threads: int, epochs: list[int], rounds: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Median milliseconds of every job at every epoch, of both builds: job -> epoch -> build."""
    found: dict[str, dict[str, dict[str, float]]] = {job: {} for job in JOBS}
    with workers({OTHER: other, THIS: ROOT}, states, kernel, threads) as both:
        for job in JOBS:
            for epoch in epochs:
                times: dict[str, list[float]] = {name: [] for name in both}
                for _ in range(rounds):
                    for name, worker in both.items():
                        times[name] += worker.ask(job, epoch)
                medians = {name: 1e3 * statistics.median(of) for name, of in times.items()}
                found[job][str(epoch)] = medians
    return found


def phases(
    states: Path, kernel: str, threads: int, epochs: list[int], rounds: int
) -> dict[str, float]:
    """Median milliseconds of each part of a probed epoch, the mean over the epochs."""
    means: dict[str, float] = {}
    with workers({THIS: ROOT}, states, kernel, threads) as only:
        for epoch in epochs:
            seconds = [one for _ in range(rounds) for one in only[THIS].ask("phases", epoch)]
            for name in seconds[0]:
                median = statistics.median(one[name] for one in seconds)
                means[name] = means.get(name, 0.0) + 1e3 * median / len(epochs)
    return means
