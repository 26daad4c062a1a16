"""The folding of the transformer into tables, with its gradient written out.

x0(a) = W_E[a] + W_pos[0], x1(b) = W_E[b] + W_pos[1], x2 = W_E[=] + W_pos[2]. All products run
over the p + 2 rows X = (x0(a) - x2 for every a, x1 - x0, x2): the tables of the second operand
differ from the first's by one row per head, and the biases are the row of x2. That is 29 M
multiply-adds for p = 113, d_model = 128, d_mlp = 512. Autograd would compute the same
gradients with three times the memory traffic, as long as the fused kernel takes for its part.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from grokking.model.parameters import Parameters
from grokking.model.tables import Tables


def fold_parameters(weights: Parameters) -> Tables:
    """Tables whose logits equal the model's at `=`, exactly and differentiably (once)."""
    return Tables(*_Fold.apply(*weights))  # type: ignore[no-untyped-call]


class _Saved(NamedTuple):
    """What the backward pass reads besides the weights."""

    X: Tensor  # [p + 2, d_model]
    query: Tensor  # [H, d_head], that of `=`
    key_query: Tensor  # [H, d_model], scaled: a score is its product with a row of X
    V: Tensor  # [H, p + 2, d_head]
    OI: Tensor  # [H, d_head, d_mlp] = W_O W_in
    OU: Tensor  # [H, d_head, c] = W_O W_U


class _Fold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *parameters: Tensor) -> Tables:
        w = Parameters(*parameters)
        H, d_head, d_model = w.W_O.shape
        x2 = w.W_E[-1] + w.W_pos[2]
        X = torch.cat([w.W_E + (w.W_pos[0] - x2), x2[None]])
        X[-2] = w.W_pos[1] - w.W_pos[0]
        query = x2 @ w.W_Q
        key_query = (w.W_K @ query[:, :, None]).squeeze(2) / d_head**0.5
        heads = w.W_O.reshape(H * d_head, d_model)
        V = X @ w.W_V
        OI = (heads @ w.W_in).view(H, d_head, -1)
        OU = (heads @ w.W_U).view(H, d_head, -1)
        ctx.save_for_backward(*w, *_Saved(X, query, key_query, V, OI, OU))

        scores = X @ key_query.T  # [p + 2, H]
        s0 = scores[:-2] + scores[-1]
        A, B, through_in = _first_second_bias(V @ OI)
        C, D, through_out = _first_second_bias(V @ OU)
        return Tables(
            s0=s0,
            s1=s0 + scores[-2],
            s2=scores[-1].clone(),
            A=A,
            B=B,
            pre_bias=x2 @ w.W_in + through_in + w.b_in,
            W_L=w.W_out @ w.W_U,
            C=C,
            D=D,
            logit_bias=(x2 + w.b_out) @ w.W_U + through_out,
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Parameters:
        g = Tables(*gradients)
        w, saved = Parameters(*ctx.saved_tensors[:11]), _Saved(*ctx.saved_tensors[11:])
        X, x2, heads = saved.X, saved.X[-1], w.W_O.flatten(0, 1)

        g_in = _rows_gradient(g.A, g.B, g.pre_bias)  # [H, p + 2, d_mlp]
        g_out = _rows_gradient(g.C, g.D, g.logit_bias)  # [H, p + 2, c]
        g_V = torch.baddbmm(g_out @ saved.OU.mT, g_in, saved.OI.mT)
        g_OI = (saved.V.mT @ g_in).flatten(0, 1)  # [H * d_head, d_mlp]
        g_OU = (saved.V.mT @ g_out).flatten(0, 1)

        first = g.s0 + g.s1
        g_scores = torch.cat([first, g.s1.sum(0)[None], (first.sum(0) + g.s2)[None]])
        g_key_query = (g_scores.T @ X) / w.W_Q.shape[2] ** 0.5  # [H, d_model]
        g_query = (g_key_query[:, None] @ w.W_K).squeeze(1)  # [H, d_head]
        g_X = g_V.transpose(0, 1).flatten(1) @ w.W_V.transpose(1, 2).flatten(0, 1)
        g_X.addmm_(g_scores, saved.key_query)

        g_x0 = g_X[:-2].sum(0)
        b_out = w.W_U @ g.logit_bias
        g_x2 = g_X[-1] - g_x0 + w.W_in @ g.pre_bias + b_out
        g_x2 += torch.einsum("hmd,hd->m", w.W_Q, g_query)
        W_U = torch.addmm(torch.outer(x2 + w.b_out, g.logit_bias), w.W_out.T, g.W_L)
        return Parameters(
            W_E=torch.cat([g_X[:-2], g_x2[None]]),
            W_pos=torch.stack([g_x0 - g_X[-2], g_X[-2], g_x2]),
            W_Q=x2[:, None] * g_query[:, None],
            W_K=g_key_query[:, :, None] * saved.query[:, None],
            W_V=X.T @ g_V,
            W_O=torch.addmm(g_OU @ w.W_U.T, g_OI, w.W_in.T).view_as(w.W_O),
            W_in=torch.addmm(torch.outer(x2, g.pre_bias), heads.T, g_OI),
            b_in=g.pre_bias,
            W_out=g.W_L @ w.W_U.T,
            b_out=b_out,
            W_U=W_U.addmm_(heads.T, g_OU),
        )


def _first_second_bias(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """From rows [H, p + 2, k]: the tables of both operands [p, H, k], and what x2 adds [k]."""
    rows = rows.transpose(0, 1)
    first = rows[:-2].contiguous()
    return first, first + rows[-2], rows[-1].sum(0)


def _rows_gradient(first: Tensor, second: Tensor, bias: Tensor) -> Tensor:
    """The gradient of `_first_second_bias`'s rows, [H, p + 2, k]."""
    p, H, width = first.shape
    rows = first.new_empty(H, p + 2, width)
    torch.add(first.transpose(0, 1), second.transpose(0, 1), out=rows[:, :-2])
    rows[:, -2] = second.sum(0)
    rows[:, -1] = bias
    return rows
