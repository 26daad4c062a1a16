"""The film, the gallery and the report: built from a synthetic run, then used in a real browser."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from grokking.analysis import scenes
from grokking.analysis.controls import Control
from grokking.analysis.judging import Row
from grokking.analysis.phases import Phases
from grokking.analysis.progress_measures import ProgressMeasures
from grokking.analysis.scenes import Film, FilmedNeuron, Scenes
from grokking.analysis.spectra import surface_shares
from grokking.files.history import History
from grokking.pictures import surface_views
from grokking.pictures.pages.film import film_data, write_film_page
from grokking.pictures.pages.gallery import gallery_data, write_gallery_page
from grokking.pictures.pages.report import Story, write_report_page
from grokking.pictures.style import shades
from grokking.task import make_task
from tests.support.addition import addition
from tests.support.browser import Chromium
from tests.support.synthetic import described, phases

P, KEYS = 13, [2, 5]
EPOCHS = [0, 1, 10, 100]


class StateDouble:
    """Neurons 0 to 3: a wave of 2, dead, a wave of 5, noise; grown by a factor at each epoch."""

    def __init__(self, epoch):
        x, generator = np.arange(P), np.random.default_rng(epoch)
        values = np.zeros((P, P, 4))
        for neuron, k in ((0, 2), (2, 5)):
            angle = 2 * np.pi * k / P * np.add.outer(x, x)
            uneven = 0.5 * np.cos(2 * np.pi * k / P * x)[:, None]  # so that x and y differ
            values[:, :, neuron] = np.maximum(np.cos(angle) + uneven, 0) * (1 + epoch)
        values[:, :, 3] = generator.random((P, P))
        self.values, self.epoch, self.modulus = values.astype(np.float32), epoch, P
        self.embedding = generator.normal(size=(P, 8)).astype(np.float32)
        self.training_accuracy, self.validation_accuracy = 1.0, epoch / 100
        self.task = addition(P)
        self.group, self.basis = self.task.group, self.task.group.basis
        self.tables = SimpleNamespace(W_L=np.zeros((4, P)))

    def shares(self, neurons=None):
        return surface_shares(self.surfaces(neurons), self.basis)

    def surfaces(self, neurons=None):
        return self.values if neurons is None else self.values[:, :, list(neurons)]


@pytest.fixture(scope="module")
def scene():
    final = StateDouble(EPOCHS[-1])
    gallery = scenes.gallery(final, KEYS)
    filmed = scenes.best_neurons(gallery, KEYS)
    film = scenes.film([StateDouble(epoch) for epoch in EPOCHS], KEYS, filmed)
    surfaces = scenes.final_surfaces(final, [neuron for neuron, _ in filmed])
    return Scenes(film, gallery, scenes.circles(final.embedding, KEYS, final.group), surfaces)


GROKKED = phases(10, 90)


def measures():
    curve = [4.0, 3.0, 2.0, 0.1]
    early = [4.0, 1.0, 0.5, 0.1]
    return ProgressMeasures(
        key_frequencies=KEYS,
        epochs=EPOCHS,
        training_losses=curve,
        validation_losses=curve,
        validation_accuracies=[0.0, 0.1, 0.2, 1.0],
        restricted_losses=early,
        excluded_losses=[4.0, 5.0, None, 6.0],
        excluded_losses_by_frequency=[curve, curve],
        periodic_neurons=[0, 1, 1, 2],
        squares_total=curve,
        W_E_gini=early,
        W_L_gini=early,
    )


def story(scene, **changes):
    history = History(EPOCHS, [4.0, 3, 2, 0.1], [4.0, 5, None, 0.1], [0, 0.5, 1, 1], [0, 0, 0.1, 1])
    rows = [
        Row("keys", "5", "2", 2, "3 to 6", "FAIL", "too few", Control("15 <others>", [1, 2]), "so"),
        Row("excluded loss", "rises", "6.0", 6.0, "no figure", "not judged", "", None, "without"),
    ]
    whole = {
        "described": described(),
        "history": history,
        "detected": GROKKED,
        "measures": measures(),
        "phases": Phases(1, 10, 100),
        "key_control": "20 draws: median 6",
        "scenes": scene,
        "rows": rows,
        "links": [("film.html", "The film")],
        "caution": ["Too early to tell."],
    }
    return Story(**{**whole, **changes})


def longer(film, times):
    """The film shown that many times in a row."""
    filmed = [
        dataclasses.replace(
            neuron,
            peaks=neuron.peaks * times,
            heights=np.tile(neuron.heights, (times, 1, 1)),
            shares=neuron.shares * times,
        )
        for neuron in film.neurons
    ]
    return dataclasses.replace(
        film,
        epochs=list(range(len(film.epochs) * times)),
        training_accuracies=film.training_accuracies * times,
        validation_accuracies=film.validation_accuracies * times,
        spectra=np.tile(film.spectra, (times, 1)),
        neurons=filmed,
    )


HEIGHTS = "document.querySelector('[data-part=surface]').data[0].z"


def text(page, part):
    return page.evaluate(f"document.querySelector('[data-part={part}]').textContent")


def test_the_slider_moves_surface_curve_and_spectrum(tmp_path, scene, chromium: Chromium) -> None:
    path = write_film_page(tmp_path / "film.html", described(), scene.film)
    with chromium.open(path) as page:
        assert text(page, "epoch") == "epoch 100"
        for frame, keys in {0: ["Home"], 2: ["End", "ArrowLeft"]}.items():
            for key in keys:
                page.tab.locator("[data-part=slider]").press(key)
            page.settle()
            neuron = scene.film.neurons[0]
            order = film_data(scene.film)["neurons"][0]["waves"]["first"]
            shown = np.array(page.evaluate(HEIGHTS))
            expected = neuron.heights[frame][np.ix_(order, order)].T / 255 * neuron.peaks[frame]
            np.testing.assert_allclose(shown, expected, rtol=1e-6)
            assert text(page, "epoch") == f"epoch {EPOCHS[frame]}"
            assert f"on the others {EPOCHS[frame]:.1f}%" in text(page, "look")
            spectrum = page.evaluate("document.querySelector('[data-part=spectrum]').data[0].y")
            np.testing.assert_allclose(spectrum, scene.film.spectra[frame], atol=1e-4)
            marked = "document.querySelector('[data-part=curves]').layout.shapes[0].x0"
            assert page.evaluate(marked) == max(EPOCHS[frame], 1)
        assert page.errors == [] and len(page.requests) == 1


def test_play_runs_through_to_the_last_frame(tmp_path, scene, chromium: Chromium) -> None:
    path = write_film_page(tmp_path / "film.html", described(), scene.film)
    seen = (
        "window.seen = []; new MutationObserver(() => seen.push("
        "document.querySelector('[data-part=epoch]').textContent)).observe("
        "document.querySelector('[data-part=epoch]'), {childList: true})"
    )
    with chromium.open(path) as page:
        page.evaluate(f"(() => {{ {seen}; }})()")
        page.press("Play")
        page.evaluate(
            "new Promise(done => { const wait = () => "
            "document.querySelector('[data-part=play]').textContent === 'Play' ? done(null) : "
            "setTimeout(wait, 50); wait(); })"
        )
        assert page.evaluate("seen") == [f"epoch {epoch}" for epoch in EPOCHS]
        assert page.errors == []


def test_pause_stops_the_film(tmp_path, scene, chromium: Chromium) -> None:
    """A film of some minutes: however slow the browser, it is still playing when Pause is pressed."""
    path = write_film_page(tmp_path / "film.html", described(), longer(scene.film, 200))
    with chromium.open(path) as page:
        page.press("Play")
        page.press("Pause")
        stopped = text(page, "epoch")
        page.evaluate("new Promise(done => setTimeout(() => done(null), 600))")
        assert text(page, "epoch") == stopped != f"epoch {200 * len(EPOCHS) - 1}"
        assert page.errors == []


def test_another_neuron_and_natural_order(tmp_path, scene, chromium: Chromium) -> None:
    path = write_film_page(tmp_path / "film.html", described(), scene.film)
    with chromium.open(path) as page:
        page.press("Natural order")
        page.press("Frequency 5")
        neuron = scene.film.neurons[1]
        expected = neuron.heights[-1].T / 255 * neuron.peaks[-1]
        np.testing.assert_allclose(np.array(page.evaluate(HEIGHTS)), expected, rtol=1e-6)
        assert "Neuron 2 holds" in text(page, "look")
        labels = page.evaluate(
            "document.querySelector('[data-part=surface]').layout.scene.xaxis.ticktext"
        )
        assert labels[:2] == ["0", "2"]
        assert page.errors == []


@pytest.mark.parametrize("task", ("add", "s5", "squares"))
def test_the_spectrum_is_titled_by_the_task_and_there_only_with_a_basis(
    tmp_path, scene, chromium: Chromium, task
) -> None:
    made = make_task(task, 120 if task == "s5" else P)
    spectra = np.ones((len(EPOCHS), made.blocks))
    film = dataclasses.replace(scene.film, task=made, spectra=spectra, key_frequencies=[])
    if task != "add":
        heights = np.zeros((len(EPOCHS), made.p, made.p), np.uint8)
        filmed = dataclasses.replace(film.neurons[0], frequency=0, heights=heights)
        film = dataclasses.replace(film, neurons=[filmed])
    path = write_film_page(tmp_path / "film.html", described(), film)
    with chromium.open(path) as page:
        page.settle()
        titles = page.evaluate(
            "[...document.querySelectorAll('.film h2')].filter(e => e.offsetParent).map(e => e.textContent)"
        )
        assert page.errors == []
    title = {"add": ["Frequencies in the embedding"], "s5": ["Irreps in the embedding"]}
    assert titles == ["Accuracy", *title.get(task, [])]


def test_the_film_draws_its_surface(tmp_path, scene, chromium: Chromium) -> None:
    path = write_film_page(tmp_path / "film.html", described(), scene.film)
    with chromium.open(path) as page:
        colors = page.colors("[data-part=surface]")
    assert len(colors) > 20  # a lit surface in many shades, not an empty scene


def test_choosing_a_tile_shows_that_neuron(tmp_path, scene, chromium: Chromium) -> None:
    path = write_gallery_page(tmp_path / "gallery.html", described(), scene.gallery)
    with chromium.open(path) as page:
        assert page.evaluate("document.querySelectorAll('.tiles button').length") == 4
        assert page.evaluate("document.querySelectorAll('.tiles .dead').length") == 1
        titles = page.evaluate(
            "[...document.querySelectorAll('.gallery h2')].map(h => h.textContent)"
        )
        assert titles[:2] == [
            "Frequency 2: 1 neuron",  # 2 key frequencies of 6 are not few
            "Frequency 5: 1 neuron",
        ]
        assert titles[-1] == "No wave: 1 neuron"
        page.press("Natural order")
        page.press("2 · " + f"{scene.gallery.shares[scene.gallery.neurons.index(2)]:.0%}")
        place = scene.gallery.neurons.index(2)
        expected = scene.gallery.heights[place].T / 255 * scene.gallery.peaks[place]
        np.testing.assert_allclose(np.array(page.evaluate(HEIGHTS)), expected, rtol=1e-6)
        assert text(page, "look").startswith("Neuron 2: frequency 5 holds")
        page.press("1 dead")
        assert "dead" in text(page, "look")
        assert page.errors == [] and len(page.requests) == 1


def test_a_large_modulus_is_shown_by_every_nth_operand(
    tmp_path, scene, chromium: Chromium, monkeypatch
) -> None:
    monkeypatch.setattr(surface_views, "DRAWN", 5)
    path = write_gallery_page(tmp_path / "gallery.html", described(), scene.gallery)
    first = gallery_data(scene.gallery)["groups"][0]
    order, place = first["waves"]["first"], first["neurons"][0]["place"]
    assert len(order) == 5 and len(set(order)) == 5
    expected = (
        scene.gallery.heights[place][np.ix_(order, order)].T / 255 * scene.gallery.peaks[place]
    )
    with chromium.open(path) as page:
        np.testing.assert_allclose(np.array(page.evaluate(HEIGHTS)), expected, rtol=1e-6)
        assert page.evaluate("document.querySelector('.tiles canvas').width") == 5
        told = "Operands run from 0 to 12. Drawn is every 3rd of them."
        assert told in page.evaluate("document.body.innerText")
    film = write_film_page(tmp_path / "film.html", described(), scene.film)
    assert told in film.read_text()


def test_a_tile_is_painted_upright_in_the_colours_of_the_scale(
    tmp_path, scene, chromium: Chromium
) -> None:
    path = write_gallery_page(tmp_path / "gallery.html", described(), scene.gallery)
    group = gallery_data(scene.gallery)["groups"][0]
    place, order, colors = group["neurons"][0]["place"], group["waves"]["first"], shades()
    with chromium.open(path) as page:
        pixels = page.evaluate(
            "[...document.querySelector('.tiles canvas').getContext('2d')"
            f".getImageData(0, 0, {P}, {P}).data]"
        )
    painted = np.array(pixels).reshape(P, P, 4)[::-1, :, :3]  # [y][x]
    heights = scene.gallery.heights[place][np.ix_(order, order)].T
    expected = [
        [[int(colors[h][i : i + 2], 16) for i in (1, 3, 5)] for h in row] for row in heights
    ]
    np.testing.assert_array_equal(painted, expected)


CHAPTERS = [
    "1. Grokked at epoch 90",
    "2. Restricted and excluded loss",
    "3. No few frequencies stand out",
    "4. The numbers do not lie on circles",
    "5. Waves in the neurons",
    "6. Is it the paper's circuit?",
]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_report_tells_the_story_in_order_on_any_screen(
    tmp_path, scene, chromium: Chromium, width
) -> None:
    path = write_report_page(tmp_path / "report.html", story(scene))
    with chromium.open(path, width=width) as page:
        headings = page.evaluate("[...document.querySelectorAll('h2')].map(h => h.textContent)")
        assert [h for h in headings if h in CHAPTERS] == CHAPTERS
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.documentElement.lang") == "en"
        drawn = page.evaluate("[...document.querySelectorAll('.plot')].map(p => !!p._fullLayout)")
        assert drawn == [True] * 7  # curves, measures, spectrum, 1 circle, surface, 2 heatmaps
        assert page.evaluate("document.querySelectorAll('details table').length") == 6
        assert page.errors == [] and len(page.requests) == 1


def test_the_table_behind_a_figure_unfolds_and_holds_its_values(
    tmp_path, scene, chromium: Chromium
) -> None:
    path = write_report_page(tmp_path / "report.html", story(scene))
    with chromium.open(path) as page:
        rows = page.evaluate(
            "(table => [...table.rows].map(r => [...r.cells].map(c => c.textContent)))"
            "(document.querySelector('details table'))"
        )
        assert rows[0] == [
            *("epoch", "training loss", "validation loss"),
            *("training accuracy", "validation accuracy"),
        ]
        assert rows[1:] == [
            ["0", "4", "4", "0", "0"],
            ["1", "3", "5", "0.5", "0"],
            ["10", "2", "-", "1", "0.1"],
            ["100", "0.1", "0.1", "1", "1"],
        ]


def test_a_run_without_a_record_still_has_a_report(tmp_path, scene) -> None:
    bare = Scenes(None, scene.gallery, [], [])
    changes = {"history": None, "measures": None, "phases": None, "scenes": bare}
    text = write_report_page(tmp_path / "r.html", story(scene, **changes)).read_text()
    assert "1. Is it the paper&#x27;s circuit?" in text
    assert not any(chapter in text for chapter in CHAPTERS)


def test_the_card_has_each_verdict_with_its_reason_and_control(tmp_path, scene) -> None:
    text = write_report_page(tmp_path / "r.html", story(scene)).read_text()
    assert "<td>FAIL: too few</td><td>keys</td>" in text
    assert "15 &lt;others&gt;, 2 draws: median 1.5 (1 to 2)" in text
    assert "<td>not judged</td><td>excluded loss</td>" in text
    assert "Verdicts: 1 FAIL, 1 not judged." in text


def test_the_same_story_gives_the_same_bytes(tmp_path, scene) -> None:
    pages = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        write_film_page(folder / "film.html", described(), scene.film)
        write_gallery_page(folder / "gallery.html", described(), scene.gallery)
        write_report_page(folder / "report.html", story(scene))
        pages.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert pages[0] == pages[1]


@pytest.mark.parametrize("filmed", [1, 5, 6])
def test_a_film_of_the_reference_size_stays_under_10_mb(tmp_path, filmed) -> None:
    frames = scenes.frames_that_fit(113, filmed)
    heights = np.zeros((frames, 113, 113), dtype=np.uint8)
    neuron = FilmedNeuron(
        511, 56, [1.23456789012345] * frames, heights, [0.123456789012345] * frames
    )
    film = Film(
        task=addition(113),
        epochs=list(range(30_000, 30_000 + frames)),
        training_accuracies=[1 / 3] * frames,
        validation_accuracies=[1 / 3] * frames,
        spectra=np.full((frames, 56), 1 / 3),
        key_frequencies=list(range(1, filmed + 1)),
        neurons=[neuron] * filmed,
    )
    path = write_film_page(tmp_path / "film.html", described(), film)
    assert frames == 40
    assert path.stat().st_size < 10_000_000


def test_what_the_scripts_are_given_is_strict_json(scene) -> None:
    plain = {k: v for k, v in film_data(scene.film).items() if k != "figures"}
    assert json.loads(json.dumps(plain, allow_nan=False))["epochs"] == EPOCHS
