"""What a value may be: one vocabulary for the text of a variable and for what a file holds.

A value that is no such thing is told in one line: where it stands, what it is, what was expected.
"""

import json
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from grokking.system.errors import UserError

VERSION = 1  # of every file that is written; `schema_version` in it
LARGEST = 1e308  # of a number; beyond it sums are no longer finite
_REQUIRED = object()


class Kind(NamedTuple):
    """One kind of value: in words, which values of JSON are such, and how text is read as one."""

    expected: str  # "a number >= 0"
    accepts: Callable[[Any], bool]
    parse: Callable[[str], Any] = lambda _: None  # None for text that is not of the kind


def is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_finite(value: object) -> bool:
    """A number that a float can hold; exact for huge integers, false for NaN."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) <= LARGEST  # type: ignore[arg-type]


def integer(low: int, high: int | None = None) -> Kind:
    def accepts(value: Any) -> bool:
        return is_integer(value) and value >= low and (high is None or value <= high)

    def parse(text: str) -> int | None:
        whole = re.fullmatch(r"[+-]?[0-9]{1,30}", text)
        return int(text) if whole and accepts(int(text)) else None

    bounds = f">= {low}" if high is None else f"from {low} to {high}"
    return Kind(f"an integer {bounds}", accepts, parse)


def real(accept: Callable[[float], bool], expected: str) -> Kind:
    def accepts(value: Any) -> bool:
        return is_finite(value) and accept(value)

    def parse(text: str) -> float | None:
        if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
            return None
        value = float(text)
        return value if accepts(value) else None

    return Kind(expected, accepts, parse)


def string(accept: Callable[[str], object], expected: str) -> Kind:
    """Text that is itself the value."""
    return Kind(
        expected,
        lambda value: isinstance(value, str) and bool(accept(value)),
        lambda word: word if accept(word) else None,
    )


def choice(pattern: str, expected: str) -> Kind:
    return string(lambda word: re.fullmatch(pattern, word), expected)


def one_of(meanings: Mapping[str, Any], expected: str) -> Kind:
    """A few words, each of which means a value."""
    return Kind(expected, lambda value: value in meanings.values(), meanings.get)


def or_null(kind: Kind) -> Kind:
    return Kind(
        f"{kind.expected} or null", lambda value: value is None or kind.accepts(value), kind.parse
    )


NATURAL = integer(0)
EPOCH = Kind("an epoch >= 0", lambda value: is_integer(value) and 0 <= value < 2**53)
FINITE = real(lambda v: True, "a finite number")
AMOUNT = real(lambda v: v >= 0, "a number >= 0")
FRACTION = real(lambda v: 0 <= v <= 1, "a fraction in [0, 1]")
BOOLEAN = Kind("true or false", lambda value: isinstance(value, bool))
LIST = Kind("a list", lambda value: isinstance(value, list))
OBJECT = Kind("an object", lambda value: isinstance(value, dict))
WORD = Kind("text or a number", lambda value: isinstance(value, (str, int, float)))


def list_of(kind: Kind, length: int | None = None) -> Kind:
    """A list whose entries are looked at one by one, see Record.check_entries."""
    counted = "" if length is None else f" of {length} entries"
    return Kind(
        f"a list{counted}, each {kind.expected}",
        lambda value: LIST.accepts(value) and (length is None or len(value) == length),
    )


class Record:
    """An object of a file, with checked access. `name` goes before what it finds wrong."""

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        self.name = name
        self.values = values

    def fail(self, message: str) -> UserError:
        return UserError(f"{self.name}: {message}")

    def get(self, key: str, kind: Kind, default: Any = _REQUIRED) -> Any:
        """The value of a key; without a `default` it has to be there."""
        if key not in self.values:
            if default is _REQUIRED:
                raise self.fail(f"key '{key}' is missing, expected {kind.expected}")
            return default
        return self.checked(f"'{key}'", self.values[key], kind)

    def checked(self, name: str, value: Any, kind: Kind) -> Any:
        if not kind.accepts(value):
            raise self.fail(f"{name} is {shown(value)}, expected {kind.expected}")
        return value

    def series(
        self, key: str, kind: Kind, like: str | None = None, default: Any = _REQUIRED
    ) -> list[Any]:
        """A list of such values, as long as the list `like`, which has been checked before."""
        values: list[Any] = self.get(key, list_of(kind), default)
        self.check_entries(f"'{key}'", values, kind)
        if like is not None and len(values) != len(self.values[like]):
            raise self.fail(
                f"'{key}' has {len(values)} entries, expected {len(self.values[like])} as in '{like}'"
            )
        return values

    def check_entries(self, name: str, values: list[Any], kind: Kind) -> None:
        for position, value in enumerate(values):
            if not kind.accepts(value):
                raise self.fail(f"{name}[{position}] is {shown(value)}, expected {kind.expected}")

    def epochs(self) -> list[int]:
        """The list `epochs`, which increases."""
        epochs = self.series("epochs", EPOCH)
        if any(later <= earlier for earlier, later in pairwise(epochs)):
            raise self.fail("'epochs' must increase")
        return epochs

    def check_rewritable(self) -> None:
        """UserError if it holds a number that no file of ours may hold, such as 1e999."""
        try:
            json.dumps(self.values, allow_nan=False)
        except ValueError as error:
            raise self.fail("it holds a number that is not finite") from error

    def check_version(self) -> None:
        """UserError if a newer program wrote it."""
        version = self.values.get("schema_version", VERSION)
        if not is_integer(version) or version > VERSION:
            raise self.fail(
                f"schema_version is {shown(version)}, this program reads up to {VERSION}; a newer version "
                "of grokking wrote it"
            )


def kind_in_words(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number"}
    return "null" if value is None else names.get(type(value), "a number")


def shown(value: object) -> str:
    """A value in an error line, shortened."""
    if isinstance(value, (list, dict)):
        return kind_in_words(value)
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a huge integer"
    written = json.dumps(value, default=repr)
    return written if len(written) <= 40 else written[:37] + "..."
