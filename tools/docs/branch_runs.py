"""Branches of a run beside it: what became of each arm, and whether the control arm is the run to the bit.

python -m tools.docs.branch_runs RUN_DIR BRANCH_DIR ... > docs/results/branches.json
"""

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from grokking.commands.cli import Parser, run_main
from grokking.files import measures, names, trajectory
from grokking.files.branches import read_branch
from grokking.files.checkpoint import load_checkpoint
from grokking.files.history import read_history
from grokking.files.json_files import read_json
from grokking.files.run_files import read_config, read_grokking
from grokking.system.errors import UserError

OUTCOME = (
    *("outcome", "memorization_epoch", "generalization_epoch", "grok_epoch", "collapse_epoch"),
    *("final_epoch", "final_training_accuracy", "final_validation_accuracy"),
)


def arm(directory: Path, fork: int) -> dict[str, Any]:
    """What a run came to, and its sum of squared weights at the fork and at its end."""
    result, rows = read_grokking(directory), measures.read(directory)
    squares = dict(zip(rows["epoch"].tolist(), rows["squares_total"].tolist(), strict=True))
    after = [value for epoch, value in squares.items() if epoch >= fork]
    return {
        **{key: result[key] for key in OUTCOME},
        "squares_at_fork": squares[fork],
        "squares_at_end": after[-1],
        "squares_least": min(after),
        "lowest_validation_accuracy_after_fork": lowest(directory, fork),
    }


def lowest(directory: Path, fork: int) -> float:
    """Of the validation accuracies from the fork on."""
    history = read_history(directory)
    pairs = zip(history.epochs, history.validation_accuracies, strict=True)
    return min(value for epoch, value in pairs if epoch >= fork and value is not None)


def compared(run: Path, branch: Path) -> dict[str, Any]:
    """How much of a control arm is the run's, bit for bit."""
    ours, theirs = trajectory.recorded(branch), trajectory.recorded(run)
    equal = sum(_same_weights(ours[epoch], theirs[epoch]) for epoch in ours if epoch in theirs)
    rows = [measures.read(folder) for folder in (run, branch)]
    return {
        "recorded_epochs": len(theirs),
        "recorded_epochs_equal": equal if ours.keys() == theirs.keys() else -1,
        "probes": len(read_history(run).epochs),
        "histories_equal": read_history(run) == read_history(branch),
        "measures_largest_relative_difference": _furthest(*rows),
        "last_checkpoint_equal": _same_weights(
            *(folder / f"{names.LATEST}.pt" for folder in (run, branch))
        ),
    }


def _furthest(ours: measures.Rows, theirs: measures.Rows) -> float:
    """The largest difference of the squared weights over all probes, relative to them."""
    a, b = ours["squares_total"], theirs["squares_total"]
    return float(np.max(np.abs(a - b) / a)) if len(a) == len(b) else float("inf")


def _same_weights(one: Path, other: Path) -> bool:
    a, b = (load_checkpoint(path)["model"] for path in (one, other))
    return a.keys() == b.keys() and all(
        np.array_equal(a[name].numpy().view(np.uint8), b[name].numpy().view(np.uint8)) for name in a
    )


def main() -> int:
    """Print them as JSON."""
    parser = Parser(prog="python -m tools.docs.branch_runs", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN_DIR")
    parser.add_argument("branches", type=Path, nargs="+", metavar="BRANCH_DIR")
    parser.add_argument("--note", help="a sentence on how they were trained")
    options = parser.parse_args()
    arms = []
    for directory in options.branches:
        branch = read_branch(directory)
        if branch is None:
            raise UserError(f"{directory} holds no branch")
        told: dict[str, Any] = {"name": directory.name, "at": branch.at, "changes": branch.changes}
        told |= arm(directory, branch.at)
        if not branch.changes:
            told["compared"] = compared(options.run, directory)
        arms.append(told)
    config = read_json(options.branches[0] / names.CONFIG)
    settings = read_config(options.run)
    record = {
        "date": date.today().isoformat(),
        **{key: config[key] for key in ("versions", "device_name", "threads", "kernel")},
        "run": {"seed": settings["seed"], **arm(options.run, arms[0]["at"])},
        "arms": arms,
        "note": options.note,
    }
    json.dump(record, sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
