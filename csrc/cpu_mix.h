// Rows of a pair as mixtures of table rows, weighted by attention.
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

}  // namespace
}  // namespace grid
