"""What a sweep consists of: one run per value of its axis and seed, kept in sweep.json beside them.

Importing it needs the standard library only, so that a dry run works on a bare Python.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from grokking.config import VARIABLES, load, recorded_kind, variables
from grokking.files import names
from grokking.files.table_copy import write_copy
from grokking.laws import FILE, table_of
from grokking.schema import AMOUNT, OBJECT, VERSION, Kind
from grokking.sweeps.axis import AXIS, Axis
from grokking.system.errors import RunError, UserError

RESERVED = (names.PLOTS, names.SLURM, names.DAMAGED)  # folders of a sweep that are no runs
OWNED = (  # variables that each run gets from the sweep
    AXIS.variable,
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
    """A grid of runs. `epochs` has one entry per value of the axis."""

    axis: Axis
    seeds: tuple[int, ...]
    epochs: tuple[int, ...]
    environment: dict[str, str]  # GROK_ variables of every run, beside the sweep's own

    def runs(self) -> list[PlannedRun]:
        """All runs, by the axis, then seed, in the order given."""
        return [
            self._run(value, seed, epochs)
            for value, epochs in zip(self.axis.values, self.epochs, strict=True)
            for seed in self.seeds
        ]

    def _run(self, value: float, seed: int, epochs: int) -> PlannedRun:
        variables = {
            self.axis.variable: str(value),
            "GROK_SEED": str(seed),
            "GROK_NUM_EPOCHS": str(epochs),
        }
        departure = value != self.axis.baseline  # from the reference experiment, on purpose
        skip = {"GROK_SKIP_VALIDATION": "1"} if departure else {}
        settings = variables | skip | self.environment | skip
        return PlannedRun(self.axis.folder(value, seed), epochs, settings)

    def record(self) -> dict[str, Any]:
        """As sweep.json has it."""
        values = {self.axis.key: self.axis.values, "seeds": self.seeds, "epochs": self.epochs}
        return {**values, "environment": self.environment}


TASK = "GROK_TASK"


def passed_through(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings that reach every run, in their variables' one spelling; UserError for a wrong one.

    Checked without a value of the axis, so that strict validation is as strict as for a single run.
    """
    loaded = load({name: text for name, text in environ.items() if name not in OWNED})
    texts = variables(loaded.config)
    chosen = (v for v, field in VARIABLES.items() if loaded.sources[field] == "environment")
    return {variable: texts[variable] for variable in sorted(chosen)}


def write_plan(directory: Path, plan: Plan) -> None:
    """Write sweep.json, and beside it a copy of the table that the runs learn."""
    from grokking.files.json_files import write_json

    task = plan.environment.get(TASK, "")
    if task.startswith(FILE):
        write_copy(directory, table_of(task))
    write_json(directory / names.PLAN, {"schema_version": VERSION, **plan.record()})


def rewrite_plan(directory: Path, plan: Plan) -> None:
    """The plan of a sweep that goes on otherwise than it began; its sittings are kept."""
    from grokking.files.json_files import read_json, write_json

    write_json(directory / names.PLAN, read_json(directory / names.PLAN) | plan.record())


def read_plan(directory: Path) -> Plan:
    """The plan of a sweep's folder; UserError names the file and its fault."""
    from grokking.files.json_files import read_record

    record = read_record(directory / names.PLAN)
    axis = AXIS
    values = record.series(axis.key, axis.kind)
    seeds = record.series("seeds", recorded_kind("seed"))
    epochs = record.series("epochs", recorded_kind("num_epochs"), like=axis.key)
    environment = dict(record.get("environment", _SETTINGS))
    try:
        if environment.get(TASK, "").startswith(FILE):
            environment[TASK] = f"{FILE}{(directory / names.TASK).absolute()}"
        plan = Plan(
            axis.over(map(float, values)),
            tuple(seeds),
            tuple(epochs),
            passed_through(environment),
        )
        for run in plan.runs():
            load(run.variables)
    except UserError as error:
        raise record.fail(f"not the plan of a sweep ({error})") from error
    record.check_rewritable()
    record.series("sessions", _SESSION, default=[])
    return plan


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
