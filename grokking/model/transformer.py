"""The one-layer transformer of Nanda et al. (2023), and its exact folding into small tables.

Three forwards of one model, each exact:
`Transformer.forward` is the textbook (three positions, causal): the specification.
`Transformer.logits_at_equals` computes only what the read-out at `=` needs.
`fold` collapses attention into tables over the p tokens; `grokking.kernels` evaluates them.
"""

import torch
from torch import Tensor, nn

from grokking.model.fold import fold_parameters
from grokking.model.parameters import Parameters
from grokking.model.tables import Tables


class Transformer(nn.Module):
    """One layer, no LayerNorm, learned positions, untied; biases on the MLP only.

    Parameters carry the names and shapes of TransformerLens (p tokens and `=`, which is token p).
    Every weight is drawn normal / sqrt(d_model), W_U normal / sqrt(p + 1); biases start at 0.
    """

    def __init__(
        self, modulus: int, d_model: int, num_heads: int, d_mlp: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        d_head = d_model // num_heads
        self.modulus = modulus

        def normal(*shape: int, scale: float = d_model**-0.5) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) * scale)

        self.W_E = normal(modulus + 1, d_model)
        self.W_pos = normal(3, d_model)
        self.W_Q = normal(num_heads, d_model, d_head)
        self.W_K = normal(num_heads, d_model, d_head)
        self.W_V = normal(num_heads, d_model, d_head)
        self.W_O = normal(num_heads, d_head, d_model)
        self.W_in = normal(d_model, d_mlp)
        self.b_in = nn.Parameter(torch.zeros(d_mlp))
        self.W_out = normal(d_mlp, d_model)
        self.b_out = nn.Parameter(torch.zeros(d_model))
        self.W_U = normal(d_model, modulus, scale=(modulus + 1) ** -0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits at every position, [n, 3, p], of int64 tokens [n, 3] (a, b, =)."""
        resid = self.W_E[tokens] + self.W_pos  # [n, 3, d_model]
        query = torch.einsum("nqm,hmd->nhqd", resid, self.W_Q)
        key = torch.einsum("nkm,hmd->nhkd", resid, self.W_K)
        value = torch.einsum("nkm,hmd->nhkd", resid, self.W_V)
        scores = query @ key.mT / self.W_Q.shape[2] ** 0.5  # [n, H, 3, 3]
        future = torch.ones(3, 3, dtype=torch.bool, device=tokens.device).triu(1)
        pattern = scores.masked_fill(future, -torch.inf).softmax(dim=-1)
        resid_mid = resid + torch.einsum("nhqd,hdm->nqm", pattern @ value, self.W_O)
        mlp_post = relu(resid_mid @ self.W_in + self.b_in)  # [n, 3, d_mlp]
        return (resid_mid + mlp_post @ self.W_out + self.b_out) @ self.W_U

    def mlp_post_at_equals(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """(resid_mid [n, d_model], mlp_post [n, d_mlp]) at `=` for operands a, b: int64 [n]."""
        d_head = self.W_Q.shape[2]
        equals = self.W_E[self.modulus] + self.W_pos[2]  # [d_model], the same in every pair
        resid = torch.stack(
            [self.W_E[a] + self.W_pos[0], self.W_E[b] + self.W_pos[1], equals.expand(len(a), -1)], 1
        )  # [n, 3, d_model]
        query = equals @ self.W_Q  # [H, d_head]
        key = torch.einsum("nkm,hmd->nhkd", resid, self.W_K)
        value = torch.einsum("nkm,hmd->nhkd", resid, self.W_V)
        pattern = (torch.einsum("nhkd,hd->nhk", key, query) / d_head**0.5).softmax(dim=-1)
        mixed = torch.einsum("nhk,nhkd->nhd", pattern, value)
        resid_mid = equals + torch.einsum("nhd,hdm->nm", mixed, self.W_O)
        return resid_mid, relu(resid_mid @ self.W_in + self.b_in)

    def logits_at_equals(self, a: Tensor, b: Tensor) -> Tensor:
        """Logits at `=`, [n, p], for operands a, b: int64 [n]. Equals forward(...)[:, 2]."""
        resid_mid, mlp_post = self.mlp_post_at_equals(a, b)
        return (resid_mid + mlp_post @ self.W_out + self.b_out) @ self.W_U


def relu(x: Tensor) -> Tensor:
    """max(x, 0) that lets NaN through, with a zero gradient at 0."""
    return torch.relu(x)


def fold(model: Transformer) -> Tables:
    """Tables whose logits equal the model's at `=`, exactly and differentiably (once).

    Only the last position is read, its query is one constant vector, and the three
    attention weights sum to one, so the third is eliminated.
    """
    return fold_parameters(parameters_of(model))


def parameters_for_surfaces(model: Transformer) -> Parameters:
    """The parameters with the read-out cut to its first class, to be folded for surfaces alone.

    No surface depends on W_U, and its products are a third of the folding.
    """
    parameters = parameters_of(model)
    return parameters._replace(W_U=parameters.W_U[:, :1])


def parameters_of(model: Transformer) -> Parameters:
    """The model's own tensors, by name."""
    return Parameters(*(getattr(model, name) for name in Parameters._fields))
