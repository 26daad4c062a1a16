"""What a run makes of the folder it finds: what it goes on from, refuses, and leaves as it is."""

import errno
import shutil

import pytest
from reliability.forked import train

from grokking.artifacts import read_grokking, read_json, write_json
from grokking.checkpoint import load_checkpoint, save_checkpoint
from grokking.errors import RunError, UserError
from grokking.recorder import newest_checkpoint


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


@pytest.mark.parametrize("switch", ["GROK_RESUME", "GROK_OVERWRITE"])
def test_a_file_in_the_place_of_the_folder_is_wrong_input(tmp_path, switch):
    (tmp_path / "taken").touch()
    with pytest.raises(UserError, match="which is a file, expected a folder"):
        train(tmp_path / "taken", **{switch: "1"})
