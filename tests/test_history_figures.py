"""The history figure: gaps, marks, axes and words, and its button in the browser."""

from pathlib import Path

import numpy as np
import pytest

from grokking.files.history import History
from grokking.pictures.figures.history import history_figure
from grokking.pictures.pages.page import Figures, write_page
from tests.support.browser import Chromium
from tests.support.synthetic import history, phases


def test_all_four_series_are_drawn_against_their_epochs() -> None:
    drawn = history()
    traces = history_figure(drawn, phases()).figure.data
    series = (
        drawn.training_losses,
        drawn.validation_losses,
        drawn.training_accuracies,
        drawn.validation_accuracies,
    )
    for trace, values in zip(traces, series, strict=True):
        assert trace.x.tolist() == drawn.epochs
        np.testing.assert_array_equal(trace.y, np.array(values, dtype=float))
    looks = {(trace.line.color, trace.line.dash) for trace in traces}
    assert len(looks) == 2, "training and validation differ in colour and in dash"
    assert len({color for color, _ in looks}) == len({dash for _, dash in looks}) == 2


def test_a_value_that_was_not_finite_is_a_gap() -> None:
    trace = history_figure(history(), phases()).figure.data[1]
    assert np.isnan(trace.y).nonzero()[0].tolist() == [5, 6]
    assert not trace.connectgaps


def test_loss_is_logarithmic_and_epochs_start_logarithmic_with_a_linear_button() -> None:
    drawing = history_figure(history(), phases())
    layout = drawing.figure.layout
    assert layout.yaxis.type == layout.xaxis.type == layout.xaxis2.type == "log"
    assert drawing.buttons is not None
    assert [b.label for b in drawing.buttons.buttons] == ["Log epochs", "Linear epochs"]
    assert drawing.look_for == drawing.buttons.buttons[0].look_for


@pytest.mark.parametrize(
    ("reached", "title", "marks"),
    [
        (phases(), "grokked at epoch 200", {"memorised at 20": 20, "grokked at 200": 200}),
        (
            phases(90),
            "generalised at epoch 200, no grokking",
            {"memorised at 90": 90, "generalised at 200": 200},
        ),
        (
            phases(collapsed=300),
            "grokked at epoch 200, collapsed at epoch 300",
            {"memorised at 20": 20, "grokked at 200": 200, "collapsed at 300": 300},
        ),
        (phases(20, None), "memorised at epoch 20, not generalised", {"memorised at 20": 20}),
        (phases(None, None), "not memorised", {}),
        (phases(None, None, diverged=True), "not memorised, diverged", {}),
    ],
)
def test_title_and_marks_say_what_was_reached(
    reached: dict[str, int | None], title: str, marks: dict[str, int]
) -> None:
    drawing = history_figure(history(), reached)
    layout = drawing.figure.layout
    assert title in drawing.title
    assert {s.label.text: s.x0 for s in layout.shapes if s.label.text} == marks
    assert len(layout.shapes) == 2 * len(marks), "each mark crosses both panels"


@pytest.mark.parametrize("count", (0, 1))
def test_an_empty_history_and_one_entry_are_drawn(
    tmp_path: Path, chromium: Chromium, count: int
) -> None:
    short = History([0] * count, [4.7] * count, [None] * count, [0.0] * count, [0.01] * count)
    drawing = history_figure(short, phases(None, None))
    blocks = [Figures([drawing])]
    with chromium.open(write_page(tmp_path / "a.html", "t", blocks, "shared")) as page:
        assert page.errors == []


@pytest.mark.parametrize("axis", ("Log epochs", "Linear epochs"))
def test_the_marks_stand_at_their_epochs_on_both_axes(
    tmp_path: Path, chromium: Chromium, axis: str
) -> None:
    blocks = [Figures([history_figure(history(), phases())])]
    with chromium.open(write_page(tmp_path / "a.html", "t", blocks, "shared")) as page:
        page.press("Linear epochs")
        page.press(axis)
        kind = page.evaluate("document.getElementById('figure-1')._fullLayout.xaxis2.type")
        assert kind == axis.split()[0].lower()
        wanted = page.evaluate(
            "(x => [20, 200].map(e => x.d2p(e) + x._offset))"
            "(document.getElementById('figure-1')._fullLayout.xaxis2)"
        )
        drawn = page.evaluate(
            "(left => [...document.querySelectorAll('.shapelayer path, .shape-group path')]"
            ".map(p => { const r = p.getBoundingClientRect();"
            " return [r.x + r.width / 2 - left, r.top, r.bottom]; }))"
            "(document.querySelector('#figure-1 svg.main-svg').getBoundingClientRect().x)"
        )
        for mark in wanted:
            (_, _, bottom), (_, top, _) = sorted(
                (line for line in drawn if abs(line[0] - mark) < 1), key=lambda line: line[1]
            )
            assert bottom < top, "once in each panel"
        assert page.errors == []
