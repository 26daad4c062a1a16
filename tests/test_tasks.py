"""Every task from training to its pages, API and measures, on a tiny model."""

import json
import re

import numpy as np
import pytest
import torch
from plotly.offline import get_plotlyjs

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
        text = own_text(page)
        assert task.words in text and task.law in text
        assert ("irrep" in text) == (run.config.task == "s5")
        if run.config.task == "s5":
            assert not re.findall(".{0,60}frequenc.{0,60}", text, re.IGNORECASE)
            assert not re.findall(".{0,60}(?:one|a) wave.{0,60}", text)
        elif task.group is None:
            assert not re.findall(r".{0,60}frequency \d", text, re.IGNORECASE)
        else:
            assert re.search(r"frequency \d", text, re.IGNORECASE)
        sentence = f"No basis is known in which {task.words} would be sparse"
        assert (sentence in text) == (task.group is None)


def own_text(page):
    """A page but for plotly itself."""
    return page.read_text().replace(get_plotlyjs(), "")


def test_the_figures_speak_of_the_task(run):
    task = read_task(run.folder)
    progress = run.figure("progress")
    drawn = {trace.name for trace in progress.data}
    assert ("Gini of W_E's spectrum" in drawn) == (task.group is not None)
    if task.group is None:
        for name in ("spectrum", "circles"):
            with pytest.raises(ValueError, match="no basis is known"):
                run.figure(name)
        return
    assert (
        run.figure("spectrum").layout.title.text == f"Norm of each {task.group.basis.kind} in W_E"
    )
    if run.config.task == "s5":
        with pytest.raises(ValueError, match="irreps have no circles"):
            run.figure("circles")


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
    pages = [tmp_path / name for name in ("alone_combined.html", "alone.html")]
    for text in map(own_text, pages):
        assert f"Neuron 5, {named(run.config)}, epoch 3: " in text
        assert ("Powers of 3" in text) == (run.config.task in ("multiply", "divide"))
        dead = ": dead" in text
        assert ("no known basis" in text) == (read_task(run.folder).group is None and not dead)


def named(config):
    """The task as a surface's title has it."""
    if config.task == "s5":
        return "s5"
    if config.task == "add":
        return f"mod {config.modulus}"
    if config.task == "random" or config.task.startswith("file:"):
        return f"{config.task.partition(':')[0]}, p = {config.modulus}"
    return f"{config.task} mod {config.modulus}"


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


# --- tables that change, move, or lie elsewhere ----------------------------------------------

TINY_TABLE = {"d_model": 4, "num_heads": 1, "d_mlp": 6, "threads": 1, "train_fraction": 0.5}
OTHER_TABLE = [row[::-1] for row in TABLE]


@pytest.fixture
def table(tmp_path, monkeypatch):
    """law.json in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "law.json"
    path.write_text(json.dumps(TABLE))
    return path


def learn(folder, **settings):
    settings = {**TINY_TABLE, "task": "file:law.json", **settings}
    return grokking.train(folder, num_epochs=2, progress=False, **settings)


def test_a_table_that_has_changed_is_another_task_in_the_same_process(table):
    first = learn("first").final.task
    table.write_text(json.dumps(OTHER_TABLE))
    other = learn("other").final.task
    assert first.targets.tolist() != other.targets.tolist()
    (table.parent / "first" / "task.json").write_text(
        json.dumps(OTHER_TABLE)
    )  # a run that was replaced
    assert grokking.load("first").final.task.targets.tolist() == other.targets.tolist()


def test_a_table_that_goes_away_while_a_run_learns_it_is_not_missed(table, monkeypatch):
    from grokking.training import loop

    advance = loop.advance

    def remove_and_advance(*arguments):
        table.unlink(missing_ok=True)
        return advance(*arguments)

    monkeypatch.setattr(loop, "advance", remove_and_advance)
    assert learn("run").history.epochs[-1] == 2


def test_a_damaged_copy_is_told_by_its_own_name(table, capsys):
    learn("run")
    (table.parent / "run" / "task.json").write_text("[[0,")
    with pytest.raises(ValueError, match=r"run/task\.json, the copy of a table, which is not JSON"):
        grokking.load("run").final  # noqa: B018


def test_a_table_keeps_its_name_whichever_file_a_run_goes_on_with(table):
    learn("run")
    settings = {**TINY_TABLE, "task": "file:run/task.json", "resume": True}
    run = grokking.train("run", num_epochs=4, progress=False, **settings)
    assert run.config.task == "file:law.json" and run.history.epochs[-1] == 4


def test_two_tables_of_one_name_are_not_one_experiment(table, capsys):
    from grokking.sweeps.folder import read_sweep

    learn("sweep/a", seed=1)
    table.write_text(json.dumps(OTHER_TABLE))
    learn("sweep/b", seed=1)
    learn("sweep/c", seed=1, split_seed=7)
    found = read_sweep(table.parent / "sweep")
    assert len(found.runs) == 3 and found.faults == []
    assert any("differ in task" in warning for warning in found.warnings)
    (table.parent / "moved.json").write_text(json.dumps(OTHER_TABLE))
    learn("sweep/d", seed=1, task="file:moved.json")
    assert [(f.directory, f.repeats) for f in read_sweep(table.parent / "sweep").faults] == [
        ("d", True)
    ]


def test_a_sweep_keeps_a_copy_of_its_table_and_goes_on_without_the_file(table, grokking):
    sizes = {f"GROK_{name.upper()}": str(value) for name, value in TINY_TABLE.items()}
    variables = {**sizes, "GROK_MODULUS": "", "GROK_NUM_EPOCHS": "", "GROK_TASK": "file:law.json"}
    words = ("--weight-decays", "1", "--seeds", "1", "--jobs", "1")
    begun = grokking("sweep", *words, "--epochs", "2", "--output", "sw", **variables)
    assert begun.returncode == 0, begun.stderr
    assert (table.parent / "sw" / "task.json").read_bytes() == table.read_bytes()
    resume = ("sweep", "--resume", str(table.parent / "sw"), "--epochs", "4", "--jobs", "1")
    again = grokking(*resume, **variables)
    assert again.returncode == 0, again.stderr
    table.write_text(json.dumps(OTHER_TABLE))
    other = grokking(*resume, **variables)
    assert other.returncode == 2 and "GROK_TASK is file:law.json, but it was" in other.stderr
    table.unlink()
    gone = {**variables, "GROK_TASK": ""}
    assert grokking("sweep", "--resume", "sw", "--epochs", "6", **gone).returncode == 0
    assert grokking("analyze", "sw", **gone).returncode == 0


def test_a_sweep_over_tables_in_python_names_its_folders_by_their_files(table):
    (table.parent / "more").mkdir()
    (table.parent / "more" / "other.json").write_text(json.dumps(OTHER_TABLE))
    vary = {"task": ["file:law.json", "file:more/other.json"]}
    found = grokking.sweep(
        vary, seeds=[1], folder="sw", num_epochs=2, progress=False, jobs=1, **TINY_TABLE
    )
    assert [run.folder.name for run in found.runs] == ["tasklaw.json_seed1", "taskother.json_seed1"]
    (table.parent / "more" / "law.json").write_text(json.dumps(OTHER_TABLE))
    with pytest.raises(ValueError, match=r"two runs would be called tasklaw\.json_seed42"):
        grokking.sweep({"task": ["file:law.json", "file:more/law.json"]}, folder="sw", **TINY_TABLE)


def test_a_run_trained_in_python_is_taken_further_by_the_command_that_its_card_names(
    table, grokking
):
    import shlex

    from grokking.files.continuation import command_to_go_on

    for name, settings in {
        "run": {"task": "file:law.json", "seed": 5},
        "product": {"task": "multiply", "modulus": 7, "weight_decay": 2.0},
    }.items():
        learn(name, **settings)
        command = command_to_go_on(table.parent / name, 4, name)
        assert "python -m grokking" in command
        variables = dict(word.split("=", 1) for word in shlex.split(command) if "=" in word)
        done = grokking(tiny=False, **variables)
        assert done.returncode == 0, done.stderr
        assert grokking_history(table.parent / name) == 4


def grokking_history(folder):
    return grokking.load(folder).history.epochs[-1]


@pytest.mark.parametrize("container", ["npz", "safetensors"])
def test_an_export_of_another_task_comes_back_as_that_task(
    tmp_path, monkeypatch, container, grokking
):
    monkeypatch.chdir(tmp_path)
    for name, settings in {
        "product": {"task": "multiply", "modulus": 7},
        "drawn": {"task": "random", "modulus": 7},
    }.items():
        learn(name, **settings)
        final = f"{name}/checkpoint_labeled/final"
        assert grokking("export", f"{final}.pt", "--format", container).returncode == 0
    path = f"product/checkpoint_labeled/final.{container}"
    assert grokking("import", path, "theirs").returncode == 0
    ours, theirs = (load_run(tmp_path / name) for name in ("product", "theirs"))
    assert theirs.config.task == "multiply"
    assert theirs.final.accuracy("all") == ours.final.accuracy("all")
    wrong = grokking("import", path, "other", "--task", "add")
    assert wrong.returncode == 2 and "says multiply; leave it out" in wrong.stderr
    drawn = grokking("import", f"drawn/checkpoint_labeled/final.{container}", "other")
    assert drawn.returncode == 2 and "compute random, expected one of" in drawn.stderr
    assert grokking("export", "product/checkpoint_labeled/final.pt").returncode == 0
    plain = "product/checkpoint_labeled/final.tl.pt"
    done = grokking("import", plain, "told", "--task", "multiply", "--epoch", "2")
    assert done.returncode == 0 and load_run(tmp_path / "told").config.task == "multiply"


def load_run(folder):
    import grokking as package

    return package.load(folder)


def test_an_ablation_stands_beside_a_loss_over_the_same_classes(settings):
    """Of multiplication neither has the logit of 0, which is no answer."""
    from grokking import config
    from grokking.analysis.circuit import ablate, key_span

    training = new_state(config.from_values(settings("multiply")).config, torch.device("cpu"))
    record = labeled_record(training, 3, weights_of(training.model))
    state = examine(record, training.task, choose_on_cpu("torch", 1))
    logits = state.logits[:, state.group.class_order].astype(np.float64)
    goal = state.elements
    peak = logits.max(axis=1)
    total = np.log(np.exp(logits - peak[:, None]).sum(axis=1)) + peak
    expected = (total - logits[np.arange(len(goal)), goal]).mean()
    assert ablate(state, key_span(state, [1])).full == pytest.approx(expected, rel=1e-5)
