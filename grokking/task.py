"""The task: which pairs of operands are questions, their answers, and the group whose law it is.

Torch-free. Tasks of Power et al. (2022), arXiv 2201.02177; group composition of Chughtai et al. (2023),
arXiv 2302.03025; the discrete logarithm as the basis of multiplication, arXiv 2606.17399.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from grokking.fourier import Basis, Permutation, cyclic_basis, s5_basis, s5_products
from grokking.laws import (
    FILE,
    ON_NONZERO,
    Table,
    is_prime,
    question_count,
    table_of,
)

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Group:
    """The group that a task computes in: element of a times element of b is the element of the answer.

    Each map gives the element's number, -1 for what is none.
    """

    basis: Basis
    first: Numbers  # [p], of operand a
    second: Numbers  # [p], of operand b
    classes: Numbers  # [p], of class c
    answer: str  # the element of the answer, in a formula: "a+b"
    listed: str = ""  # how the elements are listed, where not as they are counted

    @cached_property
    def first_order(self) -> Permutation:
        """The operands a in the order of their elements, [n]."""
        return _inverse(self.first)

    @cached_property
    def second_order(self) -> Permutation:
        """The operands b likewise."""
        return _inverse(self.second)

    @cached_property
    def class_order(self) -> Permutation:
        """The classes likewise."""
        return _inverse(self.classes)

    @cached_property
    def is_natural(self) -> bool:
        """Is every operand and class its own element?"""
        own = np.arange(len(self.first))
        return all(np.array_equal(m, own) for m in (self.first, self.second, self.classes))

    def grid(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of every pair of operands, [p, p, ...], as a function on the group: [n, n, ...]."""
        if self.is_natural:
            return values
        return values[np.ix_(self.first_order, self.second_order)]

    def of_operands(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The rows of the first operand's elements, [n, ...], of one row for every symbol and more."""
        return rows[: len(self.first)] if self.is_natural else rows[self.first_order]

    def of_classes(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The rows of the classes by their elements, [n, ...]."""
        return rows if self.is_natural else rows[self.class_order]

    def class_means(self, class_sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean logits of every answer's questions, [n, n] by element, from sums by class [p, p]."""
        if not self.is_natural:
            class_sums = class_sums[np.ix_(self.class_order, self.class_order)]
        return class_sums / self.basis.order


def _inverse(elements: Numbers) -> Permutation:
    """The place of every element: where map[i] = e, the result has i at e."""
    places = np.flatnonzero(elements >= 0)
    return places[np.argsort(elements[places])]


@dataclass(frozen=True, eq=False)
class Task:
    """Pair number n = a * p + b stands for the operands (a, b)."""

    name: str  # as in GROK_TASK
    p: int  # symbols that an operand may be; classes as well
    law: str  # in a formula: "(a + b) mod 113"
    words: str  # inside a sentence: "addition mod 113", "the sum of squares mod 113"
    questions: Numbers  # [q] pair numbers, ascending
    targets: Numbers  # [q] the class of each question's answer
    group: Group | None  # None: no known basis
    table: Table | None = None  # that it was made of

    @property
    def identity(self) -> str:
        """What makes it the same task elsewhere."""
        return FILE + self.table.digest if self.table else self.name

    @property
    def guesses(self) -> int:
        """How many classes occur as an answer: the loss of guessing is the logarithm."""
        return len(np.unique(self.targets))

    @property
    def blocks(self) -> int:
        """How many blocks the task's basis has; 0 where none is known."""
        return 0 if self.group is None else len(self.group.basis.sizes)

    def places(self, pairs: Numbers) -> Numbers:
        """Where these pairs stand among the questions."""
        return np.searchsorted(self.questions, pairs)

    @cached_property
    def holes(self) -> NDArray[np.bool_] | None:
        """Which pairs are no question, [p, p]; None: all are."""
        if len(self.questions) == self.p**2:
            return None
        holes = np.ones(self.p**2, np.bool_)
        holes[self.questions] = False
        return holes.reshape(self.p, self.p)

    def masked(self, surfaces: NDArray[Any]) -> NDArray[Any]:
        """Surfaces [p, p, ...], with NaN written where there is no question."""
        if self.holes is not None:
            surfaces[self.holes] = np.nan
        return surfaces


class Law(NamedTuple):
    """A named task: what it computes of a and b."""

    words: str
    formula: str
    answer: Callable[[Numbers, Numbers, int], Numbers]


LAWS = {
    "add": Law("addition", "(a + b) mod {p}", lambda a, b, p: (a + b) % p),
    "subtract": Law("subtraction", "(a - b) mod {p}", lambda a, b, p: (a - b) % p),
    "multiply": Law("multiplication", "a b mod {p}", lambda a, b, p: a * b % p),
    "divide": Law("division", "a / b mod {p}", lambda a, b, p: a * _inverses(p)[b] % p),
    "squares": Law(
        "the sum of squares", "(a^2 + b^2) mod {p}", lambda a, b, p: (a * a + b * b) % p
    ),
    "quadratic": Law(
        "the quadratic form",
        "(a^2 + a b + b^2) mod {p}",
        lambda a, b, p: (a * a + a * b + b * b) % p,
    ),
}


def make_task(name: str, p: int, split_seed: int = 0, table: Table | None = None) -> Task:
    """The task of a name in NAMES, or file:PATH, whose table is read unless it is given.

    `split_seed` draws the answers of `random`.
    """
    if name.startswith(FILE):
        return _of_table(name, table or table_of(name))
    return _named(name, p, split_seed if name == "random" else 0)


@lru_cache(maxsize=32)
def _named(name: str, p: int, split_seed: int) -> Task:
    question_count(name, p)  # raises
    questions: Numbers = np.arange(p * p)
    if name == "s5":
        answers, words = s5_products().ravel(), "composition in S_5"
        return Task(name, p, "a b in S_5", words, questions, answers, group_of(name, p))
    if name == "random":
        drawn = np.random.default_rng(split_seed).integers(0, p, p * p)
        words = f"random answers from {p} classes"
        return Task(name, p, "an answer drawn at random", words, questions, drawn, None)
    law = LAWS[name]
    if name in ON_NONZERO:
        questions = questions[(questions >= p) & (questions % p > 0)]
    targets = law.answer(questions // p, questions % p, p)
    words, formula = f"{law.words} mod {p}", law.formula.format(p=p)
    return Task(name, p, formula, words, questions, targets, group_of(name, p))


@lru_cache(maxsize=32)
def group_of(name: str, p: int) -> Group | None:
    """The group of a named task; None where none is known."""
    elements: Numbers = np.arange(p)
    if name == "s5":
        return Group(s5_basis(), elements, elements, elements, "a b")
    if name in ("add", "subtract"):
        second = elements if name == "add" else -elements % p
        answer = "a+b" if name == "add" else "a-b"
        return Group(cyclic_basis(p), elements, second, elements, answer)
    if name in ON_NONZERO:
        root = primitive_root(p)
        logarithms: Numbers = np.full(p, -1)
        power = 1
        for exponent in range(p - 1):
            logarithms[power] = exponent
            power = power * root % p
        inverse = np.where(logarithms < 0, -1, -logarithms % (p - 1))
        second = logarithms if name == "multiply" else inverse
        answer = f"log a {'+' if name == 'multiply' else '-'} log b"
        basis, listed = cyclic_basis(p - 1), f"powers of {root}"
        return Group(basis, logarithms, second, logarithms, answer, listed)
    return None


def primitive_root(p: int) -> int:
    """The smallest number whose powers are all of 1..p-1, for a prime p."""
    factors = [d for d in range(2, p) if (p - 1) % d == 0 and is_prime(d)]
    roots = (g for g in range(1, p) if all(pow(g, (p - 1) // d, p) != 1 for d in factors))
    return next(roots)


def _inverses(p: int) -> Numbers:
    """1 / b mod p of every b, 0 for 0."""
    return np.array([0, *(pow(b, -1, p) for b in range(1, p))])


# --- a table from a file ---------------------------------------------------------------------


def _of_table(name: str, table: Table) -> Task:
    p = len(table.rows)
    numbers = [-1 if cell is None else cell for row in table.rows for cell in row]
    answers: Numbers = np.array(numbers)
    questions = np.flatnonzero(answers >= 0)
    law, words = f"the table of {p} x {p}", f"the table {Path(name[len(FILE) :]).name}"
    return Task(name, p, law, words, questions, answers[questions], None, table)
