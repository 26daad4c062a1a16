// Runs the threads of a CUDA block on the CPU: each is a fiber with a stack of its own, which runs
// until it waits for others. One fiber runs at a time, but nothing orders two of them except what
// orders them on a GPU (__syncthreads, __syncwarp), and ThreadSanitizer is told so: it reports a
// race whatever the order in which they happened to run. Shuffles order nothing, and neither do
// blocks.
//
// Shared memory is a heap block of exactly the launch's size, filled with NaN. A barrier or a
// shuffle that some thread does not reach, or a mask that leaves out a lane, ends the process with
// a message. This file itself is compiled without ThreadSanitizer.
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "cuda_runtime.h"

#ifdef EMULATION_TSAN
#include <sanitizer/tsan_interface.h>
#else
static void* __tsan_create_fiber(unsigned) { return nullptr; }
static void* __tsan_get_current_fiber() { return nullptr; }
static void __tsan_switch_to_fiber(void*, unsigned) {}
static void __tsan_acquire(void*) {}
static void __tsan_release(void*) {}
#endif

namespace emulation {

int device = 0, launched_on = 0;
void* launched_in = nullptr;
unsigned seed = 0;

namespace {

constexpr unsigned WARP = 32, ALL_LANES = 0xffffffffu;
constexpr unsigned MOST_THREADS = 256;  // of a block
constexpr size_t STACK = 256 * 1024;
constexpr unsigned ORDERED = 0, UNORDERED = 1;  // flags of __tsan_switch_to_fiber

enum class State { Ready, AtBarrier, AtShuffle, Done };

struct Fiber {
    ucontext_t context;
    void* stack;
    void* tsan = __tsan_create_fiber(0);
    State state = State::Ready;
    unsigned barriers = 0, shuffles = 0;  // passed so far
    Position position;
};

// The values that one warp shows; two sets, because a fast lane may be one shuffle ahead.
struct Warp {
    uint64_t shown[2][WARP];
    char orders[2];  // what __syncwarp releases and acquires
    unsigned waiting = 0;
};

struct Block {
    std::vector<Fiber*> fibers;  // thread by thread
    std::vector<Warp> warps;
    unsigned waiting = 0;
    char orders[2];  // what __syncthreads releases and acquires, alternating for the same reason
    std::unique_ptr<float, void (*)(void*)> shared{nullptr, std::free};
    size_t shared_size;
};

ucontext_t scheduler;
void* scheduler_tsan;
char launch_end;  // released by every thread, acquired by the host
Block* block;
Fiber* running;
const std::function<void()>* body;

[[noreturn]] void stop(const char* what) {
    const Position& at = running->position;
    std::fprintf(stderr, "emulation: %s (block %u %u %u, thread %u)\n", what, at.block.x,
                 at.block.y, at.block.z, at.thread.x);
    std::_Exit(70);
}

void yield() {
    Fiber& self = *running;
    __tsan_switch_to_fiber(scheduler_tsan, UNORDERED);
    swapcontext(&self.context, &scheduler);
}

void run_body() {
    (*body)();
    running->state = State::Done;
    __tsan_release(&launch_end);
    yield();
}

void resume(Fiber& fiber) {
    running = &fiber;
    __tsan_switch_to_fiber(fiber.tsan, ORDERED);  // after what the host did before the launch
    swapcontext(&scheduler, &fiber.context);
}

// Fibers for one block after another. A block's barriers order its bank for ever after, so there
// are two banks, and each block gets one by chance: races between blocks show too.
std::vector<Fiber> make_bank() {
    std::vector<Fiber> bank(MOST_THREADS);
    char* stacks = static_cast<char*>(mmap(nullptr, STACK * MOST_THREADS, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    for (Fiber& fiber : bank) fiber.stack = stacks, stacks += STACK;
    return bank;
}

void start(std::vector<Fiber>& bank, dim3 at, dim3 threads, dim3 blocks) {
    for (unsigned i = 0; i < threads.x; ++i) {
        Fiber& fiber = bank[i];
        block->fibers.push_back(&fiber);
        fiber.state = State::Ready;
        fiber.barriers = fiber.shuffles = 0;
        fiber.position = {dim3(i, 0, 0), at, threads, blocks};
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack;
        fiber.context.uc_stack.ss_size = STACK;
        makecontext(&fiber.context, run_body, 0);
    }
}

// Runs the block's threads, in an order that changes with the block, until all are done.
void run_block(std::mt19937& random) {
    std::vector<Fiber*> order = block->fibers;
    std::shuffle(order.begin(), order.end(), random);
    for (bool all_done = false, moved = true; !all_done;) {
        if (!moved) {
            const bool shuffle = running->state == State::AtShuffle;
            stop(shuffle ? "a shuffle that not every lane of its warp reaches"
                         : "a __syncthreads that not every thread of its block reaches");
        }
        all_done = true, moved = false;
        for (Fiber* fiber : order) {
            if (fiber->state == State::Ready) resume(*fiber), moved = true;
            if (fiber->state != State::Done) all_done = false, running = fiber;
        }
    }
}

Block make_block(dim3 threads, size_t shared_size) {
    Block made;
    made.warps.resize(threads.x / WARP);
    made.shared_size = shared_size;
    const size_t size = std::max<size_t>(16, (shared_size + 15) / 16 * 16);
    made.shared.reset(static_cast<float*>(std::aligned_alloc(16, size)));
    std::fill_n(made.shared.get(), size / sizeof(float), std::nanf(""));
    return made;
}

// Waits for the whole warp; the number of the set that holds the shown values.
unsigned show(unsigned mask, uint64_t value) {
    if (mask != ALL_LANES) stop("a shuffle's mask leaves out a lane");
    const unsigned thread = running->position.thread.x, set = running->shuffles++ % 2;
    Warp& warp = block->warps[thread / WARP];
    warp.shown[set][thread % WARP] = value;
    if (++warp.waiting == WARP) {
        warp.waiting = 0;
        for (unsigned lane = 0; lane < WARP; ++lane)
            block->fibers[thread / WARP * WARP + lane]->state = State::Ready;
    } else {
        running->state = State::AtShuffle;
        yield();
    }
    return set;
}

}  // namespace

Position here() { return running->position; }

void* shared_bytes(size_t size) {
    if (size > block->shared_size) stop("more shared memory is used than the launch asked for");
    return block->shared.get();
}

void synchronize_warp() {
    char* order = &block->warps[running->position.thread.x / WARP].orders[running->shuffles % 2];
    __tsan_release(order);
    show(ALL_LANES, 0);
    __tsan_acquire(order);
}

void synchronize_block() {
    char* order = &block->orders[running->barriers++ % 2];
    __tsan_release(order);
    if (++block->waiting == block->fibers.size()) {
        block->waiting = 0;
        for (Fiber* fiber : block->fibers) fiber->state = State::Ready;
    } else {
        running->state = State::AtBarrier;
        yield();
    }
    __tsan_acquire(order);
}

uint64_t exchange(unsigned mask, uint64_t value, unsigned from) {
    const Warp& warp = block->warps[running->position.thread.x / WARP];
    const unsigned set = show(mask, value);
    if (from >= WARP) stop("a shuffle reads a lane beyond the warp");
    return warp.shown[set][from];
}

unsigned ballot(unsigned mask, bool flag) {
    const Warp& warp = block->warps[running->position.thread.x / WARP];
    const unsigned set = show(mask, flag);
    unsigned flags = 0;
    for (unsigned from = 0; from < WARP; ++from) flags |= unsigned(warp.shown[set][from]) << from;
    return flags;
}

void launch(dim3 grid, dim3 threads, size_t shared_size, const std::function<void()>& kernel) {
    if (threads.x > MOST_THREADS || threads.x % WARP != 0) std::abort();
    static std::vector<Fiber> banks[2] = {make_bank(), make_bank()};
    scheduler_tsan = __tsan_get_current_fiber();
    body = &kernel;
    std::mt19937 random(seed);
    std::vector<Block> blocks;  // kept to the end: freeing memory would order its users
    blocks.reserve(size_t{grid.x} * grid.y * grid.z);
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                blocks.push_back(make_block(threads, shared_size));
                block = &blocks.back();
                start(banks[random() % 2], dim3(x, y, z), threads, grid);
                run_block(random);
            }
    __tsan_acquire(&launch_end);
}

}  // namespace emulation
