"""A run folder in a few numbers."""

import json
import os

import numpy as np
import pytest

from grokking.files.surfaces import Surface, write_surface
from grokking.system.errors import UserError
from tests.support import warm
from tests.support.environment import ROOT
from tests.support.sweep_folders import write_run
from tools.docs.summaries import summarize_run


def test_a_summary_counts_the_neurons_that_are_one_wave(grokking, tmp_path):
    assert grokking(GROK_NEURONS="2", GROK_SEED="9").returncode == 0
    folder = tmp_path / "artifacts"
    angle = 2 * np.pi * 3 * np.arange(7) / 7
    wave = 2 + np.cos(angle)[:, None] + np.cos(angle)[None, :]
    write_surface(folder, Surface(10, 7, wave.astype(np.float32), 12))
    write_surface(folder, Surface(11, 7, np.zeros((7, 7), np.float32), 12))
    done = warm.python("-m", "tools.docs.summaries", folder, cwd=ROOT, env=os.environ)
    assert done.returncode == 0, done.stderr
    (summary,) = json.loads(done.stdout)["runs"]
    assert (summary["seed"], summary["final_epoch"], summary["grok_epoch"]) == (9, 12, None)
    assert summary["variables"]["GROK_SEED"] == 9
    assert [w["neuron"] for w in summary["exported_neurons"]] == [2, 10, 11]
    assert summary["exported_neurons"][1] == {"neuron": 10, "frequency": 3, "share": 1.0}
    assert summary["exported_neurons"][2] == {"neuron": 11, "frequency": None, "share": 0.0}
    assert summary["single_frequency_neurons"] == sum(
        w["share"] > 0.85 for w in summary["exported_neurons"]
    )


def test_what_an_older_version_did_not_write_is_none(tmp_path):
    run = write_run(tmp_path, 1.0, 9, 4_000)
    for name, keys in (("config.json", ["versions", "kernel"]), ("grokking.json", ["delay"])):
        record = json.loads((run / name).read_text())
        (run / name).write_text(json.dumps({k: v for k, v in record.items() if k not in keys}))
    summary = summarize_run(run)
    assert [summary[key] for key in ("versions", "kernel", "delay")] == [None, None, None]
    assert (summary["seed"], summary["grok_epoch"]) == (9, 4_000)


def test_an_unfinished_run_is_named(tmp_path):
    with pytest.raises(UserError, match=r"config.json: no such file"):
        summarize_run(tmp_path)
