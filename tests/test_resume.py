"""What a run makes of the folder it finds: what it goes on from, refuses, and leaves as it is."""

import errno
import shutil

import pytest

from grokking import detection
from grokking.config import IDENTITY
from grokking.files.checkpoint import load_checkpoint, save_checkpoint
from grokking.files.json_files import read_json, write_json
from grokking.files.run_files import read_grokking
from grokking.files.surfaces import read_surface
from grokking.system.errors import RunError, UserError
from grokking.training.recorder import newest_checkpoint
from tools.reliability.forked import train


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert train(folder) == 0
    return folder


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_run_without_its_checkpoints_is_not_extended(run):
    for path in run.glob("checkpoint_*.pt"):
        path.unlink()
    before = contents(run)
    with pytest.raises(UserError, match="without the checkpoint that it would go on from"):
        train(run, GROK_RESUME="1", GROK_NUM_EPOCHS="48")
    assert contents(run) == before


def test_a_run_cut_off_before_its_first_checkpoint_starts_again(run):
    for path in (*run.glob("checkpoint_*.pt"), run / "grokking.json"):
        path.unlink()
    assert train(run, GROK_RESUME="1") == 0
    assert read_grokking(run)["final_epoch"] == 24


def test_a_checkpoint_that_the_disk_does_not_give_is_no_damaged_one(run, monkeypatch):
    """It would otherwise be replaced by the one before it."""
    from pathlib import Path

    before, read = contents(run), Path.read_bytes

    def failing(self):
        if self.name == "checkpoint_latest.pt":
            raise OSError(errno.EIO, "Input/output error")
        return read(self)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", failing)
        with pytest.raises(RunError, match=r"checkpoint_latest\.pt: cannot be read: Input/output"):
            newest_checkpoint(run)
    assert contents(run) == before


def test_a_checkpoint_of_a_newer_version_is_refused_and_kept(run):
    path = run / "checkpoint_latest.pt"
    save_checkpoint(path, {**load_checkpoint(path), "schema_version": 99})
    before = contents(run)
    with pytest.raises(UserError, match="a newer version of grokking wrote it"):
        newest_checkpoint(run)
    assert contents(run) == before


def test_weights_alone_are_nothing_to_resume_from(run):
    shutil.copy(run / "checkpoint_labeled" / "final.pt", run / "checkpoint_latest.pt")
    with pytest.raises(UserError, match="holds weights alone"):
        newest_checkpoint(run)


@pytest.mark.parametrize(("field", "value"), [("num_epochs", "24"), ("modulus", None)])
def test_a_config_with_a_value_of_another_kind_is_one_line(run, field, value):
    record = read_json(run / "config.json")
    record["config"][field]["value"] = value
    write_json(run / "config.json", record)
    with pytest.raises(UserError, match=f"config.json: 'config' field '{field}' is .* an integer"):
        train(run, GROK_RESUME="1", GROK_NUM_EPOCHS="48")


PAGES = ("report.html", "film.html", "gallery.html", "report_card.json", "progress_measures.json")


def with_report(run):
    """The run's folder with a report, exports and pages beside its surfaces, as users leave them."""
    for name in PAGES[:3]:
        (run / name).write_text("page")
    write_json(run / "report_card.json", {"epoch": 24})
    write_json(run / "progress_measures.json", {})
    for suffix in (".npz", ".tl.pt", ".safetensors"):
        (run / "checkpoint_labeled" / f"final{suffix}").write_bytes(b"export")
    (run / "activation_surface_neuron_0_combined.html").write_text("page")
    return run


@pytest.fixture
def lenient(monkeypatch):
    """A rule by which every run groks at epoch 0, confirmed at epoch 3."""
    for name, value in {"THRESHOLD": 0, "MEMORIZED": 0, "LATENESS": 0, "WINDOW": 3}.items():
        monkeypatch.setattr(detection, name, value)


@pytest.mark.usefixtures("lenient")
def test_a_run_that_its_stop_rule_ended_goes_on_without_it_and_stays_as_it_is_with_it(
    tmp_path, capsys
):
    """The quickstart's model: trained with a stop rule that its user never set."""
    folder, rule = tmp_path / "run", {"GROK_STOP_AFTER_GROK": "3"}
    assert train(folder, **rule) == 0
    assert read_grokking(folder)["final_epoch"] == 6
    before = contents(with_report(folder))
    assert train(folder, **rule, GROK_RESUME="1", GROK_NUM_EPOCHS="30") == 0
    said = capsys.readouterr().out
    assert (
        "it ended at epoch 6 by GROK_STOP_AFTER_GROK=3; without that it goes on to epoch 30" in said
    )
    assert contents(folder) == before
    assert train(folder, GROK_RESUME="1", GROK_NUM_EPOCHS="30") == 0
    assert read_grokking(folder)["final_epoch"] == 30
    whole = tmp_path / "whole"
    assert train(whole, GROK_NUM_EPOCHS="30") == 0
    for name in ("loss_history.json", "accuracy_history.json", "measures.npy"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    left = {str(path.relative_to(folder)) for path in contents(folder)}
    assert left == {str(path.relative_to(whole)) for path in contents(whole)}


def test_results_of_an_earlier_end_go_when_the_first_checkpoint_after_it_stands(run, monkeypatch):
    """Not before: until then they are the only results that there are."""
    from grokking.training import recorder

    with_report(run)
    seen = []

    def watched(path, record, save=recorder.save_checkpoint):
        if path.name == "checkpoint_latest.pt" and not seen:
            seen.extend(name for name in (*PAGES, "grokking.json") if (run / name).exists())
        save(path, record)

    monkeypatch.setattr(recorder, "save_checkpoint", watched)
    assert train(run, GROK_RESUME="1", GROK_NUM_EPOCHS="48") == 0
    assert set(seen) == {*PAGES, "grokking.json"}
    assert not any((run / name).exists() for name in PAGES)
    assert not list((run / "checkpoint_labeled").glob("final.[nts]*"))
    assert read_grokking(run)["final_epoch"] == 48
    assert not list(run.glob("activation_surface_neuron_*.html"))


def test_an_error_before_the_first_checkpoint_leaves_the_earlier_results(run, monkeypatch):
    from grokking.files import trajectory

    before = contents(with_report(run))

    def failing(*_):
        raise RunError("the disk is full")

    monkeypatch.setattr(trajectory, "record", failing)
    with pytest.raises(RunError):
        train(run, GROK_RESUME="1", GROK_NUM_EPOCHS="48")
    monkeypatch.undo()
    kept = {path for path in before if path.name != "config.json"}
    assert {path for path in kept if path.read_bytes() != before[path]} == set()
    assert train(run, GROK_RESUME="1", GROK_NUM_EPOCHS="48") == 0


def test_other_neurons_are_exported_and_everything_else_stays(run):
    before = contents(with_report(run))
    assert train(run, GROK_RESUME="1", GROK_NEURONS="7") == 0
    assert read_surface(run / "activation_surface_neuron_7.json").epoch == 24
    after = contents(run)
    same = [p for p in before if p.name not in ("config.json", "index.html", "grokking.json")]
    assert {path for path in same if after[path] != before[path]} == set()
    assert read_grokking(run)["final_epoch"] == 24


@pytest.mark.parametrize(
    "variables",
    [
        {"GROK_PROBE_EVERY": "2"},
        {"GROK_CHECKPOINT_EVERY": "7"},
        {"GROK_TRAJECTORY": "0"},
        {"GROK_NUM_EPOCHS": "0048"},
        {"GROK_BUILD_CUDA": "0"},
        {"GROK_SEED": "042"},
        {"GROK_WEIGHT_DECAY": "1e0"},
        {"GROK_NEURONS": "all"},
    ],
)
def test_what_decides_no_weight_so_far_may_change(run, variables):
    assert train(run, **{"GROK_NUM_EPOCHS": "48", "GROK_RESUME": "1", **variables}) == 0
    assert read_grokking(run)["final_epoch"] == 48


@pytest.mark.parametrize("variable", [f"GROK_{name.upper()}" for name in IDENTITY])
def test_what_decides_weights_may_not(run, variable):
    other = {"GROK_MODULUS": "11", "GROK_NUM_HEADS": "4", "GROK_D_MODEL": "32", "GROK_D_MLP": "13"}
    other |= {"GROK_TASK": "subtract", "GROK_OPTIMIZER": "adam", "GROK_BATCH_SIZE": "5"}
    value = other.get(variable, "0.25")
    value = "7" if variable in ("GROK_SEED", "GROK_SPLIT_SEED", "GROK_WARMUP_STEPS") else value
    before = contents(run)
    with pytest.raises(UserError) as caught:
        train(run, GROK_RESUME="1", **{variable: value})
    message = str(caught.value)
    assert message.startswith(f"{variable} is {value}, but the run in")
    assert f"resume with {variable}" in message and "None" not in message
    assert contents(run) == before


def test_another_kernel_or_thread_count_needs_inexact_which_is_recorded(run):
    elsewhere = {"GROK_NUM_EPOCHS": "48", "GROK_THREADS": "2"}
    before = contents(run)
    with pytest.raises(UserError, match=r"threads 1 \(now 2\).*GROK_RESUME=inexact"):
        train(run, GROK_RESUME="1", **elsewhere)
    assert contents(run) == before
    first = read_json(run / "config.json")["starts"]
    assert train(run, GROK_RESUME="inexact", **elsewhere) == 0
    assert read_grokking(run)["final_epoch"] == 48
    starts = read_json(run / "config.json")["starts"]
    assert starts[:1] == first  # nothing of where it came from is lost
    assert [(s["epoch"], s["threads"], s["inexact"]) for s in starts] == [
        (0, 1, False),
        (24, 2, True),
    ]
    with pytest.raises(UserError, match=r"threads 2 \(now 1\)"):
        train(run, GROK_RESUME="1", GROK_NUM_EPOCHS="60")


def test_an_older_config_tells_of_its_last_start(run):
    record = read_json(run / "config.json")
    del record["starts"]
    write_json(run / "config.json", {**record, "kernel": "avx1024"})
    with pytest.raises(UserError, match=r"kernel avx1024 \(now torch\)"):
        train(run, GROK_RESUME="1", GROK_NUM_EPOCHS="48")
    assert train(run, GROK_RESUME="inexact", GROK_NUM_EPOCHS="48") == 0
    starts = read_json(run / "config.json")["starts"]
    assert [start["kernel"] for start in starts] == ["avx1024", "torch"]


def test_fewer_epochs_than_the_run_has_behind_it_are_refused(run):
    with pytest.raises(UserError, match=r"GROK_NUM_EPOCHS is 23, .* has reached epoch 24"):
        train(run, GROK_RESUME="1", GROK_NUM_EPOCHS="23")


@pytest.mark.parametrize("name", ["grokking.json", "loss_history.json", "accuracy_history.json"])
def test_a_damaged_result_is_written_again_from_the_checkpoint(run, name):
    before = contents(run)
    (run / name).write_text("{")
    assert train(run, GROK_RESUME="1") == 0
    assert contents(run)[run / name] == before[run / name]


def test_a_report_made_while_the_run_trained_does_not_outlive_it(tmp_path):
    folder = tmp_path / "run"
    assert train(folder, GROK_NUM_EPOCHS="12") == 0
    (folder / "grokking.json").unlink()
    write_json(with_report(folder) / "report_card.json", {"epoch": 9})
    assert train(folder, GROK_RESUME="1", GROK_NUM_EPOCHS="12") == 0
    assert not any((folder / name).exists() for name in PAGES)


def test_overwrite_leaves_nothing_of_the_old_run(run):
    with_report(run)
    (run / "mine.txt").write_text("mine")
    fresh = run.parent / "fresh"
    settings = {"GROK_SEED": "7", "GROK_NEURONS": "1"}
    assert train(run, GROK_OVERWRITE="1", **settings) == 0
    assert train(fresh, **settings) == 0
    left = {str(path.relative_to(run)) for path in contents(run)}
    assert left == {str(path.relative_to(fresh)) for path in contents(fresh)} | {"mine.txt"}


@pytest.mark.parametrize("switch", ["GROK_RESUME", "GROK_OVERWRITE"])
def test_a_file_in_the_place_of_the_folder_is_wrong_input(tmp_path, switch):
    (tmp_path / "taken").touch()
    with pytest.raises(UserError, match="which is a file, expected a folder"):
        train(tmp_path / "taken", **{switch: "1"})
