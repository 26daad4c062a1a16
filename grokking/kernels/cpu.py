"""The compiled kernel on the CPU, as functions of torch tensors."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grokking.kernels.backend import Backend, Evaluation, no_class_sums, with_gradients
from grokking.kernels.compiled import implementations, load_extension
from grokking.model.parameters import Parameters
from grokking.model.tables import Tables, table_shapes


@dataclass
class Cpu(Backend):
    """One implementation of the extension on some threads; float32 tables, of any strides."""

    name: str
    threads: int
    precision: str = "float32"
    automatic: bool = True
    fused: bool = True
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.name}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def pair_loss(
        self, tables: Tables, pairs: Tensor, targets: Tensor, class_sums: bool = False
    ) -> tuple[Tensor, Evaluation]:
        count, sums = len(pairs), no_class_sums(tables.sizes[3]) if class_sums else None
        gradients = [torch.empty(table.shape) for table in tables]
        loss_sum, correct = _module().pair_loss(
            *(_arrays(tables), pairs.numpy(), targets.numpy(), self.name, self.threads),
            *(1 / count, _arrays(gradients), _array(sums)),
        )
        mean = with_gradients(loss_sum / count, tables, gradients)
        return mean, Evaluation(loss_sum / count, correct, count, class_sums=sums)

    def evaluate(
        self,
        tables: Tables,
        pairs: Tensor,
        targets: Tensor,
        logits: bool = False,
        class_sums: bool = False,
    ) -> Evaluation:
        count, sums = len(pairs), no_class_sums(tables.sizes[3]) if class_sums else None
        out = torch.empty(count, tables.sizes[3]) if logits else None
        loss_sum, correct = _module().evaluate(
            *(_arrays(tables), pairs.numpy(), targets.numpy(), self.name, self.threads),
            *(_array(out), _array(sums)),
        )
        return Evaluation(loss_sum / count, correct, count, out, sums)

    def activations(self, tables: Tables, neurons: Tensor, out: Tensor | None = None) -> Tensor:
        p = len(tables.s0)
        surfaces = torch.empty(p, p, len(neurons)) if out is None else out
        _module().activations(
            _arrays(tables), neurons.numpy(), self.name, self.threads, surfaces.numpy()
        )
        return surfaces

    def fold(self, parameters: Parameters) -> Tables:
        tables = _empty_tables(parameters)
        _module().fold(_arrays(parameters), self.name, self.threads, _arrays(tables))
        return tables

    def training_step(
        self, parameters: Parameters, pairs: Tensor, targets: Tensor, class_sums: bool = False
    ) -> tuple[Tensor, Evaluation]:
        count, sums = len(pairs), no_class_sums(parameters.sizes[3]) if class_sums else None
        gradients = [torch.empty(weight.shape) for weight in parameters]
        tables = _empty_tables(parameters) if class_sums else None
        loss_sum, correct = _module().training_step(
            *(_arrays(parameters), pairs.numpy(), targets.numpy(), self.name, self.threads),
            *(1 / count, _arrays(gradients), tables and _arrays(tables), _array(sums)),
        )
        mean = with_gradients(loss_sum / count, parameters, gradients)
        return mean, Evaluation(loss_sum / count, correct, count, class_sums=sums, tables=tables)


def on_cpu(threads: int) -> list[Cpu]:
    """Every implementation that this processor can run, best first."""
    return [
        Cpu(name, threads, precision, automatic)
        for name, precision, automatic in implementations().values()
    ]


def _module() -> Any:
    module, reason = load_extension()
    if module is None:
        raise RuntimeError(f"no compiled kernel: {reason}")
    return module


def _empty_tables(parameters: Parameters) -> Tables:
    return Tables(*map(torch.empty, table_shapes(*parameters.sizes).values()))


def _array(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.numpy()


def _arrays(tables: Iterable[Tensor]) -> list[Any]:
    return [table.detach().contiguous().numpy() for table in tables]
