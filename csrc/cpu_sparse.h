// The forward product without the exact zeros of post.
// Included by cpu_tile.cpp only; everything has internal linkage (see cpu_kernels.h).
//
// The relu leaves about half of a pair's units at exactly 0, all through training, and 0 times a
// finite weight adds nothing: the sums are those of the dense product, bit for bit.
#pragma once

#include "cpu_layout.h"
#include "cpu_product.h"
#include "cpu_vector.h"

namespace grid {
namespace {

// Units of one word of a pair's mask: as many as a sum may have terms.
constexpr int64_t WORD = 64;
static_assert(WORD == TERMS && DEPTH % WORD == 0, "a word's units are one sum");

// Tiles more active than this are multiplied densely: a bit costs more than a multiply-add.
constexpr double MOSTLY_ACTIVE = 0.85;

// Vectors of logits that a loop has in registers; a word's rows of them stay in the first cache level.
constexpr int SPARSE_PANEL = LANES == 16 ? 8 : 14;

// Marks the units of a tile that are not 0, NaN among them. False if nearly all of them are.
inline bool is_worth_skipping(const Tile& tile, const float* hidden, int64_t depth) {
    int64_t total = 0;
    const int64_t words = (depth + WORD - 1) / WORD;
    for (int64_t i = 0; i < tile.count; ++i)
        for (int64_t word = 0; word < words; ++word) {
            const int64_t begin = word * WORD, end = begin + WORD < depth ? begin + WORD : depth;
            uint64_t bits = 0;
            for (int64_t k = begin; k < end; k += LANES)
                bits |= mask_of(~(load(hidden + i * tile.hidden_row + k) <= 0.0f)) << (k - begin);
            tile.active[word * TILE + i] = bits;
            total += __builtin_popcountll(bits);
        }
    return static_cast<double>(total) <= MOSTLY_ACTIVE * static_cast<double>(tile.count * depth);
}

// V vectors of a tile's logits, at `logits`, += the active units of a word, at `post`, times W: rows
// of V vectors each.
template <int V>
[[gnu::noinline]] void active_product(const Tile& tile, const uint64_t* active, const float* post,
                                      const float* W, float* logits, int64_t class_row) {
    for (int64_t i = 0; i < tile.count; ++i) {
        const float* units = post + i * tile.hidden_row;
        Vec total[V];
        UNROLLED for (Vec& one : total) one = Vec{};
        for (uint64_t bits = active[i]; bits; bits &= bits - 1) {
            const int64_t k = lowest_bit(bits);
            const Vec unit = splat(units[k]);
            UNROLLED for (int v = 0; v < V; ++v) total[v] += unit * load(W + (k * V + v) * LANES);
        }
        float* at = logits + i * class_row;
        UNROLLED for (int v = 0; v < V; ++v)
            store(at + v * LANES, load(at + v * LANES) + total[v]);
    }
}

// Calls panel(first column, Count<vectors>) for the panels of the sparse product: as few as the
// registers allow, and nearly equal.
template <typename Body>
inline void for_sparse_panels(int64_t columns, Body panel) {
    const int64_t vectors = columns / LANES, panels = (vectors + SPARSE_PANEL - 1) / SPARSE_PANEL;
    for (int64_t i = 0; i < panels; ++i) {
        const int64_t first = vectors * i / panels, end = vectors * (i + 1) / panels;
        with_width<SPARSE_PANEL>(end - first, [&](auto width) { panel(first * LANES, width); });
    }
}

// tile.logits += hidden W_L, `depth` units from unit `from` on, which lie at `hidden`.
inline void sparse_product(const Layout& l, const Tile& tile, const float* hidden, int64_t from,
                           int64_t depth, const float* W_rows) {
    for (int64_t begin = 0; begin < depth; begin += WORD)
        for_sparse_panels(l.panel_columns, [&](int64_t first, auto vectors) {
            constexpr int V = decltype(vectors)::value;
            active_product<V>(tile, tile.active + begin / WORD * TILE, hidden + begin,
                              W_rows + first * l.hidden + (from + begin) * V * LANES,
                              tile.logits + first, l.class_row);
        });
}

}  // namespace
}  // namespace grid
