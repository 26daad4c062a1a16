"""The first lines of a page: what was trained, and what became of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grokking.files.history import History
from grokking.pictures.experiment import Experiment, describe_experiment
from grokking.pictures.outcome_sentences import outcome_sentence
from grokking.pictures.pages.page import Block, Facts, Prose

UNFINISHED = "It has not finished: what is shown here is how far it has come."


def introduce(described: Experiment) -> list[Block]:
    """The blocks that a page begins with."""
    return [Facts(described.facts), Prose(described.sentences)]


def run_described(
    directory: Path,
    epoch: int,
    history: History | None,
    phases: Mapping[str, Any],
    finished: bool = True,
) -> Experiment:
    """The run in a folder at the epoch that a page shows.

    `phases` is as grokking.json has it; without a `history` nothing is said of the outcome.
    """
    described = describe_experiment([directory], [epoch])
    sentences = [] if history is None else [outcome_sentence(phases, history)]
    return described._replace(
        sentences=[*described.sentences, *sentences, *([] if finished else [UNFINISHED])]
    )
