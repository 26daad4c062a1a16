"""File formats: round trips, one line for every damaged file, nothing half-written."""

import json
import math
import os

import numpy as np
import pytest

from grokking.files import json_files
from grokking.files.history import History, read_history, write_history
from grokking.files.json_files import (
    write_json,
)
from grokking.files.run_files import read_config, read_grokking
from grokking.files.surfaces import Surface, read_surface, write_surface
from grokking.system.errors import RunError, UserError


def surface_text(**changes):
    record = {"neuron_index": 3, "modulus": 2, "surface": [[0.0, 1.5], [2, 0.25]]}
    return json.dumps({**record, **changes})


def test_a_surface_survives_the_round_trip_exactly(tmp_path):
    values = np.random.default_rng(0).exponential(1e-3, (17, 17)).astype(np.float32)
    path = write_surface(tmp_path, Surface(5, 17, values, epoch=9))
    back = read_surface(path)
    assert path.name == "activation_surface_neuron_5.json"
    assert (back.neuron_index, back.modulus, back.epoch) == (5, 17, 9)
    assert (back.values.astype(np.float32) == values).all()
    record = json.loads(path.read_text())
    assert record["surface"][2][11] == pytest.approx(values[2, 11])


def test_a_surface_of_the_original_is_read(tmp_path):
    path = tmp_path / "s.json"
    path.write_text(surface_text())
    back = read_surface(path)
    assert back.epoch is None
    assert back.values.tolist() == [[0.0, 1.5], [2.0, 0.25]]


def test_a_surface_that_is_not_finite_is_not_written(tmp_path):
    values = np.array([[0.0, math.nan], [1.0, 2.0]])
    with pytest.raises(RunError, match="neuron 3"):
        write_surface(tmp_path, Surface(3, 2, values))
    assert list(tmp_path.iterdir()) == []


BAD_SURFACES = {
    "not JSON": ("{", "not valid JSON"),
    "empty": ("", "not valid JSON"),
    "not an object": ("[1, 2]", "expected a JSON object, found a list"),
    "null": ("null", "expected a JSON object, found null"),
    "missing surface": ('{"neuron_index": 0, "modulus": 2}', "key 'surface' is missing"),
    "missing modulus": ('{"neuron_index": 0, "surface": []}', "key 'modulus' is missing"),
    "missing neuron": ('{"modulus": 2, "surface": []}', "key 'neuron_index' is missing"),
    "ragged": (surface_text(surface=[[0, 1], [2]]), r"'surface'\[1\] has 1 numbers"),
    "not square": (surface_text(surface=[[0, 1]]), "'surface' has 1 rows"),
    "side is not modulus": (surface_text(modulus=3), "expected modulus = 3"),
    "0x0": (surface_text(modulus=0, surface=[]), "'modulus' is 0"),
    "no rows": (surface_text(surface=[]), "'surface' has 0 rows"),
    "string": (surface_text(surface=[[0, "1"], [2, 3]]), r"'surface'\[0\]\[1\] is \"1\""),
    "null value": (surface_text(surface=[[0, None], [2, 3]]), "null in it, expected nowhere"),
    "boolean": (surface_text(surface=[[0, True], [2, 3]]), "is true"),
    "NaN": (surface_text(surface=[[0, math.nan], [2, 3]]), "NaN is not allowed"),
    "Infinity": (surface_text(surface=[[0, -math.inf], [2, 3]]), "-Infinity is not allowed"),
    "1e999": (surface_text().replace("1.5", "1e999"), "expected a finite number"),
    "huge integer": (surface_text().replace("1.5", "9" * 400), "expected a finite number"),
    "5,000 digits": (surface_text().replace("1.5", "9" * 5000), "not valid JSON"),
    "row is a number": (surface_text(surface=[1, 2]), r"'surface'\[0\] is 1"),
    "surface is text": (surface_text(surface="x"), "'surface' is \"x\""),
    "negative neuron": (surface_text(neuron_index=-1), "'neuron_index' is -1"),
    "fractional neuron": (surface_text(neuron_index=1.5), "'neuron_index' is 1.5"),
    "neuron is a boolean": (surface_text(neuron_index=True), "'neuron_index' is true"),
    "epoch is text": (surface_text(epoch="x"), "'epoch' is"),
    "newer schema": (surface_text(schema_version=2), "newer version"),
    "nested deep": ("[" * 100_000, "nested too deeply"),
    "empty lists": ("[" + "[]," * 1_000_000 + "0]", "1,000,001 lists and objects"),
}


@pytest.mark.parametrize("name", BAD_SURFACES)
def test_a_malformed_surface_gets_one_line_with_file_and_fault(tmp_path, name):
    text, fault = BAD_SURFACES[name]
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(UserError, match=fault) as caught:
        read_surface(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_file_folder_and_foreign_encoding(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_surface(tmp_path / "none.json")
    with pytest.raises(UserError, match="cannot be read"):
        read_surface(tmp_path)
    (tmp_path / "u16.json").write_text(surface_text(), encoding="utf-16")
    with pytest.raises(UserError, match="not UTF-8"):
        read_surface(tmp_path / "u16.json")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(os.devnull)])
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path, make):
    make(tmp_path / "pipe.json")
    with pytest.raises(UserError, match=r"pipe.json: cannot be read: Not a regular file"):
        read_surface(tmp_path / "pipe.json")


def test_a_byte_order_mark_is_no_fault(tmp_path):
    path = tmp_path / "s.json"
    path.write_text(surface_text(), encoding="utf-8-sig")
    assert read_surface(path).values.tolist() == [[0.0, 1.5], [2.0, 0.25]]


def test_a_file_may_be_as_large_as_the_numbers_that_it_says_it_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(json_files, "SMALL_JSON", 100)
    values = np.random.default_rng(0).exponential(size=(17, 17))
    path = write_surface(tmp_path, Surface(5, 17, values))
    losses, accuracies = values.flatten().tolist(), [0.123456789012345678] * 289
    history = History(list(range(289)), losses, losses, accuracies, accuracies)
    write_history(tmp_path, history)
    assert read_surface(path).modulus == 17
    assert read_history(tmp_path) == history
    path.write_text(path.read_text().replace('"modulus": 17', '"modulus": 3'))
    with pytest.raises(UserError, match="expected at most 0 MB by what it says of itself"):
        read_surface(path)
    loss = tmp_path / "loss_history.json"
    loss.write_text(loss.read_text().replace('"epochs": [0, ', '"epochs": [0], "more": ['))
    with pytest.raises(UserError, match="expected at most 0 MB by what it says of itself"):
        read_history(tmp_path)


def test_a_gigabyte_that_says_modulus_3_is_refused_by_its_first_bytes(tmp_path):
    """The rest is a hole, which is no JSON: whoever read it would say that."""
    path = tmp_path / "s.json"
    path.write_text('{"neuron_index": 0, "modulus": 3, "surface": [')
    os.truncate(path, 10**9)
    with pytest.raises(UserError, match="it has 1,000 MB, expected at most 40 MB"):
        read_surface(path)
    path.rename(tmp_path / "config.json")
    with pytest.raises(UserError, match="it has 1,000 MB, expected at most 40 MB"):
        read_config(tmp_path)


def test_histories_survive_the_round_trip_and_null_marks_what_was_not_finite(tmp_path):
    history = History([0, 10], [4.7, math.nan], [4.8, math.inf], [0.0, 1.0], [0.01, None])
    write_history(tmp_path, history)
    assert read_history(tmp_path) == History(
        [0, 10], [4.7, None], [4.8, None], [0.0, 1.0], [0.01, None]
    )
    loss = json.loads((tmp_path / "loss_history.json").read_text())
    accuracy = json.loads((tmp_path / "accuracy_history.json").read_text())
    assert {"epochs", "training_losses", "validation_losses"} <= set(loss)
    assert {"epochs", "training_accuracies", "validation_accuracies"} <= set(accuracy)


@pytest.mark.parametrize(
    ("name", "key", "value", "fault"),
    [
        ("loss_history.json", "epochs", [0, 0], "must increase"),
        ("loss_history.json", "epochs", [0, -1], "'epochs'"),
        ("loss_history.json", "training_losses", [1.0], "1 entries, expected 2"),
        ("loss_history.json", "training_losses", [1.0, -1], "expected a number >= 0"),
        ("accuracy_history.json", "epochs", [0, 2], "differs"),
        ("accuracy_history.json", "validation_accuracies", [0.5, 1.5], "expected a fraction"),
        ("accuracy_history.json", "validation_accuracies", [0.5, "x"], "expected a fraction"),
    ],
)
def test_a_damaged_history_is_refused(tmp_path, name, key, value, fault):
    write_history(tmp_path, History([0, 1], [1.0, 1.0], [1.0, 1.0], [0.0, 0.5], [0.0, 0.5]))
    record = json.loads((tmp_path / name).read_text())
    (tmp_path / name).write_text(json.dumps({**record, key: value}))
    with pytest.raises(UserError, match=f"{name}: .*{fault}"):
        read_history(tmp_path)


def test_json_never_contains_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": math.nan})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file_and_leaves_no_temporary_one(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot write .*x.json: No space left on device"):
        write_json(path, {"a": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
    assert json.loads(path.read_text()) == {"a": 1}


def test_written_files_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_json(tmp_path / "x.json", {})
    finally:
        os.umask(old)
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o640


def test_grokked_and_grok_epoch_must_agree(tmp_path):
    record = dict.fromkeys(
        [
            *("memorization_epoch", "generalization_epoch", "grok_epoch", "seconds"),
            *("final_training_accuracy", "final_validation_accuracy", "epochs_per_second"),
        ]
    )
    write_json(tmp_path / "grokking.json", {**record, "grokked": True})
    with pytest.raises(UserError, match="contradict"):
        read_grokking(tmp_path)
