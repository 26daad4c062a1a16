// The two backward products without the negligible entries of g.
// Included by cpu_tile.cpp only; everything has internal linkage (see cpu_kernels.h).
//
// Of a memorised pair most entries of g are far below that of its target: in a sum of float32
// products they are less than its rounding. A tile that has enough of them leaves them out.
#pragma once

#include "cpu_layout.h"
#include "cpu_product.h"
#include "cpu_vector.h"

namespace grid {
namespace {

// An entry is left out if it is at most this part of its row's target entry: half a unit in the
// last place of that one, by which single rounding of a sum that contains it may be wrong.
constexpr float NEGLIGIBLE = 0x1p-25f;

// Tiles that keep no more than this part of their entries are filtered: the loops below cost more
// for each entry than the dense product.
constexpr double WORTHWHILE = 0.75;

// |limits[i]| of every row, NEGLIGIBLE of its target's entry; false unless all are finite, as they
// are not where g has a NaN or an infinity.
inline bool row_limits(const Layout& l, const Tile& tile, const Batch& batch, int64_t first,
                       float* limits) {
    bool finite = true;
    for (int64_t i = 0; i < tile.count; ++i) {
        const float entry = tile.logits[i * l.class_row + batch.target(first + i)];
        limits[i] = NEGLIGIBLE * (entry < 0.0f ? -entry : entry);
        finite &= limits[i] < __builtin_inff();
    }
    return finite;
}

// All bits set where an entry is kept. The limits are finite, so that no padding is.
inline IVec is_kept(Vec g, float limit) {
    const Vec size = (Vec)((IVec)g & 0x7fffffff);
    return ~(size <= limit);
}

inline int64_t count_kept(const Layout& l, const Tile& tile, const float* limits) {
    int64_t total = 0;
    for (int64_t i = 0; i < tile.count; ++i) {
        IVec counts{};
        for (int64_t j = 0; j < l.class_row; j += LANES)
            counts -= is_kept(load(tile.logits + i * l.class_row + j), limits[i]);
        total += sum(counts);
    }
    return total;
}

void mark_by_pair(const Layout& l, const Tile& tile, const float* limits) {
    for (int64_t i = 0; i < tile.count; ++i)
        for (int64_t word = 0; word < l.class_words; ++word) {
            const int64_t end = l.class_row < word * 64 + 64 ? l.class_row : word * 64 + 64;
            uint64_t bits = 0;
            for (int64_t j = word * 64; j < end; j += LANES)
                bits |= mask_of(is_kept(load(tile.logits + i * l.class_row + j), limits[i]))
                        << (j % 64);
            tile.by_pair[i * l.class_words + word] = bits;
        }
}

void mark_by_class(const Layout& l, const Tile& tile, const float* limits) {
    for (int64_t word = 0; word * 32 < tile.count; ++word) {
        const int64_t begin = word * 32, end = begin + 32 < tile.count ? begin + 32 : tile.count;
        for (int64_t j = 0; j < l.class_row; j += LANES) {
            IVec pairs{}, bit = IVec{} + 1;
            for (int64_t i = begin; i < end; ++i, bit <<= 1)
                pairs |= is_kept(load(tile.logits + i * l.class_row + j), limits[i]) & bit;
            __builtin_memcpy(tile.by_class + word * l.class_row + j, &pairs, sizeof pairs);
        }
    }
}

// Marks what is kept of the tile's g. False if all of it had better be multiplied.
inline bool is_worth_filtering(const Layout& l, const Tile& tile, const Batch& batch,
                               int64_t first) {
    float limits[TILE];
    if (!row_limits(l, tile, batch, first, limits)) return false;
    const double all = static_cast<double>(tile.count * l.classes);
    if (static_cast<double>(count_kept(l, tile, limits)) > WORTHWHILE * all) return false;
    mark_by_pair(l, tile, limits);
    mark_by_class(l, tile, limits);
    return true;
}

// sums += x[n * x_step] rows[n * row] of the lowest set bit n; returns the other bits
template <int V>
inline uint64_t add_lowest(uint64_t bits, const float* x, int64_t x_step, const float* rows,
                           int64_t row, Vec (&sums)[V]) {
    const int64_t n = lowest_bit(bits);
    const Vec factor = splat(x[n * x_step]);
    UNROLLED for (int v = 0; v < V; ++v) sums[v] += factor * load(rows + n * row + v * LANES);
    return bits & (bits - 1);
}

// The same of all set bits; where that is few vectors, bits go to both sums in turn, which gives the
// multipliers enough to do at once.
template <int V>
inline void add_kept(uint64_t bits, const float* x, int64_t x_step, const float* rows, int64_t row,
                     Vec (&total)[V], Vec (&other)[V]) {
    while (bits) {
        bits = add_lowest(bits, x, x_step, rows, row, total);
        if (V < 8 && bits) bits = add_lowest(bits, x, x_step, rows, row, other);
    }
}

// d_W [classes, hidden_row] += g^T post, V vectors of hidden units from k on. The sizes by value: read
// from a struct, they cost the loop a fifth of its time.
template <int V>
[[gnu::noinline]] void filtered_weights(const uint32_t* kept, int64_t words, const float* g,
                                        int64_t class_row, const float* post, int64_t post_row,
                                        int64_t classes, float* d_W, int64_t hidden_row) {
    for (int64_t j = 0; j < classes; ++j) {
        Vec total[V], other[V];
        UNROLLED for (int v = 0; v < V; ++v) total[v] = other[v] = Vec{};
        for (int64_t word = 0; word < words; ++word)
            add_kept(kept[word * class_row + j], g + word * 32 * class_row + j, class_row,
                     post + word * 32 * post_row, post_row, total, other);
        float* at = d_W + j * hidden_row;
        UNROLLED for (int v = 0; v < V; ++v)
            store(at + v * LANES, load(at + v * LANES) + (total[v] + other[v]));
    }
}

// V vectors of `count` hidden rows: post becomes g W_L^T where the unit is not off.
template <int V>
[[gnu::noinline]] void filtered_hidden(const uint64_t* kept, int64_t words, const float* g,
                                       int64_t class_row, const float* WT_slab, int64_t count,
                                       float* hidden, int64_t post_row) {
    for (int64_t i = 0; i < count; ++i) {
        Vec total[V], other[V];
        UNROLLED for (int v = 0; v < V; ++v) total[v] = other[v] = Vec{};
        for (int64_t word = 0; word < words; ++word)
            add_kept(kept[i * words + word], g + i * class_row + word * 64, 1,
                     WT_slab + word * 64 * V * LANES, V * LANES, total, other);
        float* at = hidden + i * post_row;
        UNROLLED for (int v = 0; v < V; ++v) {
            const Vec post = load(at + v * LANES);
            store(at + v * LANES, post <= 0.0f ? Vec{} : total[v] + other[v]);
        }
    }
}

// The gradients of W_L, transposed, and of the hidden units from what is kept of a tile's g.
inline void filtered_products(const Layout& l, const Tile& tile, const float* WT_slabs,
                              float* d_WT) {
    for_slabs(l.hidden_row, [&](int64_t k, int64_t width) {
        with_width<SLAB / LANES>(width / LANES, [&](auto vectors) {
            constexpr int V = decltype(vectors)::value;
            filtered_weights<V>(tile.by_class, (tile.count + 31) / 32, tile.logits, l.class_row,
                                tile.hidden + k, tile.hidden_row, l.classes, d_WT + k,
                                l.hidden_row);
            filtered_hidden<V>(tile.by_pair, l.class_words, tile.logits, l.class_row,
                               WT_slabs + k * l.classes, tile.count, tile.hidden + k,
                               tile.hidden_row);
        });
    });
}

}  // namespace
}  // namespace grid
