"""How many runs at a time, on which processors."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import NamedTuple

from grokking.system.cores import available_cores


class Resources(NamedTuple):
    jobs: int
    threads: int | None  # of each run; None: its own choice
    devices: tuple[str, ...]  # CUDA devices that the runs share out; empty: none


def choose_resources(wanted_jobs: int | None, settings: Mapping[str, str]) -> Resources:
    """One run per GPU if there are GPUs, else one single-threaded run per core.

    `settings` are the GROK_ variables of every run: GROK_DEVICE and GROK_THREADS are heeded.
    """
    devices = usable_gpus(settings.get("GROK_DEVICE", "auto"))
    cores, threads = available_cores(), settings.get("GROK_THREADS")
    if devices:
        return Resources(wanted_jobs or len(devices), None, devices)
    if settings.get("GROK_DEVICE", "auto").startswith("cuda"):
        return Resources(wanted_jobs or 1, None, ())
    jobs = wanted_jobs or max(1, cores // int(threads or 1))
    alone = jobs == 1 and cores > 1
    return Resources(jobs, None if threads or alone else 1, ())


def usable_gpus(device: str) -> tuple[str, ...]:
    """Names for CUDA_VISIBLE_DEVICES, one per GPU that torch can use here.

    Empty for GROK_DEVICE=cpu or a single named GPU. A machine without nvidia-smi is not
    asked further, so that this costs no import of torch there.
    """
    if device not in ("auto", "cuda") or shutil.which("nvidia-smi") is None:
        return ()
    count = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
    answer = subprocess.run(
        [sys.executable, "-c", count], capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        return ()  # no torch on this Python: a dry run
    gpu_count = int(answer.stdout.strip().splitlines()[-1])
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(index) for index in range(gpu_count)]
    return tuple(names[:gpu_count])
