"""The one-layer transformer of Nanda et al. (2023), and its exact folding into small tables.

Three forwards of one model, each exact:
`Transformer.forward` is the textbook (three positions, causal): the specification.
`Transformer.logits_at_equals` computes only what the read-out at `=` needs.
`fold` collapses attention into tables over the p tokens; `grokking.ops` evaluates them.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn


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


class Tables(NamedTuple):
    """The folded model: everything the logits of all p * p pairs need (c outputs; here c = p).

    alpha_h(a, b) = softmax(s0[a, h], s1[b, h], s2[h])
    pre(a, b)     = pre_bias + sum_h alpha0_h A[a, h] + alpha1_h B[b, h]
    logits(a, b)  = relu(pre) W_L + logit_bias + sum_h alpha0_h C[a, h] + alpha1_h D[b, h]
    """

    s0: Tensor  # [p, H] scores of `=` on the first operand
    s1: Tensor  # [p, H] on the second
    s2: Tensor  # [H] on itself
    A: Tensor  # [p, H, d_mlp]
    B: Tensor  # [p, H, d_mlp]
    pre_bias: Tensor  # [d_mlp]
    W_L: Tensor  # [d_mlp, c]
    C: Tensor  # [p, H, c]
    D: Tensor  # [p, H, c]
    logit_bias: Tensor  # [c]


def fold(model: Transformer) -> Tables:
    """Tables whose logits equal the model's at `=`, exactly and differentiably.

    Only the last position is read, its query is one constant vector, and the three
    attention weights sum to one, so the third is eliminated. Products go through
    d_head, and position 1's tables differ from position 0's by a constant per head:
    29 M multiply-adds for p = 113, d_model = 128, d_mlp = 512.
    """
    p, (d_head,) = model.modulus, model.W_Q.shape[2:]
    equals = model.W_E[p] + model.W_pos[2]  # [d_model]
    first = model.W_E[:p] + model.W_pos[0]  # [p, d_model]
    shift = model.W_pos[1] - model.W_pos[0]  # [d_model], second operand minus first
    key_query = torch.einsum("hmd,hd->mh", model.W_K, equals @ model.W_Q) / d_head**0.5

    value = (first - equals) @ model.W_V  # [H, p, d_head]
    shift_value = shift @ model.W_V  # [H, d_head]
    OI = model.W_O @ model.W_in  # [H, d_head, d_mlp]
    OU = model.W_O @ model.W_U  # [H, d_head, c]
    A = (value @ OI).transpose(0, 1)  # [p, H, d_mlp]
    C = (value @ OU).transpose(0, 1)  # [p, H, c]
    B = A + torch.einsum("hd,hdk->hk", shift_value, OI)
    D = C + torch.einsum("hd,hdk->hk", shift_value, OU)
    s0 = first @ key_query
    base = equals + torch.einsum("hd,hdm->m", equals @ model.W_V, model.W_O)  # alpha2 = 1
    return Tables(
        s0=s0,
        s1=s0 + shift @ key_query,
        s2=equals @ key_query,
        A=A,
        B=B,
        pre_bias=base @ model.W_in + model.b_in,
        W_L=model.W_out @ model.W_U,
        C=C,
        D=D,
        logit_bias=(base + model.b_out) @ model.W_U,
    )
