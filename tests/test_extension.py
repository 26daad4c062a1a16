"""The compiled module's border: what it refuses, and what a build leaves where there is none."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from grokking.kernels.compiled import implementations, load_extension
from grokking.model.parameters import parameter_shapes
from grokking.model.tables import table_shapes
from tests.support.environment import ROOT, clean_environment, unavailable

module, missing = load_extension()
compiled = pytest.mark.skipif(module is None, reason=missing)

P, HEADS, D_MLP, CLASSES, PAIRS = 5, 2, 6, 7, 4


def test_the_extension_is_there():
    """Every test of a kernel depends on it, and would pass over it in silence."""
    if module is None:
        unavailable(missing)
    assert {"baseline", "reference"} <= set(implementations())


def arguments(**changes):
    """Arguments of _C.evaluate that it accepts, but for `changes` (a table by its name)."""
    shapes = table_shapes(P, HEADS, D_MLP, CLASSES)
    tables = [changes.pop(name, np.zeros(shape, np.float32)) for name, shape in shapes.items()]
    accepted = {
        "tables": tables,
        "pairs": np.arange(PAIRS),
        "targets": np.zeros(PAIRS, np.int64),
        "implementation": "reference",
        "threads": 1,
    }
    return {**accepted, **changes}


@compiled
def test_equal_logits_give_the_loss_of_a_guess():
    loss_sum, correct = module.evaluate(**arguments())
    assert loss_sum == pytest.approx(PAIRS * np.log(CLASSES))
    assert correct == PAIRS  # class 0 is the first maximum


@compiled
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"A": np.zeros((P, HEADS, D_MLP))}, "A is float64, expected float32"),
        (
            {"B": np.zeros((P, HEADS, 5), np.float32)},
            r"B is (5, 2, 5), expected (p=5, H=2, d_mlp=6)",
        ),
        ({"s1": np.zeros((HEADS, P), np.float32)}, r"s1 is (2, 5), expected (p=5, H=2)"),
        ({"s0": np.zeros(P, np.float32)}, "s0 is (5), expected 2 dimensions"),
        ({"pre_bias": np.zeros((1, D_MLP), np.float32)}, "pre_bias is (1, 6), expected (d_mlp=6)"),
        ({"s2": np.zeros(3, np.float32)}, "s2 is (3), expected (H=2)"),
        (
            {"C": np.zeros((P, HEADS, 2 * CLASSES), np.float32)[..., ::2]},
            "C is strided, expected C-contiguous",
        ),
        ({"D": np.zeros((P, HEADS, CLASSES), ">f4")}, "D is >f4, expected float32"),
        ({"pairs": np.arange(4, dtype=np.int32)}, "pairs is int32, expected int64"),
        ({"pairs": np.array([0, 1, 2, 25])}, "pairs[3] is 25, expected 0 <= value < 25"),
        ({"pairs": np.array([0, -1, 2, 3])}, "pairs[1] is -1, expected 0 <= value < 25"),
        ({"targets": np.array([0, 7, 0, 0])}, "targets[1] is 7, expected 0 <= value < 7"),
        ({"targets": np.zeros(3, np.int64)}, "targets is (3), expected (n=4)"),
        ({"threads": 0}, "threads is 0, expected at least 1"),
        ({"implementation": "mmx"}, "implementation 'mmx' is not one this processor can run"),
        (
            {"logits": np.zeros((PAIRS, 6), np.float32)},
            "logits is (4, 6), expected (n=4, classes=7)",
        ),
        (
            {"class_sums": np.zeros((CLASSES, CLASSES), np.float32)},
            "class_sums is float32, expected float64",
        ),
        (
            {"class_sums": np.zeros((P, CLASSES))},
            "class_sums is (5, 7), expected (classes=7, classes=7)",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_argument_is_named_with_what_it_is_and_what_was_expected(changes, message):
    with pytest.raises(ValueError) as refused:
        module.evaluate(**arguments(**changes))
    assert message in str(refused.value)


@compiled
def test_what_is_not_an_array_is_refused():
    for wrong in ({"tables": [1] * 10}, {"tables": []}, {"pairs": None}, {"logits": [1.0]}):
        with pytest.raises((TypeError, ValueError)):
            module.evaluate(**arguments(**wrong))


@compiled
def test_outputs_must_be_writeable():
    frozen = np.zeros((PAIRS, CLASSES), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="logits is read-only, expected writeable"):
        module.evaluate(**arguments(logits=frozen))


@compiled
def test_gradients_are_checked_like_the_tables():
    accepted = arguments()
    gradients = [np.empty_like(table) for table in accepted["tables"]]
    gradients[3] = gradients[3].astype(np.float64)
    with pytest.raises(ValueError, match="A is float64, expected float32"):
        module.pair_loss(**accepted, scale=1.0, gradients=gradients)


def step_arguments(**changes):
    """Arguments of _C.training_step that it accepts, but for `changes` (a parameter by its name)."""
    shapes = parameter_shapes(P, 4, HEADS, 3, D_MLP, CLASSES)
    weights = [changes.pop(name, np.zeros(shape, np.float32)) for name, shape in shapes.items()]
    accepted = {
        "parameters": weights,
        "pairs": np.arange(PAIRS),
        "targets": np.zeros(PAIRS, np.int64),
        "implementation": "reference",
        "threads": 1,
        "scale": 1.0,
        "gradients": [np.empty(shape, np.float32) for shape in shapes.values()],
    }
    return {**accepted, **changes}


@compiled
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"W_E": np.zeros((6, 5), np.float32)},
            "W_pos is (3, 4), expected (positions=3, d_model=5)",
        ),
        ({"W_E": np.zeros((1, 4), np.float32)}, "parameters have p=0, d_model=4"),
        ({"W_K": np.zeros((2, 4, 3))}, "W_K is float64, expected float32"),
        (
            {"W_O": np.zeros((2, 4, 3), np.float32)},
            "W_O is (2, 4, 3), expected (H=2, d_head=3, d_model=4)",
        ),
        ({"b_in": np.zeros((6, 1), np.float32)}, "b_in is (6, 1), expected 1 dimensions"),
        ({"targets": np.array([0, 7, 0, 0])}, "targets[1] is 7, expected 0 <= value < 7"),
        ({"threads": 0}, "threads is 0, expected at least 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_argument_of_a_step_is_named(changes, message):
    with pytest.raises(ValueError) as refused:
        module.training_step(**step_arguments(**changes))
    assert message in str(refused.value)


@compiled
def test_the_tables_that_a_fold_fills_are_checked():
    tables = [np.zeros(shape, np.float32) for shape in table_shapes(P, HEADS, D_MLP, 3).values()]
    with pytest.raises(ValueError, match=r"W_L is \(6, 3\), expected \(d_mlp=6, classes=7\)"):
        module.fold(step_arguments()["parameters"], "reference", 1, tables)


@compiled
def test_neurons_outside_the_layer_are_refused():
    accepted = arguments()
    for neurons in ([0, D_MLP], [-1, 0]):
        with pytest.raises(ValueError, match=r"neurons\[\d\] is (6|-1), expected 0 <= value < 6"):
            module.activations(
                tables=accepted["tables"],
                neurons=np.array(neurons),
                implementation="reference",
                threads=1,
                surfaces=np.empty((P, P, 2), np.float32),
            )


@compiled
def test_no_pairs_are_a_score_of_nothing():
    empty = np.zeros(0, np.int64)
    for name in implementations():
        score = module.evaluate(
            **arguments(pairs=empty, targets=empty, implementation=name, threads=3)
        )
        assert score == (0.0, 0)


@compiled
def test_evaluation_never_holds_the_hidden_units_of_every_pair():
    """At p = 251 they would be 129 MB; the kernel's own memory must stay below a fifth of that."""
    program = """
import resource
import numpy as np
from grokking.kernels.compiled import implementations, load_extension
from grokking.model.tables import table_shapes
module, _ = load_extension()
p = 251
tables = [np.full(shape, 0.01, np.float32) for shape in table_shapes(p, 4, 512, p).values()]
pairs = np.arange(p * p)
targets = pairs % p
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
module.evaluate(tables, pairs, targets, next(iter(implementations())), 2)
print((peak() - before) / 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 26


def build(folder, **variables):
    """Run the build of the extension into `folder` with only these GROK_ variables set."""
    command = [sys.executable, "setup.py", "-q", "build_ext"]
    return subprocess.run(
        [*command, f"--build-lib={folder}/lib", f"--build-temp={folder}/temp"],
        cwd=ROOT,
        env=clean_environment(**variables),
        capture_output=True,
        text=True,
    )


NO_COMPILER = {"CC": "no-such-compiler", "CXX": "no-such-compiler"}


@pytest.mark.parametrize("value", ["yes", "2", " "])
def test_the_build_refuses_a_switch_it_does_not_know(value, tmp_path):
    refused = build(tmp_path, GROK_BUILD_EXT=value)
    assert refused.returncode != 0
    assert f"GROK_BUILD_EXT is {value!r}, expected auto, 0 or 1" in refused.stderr


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"GROK_BUILD_EXT": "0"}, "switched off by GROK_BUILD_EXT=0"),
        (NO_COMPILER, "no-such-compiler"),
    ],
    ids=["switched off", "no compiler"],
)
def test_a_build_that_falls_back_leaves_its_reason_in_the_package(variables, reason, tmp_path):
    assert build(tmp_path, **variables).returncode == 0
    found: dict[str, str] = {}
    exec((tmp_path / "lib/grokking/_build_info.py").read_text(), found)
    assert reason in found["FALLBACK"]
    assert not list(tmp_path.glob("lib/grokking/_C*"))


def test_an_editable_install_without_a_compiler_keeps_its_reason_too(tmp_path):
    """There the package is the source tree, where setuptools builds in place."""
    for name in ("setup.py", "build_cpu.py", "build_cuda.py", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "grokking").mkdir()
    shutil.copy(ROOT / "grokking" / "__init__.py", tmp_path / "grokking")
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    environment = clean_environment(**NO_COMPILER, GROK_BUILD_CUDA="0")
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert "no-such-compiler" in (tmp_path / "grokking" / "_build_info.py").read_text()


def test_a_build_that_was_demanded_fails_loudly(tmp_path):
    demanded = build(tmp_path, GROK_BUILD_EXT="1", **NO_COMPILER)
    assert demanded.returncode != 0
    assert "no-such-compiler" in demanded.stderr
