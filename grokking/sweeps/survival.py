"""Statistics of a time to an event that some subjects have not reached when they are last seen.

A run that has not grokked when it ends is censored there: it is known to grok later, not
known never to. Everything is exact rational arithmetic until the last step, so that a
survival of one half is one half, and permutations that tie do tie.

Sources: Kaplan & Meier (1958), J. Am. Stat. Assoc. 53:457; Mantel (1966), Cancer Chemother.
Rep. 50:163; Wilson (1927), J. Am. Stat. Assoc. 22:209; Peto & Peto (1972), J. R. Stat.
Soc. A 135:185 (log-rank scores and their permutations); Phipson & Smyth (2010), Stat. Appl.
Genet. Mol. Biol. 9:39 (a p-value from random permutations is never zero).
"""

import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, combinations
from typing import NamedTuple

MAX_DEALS = 200_000  # that are all looked at: about a second
DRAWS, SEED = 100_000, 0  # random deals, where there are more


class Observation(NamedTuple):
    """One run: the epoch at which it grokked, or (event False) the last epoch it was seen at."""

    time: int
    event: bool


class SurvivalStep(NamedTuple):
    """Kaplan-Meier estimate just after one event time."""

    time: int
    at_risk: int
    events: int
    survival: Fraction  # share that has not grokked by `time`


class LogRank(NamedTuple):
    """Mantel's log-rank test of two groups; chi2 has one degree of freedom, p is two-sided."""

    chi2: float
    p: float


class PermutationTest(NamedTuple):
    """One-sided p of a permutation test; `draws` random deals, or None if all were looked at."""

    p: float
    draws: int | None


class MedianInterval(NamedTuple):
    """An interval of the median time; `high` is None where it lies beyond what was seen."""

    low: int
    high: int | None
    coverage: float  # the least probability that it covers the median


def _risk_table(observations: Sequence[Observation]) -> list[tuple[int, int, int]]:
    """(time, at risk, events) of each event time; who is censored at a time is at risk there."""
    times = sorted({time for time, event in observations if event})
    return [
        (
            time,
            sum(o.time >= time for o in observations),
            sum(o.event and o.time == time for o in observations),
        )
        for time in times
    ]


def kaplan_meier(observations: Sequence[Observation]) -> list[SurvivalStep]:
    """Steps of the product-limit estimate, one per distinct event time, ascending."""
    steps, survival = [], Fraction(1)
    for time, at_risk, events in _risk_table(observations):
        survival *= Fraction(at_risk - events, at_risk)
        steps.append(SurvivalStep(time, at_risk, events, survival))
    return steps


def median_time(observations: Sequence[Observation]) -> int | None:
    """First time at which the Kaplan-Meier estimate is at most one half; None if it never is."""
    reached = (step.time for step in kaplan_meier(observations) if step.survival <= Fraction(1, 2))
    return next(reached, None)


def median_interval(
    observations: Sequence[Observation], level: float = 0.95
) -> MedianInterval | None:
    """Order-statistics interval of the median time (the sign test turned round): exact for any distribution.

    The narrowest symmetric one that covers at least `level`; where so few runs have none, the widest, with
    what that covers: of three runs, from the first to the last, 75 %. A censored run counts as early as it was
    last seen at the lower end and as never at the upper one, which can only widen the interval. None for
    fewer than two runs.
    """
    n = len(observations)
    if n < 2:
        return None
    rank, outside = 1, 2 * Fraction(1, 2**n)
    while rank < n // 2 and 1 - (more := outside + 2 * Fraction(math.comb(n, rank), 2**n)) >= level:
        rank, outside = rank + 1, more
    earliest = sorted(o.time for o in observations)
    events = sorted(o.time for o in observations if o.event)
    last = n - rank  # place of the upper order statistic
    high = events[last] if last < len(events) else None
    return MedianInterval(earliest[rank - 1], high, float(1 - outside))


def log_rank(first: Sequence[Observation], second: Sequence[Observation]) -> LogRank | None:
    """Log-rank test of equal hazards; None where it has no variance (no event to compare)."""
    difference, variance = Fraction(0), Fraction(0)
    for time, n, d in _risk_table([*first, *second]):
        n1 = sum(o.time >= time for o in first)
        d1 = sum(o.event and o.time == time for o in first)
        difference += d1 - Fraction(d * n1, n)
        if n > 1:
            variance += Fraction(d * n1 * (n - n1) * (n - d), n * n * (n - 1))
    if variance == 0:
        return None
    chi2 = float(difference**2 / variance)
    return LogRank(chi2, math.erfc(math.sqrt(chi2 / 2)))


def permutation_test(
    earlier: Sequence[Observation], later: Sequence[Observation]
) -> PermutationTest:
    """One-sided test that `earlier` reaches the event sooner.

    p is the share of all ways to deal the pooled runs into two groups of these sizes whose
    log-rank score sum for the first is at least the observed one: exact, or from DRAWS random
    deals where there are more than MAX_DEALS ways. A score is the event indicator minus the
    Nelson-Aalen hazard, so its sum is observed minus expected events. Valid if both groups were
    followed equally long (see follow_up_to).
    """
    scores = _integer_scores([*earlier, *later])
    size = len(earlier)
    observed, ways = sum(scores[:size]), math.comb(len(scores), size)
    if ways <= MAX_DEALS:
        extreme = sum(sum(chosen) >= observed for chosen in combinations(scores, size))
        return PermutationTest(extreme / ways, None)
    rng = random.Random(SEED)
    extreme = sum(sum(rng.sample(scores, size)) >= observed for _ in range(DRAWS))
    return PermutationTest((extreme + 1) / (DRAWS + 1), DRAWS)


def _integer_scores(observations: Sequence[Observation]) -> list[int]:
    """Log-rank scores over their common denominator."""
    table = _risk_table(observations)
    times = [time for time, _, _ in table]
    hazards = list(accumulate((Fraction(d, n) for _, n, d in table), initial=Fraction(0)))
    scores = [o.event - hazards[bisect_right(times, o.time)] for o in observations]
    scale = math.lcm(*(score.denominator for score in scores))
    return [int(score * scale) for score in scores]


def follow_up_to(observations: Sequence[Observation], horizon: int) -> list[Observation]:
    """The same runs as seen at `horizon`: later events and censorings become censored there."""
    return [o if o.time <= horizon else Observation(horizon, False) for o in observations]


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Score interval of a binomial proportion, 95 % by default; (0, 1) without trials.

    Raises ValueError unless 0 <= successes <= trials.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes is {successes}, expected 0 to trials = {trials}")
    if trials == 0:
        return 0.0, 1.0
    share, weight = successes / trials, z * z / trials
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / trials + weight / (4 * trials))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high
