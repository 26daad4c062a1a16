"""The one rule of how near to float64 a result in float32 must be: its tolerance comes from a baseline.

Its error, both the largest and the root of the sum of squares, is at most twice that of plain PyTorch in
float32 on the same input and one rounding more. One wrong value shows in the former, many in the latter.
"""

import math
from typing import Any

import torch

UNIT = torch.finfo(torch.float32).eps


def excess(actual: Any, plain: Any, exact: Any, scale: float | None = None) -> float:
    """By how much the error exceeds what is allowed: at most 1 is accurate.

    The rounding is one of the values themselves, or of `scale`: what is left of large sums needs theirs.
    What is not finite is infinitely wrong, in the baseline too, by which nothing can be measured then.
    """
    values = [torch.as_tensor(x).detach().double().cpu() for x in (actual, plain, exact)]
    shapes = [tuple(x.shape) for x in values]
    assert len(set(shapes)) == 1, f"shapes {shapes}, expected three equal ones"
    if not all(x.isfinite().all() for x in values):
        return math.inf
    ours, baseline, true = (x.flatten() for x in values)
    size = true if scale is None else torch.full_like(true, float(scale))
    worst = 0.0
    for order in (math.inf, 2):
        error, allowed, unit = (
            float(torch.linalg.vector_norm(x, order)) if len(x) else 0.0
            for x in (ours - true, baseline - true, UNIT * size)
        )
        limit = 2 * allowed + unit
        worst = max(worst, error / limit if limit else math.inf if error else 0.0)
    return worst


def assert_as_good_as_pytorch(
    name: str, actual: Any, plain: Any, exact: Any, scale: float | None = None
) -> None:
    """The rule above."""
    found = excess(actual, plain, exact, scale)
    assert found <= 1, f"{name}: {found:.3g} times the error that is allowed"
