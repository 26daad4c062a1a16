// The whole C++ API of the fused kernel: the folded model evaluated on the grid of
// operand pairs. Raw pointers, sizes and counts; nothing here knows Python, or the task: the target
// of every pair is data.
//
// Pair number n = a * p + b stands for the operands (a, b). Every table is float32, row-major and
// dense, in the shape that TABLES says:
//
//   alpha_h(a, b) = softmax(s0[a, h], s1[b, h], s2[h])
//   pre(a, b)     = pre_bias + sum_h alpha0_h A[a, h] + alpha1_h B[b, h]
//   post          = relu(pre)
//   logits(a, b)  = post W_L + logit_bias + sum_h alpha0_h C[a, h] + alpha1_h D[b, h]
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace grid {

struct Shape {
    int64_t p;        // operands 0 .. p - 1
    int64_t heads;    // H
    int64_t d_mlp;    // K
    int64_t classes;  // c
};

template <typename Sizes>
using Extent = int64_t Sizes::*;  // nvcc's host code warns of the type where it is not named

// An extent by name, and an array by its extents, as a Shape or another struct of sizes has them.
template <typename Sizes>
struct AxisOf {
    const char* name;
    Extent<Sizes> size;
};

template <typename Sizes>
struct ArrayOf {
    const char* name;
    const AxisOf<Sizes>* axes[3];  // null beyond the last

    int64_t size(const Sizes& sizes) const {
        int64_t product = 1;
        for (const AxisOf<Sizes>* axis : axes) product *= axis ? sizes.*axis->size : 1;
        return product;
    }
};

using Axis = AxisOf<Shape>;
namespace axis {
inline constexpr Axis p{"p", &Shape::p}, heads{"H", &Shape::heads}, d_mlp{"d_mlp", &Shape::d_mlp},
    classes{"classes", &Shape::classes};
}

using Table = ArrayOf<Shape>;
inline constexpr Table TABLES[] = {
    {"s0", {&axis::p, &axis::heads}},
    {"s1", {&axis::p, &axis::heads}},
    {"s2", {&axis::heads}},
    {"A", {&axis::p, &axis::heads, &axis::d_mlp}},
    {"B", {&axis::p, &axis::heads, &axis::d_mlp}},
    {"pre_bias", {&axis::d_mlp}},
    {"W_L", {&axis::d_mlp, &axis::classes}},
    {"C", {&axis::p, &axis::heads, &axis::classes}},
    {"D", {&axis::p, &axis::heads, &axis::classes}},
    {"logit_bias", {&axis::classes}},
};
inline constexpr size_t TABLE_COUNT = sizeof TABLES / sizeof *TABLES;

// T is `const float` for the folded model and `float` for its gradients.
template <typename T>
struct TablesOf {
    T *s0, *s1, *s2, *A, *B, *pre_bias, *W_L, *C, *D, *logit_bias;
};

// The same as an array in the order of TABLES, and back.
template <typename T>
using TableArray = std::array<T*, TABLE_COUNT>;
template <typename T>
TableArray<T> array_of(const TablesOf<T>& t) {
    return {t.s0, t.s1, t.s2, t.A, t.B, t.pre_bias, t.W_L, t.C, t.D, t.logit_bias};
}
template <typename T>
TablesOf<T> tables_of(const TableArray<T>& t) {
    return {t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9]};
}

using Tables = TablesOf<const float>;
using Gradients = TablesOf<float>;

struct Pairs {
    const int64_t* numbers;  // [count], each in [0, p * p)
    const int64_t* targets;  // [count], each in [0, c)
    int64_t count;
};

struct Score {
    double loss_sum = 0.0;  // nats, summed over the pairs
    int64_t correct = 0;    // pairs whose loss is a number and first largest logit the target
};

// How the caller wants it computed; the result is bit-identical for equal plans.
struct Plan {
    std::string implementation;  // one of implementations()
    int threads;                 // >= 1, the calling thread included
};

struct Implementation {
    std::string name;
    std::string precision;  // the format whose rounding its errors are held to
    bool automatic;         // may be chosen unasked
};

// Those that this processor can run, best first; "reference" is the last.
std::vector<Implementation> implementations();

// Cross-entropy and accuracy of the pairs. `logits` [count, c] and `class_sums` [c, c] may be null;
// class_sums gets += the logits of each pair in the row of its target.
Score evaluate(const Shape&, const Tables&, const Pairs&, const Plan&, float* logits,
               double* class_sums);

// The same, and the gradient of scale * loss_sum with respect to every table, overwritten.
Score pair_loss(const Shape&, const Tables&, const Pairs&, const Plan&, float scale,
                const Gradients&, double* class_sums);

// post of the chosen neurons at every pair: surfaces [p, p, count].
void activations(const Shape&, const Tables&, const int64_t* neurons, int64_t count, const Plan&,
                 float* surfaces);

}  // namespace grid
