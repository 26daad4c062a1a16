"""What a sweep will do, from its command line and the environment, before anything is written."""

import json
import math
import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from grokking.commands.sweep import main
from grokking.commands.sweep_options import parse, plan_from, wanted_directory
from grokking.config import identity, load, task_of
from grokking.files import names
from grokking.sweeps.axis import AXIS
from grokking.sweeps.plan import (
    Plan,
    create_directory,
    passed_through,
    read_plan,
    write_plan,
)
from grokking.sweeps.resources import choose_resources
from grokking.system.cores import available_cores
from grokking.system.errors import RunError, UserError
from tests.support.environment import ROOT, clean_environment


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Each test runs in an empty folder."""
    monkeypatch.chdir(tmp_path)


def plan(*arguments):
    return plan_from(parse(arguments))


def test_the_default_plan_is_three_weight_decays_by_three_seeds_at_10_000_epochs():
    runs = plan().runs()
    assert [run.name for run in runs] == [
        f"wd{weight_decay}_seed{seed}"
        for weight_decay in (0.5, 1.0, 2.0)
        for seed in (42, 123, 456)
    ]
    assert {run.epochs for run in runs} == {10_000}


def test_each_run_is_configured_by_its_variables_alone():
    for run in plan("--weight-decays", "0.5 1", "--seeds", "7", "--epochs", "300").runs():
        config = load(run.environment(Path("my sweep"))).config
        assert config.artifacts_dir == f"my sweep/wd{config.weight_decay}_seed7"
        assert (config.seed, config.num_epochs) == (7, 300)
        assert config.skip_validation == (config.weight_decay != 1.0)


def test_folders_are_named_as_python_prints_the_weight_decay():
    names = [run.name for run in plan("--weight-decays", "1 .3 1e-5 -0", "--seeds", "1").runs()]
    assert names == ["wd1.0_seed1", "wd0.3_seed1", "wd1e-05_seed1", "wd0.0_seed1"]


def test_epochs_may_differ_by_weight_decay():
    runs = plan("--weight-decays", "0.3,2.0", "--epochs", "30000 8000", "--seeds", "1").runs()
    assert [run.epochs for run in runs] == [30_000, 8_000]


def test_epochs_come_from_the_option_before_the_environment_before_the_default(monkeypatch):
    monkeypatch.setenv("GROK_NUM_EPOCHS", "77")
    assert plan().epochs == (77, 77, 77)
    assert plan("--epochs", "5").epochs == (5, 5, 5)
    assert plan("--quick").epochs == (100, 100, 100)


def test_other_variables_reach_every_run_and_the_sweeps_own_are_refused_aloud(monkeypatch, capsys):
    monkeypatch.setenv("GROK_PROBE_EVERY", "10")
    monkeypatch.setenv("GROK_SEED", "9")
    runs = plan().runs()
    assert {run.variables["GROK_PROBE_EVERY"] for run in runs} == {"10"}
    assert {run.variables["GROK_SEED"] for run in runs} == {"42", "123", "456"}
    assert capsys.readouterr().err == "GROK_SEED is ignored: it belongs to the sweep, see --help\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weight-decays", "0.5 much"], "--weight-decays has 'much', expected a number >= 0"),
        (["--weight-decays", "-1"], "--weight-decays"),
        (["--weight-decays", ""], "--weight-decays has '', expected a number"),
        (["--weight-decays", " "], "--weight-decays has '', expected a number"),
        (["--weight-decays", "1 1.0"], "--weight-decays names 1.0 twice"),
        (["--weight-decays", "nan"], "--weight-decays has 'nan'"),
        (["--seeds", "42 -3"], "--seeds has '-3', expected an integer from 0"),
        (["--seeds", "1.5"], "--seeds has '1.5'"),
        (["--epochs", "0"], "--epochs has '0', expected an integer >= 1"),
        (["--epochs", "1 2"], "--epochs has 2 numbers, expected 1 or 3, one per weight decay"),
        (["--quick", "--epochs", "5"], "--quick and --epochs both set the epochs"),
        (["--jobs", "0"], "--jobs is '0', expected an integer >= 1"),
        (["--jobs", "two"], "--jobs is 'two'"),
        (["--output", " "], "--output is ' ', expected a folder name"),
        (["--output", "taken"], "--output is taken, which is not empty; choose another folder"),
        (["--output", "taken/file"], "--output is taken/file, which is a file"),
        (["--resume", "taken"], "sweep.json: no such file"),
        (["--resume", "taken", "--seeds", "1"], "--seeds does not go with --resume"),
        (["--resume", ""], "--resume is empty, expected the folder of a sweep"),
        (["--run", "0"], "--run needs --resume DIR"),
        (["--sedes", "1"], "unrecognized arguments: --sedes 1"),
        (["--seed", "1"], "unrecognized arguments: --seed 1"),
        (["extra"], "unrecognized arguments: extra"),
    ],
)
def test_wrong_input_is_named_and_nothing_is_written(arguments, message, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(UserError) as caught:
        main([*arguments, "--no-estimate"])
    assert message in str(caught.value)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "taken"]


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("GROK_NUM_EPOCHS", "many", "GROK_NUM_EPOCHS is 'many'"),
        ("GROK_PROBE_EVERY", "0", "GROK_PROBE_EVERY is '0'"),
        ("GROK_PROBE_EVRY", "1", "did you mean GROK_PROBE_EVERY"),
        (
            "GROK_LEARNING_RATE",
            "0.1",
            "set GROK_SKIP_VALIDATION=1",
        ),  # although wd 0.5 skips it itself
    ],
)
def test_a_wrong_variable_is_refused_before_any_run(
    variable, value, message, monkeypatch, tmp_path
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError, match=message):
        main(["--weight-decays", "0.5", "--no-estimate"])
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_prints_one_line_per_run_that_a_shell_reads_back(tmp_path, capsys):
    assert (
        main(
            ["--dry-run", "--output", "it's a sweep", "--weight-decays", "0.5 1.0", "--seeds", "42"]
        )
        == 0
    )
    low, one = (shlex.split(line) for line in capsys.readouterr().out.splitlines())
    assert low[:3] == ["GROK_WEIGHT_DECAY=0.5", "GROK_SEED=42", "GROK_NUM_EPOCHS=10000"]
    assert "GROK_SKIP_VALIDATION=1" in low and "GROK_SKIP_VALIDATION=1" not in one
    assert "GROK_ARTIFACTS_DIR=it's a sweep/wd0.5_seed42" in low
    assert low[-3:] == ["python", "-m", "grokking"]
    assert list(tmp_path.iterdir()) == []


AS_INSTALLED = (  # what pip writes into bin/grokking
    "import sys; sys.argv[0] = '/usr/local/bin/grokking'; from grokking.__main__ import main; main()"
)


@pytest.mark.parametrize(
    ("called", "name"),
    [
        (["./scripts/sweep_weight_decay.sh"], "./scripts/sweep_weight_decay.sh"),
        ([sys.executable, "-m", "grokking", "sweep"], "python -m grokking sweep"),
        ([sys.executable, "-c", AS_INSTALLED, "sweep"], "grokking sweep"),
    ],
)
def test_help_and_errors_name_the_program_that_was_called(called, name):
    def said(option):
        done = subprocess.run(
            [*called, option], cwd=ROOT, env=clean_environment(), capture_output=True, text=True
        )
        return done.stdout + done.stderr

    assert said("--help").startswith(f"usage: {name} [-h]")
    assert said("--fast") == f"error: unrecognized arguments: --fast (see {name} --help)\n"


def test_a_dry_run_needs_neither_virtual_environment_nor_packages(tmp_path):
    """The script beside a bare checkout, with a Python whose site-packages are out of sight."""
    checkout, here = tmp_path / "check out", tmp_path / "here"
    (checkout / "scripts").mkdir(parents=True)
    here.mkdir()
    shutil.copy(ROOT / "scripts" / "sweep_weight_decay.sh", checkout / "scripts")
    ignore = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "grokking", checkout / "grokking", ignore=ignore)
    bare = tmp_path / "bin" / "python3"
    bare.parent.mkdir()
    bare.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S "$@"\n')
    bare.chmod(0o755)
    path = f"{bare.parent}:/usr/bin:/bin"
    done = subprocess.run(
        [checkout / "scripts" / "sweep_weight_decay.sh", "--dry-run"],
        env=clean_environment(PATH=path, PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=""),
        cwd=here,
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 9
    assert list(here.iterdir()) == []


def test_the_default_folder_is_named_after_the_time_below_the_artifacts(monkeypatch):
    options = parse([])
    assert wanted_directory(options, (AXIS,)).parent == Path("artifacts")
    assert wanted_directory(options, (AXIS,)).name.startswith("sweep_weight_decay_20")
    monkeypatch.setenv("GROK_ARTIFACTS_DIR", "elsewhere")
    assert wanted_directory(options, (AXIS,)).parent == Path("elsewhere")


def test_sweeps_of_the_same_second_never_share_a_folder(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create_directory, [tmp_path / "a" / "sweep"] * 8))
    assert sorted(path.name for path in made) == ["sweep", *(f"sweep_{n}" for n in range(2, 9))]
    assert all((path / names.PLAN).exists() for path in made)


def test_a_folder_that_another_sweep_claims_at_the_same_moment_is_left_to_it(tmp_path, monkeypatch):
    """Both look before either has written: then the one that creates sweep.json has it."""
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(()))
    made = [create_directory(tmp_path / "sweep") for _ in range(2)]
    assert [path.name for path in made] == ["sweep", "sweep_2"]


def test_an_empty_folder_that_is_there_is_used(tmp_path):
    (tmp_path / "sweep").mkdir()
    assert create_directory(tmp_path / "sweep") == tmp_path / "sweep"


def test_a_folder_that_cannot_be_created_is_an_error_with_its_name(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot create .*file/sweep"):
        create_directory(tmp_path / "file" / "sweep")


def test_a_plan_survives_being_written_and_read(tmp_path, monkeypatch):
    monkeypatch.setenv("GROK_PROBE_EVERY", "10")
    made = plan("--weight-decays", "0.3 1", "--seeds", "1 2 3", "--epochs", "30 10")
    write_plan(tmp_path, made)
    assert read_plan(tmp_path) == made


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("weight_decays", None, "'weight_decays' is null, expected a list, each a number >= 0"),
        ("weight_decays", [-1], r"'weight_decays'\[0\] is -1, expected a number >= 0"),
        ("weight_decays", [1, 2], "'epochs' has 1 entries, expected 2, one per weight decay"),
        ("seeds", ["x"], r"'seeds'\[0\] is \"x\", expected an integer"),
        ("environment", {"GROK_NO": "1"}, r"not the plan of a sweep \(GROK_NO"),
        ("environment", [], "'environment' is a list, expected an object of texts"),
        ("sessions", 5, "'sessions' is 5, expected a list"),
        (
            "sessions",
            [{"runs": 1}],
            r"'sessions'\[0\] is an object, expected an object with the numbers",
        ),
        ("x", math.inf, "it holds a number that is not finite"),
    ],
)
def test_a_damaged_plan_is_named(tmp_path, key, value, fault):
    plan = {"weight_decays": [1], "seeds": [1], "epochs": [1], "environment": {}, key: value}
    text = json.dumps(plan).replace("Infinity", "1e999")
    (tmp_path / names.PLAN).write_text(text)
    with pytest.raises(UserError, match=rf"sweep\.json: {fault}"):
        read_plan(tmp_path)
    (tmp_path / names.PLAN).write_text("{}")
    with pytest.raises(UserError, match=r"sweep\.json: key 'weight_decays' is missing"):
        read_plan(tmp_path)


def test_resuming_with_another_experiment_is_refused(tmp_path, monkeypatch):
    write_plan(tmp_path, plan())
    monkeypatch.setenv("GROK_MODULUS", "97")
    monkeypatch.setenv("GROK_SKIP_VALIDATION", "1")
    with pytest.raises(UserError, match=r"GROK_MODULUS is 97, but it was 113 when .* unset it"):
        plan("--resume", str(tmp_path))


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("GROK_PROBE_EVERY", "10"),
        ("GROK_NEURONS", "7"),
        ("GROK_STOP_AFTER_GROK", "100"),
        ("GROK_MODULUS", "0113"),  # the same number
        ("GROK_LEARNING_RATE", "0.001"),
        ("GROK_BUILD_CUDA", "0"),  # no setting of a run
        ("GROK_API_KEY", "x"),  # another program's
        ("GROK_SEED", ""),
    ],
)
def test_what_decides_no_weight_so_far_may_be_set_anew(tmp_path, monkeypatch, variable, text):
    begun = plan()
    write_plan(tmp_path, begun)
    monkeypatch.setenv(variable, text)
    resumed = plan("--resume", str(tmp_path))
    settings = [load(run.variables).config for run in resumed.runs()]
    before = [load(run.variables).config for run in begun.runs()]
    assert [identity(c, task_of(c)) for c in settings] == [identity(c, task_of(c)) for c in before]
    if variable in ("GROK_PROBE_EVERY", "GROK_NEURONS", "GROK_STOP_AFTER_GROK"):
        assert resumed.environment[variable] == text
    else:
        assert {"GROK_BUILD_CUDA", "GROK_API_KEY", "GROK_SEED"}.isdisjoint(resumed.environment)


def test_another_kernel_or_thread_count_needs_inexact(tmp_path, monkeypatch):
    monkeypatch.setenv("GROK_THREADS", "1")
    write_plan(tmp_path, plan())
    monkeypatch.setenv("GROK_THREADS", "02")
    with pytest.raises(UserError, match=r"GROK_THREADS is 2, but it was 1 when .*--inexact"):
        plan("--resume", str(tmp_path))
    resumed = plan("--resume", str(tmp_path), "--inexact")
    assert resumed.environment["GROK_THREADS"] == "2"
    with pytest.raises(UserError, match="--inexact needs --resume DIR"):
        plan("--inexact")


def test_a_sweep_can_be_taken_further_and_not_back(tmp_path, monkeypatch):
    write_plan(tmp_path, plan("--weight-decays", "1 2", "--epochs", "20 10"))
    assert plan("--resume", str(tmp_path)).epochs == (20, 10)
    assert plan("--resume", str(tmp_path), "--epochs", "20 30").epochs == (20, 30)
    monkeypatch.setenv("GROK_NUM_EPOCHS", "40")
    assert plan("--resume", str(tmp_path)).epochs == (40, 40)
    with pytest.raises(
        UserError, match=r"a sweep of 20, 10 epochs cannot be resumed with fewer \(15\)"
    ):
        plan("--resume", str(tmp_path), "--epochs", "15")


def test_one_single_threaded_run_per_core_and_all_cores_for_a_single_job(monkeypatch):
    monkeypatch.setattr("grokking.sweeps.resources.available_cores", lambda: 8)
    monkeypatch.setattr("grokking.sweeps.resources.usable_gpus", lambda device: ())
    assert choose_resources(None, {}) == (8, 1, ())
    assert choose_resources(3, {}) == (3, 1, ())
    assert choose_resources(1, {}) == (1, None, ())
    assert choose_resources(None, {"GROK_THREADS": "4"}) == (2, None, ())


def test_one_run_per_gpu(monkeypatch):
    monkeypatch.setattr("grokking.sweeps.resources.usable_gpus", lambda device: ("0", "1"))
    assert choose_resources(None, {}) == (2, None, ("0", "1"))
    assert choose_resources(6, {}) == (6, None, ("0", "1"))


def test_cores_are_those_of_the_affinity_capped_by_the_containers_quota(tmp_path, monkeypatch):
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr("grokking.system.cores._CPU_QUOTA", quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    assert available_cores() == 16
    for text, cores in (("max 100000", 16), ("250000 100000", 2), ("50000 100000", 1)):
        quota.write_text(text + "\n")
        assert available_cores() == cores


def test_the_sweep_skips_validation_where_it_departs_whatever_the_environment_says():
    plan = Plan((AXIS.over((0.5, 1.0)),), (42,), (10, 10), {"GROK_SKIP_VALIDATION": "0"})
    departing, reference = plan.runs()
    assert load(departing.variables).config.skip_validation
    assert not load(reference.variables).config.skip_validation


def test_variables_reach_the_runs_as_they_were_read(monkeypatch):
    monkeypatch.setenv("GROK_KERNEL", " torch ")
    assert passed_through(os.environ, (AXIS,))["GROK_KERNEL"] == "torch"
