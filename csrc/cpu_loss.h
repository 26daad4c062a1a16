// Cross-entropy of a tile by the formulas of grokking/model/loss.py, which do not saturate.
// Included by cpu_tile.cpp only; everything has internal linkage (see cpu_kernels.h).
#pragma once

#include "cpu_layout.h"
#include "cpu_vector.h"

namespace grid {
namespace {

// What the loss needs of one row of logits l with target t.
struct RowSums {
    float gap;      // l_t - max_j l_j
    float others;   // sum_{j != t} exp(l_j - max)
    bool is_first;  // no class before t reaches the maximum
};

// Replaces the row by exp(l_j - max) for j != t and 0 for t if `keep`.
inline RowSums sum_row(const Layout& l, float* row, int64_t target, bool keep) {
    Vec peaks = splat(-__builtin_inff());
    for (int64_t j = 0; j < l.class_row; j += LANES) peaks = larger(peaks, load(row + j));
    const float peak = maximum(peaks), gap = row[target] - peak;

    row[target] = -__builtin_inff();  // leaves the target out of the sum
    Vec totals{};
    IVec earlier{};
    IVec before = lane_numbers() - static_cast<int32_t>(target);  // negative: before the target
    for (int64_t j = 0; j < l.class_row; j += LANES, before += LANES) {
        const Vec x = load(row + j);
        earlier |= (x == peak) & before;
        const Vec e = exp_of_nonpositive(x - peak);
        totals += e;
        if (keep) store(row + j, e);
    }
    return {gap, sum(totals), !any_negative(earlier)};
}

// Score of the tile; with `gradient` its logits become scale * g.
template <bool gradient>
Score score_tile(const Layout& l, const Tile& tile, const Batch& batch, int64_t first,
                 float scale) {
    alignas(64) float gaps[TILE], others[TILE];
    bool is_first[TILE];
    for (int64_t i = 0; i < tile.count; ++i) {
        const RowSums row =
            sum_row(l, tile.logits + i * l.class_row, batch.target(first + i), gradient);
        gaps[i] = row.gap;
        others[i] = row.others;
        is_first[i] = row.is_first;
    }
    for (int64_t i = tile.count; i < padded(tile.count); ++i) gaps[i] = others[i] = 0.0f;

    Score total;
    alignas(64) float losses[TILE], factors[TILE];
    for (int64_t i = 0; i < tile.count; i += LANES) {
        const Vec gap = load(gaps + i), other = load(others + i);
        const Vec gap_exp = expm1_of_nonpositive(gap);
        store(losses + i, log1p_of_nonnegative(other + gap_exp) - gap);
        store(factors + i, scale / (other + (gap_exp + 1.0f)));
    }
    for (int64_t i = 0; i < tile.count; ++i) {
        total.loss_sum += losses[i];
        total.correct += losses[i] == losses[i] && gaps[i] == 0.0f && is_first[i];
        if (!gradient) continue;
        float* row = tile.logits + i * l.class_row;
        for (int64_t j = 0; j < l.class_row; j += LANES)
            store(row + j, load(row + j) * factors[i]);
        row[batch.target(first + i)] = -others[i] * factors[i];
    }
    return total;
}
static_assert(TILE % LANES == 0, "arrays of a tile are whole vectors");

}  // namespace
}  // namespace grid
