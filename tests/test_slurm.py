"""A sweep as a Slurm job array: the scripts, and a real one-node cluster that runs them."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from grokking.commands.sweep import main
from grokking.commands.sweep_options import parse
from grokking.sweeps.axis import AXIS
from grokking.sweeps.plan import Plan
from grokking.sweeps.slurm import DEFAULT_ARRAY_LIMIT
from grokking.sweeps.slurm_scripts import JobArray, analysis_script, array_script, job_arrays
from grokking.system.errors import RunError, UserError
from grokking.system.locks import locked
from tests.support.environment import ROOT, clean_environment, require
from tests.support.slurm_cluster import cluster
from tests.support.sweep_folders import write_run
from tests.support.tiny import TINY

pytestmark = pytest.mark.timeout(900)

PLAN = Plan((AXIS.over((0.5, 1.0)),), (1, 2, 3), (100, 100), {"GROK_THREADS": "1"})


def directives(script):
    """Option -> value of the #SBATCH lines."""
    lines = [line.removeprefix("#SBATCH --") for line in script.splitlines() if "#SBATCH" in line]
    return {name: shlex.split(value)[0] for name, value in (line.split("=", 1) for line in lines)}


def test_the_array_has_one_task_per_run_and_leaves_the_rest_to_the_cluster():
    script = array_script(PLAN, JobArray(0, [0, 1, 2, 3, 4, 5]), Path("/s"), parse(["--slurm"]))
    found = directives(script)
    assert found == {
        "job-name": "grokking",
        "array": "0-5",
        "output": "/s/slurm/run_%a.log",
        "ntasks": "1",
        "cpus-per-task": "1",
    }


def test_partition_time_and_gpus_are_handed_on():
    words = ("--slurm-partition", "big", "--slurm-time", "1-00:00:00", "--slurm-gpus", "1")
    options = parse(["--slurm", *words, "--slurm-throttle", "2"])
    found = directives(array_script(PLAN, JobArray(0, [0, 1, 2, 4]), Path("/s"), options))
    assert (found["partition"], found["time"], found["gpus"]) == ("big", "1-00:00:00", "1")
    assert found["array"] == "0-2,4%2"


@pytest.mark.parametrize("theirs", ["", "/modules/torch"])
def test_what_the_users_modules_put_on_the_path_of_python_stays_there(
    tmp_path, monkeypatch, theirs
):
    python = tmp_path / "python"
    python.write_text('#!/bin/bash\necho "$4:$PYTHONPATH"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    options, env = parse(["--slurm"]), {"PYTHONPATH": theirs, "SLURM_ARRAY_TASK_ID": "0"}
    for script, words in (
        (array_script(PLAN, JobArray(0, [0]), tmp_path, options), ["--resume"]),
        (analysis_script(tmp_path, options), [str(tmp_path)] * 2),
    ):
        done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True)
        end = f":{theirs}" if theirs else ""
        assert done.stdout.splitlines() == [f"{word}:{ROOT}{end}" for word in words], done.stderr


@pytest.mark.parametrize("text", ["0", "two", "2%3", ""])
def test_a_throttle_is_a_number_of_runs(text):
    with pytest.raises(UserError, match=r"--slurm-throttle is .*, expected an integer >= 1"):
        parse(["--slurm", "--slurm-throttle", text])


def test_arrays_number_their_tasks_below_the_limit_and_know_their_first_run():
    assert job_arrays(range(7), 3) == [
        JobArray(0, [0, 1, 2]),
        JobArray(3, [0, 1, 2]),
        JobArray(6, [0]),
    ]
    assert job_arrays([1, 5, 8], 3) == [JobArray(0, [1]), JobArray(3, [2]), JobArray(6, [2])]
    assert job_arrays([], 3) == []
    script = array_script(PLAN, JobArray(3, [0, 2]), Path("/s"), parse(["--slurm"]))
    assert directives(script)["output"] == "/s/slurm/run_from_3_%a.log"
    assert script.splitlines()[-1].endswith('--run "$((3 + SLURM_ARRAY_TASK_ID))"')


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


SBATCH = """\
#!/bin/bash
if [[ "${@: -1}" == *"$REFUSED" ]]; then
  echo "sbatch: error: you have enough jobs" >&2
  exit 1
fi
echo "$*" >> "$CALLS"
wc -l < "$CALLS"
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """An sbatch that notes how it is called, numbers jobs from 1, and refuses scripts named REFUSED."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("REFUSED", "none")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GROK_")]:
        monkeypatch.delenv(name)

    def install(limit):
        config = "true" if limit is None else f"echo 'MaxArraySize            = {limit}'"
        for name, text in (("sbatch", SBATCH), ("scontrol", f"#!/bin/bash\n{config}\n")):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)

    return install


def calls(tmp_path):
    """What sbatch was asked for, script by script, without the folder."""
    lines = (tmp_path / "calls").read_text().splitlines()
    return [line.removeprefix("--parsable ").replace(f"{tmp_path}/s/slurm/", "") for line in lines]


GRID = ("--weight-decays", "0.5 1.0", "--seeds", "1 2", "--output", "s")


def test_more_runs_than_an_array_may_have_are_several_arrays(stand_in, tmp_path, capsys):
    stand_in(limit=3)
    assert main(["--slurm", *GRID]) == 0
    assert capsys.readouterr().out == (
        "submitted 4 runs as job arrays 1, 2 and their analysis as job 3\n"
        "watch them with: squeue -j 1,2,3\n"
        "submit again what was cut off with: "
        f"grokking sweep --slurm --resume {tmp_path}/s\n"
    )
    assert calls(tmp_path) == [
        "runs.sbatch",
        "runs_from_3.sbatch",
        "--dependency=afterany:1:2 analysis.sbatch",
    ]
    scripts = [tmp_path / "s" / "slurm" / name for name in ("runs.sbatch", "runs_from_3.sbatch")]
    assert [directives(path.read_text())["array"] for path in scripts] == ["0-2", "0"]


def test_throttled_arrays_take_turns(stand_in, tmp_path):
    stand_in(limit=3)
    assert main(["--slurm", "--slurm-throttle", "2", *GRID]) == 0
    assert calls(tmp_path)[1] == "--dependency=afterany:1 runs_from_3.sbatch"
    script = (tmp_path / "s" / "slurm" / "runs.sbatch").read_text()
    assert directives(script)["array"] == "0-2%2"


def test_a_cluster_that_does_not_tell_its_limit_has_slurms_own(stand_in, tmp_path):
    stand_in(limit=None)
    seeds = " ".join(map(str, range(DEFAULT_ARRAY_LIMIT + 1)))
    assert main(["--slurm", "--weight-decays", "1.0", "--seeds", seeds, "--output", "s"]) == 0
    assert calls(tmp_path)[1] == f"runs_from_{DEFAULT_ARRAY_LIMIT}.sbatch"


def test_a_cluster_without_job_arrays_is_refused_before_anything_is_written(stand_in, tmp_path):
    stand_in(limit=0)
    with pytest.raises(UserError, match="has switched off"):
        main(["--slurm", *GRID])
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


@pytest.mark.parametrize(
    ("refused", "behind"),
    [
        ("runs.sbatch", "nothing is submitted; try again with: "),
        (
            "runs_from_3.sbatch",
            "submitted before and going on: job array 1 (to stop: scancel 1); when ended, submit "
            "what is left with: ",
        ),
        (
            "analysis.sbatch",
            "submitted before and going on: job arrays 1, 2 (to stop: scancel 1 2); when ended, submit "
            "what is left with: ",
        ),
    ],
)
def test_a_refusal_tells_what_goes_on_and_the_folder_is_submitted_again(
    stand_in, tmp_path, monkeypatch, refused, behind
):
    stand_in(limit=3)
    monkeypatch.setenv("REFUSED", refused)
    with pytest.raises(RunError) as error:
        main(["--slurm", "--slurm-partition", "big", *GRID])
    again = f"--slurm --slurm-partition big --resume {tmp_path}/s"
    assert str(error.value) == (
        f"sbatch refused {tmp_path}/s/slurm/{refused}: sbatch: error: you have enough jobs; "
        f"{behind}grokking sweep {again}"
    )
    monkeypatch.setenv("REFUSED", "none")
    assert main(again.split()) == 0
    assert calls(tmp_path)[-3:-1] == ["runs.sbatch", "runs_from_3.sbatch"]


def test_only_what_is_unfinished_is_submitted_again(stand_in, tmp_path, capsys):
    """A limit on submitted jobs would else be met by the same runs for ever."""
    stand_in(limit=3)
    main(["--slurm", *GRID])
    for weight_decay, seed in ((0.5, 1), (0.5, 2), (1.0, 1)):
        write_run(tmp_path / "s", weight_decay, seed, None)
    capsys.readouterr()
    assert main(["--slurm", "--resume", "s"]) == 0
    assert capsys.readouterr().out.startswith("submitted 1 runs as job array 4 and their analysis")
    assert calls(tmp_path)[3:] == [
        "runs_from_3.sbatch",
        "--dependency=afterany:4 analysis.sbatch",
    ]
    write_run(tmp_path / "s", 1.0, 2, None)
    assert main(["--slurm", "--resume", "s"]) == 0
    assert calls(tmp_path)[5:] == ["analysis.sbatch"]
    assert "submitted no run, but the analysis as job 6" in capsys.readouterr().out


def test_a_sweep_that_is_at_work_here_is_not_submitted_beside_itself(stand_in, tmp_path):
    stand_in(limit=3)
    main(["--slurm", *GRID])
    with locked(tmp_path / "s", "held"), pytest.raises(UserError, match="in use by another sweep"):
        main(["--slurm", "--resume", "s"])
    with locked(tmp_path / "s", "held", shared=True):  # as a task does
        assert main(["--slurm", "--resume", "s"]) == 0


def test_an_sbatch_that_cannot_be_run_is_named(stand_in, tmp_path, monkeypatch):
    stand_in(limit=3)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin" / "sbatch").write_bytes(b"\0")
    with pytest.raises(RunError, match=r"sbatch cannot be run: Exec format error; nothing is"):
        main(["--slurm", *GRID])


def sbatch_that(tmp_path, does):
    """Let sbatch do this, in a shell, once it has submitted the first script."""
    (tmp_path / "bin" / "sbatch").write_text(
        SBATCH.replace("wc -l", f"[[ $* != *from* ]] || {does}\nwc -l")
    )


@pytest.mark.parametrize(
    ("prints", "said"),
    [("hello", "hello"), ("'\\xff\\n 7 jobs'", r"\xff 7 jobs"), ("''", "nothing")],
)
def test_an_sbatch_that_gives_no_job_number_is_not_believed(stand_in, tmp_path, prints, said):
    stand_in(limit=3)
    sbatch_that(tmp_path, f"{{ printf {prints}; exit; }}")
    script = tmp_path / "s" / "slurm" / "runs_from_3.sbatch"
    with pytest.raises(RunError) as error:
        main(["--slurm", *GRID])
    assert str(error.value).startswith(
        f"sbatch took {script} without giving its job's number (it said: {said}); squeue --me shows "
        "it; submitted before and going on: job array 1 (to stop: scancel 1); "
    )


def test_a_job_number_is_found_below_a_sites_own_words(stand_in, tmp_path, capsys):
    stand_in(limit=3)
    sbatch_that(tmp_path, r"printf 'Welcome!\n 7 jobs left\n'")
    assert main(["--slurm", *GRID]) == 0
    assert capsys.readouterr().out.startswith("submitted 4 runs as job arrays 1, 2 and")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_sbatch_hangs_tells_what_is_submitted(stand_in, tmp_path, number):
    stand_in(limit=3)
    sbatch_that(tmp_path, f"{{ kill -{number:d} $PPID; sleep 600; }}")
    with pytest.raises(RunError) as error:
        main(["--slurm", *GRID])
    assert error.value.exit_code == 128 + number
    assert re.match(
        rf"{number.name} while sbatch was at work on \S+runs_from_3.sbatch, which squeue --me shows if "
        r"it was taken; submitted before and going on: job array 1 \(to stop: scancel 1\); ",
        str(error.value),
    )


def test_a_job_number_given_before_the_signal_is_told(stand_in, tmp_path):
    stand_in(limit=3)
    sbatch_that(tmp_path, "{ echo 2; kill -TERM $PPID; sleep 600; }")
    with pytest.raises(RunError) as error:
        main(["--slurm", *GRID])
    assert re.match(r"SIGTERM before \S+analysis.sbatch was submitted; .* 1, 2 ", str(error.value))


@pytest.mark.parametrize("config", [r"printf '\xff'", f"echo MaxArraySize = {'9' * 5000}"])
def test_a_limit_that_is_told_in_no_number_is_slurms_own(stand_in, tmp_path, config):
    stand_in(limit=3)
    (tmp_path / "bin" / "scontrol").write_text(f"#!/bin/bash\n{config}\n")
    assert main(["--slurm", *GRID]) == 0
    assert len(calls(tmp_path)) == 2


def test_a_task_is_not_submitted():
    with pytest.raises(UserError, match="--run does not go with --slurm"):
        parse(["--slurm", "--resume", "s", "--run", "1"])


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
    queue = ["squeue", "--noheader"]
    while subprocess.run(queue, env=os.environ | slurm, capture_output=True, check=True).stdout:
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


def test_a_sweep_beyond_the_clusters_largest_array_runs_as_two_in_turn(slurm, tmp_path):
    grid = ("--weight-decays", "0.5 1.0", "--seeds", "1 2", "--no-reports", "--output", "s")
    done = submit(*grid, "--slurm-throttle", "2", cwd=tmp_path, slurm=slurm)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("submitted 4 runs as job arrays ")
    wait_for_the_queue(slurm)
    folder = tmp_path / "s"
    said = {path.name: path.read_text() for path in (folder / "slurm").glob("*.log")}
    assert set(said) == {f"run_{n}.log" for n in range(3)} | {"run_from_3_0.log", "analysis.log"}
    summary = json.loads((folder / "analysis_summary.json").read_text())
    assert (summary["runs_read"], summary["runs_not_counted"]) == (4, 0), said
    again = submit("--resume", "s", cwd=tmp_path, slurm=slurm)
    assert again.stdout.startswith("submitted no run, but the analysis as job "), again.stderr
    wait_for_the_queue(slurm)


def test_what_the_cluster_refuses_is_said_in_its_words(slurm, tmp_path):
    done = submit("--slurm-partition", "nowhere", "--output", "s", cwd=tmp_path, slurm=slurm)
    assert done.returncode == 1
    assert "sbatch refused" in done.stderr and "invalid partition" in done.stderr
    program = shlex.quote(f"{ROOT}/scripts/sweep_weight_decay.sh")
    assert f"nothing is submitted; try again with: {program} --slurm" in done.stderr
    assert done.stderr.count("\n") == 1
