"""The definitions of the measures in float64 and plain sums, to hold the package's own against."""

import math

import numpy as np
import torch

EPSILON = float(torch.finfo(torch.float32).eps)


def forward(model):
    """(logits [p, p, p], post [p, p, d_mlp], W_L [d_mlp, p]) of a model, by its textbook forward."""
    model, p = model.double(), model.modulus
    a, b = torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij")
    tokens = torch.stack([a, b, torch.full_like(a, p)], -1).reshape(-1, 3)
    with torch.no_grad():
        logits = model(tokens)[:, 2].reshape(p, p, p).numpy()
        post = model.mlp_post_at_equals(a.flatten(), b.flatten())[1].reshape(p, p, -1).numpy()
        W_L = (model.W_out @ model.W_U).numpy()
    return logits, post, W_L


def peak_output(model):
    """Scale W_U until frequency 2 lies far below a quarter of the largest norm in W_L, 3 well above."""
    for k, scale in ((2, 0.13), (3, 0.5)):
        for kind in ("cos", "sin"):
            direction = torch.tensor(wave(k, kind, np.arange(model.modulus), model.modulus)).float()
            direction /= direction.norm()
            model.W_U += (scale - 1) * torch.outer(model.W_U @ direction, direction)


def rounding(model, logits):
    """What float32 may make of a logit or a loss: a unit for each term of the sums behind it."""
    terms = sum(model.W_in.shape) + 3 * model.modulus
    return terms * EPSILON * np.abs(logits).max()


def wave(k, kind, x, p):
    """cos or sin of w_k x."""
    return getattr(np, kind)(2 * math.pi * k * x / p)


def goal(p):
    """The right class of every pair, [p, p]."""
    a, b = np.ogrid[:p, :p]
    return (a + b) % p


def losses(logits):
    """Loss of every pair, [p, p]."""
    target = np.take_along_axis(logits, goal(len(logits))[:, :, None], axis=2)[:, :, 0]
    peak = logits.max(axis=2)
    return np.log(np.exp(logits - peak[:, :, None]).sum(axis=2)) + peak - target


def right(logits):
    """Which pairs are answered correctly, [p, p]."""
    return logits.argmax(axis=2) == goal(len(logits))


def key_part(logits, keys):
    """The part of the logits along cos and sin of w_k (a + b) of the keys."""
    p, part = len(logits), np.zeros_like(logits)
    for k in keys:
        for kind in ("cos", "sin"):
            direction = wave(k, kind, np.add.outer(np.arange(p), np.arange(p)), p)
            direction /= np.linalg.norm(direction)
            part += np.einsum("ab,abc->c", direction, logits) * direction[:, :, None]
    return part


def components(rows):
    """Norm of each Fourier component of a function of the residue [p, n]: constant, cos and sin."""
    p = len(rows)
    waves = [np.full(p, p**-0.5)]
    for k in range(1, (p + 1) // 2):
        waves += [math.sqrt(2 / p) * wave(k, kind, np.arange(p), p) for kind in ("cos", "sin")]
    return [np.linalg.norm(w @ rows) for w in waves]


def frequency_norms(rows):
    """Norm of each frequency of a function of the residue, cos and sin together."""
    norms = components(rows)
    return [math.hypot(*norms[k : k + 2]) for k in range(1, len(rows), 2)]


def leading(rows):
    """The frequencies with more than a quarter of the largest norm."""
    norms = frequency_norms(rows)
    return [k + 1 for k, norm in enumerate(norms) if norm > max(norms) / 4]


def gini(values):
    return sum(abs(x - y) for x in values for y in values) / (2 * len(values) * sum(values))


def share(surface, k):
    """R squared of a surface [p, p] on the products of 1, cos, sin of w_k a and 1, cos, sin of w_k b."""
    p = len(surface)
    functions = [np.ones(p), *(wave(k, kind, np.arange(p), p) for kind in ("cos", "sin"))]
    design = np.stack([np.outer(f, g).ravel() for f in functions for g in functions], axis=1)
    fit, *_ = np.linalg.lstsq(design, surface.ravel(), rcond=None)
    centred = surface - surface.mean()
    return 1 - np.square(surface.ravel() - design @ fit).sum() / np.square(centred).sum()


def periodic(post):
    """How many neurons [p, p, n] have more than 85 % of their variance in one frequency."""
    p, _, n = post.shape
    found = [
        max(share(post[:, :, i], k) for k in range(1, (p + 1) // 2))
        for i in range(n)
        if np.ptp(post[:, :, i]) > 0
    ]
    return sum(s > 0.85 for s in found)
