"""The settings that a sweep varies: a cell of runs for each combination of their values.

Importing it needs the standard library only, so that a dry run works on a bare Python.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grokking.config import FIELDS, IDENTITY, Config, as_text
from grokking.laws import FILE
from grokking.schema import Kind, is_finite

MOST = 3  # axes of a sweep, beside the one of its controls
VARIABLE_FIELDS = tuple(name for name in IDENTITY if name != "seed")  # a seed is none of them


@dataclass(frozen=True)
class Axis:
    """A field of Config and its values, in the order in which they were given. None: unset."""

    field: str
    values: tuple[Any, ...]

    @property
    def name(self) -> str:
        """In words: "weight decay"."""
        return words(self.field)

    @property
    def key(self) -> str:
        """Of the list of values, or of groups, in a sweep's files: "weight_decays"."""
        return f"{self.field}s"

    @property
    def option(self) -> str:
        """Of the command line: "--weight-decays"."""
        return f"--{self.key.replace('_', '-')}"

    @property
    def variable(self) -> str:
        return f"GROK_{self.field.upper()}"

    @property
    def kind(self) -> Kind:
        kind: Kind = FIELDS[self.field].metadata["kind"]
        return kind

    @property
    def baseline(self) -> Any:
        """The value of the reference experiment."""
        return getattr(Config, self.field)

    @property
    def is_of_numbers(self) -> bool:
        return all(map(is_finite, self.values))

    def over(self, values: Iterable[Any]) -> "Axis":
        """The same axis with other values."""
        return Axis(self.field, tuple(values))


AXIS = Axis("weight_decay", (0.5, 1.0, 2.0))  # of the default sweep


def words(field: str) -> str:
    """A field in words: "train fraction"; "d_mlp" stays what the papers call it."""
    return field if field.startswith("d_") else field.replace("_", " ")


def capitalised(text: str) -> str:
    """The text as a title begins, what stands further on as it is."""
    return text[:1].upper() + text[1:]


def settled(field: str, value: Any) -> Any:
    """A value as the field has it: 1 of a real number is 1.0, and -0 is 0."""
    return float(value) + 0.0 if isinstance(getattr(Config, field, None), float) else value


def value_words(value: Any) -> str:
    """A value of an axis as text: a table by its file's name."""
    text = as_text(value)
    if text is None:
        return "unset"
    return Path(text.removeprefix(FILE)).name if text.startswith(FILE) else text


def named(fields: Sequence[str], values: Sequence[Any]) -> str:
    """A cell in words: "train fraction 0.3, weight decay 0.5"."""
    pairs = zip(fields, values, strict=True)
    return ", ".join(f"{words(field)} {value_words(value)}" for field, value in pairs)


def folder_name(values: Mapping[str, Any], seed: int) -> str:
    """The name of a run's folder: "wd1.0_seed42" where weight decay alone varies, else
    "train_fraction0.3_weight_decay1.0_seed42"."""
    texts = {field: value_words(settled(field, value)) for field, value in values.items()}
    if list(values) == [AXIS.field]:
        return f"wd{texts[AXIS.field]}_seed{seed}"
    return "_".join([*(f"{field}{text}" for field, text in texts.items()), f"seed{seed}"])
