"""The clamp of a branch: after every step all parameters are scaled, so that their norm stays put."""

import math
from typing import NamedTuple

import torch

from grokking.model.transformer import Transformer


class Clamp(NamedTuple):
    """What the sum of all squared parameters is held at: `factor` times `squares`, that of the fork."""

    factor: float  # > 0
    squares: float

    @torch.no_grad()
    def apply(self, model: Transformer) -> None:
        """Multiply every parameter by the one number that brings the sum of their squares there.

        Weights that are all 0, which no number brings there, become NaN, and the run has diverged.
        """
        squares = squares_of(model)
        scale = math.sqrt(self.factor * self.squares / squares) if squares else math.nan
        for parameter in model.parameters():
            parameter.mul_(scale)


@torch.no_grad()
def squares_of(model: Transformer) -> float:
    """The sum of the squares of all parameters, each squared and all added in float64."""
    return sum(p.double().square().sum().item() for p in model.parameters())
