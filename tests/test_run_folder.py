"""The folder of a run: what counts as its files, so that nothing of an old run survives."""

import pytest

from grokking.commands.report import main as report
from grokking.commands.sweep_options import MAX_RUNS, parse, plan_from
from grokking.files.folder import clear, run_files
from grokking.system.errors import UserError
from tools.reliability.forked import train


def files(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


def test_every_file_of_a_run_and_its_report_is_known_and_cleared(tmp_path, capsys):
    folder = tmp_path / "run"
    assert train(folder) == 0 and report([str(folder)]) == 0
    (folder / "mine.txt").touch()
    kept = {folder / ".lock", folder / "mine.txt"}
    assert files(folder) - kept == set(run_files(folder))
    clear(folder)
    assert files(folder) == kept
    assert [path.name for path in folder.iterdir() if path.is_dir()] == []


def test_more_runs_than_a_folder_should_hold_are_refused():
    seeds = " ".join(map(str, range(MAX_RUNS // 2 + 1)))
    options = parse(["--weight-decays", "1 2", "--seeds", seeds])
    with pytest.raises(UserError, match=f"expected at most {MAX_RUNS}"):
        plan_from(options)
