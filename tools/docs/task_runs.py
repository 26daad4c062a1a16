"""Runs of several tasks, each seen in its own basis and, beside it, in the additive one.

python -m tools.docs.task_runs RUN_DIR ... > docs/results/tasks.json
"""

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

from grokking.analysis.hindsight import Examined, examine
from grokking.analysis.investigation import last_checkpoint
from grokking.analysis.spectra import basis_gini, component_norms, surface_shares
from grokking.commands.cli import Parser, run_main
from grokking.config import departures
from grokking.files import names
from grokking.files.json_files import read_json
from grokking.files.run_files import read_config, read_grokking, read_task
from grokking.fourier import PERIODIC, Basis, cyclic_basis
from grokking.kernels.choice import choose_on_cpu

OUTCOME = (
    *("outcome", "memorization_epoch", "generalization_epoch", "grok_epoch"),
    *("final_epoch", "final_training_accuracy", "final_validation_accuracy"),
)


def seen_in(state: Examined, basis: Basis, additive: bool) -> dict[str, Any]:
    """Periodic neurons and both Gini coefficients of a state, in a basis of its operands.

    In the additive basis all p symbols count, and every pair, whether it is a question or not.
    """
    if additive:
        W_E, W_L = state.model.W_E.numpy()[: state.modulus], state.tables.W_L.numpy().T
        grids = state.surfaces()
    else:
        W_E, W_L, grids = state.embedding, state.output, state.grids()
    shares = surface_shares(grids, basis).max(axis=0)  # [d_mlp]
    return {
        "periodic_neurons": int((shares > PERIODIC).sum()),
        "W_E_gini": basis_gini(component_norms(W_E, basis), basis),
        "W_L_gini": basis_gini(component_norms(W_L, basis), basis),
    }


def summarize(directory: Path) -> dict[str, Any]:
    """What a run came to, and what it looks like in each basis."""
    config, task, result = read_config(directory), read_task(directory), read_grokking(directory)
    state = examine(last_checkpoint(directory), task, choose_on_cpu("auto", 1))
    own = None
    if task.group is not None:
        basis = task.group.basis
        own = seen_in(state, basis, additive=False) | {
            "key_blocks": [basis.label(k) for k in state.key_blocks()],
            "blocks": len(basis.sizes),
            "kind": basis.kind,
        }
    return {
        "task": task.name,
        "words": task.words,
        "seed": config["seed"],
        "neurons": config["d_mlp"],
        "questions": len(task.questions),
        "settings": departures(config),
        **{key: result[key] for key in OUTCOME},
        "own_basis": own,
        "additive_basis": seen_in(state, cyclic_basis(task.p), additive=True),
    }


def main() -> None:
    parser = Parser(prog="python -m tools.docs.task_runs", description="Runs of tasks, as JSON.")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN_DIR")
    parser.add_argument("--note", default="", help="what a reader of the table should know")
    arguments = parser.parse_args()
    folders = arguments.runs
    config = read_json(folders[0] / names.CONFIG)
    conditions = {key: config[key] for key in ("kernel", "threads", "device_name", "versions")}
    record = {
        **conditions,
        "date": date.today().isoformat(),
        "note": arguments.note,
        "runs": list(map(summarize, folders)),
    }
    json.dump(record, sys.stdout, indent=1)


if __name__ == "__main__":
    sys.exit(run_main(main))
