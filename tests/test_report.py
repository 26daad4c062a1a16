"""The report: the command on real little runs."""

import json
import os
import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from grokking import config
from grokking.analysis import progress_measures
from grokking.analysis.phases import Phases
from grokking.commands.progress import Progress
from grokking.commands.report import main, write_report
from grokking.files import trajectory
from grokking.files.checkpoint import load_checkpoint, save_checkpoint
from grokking.files.folder import run_files
from grokking.system.errors import RunError, UserError
from tests.support.tiny import TINY
from tools.docs.cards import cards


def train_in(directory):
    """The exit code of a tiny run of 40 epochs."""
    from grokking.commands.train import train_one

    return train_one(
        config.load({**TINY, "GROK_NUM_EPOCHS": "40", "GROK_ARTIFACTS_DIR": str(directory)})
    )


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    """A tiny finished run."""
    directory = tmp_path_factory.mktemp("report") / "run"
    assert train_in(directory) == 0
    return directory


def test_the_command_prints_and_writes_the_same_card(run_directory, capsys):
    assert main([str(run_directory)]) == 0
    printed = capsys.readouterr().out
    card = json.loads((run_directory / "report_card.json").read_text())
    assert card["epoch"] == 40
    assert card["departures"]["modulus"] == 7
    assert "departs from the paper's experiment: train_fraction 0.5, modulus 7" in printed
    assert len(card["rows"]) == 11
    for row in card["rows"]:
        assert f"{row['verdict']}: {row['what']}" in printed
        assert {
            "paper",
            "run",
            "value",
            "accepted",
            "reason",
            "control",
            "definition",
        } <= row.keys()
    verdicts = [row["verdict"] for row in card["rows"]]
    assert (card["passed"], card["failed"]) == (verdicts.count("PASS"), verdicts.count("FAIL"))
    neurons = next(row for row in card["rows"] if "> 85 %" in row["what"])
    assert 0 <= neurons["value"] <= 1  # measured whether it is judged or not
    assert (
        neurons["control"]["draws"] == 20 and f"control      {neurons['control']['of']}" in printed
    )
    assert "2. Restricted and excluded loss" in (run_directory / "report.html").read_text()


def test_the_brief_card_has_one_line_per_row(run_directory, capsys):
    assert main([str(run_directory), "--brief"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Report card at epoch 40")
    assert lines[1].startswith("This run departs from the paper's experiment: ")
    assert "key frequencies" in lines[2] and len(lines) == 2 + 11 + 2
    assert "not judged" in lines[2] and "judged from 99%" in lines[2]
    assert lines[-1] == f"open {run_directory / 'report.html'}"


def test_film_gallery_and_report_are_written_and_linked(run_directory):
    write_report(run_directory)
    page = (run_directory / "report.html").read_text()
    for name in ("film.html", "gallery.html", "visualizations/index.html"):
        assert (run_directory / name).exists() and f'href="{name}"' in page


def test_measures_run_from_the_first_recorded_epoch_to_the_final_model(run_directory):
    write_report(run_directory)
    measures = progress_measures.read(run_directory)
    assert measures.epochs == list(range(41))
    history = json.loads((run_directory / "loss_history.json").read_text())
    for epoch in (0, 16, 40):
        ours = measures.validation_losses[measures.epochs.index(epoch)]
        assert ours == pytest.approx(history["validation_losses"][epoch], rel=1e-4)
    assert len(measures.excluded_losses_by_frequency) == len(measures.key_frequencies)


def test_the_ends_of_the_phases_are_labelled(run_directory, monkeypatch):
    import grokking.analysis.investigation as investigation

    for phases in (Phases(4, 10, 16), Phases(4, 12, None)):  # the second outdates the first
        monkeypatch.setattr(investigation, "find_phases", lambda _, found=phases: found)
        write_report(run_directory)
    saved = load_checkpoint(run_directory / "checkpoint_labeled" / "circuit_formation.pt")
    recorded = load_checkpoint(run_directory / "trajectory" / "epoch_000012.pt")
    assert saved["epoch"] == 12
    assert saved["model"]["W_E"].equal(recorded["model"]["W_E"])
    assert not (run_directory / "checkpoint_labeled" / "cleanup.pt").exists()
    assert run_directory / "checkpoint_labeled" / "circuit_formation.pt" in run_files(run_directory)


def contents(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_everything_goes_into_another_folder_on_request(
    run_directory, tmp_path, monkeypatch, capsys
):
    import grokking.analysis.investigation as investigation

    monkeypatch.setattr(investigation, "find_phases", lambda _: Phases(4, 12, None))
    write_report(run_directory)
    before, elsewhere = contents(run_directory), tmp_path / "of a colleague" / "report"
    assert main([str(run_directory), "--output", str(elsewhere)]) == 0
    assert capsys.readouterr().out.endswith(f"open {elsewhere}/report.html\n")
    assert contents(run_directory) == before
    names = {str(path.relative_to(elsewhere)) for path in contents(elsewhere)}
    assert names == {
        "report.html",
        "film.html",
        "gallery.html",
        "report_card.json",
        "progress_measures.json",
        "checkpoint_labeled/circuit_formation.pt",
    }
    for name in names - {"report.html"}:
        assert (elsewhere / name).read_bytes() == (run_directory / name).read_bytes(), name
    assert "visualizations/index.html" not in (elsewhere / "report.html").read_text()


@contextmanager
def bound_by_permissions():
    """As somebody whom they bind, which root is not."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_a_folder_that_may_not_be_written_is_refused_before_anything_is_computed(
    run_directory, monkeypatch
):
    import grokking.analysis.investigation as investigation

    monkeypatch.setattr(investigation, "investigate", lambda *_: pytest.fail("computed"))
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        run.mkdir()
        shutil.copy(run_directory / "config.json", run)
        Path(folder).chmod(0o555)
        run.chmod(0o555)
        for arguments in ([], ["--output", f"{folder}/new/report"]):
            with bound_by_permissions(), pytest.raises(RunError) as error:
                main([str(run), *arguments])
            refusing = folder if arguments else run
            assert str(error.value) == (
                f"cannot write into {refusing}: Permission denied; --output DIR puts the report elsewhere"
            )
        Path(folder).chmod(0o755)
        run.chmod(0o755)


def test_an_output_that_is_a_file_or_another_run_is_refused(run_directory, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--output is .*/file, which is a file, expected a folder"):
        main([str(run_directory), "--output", str(tmp_path / "file")])
    (tmp_path / "config.json").touch()
    with pytest.raises(UserError, match=r"which holds another run; choose another folder"):
        main([str(run_directory), "--output", str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "file"]


def test_cards_of_several_runs_are_not_computed_for_a_file_that_cannot_be_written(
    run_directory, tmp_path, monkeypatch
):
    from tools.docs import cards as report_cards

    monkeypatch.setattr(report_cards, "write_report", lambda _: pytest.fail("computed"))
    for output, told in (
        (tmp_path / "no" / "a.json", "create it first"),
        (tmp_path, "is a folder"),
    ):
        monkeypatch.setattr("sys.argv", ["report_cards.py", str(output), str(run_directory)])
        with pytest.raises(UserError, match=told):
            report_cards.main()


def test_a_run_without_a_trajectory_gets_a_card_without_phases(run_directory, tmp_path):
    (tmp_path / "checkpoint_labeled").mkdir()
    for name in ("config.json", "grokking.json", "checkpoint_labeled/final.pt"):
        os.link(run_directory / name, tmp_path / name)
    record, _ = write_report(tmp_path)
    assert record["phases"] is None
    assert record["rows"][9]["verdict"] == "not judged"
    assert not (tmp_path / "progress_measures.json").exists()


def test_a_run_that_has_not_finished_is_reported_on_at_its_newest_recorded_epoch(
    tmp_path, monkeypatch, capsys
):
    class Interrupted(Progress):
        def update(self, epoch, history):
            if epoch == 20:
                signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("grokking.commands.progress.Progress", Interrupted)
    assert train_in(tmp_path) == 128 + signal.SIGTERM
    assert main([str(tmp_path)]) == 0
    assert "Report card at epoch 20:" in capsys.readouterr().out
    measures = progress_measures.read(tmp_path)
    history = json.loads((tmp_path / "loss_history.json").read_text())
    assert measures.epochs == history["epochs"] == list(range(21))
    assert measures.validation_losses == pytest.approx(history["validation_losses"], rel=1e-4)
    assert (tmp_path / "film.html").exists()
    assert not (tmp_path / "grokking.json").exists()
    (row,) = write_report(tmp_path)[0]["rows"][10:]
    assert (row["value"], row["verdict"]) == (None, "not judged")  # of another experiment


def test_a_record_that_is_thinned_out_while_it_is_read_is_reported_on(
    run_directory, tmp_path, monkeypatch
):
    """A run that trains removes recorded epochs that the report has already listed."""
    folder = shutil.copytree(run_directory, tmp_path / "run")
    (folder / "checkpoint_labeled" / "final.pt").unlink()
    listed = trajectory.recorded(folder)
    assert listed.keys() >= {0, 7, 30, 39, 40}
    for epoch in (7, 30, 39):
        listed[epoch].unlink()
    monkeypatch.setattr(trajectory, "recorded", lambda directory: dict(listed))
    assert main([str(folder), "--brief"]) == 0
    assert progress_measures.read(folder).epochs == [e for e in range(41) if e not in (7, 30, 39)]
    assert (folder / "film.html").exists()
    listed[40].unlink()
    assert write_report(folder)[0]["epoch"] == 38


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_with_a_loss_that_is_not_finite_are_refused_and_nothing_is_written(
    run_directory, tmp_path, value
):
    (tmp_path / "checkpoint_labeled").mkdir()
    os.link(run_directory / "config.json", tmp_path / "config.json")
    final = load_checkpoint(run_directory / "checkpoint_labeled" / "final.pt")
    final["model"]["W_E"][0, 0] = value  # in the pairs with operand 0 alone
    save_checkpoint(tmp_path / "checkpoint_labeled" / "final.pt", final)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="the loss of its last weights is not finite"):
        write_report(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_cannot_be_reported_on_is_refused(run_directory, tmp_path):
    (tmp_path / "config.json").write_bytes((run_directory / "config.json").read_bytes())
    with pytest.raises(UserError, match="nor recorded weights"):
        write_report(tmp_path)


def test_cards_of_several_runs_carry_summary_card_and_what_the_pages_cost(
    run_directory, monkeypatch
):
    now = [1000.0]

    def slow_report(directory):
        now[0] += 12.34
        return write_report(directory)

    clock = SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr("tools.docs.cards.time", clock)
    monkeypatch.setattr("tools.docs.cards.write_report", slow_report)
    (run,) = cards([run_directory])["runs"]
    assert (run["seed"], run["card"]["epoch"]) == (42, 40)
    sizes = run["pages"]["bytes"]
    assert sizes == {
        name: (run_directory / name).stat().st_size
        for name in ("report.html", "film.html", "gallery.html")
    }
    assert run["pages"]["seconds"] == 12.3


def test_the_film_shows_the_neurons_that_are_named(run_directory, capsys):
    assert main([str(run_directory), "--brief", "--neurons", "3, 1,3"]) == 0
    page = (run_directory / "film.html").read_text()
    assert '"neuron":3' in page and '"neuron":1' in page and page.count('"neuron":') == 2


@pytest.mark.parametrize(
    ("neurons", "complaint"),
    [
        ("24", "--neurons names 24, expected indices below 24"),
        ("0,1,2,3,4,5,6", "--neurons names 7, expected at most 6"),
        ("one", "'one', expected indices separated by commas"),
    ],
)
def test_wrong_neurons_are_one_line_and_change_nothing(run_directory, neurons, complaint):
    before = {path: path.stat().st_mtime_ns for path in run_directory.rglob("*.html")}
    with pytest.raises(UserError, match=complaint):
        main([str(run_directory), "--neurons", neurons])
    assert {path: path.stat().st_mtime_ns for path in run_directory.rglob("*.html")} == before
