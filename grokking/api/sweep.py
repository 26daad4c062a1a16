"""Many runs from Python, over the values of one or two settings; each in a process of its own."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokking import config
from grokking.api.errors import not_yet, python_errors
from grokking.api.run import Run, load
from grokking.api.training import FIELDS, check_names, notebook_bar
from grokking.laws import FILE
from grokking.sweeps.plan import PlannedRun

if TYPE_CHECKING:
    import plotly.graph_objects as go

OWN = ("seed", "folder", "resume", "overwrite")  # what `sweep` itself decides of a run
LATER = "Sweeps over any setting"


class Sweep:
    """The runs of `grokking.sweep`, in the order of the values, then of the seeds."""

    def __init__(self, folder: Path, plan: Sequence[PlannedRun]) -> None:
        self.folder = folder
        self._plan = plan

    def __repr__(self) -> str:
        return f"<grokking.Sweep {str(self.folder)!r}: {len(self._plan)} runs>"

    @property
    def runs(self) -> list[Run]:
        """Every run; ValueError names the file of one that is missing or damaged."""
        return [load(self.folder / run.name) for run in self._plan]

    @property
    def cells(self) -> Any:
        """Groups of runs of the same values."""
        raise not_yet("Sweep.cells", LATER)

    def figure(self, name: str) -> "go.Figure":
        """The phase diagram."""
        raise not_yet(f"the figure {name!r}", LATER)


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

    `vary` has the values of one or two fields of Config, `settings` what all runs share. As many runs at
    a time as there are cores, unless `jobs` says otherwise. Call it again, with more values or seeds if you
    like: what is finished stays, what was interrupted goes on. A KeyboardInterrupt ends the runs, which save
    their state first.

    TypeError and ValueError as of `grokking.train`, before anything is started; RuntimeError if runs failed.
    """
    check_names("sweep", {**vary, **settings})
    with python_errors():
        plan = planned(vary, seeds, settings)
        finished = Sweep(Path(folder), plan)
        carry_out(finished.folder, plan, jobs, progress)
    return finished


def planned(
    vary: Mapping[str, Sequence[Any]], seeds: Sequence[int], settings: Mapping[str, Any]
) -> list[PlannedRun]:
    """Every run with its folder's name, checked; ValueError for a grid that is none."""
    if not 1 <= len(vary) <= 2 or not all(vary.values()) or not seeds:
        raise ValueError(
            f"vary is {vary!r}, seeds are {seeds!r}, expected one or two settings with values"
        )
    taken = [
        name for name in (*vary, *settings) if name in OWN or (name in vary and name in settings)
    ]
    if taken:
        raise ValueError(f"{taken[0]} is given twice, or is the sweep's own to choose")
    runs: dict[str, PlannedRun] = {}
    for values in product(*vary.values()):
        chosen = dict(zip(vary, values, strict=True))
        for seed in seeds:
            fields = {FIELDS[name]: value for name, value in {**settings, **chosen}.items()}
            loaded = config.from_values({**fields, "seed": seed})
            name = "_".join([*map(short, chosen, chosen.values()), f"seed{seed}"])
            variables = config.variables(loaded.config)
            del variables["GROK_ARTIFACTS_DIR"]
            if name in runs and runs[name].variables != variables:
                raise ValueError(f"two runs would be called {name}; give their tables other names")
            runs[name] = PlannedRun(name, loaded.config.num_epochs, variables)
    return list(runs.values())


def short(name: str, value: Any) -> str:
    """`wd2.0` for weight_decay=2.0, as the folders of the command's sweeps are called."""
    kind = type(getattr(config.Config, FIELDS[name]))
    text = config.as_text(float(value) if kind is float else value)
    if isinstance(text, str) and text.startswith(FILE):
        text = Path(text.removeprefix(FILE)).name
    return "".join(word[0] for word in name.split("_")) + str(text).replace(",", "-")


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
