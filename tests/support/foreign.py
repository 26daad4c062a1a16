"""Weights in the forms of other programs, and what those compute with them, written out anew.

Nanda's transformer (2023) has its matrices transposed against TransformerLens', W_O as one matrix, and an
output for `=`. The forwards are those of the programs' own sources, in the precision of the weights.
"""

import torch
from torch import Tensor

from grokking.files.interchange import transformer_lens_weights

State = dict[str, Tensor]


def lens(parameters: State) -> State:
    """The state dict of a HookedTransformer, its biases zero."""
    arrays = transformer_lens_weights({name: w.numpy() for name, w in parameters.items()})
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def nanda(parameters: State, for_equals: bool = True) -> State:
    """The state dict of the paper's own transformer, with its float mask."""
    w, attention, mlp = parameters, "blocks.0.attn.", "blocks.0.mlp."
    equals = torch.linspace(-1, 1, len(w["W_U"]), dtype=w["W_U"].dtype)[:, None]
    return {
        "embed.W_E": w["W_E"].T.contiguous(),
        "pos_embed.W_pos": w["W_pos"],
        **{f"{attention}W_{x}": w[f"W_{x}"].mT.contiguous() for x in "KQV"},
        f"{attention}W_O": w["W_O"].flatten(0, 1).T.contiguous(),
        f"{attention}mask": torch.tril(torch.ones(3, 3)),
        f"{mlp}W_in": w["W_in"].T.contiguous(),
        f"{mlp}b_in": w["b_in"],
        f"{mlp}W_out": w["W_out"].T.contiguous(),
        f"{mlp}b_out": w["b_out"],
        "unembed.W_U": torch.cat([w["W_U"], equals], 1) if for_equals else w["W_U"],
    }


def tokens(p: int) -> Tensor:
    """a, b and `=` of every pair, [p * p, 3]."""
    a, b = torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij")
    return torch.stack([a.flatten(), b.flatten(), torch.full((p * p,), p)], dim=1)


def lens_logits(w: State) -> Tensor:
    """Logits at `=` of all pairs, [p * p, c], with every bias, as TransformerLens computes them."""
    x = w["embed.W_E"][tokens(len(w["embed.W_E"]) - 1)] + w["pos_embed.W_pos"]  # [n, 3, d_model]

    def heads(kind: str) -> Tensor:
        matrix, bias = w[f"blocks.0.attn.W_{kind}"], w[f"blocks.0.attn.b_{kind}"]
        return torch.einsum("npm,hmd->nphd", x, matrix) + bias

    queries, keys, values = map(heads, "QKV")
    scores = torch.einsum("nqhd,nkhd->nhqk", queries, keys) / queries.shape[-1] ** 0.5
    pattern = scores.masked_fill(~w["blocks.0.attn.mask"], -torch.inf).softmax(-1)
    z = torch.einsum("nhqk,nkhd->nqhd", pattern, values)
    x = x + torch.einsum("nqhd,hdm->nqm", z, w["blocks.0.attn.W_O"]) + w["blocks.0.attn.b_O"]
    post = (x @ w["blocks.0.mlp.W_in"] + w["blocks.0.mlp.b_in"]).relu()
    x = x + post @ w["blocks.0.mlp.W_out"] + w["blocks.0.mlp.b_out"]
    return x[:, -1] @ w["unembed.W_U"] + w["unembed.b_U"]


def nanda_logits(w: State) -> Tensor:
    """Logits at `=` of all pairs, [p * p, c], as the paper's own transformer computes them."""
    x = (
        w["embed.W_E"][:, tokens(w["embed.W_E"].shape[1] - 1)].permute(1, 2, 0)
        + w["pos_embed.W_pos"]
    )
    k, q, v = (torch.einsum("ihd,bpd->biph", w[f"blocks.0.attn.W_{name}"], x) for name in "KQV")
    scores = torch.einsum("biph,biqh->biqp", k, q)
    masked = torch.tril(scores) - 1e10 * (1 - w["blocks.0.attn.mask"])
    z = torch.einsum("biph,biqp->biqh", v, (masked / k.shape[-1] ** 0.5).softmax(-1))
    flat = z.permute(0, 2, 1, 3).flatten(2)  # b q (i h)
    x = x + torch.einsum("df,bqf->bqd", w["blocks.0.attn.W_O"], flat)
    post = (torch.einsum("md,bpd->bpm", w["blocks.0.mlp.W_in"], x) + w["blocks.0.mlp.b_in"]).relu()
    x = x + torch.einsum("dm,bpm->bpd", w["blocks.0.mlp.W_out"], post) + w["blocks.0.mlp.b_out"]
    return x[:, -1] @ w["unembed.W_U"]
