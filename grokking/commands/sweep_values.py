"""NAME=VALUES of a sweep's command line -> axes: lists, ranges and geometric ranges."""

import difflib
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from grokking.config import FIELDS
from grokking.schema import FINITE, Kind, integer, is_finite
from grokking.sweeps.axis import VARIABLE_FIELDS, Axis, settled
from grokking.system.errors import UserError

MAX_RUNS = 10_000
UNSET = "unset"  # a value of a setting that may be left out
OWN_OPTIONS = {"seed": "--seeds", "num_epochs": "--epochs"}
HOW = "VALUES are a list (0.3,1,3), a range FROM:TO:STEP or log:FROM:TO:COUNT"


def axis_of(option: str, text: str) -> Axis:
    """The axis of NAME=VALUES; UserError in one line for what is none."""
    name, values = name_and_values(option, text)
    field = field_of(option, name)
    return Axis(field, tuple(values_of(option, values, field)))


def name_and_values(option: str, text: str) -> tuple[str, str]:
    """Both sides of NAME=VALUES."""
    name, equals, values = text.partition("=")
    if not equals:
        raise UserError(f"{option} is {text!r}, expected NAME=VALUES; {HOW}")
    return name, values


def field_of(option: str, name: str) -> str:
    """The field of Config that may vary under this name, however it is spelt."""
    field = name.strip().lower().replace("-", "_").removeprefix("grok_")
    if field in VARIABLE_FIELDS:
        return field
    if field in OWN_OPTIONS:
        raise UserError(
            f"{option} names {name}, which has an option of its own: {OWN_OPTIONS[field]}"
        )
    if field in FIELDS:
        raise UserError(f"{option} names {name}, which decides no weight of a run; it cannot vary")
    near = difflib.get_close_matches(field, VARIABLE_FIELDS, 1)
    advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(VARIABLE_FIELDS)}"
    raise UserError(f"{option} names {name.strip()!r}, which is no setting; {advice}")


def values_of(option: str, text: str, field: str, unique: bool = True) -> list[Any]:
    """A list separated by commas or spaces, each value as the variable of that field accepts it."""
    default, own = FIELDS[field].default, FIELDS[field].metadata["kind"]
    kind: Kind = own
    if default is None:
        kind = own._replace(parse=lambda word: UNSET if word == UNSET else own.parse(word))
    found = listed(option, text, kind, is_finite(default) or default is None, unique)
    return [None if value == UNSET else settled(field, value) for value in found]


def listed(option: str, text: str, kind: Kind, numbers: bool, unique: bool = True) -> list[Any]:
    """The values of such a list, each of this kind; ranges are of `numbers`."""
    values: list[Any] = []
    for word in re.split(r"[\s,]+" if numbers else r"\s*,\s*", text.strip()):
        for entry in _expanded(option, word) if numbers else [word]:
            value = kind.parse(entry)
            if value is None:
                raise UserError(f"{option} has {entry!r}, expected {kind.expected}")
            if unique and value in values:
                raise UserError(f"{option} names {entry} twice, expected each value once")
            values.append(value)
            if len(values) > MAX_RUNS:
                raise UserError(f"{option} has more than {MAX_RUNS} values")
    return values


def seeds_of(text: str) -> list[int]:
    """A list of seeds, in which 1-20 stands for twenty of them."""
    words = []
    for word in re.split(r"[\s,]+", text.strip()):
        span = re.fullmatch(r"([0-9]{1,18})-([0-9]{1,18})", word)
        if not span:
            words.append(word)
            continue
        first, last = int(span[1]), int(span[2])
        if not first <= last < first + MAX_RUNS:
            raise UserError(
                f"--seeds has {word!r}, expected FIRST-LAST with at most {MAX_RUNS} seeds"
            )
        words += map(str, range(first, last + 1))
    return values_of("--seeds", " ".join(words), "seed")


def _expanded(option: str, word: str) -> Iterator[str]:
    """What a word of a list stands for: itself, or the numbers of a range."""
    if ":" not in word:
        yield word
        return
    logarithmic, parts = word.startswith("log:"), word.removeprefix("log:").split(":")
    if len(parts) != 3 or any(FINITE.parse(part) is None for part in parts):
        raise UserError(f"{option} has {word!r}, which is no range; {HOW}")
    yield from (_geometric if logarithmic else _even)(option, word, parts)


def _even(option: str, word: str, parts: Sequence[str]) -> Iterator[str]:
    """FROM:TO:STEP in decimal arithmetic, TO among them if a step meets it."""
    first, last, step = map(Decimal, parts)
    if step == 0 or (last - first) / step < 0:
        raise UserError(f"{option} has {word!r}, whose step does not lead from {first} to {last}")
    count = int((last - first) / step) + 1
    if count > MAX_RUNS:
        raise UserError(f"{option} has {word!r}, which is more than {MAX_RUNS} values")
    for number in range(count):
        yield f"{(first + number * step).normalize():f}"


def _geometric(option: str, word: str, parts: Sequence[str]) -> Iterator[str]:
    """log:FROM:TO:COUNT, the numbers between the ends to four significant digits."""
    first, last = float(parts[0]), float(parts[1])
    count = integer(2, MAX_RUNS).parse(parts[2])
    if count is None or first <= 0 or last <= 0:
        raise UserError(
            f"{option} has {word!r}, expected log:FROM:TO:COUNT with ends above 0 and at least 2 values"
        )
    yield parts[0]
    for number in range(1, count - 1):
        yield f"{Decimal(f'{first * (last / first) ** (number / (count - 1)):.4g}').normalize():f}"
    yield parts[1]
