"""What the pictures are drawn from, against slow and obvious definitions."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from grokking.analysis import scenes
from grokking.analysis.progress_measures import ProgressMeasures
from grokking.analysis.spectra import surface_shares
from grokking.fourier import block_shares, cyclic_basis
from tests.support.addition import addition

P = 11


class StateDouble:
    """A state whose surfaces and embedding are chosen by the test."""

    def __init__(self, values, epoch=5, W_E=None):
        self.values, self.epoch, self.modulus = values.astype(np.float32), epoch, values.shape[0]
        self.embedding = np.eye(self.modulus, dtype=np.float32) if W_E is None else W_E
        self.training_accuracy, self.validation_accuracy = 1.0, 0.25
        self.task = addition(self.modulus)
        self.group, self.basis = self.task.group, self.task.group.basis
        self.tables = SimpleNamespace(W_L=np.zeros((values.shape[2], self.modulus)))

    def shares(self, neurons=None):
        return surface_shares(self.surfaces(neurons), self.basis)

    def surfaces(self, neurons=None):
        return self.values if neurons is None else self.values[:, :, list(neurons)]


def wave(frequency, phase=0.0, p=P):
    x = np.arange(p)
    angle = 2 * np.pi * frequency / p * np.add.outer(x, x) + phase
    return np.maximum(np.cos(angle), 0)


def four_neurons():
    noise = np.random.default_rng(0).random((P, P))
    return np.stack([3 * wave(2), np.zeros((P, P)), wave(4) + 0.5 * noise, wave(2, 1.0) + noise], 2)


def test_the_gallery_groups_neurons_by_frequency_best_first_and_dead_ones_last():
    found = scenes.gallery(StateDouble(four_neurons()), [])
    assert (found.neurons, found.frequencies) == ([0, 3, 2, 1], [2, 2, 4, 0])
    for neuron, share in zip(found.neurons[:3], found.shares[:3], strict=True):
        expected = block_shares(four_neurons()[:, :, neuron], cyclic_basis(P)).max()
        assert share == pytest.approx(expected, abs=1e-5)
    assert found.shares[3] == 0 and found.peaks[3] == 0 and found.left_out == 0


def test_heights_are_the_activations_within_half_a_step():
    found = scenes.gallery(StateDouble(four_neurons()), [])
    for place, neuron in enumerate(found.neurons):
        step = found.peaks[place] / 255
        shown = found.heights[place] * step
        assert np.abs(shown - four_neurons()[:, :, neuron]).max() <= 0.5001 * step


def test_a_gallery_that_would_be_too_large_keeps_the_neurons_nearest_to_one_wave(monkeypatch):
    monkeypatch.setattr(scenes, "GALLERY_BYTES", 2 * P * P)
    found = scenes.gallery(StateDouble(four_neurons()), [])
    assert (found.neurons, found.left_out) == ([0, 2], 2)
    assert found.heights.shape == (2, P, P)


def test_filmed_is_the_best_neuron_of_each_key_frequency():
    found = scenes.gallery(StateDouble(four_neurons()), [])
    assert scenes.best_neurons(found, [2, 4, 5]) == [(0, 2), (2, 4)]
    assert scenes.best_neurons(found, [5]) == [(0, 2)]  # no neuron follows 5: the best of any
    dead = scenes.gallery(StateDouble(np.zeros((P, P, 3))), [])
    assert scenes.best_neurons(dead, [2]) == []


def test_no_more_neurons_than_a_film_has_room_for():
    values = np.stack([wave(k, p=31) for k in range(1, 11)], 2)
    found = scenes.gallery(StateDouble(values), [])
    assert len(scenes.best_neurons(found, range(1, 11))) == scenes.FILMED


def test_the_film_shows_each_neuron_at_each_epoch_in_steps_of_that_frames_peak():
    early, late = StateDouble(0.5 * four_neurons(), 0), StateDouble(four_neurons(), 9)
    film = scenes.film([early, late], [2, 4], [(0, 2), (2, 4)])
    assert (film.epochs, film.modulus, film.key_frequencies) == ([0, 9], P, [2, 4])
    assert film.training_accuracies == [1.0, 1.0] and film.validation_accuracies == [0.25, 0.25]
    for filmed in film.neurons:
        whole = four_neurons()[:, :, filmed.neuron]
        assert filmed.heights.shape == (2, P, P)
        for frame, factor in enumerate((0.5, 1.0)):
            assert filmed.peaks[frame] == pytest.approx(factor * whole.max(), rel=1e-6)
            expected = block_shares(whole, cyclic_basis(P))[filmed.frequency - 1]
            assert filmed.shares[frame] == pytest.approx(expected, abs=1e-5)
            shown = filmed.heights[frame] / 255 * filmed.peaks[frame]
            np.testing.assert_allclose(shown, factor * whole, atol=filmed.peaks[frame] / 500)


def test_the_films_spectrum_is_the_norm_of_each_frequency_in_the_embedding():
    x = np.arange(P)
    W_E = np.stack([5 * np.cos(2 * np.pi * 3 * x / P), np.sin(2 * np.pi * 3 * x / P)], 1)
    film = scenes.film([StateDouble(four_neurons(), W_E=W_E.astype(np.float32))], [], [(0, 2)])
    expected = np.zeros(P // 2)
    expected[2] = np.linalg.norm(W_E)
    np.testing.assert_allclose(film.spectra[0], expected, atol=1e-5)


def test_values_that_are_not_finite_leave_no_hole_in_a_film():
    broken = four_neurons()
    broken[0, 0, 0] = np.nan
    film = scenes.film([StateDouble(broken)], [2], [(0, 2)])
    assert np.isfinite(film.neurons[0].peaks).all() and film.neurons[0].heights[0, 0, 0] == 0


def test_an_embedding_of_one_frequency_is_a_perfect_circle_in_order_of_phase():
    x, k = np.arange(P), 3
    turned, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 2)))
    clock = np.stack([np.cos(2 * np.pi * k * x / P), np.sin(2 * np.pi * k * x / P)], 1)
    (circle,) = scenes.circles(7 + 2 * clock @ turned.T, [k], addition(P).group)
    np.testing.assert_allclose(circle.points, 2 * clock, atol=1e-9)
    assert circle.share == pytest.approx(1.0) and circle.roughness == pytest.approx(0.0, abs=1e-9)


def test_a_circle_says_how_much_of_the_embedding_it_holds_and_how_rough_it_is():
    W_E = np.random.default_rng(2).normal(size=(P, 16))
    found = scenes.circles(W_E, range(1, P // 2 + 1), addition(P).group)
    assert sum(circle.share for circle in found) == pytest.approx(1.0)
    angle = 2 * np.pi * 1 * np.arange(P) / P
    hours = np.stack([np.cos(angle), np.sin(angle)], 1)
    radius, *_ = np.linalg.lstsq(hours.reshape(-1, 1), found[0].points.reshape(-1), rcond=None)
    off = found[0].points - radius * hours
    assert found[0].roughness == pytest.approx(np.sqrt((off**2).sum(1).mean()) / radius.item())
    assert found[0].roughness > 0.1


def test_only_the_largest_circles_are_shown():
    W_E = np.random.default_rng(3).normal(size=(31, 16))
    found = scenes.circles(W_E, range(1, 16), addition(31).group)
    shown = scenes.largest_circles(found)
    assert len(shown) == scenes.FILMED
    assert [c.frequency for c in shown] == sorted(c.frequency for c in shown)
    kept = {c.frequency for c in shown}
    left_out = [c.share for c in found if c.frequency not in kept]
    assert min(c.share for c in shown) >= max(left_out)
    assert [c.frequency for c in scenes.largest_circles(found[:2])] == [1, 2]


def measures(epochs, accuracies):
    flat = [1.0] * len(epochs)
    names = [field.name for field in dataclasses.fields(ProgressMeasures)]
    columns = dict.fromkeys(names, flat)
    columns |= {"key_frequencies": [1], "epochs": epochs, "validation_accuracies": accuracies}
    return ProgressMeasures(**columns)


def test_frames_stand_where_things_happen():
    epochs = list(range(0, 2000, 10))
    accuracies = [float(np.clip((e - 1000) / 200, 0, 1)) for e in epochs]
    chosen = scenes.film_epochs(measures(epochs, accuracies), 40)
    assert chosen[0] == 0 and chosen[-1] == epochs[-1] and len(chosen) <= 40
    assert chosen == sorted(set(chosen)) and set(chosen) <= set(epochs)
    rising = [e for e in chosen if 1000 <= e <= 1200]
    assert len(rising) > 0.3 * len(chosen)  # in a tenth of the epochs


@pytest.mark.parametrize("epochs", [[0], [0, 1], [3, 50, 51]])
def test_a_short_record_is_shown_whole(epochs):
    assert scenes.film_epochs(measures(epochs, [0.0] * len(epochs))) == epochs


def test_losses_that_are_not_finite_do_not_upset_the_choice_of_frames():
    gappy = dataclasses.replace(
        measures([0, 1, 2], [0.0, 0.5, 1.0]), training_losses=[None, 1.0, None]
    )
    assert scenes.film_epochs(gappy) == [0, 1, 2]


def test_the_frames_of_a_film_fit_its_page():
    assert scenes.frames_that_fit(113, 5) == scenes.FRAMES
    assert scenes.frames_that_fit(509, 5) * 5 * 509**2 <= scenes.FILM_BYTES
    assert scenes.frames_that_fit(4093, 1) == 0
