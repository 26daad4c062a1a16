// Knows Python, as bindings_cuda.cpp does: checks every argument, releases the GIL, calls grid.h.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>

#include "fold.h"
#ifdef GRID_CUDA
#include "bindings_cuda.h"
#endif

namespace py = pybind11;

namespace {

[[noreturn]] void refuse(const std::string& message) { throw py::value_error(message); }

template <typename T>
const char* dtype_name() {
    if (std::is_same_v<T, float>) return "float32";
    if (std::is_same_v<T, double>) return "float64";
    return "int64";
}

std::string shape_text(const py::array& array) {
    std::string text = "(";
    for (py::ssize_t i = 0; i < array.ndim(); ++i)
        text += (i ? ", " : "") + std::to_string(array.shape(i));
    return text + ")";
}

struct Dimension {
    const char* name;
    int64_t size;
};

using Dimensions = std::vector<Dimension>;

std::string expected_text(const Dimensions& dimensions) {
    std::string text = "(";
    for (const Dimension& d : dimensions)
        text += std::string(text.size() > 1 ? ", " : "") + d.name + "=" + std::to_string(d.size);
    return text + ")";
}

// The array's data, or ValueError with what it is and what was expected.
template <typename T>
T* data_of(const char* name, py::handle object, const Dimensions& dimensions,
           bool writeable = false) {
    if (!py::isinstance<py::array>(object))
        refuse(std::string(name) + " is " + py::str(py::type::of(object)).cast<std::string>() +
               ", expected a numpy array");
    const auto array = py::reinterpret_borrow<py::array>(object);
    if (!array.dtype().equal(py::dtype::of<T>()))
        refuse(std::string(name) + " is " + py::str(array.dtype()).cast<std::string>() +
               ", expected " + dtype_name<T>());
    bool same = array.ndim() == static_cast<py::ssize_t>(dimensions.size());
    py::ssize_t i = 0;
    for (const Dimension& d : dimensions) same = same && array.shape(i++) == d.size;
    if (!same) refuse(std::string(name) + " is " + shape_text(array) + ", expected " +
                      expected_text(dimensions));
    if (!(array.flags() & py::array::c_style))
        refuse(std::string(name) + " is strided, expected C-contiguous");
    if (writeable && !array.writeable())
        refuse(std::string(name) + " is read-only, expected writeable");
    if (reinterpret_cast<uintptr_t>(array.data()) % alignof(T) != 0)
        refuse(std::string(name) + " is not aligned to " + std::to_string(alignof(T)) + " bytes");
    return static_cast<T*>(const_cast<void*>(array.data()));
}

int64_t extent(const char* name, const py::array& array, py::ssize_t dimensions,
               py::ssize_t which) {
    if (array.ndim() != dimensions)
        refuse(std::string(name) + " is " + shape_text(array) + ", expected " +
               std::to_string(dimensions) + " dimensions");
    return array.shape(which);
}

using Arrays = std::array<py::array, grid::TABLE_COUNT>;  // in the order of grid::TABLES

// p, H, d_mlp and c as the first table that holds each says.
grid::Shape shape_of(const Arrays& tables) {
    const grid::Shape shape{extent("s0", tables[0], 2, 0), extent("s0", tables[0], 2, 1),
                            extent("W_L", tables[6], 2, 0), extent("W_L", tables[6], 2, 1)};
    if (shape.p < 1 || shape.heads < 1 || shape.d_mlp < 1 || shape.classes < 1)
        refuse("tables have p=" + std::to_string(shape.p) + ", H=" + std::to_string(shape.heads) +
               ", d_mlp=" + std::to_string(shape.d_mlp) + ", classes=" +
               std::to_string(shape.classes) + ", expected at least 1 of each");
    return shape;
}

Dimension dimension(const grid::Shape& s, const grid::Axis& axis) {
    return {axis.name, s.*axis.size};
}

// Each array's data, in the order of `expected`.
template <typename T, typename Sizes, size_t count>
std::array<T*, count> all_data_of(const Sizes& sizes, const grid::ArrayOf<Sizes> (&expected)[count],
                                  const std::array<py::array, count>& arrays) {
    std::array<T*, count> data;
    for (size_t i = 0; i < count; ++i) {
        Dimensions dimensions;
        for (const grid::AxisOf<Sizes>* axis : expected[i].axes)
            if (axis) dimensions.push_back({axis->name, sizes.*axis->size});
        data[i] = data_of<std::remove_const_t<T>>(expected[i].name, arrays[i], dimensions,
                                                  !std::is_const_v<T>);
    }
    return data;
}

template <typename T>
grid::TablesOf<T> tables_of(const grid::Shape& s, const Arrays& arrays) {
    return grid::tables_of(all_data_of<T>(s, grid::TABLES, arrays));
}

using Weights = std::array<py::array, grid::PARAMETER_COUNT>;  // in the order of grid::PARAMETERS

// The sizes as the first parameter that holds each says.
grid::ModelShape model_shape_of(const Weights& weights) {
    const grid::ModelShape m{extent("W_E", weights[0], 2, 0) - 1, extent("W_E", weights[0], 2, 1),
                             extent("W_Q", weights[2], 3, 0),     extent("W_Q", weights[2], 3, 2),
                             extent("b_in", weights[7], 1, 0),    extent("W_U", weights[10], 2, 1)};
    for (const int64_t size : {m.p, m.d_model, m.heads, m.d_head, m.d_mlp, m.classes})
        if (size < 1)
            refuse("parameters have p=" + std::to_string(m.p) + ", d_model=" +
                   std::to_string(m.d_model) + ", H=" + std::to_string(m.heads) + ", d_head=" +
                   std::to_string(m.d_head) + ", d_mlp=" + std::to_string(m.d_mlp) + ", classes=" +
                   std::to_string(m.classes) + ", expected at least 1 of each");
    return m;
}

template <typename T>
grid::ParametersOf<T> parameters_of(const grid::ModelShape& m, const Weights& arrays) {
    return grid::parameters_of(all_data_of<T>(m, grid::PARAMETERS, arrays));
}

void check_range(const char* name, const int64_t* values, int64_t count, int64_t end) {
    for (int64_t i = 0; i < count; ++i)
        if (values[i] < 0 || values[i] >= end)
            refuse(std::string(name) + "[" + std::to_string(i) + "] is " +
                   std::to_string(values[i]) + ", expected 0 <= value < " + std::to_string(end));
}

grid::Pairs pairs_of(const grid::Shape& s, const py::array& pairs, const py::array& targets) {
    const int64_t count = extent("pairs", pairs, 1, 0);
    const grid::Pairs checked{data_of<int64_t>("pairs", pairs, {{"n", count}}),
                              data_of<int64_t>("targets", targets, {{"n", count}}), count};
    check_range("pairs", checked.numbers, count, s.p * s.p);
    check_range("targets", checked.targets, count, s.classes);
    return checked;
}

grid::Plan plan_of(const std::string& implementation, int threads) {
    if (threads < 1) refuse("threads is " + std::to_string(threads) + ", expected at least 1");
    return {implementation, threads};
}

template <typename T>
T* optional_data(const char* name, const py::object& array, const Dimensions& dimensions) {
    return array.is_none() ? nullptr : data_of<T>(name, array, dimensions, true);
}

std::pair<double, int64_t> evaluate(const Arrays& arrays, const py::array& pairs,
                                    const py::array& targets, const std::string& implementation,
                                    int threads, const py::object& logits,
                                    const py::object& class_sums) {
    const grid::Shape s = shape_of(arrays);
    const grid::Tables tables = tables_of<const float>(s, arrays);
    const grid::Pairs chosen = pairs_of(s, pairs, targets);
    const grid::Plan plan = plan_of(implementation, threads);
    const Dimension c = dimension(s, grid::axis::classes);
    float* logits_out = optional_data<float>("logits", logits, {{"n", chosen.count}, c});
    double* sums_out = optional_data<double>("class_sums", class_sums, {c, c});
    py::gil_scoped_release unlocked;
    const grid::Score score = grid::evaluate(s, tables, chosen, plan, logits_out, sums_out);
    return {score.loss_sum, score.correct};
}

std::pair<double, int64_t> pair_loss(const Arrays& arrays, const py::array& pairs,
                                     const py::array& targets, const std::string& implementation,
                                     int threads, float scale, const Arrays& gradients,
                                     const py::object& class_sums) {
    const grid::Shape s = shape_of(arrays);
    const grid::Tables tables = tables_of<const float>(s, arrays);
    const grid::Gradients out = tables_of<float>(s, gradients);
    const grid::Pairs chosen = pairs_of(s, pairs, targets);
    const grid::Plan plan = plan_of(implementation, threads);
    const Dimension c = dimension(s, grid::axis::classes);
    double* sums_out = optional_data<double>("class_sums", class_sums, {c, c});
    py::gil_scoped_release unlocked;
    const grid::Score score = grid::pair_loss(s, tables, chosen, plan, scale, out, sums_out);
    return {score.loss_sum, score.correct};
}

void fold(const Weights& weights, const std::string& implementation, int threads,
          const Arrays& tables) {
    const grid::ModelShape m = model_shape_of(weights);
    const grid::Parameters parameters = parameters_of<const float>(m, weights);
    const grid::Gradients out = tables_of<float>(m.tables(), tables);
    const grid::Plan plan = plan_of(implementation, threads);
    py::gil_scoped_release unlocked;
    grid::fold(m, parameters, plan, out);
}

std::pair<double, int64_t> training_step(const Weights& weights, const py::array& pairs,
                                         const py::array& targets,
                                         const std::string& implementation, int threads,
                                         float scale, const Weights& gradients,
                                         const std::optional<Arrays>& tables,
                                         const py::object& class_sums) {
    const grid::ModelShape m = model_shape_of(weights);
    const grid::Parameters parameters = parameters_of<const float>(m, weights);
    const grid::ParameterGradients out = parameters_of<float>(m, gradients);
    const grid::Pairs chosen = pairs_of(m.tables(), pairs, targets);
    const grid::Plan plan = plan_of(implementation, threads);
    const Dimension c = dimension(m.tables(), grid::axis::classes);
    double* sums_out = optional_data<double>("class_sums", class_sums, {c, c});
    std::optional<grid::Gradients> tables_out;
    if (tables) tables_out = tables_of<float>(m.tables(), *tables);
    py::gil_scoped_release unlocked;
    const grid::Score score = grid::training_step(m, parameters, chosen, plan, scale, out,
                                                  tables_out ? &*tables_out : nullptr, sums_out);
    return {score.loss_sum, score.correct};
}

void activations(const Arrays& arrays, const py::array& neurons, const std::string& implementation,
                 int threads, const py::array& surfaces) {
    const grid::Shape s = shape_of(arrays);
    const grid::Tables tables = tables_of<const float>(s, arrays);
    const int64_t count = extent("neurons", neurons, 1, 0);
    const int64_t* chosen = data_of<int64_t>("neurons", neurons, {{"n", count}});
    check_range("neurons", chosen, count, s.d_mlp);
    const grid::Plan plan = plan_of(implementation, threads);
    const Dimension p = dimension(s, grid::axis::p);
    float* out = data_of<float>("surfaces", surfaces, {p, p, {"n", count}}, true);
    py::gil_scoped_release unlocked;
    grid::activations(s, tables, chosen, count, plan, out);
}

}  // namespace

PYBIND11_MODULE(_C, module) {
    module.doc() = "The fused kernel over the grid of operand pairs (csrc/grid.h).";
    module.def(
        "implementations",
        [] {
            py::list found;
            for (const grid::Implementation& one : grid::implementations())
                found.append(py::make_tuple(one.name, one.precision, one.automatic));
            return found;
        },
        "(name, precision, may be chosen unasked) of those this processor can run, best first.");
    module.def("evaluate", &evaluate, py::arg("tables"), py::arg("pairs"), py::arg("targets"),
               py::arg("implementation"), py::arg("threads"), py::arg("logits") = py::none(),
               py::arg("class_sums") = py::none(),
               "(sum of the losses, number correct); fills logits [n, c], adds to "
               "class_sums [c, c], a row a target.");
    module.def("pair_loss", &pair_loss, py::arg("tables"), py::arg("pairs"), py::arg("targets"),
               py::arg("implementation"), py::arg("threads"), py::arg("scale"),
               py::arg("gradients"), py::arg("class_sums") = py::none(),
               "As evaluate; fills the gradients of scale * the sum of the losses.");
    module.def("fold", &fold, py::arg("parameters"), py::arg("implementation"), py::arg("threads"),
               py::arg("tables"), "Fills the tables of the transformer's parameters.");
    module.def("training_step", &training_step, py::arg("parameters"), py::arg("pairs"),
               py::arg("targets"), py::arg("implementation"), py::arg("threads"), py::arg("scale"),
               py::arg("gradients"), py::arg("tables") = py::none(),
               py::arg("class_sums") = py::none(),
               "pair_loss of the folded parameters; fills their gradients, and their tables.");
    module.def("activations", &activations, py::arg("tables"), py::arg("neurons"),
               py::arg("implementation"), py::arg("threads"), py::arg("surfaces"),
               "Fills surfaces [p, p, n] with post of the chosen neurons.");
#ifdef GRID_CUDA
    bind_cuda(module);
#endif
}
