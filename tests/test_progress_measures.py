"""progress_measures.json: what is written is read, and every damaged file gets one line."""

import dataclasses
import json
import math

import pytest

from grokking.analysis import progress_measures
from grokking.analysis.progress_measures import ProgressMeasures
from grokking.system.errors import UserError

MEASURES = ProgressMeasures(
    key_frequencies=[2, 5],
    epochs=[0, 10, 20],
    training_losses=[4.7, 1e-3, 1e-9],
    validation_losses=[4.8, 13.0, 1e-4],
    validation_accuracies=[0.0, 0.1, 1.0],
    restricted_losses=[4.7, 2.0, None],
    excluded_losses=[4.7, 0.1, 9.0],
    excluded_losses_by_frequency=[[4.7, 0.2, 8.0], [4.7, None, 7.0]],
    periodic_neurons=[0, 3, 20],
    squares_total=[900.0, 800.0, 300.0],
    W_E_gini=[0.1, 0.5, 0.9],
    W_L_gini=[0.1, 0.5, 0.9],
)


def test_measures_survive_the_round_trip_and_null_marks_what_was_not_finite(tmp_path):
    infinite = dataclasses.replace(MEASURES, restricted_losses=[4.7, 2.0, math.inf])
    progress_measures.write(tmp_path, infinite)
    assert progress_measures.read(tmp_path) == MEASURES


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("epochs", 5, "'epochs' is 5, expected a list, each an epoch >= 0"),
        ("epochs", [0, 20, 10], "'epochs' must increase"),
        ("epochs", [0, 10], r"has 3 entries, expected 2 as in 'epochs'"),
        ("key_frequencies", [2, "x"], r"'key_frequencies'\[1\] is \"x\", expected an integer >= 0"),
        ("periodic_neurons", [0, 1.5, 2], r"'periodic_neurons'\[1\] is 1.5, expected an integer"),
        ("restricted_losses", [1.0, 2.0], "'restricted_losses' has 2 entries, expected 3"),
        (
            "training_losses",
            [1.0, [], 2.0],
            r"'training_losses'\[1\] is a list, expected a finite number",
        ),
        ("excluded_losses_by_frequency", [[1.0, 2.0, 3.0]], "has 1 entries, expected 2"),
        ("excluded_losses_by_frequency", [[1.0], [2.0]], r"\[0\] is a list, expected a list of 3"),
        ("excluded_losses_by_frequency", [[1, 2, 3], [1, 2, "x"]], r"\[1\]\[2\] is \"x\""),
        ("W_E_gini", None, "'W_E_gini' is null, expected a list, each a finite"),
    ],
)
def test_a_damaged_file_gets_one_line_with_its_fault(tmp_path, key, value, fault):
    path = progress_measures.write(tmp_path, MEASURES)
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UserError, match=f"^{path}: .*{fault}") as caught:
        progress_measures.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_with_nothing_but_a_number_of_epochs_is_refused(tmp_path):
    (tmp_path / "progress_measures.json").write_text('{"epochs": 5}')
    with pytest.raises(UserError, match="'epochs' is 5, expected a list"):
        progress_measures.read(tmp_path)
