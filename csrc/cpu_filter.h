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

// Vectors of hidden units that a loop has in registers, SLAB units whose columns of a tile of post,
// or of W_L^T, stay in the first cache level.
constexpr int SLAB_VECTORS = LANES == 16 ? 4 : 8;
constexpr int64_t SLAB = SLAB_VECTORS * LANES;
static_assert(SLAB % (PANEL * LANES) == 0, "a slab is whole panels");

inline int lowest_bit(uint64_t bits) { return __builtin_ctzll(bits); }

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

// total += sum over the set bits n of x[n * x_step] rows[n * row]; the sums of bits in turn, which
// gives the multipliers enough to do at once.
template <int V, typename Row>
inline void add_kept(uint64_t bits, const float* x, int64_t x_step, Row row, Vec (&total)[V],
                     Vec (&other)[V]) {
    constexpr bool in_turn = V < 8;
    while (bits) {
        const int n = lowest_bit(bits);
        bits &= bits - 1;
        const Vec factor = splat(x[n * x_step]);
        UNROLLED for (int v = 0; v < V; ++v) total[v] += factor * load(row(n, v));
        if (!in_turn || !bits) continue;
        const int m = lowest_bit(bits);
        bits &= bits - 1;
        const Vec second = splat(x[m * x_step]);
        UNROLLED for (int v = 0; v < V; ++v) other[v] += second * load(row(m, v));
    }
}

// d_W [classes, hidden_row] += g^T post, V vectors of hidden units from k on.
template <int V>
[[gnu::noinline]] void filtered_weights(const Layout& l, const Tile& tile, int64_t k, float* d_W) {
    for (int64_t j = 0; j < l.classes; ++j) {
        Vec total[V], other[V];
        UNROLLED for (int v = 0; v < V; ++v) total[v] = other[v] = Vec{};
        for (int64_t word = 0; word * 32 < tile.count; ++word) {
            const float* post = tile.hidden + word * 32 * tile.hidden_row + k;
            add_kept<V>(
                tile.by_class[word * l.class_row + j],
                tile.logits + word * 32 * l.class_row + j, l.class_row,
                [&](int n, int v) { return post + n * tile.hidden_row + v * LANES; }, total, other);
        }
        float* at = d_W + j * l.hidden_row + k;
        UNROLLED for (int v = 0; v < V; ++v)
            store(at + v * LANES, load(at + v * LANES) + (total[v] + other[v]));
    }
}

// tile.hidden: post becomes g W_L^T where the unit is not off, V vectors from k on. They lie in
// panels that are P vectors wide.
template <int V, int P>
[[gnu::noinline]] void filtered_hidden(const Layout& l, const Tile& tile, int64_t k,
                                       const float* WT_panels) {
    const float* panel = WT_panels + k * l.classes;
    const int64_t next = P * LANES * l.classes;
    for (int64_t i = 0; i < tile.count; ++i) {
        Vec total[V], other[V];
        UNROLLED for (int v = 0; v < V; ++v) total[v] = other[v] = Vec{};
        for (int64_t word = 0; word < l.class_words; ++word) {
            const float* W = panel + word * 64 * P * LANES;
            add_kept<V>(
                tile.by_pair[i * l.class_words + word], tile.logits + i * l.class_row + word * 64,
                1,
                [&](int n, int v) { return W + v / P * next + (n * P + v % P) * LANES; }, total,
                other);
        }
        float* at = tile.hidden + i * tile.hidden_row + k;
        UNROLLED for (int v = 0; v < V; ++v) {
            const Vec post = load(at + v * LANES);
            store(at + v * LANES, post <= 0.0f ? Vec{} : total[v] + other[v]);
        }
    }
}

// Calls slab(k, Count<vectors>, Count<vectors of a panel>) for all of hidden_row: slabs of whole
// panels, then panels, the last of which may be narrower.
template <typename Body>
inline void for_slabs(const Layout& l, Body slab) {
    int64_t k = 0;
    for (; k + SLAB <= l.hidden_row; k += SLAB) slab(k, Count<SLAB_VECTORS>{}, Count<PANEL>{});
    for (; k + PANEL * LANES <= l.hidden_row; k += PANEL * LANES)
        slab(k, Count<PANEL>{}, Count<PANEL>{});
    switch ((l.hidden_row - k) / LANES) {
        case 1: return slab(k, Count<1>{}, Count<1>{});
        case 2: return slab(k, Count<2>{}, Count<2>{});
        case 3: return slab(k, Count<3>{}, Count<3>{});
        default: return;
    }
}

// The gradients of W_L, transposed, and of the hidden units from what is kept of a tile's g.
inline void filtered_products(const Layout& l, const Tile& tile, const float* WT_panels,
                              float* d_WT) {
    for_slabs(l, [&](int64_t k, auto vectors, auto panel) {
        constexpr int V = decltype(vectors)::value, P = decltype(panel)::value;
        filtered_weights<V>(l, tile, k, d_WT);
        filtered_hidden<V, P>(l, tile, k, WT_panels);
    });
}

}  // namespace
}  // namespace grid
