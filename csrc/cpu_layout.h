// Memory of the tile kernels: padded sizes, packed tables, one thread's tile and gradient sums.
// Included by cpu_tile.cpp only; everything has internal linkage (see cpu_kernels.h).
#pragma once

#include "cpu_kernels.h"
#include "cpu_target.h"

namespace grid {
namespace {

constexpr int64_t TILE = 96;         // pairs
constexpr int64_t DEPTH = 512;       // hidden units handled at a time when none are kept
constexpr int64_t TAIL = LANES / 4;  // up to this many classes beyond whole vectors go one by one

constexpr int64_t SLAB = LANES == 4 ? 32 : 64;  // units whose part of a tile stays in the first level

constexpr int64_t padded(int64_t count) { return (count + LANES - 1) / LANES * LANES; }
static_assert(DEPTH % LANES == 0 && SLAB % LANES == 0, "units are taken in whole vectors");

// Calls body(first unit, units) for each slab of a hidden row.
template <typename Body>
inline void for_slabs(int64_t hidden_row, Body body) {
    for (int64_t k = 0; k < hidden_row; k += SLAB)
        body(k, hidden_row - k < SLAB ? hidden_row - k : SLAB);
}

struct Layout {
    int64_t p, heads, hidden, classes;
    int64_t hidden_row;     // d_mlp in whole vectors
    int64_t class_row;      // classes in whole vectors
    int64_t tail;           // last classes, each a dot product of its own
    int64_t panel_columns;  // the classes before them, in whole vectors
    int64_t class_words;    // words of 64 bits, one for each class

    explicit Layout(const Shape& s)
        : p(s.p), heads(s.heads), hidden(s.d_mlp), classes(s.classes), hidden_row(padded(hidden)),
          class_row(padded(classes)), tail(classes % LANES <= TAIL ? classes % LANES : 0),
          panel_columns(padded(classes - tail)), class_words((classes + 63) / 64) {}

    int64_t mixed(int64_t row) const { return p * heads * row; }
};

// Hands out consecutive blocks, each on a cache line of its own; from null it only counts.
class Arena {
   public:
    explicit Arena(float* start) : start_(start) {}
    float* take(int64_t count) {
        float* block = start_ ? start_ + used_ : nullptr;
        used_ += (count + 15) / 16 * 16;
        return block;
    }
    int64_t used() const { return used_; }

   private:
    float* start_;
    int64_t used_ = 0;
};

// The tables as the kernels read them.
struct Packed {
    float* finite;      // [1]: 1 where W_L is. Of a product with an infinity nothing may be left out
    float* W_panels;    // panels of [d_mlp, vectors]
    float* W_rows;      // the same in the panels of cpu_sparse.h
    float* W_tail;      // [tail, hidden_row]
    float* WT_slabs;    // backward only: W_L transposed, slabs of [classes, SLAB]
    float* A;           // [p, H, hidden_row]; null where the caller's own rows are whole vectors
    float* B;
    float* pre_bias;    // [hidden_row]
    float* C;           // [p, H, class_row]
    float* D;
    float* logit_bias;  // [class_row], padded with -inf so that no padding wins a maximum

    Packed(const Layout& l, bool backward, Arena& arena) {
        const int64_t mixed = l.hidden == l.hidden_row ? 0 : l.mixed(l.hidden_row);
        finite = arena.take(1);
        W_panels = arena.take(l.hidden * l.panel_columns);
        W_rows = arena.take(l.hidden * l.panel_columns);
        W_tail = arena.take(l.tail * l.hidden_row);
        WT_slabs = backward ? arena.take(l.classes * l.hidden_row) : nullptr;
        A = mixed ? arena.take(mixed) : nullptr;
        B = mixed ? arena.take(mixed) : nullptr;
        pre_bias = arena.take(l.hidden_row);
        C = arena.take(l.mixed(l.class_row));
        D = arena.take(l.mixed(l.class_row));
        logit_bias = arena.take(l.class_row);
    }
};

// Gradient sums that every pair adds to.
struct CommonSums {
    float* start;
    float *s2, *pre_bias, *W_L, *W_tail, *logit_bias;
    int64_t size;

    CommonSums(const Layout& l, Arena& arena) {
        const int64_t before = arena.used();
        start = s2 = arena.take(l.heads);
        pre_bias = arena.take(l.hidden_row);
        W_L = arena.take(l.hidden * l.panel_columns);
        W_tail = arena.take(l.tail * l.hidden_row);
        logit_bias = arena.take(l.class_row);
        size = arena.used() - before;
    }
};

// What filtered tiles (cpu_filter.h) add to W_L's gradient: transposed, [c, hidden_row]. Neither
// cleared nor added up before the first of them.
struct FilteredSums {
    float* used;  // [1]: 0 or 1
    float *recent, *settled;
    int64_t size;

    FilteredSums(const Layout& l, Arena& arena)
        : used(arena.take(1)), recent(arena.take(l.classes * l.hidden_row)),
          settled(arena.take(l.classes * l.hidden_row)), size(l.classes * l.hidden_row) {}

    bool in_use() const { return *used != 0.0f; }
    void use() const {
        if (in_use()) return;
        for (int64_t i = 0; i < size; ++i) recent[i] = settled[i] = 0.0f;
        *used = 1.0f;
    }
};

// One thread's gradient sums, rows padded like the packed tables. Float32 sums over thousands of
// pairs lose digits, so the common ones go in two steps: a few tiles, then all of them.
struct Sums {
    float *s0, *s1, *C, *D, *A, *B;
    CommonSums recent, settled;
    FilteredSums filtered;

    // The two largest lie in `home`, the caller's gradients, if there is one and rows are whole.
    Sums(const Layout& l, const Gradients* home, Arena& arena)
        : s0(arena.take(l.p * l.heads)), s1(arena.take(l.p * l.heads)),
          C(arena.take(l.mixed(l.class_row))), D(arena.take(l.mixed(l.class_row))),
          recent(l, arena), settled(l, arena), filtered(l, arena) {
        const bool at_home = home && l.hidden == l.hidden_row;
        A = at_home ? home->A : arena.take(l.mixed(l.hidden_row));
        B = at_home ? home->B : arena.take(l.mixed(l.hidden_row));
    }

    void settle() const {
        settle(recent.start, settled.start, recent.size);
        if (filtered.in_use()) settle(filtered.recent, filtered.settled, filtered.size);
    }
    static void settle(float* recent, float* settled, int64_t count) {
        for (int64_t i = 0; i < count; ++i) {
            settled[i] += recent[i];
            recent[i] = 0.0f;
        }
    }
};

// One thread's working memory for a tile of pairs.
struct Tile {
    int64_t count = 0;         // pairs in it
    int64_t a[TILE], b[TILE];  // operands
    int64_t by_a[TILE], by_b[TILE];  // the pairs sorted by each
    int64_t hidden_row;        // distance of two rows of `hidden`
    float* alpha[3];           // [TILE, H] each
    float* d_alpha[2];         // [TILE, H] each
    float* hidden;             // [TILE, hidden_row]: post, later the gradient of pre
    float* logits;             // [TILE, class_row], later their gradient
    uint64_t* active;          // [DEPTH / 64, TILE]: units of post that are not 0, 64 a word
    uint64_t* by_pair;         // backward only, [TILE, class_words]: classes whose g is kept
    uint32_t* by_class;        // [TILE / 32, class_row]: pairs that keep the class, 32 a word

    // Forward only, `hidden` holds DEPTH units at a time.
    Tile(const Layout& l, bool backward, Arena& arena) {
        // An odd number of cache lines: rows a power of two apart would share cache sets.
        hidden_row = (backward ? l.hidden_row : DEPTH) + 16;
        for (float*& weights : alpha) weights = arena.take(padded(TILE * l.heads));
        for (float*& gradient : d_alpha) gradient = arena.take(TILE * l.heads);
        hidden = arena.take(TILE * hidden_row);
        logits = arena.take(TILE * l.class_row);
        active = reinterpret_cast<uint64_t*>(arena.take(2 * DEPTH / 64 * TILE));
        const int64_t words = backward ? TILE * l.class_words : 0;
        by_pair = reinterpret_cast<uint64_t*>(arena.take(2 * words));
        by_class = reinterpret_cast<uint32_t*>(arena.take(backward ? TILE / 32 * l.class_row : 0));
    }
};
static_assert(TILE % 32 == 0, "pairs of a tile are whole words");

}  // namespace
}  // namespace grid
