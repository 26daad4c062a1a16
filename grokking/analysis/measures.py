"""What every probe measures inside the model: one row of measures.npy (see files/measures.py).

| field | |
|---|---|
| `epoch` | int64 |
| `squares` | sum of squares of each parameter, float64, one field per name |
| `squares_total` | the same over all parameters |
| `W_E_norms` | float32 [blocks], norm of each block of the task's basis across the operands |
| `W_L_norms` | float32 [blocks], norm of each block across the classes |
| `logit_cosines` | float32 [blocks], amplitude of cos(w_k (s - c)), or of an irrep, in the logits |
| `W_E_gini`, `W_L_gini` | Gini coefficient of all components' norms, or of the strengths of irreps |
| `leading_frequencies` | int64, how many blocks the key rule finds in W_L at this epoch |
| `leading_restricted_loss` | loss of the logits restricted to those |

`leading_restricted_loss` is not the paper's restricted loss, whose frequencies are those of the final
model. Where no basis is known, the fields from `W_E_norms` on to it are left out.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokking.analysis.spectra import (
    amplitudes,
    basis_gini,
    block_norms,
    component_norms,
    key_blocks,
    restricted_loss,
)
from grokking.files.measures import Rows, with_digest
from grokking.model.parameters import Parameters
from grokking.task import Task


@lru_cache(maxsize=4)
def row_type(task: Task) -> np.dtype[np.void]:
    """The fields of one row of a run of this task."""
    fields: list[Any] = [
        ("epoch", "<i8"),
        ("squares", [(name, "<f8") for name in Parameters._fields]),
        ("squares_total", "<f8"),
    ]
    if task.group is not None and task.group.basis.sizes:
        spectrum = ("<f4", (len(task.group.basis.sizes),))
        fields += [(name, *spectrum) for name in ("W_E_norms", "W_L_norms", "logit_cosines")]
        fields += [("W_E_gini", "<f8"), ("W_L_gini", "<f8")]
        fields += [("leading_frequencies", "<i8"), ("leading_restricted_loss", "<f8")]
    return with_digest(fields)


def measure(
    epoch: int,
    task: Task,
    weights: Mapping[str, NDArray[Any]],
    W_L: NDArray[Any],
    class_sums: NDArray[np.float64],
) -> Rows:
    """One row [1] from the parameters, W_L = W_out W_U [d_mlp, p] and the class sums [p, p].

    Its digest is filled in when it is appended.
    """
    row = np.zeros(1, row_type(task))
    row["epoch"] = epoch
    for name in Parameters._fields:
        exact = weights[name].ravel().astype(np.float64)
        row["squares"][name] = exact @ exact
        row["squares_total"] += row["squares"][name]
    if task.group is not None and task.group.basis.sizes:
        group, basis = task.group, task.group.basis
        class_means = group.class_means(class_sums)
        embedding = component_norms(group.of_operands(weights["W_E"]), basis)
        output = component_norms(group.of_classes(W_L.T), basis)
        output_norms = block_norms(output, basis)
        leading = key_blocks(output_norms, basis)
        row["W_E_norms"], row["W_L_norms"] = block_norms(embedding, basis), output_norms
        row["logit_cosines"] = amplitudes(class_means, basis)
        row["W_E_gini"] = basis_gini(embedding, basis)
        row["W_L_gini"] = basis_gini(output, basis)
        row["leading_frequencies"] = len(leading)
        row["leading_restricted_loss"] = restricted_loss(class_means, leading, basis)
    return row
