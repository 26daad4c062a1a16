// Runs every implementation on awkward shapes, each table in memory of exactly its size, and
// compares with the reference loop. Built with a sanitizer by tools/sanitize.sh: what it checks
// is that no kernel reads or writes beside its tables, and that threads share nothing they write.
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>

#include "fold.h"

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

// Arrays of their exact sizes, normal / sqrt(`fan`): the ten tables, the parameters, gradients of either.
template <typename Sizes, size_t count>
class Memory {
   public:
    Memory(const Sizes& sizes, const grid::ArrayOf<Sizes> (&arrays)[count], double fan,
           std::mt19937& random) {
        std::normal_distribution<float> normal(0.0f, float(1.0 / std::sqrt(fan)));
        for (size_t i = 0; i < count; ++i) {
            size_[i] = static_cast<size_t>(arrays[i].size(sizes));
            array_[i] = std::make_unique<float[]>(size_[i]);
            for (size_t j = 0; j < size_[i]; ++j) array_[i][j] = normal(random);
        }
    }
    template <typename T>
    std::array<T*, count> arrays() const {
        std::array<T*, count> pointers;
        for (size_t i = 0; i < count; ++i) pointers[i] = array_[i].get();
        return pointers;
    }
    Distance distance(const Memory& other) const {
        Distance found;
        for (size_t i = 0; i < count; ++i)
            for (size_t j = 0; j < size_[i]; ++j) found.add(array_[i][j], other.array_[i][j]);
        return found;
    }

   private:
    size_t size_[count];
    Floats array_[count];
};

struct TableMemory : Memory<grid::Shape, grid::TABLE_COUNT> {
    TableMemory(const grid::Shape& s, std::mt19937& random) : Memory(s, grid::TABLES, 1.0, random) {}
    template <typename T>
    grid::TablesOf<T> view() const { return grid::tables_of(arrays<T>()); }
};

struct ParameterMemory : Memory<grid::ModelShape, grid::PARAMETER_COUNT> {
    ParameterMemory(const grid::ModelShape& m, std::mt19937& random)
        : Memory(m, grid::PARAMETERS, double(m.d_model), random) {}
    template <typename T>
    grid::ParametersOf<T> view() const { return grid::parameters_of(arrays<T>()); }
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
    TableMemory gradients;
    std::vector<float> logits, surfaces;
    std::vector<double> class_sums;
};

Results run(const grid::Shape& s, const grid::Tables& tables, const grid::Pairs& pairs,
            const grid::Plan& plan, std::mt19937 random) {
    Results r{{}, {}, TableMemory(s, random), {}, {}, {}};
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
    const TableMemory tables(s, random);
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

// The folding, and a step from weights to their gradients.
void check_step(const grid::ModelShape& m) {
    const Case c{m.p, m.heads, m.d_mlp, m.classes, 1.0};
    std::mt19937 random(unsigned(m.p * 1000 + m.d_model));
    const ParameterMemory weights(m, random);
    std::vector<int64_t> numbers, targets;
    for (int64_t n = 0; n < m.p * m.p; ++n) {
        numbers.push_back(n);
        targets.push_back(int64_t(random()) % m.classes);
    }
    const grid::Pairs pairs{numbers.data(), targets.data(), int64_t(numbers.size())};
    struct Step {
        TableMemory tables;
        ParameterMemory gradients;
        grid::Score score;
    };
    auto step = [&](const grid::Plan& plan) {
        Step found{TableMemory(m.tables(), random), ParameterMemory(m, random), {}};
        grid::fold(m, weights.view<const float>(), plan, found.tables.view<float>());
        found.score =
            grid::training_step(m, weights.view<const float>(), pairs, plan,
                                1.0f / float(pairs.count), found.gradients.view<float>(), nullptr,
                                nullptr);
        return found;
    };
    const Step expected = step({"reference", 1});
    for (const grid::Implementation& one : grid::implementations())
        for (int threads = 1; threads <= 3; ++threads) {
            const grid::Plan plan{one.name, threads};
            const Step found = step(plan);
            const double loss = std::fabs(found.score.loss_sum - expected.score.loss_sum);
            require(loss < 1e-4 * double(pairs.count), "a step's loss", c, plan);
            require(found.tables.distance(expected.tables).is_rounding(), "a table", c, plan);
            require(found.gradients.distance(expected.gradients).is_rounding(),
                    "a weight's gradient", c, plan);
        }
}

}  // namespace

int main() {
    const Case cases[] = {{1, 1, 1, 1, 1.0},    {2, 1, 1, 2, 1.0},     {3, 2, 5, 3, 0.7},
                          {5, 3, 15, 4, 1.0},   {16, 4, 16, 16, 0.5},  {17, 5, 33, 17, 0.7},
                          {7, 6, 130, 21, 0.9}, {23, 4, 520, 113, 0.3}, {31, 2, 40, 69, 1.0},
                          {13, 5, 97, 150, 1.0}};
    for (const Case& c : cases) check(c);
    const grid::ModelShape models[] = {{1, 1, 1, 1, 1, 1},      {3, 5, 2, 3, 7, 4},
                                       {11, 17, 3, 8, 33, 21},  {9, 16, 4, 4, 64, 16},
                                       {13, 20, 1, 33, 40, 70}};
    for (const grid::ModelShape& m : models) check_step(m);
    std::printf("%zu implementations, %zu shapes, %zu models, 1 to 3 threads: as the reference\n",
                grid::implementations().size(), sizeof cases / sizeof *cases,
                sizeof models / sizeof *models);
}
