"""How many cores this process may use. Torch-free."""

import os
from pathlib import Path

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "QUOTA PERIOD" or "max PERIOD" (cgroup v2)


def available_cores() -> int:
    """Its affinity, and a container's quota rounded down to at least 1."""
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        return min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores  # no quota
