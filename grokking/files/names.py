"""The name of every file and folder that a run or a sweep has, once."""

from pathlib import Path

# --- of a run
CONFIG = "config.json"
TASK = "task.json"  # a copy of the table of GROK_TASK=file:PATH
RESULT = "grokking.json"  # the last file that a run writes
LOSSES, ACCURACIES = "loss_history.json", "accuracy_history.json"
MEASURES = "measures.npy"
LATEST, PREVIOUS = "checkpoint_latest", "checkpoint_previous"  # with one of WEIGHTS
FORK = "checkpoint_fork"  # of a branch: the state that it began with, with one of WEIGHTS
LABELED = "checkpoint_labeled"
TRAJECTORY = "trajectory"
SURFACE = "activation_surface_neuron_{}"  # .json, and .html of its page
AT_EPOCH = "_epoch_{}"  # at the end of a surface's name that is not of the run's last state
PICTURES, TRAINING_HISTORY, INDEX = "visualizations", "training_history.html", "index.html"
LIBRARY = "plotly-{}.min.js"  # a copy of plotly.js and its version, beside the pages that share it
WEIGHTS = (".pt", ".tl.pt", ".safetensors", ".npz")  # a checkpoint, and what `export` makes of it
LOCK, FAILURE = ".lock", "failure.json"

# --- of its report
CARD, REPORT, FILM, GALLERY = "report_card.json", "report.html", "film.html", "gallery.html"
PROGRESS_MEASURES = "progress_measures.json"

# --- of a sweep
PLAN, SUMMARY = "sweep.json", "analysis_summary.json"
ARMS = "branches.json"  # what a folder of branches is to hold
RUN_LOG, OUTPUT = "run_log.txt", "training_output.log"
PLOTS, SLURM, DAMAGED, TABLES = "plots", "slurm", "damaged", "tables"
ACCURACY_PLOT = "validation_accuracy_comparison.html"
DISTRIBUTION_PLOT = "grokking_epoch_distribution.html"
COMBINED_PLOT = "combined_comparison.html"
PHASE_DIAGRAM = "phase_diagram.html"


def labeled_path(directory: Path, label: str) -> Path:
    """The checkpoint of a label, such as `final`, in a run's folder."""
    return directory / LABELED / f"{label}.pt"
