// The three-way softmax of every pair and head, and its gradient.
// Included by cpu_tile.cpp only; everything has internal linkage (see cpu_kernels.h).
#pragma once

#include "cpu_layout.h"
#include "cpu_vector.h"

namespace grid {
namespace {

// tile.alpha = softmax(s0[a, h], s1[b, h], s2[h])
void attend(const Layout& l, const Tables& t, const Tile& tile) {
    float* const* z = tile.alpha;
    const int64_t count = tile.count * l.heads;
    for (int64_t i = 0; i < tile.count; ++i)
        for (int64_t h = 0; h < l.heads; ++h) {
            z[0][i * l.heads + h] = t.s0[tile.a[i] * l.heads + h];
            z[1][i * l.heads + h] = t.s1[tile.b[i] * l.heads + h];
            z[2][i * l.heads + h] = t.s2[h];
        }
    for (int64_t i = count; i < padded(count); ++i) z[0][i] = z[1][i] = z[2][i] = 0.0f;
    for (int64_t i = 0; i < count; i += LANES) {
        Vec e[3];
        for (int w = 0; w < 3; ++w) e[w] = load(z[w] + i);
        const Vec peak = larger(larger(e[0], e[1]), e[2]);
        for (Vec& v : e) v = exp_of_nonpositive(v - peak);
        const Vec total = e[0] + e[1] + e[2];
        for (int w = 0; w < 3; ++w) store(z[w] + i, e[w] / total);
    }
}

// From tile.d_alpha to the sums of s0, s1, s2. No table is multiplied by the third weight, so its
// gradient is 0.
void attend_backward(const Layout& l, const Tile& tile, const Sums& sums) {
    for (int64_t h = 0; h < l.heads; ++h) {
        double d_s2 = 0.0;  // of opposite signs, nearly cancelling
        for (int64_t i = 0; i < tile.count; ++i) {
            const int64_t at = i * l.heads + h;
            const float d0 = tile.d_alpha[0][at], d1 = tile.d_alpha[1][at];
            const float mean = tile.alpha[0][at] * d0 + tile.alpha[1][at] * d1;
            sums.s0[tile.a[i] * l.heads + h] += tile.alpha[0][at] * (d0 - mean);
            sums.s1[tile.b[i] * l.heads + h] += tile.alpha[1][at] * (d1 - mean);
            d_s2 -= tile.alpha[2][at] * mean;
        }
        sums.recent.s2[h] += static_cast<float>(d_s2);
    }
}

}  // namespace
}  // namespace grid
