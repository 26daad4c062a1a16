"""The folded model as ten tables: their names, their meaning and their shapes. Torch-free."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Tables(NamedTuple):
    """Everything the logits of all p * p pairs need (H heads, c classes), float32 in a run.

    alpha_h(a, b) = softmax(s0[a, h], s1[b, h], s2[h])
    pre(a, b)     = pre_bias + sum_h alpha0_h A[a, h] + alpha1_h B[b, h]
    logits(a, b)  = relu(pre) W_L + logit_bias + sum_h alpha0_h C[a, h] + alpha1_h D[b, h]
    """

    s0: "Tensor"  # scores of `=` on the first operand
    s1: "Tensor"  # on the second
    s2: "Tensor"  # on itself
    A: "Tensor"
    B: "Tensor"
    pre_bias: "Tensor"
    W_L: "Tensor"
    C: "Tensor"
    D: "Tensor"
    logit_bias: "Tensor"

    def detached(self) -> "Tables":
        """The same numbers, of which autograd knows nothing."""
        return Tables(*(table.detach() for table in self))

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """(p, H, d_mlp, c), as s0 and W_L say."""
        (p, heads), (d_mlp, classes) = self.s0.shape, self.W_L.shape
        return p, heads, d_mlp, classes


def table_shapes(p: int, heads: int, d_mlp: int, classes: int) -> dict[str, tuple[int, ...]]:
    """The shape of each table, in the order of `Tables`."""
    return {
        "s0": (p, heads),
        "s1": (p, heads),
        "s2": (heads,),
        "A": (p, heads, d_mlp),
        "B": (p, heads, d_mlp),
        "pre_bias": (d_mlp,),
        "W_L": (d_mlp, classes),
        "C": (p, heads, classes),
        "D": (p, heads, classes),
        "logit_bias": (classes,),
    }
