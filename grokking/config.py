"""GROK_* environment variables -> one frozen Config: the only place of defaults, ranges and help.

Torch-free, so that a mistyped variable is reported before anything slow or lasting happens.
"""

import dataclasses
import math
import re
import shlex
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from grokking.laws import FILE, LARGEST_MODULUS, NAMES, own_modulus, question_count
from grokking.schema import LIST, NATURAL, Kind, choice, integer, one_of, or_null, real, string
from grokking.system.errors import UserError
from grokking.system.foreign_names import check_foreign

if TYPE_CHECKING:
    from grokking.task import Task

IGNORED = ("GROK_BUILD_EXT", "GROK_BUILD_CUDA")  # read by the build
T = TypeVar("T")


SWITCH = one_of({"1": True, "0": False}, "1 (on), 0 or unset (off)")
INEXACT = "inexact"
RESUMPTION = one_of({"1": True, "0": False, INEXACT: INEXACT}, f"1, {INEXACT}, 0 or unset (off)")
UNIT = real(lambda v: 0 <= v < 1, "a number in [0, 1)")
FOLDER = string(lambda name: name.strip() and "\0" not in name, "a folder name")


def _neuron_list(text: str) -> str | tuple[int, ...] | None:
    if text == "all":
        return "all"
    if not re.fullmatch(r"[0-9]{1,9}( *, *[0-9]{1,9})*", text):
        return None
    return tuple(dict.fromkeys(int(part) for part in text.split(",")))


NEURON_LIST = Kind(
    "indices separated by commas (0,102,204), or all",
    lambda value: value == "all" or (LIST.accepts(value) and all(map(NATURAL.accepts, value))),
    _neuron_list,
)


TASK = string(
    lambda name: (
        name in NAMES or (name.startswith(FILE) and len(name) > len(FILE) and "\0" not in name)
    ),
    f"{', '.join(NAMES)} or {FILE}PATH",
)
OPTIMIZERS = ("adamw", "adam", "sgd", "muon")
UNUSED = {"sgd": ("beta2",)}  # what an optimiser has no use for


def setting(default: T, kind: Kind, help: str, strict: bool = False) -> T:
    """A Config field. `strict`: a departure from the reference experiment needs GROK_SKIP_VALIDATION=1."""
    metadata = {"kind": kind, "help": help, "strict": strict}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Config:
    """One training run. The defaults are the reference experiment of Nanda et al. (2023), arXiv 2301.05217.

    Where each comes from stands beside it: section 3 is the paper's, on its setup (full batch, AdamW),
    code its authors' notebook; what has no such word is ours.
    """

    task: str = setting(  # section 3
        "add",
        TASK,
        "what is asked of a and b; file:PATH is a JSON list of p lists of p answers, null for no question",
        strict=True,
    )
    weight_decay: float = setting(
        1.0,  # section 3
        real(lambda v: v >= 0, "a number >= 0"),
        "weight decay, on all parameters",
        strict=True,
    )
    seed: int = setting(
        42, integer(0, 2**62), "fixes the initial weights, and the split unless it has its own"
    )
    split_seed: int | None = setting(
        None,
        integer(0, 2**62),
        "fixes the split alone (and the answers of `random`); unset: GROK_SEED",
    )
    num_epochs: int = setting(
        10_000, integer(1), "passes over the training pairs; one is one step, unless in batches"
    )
    skip_validation: bool = setting(
        False, SWITCH, "1 allows departures from the reference experiment"
    )
    train_fraction: float = setting(
        0.3,  # section 3
        real(lambda v: 0 < v < 1, "a number in (0, 1)"),
        "share of all questions that is trained on (rounded down to whole ones)",
        strict=True,
    )
    learning_rate: float = setting(  # section 3
        1e-3, real(lambda v: v > 0, "a number > 0"), "learning rate", strict=True
    )
    optimizer: str = setting(  # section 3
        "adamw",
        choice("|".join(OPTIMIZERS), ", ".join(OPTIMIZERS)),
        "adam and sgd decay in the gradient; muon steps W_in and W_out, AdamW the rest",
        strict=True,
    )
    beta1: float = setting(  # code
        0.9, UNIT, "beta1 of Adam; momentum of sgd (0: none) and muon", strict=True
    )
    beta2: float = setting(0.98, UNIT, "beta2 of Adam", strict=True)  # code
    batch_size: int | None = setting(
        None, integer(1), "training pairs in a step, drawn anew each epoch; unset: all", strict=True
    )
    init_scale: float = setting(
        1.0, real(lambda v: v > 0, "a number > 0"), "multiplies the initial weights", strict=True
    )
    warmup_steps: int = setting(  # code: min(step / 10, 1)
        10, integer(0), "steps of linear learning-rate warm-up", strict=True
    )
    modulus: int = setting(  # section 3
        113, integer(2, LARGEST_MODULUS), "p: operands are 0 to p - 1", strict=True
    )
    # section 3
    d_model: int = setting(128, integer(1, 65536), "width of the residual stream", strict=True)
    num_heads: int = setting(  # section 3
        4, integer(1, 65536), "attention heads; must divide d_model", strict=True
    )
    d_mlp: int = setting(512, integer(1, 1_000_000), "MLP neurons", strict=True)  # section 3
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
        None, NEURON_LIST, "neurons to export, or all; unset: five steps through the layer"
    )
    trajectory: bool = setting(True, SWITCH, "0 records no weights along the way")
    artifacts_dir: str = setting("artifacts", FOLDER, "folder of the run's files")
    resume: bool | str = setting(
        False,
        RESUMPTION,
        f"1 continues the run in the folder, or starts one; {INEXACT}: also with another kernel, "
        "device or thread count, which is recorded",
    )
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
        return training_pairs(question_count(self.task, self.modulus), self.train_fraction)


def training_pairs(questions: int, fraction: float) -> int:
    """floor(fraction * questions) of the decimal that was typed: 29 % of 10,000 are 2,900, not 2,899."""
    return math.floor(Decimal(repr(float(fraction))) * questions)


def task_of(config: Config) -> "Task":
    """The task that a run of this Config learns."""
    from grokking.task import make_task  # which needs numpy

    return make_task(config.task, config.modulus, split_seed_of(vars(config)))


def split_seed_of(values: Mapping[str, Any]) -> int:
    """The seed of the split of a run with these settings."""
    own: int | None = values["split_seed"]
    return values["seed"] if own is None else own


FIELDS = {field.name: field for field in dataclasses.fields(Config)}
VARIABLES = {f"GROK_{name.upper()}": name for name in FIELDS}

# How a run is carried out and kept. None of these decides a weight in exact arithmetic; the last
# three decide how sums are rounded.
IN_USE = ("device", "kernel", "threads")
RUN_CONTROL = frozenset(
    {"artifacts_dir", "resume", "overwrite", "skip_validation", "checkpoint_every", "probe_every"}
    | {"stop_after_grok", "neurons", "trajectory", *IN_USE}
)
IDENTITY = tuple(name for name in FIELDS if name not in RUN_CONTROL | {"num_epochs"})


def recorded_kind(name: str) -> Kind:
    """What a run's config.json may hold for a field."""
    field = FIELDS[name]
    kind: Kind = field.metadata["kind"]
    return or_null(kind) if field.default is None else kind


class Loaded(NamedTuple):
    config: Config
    sources: dict[str, str]  # field -> "default", "environment", "python" or "branch"
    unknown: tuple[str, ...] = ()  # GROK_ variables that are none of ours, and ignored

    @property
    def chosen(self) -> dict[str, Any]:
        """The fields that the user has set, with their values."""
        names = (name for name, source in self.sources.items() if source != "default")
        return {name: getattr(self.config, name) for name in names}


def load(environ: Mapping[str, str], strict: bool = True, together: bool = True) -> Loaded:
    """Read the GROK_* variables; UserError in one line for the first that is wrong.

    An empty variable is an unset one. `strict`: departures from the reference experiment are
    refused unless GROK_SKIP_VALIDATION=1. `together`: so are values that cannot be together.
    """
    values: dict[str, Any] = {}
    unknown = []
    for variable in sorted(name for name in environ if name.startswith("GROK_")):
        text = environ[variable]
        if variable in IGNORED or not text:
            continue
        if variable not in VARIABLES:
            check_foreign(variable, (*VARIABLES, *IGNORED))
            unknown.append(variable)
            continue
        kind: Kind = FIELDS[VARIABLES[variable]].metadata["kind"]
        value = kind.parse(text if kind is FOLDER else text.strip())
        if value is None:
            raise UserError(f"{variable} is {text!r}, expected {kind.expected}")
        values[VARIABLES[variable]] = value
    loaded = _checked(values, "environment", tuple(unknown), together)
    if strict and not loaded.config.skip_validation:
        check_reference(loaded.config)
    return loaded


def from_values(values: Mapping[str, Any]) -> Loaded:
    """The Config of these fields, as Python has them; UserError as above. Departures are meant."""
    for name, value in values.items():
        if not recorded_kind(name).accepts(list(value) if isinstance(value, tuple) else value):
            kind = FIELDS[name].metadata["kind"]
            raise UserError(f"GROK_{name.upper()} is {value!r}, expected {kind.expected}")
    fields = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return _checked({**fields, "skip_validation": True}, "python", ())


def _checked(
    values: dict[str, Any], source: str, unknown: tuple[str, ...], together: bool = True
) -> Loaded:
    fixed = own_modulus(values.get("task", Config.task))
    if together and fixed is not None and values.get("modulus", fixed) != fixed:
        raise UserError(
            f"GROK_MODULUS is {values['modulus']}, but GROK_TASK={values['task']} has {fixed}; leave it unset"
        )
    config = Config(**({} if fixed is None else {"modulus": fixed}) | values)
    for name in UNUSED.get(config.optimizer, ()):
        if together and name in values:
            raise UserError(
                f"GROK_{name.upper()} is set, but GROK_OPTIMIZER={config.optimizer} has no use for it; "
                "leave it unset"
            )
    if together:
        _check_together(config)
    sources = {name: source if name in values else "default" for name in FIELDS}
    return Loaded(config, sources, unknown)


def _check_together(config: Config) -> None:
    """Ranges that depend on more than one variable; these hold even without strict validation."""
    if config.d_model % config.num_heads:
        raise UserError(
            f"GROK_NUM_HEADS is {config.num_heads}, expected a divisor of GROK_D_MODEL = {config.d_model}"
        )
    questions = question_count(config.task, config.modulus)
    if not 0 < config.training_pairs < questions:
        raise UserError(
            f"GROK_TRAIN_FRACTION is {config.train_fraction}, which trains on {config.training_pairs} "
            f"of {questions} pairs; expected at least one pair on each side of the split"
        )
    if config.batch_size is not None and config.batch_size > config.training_pairs:
        raise UserError(
            f"GROK_BATCH_SIZE is {config.batch_size}, expected at most the {config.training_pairs} "
            "training pairs, or unset for all of them"
        )
    outside = [n for n in config.exported_neurons if n >= config.d_mlp]
    if outside:
        raise UserError(
            f"GROK_NEURONS names neuron {outside[0]}, expected indices below GROK_D_MLP = {config.d_mlp}"
        )
    if config.resume and config.overwrite:
        raise UserError("GROK_RESUME and GROK_OVERWRITE are both set, expected at most one of them")


def check_reference(config: Config, fields: Iterable[str] = FIELDS) -> None:
    """Strict validation: guards against publishing a run that is not the reference experiment."""
    for name in fields:
        value, field = getattr(config, name), FIELDS[name]
        if field.metadata["strict"] and value != field.default:
            raise UserError(
                f"GROK_{name.upper()} is {as_text(value)}, but the reference experiment uses "
                f"{as_text(field.default)}; set GROK_SKIP_VALIDATION=1 to run it all the same"
            )


def as_record(config: Config) -> dict[str, Any]:
    """Every field as a plain JSON value."""
    values = dataclasses.asdict(config)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def departures(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run (field -> value) in which it is not the reference experiment.

    A setting that is not known, as of imported weights, is None and no departure.
    """
    strict = (name for name, field in FIELDS.items() if field.metadata["strict"])
    return {
        name: values[name] for name in strict if values[name] not in (None, FIELDS[name].default)
    }


def identity(config: Config, task: "Task") -> dict[str, Any]:
    """The fields that decide the weights of every epoch of a run that learns the task, as JSON values.

    A table is told by its sha256, and the split's seed as it was in use.
    """
    values = {name: getattr(config, name) for name in IDENTITY}
    return values | {"task": task.identity, "split_seed": split_seed_of(values)}


def as_text(value: Any) -> str | None:
    """A field's value as its variable's text; None for one that is unset."""
    if isinstance(value, bool):
        value = int(value)
    if isinstance(value, (tuple, list)):
        value = ",".join(map(str, value))
    return None if value is None else str(value)


def setting_in_words(name: str, value: Any) -> str:
    """`GROK_SEED=7`, or `GROK_NEURONS unset`."""
    text, variable = as_text(value), f"GROK_{name.upper()}"
    return f"{variable} unset" if text is None else f"{variable}={text}"


def variables(config: Config) -> dict[str, str]:
    """The GROK_* variables, as text, that give this Config; unset ones are left out."""
    used = (v for v, name in VARIABLES.items() if name not in UNUSED.get(config.optimizer, ()))
    texts = {variable: as_text(getattr(config, VARIABLES[variable])) for variable in used}
    return {variable: text for variable, text in texts.items() if text is not None}


def command_line(settings: Mapping[str, Any]) -> str:
    """What to type to train with these settings (field -> value), the others being unset."""
    words = ((name, as_text(value)) for name, value in settings.items())
    texts = (f"GROK_{name.upper()}={shlex.quote(text)}" for name, text in words if text is not None)
    return " ".join([*texts, "python -m grokking"])


def describe(loaded: Loaded, resolved: Mapping[str, str]) -> str:
    """One `VARIABLE=value  # source` line for each field, and what it comes to on this machine."""
    shown = variables(loaded.config)
    lines = []
    for variable, name in VARIABLES.items():
        left = f"{variable}={shown[variable]}" if variable in shown else f"# {variable} is unset"
        meant = f": {resolved[name]}" if name in resolved else ""
        lines.append(f"{left:<36} # {loaded.sources[name]}{meant}")
    return "\n".join(lines)


def help_text() -> str:
    """The table of variables for --help: name, default, meaning, what is accepted."""
    defaults = variables(Config())
    lines = []
    for variable, name in VARIABLES.items():
        metadata = FIELDS[name].metadata
        default = defaults.get(variable, "unset")
        if metadata["kind"] in (SWITCH, RESUMPTION):
            default = "unset" if default == "0" else default
        strict = "; strict" if metadata["strict"] else ""
        body = f"{metadata['help']} [{default}; {metadata['kind'].expected}{strict}]"
        lines += [
            f"  {variable}",
            *textwrap.wrap(body, 76, initial_indent=" " * 6, subsequent_indent=" " * 6),
        ]
    return "\n".join(lines)
