// The fast kernels, compiled once for each target of cpu_target.h.
//
// Pairs are taken TILE at a time. A tile's hidden rows are mixed from table rows; its logits are
// their product with W_L; in the backward pass W_L's gradient and the hidden gradients are two
// more such products. All of it stays in the first two cache levels.
#include "cpu_attention.h"
#include "cpu_filter.h"
#include "cpu_fold.h"
#include "cpu_kernels.h"
#include "cpu_layout.h"
#include "cpu_loss.h"
#include "cpu_mix.h"
#include "cpu_mix_backward.h"
#include "cpu_product.h"
#include "cpu_sparse.h"

namespace grid {
namespace {

constexpr int64_t SETTLE_AFTER = 8;  // tiles between two steps of the common sums

// ---------------------------------------------------------------- packing

void copy_rows(const float* from, int64_t rows, int64_t width, float* to, int64_t row) {
    for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < width; ++j) to[i * row + j] = from[i * width + j];
        for (int64_t j = width; j < row; ++j) to[i * row + j] = 0.0f;
    }
}

bool all_finite(const float* values, int64_t count) {
    int32_t bad = 0;
    for (int64_t i = 0; i < count; ++i) bad |= !(values[i] - values[i] == 0.0f);
    return !bad;
}

// from(d, column) for d < depth and column < columns, 0 from `width` on, as panels.
template <typename Element>
void pack_panels(Element from, int64_t depth, int64_t width, int64_t columns, float* to) {
    for_panels(columns, [&](int64_t first, int64_t panel) {
        for (int64_t d = 0; d < depth; ++d)
            for (int64_t j = first; j < first + panel; ++j) *to++ = j < width ? from(d, j) : 0.0f;
    });
}

void pack_slabs(const Layout& l, const float* W_L, float* to) {
    for_slabs(l.hidden_row, [&](int64_t k, int64_t width) {
        for (int64_t j = 0; j < l.classes; ++j)
            for (int64_t i = k; i < k + width; ++i)
                *to++ = i < l.hidden ? W_L[i * l.classes + j] : 0.0f;
    });
}

void pack(const Shape& shape, const Tables& t, bool backward, float* memory) {
    const Layout l(shape);
    Arena arena(memory);
    const Packed packed(l, backward, arena);
    auto W_L = [&](int64_t k, int64_t j) { return t.W_L[k * l.classes + j]; };
    *packed.finite = all_finite(t.W_L, l.hidden * l.classes);

    pack_panels(W_L, l.hidden, l.classes, l.panel_columns, packed.W_panels);
    for_sparse_panels(l.panel_columns, [&](int64_t first, auto vectors) {
        constexpr int64_t columns = decltype(vectors)::value * LANES;
        float* to = packed.W_rows + first * l.hidden;
        for (int64_t k = 0; k < l.hidden; ++k)
            for (int64_t j = first; j < first + columns; ++j)
                *to++ = j < l.classes ? W_L(k, j) : 0.0f;
    });
    if (backward) pack_slabs(l, t.W_L, packed.WT_slabs);
    for (int64_t i = 0; i < l.tail; ++i)
        for (int64_t k = 0; k < l.hidden_row; ++k)
            packed.W_tail[i * l.hidden_row + k] =
                k < l.hidden ? W_L(k, l.classes - l.tail + i) : 0.0f;
    if (packed.A) {
        copy_rows(t.A, l.p * l.heads, l.hidden, packed.A, l.hidden_row);
        copy_rows(t.B, l.p * l.heads, l.hidden, packed.B, l.hidden_row);
    }
    copy_rows(t.pre_bias, 1, l.hidden, packed.pre_bias, l.hidden_row);
    copy_rows(t.C, l.p * l.heads, l.classes, packed.C, l.class_row);
    copy_rows(t.D, l.p * l.heads, l.classes, packed.D, l.class_row);
    copy_rows(t.logit_bias, 1, l.classes, packed.logit_bias, l.class_row);
    for (int64_t j = l.classes; j < l.class_row; ++j) packed.logit_bias[j] = -__builtin_inff();
}

size_t packed_size(const Shape& shape, bool backward) {
    Arena arena(nullptr);
    Packed(Layout(shape), backward, arena);
    return static_cast<size_t>(arena.used());
}

size_t scratch_size(const Shape& shape, bool backward) {
    const Layout l(shape);
    Arena arena(nullptr);
    Tile(l, backward, arena);
    if (backward) Sums(l, nullptr, arena);
    return static_cast<size_t>(arena.used());
}

// What the kernels read: the packed tables, and the caller's where they need no padding.
struct Operands {
    Mixture<const float> pre, logits;
    bool finite;
    const float *W_panels, *W_rows, *W_tail, *WT_slabs;

    Operands(const Layout& l, const Tables& t, bool backward, const float* memory) {
        Arena arena(const_cast<float*>(memory));
        const Packed packed(l, backward, arena);
        pre = {packed.pre_bias, packed.A ? packed.A : t.A, packed.B ? packed.B : t.B,
               l.hidden_row};
        logits = {packed.logit_bias, packed.C, packed.D, l.class_row};
        finite = *packed.finite != 0.0f;
        W_panels = packed.W_panels;
        W_rows = packed.W_rows;
        W_tail = packed.W_tail;
        WT_slabs = packed.WT_slabs;
    }
};

// ---------------------------------------------------------------- forward

// Pairs 0 .. count - 1 sorted by key[pair]: an insertion sort, for lists that are nearly sorted.
void sort_pairs(const int64_t* key, int64_t count, int64_t* order) {
    for (int64_t i = 0; i < count; ++i) {
        int64_t at = i;
        for (; at > 0 && key[order[at - 1]] > key[i]; --at) order[at] = order[at - 1];
        order[at] = i;
    }
}

void open_tile(const Layout& l, const Batch& batch, int64_t first, Tile& tile) {
    tile.count = batch.count - first < TILE ? batch.count - first : TILE;
    for (int64_t i = 0; i < tile.count; ++i) {
        tile.a[i] = batch.number(first + i) / l.p;
        tile.b[i] = batch.number(first + i) % l.p;
    }
}

// logits of the tail classes += hidden columns [from, from + depth) . W_tail
void tail_product(const Layout& l, const Operands& in, const Tile& tile, const float* hidden,
                  int64_t from, int64_t depth) {
    for (int64_t j = 0; j < l.tail; ++j)
        for (int64_t i = 0; i < tile.count; ++i) {
            const float* row = hidden + i * tile.hidden_row;
            const float* column = in.W_tail + j * l.hidden_row + from;
            Vec even{}, odd{};
            for (int64_t k = 0; k < depth; k += 2 * LANES) {
                even += load(row + k) * load(column + k);
                if (k + LANES < depth) odd += load(row + k + LANES) * load(column + k + LANES);
            }
            tile.logits[i * l.class_row + l.classes - l.tail + j] += sum(even + odd);
        }
}

// tile.logits, and the hidden rows: with `keep` all of them, otherwise block over block.
void forward(const Layout& l, const Tables& t, const Operands& in, const Tile& tile, bool keep) {
    attend(l, t, tile);
    for (int64_t i = 0; i < tile.count; ++i)
        mix_pair<Finish::Sum>(l, tile, i, in.logits, 0, l.class_row,
                              tile.logits + i * l.class_row);
    for (int64_t from = 0; from < l.hidden; from += DEPTH) {
        float* hidden = tile.hidden + (keep ? from : 0);
        const int64_t depth = l.hidden - from < DEPTH ? l.hidden - from : DEPTH;
        for (int64_t i = 0; i < tile.count; ++i)
            mix_pair<Finish::Relu>(l, tile, i, in.pre, from, padded(depth),
                                   hidden + i * tile.hidden_row);
        tail_product(l, in, tile, hidden, from, padded(depth));
        if (in.finite && is_worth_skipping(tile, hidden, padded(depth))) {
            sparse_product(l, tile, hidden, from, depth, in.W_rows);
            continue;
        }
        for_panels(l.panel_columns, [&](int64_t first, int64_t columns) {
            const float* panel = in.W_panels + first * l.hidden + from * columns;
            product_panel<Into::Add>({hidden, tile.hidden_row, 1}, tile.count,
                                     {panel, columns, depth}, columns,
                                     {tile.logits + first, l.class_row});
        });
    }
}

void add(Score& total, const Score& part) {
    total.loss_sum += part.loss_sum;
    total.correct += part.correct;
}

void copy_logits(const Layout& l, const Tile& tile, const Batch& batch, int64_t first,
                 float* logits) {
    for (int64_t i = 0; i < tile.count; ++i)
        __builtin_memcpy(logits + batch.order[first + i] * l.classes, tile.logits + i * l.class_row,
                         static_cast<size_t>(l.classes) * sizeof(float));
}

void add_class_sums(const Layout& l, const Tile& tile, const Batch& batch, int64_t first,
                    double* class_sums) {
    for (int64_t i = 0; i < tile.count; ++i) {
        const float* row = tile.logits + i * l.class_row;
        double* sums = class_sums + batch.target(first + i) * l.classes;
        for (int64_t j = 0; j < l.classes; ++j) sums[j] += row[j];
    }
}

Score evaluate(const Shape& shape, const Tables& t, const float* memory, const Batch& batch,
               float* scratch, float* logits, double* class_sums) {
    const Layout l(shape);
    const Operands in(l, t, false, memory);
    Arena arena(scratch);
    Tile tile(l, false, arena);
    Score total;
    for (int64_t first = 0; first < batch.count; first += TILE) {
        open_tile(l, batch, first, tile);
        forward(l, t, in, tile, false);
        if (logits) copy_logits(l, tile, batch, first, logits);
        if (class_sums) add_class_sums(l, tile, batch, first, class_sums);
        add(total, score_tile<false>(l, tile, batch, first, 1.0f));
    }
    return total;
}

// ---------------------------------------------------------------- backward

// W_L's gradient: hidden^T g, summed over the tile in registers.
void weight_gradient(const Layout& l, const Tile& tile, const CommonSums& sums) {
    for_panels(l.panel_columns, [&](int64_t first, int64_t columns) {
        product_panel<Into::Add>({tile.hidden, 1, tile.hidden_row}, l.hidden,
                                 {tile.logits + first, l.class_row, tile.count}, columns,
                                 {sums.W_L + first, l.panel_columns});
    });
    for (int64_t j = 0; j < l.tail; ++j)
        for (int64_t k = 0; k < l.hidden_row; k += LANES) {
            Vec total{};
            for (int64_t i = 0; i < tile.count; ++i)
                total += load(tile.hidden + i * tile.hidden_row + k) *
                         splat(tile.logits[i * l.class_row + l.classes - l.tail + j]);
            float* at = sums.W_tail + j * l.hidden_row + k;
            store(at, load(at) + total);
        }
}

// tile.hidden: post becomes the gradient of pre, g W_L^T where the unit is not off.
void hidden_gradient(const Layout& l, const Operands& in, const Tile& tile) {
    for_slabs(l.hidden_row, [&](int64_t k, int64_t width) {
        for_panels(width, [&](int64_t first, int64_t columns) {
            product_panel<Into::MaskRelu>({tile.logits, l.class_row, 1}, tile.count,
                                          {in.WT_slabs + k * l.classes + first, width, l.classes},
                                          columns, {tile.hidden + k + first, tile.hidden_row});
        });
    });
}

// Both products of a tile, whole or of what matters.
void products_backward(const Layout& l, const Operands& in, const Batch& batch, int64_t first,
                       const Tile& tile, const Sums& sums) {
    if (in.finite && is_worth_filtering(l, tile, batch, first)) {
        sums.filtered.use();
        return filtered_products(l, tile, in.WT_slabs, sums.filtered.recent);
    }
    weight_gradient(l, tile, sums.recent);
    hidden_gradient(l, in, tile);
}

// Gradients of a tile whose `logits` hold scale * g and whose `hidden` holds post.
void backward(const Layout& l, const Operands& in, const Batch& batch, int64_t first, Tile& tile,
              const Sums& sums) {
    sort_pairs(tile.a, tile.count, tile.by_a);
    sort_pairs(tile.b, tile.count, tile.by_b);
    products_backward(l, in, batch, first, tile, sums);
    for (float* d_alpha : tile.d_alpha)
        for (int64_t i = 0; i < tile.count * l.heads; ++i) d_alpha[i] = 0.0f;
    mix_backward_tile(l, tile, in.pre, {sums.recent.pre_bias, sums.A, sums.B, l.hidden_row},
                      tile.hidden, tile.hidden_row);
    mix_backward_tile(l, tile, in.logits, {sums.recent.logit_bias, sums.C, sums.D, l.class_row},
                      tile.logits, l.class_row);
    attend_backward(l, tile, sums);
}

Score pair_loss(const Shape& shape, const Tables& t, const float* memory, const Batch& batch,
                float scale, float* scratch, const Gradients* home, double* class_sums) {
    const Layout l(shape);
    const Operands in(l, t, true, memory);
    Arena arena(scratch);
    Tile tile(l, true, arena);
    const int64_t before = arena.used();
    const Sums sums(l, home, arena);
    clear(scratch + before, sums.filtered.recent - (scratch + before));
    clear(sums.A, l.mixed(l.hidden_row));
    clear(sums.B, l.mixed(l.hidden_row));

    Score total;
    int64_t tiles = 0;
    for (int64_t first = 0; first < batch.count; first += TILE) {
        open_tile(l, batch, first, tile);
        forward(l, t, in, tile, true);
        if (class_sums) add_class_sums(l, tile, batch, first, class_sums);
        add(total, score_tile<true>(l, tile, batch, first, scale));
        backward(l, in, batch, first, tile, sums);
        if (++tiles % SETTLE_AFTER == 0) sums.settle();
    }
    sums.settle();
    return total;
}

// A part of the sums and where it goes: [rows, width], rows `row` and `to_row` floats apart.
struct Part {
    int64_t rows, row, width;
    float* to;
    int64_t to_row;
};

void copy_or_add(const float* from, const Part& part, bool add) {
    for (int64_t i = 0; i < part.rows; ++i) {
        const float* source = from + i * part.row;
        float* to = part.to + i * part.to_row;
        if (add)
            for (int64_t j = 0; j < part.width; ++j) to[j] += source[j];
        else if (source != to)
            for (int64_t j = 0; j < part.width; ++j) to[j] = source[j];
    }
}

void reduce(const Shape& shape, float* const* scratch, int threads, const Gradients& out) {
    const Layout l(shape);
    const int64_t ph = l.p * l.heads, whole = l.classes - l.tail;
    for (int thread = 0; thread < threads; ++thread) {
        Arena arena(scratch[thread]);
        Tile(l, true, arena);
        const Sums sums(l, thread == 0 ? &out : nullptr, arena);
        const CommonSums& common = sums.settled;
        auto give = [&](const float* from, const Part& part) {
            copy_or_add(from, part, thread > 0);
        };
        give(sums.s0, {1, ph, ph, out.s0, ph});
        give(sums.s1, {1, ph, ph, out.s1, ph});
        give(common.s2, {1, l.heads, l.heads, out.s2, l.heads});
        give(sums.A, {ph, l.hidden_row, l.hidden, out.A, l.hidden});
        give(sums.B, {ph, l.hidden_row, l.hidden, out.B, l.hidden});
        give(common.pre_bias, {1, l.hidden_row, l.hidden, out.pre_bias, l.hidden});
        give(sums.C, {ph, l.class_row, l.classes, out.C, l.classes});
        give(sums.D, {ph, l.class_row, l.classes, out.D, l.classes});
        give(common.logit_bias, {1, l.class_row, l.classes, out.logit_bias, l.classes});
        give(common.W_L, {l.hidden, l.panel_columns, whole, out.W_L, l.classes});
        for (int64_t j = 0; j < l.tail; ++j)
            give(common.W_tail + j * l.hidden_row,
                 {l.hidden, 1, 1, out.W_L + whole + j, l.classes});
        if (sums.filtered.in_use())
            for (int64_t j = 0; j < l.classes; ++j)
                copy_or_add(sums.filtered.settled + j * l.hidden_row,
                            {l.hidden, 1, 1, out.W_L + j, l.classes}, true);
    }
}

// ---------------------------------------------------------------- surfaces

// One pair's activations, [hidden]; whole vectors are streamed if every row is aligned.
void surface_row(const Layout& l, const Operands& in, const Tile& tile, int64_t i, bool aligned,
                 float* out) {
    const int64_t whole = l.hidden / LANES * LANES;
    if (aligned) return mix_pair<Finish::StreamedRelu>(l, tile, i, in.pre, 0, whole, out);
    mix_pair<Finish::Relu>(l, tile, i, in.pre, 0, whole, out);
    if (whole == l.hidden) return;
    float rest[LANES];
    mix_pair<Finish::Relu>(l, tile, i, in.pre, whole, LANES, rest);
    __builtin_memcpy(out + whole, rest, static_cast<size_t>(l.hidden - whole) * sizeof(float));
}

void activations(const Shape& shape, const Tables& t, const float* memory, const Batch& batch,
                 float* scratch, float* surfaces) {
    const Layout l(shape);
    const Operands in(l, t, false, memory);
    Arena arena(scratch);
    Tile tile(l, false, arena);
    const bool aligned =
        l.hidden == l.hidden_row && reinterpret_cast<uintptr_t>(surfaces) % sizeof(Vec) == 0;
    for (int64_t first = 0; first < batch.count; first += TILE) {
        open_tile(l, batch, first, tile);
        attend(l, t, tile);
        for (int64_t i = 0; i < tile.count; ++i)
            surface_row(l, in, tile, i, aligned, surfaces + batch.number(first + i) * l.hidden);
    }
    end_of_stream();
}

bool supported() { return GRID_SUPPORTED; }

}  // namespace

extern const Kernels GRID_KERNELS = {GRID_NAME,    "float32", true,      supported, packed_size,
                                     pack,         scratch_size, evaluate, pair_loss, reduce,
                                     activations,  fold_size, fold,      unfold};

}  // namespace grid
