"""Sentences of the pages at the edges of what they may claim."""

import dataclasses

import numpy as np
import pytest

from grokking.analysis.progress_measures import ProgressMeasures
from grokking.analysis.scenes import Circle, Film, FilmedNeuron, Gallery, circles
from grokking.analysis.spectra import are_few
from grokking.files.history import History
from grokking.pictures.figures.spectrum import frequency_ticks
from grokking.pictures.outcome_sentences import gap, outcome_sentence, outcome_title
from grokking.pictures.structure_sentences import (
    circles_told,
    groups_told,
    growth_told,
    hills_told,
    spectrum_told,
    waves_told,
)
from grokking.task import make_task
from tests.support.addition import addition
from tests.support.synthetic import history, phases

P, KEYS = 53, [3, 8, 11]  # 3 of 26 frequencies


@pytest.mark.parametrize(
    ("count", "p", "few"), [(0, 113, False), (14, 113, True), (15, 113, False), (1, 7, False)]
)
def test_a_few_are_at_most_a_quarter_of_the_frequencies(count, p, few):
    assert are_few(range(1, count + 1), addition(p)) == few


def test_of_the_six_irreps_of_s5_two_are_a_few():
    assert [are_few(range(1, n + 1), make_task("s5", 120)) for n in range(4)] == [
        *(False, True, True, False)
    ]


# --- the course of a run ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reached", "title", "words"),
    [
        (
            phases(),
            "grokked at epoch 200",
            "by heart at epoch 20 and grokked at epoch 200, 180 epochs",
        ),
        (
            phases(90),
            "generalised at epoch 200, no grokking",
            "at epoch 200, 110 epochs after memorising: ordinary learning, no grokking.",
        ),
        (
            phases(250),
            "generalised at epoch 200, no grokking",
            "at epoch 200, before it knew its training pairs by heart (epoch 250): ordinary learning",
        ),
        (
            phases(None),
            "generalised at epoch 200, no grokking",
            "at epoch 200, without having memorised its training pairs: ordinary learning",
        ),
        (phases(20, None), "memorised at epoch 20, not generalised", "and has not generalised."),
        (phases(None, None), "not memorised", "has not learned its training pairs by heart."),
        (
            phases(collapsed=300, diverged=True),
            "grokked at epoch 200, collapsed at epoch 300, diverged",
            "At epoch 300 it collapsed: validation accuracy fell below 50%.",
        ),
    ],
)
def test_what_became_of_a_run(reached, title, words):
    assert outcome_title(reached) == title
    sentence = outcome_sentence(reached, history())
    assert words in sentence
    assert "At epoch 400 accuracy is 100.00% on the training pairs and 100.00% on the" in sentence
    assert ("diverged" in sentence) == ("diverged" in title)
    assert ("Look for the gap" in gap(reached)) == (reached["memorization_epoch"] == 20)


def test_a_history_that_is_empty_or_not_finite_says_so():
    bare = History([], [], [], [], [])
    assert outcome_sentence(phases(None, None), bare).endswith("by heart.")
    broken = History([0], [None], [None], [None], [0.5])
    assert "not finite on the training pairs and 50.00%" in outcome_sentence(
        phases(None, None), broken
    )


# --- spectrum and circuit --------------------------------------------------------------------


def film(keys=KEYS, first=0.1, last=0.9, shares=((0.1, 0.6, 0.9),)):
    """A film of three frames whose keys hold `first`, then `last` of the spectrum's squares."""
    spectra = np.zeros((3, (P - 1) // 2))
    others = [k for k in range(1, (P - 1) // 2 + 1) if k not in keys]
    for frame, share in enumerate((first, last, last)):
        spectra[frame, [k - 1 for k in keys]] = (share / max(len(keys), 1)) ** 0.5
        spectra[frame, [k - 1 for k in others]] = ((1 - share) / max(len(others), 1)) ** 0.5
    heights = np.zeros((3, P, P), dtype=np.uint8)
    filmed = [FilmedNeuron(9 + i, 3, [1.0] * 3, heights, list(of)) for i, of in enumerate(shares)]
    return Film(
        addition(P), [0, 100, 900], [0.1, 1.0, 1.0], [0.0, 0.07, 1.0], spectra, list(keys), filmed
    )


@pytest.mark.parametrize(
    ("changes", "heading", "words"),
    [
        ({}, "A few frequencies take over the embedding", "90.0% of the embedding's squared norm"),
        ({"last": 0.4}, "A few frequencies stand out", "40.0% of the embedding's squared norm"),
        ({"first": 0.95}, "A few frequencies stand out", "at epoch 0 it was 95.0%"),
        (
            {"keys": range(1, 8)},
            "No few frequencies stand out",
            "7 of 26 frequencies are key; a few would be at most 6.",
        ),
        ({"keys": []}, "No few frequencies stand out", "0 of 26 frequencies are key"),
    ],
)
def test_frequencies_take_over_where_a_few_come_to_hold_half_of_the_embedding(
    changes, heading, words
):
    told = spectrum_told(film(**changes), "20 draws: median 26")
    assert told.heading == heading
    assert words in told.sentence and "control: 20 draws: median 26." in told.sentence


def test_an_embedding_of_zeros_holds_nothing():
    empty = dataclasses.replace(film(), spectra=np.zeros((3, (P - 1) // 2)))
    assert spectrum_told(empty, "").heading == "A few frequencies stand out"


def measures(restricted, validation, keys=KEYS):
    curve = [4.0] * 4
    return ProgressMeasures(
        *(list(keys), [0, 100, 300, 900], curve, validation, [0.0] * 4, restricted, curve),
        *([curve], [0] * 4, curve, curve, curve),
    )


EARLY, LATE = [4.0, 1.0, 0.5, 0.1], [4.0, 4.0, 4.0, 0.1]


@pytest.mark.parametrize(
    ("restricted", "reached", "grew"),
    [
        (EARLY, phases(50, 800), True),
        (LATE, phases(50, 800), False),  # no earlier than the run grokked
        (EARLY, phases(150, 800), False),  # before it had memorised: no plateau yet
        (EARLY, phases(50, 120), False),  # generalised at once
        (EARLY, phases(50, None), False),
        ([4.0] * 4, phases(50, 800), False),
    ],
)
def test_the_circuit_grows_on_the_plateau_where_there_is_one_and_it_does(restricted, reached, grew):
    told = growth_told(measures(restricted, LATE), addition(P), reached)
    assert (told.heading == "The circuit grows on the plateau") == grew
    assert (
        "the validation loss fell below half of its maximum for good at epoch 900." in told.sentence
    )


def test_losses_that_have_not_fallen_are_said_to_have_not():
    told = growth_told(measures([4.0] * 4, [None] * 4), addition(P), phases(50, None))
    assert told.sentence.count("has not fallen below half of its maximum for good") == 2


def test_of_many_key_frequencies_restricted_loss_says_little():
    told = growth_told(measures(EARLY, LATE, range(1, 20)), addition(P), phases(50, 800))
    assert told.heading == "Restricted and excluded loss"
    assert "19 of 26 frequencies are key; a few would be at most 6" in told.sentence


# --- circles, neurons ------------------------------------------------------------------------


def circle(frequency, roughness, control=(0.3, 0.5)):
    return Circle(frequency, np.zeros((P, 2)), list(range(P)), 0.1, roughness, control)


def test_circles_are_told_from_scribbles_and_both_from_chance():
    told = circles_told([circle(3, 0.02), circle(8, 0.1), circle(11, 0.11)])
    assert told.heading == "Numbers on circles"
    assert (
        "of frequency 3, 8 the network has laid its 53 numbers out like the hours" in told.sentence
    )
    assert "off their hours by at most 10% of the radius" in told.sentence
    assert told.sentence.endswith(
        "In random order they would be off by 30% to 50%. Not so 11: up to 10%, and less than by "
        "chance, counts as a circle."
    )
    for scribble in (circle(3, 0.11), circle(3, 0.09, control=(0.08, 0.5))):
        assert circles_told([scribble]).heading == "The numbers do not lie on circles"
        assert "hours of a clock" not in circles_told([scribble]).sentence


def test_the_control_of_a_circle_is_the_same_with_the_numbers_in_random_order():
    x, k = np.arange(P), 3
    angle = 2 * np.pi * k * x / P
    clock = np.stack([np.cos(angle), np.sin(angle)], 1)
    noise = np.random.default_rng(0).normal(size=(P, 16))
    (clear,) = circles(np.hstack([5 * clock, 0.05 * noise]), [k], addition(P).group)
    (scribble,) = circles(noise, [k], addition(P).group)
    assert clear.is_round and not scribble.is_round
    assert clear.roughness < 0.05 and clear.control[0] > 0.5
    assert scribble.control[0] < scribble.roughness < scribble.control[1]
    assert circles(np.ones((P, 4)), [k], addition(P).group) == []  # an embedding without variance


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ([0.9, 0.2, 0.86], "2 of 3 neurons are one wave"),
        ([0.85, 0.2], "Of 2 neurons none is; the nearest has 85.0%."),
        ([], "Of 0 neurons none is; the nearest has 0.0%."),
    ],
)
def test_a_neuron_is_a_wave_above_85_percent(shares, words):
    told = waves_told(shares, "neurons", addition(P))
    assert words in told.sentence
    assert told.heading.startswith("No ") == ("none is" in words)


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        (
            [(0.1, 0.6, 0.9)],
            "more than 50% of its variance in frequency 3 since epoch 100, when the ",
        ),
        ([(0.1, 0.2, 0.3), (0.1, 0.2, 0.9)], "neuron 10 has held more than 50%"),
        ([(0.6, 0.6, 0.9)], "Neuron 9 is one wave at the end, and has held more than 50%"),
        ([(0.1, 0.95, 0.2)], "ends as one wave: the nearest, neuron 9, holds 20.0%"),
    ],
)
def test_hills_form_where_a_neuron_becomes_a_wave(shares, words):
    told = hills_told(film(shares=shares))
    assert words in told
    assert ("hills" in told) == ("since" in words or "neuron 10" in words)


@pytest.mark.parametrize("shares", [[0.1, 0.6, 0.9], [0.6, 0.7, 0.9], [0.1, 0.2, 0.3]])
@pytest.mark.parametrize(
    ("task", "p", "block", "words"),
    [("multiply", 7, 3, "frequency 3"), ("s5", 120, 3, "irrep (2,1,1,1)")],
)
def test_what_is_no_hill_is_not_told_as_one(task, p, block, words, shares):
    plain = film(shares=[shares])
    filmed = [dataclasses.replace(neuron, frequency=block) for neuron in plain.neurons]
    told = hills_told(dataclasses.replace(plain, task=make_task(task, p), neurons=filmed))
    assert words in told and "hills" not in told
    assert ("wave" in told) <= (task == "multiply")
    assert ("two levels" in told) == (task == "multiply" and shares[0] == 0.1 and shares[-1] == 0.9)


def test_neurons_of_an_irrep_are_not_told_as_waves():
    of_s5 = dataclasses.replace(
        gallery([0.9, 0.2], [1.0, 1.0], [3, 3], [3]), task=make_task("s5", 120)
    )
    assert "wave" not in groups_told(of_s5)
    assert "1 of 2 neurons have more than 85% of their variance in one irrep" in groups_told(of_s5)


def gallery(shares, peaks, frequencies, keys):
    return Gallery(
        addition(P),
        9,
        keys,
        list(range(len(shares))),
        frequencies,
        shares,
        peaks,
        np.zeros((0,)),
        left_out=0,
    )


@pytest.mark.parametrize(
    ("shares", "keys", "words"),
    [
        ([0.9, 0.9, 0.3, 0.0], KEYS, "Look for groups: all neurons of one"),
        ([0.9, 0.3, 0.3, 0.0], KEYS, "Look at the beginning of a group"),
        ([0.9, 0.3, 0.3, 0.0], range(1, 20), "so a group shows no more than where"),
    ],
)
def test_groups_are_to_be_looked_for_where_half_of_the_neurons_are_waves(shares, keys, words):
    told = groups_told(gallery(shares, [1.0, 1.0, 1.0, 0.0], [3, 3, 5, 0], list(keys)))
    assert words in told and "1 are dead" in told
    assert ("2 of 4 neurons are strongest in a key frequency (3, 8, 11)" in told) == (keys is KEYS)


# --- labels ----------------------------------------------------------------------------------


def test_few_frequencies_are_labelled_each_and_neighbours_together():
    ticks = frequency_ticks([14, 35, 41, 42, 52], addition(113))
    assert ticks["ticktext"] == ["14", "35", "41, 42", "52"]
    assert ticks["tickvals"] == [14, 35, 41.5, 52]


@pytest.mark.parametrize("keys", [list(range(1, 57)), []])
def test_many_frequencies_have_a_few_labels(keys):
    values = frequency_ticks(keys, addition(113))["tickvals"]
    assert len(values) == 7 and set(np.diff(values)) == {9}
