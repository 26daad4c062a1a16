// The readable loop: the specification of every kernel, one pair at a time.
//
// Sums run in double, so its results are also the most accurate ones. It packs nothing and keeps
// its gradient sums in scratch memory as doubles, in the order of the tables in grid.h.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "cpu_kernels.h"

namespace grid {
namespace {

struct PairState {
    std::vector<double> alpha;   // [3, H]
    std::vector<double> post;    // [K]
    std::vector<double> logits;  // [c]
};

void attend(const Shape& s, const Tables& t, int64_t a, int64_t b, std::vector<double>& alpha) {
    for (int64_t h = 0; h < s.heads; ++h) {
        const double score[3] = {t.s0[a * s.heads + h], t.s1[b * s.heads + h], t.s2[h]};
        const double peak = std::fmax(score[0], std::fmax(score[1], score[2]));
        double total = 0.0;
        for (int i = 0; i < 3; ++i) total += alpha[i * s.heads + h] = std::exp(score[i] - peak);
        for (int i = 0; i < 3; ++i) alpha[i * s.heads + h] /= total;
    }
}

// bias + sum_h alpha0_h first[a, h] + alpha1_h second[b, h], column by column: [width]
void mix(const Shape& s, const std::vector<double>& alpha, const float* bias, const float* first,
         const float* second, int64_t a, int64_t b, int64_t width, std::vector<double>& out) {
    for (int64_t k = 0; k < width; ++k) {
        out[k] = bias[k];
        for (int64_t h = 0; h < s.heads; ++h) {
            out[k] += alpha[h] * first[(a * s.heads + h) * width + k];
            out[k] += alpha[s.heads + h] * second[(b * s.heads + h) * width + k];
        }
    }
}

void forward(const Shape& s, const Tables& t, int64_t a, int64_t b, PairState& state) {
    attend(s, t, a, b, state.alpha);
    mix(s, state.alpha, t.pre_bias, t.A, t.B, a, b, s.d_mlp, state.post);
    for (double& unit : state.post) unit = unit < 0.0 ? 0.0 : unit;
    mix(s, state.alpha, t.logit_bias, t.C, t.D, a, b, s.classes, state.logits);
    for (int64_t k = 0; k < s.d_mlp; ++k)
        for (int64_t j = 0; j < s.classes; ++j)
            state.logits[j] += state.post[k] * t.W_L[k * s.classes + j];
}

// Loss of one pair, whose logits become the gradient g of grokking/model/loss.py.
Score score(std::vector<double>& logits, int64_t target) {
    double peak = -std::numeric_limits<double>::infinity();
    int64_t first_peak = 0;
    for (size_t j = 0; j < logits.size(); ++j)
        if (logits[j] > peak) peak = logits[j], first_peak = static_cast<int64_t>(j);
    const double gap = logits[target] - peak;
    double others = 0.0;
    for (size_t j = 0; j < logits.size(); ++j) {
        logits[j] = static_cast<int64_t>(j) == target ? 0.0 : std::exp(logits[j] - peak);
        others += logits[j];
    }
    const double loss = -gap + std::log1p(others + std::expm1(gap));
    for (double& g : logits) g /= others + std::exp(gap);
    logits[target] = -others / (others + std::exp(gap));
    return {loss, loss == loss && first_peak == target};
}

PairState make_state(const Shape& s) {
    return {std::vector<double>(3 * s.heads), std::vector<double>(s.d_mlp),
            std::vector<double>(s.classes)};
}

size_t packed_size(const Shape&, bool) { return 0; }

void pack(const Shape&, const Tables&, bool, float*) {}

using Sums = TablesOf<double>;

size_t sum_count(const Shape& s) {
    size_t count = 0;
    for (const Table& table : TABLES) count += table.size(s);
    return count;
}

size_t scratch_size(const Shape& s, bool backward) {
    return backward ? sum_count(s) * (sizeof(double) / sizeof(float)) : 0;
}

Sums sums_at(const Shape& s, float* scratch) {
    double* next = reinterpret_cast<double*>(scratch);
    TableArray<double> sums;
    for (size_t i = 0; i < TABLE_COUNT; next += TABLES[i++].size(s)) sums[i] = next;
    return tables_of(sums);
}

void add_class_sums(const Shape& s, int64_t target, const PairState& state, double* class_sums) {
    if (class_sums)
        for (int64_t j = 0; j < s.classes; ++j)
            class_sums[target * s.classes + j] += state.logits[j];
}

Score evaluate(const Shape& s, const Tables& t, const float*, const Batch& batch, float*,
               float* logits, double* class_sums) {
    PairState state = make_state(s);
    Score total;
    for (int64_t i = 0; i < batch.count; ++i) {
        const int64_t a = batch.number(i) / s.p, b = batch.number(i) % s.p;
        forward(s, t, a, b, state);
        add_class_sums(s, batch.target(i), state, class_sums);
        if (logits)
            for (int64_t j = 0; j < s.classes; ++j)
                logits[batch.order[i] * s.classes + j] = static_cast<float>(state.logits[j]);
        const Score one = score(state.logits, batch.target(i));
        total.loss_sum += one.loss_sum;
        total.correct += one.correct;
    }
    return total;
}

// Gradients of one `mix` with respect to its tables; adds those of alpha0 and alpha1 to d_alpha.
void mix_backward(const Shape& s, const std::vector<double>& alpha,
                  const std::vector<double>& d_out, const float* first, const float* second,
                  int64_t a, int64_t b, double* d_bias, double* d_first, double* d_second,
                  std::vector<double>& d_alpha /* [2, H] */) {
    const int64_t width = static_cast<int64_t>(d_out.size());
    for (int64_t k = 0; k < width; ++k) {
        d_bias[k] += d_out[k];
        for (int64_t h = 0; h < s.heads; ++h) {
            const int64_t in_a = (a * s.heads + h) * width + k;
            const int64_t in_b = (b * s.heads + h) * width + k;
            d_first[in_a] += alpha[h] * d_out[k];
            d_second[in_b] += alpha[s.heads + h] * d_out[k];
            d_alpha[h] += d_out[k] * first[in_a];
            d_alpha[s.heads + h] += d_out[k] * second[in_b];
        }
    }
}

void attend_backward(const Shape& s, const std::vector<double>& alpha,
                     const std::vector<double>& d_alpha, int64_t a, int64_t b, const Sums& sums) {
    for (int64_t h = 0; h < s.heads; ++h) {
        const double mean = alpha[h] * d_alpha[h] + alpha[s.heads + h] * d_alpha[s.heads + h];
        sums.s0[a * s.heads + h] += alpha[h] * (d_alpha[h] - mean);
        sums.s1[b * s.heads + h] += alpha[s.heads + h] * (d_alpha[s.heads + h] - mean);
        sums.s2[h] -= alpha[2 * s.heads + h] * mean;
    }
}

Score pair_loss(const Shape& s, const Tables& t, const float*, const Batch& batch, float scale,
                float* scratch, const Gradients*, double* class_sums) {
    const Sums sums = sums_at(s, scratch);
    std::fill_n(sums.s0, sum_count(s), 0.0);
    PairState state = make_state(s);
    std::vector<double> d_pre(s.d_mlp), d_alpha(2 * s.heads);
    Score total;
    for (int64_t i = 0; i < batch.count; ++i) {
        const int64_t a = batch.number(i) / s.p, b = batch.number(i) % s.p;
        forward(s, t, a, b, state);
        add_class_sums(s, batch.target(i), state, class_sums);
        const Score one = score(state.logits, batch.target(i));
        total.loss_sum += one.loss_sum;
        total.correct += one.correct;

        std::vector<double>& g = state.logits;  // [c]
        for (double& g_j : g) g_j *= scale;
        for (int64_t k = 0; k < s.d_mlp; ++k) {
            double d_post = 0.0;
            for (int64_t j = 0; j < s.classes; ++j) {
                sums.W_L[k * s.classes + j] += state.post[k] * g[j];
                d_post += g[j] * t.W_L[k * s.classes + j];
            }
            d_pre[k] = state.post[k] <= 0.0 ? 0.0 : d_post;
        }
        d_alpha.assign(2 * s.heads, 0.0);
        mix_backward(s, state.alpha, d_pre, t.A, t.B, a, b, sums.pre_bias, sums.A, sums.B, d_alpha);
        mix_backward(s, state.alpha, g, t.C, t.D, a, b, sums.logit_bias, sums.C, sums.D, d_alpha);
        attend_backward(s, state.alpha, d_alpha, a, b, sums);
    }
    return total;
}

void reduce(const Shape& s, float* const* scratch, int threads, const Gradients& gradients) {
    std::vector<TableArray<double>> parts(threads);
    for (int thread = 0; thread < threads; ++thread)
        parts[thread] = array_of(sums_at(s, scratch[thread]));
    const TableArray<float> out = array_of(gradients);
    for (size_t t = 0; t < TABLE_COUNT; ++t)
        for (int64_t i = 0, count = TABLES[t].size(s); i < count; ++i) {
            double total = 0.0;
            for (const TableArray<double>& part : parts) total += part[t][i];
            out[t][i] = static_cast<float>(total);
        }
}

void activations(const Shape& s, const Tables& t, const float*, const Batch& batch, float*,
                 float* surfaces) {
    PairState state = make_state(s);
    for (int64_t i = 0; i < batch.count; ++i) {
        const int64_t n = batch.number(i);
        attend(s, t, n / s.p, n % s.p, state.alpha);
        mix(s, state.alpha, t.pre_bias, t.A, t.B, n / s.p, n % s.p, s.d_mlp, state.post);
        for (int64_t k = 0; k < s.d_mlp; ++k)
            surfaces[n * s.d_mlp + k] =
                static_cast<float>(state.post[k] < 0.0 ? 0.0 : state.post[k]);
    }
}

// ---------------------------------------------------------------- the folding

// A matrix of doubles, with the few operations that the formulas need.
struct Matrix {
    int64_t rows, columns;
    std::vector<double> values;

    Matrix(int64_t rows, int64_t columns)
        : rows(rows), columns(columns), values(static_cast<size_t>(rows * columns)) {}
    Matrix(int64_t rows, int64_t columns, const float* from) : Matrix(rows, columns) {
        std::copy_n(from, values.size(), values.begin());
    }
    double& at(int64_t i, int64_t j) { return values[static_cast<size_t>(i * columns + j)]; }
    double at(int64_t i, int64_t j) const { return values[static_cast<size_t>(i * columns + j)]; }
    Matrix row(int64_t i) const {
        Matrix result(1, columns);
        for (int64_t j = 0; j < columns; ++j) result.at(0, j) = at(i, j);
        return result;
    }
    Matrix transposed() const {
        Matrix result(columns, rows);
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < columns; ++j) result.at(j, i) = at(i, j);
        return result;
    }
    void give(float* to) const {
        for (size_t i = 0; i < values.size(); ++i) to[i] = static_cast<float>(values[i]);
    }
};

Matrix operator*(const Matrix& x, const Matrix& y) {
    Matrix result(x.rows, y.columns);
    for (int64_t i = 0; i < x.rows; ++i)
        for (int64_t k = 0; k < x.columns; ++k)
            for (int64_t j = 0; j < y.columns; ++j) result.at(i, j) += x.at(i, k) * y.at(k, j);
    return result;
}

Matrix operator*(double factor, Matrix x) {
    for (double& value : x.values) value *= factor;
    return x;
}

Matrix operator+(Matrix x, const Matrix& y) {
    for (size_t i = 0; i < x.values.size(); ++i) x.values[i] += y.values[i];
    return x;
}

Matrix operator-(Matrix x, const Matrix& y) { return std::move(x) + -1.0 * y; }

// The parameters as matrices; those of a head by its number.
struct Model {
    int64_t equals;
    Matrix W_E, W_pos, W_in, b_in, W_out, b_out, W_U;
    std::vector<Matrix> W_Q, W_K, W_V, W_O;

    Model(const ModelShape& m, const Parameters& w)
        : equals(m.p), W_E(m.tokens, m.d_model, w.W_E), W_pos(m.positions, m.d_model, w.W_pos),
          W_in(m.d_model, m.d_mlp, w.W_in), b_in(1, m.d_mlp, w.b_in),
          W_out(m.d_mlp, m.d_model, w.W_out), b_out(1, m.d_model, w.b_out),
          W_U(m.d_model, m.classes, w.W_U) {
        for (int64_t h = 0; h < m.heads; ++h) {
            const int64_t head = h * m.d_model * m.d_head;
            W_Q.emplace_back(m.d_model, m.d_head, w.W_Q + head);
            W_K.emplace_back(m.d_model, m.d_head, w.W_K + head);
            W_V.emplace_back(m.d_model, m.d_head, w.W_V + head);
            W_O.emplace_back(m.d_head, m.d_model, w.W_O + head);
        }
    }
    Matrix x0(int64_t a) const { return W_E.row(a) + W_pos.row(0); }
    Matrix x1(int64_t b) const { return W_E.row(b) + W_pos.row(1); }
    Matrix x2() const { return W_E.row(equals) + W_pos.row(2); }
};

size_t fold_size(const ModelShape&, int) { return 0; }

double score_scale(const ModelShape& m) { return 1.0 / std::sqrt(static_cast<double>(m.d_head)); }

// The tables by their definitions: the third weight of attention is one less the other two.
void fold(const ModelShape& m, const Parameters& parameters, const Stage& stage, float*,
          const TablesOf<float>& t) {
    if (stage.number > 0 || stage.part > 0) return;
    const Model w(m, parameters);
    const Matrix x2 = w.x2();
    Matrix pre_bias = w.b_in + x2 * w.W_in, logit_bias = (x2 + w.b_out) * w.W_U;
    for (int64_t h = 0; h < m.heads; ++h) {
        const Matrix through = w.W_V[h] * w.W_O[h];
        const Matrix key = score_scale(m) * (w.W_K[h] * (x2 * w.W_Q[h]).transposed());
        auto fill = [&](int64_t n, const Matrix& x, float* scores, float* to_pre,
                        float* to_logits) {
            const int64_t row = n * m.heads + h;
            const Matrix moved = (x - x2) * through;
            scores[row] = static_cast<float>((x * key).at(0, 0));
            (moved * w.W_in).give(to_pre + row * m.d_mlp);
            (moved * w.W_U).give(to_logits + row * m.classes);
        };
        for (int64_t n = 0; n < m.p; ++n) {
            fill(n, w.x0(n), t.s0, t.A, t.C);
            fill(n, w.x1(n), t.s1, t.B, t.D);
        }
        t.s2[h] = static_cast<float>((x2 * key).at(0, 0));
        pre_bias = pre_bias + x2 * through * w.W_in;
        logit_bias = logit_bias + x2 * through * w.W_U;
    }
    (w.W_out * w.W_U).give(t.W_L);
    pre_bias.give(t.pre_bias);
    logit_bias.give(t.logit_bias);
}

// The gradient of those definitions, line by line.
void unfold(const ModelShape& m, const Parameters& parameters, const Stage& stage, float*,
            const Tables& g, const ParameterGradients& d) {
    if (stage.number > 0 || stage.part > 0) return;
    const Model w(m, parameters);
    const Matrix x2 = w.x2(), d_pre(1, m.d_mlp, g.pre_bias), d_logits(1, m.classes, g.logit_bias);
    const Matrix d_W_L(m.d_mlp, m.classes, g.W_L);
    Matrix d_W_E(m.tokens, m.d_model), d_W_pos(m.positions, m.d_model);
    Matrix d_W_in = x2.transposed() * d_pre;
    Matrix d_W_U = (x2 + w.b_out).transposed() * d_logits + w.W_out.transposed() * d_W_L;
    Matrix d_x2 = d_pre * w.W_in.transposed() + d_logits * w.W_U.transposed();
    for (int64_t h = 0; h < m.heads; ++h) {
        const Matrix through = w.W_V[h] * w.W_O[h], query = x2 * w.W_Q[h];
        const Matrix key = score_scale(m) * (w.W_K[h] * query.transposed());
        Matrix d_through(m.d_model, m.d_model), d_key(m.d_model, 1);
        // A row x goes through this head to pre and to the logits: the gradient of x.
        auto through_head = [&](const Matrix& x, const Matrix& to_pre, const Matrix& to_logits) {
            const Matrix moved = x * through;
            d_W_in = d_W_in + moved.transposed() * to_pre;
            d_W_U = d_W_U + moved.transposed() * to_logits;
            const Matrix d_moved = to_pre * w.W_in.transposed() + to_logits * w.W_U.transposed();
            d_through = d_through + x.transposed() * d_moved;
            return d_moved * through.transposed();
        };
        auto through_score = [&](const Matrix& x, double d_score) {
            d_key = d_key + d_score * x.transposed();
            return d_score * key.transposed();
        };
        auto operand = [&](int64_t n, int64_t position, const Matrix& x, const float* d_scores,
                           const float* to_pre, const float* to_logits) {
            const int64_t row = n * m.heads + h;
            const Matrix d_moved =
                through_head(x - x2, Matrix(1, m.d_mlp, to_pre + row * m.d_mlp),
                             Matrix(1, m.classes, to_logits + row * m.classes));
            const Matrix d_x = d_moved + through_score(x, d_scores[row]);
            for (int64_t i = 0; i < m.d_model; ++i) {
                d_W_E.at(n, i) += d_x.at(0, i);
                d_W_pos.at(position, i) += d_x.at(0, i);
            }
            d_x2 = d_x2 - d_moved;
        };
        for (int64_t n = 0; n < m.p; ++n) {
            operand(n, 0, w.x0(n), g.s0, g.A, g.C);
            operand(n, 1, w.x1(n), g.s1, g.B, g.D);
        }
        d_x2 = d_x2 + through_head(x2, d_pre, d_logits) + through_score(x2, g.s2[h]);

        const int64_t head = h * m.d_model * m.d_head;
        const Matrix d_query = score_scale(m) * (d_key.transposed() * w.W_K[h]);
        d_x2 = d_x2 + d_query * w.W_Q[h].transposed();
        (x2.transposed() * d_query).give(d.W_Q + head);
        (score_scale(m) * (d_key * query)).give(d.W_K + head);
        (d_through * w.W_O[h].transposed()).give(d.W_V + head);
        (w.W_V[h].transposed() * d_through).give(d.W_O + head);
    }
    for (int64_t i = 0; i < m.d_model; ++i)
        d_W_E.at(m.p, i) = d_W_pos.at(2, i) = d_x2.at(0, i);
    d_W_E.give(d.W_E);
    d_W_pos.give(d.W_pos);
    d_W_in.give(d.W_in);
    d_pre.give(d.b_in);
    (d_W_L * w.W_U.transposed()).give(d.W_out);
    (d_logits * w.W_U.transposed()).give(d.b_out);
    d_W_U.give(d.W_U);
}

bool supported() { return true; }

}  // namespace

extern const Kernels reference_kernels = {"reference",  "float32", false,     supported,
                                          packed_size,  pack,      scratch_size, evaluate,
                                          pair_loss,    reduce,    activations,  fold_size,
                                          fold,         unfold};

}  // namespace grid
