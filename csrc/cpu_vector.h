// Vectors of LANES floats in GCC and Clang's portable notation, and the few functions on them.
// Included by cpu_tile.cpp only; everything has internal linkage (see cpu_kernels.h).
#pragma once

#include <cstdint>

#include "cpu_target.h"

namespace {

typedef float Vec __attribute__((vector_size(4 * LANES)));
typedef int32_t IVec __attribute__((vector_size(4 * LANES)));
typedef uint32_t UVec __attribute__((vector_size(4 * LANES)));

inline Vec load(const float* from) {
    Vec v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}

inline void store(float* to, Vec v) { __builtin_memcpy(to, &v, sizeof v); }

inline Vec splat(float x) { return x - Vec{}; }

inline IVec splat_int(int32_t x) { return x - IVec{}; }

// max(v, 0) that lets NaN through.
inline Vec relu(Vec v) { return v < 0.0f ? Vec{} : v; }

// The larger of each pair of lanes; a NaN in `v` is passed over.
inline Vec larger(Vec peak, Vec v) { return v > peak ? v : peak; }

inline float sum(Vec v) {
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; ++i) v[i] += v[i + width];
    return v[0];
}

inline float maximum(Vec v) {
    float peak = v[0];
    for (int i = 1; i < LANES; ++i) peak = v[i] > peak ? v[i] : peak;
    return peak;
}

// exp(x) for x <= 0 to about one unit in the last place; below 2^-126 it is 0, NaN stays NaN.
// x = n ln 2 + r with |r| <= ln(2) / 2; the polynomial is Cephes' expf.
inline Vec exp_of_nonpositive(Vec x) {
    constexpr float log2_e = 1.44269504088896341f;
    constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    constexpr float round_to_integer = 12582912.0f;  // 1.5 * 2^23: its last mantissa bit is worth 1
    constexpr float smallest = -87.3365402f;         // ln(2^-126), rounded up

    const Vec shifted = x * log2_e + round_to_integer;
    const Vec n = shifted - round_to_integer;
    const Vec r = x - n * ln2_high - n * ln2_low;
    Vec poly = splat(1.9875691500e-4f);
    poly = poly * r + 1.3981999507e-3f;
    poly = poly * r + 8.3334519073e-3f;
    poly = poly * r + 4.1665795894e-2f;
    poly = poly * r + 1.6666665459e-1f;
    poly = poly * r + 5.0000001201e-1f;
    poly = poly * (r * r) + r + 1.0f;
    const UVec exponent = ((UVec)shifted + 127u) << 23;  // low bits of `shifted` hold n
    return x < smallest ? Vec{} : poly * (Vec)exponent;
}

}  // namespace
