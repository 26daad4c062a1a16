"""The detection rule on synthetic curves, and the watch against the rule applied afterwards."""

import math
import random

import pytest

from grokking.detection import Watch, detect, watched


def phases(validation, memorized_at=200, step=1, training=None):
    """detect() on a curve probed every `step` epochs that memorises at epoch `memorized_at`."""
    epochs = [i * step for i in range(len(validation))]
    training = training or [1.0 if e >= memorized_at else 0.5 for e in epochs]
    return detect(epochs, training, validation)


def ramp(start, end, low, high, length):
    """A curve at `low` until `start`, at `high` from `end`, straight between."""

    def value(e):
        share = min(max((e - start) / (end - start), 0), 1)
        return low + share * (high - low)

    return [value(e) for e in range(length)]


def test_a_clean_transition():
    found = phases([0.01] * 1000 + [1.0] * 500)
    assert (found.memorization_epoch, found.generalization_epoch, found.grok_epoch) == (
        200,
        1000,
        1000,
    )
    assert found.grok_interval == (999, 1000)
    assert found.grokked
    assert found.delay == 800


def test_a_slow_climb_is_dated_to_its_first_crossing():
    found = phases(ramp(600, 1600, 0.0, 1.0, 2000))
    assert found.grok_epoch == 1500
    assert found.grok_interval == (1499, 1500)


def test_a_spike_that_falls_back_is_passed_over():
    curve = [0.1] * 2000
    curve[700:710] = [0.95] * 10
    curve[1500:] = [1.0] * 500
    assert phases(curve).grok_epoch == 1500


def test_a_rejected_candidate_moves_the_search_to_the_next_one():
    """Epoch 700's window fails, but a later epoch of the same climb is confirmed."""
    curve = [0.1] * 2000
    curve[700] = 0.9
    curve[750:] = [0.99] * 1250
    assert phases(curve).grok_epoch == 750


def test_a_dip_afterwards_does_not_undo_it():
    curve = [0.1] * 1000 + [1.0] * 1000
    curve[1300:1400] = [0.2] * 100
    assert phases(curve).grok_epoch == 1000


def test_a_short_dip_inside_the_window_is_averaged():
    curve = [0.1] * 1000 + [1.0] * 1000
    curve[1050:1060] = [0.05] * 10  # mean over 101 probes is 0.906
    assert phases(curve).grok_epoch == 1000
    curve[1050:1062] = [0.05] * 12  # 0.887
    assert phases(curve).grok_epoch > 1000


def test_never():
    found = phases([0.1] * 3000)
    assert (found.memorization_epoch, found.generalization_epoch, found.grok_epoch) == (
        200,
        None,
        None,
    )
    assert found.grok_interval is None
    assert not found.grokked
    assert found.delay is None


def test_memorisation_and_generalisation_together_is_not_grokking():
    found = phases([0.1] * 300 + [1.0] * 300, memorized_at=290)
    assert (found.generalization_epoch, found.delay) == (300, 10)
    assert (found.grokked, found.grok_epoch) == (False, None)


@pytest.mark.parametrize(("generalized_at", "grokked"), [(599, False), (600, True)])
def test_the_delay_must_be_twice_the_time_to_memorise(generalized_at, grokked):
    assert phases([0.1] * generalized_at + [1.0] * 300).grokked is grokked


def test_generalisation_without_memorisation_is_not_grokking():
    found = phases([0.1] * 300 + [1.0] * 300, memorized_at=10**6)
    assert (found.memorization_epoch, found.generalization_epoch, found.grokked) == (
        None,
        300,
        False,
    )


def test_sparse_probing():
    found = phases([0.1] * 100 + [1.0] * 50, step=10)
    assert (found.grok_epoch, found.grok_interval) == (1000, (990, 1000))


def test_probes_wider_apart_than_the_window_use_the_next_probe():
    assert phases([0.1] * 5 + [0.95, 0.96], step=250).grok_epoch == 1250
    assert phases([0.1] * 5 + [0.95, 0.5, 0.5], step=250).grok_epoch is None


def test_a_probe_exactly_at_the_window_end_counts():
    """Epoch 1000 and 1100: the second is inside [e, e + 100] and is the only later one."""
    assert phases([0.1] * 10 + [0.95, 0.95], step=100).grok_epoch == 1000
    assert phases([0.1] * 10 + [0.95, 0.80], step=100).grok_epoch is None


def test_exactly_the_threshold_throughout_is_reached():
    """0.9 has no exact binary form: the mean of many of them must not fall short by rounding."""
    found = phases([0.9] * 1000, memorized_at=0)
    assert found.generalization_epoch == 0
    assert phases([0.899999] * 1000).generalization_epoch is None


def test_a_spike_at_the_last_probe_is_unconfirmed():
    assert phases([0.1] * 1000 + [1.0]).generalization_epoch is None
    assert phases([0.1] * 1000 + [1.0, 1.0]).generalization_epoch == 1000


def test_a_null_in_the_window_rejects_the_candidate():
    curve = [0.1] * 1000 + [1.0] * 300
    curve[1050] = None
    assert phases(curve).grok_epoch == 1051
    curve[999] = None
    assert phases(curve).grok_interval == (998, 1051)


def test_null_training_accuracy_is_not_memorisation():
    found = phases([0.1] * 5, training=[None, None, 0.98, 0.99, None])
    assert found.memorization_epoch == 3


def test_empty_and_single_histories():
    assert phases([]) == phases([0.5])
    assert phases([1.0], memorized_at=0).generalization_epoch is None


def random_curve(generator):
    """A noisy climb with dips, spikes and nulls, some of them straddling the threshold."""
    length, middle = generator.randrange(1, 500), generator.uniform(50, 400)
    width, noise = generator.choice([2, 30, 90]), generator.choice([0.0, 0.05, 0.3])
    curve = []
    for e in range(length):
        value = 1 / (1 + math.exp(-(e - middle) / width)) + generator.gauss(0, noise)
        curve.append(None if generator.random() < 0.003 else min(max(value, 0.0), 1.0))
    return curve


@pytest.mark.parametrize("step", [1, 7, 50, 100, 130])
def test_the_watch_agrees_with_the_rule_applied_afterwards(step):
    """What it confirms is what the whole history says, and the weights were being kept until then."""
    generator = random.Random(step)
    confirmed = 0
    for _ in range(200):
        curve = random_curve(generator)
        epochs = [i * step for i in range(len(curve))]
        watch, kept = Watch(), set()
        for epoch, value in zip(epochs, curve, strict=True):
            before = watch.confirmed
            watch.observe(epoch, 1.0, value)
            if epoch in watch.waiting:
                kept.add(epoch)
            if before is None and watch.confirmed is not None:
                assert watch.confirmed in kept
            kept &= watch.waiting | {watch.confirmed}
        final = detect(epochs, [1.0] * len(curve), curve).generalization_epoch
        if watch.confirmed is not None:
            confirmed += 1
            assert watch.confirmed == final
            assert watch.confirmed_at >= watch.confirmed + 100
        elif final is not None:
            assert final in kept  # confirmed by the end of the history only
    assert confirmed > 20


def test_the_watch_confirms_as_soon_as_the_window_is_full():
    watch = Watch()
    for epoch in range(1200):
        watch.observe(epoch, 1.0, 1.0 if epoch >= 1000 else 0.1)
        assert (watch.confirmed is not None) == (epoch >= 1100)
    assert (watch.confirmed, watch.confirmed_at) == (1000, 1100)


@pytest.mark.parametrize(
    ("training", "validation", "outcome", "delay"),
    [
        ([0.5] * 200 + [1.0] * 1300, [0.1] * 1000 + [1.0] * 500, "grokked", 800),
        ([0.5] * 200 + [1.0] * 1300, [0.1] * 300 + [1.0] * 1200, "generalised", 100),
        ([0.5] * 200 + [1.0] * 1300, [0.1] * 200 + [1.0] * 1300, "generalised", 0),
        ([0.5] * 400 + [1.0] * 1100, [0.1] * 300 + [1.0] * 1200, "generalised", None),
        ([0.5] * 1500, [0.1] * 300 + [1.0] * 1200, "generalised", None),
        ([0.5] * 200 + [1.0] * 1300, [0.1] * 1500, "memorised", None),
        ([0.5] * 1500, [0.1] * 1500, "learning", None),
    ],
)
def test_every_run_has_one_outcome_and_no_negative_delay(training, validation, outcome, delay):
    epochs = list(range(1500))
    found = detect(epochs, training, validation)
    assert (found.outcome, found.delay) == (outcome, delay)
    assert found.grokked == (outcome == "grokked")
    diverged = detect(epochs, training, validation, diverged=True)
    assert diverged.outcome == "diverged"
    assert diverged.grok_epoch == found.grok_epoch  # the epochs by the rule up to there


def test_a_generalisation_that_is_lost_has_a_collapse_epoch_at_any_probe_interval():
    for step in (1, 10, 100, 250):
        curve = [0.01 if e < 8000 else 1.0 if e < 20000 else 0.01 for e in range(0, 25001, step)]
        found = phases(curve, step=step)
        assert (found.outcome, found.grok_epoch, found.collapse_epoch) == ("grokked", 8000, 20000)


@pytest.mark.parametrize(
    ("change", "collapse"),
    [
        ({1500 + i: 0.0 for i in range(40)}, None),  # a dip that recovers within the window
        ({1500 + i: 0.49 for i in range(500)}, 1500),
        ({1500 + i: 0.51 for i in range(500)}, None),
        ({1999: 0.0}, None),  # the last probe, which no later one confirms
        ({1998: 0.0, 1999: 0.0}, 1998),
        ({1500: None, **{1501 + i: 0.0 for i in range(499)}}, 1501),
    ],
)
def test_what_counts_as_a_collapse(change, collapse):
    curve = [0.1] * 1000 + [1.0] * 1000
    for epoch, value in change.items():
        curve[epoch] = value
    assert phases(curve).collapse_epoch == collapse


def test_what_never_generalised_cannot_collapse():
    assert phases([0.1] * 2000).collapse_epoch is None


def test_a_run_ends_at_its_last_epoch_or_by_its_stop_rule_whichever_is_first():
    epochs = list(range(2001))
    watch = watched(epochs, [1.0] * 2001, [0.1] * 1000 + [1.0] * 1001)  # confirmed at 1100
    assert not watch.is_over(1599, 2000, None)
    assert watch.is_over(2000, 2000, None)
    assert not watch.is_over(1599, 2000, 500)
    assert watch.is_over(1600, 2000, 500)
    late = watched(epochs, [0.5] * 900 + [1.0] * 1101, [0.1] * 1000 + [1.0] * 1001)
    assert not late.is_over(1999, 2000, 500)  # generalised at once: no grokking to stop after
