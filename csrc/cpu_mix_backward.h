// The gradient of a mixture (cpu_mix.h), by runs: the pairs of a tile that share a table row.
// Included by cpu_tile.cpp only; everything has internal linkage (see cpu_kernels.h).
#pragma once

#include "cpu_layout.h"
#include "cpu_mix.h"
#include "cpu_product.h"
#include "cpu_vector.h"

namespace grid {
namespace {

// The pairs of a tile as the loops over runs take them, pair by pair.
struct RunOrder {
    const float* d_out[TILE];  // gradient of the mixed row
    const float* alpha[TILE];  // attention weights of the heads from some head on
    float* d_alpha[TILE];      // their gradients
};

// Register tiles: pairs times heads for the weights' gradients, heads times vectors for the rows'.
constexpr int RUN_PAIRS = REGISTERS / 8, RUN_VECTORS = REGISTERS / 8;
static_assert(RUN_PAIRS == 2 || RUN_PAIRS == 4, "run_backward lists the pairs");

// d_alpha[pair][head] += the sum of its lanes. Inlined, it would cost the loop its registers.
[[gnu::noinline]] void add_sums(const float* lanes, int pairs, int heads, float* const* d_alpha) {
    for (int p = 0; p < pairs; ++p)
        for (int h = 0; h < heads; ++h, lanes += LANES) d_alpha[p][h] += sum(load(lanes));
}

// d_alpha += d_out . table row, for P pairs and G heads; each row of d_out and table is read once.
template <int G, int P>
[[gnu::noinline]] void weights_of_run(const float* const* d_out, const float* table, int64_t row,
                                      float* const* d_alpha) {
    for (int64_t from = 0; from < row; from += TERMS * LANES) {
        const int64_t end = row - from < TERMS * LANES ? row : from + TERMS * LANES;
        Vec dot[P * G];
        UNROLLED for (Vec& one : dot) one = Vec{};
        int64_t k = from;
        do {
            Vec x[P];
            UNROLLED for (int p = 0; p < P; ++p) x[p] = load_once(d_out[p] + k);
            UNROLLED for (int h = 0; h < G; ++h) {
                const Vec y = load_once(table + h * row + k);
                UNROLLED for (int p = 0; p < P; ++p) dot[p * G + h] += x[p] * y;
            }
        } while ((k += LANES) < end);
        alignas(64) float lanes[P * G * LANES];
        UNROLLED for (int i = 0; i < P * G; ++i) store(lanes + i * LANES, dot[i]);
        add_sums(lanes, P, G, d_alpha);
    }
}

// V vectors of d_table, for G heads: += the sum over the run, `count` >= 1 pairs, of alpha d_out.
template <int G, int V>
inline void columns_of_run(const float* const* d_out, const float* const* alpha, int64_t count,
                           float* d_table, int64_t row, int64_t k) {
    Vec total[G * V];
    UNROLLED for (Vec& one : total) one = Vec{};
    int64_t p = 0;
    do {
        Vec x[V];
        UNROLLED for (int v = 0; v < V; ++v) x[v] = load_once(d_out[p] + k + v * LANES);
        UNROLLED for (int h = 0; h < G; ++h) {
            const Vec weight = splat(alpha[p][h]);
            UNROLLED for (int v = 0; v < V; ++v) total[h * V + v] += weight * x[v];
        }
    } while (++p < count);
    UNROLLED for (int i = 0; i < G * V; ++i) {
        float* at = d_table + i / V * row + k + i % V * LANES;
        store(at, load(at) + total[i]);
    }
}

template <int G>
[[gnu::noinline]] void rows_of_run(const float* const* d_out, const float* const* alpha,
                                   int64_t count, float* d_table, int64_t row) {
    constexpr int V = RUN_VECTORS;
    int64_t k = 0;
    for (; k + V * LANES <= row; k += V * LANES)
        columns_of_run<G, V>(d_out, alpha, count, d_table, row, k);
    for (; k < row; k += LANES) columns_of_run<G, 1>(d_out, alpha, count, d_table, row, k);
}

// Both gradients of a run, pairs [begin, end) of the order.
template <int G>
inline void run_backward(const RunOrder& pairs, int64_t begin, int64_t end, const float* table,
                         float* d_table, int64_t row) {
    int64_t n = begin;
    auto weights = [&](auto count) {
        constexpr int P = decltype(count)::value;
        weights_of_run<G, P>(pairs.d_out + n, table, row, pairs.d_alpha + n);
        n += P;
    };
    while (n + RUN_PAIRS <= end) weights(Count<RUN_PAIRS>{});
    if constexpr (RUN_PAIRS == 4)
        if (n + 2 <= end) weights(Count<2>{});
    if (n < end) weights(Count<1>{});
    rows_of_run<G>(pairs.d_out + begin, pairs.alpha + begin, end - begin, d_table, row);
}

// One side of a mixture's gradient: adds to that of the table rows and of the attention weights.
// The runs are those of order[0], order[1] ..., pairs sorted by operand.
inline void mix_backward_side(const Layout& l, const Tile& tile, int side, const int64_t* operand,
                              const int64_t* order, const float* table, float* d_table,
                              const float* d_out, int64_t d_row, int64_t row) {
    RunOrder pairs;
    for_heads(l.heads, [&](int64_t h, auto group) {
        for (int64_t n = 0; n < tile.count; ++n) {
            const int64_t at = order[n] * l.heads + h;
            pairs.d_out[n] = d_out + order[n] * d_row;
            pairs.alpha[n] = tile.alpha[side] + at;
            pairs.d_alpha[n] = tile.d_alpha[side] + at;
        }
        for (int64_t begin = 0, end = 0; begin < tile.count; begin = end) {
            const int64_t key = operand[order[begin]];
            while (end < tile.count && operand[order[end]] == key) ++end;
            const int64_t at = (key * l.heads + h) * row;
            run_backward<decltype(group)::value>(pairs, begin, end, table + at, d_table + at, row);
        }
    });
}

// sums[k] += sum over `count` rows of rows[i, k]
inline void add_columns(const float* rows, int64_t row, int64_t count, int64_t width, float* sums) {
    for (int64_t k = 0; k < width; k += LANES) {
        Vec partial[4] = {};  // shorter sums, which round less
        for (int64_t i = 0; i < count; ++i) partial[i % 4] += load(rows + i * row + k);
        store(sums + k, load(sums + k) + ((partial[0] + partial[1]) + (partial[2] + partial[3])));
    }
}

// The gradient of a tile's mixture, whose rows d_out are `d_row` apart.
inline void mix_backward_tile(const Layout& l, const Tile& tile, const Mixture<const float>& m,
                              const Mixture<float>& d_m, const float* d_out, int64_t d_row) {
    add_columns(d_out, d_row, tile.count, m.row, d_m.bias);
    mix_backward_side(l, tile, 0, tile.a, tile.by_a, m.first, d_m.first, d_out, d_row, m.row);
    mix_backward_side(l, tile, 1, tile.b, tile.by_b, m.second, d_m.second, d_out, d_row, m.row);
}

}  // namespace
}  // namespace grid
