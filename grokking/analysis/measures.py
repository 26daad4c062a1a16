"""What every probe measures inside the model: one row of measures.npy (see files/measures.py).

| field | |
|---|---|
| `epoch` | int64 |
| `squares` | sum of squares of each parameter, float64, one field per name |
| `squares_total` | the same over all parameters |
| `W_E_norms` | float32 [(p-1)/2], norm of each frequency across the operand tokens |
| `W_L_norms` | float32 [(p-1)/2], norm of each frequency across the classes |
| `logit_cosines` | float32 [(p-1)/2], amplitude of cos(w_k (a + b - c)) in the logits |
| `W_E_gini`, `W_L_gini` | Gini coefficient of the norms of all p components, constant included |
| `leading_frequencies` | int64, how many frequencies the key rule finds in W_L at this epoch |
| `leading_restricted_loss` | loss of the logits restricted to those |

`leading_restricted_loss` is not the paper's restricted loss, whose frequencies are those of the final
model. Where Fourier measures do not exist (p even, or 1), the fields from `W_E_norms` on to it are
left out.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokking.analysis.spectra import (
    component_norms,
    cosine_amplitudes,
    frequency_norms,
    gini,
    has_spectrum,
    key_frequencies,
    restricted_loss,
)
from grokking.files.measures import Rows, with_digest
from grokking.model.parameters import Parameters


def row_type(p: int) -> np.dtype[np.void]:
    """The fields of one row for modulus p."""
    fields: list[Any] = [
        ("epoch", "<i8"),
        ("squares", [(name, "<f8") for name in Parameters._fields]),
        ("squares_total", "<f8"),
    ]
    if has_spectrum(p):
        spectrum = ("<f4", ((p - 1) // 2,))
        fields += [(name, *spectrum) for name in ("W_E_norms", "W_L_norms", "logit_cosines")]
        fields += [("W_E_gini", "<f8"), ("W_L_gini", "<f8")]
        fields += [("leading_frequencies", "<i8"), ("leading_restricted_loss", "<f8")]
    return with_digest(fields)


def measure(
    epoch: int,
    weights: Mapping[str, NDArray[Any]],
    W_L: NDArray[Any],
    class_means: NDArray[np.float64],
) -> Rows:
    """One row [1] from the parameters, W_L = W_out W_U [d_mlp, p] and the class means S [p, p].

    Its digest is filled in when it is appended.
    """
    p = len(class_means)
    row = np.zeros(1, row_type(p))
    row["epoch"] = epoch
    for name in Parameters._fields:
        exact = weights[name].ravel().astype(np.float64)
        row["squares"][name] = exact @ exact
        row["squares_total"] += row["squares"][name]
    if has_spectrum(p):
        embedding = component_norms(weights["W_E"][:p])
        output = component_norms(W_L.T)
        leading = key_frequencies(frequency_norms(output))
        row["W_E_norms"], row["W_L_norms"] = frequency_norms(embedding), frequency_norms(output)
        row["logit_cosines"] = cosine_amplitudes(class_means)
        row["W_E_gini"], row["W_L_gini"] = gini(embedding), gini(output)
        row["leading_frequencies"] = len(leading)
        row["leading_restricted_loss"] = restricted_loss(class_means, leading)
    return row
