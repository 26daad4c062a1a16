// Device code of the fused kernel: no launches, nothing of the host. grid_cuda.cu says in which
// order the kernels run; tests/cuda runs this very file on a CPU.
//
// Layouts are those of grid.h; beside them n pairs have alpha [n, H] (float4: the three weights of
// attention), post and d_pre [n, K], logits and their gradient g [n, c]. No sum depends on the
// order in which blocks run: equal input gives equal bits.
#pragma once

#include "cuda_launch.h"
#include "grid.h"

namespace grid::cuda {

constexpr unsigned ALL_LANES = 0xffffffffu;

// ---------------------------------------------------------------- threads and memory

__device__ inline int lane() { return static_cast<int>(threadIdx.x) % WARP; }
__device__ inline int warp() { return static_cast<int>(threadIdx.x) / WARP; }

// The block's dynamic shared memory.
template <typename T>
__device__ T& shared_memory() {
#ifdef __CUDACC__
    extern __shared__ float4 bytes[];
    return *reinterpret_cast<T*>(bytes);
#else
    return *static_cast<T*>(emulation::shared_bytes(sizeof(T)));
#endif
}

__device__ inline int64_t row_of(int64_t index, int width) { return index * width; }

// The value of all lanes, combined in the same fixed order in each of them.
__device__ inline float warp_sum(float value) {
    for (int distance = WARP / 2; distance > 0; distance /= 2)
        value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

__device__ inline int warp_sum(int value) {
    for (int distance = WARP / 2; distance > 0; distance /= 2)
        value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

__device__ inline float warp_maximum(float value) {
    for (int distance = WARP / 2; distance > 0; distance /= 2)
        value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, distance));
    return value;
}

// ---------------------------------------------------------------- pairs and their mixed rows

struct Pair {
    int a, b;
};

// Pair i of the list; without a list, pair number i.
__device__ inline Pair pair_at(const int64_t* numbers, int i, int p) {
    const int number = numbers ? static_cast<int>(numbers[i]) : i;
    return {number / p, number % p};
}

__global__ void attend(Sizes s, Tables t, const int64_t* numbers, int count, float4* alpha) {
    const int64_t item = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;  // pair * H + head
    if (item >= row_of(count, s.heads)) return;
    const int h = static_cast<int>(item % s.heads);
    const Pair pair = pair_at(numbers, static_cast<int>(item / s.heads), s.p);
    const float score0 = t.s0[pair.a * s.heads + h], score1 = t.s1[pair.b * s.heads + h];
    const float score2 = t.s2[h], peak = fmaxf(score0, fmaxf(score1, score2));
    const float e0 = expf(score0 - peak), e1 = expf(score1 - peak), e2 = expf(score2 - peak);
    const float total = e0 + e1 + e2;
    alpha[item] = {e0 / total, e1 / total, e2 / total, 0.0f};
}

// ROWS_PER_WARP consecutive pairs; those beyond the end repeat the last one.
struct PairRows {
    int first, count;
    int a[ROWS_PER_WARP], b[ROWS_PER_WARP];

    __device__ PairRows(const int64_t* numbers, int first_pair, int pair_count, int p)
        : first(first_pair), count(pair_count) {
        for (int r = 0; r < ROWS_PER_WARP; ++r) {
            const Pair pair = pair_at(numbers, index(r), p);
            a[r] = pair.a;
            b[r] = pair.b;
        }
    }
    __device__ bool has(int r) const { return first + r < count; }
    __device__ int index(int r) const { return has(r) ? first + r : count - 1; }
};

// Two tables [p, H, width] and a bias [width] that attention mixes into one row a pair.
struct Mixture {
    const float *bias, *first, *second;
    int heads, width;
};

// out[r] = bias[k] + sum_h alpha0_h first[a, h, k] + alpha1_h second[b, h, k]
__device__ inline void mix(const Mixture& m, const PairRows& rows, const float4* alpha, int k,
                           float (&out)[ROWS_PER_WARP]) {
    for (float& value : out) value = m.bias[k];
#pragma unroll 1  // more loads in flight would cost registers, and with them warps
    for (int h = 0; h < m.heads; ++h) {
#pragma unroll
        for (int r = 0; r < ROWS_PER_WARP; ++r) {
            const float4 weights = alpha[rows.index(r) * m.heads + h];
            out[r] += weights.x * m.first[(rows.a[r] * m.heads + h) * m.width + k];
            out[r] += weights.y * m.second[(rows.b[r] * m.heads + h) * m.width + k];
        }
    }
}

__device__ inline float relu(float x) { return x < 0.0f ? 0.0f : x; }  // lets NaN through

// ---------------------------------------------------------------- the tiled product

using Sums = float[ROWS_PER_WARP][COLUMNS_PER_LANE];  // of one thread

// left[d][rows of this warp] = values, at d = lane.
__device__ inline void store_left(ProductTile& tile, const float (&values)[ROWS_PER_WARP]) {
    float4* at = reinterpret_cast<float4*>(&tile.left[lane()][warp() * ROWS_PER_WARP]);
    at[0] = {values[0], values[1], values[2], values[3]};
    at[1] = {values[4], values[5], values[6], values[7]};
}

// left[d][row] = value(row, d), for values that lie along d in memory.
template <typename Value>
__device__ void fill_left_along_depth(ProductTile& tile, Value value) {
    float values[ROWS_PER_WARP];
#pragma unroll
    for (int r = 0; r < ROWS_PER_WARP; ++r) values[r] = value(warp() * ROWS_PER_WARP + r, lane());
    store_left(tile, values);
}

// The same, for values that lie along the rows.
template <typename Value>
__device__ void fill_left_along_rows(ProductTile& tile, Value value) {
#pragma unroll
    for (int d = warp(); d < DEPTH; d += WARPS) tile.left[d][lane()] = value(lane(), d);
}

// right[d][column] = value(d, column), for values that lie along the columns.
template <typename Value>
__device__ void fill_right_along_columns(ProductTile& tile, Value value) {
    const int column = static_cast<int>(threadIdx.x);
#pragma unroll 8
    for (int d = 0; d < DEPTH; ++d) tile.right[d][column] = value(d, column);
}

// The same, for values that lie along d.
template <typename Value>
__device__ void fill_right_along_depth(ProductTile& tile, Value value) {
#pragma unroll 8
    for (int column = warp(); column < COLUMNS; column += WARPS)
        tile.right[lane()][column] = value(lane(), column);
}

// sums += left^T right, once both operands are there; afterwards they may be overwritten.
__device__ inline void multiply(const ProductTile& tile, Sums& sums) {
    __syncthreads();
#pragma unroll 4
    for (int d = 0; d < DEPTH; ++d) {
        const float4* at = reinterpret_cast<const float4*>(&tile.left[d][warp() * ROWS_PER_WARP]);
        const float4 low = at[0], high = at[1];
        const float left[] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
        for (int c = 0; c < COLUMNS_PER_LANE; ++c) {
            const float right = tile.right[d][c * WARP + lane()];
#pragma unroll
            for (int r = 0; r < ROWS_PER_WARP; ++r) sums[r][c] += left[r] * right;
        }
    }
    __syncthreads();
}

// Calls body(r, row, c, column) for each of this thread's sums inside [rows, columns].
template <typename Body>
__device__ void for_each_sum(int64_t rows, int columns, Body body) {
#pragma unroll
    for (int c = 0; c < COLUMNS_PER_LANE; ++c) {
        const int column = static_cast<int>(blockIdx.y) * COLUMNS + c * WARP + lane();
#pragma unroll
        for (int r = 0; r < ROWS_PER_WARP; ++r) {
            const int64_t row = int64_t{blockIdx.x} * ROWS + warp() * ROWS_PER_WARP + r;
            if (row < rows && column < columns) body(r, row, c, column);
        }
    }
}

// ---------------------------------------------------------------- forward

// logits = direct, the mixture of the columns that this thread's sums are of.
__device__ inline void mixed_logits(Sizes s, const Mixture& direct, const PairRows& rows,
                                    const float4* alpha, int first_class, float* logits) {
#pragma unroll 1
    for (int c = 0; c < COLUMNS_PER_LANE; ++c) {
        const int j = first_class + c * WARP + lane();
        if (j >= s.classes) return;
        float values[ROWS_PER_WARP];
        mix(direct, rows, alpha, j, values);
#pragma unroll
        for (int r = 0; r < ROWS_PER_WARP; ++r)
            if (rows.has(r)) logits[row_of(rows.first + r, s.classes) + j] = values[r];
    }
}

// logits of the pairs; post is kept only where it is asked for (may be null).
__global__ void __launch_bounds__(THREADS)
    logits_of_pairs(Sizes s, Tables t, const int64_t* numbers, int count, const float4* alpha,
                    float* logits, float* post) {
    auto& tile = shared_memory<ProductTile>();
    const PairRows rows(numbers, static_cast<int>(blockIdx.x) * ROWS + warp() * ROWS_PER_WARP,
                        count, s.p);
    const Mixture hidden{t.pre_bias, t.A, t.B, s.heads, s.d_mlp};
    const Mixture direct{t.logit_bias, t.C, t.D, s.heads, s.classes};
    const int first_class = static_cast<int>(blockIdx.y) * COLUMNS;
    mixed_logits(s, direct, rows, alpha, first_class, logits);
    Sums sums = {};
    for (int first = 0; first < s.d_mlp; first += DEPTH) {
        const int k = first + lane();
        float values[ROWS_PER_WARP] = {};
        if (k < s.d_mlp) {
            mix(hidden, rows, alpha, k, values);
#pragma unroll
            for (int r = 0; r < ROWS_PER_WARP; ++r) {
                values[r] = relu(values[r]);
                if (post && blockIdx.y == 0 && rows.has(r))
                    post[row_of(rows.first + r, s.d_mlp) + k] = values[r];
            }
        }
        store_left(tile, values);
        fill_right_along_columns(tile, [&](int d, int column) {
            const int j = first_class + column;
            return first + d < s.d_mlp && j < s.classes ? t.W_L[(first + d) * s.classes + j] : 0.0f;
        });
        multiply(tile, sums);
        if ((first + DEPTH) % TERMS != 0 && first + DEPTH < s.d_mlp) continue;
        for_each_sum(count, s.classes, [&](int r, int64_t row, int c, int column) {
            logits[row_of(row, s.classes) + column] += sums[r][c];
            sums[r][c] = 0.0f;
        });
    }
}

// Loss of each pair (nats) and whether its first largest logit is the target: a warp a pair.
// With `gradient` the logits become scale * g of grokking/model/loss.py.
__global__ void score_pairs(Sizes s, const int64_t* targets, int count, float scale, bool gradient,
                            float* logits, float* losses, int* correct) {
    const int i = static_cast<int>(blockIdx.x) * WARPS + warp();
    if (i >= count) return;  // the whole warp
    float* row = logits + row_of(i, s.classes);
    const int target = static_cast<int>(targets[i]);

    float peak = -INFINITY;
    for (int j = lane(); j < s.classes; j += WARP) peak = fmaxf(peak, row[j]);  // passes over NaN
    peak = warp_maximum(peak);
    float others = 0.0f;
    bool earlier = false;  // is the peak also among the classes before the target?
    for (int j = lane(); j < s.classes; j += WARP) {
        if (j != target) others += expf(row[j] - peak);
        earlier |= j < target && row[j] == peak;
    }
    others = warp_sum(others);
    earlier = __any_sync(ALL_LANES, earlier);

    const float gap = row[target] - peak;
    const float loss = log1pf(others + expm1f(gap)) - gap;
    if (lane() == 0) {
        losses[i] = loss;
        correct[i] = loss == loss && gap == 0.0f && !earlier;
    }
    if (!gradient) return;
    const float factor = scale / (others + expf(gap));
    __syncwarp();  // every lane has read row[target]
    for (int j = lane(); j < s.classes; j += WARP)
        row[j] = j == target ? -others * factor : expf(row[j] - peak) * factor;
}

// score = {sum of the losses, number correct}, by one block.
__global__ void add_scores(const float* losses, const int* correct, int count, double* score) {
    auto& totals = shared_memory<ScoreTotals>();
    const int thread = static_cast<int>(threadIdx.x);
    double loss = 0.0;
    int right = 0;
    for (int i = thread; i < count; i += TOTAL_THREADS) {
        loss += losses[i];
        right += correct[i];
    }
    totals.loss[thread] = loss;
    totals.correct[thread] = right;
    for (int half = TOTAL_THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) {
            totals.loss[thread] += totals.loss[thread + half];
            totals.correct[thread] += totals.correct[thread + half];
        }
    }
    if (thread == 0) {
        score[0] = totals.loss[0];
        score[1] = totals.correct[0];
    }
}

// ---------------------------------------------------------------- groups of pairs

enum Key { BY_TARGET, BY_A, BY_B, KEYS };

// The pairs with one key value stand together, in their order in the list:
// order[starts[value]] ... order[starts[value + 1] - 1].
struct Groups {
    int* starts;  // [values + 1]
    int* order;   // [n]
};
struct GroupsByKey {
    Groups target, a, b;
};

__device__ inline int key_of(const Pairs& pairs, int i, int key, int p) {
    if (key == BY_TARGET) return static_cast<int>(pairs.targets[i]);
    const Pair pair = pair_at(pairs.numbers, i, p);
    return key == BY_A ? pair.a : pair.b;
}

// Number of set flags in the block, and in *before those of lower threads.
__device__ inline int count_flags(GroupCounts& counts, bool flag, int* before) {
    const unsigned flags = __ballot_sync(ALL_LANES, flag);
    if (lane() == 0) counts.of_warp[warp()] = __popc(flags);
    __syncthreads();
    int total = 0;
    *before = __popc(flags & ((1u << lane()) - 1u));
    for (int w = 0; w < WARPS; ++w) {
        if (w < warp()) *before += counts.of_warp[w];
        total += counts.of_warp[w];
    }
    __syncthreads();
    return total;
}

// Block (value, y) collects the pairs whose key first_key + y has that value.
__global__ void group_pairs(Sizes s, Pairs pairs, int first_key, GroupsByKey groups) {
    auto& counts = shared_memory<GroupCounts>();
    const int value = static_cast<int>(blockIdx.x), key = first_key + static_cast<int>(blockIdx.y);
    const int count = static_cast<int>(pairs.count), values = key == BY_TARGET ? s.classes : s.p;
    if (value >= values) return;  // the whole block
    const Groups out = key == BY_TARGET ? groups.target : key == BY_A ? groups.a : groups.b;
    int smaller = 0;
    for (int i = static_cast<int>(threadIdx.x); i < count; i += THREADS)
        smaller += key_of(pairs, i, key, s.p) < value;
    smaller = warp_sum(smaller);
    if (lane() == 0) counts.of_warp[warp()] = smaller;
    __syncthreads();
    int next = 0;
    for (int w = 0; w < WARPS; ++w) next += counts.of_warp[w];
    __syncthreads();

    if (threadIdx.x == 0) out.starts[value] = next;
    for (int first = 0; first < count; first += THREADS) {
        const int i = first + static_cast<int>(threadIdx.x);
        const bool mine = i < count && key_of(pairs, i, key, s.p) == value;
        int before;
        const int found = count_flags(counts, mine, &before);
        if (mine) out.order[next + before] = i;
        next += found;
    }
    if (threadIdx.x == 0 && value == values - 1) out.starts[values] = next;
}

// class_sums[v, j] += logits of the pairs whose target is v, in float64.
__global__ void add_class_sums(Sizes s, Groups targets, const float* logits, double* class_sums) {
    const int value = static_cast<int>(blockIdx.x);
    const int j = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
    if (j >= s.classes) return;
    double total = 0.0;
    for (int at = targets.starts[value]; at < targets.starts[value + 1]; ++at)
        total += logits[row_of(targets.order[at], s.classes) + j];
    class_sums[row_of(value, s.classes) + j] += total;
}

// ---------------------------------------------------------------- backward

// partial[z] = post^T g over the pairs of split z: [splits, K, c].
__global__ void __launch_bounds__(THREADS)
    weight_gradient(Sizes s, int count, int pairs_each, const float* post, const float* g,
                    float* partial) {
    auto& tile = shared_memory<ProductTile>();
    const int begin = static_cast<int>(blockIdx.z) * pairs_each;
    const int end = begin + pairs_each < count ? begin + pairs_each : count;
    const int first_unit = static_cast<int>(blockIdx.x) * ROWS;
    const int first_class = static_cast<int>(blockIdx.y) * COLUMNS;
    Sums sums = {};
    for (int first = begin; first < end; first += DEPTH) {
        fill_left_along_rows(tile, [&](int row, int d) {
            const int i = first + d, k = first_unit + row;
            return i < end && k < s.d_mlp ? post[row_of(i, s.d_mlp) + k] : 0.0f;
        });
        fill_right_along_columns(tile, [&](int d, int column) {
            const int i = first + d, j = first_class + column;
            return i < end && j < s.classes ? g[row_of(i, s.classes) + j] : 0.0f;
        });
        multiply(tile, sums);
    }
    float* out = partial + row_of(int64_t{blockIdx.z} * s.d_mlp, s.classes);
    for_each_sum(s.d_mlp, s.classes, [&](int r, int64_t row, int c, int column) {
        out[row_of(row, s.classes) + column] = sums[r][c];
    });
}

// d_pre = g W_L^T where the unit was not off, over post.
__global__ void __launch_bounds__(THREADS)
    hidden_gradient(Sizes s, Tables t, int count, const float* g, float* post) {
    auto& tile = shared_memory<ProductTile>();
    const int first_pair = static_cast<int>(blockIdx.x) * ROWS;
    const int first_unit = static_cast<int>(blockIdx.y) * COLUMNS;
    Sums sums = {};
    for (int first = 0; first < s.classes; first += DEPTH) {
        fill_left_along_depth(tile, [&](int row, int d) {
            const int i = first_pair + row, j = first + d;
            return i < count && j < s.classes ? g[row_of(i, s.classes) + j] : 0.0f;
        });
        fill_right_along_depth(tile, [&](int d, int column) {
            const int k = first_unit + column, j = first + d;
            return k < s.d_mlp && j < s.classes ? t.W_L[k * s.classes + j] : 0.0f;
        });
        multiply(tile, sums);
    }
    for_each_sum(count, s.d_mlp, [&](int r, int64_t row, int c, int column) {
        float& unit = post[row_of(row, s.d_mlp) + column];
        unit = unit <= 0.0f ? 0.0f : sums[r][c];  // this way round a NaN stays
    });
}

// out[item] = sum of `parts` arrays of `items`, in their order.
__global__ void add_parts(const float* partial, int parts, int64_t items, float* out) {
    const int64_t item = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (item >= items) return;
    double total = 0.0;
    for (int part = 0; part < parts; ++part) total += partial[part * items + item];
    out[item] = static_cast<float>(total);
}

// One side of a mixture's gradient. rows: d_out [n, width]; weights: alpha0 or alpha1 of pair i and
// head h at weights[4 * (i * H + h)]. Block (v, y) sums the pairs of group v, thread by thread one
// k: table[v, h, k] = sum_i weights_ih rows[i, k]; row_sums[v, k] = sum_i rows[i, k] (may be null).
__global__ void table_gradient(int heads, int width, Groups groups, const float* weights,
                               const float* rows, float* table, float* row_sums) {
    const int value = static_cast<int>(blockIdx.x);
    const int k = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
    if (k >= width) return;
    const int begin = groups.starts[value], end = groups.starts[value + 1];
    for (int first = 0; first < heads; first += HEADS_AT_ONCE) {
        float of_head[HEADS_AT_ONCE] = {}, plain = 0.0f;
        for (int at = begin; at < end; ++at) {
            const int64_t i = groups.order[at];
            const float x = rows[row_of(i, width) + k];
            plain += x;
#pragma unroll
            for (int q = 0; q < HEADS_AT_ONCE; ++q)
                if (first + q < heads)
                    of_head[q] += weights[4 * (row_of(i, heads) + first + q)] * x;
        }
#pragma unroll
        for (int q = 0; q < HEADS_AT_ONCE; ++q)
            if (first + q < heads)
                table[row_of(row_of(value, heads) + first + q, width) + k] = of_head[q];
        if (row_sums && first == 0) row_sums[row_of(value, width) + k] = plain;
    }
}

// Adds this lane's share of d_out . first[a, h] and d_out . second[b, h] for up to HEADS_AT_ONCE
// heads.
__device__ inline void add_alpha_gradient(const Mixture& m, Pair pair, int first_head,
                                          const float* d_out, float (&d0)[HEADS_AT_ONCE],
                                          float (&d1)[HEADS_AT_ONCE]) {
    const float* first = m.first + row_of(row_of(pair.a, m.heads) + first_head, m.width);
    const float* second = m.second + row_of(row_of(pair.b, m.heads) + first_head, m.width);
    for (int k = lane(); k < m.width; k += WARP) {
#pragma unroll
        for (int q = 0; q < HEADS_AT_ONCE; ++q)
            if (first_head + q < m.heads) {
                d0[q] += d_out[k] * first[row_of(q, m.width) + k];
                d1[q] += d_out[k] * second[row_of(q, m.width) + k];
            }
    }
}

// d_scores [n, H]: this pair's gradients of s0, s1, s2 through the softmax, whose third weight no
// table multiplies; a warp a pair.
__global__ void score_gradient_of_pairs(Sizes s, Tables t, const int64_t* numbers, int count,
                                        const float4* alpha, const float* d_pre, const float* g,
                                        float4* d_scores) {
    const int i = static_cast<int>(blockIdx.x) * WARPS + warp();
    if (i >= count) return;  // the whole warp
    const Pair pair = pair_at(numbers, i, s.p);
    const Mixture hidden{t.pre_bias, t.A, t.B, s.heads, s.d_mlp};
    const Mixture direct{t.logit_bias, t.C, t.D, s.heads, s.classes};
    for (int first = 0; first < s.heads; first += HEADS_AT_ONCE) {
        float d0[HEADS_AT_ONCE] = {}, d1[HEADS_AT_ONCE] = {};
        add_alpha_gradient(hidden, pair, first, d_pre + row_of(i, s.d_mlp), d0, d1);
        add_alpha_gradient(direct, pair, first, g + row_of(i, s.classes), d0, d1);
#pragma unroll
        for (int q = 0; q < HEADS_AT_ONCE; ++q) {
            const float d_alpha0 = warp_sum(d0[q]), d_alpha1 = warp_sum(d1[q]);
            if (lane() != q || first + q >= s.heads) continue;
            const int64_t item = row_of(i, s.heads) + first + q;
            const float4 w = alpha[item];
            const float mean = w.x * d_alpha0 + w.y * d_alpha1;
            d_scores[item] = {w.x * (d_alpha0 - mean), w.y * (d_alpha1 - mean), -w.z * mean, 0.0f};
        }
    }
}

// s0[v, h] and this value's part of s2 [p, H] from the pairs with a = v; s1[v, h] from those with b
// = v.
__global__ void score_gradient(Sizes s, GroupsByKey groups, const float4* d_scores, float* s0,
                               float* s1, float* s2_parts) {
    const int value = static_cast<int>(blockIdx.x);
    const int h = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
    if (h >= s.heads) return;
    const Groups by_a = groups.a, by_b = groups.b;
    float of_first = 0.0f, of_second = 0.0f, of_equals = 0.0f;
    for (int at = by_a.starts[value]; at < by_a.starts[value + 1]; ++at) {
        const float4 d = d_scores[row_of(by_a.order[at], s.heads) + h];
        of_first += d.x;
        of_equals += d.z;
    }
    for (int at = by_b.starts[value]; at < by_b.starts[value + 1]; ++at)
        of_second += d_scores[row_of(by_b.order[at], s.heads) + h].y;
    s0[row_of(value, s.heads) + h] = of_first;
    s1[row_of(value, s.heads) + h] = of_second;
    s2_parts[row_of(value, s.heads) + h] = of_equals;
}

// ---------------------------------------------------------------- surfaces

// surfaces [p * p, n] = post of the n neurons at every pair number.
__global__ void surfaces_of_neurons(Sizes s, Tables t, const int64_t* neurons, int neuron_count,
                                    const float4* alpha, float* surfaces) {
    const int j = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
    if (j >= neuron_count) return;
    const PairRows rows(nullptr, static_cast<int>(blockIdx.x) * PAIRS_PER_THREAD, s.p * s.p, s.p);
    const Mixture hidden{t.pre_bias, t.A, t.B, s.heads, s.d_mlp};
    float values[ROWS_PER_WARP];
    mix(hidden, rows, alpha, static_cast<int>(neurons[j]), values);
    for (int r = 0; r < ROWS_PER_WARP; ++r)
        if (rows.has(r)) surfaces[row_of(rows.first + r, neuron_count) + j] = relu(values[r]);
}
static_assert(PAIRS_PER_THREAD == ROWS_PER_WARP,
              "a thread of surfaces_of_neurons has one PairRows");

}  // namespace grid::cuda
