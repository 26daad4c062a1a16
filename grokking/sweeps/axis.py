"""The setting that a sweep varies: a group of runs for each of its values.

Importing it needs the standard library only, so that a dry run works on a bare Python.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from grokking.config import FIELDS, Config
from grokking.schema import Kind


@dataclass(frozen=True)
class Axis:
    """A field of Config and its values, in the order in which they were given."""

    field: str
    values: tuple[float, ...]

    @property
    def name(self) -> str:
        """In words: "weight decay"."""
        return self.field.replace("_", " ")

    def named(self, value: float) -> str:
        """A value in words: "weight decay 0.5"."""
        return f"{self.name} {value}"

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
    def baseline(self) -> float:
        """The value of the reference experiment."""
        return float(getattr(Config, self.field))

    def folder(self, value: float, seed: int) -> str:
        """The name of a run's folder: "wd1.0_seed42"."""
        initials = "".join(word[0] for word in self.field.split("_"))
        return f"{initials}{value}_seed{seed}"

    def over(self, values: Iterable[float]) -> "Axis":
        """The same axis with other values."""
        return Axis(self.field, tuple(values))


AXIS = Axis("weight_decay", (0.5, 1.0, 2.0))  # of every sweep so far, with its default values
