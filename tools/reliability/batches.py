"""Attempts in forks of some each: a crash or an endless wait ends no more than those."""

import random
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

from tools.reliability.forked import Fork
from tools.reliability.outcome import Outcome
from tools.reliability.spoiling import bound_by_permissions

PATIENCE = 600  # seconds for a batch, which takes some: what is open for ever must end, too


def in_batches(
    count: int,
    chance: random.Random,
    folder: Path,
    attempt: Callable[[Path, random.Random], Iterable[str]],
    size: int = 50,
) -> Outcome:
    """Faults of attempts, each in a folder that it makes and removes, and from a seed of its own."""
    result = Outcome()
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "broken"
    for start in range(0, count, size):
        seeds = [chance.getrandbits(32) for _ in range(start, min(count, start + size))]

        def body(seeds: list[int] = seeds) -> int:
            signal.alarm(PATIENCE)
            bound_by_permissions()
            with record.open("w") as lines:
                for seed in seeds:
                    faults = attempt(folder / f"attempt_{seed}", random.Random(seed))
                    lines.writelines(f"seed {seed}: {fault}\n" for fault in faults)
                    lines.flush()
            return 0

        ended = Fork(body, folder / "stderr").wait()
        result.tried += len(seeds)
        result.broken += record.read_text().splitlines()
        if ended.code != 0:
            result.broken.append(f"of seeds {seeds}: {ended.code} {ended.errors[-300:]}")
    return result
