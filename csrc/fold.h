// The transformer's parameters, their folding into the ten tables of grid.h, and a training step from
// the one to the other and back. grokking/model/fold.py has the mathematics.
#pragma once

#include "grid.h"

namespace grid {

struct ModelShape {
    int64_t p, d_model, heads, d_head, d_mlp, classes;
    int64_t tokens = p + 1;  // the operands, then `=`
    int64_t positions = 3;   // a, b, =

    Shape tables() const { return {p, heads, d_mlp, classes}; }
};

namespace model_axis {
using Axis = AxisOf<ModelShape>;
inline constexpr Axis tokens{"p + 1", &ModelShape::tokens},
    positions{"positions", &ModelShape::positions}, d_model{"d_model", &ModelShape::d_model},
    heads{"H", &ModelShape::heads}, d_head{"d_head", &ModelShape::d_head},
    d_mlp{"d_mlp", &ModelShape::d_mlp}, classes{"classes", &ModelShape::classes};
}

inline constexpr ArrayOf<ModelShape> PARAMETERS[] = {
    {"W_E", {&model_axis::tokens, &model_axis::d_model}},
    {"W_pos", {&model_axis::positions, &model_axis::d_model}},
    {"W_Q", {&model_axis::heads, &model_axis::d_model, &model_axis::d_head}},
    {"W_K", {&model_axis::heads, &model_axis::d_model, &model_axis::d_head}},
    {"W_V", {&model_axis::heads, &model_axis::d_model, &model_axis::d_head}},
    {"W_O", {&model_axis::heads, &model_axis::d_head, &model_axis::d_model}},
    {"W_in", {&model_axis::d_model, &model_axis::d_mlp}},
    {"b_in", {&model_axis::d_mlp}},
    {"W_out", {&model_axis::d_mlp, &model_axis::d_model}},
    {"b_out", {&model_axis::d_model}},
    {"W_U", {&model_axis::d_model, &model_axis::classes}},
};
inline constexpr size_t PARAMETER_COUNT = sizeof PARAMETERS / sizeof *PARAMETERS;

// T is `const float` for the weights and `float` for their gradients; in the order of PARAMETERS.
template <typename T>
struct ParametersOf {
    T *W_E, *W_pos, *W_Q, *W_K, *W_V, *W_O, *W_in, *b_in, *W_out, *b_out, *W_U;
};

template <typename T>
using ParameterArray = std::array<T*, PARAMETER_COUNT>;
template <typename T>
ParametersOf<T> parameters_of(const ParameterArray<T>& w) {
    return {w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10]};
}

using Parameters = ParametersOf<const float>;
using ParameterGradients = ParametersOf<float>;

// The tables of these parameters, overwritten.
void fold(const ModelShape&, const Parameters&, const Plan&, const TablesOf<float>& tables);

// pair_loss of the folded model, with the gradient of scale * loss_sum with respect to every parameter.
// The tables, which are filled on the way, are the caller's unless `tables` is null.
Score training_step(const ModelShape&, const Parameters&, const Pairs&, const Plan&, float scale,
                    const ParameterGradients&, const TablesOf<float>* tables, double* class_sums);

}  // namespace grid
