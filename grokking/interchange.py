"""`python -m grokking export CHECKPOINT`: a model's weights under TransformerLens' names.

Three containers of the same tensors: `tl` (a state dict for torch.load and
HookedTransformer.load_state_dict), `safetensors` and `npz`. Torch is imported when it is needed.
"""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from grokking.artifacts import atomic_write, check_input, check_output
from grokking.cli import Parser

# Our parameter -> its name in TransformerLens; shapes are the same.
NAMES = {
    "W_E": "embed.W_E",  # [p + 1, d_model]
    "W_pos": "pos_embed.W_pos",  # [3, d_model]
    "W_Q": "blocks.0.attn.W_Q",  # [H, d_model, d_head]
    "W_K": "blocks.0.attn.W_K",
    "W_V": "blocks.0.attn.W_V",
    "W_O": "blocks.0.attn.W_O",  # [H, d_head, d_model]
    "W_in": "blocks.0.mlp.W_in",  # [d_model, d_mlp]
    "b_in": "blocks.0.mlp.b_in",
    "W_out": "blocks.0.mlp.W_out",  # [d_mlp, d_model]
    "b_out": "blocks.0.mlp.b_out",
    "W_U": "unembed.W_U",  # [d_model, p]
}
SAFETENSORS_TYPES = {"float32": "F32", "float64": "F64", "bool": "BOOL"}

Arrays = dict[str, NDArray[Any]]


def transformer_lens_weights(parameters: Mapping[str, NDArray[Any]]) -> Arrays:
    """Every entry of the state dict of TransformerLens' HookedTransformer, from our parameters.

    Biases that this model lacks are zeros; `mask` and `IGNORE` are the buffers of its attention.
    """
    heads, d_model, d_head = parameters["W_Q"].shape
    context = len(parameters["W_pos"])
    zeros = {
        **{f"blocks.0.attn.b_{name}": (heads, d_head) for name in "QKV"},
        "blocks.0.attn.b_O": (d_model,),
        "unembed.b_U": (parameters["W_U"].shape[1],),
    }
    dtype = parameters["W_E"].dtype
    return {
        **{theirs: parameters[ours] for ours, theirs in NAMES.items()},
        **{name: np.zeros(shape, dtype) for name, shape in zeros.items()},
        "blocks.0.attn.mask": np.tril(np.ones((context, context), dtype=bool)),
        "blocks.0.attn.IGNORE": np.array(-np.inf, dtype),
    }


def transformer_lens_config(parameters: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The arguments of HookedTransformerConfig that rebuild the model."""
    heads, d_model, d_head = parameters["W_Q"].shape
    return {
        "n_layers": 1,
        "n_heads": heads,
        "d_model": d_model,
        "d_head": d_head,
        "d_mlp": parameters["W_in"].shape[1],
        "n_ctx": len(parameters["W_pos"]),
        "d_vocab": len(parameters["W_E"]),
        "d_vocab_out": parameters["W_U"].shape[1],
        "act_fn": "relu",
        "normalization_type": None,
    }


def write_tl(file: IO[bytes], arrays: Arrays, note: Mapping[str, Any]) -> None:
    """A state dict: HookedTransformer(config).load_state_dict(torch.load(path))."""
    import torch

    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, file)


def write_npz(file: IO[bytes], arrays: Arrays, note: Mapping[str, Any]) -> None:
    """numpy.load(path): one array per name, and the note as JSON text under `metadata`."""
    np.savez(file, allow_pickle=False, **arrays, metadata=np.array(json.dumps(note)))


def write_safetensors(file: IO[bytes], arrays: Arrays, note: Mapping[str, Any]) -> None:
    """safetensors.torch.load_file(path); the note stands in the header's metadata.

    Format: 8 bytes of header length (little-endian), a JSON header padded to 8 bytes, raw data.
    """
    header: dict[str, Any] = {"__metadata__": {key: json.dumps(v) for key, v in note.items()}}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        kind = SAFETENSORS_TYPES[array.dtype.name]
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for array in arrays.values():
        file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())


FORMATS: dict[str, tuple[str, Callable[[IO[bytes], Arrays, Mapping[str, Any]], None]]] = {
    "tl": (".tl.pt", write_tl),
    "safetensors": (".safetensors", write_safetensors),
    "npz": (".npz", write_npz),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Export one checkpoint; UserError for one that is missing or damaged."""
    parser = Parser(
        prog="grokking export",
        description="Write a checkpoint's weights under the names that TransformerLens gives them, "
        "for HookedTransformer, safetensors or numpy.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT.pt", help="of a run's folder")
    parser.add_argument("--format", choices=FORMATS, default="tl", help="container [tl]")
    parser.add_argument("--output", type=Path, metavar="FILE", help="[beside the checkpoint]")
    given = parser.parse_args(arguments)
    suffix, write = FORMATS[given.format]
    check_input(given.checkpoint)
    output: Path = given.output or given.checkpoint.with_suffix(suffix)
    check_output(output, given.checkpoint)

    from grokking.checkpoint import load_checkpoint

    record = load_checkpoint(given.checkpoint)
    parameters = {name: weight.numpy() for name, weight in record["model"].items()}
    config = transformer_lens_config(parameters)
    note = {"config": config, "epoch": record["epoch"], "modulus": record["config"]["modulus"]}
    arrays = transformer_lens_weights(parameters)
    atomic_write(output, lambda file: write(file, arrays, note))
    told = ", ".join(f"{name}={value!r}" for name, value in config.items())
    print(f"{output}: {len(arrays)} tensors of epoch {record['epoch']:,}")
    print(f"It fits HookedTransformer(HookedTransformerConfig({told}))")
    return 0
