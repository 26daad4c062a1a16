"""Controls are as large as what they stand beside, disjoint from it, drawn alike every time."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from grokking.analysis import controls
from grokking.analysis.controls import Control, draw_controls, other_blocks, other_spans
from grokking.analysis.hindsight import examine
from grokking.fourier import block_shares
from grokking.kernels.reference import Reference
from grokking.training.state import labeled_record, new_state, weights_of
from tests.support.addition import addition
from tests.support.tiny import CONFIG

P = 13


def state_of(model, training):
    record = labeled_record(training, 5, weights_of(model))
    return examine(record, addition(P), Reference())


@pytest.fixture(scope="module")
def untrained():
    training = new_state(replace(CONFIG, modulus=P), torch.device("cpu"))
    return state_of(training.model, training)


def test_other_blocks_are_as_many_and_none_of_them_key():
    sets = other_blocks(56, [14, 35, 41, 42, 52])
    assert len(sets) == controls.DRAWS
    for chosen in sets:
        assert len(set(chosen)) == 5 and not {14, 35, 41, 42, 52} & set(chosen)
        assert min(chosen) >= 1 and max(chosen) <= 56
    assert len({tuple(chosen) for chosen in sets}) > controls.DRAWS // 2
    assert sets == other_blocks(56, [14, 35, 41, 42, 52])


@pytest.mark.parametrize(
    ("count", "keys"), [(56, range(1, 57)), (6, [1, 2, 3]), (56, []), (3, [1])]
)
def test_where_too_few_are_left_nothing_is_drawn(count, keys):
    assert other_blocks(count, list(keys)) == []


def test_other_spans_are_orthonormal_and_at_right_angles_to_the_span():
    span = np.linalg.qr(np.random.default_rng(1).standard_normal((30, 6)))[0]
    spans = other_spans(span)
    assert len(spans) == controls.DRAWS
    for other in spans:
        np.testing.assert_allclose(other.T @ other, np.eye(6), atol=1e-12)
        np.testing.assert_allclose(span.T @ other, 0, atol=1e-12)
    assert not np.allclose(spans[0], spans[1])
    assert other_spans(np.eye(12)[:, :6]) == []
    assert other_spans(np.zeros((12, 0))) == []


def test_random_directions_are_judged_as_neurons_are(untrained):
    """The components' shortcut against the surface of each mixture, one by one."""
    surfaces = untrained.surfaces().astype(np.float64)
    d_mlp = surfaces.shape[2]
    generator = np.random.default_rng(controls.SEED)
    expected = []
    for _ in range(2):
        mixed = surfaces @ generator.standard_normal((d_mlp, d_mlp))
        shares = [block_shares(mixed[:, :, m], untrained.basis).max() for m in range(d_mlp)]
        expected.append(np.mean(np.array(shares) > 0.85))
    assert controls._random_directions(untrained)[:2] == pytest.approx(expected)


def test_random_directions_of_waves_of_one_frequency_are_all_periodic(untrained, monkeypatch):
    a, b = np.ogrid[:P, :P]
    waves = [np.cos(2 * math.pi * 3 * (a + b) / P + i) for i in range(24)]
    monkeypatch.setattr(
        type(untrained), "surfaces", lambda *_: np.stack(waves, axis=2).astype(np.float32)
    )
    assert controls._random_directions(untrained) == [1.0] * controls.DRAWS


def test_the_key_rule_finds_no_few_frequencies_where_the_classes_have_no_order(untrained):
    """W_L of a single pure wave: one key frequency, nearly all once its classes are shuffled."""
    from dataclasses import replace

    wave = np.cos(2 * math.pi * 2 * np.arange(P) / P)
    W_L = torch.from_numpy(np.outer(np.ones(24), wave)).float()
    planted = replace(untrained, tables=untrained.tables._replace(W_L=W_L))
    assert planted.key_blocks() == [2]
    assert min(controls._keys_of_shuffled(planted)) > 1


def test_all_controls_of_a_state_and_what_is_said_of_them(untrained):
    found = draw_controls(untrained, [2])
    assert len(found.on_directions.values) == len(found.key_count.values) == controls.DRAWS
    assert found.restricted_loss.values == []  # 5 frequencies that are not key: fewer than 20 sets
    assert found.restricted_loss.told == "1 frequencies that are not key: too few to draw from"
    assert found.restricted_loss.record()["draws"] == 0
    assert draw_controls(untrained, [2]) == found
    control = Control("frequencies", [3.0, 1.0, 2.0])
    assert control.told == "frequencies, 3 draws: median 2 (1 to 3)"
    assert control.record() == {"of": "frequencies", "draws": 3, "median": 2.0, "range": [1.0, 3.0]}


def test_removing_random_directions_is_no_ablation_of_the_key_ones(untrained):
    """What a control removes leaves the key directions as they were."""
    span = controls.key_span(untrained, [2, 5])
    W_L = untrained.tables.W_L.double().numpy()
    for other in other_spans(span)[:3]:
        kept = W_L - other @ (other.T @ W_L)
        np.testing.assert_allclose(span.T @ kept, span.T @ W_L, atol=1e-12)
