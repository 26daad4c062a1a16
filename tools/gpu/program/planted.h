// Faults, one for each tool of compute-sanitizer: a tool that passes over its own shows nothing by
// passing over the kernels.
#pragma once

#include <cstring>

#include "problem.h"

namespace {

struct Shown {
    int by_thread[2 * WARP_SIZE];
};

__global__ void write_beyond_the_end(int* first) { first[threadIdx.x] = 1; }

__global__ void read_without_a_barrier(int* out) {
    auto& shown = grid::cuda::shared_memory<Shown>();
    shown.by_thread[threadIdx.x] = static_cast<int>(threadIdx.x);
    out[threadIdx.x] = shown.by_thread[(threadIdx.x + WARP_SIZE) % (2 * WARP_SIZE)];
}

__global__ void read_what_nobody_wrote(const int* unset, int* out) {
    out[threadIdx.x] = unset[threadIdx.x];
}

__global__ void wait_without_oneself() {
    if (threadIdx.x == 0) __syncwarp(2);
}

int plant(const char* tool) {
    constexpr int threads = 2 * WARP_SIZE;
    const Array<int> out(threads), unset(threads), first(1);
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(1), config.blockDim = dim3(threads);
    config.dynamicSmemBytes = sizeof(Shown);
    if (!std::strcmp(tool, "memcheck"))
        check(cudaLaunchKernelEx(&config, write_beyond_the_end, first.data));
    else if (!std::strcmp(tool, "racecheck"))
        check(cudaLaunchKernelEx(&config, read_without_a_barrier, out.data));
    else if (!std::strcmp(tool, "initcheck"))
        check(cudaLaunchKernelEx(&config, read_what_nobody_wrote,
                                 static_cast<const int*>(unset.data), out.data));
    else if (!std::strcmp(tool, "synccheck"))
        check(cudaLaunchKernelEx(&config, wait_without_oneself));
    else
        return 2;
    check(cudaDeviceSynchronize());
    std::printf("the planted fault ran\n");
    return 0;
}

}  // namespace
