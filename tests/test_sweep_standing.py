"""What a resumed sweep makes of the runs it finds: one answer to what is finished and what is damaged."""

import json
import re
import shutil
import subprocess
from types import SimpleNamespace

import pytest

from grokking.commands.sweep import main
from grokking.files.run_files import read_grokking
from grokking.sweeps import runner
from grokking.sweeps.axis import AXIS
from grokking.sweeps.plan import Plan, write_plan
from grokking.sweeps.reports import write_reports
from grokking.system.errors import UserError
from tests.support import warm
from tools.reliability.forked import TINY, train

NAMES = ("wd1.0_seed1", "wd1.0_seed2")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep of two tiny runs, both finished."""
    folder = tmp_path_factory.mktemp("finished") / "sweep"
    folder.mkdir()
    settings = {name: text for name, text in TINY.items() if name != "GROK_NUM_EPOCHS"}
    write_plan(folder, Plan((AXIS.over((1.0,)),), (1, 2), (24,), settings))
    for seed, name in enumerate(NAMES, 1):
        assert train(folder / name, GROK_SEED=str(seed)) == 0
    return folder


@pytest.fixture
def sweep(finished, tmp_path, monkeypatch):
    """A copy of it, whose runs are started as forks."""
    monkeypatch.setattr("grokking.commands.sweep.analyze_and_plot", analysed)
    forking = SimpleNamespace(**{**vars(subprocess), "Popen": warm.Popen})
    monkeypatch.setattr(runner, "subprocess", forking)
    return shutil.copytree(finished, tmp_path / "sweep")


def analysed(directory, left=()):
    """As in a sweep, without its pages."""
    from grokking.sweeps.analysis import analyze

    return analyze(directory)[0].is_whole()


def resume(folder, *options):
    return main(["--resume", str(folder), "--no-reports", "--jobs", "1", *options])


def test_a_finished_sweep_is_left_as_it_is(sweep, capsys):
    assert resume(sweep) == 0
    assert "0 runs (2 finished before are kept)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("grokking.json", "{"),
        ("loss_history.json", '{"epochs": [1]}'),
        ("accuracy_history.json", ""),
        ("config.json", "[]"),
    ],
)
def test_a_damaged_run_is_named_kept_aside_and_run_again(sweep, capsys, name, content):
    (sweep / NAMES[0] / name).write_text(content)
    assert resume(sweep) == 0
    said = capsys.readouterr().out
    assert (
        f"{NAMES[0]} is damaged and runs again; it lies in damaged/{NAMES[0]} now: {name}: " in said
    )
    assert "1 run (1 finished before are kept)" in said
    assert (sweep / "damaged" / NAMES[0] / name).read_text() == content
    assert read_grokking(sweep / NAMES[0])["final_epoch"] == 24
    assert (
        f"{NAMES[0]}  damaged, moved to damaged/{NAMES[0]}" in (sweep / "run_log.txt").read_text()
    )
    assert resume(sweep) == 0
    assert "0 runs (2 finished before are kept)" in capsys.readouterr().out


def test_a_run_damaged_twice_is_kept_twice(sweep):
    for place in (NAMES[0], f"{NAMES[0]}_2"):
        (sweep / NAMES[0] / "grokking.json").write_text("{")
        assert resume(sweep) == 0
        assert (sweep / "damaged" / place / "grokking.json").read_text() == "{"


def test_an_unfinished_run_without_an_intact_checkpoint_runs_again(sweep, capsys):
    folder = sweep / NAMES[1]
    (folder / "grokking.json").unlink()
    for path in folder.glob("checkpoint_*.pt"):
        path.write_bytes(path.read_bytes()[:-100])
    assert resume(sweep) == 0
    assert f"{NAMES[1]} is damaged and runs again" in capsys.readouterr().out
    assert read_grokking(folder)["final_epoch"] == 24


def test_an_unfinished_run_with_a_checkpoint_goes_on(sweep, capsys):
    (sweep / NAMES[1] / "grokking.json").unlink()
    assert resume(sweep) == 0
    assert "damaged" not in capsys.readouterr().out
    assert "at epoch 24" in (sweep / NAMES[1] / "training_output.log").read_text()


def test_the_finished_run_of_another_seed_is_not_the_planned_one(sweep, capsys):
    shutil.rmtree(sweep / NAMES[0])
    shutil.copytree(sweep / NAMES[1], sweep / NAMES[0])
    assert resume(sweep) == 1
    out, told = capsys.readouterr().out, "GROK_SEED is 1, but the run in"
    assert re.search(rf"{NAMES[0]}  failed with exit code 2 after 0:\S+: {told}", out)
    assert told in (sweep / NAMES[0] / "training_output.log").read_text()


def test_a_folder_that_cannot_be_looked_into_is_one_failed_run(sweep, capsys):
    """As where permission is lacking, which root is never refused."""
    for name in NAMES:
        (sweep / name / "grokking.json").unlink()
    (sweep / NAMES[0] / "config.json").unlink()
    (sweep / NAMES[0] / "config.json").symlink_to("x" * 300)  # longer than a name may be
    assert resume(sweep) == 1
    assert f"1 of 2 runs failed: {NAMES[0]}; again: " in capsys.readouterr().out
    assert read_grokking(sweep / NAMES[1])["final_epoch"] == 24


def test_a_run_that_cannot_be_looked_for_gets_no_report(tmp_path):
    (tmp_path / "grokking.json").symlink_to("x" * 300)
    assert write_reports([tmp_path], jobs=1, settings={}) == []


def test_a_sweep_with_a_run_that_cannot_be_read_exits_with_1(sweep):
    stranger = sweep / "wd9.0_seed9"
    stranger.mkdir()
    (stranger / "config.json").write_text("{")
    assert resume(sweep) == 1
    assert stranger.exists()  # no run of this sweep: it is named, and left alone


def test_a_repeated_run_was_read_and_is_no_fault(sweep):
    shutil.copytree(sweep / NAMES[0], sweep / "copy")
    assert resume(sweep) == 0


def test_a_sweep_is_taken_further(sweep):
    assert resume(sweep, "--epochs", "30") == 0
    assert [read_grokking(sweep / name)["final_epoch"] for name in NAMES] == [30, 30]
    plan = json.loads((sweep / "sweep.json").read_text())
    assert plan["epochs"] == [30] and plan["sessions"][0]["runs"] == 2
    with pytest.raises(UserError, match="cannot be resumed with fewer"):
        resume(sweep, "--epochs", "24")


def test_an_inexact_sweep_takes_its_runs_on_with_another_thread_count(sweep, monkeypatch):
    monkeypatch.setenv("GROK_THREADS", "2")
    assert resume(sweep, "--epochs", "30", "--inexact") == 0
    for name in NAMES:
        starts = json.loads((sweep / name / "config.json").read_text())["starts"]
        assert [(start["threads"], start["inexact"]) for start in starts] == [(1, False), (2, True)]


def test_a_finished_run_that_the_statistics_refuse_is_no_finished_one(sweep, capsys):
    """Otherwise a resume would keep for ever what the analysis never counts."""
    result = sweep / NAMES[0] / "grokking.json"
    late = {"grokked": True, "grok_epoch": 999, "generalization_epoch": 999, "outcome": "grokked"}
    result.write_text(json.dumps(json.loads(result.read_text()) | late))
    assert resume(sweep) == 0
    assert f"{NAMES[0]} is damaged and runs again" in capsys.readouterr().out
    assert read_grokking(sweep / NAMES[0])["grok_epoch"] != 999


@pytest.mark.parametrize("key", ["config", "starts"])
def test_an_unfinished_run_with_a_damaged_config_runs_again(sweep, capsys, key):
    """Its run would refuse to go on, every time."""
    folder = sweep / NAMES[1]
    (folder / "grokking.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: 5}))
    assert resume(sweep) == 0
    assert f"{NAMES[1]} is damaged and runs again" in capsys.readouterr().out
    assert read_grokking(folder)["final_epoch"] == 24


def test_an_unfinished_run_with_damaged_measures_runs_again(sweep, capsys):
    folder = sweep / NAMES[1]
    (folder / "grokking.json").unlink()
    rows = (folder / "measures.npy").read_bytes()
    (folder / "measures.npy").write_bytes(rows[:-5] + bytes(byte ^ 255 for byte in rows[-5:]))
    assert resume(sweep) == 0
    assert f"{NAMES[1]} is damaged and runs again" in capsys.readouterr().out
    assert read_grokking(folder)["final_epoch"] == 24
