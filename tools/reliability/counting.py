"""The statistics of a sweep by plain counting over the runs of its summary."""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from statistics import median
from typing import Any

Record = dict[str, Any]
_SPREADS = (
    *("grok_epoch", "memorization_epoch", "delay", "seconds"),
    *("final_training_accuracy", "final_validation_accuracy"),
)


def miscounted(summary: Record) -> Iterator[str]:
    """Where a summary contradicts itself or the counts of its runs."""
    runs, faults = summary["runs"], summary["faults"]
    if (summary["runs_read"], summary["runs_not_counted"]) != (len(runs), len(faults)):
        yield f"{summary['runs_read']} and {summary['runs_not_counted']} of {len(runs)}, {len(faults)}"
    cells = {tuple(cell["values"].values()): cell for cell in summary["cells"]}
    if list(cells) != sorted({tuple(run["values"].values()) for run in runs}):
        yield f"cells {list(cells)}"
    for values, cell in cells.items():
        mine = [run for run in runs if tuple(run["values"].values()) == values]
        yield from _differing(f"cell {values}", cell, _counted_cell(mine))
    alone = [axis["field"] for axis in summary["axes"]] == ["weight_decay"]
    if ("weight_decays" in summary) != alone:
        yield f"axes {summary['axes']}, but groups by weight decay: {not alone}"
    for group in summary.get("weight_decays", []):
        mine = [run for run in runs if run["weight_decay"] == group["weight_decay"]]
        yield from _differing(f"weight decay {group['weight_decay']}", group, _counted(mine))
    expected = ["H1", "H2", "H3"] if alone else []
    if [verdict["hypothesis"] for verdict in summary["verdicts"]] != expected:
        yield f"verdicts {summary['verdicts']}"


def _differing(what: str, told: Record, counted: Record) -> Iterator[str]:
    wrong = {key: (told[key], value) for key, value in counted.items() if told[key] != value}
    if wrong:
        yield f"{what}: (told, counted) {wrong}"


def _counted_cell(runs: list[Record]) -> Record:
    def spread(key: str) -> Record:
        return _spread([run[key] for run in runs if run[key] is not None])

    def reached(key: str) -> Record:
        return _kaplan_meier(
            [
                (_last_seen(run) if run[key] is None else run[key], run[key] is not None)
                for run in runs
            ]
        )

    keys = ("grok_epoch", "seconds", "final_training_accuracy", "final_validation_accuracy")
    return {
        "runs": [run["directory"] for run in runs],
        "grokked_share": sum(run["grok_epoch"] is not None for run in runs) / len(runs),
        "outcomes": dict(Counter(run["outcome"] for run in runs)),
        "memorization": reached("memorization_epoch"),
        "delay": _kaplan_meier([end for run in runs for end in _delay(run)]),
        **{key: spread(key) for key in keys},
    }


def _counted(runs: list[Record]) -> Record:
    grokked = [run["grok_epoch"] for run in runs if run["grok_epoch"] is not None]
    censored = [run["last_epoch"] for run in runs if run["grok_epoch"] is None]
    ends = [(epoch, True) for epoch in grokked]
    ends += [(_last_seen(run), False) for run in runs if run["grok_epoch"] is None]
    return {
        "runs": len(runs),
        "grokked": len(grokked),
        "success_rate": len(grokked) / len(runs),
        "outcomes": dict(Counter(run["outcome"] for run in runs)),
        "collapsed": sum(run["collapse_epoch"] is not None for run in runs),
        "censored_at": sorted(censored),
        "kaplan_meier_grok_epoch": _kaplan_meier(ends),
        "kaplan_meier_delay": _kaplan_meier([end for run in runs for end in _delay(run)]),
        **{key: _spread([run[key] for run in runs if run[key] is not None]) for key in _SPREADS},
    }


def _spread(values: list[float]) -> Record:
    if not values:
        return {"count": 0, "median": None, "min": None, "max": None}
    return {
        "count": len(values),
        "median": median(values),
        "min": min(values),
        "max": max(values),
    }


def _delay(run: Record) -> list[tuple[int, bool]]:
    """(epochs from memorising to generalising, or to the end, whether it generalised), if it has any."""
    memorized, generalized = run["memorization_epoch"], run["generalization_epoch"]
    if generalized is not None:
        return [(0 if memorized is None else max(0, generalized - memorized), True)]
    return [] if memorized is None else [(_last_seen(run) - memorized, False)]


def _last_seen(run: Record) -> int:
    """A run that diverged will do nothing more up to its planned end."""
    ended: int = run["last_epoch"]
    return max(ended, run["num_epochs"]) if run["outcome"] == "diverged" else ended


def _kaplan_meier(ends: list[tuple[int, bool]]) -> Record:
    """First time at which half of the runs or fewer are left, and the last time seen."""
    left, middle = Fraction(1), None
    for time in sorted({time for time, event in ends if event}):
        at_risk = sum(other >= time for other, _ in ends)
        left *= 1 - Fraction(ends.count((time, True)), at_risk)
        if middle is None and left <= Fraction(1, 2):
            middle = time
    return {"median": middle, "followed_to": max((time for time, _ in ends), default=None)}
