// Launch arithmetic of csrc/cuda_launch.h, and the errors of csrc/grid_cuda.h that need no kernel.
// Prints what is wrong; exit code 1 if anything is.
#include <cstdio>
#include <initializer_list>

#include "grid_cuda.cu"  // with tests/cuda/cuda_runtime.h for CUDA's

using namespace grid::cuda;

static int faults = 0;

#define EXPECT(condition)                                                            \
    if (!(condition)) {                                                              \
        std::printf("line %d: %s at %lld\n", __LINE__, #condition, (long long)size); \
        ++faults;                                                                    \
    }

// As many blocks of `each` as it takes for `items`, none of them empty.
static bool covers(unsigned blocks, int64_t items, int64_t each) {
    return blocks * each >= items && (items == 0 || (blocks - 1) * each < items);
}

static void check_sizes(int64_t size) {
    const Sizes s{static_cast<int>(size), 4, 512, static_cast<int>(size)};
    EXPECT(covers(each_launch(size).x, size, THREADS));
    EXPECT(covers(warp_launch(size).x, size, 4));
    const Launch product = product_launch(size, 3 * size, 7);
    EXPECT(covers(product.x, size, 32) && covers(product.y, 3 * size, 128) && product.z == 7);
    EXPECT(product.threads == 128 && product.shared_bytes == (32 * 36 + 32 * 129) * 4);
    EXPECT(group_launch(s.p, 2).x == size && group_launch(s.p, 2).y == 2);
    EXPECT(column_launch(s.p, 512).x == size && column_launch(s.p, 512).y == 4);
    EXPECT(covers(surface_launch(s, size).x, size * size, 8) &&
           covers(surface_launch(s, size).y, size, 128));

    const int64_t splits = split_count(size), each = pairs_per_split(size);
    EXPECT(splits >= 1 && splits <= 64 && each % 32 == 0 && splits * each >= size);
    EXPECT(size > 64 * 256 || each <= 256);
}

static void check_limits() {
    int64_t size = 0;
    EXPECT(total_launch().x == 1 && total_launch().shared_bytes <= 48 * 1024);
    EXPECT(fits(113, 4, 512, 113, 113 * 113) && fits(4096, 8, 512, 4096, 4096 * 4096));
    for (int64_t p : {32768, 46341, 1 << 20}) EXPECT(!fits(size = p, 1, 1, 1, 1));
    EXPECT(!fits(4096, 8, 1 << 20, 113, 1));
    EXPECT(!fits(2, 1, 1, 1, int64_t{1} << 31));
}

static void check_errors() {
    int64_t size = 0;
    const grid::Tables none{};
    const grid::Shape shape{3, 1, 1, 3}, huge{1 << 20, 1, 1, 3};
    EXPECT(evaluate({7, nullptr, nullptr}, shape, none, {}, nullptr, nullptr, nullptr) ==
           cudaErrorInvalidDevice);
    EXPECT(evaluate({1, nullptr, nullptr}, huge, none, {}, nullptr, nullptr, nullptr) ==
           cudaErrorInvalidValue);
    EXPECT(emulation::device == 0);
    EXPECT(devices().count == 2 && devices().reason.empty());
}

int main() {
    for (int64_t size :
         {1, 2, 3, 31, 32, 33, 113, 127, 128, 129, 255, 256, 257, 3830, 12769, 16384, 16385, 99999})
        check_sizes(size);
    check_limits();
    check_errors();
    return faults != 0;
}
