"""A sweep as a Slurm job array: the scripts, and a real one-node cluster that runs them."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from conftest import ROOT, TINY, clean_environment, require
from slurm_cluster import cluster

from grokking.errors import UserError
from grokking.sweep.command import main
from grokking.sweep.options import parse
from grokking.sweep.plan import Plan
from grokking.sweep.slurm import array_script

PLAN = Plan((0.5, 1.0), (1, 2, 3), (100, 100), {"GROK_THREADS": "1"})


def directives(script):
    """Option -> value of the #SBATCH lines."""
    lines = [line.removeprefix("#SBATCH --") for line in script.splitlines() if "#SBATCH" in line]
    return {name: shlex.split(value)[0] for name, value in (line.split("=", 1) for line in lines)}


def test_the_array_has_one_task_per_run_and_leaves_the_rest_to_the_cluster():
    found = directives(array_script(PLAN, Path("/s"), parse(["--slurm"])))
    assert found == {
        "job-name": "grokking",
        "array": "0-5",
        "output": "/s/slurm/run_%a.log",
        "ntasks": "1",
        "cpus-per-task": "1",
    }


def test_partition_time_and_gpus_are_handed_on():
    words = ("--slurm-partition", "big", "--slurm-time", "1-00:00:00", "--slurm-gpus", "1")
    found = directives(array_script(PLAN, Path("/s"), parse(["--slurm", *words])))
    assert (found["partition"], found["time"], found["gpus"]) == ("big", "1-00:00:00", "1")


def test_without_sbatch_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="--slurm needs sbatch, which is not on PATH"):
        main(["--slurm"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ['a"b', "50%j", "a\nb", "a\\b"])
def test_a_folder_that_slurm_cannot_be_told_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    sbatch = tmp_path / "sbatch"
    sbatch.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="which Slurm cannot be told"):
        main(["--slurm", "--output", name])
    assert list(tmp_path.iterdir()) == [sbatch]


@pytest.fixture(scope="module")
def slurm():
    """Variables that lead commands to a cluster of this machine alone."""
    for tool in ("munged", "slurmctld", "slurmd", "sbatch"):
        require(tool)
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, cluster(Path(folder)) as variables:
        yield variables


def submit(*arguments, cwd, slurm):
    return subprocess.run(
        [ROOT / "scripts" / "sweep_weight_decay.sh", "--slurm", *arguments],
        cwd=cwd,
        env=clean_environment(
            PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}", **TINY, **slurm
        ),
        capture_output=True,
        text=True,
        check=False,
    )


def wait_for_the_queue(slurm):
    deadline = time.monotonic() + 240
    queue = ["squeue", "--noheader"]
    while subprocess.run(queue, env=os.environ | slurm, capture_output=True, check=True).stdout:
        assert time.monotonic() < deadline, "the jobs did not end"
        time.sleep(0.5)


def test_a_sweep_on_a_real_cluster_runs_and_is_analysed(slurm, tmp_path):
    """One run diverges, so its task fails; the analysis follows all the same."""
    done = submit(
        "--weight-decays",
        "1e30 1.0",
        "--seeds",
        "7",
        "--output",
        "a sweep",
        cwd=tmp_path,
        slurm=slurm,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("submitted 2 runs as job array ")
    wait_for_the_queue(slurm)
    folder = tmp_path / "a sweep"
    said = {path.name: path.read_text() for path in (folder / "slurm").iterdir()}
    summary = json.loads((folder / "analysis_summary.json").read_text())
    assert (summary["runs_read"], summary["runs_not_counted"]) == (2, 0), said
    assert (folder / "plots" / "index.html").exists()
    assert set(said) == {"runs.sbatch", "analysis.sbatch", "run_0.log", "run_1.log", "analysis.log"}
    log = (folder / "run_log.txt").read_text()
    assert log.startswith("Weight-decay sweep submitted to Slurm at ")
    assert re.search(r"wd1e\+30_seed7  finished in [0-9:]+, diverged\n", log)
    assert "wd1.0_seed7  finished in " in log


def test_what_the_cluster_refuses_is_said_in_its_words(slurm, tmp_path):
    done = submit("--slurm-partition", "nowhere", "--output", "s", cwd=tmp_path, slurm=slurm)
    assert done.returncode == 1
    assert "sbatch refused" in done.stderr and "invalid partition" in done.stderr
    assert done.stderr.count("\n") == 1
