"""Every task from training to its pages, API and measures, on a tiny model."""

import json

import numpy as np
import pytest
import torch

import grokking
from grokking.analysis import progress_measures
from grokking.analysis.hindsight import examine
from grokking.commands.report import main as report
from grokking.commands.surface import main as surface
from grokking.files.measures import read as read_measures
from grokking.files.run_files import read_task
from grokking.files.surfaces import read_surface
from grokking.kernels.choice import choose_on_cpu
from grokking.kernels.compiled import implementations
from grokking.training.state import labeled_record, new_state, weights_of
from tests.support import textbook

SIZES = {"d_model": 16, "num_heads": 2, "d_mlp": 24, "threads": 1, "train_fraction": 0.5}
TABLE = [[0, None, 2, 1, 3], [1, 2, None, 0, 4], [None] * 5, [2, 3, 4, 0, 1], [0, 0, 1, 1, None]]
GROUPS = {"subtract": 7, "multiply": 7, "divide": 7, "even": 12, "s5": 120}
TASKS = {**GROUPS, "squares": 7, "quadratic": 7, "random": 7, "table": 5}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """The settings of a run of each task."""
    path = tmp_path_factory.mktemp("table") / "law.json"
    path.write_text(json.dumps(TABLE))

    def of(name):
        task = {"even": "add", "table": f"file:{path}"}.get(name, name)
        modulus = {} if name in ("s5", "table") else {"modulus": TASKS[name]}
        return {**SIZES, **modulus, "task": task}

    return of


@pytest.fixture(scope="module", params=TASKS)
def run(request, settings, tmp_path_factory):
    """A run of each task, with its report and a surface of its first epoch."""
    folder = tmp_path_factory.mktemp(request.param) / "run"
    grokking.train(folder, num_epochs=3, neurons=[0, 5], progress=False, **settings(request.param))
    assert report([str(folder), "--brief"]) == 0
    assert surface([str(folder), "3", "--epoch", "1"]) == 0
    return grokking.load(folder)


@pytest.mark.parametrize("kernel", ["torch", *implementations()])
@pytest.mark.parametrize("name", [name for name in TASKS if name != "s5"])
def test_a_network_of_every_task_is_the_textbooks_in_float64(name, settings, kernel):
    """Loss, accuracy, sums by target and surfaces, of the questions and of no other pairs."""
    from grokking import config

    training = new_state(config.from_values(settings(name)).config, torch.device("cpu"))
    with torch.no_grad():
        for parameter in training.model.parameters():
            parameter *= 1.5
    task, p = training.task, training.task.p
    record = labeled_record(training, 3, weights_of(training.model))
    state = examine(record, task, choose_on_cpu(kernel, 1))
    logits, post, _ = textbook.forward(training.model)
    losses, sums, right = {}, np.zeros((p, p)), {}
    for pair, answer in zip(task.questions.tolist(), task.targets.tolist(), strict=True):
        row = logits[pair // p, pair % p]
        losses[pair] = np.log(np.exp(row - row.max()).sum()) + row.max() - row[answer]
        right[pair] = row.argmax() == answer
        sums[answer] += row
    within = textbook.rounding(training.model, logits)
    np.testing.assert_allclose(state.losses, list(losses.values()), rtol=0, atol=within)
    np.testing.assert_allclose(state.class_sums, sums, rtol=0, atol=p * within)
    np.testing.assert_allclose(state.surfaces(), post, rtol=0, atol=within)
    train, validation = training.split
    assert sorted(torch.cat([train, validation]).tolist()) == task.questions.tolist()
    for part, loss, accuracy in (
        (train, state.training_loss, state.training_accuracy),
        (validation, state.validation_loss, state.validation_accuracy),
    ):
        assert loss == pytest.approx(np.mean([losses[n] for n in part.tolist()]), abs=within)
        assert accuracy == np.mean([right[n] for n in part.tolist()])


def test_a_surface_has_a_hole_where_there_is_no_question_and_only_there(run):
    task = read_task(run.folder)
    holes = np.zeros((task.p, task.p), bool) if task.holes is None else task.holes
    for path in (
        run.folder / "activation_surface_neuron_5.json",
        run.folder / "activation_surface_neuron_3_epoch_1.json",
    ):
        record = json.loads(path.read_text())
        nulls = [[value is None for value in row] for row in record["surface"]]
        assert nulls == holes.tolist() and record["task"] == run.config.task
        np.testing.assert_array_equal(np.isnan(read_surface(path).values), holes)
    final = run.final
    np.testing.assert_array_equal(np.isnan(final.surface(5)), holes)
    np.testing.assert_array_equal(np.isnan(final.logits()).all(axis=2), holes)
    np.testing.assert_array_equal(np.isnan(final.logits()).any(axis=2), holes)
    if holes.any():
        a, b = np.argwhere(holes)[0]
        with pytest.raises(ValueError, match="is no question of"):
            final.predict(a, b)
    a, b = divmod(int(task.questions[-1]), task.p)
    assert final.predict(a, b) == np.nanargmax(final.logits()[a, b])


def test_what_needs_a_basis_is_there_where_one_is_known(run):
    task, measured = read_task(run.folder), progress_measures.read(run.folder)
    rows = read_measures(run.folder)
    card = json.loads((run.folder / "report_card.json").read_text())
    final = run.final
    if task.group is None:
        assert "W_L_norms" not in rows.dtype.names
        assert set(measured.restricted_losses) == set(measured.periodic_neurons) == {None}
        assert card["key_frequencies"] == final.key_frequencies() == []
        assert "no basis is known" in card["rows"][0]["reason"]
        with pytest.raises(ValueError, match="no basis is known"):
            final.spectrum("W_E")
    else:
        assert rows["W_L_norms"].shape == (4, task.blocks)
        assert np.isfinite(measured.restricted_losses).all()
        assert card["key_frequencies"] == final.key_frequencies()
        np.testing.assert_allclose(rows["W_L_norms"][-1], final.spectrum("W_L"), rtol=1e-5)
        assert len(card["rows"]) == 11
    assert card["task"] == run.config.task and card["passed"] == 0


def test_the_pages_speak_of_the_task(run):
    task = read_task(run.folder)
    pages = [run.folder / name for name in ("report.html", "film.html", "gallery.html")]
    pages.append(run.folder / "visualizations" / "index.html")
    for page in pages:
        text = page.read_text()
        assert task.words in text and task.law in text
        assert ("frequency 1" in text) <= (task.group is not None)
        assert ("irrep" in text) == (run.config.task == "s5")
    report = pages[0].read_text()
    assert ("No basis is known" in report) == (task.group is None)


def test_a_run_of_a_table_holds_a_copy_and_goes_on_with_that_table_alone(
    settings, tmp_path, grokking
):
    table = tmp_path / "law.json"
    table.write_text(json.dumps(TABLE))
    variables = {"GROK_TASK": f"file:{table}", "GROK_MODULUS": "", "GROK_NUM_EPOCHS": "3"}
    done = grokking(**variables)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "artifacts"
    assert (folder / "task.json").read_bytes() == table.read_bytes()
    table.unlink()
    assert report([str(folder), "--brief"]) == 0  # from the copy
    variables |= {"GROK_NUM_EPOCHS": "5", "GROK_RESUME": "1"}
    gone = grokking(**variables)
    assert gone.returncode == 2 and "cannot be read" in gone.stderr
    table.write_text(json.dumps([row[::-1] for row in TABLE]))
    other = grokking(**variables)
    assert other.returncode == 2 and other.stderr.count("\n") == 1
    assert "resume with GROK_TASK=file:artifacts/task.json" in other.stderr
    again = grokking(**{**variables, "GROK_TASK": "file:artifacts/task.json"})
    assert again.returncode == 0, again.stderr


def test_a_page_of_a_surface_names_the_task_from_its_file_alone(tmp_path, run):
    path = run.folder / "activation_surface_neuron_5.json"
    (tmp_path / "alone.json").write_bytes(path.read_bytes())
    from grokking.commands.surfaces import main as visualize

    assert visualize([str(tmp_path / "alone.json")]) == 0
    text = (tmp_path / "alone_combined.html").read_text()
    if run.config.task == "multiply":
        assert "Powers of 3" in text
    assert ("no known basis" in text) <= (read_task(run.folder).group is None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "multiply"}, "expected where there is no question"),
        ({"task": "s5"}, "'modulus' is 7, expected 120"),
        ({"task": "adding"}, "'task' is \"adding\""),
        ({"task": "multiply", "modulus": 6}, "needs a prime"),
    ],
)
def test_a_surface_that_contradicts_its_task_is_refused(tmp_path, changes, message):
    from grokking.system.errors import UserError

    p = changes.get("modulus", 7)
    record = {"neuron_index": 0, "modulus": p, "surface": [[0.0] * p] * p, **changes}
    (tmp_path / "s.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=message) as caught:
        read_surface(tmp_path / "s.json")
    assert str(caught.value).startswith(str(tmp_path / "s.json"))
