"""Exported weights open in the programs they are meant for, and compute the same logits there."""

import contextlib
import copy
import io
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from grokking.commands.export import main
from grokking.files.checkpoint import load_checkpoint, save_checkpoint
from grokking.files.interchange import FORMATS, NAMES, TRANSFORMER_LENS
from grokking.model.transformer import Transformer
from grokking.system.errors import UserError
from tests.support.accuracy import excess
from tests.support.environment import ROOT, clean_environment, unavailable
from tests.support.textbook import EPSILON, rounding
from tools import lens_environment

P, D_MODEL, HEADS, D_MLP = 7, 12, 3, 10


def random_model(*sizes):
    """A transformer of (p, d_model, heads, d_mlp) whose biases are not zero."""
    generator = torch.Generator().manual_seed(3)
    model = Transformer(*sizes, generator)
    with torch.no_grad():
        for bias in (model.b_in, model.b_out):
            bias.normal_(generator=generator)
    return model


def save(model, path):
    heads, d_model, _ = model.W_Q.shape
    sizes = {"d_model": d_model, "num_heads": heads, "d_mlp": len(model.b_in)}
    config = {"modulus": model.modulus, **sizes}
    save_checkpoint(path, {"epoch": 12, "config": config, "model": model.state_dict()})
    return path


@pytest.fixture
def model():
    return random_model(P, D_MODEL, HEADS, D_MLP)


@pytest.fixture
def checkpoint(model, tmp_path):
    return save(model, tmp_path / "final.pt")


def tokens(p):
    a, b = torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij")
    return torch.stack([a.flatten(), b.flatten(), torch.full((p * p,), p)], dim=1)


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


@pytest.fixture(scope="module", params=TRANSFORMER_LENS)
def release(request):
    """A release of TransformerLens that has an environment of its own."""
    if not lens_environment.is_complete(lens_environment.folder(request.param)):
        unavailable(f"no TransformerLens: python tools/lens_environment.py {request.param}")
    return request.param


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """What is exported, by the name that the tests give it."""
    small = random_model(P, D_MODEL, HEADS, D_MLP)
    return {
        "random": random_model(113, 128, 4, 512),
        "trained": trained_model(tmp_path_factory.mktemp("run")),
        "safetensors": small,
        "npz": small,
        "square": random_model(7, 8, 1, 8),  # a tensor fits in another's place, and transposed
    }


def trained_model(folder):
    """The reference network after 150 epochs: it has memorised."""
    settings = {"NUM_EPOCHS": 150, "PROBE_EVERY": 150, "TRAJECTORY": 0, "SKIP_VALIDATION": 1}
    variables = {f"GROK_{name}": str(value) for name, value in settings.items()}
    subprocess.run(
        [sys.executable, "-m", "grokking"],
        env=clean_environment(PYTHONPATH=str(ROOT), GROK_ARTIFACTS_DIR=str(folder), **variables),
        check=True,
        capture_output=True,
    )
    final = load_checkpoint(folder / "checkpoint_labeled" / "final.pt")
    return with_weights(random_model(113, 128, 4, 512), final["model"])


def with_weights(model, weights):
    """A copy of the model in which the given weights stand for its own."""
    changed = copy.deepcopy(model)
    changed.load_state_dict({**model.state_dict(), **weights})
    return changed


def export(model, folder, form="tl"):
    """Export a model, and keep the Python that is printed, as it is printed, with tokens for it."""
    folder.mkdir()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main([str(save(model, folder / "final.pt")), "--format", form])
    _, *recipes = printed.getvalue().split("\n\n")
    for release, recipe in zip(TRANSFORMER_LENS, recipes, strict=True):
        assert f"TransformerLens {release} " in recipe.splitlines()[0]
        (folder / f"{release}.py").write_text(recipe)
    torch.save(tokens(model.modulus), folder / "tokens.pt")


def export_wrongly(model, folder):
    """Exports that leave a tensor out, transpose one, or exchange two."""
    weights = model.state_dict()
    for name in NAMES:
        with pytest.MonkeyPatch.context() as patch:
            patch.delitem(NAMES, name)
            export(model, folder / f"without {name}")
    for name in ("W_E", "W_Q", "W_K", "W_V", "W_O", "W_in", "W_out"):
        wrong = with_weights(model, {name: weights[name].mT})
        export(wrong, folder / f"transposed {name}")
    for one, other in (("W_Q", "W_K"), ("W_V", "W_O"), ("W_in", "W_out"), ("b_in", "b_out")):
        wrong = with_weights(model, {one: weights[other], other: weights[one]})
        export(wrong, folder / f"exchanged {one} {other}")


@pytest.fixture(scope="module")
def computed(release, models, tmp_path_factory):
    """What the printed Python comes to in that release: logits by precision, or an error."""
    folder = tmp_path_factory.mktemp("exports")
    for name, model in models.items():
        export(model, folder / name, form=name if name in FORMATS else "tl")
    export_wrongly(models["square"], folder)
    variables = clean_environment(CUDA_VISIBLE_DEVICES="", HF_HUB_OFFLINE="1")
    lens_environment.run(release, sorted(folder.iterdir()), variables)
    return {path.name: torch.load(path / f"{release}.pt") for path in folder.iterdir()}


def difference(logits, model):
    """How far float32 and float64 logits of all pairs are from the model's; 1 is all that rounding does.

    In float64, where plain PyTorch is the truth itself, that is a unit for each term of the sums.
    """
    pairs = tokens(model.modulus)
    with torch.no_grad():
        plain, exact = model(pairs), copy.deepcopy(model).double()(pairs)
    assert [logits[kind].shape for kind in ("float32", "float64")] == 2 * [exact.shape]
    unit = rounding(model, exact.numpy()) * torch.finfo(torch.float64).eps / EPSILON
    off = float((logits["float64"] - exact).abs().max() / unit)
    return [excess(logits["float32"], plain, exact), off if math.isfinite(off) else math.inf]


@pytest.mark.parametrize("name", ["random", "trained", "safetensors", "npz", "square"])
def test_what_export_prints_makes_a_model_with_the_same_logits_in_transformer_lens(
    name, computed, models
):
    assert isinstance(computed[name], dict), computed[name]
    assert max(difference(computed[name], models[name])) <= 1


def test_a_tensor_that_is_left_out_transposed_or_exchanged_is_noticed(computed, models):
    for name in computed.keys() - models.keys():
        if name.startswith("without"):
            assert "Missing key" in computed[name], name
        else:
            assert min(difference(computed[name], models["square"])) > 1, name


def test_the_docs_and_ci_name_the_releases_for_which_it_prints():
    command = f"tools/lens_environment.py {' '.join(TRANSFORMER_LENS)}"
    for file in (".ci/run", "CONTRIBUTING.md"):
        assert command in (ROOT / file).read_text(encoding="utf-8")
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    bridge, hooked = (release.rpartition(".")[0] for release in TRANSFORMER_LENS)
    assert f"in TransformerLens {bridge} (" in readme and f"in {hooked}, the last" in readme


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
