"""Records the trained states of this folder: python tests/trained/record.py

Small runs of one modulus at three weight decays. Their weights are rounded to float16, which keeps
them memorised and the files small. A run of another machine rounds otherwise and ends elsewhere, so
the files are what counts, not this script; any states of memorised pairs would do.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from grokking.kernels.reference import Reference
from grokking.model.transformer import Transformer, fold
from tests.support.addition import generators, split_pairs, targets

MODULUS, D_MODEL, HEADS, D_MLP, FRACTION = 29, 16, 4, 512, 0.6
EPOCHS = {0.5: (512, 1024, 2048), 1.0: (256, 512, 2048), 2.0: (512, 1024, 1536)}  # by weight decay


def record(weight_decay: float, epochs: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The training pairs, and every weight at each of the epochs."""
    weights, split = generators(0)
    model = Transformer(MODULUS, D_MODEL, HEADS, D_MLP, weights)
    pairs = split_pairs(MODULUS, FRACTION, split).train
    goal, backend = targets(MODULUS)[pairs], Reference()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=weight_decay
    )
    arrays = {"pairs": pairs.numpy().astype(np.int16)}

    def keep(epoch: int, state: dict[str, Tensor]) -> None:
        for name, weight in state.items():
            arrays[f"{epoch} {name}"] = weight.numpy().astype(np.float16)

    for epoch in range(max(epochs) + 1):
        if epoch in epochs:
            keep(epoch, model.state_dict())
        optimizer.zero_grad()
        backend.pair_loss(fold(model), pairs, goal)[0].backward()
        optimizer.step()
    return arrays


if __name__ == "__main__":
    for weight_decay, epochs in EPOCHS.items():
        file = Path(__file__).parent / f"weight_decay_{weight_decay}.npz"
        np.savez_compressed(file, **record(weight_decay, epochs))
