"""What a sweep consists of: one run per cell of its grid and seed, kept in sweep.json beside them.

Importing it needs the standard library only, so that a dry run works on a bare Python.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, product
from pathlib import Path
from typing import Any

from grokking.config import (
    IDENTITY,
    VARIABLES,
    as_text,
    check_reference,
    load,
    recorded_kind,
    split_seed_of,
    variables,
)
from grokking.files import names
from grokking.files.table_copy import write_copy
from grokking.laws import FILE, table_of
from grokking.schema import AMOUNT, OBJECT, VERSION, WORD, Kind, Record
from grokking.sweeps.axis import (
    AXIS,
    MOST,
    VARIABLE_FIELDS,
    Axis,
    folder_name,
    settled,
    value_words,
)
from grokking.system.errors import RunError, UserError

RESERVED = (names.PLOTS, names.SLURM, names.DAMAGED, names.TABLES)  # folders of a sweep, no runs
OWNED = (  # variables that each run gets from the sweep, beside those of its axes
    "GROK_SEED",
    "GROK_NUM_EPOCHS",
    "GROK_ARTIFACTS_DIR",
    "GROK_RESUME",
    "GROK_OVERWRITE",
)
_SETTINGS = Kind(
    "an object of texts",
    lambda value: OBJECT.accepts(value) and all(isinstance(text, str) for text in value.values()),
)
_AXIS_FIELD = Kind(
    f"one of {', '.join(VARIABLE_FIELDS)}",
    lambda value: WORD.accepts(value) and value in VARIABLE_FIELDS,
)
_SESSION = Kind(
    "an object with the numbers runs, jobs and seconds",
    lambda value: (
        OBJECT.accepts(value)
        and all(AMOUNT.accepts(value.get(key)) for key in ("runs", "jobs", "seconds"))
    ),
)


@dataclass(frozen=True)
class PlannedRun:
    """One run: its folder's name and the GROK_ variables that make it."""

    name: str
    epochs: int
    variables: dict[str, str]  # without GROK_ARTIFACTS_DIR

    def environment(self, directory: Path) -> dict[str, str]:
        """Its variables when the sweep is in `directory`."""
        return self.variables | {"GROK_ARTIFACTS_DIR": str(directory / self.name)}

    def command_line(self, directory: Path) -> str:
        """One line for a shell, as in `GROK_WEIGHT_DECAY=0.5 GROK_SEED=42 ... python -m grokking`."""
        environment = self.environment(directory).items()
        settings = (f"{name}={shlex.quote(value)}" for name, value in environment)
        return " ".join([*settings, "python -m grokking"])


@dataclass(frozen=True)
class Plan:
    """A grid of runs. `epochs` has one entry per value of the first axis."""

    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    epochs: tuple[int, ...]
    environment: dict[str, str]  # GROK_ variables of every run, beside the sweep's own

    def runs(self) -> list[PlannedRun]:
        """All runs, by the axes, then seed, in the order given."""
        first, *others = self.axes
        return [
            self._run((value, *rest), seed, epochs)
            for value, epochs in zip(first.values, self.epochs, strict=True)
            for rest in product(*(axis.values for axis in others))
            for seed in self.seeds
        ]

    def _run(self, values: Sequence[Any], seed: int, epochs: int) -> PlannedRun:
        cell = list(zip(self.axes, values, strict=True))
        texts = {axis.variable: as_text(value) for axis, value in cell}
        settings = {variable: text for variable, text in texts.items() if text is not None}
        settings |= {"GROK_SEED": str(seed), "GROK_NUM_EPOCHS": str(epochs)}
        departure = any(value != axis.baseline for axis, value in cell)  # on purpose
        skip = {"GROK_SKIP_VALIDATION": "1"} if departure else {}
        name = folder_name({axis.field: value for axis, value in cell}, seed)
        return PlannedRun(name, epochs, settings | skip | self.environment | skip)

    def check(self) -> None:
        """UserError for a run that cannot be, or two that would have one folder."""
        folders: set[str] = set()
        same: dict[str, str] = {}
        for run in self.runs():
            if run.name in folders:
                raise UserError(
                    f"two runs would be called {run.name}; give their tables other names"
                )
            folders.add(run.name)
            try:
                config = load(run.variables).config
            except UserError as error:
                raise UserError(f"the run {run.name} cannot be: {error}") from error
            settings = {name: getattr(config, name) for name in IDENTITY}
            key = str(settings | {"split_seed": split_seed_of(settings)})
            other = same.setdefault(key, run.name)
            if other != run.name:
                raise UserError(f"{run.name} and {other} would be one run twice")

    def record(self) -> dict[str, Any]:
        """As sweep.json has it."""
        first = self.axes[0]
        axes = [{"field": axis.field, "values": axis.values} for axis in self.axes]
        alone = len(axes) == 1 and first.field == AXIS.field  # as ever
        values = {first.key: first.values} if alone else {"axes": axes}
        return {
            **values,
            "seeds": self.seeds,
            "epochs": self.epochs,
            "environment": self.environment,
        }


TASK = "GROK_TASK"


def passed_through(environ: Mapping[str, str], axes: Sequence[Axis]) -> dict[str, str]:
    """The settings that reach every run, in their variables' one spelling; UserError for a wrong one.

    Strict validation is as strict as for a single run, but where the axes depart on purpose.
    """
    owned = {*OWNED, *(axis.variable for axis in axes)}
    first = {axis.variable: as_text(axis.values[0]) or "" for axis in axes}
    rest = {name: text for name, text in environ.items() if name not in owned}
    loaded = load(rest | first, strict=False, together=False)  # Plan.check looks at each run
    chosen = {v: f for v, f in VARIABLES.items() if v in rest and f in loaded.chosen}
    if not loaded.config.skip_validation:
        check_reference(loaded.config, chosen.values())
    texts = variables(loaded.config)
    return {variable: texts[variable] for variable in sorted(chosen)}


def write_plan(directory: Path, plan: Plan) -> None:
    """Write sweep.json, and beside it copies of the tables that the runs learn."""
    from grokking.files.json_files import write_json

    task = plan.environment.get(TASK, "")
    if task.startswith(FILE):
        write_copy(directory, table_of(task))
    for value in (value for axis in plan.axes for value in axis.values):
        if isinstance(value, str) and value.startswith(FILE):
            write_copy(directory / names.TABLES, table_of(value), value_words(value))
    write_json(directory / names.PLAN, {"schema_version": VERSION, **plan.record()})


def rewrite_plan(directory: Path, plan: Plan) -> None:
    """The plan of a sweep that goes on otherwise than it began; its sittings are kept."""
    from grokking.files.json_files import read_json, write_json

    write_json(directory / names.PLAN, read_json(directory / names.PLAN) | plan.record())


def read_plan(directory: Path) -> Plan:
    """The plan of a sweep's folder; UserError names the file and its fault."""
    from grokking.files.json_files import read_record

    record = read_record(directory / names.PLAN)
    axes = _recorded_axes(record, directory)
    seeds = record.series("seeds", recorded_kind("seed"))
    epochs = record.series("epochs", recorded_kind("num_epochs"))
    if len(epochs) != len(axes[0].values):
        raise record.fail(
            f"'epochs' has {len(epochs)} entries, expected {len(axes[0].values)}, one per {axes[0].name}"
        )
    environment = dict(record.get("environment", _SETTINGS))
    try:
        if environment.get(TASK, "").startswith(FILE):
            environment[TASK] = f"{FILE}{(directory / names.TASK).absolute()}"
        plan = Plan(axes, tuple(seeds), tuple(epochs), passed_through(environment, axes))
        plan.check()
    except UserError as error:
        raise record.fail(f"not the plan of a sweep ({error})") from error
    record.check_rewritable()
    record.series("sessions", _SESSION, default=[])
    return plan


def _recorded_axes(record: Record, directory: Path) -> tuple[Axis, ...]:
    """The axes of a sweep.json; those of a sweep of weight decay have no list of their own."""
    if "axes" not in record.values:
        values = record.series(AXIS.key, AXIS.kind)
        return (AXIS.over(settled(AXIS.field, value) for value in values),)
    entries = record.series("axes", OBJECT)
    axes = []
    for number, content in enumerate(entries):
        entry = Record(f"{record.name}: 'axes'[{number}]", content)
        field = entry.get("field", _AXIS_FIELD)
        values = entry.series("values", recorded_kind(field))
        axes.append(Axis(field, tuple(_at_home(field, value, directory) for value in values)))
    fields = [axis.field for axis in axes]
    if (
        not 0 < len(axes) <= MOST + 1
        or len(set(fields)) < len(fields)
        or not all(a.values for a in axes)
    ):
        raise record.fail(
            f"'axes' are of {fields}, expected one to {MOST + 1} fields, each with values"
        )
    return tuple(axes)


def _at_home(field: str, value: Any, directory: Path) -> Any:
    """A recorded value as the Config has it, a table as the copy of it in the sweep's folder."""
    if isinstance(value, str) and value.startswith(FILE):
        return f"{FILE}{directory.absolute() / names.TABLES / value_words(value)}"
    return settled(field, value)


def read_sessions(directory: Path) -> list[dict[str, Any]]:
    """The sittings of a sweep, see add_session; UserError if sweep.json is missing or damaged."""
    from grokking.files.json_files import read_record

    return read_record(directory / names.PLAN).series("sessions", _SESSION, default=[])


def add_session(directory: Path, runs: int, jobs: int, seconds: float) -> None:
    """Note in sweep.json how long one sitting took, wall clock, for how many runs."""
    from grokking.files.json_files import read_json, write_json

    path = directory / names.PLAN
    record = read_json(path)
    session = {"runs": runs, "jobs": jobs, "seconds": round(seconds, 1)}
    write_json(path, record | {"sessions": [*record.get("sessions", []), session]})


def create_directory(wanted: Path) -> Path:
    """The folder, new or empty, or else the first free one of wanted_2, wanted_3 ...

    Whoever creates its sweep.json owns it, so two sweeps of the same second never share one.
    """
    candidates = chain([wanted], (wanted.with_name(f"{wanted.name}_{n}") for n in count(2)))
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        return next(path for path in candidates if _claimed(path))
    except OSError as error:
        raise RunError(f"cannot create {wanted}: {error.strerror}") from error


def _claimed(path: Path) -> bool:
    path.mkdir(exist_ok=True)
    if any(path.iterdir()):
        return False
    try:
        (path / names.PLAN).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
