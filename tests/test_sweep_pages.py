"""The pages of a sweep: right numbers in the figures, one look per weight decay, no error in a browser."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grokking.pictures.style import value_styles
from grokking.pictures.thinning import log_places, thinned
from grokking.sweeps.analysis import analyze
from grokking.sweeps.curves import accuracy_figures, facets, loss_figure
from grokking.sweeps.figures import distribution_figure, scaling_figure, survival_figures
from grokking.sweeps.folder import read_sweep
from grokking.sweeps.look import NEVER_GLYPH, NOT_YET_GLYPH
from grokking.sweeps.pages import write_sweep_pages
from tests.support.sweep_folders import typical_sweep, write_run

PAGES = (
    "index.html",
    "validation_accuracy_comparison.html",
    "grokking_epoch_distribution.html",
    "combined_comparison.html",
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Nine runs in a folder with a space in its name, with the pictures of two of them."""
    folder = typical_sweep(tmp_path_factory.mktemp("a sweep"))
    for name in ("wd0.5_seed42/visualizations/index.html", "wd1.0_seed42/report.html"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("<!DOCTYPE html><title>run</title>")
    return read_sweep(folder)


@pytest.fixture(scope="module")
def plots(sweep):
    return write_sweep_pages(*analyze(sweep.directory)).parent


def test_every_run_has_a_curve_in_its_weight_decays_look(sweep):
    looks = value_styles([0.5, 1.0, 2.0])
    lines = [trace for trace in accuracy_figures(sweep)[0].figure.data if trace.mode == "lines"]
    assert len(lines) == 9
    for trace in lines:
        look = looks[float(trace.legendgroup)]
        assert (trace.line.color, trace.line.dash) == (look.color, look.dash)
    assert sorted(trace.name for trace in lines if trace.showlegend) == ["0.5", "1.0", "2.0"]


def points_of(figure, symbol=None):
    return [
        t
        for t in figure.data
        if t.type == "scatter" and t.marker.symbol == (symbol or t.marker.symbol)
    ]


def test_the_distribution_shows_every_run_once_and_those_that_may_yet_grok_as_such(sweep):
    figure = distribution_figure(sweep).figure
    censored = points_of(figure, NOT_YET_GLYPH)
    assert [list(t.y) for t in censored] == [[10_000, 10_000]]
    assert "memorised, not grokked by epoch 10,000<br>seed 42" in censored[0].text
    grokked = sorted(y for t in points_of(figure) if t not in censored for y in t.y)
    assert grokked == [2_800, 3_150, 3_600, 6_900, 8_050, 9_300, 9_650]
    assert len({x for t in points_of(figure) for x in t.x}) == 9  # none hides another


def test_a_box_takes_five_runs_that_grokked(tmp_path):
    for seed in range(5):
        write_run(tmp_path, 1.0, seed, 4_000 + 500 * seed, every=500)
    for seed in range(4):
        write_run(tmp_path, 2.0, seed, 2_000 + 500 * seed, every=500)
    drawing = distribution_figure(read_sweep(tmp_path))
    figure = drawing.figure
    assert [list(t.y) for t in figure.data if t.type == "box"] == [
        [4_000, 4_500, 5_000, 5_500, 6_000]
    ]
    assert "A box: quartiles" in drawing.look_for


def test_no_weight_decay_looks_like_a_run_that_has_not_grokked():
    decays = (0.0, 0.1, 0.3, 0.5, 1.0, 2.0, 3.0, *range(4, 40))
    used = {style.symbol for style in value_styles(decays).values()}
    assert not {glyph.removesuffix("-open") for glyph in (NOT_YET_GLYPH, NEVER_GLYPH)} & used


def test_runs_that_can_grok_no_more_are_no_censored_ones(tmp_path):
    write_run(tmp_path, 1.0, 1, 300, last_epoch=1_000)  # memorised at 150: generalised at once
    drawing = distribution_figure(read_sweep(tmp_path))
    figure = drawing.figure
    (trace,) = figure.data
    assert (trace.marker.symbol, list(trace.y)) == (NEVER_GLYPH, [300])
    assert trace.text[0].startswith("generalised at epoch 300, no grokking")
    assert drawing.look_for.startswith(
        "No run has grokked. An asterisk is a run that has generalised"
    )


def test_sentences_of_a_sweep_hold_for_its_runs(sweep):
    assert distribution_figure(sweep).look_for == (
        "A point is a run that grokked. An arrow is a run that had not grokked at its last epoch: its "
        "grok epoch, if it has one, lies above."
    )
    assert "7 of 9 grokked. Markers" in accuracy_figures(sweep)[0].look_for  # 0.5 has no median
    assert "Ticks: runs that ended without" in survival_figures(sweep)[0].look_for
    assert loss_figure(sweep).look_for.startswith("0 of 9 runs climbed above the loss that they")
    assert "6 ended below a hundredth" in loss_figure(sweep).look_for


def test_the_order_of_weight_decays_is_claimed_where_the_medians_have_it(tmp_path):
    for weight_decay, grok_epoch in ((0.5, 8_000), (1.0, 5_000), (2.0, 2_000)):
        write_run(tmp_path, weight_decay, 1, grok_epoch)
    ordered = read_sweep(tmp_path)
    assert "The more weight decay, the further left" in accuracy_figures(ordered)[0].look_for
    assert "Ticks" not in survival_figures(ordered)[0].look_for
    write_run(tmp_path, 3.0, 1, 2_500)
    assert "further left" not in accuracy_figures(read_sweep(tmp_path))[0].look_for


def test_survival_curves_fall_at_the_grok_epochs_and_end_where_the_runs_do(sweep):
    curves = {
        t.name: (list(t.x), list(t.y))
        for t in survival_figures(sweep)[0].figure.data
        if t.mode == "lines"
    }
    epochs, shares = curves["1.0"]
    assert epochs == [1, 6_900, 8_050, 9_300, 9_300]
    assert shares == pytest.approx([1, 2 / 3, 1 / 3, 0, 0])
    epochs, shares = curves["0.5"]
    assert epochs == [1, 9_650, 10_000]
    assert shares == pytest.approx([1, 2 / 3, 2 / 3])


def test_a_facet_shows_its_own_runs_in_colour_over_all_others_in_grey(sweep):
    panels = facets(sweep)
    assert len(panels) == 3
    colours = [trace.line.color for trace in panels[0].figure.data]
    own = value_styles([0.5, 1.0, 2.0])[0.5].color
    assert colours == [colours[0]] * 6 + [own] * 3
    assert colours[0] != own


def test_the_line_of_the_scaling_figure_goes_through_medians_that_lie_on_one(tmp_path):
    for weight_decay in (0.5, 1.0, 2.0):
        write_run(tmp_path, weight_decay, 1, 150 + round(4_000 / weight_decay))
    sweep, summary = analyze(tmp_path)
    traces = {
        trace.name: trace for trace in scaling_figure(sweep, summary["delay_scaling"]).figure.data
    }
    assert list(traces["median"].x) == pytest.approx([500, 1_000, 2_000])
    assert list(traces["median"].y) == [2_000, 4_000, 8_000]
    assert list(traces["slope 1.00"].y) == pytest.approx([2_000, 8_000])


def test_the_scaling_figure_draws_any_timescale_and_no_delay_that_has_no_logarithm(tmp_path):
    for weight_decay, delay in ((4e-300, 100), (2e-300, 1_000), (1e-300, 9_000)):
        write_run(tmp_path, weight_decay, 1, 150 + delay)
        write_run(tmp_path, weight_decay, 2, 150 + delay)
    write_run(tmp_path, 1e-300, 3, 150)  # a delay of 0
    sweep, summary = analyze(tmp_path)
    traces = {
        trace.name: trace for trace in scaling_figure(sweep, summary["delay_scaling"]).figure.data
    }
    assert list(traces["1e-300"].y) == [9_000, 9_000]
    line = next(trace for name, trace in traces.items() if name.startswith("slope"))
    assert 50 < line.y[0] < 200 and 5_000 < line.y[1] < 20_000


def test_a_run_that_ended_where_it_began_is_ticked_at_the_top(tmp_path):
    write_run(tmp_path, 1.0, 1, None, last_epoch=0, num_epochs=1)
    write_run(tmp_path, 1.0, 2, 4_000)
    ticks = survival_figures(analyze(tmp_path)[0])[0].figure.data[1]
    assert (list(ticks.x), list(ticks.y)) == ([0], [1.0])


@pytest.mark.parametrize(
    ("name", "width"), [*((name, 1280) for name in PAGES), (PAGES[0], 390), (PAGES[3], 390)]
)
def test_pages_open_without_error_offline_and_without_sideways_scrolling(
    plots, chromium, name, width
):
    with chromium.open(plots / name, width, 800) as page:
        drawn = page.evaluate("[...document.querySelectorAll('.plot')].map(p => !!p._fullLayout)")
        assert drawn and all(drawn)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.errors == []
        assert all(address.startswith(("file:", "data:", "blob:")) for address in page.requests)
        title = page.evaluate("document.title")
        assert ": addition mod 113, weight decays 0.5, 1.0, 2.0, seeds 42, 123, 456, epoch" in title


def test_the_log_button_changes_the_epoch_axis_and_back(plots, chromium):
    with chromium.open(plots / "validation_accuracy_comparison.html") as page:
        kind = "document.querySelector('.plot')._fullLayout.xaxis.type"
        assert page.evaluate(kind) == "linear"
        page.press("Log epochs")
        assert page.evaluate(kind) == "log"
        page.press("Linear epochs")
        assert page.evaluate(kind) == "linear"


def test_the_index_holds_table_verdicts_and_links_that_lead_somewhere(plots, chromium):
    with chromium.open(plots / "index.html") as page:
        text = page.evaluate("document.body.innerText")
        links = page.evaluate("[...document.links].map(a => a.getAttribute('href'))")
    assert "H2 PASS: weight decay 2.0 groks earlier than 1.0" in text
    assert text.startswith(
        "Weight-decay sweep: addition mod 113, weight decays 0.5, 1.0, 2.0, seeds 42, 123, 456, epoch"
    )
    assert "memorised, not grokked by epoch 10,000" in text
    assert "weight decay 0.5, 2.0 (there 1.0)" in text
    assert "8,050 (6,900-9,300)" in text
    assert "../wd0.5_seed42/visualizations/index.html" in links
    assert "../wd1.0_seed42/report.html" in links
    assert all((plots / link).exists() for link in links)
    assert {*PAGES[1:]} <= set(links)


def test_faults_are_on_the_index(tmp_path, chromium):
    write_run(tmp_path, 1.0, 1, 5_000)
    (tmp_path / "wd2.0_seed1").mkdir()
    with chromium.open(write_sweep_pages(*analyze(tmp_path))) as page:
        text = page.evaluate("document.body.innerText")
    assert "1 not counted" in text
    assert "config.json: no such file" in text


def test_a_folder_whose_name_is_no_text_is_named_and_linked(tmp_path):
    run = write_run(tmp_path, 1.0, 1, 5_000, name="wd\udcff")
    (run / "report.html").touch()
    write_run(tmp_path, 1.0, 1, 4_000, last_epoch=8_000, name="\udcfe")
    index = write_sweep_pages(*analyze(tmp_path)).read_text()
    assert "wd\\udcff: report" in index and "../wd%FF/report.html" in index
    assert "\\udcfe" in index and r"repeats wd\udcff; counted once" in index


def test_pages_of_a_run_that_cannot_be_looked_for_are_not_linked(tmp_path):
    """As where permission is lacking, which root is never refused."""
    run = write_run(tmp_path, 1.0, 1, 5_000)
    (run / "visualizations").symlink_to("x" * 300)  # longer than a name may be
    assert "visualizations" not in write_sweep_pages(*analyze(tmp_path)).read_text()


def test_a_sweep_in_which_nothing_grokked_says_so_on_every_page(tmp_path, chromium):
    for weight_decay in (0.5, 1.0):
        write_run(tmp_path, weight_decay, 1, None, last_epoch=100)
    index = write_sweep_pages(*analyze(tmp_path))
    for name in PAGES:
        with chromium.open(index.with_name(name)) as page:
            text = page.evaluate("document.body.innerText")
            assert page.errors == []
        assert "No run has grokked" in text or "None of 2 has grokked" in text
        assert not any(words in text for words in ("Look for the jump", "further left", "A box"))


@given(st.lists(st.none() | st.floats(0, 1), max_size=600))
def test_thinning_keeps_the_ends_and_every_jump(values):
    epochs = list(range(0, 10 * len(values), 10))
    kept, heights = thinned(epochs, values, 0.1)
    assert [values[epoch // 10] for epoch in kept] == heights
    assert kept[:1] == epochs[:1] and kept[-1:] == epochs[-1:]
    shown = dict(zip(kept, heights, strict=True))
    last = None
    for epoch, value in zip(epochs, values, strict=True):
        last = shown.get(epoch, last)
        assert value is None or last is None or abs(value - last) <= 0.1
        assert value is not None or epoch in shown


def test_thinning_makes_a_long_smooth_curve_short():
    epochs = list(range(10_000))
    kept, _ = thinned(epochs, [math.exp(-epoch / 1_000) for epoch in epochs], 0.02)
    assert len(kept) < 600


@pytest.mark.parametrize("count", [0, 1, 2, 3, 100])
def test_places_evenly_spaced_in_their_logarithm_have_both_ends(count):
    places = sorted(log_places(count, 10))
    assert places == sorted(set(places) & set(range(count)))
    assert places[:1] + places[-1:] == ([0, count - 1] if count else [])
    assert count < 100 or places == [0, 1, 2, 3, 4, 6, 10, 16, 25, 39, 63, 99]
