"""Surface figures: values, orders and words in the record, pixels and hover in the browser."""

import re
import time
from pathlib import Path

import numpy as np
import pytest

from grokking.files.surfaces import Surface, surfaces_of
from grokking.fourier import cyclic_basis, strongest_wave, wave_order
from grokking.pictures import surface_views
from grokking.pictures.drawings import Drawing
from grokking.pictures.figures.surfaces import (
    combined_figures,
    heatmap_figure,
    surface_figure,
    wave_heatmap,
)
from grokking.pictures.pages.page import Facts, Figures, write_page
from grokking.pictures.pages.surfaces import surface_facts, write_surface_page
from grokking.pictures.surface_views import operands_told, surface_title, views
from grokking.task import make_task
from tests.support.browser import Chromium, Page
from tests.support.synthetic import flat_surface, neuron, surface


def labels(drawing: Drawing) -> list[str]:
    return [button.label for button in drawing.buttons.buttons] if drawing.buttons else []


def test_the_first_operand_runs_along_x_and_the_second_along_y() -> None:
    drawn = surface(13, 3)
    trace = surface_figure(drawn).figure.data[0]
    for x, y in ((0, 5), (12, 1), (7, 7)):
        assert abs(trace.z[y][x] - drawn.values[x][y]) < 1e-6


def test_wave_order_lists_the_same_numbers() -> None:
    drawn, order = surface(113, 19), wave_order(113, 19, 4)
    natural, wave = surface_figure(drawn).figure.data
    assert (natural.visible, wave.visible) == (True, False)
    for i, j in ((0, 5), (112, 1), (40, 99)):
        x, y = order[i], order[j]
        assert abs(wave.z[j][i] - drawn.values[x][y]) < 1e-6
    np.testing.assert_array_equal(np.sort(wave.z, axis=None), np.sort(natural.z, axis=None))


def test_a_large_modulus_is_drawn_by_every_nth_operand_of_each_order() -> None:
    p, order = 2003, wave_order(2003, 3, 4)
    drawn = surface(p, 3)
    natural, wave = views(drawn)
    for operands in natural.order:
        assert operands.tolist() == list(range(0, p, 3))
    for operands in wave.order:
        assert operands.tolist() == order[::3].tolist()
    for view in (natural, wave):
        assert view.caption.endswith(" Drawn is every 3rd of them.")
        assert heatmap_figure(drawn, view).figure.data[0].z.shape == (668, 668)


def test_the_buttons_offer_natural_order_first_and_relabel_the_axes() -> None:
    drawing = surface_figure(surface(113, 19))
    assert labels(drawing) == ["Natural order", "Wave order"]
    assert drawing.buttons is not None
    _, shown, layout, _ = drawing.buttons.buttons[1]
    assert shown == {"visible": [False, True]}
    ticks = layout["scene.xaxis.ticktext"]
    positions = layout["scene.xaxis.tickvals"]
    assert [int(text) for text in ticks] == [24 * i % 113 for i in positions]


def test_the_title_names_neuron_epoch_frequency_and_share() -> None:
    drawn = surface(113, 19, neuron_index=102)
    wave = drawn.wave
    assert wave is not None and wave == strongest_wave(drawn.values, cyclic_basis(113))
    title = surface_figure(drawn).title
    share = f"{100 * wave.share:.1f}%"
    assert title == f"Neuron 102, mod 113, epoch 8,123: frequency 19 holds {share} of the variance"
    without_epoch = Surface(0, 113, drawn.values)
    assert surface_title(without_epoch).startswith("Neuron 0, mod 113: frequency 19")


@pytest.mark.parametrize(
    ("drawn", "title", "reason"),
    [
        (flat_surface(113), "dead", "dead"),
        (flat_surface(1), "dead", "dead"),
        (flat_surface(113, 0.25), "no frequency", "every pair gives the same"),
        (flat_surface(1, 0.25), "no frequency", "every pair gives the same"),
    ],
)
def test_a_surface_without_wave_order_says_why(drawn: Surface, title: str, reason: str) -> None:
    drawing = surface_figure(drawn)
    assert labels(drawing) == []
    assert len(drawing.figure.data) == 1
    assert title in drawing.title
    assert reason in drawing.look_for
    assert len(combined_figures(drawn)) == 2


@pytest.mark.parametrize("p", (3, 5, 7))
def test_a_small_prime_has_a_wave_order_that_is_a_permutation(p: int) -> None:
    drawn = surface(p, 1)
    natural, wave = views(drawn)
    for operands, listed in zip(natural.order, wave.order, strict=True):
        assert operands.tolist() == list(range(p))
        assert sorted(listed) == list(range(p))


@pytest.mark.parametrize(
    ("p", "k", "caption", "sentence"),
    [
        (4, 1, "Operands in steps of 1 (mod 4).", "frequency 1 becomes 1 wave along"),
        (16, 3, "Operands in steps of 1 (mod 16).", "frequency 3 becomes 3 waves along"),
        (15, 3, "Operands by their phase in frequency 3 (mod 15).", "becomes 1 wave along"),
        (12, 5, "Operands in steps of 1 (mod 12).", "frequency 5 becomes 5 waves along"),
    ],
)
def test_every_modulus_has_a_wave_order(p: int, k: int, caption: str, sentence: str) -> None:
    drawn = surface(p, k)
    natural, wave = views(drawn)
    assert (natural.name, wave.name, wave.caption) == ("Natural order", "Wave order", caption)
    assert sentence in wave.look_for
    for operands in wave.order:
        assert sorted(operands) == list(range(p))


def planted(task: str, p: int, k: int) -> Surface:
    """A neuron of a task that is one wave of frequency k over its group, NaN where none asks."""
    named = make_task(task, p)
    assert named.group is not None
    first, second = named.group.first, named.group.second
    angle = 2 * np.pi * k / named.group.basis.order * np.add.outer(first, second)
    return surfaces_of(named, [4], np.maximum(np.cos(angle), 0)[:, :, None], 9)[0]


def test_multiplication_is_shown_as_counted_by_powers_and_as_waves() -> None:
    drawn = planted("multiply", 113, 5)
    assert drawn.wave is not None
    share = drawn.wave.share
    assert surface_title(drawn) == (
        f"Neuron 4, multiply mod 113, epoch 9: frequency 5 holds {100 * share:.1f}% of the variance"
    )
    natural, powers, wave = views(drawn)
    assert [view.name for view in (natural, powers, wave)] == [
        *("Natural order", "Powers of 3", "Wave order")
    ]
    assert natural.order.first.tolist() == natural.order.second.tolist() == list(range(1, 113))
    assert powers.order.first.tolist() == [pow(3, i, 113) for i in range(112)]
    step = 3 * pow(5, -1, 112) % 112  # three waves: the smallest number that 112 is coprime to
    assert wave.order.first.tolist() == [pow(3, step * i, 113) for i in range(112)]
    assert "frequency 5 becomes 3 waves" in wave.look_for
    assert "look like noise" in natural.look_for
    for view in (natural, powers, wave):
        assert np.isfinite(heatmap_figure(drawn, view).figure.data[0].z).all()
    assert len(combined_figures(drawn)) == 4


def test_subtraction_runs_backwards_along_y_in_wave_order() -> None:
    drawn = planted("subtract", 13, 3)
    _, wave = views(drawn)
    assert wave.order.first[1] == -wave.order.second[1] % 13
    assert wave.caption.endswith(", the second backwards.")
    order = wave.order
    diagonals = drawn.values[np.ix_(order.first, order.second)]
    np.testing.assert_allclose(diagonals[0, 3], diagonals[3, 0], atol=1e-12)  # of one class


def test_a_task_without_a_known_basis_says_so_and_leaves_a_gap_where_nothing_is_asked() -> None:
    values = np.arange(9.0).reshape(3, 3)
    values[1, 2] = np.nan
    drawn = Surface(0, 3, values, 5, "file:table.json", np.isnan(values))
    (natural,) = views(drawn)
    assert "No known basis" in natural.look_for and "no known basis" in surface_title(drawn)
    assert np.isnan(heatmap_figure(drawn, natural).figure.data[0].z[2][1])
    assert wave_heatmap(drawn).title == "Neuron 0: no known basis"
    dead = Surface(0, 3, 0 * values, 5, "file:table.json", np.isnan(values))
    assert wave_heatmap(dead).title == "Neuron 0: dead"


def test_a_heatmap_is_titled_with_its_strongest_block_or_with_why_there_is_none() -> None:
    generator = np.random.default_rng(0)
    drawn = Surface(0, 120, generator.random((120, 120)), 5, "s5")
    assert drawn.wave is not None
    assert re.fullmatch(r"Neuron 0: irrep \(.*\), \d+\.\d%", wave_heatmap(drawn).title)
    assert wave_heatmap(Surface(0, 120, np.ones((120, 120)), 5, "s5")).title == "Neuron 0: no irrep"
    assert wave_heatmap(flat_surface(13)).title.endswith(": no wave")


def test_the_caption_says_which_operands_are_left_out_along_which_axis() -> None:
    assert views(surface(13, 3))[0].caption == "Operands from 0 to 12, as counted."
    product = views(planted("multiply", 13, 5))[0].caption
    assert product == "Operands from 1 to 12, as counted, without those that no question has."
    values = np.ones((5, 5))
    values[2], values[:, 0] = np.nan, np.nan
    (natural,) = views(Surface(0, 5, values, 5, "file:table.json", np.isnan(values)))
    assert natural.order.first.tolist() == [0, 1, 3, 4]
    assert natural.caption == (
        "Operands from 0 to 4 along x and from 1 to 4 along y, as counted, without those that no "
        "question has."
    )


def test_each_axis_says_how_many_of_its_operands_are_drawn(monkeypatch) -> None:
    monkeypatch.setattr(surface_views, "DRAWN", 4)
    values = np.ones((5, 5))
    values[2] = np.nan
    (natural,) = views(Surface(0, 5, values, 5, "file:table.json", np.isnan(values)))
    assert natural.caption.endswith(" Drawn is every 2nd along y.")
    _, powers, _ = views(planted("multiply", 5, 1))  # four operands of five
    assert "Drawn" not in powers.caption
    assert operands_told(make_task("multiply", 11)) == [
        "Operands run from 1 to 10, without those that no question has. Drawn is every 3rd of them."
    ]
    assert operands_told(make_task("multiply", 5)) == []


@pytest.mark.parametrize(("task", "p", "k"), [("multiply", 7, 3), ("add", 12, 6)])
def test_an_alternating_function_is_told_as_two_levels(task: str, p: int, k: int) -> None:
    drawn = planted(task, p, k)
    assert drawn.wave is not None and drawn.wave.frequency == k
    *_, ordered, wave = views(drawn)
    assert "becomes one step along each axis" in wave.look_for
    assert "flat squares, two by two" in wave.look_for
    assert "look for a checkerboard" in ordered.look_for
    for view in (ordered, wave):
        assert "hills" not in view.look_for and "One wave" not in view.look_for
    heights = heatmap_figure(drawn, wave).figure.data[0].z
    half = len(heights) // 2
    for i, j in ((0, 0), (0, half), (half, 0), (half, half)):
        assert np.ptp(heights[i : i + half, j : j + half]) < 1e-6


FACTS = ["minimum", "maximum", "mean"]
STRENGTH = "periodicity strength{} (at most 0.5)"


@pytest.mark.parametrize(
    ("task", "pairs", "order"),
    [
        ("add", "", ""),
        ("subtract", " (a, -a)", ""),
        ("multiply", "", " by powers of 2"),
        ("divide", " (a, 1/a)", " by powers of 2"),
    ],
)
def test_the_facts_say_which_diagonal_they_are_of(task: str, pairs: str, order: str) -> None:
    assert [name for name, _ in surface_facts(planted(task, 13, 3))] == [
        *FACTS,
        *(f"diagonal{pairs} {what}" for what in ("mean", "std", "range")),
        f"dominant frequency on the diagonal{pairs}{order}",
        STRENGTH.format(order),
        "strongest frequency of the surface",
        "its share of the variance",
    ]


def test_facts_of_no_frequencies_where_there_are_none() -> None:
    diagonal = ["diagonal mean", "diagonal std", "diagonal range"]
    values = np.random.default_rng(0).random((120, 120))
    assert [name for name, _ in surface_facts(Surface(0, 120, values, 5, "s5"))] == [
        *(*FACTS, *diagonal, "strongest irrep of the surface", "its share of the variance")
    ]
    squares = Surface(0, 7, values[:7, :7], 5, "squares")
    assert [name for name, _ in surface_facts(squares)] == [*FACTS, *diagonal]


def test_the_sentence_warns_of_a_mixture_and_of_a_wave_too_fast_for_the_eye() -> None:
    mixed = Surface(0, 113, np.random.default_rng(0).random((113, 113)))
    fast, slow = surface(113, 56), surface(113, 3)
    sentences = [surface_figure(s).look_for for s in (mixed, fast, slow)]
    assert "No frequency rules this neuron" in sentences[0]
    assert "are faint" in views(mixed)[1].look_for
    assert "too fast for the eye" in sentences[1]
    assert "One wave every 37.7 operands" in sentences[2]


def test_every_picture_of_a_surface_has_the_same_colour_range_from_zero() -> None:
    drawn = Surface(0, 113, neuron(113, 19) + 1)
    peak = drawn.values.max()
    for trace in surface_figure(drawn).figure.data:
        assert (trace.cmin, trace.cmax) == (0, peak)
    for view in views(drawn):
        trace = heatmap_figure(drawn, view).figure.data[0]
        assert (trace.zmin, trace.zmax) == (0, peak)


def test_ridges_are_drawn_flat() -> None:
    ratio = surface_figure(surface()).figure.layout.scene.aspectratio
    assert ratio.x == ratio.y and ratio.z / ratio.x <= 0.25


def distinct() -> Surface:
    """A wave with a tilt: nearly every pair of operands has an activation of its own."""
    tilt = np.arange(31 * 31).reshape(31, 31) / 1000
    return Surface(0, 31, neuron(31, 7) + tilt)


def hovered(page: Page, selector: str) -> tuple[int, int, float]:
    """Operands and activation that the hover text shows over the middle of an element."""
    x, y = page.evaluate(
        f"(e => {{ e.scrollIntoView({{block: 'center', behavior: 'instant'}});"
        " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })"
        f"(document.querySelector('{selector}'))"
    )
    text = "[...document.querySelectorAll('.hovertext')].map(e => e.textContent).join()"
    for moment in range(300):
        if moment % 20 == 0:  # plotly picks once the pointer rests
            page.tab.mouse.move(x + moment // 20, y + 20)
        found = re.fullmatch(r"x = (\d+)y = (\d+)activation (\S+)", page.evaluate(text))
        if found:
            return int(found[1]), int(found[2]), float(found[3])
        time.sleep(0.1)
    raise AssertionError(f"no hover text over {selector}")


@pytest.mark.parametrize("order", ("Natural order", "Wave order"))
def test_the_3d_surface_is_drawn_and_hover_shows_the_true_operands(
    tmp_path: Path, chromium: Chromium, order: str
) -> None:
    drawn = distinct()
    path = write_surface_page(tmp_path / "a.html", drawn, "inline")
    with chromium.open(path, 600, 600) as page:
        page.press(order)
        visible = page.evaluate("document.getElementById('figure-1').data.map(t => t.visible)")
        assert visible == [order == "Natural order", order == "Wave order"]
        colors = page.colors(".gl-container canvas")
        assert len(colors) > 100, "a lit viridis surface has many shades"
        assert sum(n for c, n in colors.items() if is_peak(c)) > 300
        x, y, activation = hovered(page, ".gl-container canvas")
        assert abs(drawn.values[x][y] - activation) <= 5e-4 * max(1.0, activation)
        assert page.errors == []
        assert page.requests == [path.as_uri()]


def is_peak(color: str) -> bool:
    """Yellow to bright green, the upper end of viridis, lit or shaded."""
    red, green, blue = map(int, color.split(","))
    return green > 120 and red > 90 and blue < 90


def test_a_heatmap_shows_the_true_operands_in_wave_order(
    tmp_path: Path, chromium: Chromium
) -> None:
    drawn = distinct()
    wave_view = views(drawn)[1]
    blocks = [Figures([heatmap_figure(drawn, wave_view)])]
    with chromium.open(write_page(tmp_path / "a.html", "t", blocks, "shared")) as page:
        x, y, activation = hovered(page, ".nsewdrag")
        assert abs(drawn.values[x][y] - activation) <= 5e-4 * max(1.0, activation)
        assert page.errors == []


EXTREMES = {
    "p1": flat_surface(1, 2.0),
    "p1 dead": flat_surface(1),
    "p2": surface(2, 1),
    "even": surface(16, 3),
    "constant": flat_surface(13, 0.1),
    "tiny": Surface(0, 13, neuron(13, 3) * 1e-300),
    "huge": Surface(0, 13, neuron(13, 3) * 1e300),
    "negative": Surface(0, 13, neuron(13, 3) - 5),
}


def test_extreme_surfaces_are_drawn_without_complaint(tmp_path: Path, chromium: Chromium) -> None:
    blocks = [
        block
        for drawn in EXTREMES.values()
        for block in (Figures(combined_figures(drawn)), Facts(surface_facts(drawn)))
    ]
    path = write_page(tmp_path / "a.html", "t", blocks, "shared")
    with chromium.open(path, 390, 844) as page:
        assert page.errors == []
        wanted = page.evaluate("document.querySelectorAll('.plot').length")
        assert page.evaluate("document.querySelectorAll('.plot .modebar').length") == wanted > 15
