// What one implementation provides to cpu.cpp, which owns memory, threads and the order of pairs.
//
// A kernel allocates nothing and calls no inline library function: its object file may hold
// instructions that another machine lacks, and the linker must not pick those for others.
#pragma once

#include "fold.h"

namespace grid {

namespace {  // no inline function may be shared between the targets

struct Range {
    int64_t begin, end;
    int64_t size() const { return end - begin; }
};

// The part-th of `parts` nearly equal shares of [0, count).
inline Range share(int64_t count, int part, int parts) {
    return {count * part / parts, count * (part + 1) / parts};
}

}  // namespace

// The share of one thread: positions in the list of pairs, in an order that makes neighbours share
// operands.
struct Batch {
    const Pairs& pairs;
    const int32_t* order;  // [count]
    int64_t count;

    int64_t number(int64_t i) const { return pairs.numbers[order[i]]; }
    int64_t target(int64_t i) const { return pairs.targets[order[i]]; }
};

// The folding and its gradient go in stages: `parts` calls of each, one a thread, before the next.
constexpr int FOLD_STAGES = 2, UNFOLD_STAGES = 3;

struct Stage {
    int number, part, parts;
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

    // Floats of memory for `fold`, which `unfold` reads; both see all of it at every stage.
    size_t (*fold_size)(const ModelShape&, int parts);

    // The tables of the parameters.
    void (*fold)(const ModelShape&, const Parameters&, const Stage&, float* memory,
                 const TablesOf<float>&);

    // From the tables' gradients to those of the parameters.
    void (*unfold)(const ModelShape&, const Parameters&, const Stage&, float* memory,
                   const Tables& gradients, const ParameterGradients&);
};

}  // namespace grid
