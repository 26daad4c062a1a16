"""Exported weights open in the programs they are meant for, and compute the same logits there."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import clean_environment

from grokking.checkpoint import save_checkpoint
from grokking.errors import UserError
from grokking.interchange import NAMES, main
from grokking.model import Transformer

P, D_MODEL, HEADS, D_MLP = 7, 12, 3, 10
CONFIG = {"modulus": P, "d_model": D_MODEL, "num_heads": HEADS, "d_mlp": D_MLP}


@pytest.fixture
def model():
    """A little transformer whose biases are not zero."""
    generator = torch.Generator().manual_seed(3)
    model = Transformer(P, D_MODEL, HEADS, D_MLP, generator)
    with torch.no_grad():
        for bias in (model.b_in, model.b_out):
            bias.normal_(generator=generator)
    return model


@pytest.fixture
def checkpoint(model, tmp_path):
    path = tmp_path / "final.pt"
    save_checkpoint(path, {"epoch": 12, "config": CONFIG, "model": model.state_dict()})
    return path


def tokens():
    a, b = torch.meshgrid(torch.arange(P), torch.arange(P), indexing="ij")
    return torch.stack([a.flatten(), b.flatten(), torch.full((P * P,), P)], dim=1)


def read_npz(path):
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name != "metadata"}


def read_tl(path):
    return {n: t.numpy() for n, t in torch.load(path, weights_only=True).items()}


def read_safetensors(path):
    return pytest.importorskip("safetensors.numpy").load_file(path)


READERS = {
    "tl": ("final.tl.pt", read_tl),
    "safetensors": ("final.safetensors", read_safetensors),
    "npz": ("final.npz", read_npz),
}


@pytest.mark.parametrize("form", READERS)
def test_every_container_holds_every_weight_under_its_name_in_transformer_lens(
    form, checkpoint, model, capsys
):
    name, read = READERS[form]
    assert main([str(checkpoint), "--format", form]) == 0
    arrays = read(checkpoint.with_name(name))
    for ours, theirs in NAMES.items():
        np.testing.assert_array_equal(arrays.pop(theirs), getattr(model, ours).detach().numpy())
    np.testing.assert_array_equal(
        arrays.pop("blocks.0.attn.mask"), np.tril(np.ones((3, 3), dtype=bool))
    )
    assert arrays.pop("blocks.0.attn.IGNORE") == -np.inf
    shapes = {name: array.shape for name, array in arrays.items()}
    d_head = D_MODEL // HEADS
    assert shapes == {
        **{f"blocks.0.attn.b_{x}": (HEADS, d_head) for x in "QKV"},
        "blocks.0.attn.b_O": (D_MODEL,),
        "unembed.b_U": (P,),
    }
    assert not any(array.any() for array in arrays.values())
    assert "epoch 12" in capsys.readouterr().out


def test_the_containers_say_what_model_they_hold(checkpoint):
    main([str(checkpoint), "--format", "npz"])
    main([str(checkpoint), "--format", "safetensors"])
    with np.load(checkpoint.with_suffix(".npz")) as archive:
        note = json.loads(str(archive["metadata"]))
    assert note["epoch"] == 12 and note["modulus"] == P and note["config"]["d_vocab"] == P + 1
    safetensors = pytest.importorskip("safetensors")
    with safetensors.safe_open(checkpoint.with_suffix(".safetensors"), "numpy") as file:
        assert {key: json.loads(text) for key, text in file.metadata().items()} == note


_IN_TRANSFORMER_LENS = """
import json, sys, torch
from transformer_lens import HookedTransformer, HookedTransformerConfig
config, path, out = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
model = HookedTransformer(HookedTransformerConfig(**config, device="cpu"))
model.load_state_dict(torch.load(path, weights_only=True))
torch.save(model(torch.load(sys.argv[4])), out)
"""


def test_hooked_transformer_loads_it_and_computes_the_same_logits(checkpoint, model, tmp_path):
    pytest.importorskip("transformer_lens", reason="pip install -e .[bench]")
    main([str(checkpoint), "--format", "tl"])
    main([str(checkpoint), "--format", "npz"])
    with np.load(checkpoint.with_suffix(".npz")) as archive:
        config = json.dumps(json.loads(str(archive["metadata"]))["config"])
    out, given = tmp_path / "logits.pt", tmp_path / "tokens.pt"
    torch.save(tokens(), given)
    path = str(checkpoint.with_suffix(".tl.pt"))
    subprocess.run(
        [sys.executable, "-c", _IN_TRANSFORMER_LENS, config, path, str(out), str(given)],
        env=clean_environment(HF_HUB_OFFLINE="1"),
        check=True,
        timeout=300,
    )
    with torch.no_grad():
        torch.testing.assert_close(torch.load(out), model(tokens()), rtol=1e-5, atol=1e-5)


def test_the_output_can_be_named(checkpoint, tmp_path):
    main([str(checkpoint), "--output", str(tmp_path / "weights.pth")])
    assert "embed.W_E" in read_tl(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["missing.pt"], "no such file"),
        (["."], "is a folder, expected a file"),
        (["final.pt", "--format", "onnx"], "invalid choice"),
        (["final.pt", "--output", "nowhere/x.pt"], "does not exist"),
        (["final.pt", "--output", "."], "is a folder"),
        (["final.pt", "--output", "final.pt"], "is the input itself"),
        (["damaged.pt"], "not a readable checkpoint"),
    ],
)
def test_bad_input_gets_one_line_and_nothing_is_written(
    arguments, complaint, checkpoint, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "damaged.pt").write_bytes(checkpoint.read_bytes()[:100])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=complaint) as raised:
        main(arguments)
    assert "\n" not in str(raised.value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
