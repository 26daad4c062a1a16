"""`python -m grokking branch RUN --at EPOCH --output DIR [NAME=VALUE ...]`: a counterfactual of a run.

Torch-free until folders and changes have been checked.
"""

import math
import sys
from argparse import Namespace
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from shlex import quote
from typing import Any

from grokking.commands.cli import Parser
from grokking.commands.sweep_values import listed, name_and_values
from grokking.config import Loaded
from grokking.files import names
from grokking.files.branches import (
    CHANGEABLE,
    Arms,
    changed,
    check_begun,
    check_name,
    check_target,
    is_cut_off,
    parse_changes,
    read_arms,
    read_branch,
    relative,
    write_arms,
)
from grokking.files.folder import check_folder
from grokking.files.json_files import check_writable
from grokking.files.run_files import read_imported, read_loaded
from grokking.schema import EPOCH
from grokking.sweeps.axis import MOST, folder_name
from grokking.system.errors import Diverged, RunError, UserError
from grokking.system.signals import StopRequest, graceful

DESCRIPTION = (
    "Go on from the full state of a run at an epoch with changed settings. The state is found by training the "
    "run again from its newest checkpoint at or before that epoch, else from epoch 0, on what it was computed "
    "with, and every weight and loss that it has recorded on the way must come out bit for bit. Without "
    "a change the branch is the control arm, which equals the run. GROK_ variables do not apply."
)
MAX_ARMS = 1_000
CHANGES = ", ".join(f"{name} ({kind.expected})" for name, kind in CHANGEABLE.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a branch and train it, or go on with one; UserError before anything is written."""
    parser = Parser(
        prog="grokking branch",
        description=DESCRIPTION,
        usage="grokking branch [-h] RUN --at EPOCH --output DIR [--vary NAME=VALUES] [--inexact] "
        "[NAME=VALUE ...]\n"
        "       grokking branch --resume DIR [--inexact]",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="RUN NAME=VALUE",
        help=f"the folder of the run, and what changes at the fork: {CHANGES}",
    )
    parser.add_argument(
        "--vary",
        action="append",
        metavar="NAME=VALUES",
        help="a folder of branches in --output, one for every value (weight_decay=0,0.5,2 or log:0.1:10:5), "
        "which is analysed and drawn as a sweep",
    )
    parser.add_argument("--at", type=int, metavar="EPOCH", help="the epoch of the fork")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of the branch")
    parser.add_argument(
        "--resume", type=Path, metavar="DIR", help="go on with a branch that was stopped"
    )
    parser.add_argument(
        "--inexact",
        action="store_true",
        help="begin with the recorded weights of that epoch and fresh moments; or resume on another machine",
    )
    options = parser.parse_intermixed_args(arguments)
    if options.resume is not None:
        return _resume(options)
    return _begin(options)


def _resume(options: Namespace) -> int:
    directory: Path = options.resume
    if options.words or options.vary or options.at is not None or options.output is not None:
        raise UserError(
            "--resume takes the branch as it is, expected no RUN, --at, --output, --vary or change"
        )
    arms = read_arms(directory)
    if arms is not None:
        with graceful() as stop:
            return _resume_all(directory, arms, stop, options.inexact)
    if not (directory / names.CONFIG).exists() or read_branch(directory) is None:
        raise UserError(f"--resume is {directory}, which holds no branch")
    check_begun(directory)
    with graceful() as stop:
        return _train(directory, stop, options.inexact)


def _begin(options: Namespace) -> int:
    run, at, directory, arms = _asked(options)
    from grokking.commands.progress import Progress
    from grokking.training.branch import fork_state, write_branch

    with graceful() as stop:
        fork = fork_state(run, at, Progress, stop, exact=not options.inexact)
        if fork is None:
            print(f"{stop.name}: stopped while replaying; nothing was written", file=sys.stderr)
            return stop.exit_code
        if options.vary:
            by_name = {folder.name: changes for folder, changes in arms.items()}
            write_arms(directory, Arms(relative(run, directory), at, fork.exact, by_name))
        for folder, changes in arms.items():
            write_branch(fork, folder, changes)
        return _train_all(directory, list(arms), stop) if options.vary else _train(directory, stop)


def _resume_all(directory: Path, arms: Arms, stop: StopRequest, inexact: bool) -> int:
    """Go on with a folder of branches; those that were not yet made come from the run once more."""
    folders = {directory / name: changes for name, changes in arms.changes.items()}
    absent = [
        folder for folder in folders if is_cut_off(folder) or not (folder / names.CONFIG).exists()
    ]
    if absent:
        from grokking.commands.progress import Progress
        from grokking.training.branch import fork_state, write_branch

        fork = fork_state(directory / arms.run, arms.at, Progress, stop, exact=arms.exact)
        if fork is None:
            print(f"{stop.name}: stopped while replaying; nothing was written", file=sys.stderr)
            return stop.exit_code
        for folder in absent:
            write_branch(fork, folder, folders[folder])
    return _train_all(directory, list(folders), stop, inexact)


def _train_all(
    directory: Path, folders: Sequence[Path], stop: StopRequest, inexact: bool = False
) -> int:
    """Branches one after another, and then what a sweep shows of them."""
    from grokking.commands.sweep import analyze_and_plot

    failed = 0
    for number, folder in enumerate(folders, start=1):
        print(f"branch {number} of {len(folders)}: {folder.name}", flush=True)
        try:
            failed += _train(folder, stop, inexact) != 0
        except (Diverged, RunError, UserError) as error:  # of one arm; the others go on
            print(f"{folder.name}: {error}", file=sys.stderr)
            failed += 1
        if stop.number is not None:
            print(f"go on with: python -m grokking branch --resume {quote(str(directory))}")
            return stop.exit_code
    return 0 if analyze_and_plot(directory) and not failed else 1


def _arms(
    run: Loaded, directory: Path, changes: dict[str, Any], vary: Sequence[str]
) -> dict[Path, dict[str, Any]]:
    """Folder -> the changes of its branch, for every combination of the values that vary."""
    if not vary:
        return {directory: changes}
    axes: dict[str, list[Any]] = {}
    for text in vary:
        name, values = name_and_values("--vary", text)
        check_name(name)
        if name == "num_epochs" or name in changes or name in axes:
            raise UserError(f"--vary names {name}, which {_why_not(name)}")
        axes[name] = listed("--vary", values, CHANGEABLE[name], numbers=name != "optimizer")
    if len(axes) > MOST or math.prod(map(len, axes.values())) > MAX_ARMS:
        raise UserError(
            f"--vary makes more than {MAX_ARMS} branches, or has more than {MOST} names"
        )
    cells = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    return {directory / folder_name(cell, run.config.seed): changes | cell for cell in cells}


def _why_not(name: str) -> str:
    return "is one for all branches" if name == "num_epochs" else "is given twice"


def _asked(options: Namespace) -> tuple[Path, int, Path, dict[Path, dict[str, Any]]]:
    """The run, the epoch, the folder, and the changes of each branch's; UserError for what can be seen
    without torch."""
    if not options.words or "=" in Path(options.words[0]).name:
        raise UserError(
            "the folder of a run is missing, expected grokking branch RUN --at EPOCH --output DIR"
        )
    run, at, directory = Path(options.words[0]), options.at, options.output
    for name, value in (("--at", at), ("--output", directory)):
        if value is None:
            raise UserError(
                f"{name} is missing, expected grokking branch RUN --at EPOCH --output DIR"
            )
    if not EPOCH.accepts(at):
        raise UserError(f"--at is {at}, expected {EPOCH.expected}")
    changes = parse_changes(options.words[1:])
    if not (run / names.CONFIG).exists():
        raise UserError(f"{run} holds no run; expected the folder of one")
    loaded = read_loaded(run)
    arms = _arms(loaded, directory, changes, options.vary or [])
    if read_imported(run) is None:
        for of_arm in arms.values():
            changed(loaded, at, of_arm)
    if options.vary and directory.is_dir() and any(directory.iterdir()):
        raise UserError(f"--output is {directory}, which is not empty; choose another folder")
    check_folder(directory, "--output")
    check_target(
        directory, "choose another folder with --output; --resume DIR goes on with a branch"
    )
    check_writable(directory, "choose another folder with --output")
    return run, at, directory, arms


def _train(directory: Path, stop: StopRequest, inexact: bool = False) -> int:
    from grokking.commands.progress import Progress
    from grokking.training.branch import train_branch

    ended = train_branch(directory, Progress, stop, inexact)
    print(ended.message, file=sys.stdout if stop.number is None else sys.stderr)
    return ended.exit_code
