"""Weights that others have trained, as our parameters: three forms of a file, every shape checked.

| form | marked by | epochs | split |
|---|---|---|---|
| a TransformerLens state dict; in .npz and .safetensors as our export writes it | `embed.W_E` | its note | - |
| `full_run_data.pth` of Nanda et al. (2023) | `state_dicts` | `epochs`, or every 100 | - |
| the dict of TransformerLens' Grokking_Demo | `checkpoints` | `checkpoint_epochs` | `train_indices` |

The two dicts also hold `model`, the last state. In Nanda's own transformer matrices are transposed against
TransformerLens', and W_O is [d_model, H * d_head], which marks it. Only the read-out at `=` counts:
what does the same there is folded into our parameters, and said; what cannot be is refused.
"""

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from grokking.files.interchange import NAMES, SAFETENSORS_TYPES
from grokking.model.parameters import parameter_shapes
from grokking.system.errors import UserError

LISTS = {"state_dicts": "epochs", "checkpoints": "checkpoint_epochs"}  # of states -> their epochs
EVERY = 100  # epochs between `state_dicts` that come without `epochs`
PASSED_OVER = frozenset(
    {"config", "train_losses", "test_losses", "train_loss", "test_loss", "optimizer", "scheduler"}
)
INDICES = ("train_indices", "test_indices")
READ = ("model", "epoch", "task", *LISTS, *LISTS.values(), *INDICES)
ATTENTION = "blocks.0.attn."
# What a config that was saved as a plain dict may not say otherwise.
LIKE_OURS = {"fn_name": "add", "act_type": "ReLU", "act_fn": "relu", "use_ln": False}
BIASES = (*(f"{ATTENTION}b_{name}" for name in "QKVO"), "unembed.b_U")
MASK, BUFFERS = f"{ATTENTION}mask", (f"{ATTENTION}mask", f"{ATTENTION}IGNORE")
TRANSPOSED = ("W_E", "W_Q", "W_K", "W_V", "W_in", "W_out")  # in Nanda's own transformer
UNIT = float(torch.finfo(torch.float32).eps)

Parameters = dict[str, Tensor]


class Foreign(NamedTuple):
    """What a file holds."""

    path: Path
    states: dict[int, Parameters]  # by epoch, ascending; float32, our names and shapes
    train_pairs: Tensor | None  # ascending pair numbers a * p + b; None: the file has no split
    form: str  # in words
    changes: list[str]  # what was cut, folded or rounded, in words
    task: str | None  # as GROK_TASK has it; None: the file does not say


def read_foreign(path: Path, epoch: int | None = None) -> Foreign:
    """The states of a file, `epoch` being that of weights of which it does not say it.

    UserError in one line for whatever our model cannot hold exactly at its read-out.
    """
    record = _load(path)
    single = NAMES["W_E"] in record
    try:
        if not single and (strange := record.keys() - {*READ, *PASSED_OVER}):
            raise UserError(f"it holds {min(strange)!r}, expected {NAMES['W_E']!r}, or 'model'")
        _check_config(record.get("config"))
        found = _by_epoch({"model": record} if single else record, epoch)
        changes: dict[str, None] = {}
        states = {e: _parameters(f"epoch {e}", state, changes) for e, state in found.items()}
        shapes = [{n: tuple(w.shape) for n, w in state.items()} for state in states.values()]
        if any(shape != shapes[0] for shape in shapes):
            raise UserError("its states are not of one size")
        pairs = _split(record, len(next(iter(states.values()))["W_E"]) - 1)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    nanda = any(state[NAMES["W_O"]].ndim == 2 for state in found.values())
    form = "the transformer of Nanda et al. (2023)" if nanda else "TransformerLens"
    return Foreign(path, states, pairs, form, list(changes), record.get("task"))


# --- the file ----------------------------------------------------------------------------------


def _load(path: Path) -> dict[str, Any]:
    """The dict in a file; of an export with a note, its weights and the epoch that the note tells."""
    try:
        if path.suffix == ".npz":
            return _noted(*_read_npz(path))
        if path.suffix == ".safetensors":
            return _noted(*_read_safetensors(path))
        record = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch and numpy raise many unrelated types on damaged input
        if found := re.search(r"Unsupported global: GLOBAL (\S+)", str(error)):
            raise UserError(_how_to_save_again(path, found[1])) from error
        raise UserError(
            f"{path}: not a readable file of weights ({type(error).__name__})"
        ) from error
    if not isinstance(record, Mapping) or not all(isinstance(key, str) for key in record):
        raise UserError(
            f"{path}: holds a {type(record).__name__}, expected a dict of named tensors"
        )
    return dict(record)


def _read_npz(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    note = json.loads(str(arrays.pop("metadata", "{}")))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, note


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The format is told in interchange.write_safetensors."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    note = {key: json.loads(text) for key, text in header.pop("__metadata__", {}).items()}
    types = {kind: np.dtype(name).newbyteorder("<") for name, kind in SAFETENSORS_TYPES.items()}
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        array = np.frombuffer(data[begin:end], types[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    return tensors, note


def _noted(weights: dict[str, Tensor], note: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {key: note[key] for key in ("epoch", "task") if key in note}
    return {"model": weights, **told} if told else weights


def _how_to_save_again(path: Path, kind: str) -> str:
    listed = "list(map(int, v)) if k.endswith(('epochs', 'indices')) else v"
    program = (
        f"import torch; d = torch.load({path.name!r}, weights_only=False); torch.save({{k: {listed} "
        f"for k, v in d.items() if k in {READ}}}, 'tensors.pth')"
    )
    return (
        f"{path}: it holds a Python object ({kind}), and loading that can run any code; if you trust it, "
        f'save its tensors alone, where its program is installed: python -c "{program}"'
    )


def _check_config(config: Any) -> None:
    for key, ours in LIKE_OURS.items():
        theirs = config.get(key, ours) if isinstance(config, Mapping) else ours
        if theirs != ours:
            raise UserError(f"its config has {key} {theirs!r}, expected {ours!r}")


# --- its states --------------------------------------------------------------------------------


def _by_epoch(record: Mapping[str, Any], given: int | None) -> dict[int, Mapping[str, Tensor]]:
    """The state dicts of a file by their epochs."""
    listed = next((key for key in LISTS if key in record), None)
    states: dict[int, Any] = {}
    if listed is not None:
        dicts, epochs = record[listed], record.get(LISTS[listed])
        if not isinstance(dicts, (list, tuple)) or not dicts:
            raise UserError(f"{listed!r} is no list of states")
        if epochs is None and listed == "state_dicts":
            epochs = range(0, EVERY * len(dicts), EVERY)
        numbers = _integers(LISTS[listed], epochs)
        if len(numbers) != len(dicts) or sorted(set(numbers)) != numbers or numbers[0] < 0:
            raise UserError(
                f"{LISTS[listed]!r} has {len(numbers)} entries, expected increasing epochs of the "
                f"{len(dicts)} states in {listed!r}"
            )
        states = dict(zip(numbers, dicts, strict=True))
    if not states and "model" not in record:
        raise UserError("it holds no weights")
    last = max(states, default=-1)
    model = record.get("model", states.get(last))
    told = "epoch" in record or _equal(model, states.get(last))
    if told and given is not None:
        raise UserError("it says itself of which epoch its weights are; leave --epoch out")
    if not _equal(model, states.get(last)):
        epoch = given if "epoch" not in record else _integers("epoch", [record["epoch"]])[0]
        if epoch is None:
            raise UserError("it does not say of which epoch its last weights are; --epoch N does")
        if epoch <= last:
            raise UserError(
                f"'model' is of epoch {epoch}, expected one after the last state, {last}"
            )
        states[epoch] = model
    for epoch, state in states.items():
        if not isinstance(state, Mapping) or not all(isinstance(w, Tensor) for w in state.values()):
            raise UserError(f"its state at epoch {epoch} is no dict of tensors")
    return states


def _equal(one: Any, other: Any) -> bool:
    """Are these two state dicts with the same tensors?"""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return False
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def _integers(name: str, values: Any) -> list[int]:
    try:
        numbers = torch.as_tensor(values if isinstance(values, Tensor) else list(values))
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{name!r} is missing or no list of integers") from error
    if numbers.ndim != 1 or numbers.is_floating_point() or not len(numbers):
        raise UserError(f"{name!r} is no list of integers")
    return [int(number) for number in numbers]


def _split(record: Mapping[str, Any], p: int) -> Tensor | None:
    """The training pairs; `test_indices`, where they are, must be all others."""
    keys = [key for key in INDICES if key in record]
    if not keys:
        return None
    train, *test = (_integers(key, record[key]) for key in keys)
    pairs = sorted(sum(test, train))
    whole = len(pairs) == p * p if test else len(pairs) < p * p
    distinct = len(set(pairs)) == len(pairs) and pairs[0] >= 0 and pairs[-1] < p * p
    if keys[0] != INDICES[0] or not (whole and distinct):
        raise UserError(f"{' and '.join(keys)} are no split of the {p * p} pairs a * {p} + b")
    return torch.tensor(sorted(train))


# --- one state ---------------------------------------------------------------------------------


def _parameters(where: str, state: Mapping[str, Tensor], changes: dict[str, None]) -> Parameters:
    """Our parameters of a state dict; `changes` is told what was done to them."""
    _check_names(where, state)
    for name, tensor in state.items():
        if name not in BUFFERS and not (tensor.is_floating_point() and tensor.isfinite().all()):
            raise UserError(f"{name} at {where} holds what is no finite number")
    own = {ours: state[theirs].detach() for ours, theirs in NAMES.items()}
    if own["W_O"].ndim == 2 and own["W_Q"].ndim == 3:
        own |= {name: own[name].mT for name in TRANSPOSED if own[name].ndim > 1}
        heads, d_head = own["W_Q"].shape[0], own["W_Q"].shape[-1]
        if own["W_O"].shape[1] == heads * d_head:
            own["W_O"] = own["W_O"].mT.reshape(heads, d_head, -1)
    _check_shapes(own)
    biases = _biases(own, state)
    mask = state.get(MASK, torch.ones(3, 3))
    if mask.shape != (3, 3) or not mask[2].all():
        raise UserError(f"{MASK} does not let `=` see all three positions")
    p = len(own["W_E"]) - 1
    if own["W_U"].shape[1] > p:
        own["W_U"], biases["b_U"] = own["W_U"][:, :p], biases["b_U"][:p]
        changes[f"the class = was cut from its {p + 1} outputs"] = None
    _fold_biases(own, biases, changes)
    if any(weight.dtype == torch.float64 for weight in own.values()):
        changes["float64 was rounded to float32"] = None
    # Copies: a view would be saved with all that it is a view of.
    return {n: w.to(torch.float32, copy=True).contiguous() for n, w in own.items()}


def _check_names(where: str, state: Mapping[str, Tensor]) -> None:
    for name in sorted(state.keys() - {*NAMES.values(), *BIASES, *BUFFERS}):
        if name.startswith("blocks.") and not name.startswith("blocks.0."):
            raise UserError(f"it has {name}, a second layer, expected one")
        if ".ln" in name or name.startswith("ln"):
            raise UserError(f"it has {name}, a LayerNorm, which this model has not")
        raise UserError(f"it has {name}, which this model has not; expected TransformerLens' names")
    for name in NAMES.values():
        if name not in state:
            raise UserError(f"{name} is missing at {where}")


def _check_shapes(own: Parameters) -> None:
    """UserError for sizes that do not belong to one model of ours."""
    dimensions = {n: len(shape) for n, shape in parameter_shapes(1, 1, 1, 1, 1, 1).items()}
    wrong = next((n for n, w in own.items() if w.ndim != dimensions[n]), None)
    if wrong is not None:
        raise UserError(f"{NAMES[wrong]} is {list(own[wrong].shape)}, which is of no known form")
    p, heads = len(own["W_E"]) - 1, len(own["W_Q"])
    d_model, classes = own["W_pos"].shape[1], own["W_U"].shape[1]
    if heads < 1 or d_model % heads:
        raise UserError(f"it has {heads} heads, expected a divisor of d_model = {d_model}")
    if classes not in (p, p + 1):
        raise UserError(
            f"it has {classes} outputs for {p + 1} tokens, expected {p}, or {p + 1} with `=`"
        )
    expected = parameter_shapes(p, d_model, heads, d_model // heads, len(own["b_in"]), classes)
    for name, shape in expected.items():
        if own[name].shape != shape:
            raise UserError(
                f"{NAMES[name]} comes to {list(own[name].shape)}, expected {list(shape)}: three positions "
                f"of width {d_model}, {p + 1} tokens, {heads} heads of {d_model // heads}"
            )


def _biases(own: Parameters, state: Mapping[str, Tensor]) -> Parameters:
    """The biases that our model lacks, by their short names, in float64; zeros where there are none."""
    of_heads, of_residual, of_classes = own["W_Q"][:, 0], own["b_out"], own["W_U"][0]
    like = (of_heads, of_heads, of_heads, of_residual, of_classes)
    biases = {}
    for name, zeros in zip(BIASES, map(torch.zeros_like, like), strict=True):
        bias = state.get(name, zeros)
        if bias.shape != zeros.shape:
            raise UserError(f"{name} is {list(bias.shape)}, expected {list(zeros.shape)}")
        biases[name.rpartition(".")[2]] = bias.detach().double()
    return biases


def _fold_biases(own: Parameters, biases: Parameters, changes: dict[str, None]) -> None:
    """Fold what attention and unembedding add into b_in and b_out, in float64.

    The three weights of a head sum to one, so b_V and b_O add the same to the residual stream of every
    pair, before the MLP and past it. b_K adds q . b_K to all three scores, which softmax does not see.
    b_U needs a b_out that W_U takes to it: least squares, whose rest must be rounding.
    """
    if biases["b_Q"].any():
        raise UserError("b_Q is not zero, and this model has no bias on its queries")
    if biases["b_K"].any():
        changes["b_K, which softmax does not see, was dropped"] = None
    W_O, W_in, W_U = (own[name].double() for name in ("W_O", "W_in", "W_U"))
    if biases["b_V"].any() or biases["b_O"].any():
        added = torch.einsum("hd,hdm->m", biases["b_V"], W_O) + biases["b_O"]
        own["b_in"] = (own["b_in"].double() + added @ W_in).float()
        own["b_out"] = (own["b_out"].double() + added).float()
        changes["b_V and b_O were folded into b_in and b_out"] = None
    if biases["b_U"].any():
        b_out, b_U = own["b_out"].double(), biases["b_U"]
        wanted = b_out @ W_U + b_U
        found = torch.linalg.lstsq(W_U.mT, wanted[:, None], driver="gelsd").solution[:, 0].float()
        terms = b_out.abs() @ W_U.abs() + b_U.abs()  # what the bias of each logit is summed from
        if (found.double() @ W_U - wanted).abs().max() > len(W_U) * UNIT * terms.max():
            raise UserError(
                "b_U is not zero, and there is no b_out that W_U takes to the same logits"
            )
        own["b_out"] = found
        changes["b_U was folded into b_out"] = None
