"""Fourier structure of functions on a finite group, in numpy: bases in blocks, and waves of surfaces.

For Z_n a block is a frequency k, with w_k = 2 pi k / n; k and n - k are one, so k runs over
1..floor(n/2). For S_5 a block is an irreducible representation. Conventions follow Nanda et al.
(2023), arXiv 2301.05217, section 4 and appendix A, and Chughtai et al. (2023), arXiv 2302.03025.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise, permutations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Permutation = NDArray[np.int64]

# Share of its variance in one block above which a neuron counts as periodic (Nanda et al., 2023).
PERIODIC = 0.85
_ROUNDING = 1e-12  # relative: what is smaller than this in a spectrum is rounding


@dataclass(frozen=True, eq=False)
class Basis:
    """An orthonormal basis of the functions on a group of n elements, in blocks.

    The functions of a block are mixed by the group's shifts with each other and with no others.
    Row 0 is the constant, which belongs to no block; blocks are numbered from 1.
    """

    functions: Array  # [n, n], a row a function of the element
    sizes: tuple[int, ...]  # functions of each block, in the order of the rows
    names: tuple[str, ...]  # of the blocks
    kind: str  # what a block is called: "frequency" or "irrep"
    plural: str

    @property
    def order(self) -> int:
        """n, the number of elements."""
        return len(self.functions)

    @cached_property
    def blocks(self) -> list[slice]:
        """The rows of each block."""
        return [slice(*ends) for ends in pairwise(accumulate(self.sizes, initial=1))]

    def rows(self, chosen: Sequence[int]) -> NDArray[np.int64]:
        """The rows of the blocks with these numbers."""
        parts = [np.arange(self.order)[self.blocks[k - 1]] for k in chosen]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def label(self, number: int) -> int | str:
        """What a block is called: a frequency by its number, an irrep by its name."""
        return number if self.kind == "frequency" else self.names[number - 1]

    def cast(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The functions in another precision."""
        return _cast(self, dtype)

    def by_block(self, components: Array) -> Array:
        """The sum of each block's entries, [blocks], of one entry for each function [n]."""
        if not self.sizes:
            return np.zeros(0)
        sums: Array = np.add.reduceat(components, self._starts)
        return sums

    @cached_property
    def _starts(self) -> list[int]:
        return [block.start for block in self.blocks]

    @cached_property
    def counts(self) -> Array:
        """The size of each block."""
        return np.array(self.sizes, np.float64)

    @cached_property
    def scales(self) -> Array:
        """What makes of <f, K_B> / <K_B, K_B> the amplitude of a block: 2/n for a pair, else d/n."""
        return np.where(self.counts == 2, 2.0, np.sqrt(self.counts)) / self.order


@lru_cache(maxsize=8)
def _cast(basis: Basis, dtype: np.dtype[Any]) -> NDArray[Any]:
    return basis.functions.astype(dtype)


@lru_cache(maxsize=8)
def cyclic_basis(n: int) -> Basis:
    """Of Z_n: sqrt(2/n) cos(w_k x) and sin(w_k x) of each frequency; for even n, k = n/2 has one alone."""
    pairs = (n - 1) // 2
    angle = 2 * np.pi / n * (np.outer(range(1, pairs + 1), np.arange(n)) % n)  # [pairs, n]
    functions = np.full((n, n), n**-0.5)
    functions[1 : 2 * pairs + 1 : 2] = (2 / n) ** 0.5 * np.cos(angle)
    functions[2 : 2 * pairs + 1 : 2] = (2 / n) ** 0.5 * np.sin(angle)
    functions[2 * pairs + 1 :, 1::2] *= -1
    sizes = (2,) * pairs + (1,) * (n - 1 - 2 * pairs)
    names = tuple(str(k + 1) for k in range(len(sizes)))
    return Basis(functions, sizes, names, "frequency", "frequencies")


# The character table of S_5: partition of an irrep -> its character on the classes in CYCLES.
CYCLES = ((1, 1, 1, 1, 1), (2, 1, 1, 1), (2, 2, 1), (3, 1, 1), (3, 2), (4, 1), (5,))
CHARACTERS = {
    "(1,1,1,1,1)": (1, -1, 1, 1, -1, -1, 1),
    "(4,1)": (4, 2, 0, 1, -1, 0, -1),
    "(2,1,1,1)": (4, -2, 0, 1, 1, 0, -1),
    "(3,2)": (5, 1, 1, -1, 1, -1, 0),
    "(2,2,1)": (5, -1, 1, -1, -1, 1, 0),
    "(3,1,1)": (6, 0, -2, 0, 0, 0, 1),
}


@lru_cache(maxsize=1)
def s5_products() -> Permutation:
    """Number of the product, (a b)(i) = a(b(i)), of permutations of 0..4 in lexicographic order: [120, 120]."""
    elements = np.array(list(permutations(range(5))))  # [120, 5]
    products = elements[:, elements].reshape(-1, 5)  # [a * 120 + b, i] = a(b(i))
    digits = 5 ** np.arange(4, -1, -1)
    numbers: Permutation = np.searchsorted(elements @ digits, products @ digits)
    return numbers.reshape(120, 120).astype(np.int64)


@lru_cache(maxsize=1)
def s5_basis() -> Basis:
    """Of S_5: the six irreps but the trivial one, d^2 functions each.

    A block is the range of the projector (d / n) chi(s t^-1), in any orthonormal basis of it.
    """
    elements, products = list(permutations(range(5))), s5_products()
    inverse = np.argmin(products, axis=1)  # the identity is number 0
    cycle = np.array([CYCLES.index(_cycle_type(element)) for element in elements])
    between = cycle[products[:, inverse]]  # [s, t]: class of s t^-1
    parts: list[Array] = [np.full((1, 120), 120**-0.5)]
    for character in CHARACTERS.values():
        projector = character[0] / 120 * np.array(character)[between]
        parts.append(np.linalg.eigh(projector)[1][:, -(character[0] ** 2) :].T)
    sizes = tuple(character[0] ** 2 for character in CHARACTERS.values())
    return Basis(np.concatenate(parts), sizes, tuple(CHARACTERS), "irrep", "irreps")


def _cycle_type(permutation: Sequence[int]) -> tuple[int, ...]:
    """The lengths of its cycles, longest first."""
    lengths, left = [], set(permutation)
    while left:
        length, at = 0, min(left)
        while at in left:
            left.remove(at)
            length, at = length + 1, permutation[at]
        lengths.append(length)
    return tuple(sorted(lengths, reverse=True))


class Periodicity(NamedTuple):
    """Dominant frequency on the diagonal (None: there is no wave) and its share of all power."""

    frequency: int | None
    strength: float


class Wave(NamedTuple):
    """The strongest single block of a surface, by its number, and its share of the variance."""

    frequency: int
    share: float


def diagonal_periodicity(values: Array) -> Periodicity:
    """Periodicity of the main diagonal of a surface [n, n].

    Largest FFT power over bins 1..(n-1)//2 divided by the total over all n bins, the constant
    and the mirror images included: at most 0.5. A dead neuron gives 0. On the diagonal a
    frequency-k neuron shows bin k, and more weakly the bin of 2k mod n.
    """
    power = np.abs(np.fft.fft(_unit_scale(np.diagonal(values)))) ** 2  # [n]
    bins = power[1 : (len(power) - 1) // 2 + 1]
    if bins.size == 0 or not bins.max() > _ROUNDING * power.sum():
        return Periodicity(None, 0.0)
    return Periodicity(int(bins.argmax()) + 1, float(bins.max() / power.sum()))


def block_shares(values: Array, basis: Basis) -> Array | None:
    """Share of the variance of a surface over the group [n, n] in each single block, [blocks].

    A block's share is that of the products of (1, its functions) of the first operand and (1, its
    functions) of the second, the constant term left out. Products of two different blocks belong to
    none, so the shares sum to at most 1. None for a surface without variance.
    """
    centred = _unit_scale(values)
    centred = centred - centred.mean()
    if not np.ptp(centred) > _ROUNDING or not basis.sizes:
        return None
    if basis.kind == "frequency":
        return _frequency_shares(centred)
    components = basis.functions @ centred @ basis.functions.T
    power = np.square(components)
    chosen = [np.r_[0, basis.rows([k])] for k in range(1, len(basis.sizes) + 1)]
    own = np.array([power[np.ix_(rows, rows)].sum() - power[0, 0] for rows in chosen])
    shares: Array = own / power.sum()
    return shares


def _frequency_shares(centred: Array) -> Array:
    """The same on Z_n, by FFT, whose rounding does not depend on threads."""
    n = len(centred)
    power = np.square(
        np.abs(np.fft.rfft2(centred))
    )  # [n, n // 2 + 1], of exp(i w_j x) exp(i w_l y)
    power[:, 1 : (n + 1) // 2] *= 2  # (-j, -l), which is left out, has as much as (j, l)
    k = np.arange(1, (n - 1) // 2 + 1)
    blocks = power[k, 0] + power[-k, 0] + power[0, k] + power[k, k] + power[-k, k]
    if n % 2 == 0:
        h = n // 2
        blocks = np.append(blocks, power[h, 0] + power[0, h] + power[h, h])
    shares: Array = blocks / power.sum()
    return shares


def strongest_wave(values: Array, basis: Basis) -> Wave | None:
    """The block with the largest share of a surface's variance, and that share."""
    shares = block_shares(values, basis)
    if shares is None:
        return None
    return Wave(int(shares.argmax()) + 1, float(shares.max()))


def waves_shown(n: int, frequency: int) -> int:
    """Periods along each axis in wave order: four read well; for even n the next that n allows.

    One where the frequency shares a factor with n.
    """
    if math.gcd(frequency, n) != 1:
        return 1
    most = (n - 1) // 2
    if n % 2:
        return min(4, most)
    waves = next(m for m in range(3, n + 2) if math.gcd(m, n) == 1)
    return waves if waves <= most else 1


def wave_order(n: int, frequency: int, waves: int) -> Permutation:
    """The order i -> waves * i / frequency mod n of the elements, in which that frequency becomes `waves`.

    cos(2 pi frequency order[i] / n) = cos(2 pi waves i / n): the same numbers, listed so that
    the eye sees a plain wave of few periods. A permutation of 0..n-1, int64 [n]. Where the frequency
    shares a factor with n (`waves` is 1 there): by phase, the elements of one phase as counted.
    """
    elements = np.arange(n, dtype=np.int64)
    if math.gcd(frequency, n) != 1:
        return np.argsort(frequency * elements % n, kind="stable")
    return elements * (waves * pow(frequency, -1, n) % n) % n


def _unit_scale(values: Array) -> Array:
    """The values divided by the largest magnitude, so that squares neither overflow nor vanish."""
    peak = np.abs(values).max()
    return values / peak if peak > 0 else values
