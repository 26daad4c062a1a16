"""The rule of the phases, on made-up measures."""

import dataclasses

import pytest

from grokking.analysis.phases import Phases, find_phases
from grokking.analysis.progress_measures import ProgressMeasures

EPOCHS = [0, 10, 20, 30, 40, 50, 60, 70]
TRAINING = [4.0, 1e-2, 1e-6, 1e-7, 1e-7, 1e-7, 1e-7, 1e-7]
VALIDATION = [4.0, 12.0, 20.0, 18.0, 10.0, 3.0, 1.9e-7, 3e-7]
EXCLUDED = [4.0, 0.1, 0.02, 0.3, 2.0, 5.0, 6.0, 6.0]


def measures(training=TRAINING, validation=VALIDATION, excluded=EXCLUDED):
    n = len(training)
    flat = [0.5] * n
    return ProgressMeasures(
        [3],
        EPOCHS[:n],
        training,
        validation,
        flat,
        flat,
        excluded,
        [flat],
        [0] * n,
        flat,
        flat,
        flat,
    )


def test_each_phase_ends_where_the_rule_says():
    assert find_phases(measures()) == Phases(20, 40, 60)


def test_an_excluded_loss_that_never_fell_ends_no_memorisation():
    assert find_phases(measures(excluded=sorted(EXCLUDED))) == Phases(None, None, None)


def test_half_of_the_maximum_still_belongs_to_circuit_formation():
    lower = [v if v != 10.0 else 9.99 for v in VALIDATION]
    assert find_phases(measures(validation=lower)).circuit_formation == 30


def test_a_late_spike_of_the_validation_loss_moves_the_boundary():
    spiked = [*VALIDATION[:5], 15.0, *VALIDATION[6:]]
    assert find_phases(measures(validation=spiked)).circuit_formation == 50


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (3, Phases(None, None, None)),  # excluded loss still falling
        (5, Phases(20, None, None)),  # validation loss still high
        (6, Phases(20, 40, None)),  # the gap still open
    ],
)
def test_a_run_that_ends_early_has_not_finished_its_phase(length, expected):
    assert (
        find_phases(measures(*(s[:length] for s in (TRAINING, VALIDATION, EXCLUDED)))) == expected
    )


def test_cleanup_ends_below_twice_the_training_loss():
    open_gap = [v if v != 1.9e-7 else 2.1e-7 for v in VALIDATION[:7]]
    assert find_phases(measures(TRAINING[:7], open_gap, EXCLUDED[:7])) == Phases(20, 40, None)


def test_values_that_are_not_finite_are_passed_over():
    holed = [*VALIDATION[:1], None, *VALIDATION[2:]]
    assert find_phases(measures(validation=holed, excluded=[None, *EXCLUDED[1:]])) == Phases(
        20, 40, 60
    )
    nothing = dataclasses.replace(measures(), excluded_losses=[None] * 8)
    assert find_phases(nothing) == Phases(None, None, None)
