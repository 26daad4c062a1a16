"""Every example of docs/python.md, in its order, as a reader would type it."""

import logging
import re
import sys

import pytest

import grokking
from tests.support.environment import ROOT
from tests.support.tiny import TINY

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.S)


@pytest.fixture
def in_a_folder_with_a_run(tmp_path, monkeypatch):
    """`artifacts` holds a run of a modulus with some neurons; small runs start as quick as they can."""
    monkeypatch.chdir(tmp_path)
    # Commands that other tests called in this process have had the package's messages shown.
    monkeypatch.setattr(logging.getLogger("grokking"), "handlers", [])
    if "GROK_KERNEL" in TINY:
        monkeypatch.setattr("grokking.config.Config.kernel", TINY["GROK_KERNEL"])
    settings = {"modulus": 11, "d_model": 16, "num_heads": 2, "d_mlp": 32, "train_fraction": 0.6}
    grokking.train("artifacts", num_epochs=30, progress=False, **settings)


def test_the_examples_run(in_a_folder_with_a_run, capsys):
    assert len(EXAMPLES) >= 6
    scope = {}
    for example in EXAMPLES:
        exec(compile(example, "docs/python.md", "exec"), scope)
    assert scope["run"].history.epochs[-1] == 250
    assert scope["run"].departures["weight_decay"] == 2.0
    assert len(scope["sweep"].runs) == 4
    assert scope["product"].spectrum("W_L").shape == (5,)
    assert capsys.readouterr().out == ""
    assert "grokking" in sys.modules


def shapes():
    """(expression, shape) of every comment `# (...)` after a `.shape`."""
    p, d_model, heads = 11, 16, 2
    names = {"p": p, "d_model": d_model, "heads": heads}
    lines = "".join(EXAMPLES).splitlines()
    found = [re.fullmatch(r"(\S.*\.shape)\s+# (\(.*?\))(?:[:;].*)?", line) for line in lines]
    return [(m[1], eval(m[2], names)) for m in found if m]


def test_the_shapes_are_as_written(in_a_folder_with_a_run):
    assert len(shapes()) == 6
    known = {"state": grokking.load("artifacts").final}
    for expression, shape in shapes():
        if not expression.startswith("product."):  # of another run, which the examples train
            assert eval(expression, known) == shape, expression
