"""Weights of other programs become a run: exactly, or refused in a line, and nothing claims more of them."""

import argparse
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import grokking as package
from grokking.commands.export import main as export
from grokking.commands.import_run import main
from grokking.commands.report import main as report
from grokking.commands.surface import main as surface
from grokking.detection import NOT_JUDGED, detect, detect_between
from grokking.files.checkpoint import load_checkpoint, save_checkpoint
from grokking.files.folder import run_files
from grokking.files.foreign import read_foreign
from grokking.files.interchange import FORMATS, NAMES
from grokking.model.transformer import Transformer
from grokking.sweeps.folder import read_sweep
from grokking.system.errors import UserError
from tests.support.accuracy import assert_as_good_as_pytorch
from tests.support.foreign import lens, lens_logits, nanda, nanda_logits
from tests.support.outcome_runs import Course, checkpoint, circuit, config_of

P, D_MODEL, HEADS, D_MLP = 11, 16, 2, 24
ATTENTION = "blocks.0.attn."


def weights(seed=3):
    """Random parameters whose biases are not zero."""
    generator = torch.Generator().manual_seed(seed)
    drawn = Transformer(P, D_MODEL, HEADS, D_MLP, generator).state_dict()
    for bias in (drawn["b_in"], drawn["b_out"]):
        bias.normal_(generator=generator)
    return drawn


def biased(**sizes):
    """A TransformerLens state dict whose named biases are not zero."""
    state, generator = lens(weights()), torch.Generator().manual_seed(5)
    for name, size in sizes.items():
        full = "unembed.b_U" if name == "b_U" else f"{ATTENTION}{name}"
        state[full] = size * torch.randn(state[full].shape, generator=generator)
    return state


@pytest.fixture
def save(tmp_path, monkeypatch):
    """torch.save a record under a name, in the folder where the test is."""
    monkeypatch.chdir(tmp_path)

    def saved(record, name="weights.pt"):
        torch.save(record, tmp_path / name)
        return tmp_path / name

    return saved


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert found[name].dtype == torch.float32 and found[name].is_contiguous(), name
        assert torch.equal(found[name], weight), name


# --- the three forms, exactly ----------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_what_export_writes_comes_back_bit_for_bit(form, save, tmp_path):
    own, sizes = weights(), {"d_model": D_MODEL, "num_heads": HEADS, "d_mlp": D_MLP}
    save_checkpoint(
        tmp_path / "final.pt", {"epoch": 12, "config": {"modulus": P, **sizes}, "model": own}
    )
    export(["final.pt", "--format", form])
    file = tmp_path / f"final{FORMATS[form].suffix}"
    said = [] if form != "tl" else ["--epoch", "12"]  # a state dict has no room for it
    assert main([str(file), "run", *said]) == 0
    final = load_checkpoint(tmp_path / "run" / "checkpoint_labeled" / "final.pt")
    assert final["epoch"] == 12
    assert_same(final["model"], own)


@pytest.mark.parametrize("for_equals", [True, False])
def test_the_papers_form_is_transposed_and_its_class_of_equals_is_cut(for_equals, save):
    own = weights()
    foreign = read_foreign(save(nanda(own, for_equals)), 7)
    assert_same(foreign.states[7], own)
    assert foreign.changes == (["the class = was cut from its 12 outputs"] if for_equals else [])
    assert foreign.train_pairs is None


@pytest.mark.parametrize(
    ("state", "forward", "changes"),
    [
        (nanda(weights()), nanda_logits, ["the class ="]),
        (biased(), lens_logits, []),
        (biased(b_K=3.0), lens_logits, ["b_K"]),
        (biased(b_V=1.0), lens_logits, ["b_V and b_O"]),
        (biased(b_O=1.0), lens_logits, ["b_V and b_O"]),
        (biased(b_U=1.0), lens_logits, ["b_U"]),
        (biased(b_K=1.0, b_V=1.0, b_O=1.0, b_U=1.0), lens_logits, ["b_K", "b_V and b_O", "b_U"]),
    ],
    ids=["nanda", "no biases", "b_K", "b_V", "b_O", "b_U", "all biases"],
)
def test_all_logits_are_those_of_the_other_program(state, forward, changes, save):
    foreign = read_foreign(save(state), 0)
    said = zip(foreign.changes, changes, strict=True)
    assert all(change.startswith(begin) for change, begin in said)
    model = Transformer(P, D_MODEL, HEADS, D_MLP, torch.Generator())
    model.load_state_dict(foreign.states[0])
    pairs = torch.arange(P * P)
    with torch.no_grad():
        found = model.logits_at_equals(pairs // P, pairs % P)
    doubles = {name: w.double() if w.is_floating_point() else w for name, w in state.items()}
    plain, exact = (forward(w)[:, :P] for w in (state, doubles))
    assert_as_good_as_pytorch("logits", found, plain, exact)


def test_float64_is_rounded_and_that_is_said(save):
    own = weights()
    state = {n: w.double() if w.is_floating_point() else w for n, w in lens(own).items()}
    foreign = read_foreign(save(state), 0)
    assert_same(foreign.states[0], own)
    assert foreign.changes == ["float64 was rounded to float32"]


# --- epochs and the split --------------------------------------------------------------------


def states(count):
    return [nanda(weights(seed)) for seed in range(count)]


@pytest.mark.parametrize(
    ("record", "given", "epochs"),
    [
        (
            {"model": 3, "state_dicts": 3, "epochs": [0, 100, 250], "epoch": 300},
            None,
            [0, 100, 250, 300],
        ),
        ({"model": 3, "state_dicts": 3}, 900, [0, 100, 200, 900]),
        ({"state_dicts": 3, "train_losses": [1.0]}, None, [0, 100, 200]),
        ({"model": 2, "state_dicts": 3, "config": {"p": P}}, None, [0, 100, 200]),  # its last state
        (
            {"model": 1, "checkpoints": 2, "checkpoint_epochs": torch.tensor([99, 199])},
            None,
            [99, 199],
        ),
        ({"model": 0, "epoch": 5}, None, [5]),
        ({"model": 0}, 5, [5]),
    ],
)
def test_the_epochs_are_those_of_the_file_or_as_given(record, given, epochs, save):
    filled = {
        key: states(value) if key in ("state_dicts", "checkpoints")
        else nanda(weights(value)) if key == "model"
        else value
        for key, value in record.items()
    }  # fmt: skip
    foreign = read_foreign(save(filled), given)
    assert list(foreign.states) == epochs
    for seed, state in enumerate(foreign.states.values()):
        assert_same(state, weights(seed))


def demo(count=3, **changes):
    """The dict that TransformerLens' Grokking_Demo saves, but for its config."""
    order = torch.randperm(P * P, generator=torch.Generator().manual_seed(1))
    checkpoints = [lens(weights(seed)) for seed in range(count)]
    record = {
        "model": checkpoints[-1],
        "checkpoints": checkpoints,
        "checkpoint_epochs": [99 + 100 * i for i in range(count)],
        "test_losses": [1.0],
        "train_losses": [1.0],
        "train_indices": order[:40],
        "test_indices": order[40:],
    }
    return {key: value for key, value in (record | changes).items() if value is not None}


def test_the_history_has_each_state_on_both_parts_of_the_split(save):
    record = demo()
    assert main([str(save(record)), "run"]) == 0
    run = package.load("run")
    assert run.history.epochs.tolist() == run.epochs == [99, 199, 299]
    goal = (torch.arange(P * P) // P + torch.arange(P * P) % P) % P
    for position, state in enumerate(record["checkpoints"]):
        exact = lens_logits(
            {n: w.double() if w.is_floating_point() else w for n, w in state.items()}
        )
        losses = torch.nn.functional.cross_entropy(exact, goal, reduction="none")
        right = (exact.argmax(1) == goal).double()
        for part, pairs in (("training", "train_indices"), ("validation", "test_indices")):
            loss = getattr(run.history, f"{part}_loss")[position]
            accuracy = getattr(run.history, f"{part}_accuracy")[position]
            np.testing.assert_allclose(loss, losses[record[pairs]].mean(), rtol=1e-5)
            assert accuracy == right[record[pairs]].mean()
    assert run.imported["training_pairs"] == 40
    assert run.final.loss("training") == run.history.training_loss[-1]


# --- refusals --------------------------------------------------------------------------------


def changed(**changes):
    """A TransformerLens state dict with some tensors replaced, or None to leave one out."""
    renamed = {NAMES.get(name, name.replace("__", ".")): value for name, value in changes.items()}
    return {k: v for k, v in {**lens(weights()), **renamed}.items() if v is not None}


NAN = torch.full((P + 1, D_MODEL), torch.nan)
LOW_RANK = torch.outer(torch.ones(D_MODEL), torch.ones(P))
REFUSED = {
    "no dict": (torch.zeros(3), "holds a Tensor, expected a dict"),
    "unknown key": ({"model": {}, "weights": {}}, "it holds 'weights', expected 'embed.W_E', or 'model'"),
    "nothing": ({"train_losses": []}, "it holds no weights"),
    "no tensors": ({"model": {"embed.W_E": 3}, "epoch": 1}, "state at epoch 1 is no dict of tensors"),
    "b_Q": (biased(b_Q=1.0), "b_Q is not zero"),
    "b_U": (biased(b_U=1.0) | {"unembed.W_U": LOW_RANK}, "b_U is not zero, and there is no b_out"),
    "bias of a wrong shape": (changed(unembed__b_U=torch.zeros(P + 1)), r"b_U is \[12\], expected \[11\]"),
    "second layer": (changed(blocks__1__mlp__b_in=torch.zeros(1)), "a second layer, expected one"),
    "LayerNorm": (changed(blocks__0__ln1__w=torch.ones(D_MODEL)), "ln1.w, a LayerNorm"),
    "last LayerNorm": (changed(ln_final__w=torch.ones(D_MODEL)), "ln_final.w, a LayerNorm"),
    "unknown tensor": (changed(embed__scale=torch.ones(1)), "it has embed.scale, which"),
    "missing tensor": (changed(W_in=None), r"blocks.0.mlp.W_in is missing at epoch 1"),
    "NaN": (changed(W_E=NAN), "embed.W_E at epoch 1 holds what is no finite number"),
    "integers": (changed(b_in=torch.zeros(D_MLP, dtype=torch.int64)), "b_in at epoch 1 holds what is no"),
    "context": (changed(W_pos=torch.zeros(5, D_MODEL)), r"comes to \[5, 16\], expected \[3, 16\]: three"),
    "outputs": (changed(W_U=torch.zeros(D_MODEL, P + 2)), "13 outputs for 12 tokens, expected 11, or 12"),
    "shape": (changed(W_in=torch.zeros(D_MLP, D_MODEL)), r"W_in comes to \[24, 16\], expected \[16, 24\]"),
    "dimensions": (changed(W_Q=torch.zeros(())), r"W_Q is \[\], which is of no known form"),
    "heads": (changed(W_Q=torch.zeros(3, D_MODEL, 5)), "3 heads, expected a divisor of d_model = 16"),
    "head size": (changed(W_Q=torch.zeros(HEADS, D_MODEL, 4)), r"W_Q comes to \[2, 16, 4\], expected"),
    "one token": (
        changed(W_E=torch.zeros(2, D_MODEL), W_U=torch.zeros(D_MODEL, 1), unembed__b_U=None),
        "GROK_MODULUS is 1, expected an integer from 2",
    ),
    "mask": (changed(blocks__0__attn__mask=torch.eye(3)), "mask does not let `=` see all three"),
    "infinite loss": (changed(W_U=torch.full((D_MODEL, P), 3e38)), "the loss of its weights at epoch 1"),
    "other function": (
        {"model": lens(weights()), "epoch": 1, "config": {"fn_name": "subtract"}},
        "its config has fn_name 'subtract', expected 'add'",
    ),
    "two sizes": (
        demo(checkpoints=[lens(weights()), lens(circuit(31))], checkpoint_epochs=[1, 2], model=None),
        "its states are not of one size",
    ),
    "epochs missing": (demo(checkpoint_epochs=None), "'checkpoint_epochs' is missing or no list"),
    "too few epochs": (demo(checkpoint_epochs=[1, 2]), "has 2 entries, expected increasing epochs of the 3"),
    "epochs fall": (demo(checkpoint_epochs=[1, 3, 2]), "expected increasing epochs"),
    "epochs in halves": (demo(checkpoint_epochs=[0.5, 1.5, 2.5]), "is no list of integers"),
    "no states": (demo(checkpoints=[]), "'checkpoints' is no list of states"),
    "last epoch before": (demo(model=lens(weights(9)), epoch=5), "expected one after the last state, 299"),
    "split twice": (demo(train_indices=torch.tensor([1, 1])), "are no split of the 121 pairs a"),
    "split outside": (demo(train_indices=torch.tensor([121]), test_indices=None), "are no split"),
    "split of all": (demo(train_indices=torch.arange(121), test_indices=None), "are no split"),
    "half a split": (demo(train_indices=None), "test_indices are no split"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_exactly_our_model_is_refused_in_a_line_and_nothing_is_written(
    case, save, tmp_path
):
    record, complaint = REFUSED[case]
    named = isinstance(record, dict) and "embed.W_E" in record
    arguments = [str(save(record)), "run", *(["--epoch", "1"] if named else [])]
    with pytest.raises(UserError, match=complaint) as raised:
        main(arguments)
    assert "\n" not in str(raised.value) and str(raised.value).startswith(
        f"{tmp_path}/weights.pt: "
    )
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pt"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["missing.pt", "run"], "missing.pt: no such file"),
        ([".", "run"], "is a folder, expected a file"),
        (["weights.pt"], "required: DIR"),
        (["weights.pt", "weights.pt"], "DIR is weights.pt, which is a file, expected a folder"),
        (["weights.pt", "run", "--epoch", "-1"], "--epoch is -1, expected an epoch >= 0"),
        (["weights.pt", "run", "--epoch", "last"], "invalid int value"),
        (
            ["weights.pt", "old"],
            "old already holds a run; --overwrite replaces it, or name another",
        ),
    ],
)
def test_arguments_are_checked_before_torch_is_imported(arguments, complaint, tmp_path):
    (tmp_path / "weights.pt").touch()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text("{}")
    program = (
        "import sys; sys.modules['torch'] = None; sys.argv[1:1] = ['import']; import grokking.__main__ as m; "
        "sys.exit(m.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert complaint in done.stderr
    assert not (tmp_path / "run").exists()


def test_an_epoch_is_asked_for_where_the_file_does_not_say_it_and_only_there(save):
    with pytest.raises(
        UserError, match="does not say of which epoch its last weights are; --epoch N"
    ):
        read_foreign(save(lens(weights())))
    with pytest.raises(UserError, match="of which epoch its weights are; leave --epoch out"):
        read_foreign(save(demo()), 3)


@pytest.mark.parametrize("name", ["weights.pt", "weights.npz", "weights.safetensors"])
def test_a_damaged_file_is_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x80hello, world")
    with pytest.raises(UserError, match="not a readable file of weights"):
        read_foreign(tmp_path / name)


def test_what_is_said_of_a_pickled_config_makes_a_file_that_is_read(save, tmp_path):
    file = save({**demo(), "config": argparse.Namespace(p=P), "checkpoint_epochs": range(3)})
    with pytest.raises(UserError, match=r"it holds a Python object \(\S+\)") as raised:
        read_foreign(file)
    assert "\n" not in str(raised.value)
    subprocess.run(
        [sys.executable, "-c", str(raised.value).split('python -c "')[1].rstrip('"')],
        cwd=tmp_path,
        check=True,
    )
    assert list(read_foreign(tmp_path / "tensors.pth").states) == [0, 1, 2]


# --- the folder ------------------------------------------------------------------------------

COURSE = Course(400, None)
RISE = {0: 0.0, 100: 0.5, 200: 0.75, 300: 1.0, 400: 1.0}  # epoch -> share of the circuit
CONFIG = config_of(COURSE)


def planted(split):
    """States in the paper's form that grow a circuit; `split` as Grokking_Demo keeps it."""
    kept = {epoch: checkpoint(CONFIG, epoch, share) for epoch, share in RISE.items()}
    dicts = [nanda(record["model"]) for record in kept.values()]
    if split:
        pairs = kept[0]["train_pairs"]
        return {"checkpoints": dicts, "checkpoint_epochs": list(RISE), "train_indices": pairs}
    return {"state_dicts": dicts}


@pytest.fixture(scope="module", params=[True, False], ids=["split", "no split"])
def folder(request, tmp_path_factory):
    """A folder of planted states, with its report: (folder, has a split, what import printed)."""
    place = tmp_path_factory.mktemp("imported")
    torch.save(planted(request.param), place / "other.pth")
    done = subprocess.run(
        [sys.executable, "-m", "grokking", "import", "other.pth", "run"],
        capture_output=True,
        text=True,
        cwd=place,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert report([str(place / "run"), "--threads", "1"]) == 0
    return place / "run", request.param, done.stdout


def test_the_closing_sentences_say_what_was_imported_and_what_is_not_known(folder):
    _, split, printed = folder
    assert printed.startswith("run holds the weights of other.pth: 5 states, epochs 0 to 400\n")
    assert "the settings that they were trained with are not known" in printed
    assert "the class = was cut from its 32 outputs" in printed
    assert ("every loss and accuracy is over all pairs" in printed) == (not split)
    assert "next: python -m grokking report run\n" in printed


def test_no_file_claims_a_setting_that_is_not_known(folder):
    place, split, _ = folder
    fields = json.loads((place / "config.json").read_text())["config"]
    sizes = {"modulus": 31, "d_model": 32, "num_heads": 2, "d_mlp": 48}
    task = {"task": "add"} & fields.keys()
    known = {name: entry["value"] for name, entry in fields.items() if entry["source"] != "unknown"}
    assert {name: value for name, value in known.items() if name not in task} == sizes
    assert all(entry["value"] is None for name, entry in fields.items() if name not in known)
    run = package.load(place)
    assert run.config.weight_decay is None and run.config.seed is None
    assert run.departures == sizes
    card = json.loads((place / "report_card.json").read_text())
    assert card["weight_decay"] is None and card["seed"] is None and card["go_on_to"] is None
    assert card["imported"]["training_pairs"] == (480 if split else None)


def test_every_page_says_what_is_not_known(folder):
    place, split, _ = folder
    pages = [place / name for name in ("report.html", "film.html", "gallery.html")]
    pages += sorted((place / "visualizations").glob("*.html"))
    assert len(pages) > 5
    for page in pages:
        text = page.read_text()
        assert "other.pth, in the form of the transformer of Nanda et al." in text, page
        assert "the settings that they were trained with are not known" in text, page
        assert "weight decay 1.0" not in text and "Every setting is that" not in text, page
        assert ("every loss and accuracy is over all pairs" in text) == (not split), page
        if not split:
            assert "100.00% over all pairs" in text, page
            assert "% on the others" not in text, page


def test_the_card_judges_the_network_and_not_what_is_not_known(folder):
    place, split, _ = folder
    rows = {
        row["what"]: row for row in json.loads((place / "report_card.json").read_text())["rows"]
    }
    assert rows["ablation: logits restricted to cos, sin(w_k (a+b))"]["verdict"] == "PASS"
    assert rows["grok epoch"]["verdict"] == "not judged"
    phases = rows["ends of memorisation, circuit formation, cleanup (epochs)"]
    assert phases["verdict"] == "not judged"
    reason = (
        "what the imported weights were trained with" if split else "pairs that it was trained on"
    )
    assert reason in phases["reason"]
    over = f"over {'the training' if split else 'all'} pairs of"
    assert over in rows["excluded loss"]["definition"]


def test_python_looks_inside_and_names_what_is_not_known(folder, tmp_path):
    place, split, _ = folder
    run = package.load(place)
    assert repr(run).startswith(f"<grokking.Run {str(place)!r}: imported from other.pth, ")
    assert run.epochs == list(RISE) and run.at(310).epoch == 300
    assert run.final.accuracy("all") == 1.0 and run.final.predict(5, 30) == 4
    assert run.final.key_frequencies() == [3, 8, 11]
    for name in ("spectrum", "circles"):
        assert run.figure(name).data
    for name in ("curves", "progress"):
        curves = {trace.name for trace in run.figure(name).data}
        assert any(curve.startswith("validation") for curve in curves) == split
        assert any(curve.startswith("all pairs") for curve in curves) == (not split)
    if split:
        assert run.final.accuracy("training") == run.final.accuracy("validation") == 1.0
        return
    assert np.isnan(run.history.training_loss).all()
    assert (run.outcome, run.grok_epoch) == (NOT_JUDGED, None)
    assert run.history.validation_accuracy[-1] == 1.0
    for question in (run.final.loss, run.final.accuracy):
        for part in ("training", "validation"):
            with pytest.raises(
                ValueError, match=f"part is '{part}', expected 'all': the pairs that"
            ):
                question(part)


def test_surfaces_and_exports_of_any_epoch(folder, capsys):
    place, _, _ = folder
    assert surface([str(place), "6", "--epoch", "200"]) == 0
    assert (place / "activation_surface_neuron_6_epoch_200.json").exists()
    assert export([str(place / "checkpoint_labeled" / "final.pt")]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert_same(
            read_foreign(place / "checkpoint_labeled" / "final.tl.pt", 400).states[400], circuit(31)
        )


def test_training_does_not_go_on_from_there(folder, grokking):
    place, _, _ = folder
    before = {path: path.read_bytes() for path in run_files(place)}
    done = grokking(GROK_RESUME="1", GROK_ARTIFACTS_DIR=str(place))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "holds imported weights" in done.stderr and "cannot go on" in done.stderr
    with pytest.raises(
        ValueError, match="imported weights: what they were trained with is not known"
    ):
        package.train(place, resume=True, progress=False)
    assert {path: path.read_bytes() for path in run_files(place)} == before


def test_a_sweep_that_holds_imported_weights_names_them_and_leaves_them_out(folder):
    place, _, _ = folder
    with pytest.raises(
        UserError, match="run: holds imported weights, whose settings are not known"
    ):
        read_sweep(place.parent)


def test_a_folder_with_a_run_is_refused_or_replaced(save, tmp_path):
    assert main([str(save(demo())), "run"]) == 0
    file = save(lens(weights(8)), "other.pt")
    with pytest.raises(UserError, match="already holds a run; --overwrite replaces it"):
        main([str(file), "run", "--epoch", "4"])
    assert package.load("run").epochs == [99, 199, 299]
    assert main([str(file), "run", "--epoch", "4", "--overwrite"]) == 0
    assert package.load("run").epochs == [4]
    assert report(["run", "--threads", "1"]) == 0
    assert not (tmp_path / "run" / "film.html").exists()  # of one state


# --- what states that lie apart tell ----------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "training", "validation", "outcome"),
    [
        ([0, 100, 200, 9000, 9100], [0, 0.5, 1, 1, 1], [0, 0, 0, 1, 1], NOT_JUDGED),  # any time from 201 on
        ([0, 100, 200, 8900, 9000, 9100], [0, 0.5, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1], "grokked"),
        ([0, 100, 200, 300], [0, 0.5, 1, 1], [0, 0.5, 1, 1], "generalised"),  # memorised after 100
        ([0, 20_000, 25_000], [0, 1, 1], [0, 1, 1], NOT_JUDGED),
        ([25_000], [1], [1], NOT_JUDGED),
        ([25_000], [1], [0.02], "memorised"),
        ([0], [0.01], [0.01], "learning"),
        ([0, 100, 200], [None, None, None], [0, 1, 1], NOT_JUDGED),
    ],
)  # fmt: skip
def test_the_rule_judges_what_the_states_decide(epochs, training, validation, outcome):
    found = detect_between(epochs, training, validation)
    assert found.outcome == outcome
    if outcome == NOT_JUDGED:
        assert (found.memorization_epoch, found.grok_epoch, found.grokked) == (None, None, False)
    else:
        assert found == detect(epochs, training, validation)
