"""Checkpoints: verified content, no code, one line for every damaged file."""

import pickle

import pytest
import torch

from grokking.files.checkpoint import digest, load_checkpoint, save_checkpoint
from grokking.system.errors import UserError


def record():
    return {
        "epoch": 3,
        "config": {"weight_decay": 1.0, "neurons": None, "device": "auto"},
        "model": {
            "W_E": torch.arange(6.0).reshape(2, 3),
            "b_in": torch.tensor([float("nan"), 0.0]),
        },
        "optimizer": {},
    }


def test_what_is_saved_is_loaded(tmp_path):
    save_checkpoint(tmp_path / "x.pt", record())
    loaded = load_checkpoint(tmp_path / "x.pt")
    assert loaded["epoch"] == 3
    assert loaded["config"] == record()["config"]
    assert loaded["model"]["W_E"].equal(record()["model"]["W_E"])
    assert loaded["schema_version"] == 1


def alternatives():
    """Records that differ from record() in one respect each."""
    yield {**record(), "epoch": 4}
    yield {**record(), "epoch": 3.0}
    yield {**record(), "epoch": "3"}
    yield {**record(), "extra": None}
    yield {**record(), "config": {**record()["config"], "neurons": [1]}}
    yield {k: v for k, v in record().items() if k != "optimizer"}
    for name, changed in (
        ("W_E", torch.arange(6.0).reshape(3, 2)),
        ("W_E", torch.arange(6.0).reshape(2, 3).double()),
        ("W_E", torch.arange(6).reshape(2, 3).to(torch.int32)),
        ("W_E", -torch.arange(6.0).reshape(2, 3)),
        ("b_in", torch.tensor([float("nan"), -0.0])),
    ):
        yield {**record(), "model": {**record()["model"], name: changed}}
    swapped = record()
    swapped["model"] = {"b_in": swapped["model"]["W_E"], "W_E": swapped["model"]["b_in"]}
    yield swapped


def test_the_digest_covers_names_shapes_types_bytes_and_metadata():
    digests = [digest(record()), *map(digest, alternatives())]
    assert len(set(digests)) == len(digests) == 13
    assert digest(record()) == digests[0]


@pytest.mark.parametrize("position", [0.02, 0.3, 0.5, 0.7, 0.98])
def test_altered_bytes_never_load_with_altered_content(tmp_path, position):
    path = tmp_path / "x.pt"
    save_checkpoint(path, {**record(), "model": {"W": torch.arange(2000.0)}})
    data = bytearray(path.read_bytes())
    data[int(len(data) * position)] ^= 0x10
    path.write_bytes(bytes(data))
    try:
        loaded = load_checkpoint(path)
    except UserError as error:
        assert str(path) in str(error)
    else:  # a flip in the padding of the zip file changes nothing that is read
        assert loaded["model"]["W"].equal(torch.arange(2000.0))


def test_a_flipped_bit_that_torch_accepts_is_found(tmp_path):
    path = tmp_path / "x.pt"
    weights = torch.full((2000,), 1.5)
    save_checkpoint(path, {"model": {"W": weights}})
    data = path.read_bytes()
    middle = data.index(weights.numpy().tobytes()[:64]) + 128
    path.write_bytes(data[:middle] + b"\x01" + data[middle + 1 :])
    with pytest.raises(UserError, match=r"damaged|not a readable"):
        load_checkpoint(path)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / "x.pt"
    save_checkpoint(path, record())
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(UserError, match="not a readable checkpoint"):
        load_checkpoint(path)


class Bomb:
    def __reduce__(self):
        return (open, (self.path, "w"))  # creates a file when unpickled


def test_a_pickle_with_code_is_refused_without_running_it(tmp_path):
    bomb = Bomb()
    bomb.path = str(tmp_path / "executed")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps({"sha256": bomb}))
    torch.save({"sha256": bomb}, tmp_path / "zip.pt")
    for name in ("raw.pt", "zip.pt"):
        with pytest.raises(UserError, match="not a readable checkpoint"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "executed").exists()


def test_foreign_and_newer_files_are_named_as_such(tmp_path):
    torch.save({"model": {}}, tmp_path / "foreign.pt")
    with pytest.raises(UserError, match="carries no digest"):
        load_checkpoint(tmp_path / "foreign.pt")
    save_checkpoint(tmp_path / "newer.pt", {**record(), "schema_version": 2})
    with pytest.raises(UserError, match="schema_version is 2"):
        load_checkpoint(tmp_path / "newer.pt")
    with pytest.raises(UserError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "none.pt")
