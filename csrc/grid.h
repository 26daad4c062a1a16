// The whole C++ API of the fused kernel: the folded model evaluated on the grid of
// operand pairs. Raw pointers, sizes and counts; nothing here knows Python.
//
// Pair number n = a * p + b stands for the operands (a, b). Every table is float32,
// row-major and dense, in the shapes written beside it (H heads, K = d_mlp, c classes):
//
//   alpha_h(a, b) = softmax(s0[a, h], s1[b, h], s2[h])
//   pre(a, b)     = pre_bias + sum_h alpha0_h A[a, h] + alpha1_h B[b, h]
//   post          = relu(pre)
//   logits(a, b)  = post W_L + logit_bias + sum_h alpha0_h C[a, h] + alpha1_h D[b, h]
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace grid {

struct Shape {
    int64_t p;        // modulus: operands 0 .. p - 1
    int64_t heads;    // H
    int64_t d_mlp;    // K
    int64_t classes;  // c
};

// T is `const float` for the folded model and `float` for its gradients.
template <typename T>
struct TablesOf {
    T* s0;          // [p, H]
    T* s1;          // [p, H]
    T* s2;          // [H]
    T* A;           // [p, H, K]
    T* B;           // [p, H, K]
    T* pre_bias;    // [K]
    T* W_L;         // [K, c]
    T* C;           // [p, H, c]
    T* D;           // [p, H, c]
    T* logit_bias;  // [c]
};
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

// Names of the implementations that this processor can run, best first; "reference" is the last.
std::vector<std::string> implementations();

// Cross-entropy and accuracy of the pairs. `logits` [count, c] and `class_sums` [p, c] may be null;
// class_sums gets += the logits of each pair in row (a + b) mod p.
Score evaluate(const Shape&, const Tables&, const Pairs&, const Plan&, float* logits,
               double* class_sums);

// The same, and the gradient of scale * loss_sum with respect to every table, overwritten.
Score pair_loss(const Shape&, const Tables&, const Pairs&, const Plan&, float scale,
                const Gradients&, double* class_sums);

// post of the chosen neurons at every pair: surfaces [p, p, count].
void activations(const Shape&, const Tables&, const int64_t* neurons, int64_t count, const Plan&,
                 float* surfaces);

}  // namespace grid
