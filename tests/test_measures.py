"""The row of a probe against the definitions, and a file that survives kills and resumes."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from grokking.analysis import measures
from grokking.analysis.hindsight import examine
from grokking.analysis.measures import measure
from grokking.analysis.spectra import amplitudes
from grokking.files.measures import append, forget_after, read
from grokking.fourier import cyclic_basis
from grokking.kernels.choice import choose_on_cpu
from grokking.kernels.compiled import implementations
from grokking.kernels.reference import Reference
from grokking.model.parameters import Parameters
from grokking.system.errors import UserError
from grokking.task import make_task
from grokking.training.engine import FoldedEngine, PlainEngine
from grokking.training.recorder import Recorder
from grokking.training.state import labeled_record, new_state, weights_of
from tests.support import textbook
from tests.support.addition import addition
from tests.support.training import CPU, TINY, resume, run


@pytest.fixture
def measured():
    """(model, its row at epoch 30, its logits [p, p, p] by the textbook forward in float64)."""
    state = new_state(TINY, CPU)
    with torch.no_grad():
        for parameter in state.model.parameters():
            parameter *= 2
        textbook.peak_output(state.model)
    engine = PlainEngine(addition(7), state.split, CPU)
    _, training = engine.training_step(state.model, engine.train, class_sums=True)
    sums = (
        training.class_sums
        + engine.evaluate(state.model, engine.validation, class_sums=True).class_sums
    )
    model = state.model
    weights = {name: w.detach().numpy() for name, w in model.named_parameters()}
    W_L = (model.W_out @ model.W_U).detach().numpy()
    row = measure(30, addition(7), weights, W_L, sums.numpy())[0]
    a, b = torch.meshgrid(torch.arange(7), torch.arange(7), indexing="ij")
    tokens = torch.stack([a, b, torch.full_like(a, 7)], -1).reshape(-1, 3)
    logits = model.double()(tokens)[:, 2].detach().numpy().reshape(7, 7, 7)
    return model, row, logits


def test_spectra_run_across_the_operand_tokens_and_across_the_classes(measured):
    model, row, _ = measured
    W_E, W_L = model.W_E.detach().numpy(), (model.W_out @ model.W_U).detach().numpy()
    assert row["epoch"] == 30
    np.testing.assert_allclose(row["W_E_norms"], textbook.frequency_norms(W_E[:7]), rtol=1e-5)
    np.testing.assert_allclose(row["W_L_norms"], textbook.frequency_norms(W_L.T), rtol=1e-5)


def test_gini_is_taken_over_all_components_of_the_spectrum(measured):
    model, row, _ = measured
    W_E, W_L = model.W_E.detach().numpy()[:7], (model.W_out @ model.W_U).detach().numpy()
    for name, rows in (("W_E_gini", W_E), ("W_L_gini", W_L.T)):
        expected = textbook.gini(textbook.components(rows.astype(np.float64)))
        assert row[name] == pytest.approx(expected, rel=1e-5)


def test_squares_are_summed_for_each_parameter_and_for_all(measured):
    model, row, _ = measured
    for name, parameter in model.named_parameters():
        expected = sum(w * w for w in parameter.flatten().tolist())
        assert row["squares"][name] == pytest.approx(expected, rel=1e-6)
    assert row["squares_total"] == pytest.approx(sum(row["squares"].tolist()), rel=1e-12)


def test_the_leading_restricted_loss_uses_the_frequencies_of_this_epoch(measured):
    model, row, logits = measured
    leading = textbook.leading((model.W_out @ model.W_U).detach().numpy().T)
    assert leading == [1, 3]
    assert row["leading_frequencies"] == len(leading)
    kept = textbook.key_part(logits, leading) + logits.mean(axis=(0, 1))
    expected = textbook.losses(kept).mean()
    assert row["leading_restricted_loss"] == pytest.approx(expected, rel=1e-5)


def test_the_amplitudes_of_the_logits_are_signed(measured):
    _, row, logits = measured
    a, b, c = np.ogrid[:7, :7, :7]
    for k in (1, 2, 3):
        wave = np.cos(2 * math.pi * k * (a + b - c) / 7)
        assert row["logit_cosines"][k - 1] == pytest.approx(
            (wave * logits).sum() / (wave**2).sum(), rel=1e-4
        )


def test_without_a_known_basis_only_the_squares_are_measured():
    weights = {name: np.ones(2, np.float32) for name in Parameters._fields}
    task = make_task("squares", 8)
    row = measure(0, task, weights, np.ones((4, 8), np.float32), np.zeros((8, 8)))
    assert row.dtype.names == ("epoch", "squares", "squares_total", "digest")
    assert row["squares_total"] == [22.0]


def test_a_run_measures_every_probe_and_numpy_reads_the_file(tmp_path):
    run(dataclasses.replace(TINY, probe_every=3), tmp_path)
    rows = np.load(tmp_path / "measures.npy")
    assert rows["epoch"].tolist() == [0, 3, 6, 9, 12, 15, 18, 20]
    assert read(tmp_path).tobytes() == rows.tobytes()
    assert np.isfinite(rows["leading_restricted_loss"]).all()


def test_the_last_row_is_measured_on_the_logits_of_the_last_state(tmp_path):
    state = run(TINY, tmp_path)
    checkpoint = labeled_record(state, 20, weights_of(state.model))
    expected = amplitudes(
        examine(checkpoint, addition(7), Reference()).class_means, cyclic_basis(7)
    )
    np.testing.assert_allclose(read(tmp_path)["logit_cosines"][-1], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["torch", *implementations()])
def test_every_kernel_measures_what_the_plain_path_measures(tmp_path, name):
    """The first step has rate 0, so that both rows are of the same weights: only rounding differs."""
    config = dataclasses.replace(TINY, num_epochs=1)

    def rows(engine_of):
        (directory := tmp_path / engine_of.__name__).mkdir()
        state = new_state(config, CPU)
        with torch.no_grad():
            for parameter in state.model.parameters():
                parameter *= 2
        run(config, directory, state, engine_of(state.split))
        return read(directory), state.model

    def plain(split):
        return PlainEngine(addition(7), split, CPU)

    def kernel(split):
        return FoldedEngine(addition(7), split, choose_on_cpu(name, 1))

    (ours, model), (theirs, _) = rows(kernel), rows(plain)
    assert len(ours) == len(theirs) == 2
    allowed = textbook.rounding(model, textbook.forward(model)[0])
    for field, factor in (("logit_cosines", 2), ("leading_restricted_loss", 1)):  # twice a mean
        assert np.isfinite(theirs[field]).all()
        np.testing.assert_allclose(ours[field], theirs[field], rtol=0, atol=factor * allowed)
    for field in ("squares_total", "W_E_norms", "W_L_norms", "W_E_gini", "W_L_gini"):
        assert np.isfinite(theirs[field]).all()
        np.testing.assert_array_equal(ours[field], theirs[field])


@pytest.mark.parametrize("cut", [4, 7])
def test_a_resumed_run_leaves_the_same_bytes(tmp_path, cut):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    run(TINY, whole)
    run(TINY, parts, stop_after=cut)
    run(TINY, parts, state=resume(TINY, parts))
    assert (parts / "measures.npy").read_bytes() == (whole / "measures.npy").read_bytes()


def rows_of(*epochs, dtype=None):
    row = np.zeros(len(epochs), dtype or measures.row_type(addition(5)))
    row["epoch"] = epochs
    return row


def test_rows_of_a_killed_append_are_ignored_and_written_over(tmp_path):
    append(tmp_path, [rows_of(0, 1)])
    with (tmp_path / "measures.npy").open("ab") as file:
        file.write(b"half of a row")
    assert read(tmp_path)["epoch"].tolist() == [0, 1]
    append(tmp_path, [rows_of(2), rows_of(3)])
    assert np.load(tmp_path / "measures.npy")["epoch"].tolist() == [0, 1, 2, 3]


def test_whole_rows_that_the_header_does_not_count_are_read(tmp_path):
    """A kill before the header was written, or a damaged header: the digests know."""
    append(tmp_path, [rows_of(0, 1, 2)])
    path = tmp_path / "measures.npy"
    path.write_bytes(path.read_bytes().replace(b"'shape': (3,)", b"'shape': (2,)"))
    assert read(tmp_path)["epoch"].tolist() == [0, 1, 2]


def test_every_damaged_byte_is_noticed_or_changes_nothing(tmp_path):
    append(tmp_path, [rows_of(0, 1), rows_of(2)])
    path, rows = tmp_path / "measures.npy", read(tmp_path).tobytes()
    good, refused = path.read_bytes(), 0
    for position in range(len(good)):
        for bit in (1, 4, 64):
            path.write_bytes(good[:position] + bytes([good[position] ^ bit]) + good[position + 1 :])
            try:
                assert read(tmp_path).tobytes() == rows, position
            except UserError:
                refused += 1
    assert refused > 2 * len(good)


def test_rows_that_were_lost_or_moved_are_noticed(tmp_path):
    append(tmp_path, [rows_of(0, 1, 2)])
    path, size = tmp_path / "measures.npy", measures.row_type(addition(5)).itemsize
    good = path.read_bytes()
    header, rows = good[: -3 * size], [good[-3 * size :][i * size :][:size] for i in range(3)]
    for order in ((0, 2, 1), (1, 2, 0), (0, 0, 1)):
        path.write_bytes(header + b"".join(rows[i] for i in order))
        with pytest.raises(UserError, match=r"damaged \(row [01] does not match its digest\)"):
            read(tmp_path)


def test_a_file_without_digests_is_read_and_gets_them_when_its_run_goes_on(tmp_path):
    with_digests = tmp_path / "new"
    with_digests.mkdir()
    append(with_digests, [rows_of(0, 1, 2)])
    older = measures.row_type(addition(5)).descr[:-1]
    np.save(tmp_path / "measures.npy", rows_of(0, 1, 2, 3, dtype=older))
    assert read(tmp_path)["epoch"].tolist() == [0, 1, 2, 3]
    forget_after(tmp_path, 2)
    written = (tmp_path / "measures.npy").read_bytes()
    assert written == (with_digests / "measures.npy").read_bytes()


def test_what_follows_the_resumed_epoch_is_dropped(tmp_path):
    forget_after(tmp_path, 3)
    append(tmp_path, [rows_of(0, 5, 10, 15)])
    forget_after(tmp_path, 9)
    assert read(tmp_path)["epoch"].tolist() == [0, 5]
    append(tmp_path, [rows_of(11)])
    assert read(tmp_path)["epoch"].tolist() == [0, 5, 11]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"nonsense" * 40])
def test_a_file_that_is_not_of_measures_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "measures.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"measures.npy: not a file of measures"):
        read(tmp_path)


def test_other_arrays_and_shortened_files_are_refused(tmp_path):
    np.save(tmp_path / "measures.npy", np.ones((3, 3)))
    with pytest.raises(UserError, match="not a file of measures"):
        read(tmp_path)
    (tmp_path / "measures.npy").unlink()
    append(tmp_path, [rows_of(0, 1)])
    content = (tmp_path / "measures.npy").read_bytes()
    (tmp_path / "measures.npy").write_bytes(content[:-1])
    with pytest.raises(UserError, match="lost its end"):
        read(tmp_path)
    with pytest.raises(UserError, match="another model"):
        append(tmp_path, [np.zeros(1, measures.row_type(addition(7)))])


def test_a_checkpoint_is_never_ahead_of_the_measures(tmp_path, monkeypatch):
    """As after kill -9: nothing is written at the end, only with the checkpoints."""
    monkeypatch.setattr(Recorder, "save_history", lambda self: None)
    run(TINY, tmp_path, stop_after=7)
    assert read(tmp_path)["epoch"].tolist() == list(range(8))
