"""docs/notebook.ipynb: made of docs/notebook.py, and at work from the first cell to the last."""

import ast
import json
import logging
from itertools import takewhile

import numpy as np
import plotly.graph_objects as go
import plotly.io
import pytest

from tests.support.environment import ROOT
from tests.support.tiny import TINY
from tools import notebook

CELLS = json.loads((ROOT / "docs" / "notebook.ipynb").read_text())["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
SMALL = {"modulus": 11, "d_model": 16, "num_heads": 2, "d_mlp": 32, "train_fraction": 0.6}
QUICK = {"modulus": 23, "d_model": 64, "d_mlp": 128, "train_fraction": 0.7, "learning_rate": 1e-2}


def test_the_notebook_is_what_its_source_gives():
    source = notebook.SOURCE.read_text()
    assert notebook.NOTEBOOK.read_text() == notebook.notebook(source), "python -m tools.notebook"


def test_cells_are_text_code_and_parameters_without_outputs():
    source = (
        '# %% [markdown]\n# # A title\n#\n# Text.\n\n# %% tags=["parameters"]\na = 1\n\n\n# %%\na\n'
    )
    text, parameters, code = notebook.cells(source)
    assert text == {
        "cell_type": "markdown",
        "metadata": {},
        "source": ["# A title\n", "\n", "Text."],
    }
    assert parameters["metadata"] == {"tags": ["parameters"]}
    empty = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    assert code == {**empty, "source": ["a"]}


def execute(source, scope):
    """The value of a cell's last line, if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), scope)
    return last and eval(compile(ast.Expression(last.value), "cell", "eval"), scope)


def read(tmp_path, monkeypatch, until=None, **parameters):
    """The names that all cells leave, and the figures that they show, with other parameters.

    `until`: only the cells before the one that has these words.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plotly.io.templates, "default", plotly.io.templates.default)
    monkeypatch.setattr(logging.getLogger("grokking"), "handlers", [])
    if "GROK_KERNEL" in TINY:
        parameters["setting"]["kernel"] = TINY["GROK_KERNEL"]
    scope, figures = {}, []
    (tagged,) = (cell for cell in CELLS if "parameters" in cell["metadata"].get("tags", []))
    assert set(parameters) <= {
        n.id for n in ast.walk(ast.parse("".join(tagged["source"]))) if isinstance(n, ast.Name)
    }
    for source in takewhile(lambda source: until is None or until not in source, CODE):
        shown = execute(source, scope)
        if source == "".join(tagged["source"]):
            scope.update(parameters)
        if isinstance(shown, go.Figure):
            assert shown.data and "<div" in shown.to_html(include_plotlyjs=False)
            figures.append(shown)
    return scope, figures


def test_every_cell_runs_on_networks_that_have_learned_nothing(tmp_path, monkeypatch, capsys):
    once = {"weight_decays": [1.0], "seeds": [1]}
    scope, figures = read(tmp_path, monkeypatch, setting={**SMALL}, epochs=3, **once)
    assert scope["run"].outcome == "learning" and scope["run"].grok_epoch is None
    assert len(figures) == 13
    assert "guessing: 2.4;" in capsys.readouterr().out
    assert (tmp_path / "artifacts" / "notebook" / "sweep" / "wd1.0_seed1").exists()


def test_of_one_that_groks_every_measure_beats_its_control(tmp_path, monkeypatch):
    over_time = 'run.figure("progress")'
    assert over_time in "".join(CODE)
    scope, _ = read(tmp_path, monkeypatch, over_time, setting={**QUICK}, epochs=600)
    run, keys, trained = scope["run"], scope["keys"], scope["trained"]
    assert run.phases["generalization_epoch"] is not None
    assert len(keys) <= 5 < len(run.at(0).key_frequencies())
    neurons = {name: shares.max(axis=0) for name, shares in scope["shares"].items()}
    assert neurons["trained"].mean() > 2 * neurons["untrained"].mean()
    at_keys = {name: shares[np.array(keys) - 1].sum() for name, shares in scope["cosines"].items()}
    assert at_keys["untrained"] < 0.1 and at_keys["trained"] > 0.5
    confined, without = scope["ablations"].values()
    assert confined(keys) < min(confined(others) for others in scope["drawn"])
    assert without(keys) > max(without(others) for others in scope["drawn"])
    assert scope["loss"](trained.logits()) == pytest.approx(trained.loss("all"), rel=1e-3)
