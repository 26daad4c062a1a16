// The fast kernels, compiled once for each target of cpu_target.h.
//
// Pairs are taken TILE at a time. A tile's hidden rows are made by mixing table rows, its logits
// by register-tiled products with W_L, and in the backward pass W_L's gradient and the hidden
// gradients by two more such products; all of it stays in the first two cache levels.
#include "cpu_kernels.h"
#include "cpu_vector.h"

namespace grid {
namespace {

constexpr int64_t TILE = 48;      // pairs
constexpr int64_t DEPTH = 128;    // hidden units per block of the product with W_L
constexpr int PANEL = REGISTERS / 8;  // vectors per register tile, at most
constexpr int64_t TAIL = LANES / 4;  // up to this many classes beyond whole vectors go one by one

constexpr int64_t padded(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

// Rows of a register tile that is `panel` vectors wide: accumulators, one row of the panel and a
// broadcast must fit the register file.
constexpr int rows_of(int panel) { return REGISTERS * 3 / 4 / panel; }
static_assert(rows_of(PANEL) * PANEL + PANEL + 1 <= REGISTERS, "tile exceeds the registers");

struct Layout {
    explicit Layout(const Shape& s)
        : p(s.p), heads(s.heads), hidden(s.d_mlp), classes(s.classes),
          hidden_row(padded(hidden)), class_row(padded(classes)) {
        tail = classes % LANES <= TAIL ? classes % LANES : 0;
        panel_columns = padded(classes - tail);
    }
    int64_t p, heads, hidden, classes;
    int64_t hidden_row;     // d_mlp, in whole vectors
    int64_t class_row;      // classes, in whole vectors
    int64_t tail;           // last classes, each a dot product of its own
    int64_t panel_columns;  // the classes before them, in whole vectors

    int64_t mixed(int64_t row) const { return p * heads * row; }
};

// Hands out consecutive aligned blocks; counts only, when it starts from null.
class Arena {
   public:
    explicit Arena(float* start) : start_(start) {}
    float* take(int64_t count) {
        float* block = start_ ? start_ + used_ : nullptr;
        used_ += (count + 15) / 16 * 16;
        return block;
    }
    size_t used() const { return static_cast<size_t>(used_); }

   private:
    float* start_;
    int64_t used_ = 0;
};

// The tables as the kernels read them.
struct Packed {
    float* W_panels;    // panels of [d_mlp, vectors]
    float* W_tail;      // [tail, hidden_row]
    float* WT_panels;   // backward only: panels of [classes, vectors] of W_L transposed
    float* A;           // [p, H, hidden_row]; null if the caller's own rows are whole vectors
    float* B;
    float* pre_bias;    // [hidden_row]
    float* C;           // [p, H, class_row]
    float* D;
    float* logit_bias;  // [class_row], padded with -inf so that no padding wins a maximum

    Packed(const Layout& l, bool backward, Arena& arena) {
        const bool pad = l.hidden != l.hidden_row;
        W_panels = arena.take(l.hidden * l.panel_columns);
        W_tail = arena.take(l.tail * l.hidden_row);
        WT_panels = backward ? arena.take(l.classes * l.hidden_row) : nullptr;
        A = pad ? arena.take(l.mixed(l.hidden_row)) : nullptr;
        B = pad ? arena.take(l.mixed(l.hidden_row)) : nullptr;
        pre_bias = arena.take(l.hidden_row);
        C = arena.take(l.mixed(l.class_row));
        D = arena.take(l.mixed(l.class_row));
        logit_bias = arena.take(l.class_row);
    }
};

// One thread's gradient sums, rows padded like the packed tables.
struct Sums {
    float *s0, *s1, *s2, *A, *B, *pre_bias, *W_L, *W_tail, *C, *D, *logit_bias;

    Sums(const Layout& l, Arena& arena)
        : s0(arena.take(l.p * l.heads)), s1(arena.take(l.p * l.heads)), s2(arena.take(l.heads)),
          A(arena.take(l.mixed(l.hidden_row))), B(arena.take(l.mixed(l.hidden_row))),
          pre_bias(arena.take(l.hidden_row)), W_L(arena.take(l.hidden * l.panel_columns)),
          W_tail(arena.take(l.tail * l.hidden_row)), C(arena.take(l.mixed(l.class_row))),
          D(arena.take(l.mixed(l.class_row))), logit_bias(arena.take(l.class_row)) {}
};

// One thread's working memory for a tile.
struct Tile {
    int64_t count = 0;         // pairs in it
    int64_t a[TILE], b[TILE];  // operands
    int64_t hidden_row;        // distance of two rows of `hidden`
    float* alpha;              // [3, TILE, H]
    float* d_alpha;            // [2, TILE, H]
    float* hidden;             // [TILE, hidden_row]; forward only: [TILE, DEPTH]
    float* logits;             // [TILE, class_row], later their gradient

    Tile(const Layout& l, bool backward, Arena& arena) {
        // An odd number of cache lines: rows a power of two apart would share cache sets.
        hidden_row = backward ? padded(l.hidden) + 16 : DEPTH;
        alpha = arena.take(3 * padded(TILE * l.heads));
        d_alpha = arena.take(2 * TILE * l.heads);
        hidden = arena.take(TILE * hidden_row);
        logits = arena.take(TILE * l.class_row);
    }
    float* alpha_of(int64_t which, int64_t heads, int64_t i) const {
        return alpha + which * padded(TILE * heads) + i * heads;
    }
    float* d_alpha_of(int64_t which, int64_t heads, int64_t i) const {
        return d_alpha + (which * TILE + i) * heads;
    }
};

// ---------------------------------------------------------------- packing

void copy_rows(const float* from, int64_t rows, int64_t width, float* to, int64_t row) {
    for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < width; ++j) to[i * row + j] = from[i * width + j];
        for (int64_t j = width; j < row; ++j) to[i * row + j] = 0.0f;
    }
}

// Columns [0, columns) of from(d, column), zero beyond `width`, as panels of [depth, vectors].
template <typename Element>
void pack_panels(Element from, int64_t depth, int64_t width, int64_t columns, float* to) {
    for (int64_t first = 0; first < columns; first += PANEL * LANES) {
        const int64_t panel = columns - first < PANEL * LANES ? columns - first : PANEL * LANES;
        for (int64_t d = 0; d < depth; ++d)
            for (int64_t j = first; j < first + panel; ++j)
                *to++ = j < width ? from(d, j) : 0.0f;
    }
}

void pack(const Shape& shape, const Tables& t, bool backward, float* memory) {
    const Layout l(shape);
    Arena arena(memory);
    const Packed packed(l, backward, arena);
    auto W_L = [&](int64_t k, int64_t j) { return t.W_L[k * l.classes + j]; };
    auto transposed = [&](int64_t j, int64_t k) { return t.W_L[k * l.classes + j]; };

    pack_panels(W_L, l.hidden, l.classes, l.panel_columns, packed.W_panels);
    if (backward) pack_panels(transposed, l.classes, l.hidden, l.hidden_row, packed.WT_panels);
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
    for (int64_t j = l.classes; j < l.class_row; ++j)
        packed.logit_bias[j] = -__builtin_inff();
}

// The packed tables, with A and B pointing at whichever rows are whole vectors.
Packed packed_tables(const Layout& l, const Tables& t, bool backward, const float* memory) {
    Arena arena(const_cast<float*>(memory));
    Packed packed(l, backward, arena);
    if (!packed.A) {
        packed.A = const_cast<float*>(t.A);
        packed.B = const_cast<float*>(t.B);
    }
    return packed;
}

size_t packed_size(const Shape& shape, bool backward) {
    Arena arena(nullptr);
    Packed(Layout(shape), backward, arena);
    return arena.used();
}

size_t scratch_size(const Shape& shape, bool backward) {
    const Layout l(shape);
    Arena arena(nullptr);
    Tile(l, backward, arena);
    if (backward) Sums(l, arena);
    return arena.used();
}

// ---------------------------------------------------------------- register-tiled products

// The left operand of a product: element (r, d) is at[r * row + d * depth].
struct Left {
    const float* at;
    int64_t row, depth;
};

enum class Into {
    Add,        // out += product
    MaskRelu,   // out = out <= 0 ? 0 : product, which lets a NaN in `out` through
};

// [R, V vectors] of left [R, depth] times panel [depth, V vectors] (rows `panel_row` apart).
template <int R, int V, Into into>
inline void product_tile(Left left, const float* panel, int64_t panel_row, int64_t depth,
                         float* out, int64_t out_row) {
    Vec total[R][V];
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v)
            total[r][v] = into == Into::Add ? load(out + r * out_row + v * LANES) : Vec{};
    for (int64_t d = 0; d < depth; ++d) {
        Vec right[V];
        for (int v = 0; v < V; ++v) right[v] = load(panel + d * panel_row + v * LANES);
        for (int r = 0; r < R; ++r) {
            const Vec x = splat(left.at[r * left.row + d * left.depth]);
            for (int v = 0; v < V; ++v) total[r][v] += x * right[v];
        }
    }
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) {
            float* at = out + r * out_row + v * LANES;
            store(at, into == Into::Add ? total[r][v] : load(at) <= 0.0f ? Vec{} : total[r][v]);
        }
}

template <int V, Into into>
void product_rows(Left left, int64_t rows, const float* panel, int64_t panel_row, int64_t depth,
                  float* out, int64_t out_row) {
    constexpr int R = rows_of(V);
    int64_t r = 0;
    auto at = [&](int64_t row) { return Left{left.at + row * left.row, left.row, left.depth}; };
    for (; r + R <= rows; r += R)
        product_tile<R, V, into>(at(r), panel, panel_row, depth, out + r * out_row, out_row);
    for (; r < rows; ++r)
        product_tile<1, V, into>(at(r), panel, panel_row, depth, out + r * out_row, out_row);
}

// One panel, `columns` floats wide (a multiple of LANES, at most PANEL vectors).
template <Into into>
void product_panel(int64_t columns, Left left, int64_t rows, const float* panel, int64_t panel_row,
                   int64_t depth, float* out, int64_t out_row) {
    switch (columns / LANES) {
        case 1: return product_rows<1, into>(left, rows, panel, panel_row, depth, out, out_row);
        case 2: return product_rows<2, into>(left, rows, panel, panel_row, depth, out, out_row);
    }
    if constexpr (PANEL == 4) {
        if (columns == 3 * LANES)
            product_rows<3, into>(left, rows, panel, panel_row, depth, out, out_row);
        else
            product_rows<4, into>(left, rows, panel, panel_row, depth, out, out_row);
    }
}

// Calls body(first column, columns) for each panel of `columns`.
template <typename Body>
inline void for_panels(int64_t columns, Body body) {
    for (int64_t first = 0; first < columns; first += PANEL * LANES)
        body(first, columns - first < PANEL * LANES ? columns - first : PANEL * LANES);
}

// ---------------------------------------------------------------- mixing table rows

// Calls body(first head, Count<heads in the group>) for groups of at most four heads.
template <int N>
struct Count {
    static constexpr int value = N;
};

template <typename Body>
inline void for_heads(int64_t heads, Body body) {
    int64_t h = 0;
    for (; h + 4 <= heads; h += 4) body(h, Count<4>{});
    switch (heads - h) {
        case 1: return body(h, Count<1>{});
        case 2: return body(h, Count<2>{});
        case 3: return body(h, Count<3>{});
    }
}

// out = base + sum_h alpha0_h first[h] + alpha1_h second[h] over G heads, [width].
template <int G>
inline void mix(const float* base, const float* alpha0, const float* alpha1, const float* first,
                const float* second, int64_t row, int64_t width, float* out, bool last) {
    for (int64_t k = 0; k < width; k += LANES) {
        Vec total = load(base + k);
        for (int h = 0; h < G; ++h) {
            total += splat(alpha0[h]) * load(first + h * row + k);
            total += splat(alpha1[h]) * load(second + h * row + k);
        }
        store(out + k, last ? relu(total) : total);
    }
}

// Columns [from, from + width) of one pair's mixed row.
inline void mix_pair(const Layout& l, const Tile& tile, int64_t i, const float* bias,
                     const float* first, const float* second, int64_t row, int64_t from,
                     int64_t width, float* out, bool with_relu) {
    const float* alpha0 = tile.alpha_of(0, l.heads, i);
    const float* alpha1 = tile.alpha_of(1, l.heads, i);
    first += tile.a[i] * l.heads * row + from;
    second += tile.b[i] * l.heads * row + from;
    for_heads(l.heads, [&](int64_t h, auto group) {
        constexpr int G = decltype(group)::value;
        mix<G>(h == 0 ? bias + from : out, alpha0 + h, alpha1 + h, first + h * row,
               second + h * row, row, width, out, with_relu && h + G == l.heads);
    });
}

// Gradients of one mixed row d_out [width] over G heads: adds to the table sums and to d_alpha.
template <int G>
inline void mix_backward(const float* d_out, const float* alpha0, const float* alpha1,
                         const float* first, const float* second, float* d_first, float* d_second,
                         int64_t row, float* d_alpha0, float* d_alpha1) {
    Vec dot0[G] = {}, dot1[G] = {};
    for (int64_t k = 0; k < row; k += LANES) {
        const Vec x = load(d_out + k);
        for (int h = 0; h < G; ++h) {
            const int64_t at = h * row + k;
            dot0[h] += x * load(first + at);
            dot1[h] += x * load(second + at);
            store(d_first + at, load(d_first + at) + splat(alpha0[h]) * x);
            store(d_second + at, load(d_second + at) + splat(alpha1[h]) * x);
        }
    }
    for (int h = 0; h < G; ++h) {
        d_alpha0[h] += sum(dot0[h]);
        d_alpha1[h] += sum(dot1[h]);
    }
}

void mix_backward_pair(const Layout& l, const Tile& tile, int64_t i, const float* d_out,
                       const float* first, const float* second, float* d_first, float* d_second,
                       int64_t row) {
    const int64_t in_a = tile.a[i] * l.heads * row, in_b = tile.b[i] * l.heads * row;
    for_heads(l.heads, [&](int64_t h, auto group) {
        constexpr int G = decltype(group)::value;
        const int64_t at_a = in_a + h * row, at_b = in_b + h * row;
        mix_backward<G>(d_out, tile.alpha_of(0, l.heads, i) + h, tile.alpha_of(1, l.heads, i) + h,
                        first + at_a, second + at_b, d_first + at_a, d_second + at_b, row,
                        tile.d_alpha_of(0, l.heads, i) + h, tile.d_alpha_of(1, l.heads, i) + h);
    });
}

// ---------------------------------------------------------------- attention weights

// alpha = softmax(s0[a, h], s1[b, h], s2[h]) of every pair and head of the tile.
void attend(const Layout& l, const Tables& t, const Tile& tile) {
    const int64_t count = tile.count * l.heads, size = padded(TILE * l.heads);
    float* z = tile.alpha;
    for (int64_t i = 0; i < tile.count; ++i)
        for (int64_t h = 0; h < l.heads; ++h) {
            z[i * l.heads + h] = t.s0[tile.a[i] * l.heads + h];
            z[size + i * l.heads + h] = t.s1[tile.b[i] * l.heads + h];
            z[2 * size + i * l.heads + h] = t.s2[h];
        }
    for (int64_t i = count; i < padded(count); ++i) z[i] = z[size + i] = z[2 * size + i] = 0.0f;
    for (int64_t i = 0; i < count; i += LANES) {
        Vec e[3];
        for (int w = 0; w < 3; ++w) e[w] = load(z + w * size + i);
        const Vec peak = larger(larger(e[0], e[1]), e[2]);
        for (Vec& v : e) v = exp_of_nonpositive(v - peak);
        const Vec total = e[0] + e[1] + e[2];
        for (int w = 0; w < 3; ++w) store(z + w * size + i, e[w] / total);
    }
}

// Through the softmax, whose third weight no table multiplies, to the sums of s0, s1, s2.
void attend_backward(const Layout& l, const Tile& tile, const Sums& sums) {
    for (int64_t i = 0; i < tile.count; ++i)
        for (int64_t h = 0; h < l.heads; ++h) {
            const float alpha0 = tile.alpha_of(0, l.heads, i)[h];
            const float alpha1 = tile.alpha_of(1, l.heads, i)[h];
            const float d_alpha0 = tile.d_alpha_of(0, l.heads, i)[h];
            const float d_alpha1 = tile.d_alpha_of(1, l.heads, i)[h];
            const float mean = alpha0 * d_alpha0 + alpha1 * d_alpha1;
            sums.s0[tile.a[i] * l.heads + h] += alpha0 * (d_alpha0 - mean);
            sums.s1[tile.b[i] * l.heads + h] += alpha1 * (d_alpha1 - mean);
            sums.s2[h] -= tile.alpha_of(2, l.heads, i)[h] * mean;
        }
}

// ---------------------------------------------------------------- the forward pass of a tile

// The pairs number(first), number(first + 1) ... up to `end`, as far as they fit.
template <typename Number>
void open_tile(const Layout& l, int64_t first, int64_t end, Number number, Tile& tile) {
    tile.count = end - first < TILE ? end - first : TILE;
    for (int64_t i = 0; i < tile.count; ++i) {
        tile.a[i] = number(first + i) / l.p;
        tile.b[i] = number(first + i) % l.p;
    }
}

// logits[i, tail classes] += hidden columns [from, from + width) . W_tail
void tail_product(const Layout& l, const Packed& packed, const Tile& tile, const float* hidden,
                  int64_t from, int64_t width) {
    for (int64_t j = 0; j < l.tail; ++j)
        for (int64_t i = 0; i < tile.count; ++i) {
            Vec total[2] = {};
            const float* row = hidden + i * tile.hidden_row;
            const float* column = packed.W_tail + j * l.hidden_row + from;
            int64_t k = 0;
            for (; k + 2 * LANES <= width; k += 2 * LANES)
                for (int u = 0; u < 2; ++u)
                    total[u] += load(row + k + u * LANES) * load(column + k + u * LANES);
            for (; k < width; k += LANES) total[0] += load(row + k) * load(column + k);
            tile.logits[i * l.class_row + l.classes - l.tail + j] += sum(total[0] + total[1]);
        }
}

// Fills tile.logits, and with `keep` all of tile.hidden (otherwise block after block over it).
void forward(const Layout& l, const Tables& t, const Packed& packed, const Tile& tile, bool keep) {
    attend(l, t, tile);
    for (int64_t i = 0; i < tile.count; ++i)
        mix_pair(l, tile, i, packed.logit_bias, packed.C, packed.D, l.class_row, 0, l.class_row,
                 tile.logits + i * l.class_row, false);
    for (int64_t from = 0; from < l.hidden; from += DEPTH) {
        float* hidden = keep ? tile.hidden + from : tile.hidden;
        const int64_t depth = l.hidden - from < DEPTH ? l.hidden - from : DEPTH;
        for (int64_t i = 0; i < tile.count; ++i)
            mix_pair(l, tile, i, packed.pre_bias, packed.A, packed.B, l.hidden_row, from,
                     padded(depth), hidden + i * tile.hidden_row, true);
        tail_product(l, packed, tile, hidden, from, padded(depth));
        for_panels(l.panel_columns, [&](int64_t first, int64_t columns) {
            product_panel<Into::Add>(columns, {hidden, tile.hidden_row, 1}, tile.count,
                                     packed.W_panels + first * l.hidden + from * columns, columns,
                                     depth, tile.logits + first, l.class_row);
        });
    }
}

// ---------------------------------------------------------------- loss

// Loss of one row of logits, which becomes scale * g of grokking/loss.py if `gradient`.
Score score_row(const Layout& l, float* row, int64_t target, float scale, bool gradient) {
    Vec peaks = splat(-__builtin_inff());
    for (int64_t j = 0; j < l.class_row; j += LANES) peaks = larger(peaks, load(row + j));
    const float peak = maximum(peaks), gap = row[target] - peak;

    row[target] = -__builtin_inff();  // leaves the target out of the sum
    IVec lane{}, earlier{};           // is the peak also among the classes before the target?
    for (int v = 0; v < LANES; ++v) lane[v] = v;
    Vec totals{};
    for (int64_t j = 0; j < l.class_row; j += LANES) {
        const Vec x = load(row + j);
        earlier |= (x == peak) & (lane + static_cast<int32_t>(j) < static_cast<int32_t>(target));
        const Vec e = exp_of_nonpositive(x - peak);
        totals += e;
        if (gradient) store(row + j, e);
    }
    int32_t any_earlier = 0;
    for (int v = 0; v < LANES; ++v) any_earlier |= earlier[v];

    const float others = sum(totals), gap_exp = gap == 0.0f ? 0.0f : __builtin_expm1f(gap);
    const float loss = __builtin_log1pf(others + gap_exp) - gap;
    if (gradient) {
        const float factor = scale / (others + (gap_exp + 1.0f));
        for (int64_t j = 0; j < l.class_row; j += LANES) store(row + j, load(row + j) * factor);
        row[target] = -others * factor;
    }
    return {loss, loss == loss && gap == 0.0f && !any_earlier};
}

Score score_tile(const Layout& l, const Tile& tile, const int64_t* targets, float scale,
                 bool gradient) {
    Score total;
    for (int64_t i = 0; i < tile.count; ++i) {
        const Score one =
            score_row(l, tile.logits + i * l.class_row, targets[i], scale, gradient);
        total.loss_sum += one.loss_sum;
        total.correct += one.correct;
    }
    return total;
}

void add_class_sums(const Layout& l, const Tile& tile, double* class_sums) {
    for (int64_t i = 0; i < tile.count; ++i) {
        const float* row = tile.logits + i * l.class_row;
        double* sums = class_sums + (tile.a[i] + tile.b[i]) % l.p * l.classes;
        for (int64_t j = 0; j < l.classes; ++j) sums[j] += row[j];
    }
}

Score evaluate(const Shape& shape, const Tables& t, const float* memory, const Pairs& pairs,
               int64_t begin, int64_t end, float* scratch, float* logits, double* class_sums) {
    const Layout l(shape);
    const Packed packed = packed_tables(l, t, false, memory);
    Arena arena(scratch);
    Tile tile(l, false, arena);
    Score total;
    for (int64_t first = begin; first < end; first += TILE) {
        open_tile(l, first, end, [&](int64_t i) { return pairs.numbers[i]; }, tile);
        forward(l, t, packed, tile, false);
        if (logits)
            for (int64_t i = 0; i < tile.count; ++i)
                __builtin_memcpy(logits + (first + i) * l.classes, tile.logits + i * l.class_row,
                                 static_cast<size_t>(l.classes) * sizeof(float));
        if (class_sums) add_class_sums(l, tile, class_sums);
        const Score part = score_tile(l, tile, pairs.targets + first, 1.0f, false);
        total.loss_sum += part.loss_sum;
        total.correct += part.correct;
    }
    return total;
}

// ---------------------------------------------------------------- the backward pass of a tile

// sums[k] += sum over the tile's rows of rows[i, k]
void add_columns(const float* rows, int64_t row, int64_t count, int64_t width, float* sums) {
    for (int64_t k = 0; k < width; k += LANES) {
        Vec total{};
        for (int64_t i = 0; i < count; ++i) total += load(rows + i * row + k);
        store(sums + k, load(sums + k) + total);
    }
}

// W_L's gradient: hidden^T g, summed over the tile in registers.
void weight_gradient(const Layout& l, const Tile& tile, const Sums& sums) {
    for_panels(l.panel_columns, [&](int64_t first, int64_t columns) {
        product_panel<Into::Add>(columns, {tile.hidden, 1, tile.hidden_row}, l.hidden,
                                 tile.logits + first, l.class_row, tile.count, sums.W_L + first,
                                 l.panel_columns);
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

// tile.hidden: post becomes the gradient of pre, g W_L^T where the unit was not off.
void hidden_gradient(const Layout& l, const Packed& packed, const Tile& tile) {
    for_panels(l.hidden_row, [&](int64_t first, int64_t columns) {
        product_panel<Into::MaskRelu>(columns, {tile.logits, l.class_row, 1}, tile.count,
                                      packed.WT_panels + first * l.classes, columns, l.classes,
                                      tile.hidden + first, tile.hidden_row);
    });
}

// The gradients of a tile whose `logits` hold scale * g and whose `hidden` holds post.
void backward(const Layout& l, const Packed& packed, const Tile& tile, const Sums& sums) {
    weight_gradient(l, tile, sums);
    hidden_gradient(l, packed, tile);
    add_columns(tile.hidden, tile.hidden_row, tile.count, l.hidden_row, sums.pre_bias);
    add_columns(tile.logits, l.class_row, tile.count, l.class_row, sums.logit_bias);
    for (int64_t i = 0; i < 2 * TILE * l.heads; ++i) tile.d_alpha[i] = 0.0f;
    for (int64_t i = 0; i < tile.count; ++i) {
        mix_backward_pair(l, tile, i, tile.hidden + i * tile.hidden_row, packed.A, packed.B, sums.A,
                          sums.B, l.hidden_row);
        mix_backward_pair(l, tile, i, tile.logits + i * l.class_row, packed.C, packed.D, sums.C,
                          sums.D, l.class_row);
    }
    attend_backward(l, tile, sums);
}

Score pair_loss(const Shape& shape, const Tables& t, const float* memory, const Pairs& pairs,
                int64_t begin, int64_t end, float scale, float* scratch) {
    const Layout l(shape);
    const Packed packed = packed_tables(l, t, true, memory);
    Arena arena(scratch);
    Tile tile(l, true, arena);
    const Sums sums(l, arena);
    Score total;
    for (int64_t first = begin; first < end; first += TILE) {
        open_tile(l, first, end, [&](int64_t i) { return pairs.numbers[i]; }, tile);
        forward(l, t, packed, tile, true);
        const Score part = score_tile(l, tile, pairs.targets + first, scale, true);
        total.loss_sum += part.loss_sum;
        total.correct += part.correct;
        backward(l, packed, tile, sums);
    }
    return total;
}

// out[i, j] = sum over threads of rows at offset + i * row, j < width
void add_up(float* const* scratch, int threads, int64_t offset, int64_t rows, int64_t row,
            int64_t width, float* out, int64_t out_row) {
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < width; ++j) {
            float total = scratch[0][offset + i * row + j];
            for (int thread = 1; thread < threads; ++thread)
                total += scratch[thread][offset + i * row + j];
            out[i * out_row + j] = total;
        }
}

void reduce(const Shape& shape, float* const* scratch, int threads, const Gradients& out) {
    const Layout l(shape);
    Arena arena(scratch[0]);
    Tile(l, true, arena);
    const Sums sums(l, arena);
    const int64_t ph = l.p * l.heads;
    auto add = [&](const float* from, int64_t rows, int64_t row, int64_t width, float* to) {
        add_up(scratch, threads, from - scratch[0], rows, row, width, to, width);
    };
    add(sums.s0, 1, ph, ph, out.s0);
    add(sums.s1, 1, ph, ph, out.s1);
    add(sums.s2, 1, l.heads, l.heads, out.s2);
    add(sums.A, ph, l.hidden_row, l.hidden, out.A);
    add(sums.B, ph, l.hidden_row, l.hidden, out.B);
    add(sums.pre_bias, 1, l.hidden, l.hidden, out.pre_bias);
    add(sums.C, ph, l.class_row, l.classes, out.C);
    add(sums.D, ph, l.class_row, l.classes, out.D);
    add(sums.logit_bias, 1, l.classes, l.classes, out.logit_bias);
    const int64_t whole = l.classes - l.tail;
    add_up(scratch, threads, sums.W_L - scratch[0], l.hidden, l.panel_columns, whole, out.W_L,
           l.classes);
    for (int64_t j = 0; j < l.tail; ++j)
        for (int64_t k = 0; k < l.hidden; ++k)
            add_up(scratch, threads, sums.W_tail - scratch[0] + j * l.hidden_row + k, 1, 1, 1,
                   out.W_L + k * l.classes + whole + j, l.classes);
}

// ---------------------------------------------------------------- surfaces

void activations(const Shape& shape, const Tables& t, const float* memory, int64_t begin,
                 int64_t end, float* scratch, float* surfaces) {
    const Layout l(shape);
    const Packed packed = packed_tables(l, t, false, memory);
    Arena arena(scratch);
    Tile tile(l, false, arena);
    const int64_t whole = l.hidden / LANES * LANES;
    auto mix_columns = [&](int64_t i, int64_t from, int64_t width, float* out) {
        mix_pair(l, tile, i, packed.pre_bias, packed.A, packed.B, l.hidden_row, from, width, out,
                 true);
    };
    for (int64_t first = begin; first < end; first += TILE) {
        open_tile(l, first, end, [](int64_t n) { return n; }, tile);
        attend(l, t, tile);
        for (int64_t i = 0; i < tile.count; ++i) {
            float* out = surfaces + (first + i) * l.hidden;
            mix_columns(i, 0, whole, out);
            if (whole == l.hidden) continue;
            float rest[LANES];
            mix_columns(i, whole, LANES, rest);
            __builtin_memcpy(out + whole, rest, static_cast<size_t>(l.hidden - whole) * 4);
        }
    }
}

bool supported() { return GRID_SUPPORTED; }

}  // namespace

extern const Kernels GRID_KERNELS = {GRID_NAME,  supported, packed_size, pack,       scratch_size,
                                     evaluate,   pair_loss, reduce,      activations};

}  // namespace grid
