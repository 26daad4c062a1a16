// The readable loop: the specification of every kernel, one pair at a time.
//
// Sums run in double, so its results are also the most accurate ones. It packs nothing and keeps
// its gradient sums in scratch memory as doubles, in the order of the tables in grid.h.
#include <algorithm>
#include <cmath>
#include <limits>
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

bool supported() { return true; }

}  // namespace

extern const Kernels reference_kernels = {"reference",  "float32", false,     supported,
                                          packed_size,  pack,      scratch_size, evaluate,
                                          pair_loss,    reduce,    activations};

}  // namespace grid
