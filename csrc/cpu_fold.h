// The folding of the transformer into tables and its gradient, by grokking/model/fold.py's formulas.
// Included by cpu_tile.cpp only; everything has internal linkage (see cpu_kernels.h).
//
// Every product runs over the R = p + 2 rows X = (x0(a) - x2 for every a, x1 - x0, x2).
#pragma once

#include "cpu_kernels.h"
#include "cpu_layout.h"
#include "cpu_product.h"

namespace grid {
namespace {

// ---------------------------------------------------------------- dense matrices of any size

// Element (i, j) is at[i * row + j * column].
struct Matrix {
    const float* at;
    int64_t rows, columns, row, column;
};

inline Matrix row_major(const float* at, int64_t rows, int64_t columns) {
    return {at, rows, columns, columns, 1};
}
inline Matrix transposed(Matrix m) { return {m.at, m.columns, m.rows, m.column, m.row}; }
inline Matrix rows_of(Matrix m, Range rows) {
    return {m.at + rows.begin * m.row, rows.size(), m.columns, m.row, m.column};
}
inline Matrix columns_of(Matrix m, Range columns) {
    return {m.at + columns.begin * m.column, m.rows, columns.size(), m.row, m.column};
}

inline void copy(const float* from, int64_t count, float* to) {
    for (int64_t i = 0; i < count; ++i) to[i] = from[i];
}

inline void clear(float* at, int64_t count) {
    for (int64_t i = 0; i < count; ++i) at[i] = 0.0f;
}

// What one part needs to multiply: a panel of the right operand, and columns of the result that are
// no whole vector.
struct Workbench {
    float *panel, *edge;
};

// Columns [first, first + width) of the right operand, 0 from its last on.
void pack_panel(Matrix right, int64_t first, int64_t width, float* to) {
    const int64_t filled = right.columns - first < width ? right.columns - first : width;
    if (filled < width) clear(to, right.rows * width);
    if (right.column == 1) {
        const int64_t whole = filled / LANES * LANES;
        for (int64_t d = 0; d < right.rows; ++d) {
            const float* from = right.at + d * right.row + first;
            for (int64_t j = 0; j < whole; j += LANES) store(to + d * width + j, load(from + j));
            for (int64_t j = whole; j < filled; ++j) to[d * width + j] = from[j];
        }
    } else {
        for (int64_t j = 0; j < filled; ++j) {
            const float* from = right.at + (first + j) * right.column;
            for (int64_t d = 0; d < right.rows; ++d) to[d * width + j] = from[d * right.row];
        }
    }
}

// out [left.rows, right.columns] (+)= left right
template <Into into>
void multiply(const Workbench& bench, Matrix left, Matrix right, Out out) {
    for_panels(padded(right.columns), [&](int64_t first, int64_t width) {
        pack_panel(right, first, width, bench.panel);
        const Left from{left.at, left.row, left.column};
        const Right panel{bench.panel, width, right.rows};
        if (first + width <= right.columns)
            return product_panel<into>(from, left.rows, panel, width, {out.at + first, out.row});
        product_panel<Into::Overwrite>(from, left.rows, panel, width, {bench.edge, width});
        for (int64_t i = 0; i < left.rows; ++i)
            for (int64_t j = first; j < right.columns; ++j) {
                const float value = bench.edge[i * width + j - first];
                float& at = out.at[i * out.row + j];
                at = into == Into::Add ? at + value : value;
            }
    });
}

// sums[j] += factor * row[j]
inline void add_scaled(float factor, const float* row, int64_t width, float* sums) {
    for (int64_t j = 0; j < width; ++j) sums[j] += factor * row[j];
}

float dot(const float* x, const float* y, int64_t count) {
    Vec even{}, odd{};
    int64_t i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES) {
        even += load(x + i) * load(y + i);
        odd += load(x + i + LANES) * load(y + i + LANES);
    }
    float total = sum(even + odd);
    for (; i < count; ++i) total += x[i] * y[i];
    return total;
}

inline float root_of(int64_t count) {
#if defined(__x86_64__)
    return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(static_cast<float>(count))));
#else
    return __builtin_sqrtf(static_cast<float>(count));
#endif
}

// ---------------------------------------------------------------- memory

inline Range own_share(int64_t count, const Stage& stage) {
    return share(count, stage.part, stage.parts);
}

inline int64_t larger(int64_t one, int64_t other) { return one > other ? one : other; }

// What the folding leaves for its gradient, what that needs besides, and each part's own memory.
struct FoldMemory {
    int64_t rows, inner;  // R, H * d_head
    float *X;             // [R, d_model]
    float *query;         // [H, d_head], that of `=`
    float *key_query;     // [H, d_model], scaled: a score is its product with a row of X
    float *V;             // [H, R, d_head]
    float *OI, *OU;       // [H * d_head, d_mlp] = W_O W_in, [H * d_head, c] = W_O W_U
    float *d_in, *d_out;  // [H, R, d_mlp], [H, R, c]: gradients of V OI, of V OU
    float *d_V;           // [R, H * d_head]
    float *d_OI, *d_OU, *d_X;
    float *d_scores;      // [R, H]
    float *d_key_query, *d_query;
    Workbench bench;
    float *last_V, *last_in, *last_out;  // of the last two rows, [2, ...]

    FoldMemory(const ModelShape& m, int part, int parts, Arena& arena)
        : rows(m.p + 2), inner(m.heads * m.d_head) {
        X = arena.take(rows * m.d_model);
        query = arena.take(inner);
        key_query = arena.take(m.heads * m.d_model);
        V = arena.take(rows * inner);
        OI = arena.take(inner * m.d_mlp);
        OU = arena.take(inner * m.classes);
        d_in = arena.take(m.heads * rows * m.d_mlp);
        d_out = arena.take(m.heads * rows * m.classes);
        d_V = arena.take(rows * inner);
        d_OI = arena.take(inner * m.d_mlp);
        d_OU = arena.take(inner * m.classes);
        d_X = arena.take(rows * m.d_model);
        d_scores = arena.take(rows * m.heads);
        d_key_query = arena.take(m.heads * m.d_model);
        d_query = arena.take(inner);
        const int64_t depth = larger(larger(rows, inner), larger(m.d_model, larger(m.d_mlp, m.classes)));
        for (int i = 0; i < parts; ++i) {
            const Workbench own{arena.take(depth * PANEL * LANES),
                                arena.take(depth * PANEL * LANES)};
            float* const V_rows = arena.take(2 * m.d_head);
            float* const in_rows = arena.take(2 * m.d_mlp);
            float* const out_rows = arena.take(2 * m.classes);
            if (i == part) bench = own, last_V = V_rows, last_in = in_rows, last_out = out_rows;
        }
    }

    Matrix all_X(const ModelShape& m) const { return row_major(X, rows, m.d_model); }
    const float* x2(const ModelShape& m) const { return X + (rows - 1) * m.d_model; }
};

size_t fold_size(const ModelShape& m, int parts) {
    Arena arena(nullptr);
    FoldMemory(m, 0, parts, arena);
    return static_cast<size_t>(arena.used());
}

// ---------------------------------------------------------------- folding

void make_rows(const ModelShape& m, const Parameters& w, const FoldMemory& f) {
    const int64_t M = m.d_model;
    const float *at_a = w.W_pos, *at_b = w.W_pos + M, *at_equals = w.W_pos + 2 * M;
    float *difference = f.X + m.p * M, *x2 = difference + M;
    for (int64_t i = 0; i < M; ++i) {
        x2[i] = w.W_E[m.p * M + i] + at_equals[i];
        difference[i] = at_b[i] - at_a[i];
    }
    for (int64_t a = 0; a < m.p; ++a)
        for (int64_t i = 0; i < M; ++i) f.X[a * M + i] = w.W_E[a * M + i] + (at_a[i] - x2[i]);
}

void make_key_query(const ModelShape& m, const Parameters& w, const FoldMemory& f) {
    const float scale = 1.0f / root_of(m.d_head);
    clear(f.query, f.inner);
    for (int64_t h = 0; h < m.heads; ++h) {
        const float *W_Q = w.W_Q + h * m.d_model * m.d_head, *W_K = w.W_K + h * m.d_model * m.d_head;
        float* query = f.query + h * m.d_head;
        for (int64_t i = 0; i < m.d_model; ++i)
            add_scaled(f.x2(m)[i], W_Q + i * m.d_head, m.d_head, query);
        for (int64_t i = 0; i < m.d_model; ++i)
            f.key_query[h * m.d_model + i] = scale * dot(W_K + i * m.d_head, query, m.d_head);
    }
}

// Stage 0: what depends on weights alone.
void fold_weights(const ModelShape& m, const Parameters& w, const Stage& stage, const FoldMemory& f,
                  const TablesOf<float>& t) {
    if (stage.part == 0) {
        make_rows(m, w, f);
        make_key_query(m, w, f);
    }
    const Range inner = own_share(f.inner, stage), units = own_share(m.d_mlp, stage);
    const Matrix W_in = row_major(w.W_in, m.d_model, m.d_mlp);
    const Matrix W_U = row_major(w.W_U, m.d_model, m.classes);
    const Matrix W_O = rows_of(row_major(w.W_O, f.inner, m.d_model), inner);
    const Matrix W_out = rows_of(row_major(w.W_out, m.d_mlp, m.d_model), units);
    multiply<Into::Overwrite>(f.bench, W_O, W_in, {f.OI + inner.begin * m.d_mlp, m.d_mlp});
    multiply<Into::Overwrite>(f.bench, W_O, W_U, {f.OU + inner.begin * m.classes, m.classes});
    multiply<Into::Overwrite>(f.bench, W_out, W_U, {t.W_L + units.begin * m.classes, m.classes});
}

// first [p, H, width] and second, rows `operands` of head h, from V and right [d_head, width]; what
// the last row of X adds to every pair goes to bias, once.
void fold_head(const ModelShape& m, const FoldMemory& f, int64_t h, Range operands,
               const float* right, int64_t width, float* last, float* first, float* second,
               float* bias) {
    const int64_t row = m.heads * width;
    const Matrix V = row_major(f.V + h * f.rows * m.d_head, f.rows, m.d_head);
    const Matrix of_head = row_major(right, m.d_head, width);
    multiply<Into::Overwrite>(f.bench, row_major(f.last_V, 2, m.d_head), of_head, {last, width});
    multiply<Into::Overwrite>(f.bench, rows_of(V, operands), of_head,
                              {first + operands.begin * row + h * width, row});
    for (int64_t a = operands.begin; a < operands.end; ++a)
        for (int64_t k = 0; k < width; ++k)
            second[a * row + h * width + k] = first[a * row + h * width + k] + last[k];
    if (bias) add_scaled(1.0f, last + width, width, bias);
}

// Stage 1: the tables, each part some of their operands.
void fold_operands(const ModelShape& m, const Parameters& w, const Stage& stage, const FoldMemory& f,
                   const TablesOf<float>& t) {
    const Range operands = own_share(m.p, stage);
    const bool first_part = stage.part == 0;
    const float *x2 = f.x2(m), *difference = x2 - m.d_model;
    if (first_part) {
        copy(w.b_in, m.d_mlp, t.pre_bias);
        clear(t.logit_bias, m.classes);
        for (int64_t i = 0; i < m.d_model; ++i) {
            add_scaled(x2[i], w.W_in + i * m.d_mlp, m.d_mlp, t.pre_bias);
            add_scaled(x2[i] + w.b_out[i], w.W_U + i * m.classes, m.classes, t.logit_bias);
        }
    }
    for (int64_t h = 0; h < m.heads; ++h) {
        const Matrix W_V = row_major(w.W_V + h * m.d_model * m.d_head, m.d_model, m.d_head);
        float* V = f.V + h * f.rows * m.d_head;
        multiply<Into::Overwrite>(f.bench, rows_of(f.all_X(m), {m.p, f.rows}), W_V,
                                  {f.last_V, m.d_head});
        multiply<Into::Overwrite>(f.bench, rows_of(f.all_X(m), operands), W_V,
                                  {V + operands.begin * m.d_head, m.d_head});
        if (first_part) copy(f.last_V, 2 * m.d_head, V + m.p * m.d_head);
        fold_head(m, f, h, operands, f.OI + h * m.d_head * m.d_mlp, m.d_mlp, f.last_in, t.A, t.B,
                  first_part ? t.pre_bias : nullptr);
        fold_head(m, f, h, operands, f.OU + h * m.d_head * m.classes, m.classes, f.last_out, t.C,
                  t.D, first_part ? t.logit_bias : nullptr);

        const float* key_query = f.key_query + h * m.d_model;
        const float of_equals = dot(x2, key_query, m.d_model);
        const float of_second = dot(difference, key_query, m.d_model);
        for (int64_t a = operands.begin; a < operands.end; ++a) {
            const float score = dot(f.X + a * m.d_model, key_query, m.d_model) + of_equals;
            t.s0[a * m.heads + h] = score;
            t.s1[a * m.heads + h] = score + of_second;
        }
        if (first_part) t.s2[h] = of_equals;
    }
}

void fold(const ModelShape& m, const Parameters& w, const Stage& stage, float* memory,
          const TablesOf<float>& tables) {
    Arena arena(memory);
    const FoldMemory f(m, stage.part, stage.parts, arena);
    if (stage.number == 0) fold_weights(m, w, stage, f, tables);
    else fold_operands(m, w, stage, f, tables);
}

// ---------------------------------------------------------------- its gradient

// This part's share of `count` columns, in whole vectors but for the last.
inline Range whole_vectors(int64_t count, const Stage& stage) {
    const Range vectors = share(padded(count) / LANES, stage.part, stage.parts);
    const int64_t end = vectors.end * LANES;
    return {vectors.begin * LANES, end < count ? end : count};
}

// Columns of the gradient of V right, rows [H, R, width], from those of both tables and the bias,
// and of right [H * d_head, width].
void unfold_columns(const ModelShape& m, const FoldMemory& f, Range columns, int64_t width,
                    const float* d_first, const float* d_second, const float* d_bias, float* d_rows,
                    float* d_right) {
    for (int64_t h = 0; h < m.heads; ++h) {
        float* const rows = d_rows + h * f.rows * width;
        float *const of_second = rows + m.p * width, *const of_bias = of_second + width;
        for (int64_t k = columns.begin; k < columns.end; ++k) {
            of_second[k] = 0.0f;
            of_bias[k] = d_bias[k];
        }
        for (int64_t a = 0; a < m.p; ++a) {
            const float* first = d_first + (a * m.heads + h) * width;
            const float* second = d_second + (a * m.heads + h) * width;
            for (int64_t k = columns.begin; k < columns.end; ++k) {
                rows[a * width + k] = first[k] + second[k];
                of_second[k] += second[k];
            }
        }
        const Matrix V = row_major(f.V + h * f.rows * m.d_head, f.rows, m.d_head);
        multiply<Into::Overwrite>(f.bench, transposed(V),
                                  columns_of(row_major(rows, f.rows, width), columns),
                                  {d_right + h * m.d_head * width + columns.begin, width});
    }
}

void unfold_scores(const ModelShape& m, const FoldMemory& f, const Tables& g) {
    float *of_second = f.d_scores + m.p * m.heads, *of_equals = of_second + m.heads;
    for (int64_t h = 0; h < m.heads; ++h) {
        double second = 0.0, both = 0.0;  // of opposite signs, nearly cancelling
        for (int64_t a = 0; a < m.p; ++a) {
            const int64_t at = a * m.heads + h;
            f.d_scores[at] = g.s0[at] + g.s1[at];
            second += g.s1[at];
            both += f.d_scores[at];
        }
        of_second[h] = static_cast<float>(second);
        of_equals[h] = static_cast<float>(both + g.s2[h]);
    }
}

// Stage 0: each part some columns of the tables, and some units of W_out.
void unfold_tables(const ModelShape& m, const Parameters& w, const Stage& stage,
                   const FoldMemory& f, const Tables& g, const ParameterGradients& d) {
    if (stage.part == 0) unfold_scores(m, f, g);
    unfold_columns(m, f, whole_vectors(m.d_mlp, stage), m.d_mlp, g.A, g.B, g.pre_bias, f.d_in, f.d_OI);
    unfold_columns(m, f, whole_vectors(m.classes, stage), m.classes, g.C, g.D, g.logit_bias, f.d_out,
                   f.d_OU);
    const Range units = own_share(m.d_mlp, stage);
    multiply<Into::Overwrite>(f.bench, rows_of(row_major(g.W_L, m.d_mlp, m.classes), units),
                              transposed(row_major(w.W_U, m.d_model, m.classes)),
                              {d.W_out + units.begin * m.d_model, m.d_model});
}

// Rows of the gradients of V and of X.
void unfold_rows(const ModelShape& m, const Parameters& w, Range rows, const FoldMemory& f) {
    for (int64_t h = 0; h < m.heads; ++h) {
        const Matrix d_in = row_major(f.d_in + h * f.rows * m.d_mlp, f.rows, m.d_mlp);
        const Matrix d_out = row_major(f.d_out + h * f.rows * m.classes, f.rows, m.classes);
        const Matrix OI = row_major(f.OI + h * m.d_head * m.d_mlp, m.d_head, m.d_mlp);
        const Matrix OU = row_major(f.OU + h * m.d_head * m.classes, m.d_head, m.classes);
        const Matrix W_V = row_major(w.W_V + h * m.d_model * m.d_head, m.d_model, m.d_head);
        const Out d_V{f.d_V + rows.begin * f.inner + h * m.d_head, f.inner};
        const Out d_X{f.d_X + rows.begin * m.d_model, m.d_model};
        multiply<Into::Overwrite>(f.bench, rows_of(d_in, rows), transposed(OI), d_V);
        multiply<Into::Add>(f.bench, rows_of(d_out, rows), transposed(OU), d_V);
        const auto to_X = h == 0 ? multiply<Into::Overwrite> : multiply<Into::Add>;
        to_X(f.bench, {d_V.at, rows.size(), m.d_head, d_V.row, 1}, transposed(W_V), d_X);
        for (int64_t r = rows.begin; r < rows.end; ++r)
            add_scaled(f.d_scores[r * m.heads + h], f.key_query + h * m.d_model, m.d_model,
                       f.d_X + r * m.d_model);
    }
}

void unfold_key_query(const ModelShape& m, const Parameters& w, const FoldMemory& f) {
    const float scale = 1.0f / root_of(m.d_head);
    clear(f.d_key_query, m.heads * m.d_model);
    clear(f.d_query, f.inner);
    for (int64_t h = 0; h < m.heads; ++h) {
        float* d_key_query = f.d_key_query + h * m.d_model;
        for (int64_t r = 0; r < f.rows; ++r)
            add_scaled(f.d_scores[r * m.heads + h], f.X + r * m.d_model, m.d_model, d_key_query);
        for (int64_t i = 0; i < m.d_model; ++i) {
            d_key_query[i] *= scale;
            add_scaled(d_key_query[i], w.W_K + (h * m.d_model + i) * m.d_head, m.d_head,
                       f.d_query + h * m.d_head);
        }
    }
}

// Stage 1: each part some rows of X, of W_O, and of W_in and W_U.
void unfold_weights(const ModelShape& m, const Parameters& w, const Stage& stage,
                    const FoldMemory& f, const Tables& g, const ParameterGradients& d) {
    if (stage.part == 0) unfold_key_query(m, w, f);
    unfold_rows(m, w, own_share(f.rows, stage), f);

    const Range inner = own_share(f.inner, stage), model = own_share(m.d_model, stage);
    const Matrix W_in = row_major(w.W_in, m.d_model, m.d_mlp);
    const Matrix W_U = row_major(w.W_U, m.d_model, m.classes);
    const Matrix d_OI = row_major(f.d_OI, f.inner, m.d_mlp);
    const Matrix d_OU = row_major(f.d_OU, f.inner, m.classes);
    const Out d_W_O{d.W_O + inner.begin * m.d_model, m.d_model};
    multiply<Into::Overwrite>(f.bench, rows_of(d_OI, inner), transposed(W_in), d_W_O);
    multiply<Into::Add>(f.bench, rows_of(d_OU, inner), transposed(W_U), d_W_O);

    const Matrix W_O = rows_of(transposed(row_major(w.W_O, f.inner, m.d_model)), model);
    const Matrix W_out = rows_of(transposed(row_major(w.W_out, m.d_mlp, m.d_model)), model);
    const Matrix d_W_L = row_major(g.W_L, m.d_mlp, m.classes);
    float* const d_W_in = d.W_in + model.begin * m.d_mlp;
    float* const d_W_U = d.W_U + model.begin * m.classes;
    multiply<Into::Overwrite>(f.bench, W_O, d_OI, {d_W_in, m.d_mlp});
    multiply<Into::Overwrite>(f.bench, W_out, d_W_L, {d_W_U, m.classes});
    multiply<Into::Add>(f.bench, W_O, d_OU, {d_W_U, m.classes});
    for (int64_t i = 0; i < model.size(); ++i) {
        const float x2 = f.x2(m)[model.begin + i];
        add_scaled(x2, g.pre_bias, m.d_mlp, d_W_in + i * m.d_mlp);
        add_scaled(x2 + w.b_out[model.begin + i], g.logit_bias, m.classes, d_W_U + i * m.classes);
    }
}

// The gradients of W_E, W_pos and the biases.
void unfold_embeddings(const ModelShape& m, const Parameters& w, const FoldMemory& f,
                       const Tables& g, const ParameterGradients& d) {
    const int64_t M = m.d_model;
    const float *of_difference = f.d_X + m.p * M, *of_equals = of_difference + M;
    float *at_a = d.W_pos, *at_b = d.W_pos + M, *at_equals = d.W_pos + 2 * M;
    copy(f.d_X, m.p * M, d.W_E);
    copy(g.pre_bias, m.d_mlp, d.b_in);
    copy(of_difference, M, at_b);
    clear(at_a, M);
    for (int64_t a = 0; a < m.p; ++a) add_scaled(1.0f, f.d_X + a * M, M, at_a);
    for (int64_t i = 0; i < M; ++i) {
        d.b_out[i] = dot(w.W_U + i * m.classes, g.logit_bias, m.classes);
        float x2 = of_equals[i] - at_a[i] + dot(w.W_in + i * m.d_mlp, g.pre_bias, m.d_mlp) + d.b_out[i];
        for (int64_t h = 0; h < m.heads; ++h)
            x2 += dot(w.W_Q + (h * M + i) * m.d_head, f.d_query + h * m.d_head, m.d_head);
        at_equals[i] = d.W_E[m.p * M + i] = x2;
        at_a[i] -= of_difference[i];
    }
}

// Stage 2: what depends on the gradients of V and X.
void unfold_attention(const ModelShape& m, const Parameters& w, const Stage& stage,
                      const FoldMemory& f, const Tables& g, const ParameterGradients& d) {
    if (stage.part == 0) unfold_embeddings(m, w, f, g, d);
    const Range model = own_share(m.d_model, stage);
    const Matrix d_V = row_major(f.d_V, f.rows, f.inner);
    for (int64_t h = 0; h < m.heads; ++h) {
        const int64_t head = h * m.d_model * m.d_head;
        multiply<Into::Overwrite>(f.bench, rows_of(transposed(f.all_X(m)), model),
                                  columns_of(d_V, {h * m.d_head, (h + 1) * m.d_head}),
                                  {d.W_V + head + model.begin * m.d_head, m.d_head});
        for (int64_t i = model.begin; i < model.end; ++i)
            for (int64_t j = 0; j < m.d_head; ++j) {
                const int64_t at = head + i * m.d_head + j;
                d.W_Q[at] = f.x2(m)[i] * f.d_query[h * m.d_head + j];
                d.W_K[at] = f.d_key_query[h * m.d_model + i] * f.query[h * m.d_head + j];
            }
    }
}

void unfold(const ModelShape& m, const Parameters& w, const Stage& stage, float* memory,
            const Tables& gradients, const ParameterGradients& d) {
    Arena arena(memory);
    const FoldMemory f(m, stage.part, stage.parts, arena);
    switch (stage.number) {
        case 0: return unfold_tables(m, w, stage, f, gradients, d);
        case 1: return unfold_weights(m, w, stage, f, gradients, d);
        default: return unfold_attention(m, w, stage, f, gradients, d);
    }
}

}  // namespace
}  // namespace grid
