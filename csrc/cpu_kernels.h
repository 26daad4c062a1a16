// What one implementation provides to cpu.cpp, which owns memory and threads.
//
// A kernel allocates nothing and calls no inline library function: its object file may hold
// instructions that another machine lacks, and the linker must not pick those for others.
#pragma once

#include "grid.h"

namespace grid {

struct Kernels {
    const char* name;
    bool (*supported)();

    // Floats of the tables as the kernels read them, shared by all threads after `pack`.
    size_t (*packed_size)(const Shape&, bool backward);
    void (*pack)(const Shape&, const Tables&, bool backward, float* packed);

    // Floats of one thread's scratch memory: tiles, and with `backward` gradient sums.
    size_t (*scratch_size)(const Shape&, bool backward);

    // Score of the pairs [begin, end); `logits` is the whole array, `class_sums` this thread's own.
    Score (*evaluate)(const Shape&, const Tables&, const float* packed, const Pairs&, int64_t begin,
                      int64_t end, float* scratch, float* logits, double* class_sums);

    // The same, adding the gradients to the sums in `scratch`, which the caller has zeroed.
    Score (*pair_loss)(const Shape&, const Tables&, const float* packed, const Pairs&,
                       int64_t begin, int64_t end, float scale, float* scratch);

    // Adds up the threads' sums into dense gradients.
    void (*reduce)(const Shape&, float* const* scratch, int threads, const Gradients&);

    // post of every neuron for the pair numbers [begin, end) of surfaces [p * p, d_mlp].
    void (*activations)(const Shape&, const Tables&, const float* packed, int64_t begin,
                        int64_t end, float* scratch, float* surfaces);
};

}  // namespace grid
