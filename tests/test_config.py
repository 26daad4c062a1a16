"""GROK_* variables: defaults of the paper, one-line errors, strictness, generated texts."""

import re

import pytest

from grokking import config
from grokking.config import FIELDS, Config, as_record, load, recorded_kind
from grokking.system.errors import UserError


def test_defaults_are_the_reference_experiment():
    c = load({}).config
    assert (c.modulus, c.d_model, c.num_heads, c.d_mlp, c.train_fraction) == (113, 128, 4, 512, 0.3)
    assert (c.learning_rate, c.beta1, c.beta2, c.weight_decay, c.warmup_steps) == (
        1e-3,
        0.9,
        0.98,
        1.0,
        10,
    )
    assert (c.seed, c.num_epochs, c.probe_every, c.checkpoint_every) == (42, 10_000, 1, 100)
    assert c.training_pairs == 3830
    assert c.exported_neurons == [0, 102, 204, 306, 408, 510]


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("GROK_SEED", "7", 7),
        ("GROK_SEED", " 007 ", 7),
        ("GROK_PROBE_EVERY", "1000000000000000000000", 10**21),
        ("GROK_STOP_AFTER_GROK", "0", 0),
        ("GROK_NEURONS", "3, 1,3", (3, 1)),
        ("GROK_NEURONS", "all", "all"),
        ("GROK_RESUME", "1", True),
        ("GROK_RESUME", "inexact", "inexact"),
        ("GROK_OVERWRITE", "0", False),
        ("GROK_WEIGHT_DECAY", "1", 1.0),
        ("GROK_DEVICE", "cuda:1", "cuda:1"),
    ],
)
def test_values_are_read(variable, text, value):
    loaded = load({variable: text})
    name = config.VARIABLES[variable]
    assert getattr(loaded.config, name) == value
    assert loaded.sources[name] == "environment"
    assert loaded.sources["beta1"] == "default"


WRONG = [
    ("GROK_TASK", "addition"),
    ("GROK_TASK", "file:"),
    ("GROK_SPLIT_SEED", "-1"),
    ("GROK_OPTIMIZER", "adamax"),
    ("GROK_BATCH_SIZE", "0"),
    ("GROK_INIT_SCALE", "0"),
    ("GROK_SEED", " "),
    ("GROK_SEED", "1e3"),
    ("GROK_SEED", "-1"),
    ("GROK_SEED", "1_000"),
    ("GROK_SEED", "٣"),
    ("GROK_SEED", "9" * 5000),
    ("GROK_NUM_EPOCHS", "0"),
    ("GROK_NUM_EPOCHS", "ten"),
    ("GROK_PROBE_EVERY", "0"),
    ("GROK_WEIGHT_DECAY", "nan"),
    ("GROK_WEIGHT_DECAY", "inf"),
    ("GROK_WEIGHT_DECAY", "1e999"),
    ("GROK_WEIGHT_DECAY", "-0.1"),
    ("GROK_LEARNING_RATE", "0"),
    ("GROK_BETA1", "1"),
    ("GROK_TRAIN_FRACTION", "1"),
    ("GROK_MODULUS", "1"),
    ("GROK_SKIP_VALIDATION", "yes"),
    ("GROK_RESUME", "true"),
    ("GROK_NEURONS", "0,,1"),
    ("GROK_NEURONS", "-1"),
    ("GROK_NEURONS", " "),
    ("GROK_DEVICE", "gpu"),
    ("GROK_KERNEL", "AVX 512"),
    ("GROK_ARTIFACTS_DIR", " "),
    ("GROK_THREADS", "0"),
    ("GROK_BETA2", "-0.1"),
    ("GROK_WARMUP_STEPS", "-1"),
    ("GROK_D_MODEL", "0"),
    ("GROK_NUM_HEADS", "0"),
    ("GROK_D_MLP", "1000001"),
    ("GROK_CHECKPOINT_EVERY", "0"),
    ("GROK_STOP_AFTER_GROK", "-1"),
    ("GROK_TRAJECTORY", "2"),
    ("GROK_OVERWRITE", "no"),
]


def test_every_variable_is_among_the_wrong_values():
    assert {variable for variable, _ in WRONG} == set(config.VARIABLES)


@pytest.mark.parametrize(("variable", "text"), WRONG)
def test_wrong_values_name_variable_value_and_expectation(variable, text):
    with pytest.raises(UserError) as caught:
        load(
            {variable: text, "GROK_SKIP_VALIDATION": "1"}
            if "SKIP" not in variable
            else {variable: text}
        )
    message = str(caught.value)
    assert message.startswith(f"{variable} is {text!r}, expected ")
    assert "\n" not in message


def test_values_that_do_not_go_together_are_refused_even_without_strict_validation():
    for variables in (
        {"GROK_NUM_HEADS": "3"},
        {"GROK_NEURONS": "512"},
        {"GROK_TRAIN_FRACTION": "0.1", "GROK_MODULUS": "2"},
        {"GROK_RESUME": "1", "GROK_OVERWRITE": "1"},
    ):
        with pytest.raises(UserError, match=next(iter(variables))):
            load({**variables, "GROK_SKIP_VALIDATION": "1"})


STRICT = {
    "GROK_TASK": "multiply",
    "GROK_OPTIMIZER": "sgd",
    "GROK_BATCH_SIZE": "512",
    "GROK_INIT_SCALE": "2",
    "GROK_WEIGHT_DECAY": "2",
    "GROK_TRAIN_FRACTION": "0.4",
    "GROK_LEARNING_RATE": "0.01",
    "GROK_BETA1": "0.8",
    "GROK_BETA2": "0.99",
    "GROK_WARMUP_STEPS": "0",
    "GROK_MODULUS": "97",
    "GROK_D_MODEL": "64",
    "GROK_NUM_HEADS": "8",
    "GROK_D_MLP": "1024",
}


@pytest.mark.parametrize("variable", STRICT)
def test_departures_from_the_paper_need_a_switch(variable):
    with pytest.raises(UserError, match="GROK_SKIP_VALIDATION=1"):
        load({variable: STRICT[variable]})
    assert load({variable: STRICT[variable], "GROK_SKIP_VALIDATION": "1"})


def test_exactly_these_fields_are_strict():
    strict = {f"GROK_{n.upper()}" for n, f in config.FIELDS.items() if f.metadata["strict"]}
    assert strict == set(STRICT)


def test_the_help_holds_meaning_default_and_range_of_every_variable():
    _, *parts = re.split(r"^  (GROK_\w+)\n", config.help_text(), flags=re.MULTILINE)
    assert parts[::2] == list(config.VARIABLES)
    for variable, body in zip(parts[::2], parts[1::2], strict=True):
        field = config.FIELDS[config.VARIABLES[variable]]
        kind, strict = field.metadata["kind"], "; strict" if field.metadata["strict"] else ""
        meaning, default, accepted = re.fullmatch(r"(.*?) \[(.*?); (.*)\]", joined(body)).groups()
        assert meaning == field.metadata["help"]
        assert accepted == kind.expected + strict
        if field.default is None or field.default is False:
            assert default == "unset"
        else:
            assert kind.parse(default) == field.default
        assert max(map(len, body.splitlines())) <= 76
    assert "[113; an integer from 2 to 4096; strict]" in config.help_text()


def joined(wrapped):
    """The text before it was wrapped, which may break a line after a hyphen."""
    return re.sub(r"(?<=\w)-\n *", "-", wrapped.strip()).replace("\n" + 6 * " ", " ")


def test_described_values_read_back_to_the_same_config():
    first = load({"GROK_NEURONS": "5,3", "GROK_WEIGHT_DECAY": "0.1", "GROK_SKIP_VALIDATION": "1"})
    assert load(config.variables(first.config)).config == first.config
    shown = config.describe(first, {"kernel": "avx2, 2 threads"})
    assert "GROK_NEURONS=5,3" in shown
    assert "# default: avx2, 2 threads" in shown


def test_every_field_either_decides_weights_or_controls_the_run():
    assert set(config.IDENTITY) | config.RUN_CONTROL | {"num_epochs"} == set(config.FIELDS)
    assert set(config.identity(Config(), config.task_of(Config()))) == {
        *("weight_decay", "seed", "train_fraction", "learning_rate", "beta1", "beta2"),
        *("warmup_steps", "modulus", "d_model", "num_heads", "d_mlp"),
        *("task", "split_seed", "optimizer", "batch_size", "init_scale"),
    }


def test_an_empty_variable_is_an_unset_one():
    empty = dict.fromkeys(config.VARIABLES, "")
    loaded = load(empty)
    assert loaded == load({}) and set(loaded.sources.values()) == {"default"}


@pytest.mark.parametrize(
    ("fraction", "modulus", "pairs"),
    [
        ("0.29", 100, 2900),
        ("0.57", 100, 5700),
        ("0.3", 113, 3830),
        ("1e-1", 10, 10),
        ("0.07", 10, 7),
    ],
)
def test_the_training_share_is_that_of_the_decimal_as_typed(fraction, modulus, pairs):
    typed = {"GROK_TRAIN_FRACTION": fraction, "GROK_MODULUS": str(modulus)}
    assert load({**typed, "GROK_SKIP_VALIDATION": "1"}).config.training_pairs == pairs


def test_commands_that_do_not_train_parse_alike_and_are_not_strict():
    assert load({"GROK_WEIGHT_DECAY": "2"}, strict=False).config.weight_decay == 2
    with pytest.raises(UserError, match="GROK_NUM_HEADS"):
        load({"GROK_NUM_HEADS": "3"}, strict=False)


def test_the_command_that_repeats_a_run_holds_what_was_set_and_what_is_changed():
    loaded = load(
        {"GROK_STOP_AFTER_GROK": "10", "GROK_OVERWRITE": "1", "GROK_ARTIFACTS_DIR": "a b"}
    )
    assert config.command_line(loaded.chosen | {"resume": True, "overwrite": None}) == (
        "GROK_STOP_AFTER_GROK=10 GROK_ARTIFACTS_DIR='a b' GROK_RESUME=1 python -m grokking"
    )


def test_no_number_is_taken_that_a_runs_files_could_not_give_back():
    """1.5e308 was taken, and config.json of that run was then called damaged."""
    with pytest.raises(UserError, match=r"GROK_WEIGHT_DECAY is '1\.5e308', expected a number >= 0"):
        load({"GROK_WEIGHT_DECAY": "1.5e308", "GROK_SKIP_VALIDATION": "1"})
    for name, field in FIELDS.items():
        assert recorded_kind(name).accepts(as_record(Config())[name]), name
        assert recorded_kind(name).expected.startswith(field.metadata["kind"].expected)
