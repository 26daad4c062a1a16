"""A model's weights under TransformerLens' names.

Three containers of the same tensors: `tl` (a state dict for torch.load), `safetensors` and `npz`.
With each comes the Python that makes the model of it in TransformerLens. Torch is imported when it
is needed.
"""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
# Release of TransformerLens -> Python that makes `model` of `weights`. 4.0 removed HookedTransformer.
TRANSFORMER_LENS = {
    "4.3.0": """\
from transformer_lens import TransformerBridge, TransformerBridgeConfig
from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint
config = TransformerBridgeConfig({config})
model = TransformerBridge.boot_native(config)
model.load_state_dict(convert_tl_checkpoint(weights, config))""",
    "3.9.0": """\
from transformer_lens import HookedTransformer, HookedTransformerConfig
model = HookedTransformer(HookedTransformerConfig({config}))
model.load_state_dict(weights)""",
}
SAFETENSORS_TYPES = {"float32": "F32", "float64": "F64", "bool": "BOOL"}

Arrays = dict[str, NDArray[Any]]


def transformer_lens_weights(parameters: Mapping[str, NDArray[Any]]) -> Arrays:
    """Every entry of the state dict of a HookedTransformer, from our parameters.

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
    """The arguments of TransformerLens' configurations, whichever release, that rebuild the model."""
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
    """torch.load(path): a state dict."""
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


class Container(NamedTuple):
    """A file format: its suffix, what writes it, and Python that reads `weights` from {path}."""

    suffix: str
    write: Callable[[IO[bytes], Arrays, Mapping[str, Any]], None]
    read: str


FORMATS = {
    "tl": Container(".tl.pt", write_tl, "import torch\nweights = torch.load({path!r})"),
    "safetensors": Container(
        ".safetensors",
        write_safetensors,
        "from safetensors.torch import load_file\nweights = load_file({path!r})",
    ),
    "npz": Container(
        ".npz",
        write_npz,
        "import numpy, torch\narrays = dict(numpy.load({path!r}))\ndel arrays['metadata']\n"
        "weights = {{name: torch.from_numpy(array) for name, array in arrays.items()}}",
    ),
}


def recipe(release: str, container: Container, path: Path, config: Mapping[str, Any]) -> str:
    """Python that makes `model` of an exported file in a release of TransformerLens, to be pasted."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in config.items())
    return "\n".join(
        [
            f"# In TransformerLens {release} (pip install transformer-lens=={release}):",
            container.read.format(path=str(path.absolute())),
            TRANSFORMER_LENS[release].format(config=arguments),
        ]
    )
