"""The transformer's parameters: their names, once, and their shapes. Torch-free."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(NamedTuple):
    """The transformer's parameters, in the names and shapes of TransformerLens."""

    W_E: "Tensor"  # [p + 1, d_model]
    W_pos: "Tensor"  # [3, d_model]
    W_Q: "Tensor"  # [H, d_model, d_head]
    W_K: "Tensor"
    W_V: "Tensor"
    W_O: "Tensor"  # [H, d_head, d_model]
    W_in: "Tensor"  # [d_model, d_mlp]
    b_in: "Tensor"  # [d_mlp]
    W_out: "Tensor"  # [d_mlp, d_model]
    b_out: "Tensor"  # [d_model]
    W_U: "Tensor"  # [d_model, c]
