// Register-tiled matrix products: the part of the kernel that spends the time.
// Included by cpu_tile.cpp only; everything has internal linkage (see cpu_kernels.h).
#pragma once

#include "cpu_vector.h"

namespace grid {
namespace {

constexpr int PANEL = REGISTERS / 8;  // vectors per register tile, at most
static_assert(PANEL == 2 || PANEL == 4, "product_panel lists the widths");

// Rows of a register tile `panel` vectors wide: its accumulators take three quarters of the
// registers and leave room for a row of the panel and one broadcast.
constexpr int rows_of(int panel) { return REGISTERS * 3 / 4 / panel; }
static_assert(rows_of(PANEL) * PANEL + PANEL + 1 <= REGISTERS, "tile exceeds the registers");

// Terms that a product adds up in one chain. Longer chains round worse than PyTorch's products, and
// the rounding of a logit is the relative error of the gradients of its memorised pair.
constexpr int64_t TERMS = 64;

// The left operand of a product: element (r, d) is at[r * row + d * depth].
struct Left {
    const float* at;
    int64_t row, depth;
};

// The right operand: `depth` rows of whole vectors, `row` floats apart.
struct Right {
    const float* at;
    int64_t row, depth;
};

struct Out {
    float* at;
    int64_t row;
};

enum class Into {
    Overwrite, // out = product, TERMS terms at a time
    Add,       // out += product, the same
    MaskRelu,  // out = out <= 0 ? 0 : product, which lets a NaN in `out` through
};

// A tile of R rows and V vectors, summed over the whole depth in registers.
template <int R, int V, Into into>
inline void product_tile(Left left, Right right, Out out) {
    Vec total[R][V] = {};  // from zero: `out` is larger than the product, and would round it away
    for (int64_t d = 0; d < right.depth; ++d) {
        Vec columns[V];
        for (int v = 0; v < V; ++v) columns[v] = load(right.at + d * right.row + v * LANES);
        for (int r = 0; r < R; ++r) {
            const Vec x = splat(left.at[r * left.row + d * left.depth]);
            for (int v = 0; v < V; ++v) total[r][v] += x * columns[v];
        }
    }
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) {
            float* at = out.at + r * out.row + v * LANES;
            if (into == Into::Overwrite) store(at, total[r][v]);
            if (into == Into::Add) store(at, load(at) + total[r][v]);
            if (into == Into::MaskRelu) store(at, load(at) <= 0.0f ? Vec{} : total[r][v]);
        }
}

// A function of its own: inlined, its loop has the registers that the caller leaves.
template <int R, int V, Into into>
[[gnu::noinline]] void product_in_blocks(Left left, Right right, Out out) {
    if (into == Into::MaskRelu) return product_tile<R, V, into>(left, right, out);
    for (int64_t from = 0; from < right.depth; from += TERMS) {
        const int64_t depth = right.depth - from < TERMS ? right.depth - from : TERMS;
        const Left some{left.at + from * left.depth, left.row, left.depth};
        const Right some_rows{right.at + from * right.row, right.row, depth};
        if (into == Into::Overwrite && from == 0)
            product_tile<R, V, Into::Overwrite>(some, some_rows, out);
        else product_tile<R, V, Into::Add>(some, some_rows, out);
    }
}

template <int V, Into into>
void product_rows(Left left, int64_t rows, Right right, Out out) {
    auto tile = [&](auto height, int64_t r) {
        product_in_blocks<decltype(height)::value, V, into>(
            {left.at + r * left.row, left.row, left.depth}, right,
            {out.at + r * out.row, out.row});
    };
    constexpr int R = rows_of(V);
    int64_t r = 0;
    for (; r + R <= rows; r += R) tile(Count<R>{}, r);
    for (; r < rows; ++r) tile(Count<1>{}, r);
}

// out (+)= left right, where right is one panel: at most PANEL vectors wide.
template <Into into>
void product_panel(Left left, int64_t rows, Right right, int64_t columns, Out out) {
    switch (columns / LANES) {
        case 1: return product_rows<1, into>(left, rows, right, out);
        case 2: return product_rows<2, into>(left, rows, right, out);
        default: break;
    }
    if constexpr (PANEL == 4) {
        if (columns == 3 * LANES) return product_rows<3, into>(left, rows, right, out);
        product_rows<4, into>(left, rows, right, out);
    }
}

// Calls body(first column, columns) for each panel of a matrix `columns` wide.
template <typename Body>
inline void for_panels(int64_t columns, Body body) {
    for (int64_t first = 0; first < columns; first += PANEL * LANES)
        body(first, columns - first < PANEL * LANES ? columns - first : PANEL * LANES);
}

}  // namespace
}  // namespace grid
