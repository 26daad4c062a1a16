"""What a page says was trained: of one run, of several, and of a config.json that tells little."""

from pathlib import Path
from typing import Any

import pytest

from grokking.config import Config, as_record
from grokking.files.json_files import write_json
from grokking.pictures.experiment import LISTED, describe_experiment
from grokking.system.errors import UserError

START: dict[str, Any] = {
    "time": "2026-11-22T23:59:59Z",
    "device_name": "Test processor",
    "threads": 2,
    "kernel": "avx512",
    "versions": {
        "grokking": "0.1.0",
        "git_commit": "05c2ad58624b",
        "python": "3.11.7",
        "torch": "2.13.0+cpu",
        "numpy": "2.2.6",
    },
}


def run(folder: Path, *starts: dict[str, Any], **changes: Any) -> Path:
    """A folder whose config.json is of the reference experiment, but for the changes."""
    folder.mkdir()
    values = {name: {"value": value} for name, value in as_record(Config(**changes)).items()}
    write_json(folder / "config.json", {"config": values, "starts": [*starts]})
    return folder


def test_the_reference_run_in_full(tmp_path: Path) -> None:
    described = describe_experiment([run(tmp_path / "run", START)], [7_728])
    assert described.title == "addition mod 113, weight decay 1.0, seed 42, epoch 7,728"
    assert dict(described.facts) == {
        "task": "(a + b) mod 113",
        "trained on": "30% of the pairs: 3,830 of 12,769",
        "model": "one layer, d_model 128, 4 heads, d_mlp 512",
        "optimiser": "AdamW, full batch, learning rate 0.001 after 10 steps of warm-up, betas 0.9 and "
        "0.98, weight decay 1.0",
        "seed": "42",
        "epoch": "7,728 of 10,000",
        "date": "2026-11-22",
        "computed on": "Test processor, 2 threads, kernel avx512",
        "software": "grokking 0.1.0, commit 05c2ad5, torch 2.13.0+cpu, numpy 2.2.6, Python 3.11.7",
    }
    assert described.sentences == [
        "Every setting is that of the reference experiment (Nanda et al., 2023)."
    ]


def test_departures_are_named_with_what_they_depart_from(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", START, modulus=53, train_fraction=0.35, d_mlp=256, seed=7)
    assert describe_experiment([folder], [1]).sentences == [
        "This departs from the reference experiment (Nanda et al., 2023): train fraction 0.35 (there "
        "0.3), modulus 53 (there 113), d_mlp 256 (there 512)."
    ]


def test_runs_that_differ_are_listed_and_a_long_list_is_told_by_its_ends(tmp_path: Path) -> None:
    folders = [
        run(tmp_path / f"{decay}_{seed}", START, weight_decay=decay, seed=seed)
        for decay in (0.5, 1.0)
        for seed in range(LISTED + 2)
    ]
    described = describe_experiment(folders, [100] * len(folders))
    assert described.title == (
        "addition mod 113, weight decays 0.5, 1.0, seeds 0 to 7 (8 values), epoch 100"
    )
    facts = dict(described.facts)
    assert facts["optimiser"].endswith("weight decay 0.5, 1.0")
    assert facts["trained on"] == "30% of the pairs: 3,830 of 12,769"
    assert described.sentences[0].endswith("weight decay 0.5 (there 1.0).")


def test_a_run_of_several_starts_names_first_and_last_day_and_every_machine(tmp_path: Path) -> None:
    later = {**START, "time": "2026-11-24T00:00:00Z", "device_name": "Another", "threads": 1}
    facts = dict(describe_experiment([run(tmp_path / "run", START, later)], [1]).facts)
    assert facts["date"] == "2026-11-22 to 2026-11-24"
    assert facts["computed on"] == (
        "Test processor, 2 threads, kernel avx512, Another, 1 thread, kernel avx512"
    )


@pytest.mark.parametrize("start", [{}, {"time": None, "versions": None, "threads": None}])
def test_what_is_not_told_is_unknown(tmp_path: Path, start: dict[str, Any]) -> None:
    facts = dict(describe_experiment([run(tmp_path / "run", start)], [1]).facts)
    assert facts["computed on"] == "unknown, unknown threads, kernel unknown"
    assert facts["software"].startswith("grokking unknown, commit unknown, torch unknown")


def test_a_damaged_config_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"config": {"seed": {"value": "no"}}}')
    with pytest.raises(UserError, match="'seed' is \"no\", expected an integer"):
        describe_experiment([tmp_path], [1])
    with pytest.raises(UserError, match=r"'starts'\[0\]: 'versions' is \"2\", expected an object"):
        describe_experiment([run(tmp_path / "run", {"versions": "2"})], [1])
