// A problem in device memory, and every call of csrc/grid_cuda.h on it.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "observed.h"

namespace {

// An array in device memory of its own, so that a sanitizer sees its ends. Nothing has written it.
template <typename T>
struct Array {
    explicit Array(int64_t size) : size(static_cast<size_t>(size)) {
        check(cudaMalloc(reinterpret_cast<void**>(&data), this->size * sizeof(T)));
    }
    explicit Array(const std::vector<T>& values) : Array(static_cast<int64_t>(values.size())) {
        check(cudaMemcpy(data, values.data(), size * sizeof(T), cudaMemcpyHostToDevice));
    }
    ~Array() { cudaFree(data); }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    std::vector<T> on_host() const {
        std::vector<T> values(size);
        check(cudaMemcpy(values.data(), data, size * sizeof(T), cudaMemcpyDeviceToHost));
        return values;
    }
    size_t size;
    T* data = nullptr;
};

struct Problem {
    grid::Shape shape;
    int64_t train, neurons;
};

std::mt19937 randomness(1);

std::vector<float> normal(int64_t size) {
    std::normal_distribution<float> distribution;
    std::vector<float> values(static_cast<size_t>(size));
    for (float& value : values) value = distribution(randomness);
    return values;
}

std::vector<int64_t> shuffled(int64_t count) {
    std::vector<int64_t> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int64_t>(i);
    std::shuffle(values.begin(), values.end(), randomness);
    return values;
}

// The ten tables of grid.h, each an array of its own.
struct TableArrays {
    std::vector<std::unique_ptr<Array<float>>> of;

    template <typename Content>  // of an array of a given size
    TableArrays(const grid::Shape& s, Content content) {
        for (const grid::Table& table : grid::TABLES)
            of.push_back(std::make_unique<Array<float>>(content(table.size(s))));
    }
    template <typename T>
    grid::TablesOf<T> view() const {
        grid::TableArray<T> tables;
        for (size_t i = 0; i < of.size(); ++i) tables[i] = of[i]->data;
        return grid::tables_of(tables);
    }
    bool is_finite() const;
};

template <typename T>
bool is_finite(const Array<T>& array) {
    const std::vector<T> values = array.on_host();
    return std::all_of(values.begin(), values.end(), [](T value) { return std::isfinite(value); });
}

bool TableArrays::is_finite() const {
    return std::all_of(of.begin(), of.end(), [](const auto& table) { return ::is_finite(*table); });
}

// Part of the pairs, ascending, with their targets.
struct PairArrays {
    Array<int64_t> numbers, targets;

    PairArrays(std::vector<int64_t> chosen, int64_t p)
        : numbers(sorted(chosen)), targets(targets_of(chosen, p)) {}
    grid::Pairs view() const {
        return {numbers.data, targets.data, static_cast<int64_t>(numbers.size)};
    }

 private:
    static const std::vector<int64_t>& sorted(std::vector<int64_t>& values) {
        std::sort(values.begin(), values.end());
        return values;
    }
    static std::vector<int64_t> targets_of(std::vector<int64_t> values, int64_t p) {
        for (int64_t& value : values) value = (value / p + value % p) % p;
        return values;
    }
};

// Every call of grid_cuda.h on one problem, on the first device in a stream of its own.
class Calls {
 public:
    explicit Calls(const Problem& problem)
        : problem_(problem),
          pairs_(shuffled(problem.shape.p * problem.shape.p)),
          every_(pairs_, problem.shape.p),
          train_({pairs_.begin(), pairs_.begin() + problem.train}, problem.shape.p),
          rest_({pairs_.begin() + problem.train, pairs_.end()}, problem.shape.p),
          tables_(problem.shape, normal),
          gradients_(problem.shape, [](int64_t size) { return size; }),
          neurons_(chosen(problem)),
          score_(2),
          logits_(count() * problem.shape.classes),
          class_sums_(std::vector<double>(size_t(problem.shape.classes * problem.shape.classes))),
          surfaces_(count() * problem.neurons),
          for_evaluate_(int64_t(grid::cuda::evaluate_scratch(problem.shape, count()))),
          for_pair_loss_(int64_t(grid::cuda::pair_loss_scratch(problem.shape, problem.train))),
          for_activations_(int64_t(grid::cuda::activations_scratch(problem.shape))) {
        check(cudaStreamCreate(&stream_));
    }
    ~Calls() { cudaStreamDestroy(stream_); }
    Calls(const Calls&) = delete;
    Calls& operator=(const Calls&) = delete;

    int64_t count() const { return problem_.shape.p * problem_.shape.p; }
    int64_t validation() const { return count() - problem_.train; }
    cudaStream_t stream() const { return stream_; }

    void evaluate_all() { evaluate(every_, class_sums_.data); }
    void evaluate_rest() { evaluate(rest_, nullptr); }
    void pair_loss() {
        const float scale = 1.0f / static_cast<float>(problem_.train);
        check(cudaError_t(grid::cuda::pair_loss(in(for_pair_loss_), problem_.shape,
                                                tables_.view<const float>(), train_.view(), scale,
                                                score_.data, gradients_.view<float>(), nullptr)));
    }
    void activations() {
        check(cudaError_t(grid::cuda::activations(in(for_activations_), problem_.shape,
                                                  tables_.view<const float>(), neurons_.data,
                                                  problem_.neurons, surfaces_.data)));
    }
    bool results_are_finite() const {
        return is_finite(score_) && is_finite(logits_) && is_finite(class_sums_) &&
               is_finite(surfaces_) && gradients_.is_finite();
    }

 private:
    static std::vector<int64_t> chosen(const Problem& problem) {
        std::vector<int64_t> neurons = shuffled(problem.shape.d_mlp);
        neurons.resize(static_cast<size_t>(problem.neurons));
        return neurons;
    }
    grid::cuda::Call in(const Array<char>& scratch) const { return {0, stream_, scratch.data}; }
    void evaluate(const PairArrays& pairs, double* class_sums) {
        check(cudaError_t(grid::cuda::evaluate(in(for_evaluate_), problem_.shape,
                                               tables_.view<const float>(), pairs.view(),
                                               score_.data, logits_.data, class_sums)));
    }

    Problem problem_;
    std::vector<int64_t> pairs_;
    PairArrays every_, train_, rest_;
    TableArrays tables_, gradients_;
    Array<int64_t> neurons_;
    Array<double> score_;
    Array<float> logits_;
    Array<double> class_sums_;
    Array<float> surfaces_;
    Array<char> for_evaluate_, for_pair_loss_, for_activations_;  // scratch memory
    cudaStream_t stream_ = nullptr;
};

}  // namespace
