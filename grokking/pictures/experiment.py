"""What was trained, in words: the title and the first lines of every page, from config.json alone.

Torch-free. Several runs are described at once; what they differ in is listed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from grokking.config import FIELDS, departures, training_pairs
from grokking.files.branches import read_branch
from grokking.files.run_files import read_config, read_imported, read_starts, read_task
from grokking.pictures.branch_sentences import branch_told
from grokking.task import Task

LISTED = 6  # values that are named one by one; those beyond are counted
Values = Mapping[str, Any]


class Experiment(NamedTuple):
    """What a page says before it shows anything."""

    title: str  # "addition mod 113, weight decay 1.0, seed 42, epoch 10,000"
    facts: list[tuple[str, str]]  # name and value of everything that was set, and what it ran on
    sentences: list[str]  # first the departures; whoever knows more of the runs adds to them


def describe_experiment(folders: Sequence[Path], epochs: Sequence[int]) -> Experiment:
    """Describe the runs in `folders`, each at its own epoch of `epochs`.

    UserError if a config.json is missing or damaged. What it does not tell is "unknown".
    """
    if len(folders) == 1 and (imported := read_imported(folders[0])) is not None:
        return _describe_imported(folders[0], epochs[0], imported)
    branch = read_branch(folders[0]) if len(folders) == 1 else None
    configs = [read_config(folder) for folder in folders]
    starts = [start for folder in folders for start in read_starts(folder)]
    tasks = [read_task(folder) for folder in folders]
    return Experiment(
        _title(tasks, configs, epochs),
        [*_settings(tasks, configs, epochs), *_conditions(starts)],
        [_departures(configs), *([] if branch is None else [branch_told(branch)])],
    )


def _describe_imported(folder: Path, epoch: int, imported: Values) -> Experiment:
    """Of weights that were trained elsewhere: what is known, and that the rest is not."""
    config, task, (start, *_) = read_config(folder), read_task(folder), read_starts(folder)
    pairs, questions = imported["training_pairs"], len(task.questions)
    conditions = [told for _, told in _conditions([start])]
    return Experiment(
        f"{task.words}, imported from {imported['file']}, epoch {epoch:,}",
        [
            ("task", task.law),
            (
                "trained on",
                "unknown pairs" if pairs is None else f"{pairs:,} of {questions:,} pairs",
            ),
            ("model", _model(config)),
            ("optimiser", "unknown"),
            ("seed", "unknown"),
            ("epoch", f"{epoch:,}"),
            ("imported from", f"{imported['file']}, in the form of {imported['form']}"),
            *zip(("imported on", "evaluated on", "software"), conditions, strict=True),
        ],
        imported_told(imported),
    )


def imported_told(imported: Values) -> list[str]:
    """What is not known of imported weights, and what was done to them, in sentences."""
    changes, split = imported["changes"], imported["training_pairs"] is not None
    return [
        "These weights were imported: the settings that they were trained with are not known.",
        *(() if split else ("Nor is the split: every loss and accuracy is over all pairs.",)),
        *([f"On import {'; '.join(changes)}."] if changes else []),
    ]


def _title(tasks: Sequence[Task], configs: Sequence[Values], epochs: Sequence[int]) -> str:
    named = {
        "weight decay": [str(config["weight_decay"]) for config in configs],
        "seed": [str(config["seed"]) for config in configs],
        "epoch": [f"{epoch:,}" for epoch in epochs],
    }
    parts = [f"{_plural(name, values)} {_listed(values)}" for name, values in named.items()]
    return ", ".join([_listed(task.words for task in tasks), *parts])


def _settings(
    tasks: Sequence[Task], configs: Sequence[Values], epochs: Sequence[int]
) -> list[tuple[str, str]]:
    def value(name: str) -> str:
        return _listed(str(config[name]) for config in configs)

    def each(words: Callable[[Values], str]) -> str:
        return _listed(words(config) for config in configs)

    reached = [f"{e:,} of {c['num_epochs']:,}" for e, c in zip(epochs, configs, strict=True)]
    return [
        ("task", _listed(task.law for task in tasks)),
        ("trained on", _listed(map(_share, tasks, configs))),
        ("model", each(_model)),
        (
            "optimiser",
            f"{each(_optimizer)}, {each(_batch)}, learning rate {value('learning_rate')} after "
            f"{value('warmup_steps')} steps of warm-up, {each(_memory)}, "
            f"weight decay {value('weight_decay')}",
        ),
        ("seed", each(_seed)),
        ("epoch", _listed(reached)),
    ]


def _share(task: Task, config: Values) -> str:
    share, questions = config["train_fraction"], len(task.questions)
    return f"{100 * share:g}% of the pairs: {training_pairs(questions, share):,} of {questions:,}"


def _model(config: Values) -> str:
    scale = (
        ""
        if config["init_scale"] in (1, None)
        else f", initial weights times {config['init_scale']:g}"
    )
    return (
        f"one layer, d_model {config['d_model']}, {config['num_heads']} heads, d_mlp "
        f"{config['d_mlp']}{scale}"
    )


def _optimizer(config: Values) -> str:
    return {
        "adamw": "AdamW",
        "adam": "Adam (decay in the gradient)",
        "sgd": "SGD (decay in the gradient)",
        "muon": "Muon on W_in and W_out, AdamW on the rest",
    }[config["optimizer"]]


def _memory(config: Values) -> str:
    """How the optimiser forgets earlier steps."""
    beta1, beta2 = config["beta1"], config["beta2"]
    return f"momentum {beta1}" if config["optimizer"] == "sgd" else f"betas {beta1} and {beta2}"


def _batch(config: Values) -> str:
    size = config["batch_size"]
    return "full batch" if size is None else f"batches of {size:,}"


def _seed(config: Values) -> str:
    own = config["split_seed"]
    return str(config["seed"]) if own is None else f"{config['seed']}, of the split {own}"


def _conditions(starts: Sequence[Values]) -> list[tuple[str, str]]:
    """When the runs were started, on what and with which versions."""
    days = sorted({str(start["time"])[:10] for start in starts if start["time"]})
    return [
        ("date", " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "unknown"),
        ("computed on", _listed(map(_machine, starts))),
        ("software", _listed(map(_software, starts))),
    ]


def _machine(start: Values) -> str:
    threads = _word(start, "threads")
    return (
        f"{_word(start, 'device_name')}, {threads} {'thread' if threads == '1' else 'threads'}, "
        f"kernel {_word(start, 'kernel')}"
    )


def _software(start: Values) -> str:
    versions = start["versions"] or {}
    commit = _word(versions, "git_commit")
    changed = " with changes" if commit.endswith("+") else ""
    packages = ", ".join(f"{name} {_word(versions, name)}" for name in ("torch", "numpy"))
    return (
        f"grokking {_word(versions, 'grokking')}, commit {commit[:7]}{changed}, {packages}, "
        f"Python {_word(versions, 'python')}"
    )


def _word(values: Values, key: str) -> str:
    value = values.get(key)
    return str(value) if isinstance(value, (str, int)) else "unknown"


def _departures(configs: Sequence[Values]) -> str:
    """In what these runs are not the reference experiment, in a sentence."""
    values: dict[str, list[str]] = {}
    for config in configs:
        for name, value in departures(config).items():
            values.setdefault(name, []).append(str(value))
    if not values:
        return "Every setting is that of the reference experiment (Nanda et al., 2023)."
    departures_in_words = [
        f"{_words(name)} {_listed(v)} (there {FIELDS[name].default})" for name, v in values.items()
    ]
    return f"This departs from the reference experiment (Nanda et al., 2023): {', '.join(departures_in_words)}."


def _words(field: str) -> str:
    return field if field.startswith("d_") else field.replace("_", " ")


def _listed(texts: Iterable[str]) -> str:
    """Each distinct text once, in order."""
    distinct = list(dict.fromkeys(texts))
    beyond = len(distinct) - LISTED
    if beyond > 0 and all(map(_is_number, distinct)):
        ordered = sorted(distinct, key=_number)
        return f"{ordered[0]} to {ordered[-1]} ({len(ordered)} values)"
    return ", ".join(distinct[:LISTED]) + (f" and {beyond} more" if beyond > 0 else "")


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _is_number(text: str) -> bool:
    try:
        _number(text)
    except ValueError:
        return False
    return True


def _plural(name: str, values: Sequence[str]) -> str:
    return name if len(set(values)) == 1 else f"{name}s"
