// Runs every implementation on awkward shapes, each table in memory of exactly its size, and
// compares with the reference loop. Built with a sanitizer by tools/sanitize.sh: what it checks
// is that no kernel reads or writes beside its tables, and that threads share nothing they write.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>

#include "grid.h"

namespace {

using Floats = std::unique_ptr<float[]>;

struct Case {
    int64_t p, heads, d_mlp, classes;
    double density;
};

// How far results are from the reference's, and how large the reference's are.
struct Distance {
    double largest = 0.0, magnitude = 0.0;
    bool finite = true;
    void add(double one, double other) {
        const double difference = std::fabs(one - other);
        finite = finite && difference < INFINITY;  // false for NaN
        largest = std::fmax(largest, difference);
        magnitude = std::fmax(magnitude, std::fabs(other));
    }
    // About 170 times the rounding of the largest value: sums of up to some hundred terms, in another
    // order. A wrong index is as far off as the values are large.
    bool is_rounding() const { return finite && largest <= 1e-5 * magnitude; }
};

// The ten tables, or their gradients.
class Memory {
   public:
    Memory(const grid::Shape& s, std::mt19937& random) {
        std::normal_distribution<float> normal;
        for (size_t i = 0; i < grid::TABLE_COUNT; ++i) {
            size_[i] = static_cast<size_t>(grid::TABLES[i].size(s));
            table_[i] = std::make_unique<float[]>(size_[i]);
            for (size_t j = 0; j < size_[i]; ++j) table_[i][j] = normal(random);
        }
    }
    template <typename T>
    grid::TablesOf<T> view() const {
        grid::TableArray<T> tables;
        for (size_t i = 0; i < grid::TABLE_COUNT; ++i) tables[i] = table_[i].get();
        return grid::tables_of(tables);
    }
    Distance distance(const Memory& other) const {
        Distance found;
        for (size_t i = 0; i < grid::TABLE_COUNT; ++i)
            for (size_t j = 0; j < size_[i]; ++j) found.add(table_[i][j], other.table_[i][j]);
        return found;
    }

   private:
    size_t size_[grid::TABLE_COUNT];
    Floats table_[grid::TABLE_COUNT];
};

void require(bool holds, const char* what, const Case& c, const grid::Plan& plan) {
    if (holds) return;
    std::fprintf(stderr, "%s differs: %s, %d threads, p=%ld H=%ld d_mlp=%ld classes=%ld\n", what,
                 plan.implementation.c_str(), plan.threads, long(c.p), long(c.heads), long(c.d_mlp),
                 long(c.classes));
    std::exit(1);
}

struct Results {
    grid::Score evaluated, trained;
    Memory gradients;
    std::vector<float> logits, surfaces;
    std::vector<double> class_sums;
};

Results run(const grid::Shape& s, const grid::Tables& tables, const grid::Pairs& pairs,
            const grid::Plan& plan, std::mt19937 random) {
    Results r{{}, {}, Memory(s, random), {}, {}, {}};
    r.logits.resize(size_t(pairs.count * s.classes));
    r.class_sums.resize(size_t(s.classes * s.classes));
    r.surfaces.resize(size_t(s.p * s.p * s.d_mlp));
    std::vector<int64_t> neurons;
    for (int64_t k = s.d_mlp; k-- > 0;) neurons.push_back(k);
    r.evaluated = grid::evaluate(s, tables, pairs, plan, r.logits.data(), r.class_sums.data());
    r.trained = grid::pair_loss(s, tables, pairs, plan, 1.0f / float(pairs.count),
                                r.gradients.view<float>(), r.class_sums.data());
    grid::activations(s, tables, neurons.data(), s.d_mlp, plan, r.surfaces.data());
    return r;
}

template <typename T>
Distance distance(const std::vector<T>& one, const std::vector<T>& other) {
    Distance found;
    for (size_t i = 0; i < one.size(); ++i) found.add(double(one[i]), double(other[i]));
    return found;
}

void compare(const Case& c, const grid::Plan& plan, const Results& actual, const Results& expected,
             int64_t count) {
    const double loss = std::fabs(actual.evaluated.loss_sum - expected.evaluated.loss_sum);
    require(loss < 1e-4 * double(count), "loss", c, plan);
    require(actual.trained.loss_sum == actual.evaluated.loss_sum, "training loss", c, plan);
    require(actual.gradients.distance(expected.gradients).is_rounding(), "a gradient", c, plan);
    require(distance(actual.logits, expected.logits).is_rounding(), "logits", c, plan);
    require(distance(actual.class_sums, expected.class_sums).is_rounding(), "class sums", c, plan);
    require(distance(actual.surfaces, expected.surfaces).is_rounding(), "surfaces", c, plan);
}

void check(const Case& c) {
    const grid::Shape s{c.p, c.heads, c.d_mlp, c.classes};
    std::mt19937 random(unsigned(c.p * 1000 + c.classes));
    const Memory tables(s, random);
    std::vector<int64_t> numbers, targets;
    for (int64_t n = 0; n < c.p * c.p; ++n)
        if (n == 0 || double(random()) / double(random.max()) < c.density) {
            numbers.push_back(n);
            targets.push_back(int64_t(random()) % c.classes);
        }
    const grid::Pairs pairs{numbers.data(), targets.data(), int64_t(numbers.size())};
    const auto view = tables.view<const float>();
    const Results expected = run(s, view, pairs, {"reference", 1}, random);
    for (const grid::Implementation& one : grid::implementations())
        for (int threads = 1; threads <= 3; ++threads) {
            const grid::Plan plan{one.name, threads};
            compare(c, plan, run(s, view, pairs, plan, random), expected, pairs.count);
        }
}

}  // namespace

int main() {
    const Case cases[] = {{1, 1, 1, 1, 1.0},    {2, 1, 1, 2, 1.0},     {3, 2, 5, 3, 0.7},
                          {5, 3, 15, 4, 1.0},   {16, 4, 16, 16, 0.5},  {17, 5, 33, 17, 0.7},
                          {7, 6, 130, 21, 0.9}, {23, 4, 520, 113, 0.3}, {31, 2, 40, 69, 1.0},
                          {13, 5, 97, 150, 1.0}};
    for (const Case& c : cases) check(c);
    std::printf("%zu implementations, %zu shapes, 1 to 3 threads: as the reference\n",
                grid::implementations().size(), sizeof cases / sizeof *cases);
}
