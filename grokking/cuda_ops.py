"""The CUDA kernel as functions of torch tensors, which it gets as addresses, sizes and a stream.

Everything stays on the tables' device and runs in torch's current stream there; only the score
comes back to the host. Callers come through grokking/ops.py.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from grokking.extension import Kernel, load
from grokking.folding import Tables

CHUNK = 2**26  # logits evaluated at once, which bounds the memory of `evaluate`

_in_range = WeakTensorKeyDictionary()  # tensor -> (version, end) that were found good


def evaluate(
    tables: Tables, pairs: Tensor, targets: Tensor, logits: Tensor | None, class_sums: Tensor | None
) -> tuple[float, int]:
    """(sum of the losses, number correct); fills logits [n, c], adds to class_sums [c, c]."""
    call = _Call(tables)
    call.check_pairs(pairs, targets)
    sums = None if class_sums is None else class_sums.to(call.device)
    chunk = max(1, CHUNK // call.classes)
    scores = torch.empty(-(-len(pairs) // chunk), 2, dtype=torch.float64, device=call.device)
    for i, score in enumerate(scores):
        part = slice(i * chunk, (i + 1) * chunk)
        count = len(pairs[part])
        call(
            call.module.cuda_evaluate,
            call.module.cuda_evaluate_scratch(call.sizes, count),
            *(_address(pairs[part]), _address(targets[part]), count, _address(score)),
            *(
                0 if logits is None else _address(logits[part]),
                0 if sums is None else _address(sums),
            ),
        )
    if class_sums is not None and sums is not None:
        class_sums.copy_(sums)
    loss_sum, correct = scores.sum(0).tolist()
    return loss_sum, int(correct)


def pair_loss(
    tables: Tables, pairs: Tensor, targets: Tensor, _: Kernel, class_sums: Tensor | None
) -> tuple[float, int, list[Tensor]]:
    """(sum of the losses, number correct, gradients of their mean); adds to class_sums [c, c]."""
    call = _Call(tables)
    call.check_pairs(pairs, targets)
    sums = None if class_sums is None else class_sums.to(call.device)
    score = torch.empty(2, dtype=torch.float64, device=call.device)
    gradients = [torch.empty_like(table) for table in call.tables]
    call(
        call.module.cuda_pair_loss,
        call.module.cuda_pair_loss_scratch(call.sizes, len(pairs)),
        *(_address(pairs), _address(targets), len(pairs), 1 / len(pairs), _address(score)),
        [_address(gradient) for gradient in gradients],
        0 if sums is None else _address(sums),
    )
    if class_sums is not None and sums is not None:
        class_sums.copy_(sums)
    loss_sum, correct = score.tolist()
    return loss_sum, int(correct), gradients


def activations(tables: Tables, neurons: Tensor, surfaces: Tensor) -> None:
    """Fills surfaces [p, p, n] with post of the chosen neurons (int64 [n])."""
    call = _Call(tables)
    call.check_indices("neurons", neurons, call.sizes[2])
    call.check("surfaces", surfaces, torch.float32, (call.sizes[0], call.sizes[0], len(neurons)))
    call(
        call.module.cuda_activations,
        call.module.cuda_activations_scratch(call.sizes),
        *(_address(neurons), len(neurons), _address(surfaces)),
    )


class _Call:
    """The checked tables of one call, and where it runs."""

    def __init__(self, tables: Tables) -> None:
        self.module = _cuda_module()
        self.device = tables.s0.device
        self.tables = [table.detach().contiguous() for table in tables]
        (p, heads), (d_mlp, classes) = tables.s0.shape, tables.W_L.shape
        self.sizes, self.classes = (p, heads, d_mlp, classes), classes
        shapes: tuple[tuple[int, ...], ...] = (
            *((p, heads), (p, heads), (heads,)),  # s0, s1, s2
            *(
                (p, heads, d_mlp),
                (p, heads, d_mlp),
                (d_mlp,),
                (d_mlp, classes),
            ),  # A, B, pre_bias, W_L
            *((p, heads, classes), (p, heads, classes), (classes,)),  # C, D, logit_bias
        )
        for name, table, shape in zip(Tables._fields, self.tables, shapes, strict=True):
            self.check(name, table, torch.float32, shape)

    def __call__(self, function: Any, scratch_bytes: int, *arguments: Any) -> None:
        index, stream = _place(self.device)
        scratch = torch.empty(scratch_bytes, dtype=torch.uint8, device=self.device)
        place = (index, stream, _address(scratch))
        function(place, self.sizes, [_address(table) for table in self.tables], *arguments)

    def check(self, name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
        """ValueError with what the tensor is and what was expected."""
        found = (tuple(tensor.shape), tensor.dtype, tensor.device)
        if found != (shape, dtype, self.device) or not tensor.is_contiguous():
            strided = "" if tensor.is_contiguous() else ", strided"
            raise ValueError(
                f"{name} is {found[0]} {found[1]} on {found[2]}{strided}, expected {shape} {dtype} "
                f"on {self.device}"
            )

    def check_pairs(self, pairs: Tensor, targets: Tensor) -> None:
        self.check_indices("pairs", pairs, self.sizes[0] ** 2)
        self.check_indices("targets", targets, self.classes)
        self.check("targets", targets, torch.int64, tuple(pairs.shape))

    def check_indices(self, name: str, indices: Tensor, end: int) -> None:
        """Range of int64 [n]; once per tensor and version, because looking waits for the device."""
        self.check(name, indices, torch.int64, (indices.numel(),))
        if len(indices) == 0:
            raise ValueError(f"{name} is empty, expected at least one value")
        if indices in _in_range and _in_range[indices] == (indices._version, end):
            return
        least, most = (int(bound) for bound in torch.aminmax(indices))
        if least < 0 or most >= end:
            raise ValueError(f"{name} holds {least} to {most}, expected 0 <= value < {end}")
        _in_range[indices] = (indices._version, end)


def _cuda_module() -> Any:
    module, reason = load()
    if module is None or not hasattr(module, "cuda_evaluate"):
        raise RuntimeError(f"no CUDA kernel: {reason or 'the extension was built without it'}")
    return module


def _place(device: torch.device) -> tuple[int, int]:
    """(index, address of torch's current stream) of a CUDA device."""
    if device.type != "cuda":
        raise ValueError(f"the tables are on {device}, expected a CUDA device")
    stream = torch.cuda.current_stream(device)
    return stream.device_index, stream.cuda_stream


def _address(tensor: Tensor) -> int:
    return tensor.data_ptr()
