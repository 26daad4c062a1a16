// Dispatch, threads and memory: everything about the CPU that is not arithmetic.
#include <algorithm>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <stdexcept>

#include "cpu_kernels.h"
#include "cpu_pool.h"

namespace grid {

#if defined(__x86_64__)
extern const Kernels avx512_kernels, avx2_kernels;
#endif
extern const Kernels baseline_kernels, reference_kernels;

namespace {

const Kernels* const all_kernels[] = {
#if defined(__x86_64__)
    &avx512_kernels, &avx2_kernels,
#endif
    &baseline_kernels, &reference_kernels};

const Kernels& find(const std::string& name) {
    for (const Kernels* kernels : all_kernels)
        if (name == kernels->name && kernels->supported()) return *kernels;
    throw std::invalid_argument("implementation '" + name + "' is not one this processor can run");
}

// Aligned to a cache line.
struct Block {
    float* floats;
    size_t size;
};

// Blocks kept between calls: the pages of a fresh one would be faulted in one by one, which costs
// a training step a twentieth of its time.
class Store {
   public:
    Block take(size_t size) {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (Block& kept : kept_)
            if (kept.size == size) {
                const Block found = kept;
                kept = kept_.back();
                kept_.pop_back();
                return found;
            }
        return {static_cast<float*>(::operator new(size * sizeof(float), alignment)), size};
    }
    void give_back(Block block) {
        const std::lock_guard<std::mutex> lock(mutex_);
        // A step and its probe each want a block for every thread, and a few more.
        if (kept_.size() >= std::max<size_t>(32, 3 * std::thread::hardware_concurrency())) {
            ::operator delete(kept_.front().floats, alignment);
            kept_.erase(kept_.begin());
        }
        kept_.push_back(block);
    }
    ~Store() {
        for (const Block& block : kept_) ::operator delete(block.floats, alignment);
    }

   private:
    static constexpr std::align_val_t alignment{64};
    std::mutex mutex_;
    std::vector<Block> kept_;
};

Store store;

class Memory {
   public:
    explicit Memory(size_t floats) : block_(store.take(std::max<size_t>(floats, 1))) {}
    ~Memory() { store.give_back(block_); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    float* get() const { return block_.floats; }

   private:
    Block block_;
};

// First operands taken together, so that neighbours share table rows in the second cache level;
// for surfaces, which need no other memory, in the first.
constexpr int64_t BLOCK = 16, SURFACE_BLOCK = 4;

// Sorts positions by key(position) in [0, keys), stably.
template <typename Key>
void sort_by(std::vector<int32_t>& positions, int64_t keys, Key key) {
    std::vector<int32_t> next(static_cast<size_t>(keys) + 1), sorted(positions.size());
    for (int32_t i : positions) ++next[static_cast<size_t>(key(i)) + 1];
    for (size_t i = 1; i < next.size(); ++i) next[i] += next[i - 1];
    for (int32_t i : positions)
        sorted[static_cast<size_t>(next[static_cast<size_t>(key(i))]++)] = i;
    positions.swap(sorted);
}

// A thread's share of the pairs, ordered by (block of a, b), otherwise as the caller has them.
std::vector<int32_t> tile_order(const Pairs& pairs, int64_t p, int64_t block, int thread,
                                int threads) {
    const Range range = share(pairs.count, thread, threads);
    std::vector<int32_t> order(static_cast<size_t>(range.end - range.begin));
    std::iota(order.begin(), order.end(), static_cast<int32_t>(range.begin));
    sort_by(order, p, [&](int32_t i) { return pairs.numbers[i] % p; });
    sort_by(order, p / block + 1, [&](int32_t i) { return pairs.numbers[i] / p / block; });
    return order;
}

// Runs body(thread, its batch) on every thread; see useful_threads for how many there should be.
template <typename Body>
void for_batches(const Shape& shape, const Pairs& pairs, int64_t block, int threads, Body body) {
    run_on(threads, [&](int thread) {
        const std::vector<int32_t> order = tile_order(pairs, shape.p, block, thread, threads);
        body(static_cast<size_t>(thread),
             Batch{pairs, order.data(), static_cast<int64_t>(order.size())});
    });
}

// Each thread's own sums of logits by target; none where the caller wants none.
class ClassSums {
   public:
    ClassSums(const Shape& shape, int threads, double* total)
        : total_(total),
          size_(total ? static_cast<size_t>(shape.classes * shape.classes) : 0),
          parts_(size_ * static_cast<size_t>(threads)) {}
    double* of(size_t thread) { return total_ ? parts_.data() + thread * size_ : nullptr; }
    void add_up() {
        for (size_t i = 0; i < parts_.size(); ++i) total_[i % size_] += parts_[i];
    }

   private:
    double* total_;
    size_t size_;
    std::vector<double> parts_;
};

// The plan's threads, but no more of them than there are pairs to share.
int useful_threads(const Plan& plan, int64_t pairs) {
    return static_cast<int>(std::clamp<int64_t>(pairs, 1, plan.threads));
}

Score add_up(const std::vector<Score>& parts) {
    Score total;
    for (const Score& part : parts) {
        total.loss_sum += part.loss_sum;
        total.correct += part.correct;
    }
    return total;
}

// Runs the stages of a folding, or of its gradient, on every thread; each after the one before.
template <typename Body>
void for_stages(int stages, int threads, Body body) {
    for (int number = 0; number < stages; ++number)
        run_on(threads, [&](int thread) { body(Stage{number, thread, threads}); });
}

Tables read_only(const TablesOf<float>& tables) {
    const TableArray<float> written = array_of(tables);
    TableArray<const float> read;
    std::copy(written.begin(), written.end(), read.begin());
    return tables_of(read);
}

// Tables, or their gradients, in memory of their own.
class OwnTables {
   public:
    explicit OwnTables(const Shape& shape) : memory_(size(shape)) {
        float* next = memory_.get();
        for (size_t i = 0; i < TABLE_COUNT; next += size(TABLES[i++], shape))
            tables_[i] = next;
    }
    TablesOf<float> written() const { return tables_of(tables_); }
    Tables read() const { return read_only(written()); }

   private:
    // Floats, to the end of the last cache line.
    static int64_t size(const Table& table, const Shape& shape) {
        return (table.size(shape) + 15) / 16 * 16;
    }
    static size_t size(const Shape& shape) {
        int64_t total = 0;
        for (const Table& table : TABLES) total += size(table, shape);
        return static_cast<size_t>(total);
    }
    Memory memory_;
    TableArray<float> tables_;
};

}  // namespace

std::vector<Implementation> implementations() {
    std::vector<Implementation> found;
    for (const Kernels* kernels : all_kernels)
        if (kernels->supported())
            found.push_back({kernels->name, kernels->precision, kernels->automatic});
    return found;
}

Score evaluate(const Shape& shape, const Tables& tables, const Pairs& pairs, const Plan& plan,
               float* logits, double* class_sums) {
    const Kernels& kernels = find(plan.implementation);
    const int threads = useful_threads(plan, pairs.count);
    Memory packed(kernels.packed_size(shape, false));
    kernels.pack(shape, tables, false, packed.get());

    ClassSums sums(shape, threads, class_sums);
    std::vector<Score> parts(static_cast<size_t>(threads));
    for_batches(shape, pairs, BLOCK, threads, [&](size_t thread, const Batch& batch) {
        Memory scratch(kernels.scratch_size(shape, false));
        parts[thread] = kernels.evaluate(shape, tables, packed.get(), batch, scratch.get(), logits,
                                         sums.of(thread));
    });
    sums.add_up();
    return add_up(parts);
}

Score pair_loss(const Shape& shape, const Tables& tables, const Pairs& pairs, const Plan& plan,
                float scale, const Gradients& gradients, double* class_sums) {
    const Kernels& kernels = find(plan.implementation);
    const int threads = useful_threads(plan, pairs.count);
    Memory packed(kernels.packed_size(shape, true));
    kernels.pack(shape, tables, true, packed.get());

    std::vector<std::unique_ptr<Memory>> scratch;
    std::vector<float*> sums;
    for (int thread = 0; thread < threads; ++thread) {
        scratch.push_back(std::make_unique<Memory>(kernels.scratch_size(shape, true)));
        sums.push_back(scratch.back()->get());
    }
    ClassSums by_class(shape, threads, class_sums);
    std::vector<Score> parts(static_cast<size_t>(threads));
    for_batches(shape, pairs, BLOCK, threads, [&](size_t thread, const Batch& batch) {
        parts[thread] =
            kernels.pair_loss(shape, tables, packed.get(), batch, scale, sums[thread],
                              thread == 0 ? &gradients : nullptr, by_class.of(thread));
    });
    kernels.reduce(shape, sums.data(), threads, gradients);
    by_class.add_up();
    return add_up(parts);
}

void fold(const ModelShape& m, const Parameters& w, const Plan& plan,
          const TablesOf<float>& tables) {
    const Kernels& kernels = find(plan.implementation);
    Memory memory(kernels.fold_size(m, plan.threads));
    for_stages(FOLD_STAGES, plan.threads,
               [&](const Stage& stage) { kernels.fold(m, w, stage, memory.get(), tables); });
}

Score training_step(const ModelShape& m, const Parameters& w, const Pairs& pairs, const Plan& plan,
                    float scale, const ParameterGradients& gradients,
                    const TablesOf<float>* wanted, double* class_sums) {
    const Kernels& kernels = find(plan.implementation);
    const OwnTables own(m.tables()), d_tables(m.tables());
    const TablesOf<float> tables = wanted ? *wanted : own.written();
    Memory memory(kernels.fold_size(m, plan.threads));
    for_stages(FOLD_STAGES, plan.threads, [&](const Stage& stage) {
        kernels.fold(m, w, stage, memory.get(), tables);
    });
    const Score score = pair_loss(m.tables(), read_only(tables), pairs, plan, scale,
                                  d_tables.written(), class_sums);
    for_stages(UNFOLD_STAGES, plan.threads, [&](const Stage& stage) {
        kernels.unfold(m, w, stage, memory.get(), d_tables.read(), gradients);
    });
    return score;
}

void activations(const Shape& shape, const Tables& tables, const int64_t* neurons, int64_t count,
                 const Plan& plan, float* surfaces) {
    const Kernels& kernels = find(plan.implementation);
    std::vector<float> A, B, pre_bias;  // columns of the chosen neurons
    auto choose = [&](const float* table, int64_t rows, std::vector<float>& out) {
        out.resize(static_cast<size_t>(rows * count));
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < count; ++j)
                out[static_cast<size_t>(i * count + j)] = table[i * shape.d_mlp + neurons[j]];
        return out.data();
    };
    const float no_weights = 0.0f;
    const Shape chosen_shape{shape.p, shape.heads, count, 0};
    Tables chosen = tables;
    chosen.W_L = chosen.C = chosen.D = chosen.logit_bias = &no_weights;
    bool all = count == shape.d_mlp;
    for (int64_t j = 0; all && j < count; ++j) all = neurons[j] == j;
    if (!all) {
        chosen.A = choose(tables.A, shape.p * shape.heads, A);
        chosen.B = choose(tables.B, shape.p * shape.heads, B);
        chosen.pre_bias = choose(tables.pre_bias, 1, pre_bias);
    }

    std::vector<int64_t> numbers(static_cast<size_t>(shape.p * shape.p));
    std::iota(numbers.begin(), numbers.end(), 0);
    const Pairs pairs{numbers.data(), nullptr, shape.p * shape.p};
    const int threads = useful_threads(plan, pairs.count);
    Memory packed(kernels.packed_size(chosen_shape, false));
    kernels.pack(chosen_shape, chosen, false, packed.get());
    for_batches(shape, pairs, SURFACE_BLOCK, threads, [&](size_t, const Batch& batch) {
        Memory scratch(kernels.scratch_size(chosen_shape, false));
        kernels.activations(chosen_shape, chosen, packed.get(), batch, scratch.get(), surfaces);
    });
}

}  // namespace grid
