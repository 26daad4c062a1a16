"""The network of a run at one recorded epoch, in numpy."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grokking.analysis import hindsight
from grokking.analysis.spectra import block_norms, component_norms
from grokking.kernels.backend import Backend
from grokking.kernels.choice import AUTO, choose_on_cpu
from grokking.system.cores import available_cores
from grokking.task import Task

if TYPE_CHECKING:
    import plotly.graph_objects as go

PARTS = ("training", "validation", "all")


class State:
    """Weights, and what the network of these weights computes for every pair (a, b) of operands.

    Computed by the fused kernel where it is built, on the processor; the first question costs some
    milliseconds, the others read what it left.
    """

    def __init__(self, checkpoint: dict[str, Any], task: Task) -> None:
        self._checkpoint = checkpoint
        self.task = task
        self.epoch: int = checkpoint["epoch"]
        self.modulus: int = checkpoint["config"]["modulus"]

    def __repr__(self) -> str:
        return f"<grokking.State at epoch {self.epoch:,}, {self.task.words}>"

    @cached_property
    def weights(self) -> Mapping[str, NDArray[np.float32]]:
        """Read-only arrays by the names and shapes of TransformerLens: `W_E` [p + 1, d_model] ..."""
        arrays = {name: tensor.numpy().view() for name, tensor in self._checkpoint["model"].items()}
        for array in arrays.values():
            array.flags.writeable = False
        return MappingProxyType(arrays)

    @cached_property
    def kernel(self) -> str:
        """What computes: an implementation and its threads, or plain PyTorch and why it is that."""
        return str(self._backend)

    @cached_property
    def _backend(self) -> Backend:
        return choose_on_cpu(AUTO, available_cores())

    @cached_property
    def _examined(self) -> hindsight.Examined:
        return hindsight.examine(self._checkpoint, self.task, self._backend)

    def logits(self) -> NDArray[np.float32]:
        """The logits at `=`, [p, p, c]: of class c for the operands (a, b); NaN: no question."""
        p = self.modulus
        logits = np.full((p * p, p), np.nan, np.float32)
        logits[self.task.questions] = self._examined.logits
        return logits.reshape(p, p, p)

    def predict(self, a: ArrayLike, b: ArrayLike) -> Any:
        """The network's answers: an int for ints, an array for arrays that broadcast together.

        ValueError for an operand outside 0 ... p - 1, or a pair that is no question of the task.
        """
        first, second = np.broadcast_arrays(self._operands("a", a), self._operands("b", b))
        pairs = first * self.modulus + second
        asked = np.isin(pairs, self.task.questions)
        if not asked.all():
            pair = divmod(int(pairs[~asked].ravel()[0]), self.modulus)
            raise ValueError(f"{pair} is no question of {self.task.words}")
        answers = self._examined.logits[self.task.places(pairs)].argmax(axis=-1)
        return int(answers) if answers.ndim == 0 else answers

    def _operands(self, name: str, values: ArrayLike) -> NDArray[np.int64]:
        operands = np.asarray(values)
        whole = operands.dtype.kind in "iu"
        if not whole or not ((operands >= 0) & (operands < self.modulus)).all():
            expected = f"integers from 0 to {self.modulus - 1}"
            raise ValueError(f"{name} is {values!r}, expected {expected}")
        return operands.astype(np.int64)

    def surface(self, neuron: int) -> NDArray[np.float32]:
        """The activation of a hidden unit after its relu, at `=`, for every (a, b): [p, p]."""
        return self.surfaces([neuron])[:, :, 0]

    def surfaces(self, neurons: Sequence[int] | None = None) -> NDArray[np.float32]:
        """The same of some units, or of all: [p, p, n], NaN where the task has no question.

        ValueError for a unit that is not there.
        """
        d_mlp = len(self.weights["b_in"])
        wrong = [n for n in neurons or () if not 0 <= n < d_mlp]
        if wrong:
            raise ValueError(f"neuron {wrong[0]} is not there, expected 0 to {d_mlp - 1}")
        chosen = None if neurons is None else list(neurons)
        return self.task.masked(self._examined.surfaces(chosen))

    def most_periodic(self, count: int) -> list[int]:
        """Neurons whose surface is most nearly one wave, best first; by number without a known basis."""
        if self.task.blocks == 0:
            return list(range(count))
        with np.errstate(invalid="ignore", divide="ignore"):  # of neurons that are off
            shares = self._examined.shares().max(axis=0)  # [d_mlp]
        return [int(neuron) for neuron in np.argsort(-shares, kind="stable")[:count]]

    def attention(self) -> NDArray[np.float32]:
        """How much `=` attends, in each head, to a, to b and to itself: [H, 3, p, p], sums of 1."""
        tables, p = self._examined.tables, self.modulus
        s0, s1, s2 = (table.numpy().T for table in (tables.s0, tables.s1, tables.s2))  # [H, p], [H]
        scores = np.stack(
            [
                np.repeat(s0[:, :, None], p, axis=2),
                np.repeat(s1[:, None, :], p, axis=1),
                np.broadcast_to(s2[:, None, None], (len(s2), p, p)),
            ],
            axis=1,
        )  # [H, 3, p, p]
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        attention: NDArray[np.float32] = weights / weights.sum(axis=1, keepdims=True)
        return attention

    def loss(self, part: str = "validation") -> float:
        """Mean loss in nats over the training pairs, the validation pairs, or `all`.

        ValueError for a part of imported weights whose split is not known: of these ask for `all`.
        """
        return float(self._examined.losses[self._pairs(part)].mean(dtype=np.float64))

    def accuracy(self, part: str = "validation") -> float:
        """Share of those pairs whose largest logit is the right answer's."""
        pairs = self._pairs(part)
        right = self._examined.logits[pairs].argmax(axis=1) == self._examined.targets[pairs]
        return float(right.mean())

    def _pairs(self, part: str) -> Any:
        if part not in PARTS:
            raise ValueError(f"part is {part!r}, expected {', '.join(PARTS)}")
        if part == "all":
            return slice(None)
        if not self._examined.has_split:
            raise ValueError(
                f"part is {part!r}, expected 'all': the pairs that these imported weights were trained on "
                "are not known"
            )
        return self._examined.train if part == "training" else self._examined.validation

    def spectrum(self, name: str) -> NDArray[np.float64]:
        """Norm of each block of the task's basis in W_E, across the operands, or W_L, the classes.

        Blocks are the frequencies from 1 on, or irreps; W_L = W_out W_U. Nanda et al. (2023), sections
        4.1 and 4.2. ValueError for a task without a known basis.
        """
        if name not in ("W_E", "W_L"):
            raise ValueError(f"name is {name!r}, expected W_E or W_L")
        rows, basis = self._examined.embedding, self._examined.basis
        if name == "W_L":
            rows = self._examined.output
        return block_norms(component_norms(rows, basis), basis)

    def key_frequencies(self) -> list[int | str]:
        """Frequencies whose norm in W_L exceeds a quarter of the largest; many before a circuit forms.

        Of s5 the names of irreps, by their norm over the root of their size; none without a basis.
        """
        if self.task.group is None:
            return []
        return [self._examined.basis.label(k) for k in self._examined.key_blocks()]

    def figure(self, name: str, neuron: int = 0) -> "go.Figure":
        """A plotly figure: `surface` of a neuron. ValueError for a name that is none."""
        from grokking.api.figures import state_figure

        return state_figure(self, name, neuron)
