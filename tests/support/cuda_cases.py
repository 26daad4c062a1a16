"""Sizes that straddle every tile of the CUDA kernels, and the comparison of a whole answer."""

import torch

from grokking.kernels.backend import Backend
from grokking.kernels.reference import Reference
from grokking.model.tables import Tables
from tests.support.accuracy import assert_as_good_as_pytorch
from tests.support.emulation import Answer, Request

CPU, PLAIN = torch.device("cpu"), Reference()

# (p, H, d_mlp, pairs, neurons, classes): p around the tiles of 32 and 128, odd heads and widths, 2
# splits; p classes unless said
SIZES = [
    (2, 1, 1, 4, 1),
    (3, 3, 5, 9, 5),
    (31, 2, 31, 300, 3),
    (32, 1, 32, 256, 32),
    (33, 5, 33, 257, 7, 40),
    (113, 4, 96, 300, 9),
    (127, 1, 7, 127, 1),
    (128, 3, 129, 96, 2),
    (129, 2, 40, 65, 2, 7),
]


def answer_of(
    request: Request,
    dtype: torch.dtype = torch.float32,
    backend: Backend = PLAIN,
    device: torch.device = CPU,
) -> Answer:
    """The answer of a backend on a device, brought to the CPU."""
    tables = Tables(*(t.detach().to(device, dtype).requires_grad_() for t in request.tables))
    pairs, targets, neurons = (
        indices.to(device) for indices in (request.pairs, request.targets, request.neurons)
    )
    count = len(pairs)
    mean, loss = backend.pair_loss(tables, pairs, targets, class_sums=True)
    mean.backward()
    found = backend.evaluate(tables, pairs, targets, logits=True, class_sums=True)
    return Answer(
        score=torch.tensor([found.loss * count, found.correct], dtype=torch.float64),
        logits=found.logits.cpu(),
        class_sums=found.class_sums,
        training_score=torch.tensor([loss.loss * count, loss.correct], dtype=torch.float64),
        training_class_sums=loss.class_sums,
        gradients=Tables(*(table.grad.cpu() for table in tables)),
        surfaces=backend.activations(tables, neurons).cpu(),
    )


def assert_accurate(answer: Answer, request: Request) -> None:
    exact, baseline = answer_of(request, torch.float64), answer_of(request)

    for name in ("logits", "class_sums", "training_class_sums", "surfaces"):
        assert_as_good_as_pytorch(
            name, getattr(answer, name), getattr(baseline, name), getattr(exact, name)
        )
    for name, *parts in zip(
        Tables._fields, answer.gradients, baseline.gradients, exact.gradients, strict=True
    ):
        assert_as_good_as_pytorch(f"gradient of {name}", *parts)
    for name in ("score", "training_score"):
        ours, true = getattr(answer, name), getattr(exact, name)
        assert_as_good_as_pytorch(name, ours[:1], getattr(baseline, name)[:1], true[:1])
        assert ours[1] == true[1]
