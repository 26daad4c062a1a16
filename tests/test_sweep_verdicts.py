"""Verdicts on synthetic groups of runs, each with the reason a person would give."""

import pytest

from grokking.sweeps.survival import Observation
from grokking.sweeps.verdicts import Followed, judge_hypotheses


def runs(text: str, followed_to: int = 10_000) -> list[Followed]:
    """'7000 10000+' -> a run that grokked at 7,000 and one that ended at 10,000 without."""
    observations = [Observation(int(t.rstrip("+")), not t.endswith("+")) for t in text.split()]
    return [Followed(o, followed_to if o.event else o.time) for o in observations]


def judge(**groups: str) -> dict[str, object]:
    """Verdicts by hypothesis, from half=, one=, two= (weight decays 0.5, 1.0, 2.0)."""
    names = {"half": 0.5, "one": 1.0, "two": 2.0}
    return {
        v.hypothesis: v for v in judge_hypotheses({names[n]: runs(t) for n, t in groups.items()})
    }


def test_the_expected_sweep_passes_all_three():
    found = judge(half="10000+ 10000+ 9650", one="6900 8050 9300", two="2800 3150 3600")
    assert [v.verdict for v in found.values()] == ["PASS", "PASS", "PASS"]
    assert found["H1"].reason == (
        "3 of 3 runs grokked by epoch 10,000 (95 % interval of the share: 44% to 100%)"
    )
    assert found["H2"].reason == (
        "median grok epoch 3,150 at 2.0 (3 of 3 grokked), 8,050 at 1.0 (3 of 3 grokked)"
    )
    assert "not reached by 10,000 at 0.5 (1 of 3 grokked)" in found["H3"].reason


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        ("10000", "PASS"),  # on the last possible epoch
        ("10001", "FAIL"),  # it reached 10,000 without
        ("10000+", "FAIL"),
        ("9999+", "UNDECIDED"),
        ("5000 100+", "UNDECIDED"),
        ("10000 100+", "UNDECIDED"),
        ("5000 100+ 12000", "FAIL"),  # one is enough, whatever the others did
        ("5000 15000+", "FAIL"),
    ],
)
def test_h1_fails_only_if_a_run_reached_the_deadline_without_grokking(one, verdict):
    assert judge(one=one)["H1"].verdict == verdict


def times(text: str, runs: int = 4) -> str:
    """The same runs several times over: enough of them for an order to be more than chance."""
    return " ".join([text] * runs)


@pytest.mark.parametrize(
    ("two", "one", "verdict"),
    [
        ("3000 3100 9000", "7000 8000 9500", "PASS"),  # by medians: 3,100 before 8,000
        ("8000", "3000", "FAIL"),
        ("5000", "5000", "UNDECIDED"),
        ("3000 3100 100+", "8000 8000 8000", "UNDECIDED"),  # cut at 100, when nothing had happened
        ("3000", "10000+ 10000+ 9000", "PASS"),  # 1.0's median lies beyond 10,000
        ("3000", "3000+ 3000+", "PASS"),  # censored at 3,000: later than 3,000
        ("3000", "2999+ 2999+", "UNDECIDED"),  # could have grokked at 3,000 too
        ("10000+ 10000+", "7000 8000", "FAIL"),
        ("8000+", "8000", "FAIL"),
        ("100+ 100+", "7000 8000", "UNDECIDED"),  # ended too early to say
        ("10000+", "10000+", "UNDECIDED"),
        ("100+", "100+", "UNDECIDED"),
    ],
)
def test_h2_orders_medians_as_far_as_censoring_allows(two, one, verdict):
    assert judge(two=times(two), one=times(one))["H2"].verdict == verdict


@pytest.mark.parametrize(
    ("half", "verdict"),
    [("9000", "PASS"), ("10000+", "PASS"), ("2000", "FAIL"), ("4999+", "UNDECIDED")],
)
def test_h3_takes_later_and_failing_for_the_same(half, verdict):
    assert judge(half=times(half), one=times("5000"))["H3"].verdict == verdict


@pytest.mark.parametrize(
    ("two", "one", "verdict", "reason"),
    [
        ("3000", "8000", "UNDECIDED", "too few runs: with 1 against 1, p cannot fall below 0.5"),
        ("3000 10000+", "10000+ 10000+", "UNDECIDED", "too few runs: with 2 against 2, p cannot"),
        ("8000 8001", "3000 3001", "UNDECIDED", "p cannot fall below 0.17"),
        ("3000 3001", "8000 8001 8002", "UNDECIDED", "with 2 against 3, p cannot fall below 0.1"),
        (
            "3000 3001 8001",
            "8000 8002 8003",
            "UNDECIDED",
            "may be chance: its p is 0.1, above 0.05",
        ),
        ("3000 3001 3002", "8000 8002 8003", "PASS", ""),
        ("8000 8002 8003", "3000 3001 3002", "FAIL", ""),
        (
            "8000 8002 8003",
            "3000 3001 8001",
            "UNDECIDED",
            "may be chance: its p is 0.1, above 0.05",
        ),
    ],
)
def test_an_order_that_chance_may_have_made_decides_nothing(two, one, verdict, reason):
    found = judge(two=two, one=one)["H2"]
    assert found.verdict == verdict
    assert reason in found.reason and ("chance" in found.reason) == ("chance" in reason)


def test_a_missing_weight_decay_leaves_its_hypotheses_undecided():
    found = judge(one="5000")
    assert [v.verdict for v in found.values()] == ["PASS", "UNDECIDED", "UNDECIDED"]
    assert found["H2"].reason == "no run with weight decay 2.0 could be read"
    assert judge(two="3000")["H1"].reason == "no run with weight decay 1.0 could be read"
    assert "0.5 and 1.0" not in judge(one="5000")["H3"].reason
    assert "1.0 and 0.5" in judge(two="3000")["H3"].reason


def test_p_values_of_both_orders_stand_beside_the_verdict():
    found = judge(one="8000", two="3000")["H2"]
    assert (found.comparison.permutation, found.comparison.opposite) == ((0.5, None), (1.0, None))
    assert judge(one="10000+", two="10000+")["H2"].comparison.log_rank is None


def test_the_permutation_test_follows_both_groups_equally_long():
    """A run of 0.5 was watched to 20,000 epochs, one of 1.0 to 10,000: both are cut at 10,000."""
    found = judge_hypotheses({0.5: runs("15000 16000", 20_000), 1.0: runs("9000 10000+", 10_000)})[
        2
    ]
    assert found.comparison.horizon == 10_000
    assert found.comparison.permutation.p == pytest.approx(1 / 2)  # only the 9,000 is an event
