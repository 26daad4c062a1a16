"""The loop: what is probed, labelled and saved, and that a resumed run equals an uninterrupted one."""

import dataclasses
import math

import pytest
import torch

from grokking.detection import detect
from grokking.files.checkpoint import load_checkpoint
from grokking.files.history import read_history
from grokking.files.names import labeled_path
from grokking.system.errors import RunError
from grokking.training.engine import PlainEngine
from grokking.training.loop import advance
from grokking.training.recorder import newest_checkpoint
from grokking.training.split import batches
from grokking.training.state import new_state
from tests.support.addition import addition
from tests.support.training import (
    CPU,
    TINY,
    Scripted,
    assert_identical,
    assert_same,
    resume,
    run,
)


def test_two_runs_with_one_seed_are_bit_identical(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    assert_same(run(TINY, tmp_path / "a"), run(TINY, tmp_path / "b"))


def test_the_seed_decides_weights_and_split():
    one, other = new_state(TINY, CPU), new_state(dataclasses.replace(TINY, seed=43), CPU)
    assert not one.model.W_E.equal(other.model.W_E)
    assert not one.split.train.equal(other.split.train)


def test_every_epoch_is_probed_from_the_initial_model_to_the_last(tmp_path):
    history = run(TINY, tmp_path).history
    assert history.epochs == list(range(21))
    assert history.training_losses[0] == pytest.approx(math.log(7), rel=0.3)
    assert history.training_losses[-1] < history.training_losses[0]
    assert read_history(tmp_path) == history


@pytest.mark.parametrize(("every", "probed"), [(7, [0, 7, 14, 20]), (10**30, [0, 20])])
def test_sparse_probing_keeps_both_ends_and_does_not_change_the_training(tmp_path, every, probed):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    dense = run(TINY, tmp_path / "a")
    sparse = run(dataclasses.replace(TINY, probe_every=every), tmp_path / "b")
    assert sparse.history.epochs == probed
    assert sparse.history.training_losses == [dense.history.training_losses[e] for e in probed]
    assert sparse.model.W_E.equal(dense.model.W_E)


def test_warm_up_is_linear_and_starts_at_zero():
    state = new_state(TINY, CPU)
    engine = PlainEngine(addition(7), state.split, CPU)
    rates = []
    for _ in range(13):
        advance(state, engine, engine.training_step(state.model, engine.train))
        rates.append(state.optimizer.parts[0].param_groups[0]["lr"])
    assert rates == pytest.approx([min(e / 10, 1) * 1e-3 for e in range(13)])


def test_one_step_is_adamw_as_published(tmp_path):
    """Decoupled decay, then the Adam step with bias correction, in float64 by hand."""
    state = new_state(dataclasses.replace(TINY, warmup_steps=0, weight_decay=2.0), CPU)
    engine = PlainEngine(addition(7), state.split, CPU)
    step = engine.training_step(state.model, engine.train)
    before = state.model.W_U.detach().double().clone()
    (grad,) = torch.autograd.grad(step.loss, state.model.W_U, retain_graph=True)
    advance(state, engine, step)
    grad = grad.double()
    expected = before * (1 - 1e-3 * 2.0) - 1e-3 * grad / (grad.abs() + 1e-8)
    torch.testing.assert_close(state.model.W_U.double(), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("cut", [0, 1, 4, 5, 6, 13, 19])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, cut):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    reference = run(TINY, whole)
    run(TINY, parts, stop_after=cut)
    resumed = run(TINY, parts, state=resume(TINY, parts))
    assert_same(resumed, reference)
    for name in ("loss_history.json", "accuracy_history.json", "checkpoint_labeled/initial.pt"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()


def test_resuming_from_the_previous_checkpoint_gives_the_same_run(tmp_path):
    reference = run(TINY, tmp_path)
    (tmp_path / "checkpoint_latest.pt").unlink()
    assert resume(TINY, tmp_path).epoch == 15
    assert_same(run(TINY, tmp_path, state=resume(TINY, tmp_path)), reference)


def test_a_resume_while_a_candidate_is_pending_keeps_its_weights(tmp_path):
    """Cut between the crossing at 60 and its confirmation at 160: the label needs weights of epoch 60."""
    config = dataclasses.replace(TINY, num_epochs=300, stop_after_grok=20)

    def curve(epoch):
        return 1.0 if epoch >= 60 else 0.1

    memorized = {"training": lambda e: 1.0 if e >= 10 else 0.0}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    reference = run(config, whole, engine=Scripted(curve, **memorized))
    assert reference.epoch == 180
    run(config, parts, engine=Scripted(curve, **memorized), stop_after=100)
    state = resume(config, parts)
    assert 60 in state.kept
    engine = Scripted(curve, **memorized)
    engine.epoch = state.epoch - 1
    resumed = run(config, parts, state=state, engine=engine)
    assert_same(resumed, reference)
    for label in ("memorization", "grokking", "grokked"):
        ours = load_checkpoint(labeled_path(parts, label))
        assert_identical(ours, load_checkpoint(labeled_path(whole, label)))
    assert ours["epoch"] == 60


def test_labels_hold_the_states_of_their_epochs(tmp_path):
    config = dataclasses.replace(TINY, num_epochs=250, probe_every=5)
    state = new_state(config, CPU)
    states = {}

    class Recording(Scripted):
        def evaluate(self, model, pairs, class_sums=False, tables=None):
            states[self.epoch] = model.W_E.detach().clone()
            return super().evaluate(model, pairs, class_sums)

    engine = Recording(
        validation=lambda e: min(e / 100, 1.0), training=lambda e: 1.0 if e >= 12 else 0.5
    )
    run(config, tmp_path, state=state, engine=engine)
    expected = {"initial": 0, "memorization": 15, "grokking": 55, "grokked": 90}
    for label, epoch in expected.items():
        saved = load_checkpoint(labeled_path(tmp_path, label))
        assert saved["epoch"] == epoch
        assert saved["model"]["W_E"].equal(states[epoch])
        assert saved["train_pairs"].equal(state.split.train)
    assert state.kept == {}
    history = state.history
    found = detect(history.epochs, history.training_accuracies, history.validation_accuracies)
    assert found.grok_epoch == 90


def test_early_generalisation_saves_no_grokked_label_and_does_not_stop_the_run(tmp_path):
    config = dataclasses.replace(TINY, num_epochs=200, stop_after_grok=0)
    engine = Scripted(lambda e: 1.0 if e >= 20 else 0.0, lambda e: 1.0 if e >= 15 else 0.0)
    assert run(config, tmp_path, engine=engine).epoch == 200
    assert not labeled_path(tmp_path, "grokked").exists()
    assert labeled_path(tmp_path, "grokking").exists()


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("epoch", [0, 1, 5, 7])
def test_divergence_stops_at_its_epoch_with_the_history_written(tmp_path, value, epoch):
    config = dataclasses.replace(TINY, probe_every=5)
    engine = Scripted(loss=lambda e: value if e == epoch else 1.0)
    with pytest.raises(RunError, match=rf"training loss is {value} at epoch {epoch}\b"):
        run(config, tmp_path, engine=engine)
    history = read_history(tmp_path)
    assert history.epochs[-1] == epoch
    assert history.training_losses[-1] is None


def test_weights_that_blow_up_are_reported_by_the_real_engine(tmp_path):
    config = dataclasses.replace(TINY, learning_rate=1e30, num_epochs=50)
    with pytest.raises(RunError, match="the run diverged"):
        run(config, tmp_path)


def test_a_damaged_latest_checkpoint_falls_back_to_the_one_before(tmp_path):
    run(TINY, tmp_path)
    (tmp_path / "checkpoint_latest.pt").write_bytes(b"nonsense")
    record, fault = newest_checkpoint(tmp_path)
    assert record["epoch"] == 15
    assert "checkpoint_latest.pt" in fault
    assert load_checkpoint(tmp_path / "checkpoint_latest.pt")["epoch"] == 15
    (tmp_path / "checkpoint_latest.pt").write_bytes(b"nonsense")
    with pytest.raises(RunError, match="GROK_OVERWRITE=1"):
        newest_checkpoint(tmp_path)


# --- batches, optimisers, scale of the initial weights ---------------------------------------

OTHERWISE = {
    "batches": {"batch_size": 5},
    "adam": {"optimizer": "adam"},
    "sgd": {"optimizer": "sgd"},
    "sgd without momentum": {"optimizer": "sgd", "beta1": 0.0},
    "muon": {"optimizer": "muon"},
    "muon in batches": {"optimizer": "muon", "batch_size": 7},
    "scale": {"init_scale": 3.0},
    "split": {"split_seed": 5},
}


@pytest.mark.parametrize("changes", OTHERWISE.values(), ids=OTHERWISE)
@pytest.mark.parametrize("cut", [0, 6, 15])
def test_whatever_trains_it_a_resumed_run_equals_an_uninterrupted_one(tmp_path, cut, changes):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    config = dataclasses.replace(TINY, **changes)
    reference = run(config, whole)
    run(config, parts, stop_after=cut)
    resumed = run(config, parts, state=resume(config, parts))
    assert_same(resumed, reference)
    assert not reference.model.W_E.equal(run(TINY, tmp_path).model.W_E)


def stepped(config, steps):
    """(weights and gradients of W_in and W_U before each step, the weights after the last)."""
    state = new_state(dataclasses.replace(config, warmup_steps=0), CPU)
    engine = PlainEngine(addition(7), state.split, CPU)
    seen = []
    for _ in range(steps):
        step = engine.training_step(state.model, engine.train)
        names = ("W_in", "W_U")
        weights = [getattr(state.model, name) for name in names]
        grads = torch.autograd.grad(step.loss, weights, retain_graph=True)
        seen.append(
            {
                n: (w.detach().double().clone(), g.double())
                for n, w, g in zip(names, weights, grads, strict=True)
            }
        )
        advance(state, engine, step)
    return seen, state.model


def test_sgd_decays_in_the_gradient_and_keeps_momentum():
    config = dataclasses.replace(TINY, optimizer="sgd", weight_decay=2.0, learning_rate=0.1)
    seen, model = stepped(config, 2)
    velocity = 0.0
    for weights, grad in (step["W_U"] for step in seen):
        velocity = 0.9 * velocity + (grad + 2.0 * weights)
        expected = weights - 0.1 * velocity
    torch.testing.assert_close(model.W_U.double(), expected, rtol=0, atol=1e-6)


def test_adam_decays_in_the_gradient():
    config = dataclasses.replace(TINY, optimizer="adam", weight_decay=2.0)
    ((weights, grad),), model = [s["W_U"] for s in stepped(config, 1)[0]], stepped(config, 1)[1]
    whole = grad + 2.0 * weights
    expected = weights - 1e-3 * whole / (whole.abs() + 1e-8)
    torch.testing.assert_close(model.W_U.double(), expected, rtol=0, atol=1e-7)


def test_muon_steps_the_matrices_of_the_mlp_and_adamw_the_rest():
    config = dataclasses.replace(TINY, optimizer="muon", weight_decay=2.0)
    (seen,), model = stepped(config, 1)
    weights, grad = (tensor.float() for tensor in seen["W_in"])
    alone = torch.nn.Parameter(weights)
    alone.grad = grad
    settings = {"lr": 1e-3, "weight_decay": 2.0, "adjust_lr_fn": "match_rms_adamw"}
    torch.optim.Muon([alone], momentum=0.9, **settings).step()
    torch.testing.assert_close(model.W_in, alone, rtol=0, atol=1e-7)
    weights, grad = seen["W_U"]
    expected = weights * (1 - 1e-3 * 2.0) - 1e-3 * grad / (grad.abs() + 1e-8)
    torch.testing.assert_close(model.W_U.double(), expected, rtol=0, atol=1e-7)


def test_a_pass_in_batches_is_a_step_of_each_and_warms_up_by_steps():
    config = dataclasses.replace(TINY, batch_size=10, warmup_steps=6)
    state, plain = new_state(config, CPU), new_state(config, CPU)
    engine = PlainEngine(addition(7), state.split, CPU)  # 24 training pairs: 3 steps an epoch
    advance(state, engine, None)
    advance(state, engine, None)
    step = 0
    for epoch in range(2):
        for pairs in batches(plain.split.train, 10, config.seed, epoch):
            engine.training_step(plain.model, pairs).loss.backward()
            plain.optimizer.step(1e-3 * min(step / 6, 1))
            step += 1
    assert step == 6 and state.epoch == 2
    assert state.model.W_E.equal(plain.model.W_E)


def test_a_probe_of_a_run_in_batches_measures_all_training_pairs(tmp_path):
    config = dataclasses.replace(TINY, batch_size=5, num_epochs=4)
    state = run(config, tmp_path)
    engine = PlainEngine(addition(7), state.split, CPU)
    expected = engine.evaluate(state.model, engine.train)
    assert state.history.training_losses[-1] == pytest.approx(expected.loss, rel=1e-12)
    assert state.history.epochs == list(range(5))


def test_the_scale_multiplies_the_initial_weights():
    one, three = new_state(TINY, CPU), new_state(dataclasses.replace(TINY, init_scale=3.0), CPU)
    for name, weight in one.model.named_parameters():
        assert getattr(three.model, name).equal(3 * weight)


def test_a_seed_of_the_split_decides_the_split_alone():
    one, other = new_state(TINY, CPU), new_state(dataclasses.replace(TINY, split_seed=5), CPU)
    assert one.model.W_E.equal(other.model.W_E)
    assert not one.split.train.equal(other.split.train)
    same = new_state(dataclasses.replace(TINY, split_seed=TINY.seed), CPU)
    assert one.split.train.equal(same.split.train)
