"""The docs against the tree: tables made from results, links and variables that exist."""

import json
import re

import pytest

from grokking.config import IGNORED, VARIABLES
from grokking.system.errors import UserError
from tests.support.environment import ROOT
from tools.docs import tables as docs_tables

FOLDERS = ("*.md", "docs/**/*.md", "docs/notebook.py", "scripts/*.md")
PAGES = sorted(page for pattern in FOLDERS for page in ROOT.glob(pattern))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_table_is_what_its_results_give(page):
    text = page.read_text()
    assert docs_tables.updated(text, ROOT / "docs" / "results") == text


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_variable_named_in_the_docs_exists(page):
    for variable in re.findall(r"\bGROK_[A-Z_0-9]*[A-Z0-9]\b", page.read_text()):
        assert variable in VARIABLES or variable in IGNORED, variable


def test_a_marked_table_is_replaced_and_an_unknown_one_is_refused(tmp_path):
    hardware = {"device_name": "CPU", "threads": 1, "date": "2020-01-01"}
    plain = {
        "seed": 7,
        "kernel": "torch",
        "grok_epoch": None,
        "epochs_per_second": 7.0,
        "variables": {"GROK_PROBE_EVERY": 10},
        "versions": {"torch": "2", "python": "3"},
        **hardware,
    }
    folded = {"kernel": "avx512", "grok_epoch": 7500, "epochs_per_second": 25.0, "variables": {}}
    runs = {"note": "Both at once.", "runs": [plain, {**plain, **folded}]}
    (tmp_path / "kernel_and_plain.json").write_text(json.dumps(runs))
    text = "before\n<!-- table: paths -->\nold\n<!-- end of table -->\nafter"
    new = docs_tables.updated(text, tmp_path)
    assert (
        "| 7 | 7,500 after 5.0 minutes (25.0 epochs/s, probed every epoch) "
        "| not by the end (7.0 epochs/s, probed every 10 epochs) |\n" in new
    )
    assert "2020-01-01. Both at once.\n<!-- end of table -->\nafter" in new
    assert "old" not in new
    assert docs_tables.updated(new, tmp_path) == new
    with pytest.raises(UserError, match="unknown table 'pahts'"):
        docs_tables.updated(text.replace("paths", "pahts"), tmp_path)


def test_what_the_quickstart_downloads_and_leaves_on_disk(tmp_path):
    sizes = {"download": 250_400_000, "environment": 1_234_000_000, "run": 200_600_000.5}
    record = {"epochs": 10_000, "bytes": sizes, "date": "2020-01-01"}
    versions = {"system": "Linux x86_64", "torch": "2"}
    (tmp_path / "quickstart.json").write_text(json.dumps({**record, "versions": versions}))
    table = docs_tables.quickstart(tmp_path)
    assert "| packages to download | 250 MB |\n| `.venv/` | 1,234 MB |" in table
    assert "| a run of 10,000 epochs with its pages, at most | 201 MB |" in table
    assert table.endswith("\nLinux x86_64, torch 2, 2020-01-01.\n")


def test_report_cards_stand_side_by_side_with_their_verdicts_and_controls(tmp_path):
    def run(name, verdict, control):
        row = {"what": "loss at weight decay 1", "paper": "1e-7", "accepted": "at most 2e-7"}
        rows = [
            {**row, "run": f"of {name}", "verdict": verdict, "control": control},
            {**row, "what": "phases", "run": "none", "verdict": "PASS", "control": None},
        ]
        failed, not_yet = int(verdict == "FAIL"), int(verdict == "NOT YET")
        card = {"epoch": 40000, "passed": 1, "failed": failed, "not_yet": not_yet, "rows": rows}
        hardware = {"device_name": "CPU", "threads": 1, "kernel": "avx512", "date": "2020-01-01"}
        versions = {"torch": "2", "python": "3"}
        accuracy = {"final_validation_accuracy": 0.875}
        return {"name": name, "card": card, **accuracy, **hardware, "versions": versions}

    drawn = {"of": "4 others", "draws": 20, "median": 5.25, "range": [4.5, 6]}
    none_left = {"of": "56 others", "draws": 0, "median": None, "range": None}
    runs = [
        run("seed_1", "PASS", drawn),
        run("seed_3", "FAIL", drawn),
        run("memoriser", "NOT YET", none_left),
    ]
    (tmp_path / "report_cards.json").write_text(json.dumps({"runs": runs}))
    table = docs_tables.report_cards(tmp_path)
    assert "|  | paper | accepted | seed 1 | seed 3 |" in table
    assert "| loss | 1e-7 | at most 2e-7 | of seed_1 **PASS** | of seed_3 **FAIL** |" in table
    assert "| rows that pass, of those judged |  |  | 1 of 1 | 1 of 2 |" in table
    assert "| at epoch |  |  | 40,000 | 40,000 |\n\nCPU, 1 thread" in table
    assert "NOT YET" not in table
    others = docs_tables.other_cards(tmp_path)
    assert "|  | memoriser |" in others and "| loss | of memoriser **NOT YET** |" in others
    assert "| rows NOT YET | 1 |\n| validation accuracy | 87.50% |" in others
    controls = docs_tables.controls(tmp_path).splitlines()
    cells = "5.25 (4.5 to 6) | 5.25 (4.5 to 6) | too few to draw from"
    assert controls[2:] == [f"| loss | as many others | {cells} |"]


def test_the_pages_of_all_reports_are_summed_up(tmp_path):
    def run(megabytes, seconds):
        written = {"bytes": {"film.html": megabytes * 1_000_000}, "seconds": seconds}
        hardware = {"device_name": "CPU", "threads": 1, "kernel": "avx512", "date": "2020-01-01"}
        return {"pages": written, **hardware, "versions": {"torch": "2", "python": "3"}}

    (tmp_path / "report_cards.json").write_text(json.dumps({"runs": [run(7, 9.6), run(8, 12.2)]}))
    table = docs_tables.pages(tmp_path)
    assert "| `film.html` | 7.0 to 8.0 MB |" in table
    assert "took 10 to 12 s for all of it; 2 runs, CPU, 1 thread" in table


def test_the_benchmark_in_ratios_of_the_kernels_medians(tmp_path):
    found = {
        "epoch": {"TransformerLens": 30.0, "textbook PyTorch": 20.0, "kernel avx512": 2.0},
        "late epoch": {"TransformerLens": 30.0, "textbook PyTorch": 20.0, "kernel avx512": 1.0},
        "evaluate": {"TransformerLens": 50.0, "textbook PyTorch": 45.0, "kernel avx512": 10.0},
        "surfaces": {"TransformerLens": 8.0, "kernel avx512": 0.5},
    }
    computer = {"processor": "CPU", "torch": "2", "transformer-lens": "3.9", "python": "3"}
    record = {
        "kernel": "avx512",
        "threads": {"1": found},
        "machine": {**computer, "date": "2020-01-01"},
        "rounds": 25,
    }
    (tmp_path / "bench.json").write_text(json.dumps(record))
    lines = docs_tables.bench(tmp_path).splitlines()
    assert lines[0].endswith(
        "| training epoch, 1 thread | late epoch, 1 thread | evaluation, 1 thread "
        "| surfaces, 1 thread |"
    )
    assert lines[2:4] == [
        "| TransformerLens | 15.0x | 30.0x | 5.0x | 16.0x |",
        "| textbook PyTorch | 10.0x | 20.0x | 4.5x |  |",
    ]
    assert len(lines) == 6 and "medians of 25 interleaved rounds" in lines[-1]
