// What cpu_tile.cpp is compiled for, one of the targets of setup.py: the name and vector width of
// the implementation, its registers, and what the processor must support to run it.
#pragma once

#if defined(GRID_TARGET_AVX512)
#define GRID_KERNELS avx512_kernels
#define GRID_NAME "avx512"
#define GRID_SUPPORTED                                                              \
    (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&     \
     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&    \
     __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
constexpr int LANES = 16, REGISTERS = 32;

#elif defined(GRID_TARGET_AVX2)
#define GRID_KERNELS avx2_kernels
#define GRID_NAME "avx2"
#define GRID_SUPPORTED (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
constexpr int LANES = 8, REGISTERS = 16;

#else  // whatever the compiler assumes unasked: SSE2 on x86-64, NEON on arm64
#define GRID_KERNELS baseline_kernels
#define GRID_NAME "baseline"
#define GRID_SUPPORTED true
#if defined(__aarch64__)
constexpr int LANES = 4, REGISTERS = 32;
#else
constexpr int LANES = 4, REGISTERS = 16;
#endif
#endif
