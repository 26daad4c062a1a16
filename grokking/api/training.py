"""Training from Python: in the calling thread, with a progress bar, interrupted by KeyboardInterrupt."""

import difflib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grokking import config
from grokking.api.errors import ARGUMENTS, python_errors
from grokking.api.run import Run, load
from grokking.files import branches, names, run_files
from grokking.files.folder import check_folder
from grokking.files.history import History
from grokking.schema import EPOCH
from grokking.system.errors import UserError
from grokking.system.foreign_names import ALIASES
from grokking.system.signals import StopRequest

FIELDS = {ARGUMENTS.get(name, name): name for name in config.FIELDS}  # argument -> Config field


def train(folder: str | Path = "artifacts", *, progress: bool = True, **settings: Any) -> Run:
    """Train a run into a folder, or go on with the one that is there (`resume=True`); returns it.

    `settings` are fields of Config: `weight_decay=2.0, seed=7, num_epochs=5000`. What departs from the
    experiment of Nanda et al. (2023) is done as it is written; `run.departures` lists it. `progress` shows
    a bar, in a notebook its kind. A KeyboardInterrupt leaves a run that `resume=True` takes up at its last
    checkpoint, at most `checkpoint_every` epochs back, bit for bit as if nothing had happened.

    A run whose loss is not finite is returned, too: its `outcome` is diverged. TypeError for a name that
    is no setting, ValueError for a value that cannot be, or for a folder that holds another run.
    """
    check_names("train", settings)
    values = {FIELDS[name]: value for name, value in settings.items()}
    with python_errors():
        loaded = config.from_values({**values, "artifacts_dir": str(folder)})
        train_here(loaded, progress)
    return load(folder)


def check_names(caller: str, settings: dict[str, Any]) -> None:
    """TypeError for a keyword that is no setting, with the one that may have been meant."""
    for name in settings:
        if name not in FIELDS or name == "skip_validation":
            alias = ALIASES.get(name.upper(), "").removeprefix("GROK_").lower()
            near = difflib.get_close_matches(name, FIELDS, 1)
            advice = f"did you mean {(alias or near[0])!r}?" if alias or near else ""
            expected = ", ".join(sorted(FIELDS.keys() - {"skip_validation"}))
            raise TypeError(
                f"{caller}() has no setting {name!r}; {advice or f'there are {expected}'}"
            )


def train_here(loaded: config.Loaded, progress: bool) -> None:
    """The run of a Config, in this thread."""
    from grokking.kernels import choice

    choice.check(loaded.config.kernel)
    with threads_kept():
        from grokking.training.run import train_run

        train_run(loaded, Bar if progress else Silent, StopRequest())


def check_changes(changes: dict[str, Any]) -> None:
    """TypeError for a keyword that no branch can change."""
    try:
        for name in changes:
            branches.check_name(name)
    except UserError as error:
        raise TypeError(f"branch(): {error}") from error


def branch_here(
    run: Path,
    at: int,
    folder: Path,
    changes: dict[str, Any],
    exact: bool,
    resume: bool,
    progress: bool,
) -> None:
    """A branch of a run, in this thread; or, with `resume`, the one that is in the folder."""
    branches.check_changes(changes)
    if not EPOCH.accepts(at):
        raise UserError(f"at is {at!r}, expected {EPOCH.expected}")
    settings = run_files.read_loaded(run)
    begun = resume and (folder / names.CONFIG).exists() and not branches.is_cut_off(folder)
    if begun:
        branches.check_same_branch(folder, at, branches.real_changes(settings.config, changes))
    elif run_files.read_imported(run) is None:
        branches.changed(settings, at, changes)
        check_folder(folder, "folder")
        branches.check_target(folder, "choose another folder, or go on with it by resume=True")
    watching, stop = Bar if progress else Silent, StopRequest()
    with threads_kept():
        from grokking.training.branch import fork_state, train_branch, write_branch

        if not begun:
            fork = fork_state(run, at, watching, stop, exact)
            assert fork is not None  # nothing asks it to stop
            write_branch(fork, folder, changes)
        train_branch(folder, watching, stop)


@contextmanager
def threads_kept() -> Iterator[None]:
    """What training sets of torch is as before afterwards; a run that diverges has ended, in its files."""
    import torch

    from grokking.system.errors import Diverged

    threads = torch.get_num_threads()
    try:
        yield
    except Diverged:
        pass
    finally:
        torch.set_num_threads(threads)


class Silent:
    """Shows nothing."""

    def __init__(self, start: int, total: int) -> None:
        pass

    def update(self, epoch: int, history: History) -> None:
        pass

    def close(self) -> None:
        pass


class Bar:
    """tqdm's bar: a widget in a notebook that can show one, else a line."""

    def __init__(self, start: int, total: int) -> None:
        self.bar = notebook_bar()(total=total, initial=start, unit="epoch", mininterval=0.5)

    def update(self, epoch: int, history: History) -> None:
        accuracies = history.training_accuracies[-1], history.validation_accuracies[-1]
        shown = ("-" if value is None else f"{value:.1%}" for value in accuracies)
        self.bar.set_postfix_str("training {}, validation {}".format(*shown), refresh=False)
        self.bar.update(epoch - self.bar.n)

    def close(self) -> None:
        self.bar.close()


def notebook_bar() -> Callable[..., Any]:
    """tqdm for where we are; without ipywidgets a notebook gets a line of text, and no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    bar: Callable[..., Any] = tqdm
    return bar
