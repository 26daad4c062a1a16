"""A run as a process: its files, its texts, its exit codes, and what it refuses."""

import fcntl
import importlib.metadata
import json
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from grokking.files.checkpoint import load_checkpoint
from grokking.files.run_files import read_run
from grokking.files.surfaces import read_surface
from grokking.system.errors import RunError
from grokking.training.run import described
from tests.support.environment import ROOT, clean_environment, held_at, unavailable
from tests.support.tiny import TINY

FILES = {
    "config.json",
    "loss_history.json",
    "accuracy_history.json",
    "grokking.json",
    "checkpoint_latest.pt",
    "checkpoint_previous.pt",
    "activation_surface_neuron_0.json",
    "activation_surface_neuron_20.json",
    "checkpoint_labeled/initial.pt",
    "checkpoint_labeled/final.pt",
    "visualizations/index.html",
    "visualizations/training_history.html",
    "visualizations/activation_surface_neuron_0.html",
}


def files(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def assert_one_line(done, code):
    """Exactly one line on stderr, no traceback, the right exit code."""
    assert done.returncode == code, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def test_a_run_writes_every_file_of_its_folder(grokking, tmp_path):
    done = grokking()
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "artifacts"
    assert files(folder) >= FILES
    run = read_run(folder)
    assert run.config["modulus"] == 7
    assert run.history.epochs == list(range(13))
    assert run.grokking["final_epoch"] == 12
    assert run.grokking["seconds"] > 0
    surface = read_surface(folder / "activation_surface_neuron_20.json")
    assert (surface.modulus, surface.epoch) == (7, 12)
    assert "Grokking not detected" in done.stdout
    assert "kernel: " in done.stdout
    for path in folder.glob("*.json"):
        json.loads(path.read_text(), parse_constant=pytest.fail)


def test_config_json_says_value_source_versions_and_kernel(grokking, tmp_path):
    grokking(GROK_SEED="9")
    record = json.loads((tmp_path / "artifacts" / "config.json").read_text())
    assert record["config"]["seed"] == {
        "value": 9,
        "source": "environment",
        "variable": "GROK_SEED",
    }
    assert record["config"]["beta1"]["source"] == "default"
    assert record["versions"]["torch"] == torch.__version__
    assert record["threads"] == 1
    assert record["device"] == "cpu"
    assert record["schema_version"] == 1
    (start,) = record["starts"]
    assert start["epoch"] == 0 and start["inexact"] is False
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", start["time"])
    for key in ("versions", "device", "device_name", "kernel", "threads"):
        assert start[key] == record[key]


def test_labelled_checkpoints_hold_the_weights_of_the_field(grokking, tmp_path):
    grokking()
    saved = load_checkpoint(tmp_path / "artifacts" / "checkpoint_labeled" / "final.pt")
    assert saved["epoch"] == 12
    assert saved["config"]["modulus"] == 7
    shapes = {name: tuple(w.shape) for name, w in saved["model"].items()}
    assert shapes["W_Q"] == (2, 16, 8)
    assert shapes["W_U"] == (16, 7)
    assert all(w.dtype == torch.float32 for w in saved["model"].values())


def test_a_folder_with_a_run_is_refused_and_untouched(grokking, tmp_path):
    grokking()
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.name != ".lock"}
    line = assert_one_line(grokking(GROK_SEED="5"), 2)
    assert "GROK_RESUME=1" in line
    assert "GROK_OVERWRITE=1" in line
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.name != ".lock"}


def test_overwrite_removes_the_old_runs_files_and_nothing_else(grokking, tmp_path):
    folder = tmp_path / "artifacts"
    grokking()
    (folder / "notes.txt").write_text("mine")
    (folder / "visualizations" / "mine.html").write_text("mine")
    done = grokking(GROK_OVERWRITE="1", GROK_NEURONS="1", GROK_SEED="5")
    assert done.returncode == 0, done.stderr
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "visualizations" / "mine.html").exists()
    assert not (folder / "activation_surface_neuron_0.json").exists()
    assert not (folder / "visualizations" / "activation_surface_neuron_0.html").exists()
    assert (folder / "activation_surface_neuron_1.json").exists()
    assert read_run(folder).config["seed"] == 5


def test_resume_starts_a_run_where_there_is_none_and_reports_a_finished_one(grokking, tmp_path):
    first = grokking(GROK_RESUME="1")
    assert first.returncode == 0, first.stderr
    before = (tmp_path / "artifacts" / "grokking.json").read_bytes()
    again = grokking(GROK_RESUME="1")
    assert again.returncode == 0, again.stderr
    assert "finished; nothing to do" in again.stdout
    assert (tmp_path / "artifacts" / "grokking.json").read_bytes() == before


def test_resume_refuses_another_configuration(grokking):
    grokking()
    line = assert_one_line(grokking(GROK_RESUME="1", GROK_SEED="5"), 2)
    assert "GROK_SEED is 5" in line
    line = assert_one_line(grokking(GROK_RESUME="1", GROK_NUM_EPOCHS="11"), 2)
    assert "GROK_NUM_EPOCHS is 11" in line and "has reached epoch 12" in line


def assert_same_end(parts, whole):
    """Two runs left the same histories, measures, surfaces and weights, bit for bit."""
    for name in (
        "loss_history.json",
        "accuracy_history.json",
        "measures.npy",
        "activation_surface_neuron_0.json",
    ):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()
    ours, theirs = (
        load_checkpoint(folder / "checkpoint_labeled" / "final.pt") for folder in (parts, whole)
    )
    assert ours["epoch"] == theirs["epoch"]
    assert all(ours["model"][name].equal(theirs["model"][name]) for name in ours["model"])


def test_more_epochs_extend_a_finished_run_to_what_one_run_would_have_given(grokking, tmp_path):
    grokking(GROK_ARTIFACTS_DIR="parts")
    extended = grokking(GROK_ARTIFACTS_DIR="parts", GROK_RESUME="1", GROK_NUM_EPOCHS="30")
    assert "at epoch 12" in extended.stdout
    grokking(GROK_ARTIFACTS_DIR="whole", GROK_NUM_EPOCHS="30")
    assert_same_end(tmp_path / "parts", tmp_path / "whole")


def test_a_package_in_a_folder_beside_a_clone_of_its_name_is_found(tmp_path):
    """Installed with -e, run where a first notebook is opened: in the folder that holds the clone."""
    try:
        importlib.metadata.version("grokking-lab")
    except importlib.metadata.PackageNotFoundError:
        unavailable("the package is not installed (pip install -e .)")
    (tmp_path / "grokking").mkdir()
    (tmp_path / "grokking" / "README.md").write_text("a clone")
    environment = clean_environment()
    environment.pop("PYTHONPATH", None)
    for command in (
        ["-c", "import grokking; print(grokking.__version__)"],
        ["-m", "grokking", "--version"],
    ):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert importlib.metadata.version("grokking-lab") in done.stdout


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"GROK_SEED": "x"}, "GROK_SEED is 'x', expected an integer"),
        ({"GROK_SKIP_VALIDATION": "0"}, "GROK_SKIP_VALIDATION=1"),
        ({"GROK_KERNEL": "avx1024"}, "GROK_KERNEL"),
        ({"GROK_DEVICE": "cuda:99"}, "GROK_DEVICE is cuda:99"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(grokking, tmp_path, variables, words):
    assert words in assert_one_line(grokking(**variables), 2)
    assert list(tmp_path.iterdir()) == []


def test_wrong_input_is_refused_before_torch_is_imported(tmp_path):
    code = "import sys; sys.argv = ['grokking']; from grokking.__main__ import main; c = main(); "
    code += "assert c == 2 and 'torch' not in sys.modules"
    environment = clean_environment(PYTHONPATH=str(ROOT), GROK_SEED="x")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


def test_an_artifacts_folder_that_is_a_file_is_refused(grokking, tmp_path):
    (tmp_path / "artifacts").write_text("mine")
    assert "which is a file" in assert_one_line(grokking(), 2)
    assert (tmp_path / "artifacts").read_text() == "mine"


def test_an_artifacts_folder_that_cannot_be_made_is_an_output_failure(grokking, tmp_path):
    (tmp_path / "file").write_text("")
    assert "file/below" in assert_one_line(grokking(GROK_ARTIFACTS_DIR="file/below"), 1)


def test_a_folder_in_use_is_refused_and_a_dead_holder_blocks_nobody(grokking, tmp_path):
    (tmp_path / "artifacts").mkdir()
    with open(tmp_path / "artifacts" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "in use by another run" in assert_one_line(grokking(), 2)
    assert grokking().returncode == 0


def test_divergence_is_exit_code_1_with_the_histories_written(grokking, tmp_path):
    done = grokking(GROK_LEARNING_RATE="1e30", GROK_NUM_EPOCHS="50")
    assert done.returncode == 1
    assert "the run diverged" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    result = json.loads((tmp_path / "artifacts" / "grokking.json").read_text())
    assert result["outcome"] == "diverged" and result["grokked"] is False
    assert (tmp_path / "artifacts" / "visualizations" / "index.html").exists()
    assert not (tmp_path / "artifacts" / "checkpoint_labeled" / "final.pt").exists()
    again = grokking(GROK_LEARNING_RATE="1e30", GROK_NUM_EPOCHS="50", GROK_RESUME="1")
    assert again.returncode == 1 and again.stderr == ""
    assert f"which diverged at epoch {result['final_epoch']}; nothing to do" in again.stdout
    history = json.loads((tmp_path / "artifacts" / "loss_history.json").read_text())
    assert None in (history["training_losses"][-1], history["validation_losses"][-1])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The folder of a tiny run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    environment = clean_environment(PYTHONPATH=str(ROOT), **TINY)
    command = [sys.executable, "-m", "grokking"]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return folder / "artifacts"


def signalled_at_7(folder, number, *before):
    """(exit code, stderr) of a tiny run that gets the signal after it has recorded epoch 7."""
    process = subprocess.Popen(
        [*before, sys.executable, "-m", "grokking"],
        cwd=folder,
        env=clean_environment(**TINY, **held_at("epoch_000007.pt")),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    recorded = folder / "artifacts" / "trajectory" / "epoch_000007.pt"
    while not recorded.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate()
    return process.returncode, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_the_run_which_then_resumes_to_the_same_end(
    grokking, uninterrupted, tmp_path, number
):
    code, err = signalled_at_7(tmp_path, number)
    assert code == 128 + number, err
    assert "saved at epoch 7;" in err
    advice = err.strip().splitlines()[-1].partition("continue with: ")[2]
    assert advice.endswith(" GROK_RESUME=1 python -m grokking")
    for variable, text in TINY.items():
        assert f"{variable}={text} " in advice  # to be typed as it stands, whoever set them
    assert "Traceback" not in err
    assert load_checkpoint(tmp_path / "artifacts" / "checkpoint_latest.pt")["epoch"] == 7
    resumed = grokking(GROK_RESUME="1")
    assert "resuming artifacts at epoch 7" in resumed.stdout, resumed.stderr
    assert_same_end(tmp_path / "artifacts", uninterrupted)


def test_a_signal_ignored_at_start_stays_ignored(uninterrupted, tmp_path):
    """nohup: the run goes on when the terminal goes away."""
    ignoring = ("sh", "-c", "trap '' HUP; exec \"$@\"", "sh")
    code, err = signalled_at_7(tmp_path, signal.SIGHUP, *ignoring)
    assert code == 0, err
    assert_same_end(tmp_path / "artifacts", uninterrupted)


def test_progress_is_plain_lines_without_a_terminal(grokking):
    line = grokking().stderr.splitlines()[-1]
    assert line.startswith("epoch 12/12  loss ")
    for word in ("val ", "accuracy ", "epochs/s", "left"):
        assert word in line


def test_every_neuron_can_be_exported(grokking, tmp_path):
    assert grokking(GROK_NEURONS="all").returncode == 0
    assert len(list((tmp_path / "artifacts").glob("activation_surface_neuron_*.json"))) == 24


def test_the_kernel_can_be_turned_off(grokking, tmp_path):
    done = grokking(GROK_KERNEL="torch")
    assert "kernel: plain PyTorch, because GROK_KERNEL=torch asks for it" in done.stdout
    assert json.loads((tmp_path / "artifacts" / "config.json").read_text())["kernel"] == "torch"


def test_help_version_and_print_config(grokking, tmp_path):
    assert "GROK_WEIGHT_DECAY" in grokking("--help", tiny=False).stdout
    assert grokking("--version", tiny=False).stdout.startswith("grokking 0.")
    shown = grokking("--print-config", tiny=False, GROK_SEED="3").stdout
    assert "GROK_SEED=3" in shown
    assert "# environment" in shown
    assert "GROK_MODULUS=113" in shown
    assert re.search(r"GROK_KERNEL=auto +# default: \w+", shown)  # what a run would use
    assert re.search(r"# GROK_THREADS is unset +# default: \d+", shown)
    assert "# default: cpu (" in shown
    plain = grokking("--print-config", tiny=False, GROK_KERNEL="torch").stdout
    assert "environment: plain PyTorch, because GROK_KERNEL=torch asks for it" in plain
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_subcommand_is_one_line(grokking):
    assert "'trian'" in assert_one_line(grokking("trian"), 2)


def test_a_config_that_cannot_be_read_back_is_the_disks_failure_not_the_users(tmp_path):
    """EACCES while the pages were written ended in exit code 2."""
    state = SimpleNamespace(epoch=1, history=None)
    with pytest.raises(RunError, match=r"config\.json: no such file"):
        described(tmp_path, state, {})
