// The kernels on a GPU without Python and torch: for compute-sanitizer, CUDA events and ncu.
//
//   kernels run PROBLEM ...          every call, once a problem
//   kernels time REPEATS PROBLEM     JSON, one object a line: device, ceilings, calls, kernels
//   kernels plant TOOL               a fault that this tool of compute-sanitizer must report
//
// A problem is P,HEADS,D_MLP,TRAINING_PAIRS,NEURONS. Exit code 77: there is no GPU.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "observed.h"
#include "planted.h"
#include "problem.h"

namespace {

int run(const std::vector<Problem>& problems) {
    for (const Problem& problem : problems) {
        Calls calls(problem);
        calls.evaluate_rest();
        calls.evaluate_all();
        calls.pair_loss();
        calls.activations();
        check(cudaDeviceSynchronize());
        if (!calls.results_are_finite()) {
            std::fprintf(stderr, "kernels: a result is not finite at p = %lld\n",
                         static_cast<long long>(problem.shape.p));
            return 1;
        }
    }
    std::printf("every call finished\n");
    return 0;
}

// ---------------------------------------------------------------- time

__global__ void do_nothing() {}

// Reads `values` past L1, `times` over.
__global__ void read_again(const float4* values, int64_t count, int times, float* out) {
    const int64_t stride = int64_t{gridDim.x} * blockDim.x;
    float sum = 0.0f;
    for (int time = 0; time < times; ++time) {
#pragma unroll 8
        for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride) {
            const float4 value = __ldcg(values + i);
            sum += value.x + value.y + value.z + value.w;
        }
    }
    if (sum == -1.0f) *out = sum;  // never, but the compiler does not know
}

int attribute(cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, 0));
    return value;
}

void print_device() {
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, 0));
    int runtime = 0, driver = 0;
    check(cudaRuntimeGetVersion(&runtime));
    check(cudaDriverGetVersion(&driver));
    std::printf(
        "{\"device\": \"%s\", \"compute_capability\": \"%d.%d\", \"multiprocessors\": %d, "
        "\"clock_khz\": %d, \"l2_bytes\": %d, \"runtime\": %d, \"driver\": %d}\n",
        properties.name, properties.major, properties.minor,
        attribute(cudaDevAttrMultiProcessorCount), attribute(cudaDevAttrClockRate),
        attribute(cudaDevAttrL2CacheSize), runtime, driver);
}

void print_ceilings(cudaStream_t stream, int times) {
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(1), config.blockDim = dim3(WARP_SIZE), config.stream = stream;
    const float empty =
        microseconds(stream, times, [&] { check(cudaLaunchKernelEx(&config, do_nothing)); });
    std::printf("{\"ceiling\": \"empty kernel\", \"bytes\": 0, \"microseconds\": %.4f}\n", empty);

    const int64_t l2 = attribute(cudaDevAttrL2CacheSize);
    const Array<float> from(std::vector<float>(static_cast<size_t>(l2 * 5))), to(l2 * 5);
    const size_t bytes = from.size * sizeof(float);
    const float copy = microseconds(stream, 3, [&] {
        check(cudaMemcpyAsync(to.data, from.data, bytes, cudaMemcpyDeviceToDevice, stream));
    });
    std::printf("{\"ceiling\": \"copy\", \"bytes\": %zu, \"microseconds\": %.4f}\n", 2 * bytes,
                copy);

    const int64_t quarter = l2 / 4 / static_cast<int64_t>(sizeof(float4));
    config.gridDim = dim3(static_cast<unsigned>(attribute(cudaDevAttrMultiProcessorCount)) * 8);
    config.blockDim = dim3(256);
    const float read = microseconds(stream, 3, [&] {
        check(cudaLaunchKernelEx(&config, read_again, reinterpret_cast<const float4*>(from.data),
                                 quarter, times, to.data));
    });
    std::printf("{\"ceiling\": \"read from L2\", \"bytes\": %lld, \"microseconds\": %.4f}\n",
                static_cast<long long>(quarter * times) * 16, read);
}

// A call as a whole, and each of its kernels.
template <typename Call>
void print_times(const Calls& calls, const char* name, int64_t pairs, int times, Call call) {
    const auto count = static_cast<long long>(pairs);
    const float whole = microseconds(calls.stream(), times, call);
    std::printf("{\"call\": \"%s\", \"pairs\": %lld, \"microseconds\": %.4f}\n", name, count,
                whole);
    launched.clear();
    repeats = times;
    call();
    repeats = 0;
    check(cudaDeviceSynchronize());
    for (const Launched& launch : launched)
        std::printf(
            "{\"call\": \"%s\", \"pairs\": %lld, \"kernel\": \"%s\", \"blocks\": %u, "
            "\"microseconds\": %.4f}\n",
            name, count, name_of(launch.kernel), launch.blocks, launch.microseconds);
    std::fflush(stdout);
}

int time(int times, const Problem& problem) {
    print_device();
    Calls calls(problem);
    print_ceilings(calls.stream(), times);
    print_times(calls, "evaluate all", calls.count(), times, [&] { calls.evaluate_all(); });
    print_times(calls, "evaluate the rest", calls.validation(), times,
                [&] { calls.evaluate_rest(); });
    print_times(calls, "pair_loss", problem.train, times, [&] { calls.pair_loss(); });
    print_times(calls, "activations", calls.count(), times, [&] { calls.activations(); });
    return 0;
}

// ---------------------------------------------------------------- command line

bool parse(const char* text, std::vector<Problem>& problems) {
    long long p, heads, d_mlp, train, neurons;
    if (std::sscanf(text, "%lld,%lld,%lld,%lld,%lld", &p, &heads, &d_mlp, &train, &neurons) != 5)
        return false;
    problems.push_back({{p, heads, d_mlp, p}, train, neurons});
    return p > 1 && heads > 0 && d_mlp > 0 && train > 0 && train < p * p && neurons > 0 &&
           neurons <= d_mlp;
}

}  // namespace

int main(int count, char** arguments) {
    const char* mode = count > 2 ? arguments[1] : "";
    const bool timed = !std::strcmp(mode, "time"), planted = !std::strcmp(mode, "plant");
    std::vector<Problem> problems;
    bool understood = timed || planted || !std::strcmp(mode, "run");
    for (int i = timed ? 3 : 2; i < count && !planted; ++i)
        understood = understood && parse(arguments[i], problems);
    const int times = timed ? std::atoi(arguments[2]) : 1;
    if (!understood || times < 1 || (timed && problems.size() != 1)) {
        std::fprintf(stderr,
                     "usage: kernels run PROBLEM ... | time REPEATS PROBLEM | plant TOOL\n");
        return 2;
    }
    const grid::cuda::Devices devices = grid::cuda::devices();
    if (devices.count == 0) {
        std::fprintf(stderr, "%s\n", devices.reason.c_str());
        return 77;
    }
    if (planted) return plant(arguments[2]);
    return timed ? time(times, problems[0]) : run(problems);
}
