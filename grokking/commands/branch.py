"""`python -m grokking branch RUN --at EPOCH --output DIR [NAME=VALUE ...]`: a counterfactual of a run.

Torch-free until folders and changes have been checked.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from grokking.commands.cli import Parser
from grokking.files import names
from grokking.files.branches import (
    CHANGEABLE,
    changed,
    check_begun,
    check_target,
    parse_changes,
    read_branch,
)
from grokking.files.folder import check_folder
from grokking.files.json_files import check_writable
from grokking.files.run_files import read_imported, read_loaded
from grokking.schema import EPOCH
from grokking.system.errors import UserError
from grokking.system.signals import StopRequest, graceful

DESCRIPTION = (
    "Go on from the full state of a run at an epoch with changed settings. The state is found by training the "
    "run again from its newest checkpoint at or before that epoch, else from epoch 0, on what it was computed "
    "with, and every weight and loss that it has recorded on the way must come out bit for bit. Without "
    "a change the branch is the control arm, which equals the run. GROK_ variables do not apply."
)
CHANGES = ", ".join(f"{name} ({kind.expected})" for name, kind in CHANGEABLE.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a branch and train it, or go on with one; UserError before anything is written."""
    parser = Parser(
        prog="grokking branch",
        description=DESCRIPTION,
        usage="grokking branch [-h] RUN --at EPOCH --output DIR [--inexact] [NAME=VALUE ...]\n"
        "       grokking branch --resume DIR [--inexact]",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="RUN NAME=VALUE",
        help=f"the folder of the run, and what changes at the fork: {CHANGES}",
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
    if options.words or options.at is not None or options.output is not None:
        raise UserError(
            "--resume takes the branch as it is, expected no RUN, --at, --output or change"
        )
    if not (directory / names.CONFIG).exists() or read_branch(directory) is None:
        raise UserError(f"--resume is {directory}, which holds no branch")
    check_begun(directory)
    with graceful() as stop:
        return _train(directory, stop, options.inexact)


def _begin(options: Namespace) -> int:
    run, at, directory, changes = _asked(options)
    from grokking.commands.progress import Progress
    from grokking.training.branch import fork_state, write_branch

    with graceful() as stop:
        fork = fork_state(run, at, Progress, stop, exact=not options.inexact)
        if fork is None:
            print(f"{stop.name}: stopped while replaying; nothing was written", file=sys.stderr)
            return stop.exit_code
        write_branch(fork, directory, changes)
        return _train(directory, stop)


def _asked(options: Namespace) -> tuple[Path, int, Path, dict[str, object]]:
    """The run, the epoch, the folder and the changes; UserError for what can be seen without torch."""
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
    if read_imported(run) is None:
        changed(read_loaded(run), at, changes)
    check_folder(directory, "--output")
    check_target(
        directory, "choose another folder with --output; --resume DIR goes on with a branch"
    )
    check_writable(directory, "choose another folder with --output")
    return run, at, directory, changes


def _train(directory: Path, stop: StopRequest, inexact: bool = False) -> int:
    from grokking.commands.progress import Progress
    from grokking.training.branch import train_branch

    ended = train_branch(directory, Progress, stop, inexact)
    print(ended.message, file=sys.stdout if stop.number is None else sys.stderr)
    return ended.exit_code
