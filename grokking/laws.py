"""The tasks by name: how many questions each has, and the table of one in a file. Without numpy."""

import json
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from grokking.system.errors import UserError

ON_NONZERO = ("multiply", "divide")  # operands from 1 on, a prime modulus
NAMES = ("add", "subtract", "multiply", "divide", "squares", "quadratic", "s5", "random")
FILE = "file:"
S5 = 120
LARGEST_MODULUS = 4096


def question_count(name: str, p: int) -> int:
    """How many questions a task has; UserError for a modulus or a file that it cannot have."""
    if name.startswith(FILE):
        return sum(answer is not None for row in table_of(name).rows for answer in row)
    if name in ON_NONZERO:
        if not is_prime(p):
            raise UserError(f"GROK_MODULUS is {p}, but GROK_TASK={name} needs a prime one")
        return (p - 1) ** 2
    return p * p


def own_modulus(name: str) -> int | None:
    """p of a task that has but one; None for the others."""
    if name.startswith(FILE):
        return len(table_of(name).rows)
    return S5 if name == "s5" else None


def is_prime(p: int) -> bool:
    """Has p two divisors? By trial, for a modulus."""
    return p > 1 and all(p % d for d in range(2, int(p**0.5) + 1))


class Table(NamedTuple):
    """The answers of a file, p rows of p: a class, or None for no question; and its bytes."""

    rows: list[list[int | None]]
    content: bytes

    @property
    def digest(self) -> str:
        """The sha256 of the file's bytes, in hexadecimal digits."""
        return sha256(self.content).hexdigest()


def table_of(name: str) -> Table:
    """The table of `file:PATH`; UserError in one line for what is none."""
    path = Path(name[len(FILE) :])
    return read_table(path, f"GROK_TASK names {path}")


def read_table(path: Path, where: str) -> Table:
    """The table in a file; UserError in one line, which begins with `where`, for what is none."""
    try:
        return _checked(path.read_bytes(), where)
    except OSError as error:
        raise UserError(f"{where}, which cannot be read: {error.strerror}") from error


@lru_cache(maxsize=4)
def _checked(content: bytes, where: str) -> Table:
    try:
        rows = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}, which is not JSON; expected a list of p lists of p") from error
    if not isinstance(rows, list) or not 2 <= len(rows) <= LARGEST_MODULUS:
        raise UserError(f"{where}, expected a list of 2 to {LARGEST_MODULUS} rows in it")
    p, questions = len(rows), 0
    for a, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != p:
            raise UserError(f"{where}, whose row {a} is not a list of {p}, as many as it has rows")
        for b, cell in enumerate(row):
            if cell is None:
                continue
            if isinstance(cell, bool) or not isinstance(cell, int) or not 0 <= cell < p:
                raise UserError(
                    f"{where}, whose answer to ({a}, {b}) is {json.dumps(cell)[:40]}; expected an "
                    f"integer from 0 to {p - 1}, or null for no question"
                )
            questions += 1
    if not questions:
        raise UserError(f"{where}, whose rows hold null alone; expected questions")
    return Table(rows, content)
