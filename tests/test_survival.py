"""Survival statistics against published tables, brute force and the degenerate cases."""

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grokking.sweeps import survival
from grokking.sweeps.survival import (
    Observation,
    follow_up_to,
    kaplan_meier,
    log_rank,
    median_time,
    permutation_test,
    wilson_interval,
)


def observe(text: str) -> list[Observation]:
    """'6 9+' -> an event at 6 and a censoring at 9, as the literature prints them."""
    return [Observation(int(t.rstrip("+")), not t.endswith("+")) for t in text.split()]


# Freireich et al. (1963), Blood 21:699, table as in Cox & Oakes (1984), Analysis of Survival
# Data, p. 7: weeks in remission of 42 children with leukaemia, 6-mercaptopurine or placebo.
TREATED = observe("6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+")
PLACEBO = observe("1 1 2 2 3 4 4 5 5 8 8 8 8 11 11 12 12 15 17 22 23")


def test_kaplan_meier_reproduces_the_published_leukaemia_table():
    steps = kaplan_meier(TREATED)
    assert [(s.time, s.at_risk, s.events) for s in steps] == [
        (6, 21, 3),
        (7, 17, 1),
        (10, 15, 1),
        (13, 12, 1),
        (16, 11, 1),
        (22, 7, 1),
        (23, 6, 1),
    ]
    published = [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    assert [round(float(s.survival), 3) for s in steps] == published


def test_medians_of_the_leukaemia_data_are_23_and_8_weeks():
    assert (median_time(TREATED), median_time(PLACEBO)) == (23, 8)


def test_log_rank_of_the_leukaemia_data_is_the_published_16_79():
    result = log_rank(TREATED, PLACEBO)
    assert result.chi2 == pytest.approx(16.793, abs=5e-4)
    assert result.p == pytest.approx(4.17e-5, rel=5e-3)
    assert log_rank(PLACEBO, TREATED) == result


def exact_p(earlier, later):
    """The p-value of all deals."""
    found = permutation_test(earlier, later)
    assert found.draws is None
    return found.p


def test_all_censored_has_no_steps_no_median_and_no_test():
    censored = observe("100+ 100+ 50+")
    assert kaplan_meier(censored) == []
    assert median_time(censored) is None
    assert log_rank(censored, censored) is None
    assert exact_p(censored, censored) == 1.0


def test_without_censoring_survival_is_the_empirical_share():
    steps = kaplan_meier(observe("30 10 20 40"))
    assert [s.survival for s in steps] == [Fraction(3, 4), Fraction(1, 2), Fraction(1, 4), 0]
    assert median_time(observe("30 10 20 40")) == 20
    assert median_time(observe("30 10 20")) == 20


def test_one_run():
    assert median_time(observe("7")) == 7
    assert median_time(observe("7+")) is None
    assert log_rank(observe("7"), observe("9")) is not None
    assert exact_p(observe("7"), observe("9")) == 0.5


def test_no_runs():
    assert kaplan_meier([]) == []
    assert median_time([]) is None
    assert log_rank([], TREATED) is None
    assert permutation_test([], TREATED) == (1.0, None)  # there is one deal


def test_survival_of_exactly_one_half_is_reached_despite_rounding():
    """5/6 * 4/5 * 3/4 is one half, which floating point misses by a bit."""
    assert median_time(observe("1 2 3 4 5 6")) == 3


def test_an_event_at_a_censoring_time_still_counts_the_censored_run_at_risk():
    assert kaplan_meier(observe("5 5+"))[0] == (5, 2, 1, Fraction(1, 2))


def test_permutation_p_of_complete_separation_is_one_deal_in_all():
    assert exact_p(observe("1 2 3"), observe("4 5 6")) == 1 / 20
    assert exact_p(observe("4 5 6"), observe("1 2 3")) == 1.0
    assert exact_p(observe("1 2 3"), observe("9+ 9+ 9+")) == 1 / 20


def test_too_many_deals_are_drawn_at_random_and_the_number_is_told():
    """11 against 11 runs can be dealt in 705,432 ways; none is more extreme than this one."""
    early, late = (
        [Observation(time, True) for time in times] for times in (range(1, 12), range(12, 23))
    )
    found = permutation_test(early, late)
    assert found.draws == 100_000
    assert 1 / 100_001 <= found.p < 1e-4
    assert found == permutation_test(early, late), "seeded"
    assert permutation_test(late, early).p == 1.0


def test_drawn_deals_agree_with_all_of_them(monkeypatch):
    """Within five standard errors of the share that 100,000 draws estimate."""
    early, late = observe("1 3 4 6 9 11 14+"), observe("2 5 7 8 10 12 13+")
    exact = permutation_test(early, late)
    assert exact.draws is None and 0.1 < exact.p < 0.5
    monkeypatch.setattr(survival, "MAX_DEALS", 0)
    drawn = permutation_test(early, late)
    error = math.sqrt(exact.p * (1 - exact.p) / drawn.draws)
    assert abs(drawn.p - exact.p) < 5 * error


def brute_force_p(first, second):
    """The definition: deal, count observed minus expected events, compare."""

    def score(group, rest):
        pooled, total = [*group, *rest], Fraction(0)
        for time in {o.time for o in pooled if o.event}:
            at_risk = [o for o in pooled if o.time >= time]
            deaths = sum(o.event and o.time == time for o in pooled)
            mine = sum(o.time >= time for o in group)
            total += sum(o.event and o.time == time for o in group)
            total -= Fraction(deaths * mine, len(at_risk))
        return total

    pooled, indices = [*first, *second], range(len(first) + len(second))
    deals = list(itertools.combinations(indices, len(first)))
    scores = [
        score([pooled[i] for i in deal], [pooled[i] for i in indices if i not in deal])
        for deal in deals
    ]
    return sum(s >= score(first, second) for s in scores) / len(deals)


groups = st.lists(st.builds(Observation, st.integers(1, 6), st.booleans()), min_size=1, max_size=4)


@given(groups, groups)
def test_permutation_p_is_the_share_of_deals_at_least_as_extreme(first, second):
    assert exact_p(first, second) == brute_force_p(first, second)


@given(groups)
def test_survival_falls_from_one_to_not_below_zero(observations):
    survivals = [1, *(s.survival for s in kaplan_meier(observations)), 0]
    assert survivals == sorted(survivals, reverse=True)


def test_follow_up_to_censors_what_lies_beyond_the_horizon():
    assert follow_up_to(observe("5 10 15 20+"), 10) == observe("5 10 10+ 10+")


def test_wilson_interval_matches_published_values():
    """Newcombe (1998), Stat. Med. 17:857, table I, method 3 (score, no continuity correction)."""
    for successes, trials, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        got = wilson_interval(successes, trials)
        assert got == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_at_the_edges():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(3, 3)[1] == 1.0
    assert wilson_interval(3, 3)[0] == pytest.approx(0.4385, abs=5e-5)
    with pytest.raises(ValueError, match="successes is 4"):
        wilson_interval(4, 3)
