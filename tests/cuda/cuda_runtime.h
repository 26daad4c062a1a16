// Stands in for CUDA's header of this name, so that csrc/grid_cuda.cu and its kernels can be
// compiled by g++ and run without a GPU. How threads, barriers and shuffles behave is in
// emulation.cpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __launch_bounds__(threads)

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct __attribute__((may_alias, aligned(16))) float4 {
    float x, y, z, w;
};

namespace emulation {

// Where the running thread is.
struct Position {
    dim3 thread, block, threads, blocks;
};
Position here();

// One of the three as a variable that reads like CUDA's.
template <dim3 Position::* which>
struct Coordinates {
    template <unsigned dim3::* axis>
    struct Axis {
        operator unsigned() const { return here().*which.*axis; }
    };
    Axis<&dim3::x> x;
    Axis<&dim3::y> y;
    Axis<&dim3::z> z;
};

// Shared memory of this block; `size` is what the kernel uses of it.
void* shared_bytes(size_t size);

// Waits for every thread of the block, or for every lane of the warp.
void synchronize_block();
void synchronize_warp();

// Shows `value` to the warp, waits for all its lanes, and returns what lane `from` showed.
uint64_t exchange(unsigned mask, uint64_t value, unsigned from);

// The lanes of the warp whose flag is set.
unsigned ballot(unsigned mask, bool flag);

// Runs `kernel` once for every thread of the grid.
void launch(dim3 grid, dim3 threads, size_t shared_size, const std::function<void()>& kernel);

extern int device;       // the current one, of two
extern int launched_on;  // the device and stream of the last launch
extern void* launched_in;
extern unsigned seed;  // of the order in which threads run

}  // namespace emulation

inline constexpr emulation::Coordinates<&emulation::Position::thread> threadIdx{};
inline constexpr emulation::Coordinates<&emulation::Position::block> blockIdx{};
inline constexpr emulation::Coordinates<&emulation::Position::threads> blockDim{};
inline constexpr emulation::Coordinates<&emulation::Position::blocks> gridDim{};

// ---------------------------------------------------------------- device functions

inline void __syncthreads() { emulation::synchronize_block(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) {
    if (mask != 0xffffffffu) emulation::ballot(mask, false);  // which refuses it
    emulation::synchronize_warp();
}
inline unsigned __ballot_sync(unsigned mask, bool flag) { return emulation::ballot(mask, flag); }
inline bool __any_sync(unsigned mask, bool flag) { return emulation::ballot(mask, flag) != 0; }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
template <typename T>
T __ldcg(const T* address) {
    return *address;
}
inline long long clock64() {
    static long long cycles = 0;
    return cycles += 100'000;
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int distance) {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = emulation::exchange(mask, bits, threadIdx.x % 32 ^ static_cast<unsigned>(distance));
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// ---------------------------------------------------------------- the host's calls

using cudaError_t = int;
constexpr cudaError_t cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorInvalidConfiguration = 9,
                      cudaErrorInsufficientDriver = 35, cudaErrorNoDevice = 100,
                      cudaErrorInvalidDevice = 101;
struct cudaStream;
using cudaStream_t = cudaStream*;
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes = 0;
    cudaStream_t stream = nullptr;
};

inline cudaError_t cudaGetDeviceCount(int* count) { return *count = 2, cudaSuccess; }
inline cudaError_t cudaGetDevice(int* device) { return *device = emulation::device, cudaSuccess; }
inline cudaError_t cudaSetDevice(int device) {
    if (device < 0 || device > 1) return cudaErrorInvalidDevice;
    return emulation::device = device, cudaSuccess;
}
inline const char* cudaGetErrorString(cudaError_t) { return "emulated error"; }

// Limits that hold on every device: compute capability 7.5 without opting in to more shared memory.
template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments... arguments) {
    const dim3 grid = config->gridDim, block = config->blockDim;
    if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.y > 65535 || grid.z > 65535 ||
        block.x > 1024 || block.y != 1 || block.z != 1 || config->dynamicSmemBytes > 48 * 1024)
        return cudaErrorInvalidConfiguration;
    emulation::launched_on = emulation::device;
    emulation::launched_in = config->stream;
    emulation::launch(grid, block, config->dynamicSmemBytes, [=] { kernel(arguments...); });
    return cudaSuccess;
}

// ---------------------------------------------------------------- memory, events, attributes

enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };

// A heap block of exactly this size, filled with NaN.
inline cudaError_t cudaMalloc(void** memory, size_t bytes) {
    if (posix_memalign(memory, 256, bytes) != 0) std::abort();
    std::memset(*memory, 0xff, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) { return std::free(memory), cudaSuccess; }
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
    return std::memcpy(to, from, bytes), cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t) {
    return cudaMemcpy(to, from, bytes, kind);
}
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
inline cudaError_t cudaStreamCreate(cudaStream_t* stream) { return *stream = nullptr, cudaSuccess; }
inline cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }

using cudaEvent_t = int;  // every job takes an emulated millisecond
inline cudaError_t cudaEventCreate(cudaEvent_t* event) { return *event = 0, cudaSuccess; }
inline cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
    return *milliseconds = 1.0f, cudaSuccess;
}

enum cudaDeviceAttr {
    cudaDevAttrMultiProcessorCount,
    cudaDevAttrClockRate,
    cudaDevAttrL2CacheSize
};
struct cudaDeviceProp {
    char name[256];
    int major, minor;
};
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
    return *properties = {"an emulated GPU", 7, 5}, cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) {
    constexpr int values[] = {2, 1'000'000, 4096};
    return *value = values[which], cudaSuccess;
}
inline cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 0, cudaSuccess; }
inline cudaError_t cudaDriverGetVersion(int* version) { return *version = 0, cudaSuccess; }
