// Launchers of the CUDA kernels: which run in what order, on what memory.
#include <cuda_runtime.h>

#include <algorithm>

#include "grid_cuda.h"
#include "grid_kernels.cuh"

namespace grid::cuda {
namespace {

Sizes sizes_of(const Shape& s) {
    return {static_cast<int>(s.p), static_cast<int>(s.heads), static_cast<int>(s.d_mlp),
            static_cast<int>(s.classes)};
}

// Launches on the call's device and stream until one launch fails; gives the thread its device
// back.
class Launcher {
   public:
    Launcher(const Call& call, const Shape& s, int64_t pairs)
        : stream_(static_cast<cudaStream_t>(call.stream)) {
        error_ =
            fits(s.p, s.heads, s.d_mlp, s.classes, pairs) ? cudaSuccess : cudaErrorInvalidValue;
        if (error_ == cudaSuccess) error_ = cudaGetDevice(&previous_);
        if (error_ == cudaSuccess) error_ = cudaSetDevice(call.device);
    }
    ~Launcher() {
        if (previous_ >= 0) cudaSetDevice(previous_);
    }
    Launcher(const Launcher&) = delete;
    Launcher& operator=(const Launcher&) = delete;

    template <typename... Parameters, typename... Arguments>
    void operator()(const Launch& launch, void (*kernel)(Parameters...), Arguments... arguments) {
        if (error_ != cudaSuccess || launch.x == 0 || launch.y == 0) return;
        cudaLaunchConfig_t config = {};
        config.gridDim = dim3(launch.x, launch.y, launch.z);
        config.blockDim = dim3(launch.threads);
        config.dynamicSmemBytes = launch.shared_bytes;
        config.stream = stream_;
        error_ = cudaLaunchKernelEx(&config, kernel, arguments...);
    }
    int error() const { return error_; }

   private:
    cudaStream_t stream_;
    cudaError_t error_;
    int previous_ = -1;  // device of the calling thread
};

// Hands out consecutive blocks aligned to 256 bytes; counts only, when it starts from null.
class Arena {
   public:
    explicit Arena(void* start) : start_(static_cast<char*>(start)) {}
    template <typename T>
    T* take(int64_t count) {
        char* block = start_ ? start_ + used_ : nullptr;
        used_ += (static_cast<size_t>(count) * sizeof(T) + 255) / 256 * 256;
        return reinterpret_cast<T*>(block);
    }
    Groups take_groups(int64_t values, int64_t pairs) {
        return {take<int>(values + 1), take<int>(pairs)};
    }
    size_t used() const { return used_; }

   private:
    char* start_;
    size_t used_ = 0;
};

// What evaluating n pairs needs; layouts in grid_kernels.cuh.
struct Forward {
    float4* alpha;
    float* logits;
    float* losses;
    int* correct;
    GroupsByKey groups;

    Forward(const Shape& s, int64_t n, Arena& arena)
        : alpha(arena.take<float4>(n * s.heads)),
          logits(arena.take<float>(n * s.classes)),
          losses(arena.take<float>(n)),
          correct(arena.take<int>(n)),
          groups{arena.take_groups(s.classes, n), arena.take_groups(s.p, n),
                 arena.take_groups(s.p, n)} {}
};

// What the gradients of n pairs need beside that.
struct Backward {
    float* post;         // later d_pre
    float* W_L_parts;    // [splits, K, c]
    float4* d_scores;    // [n, H]
    float* hidden_sums;  // [p, K]
    float* logit_sums;   // [p, c]
    float* s2_parts;     // [p, H]

    Backward(const Shape& s, int64_t n, Arena& arena)
        : post(arena.take<float>(n * s.d_mlp)),
          W_L_parts(arena.take<float>(split_count(n) * s.d_mlp * s.classes)),
          d_scores(arena.take<float4>(n * s.heads)),
          hidden_sums(arena.take<float>(s.p * s.d_mlp)),
          logit_sums(arena.take<float>(s.p * s.classes)),
          s2_parts(arena.take<float>(s.p * s.heads)) {}
};

// The score of all pairs, and with `post` their groups by operand and scale * g in the place of the
// logits.
void score(Launcher& launch, const Sizes& s, const Tables& t, const Pairs& pairs,
           const Forward& work, float* logits, float* post, float scale, double* totals,
           double* class_sums) {
    const int n = static_cast<int>(pairs.count);
    launch(each_launch(pairs.count * s.heads), attend, s, t, pairs.numbers, n, work.alpha);
    launch(product_launch(n, s.classes), logits_of_pairs, s, t, pairs.numbers, n, work.alpha,
           logits, post);
    const int first_key = class_sums ? BY_TARGET : BY_A, end_key = post ? KEYS : BY_A;
    launch(group_launch(class_sums ? std::max(s.p, s.classes) : s.p, end_key - first_key),
           group_pairs, s, pairs, first_key, work.groups);
    if (class_sums)
        launch(column_launch(s.classes, s.classes), add_class_sums, s, work.groups.target, logits,
               class_sums);
    launch(warp_launch(n), score_pairs, s, pairs.targets, n, scale, post != nullptr, logits,
           work.losses, work.correct);
    launch(total_launch(), add_scores, work.losses, work.correct, n, totals);
}

// The gradients of one mixture's tables and bias from d_out [n, width].
void mixture_gradient(Launcher& launch, const Sizes& s, int width, const Forward& work,
                      const float* d_out, float* row_sums, float* first, float* second,
                      float* bias) {
    const Launch each = column_launch(s.p, width);
    const float* weights = &work.alpha->x;
    launch(each, table_gradient, s.heads, width, work.groups.a, weights, d_out, first, row_sums);
    launch(each, table_gradient, s.heads, width, work.groups.b, weights + 1, d_out, second,
           static_cast<float*>(nullptr));
    launch(each_launch(width), add_parts, row_sums, s.p, int64_t{width}, bias);
}

}  // namespace

Devices devices() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && count > 0) return {count, ""};
    if (error == cudaErrorInsufficientDriver)
        return {0, "no NVIDIA driver, or one too old (CUDA error 35)"};
    if (error == cudaSuccess || error == cudaErrorNoDevice)
        return {0, "no CUDA device (CUDA error 100)"};
    return {0, error_text(error)};
}

std::string error_text(int code) {
    return std::string(cudaGetErrorString(static_cast<cudaError_t>(code))) + " (CUDA error " +
           std::to_string(code) + ")";
}

size_t evaluate_scratch(const Shape& s, int64_t count) {
    Arena arena(nullptr);
    Forward(s, count, arena);
    return arena.used();
}

size_t pair_loss_scratch(const Shape& s, int64_t count) {
    Arena arena(nullptr);
    Forward(s, count, arena);
    Backward(s, count, arena);
    return arena.used();
}

size_t activations_scratch(const Shape& s) {
    Arena arena(nullptr);
    arena.take<float4>(s.p * s.p * s.heads);
    return arena.used();
}

int evaluate(const Call& call, const Shape& shape, const Tables& t, const Pairs& pairs,
             double* totals, float* logits, double* class_sums) {
    Launcher launch(call, shape, pairs.count);
    Arena arena(call.scratch);
    const Sizes s = sizes_of(shape);
    const Forward work(shape, pairs.count, arena);
    score(launch, s, t, pairs, work, logits ? logits : work.logits, nullptr, 1.0f, totals,
          class_sums);
    return launch.error();
}

int pair_loss(const Call& call, const Shape& shape, const Tables& t, const Pairs& pairs,
              float scale, double* totals, const Gradients& out, double* class_sums) {
    Launcher launch(call, shape, pairs.count);
    Arena arena(call.scratch);
    const Sizes s = sizes_of(shape);
    const Forward work(shape, pairs.count, arena);
    const Backward back(shape, pairs.count, arena);
    score(launch, s, t, pairs, work, work.logits, back.post, scale, totals, class_sums);

    const int n = static_cast<int>(pairs.count), splits = static_cast<int>(split_count(n));
    const float *g = work.logits, *d_pre = back.post;
    launch(product_launch(s.d_mlp, s.classes, splits), weight_gradient, s, n,
           static_cast<int>(pairs_per_split(n)), back.post, g, back.W_L_parts);
    launch(each_launch(shape.d_mlp * shape.classes), add_parts, back.W_L_parts, splits,
           shape.d_mlp * shape.classes, out.W_L);
    launch(product_launch(n, s.d_mlp), hidden_gradient, s, t, n, g, back.post);
    mixture_gradient(launch, s, s.d_mlp, work, d_pre, back.hidden_sums, out.A, out.B, out.pre_bias);
    mixture_gradient(launch, s, s.classes, work, g, back.logit_sums, out.C, out.D, out.logit_bias);
    launch(warp_launch(n), score_gradient_of_pairs, s, t, pairs.numbers, n, work.alpha, d_pre, g,
           back.d_scores);
    launch(column_launch(s.p, s.heads), score_gradient, s, work.groups, back.d_scores, out.s0,
           out.s1, back.s2_parts);
    launch(each_launch(s.heads), add_parts, back.s2_parts, s.p, int64_t{s.heads}, out.s2);
    return launch.error();
}

int activations(const Call& call, const Shape& shape, const Tables& t, const int64_t* neurons,
                int64_t count, float* surfaces) {
    Launcher launch(call, shape, shape.p * shape.p);
    const Sizes s = sizes_of(shape);
    auto* alpha = Arena(call.scratch).take<float4>(shape.p * shape.p * shape.heads);
    const int n = s.p * s.p;
    launch(each_launch(int64_t{n} * s.heads), attend, s, t, static_cast<const int64_t*>(nullptr), n,
           alpha);
    launch(surface_launch(s, count), surfaces_of_neurons, s, t, neurons, static_cast<int>(count),
           alpha, surfaces);
    return launch.error();
}

}  // namespace grid::cuda
