// CUDA events around the launches of csrc/grid_cuda.cu, which this header includes: its launchers
// call launch_observed in the place of cudaLaunchKernelEx.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

namespace {

void check(cudaError_t error) {
    if (error == cudaSuccess) return;
    std::fprintf(stderr, "kernels: %s (CUDA error %d)\n", cudaGetErrorString(error), int(error));
    std::exit(1);
}

constexpr int WARP_SIZE = 32, ROUNDS = 5;
constexpr long long BUSY_CYCLES = 1'000'000;  // half a millisecond, for launches to queue up

__global__ void stay_busy(long long cycles) {
    const long long began = clock64();
    while (clock64() - began < cycles) {
    }
}

// Median over rounds of the microseconds that one of `times` jobs takes, all queued before the
// first one starts: launching takes longer than the shortest kernels.
template <typename Job>
float microseconds(cudaStream_t stream, int times, Job job) {
    cudaEvent_t start, end;
    check(cudaEventCreate(&start));
    check(cudaEventCreate(&end));
    cudaLaunchConfig_t busy = {};
    busy.gridDim = dim3(1), busy.blockDim = dim3(WARP_SIZE), busy.stream = stream;
    std::vector<float> rounds(ROUNDS);
    for (float& round : rounds) {
        check(cudaLaunchKernelEx(&busy, stay_busy, BUSY_CYCLES));
        check(cudaEventRecord(start, stream));
        for (int i = 0; i < times; ++i) job();
        check(cudaEventRecord(end, stream));
        check(cudaEventSynchronize(end));
        float milliseconds;
        check(cudaEventElapsedTime(&milliseconds, start, end));
        round = 1e3f * milliseconds / static_cast<float>(times);
    }
    check(cudaEventDestroy(start));
    check(cudaEventDestroy(end));
    std::nth_element(rounds.begin(), rounds.begin() + ROUNDS / 2, rounds.end());
    return rounds[ROUNDS / 2];
}

struct Launched {
    const void* kernel;
    unsigned blocks;
    float microseconds;
};
std::vector<Launched> launched;  // by the call that is being timed
int repeats = 0;                 // of each of its launches; 0: launch once, untimed

// Stands in the launchers of grid_cuda.cu for CUDA's function of that name. Repeated, a kernel that
// writes over its input computes something else, in the same time.
template <typename... Parameters, typename... Arguments>
cudaError_t launch_observed(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                            Arguments... arguments) {
    const auto launch = [&] { return cudaLaunchKernelEx(config, kernel, arguments...); };
    const cudaError_t error = launch();
    if (repeats == 0 || error != cudaSuccess) return error;
    const dim3 grid = config->gridDim;
    launched.push_back({reinterpret_cast<const void*>(kernel), grid.x * grid.y * grid.z,
                        microseconds(config->stream, repeats, [&] { check(launch()); })});
    return cudaSuccess;
}

}  // namespace

#define cudaLaunchKernelEx launch_observed
#include "grid_cuda.cu"
#undef cudaLaunchKernelEx

namespace {

#define NAMED(kernel) {reinterpret_cast<const void*>(&grid::cuda::kernel), #kernel}
const std::pair<const void*, const char*> KERNELS[] = {
    NAMED(attend),
    NAMED(logits_of_pairs),
    NAMED(score_pairs),
    NAMED(add_scores),
    NAMED(group_pairs),
    NAMED(add_class_sums),
    NAMED(weight_gradient),
    NAMED(hidden_gradient),
    NAMED(add_parts),
    NAMED(table_gradient),
    NAMED(score_gradient_of_pairs),
    NAMED(score_gradient),
    NAMED(surfaces_of_neurons),
};

const char* name_of(const void* kernel) {
    for (const auto& [pointer, name] : KERNELS)
        if (pointer == kernel) return name;
    return "unknown";
}

}  // namespace
