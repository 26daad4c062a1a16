"""A part of every promise of docs/RELIABILITY.md, with a fixed seed; the whole: scripts/reliability.py."""

import os
import random
import tempfile
from pathlib import Path

import pytest
from conftest import impossible
from needs import NotPossible
from reliability import PROMISES, WORKPLACE
from reliability.forked import differences, forked_run, outcome


@pytest.mark.parametrize("name", PROMISES)
def test_the_promise_is_held(name):
    promise = PROMISES[name]
    with tempfile.TemporaryDirectory(prefix="grokking_", dir=WORKPLACE) as folder:
        try:
            result = promise.driver(promise.in_ci, random.Random(1), Path(folder) / name)
        except NotPossible as reason:
            impossible(reason)
    assert result.broken == []
    assert result.tried >= promise.in_ci


def test_the_comparison_notices_a_changed_weight_and_a_missing_file(tmp_path):
    assert forked_run(tmp_path / "one").code == 0
    assert forked_run(tmp_path / "two", GROK_SEED="43").code == 0
    one, two = outcome(tmp_path / "one"), outcome(tmp_path / "two")
    assert {"checkpoint_latest.pt", "loss_history.json"} <= set(differences(one, two))
    os.remove(tmp_path / "two" / "measures.npy")
    assert "measures.npy" in differences(one, outcome(tmp_path / "two"))
