"""`import grokking`: runs and their networks in Python, against the textbook."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

import grokking
from grokking.api.errors import in_python
from grokking.config import VARIABLES
from grokking.kernels.choice import choose_on_cpu
from grokking.model.transformer import Transformer
from grokking.system.cores import available_cores
from tests.support.addition import all_pairs, generators, split_pairs, targets
from tests.support.environment import ROOT, clean_environment
from tests.support.tiny import TINY

P, HEADS, D_MLP = 7, 2, 24
SETTINGS = {
    VARIABLES[name]: value
    for name, value in {
        "GROK_MODULUS": P,
        "GROK_D_MODEL": 16,
        "GROK_NUM_HEADS": HEADS,
        "GROK_D_MLP": D_MLP,
        "GROK_NUM_EPOCHS": 12,
        "GROK_CHECKPOINT_EVERY": 5,
        "GROK_THREADS": 1,
        "GROK_TRAIN_FRACTION": 0.5,
        "GROK_DEVICE": "cpu",
        "GROK_KERNEL": TINY.get("GROK_KERNEL", "auto"),
    }.items()
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api") / "run"
    return grokking.train(folder, progress=False, **SETTINGS)


@pytest.fixture(scope="module")
def textbook(run):
    """The final network as the textbook has it: (model, logits [p, p, c] at `=`)."""
    model = Transformer(P, 16, HEADS, D_MLP, torch.Generator())
    with torch.no_grad():
        model.load_state_dict({k: torch.tensor(v) for k, v in run.final.weights.items()})
        a, b = all_pairs(P)
        logits = model(torch.stack([a, b, torch.full_like(a, P)], 1))[:, 2]
    return model, logits.reshape(P, P, P).numpy()


def in_fresh_python(program):
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_imports_nothing_heavy_and_neither_do_a_runs_curves(run):
    program = f"""
import sys, grokking
heavy = {{"torch", "numpy", "plotly"}}
assert not heavy & sys.modules.keys()
assert {{"load", "train", "sweep", "Run", "State"}} <= set(dir(grokking))
assert not heavy & sys.modules.keys()
run = grokking.load({str(run.folder)!r})
run.history, run.outcome, run.grok_epoch, run.config, run.departures, run.epochs, repr(run)
assert "torch" not in sys.modules
"""
    in_fresh_python(program)


def test_nothing_is_printed_and_no_signal_caught_and_torch_is_left_as_it_was(tmp_path):
    program = f"""
import signal, torch, grokking
torch.set_num_threads(2)
tiny = torch.tensor(1e-40)
before = [signal.getsignal(n) for n in (2, 15, 1)], torch.get_num_threads(), (tiny * 1).item()
run = grokking.train({str(tmp_path / "run")!r}, progress=False, **{SETTINGS!r})
run.final.logits()
assert before == ([signal.getsignal(n) for n in (2, 15, 1)], torch.get_num_threads(), (tiny * 1).item())
"""
    assert in_fresh_python(program) == ""


def test_a_run_tells_its_settings_and_its_history(run):
    assert run.config.modulus == P
    assert run.config.seed == 42
    assert run.departures == {
        "train_fraction": 0.5,
        "modulus": P,
        "d_model": 16,
        "num_heads": HEADS,
        "d_mlp": D_MLP,
    }
    assert run.finished
    assert run.outcome == "learning"
    assert run.grok_epoch is None
    assert run.memorization_epoch is None
    assert run.history.epochs.tolist() == list(range(13))
    for series in run.history[1:]:
        assert series.dtype == np.float64 and len(series) == 13 and np.isfinite(series).all()
    assert repr(run) == f"<grokking.Run '{run.folder}': learning at epoch 12>"


def test_every_recorded_epoch_is_at_hand_and_others_have_a_nearest(run):
    assert run.epochs == list(range(13))
    assert run.at(5).epoch == 5
    assert run.at(1000).epoch == 12 == run.final.epoch
    with pytest.raises(KeyError, match=r"epoch 1000 is not recorded in .*; the nearest is 12"):
        run.at(1000, exact=True)


def test_losses_and_accuracies_are_those_of_the_history(run):
    for epoch in (0, 7, 12):
        state = run.at(epoch)
        for part in ("training", "validation"):
            column = getattr(run.history, f"{part}_loss")
            assert state.loss(part) == pytest.approx(column[epoch], rel=1e-5)
            assert state.accuracy(part) == getattr(run.history, f"{part}_accuracy")[epoch]
    with pytest.raises(ValueError, match="part is 'test', expected training, validation, all"):
        run.final.loss("test")


def test_weights_are_numpy_arrays_that_cannot_be_written_to(run):
    weights = run.at(0).weights
    expected = Transformer(P, 16, HEADS, D_MLP, generators(42)[0])
    assert list(weights) == [name for name, _ in expected.named_parameters()]
    for name, parameter in expected.named_parameters():
        np.testing.assert_array_equal(weights[name], parameter.detach().numpy())
    with pytest.raises(ValueError, match="read-only"):
        weights["W_E"][0] = 1


def test_logits_and_answers_are_the_textbooks(run, textbook):
    _, expected = textbook
    np.testing.assert_allclose(run.final.logits(), expected, rtol=1e-4, atol=1e-5)
    answers = expected.argmax(2)
    assert run.final.predict(3, 5) == answers[3, 5]
    assert isinstance(run.final.predict(3, 5), int)
    np.testing.assert_array_equal(run.final.predict(np.arange(P)[:, None], range(P)), answers)
    accuracy = (answers.ravel() == targets(P).numpy()).mean()
    assert run.final.accuracy("all") == accuracy


@pytest.mark.parametrize("operand", [-1, P, 1.0, "a", None, True])
def test_an_operand_that_is_none_is_named(run, operand):
    with pytest.raises(ValueError, match=r"b is .*, expected integers from 0 to 6"):
        run.final.predict(0, operand)


def test_surfaces_are_the_hidden_units_of_the_textbook(run, textbook):
    model, _ = textbook
    with torch.no_grad():
        expected = model.mlp_post_at_equals(*all_pairs(P))[1].reshape(P, P, D_MLP).numpy()
    np.testing.assert_allclose(run.final.surfaces(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(run.final.surfaces([5, 0]), run.final.surfaces()[:, :, [5, 0]])
    np.testing.assert_array_equal(run.final.surface(5), run.final.surfaces()[:, :, 5])
    with pytest.raises(ValueError, match="neuron 24 is not there, expected 0 to 23"):
        run.final.surface(24)


def test_attention_is_the_textbooks(run, textbook):
    model, _ = textbook
    attention = run.final.attention()
    assert attention.shape == (HEADS, 3, P, P)
    with torch.no_grad():
        for a, b in ((0, 0), (2, 6), (5, 1)):
            x = model.W_E[torch.tensor([a, b, P])] + model.W_pos
            scores = torch.einsum(
                "hd,khd->hk", x[2] @ model.W_Q, torch.einsum("km,hmd->khd", x, model.W_K)
            )
            expected = (scores / model.W_Q.shape[2] ** 0.5).softmax(1)
            np.testing.assert_allclose(attention[:, :, a, b], expected, rtol=1e-4, atol=1e-6)


def test_spectra_are_those_of_the_measures(run):
    """By their definition: norms of the projections on cos and sin."""
    state = run.final
    k = np.arange(1, P // 2 + 1)[:, None] * 2 * np.pi * np.arange(P) / P  # [frequency, residue]
    for name, rows in (
        ("W_E", state.weights["W_E"][:P]),
        ("W_L", (state.weights["W_out"] @ state.weights["W_U"]).T),
    ):
        waves = np.cos(k) @ rows, np.sin(k) @ rows
        norms = np.sqrt(2 / P * sum((wave**2).sum(1) for wave in waves))
        np.testing.assert_allclose(state.spectrum(name), norms, rtol=1e-4)
    largest = state.spectrum("W_L").max()
    assert state.key_frequencies() == [
        i + 1 for i, norm in enumerate(state.spectrum("W_L")) if norm > largest / 4
    ]
    with pytest.raises(ValueError, match="name is 'W_Q', expected W_E or W_L"):
        state.spectrum("W_Q")


def test_what_computes_is_told_and_why_it_is_no_kernel(run, monkeypatch):
    assert run.final.kernel == str(choose_on_cpu("auto", available_cores()))
    monkeypatch.setattr("grokking.kernels.choice.load_extension", lambda: (None, "it is not built"))
    monkeypatch.setattr("grokking.kernels.cpu.implementations", dict)
    assert run.final.kernel == "plain PyTorch, because it is not built"
    assert run.final.predict(1, 2) == run.at(12).predict(1, 2)


def test_figures_are_plotlys(run):
    curves = run.figure("curves")
    np.testing.assert_allclose(curves.data[1].y, run.history.validation_loss, rtol=1e-6)
    for name in ("progress", "spectrum"):
        assert run.figure(name).data
        assert run.figure(name).layout.title.text
    surface = run.final.figure("surface", neuron=7)
    np.testing.assert_allclose(surface.data[0].z, run.final.surface(7).T, rtol=1e-5)
    with pytest.raises(ValueError, match="name is 'pie', expected curves, progress"):
        run.figure("pie")
    with pytest.raises(ValueError, match="name is 'pie', expected surface"):
        run.final.figure("pie")


@pytest.mark.parametrize(
    ("call", "issue"),
    [
        (lambda run: run.figure("phase_diagram"), "Sweeps over any setting"),
        (lambda run: run.figure("attention"), "The figures that everyone shows"),
        (lambda run: run.final.figure("attention"), "The figures that everyone shows"),
    ],
)
def test_what_is_promised_and_not_there_names_its_issue(run, call, issue):
    with pytest.raises(NotImplementedError, match=issue):
        call(run)


def test_an_unfinished_run_is_told_so_far(tmp_path):
    folder = tmp_path / "run"
    grokking.train(folder, progress=False, **SETTINGS)
    (folder / "grokking.json").unlink()
    run = grokking.load(folder)
    assert not run.finished
    assert run.outcome == "learning"
    assert run.final.epoch == 12
    assert repr(run) == f"<grokking.Run '{folder}': unfinished, learning at epoch 12>"


def test_a_run_that_has_just_begun_has_no_history_yet(tmp_path):
    """The histories are written every ten seconds and at the end."""
    folder = tmp_path / "run"
    grokking.train(folder, progress=False, **SETTINGS)
    for name in ("grokking.json", "loss_history.json", "accuracy_history.json"):
        (folder / name).unlink()
    run = grokking.load(folder)
    assert (run.outcome, run.grok_epoch, len(run.history.epochs)) == ("learning", None, 0)
    assert repr(run) == f"<grokking.Run '{folder}': unfinished, learning at epoch 0>"
    assert run.at(3).epoch == 3


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere/config.json: no such file"):
        grokking.load(tmp_path / "nowhere")


# ---------------------------------------------------------------- training


def test_a_run_from_python_is_the_command_lines(run, grokking_command, tmp_path):
    done = grokking_command(GROK_KERNEL=SETTINGS["kernel"])
    assert done.returncode == 0, done.stderr
    theirs = grokking.load(tmp_path / "artifacts")
    assert theirs.history.epochs.tolist() == run.history.epochs.tolist()
    for name, weight in theirs.final.weights.items():
        np.testing.assert_array_equal(weight, run.final.weights[name])


@pytest.fixture
def grokking_command(request):
    return request.getfixturevalue("grokking")


def test_it_trains_in_a_thread(run, tmp_path):
    found = []

    def work():
        found.append(grokking.train(tmp_path / "run", progress=False, **SETTINGS))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(found[0].history.training_loss, run.history.training_loss)


def test_an_interrupted_run_is_taken_up_bit_for_bit(run, tmp_path, monkeypatch):
    from grokking.training import loop

    advance, folder = loop.advance, tmp_path / "run"

    def interrupted(state, *rest):
        lost = advance(state, *rest)
        if state.epoch == 8:
            raise KeyboardInterrupt
        return lost

    monkeypatch.setattr(loop, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        grokking.train(folder, progress=False, **SETTINGS)
    monkeypatch.undo()
    assert not grokking.load(folder).finished
    resumed = grokking.train(folder, progress=False, resume=True, **SETTINGS)
    np.testing.assert_array_equal(resumed.history.training_loss, run.history.training_loss)
    for name, weight in resumed.final.weights.items():
        np.testing.assert_array_equal(weight, run.final.weights[name])


def test_a_run_that_diverges_is_returned(tmp_path):
    run = grokking.train(
        tmp_path / "run", progress=False, **{**SETTINGS, "learning_rate": 1e30, "warmup_steps": 0}
    )
    assert run.outcome == "diverged"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"lr": 1}, TypeError, r"train\(\) has no setting 'lr'; did you mean 'learning_rate'\?"),
        ({"weight_decays": 1}, TypeError, "did you mean 'weight_decay'"),
        ({"zzz": 1}, TypeError, "there are batch_size, beta1, beta2"),
        ({"artifacts_dir": "x"}, TypeError, "no setting 'artifacts_dir'"),
        ({"weight_decay": -1}, ValueError, "^weight_decay is -1, expected a number >= 0$"),
        ({"weight_decay": "1"}, ValueError, "^weight_decay is '1', expected a number >= 0$"),
        ({"seed": 1.5}, ValueError, "^seed is 1.5, expected an integer"),
        ({"num_heads": 3}, ValueError, "^num_heads is 3, expected a divisor of d_model = 16$"),
        (
            {"neurons": [0, 24]},
            ValueError,
            "^neurons names neuron 24, expected indices below d_mlp = 24$",
        ),
        ({"kernel": "mmx"}, ValueError, "^kernel is 'mmx', expected one of auto"),
        ({"resume": True, "overwrite": True}, ValueError, "^resume and overwrite are both set"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_argument_is_said_in_pythons_words_and_nothing_written(
    tmp_path, changes, error, message
):
    with pytest.raises(error, match=message):
        grokking.train(tmp_path / "run", progress=False, **{**SETTINGS, **changes})
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_refused_with_arguments_to_choose_from(run):
    with pytest.raises(ValueError, match=r"resume=True .* overwrite=True"):
        grokking.train(run.folder, progress=False, **SETTINGS)


def test_messages_speak_of_arguments():
    assert in_python("GROK_SEED is 7; set GROK_RESUME=1, or GROK_NUM_EPOCHS=50.") == (
        "seed is 7; set resume=True, or num_epochs=50."
    )
    assert in_python("GROK_ARTIFACTS_DIR and GROK_OTHER") == "folder and GROK_OTHER"


def test_a_bar_shows_accuracies(tmp_path, capfd):
    grokking.train(tmp_path / "run", **SETTINGS)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "12/12" in shown.err and "validation" in shown.err


# ---------------------------------------------------------------- sweeps


def test_a_sweep_runs_every_combination_and_keeps_what_is_finished(tmp_path):
    values = {"weight_decay": [0.5, 1], "learning_rate": [2e-3]}
    sweep = grokking.sweep(values, [1], tmp_path, progress=False, **SETTINGS)
    names = [f"weight_decay{wd}_learning_rate0.002_seed1" for wd in (0.5, 1.0)]
    assert [run.folder.name for run in sweep.runs] == names
    assert [run.config.weight_decay for run in sweep.runs] == [0.5, 1.0]
    assert all(run.config.learning_rate == 2e-3 and run.config.seed == 1 for run in sweep.runs)
    assert repr(sweep) == f"<grokking.Sweep '{tmp_path}': 2 runs>"
    before = [(run.folder / "grokking.json").stat().st_mtime_ns for run in sweep.runs]
    again = grokking.sweep(values, [1], tmp_path, progress=False, **SETTINGS)
    assert [(run.folder / "grokking.json").stat().st_mtime_ns for run in again.runs] == before
    assert [cell["values"]["weight_decay"] for cell in sweep.cells] == [0.5, 1.0]
    assert [cell["runs"] for cell in sweep.cells] == [[name] for name in names]
    assert {trace.type for trace in sweep.figure("phase_diagram").data} == {"heatmap", "scatter"}
    assert sweep.figure("epochs").layout.xaxis.title.text == "weight decay"
    with pytest.raises(
        ValueError, match="no figure 'diagram', expected one of phase_diagram, epochs"
    ):
        sweep.figure("diagram")


def test_the_figures_of_a_sweep_are_of_its_own_runs(tmp_path):
    """Of those that were asked for, whatever else lies in the folder."""
    grokking.sweep({"weight_decay": [0.5]}, [1], tmp_path, progress=False, **SETTINGS)
    alone = grokking.sweep({"weight_decay": [2.0]}, [1, 2], tmp_path, progress=False, **SETTINGS)
    (cell,) = alone.cells
    assert (cell["values"], len(cell["runs"])) == ({"weight_decay": 2.0}, 2)
    with pytest.raises(
        ValueError, match="a phase diagram has two settings, here vary weight_decay"
    ):
        alone.figure("phase_diagram")


def test_an_interrupted_sweep_lets_its_runs_save_and_goes_on(tmp_path, monkeypatch):
    from grokking.sweeps import runner

    folder, sleep = tmp_path / "wd1.0_seed1", runner.time.sleep
    interrupts = [KeyboardInterrupt]

    def interrupted_once_it_trains(seconds):
        if interrupts and (folder / "trajectory" / "epoch_000008.pt").exists():
            raise interrupts.pop()
        sleep(seconds)

    monkeypatch.setattr(runner.time, "sleep", interrupted_once_it_trains)
    long = {**SETTINGS, "num_epochs": 1_000_000, "checkpoint_every": 1_000_000}
    with pytest.raises(KeyboardInterrupt):
        grokking.sweep({"weight_decay": [1.0]}, [1], tmp_path, progress=False, **long)
    monkeypatch.undo()
    run = grokking.load(folder)
    assert not run.finished
    assert "SIGTERM: saved at epoch" in (folder / "training_output.log").read_text()
    reached = int(run.history.epochs[-1])
    on = {**long, "num_epochs": reached + 5}
    (gone_on,) = grokking.sweep({"weight_decay": [1.0]}, [1], tmp_path, progress=False, **on).runs
    assert gone_on.finished
    assert gone_on.history.epochs.tolist() == list(range(reached + 6))


@pytest.mark.parametrize(
    ("vary", "changes", "error", "message"),
    [
        ({}, {}, ValueError, "expected one to 3 settings with values"),
        ({"weight_decay": []}, {}, ValueError, "expected one to 3 settings with values"),
        ({"wd": [1]}, {}, TypeError, r"sweep\(\) has no setting 'wd'; did you mean 'weight_decay'"),
        ({"weight_decay": [1, -1]}, {}, ValueError, "^weight_decay is -1, expected a number >= 0"),
        ({"seed": [1]}, {}, ValueError, "seed is given twice, or is the sweep's own"),
        ({"weight_decay": [1]}, {"weight_decay": 2.0}, ValueError, "weight_decay is given twice"),
        (
            {"weight_decay": 1.0},
            {},
            ValueError,
            "weight_decay is 1.0, expected a sequence of values",
        ),
        ({"weight_decay": np.array([1, 1.0])}, {}, ValueError, "weight_decay has 1.0 twice"),
        ({"weight_decay": [1]}, {"jobs": -1}, ValueError, "jobs is -1, expected an integer >= 1"),
        (
            {"weight_decay": [1]},
            {"seeds": 5},
            ValueError,
            "seeds is 5, expected a sequence of values",
        ),
        ({"stop_after_grok": [1]}, {}, ValueError, "stop_after_grok decides no weight of a run"),
    ],
)
def test_a_wrong_sweep_starts_nothing(tmp_path, vary, changes, error, message):
    with pytest.raises(error, match=message):
        grokking.sweep(vary, folder=tmp_path / "sweep", progress=False, **{**SETTINGS, **changes})
    assert not (tmp_path / "sweep").exists()


def test_runs_of_a_thread_outlive_it_and_those_of_the_main_thread_do_not():
    from grokking.sweeps.runner import dies_with_us

    found = []
    thread = threading.Thread(target=lambda: found.append(dies_with_us()))
    thread.start()
    thread.join()
    assert found == [False]
    assert dies_with_us() == (sys.platform == "linux")


def test_the_split_is_that_of_the_seed(run):
    pairs = split_pairs(P, 0.5, generators(42)[1]).train
    np.testing.assert_array_equal(run.final._checkpoint["train_pairs"].numpy(), pairs.numpy())
