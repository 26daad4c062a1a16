"""Verdicts on the three hypotheses of the sweep, each with its reason in words.

Order is judged by Kaplan-Meier medians of the grok epoch. A median that is not reached
lies later than the last epoch seen, so it can be ordered against one that was reached by
then. An order decides a hypothesis only where the one-sided permutation test gives it a p of
at most ALPHA: few runs fall into any order by chance.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from grokking.sweeps.survival import (
    LogRank,
    Observation,
    PermutationTest,
    follow_up_to,
    log_rank,
    median_time,
    permutation_test,
    wilson_interval,
)

PASS, FAIL, UNDECIDED = "PASS", "FAIL", "UNDECIDED"
BASELINE, LOWER, HIGHER = 1.0, 0.5, 2.0  # weight decays of the hypotheses
DEADLINE = 10_000  # epochs, of H1
ALPHA = 0.05  # largest p at which an order of medians is taken for more than chance


class Followed(NamedTuple):
    """A run as the statistics see it."""

    observation: Observation
    followed_to: int  # epoch to which it was, or would have been, watched


Groups = Mapping[float, Sequence[Followed]]


class Comparison(NamedTuple):
    """Tests beside an ordering."""

    log_rank: LogRank | None  # two-sided; None where it has no variance
    permutation: PermutationTest  # one-sided, for the claimed order
    opposite: PermutationTest  # the same for the opposite order
    horizon: int  # epoch at which the permutation test cuts both groups


@dataclass(frozen=True)
class Verdict:
    hypothesis: str
    claim: str
    verdict: str  # PASS, FAIL or UNDECIDED
    reason: str
    comparison: Comparison | None = None


def judge_hypotheses(groups: Groups) -> list[Verdict]:
    """H1, H2, H3 from the runs of each weight decay."""
    return [
        _by_deadline(groups),
        _ordered("H2", "weight decay 2.0 groks earlier than 1.0", groups, HIGHER, BASELINE),
        _ordered("H3", "weight decay 0.5 groks later than 1.0, or fails", groups, BASELINE, LOWER),
    ]


def _by_deadline(groups: Groups) -> Verdict:
    runs = [run.observation for run in groups.get(BASELINE, [])]
    grokked = sum(run.event and run.time <= DEADLINE for run in runs)
    too_late = sum(run.time > DEADLINE or (run.time == DEADLINE and not run.event) for run in runs)
    low, high = wilson_interval(grokked, len(runs))
    count = (
        f"{grokked} of {len(runs)} runs grokked by epoch {DEADLINE:,} (95 % interval of the share: "
        f"{low:.0%} to {high:.0%})"
    )
    if not runs:
        verdict, reason = UNDECIDED, "no run with weight decay 1.0 could be read"
    elif grokked == len(runs):
        verdict, reason = PASS, count
    elif too_late:
        verdict, reason = FAIL, f"{count}; {too_late} reached it without having grokked"
    else:
        last = max(run.time for run in runs if not run.event)
        verdict, reason = (
            UNDECIDED,
            f"{count}; the others ended before it (at {last:,} at the latest)",
        )
    return Verdict("H1", "weight decay 1.0 groks by epoch 10,000", verdict, reason)


def _ordered(name: str, claim: str, groups: Groups, earlier: float, later: float) -> Verdict:
    absent = [value for value in (earlier, later) if not groups.get(value)]
    if absent:
        decays = " and ".join(map(str, absent))
        return Verdict(name, claim, UNDECIDED, f"no run with weight decay {decays} could be read")
    first, second = ([run.observation for run in groups[value]] for value in (earlier, later))
    medians = (_median_in_words(earlier, first), _median_in_words(later, second))
    reason = f"median grok epoch {', '.join(medians)}"
    comparison, order = _compare(groups[earlier], groups[later]), _order(first, second)
    p = {PASS: comparison.permutation.p, FAIL: comparison.opposite.p}.get(order, 0.0)
    if p > ALPHA:
        order, reason = UNDECIDED, f"{reason}; {_doubt(p, len(first), len(second))}"
    return Verdict(name, claim, order, reason, comparison)


def _doubt(p: float, first: int, second: int) -> str:
    """Why an order of the medians of so many runs decides nothing."""
    smallest = 1 / math.comb(first + second, first)
    if smallest > ALPHA:
        return f"too few runs: with {first} against {second}, p cannot fall below {smallest:.2g}"
    return f"that order may be chance: its p is {p:.2g}, above {ALPHA:g}"


def _order(first: Sequence[Observation], second: Sequence[Observation]) -> str:
    """PASS if the first median is known to be earlier, FAIL if later, else UNDECIDED."""
    ours, theirs = median_time(first), median_time(second)
    if ours is not None and theirs is not None:
        return UNDECIDED if ours == theirs else PASS if ours < theirs else FAIL
    if ours is not None and max(run.time for run in second) >= ours:
        return PASS  # theirs is later than their last epoch, which is not before ours
    if theirs is not None and max(run.time for run in first) >= theirs:
        return FAIL
    return UNDECIDED


def _median_in_words(weight_decay: float, runs: Sequence[Observation]) -> str:
    median, last = median_time(runs), max(run.time for run in runs)
    epoch_in_words = f"{median:,}" if median is not None else f"not reached by {last:,}"
    grokked = sum(run.event for run in runs)
    return f"{epoch_in_words} at {weight_decay} ({grokked} of {len(runs)} grokked)"


def _compare(earlier: Sequence[Followed], later: Sequence[Followed]) -> Comparison:
    """Both tests. The permutation test cuts both groups at the shortest follow-up of any run,
    because dealing runs between groups is exact only if all were watched equally long."""
    horizon = min(run.followed_to for run in [*earlier, *later])
    first, second = ([run.observation for run in runs] for runs in (earlier, later))
    cut = follow_up_to(first, horizon), follow_up_to(second, horizon)
    return Comparison(
        log_rank(first, second), permutation_test(*cut), permutation_test(*reversed(cut)), horizon
    )
