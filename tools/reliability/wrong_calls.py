"""Calls of the extension with one argument spoiled: wrong_calls.py SEED COUNT [--overrun].

A program of its own, without torch: it runs under AddressSanitizer, with the extension built for it.
--overrun reads beyond an array instead, which the sanitizer must report.
"""

import ctypes
import random
import sys
from typing import Any

import numpy as np

from grokking.kernels.compiled import implementations, load_extension
from grokking.model.parameters import parameter_shapes
from grokking.model.tables import table_shapes


def call_wrongly(module: Any, seed: int, count: int) -> None:
    """Raises whatever a call raises that is not a TypeError, ValueError or OverflowError."""
    chance, generator = random.Random(seed), np.random.default_rng(seed % 2**32)
    p, H, K, c, n = 5, 2, 9, 5, 12
    weight_shapes = parameter_shapes(p, 6, H, 3, K, c).values()
    names, shapes = list(implementations()), table_shapes(p, H, K, c).values()
    for _ in range(count):
        tables = [generator.normal(size=shape).astype(np.float32) for shape in shapes]
        pairs = generator.integers(0, p * p, n)
        targets = generator.integers(0, c, n)
        name, threads = chance.choice(names), chance.choice((1, 2, 3))
        weights = [generator.normal(size=shape).astype(np.float32) for shape in weight_shapes]
        kind = chance.randrange(5)
        arguments: list[Any]
        if kind == 0:
            arguments = [tables, pairs, targets, name, threads, None, None]
            function = module.evaluate
        elif kind == 1:
            gradients = [np.empty_like(table) for table in tables]
            arguments = [tables, pairs, targets, name, threads, 1 / n, gradients, None]
            function = module.pair_loss
        elif kind == 2:
            arguments = [weights, name, threads, tables]
            function = module.fold
        elif kind == 3:
            gradients = [np.empty_like(weight) for weight in weights]
            arguments = [weights, pairs, targets, name, threads, 1 / n, gradients, tables, None]
            function = module.training_step
        else:
            neurons = generator.integers(0, K, 4)
            arguments = [tables, neurons, name, threads, np.empty((p, p, 4), dtype=np.float32)]
            function = module.activations
        place = chance.randrange(len(arguments))
        if isinstance(arguments[place], list) and chance.random() < 0.9:
            inner = chance.randrange(len(arguments[place]))
            arguments[place][inner] = _spoiled(arguments[place][inner], chance)
        else:
            arguments[place] = _spoiled(arguments[place], chance)
        try:
            function(*arguments)
        except (TypeError, ValueError, OverflowError):
            continue


def _spoiled(value: Any, chance: random.Random) -> Any:
    if not isinstance(value, np.ndarray):
        return chance.choice((None, -1, 0, 10**30, "nonesuch", 1.5, [], np.zeros(3)))
    read_only = value.copy()
    read_only.flags.writeable = False
    raw = np.empty(value.nbytes + 1, dtype=np.uint8)
    misaligned = raw[1:].view(value.dtype).reshape(value.shape) if value.size else value
    return chance.choice(
        (
            None,
            value.astype(np.float64 if value.dtype != np.float64 else np.int32),
            value.astype(np.int16),
            value.astype(object),
            value[:0],
            value[::2],
            value[::-1],
            value.T,
            value.reshape(-1),
            np.concatenate([value, value]),
            np.full_like(value, np.nan) if value.dtype.kind == "f" else value + 10**6,
            -value - 1,
            np.full_like(value, np.inf) if value.dtype.kind == "f" else value - 10**12,
            read_only,
            misaligned,
            np.broadcast_to(value[..., :1], value.shape),
            value.tolist(),
            np.asfortranarray(value),
            value.data,
        )
    )


def overrun() -> None:
    array, room = np.zeros(10_000), np.zeros(20_000)
    ctypes.memmove(room.ctypes.data, array.ctypes.data, array.nbytes + 8)


if __name__ == "__main__":
    extension, reason = load_extension()
    if extension is None:
        sys.exit(reason)
    if sys.argv[3:] == ["--overrun"]:
        overrun()
    call_wrongly(extension, int(sys.argv[1]), int(sys.argv[2]))
    print(extension.__file__)
