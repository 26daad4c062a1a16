"""The hours that a sweep may take: which of its runs would still end in time."""

import time
from collections.abc import Callable

from grokking.sweeps.plan import PlannedRun


class Budget:
    """So many hours from now. A run is expected to take `seconds(run)`, times what one of them was late."""

    def __init__(
        self, hours: float, seconds: Callable[[PlannedRun], float] = lambda run: 0.0
    ) -> None:
        self.deadline = time.monotonic() + 3600 * hours
        self.seconds = seconds
        self.lateness = 1.0

    def allows(self, run: PlannedRun) -> bool:
        """Would the run end in time if it started now?"""
        return time.monotonic() + self.lateness * self.seconds(run) <= self.deadline

    def note(self, run: PlannedRun, took: float) -> None:
        """A run has ended after so many seconds."""
        self.lateness = max(self.lateness, took / self.seconds(run))
