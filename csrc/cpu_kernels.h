// What one implementation provides to cpu.cpp, which owns memory, threads and the order of pairs.
//
// A kernel allocates nothing and calls no inline library function: its object file may hold
// instructions that another machine lacks, and the linker must not pick those for others.
#pragma once

#include "grid.h"

namespace grid {

// The share of one thread: positions in the list of pairs, in an order that makes neighbours share
// operands.
struct Batch {
    const Pairs& pairs;
    const int32_t* order;  // [count]
    int64_t count;

    int64_t number(int64_t i) const { return pairs.numbers[order[i]]; }
    int64_t target(int64_t i) const { return pairs.targets[order[i]]; }
};

struct Kernels {
    const char* name;
    const char* precision;
    bool automatic;
    bool (*supported)();

    // Floats of the tables as the kernels read them, shared by all threads after `pack`.
    size_t (*packed_size)(const Shape&, bool backward);
    void (*pack)(const Shape&, const Tables&, bool backward, float* packed);

    // Floats of one thread's scratch memory: tiles, and with `backward` gradient sums.
    size_t (*scratch_size)(const Shape&, bool backward);

    // Score of the batch; `logits` is the whole array, `class_sums` this thread's own.
    Score (*evaluate)(const Shape&, const Tables&, const float* packed, const Batch&,
                      float* scratch, float* logits, double* class_sums);

    // The same, with the gradients of scale * loss_sum as sums in `scratch`. One thread, the first,
    // is given the caller's gradients as `home` and may keep sums there.
    Score (*pair_loss)(const Shape&, const Tables&, const float* packed, const Batch&, float scale,
                       float* scratch, const Gradients* home, double* class_sums);

    // Adds up the threads' sums into the caller's gradients.
    void (*reduce)(const Shape&, float* const* scratch, int threads, const Gradients&);

    // post of every neuron at the pairs of the batch, into the whole array surfaces [p * p, d_mlp].
    void (*activations)(const Shape&, const Tables&, const float* packed, const Batch&,
                        float* scratch, float* surfaces);
};

}  // namespace grid
