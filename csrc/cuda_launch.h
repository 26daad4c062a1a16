// Launch arithmetic of the CUDA kernels: tiles, grids, shared bytes and scratch memory as plain
// functions of the sizes, so that they can be tested without a GPU. docs/cuda.md has the reasons.
#pragma once

#include <cstddef>
#include <cstdint>

namespace grid::cuda {

// The sizes as device code uses them.
struct Sizes {
    int p, heads, d_mlp, classes;
};

// Device code counts pairs and elements of every table in an int; only rows of pairs are longer.
constexpr bool fits(int64_t p, int64_t heads, int64_t d_mlp, int64_t classes, int64_t pairs) {
    constexpr int64_t most = INT32_MAX / 2;  // leaves room for the last tile
    const int64_t wide = d_mlp > classes ? d_mlp : classes;
    return p <= most / p && pairs <= most && heads <= most / wide / p && classes <= most / d_mlp &&
           heads <= most / p / p && (pairs == 0 || heads <= most / pairs);
}

constexpr int WARP = 32;

// A block multiplies a [ROWS, depth] by a [depth, COLUMNS] operand, DEPTH at a time; each warp has
// ROWS_PER_WARP rows, each lane COLUMNS_PER_LANE columns of them, one warp apart.
constexpr int ROWS = 32, COLUMNS = 128, DEPTH = 32, THREADS = 128;
constexpr int WARPS = THREADS / WARP;
constexpr int ROWS_PER_WARP = ROWS / WARPS, COLUMNS_PER_LANE = COLUMNS / WARP;
static_assert(ROWS_PER_WARP * WARPS == ROWS && ROWS_PER_WARP == 8, "two 16-byte stores a lane");
static_assert(COLUMNS == THREADS, "a thread fills one column of the right operand");
static_assert(ROWS == WARP && DEPTH == WARP,
              "a warp fills one row or one column of the left operand");

// Terms of a logit added up in one chain: longer ones round worse than PyTorch's products, as in
// cpu_product.h.
constexpr int TERMS = 64;
static_assert(TERMS % DEPTH == 0, "a chain is whole tiles");

// Both operands in shared memory. Rows of `left` stay aligned to 16 bytes and, like columns of
// `right`, are an odd number of (16-byte, 4-byte) banks apart, so that a warp's stores do not
// collide.
struct ProductTile {
    float left[DEPTH][ROWS + 4];
    float right[DEPTH][COLUMNS + 1];
};

constexpr int TOTAL_THREADS = 256;    // of the one block that adds up the score
constexpr int HEADS_AT_ONCE = 4;      // heads whose sums a thread keeps in registers
constexpr int PAIRS_PER_THREAD = 8;   // of the activation surfaces
constexpr int PAIRS_PER_SPLIT = 256;  // pairs of one partial gradient of W_L, at least
constexpr int MAX_SPLITS = 64;
static_assert(PAIRS_PER_SPLIT % DEPTH == 0, "a split is whole tiles");

struct ScoreTotals {
    double loss[TOTAL_THREADS];
    int correct[TOTAL_THREADS];
};
struct GroupCounts {
    int of_warp[WARPS];
};

struct Launch {
    unsigned x, y, z, threads;
    size_t shared_bytes;
};

constexpr unsigned blocks_for(int64_t items, int64_t per_block) {
    return static_cast<unsigned>((items + per_block - 1) / per_block);
}

// One thread for each of `items`.
constexpr Launch each_launch(int64_t items) {
    return {blocks_for(items, THREADS), 1, 1, THREADS, 0};
}

// One warp for each of `items`.
constexpr Launch warp_launch(int64_t items) { return {blocks_for(items, WARPS), 1, 1, THREADS, 0}; }

// [rows, columns] of a product in `splits` partial sums.
constexpr Launch product_launch(int64_t rows, int64_t columns, int64_t splits = 1) {
    return {blocks_for(rows, ROWS), blocks_for(columns, COLUMNS), static_cast<unsigned>(splits),
            THREADS, sizeof(ProductTile)};
}

// A block for each of the most `values` that any of `keys` ways to group the pairs has.
constexpr Launch group_launch(int values, int keys) {
    return {static_cast<unsigned>(values), static_cast<unsigned>(keys), 1, THREADS,
            sizeof(GroupCounts)};
}

// A block for each of `groups` of pairs and each THREADS columns of `width`.
constexpr Launch column_launch(int groups, int64_t width) {
    return {static_cast<unsigned>(groups), blocks_for(width, THREADS), 1, THREADS, 0};
}

constexpr Launch surface_launch(const Sizes& s, int64_t neurons) {
    return {blocks_for(int64_t{s.p} * s.p, PAIRS_PER_THREAD), blocks_for(neurons, THREADS), 1,
            THREADS, 0};
}

constexpr Launch total_launch() { return {1, 1, 1, TOTAL_THREADS, sizeof(ScoreTotals)}; }

// How many partial sums W_L's gradient is made of, and the pairs of each: a function of the count
// alone, so that the same pairs give the same bits on every GPU of a kind.
constexpr int64_t split_count(int64_t pairs) {
    const int64_t wanted = (pairs + PAIRS_PER_SPLIT - 1) / PAIRS_PER_SPLIT;
    return wanted < 1 ? 1 : wanted > MAX_SPLITS ? MAX_SPLITS : wanted;
}
constexpr int64_t pairs_per_split(int64_t pairs) {
    const int64_t each = (pairs + split_count(pairs) - 1) / split_count(pairs);
    return (each + DEPTH - 1) / DEPTH * DEPTH;
}

}  // namespace grid::cuda
