// The kernel on a CUDA device. Like grid.h, with device pointers, a stream, and scratch memory that
// the caller provides; nothing waits for the device. Functions return 0 or a CUDA error code.
#pragma once

#include <string>

#include "grid.h"

namespace grid::cuda {

struct Devices {
    int count;           // devices a driver offers
    std::string reason;  // why there are none
};
Devices devices();

std::string error_text(int code);

// Where a call runs. `scratch` is aligned to 256 bytes, of the size the function's namesake says,
// and free for others as soon as the stream has passed the call.
struct Call {
    int device;
    void* stream;  // cudaStream_t
    void* scratch;
};

size_t evaluate_scratch(const Shape&, int64_t count);
size_t pair_loss_scratch(const Shape&, int64_t count);
size_t activations_scratch(const Shape&);

// score: double [2], sum of the losses in nats and number correct. `logits` [count, c] and
// `class_sums` [c, c] may be null; class_sums gets += the logits of each pair in the row of its
// target.
int evaluate(const Call&, const Shape&, const Tables&, const Pairs&, double* score, float* logits,
             double* class_sums);

// The same score, and the gradient of scale * loss_sum with respect to every table, overwritten.
int pair_loss(const Call&, const Shape&, const Tables&, const Pairs&, float scale, double* score,
              const Gradients&, double* class_sums);

// post of the chosen neurons at every pair: surfaces [p, p, count].
int activations(const Call&, const Shape&, const Tables&, const int64_t* neurons, int64_t count,
                float* surfaces);

}  // namespace grid::cuda
