"""A run of one seed until it groks, on the device of the argument, as a user would start it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from grokking.files.json_files import read_json
from tools.docs.summaries import summarize_run
from tools.gpu.parts.part import extension, gpus
from tools.gpu.record import write_json

SETTINGS = {  # seed 456 is the first of the default sweep's to grok
    "GROK_SEED": "456",
    "GROK_NUM_EPOCHS": "12000",
    "GROK_PROBE_EVERY": "10",
    "GROK_STOP_AFTER_GROK": "0",
    "GROK_CHECKPOINT_EVERY": "2000",
    "GROK_TRAJECTORY": "0",
}


def main(result: Path, device: str) -> None:
    import plotly  # noqa: F401  (Missing, if it is: a run draws at its end)

    check_kernel(device)
    folder = result.with_suffix("")
    place = {"GROK_DEVICE": device, "GROK_ARTIFACTS_DIR": str(folder)}
    signal.signal(signal.SIGTERM, lambda *_: None)  # the run obeys it; its figures are read then
    done = subprocess.run(
        [sys.executable, "-m", "grokking"], env={**os.environ, **SETTINGS, **place}
    )
    if done.returncode != 0:
        write_json(result, unfinished(folder))
        sys.exit(done.returncode)
    summary = summarize_run(folder)
    write_json(result, summary)
    check_outcome(summary, folder, device)


def check_kernel(device: str) -> None:
    """Missing if the run would go through plain PyTorch, or through the kernel of another tree."""
    if device == "cuda":
        gpus()
    else:
        extension()


def unfinished(folder: Path) -> dict[str, Any] | None:
    """The figures of a run up to the checkpoint that it was stopped at; None if it left none."""
    from grokking.training.recorder import newest_checkpoint

    record, _ = newest_checkpoint(folder)
    if record is None:
        return None
    config, epoch, seconds = read_json(folder / "config.json"), record["epoch"], record["seconds"]
    return {
        "seed": record["config"]["seed"],
        "grok_epoch": None,
        "final_epoch": epoch,
        "seconds": seconds,
        "epochs_per_second": epoch / seconds if seconds else 0.0,
        **{key: config[key] for key in ("kernel", "threads", "device_name", "versions")},
    }


def check_outcome(summary: dict[str, Any], folder: Path, device: str) -> None:
    """SystemExit if the run used another kernel than it should, or did not grok."""
    if device == "cuda" and summary["kernel"] != "cuda":
        sys.exit(f"ran on plain PyTorch: {read_json(folder / 'config.json')['kernel_reason']}")
    if summary["grok_epoch"] is None:
        sys.exit(f"had not grokked by epoch {summary['final_epoch']}")
