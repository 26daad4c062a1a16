"""Which weights a run keeps, and that a killed and resumed run keeps the same ones."""

import dataclasses
from itertools import pairwise

import pytest
import torch

from grokking.files import trajectory
from grokking.files.checkpoint import load_checkpoint
from grokking.files.trajectory import forget_after, is_kept, read_recorded, record, recorded
from grokking.system.errors import UserError
from grokking.training.state import new_state
from tests.support.training import CPU, TINY, Scripted, assert_identical, resume, run


def kept(newest):
    return [e for e in range(newest + 1) if is_kept(e, newest)]


@pytest.fixture
def sparse(monkeypatch):
    """Few kept epochs, so that a short run thins out what it has recorded twice."""
    monkeypatch.setattr(trajectory, "EVEN", 10)
    monkeypatch.setattr(trajectory, "PER_OCTAVE", 2)
    assert kept(30) == [*range(4), *range(4, 8, 2), *range(8, 31, 4)]


def test_early_epochs_are_dense_and_late_ones_evenly_spaced():
    epochs = kept(10_000)
    assert epochs[:20] == [*range(17), 18, 20, 22]
    assert epochs[-3:] == [9728, 9856, 9984]
    gaps = [b - a for a, b in pairwise(epochs)]
    assert gaps == sorted(gaps)
    assert max(gaps) == 128


@pytest.mark.parametrize("newest", [0, 7, 96, 97, 12_415, 12_416, 40_000, 98_303, 700_000])
def test_no_run_keeps_more_than_200_epochs_nor_loses_the_first_ones(newest):
    assert kept(newest)[:17] == list(range(min(newest, 16) + 1))
    assert len(kept(newest)) <= 200


def test_epochs_leave_the_set_but_never_join_it_late():
    before = set()
    for newest in range(1000):
        now = set(kept(newest))
        assert now - before <= {newest}
        before = now


def test_a_run_leaves_the_weights_of_the_epochs_it_keeps(tmp_path, sparse):
    config = dataclasses.replace(TINY, num_epochs=30)
    state, seen = new_state(config, CPU), {}

    class Watching(Scripted):
        def training_step(self, model, pairs, class_sums=False):
            seen[self.epoch + 1] = model.W_E.detach().clone()
            return super().training_step(model, pairs, class_sums)

    run(config, tmp_path, state=state, engine=Watching())
    assert list(recorded(tmp_path)) == kept(30)
    for epoch in (0, 6, 28):
        saved = read_recorded(tmp_path, epoch)
        assert saved["epoch"] == epoch
        assert saved["model"]["W_E"].equal(seen[epoch])
        assert saved["train_pairs"].equal(state.split.train)


@pytest.mark.parametrize("cut", [3, 13, 26])
def test_a_resumed_run_keeps_the_same_weights_bit_for_bit(tmp_path, cut, sparse):
    config = dataclasses.replace(TINY, num_epochs=30)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    run(config, whole)
    run(config, parts, stop_after=cut)
    run(config, parts, state=resume(config, parts))
    assert list(recorded(parts)) == list(recorded(whole))
    for epoch in recorded(whole):
        assert_identical(read_recorded(parts, epoch), read_recorded(whole, epoch))


def test_no_weights_are_recorded_when_switched_off(tmp_path):
    run(dataclasses.replace(TINY, trajectory=False), tmp_path)
    assert recorded(tmp_path) == {}
    assert not (tmp_path / "trajectory").exists()


def test_what_lies_after_the_resumed_epoch_is_forgotten(tmp_path):
    for epoch in (4, 8, 12):
        record(tmp_path, epoch, {"epoch": epoch})
    forget_after(tmp_path, 8)
    assert list(recorded(tmp_path)) == [4, 8]


def test_a_missing_epoch_names_its_neighbours_and_a_damaged_one_its_file(tmp_path):
    record(tmp_path, 16, {"epoch": 16, "model": {"W_E": torch.ones(40)}})
    with pytest.raises(UserError, match="no weights of epoch 10; the nearest are 16"):
        read_recorded(tmp_path, 10)
    path = recorded(tmp_path)[16]
    content = bytearray(path.read_bytes())
    middle = content.index(torch.ones(40).numpy().tobytes())
    content[middle] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"epoch_000016\.pt: damaged"):
        load_checkpoint(path)
