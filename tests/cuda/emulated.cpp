// Runs the CUDA kernels in emulation: emulated REQUEST ANSWER SEED. Both files are plain arrays in
// the order of `main` (tests/emulation.py writes the one and reads the other); the seed decides the
// order in which threads run.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "grid_cuda.cu"  // with tests/cuda/cuda_runtime.h for CUDA's

namespace {

template <typename T>
std::vector<T> read(std::ifstream& file, int64_t count) {
    std::vector<T> values(static_cast<size_t>(count));
    file.read(reinterpret_cast<char*>(values.data()), count * static_cast<int64_t>(sizeof(T)));
    if (!file) std::exit(66);
    return values;
}

template <typename T>
void write(std::ofstream& file, const std::vector<T>& values) {
    file.write(reinterpret_cast<const char*>(values.data()),
               static_cast<std::streamsize>(values.size() * sizeof(T)));
}

// The ten tables, each a heap block of its own so that a sanitizer sees its ends.
struct Store {
    std::vector<std::vector<float>> of;

    template <typename Make>
    Store(const grid::Shape& s, Make make) {
        for (const grid::Table& table : grid::TABLES) of.push_back(make(table.size(s)));
    }
    template <typename T>
    grid::TablesOf<T> view() {
        grid::TableArray<T> tables;
        for (size_t i = 0; i < of.size(); ++i) tables[i] = of[i].data();
        return grid::tables_of(tables);
    }
};

int stream;  // stands for one of the caller's

// Memory that nothing has written yet.
struct Scratch {
    explicit Scratch(size_t bytes)
        : memory(static_cast<float*>(std::aligned_alloc(256, bytes)), std::free) {
        std::fill_n(memory.get(), bytes / sizeof(float), std::nanf(""));
    }
    std::unique_ptr<float, void (*)(void*)> memory;
    grid::cuda::Call call() const { return {1, &stream, memory.get()}; }
};

// Every call ran where it was told to, and gave the thread its own device back.
void check(int error) {
    const bool there = emulation::launched_on == 1 && emulation::launched_in == &stream;
    if (error == 0 && there && emulation::device == 0) return;
    std::fprintf(stderr, "emulated: error %d, device %d, launched on %d\n", error,
                 emulation::device, emulation::launched_on);
    std::exit(65);
}

}  // namespace

int main(int, char** arguments) {
    emulation::seed = static_cast<unsigned>(std::atoi(arguments[3]));
    std::ifstream request(arguments[1], std::ios::binary);
    std::ofstream answer(arguments[2], std::ios::binary);
    const auto header = read<int64_t>(request, 6);  // p, H, d_mlp, classes, pairs, neurons
    const grid::Shape s{header[0], header[1], header[2], header[3]};
    const int64_t n = header[4], neuron_count = header[5];
    const float scale = read<float>(request, 1)[0];
    Store tables(s, [&](int64_t size) { return read<float>(request, size); });
    const auto numbers = read<int64_t>(request, n), targets = read<int64_t>(request, n);
    const auto neurons = read<int64_t>(request, neuron_count);
    const grid::Pairs pairs{numbers.data(), targets.data(), n};
    const auto t = tables.view<const float>();
    const auto unset = [](int64_t size) {
        return std::vector<float>(static_cast<size_t>(size), std::nanf(""));
    };

    std::vector<double> score(2), class_sums(static_cast<size_t>(s.classes * s.classes));
    std::vector<double> training_class_sums = class_sums;
    std::vector<float> logits = unset(n * s.classes);
    const Scratch for_evaluate(grid::cuda::evaluate_scratch(s, n));
    check(grid::cuda::evaluate(for_evaluate.call(), s, t, pairs, score.data(), logits.data(),
                               class_sums.data()));
    write(answer, score);
    write(answer, logits);
    write(answer, class_sums);

    Store gradients(s, unset);
    const Scratch for_loss(grid::cuda::pair_loss_scratch(s, n));
    check(grid::cuda::pair_loss(for_loss.call(), s, t, pairs, scale, score.data(),
                                gradients.view<float>(), training_class_sums.data()));
    write(answer, score);
    write(answer, training_class_sums);
    for (const auto& gradient : gradients.of) write(answer, gradient);

    std::vector<float> surfaces = unset(s.p * s.p * neuron_count);
    const Scratch for_surfaces(grid::cuda::activations_scratch(s));
    check(grid::cuda::activations(for_surfaces.call(), s, t, neurons.data(), neuron_count,
                                  surfaces.data()));
    write(answer, surfaces);
}
