// Rows of a pair as mixtures of table rows, weighted by attention, and the way back.
// Included by cpu_tile.cpp only; everything has internal linkage (see cpu_kernels.h).
#pragma once

#include "cpu_layout.h"
#include "cpu_vector.h"

namespace grid {
namespace {

// bias + sum_h alpha0_h first[a, h] + alpha1_h second[b, h]: the tables of one mixture.
template <typename T>
struct Mixture {
    T* bias;    // [row]
    T* first;   // [p, H, row]
    T* second;  // [p, H, row]
    int64_t row;
};

// Calls body(first head, Count<heads in the group>) for groups of at most four heads.
template <typename Body>
inline void for_heads(int64_t heads, Body body) {
    int64_t h = 0;
    for (; h + 4 <= heads; h += 4) body(h, Count<4>{});
    switch (heads - h) {
        case 1: return body(h, Count<1>{});
        case 2: return body(h, Count<2>{});
        case 3: return body(h, Count<3>{});
        default: return;
    }
}

enum class Finish { Sum, Relu, StreamedRelu };

// out = base + the mixture of G heads, `width` columns.
template <int G, Finish finish>
inline void mix(const float* base, const float* alpha0, const float* alpha1, const float* first,
                const float* second, int64_t row, int64_t width, float* out) {
    Vec weight0[G], weight1[G];  // held in registers: `out` might alias the attention weights
    for (int h = 0; h < G; ++h) weight0[h] = splat(alpha0[h]), weight1[h] = splat(alpha1[h]);
    for (int64_t k = 0; k < width; k += LANES) {
        Vec total = load(base + k);
        for (int h = 0; h < G; ++h) {
            total += weight0[h] * load(first + h * row + k);
            total += weight1[h] * load(second + h * row + k);
        }
        if (finish == Finish::StreamedRelu) stream(out + k, relu(total));
        else store(out + k, finish == Finish::Relu ? relu(total) : total);
    }
}

// Columns [from, from + width) of pair i's mixture.
template <Finish finish>
inline void mix_pair(const Layout& l, const Tile& tile, int64_t i, const Mixture<const float>& m,
                     int64_t from, int64_t width, float* out) {
    const float* first = m.first + tile.a[i] * l.heads * m.row + from;
    const float* second = m.second + tile.b[i] * l.heads * m.row + from;
    for_heads(l.heads, [&](int64_t h, auto group) {
        constexpr int G = decltype(group)::value;
        const int64_t at = i * l.heads + h;
        const auto step = h + G == l.heads ? mix<G, finish> : mix<G, Finish::Sum>;
        step(h == 0 ? m.bias + from : out, tile.alpha[0] + at, tile.alpha[1] + at,
             first + h * m.row, second + h * m.row, m.row, width, out);
    });
}

// One side of a mixture's gradient, from the pair's d_out [row]: adds to that of G heads' table
// rows and of their attention weights.
template <int G>
inline void mix_backward(const float* d_out, const float* alpha, const float* table, float* d_table,
                         int64_t row, float* d_alpha) {
    constexpr int64_t BLOCK = 32 * LANES;  // longer sums in one go would round more
    Vec total[G] = {}, weight[G];
    for (int h = 0; h < G; ++h) weight[h] = splat(alpha[h]);
    for (int64_t from = 0; from < row; from += BLOCK) {
        Vec dot[G] = {};
        for (int64_t k = from; k < from + BLOCK && k < row; k += LANES) {
            const Vec x = load(d_out + k);
            for (int h = 0; h < G; ++h) {
                const int64_t at = h * row + k;
                dot[h] += x * load(table + at);
                store(d_table + at, load(d_table + at) + weight[h] * x);
            }
        }
        for (int h = 0; h < G; ++h) total[h] += dot[h];
    }
    for (int h = 0; h < G; ++h) d_alpha[h] += sum(total[h]);
}

// The same for all heads of the pairs order[0], order[1] ..., whose operands are operand[i].
inline void mix_backward_side(const Layout& l, const Tile& tile, int side, const int64_t* operand,
                              const int64_t* order, const float* table, float* d_table,
                              const float* d_out, int64_t d_row, int64_t row) {
    for (int64_t n = 0; n < tile.count; ++n) {
        const int64_t i = order[n];
        for_heads(l.heads, [&](int64_t h, auto group) {
            const int64_t in_table = (operand[i] * l.heads + h) * row, at = i * l.heads + h;
            mix_backward<decltype(group)::value>(d_out + i * d_row, tile.alpha[side] + at,
                                                 table + in_table, d_table + in_table, row,
                                                 tile.d_alpha[side] + at);
        });
    }
}

// sums[k] += sum over `count` rows of rows[i, k]
inline void add_columns(const float* rows, int64_t row, int64_t count, int64_t width, float* sums) {
    for (int64_t k = 0; k < width; k += LANES) {
        Vec partial[4] = {};  // shorter sums, which round less
        for (int64_t i = 0; i < count; ++i) partial[i % 4] += load(rows + i * row + k);
        store(sums + k, load(sums + k) + ((partial[0] + partial[1]) + (partial[2] + partial[3])));
    }
}

// The gradient of a tile's mixture, whose rows d_out are `d_row` apart. Each side takes the pairs
// in the order that keeps its own table row in L1.
inline void mix_backward_tile(const Layout& l, const Tile& tile, const Mixture<const float>& m,
                              const Mixture<float>& d_m, const float* d_out, int64_t d_row) {
    add_columns(d_out, d_row, tile.count, m.row, d_m.bias);
    mix_backward_side(l, tile, 0, tile.a, tile.by_a, m.first, d_m.first, d_out, d_row, m.row);
    mix_backward_side(l, tile, 1, tile.b, tile.by_b, m.second, d_m.second, d_out, d_row, m.row);
}

}  // namespace
}  // namespace grid
