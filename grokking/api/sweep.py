"""Many runs from Python, over the values of one to three settings; each in a process of its own."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokking import config
from grokking.api.errors import python_errors
from grokking.api.run import Run, load
from grokking.api.training import FIELDS, check_names, notebook_bar
from grokking.schema import integer
from grokking.sweeps.axis import MOST, VARIABLE_FIELDS, folder_name
from grokking.sweeps.plan import PlannedRun

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from grokking.sweeps import records

OWN = ("seed", "folder", "resume", "overwrite")  # what `sweep` itself decides of a run
FIGURES = ("phase_diagram", "epochs")


class Sweep:
    """The runs of `grokking.sweep`, in the order of the values, then of the seeds."""

    def __init__(self, folder: Path, plan: Sequence[PlannedRun], fields: Sequence[str]) -> None:
        self.folder = folder
        self._plan, self._fields = plan, fields

    def __repr__(self) -> str:
        return f"<grokking.Sweep {str(self.folder)!r}: {len(self._plan)} runs>"

    @property
    def runs(self) -> list[Run]:
        """Every run; ValueError names the file of one that is missing or damaged."""
        return [load(self.folder / run.name) for run in self._plan]

    @property
    def cells(self) -> list[dict[str, Any]]:
        """Statistics of the runs of each combination of values, as `cells` of analysis_summary.json has them:
        values, runs (folder names), outcomes, grokked_share with its 95 % interval, and Kaplan-Meier medians.
        """
        from grokking.sweeps.analysis import summarize_cells

        return summarize_cells(self._read())

    def figure(self, name: str) -> "go.Figure":
        """`phase_diagram`, of two settings that vary, or `epochs`: when runs generalised, against the first.

        ValueError for another name, and for a phase diagram of other than two settings.
        """
        from grokking.sweeps.against_axis import epoch_figure
        from grokking.sweeps.phase_diagram import phase_diagrams

        if name not in FIGURES:
            raise ValueError(
                f"a sweep has no figure {name!r}, expected one of {', '.join(FIGURES)}"
            )
        if name == "epochs":
            return epoch_figure(self._read()).figure
        if len(self._fields) != 2:
            raise ValueError(
                f"a phase diagram has two settings, here vary {', '.join(self._fields)}"
            )
        diagrams = phase_diagrams(self._read())
        if len(diagrams) != 1:
            raise ValueError("the runs differ in more than two settings; see `cells`")
        return diagrams[0].figure

    def _read(self) -> "records.Sweep":
        from grokking.sweeps.folder import read_sweep

        with python_errors():
            return read_sweep(self.folder, self._fields, [run.name for run in self._plan])


def sweep(
    vary: Mapping[str, Sequence[Any]],
    seeds: Sequence[int] = (42,),
    folder: str | Path = "artifacts/sweep",
    *,
    jobs: int | None = None,
    progress: bool = True,
    **settings: Any,
) -> Sweep:
    """Train one run for every combination of values and seeds, in folders within `folder`.

    `vary` has the values of one to three fields of Config that decide weights, `settings` what all runs
    share. As many runs at a time as there are cores, unless `jobs` says otherwise. Call it again, with more
    values or seeds if you like: what is finished stays, what was interrupted goes on. A KeyboardInterrupt
    ends the runs, which save their state first.

    TypeError and ValueError as of `grokking.train`, before anything is started; RuntimeError if runs failed.
    """
    check_names("sweep", {**vary, **settings})
    vary, seeds = (
        {name: plain(name, values) for name, values in vary.items()},
        plain("seeds", seeds),
    )
    if jobs is not None and not integer(1).accepts(jobs):
        raise ValueError(f"jobs is {jobs!r}, expected {integer(1).expected} or None")
    with python_errors():
        plan = planned(vary, seeds, settings)
        finished = Sweep(Path(folder), plan, [FIELDS[name] for name in vary])
        carry_out(finished.folder, plan, jobs, progress)
    return finished


def plain(name: str, values: Any) -> list[Any]:
    """A list of Python's own values of any sequence of them, numpy's too, each once."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{name} is {values!r}, expected a sequence of values")
    own = [value.item() if hasattr(value, "item") else value for value in values]
    twice = next((value for place, value in enumerate(own) if value in own[:place]), None)
    if twice is not None:
        raise ValueError(f"{name} has {twice!r} twice, expected each value once")
    return own


def planned(
    vary: Mapping[str, Sequence[Any]], seeds: Sequence[int], settings: Mapping[str, Any]
) -> list[PlannedRun]:
    """Every run with its folder's name, checked; ValueError for a grid that is none."""
    if not 1 <= len(vary) <= MOST or not all(vary.values()) or not seeds:
        raise ValueError(
            f"vary is {vary!r}, seeds are {seeds!r}, expected one to {MOST} settings with values"
        )
    taken = [
        name for name in (*vary, *settings) if name in OWN or (name in vary and name in settings)
    ]
    if taken:
        raise ValueError(f"{taken[0]} is given twice, or is the sweep's own to choose")
    control = next((name for name in vary if FIELDS[name] not in VARIABLE_FIELDS), None)
    if control is not None:
        raise ValueError(
            f"{control} decides no weight of a run, so it cannot vary; give it to all runs"
        )
    runs: dict[str, PlannedRun] = {}
    for values in product(*vary.values()):
        chosen = dict(zip(vary, values, strict=True))
        for seed in seeds:
            fields = {FIELDS[name]: value for name, value in {**settings, **chosen}.items()}
            loaded = config.from_values({**fields, "seed": seed})
            varied = {FIELDS[field]: getattr(loaded.config, FIELDS[field]) for field in vary}
            name = folder_name(varied, seed)
            variables = config.variables(loaded.config)
            del variables["GROK_ARTIFACTS_DIR"]
            if name in runs and runs[name].variables != variables:
                raise ValueError(f"two runs would be called {name}; give their tables other names")
            runs[name] = PlannedRun(name, loaded.config.num_epochs, variables)
    return list(runs.values())


def carry_out(folder: Path, plan: Sequence[PlannedRun], jobs: int | None, progress: bool) -> None:
    """Run what is not finished; RunError names the runs that failed."""
    from grokking.sweeps.resources import choose_resources
    from grokking.sweeps.runner import Runner
    from grokking.sweeps.standing import is_finished
    from grokking.system.errors import RunError
    from grokking.system.locks import locked
    from grokking.system.signals import StopRequest

    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, f"{folder} is in use by another sweep; wait for it"):
        pending = [run for run in plan if not is_finished(folder / run.name, run)]
        resources = choose_resources(jobs, plan[0].variables)
        threads = {} if resources.threads is None else {"GROK_THREADS": str(resources.threads)}
        runs = [
            PlannedRun(run.name, run.epochs, threads | run.variables)
            for run in sorted(pending, key=lambda run: -run.epochs)
        ]
        bar = Bar(len(plan), len(plan) - len(pending)) if progress else Quiet()
        runner = Runner(folder, resources.jobs, resources.devices, StopRequest(), bar, "1")
        try:
            failed = runner.work(runs)
        finally:
            bar.close()
    if failed:
        raise RunError(
            f"{len(failed)} of {len(plan)} runs failed: {', '.join(failed)}; see {runner.log.path}"
        )


class Quiet:
    """Shows nothing."""

    done = 0

    def event(self, text: str) -> None:
        pass

    def refresh(self, running: Sequence[tuple[str, Path]]) -> None:
        pass

    def close(self) -> None:
        pass


class Bar(Quiet):
    """tqdm's bar, a step a run."""

    def __init__(self, total: int, done: int) -> None:
        self.bar = notebook_bar()(total=total, initial=done, unit="run")

    def event(self, text: str) -> None:
        self.bar.set_postfix_str(text)

    def refresh(self, running: Sequence[tuple[str, Path]]) -> None:
        ended = self.bar.initial + self.done - self.bar.n
        if ended:
            self.bar.update(ended)

    def close(self) -> None:
        self.refresh([])
        self.bar.close()
