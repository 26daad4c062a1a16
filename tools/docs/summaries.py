"""A finished run in a few numbers, for docs/results: what it reached, how fast, and on what.

python -m tools.docs.summaries RUN_DIR ... > docs/results/NAME.json
"""

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

from grokking.commands.cli import Parser, run_main
from grokking.files import names
from grokking.files.history import History, read_history
from grokking.files.json_files import read_json
from grokking.files.run_files import read_config, read_grokking
from grokking.files.surfaces import read_surface
from grokking.fourier import PERIODIC

LEVELS = (0.1, 0.5, 0.9, 0.99)
MEASURED = (
    "memorization_epoch",
    "grok_epoch",
    "delay",
    "final_epoch",
    "final_training_accuracy",
    "final_validation_accuracy",
    "seconds",
    "epochs_per_second",
)


def summarize_run(directory: Path) -> dict[str, Any]:
    """The figures of one run folder, None for one that an older version did not write.

    UserError if a file is missing or damaged.
    """
    settings, result = read_config(directory), read_grokking(directory)
    history, config = read_history(directory), read_json(directory / "config.json")
    surfaces = sorted(directory.glob(f"{names.SURFACE.format('*')}.json"))
    at_epoch = names.AT_EPOCH.format("")  # in the names of those that are not of the end
    waves = [exported_wave(path) for path in surfaces if at_epoch not in path.name]
    waves.sort(key=lambda wave: wave["neuron"])
    return {
        "seed": settings.get("seed"),
        "weight_decay": settings.get("weight_decay"),
        "variables": {e["variable"]: e["value"] for e in config["config"].values() if was_set(e)},
        **{key: result.get(key) for key in MEASURED},
        "validation_accuracy_passes": {f"{level:.0%}": passes(history, level) for level in LEVELS},
        "exported_neurons": waves,
        "single_frequency_neurons": sum(wave["share"] > PERIODIC for wave in waves),
        "date": date.fromtimestamp((directory / "grokking.json").stat().st_mtime).isoformat(),
        **{key: config.get(key) for key in ("kernel", "threads", "device_name", "versions")},
    }


def passes(history: History, level: float) -> int | None:
    """First probed epoch with at least this validation accuracy."""
    pairs = zip(history.epochs, history.validation_accuracies, strict=True)
    return next((epoch for epoch, v in pairs if v is not None and v >= level), None)


def was_set(entry: dict[str, Any]) -> bool:
    """Settings that identify a run: the ones somebody set, but not where its files are."""
    named = entry.get("variable", "GROK_ARTIFACTS_DIR") != "GROK_ARTIFACTS_DIR"
    return named and bool(entry.get("source") == "environment")


def exported_wave(path: Path) -> dict[str, Any]:
    """Neuron, strongest frequency and its share of the surface's variance (0 for a dead neuron)."""
    surface = read_surface(path)
    found = (None, 0.0) if surface.wave is None else surface.wave
    return {"neuron": surface.neuron_index, "frequency": found[0], "share": round(found[1], 4)}


def main() -> int:
    """Print the summaries of run folders as one JSON object."""
    parser = Parser(
        prog="python -m tools.docs.summaries",
        description="Finished runs in a few numbers, as JSON.",
    )
    parser.add_argument("run", nargs="+", type=Path, help="folder of a finished run")
    parser.add_argument("--note", default="", help="what a reader of the numbers should know")
    arguments = parser.parse_args()
    runs = [summarize_run(directory) for directory in arguments.run]
    print(json.dumps({"note": arguments.note, "runs": runs}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
