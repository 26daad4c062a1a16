// Vectors of LANES floats in GCC and Clang's portable notation, and the few functions on them.
// Included by cpu_tile.cpp only; everything has internal linkage (see cpu_kernels.h).
#pragma once

#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "cpu_target.h"

namespace grid {
namespace {

typedef float Vec __attribute__((vector_size(4 * LANES)));
typedef int32_t IVec __attribute__((vector_size(4 * LANES)));
typedef uint32_t UVec __attribute__((vector_size(4 * LANES)));

// Before a loop over an array of vectors that are to stay in registers, whatever its body.
#if defined(__clang__)
#define UNROLLED _Pragma("unroll")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

// A size known to the compiler, passed as an argument.
template <int N>
struct Count {
    static constexpr int value = N;
};

// Calls body(Count<vectors>) with V or, if there are fewer, as many vectors as there are.
template <int V, typename Body>
inline void with_width(int64_t vectors, Body body) {
    if constexpr (V > 1)
        if (vectors < V) return with_width<V - 1>(vectors, body);
    body(Count<V>{});
}

inline Vec load(const float* from) {
    Vec v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}

// The same for a vector that is used more than once: the compiler would put the address into each
// of the instructions, and load it as often.
inline Vec load_once(const float* from) {
    Vec v = load(from);
#if defined(__x86_64__)
    asm("" : "+v"(v));
#elif defined(__aarch64__)
    asm("" : "+w"(v));
#endif
    return v;
}

inline void store(float* to, Vec v) { __builtin_memcpy(to, &v, sizeof v); }

// A store that bypasses the caches, to an address aligned like a Vec; for data written once.
inline void stream(float* to, Vec v) {
#if defined(GRID_TARGET_AVX512)
    _mm512_stream_ps(to, (__m512)v);
#elif defined(GRID_TARGET_AVX2)
    _mm256_stream_ps(to, (__m256)v);
#elif defined(__x86_64__)
    _mm_stream_ps(to, (__m128)v);
#else
    store(to, v);
#endif
}

// Orders the streamed data before what this thread writes next.
inline void end_of_stream() {
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

inline Vec splat(float x) { return x - Vec{}; }

// max(v, 0) that lets NaN through.
inline Vec relu(Vec v) { return v < 0.0f ? Vec{} : v; }

// The larger of each pair of lanes; a NaN in `v` is passed over.
inline Vec larger(Vec peak, Vec v) { return v > peak ? v : peak; }

// Combines `n` lanes pairwise, as a tree.
template <int n, typename T, typename Combine>
inline T combine_lanes(const T* lanes, Combine combine) {
    if constexpr (n == 1) return lanes[0];
    else {
        typedef T Half __attribute__((vector_size(sizeof(T) * n / 2)));
        Half low, high;
        __builtin_memcpy(&low, lanes, sizeof low);
        __builtin_memcpy(&high, lanes + n / 2, sizeof high);
        low = combine(low, high);
        return combine_lanes<n / 2>(reinterpret_cast<const T*>(&low), combine);
    }
}

inline float sum(Vec v) {
    auto add = [](auto x, auto y) { return x + y; };
    return combine_lanes<LANES>(reinterpret_cast<const float*>(&v), add);
}

inline int32_t sum(IVec v) {
    auto add = [](auto x, auto y) { return x + y; };
    return combine_lanes<LANES>(reinterpret_cast<const int32_t*>(&v), add);
}

inline float maximum(Vec v) {
    auto larger_of = [](auto x, auto y) { return x > y ? x : y; };
    return combine_lanes<LANES>(reinterpret_cast<const float*>(&v), larger_of);
}

inline bool any_negative(IVec v) {
    auto either = [](auto x, auto y) { return x | y; };
    return combine_lanes<LANES>(reinterpret_cast<const int32_t*>(&v), either) < 0;
}

inline IVec lane_numbers() {
    IVec v{};
    for (int i = 0; i < LANES; ++i) v[i] = i;
    return v;
}

// Bit i is that of lane i of a comparison.
inline uint64_t mask_of(IVec v) {
#if defined(GRID_TARGET_AVX512)
    return _mm512_movepi32_mask((__m512i)v);
#elif defined(GRID_TARGET_AVX2)
    return static_cast<uint32_t>(_mm256_movemask_ps((__m256)v));
#elif defined(__x86_64__)
    return static_cast<uint32_t>(_mm_movemask_ps((__m128)v));
#else
    const IVec bits = v & ((IVec{} + 1) << lane_numbers());
    auto either = [](auto x, auto y) { return x | y; };
    return static_cast<uint32_t>(combine_lanes<LANES>(reinterpret_cast<const int32_t*>(&bits), either));
#endif
}

inline int64_t lowest_bit(uint64_t bits) { return __builtin_ctzll(bits); }

// exp(x) = (1 + fraction) * scale with scale a power of two and |log(1 + fraction)| <= ln(2) / 2.
struct SplitExp {
    Vec fraction, scale;
};

constexpr float SMALLEST_EXP = -87.3365402f;  // ln(2^-126), rounded up

// For SMALLEST_EXP <= x <= 0, and NaN. The polynomial is that of Cephes' expf.
inline SplitExp split_exp(Vec x) {
    constexpr float log2_e = 1.44269504088896341f;
    constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    constexpr float round_to_integer = 12582912.0f;  // 1.5 * 2^23: its last mantissa bit is worth 1

    const Vec shifted = x * log2_e + round_to_integer;
    const Vec n = shifted - round_to_integer;
    const Vec r = x - n * ln2_high - n * ln2_low;
    Vec poly = splat(1.9875691500e-4f);
    poly = poly * r + 1.3981999507e-3f;
    poly = poly * r + 8.3334519073e-3f;
    poly = poly * r + 4.1665795894e-2f;
    poly = poly * r + 1.6666665459e-1f;
    poly = poly * r + 5.0000001201e-1f;
    const UVec exponent = ((UVec)shifted + 127u) << 23;  // the low bits of `shifted` hold n
    return {poly * (r * r) + r, (Vec)exponent};
}

// To about one unit in the last place; below 2^-126 it is 0, NaN stays NaN.
inline Vec exp_of_nonpositive(Vec x) {
    const SplitExp e = split_exp(x);
    return x < SMALLEST_EXP ? Vec{} : (e.fraction + 1.0f) * e.scale;
}

inline Vec expm1_of_nonpositive(Vec x) {
    const SplitExp e = split_exp(x);
    return x < SMALLEST_EXP ? splat(-1.0f) : e.fraction * e.scale + (e.scale - 1.0f);
}

// For finite x >= 0 and NaN: log(1 + x) by Cephes' logf, plus what rounding 1 + x lost.
inline Vec log1p_of_nonnegative(Vec x) {
    constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    constexpr uint32_t sqrt_half = 0x3f3504f3u;  // bits of the float

    const Vec u = 1.0f + x;
    const Vec lost = (x - (u - 1.0f)) / u;
    const IVec exponent = (IVec)((UVec)u - sqrt_half) >> 23;
    const Vec f = (Vec)((UVec)u - ((UVec)exponent << 23)) - 1.0f;  // 1 + f in [sqrt(1/2), sqrt(2))
    const Vec n = __builtin_convertvector(exponent, Vec);
    const Vec f2 = f * f;
    Vec poly = splat(7.0376836292e-2f);
    poly = poly * f - 1.1514610310e-1f;
    poly = poly * f + 1.1676998740e-1f;
    poly = poly * f - 1.2420140846e-1f;
    poly = poly * f + 1.4249322787e-1f;
    poly = poly * f - 1.6668057665e-1f;
    poly = poly * f + 2.0000714765e-1f;
    poly = poly * f - 2.4999993993e-1f;
    poly = poly * f + 3.3333331174e-1f;
    const Vec tail = poly * f * f2 + n * ln2_low - 0.5f * f2 + lost;
    return f + tail + n * ln2_high;
}

}  // namespace
}  // namespace grid
