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

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """(p, H, d_mlp, c), those of the folded tables."""
        return len(self.W_E) - 1, len(self.W_Q), len(self.b_in), self.W_U.shape[1]


def parameter_shapes(
    p: int, d_model: int, heads: int, d_head: int, d_mlp: int, classes: int
) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter, in the order of `Parameters`."""
    return {
        "W_E": (p + 1, d_model),
        "W_pos": (3, d_model),
        "W_Q": (heads, d_model, d_head),
        "W_K": (heads, d_model, d_head),
        "W_V": (heads, d_model, d_head),
        "W_O": (heads, d_head, d_model),
        "W_in": (d_model, d_mlp),
        "b_in": (d_mlp,),
        "W_out": (d_mlp, d_model),
        "b_out": (d_model,),
        "W_U": (d_model, classes),
    }
