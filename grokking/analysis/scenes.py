"""What a run's pictures are drawn from: arrays taken from its weights. Torch-free records.

Heights are bytes: b stands for the activation b / 255 * peak, where `peak` is the largest activation
of the same surface. Activations are rectified, so none is negative.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from grokking.analysis.phases import reals
from grokking.analysis.progress_measures import ProgressMeasures
from grokking.analysis.spectra import block_norms, component_norms, surface_shares
from grokking.files.surfaces import Surface, surfaces_of
from grokking.fourier import Array
from grokking.task import Group, Task

if TYPE_CHECKING:  # at run time that would import torch
    from grokking.analysis.hindsight import Examined

FRAMES = 40  # of a film, at most
ROUND = 0.1  # roughness up to which embeddings are said to lie like the hours of a clock
SHUFFLES, SEED = (
    20,
    0,
)  # of the numbers, for a circle's control: as many as the card's controls have
FILMED = 6  # neurons in a film, at most
FILM_BYTES = 3_600_000  # heights of a film: with plotly.js and as base64 the page stays under 10 MB
GALLERY_BYTES = 12_000_000  # heights of a gallery

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class FilmedNeuron:
    """A neuron through the film, and the block that it is watched for."""

    neuron: int
    frequency: int  # 0: no basis is known
    peaks: list[float]  # [frame]; 0: no pair makes it fire
    heights: Bytes  # [frame, p, p], x the first operand
    shares: list[float]  # [frame]: variance in its block, of all its variance


@dataclass(frozen=True)
class Film:
    """The model at chosen epochs."""

    task: Task
    epochs: list[int]
    training_accuracies: list[float]  # NaN where the split is not known
    validation_accuracies: list[float]  # then of all questions
    spectra: Array  # [frame, blocks]: norm of each block in W_E
    key_frequencies: list[int]
    neurons: list[FilmedNeuron]

    @property
    def modulus(self) -> int:
        return self.task.p

    @property
    def has_split(self) -> bool:
        return not all(map(math.isnan, self.training_accuracies))


@dataclass(frozen=True)
class Gallery:
    """The surfaces of all neurons of one state, grouped by their strongest block."""

    task: Task
    epoch: int
    key_frequencies: list[int]
    neurons: list[int]
    frequencies: list[int]  # 0: no pair makes it fire, or all do alike, or no basis is known
    shares: list[float]  # of the variance, in that block
    peaks: list[float]  # 0: dead
    heights: Bytes  # [n, p, p]
    left_out: int  # neurons that would have made the page too large

    @property
    def modulus(self) -> int:
        return self.task.p


@dataclass(frozen=True)
class Circle:
    """The embeddings of all operands seen along cos and sin of one frequency, in the group's order."""

    frequency: int
    points: Array  # [n, 2]
    operands: list[int]  # [n], of the elements
    share: float  # of the variance of W_E over the operands
    roughness: float  # rms distance of operand x from its hour, the angle w_k x, over the radius
    control: tuple[float, float]  # least and greatest roughness with the operands in random order

    @property
    def is_round(self) -> bool:
        """Is it a clock, and not what chance would draw as well?"""
        return self.roughness <= ROUND and self.roughness < self.control[0]


@dataclass(frozen=True)
class Scenes:
    """All of it; no film where no weights were recorded along the way."""

    film: Film | None
    gallery: Gallery
    circles: list[Circle]  # of the key frequencies that hold most of the embedding
    surfaces: list[Surface]  # of the film's neurons, at the end


def gallery(state: Examined, keys: list[int]) -> Gallery:
    """Every neuron of a state; if they are too many, those that are most nearly one wave."""
    surfaces = with_floor(state.task, state.surfaces())  # [p, p, n]
    p, n = state.modulus, surfaces.shape[2]
    strongest, frequencies = strongest_blocks(state)
    frequencies[strongest <= 0] = 0
    peaks = surfaces.max(axis=(0, 1))
    ranking = np.lexsort((-strongest, frequencies, frequencies == 0))  # by frequency, best first
    shown = ranking
    limit = GALLERY_BYTES // p**2
    if n > limit:
        shown = ranking[np.sort(np.argsort(-strongest[ranking], kind="stable")[:limit])]
    return Gallery(
        task=state.task,
        epoch=state.epoch,
        key_frequencies=keys,
        neurons=shown.tolist(),
        frequencies=frequencies[shown].tolist(),
        shares=strongest[shown].tolist(),
        peaks=peaks[shown].tolist(),
        heights=to_bytes(np.moveaxis(surfaces[:, :, shown], 2, 0), peaks[shown]),
        left_out=n - len(shown),
    )


def with_floor(task: Task, surfaces: NDArray[np.float32]) -> NDArray[np.float32]:
    """Surfaces [p, p, ...] with 0 where there is no question."""
    if task.holes is not None:
        surfaces[task.holes] = 0
    return surfaces


def strongest_blocks(
    state: Examined, neurons: Sequence[int] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(share, number) of the strongest block of each neuron; 0 and 0 without a known basis."""
    if state.task.group is None or not state.basis.sizes:
        count = state.tables.W_L.shape[0] if neurons is None else len(neurons)
        return np.zeros(count, np.float32), np.zeros(count, np.int64)
    shares = state.shares(neurons)  # [blocks, n]
    return shares.max(axis=0), shares.argmax(axis=0) + 1


def best_neurons(gallery: Gallery, keys: Sequence[int]) -> list[tuple[int, int]]:
    """(neuron, block) of the neuron that is most nearly one wave, for each key block.

    Where no neuron follows a key block, the best neuron of any other; none if all are dead. Without
    a known basis, the neurons with the largest activations, and 0.
    """
    best: dict[int, tuple[float, int]] = {}
    for neuron, frequency, share in zip(
        gallery.neurons, gallery.frequencies, gallery.shares, strict=True
    ):
        best[frequency] = max(best.get(frequency, (0.0, 0)), (share, -neuron))
    if gallery.task.group is None:  # those that fire most
        loudest = sorted(range(len(gallery.neurons)), key=lambda i: -gallery.peaks[i])[:FILMED]
        return [(gallery.neurons[i], 0) for i in loudest if gallery.peaks[i] > 0]
    best.pop(0, None)
    chosen = [key for key in keys if key in best]
    if not chosen and best:
        chosen = [max(best, key=lambda frequency: best[frequency])]
    chosen = sorted(chosen, key=lambda key: best[key], reverse=True)[:FILMED]
    return [(-best[key][1], key) for key in sorted(chosen)]


def with_blocks(state: Examined, neurons: Sequence[int]) -> list[tuple[int, int]]:
    """(neuron, its strongest block) of chosen neurons."""
    return list(zip(neurons, strongest_blocks(state, neurons)[1].tolist(), strict=True))


def circles(W_E: NDArray[np.floating], keys: Sequence[int], group: Group) -> list[Circle]:
    """W_E [n, d_model] of the operands by element, projected on its cos and sin component of each key.

    The directions are W_E^T cos(w_k x) and W_E^T sin(w_k x), scaled to length 1. An embedding that
    holds nothing else puts operand x at the angle w_k x of a circle (or, where the two directions
    are not at right angles or of unequal length, of an ellipse).
    """
    centred, basis = W_E - W_E.mean(axis=0), group.basis
    if not centred.any():
        return []
    generator = np.random.default_rng(SEED)
    shuffled = [generator.permutation(centred) for _ in range(SHUFFLES)]
    operands = group.first_order.tolist()
    found = []
    for key in keys:
        if basis.sizes[key - 1] == 1:
            continue  # the alternating function has no plane
        waves = basis.functions[basis.blocks[key - 1]]  # [2, n]
        points, share = _projected(centred, waves)
        rough = [_roughness(_projected(rows, waves)[0], waves) for rows in shuffled]
        control = min(rough), max(rough)
        found.append(Circle(key, points, operands, share, _roughness(points, waves), control))
    return found


def _projected(centred: Array, waves: Array) -> tuple[Array, float]:
    """The operands along their own cos and sin (`waves` [2, n]): [n, 2], and the variance's share."""
    both = waves @ centred  # [2, d_model]
    directions = both / np.linalg.norm(both, axis=1, keepdims=True).clip(1e-30)
    return centred @ directions.T, float(np.square(both).sum() / np.square(centred).sum())


def _roughness(points: Array, waves: Array) -> float:
    """How far points [n, 2] lie from the hours of the clock that is nearest to them, over its radius."""
    hours = waves.T * np.sqrt(len(points) / 2)  # of radius 1
    radius = float((points * hours).sum() / len(points))
    off = np.square(points - radius * hours).sum(axis=1).mean()
    return float(np.sqrt(off) / radius) if radius > 0 else math.inf


def largest_circles(circles: Sequence[Circle]) -> list[Circle]:
    """Those that hold most of the embedding, as many as a film has neurons, by frequency.

    Where nearly every frequency counts as a key, a page of all of them shows nothing.
    """
    largest = sorted(circles, key=lambda circle: circle.share, reverse=True)[:FILMED]
    return sorted(largest, key=lambda circle: circle.frequency)


def film_epochs(measures: ProgressMeasures, limit: int = FRAMES) -> list[int]:
    """At most `limit` recorded epochs, close together where much happens; first and last included.

    Every curve (accuracy, losses on a log scale, Gini of both spectra, log of the epoch) is scaled
    to [0, 1]; frames stand at equal steps of the distance that all of them together have covered.
    """
    last = len(measures.epochs) - 1
    curves = [
        _unit(np.log1p(np.array(measures.epochs, dtype=np.float64))),
        _unit(reals(measures.validation_accuracies)),
        *(_unit(reals(series)) for series in (measures.W_E_gini, measures.W_L_gini)),
        *(
            _unit(np.log(reals(series).clip(1e-8)))
            for series in (measures.training_losses, measures.validation_losses)
        ),
    ]
    steps = np.abs(np.diff(np.stack(curves), axis=1)).sum(axis=0)
    covered = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0, covered[-1], min(limit, last + 1))
    chosen = np.abs(covered[:, None] - wanted).argmin(axis=0)
    return [measures.epochs[i] for i in sorted(set(chosen.tolist()))]


def film(
    states: Iterable[Examined], keys: Sequence[int], filmed: Sequence[tuple[int, int]]
) -> Film:
    """Neurons (pairs of neuron and frequency, at least one) in every state."""
    epochs, accuracies, spectra, frames, shares = [], [], [], [], []
    neurons = [neuron for neuron, _ in filmed]
    columns = range(len(filmed))
    rows = [frequency - 1 for _, frequency in filmed]
    for state in states:
        surfaces = with_floor(state.task, np.nan_to_num(state.surfaces(neurons), posinf=0.0))
        epochs.append(state.epoch)
        accuracies.append((state.training_accuracy, state.validation_accuracy))
        if state.task.group is not None:
            spectra.append(block_norms(component_norms(state.embedding, state.basis), state.basis))
            of_frame = surface_shares(state.group.grid(surfaces), state.basis)
            shares.append(of_frame[rows, columns])
        else:
            spectra.append(np.zeros(0))
            shares.append(np.zeros(len(neurons), np.float32))
        frames.append(np.moveaxis(surfaces, 2, 0))
        task = state.task
    by_neuron, all_shares = (
        np.stack(frames, axis=1),
        np.stack(shares, axis=1),
    )  # [neuron, frame, ...]
    peaks = by_neuron.max(axis=(2, 3))  # [neuron, frame]
    return Film(
        task=task,
        epochs=epochs,
        training_accuracies=[training for training, _ in accuracies],
        validation_accuracies=[validation for _, validation in accuracies],
        spectra=np.stack(spectra),
        key_frequencies=list(keys),
        neurons=[
            FilmedNeuron(neuron, frequency, peak.tolist(), to_bytes(surfaces, peak), share.tolist())
            for (neuron, frequency), peak, surfaces, share in zip(
                filmed, peaks, by_neuron, all_shares, strict=True
            )
        ],
    )


def final_surfaces(state: Examined, neurons: Sequence[int]) -> list[Surface]:
    """The surfaces of some neurons of a state."""
    if not neurons:
        return []
    return surfaces_of(state.task, neurons, state.surfaces(neurons).astype(np.float64), state.epoch)


def frames_that_fit(modulus: int, neurons: int) -> int:
    """Frames that a film of so many neurons may have; 0 or 1 if even one surface is too large."""
    return min(FRAMES, FILM_BYTES // (max(neurons, 1) * modulus**2))


def to_bytes(surfaces: NDArray[np.floating], peaks: NDArray[np.floating]) -> Bytes:
    """Activations [n, p, p], each surface in 255 steps of its own peak."""
    scale = np.where(peaks > 0, peaks, 1.0)[:, None, None]
    heights: Bytes = np.rint(255 * (surfaces / scale).clip(0, 1)).astype(np.uint8)
    return heights


def _unit(values: Array) -> Array:
    """Scaled to [0, 1]; what is not finite repeats what came before."""
    filled = values.copy()
    for i in range(len(filled)):
        if not math.isfinite(filled[i]):
            filled[i] = filled[i - 1] if i else 0.0
    span = np.ptp(filled)
    return (filled - filled.min()) / span if span > 0 else np.zeros_like(filled)
