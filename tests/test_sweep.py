"""Sweeps of tiny models as real processes: run, fail, be interrupted, be killed, resume."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grokking.sweeps.axis import AXIS
from grokking.sweeps.plan import Plan, write_plan
from grokking.system.locks import locked
from tests.support.environment import ROOT, clean_environment, held_at
from tests.support.tiny import TINY

pytestmark = pytest.mark.timeout(900)

SCRIPT = ROOT / "scripts" / "sweep_weight_decay.sh"
MIDDLE = "epoch_000016.pt"  # recorded in the middle of a run
LONG = {"GROK_NUM_EPOCHS": "100", "GROK_CHECKPOINT_EVERY": "20", "GROK_PROBE_EVERY": "20"}
DATE, CLOCK = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", r"\d+:\d\d:\d\d"
SMALL = TINY | {"GROK_NEURONS": "0"}
TIMES = {"seconds", "epochs_per_second"}  # what may differ between equal runs


def environment(**variables):
    interpreter = Path(sys.executable).parent
    path = f"{interpreter}{os.pathsep}{os.environ['PATH']}"
    return clean_environment(PATH=path, **{**SMALL, **variables})


def sweep(*arguments, cwd, **variables):
    return subprocess.run(
        [SCRIPT, *arguments],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        check=False,
        text=True,
    )


def begin(*arguments, cwd, **variables):
    """A sweep in the background, its output in cwd/output."""
    with (cwd / "output").open("wb") as output:
        return subprocess.Popen(
            [SCRIPT, *arguments],
            cwd=cwd,
            env=environment(**variables),
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def wait_until(condition, process):
    """Until the sweep has got so far."""
    while not condition():
        assert process.poll() is None, "ended before it was waited for"
        time.sleep(0.02)


def planned(folder, *weight_decays):
    """The folder of a sweep that has not begun."""
    settings = {n: v for n, v in SMALL.items() if n != "GROK_NUM_EPOCHS"}
    folder.mkdir()
    write_plan(
        folder, Plan((AXIS.over(weight_decays),), (42,), (12,) * len(weight_decays), settings)
    )
    return folder


def contents(run):
    """What a run's folder holds and must be equal in equal runs: names, and all but times."""
    found = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        if path.suffix == ".json" and name != "config.json":
            record = json.loads(path.read_text())
            found[name] = {k: v for k, v in record.items() if k not in TIMES}
        else:
            found[name] = None
    return found


def weights(run, label):
    import torch

    model = torch.load(run / "checkpoint_labeled" / f"{label}.pt", weights_only=True)["model"]
    return {name: tensor.numpy().tobytes() for name, tensor in model.items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two runs at a time into a folder with a space; (completed process, folder)."""
    cwd = tmp_path_factory.mktemp("sweep")
    done = sweep(
        *("--weight-decays", "0.5 1.0", "--seeds", "42", "--jobs", "2", "--output", "my sweep"),
        cwd=cwd,
        **LONG,
    )
    return done, cwd / "my sweep"


def test_a_sweep_runs_analyses_and_plots_by_itself(finished):
    done, folder = finished
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "H1 UNDECIDED" in done.stdout or "H1 PASS" in done.stdout
    assert {path.name for path in folder.iterdir()} == {
        ".lock",
        "analysis_summary.json",
        "plots",
        "run_log.txt",
        "sweep.json",
        *(f"wd{weight_decay}_seed42" for weight_decay in (0.5, 1.0)),
    }
    assert (folder / "plots" / "index.html").exists()
    summary = json.loads((folder / "analysis_summary.json").read_text())
    assert (summary["runs_read"], summary["runs_not_counted"]) == (2, 0)


def test_the_plan_is_announced_with_time_and_disk(finished):
    done, _ = finished
    measuring, expected, starts = done.stdout.splitlines()[:3]
    assert measuring == "measuring a few epochs ..."
    assert re.match(f"expected: {CLOCK} for 2 runs and their reports, 2 at a time", expected)
    assert " MB on disk" in expected
    assert starts == "2 runs, 2 at a time, into my sweep"


def test_each_run_has_all_files_of_a_run_and_its_log(finished):
    _, folder = finished
    for run in folder.glob("wd*"):
        assert {"config.json", "grokking.json", "loss_history.json", "training_output.log"} <= {
            path.name for path in run.iterdir()
        }
        assert "final accuracy" in (run / "training_output.log").read_text()


def test_each_run_has_its_report_and_the_index_links_it(finished):
    done, folder = finished
    index = (folder / "plots" / "index.html").read_text()
    for run in folder.glob("wd*"):
        assert {"report.html", "film.html", "gallery.html"} <= {path.name for path in run.iterdir()}
        assert f'href="../{run.name}/report.html"' in index
    assert "writing the reports of 2 runs ..." in done.stdout


def test_reports_can_be_left_out_and_caught_up_with(finished, tmp_path):
    _, folder = finished
    shutil.copytree(folder, tmp_path / "again")
    reports = sorted((tmp_path / "again").glob("wd*/report.html"))
    for report in reports:
        report.unlink()
    assert sweep("--resume", "again", "--no-reports", cwd=tmp_path, **LONG).returncode == 0
    assert not any(report.exists() for report in reports)
    (tmp_path / "again" / "wd1.0_seed42" / "checkpoint_labeled" / "final.pt").write_bytes(b"")
    done = sweep("--resume", "again", cwd=tmp_path, **LONG)
    assert done.returncode == 0
    assert [report.exists() for report in reports] == [True, False]
    assert done.stderr.startswith("wd1.0_seed42 has no report: ")
    assert "final.pt: not a readable checkpoint" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_run_log_tells_start_finish_duration_and_outcome(finished):
    _, folder = finished
    log = (folder / "run_log.txt").read_text()
    assert log.startswith("Weight-decay sweep started at 20")
    assert "  weight decays: 0.5 1.0\n  seeds:         42\n  epochs:        100\n" in log
    for run in folder.glob("wd*"):
        epoch = json.loads((run / "grokking.json").read_text())["grok_epoch"]
        outcome = "No grokking detected" if epoch is None else f"grok epoch {epoch}"
        started, ended = (line for line in log.splitlines() if f" {run.name} " in line)
        assert re.fullmatch(rf"{DATE}  {run.name}  started", started)
        assert re.fullmatch(rf"{DATE}  {run.name}  finished in {CLOCK}, {outcome}", ended)


def test_a_sweep_is_not_started_over_another(finished):
    _, folder = finished
    again = sweep("--output", folder.name, cwd=folder.parent)
    assert again.returncode == 2
    assert again.stderr == (
        "error: --output is my sweep, which is not empty; choose another folder, or --resume my sweep\n"
    )


def test_resuming_a_finished_sweep_only_analyses_it_again(finished):
    _, folder = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob("wd*/*")}
    again = sweep("--resume", folder.name, cwd=folder.parent, **LONG)
    assert again.returncode == 0, again.stderr
    assert "0 runs (2 finished before are kept)" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in folder.glob("wd*/*")} == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_sweep_that_was_cut_off_resumes_and_ends_with_the_same_files(finished, tmp_path, number):
    """The runs of `finished`, one at a time, cut off in the middle of the first."""
    _, reference = finished
    arguments = ("--weight-decays", "0.5 1.0", "--seeds", "42", "--jobs", "1", "--no-estimate")
    process = begin(*arguments, "--output", "cut off", cwd=tmp_path, **LONG, **held_at(MIDDLE))
    folder = tmp_path / "cut off"
    wait_until((folder / "wd0.5_seed42" / "trajectory" / MIDDLE).exists, process)
    process.send_signal(number)
    assert process.wait() == (-9 if number == signal.SIGKILL else 128 + number)
    assert not (folder / "wd0.5_seed42" / "grokking.json").exists()
    if number != signal.SIGKILL:
        said = (tmp_path / "output").read_text()
        assert f"interrupted; go on with: {shlex.quote(str(SCRIPT))} --resume 'cut off'" in said
        log = (folder / "run_log.txt").read_text()
        assert re.search(f"wd0.5_seed42  interrupted after {CLOCK}\n", log)
        assert "wd1.0_seed42" not in log
        assert "saved at epoch" in (folder / "wd0.5_seed42" / "training_output.log").read_text()

    resumed = sweep("--resume", "cut off", cwd=tmp_path, **LONG)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert (
        "resuming cut off/wd0.5_seed42 at epoch"
        in (folder / "wd0.5_seed42" / "training_output.log").read_text()
    )
    for run in ("wd0.5_seed42", "wd1.0_seed42"):
        assert contents(folder / run) == contents(reference / run)
        assert weights(folder / run, "final") == weights(reference / run, "final")


def test_a_sweep_that_is_running_is_not_resumed_beside_it(tmp_path):
    grid = ("--weight-decays", "0.5", "--seeds", "42", "--no-estimate")
    process = begin(*grid, "--output", "one", cwd=tmp_path, **LONG, **held_at(MIDDLE))
    folder = tmp_path / "one"
    wait_until((folder / "wd0.5_seed42" / "trajectory" / MIDDLE).exists, process)
    log = (folder / "run_log.txt").read_text()
    second = sweep("--resume", "one", cwd=tmp_path, **LONG)
    assert second.returncode == 2
    assert second.stderr == "error: one is in use by another sweep; wait for it\n"
    assert (folder / "run_log.txt").read_text() == log
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM


def test_a_resumed_sweep_waits_for_a_run_that_is_still_saving(tmp_path):
    """What a killed sweep leaves behind holds its folder for a moment; here this test does."""
    grid = ("--weight-decays", "0.5", "--seeds", "42", "--no-estimate", "--no-reports")
    begun = begin(*grid, "--output", "one", cwd=tmp_path, **LONG, **held_at(MIDDLE))
    run = tmp_path / "one" / "wd0.5_seed42"
    wait_until((run / "trajectory" / MIDDLE).exists, begun)
    begun.send_signal(signal.SIGTERM)
    assert begun.wait() == 128 + signal.SIGTERM
    refused = run / "training_output.log"
    with locked(run, "held"):
        resumed = begin("--resume", "one", "--no-reports", cwd=tmp_path, **LONG)
        deadline = (
            time.monotonic() + 8
        )  # in which a run that is not kept waiting starts and is refused
        while time.monotonic() < deadline and "in use by another" not in refused.read_text():
            time.sleep(0.05)
    assert resumed.wait() == 0
    assert "in use by another" not in refused.read_text()


def test_a_run_that_diverges_is_one_of_the_outcomes_and_is_not_run_again(tmp_path):
    """A weight decay of 1e30 diverges at once."""
    done = sweep(
        *("--weight-decays", "1e30 1.0", "--seeds", "42", "--jobs", "1", "--no-estimate"),
        *("--output", "half", "--no-reports"),
        cwd=tmp_path,
    )
    assert done.returncode == 1
    folder = tmp_path / "half"
    assert re.search(r"warning: wd1e\+30_seed42 diverged at epoch \d+\n", done.stdout)
    log = (folder / "run_log.txt").read_text()
    assert re.search(rf"wd1e\+30_seed42  finished in {CLOCK}, diverged\n", log)
    assert re.search(f"wd1.0_seed42  finished in {CLOCK}, No grokking detected\n", log)
    summary = json.loads((folder / "analysis_summary.json").read_text())
    assert (summary["runs_read"], summary["runs_not_counted"]) == (2, 0)
    groups = {group["weight_decay"]: group["outcomes"] for group in summary["weight_decays"]}
    assert groups[1e30] == {"diverged": 1} and "diverged" not in groups[1.0]
    again = sweep("--resume", "half", "--no-reports", cwd=tmp_path)
    assert again.returncode == 1
    assert "0 runs (2 finished before are kept)" in again.stdout


def test_a_run_that_cannot_start_is_one_failed_run(tmp_path):
    folder = planned(tmp_path / "one", 0.5, 1.0)
    (folder / "wd1.0_seed42").touch()
    assert sweep("--resume", "one", "--jobs", "1", cwd=tmp_path).returncode == 1
    log = (folder / "run_log.txt").read_text()
    assert "wd1.0_seed42  failed: cannot start wd1.0_seed42" in log
    assert re.search(f"wd0.5_seed42  finished in {CLOCK}", log)
    assert json.loads((folder / "sweep.json").read_text())["sessions"][0]["runs"] == 1


def test_a_sweep_whose_reader_goes_away_lets_its_runs_save(tmp_path):
    grid = ("--weight-decays", "0.5", "--seeds", "42", "--no-estimate", "--output", "one")
    process = subprocess.Popen(
        [SCRIPT, *grid],
        cwd=tmp_path,
        env=environment(**LONG, **held_at(MIDDLE)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    run = tmp_path / "one" / "wd0.5_seed42"
    wait_until((run / "trajectory" / MIDDLE).exists, process)
    process.stdout.close()
    assert process.wait() == 128 + signal.SIGPIPE
    assert "saved at epoch" in (run / "training_output.log").read_text()


def test_what_only_a_run_can_refuse_is_refused_before_the_folder_exists(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = sweep("--output", "none", cwd=tmp_path, GROK_KERNEL="nonesuch", TMPDIR=str(scratch))
    assert done.returncode == 2
    assert "GROK_KERNEL" in done.stderr and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]
    assert list(scratch.iterdir()) == []


def test_an_interrupt_while_measuring_leaves_nothing(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    held = held_at("epoch_000007.pt")
    process = begin("--output", "none", cwd=tmp_path, TMPDIR=str(scratch), **LONG, **held)
    wait_until(lambda: list(scratch.glob("*/measure0/trajectory/*7.pt")), process)
    (measured,) = scratch.glob("*/measure0")
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["output", "scratch"]
    assert not measured.parent.exists()


def test_one_task_of_an_array_runs_its_run_alone(finished, tmp_path):
    planned(tmp_path / "array", 1.0, 2.0)
    done = sweep("--resume", "array", "--task", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "array" / "wd2.0_seed42" / "grokking.json").exists()
    assert not (tmp_path / "array" / "wd1.0_seed42").exists()
    assert not (tmp_path / "array" / "plots").exists()
    beyond = sweep("--resume", "array", "--run", "2", cwd=tmp_path)
    assert (beyond.returncode, beyond.stderr) == (2, "error: --run is 2, expected 0 to 1\n")


GRID = ("--vary", "train_fraction=0.3,0.5", "--vary", "weight_decay=1,2", "--seeds", "1-2")


def test_a_grid_that_was_killed_resumes_and_ends_as_one_that_was_not(tmp_path):
    """Eight runs of two settings; the second sitting has what the first has left of them."""
    quick = {**LONG, "GROK_NUM_EPOCHS": "40"}
    whole = sweep(*GRID, "--no-reports", "--output", "whole", cwd=tmp_path, **quick)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    expected, *_ = [line for line in whole.stdout.splitlines() if line.startswith("expected")]
    assert re.match(
        rf"expected: {CLOCK} for 8 runs, \d+ at a time at \d+( to \d+)? epochs/s", expected
    )
    process = begin(
        *(*GRID, "--no-reports", "--no-estimate", "--jobs", "1", "--output", "cut"),
        cwd=tmp_path,
        **quick,
        **held_at(MIDDLE),
    )
    first = tmp_path / "cut" / "train_fraction0.5_weight_decay1.0_seed1"  # the dearest goes first
    wait_until((first / "trajectory" / MIDDLE).exists, process)
    process.kill()
    process.wait()
    resumed = sweep("--resume", "cut", "--no-reports", cwd=tmp_path, **quick)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    runs = [path.name for path in (tmp_path / "whole").glob("train_fraction*")]
    assert len(runs) == 8
    for run in runs:
        assert weights(tmp_path / "cut" / run, "final") == weights(
            tmp_path / "whole" / run, "final"
        )
    cells = [
        json.loads((tmp_path / folder / "analysis_summary.json").read_text())["cells"]
        for folder in ("whole", "cut")
    ]
    for ours, theirs in zip(*cells, strict=True):
        assert ours | {"seconds": None} == theirs | {"seconds": None}


def test_a_sweep_of_too_few_hours_says_what_is_left_and_goes_on(tmp_path):
    done = sweep(
        *GRID, "--no-reports", "--max-hours", "1e-9", "--output", "s", cwd=tmp_path, **LONG
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 of 8 runs left, which would not have ended within 1e-09 hours" in done.stdout
    assert not list((tmp_path / "s").glob("train_fraction*"))
    command = done.stdout.split("go on with: ")[-1].strip()
    assert command.endswith("--resume s")
    on = sweep("--resume", "s", "--no-reports", "--max-hours", "1", cwd=tmp_path, **LONG)
    assert on.returncode == 0, on.stdout + on.stderr
    assert len(list((tmp_path / "s").glob("train_fraction*/grokking.json"))) == 8
    assert " left, which" not in on.stdout
