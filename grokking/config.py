"""GROK_* environment variables -> one frozen Config: the only place of defaults, ranges and help.

Torch-free, so that a mistyped variable is reported before anything slow or lasting happens.
"""

import dataclasses
import difflib
import math
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from grokking.errors import UserError

IGNORED = ("GROK_BUILD_EXT", "GROK_BUILD_CUDA")  # read by the build
T = TypeVar("T")


class Kind(NamedTuple):
    """How one kind of value is read: `parse` returns None for text that is not of the kind."""

    parse: Callable[[str], Any]
    expected: str


def integer(low: int, high: int | None = None) -> Kind:
    def parse(text: str) -> int | None:
        if not re.fullmatch(r"[+-]?[0-9]{1,30}", text):
            return None
        value = int(text)
        return value if value >= low and (high is None or value <= high) else None

    return Kind(
        parse, f"an integer >= {low}" if high is None else f"an integer from {low} to {high}"
    )


def real(accept: Callable[[float], bool], expected: str) -> Kind:
    def parse(text: str) -> float | None:
        if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
            return None
        value = float(text)
        return value if math.isfinite(value) and accept(value) else None

    return Kind(parse, expected)


def choice(pattern: str, expected: str) -> Kind:
    return Kind(lambda text: text if re.fullmatch(pattern, text) else None, expected)


SWITCH = Kind({"1": True, "0": False}.get, "1 (on), 0 or unset (off)")
UNIT = real(lambda v: 0 <= v < 1, "a number in [0, 1)")
FOLDER = Kind(lambda text: text if text.strip() and "\0" not in text else None, "a folder name")


def _neuron_list(text: str) -> str | tuple[int, ...] | None:
    if text == "all":
        return "all"
    if not re.fullmatch(r"[0-9]{1,9}( *, *[0-9]{1,9})*", text):
        return None
    return tuple(dict.fromkeys(int(part) for part in text.split(",")))


NEURONS = Kind(_neuron_list, "indices separated by commas (0,102,204), or all")


def setting(default: T, kind: Kind, help: str, strict: bool = False) -> T:
    """A Config field. `strict`: a departure from the reference experiment needs GROK_SKIP_VALIDATION=1."""
    metadata = {"kind": kind, "help": help, "strict": strict}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Config:
    """One training run. The defaults are the reference experiment of Nanda et al. (2023)."""

    weight_decay: float = setting(
        1.0,
        real(lambda v: v >= 0, "a number >= 0"),
        "AdamW weight decay, on all parameters",
        strict=True,
    )
    seed: int = setting(42, integer(0, 2**62), "fixes the initial weights and the split")
    num_epochs: int = setting(10_000, integer(1), "optimiser steps; one epoch is one full batch")
    skip_validation: bool = setting(
        False, SWITCH, "1 allows departures from the reference experiment"
    )
    train_fraction: float = setting(
        0.3,
        real(lambda v: 0 < v < 1, "a number in (0, 1)"),
        "share of all p*p pairs that is trained on (rounded down to whole pairs)",
        strict=True,
    )
    learning_rate: float = setting(
        1e-3, real(lambda v: v > 0, "a number > 0"), "AdamW learning rate", strict=True
    )
    beta1: float = setting(0.9, UNIT, "AdamW beta1", strict=True)
    beta2: float = setting(0.98, UNIT, "AdamW beta2", strict=True)
    warmup_steps: int = setting(
        10, integer(0), "steps of linear learning-rate warm-up", strict=True
    )
    modulus: int = setting(113, integer(2, 4096), "p of (a + b) mod p", strict=True)
    d_model: int = setting(128, integer(1, 65536), "width of the residual stream", strict=True)
    num_heads: int = setting(
        4, integer(1, 65536), "attention heads; must divide d_model", strict=True
    )
    d_mlp: int = setting(512, integer(1, 1_000_000), "MLP neurons", strict=True)
    probe_every: int = setting(
        1,
        integer(1),
        "epochs between evaluations of all pairs; first and last are always evaluated",
    )
    checkpoint_every: int = setting(100, integer(1), "epochs between resumable checkpoints")
    stop_after_grok: int | None = setting(
        None, integer(0), "stop this many epochs after grokking was confirmed"
    )
    neurons: str | tuple[int, ...] | None = setting(
        None, NEURONS, "neurons to export, or all; unset: five steps through the layer"
    )
    trajectory: bool = setting(True, SWITCH, "0 records no weights along the way")
    artifacts_dir: str = setting("artifacts", FOLDER, "folder of the run's files")
    resume: bool = setting(False, SWITCH, "1 continues the run in the folder, or starts one")
    overwrite: bool = setting(False, SWITCH, "1 removes the old run's files from the folder first")
    device: str = setting(
        "auto",
        choice(r"auto|cpu|cuda(:[0-9]{1,3})?", "auto, cpu, cuda or cuda:N"),
        "where to train",
    )
    kernel: str = setting(
        "auto",
        choice(r"[a-z][a-z0-9_]*", "auto, torch or the name of an implementation"),
        "auto, torch (plain PyTorch), or one implementation of the fused kernel",
    )
    threads: int | None = setting(None, integer(1, 1024), "CPU threads; unset: all cores")

    @property
    def exported_neurons(self) -> list[int]:
        """Indices of the neurons whose surfaces are exported."""
        if self.neurons == "all":
            return list(range(self.d_mlp))
        if isinstance(self.neurons, tuple):
            return list(self.neurons)
        return list(range(0, self.d_mlp, max(1, self.d_mlp // 5)))

    @property
    def training_pairs(self) -> int:
        return training_pairs(self.modulus, self.train_fraction)


def training_pairs(modulus: int, fraction: float) -> int:
    """floor(fraction * p * p), of which rounding makes another number than of fraction * p**2."""
    return math.floor(fraction * modulus * modulus)


FIELDS = {field.name: field for field in dataclasses.fields(Config)}
VARIABLES = {f"GROK_{name.upper()}": name for name in FIELDS}

# Where and how a run is kept, as opposed to what it computes: free to change when it is resumed.
RUN_CONTROL = frozenset(
    {"artifacts_dir", "resume", "overwrite", "skip_validation", "checkpoint_every"}
)


class Loaded(NamedTuple):
    config: Config
    sources: dict[str, str]  # field -> "default" or "environment"


def load(environ: Mapping[str, str]) -> Loaded:
    """Read the GROK_* variables; UserError in one line for the first that is unknown or wrong."""
    given: dict[str, Any] = {}
    for variable in sorted(name for name in environ if name.startswith("GROK_")):
        if variable in IGNORED:
            continue
        if variable not in VARIABLES:
            raise UserError(f"{variable} is not a known variable{_nearest(variable)}; see --help")
        name = VARIABLES[variable]
        kind: Kind = FIELDS[name].metadata["kind"]
        text = environ[variable]
        given[name] = kind.parse(text if kind is FOLDER else text.strip())
        if given[name] is None:
            raise UserError(f"{variable} is {environ[variable]!r}, expected {kind.expected}")
    config = Config(**given)
    _check_together(config)
    if not config.skip_validation:
        _check_reference(config)
    return Loaded(config, {n: "environment" if n in given else "default" for n in FIELDS})


def _nearest(variable: str) -> str:
    close = difflib.get_close_matches(variable, VARIABLES, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def _check_together(config: Config) -> None:
    """Ranges that depend on more than one variable; these hold even without strict validation."""
    p, heads = config.modulus, config.num_heads
    if config.d_model % heads:
        raise UserError(
            f"GROK_NUM_HEADS is {heads}, expected a divisor of GROK_D_MODEL = {config.d_model}"
        )
    if not 0 < config.training_pairs < p * p:
        raise UserError(
            f"GROK_TRAIN_FRACTION is {config.train_fraction}, which trains on {config.training_pairs} "
            f"of {p * p} pairs; expected at least one pair on each side of the split"
        )
    outside = [n for n in config.exported_neurons if n >= config.d_mlp]
    if outside:
        raise UserError(
            f"GROK_NEURONS names neuron {outside[0]}, expected indices below GROK_D_MLP = {config.d_mlp}"
        )
    if config.resume and config.overwrite:
        raise UserError("GROK_RESUME and GROK_OVERWRITE are both 1, expected at most one of them")


def _check_reference(config: Config) -> None:
    """Strict validation: guards against publishing a run that is not the reference experiment."""
    for name, field in FIELDS.items():
        value = getattr(config, name)
        if field.metadata["strict"] and value != field.default:
            raise UserError(
                f"GROK_{name.upper()} is {value}, but the reference experiment uses {field.default}; "
                "set GROK_SKIP_VALIDATION=1 to run it all the same"
            )


def identity(config: Config) -> dict[str, Any]:
    """The fields that decide what a run computes, as plain JSON values."""
    record = {n: getattr(config, n) for n in FIELDS if n not in RUN_CONTROL}
    return {n: list(v) if isinstance(v, tuple) else v for n, v in record.items()}


def variables(config: Config) -> dict[str, str]:
    """The GROK_* variables, as text, that give this Config; unset ones are left out."""
    shown: dict[str, str] = {}
    for variable, name in VARIABLES.items():
        value = getattr(config, name)
        if isinstance(value, bool):
            value = int(value)
        if isinstance(value, tuple):
            value = ",".join(map(str, value))
        if value is not None:
            shown[variable] = str(value)
    return shown


def describe(loaded: Loaded) -> str:
    """One `VARIABLE=value  # source` line for each field."""
    shown = variables(loaded.config)
    lines = []
    for variable, name in VARIABLES.items():
        left = f"{variable}={shown[variable]}" if variable in shown else f"# {variable} is unset"
        lines.append(f"{left:<36} # {loaded.sources[name]}")
    return "\n".join(lines)


def help_text() -> str:
    """The table of variables for --help: name, default, meaning, what is accepted."""
    defaults = variables(Config())
    lines = []
    for variable, name in VARIABLES.items():
        metadata = FIELDS[name].metadata
        default = defaults.get(variable, "unset")
        if metadata["kind"] is SWITCH:
            default = "unset" if default == "0" else default
        strict = "; strict" if metadata["strict"] else ""
        body = f"{metadata['help']} [{default}; {metadata['kind'].expected}{strict}]"
        lines += [
            f"  {variable}",
            *textwrap.wrap(body, 76, initial_indent=" " * 6, subsequent_indent=" " * 6),
        ]
    return "\n".join(lines)
