// The CUDA half of the module: grid_cuda.h for integer addresses of device memory, sizes and a
// stream. grokking/kernels/cuda.py checks shapes, dtypes and ranges, which only torch can see.
#include "bindings_cuda.h"

#include <pybind11/stl.h>

#include <array>
#include <stdexcept>

#include "grid_cuda.h"

namespace py = pybind11;

namespace {

using Address = uintptr_t;
using Addresses = std::array<Address, grid::TABLE_COUNT>;  // in the order of grid::TABLES
using Sizes = std::array<int64_t, 4>;                      // p, H, d_mlp, classes
using Place = std::array<Address, 3>;                      // device index, stream, scratch

template <typename T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

grid::Shape shape_of(const Sizes& s) { return {s[0], s[1], s[2], s[3]}; }

template <typename T>
grid::TablesOf<T> tables_of(const Addresses& addresses) {
    grid::TableArray<T> tables;
    for (size_t i = 0; i < grid::TABLE_COUNT; ++i) tables[i] = at<T>(addresses[i]);
    return grid::tables_of(tables);
}

grid::cuda::Call call_of(const Place& place) {
    return {static_cast<int>(place[0]), at<void>(place[1]), at<void>(place[2])};
}

void check(int error) {
    if (error != 0)
        throw std::runtime_error("the CUDA kernel failed: " + grid::cuda::error_text(error));
}

void evaluate(const Place& place, const Sizes& sizes, const Addresses& tables, Address pairs,
              Address targets, int64_t count, Address score, Address logits, Address class_sums) {
    py::gil_scoped_release unlocked;
    check(grid::cuda::evaluate(call_of(place), shape_of(sizes), tables_of<const float>(tables),
                               {at<int64_t>(pairs), at<int64_t>(targets), count}, at<double>(score),
                               at<float>(logits), at<double>(class_sums)));
}

void pair_loss(const Place& place, const Sizes& sizes, const Addresses& tables, Address pairs,
               Address targets, int64_t count, float scale, Address score,
               const Addresses& gradients, Address class_sums) {
    py::gil_scoped_release unlocked;
    check(grid::cuda::pair_loss(call_of(place), shape_of(sizes), tables_of<const float>(tables),
                                {at<int64_t>(pairs), at<int64_t>(targets), count}, scale,
                                at<double>(score), tables_of<float>(gradients),
                                at<double>(class_sums)));
}

void activations(const Place& place, const Sizes& sizes, const Addresses& tables, Address neurons,
                 int64_t count, Address surfaces) {
    py::gil_scoped_release unlocked;
    check(grid::cuda::activations(call_of(place), shape_of(sizes), tables_of<const float>(tables),
                                  at<int64_t>(neurons), count, at<float>(surfaces)));
}

}  // namespace

void bind_cuda(py::module_& module) {
    module.def(
        "cuda_devices",
        [] {
            const grid::cuda::Devices found = grid::cuda::devices();
            return std::pair(found.count, found.reason);
        },
        "(number of devices, why there are none).");
    module.def(
        "cuda_evaluate_scratch",
        [](const Sizes& s, int64_t n) { return grid::cuda::evaluate_scratch(shape_of(s), n); },
        "Bytes of scratch memory that cuda_evaluate needs for n pairs.");
    module.def(
        "cuda_pair_loss_scratch",
        [](const Sizes& s, int64_t n) { return grid::cuda::pair_loss_scratch(shape_of(s), n); },
        "Bytes of scratch memory that cuda_pair_loss needs for n pairs.");
    module.def(
        "cuda_activations_scratch",
        [](const Sizes& s) { return grid::cuda::activations_scratch(shape_of(s)); },
        "Bytes of scratch memory that cuda_activations needs.");
    module.def("cuda_evaluate", &evaluate,
               "Fills score [2] and, unless 0, logits [n, c]; adds to class_sums [c, c].");
    module.def("cuda_pair_loss", &pair_loss,
               "Fills score [2] and the gradients of scale * the sum; adds to class_sums [c, c] "
               "unless 0.");
    module.def("cuda_activations", &activations, "Fills surfaces [p, p, n] of the chosen neurons.");
}
