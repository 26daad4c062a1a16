"""The tasks against their laws written out, the groups against their tables, and the split."""

import itertools
import json
import math

import numpy as np
import pytest
import torch

from grokking.config import Config, load, task_of
from grokking.laws import NAMES, read_table
from grokking.system.errors import UserError
from grokking.task import make_task
from grokking.training.split import batches, split_generator, split_questions, weights_generator
from tests.support.addition import addition

P = 7


def inverse(b):
    return next(x for x in range(1, P) if x * b % P == 1)


PERMUTATIONS = list(itertools.permutations(range(5)))
WRITTEN_OUT = {  # the answer to (a, b), None for no question
    "add": lambda a, b: (a + b) % P,
    "subtract": lambda a, b: (a - b) % P,
    "multiply": lambda a, b: a * b % P if a and b else None,
    "divide": lambda a, b: a * inverse(b) % P if a and b else None,
    "squares": lambda a, b: (a * a + b * b) % P,
    "quadratic": lambda a, b: (a * a + a * b + b * b) % P,
    "s5": lambda a, b: PERMUTATIONS.index(
        tuple(PERMUTATIONS[a][PERMUTATIONS[b][i]] for i in range(5))
    ),
}


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_every_task_asks_and_answers_as_its_law_says(name):
    p = 120 if name == "s5" else P
    task = make_task(name, p)
    answers = {(a, b): WRITTEN_OUT[name](a, b) for a in range(p) for b in range(p)}
    asked = [(a * p + b, c) for (a, b), c in answers.items() if c is not None]
    assert list(zip(task.questions.tolist(), task.targets.tolist(), strict=True)) == asked
    assert task.guesses == len({c for _, c in asked})
    assert (task.holes is None) == (len(asked) == p * p)
    masked = task.masked(np.zeros((p, p, 2)))
    for (a, b), c in answers.items():
        assert np.isnan(masked[a, b]).all() == (c is None)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "s5"])
def test_the_maps_of_a_group_carry_its_law_to_the_group(name):
    """element(a) element(b) = element(answer), where Z_n adds and S_5 composes."""
    task = make_task(name, 120 if name == "s5" else 13)
    group, p = task.group, task.p
    n = group.basis.order
    products = make_task("s5", 120).targets.reshape(120, 120)
    for pair, answer in zip(task.questions.tolist(), task.targets.tolist(), strict=True):
        a, b = group.first[pair // p], group.second[pair % p]
        together = products[a, b] if name == "s5" else (a + b) % n
        assert together == group.classes[answer]
    for order, elements in (
        (group.first_order, group.first),
        (group.second_order, group.second),
        (group.class_order, group.classes),
    ):
        assert elements[order].tolist() == list(range(n))
    whole = np.arange(p * p).reshape(p, p)
    assert sorted(group.grid(whole).ravel()) == task.questions.tolist()


def test_the_logarithm_is_to_the_smallest_primitive_root():
    group = make_task("multiply", 113).group
    assert group.listed == "powers of 3"
    assert group.first_order.tolist() == [pow(3, i, 113) for i in range(112)]
    assert group.first[0] == group.classes[0] == -1
    assert make_task("multiply", 7).group.listed == "powers of 3"  # 2 has order 3
    assert make_task("multiply", 41).group.listed == "powers of 6"


@pytest.mark.parametrize("name", ["squares", "quadratic", "random"])
def test_where_no_group_is_known_there_is_none(name):
    assert make_task(name, P).group is None and make_task(name, P).blocks == 0


def test_random_answers_are_drawn_by_the_seed_of_the_split():
    first = task_of(Config(task="random", seed=3))
    assert (
        first.targets.tolist()
        == task_of(Config(task="random", seed=4, split_seed=3)).targets.tolist()
    )
    other = task_of(Config(task="random", seed=3, split_seed=4))
    assert (first.targets == other.targets).mean() == pytest.approx(1 / 113, abs=0.01)
    counts = np.bincount(first.targets, minlength=113)
    assert ((counts - 113) ** 2 / 113).sum() < 113 + 5 * math.sqrt(2 * 113)  # chi-squared


# --- what may be asked for -------------------------------------------------------------------


def departing(**variables):
    return load(
        {f"GROK_{k.upper()}": v for k, v in variables.items()} | {"GROK_SKIP_VALIDATION": "1"}
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_a_task(name):
    loaded = departing(task=name)
    assert loaded.config.modulus == (120 if name == "s5" else 113)
    assert task_of(loaded.config).name == name
    share = math.floor(0.3 * len(task_of(loaded.config).questions))
    assert loaded.config.training_pairs == share


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"task": "s5", "modulus": "113"}, "GROK_MODULUS is 113, but GROK_TASK=s5 has 120"),
        ({"task": "multiply", "modulus": "12"}, "GROK_MODULUS is 12, but .* needs a prime one"),
        ({"task": "divide", "modulus": "1001"}, "GROK_MODULUS is 1001"),
        ({"optimizer": "sgd", "beta2": "0.9"}, "GROK_BETA2 is set, but GROK_OPTIMIZER=sgd"),
        ({"batch_size": "3831"}, "GROK_BATCH_SIZE is 3831, expected at most the 3830"),
    ],
)
def test_what_does_not_go_together_is_one_line(variables, message):
    with pytest.raises(UserError, match=message) as caught:
        departing(**variables)
    assert "\n" not in str(caught.value)


TABLE = [[0, None, 2], [1, 2, None], [None, 0, 1]]


def test_a_table_from_a_file_is_a_task(tmp_path):
    path = tmp_path / "law.json"
    path.write_text(json.dumps(TABLE))
    loaded = departing(task=f"file:{path}", num_heads="1", d_model="4", train_fraction="0.5")
    task = task_of(loaded.config)
    assert (loaded.config.modulus, loaded.config.training_pairs) == (3, 3)
    assert task.questions.tolist() == [0, 2, 3, 4, 7, 8]
    assert task.targets.tolist() == [0, 2, 1, 2, 0, 1]
    assert task.group is None and task.identity == "file:" + read_table(path, "").digest
    with pytest.raises(UserError, match="GROK_MODULUS is 5, but"):
        departing(task=f"file:{path}", modulus="5")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[[0,", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"0": 1}', "expected a list of 2 to 4096 rows"),
        ("[[0]]", "expected a list of 2 to 4096 rows"),
        ("[[0, 1], 5]", "row 1 is not a list of 2"),
        ("[[0, 1], [1]]", "row 1 is not a list of 2"),
        ("[[0, 1], [1, 2]]", r"answer to \(1, 1\) is 2; expected an integer from 0 to 1"),
        ("[[0, 1], [1, -1]]", r"answer to \(1, 1\) is -1"),
        ("[[0, 1], [1, 0.5]]", r"answer to \(1, 1\) is 0.5"),
        ("[[0, 1], [1, true]]", r"answer to \(1, 1\) is true"),
        ('[[0, 1], [1, "a"]]', r'answer to \(1, 1\) is "a"'),
        ("[[null, null], [null, null]]", "null alone; expected questions"),
        ("[[NaN, 0], [0, 0]]", r"answer to \(0, 0\) is NaN"),
    ],
)
def test_a_bad_table_is_one_line_that_names_the_file(tmp_path, content, message):
    path = tmp_path / "law.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        departing(task=f"file:{path}")
    assert str(caught.value).startswith(f"GROK_TASK names {path}") and "\n" not in str(caught.value)


def test_a_table_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match="which cannot be read: No such file"):
        departing(task=f"file:{tmp_path / 'none.json'}")


# --- the split and the batches ---------------------------------------------------------------


def split_of(p, fraction, seed):
    config = Config(modulus=p, train_fraction=fraction)
    return split_questions(addition(p), config.training_pairs, split_generator(seed))


def test_the_split_is_a_partition_with_the_floor_of_the_fraction():
    train, validation = split_of(113, 0.3, 42)
    assert (len(train), len(validation)) == (3830, 8939)
    assert torch.cat([train, validation]).sort().values.equal(torch.arange(113 * 113))
    assert train.equal(train.sort().values)
    assert validation.equal(validation.sort().values)


def test_only_questions_are_drawn():
    task = make_task("divide", P)
    split = split_questions(task, 9, split_generator(0))
    assert sorted(torch.cat(split).tolist()) == task.questions.tolist()


def test_each_seed_has_its_own_split_and_keeps_it():
    assert split_of(113, 0.3, 1).train.equal(split_of(113, 0.3, 1).train)
    assert not split_of(113, 0.3, 1).train.equal(split_of(113, 0.3, 2).train)


def test_weights_and_split_come_from_separate_streams():
    weights, split = weights_generator(3), split_generator(3)
    first = torch.randn(4, generator=weights)
    torch.randn(100, generator=split)
    assert first.equal(torch.randn(4, generator=weights_generator(3)))
    assert not first.equal(torch.randn(4, generator=split_generator(3)))


@pytest.mark.parametrize(("p", "fraction"), [(10, 0.29), (113, 0.3), (7, 1 / 49), (65, 1 / 4225)])
def test_as_many_pairs_are_drawn_as_the_configuration_was_checked_for(p, fraction):
    config = Config(modulus=p, train_fraction=fraction)
    assert len(split_of(p, fraction, 0).train) == config.training_pairs


def test_batches_are_a_permutation_of_seed_and_epoch_the_last_one_short():
    train = torch.arange(100) * 3
    parts = batches(train, 32, seed=1, epoch=5)
    assert [len(part) for part in parts] == [32, 32, 32, 4]
    assert torch.cat(parts).sort().values.equal(train)
    assert all(part.equal(part.sort().values) for part in parts)
    assert torch.cat(parts).equal(torch.cat(batches(train, 32, 1, 5)))
    for seed, epoch in ((1, 6), (2, 5)):
        assert not torch.cat(parts).equal(torch.cat(batches(train, 32, seed, epoch)))
    assert batches(train, None, 1, 5)[0] is train


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("add", "addition mod 7"),
        ("squares", "the sum of squares mod 7"),
        ("quadratic", "the quadratic form mod 7"),
        ("random", "random answers from 7 classes"),
    ],
)
def test_what_a_task_is_called_fits_into_a_sentence(name, words):
    assert make_task(name, P).words == words
