// Fused multiply-adds per second of one core, in GFLOP/s: what bench.py divides by.
// Built with -march=native and run on the same machine.
#include <chrono>

#if defined(__AVX512F__)
constexpr int LANES = 16, CHAINS = 16;
#elif defined(__AVX__)
constexpr int LANES = 8, CHAINS = 12;
#else
constexpr int LANES = 4, CHAINS = 12;
#endif

typedef float Vec __attribute__((vector_size(4 * LANES)));

extern "C" double fma_peak() {
    constexpr int ROUNDS = 400000;  // about 15 ms
    Vec chain[CHAINS], factor, term;
    for (int i = 0; i < LANES; ++i) factor[i] = 0.999f, term[i] = 0.001f;
    for (Vec& v : chain) v = term;
    const auto start = std::chrono::steady_clock::now();
    for (int round = 0; round < ROUNDS; ++round)
        for (Vec& v : chain) v = v * factor + term;
    for (Vec& v : chain) asm volatile("" : : "m"(v));
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    return 2e-9 * ROUNDS * CHAINS * LANES / seconds.count();
}
