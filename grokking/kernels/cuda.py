"""The compiled kernel on a CUDA device, as functions of torch tensors.

The kernel gets addresses, sizes and a stream. Everything stays on the tables' device and runs in
torch's current stream there; only the score and the class sums come back to the host.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from grokking.kernels.backend import Backend, Evaluation, no_class_sums, with_gradients
from grokking.kernels.compiled import load_extension
from grokking.model.tables import Tables, table_shapes

LOGITS_AT_ONCE = 2**26  # logits evaluated at once, which bounds the memory of `evaluate`

_in_range = WeakTensorKeyDictionary()  # tensor -> (version, end) that were found good


@dataclass
class Cuda(Backend):
    """The kernel for NVIDIA GPUs; float32 tables on one, of any strides."""

    threads: int = 1  # of the run, for its record: the kernel needs none
    name: str = "cuda"
    precision: str = "float32"
    automatic: bool = True
    fused: bool = True
    reason: str = ""

    def __str__(self) -> str:
        return self.name

    def pair_loss(
        self, tables: Tables, pairs: Tensor, targets: Tensor, class_sums: bool = False
    ) -> tuple[Tensor, Evaluation]:
        call, count = _Call(tables), len(pairs)
        call.check_pairs(pairs, targets)
        sums = no_class_sums(tables.sizes[3], call.device) if class_sums else None
        score = torch.empty(2, dtype=torch.float64, device=call.device)
        gradients = [torch.empty_like(table) for table in call.tables]
        call(
            call.module.cuda_pair_loss,
            call.module.cuda_pair_loss_scratch(call.sizes, count),
            *(_address(pairs), _address(targets), count, 1 / count, _address(score)),
            *([_address(gradient) for gradient in gradients], _address(sums)),
        )
        result = _evaluation(score, count, None, sums)
        return with_gradients(result.loss, tables, gradients), result

    def evaluate(
        self,
        tables: Tables,
        pairs: Tensor,
        targets: Tensor,
        logits: bool = False,
        class_sums: bool = False,
    ) -> Evaluation:
        call, classes = _Call(tables), tables.sizes[3]
        call.check_pairs(pairs, targets)
        out = torch.empty(len(pairs), classes, device=call.device) if logits else None
        sums = no_class_sums(tables.sizes[3], call.device) if class_sums else None
        chunk = max(1, LOGITS_AT_ONCE // classes)
        scores = torch.empty(-(-len(pairs) // chunk), 2, dtype=torch.float64, device=call.device)
        for i, score in enumerate(scores):
            part = slice(i * chunk, (i + 1) * chunk)
            count = len(pairs[part])
            call(
                call.module.cuda_evaluate,
                call.module.cuda_evaluate_scratch(call.sizes, count),
                *(_address(pairs[part]), _address(targets[part]), count, _address(score)),
                *(_address(None if out is None else out[part]), _address(sums)),
            )
        return _evaluation(scores.sum(0), len(pairs), out, sums)

    def activations(self, tables: Tables, neurons: Tensor, out: Tensor | None = None) -> Tensor:
        call, (p, _, d_mlp, _) = _Call(tables), tables.sizes
        call.check_indices("neurons", neurons, d_mlp)
        shape = (p, p, len(neurons))
        surfaces = torch.empty(shape, device=call.device) if out is None else out
        call.check("surfaces", surfaces, torch.float32, shape)
        call(
            call.module.cuda_activations,
            call.module.cuda_activations_scratch(call.sizes),
            *(_address(neurons), len(neurons), _address(surfaces)),
        )
        return surfaces


def _evaluation(
    score: Tensor, count: int, logits: Tensor | None, sums: Tensor | None
) -> Evaluation:
    """From the device's score, float64 [2]: sum of the losses, number correct."""
    loss_sum, correct = score.tolist()
    on_host = None if sums is None else sums.cpu()
    return Evaluation(loss_sum / count, int(correct), count, logits, on_host)


class _Call:
    """The checked tables of one call, and where it runs."""

    def __init__(self, tables: Tables) -> None:
        self.module = _cuda_module()
        self.device = tables.s0.device
        self.tables = [table.detach().contiguous() for table in tables]
        self.sizes = tables.sizes
        shapes = table_shapes(*self.sizes)
        for (name, shape), table in zip(shapes.items(), self.tables, strict=True):
            self.check(name, table, torch.float32, shape)

    def __call__(self, function: Any, scratch_bytes: int, *arguments: Any) -> None:
        index, stream = _place(self.device)
        scratch = torch.empty(scratch_bytes, dtype=torch.uint8, device=self.device)
        place = (index, stream, _address(scratch))
        function(place, self.sizes, [_address(table) for table in self.tables], *arguments)

    def check(self, name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
        """ValueError with what the tensor is and what was expected."""
        actual = (tuple(tensor.shape), tensor.dtype, tensor.device)
        if actual != (shape, dtype, self.device) or not tensor.is_contiguous():
            strided = "" if tensor.is_contiguous() else ", strided"
            raise ValueError(
                f"{name} is {actual[0]} {actual[1]} on {actual[2]}{strided}, expected {shape} {dtype} "
                f"on {self.device}"
            )

    def check_pairs(self, pairs: Tensor, targets: Tensor) -> None:
        self.check_indices("pairs", pairs, self.sizes[0] ** 2)
        self.check_indices("targets", targets, self.sizes[3])
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
    module, reason = load_extension()
    if module is None or not hasattr(module, "cuda_evaluate"):
        raise RuntimeError(f"no CUDA kernel: {reason or 'the extension was built without it'}")
    return module


def _place(device: torch.device) -> tuple[int, int]:
    """(index, address of torch's current stream) of a CUDA device."""
    if device.type != "cuda":
        raise ValueError(f"the tables are on {device}, expected a CUDA device")
    stream = torch.cuda.current_stream(device)
    return stream.device_index, stream.cuda_stream


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
