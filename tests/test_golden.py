"""Files of every released version stay readable; files of a newer one are refused clearly.

tests/golden/VERSION/ is a one-run sweep as that version wrote it. Never rewrite one: add the next.
"""

import json
import shutil

import numpy as np
import pytest
import torch

from grokking.analysis import progress_measures
from grokking.commands.export import main as export
from grokking.commands.report import main as report
from grokking.commands.train import train_one
from grokking.config import FIELDS, IDENTITY, load
from grokking.files import measures
from grokking.files.checkpoint import load_checkpoint, save_checkpoint
from grokking.files.run_files import read_run
from grokking.files.surfaces import read_surface
from grokking.files.trajectory import read_recorded
from grokking.sweeps.analysis import analyze
from grokking.sweeps.plan import read_plan
from grokking.sweeps.tables import markdown_report
from grokking.system.errors import UserError
from tests.support.environment import ROOT

VERSIONS = sorted((ROOT / "tests" / "golden").iterdir())


SETTINGS = {  # of the runs in tests/golden, to be taken further on whatever this machine is
    "GROK_MODULUS": "5",
    "GROK_D_MODEL": "8",
    "GROK_NUM_HEADS": "2",
    "GROK_D_MLP": "12",
    "GROK_TRAIN_FRACTION": "0.5",
    "GROK_CHECKPOINT_EVERY": "3",
    "GROK_NEURONS": "0,5",
    "GROK_NUM_EPOCHS": "15",
    "GROK_SKIP_VALIDATION": "1",
    "GROK_RESUME": "inexact",
}


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name)
def old_sweep(request, tmp_path):
    """A copy of what that version wrote."""
    return shutil.copytree(request.param, tmp_path / "sweep")


@pytest.fixture
def old_run(old_sweep):
    return old_sweep / "wd1.0_seed42"


def test_every_file_of_a_run_is_read(old_run):
    run = read_run(old_run)
    assert run.history.epochs == list(range(13)) and run.config["modulus"] == 5
    surface = read_surface(old_run / "activation_surface_neuron_0.json")
    assert surface.values.shape == (5, 5) and surface.epoch == 12
    rows = measures.read(old_run)
    assert rows["epoch"].tolist() == run.history.epochs
    assert progress_measures.read(old_run).epochs[-1] == 12
    latest = load_checkpoint(old_run / "checkpoint_latest.pt")
    final = load_checkpoint(old_run / "checkpoint_labeled" / "final.pt")
    recorded = read_recorded(old_run, 12)
    for name, weight in final["model"].items():
        assert torch.equal(weight, latest["model"][name])
        assert torch.equal(weight, recorded["model"][name])
    squares = sum(float(w.double().square().sum()) for w in final["model"].values())
    assert progress_measures.read(old_run).squares_total[-1] == pytest.approx(squares)


def test_an_old_run_goes_on_and_is_reported_on(old_run, grokking):
    done = grokking(tiny=False, **SETTINGS, GROK_ARTIFACTS_DIR=str(old_run))
    assert done.returncode == 0, done.stderr
    assert "resuming" in done.stdout and "at epoch 12" in done.stdout
    assert read_run(old_run).history.epochs == list(range(16))
    rows = measures.read(old_run)
    assert rows["epoch"].tolist() == list(range(16)) and "digest" in rows.dtype.names
    assert report([str(old_run), "--brief"]) == 0
    assert export([str(old_run / "checkpoint_labeled" / "final.pt"), "--format", "npz"]) == 0
    with np.load(old_run / "checkpoint_labeled" / "final.npz") as weights:
        assert weights["embed.W_E"].shape == (6, 8)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_an_older_version_did_not_know_has_its_default(old_sweep, old_run, field):
    """Such a run is analysed, reported on and gone on with, whichever field came later."""
    forget(old_run, field)
    assert read_run(old_run).config[field] == FIELDS[field].default
    _, summary = analyze(old_sweep)
    assert (summary["runs_read"], summary["runs_not_counted"]) == (1, 0)
    variables = {**SETTINGS, "GROK_ARTIFACTS_DIR": str(old_run), "GROK_KERNEL": "torch"}
    departs = field in IDENTITY and f"GROK_{field.upper()}" in SETTINGS
    if departs:  # its default is not what the run was trained with
        with pytest.raises(UserError, match=f"GROK_{field.upper()} is .* but the run in"):
            train_one(load(variables))
    else:
        assert train_one(load(variables)) == 0
        assert read_run(old_run).history.epochs == list(range(16))
        assert report([str(old_run), "--brief"]) == 0


def forget(folder, field):
    """Take a field out of every file of a run that records the settings."""
    settings = json.loads((folder / "config.json").read_text())
    settings["config"].pop(field, None)  # or never knew it
    (folder / "config.json").write_text(json.dumps(settings))
    for path in (folder / "checkpoint_latest.pt", *(folder / "trajectory").iterdir()):
        checkpoint = load_checkpoint(path)
        checkpoint["config"].pop(field, None)
        if field not in ("modulus", "d_model", "num_heads", "d_mlp"):  # shapes were always there
            save_checkpoint(path, checkpoint)


def test_an_old_sweep_is_analysed_and_its_summary_shown(old_sweep):
    old = json.loads((old_sweep / "analysis_summary.json").read_text())
    assert "| 1.0 | 0 of 1 |" in markdown_report(old)
    assert read_plan(old_sweep).seeds == (42,)
    _, summary = analyze(old_sweep)
    assert (summary["runs_read"], summary["runs_not_counted"]) == (1, 0)


@pytest.mark.parametrize(
    "name", ["config.json", "grokking.json", "loss_history.json", "accuracy_history.json"]
)
def test_a_newer_json_file_is_refused_by_name(old_run, name):
    newer = {**json.loads((old_run / name).read_text()), "schema_version": 99}
    (old_run / name).write_text(json.dumps(newer))
    with pytest.raises(UserError, match=rf"{name}: schema_version is 99, .* newer version"):
        read_run(old_run)


def test_a_newer_checkpoint_is_refused_by_name(old_run):
    record = load_checkpoint(old_run / "checkpoint_latest.pt")
    save_checkpoint(old_run / "checkpoint_latest.pt", {**record, "schema_version": 99})
    with pytest.raises(UserError, match=r"checkpoint_latest\.pt: schema_version is 99"):
        load_checkpoint(old_run / "checkpoint_latest.pt")
