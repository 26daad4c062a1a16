"""The figure of progress measures: what is drawn, its gaps, its marks."""

import numpy as np
import pytest

from grokking.analysis.phases import Phases
from grokking.analysis.progress_measures import ProgressMeasures
from grokking.pictures.figures.progress import progress_figure
from grokking.task import make_task
from tests.support.addition import addition

EPOCHS = [0, 8, 64]
MEASURES = ProgressMeasures(
    key_frequencies=[3, 5],
    epochs=EPOCHS,
    training_losses=[4.7, 0.1, 1e-7],
    validation_losses=[4.7, 9.0, 2e-7],
    validation_accuracies=[0.0, 0.1, 1.0],
    restricted_losses=[4.7, None, 5e-8],
    excluded_losses=[4.7, 0.2, 5.0],
    excluded_losses_by_frequency=[[4.7, 0.1, 1.0], [4.7, 0.1, 2.0]],
    periodic_neurons=[0, 1, 9],
    squares_total=[1000.0, 2000.0, 500.0],
    W_E_gini=[0.1, 0.2, 0.8],
    W_L_gini=[0.1, 0.3, 0.9],
)


def drawn(phases=None):
    figure = progress_figure(MEASURES, phases or Phases(None, None, None), addition(13)).figure
    return figure, {trace.name: trace for trace in figure.data}


def test_losses_are_above_on_a_log_axis_and_structure_below():
    figure, traces = drawn()
    expected = {
        "training loss": (MEASURES.training_losses, "y"),
        "validation loss": (MEASURES.validation_losses, "y"),
        "restricted loss, all pairs": (MEASURES.restricted_losses, "y"),
        "excluded loss, training pairs": (MEASURES.excluded_losses, "y"),
        "Gini of W_E's spectrum": (MEASURES.W_E_gini, "y2"),
        "Gini of W_L's spectrum": (MEASURES.W_L_gini, "y2"),
        "sum of squared weights / its maximum": ([0.5, 1.0, 0.25], "y2"),
    }
    assert list(traces) == list(expected)
    for name, (values, axis) in expected.items():
        assert list(traces[name].x) == EPOCHS
        np.testing.assert_array_equal(traces[name].y, np.array(values, dtype=float))
        assert traces[name].yaxis == axis
    assert (figure.layout.yaxis.type, figure.layout.yaxis2.type) == ("log", None)


def test_a_value_that_was_not_finite_is_a_gap():
    _, traces = drawn()
    assert np.isnan(traces["restricted loss, all pairs"].y).tolist() == [False, True, False]


def test_no_two_lines_of_a_panel_look_alike():
    _, traces = drawn()
    for axis in ("y", "y2"):
        looks = [(t.line.color, t.line.dash) for t in traces.values() if t.yaxis == axis]
        assert len(set(looks)) == len(looks)
        assert len({dash for _, dash in looks}) == len(looks)


def test_the_ends_of_the_phases_that_were_reached_are_marked_and_named():
    figure, _ = drawn(Phases(8, 40, None))
    marks = [(shape.x0, shape.label.text) for shape in figure.layout.shapes]
    assert marks == [
        (8, "end of memorisation phase"),
        (8, ""),
        (40, ""),
        (40, "end of circuit formation"),
    ]


@pytest.mark.parametrize(
    ("task", "told", "untold"),
    [
        ("add", ("the key frequencies alone", "coefficient of 1 would", "one frequency"), "irrep"),
        ("s5", ("the key irreps alone", "coefficient of 0.83 would", "one irrep"), "frequenc"),
        ("squares", ("sum of squared weights",), "Gini"),
    ],
)
def test_what_to_look_for_is_told_in_the_words_of_the_task(task, told, untold):
    made = make_task(task, 120 if task == "s5" else 13)
    look_for = progress_figure(MEASURES, Phases(None, None, None), made).look_for
    assert all(words in look_for for words in told) and untold not in look_for
