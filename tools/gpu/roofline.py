"""What bounds each CUDA kernel, counted from its tiles; measured.py holds the measured times to it.

Counts multiply-adds, 128-byte passes through L1 and shared memory, and bytes from L2, with padding
and whole blocks per multiprocessor; the largest of the three times is the bound. Launches, latency
and barriers come on top.
"""

import re
from math import ceil
from typing import NamedTuple

from grokking.config import Config, training_pairs
from grokking.files import markdown
from tools.gpu.record import ROOT

P, HEADS, D_MLP, CLASSES = Config.modulus, Config.num_heads, Config.d_mlp, Config.modulus
ALL, TRAIN = P * P, training_pairs(P * P, Config.train_fraction)


def constant(name: str) -> int:
    """A constant of the launches, from their header."""
    header = (ROOT / "csrc" / "cuda_launch.h").read_text(encoding="utf-8")
    value = re.search(rf"constexpr int (?:\w+ = \d+, )*{name} = (\d+)[,;]", header)
    if value is None:
        raise LookupError(f"csrc/cuda_launch.h: no constant {name}")
    return int(value[1])


ROWS, COLUMNS, DEPTH, WARP = map(constant, ("ROWS", "COLUMNS", "DEPTH", "WARP"))
THREADS, PAIRS_PER_THREAD = constant("THREADS"), constant("PAIRS_PER_THREAD")
WARPS, SPLIT = THREADS // WARP, constant("PAIRS_PER_SPLIT")


class Gpu(NamedTuple):
    """Published figures; L2 bandwidth as measured by others."""

    name: str
    multiprocessors: int
    clock: float  # GHz, boost
    l2: float  # TB/s

    @property
    def tflops(self) -> float:
        return self.multiprocessors * 128 * 2 * self.clock / 1e3


GPUS = [Gpu("H100 SXM", 132, 1.98, 5.5), Gpu("RTX 4090", 128, 2.52, 5.0)]


class Work(NamedTuple):
    """One kernel of one call: what one block does, and how many there are."""

    call: str  # as tools/gpu/program/kernels.cu names it
    kernel: str
    problem: str
    useful: float  # floating-point operations of the formula, without padding
    blocks: int
    multiply_adds: float  # of a block, with padding
    passes: float  # of a block, through L1 and shared memory, 128 bytes each
    l2_bytes: float  # of a block
    launches: int = 1


def moves(call: str, kernel: str, pairs: int, blocks: int, total: float, launches: int = 1) -> Work:
    """A kernel that does little but read and write `total` bytes."""
    of_block = total / blocks
    return Work(call, kernel, f"{pairs} pairs", 0, blocks, 0, of_block / 128, of_block, launches)


def product_passes(chunks: int, left_loads: float, right_loads: float) -> float:
    """Fill both operands (loads and stores), then two broadcasts and four loads a warp and depth."""
    stores = ROWS * DEPTH / WARP + COLUMNS * DEPTH / WARP
    return chunks * (left_loads + right_loads + stores + 6 * DEPTH * WARPS)


def logits(call: str, pairs: int) -> Work:
    chunks, mixed = ceil(D_MLP / DEPTH), 2 * HEADS
    table_loads = ROWS * DEPTH / WARP * (mixed + HEADS)  # rows of A and B, and alpha
    last = ROWS * COLUMNS / WARP * (mixed + HEADS)  # C and D
    return Work(
        call,
        "logits_of_pairs",
        f"{pairs} pairs",
        pairs * (2 * D_MLP * CLASSES + 4 * HEADS * (D_MLP + CLASSES)),
        ceil(pairs / ROWS),
        ROWS * D_MLP * (COLUMNS + mixed) + ROWS * COLUMNS * mixed,
        product_passes(chunks, table_loads, COLUMNS * DEPTH / WARP) + last,
        # W_L once, a row of B and D for every pair; rows of A and C are shared by neighbours
        4 * (D_MLP * CLASSES + (ROWS + 2) * HEADS * (D_MLP + CLASSES)),
    )


def weight_gradient() -> Work:
    splits = ceil(TRAIN / SPLIT)
    each = ceil(TRAIN / splits / DEPTH) * DEPTH
    chunks = each // DEPTH
    return Work(
        "pair_loss",
        "weight_gradient",
        "3830 pairs",
        2 * TRAIN * D_MLP * CLASSES,
        D_MLP // ROWS * splits,
        ROWS * COLUMNS * each,
        product_passes(chunks, ROWS, COLUMNS) + ROWS * COLUMNS / WARP,
        4 * (each * (ROWS + CLASSES) + ROWS * CLASSES),
    )


def hidden_gradient() -> Work:
    chunks = ceil(CLASSES / DEPTH)
    return Work(
        "pair_loss",
        "hidden_gradient",
        "3830 pairs",
        2 * TRAIN * D_MLP * CLASSES,
        ceil(TRAIN / ROWS) * D_MLP // COLUMNS,
        ROWS * COLUMNS * chunks * DEPTH,
        product_passes(chunks, ROWS, COLUMNS) + 2 * ROWS * COLUMNS / WARP,
        4 * (ROWS * CLASSES + COLUMNS * CLASSES + 2 * ROWS * COLUMNS),
    )


def table_gradients() -> Work:
    rows = TRAIN / P  # pairs of a group
    return Work(
        "pair_loss",
        "table_gradient",
        "3830 pairs",
        2 * TRAIN * 2 * HEADS * (D_MLP + CLASSES),
        2 * P * (ceil(D_MLP / COLUMNS) + 1),
        rows * COLUMNS * (HEADS + 1),
        rows * WARPS * (1 + 1 + HEADS) + HEADS * COLUMNS / WARP,
        4 * (rows * COLUMNS + HEADS * COLUMNS),
        launches=4,
    )


def score_gradient() -> Work:
    width = D_MLP + CLASSES
    return Work(
        "pair_loss",
        "score_gradient_of_pairs",
        "3830 pairs",
        2 * TRAIN * 2 * HEADS * width,
        ceil(TRAIN / WARPS),
        WARPS * 2 * HEADS * width,
        WARPS * (2 * HEADS + 1) * width / WARP,
        4 * WARPS * (HEADS + 1) * width,
    )


def surfaces() -> Work:
    pairs, columns = PAIRS_PER_THREAD, THREADS
    return Work(
        "activations",
        "surfaces_of_neurons",
        "512 surfaces",
        ALL * 4 * HEADS * D_MLP,
        ceil(ALL / pairs) * D_MLP // columns,
        pairs * columns * 2 * HEADS,
        pairs * WARPS * (2 * HEADS + HEADS + 1),
        4 * columns * (HEADS * (pairs + 1) + pairs),
    )


def attend(call: str, pairs: int) -> Work:
    return moves(call, "attend", pairs, ceil(pairs * HEADS / THREADS), pairs * HEADS * (8 + 8 + 16))


def scores(call: str, pairs: int, gradient: bool = False) -> list[Work]:
    """The two kernels that turn logits into one score."""
    rows = 4 * pairs * CLASSES * (2 if gradient else 1)
    return [
        moves(call, "score_pairs", pairs, ceil(pairs / WARPS), rows + 16 * pairs),
        moves(call, "add_scores", pairs, 1, 8 * pairs),
    ]


def groups(call: str, pairs: int, keys: int) -> Work:
    blocks = P * keys  # each looks at every pair twice
    return moves(call, "group_pairs", pairs, blocks, blocks * pairs * 2 * 8)


def class_sums() -> Work:
    total = ALL * (4 + 4 * CLASSES) + 16 * CLASSES * CLASSES
    return moves("evaluate all", "add_class_sums", ALL, CLASSES, total)


def parts() -> Work:
    """add_parts: the splits of W_L's gradient, and one part an operand of three vectors."""
    of_W_L, vectors = D_MLP * CLASSES, (D_MLP, CLASSES, HEADS)
    total = 4 * (of_W_L * (ceil(TRAIN / SPLIT) + 1) + sum(vectors) * (P + 1))
    blocks = ceil(of_W_L / THREADS) + sum(ceil(items / THREADS) for items in vectors)
    return moves("pair_loss", "add_parts", TRAIN, blocks, total, launches=4)


def operand_scores() -> Work:
    return moves("pair_loss", "score_gradient", TRAIN, P, 2 * TRAIN * (4 + 16 * HEADS))


def works() -> list[Work]:
    """Every kernel of every call of tools/gpu/program/kernels.cu, in the order of its launches."""
    every, rest, train = "evaluate all", "evaluate the rest", "pair_loss"
    return [
        *(attend(every, ALL), logits(every, ALL), groups(every, ALL, 1), class_sums()),
        *scores(every, ALL),
        *(attend(rest, ALL - TRAIN), logits(rest, ALL - TRAIN), *scores(rest, ALL - TRAIN)),
        *(attend(train, TRAIN), logits(train, TRAIN), groups(train, TRAIN, 2)),
        *(*scores(train, TRAIN, gradient=True), weight_gradient(), parts(), hidden_gradient()),
        *(table_gradients(), score_gradient(), operand_scores()),
        *(attend("activations", ALL), surfaces()),
    ]


def bound(work: Work, gpu: Gpu) -> tuple[float, str]:
    """(microseconds, what takes them). A multiprocessor does 128 multiply-adds or one pass a cycle."""
    on_busiest = ceil(work.blocks / gpu.multiprocessors)
    cycles = {"multiply-adds": work.multiply_adds / 128, "L1": work.passes}
    times = {name: on_busiest * value / gpu.clock / 1e3 for name, value in cycles.items()}
    times["L2"] = work.blocks * work.l2_bytes / gpu.l2 / 1e6
    name = max(times, key=lambda key: times[key])
    return times[name], name


def cells_of(work: Work) -> list[str]:
    """Kernel and problem, for a table."""
    launches = f" ({work.launches} launches)" if work.launches > 1 else ""
    return [f"`{work.kernel}`{launches}", work.problem]


def table() -> str:
    """The bounds in Markdown; beside each, what takes the time and the formula's arithmetic alone."""
    head = ["kernel", "problem", "GFLOP", "blocks", "MB from L2", *(f"{g.name}, us" for g in GPUS)]
    rows = []
    for work in works():
        megabytes = work.blocks * work.l2_bytes / 1e6
        cells = [*cells_of(work), f"{work.useful / 1e9:.3f}", str(work.blocks), f"{megabytes:.1f}"]
        for gpu in GPUS:
            time, what = bound(work, gpu)
            alone = (
                f"; arithmetic alone {work.useful / gpu.tflops / 1e6:.1f}" if work.useful else ""
            )
            cells.append(f"{time:.1f} ({what}{alone})")
        rows.append(cells)
    return markdown.table(head, rows)
