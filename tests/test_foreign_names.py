"""GROK_ variables that are not ours: slips are refused, other programs' variables are not."""

import os

import pytest

from grokking.config import Config, load
from grokking.system.errors import UserError
from grokking.system.foreign_names import ALIASES, edits
from tests.support import warm
from tests.support.environment import ROOT, clean_environment


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("GROK_WIEGHT_DECAY", "did you mean GROK_WEIGHT_DECAY?"),
        ("GROK_SEDE", "did you mean GROK_SEED?"),
        ("GROK_NUMEPOCHS", "did you mean GROK_NUM_EPOCHS?"),
        ("GROK_ARTEFACTS_DIR", "did you mean GROK_ARTIFACTS_DIR?"),
        ("GROK_BUILD_CUD", "did you mean GROK_BUILD_CUDA?"),
        ("GROK_LR", "did you mean GROK_LEARNING_RATE?"),
        ("GROK_WD", "did you mean GROK_WEIGHT_DECAY?"),
        ("GROK_P", "did you mean GROK_MODULUS?"),
        ("GROK_FRAC_TRAIN", "did you mean GROK_TRAIN_FRACTION?"),
        ("GROK_EPOCHS", "did you mean GROK_NUM_EPOCHS?"),
        ("GROK_N_HEADS", "did you mean GROK_NUM_HEADS?"),
        ("GROK_OPERATION", "did you mean GROK_TASK?"),
        ("GROK_DATA_SEED", "did you mean GROK_SPLIT_SEED?"),
        ("GROK_OUTPUT", "did you mean GROK_ARTIFACTS_DIR?"),
    ],
)
def test_a_slip_and_the_fields_own_words_are_refused_with_our_name(variable, meant):
    with pytest.raises(UserError) as caught:
        load({variable: "1"})
    assert str(caught.value) == f"{variable} is not a known variable ({meant}); see --help"


@pytest.mark.parametrize("alias", ALIASES)
def test_every_alias_is_refused(alias):
    with pytest.raises(UserError, match=f"GROK_{alias} is not a known variable"):
        load({f"GROK_{alias}": "1"})


@pytest.mark.parametrize(
    "variable",
    ["API_KEY", "MODEL", "BASE_URL", "TOKEN", "FOO", "HEADER", "PATTERNS_DIR", "HOME", "DEBUG"],
)
def test_a_variable_of_another_program_is_ignored_and_named(variable):
    loaded = load({f"GROK_{variable}": "x", "GROK_BUILD_CUDA": "0", "PATH": "x"})
    assert loaded.config == Config()
    assert loaded.unknown == (f"GROK_{variable}",)


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [
        ("", "", 0),
        ("abc", "", 3),
        ("kitten", "sitting", 3),
        ("seed", "sede", 1),
        ("ca", "abc", 3),
        ("same", "same", 0),
    ],
)
def test_edits(first, second, distance):
    assert edits(first, second) == edits(second, first) == distance


COMMANDS = {
    "print-config": ["-m", "grokking", "--print-config"],
    "sweep": ["-m", "grokking", "sweep", "--dry-run"],
    "report": ["-m", "grokking", "report", "absent"],
    "export": ["-m", "grokking", "export", "absent"],
    "branch": ["-m", "grokking", "branch", "absent", "--at", "3", "--output", "absent"],
    "doctor": ["-m", "grokking", "doctor"],
    "run": ["-m", "grokking"],
    "visualize": [str(ROOT / "scripts" / "visualize_activation_surface.py"), "absent"],
    "analyze": [str(ROOT / "scripts" / "analyze_weight_decay_sweep.py"), "absent"],
    "plot": [str(ROOT / "scripts" / "plot_sweep_comparison.py"), "absent"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize(
    "variables", [{"GROK_THREADS": "x"}, {"GROK_LR": "1"}, {"GROK_D_MODEL": "3"}]
)
def test_every_command_refuses_a_wrong_variable_in_one_line(tmp_path, command, variables):
    environment = clean_environment(PYTHONPATH=str(ROOT), GROK_SKIP_VALIDATION="1", **variables)
    done = warm.python(*command, cwd=tmp_path, env=environment)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert next(iter(variables)) in line.replace("GROK_NUM_HEADS", "GROK_D_MODEL")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("command", [COMMANDS["sweep"], COMMANDS["report"], COMMANDS["visualize"]])
def test_another_programs_variable_costs_one_line_of_warning(tmp_path, command):
    environment = clean_environment(PYTHONPATH=str(ROOT), GROK_API_KEY="x", GROK_FOO="1")
    done = warm.python(*command, cwd=tmp_path, env=environment)
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning:")]
    assert warnings == ["warning: GROK_API_KEY, GROK_FOO are not known here and are ignored"]
    assert "GROK_API_KEY" not in done.stdout
