// The threads of the CPU kernels, kept between calls. Included by cpu.cpp only.
//
// A training step is half a dozen pieces of work of some hundred microseconds, with as little between
// them: a thread that has finished one looks out for the next a moment before it goes to sleep.
#pragma once

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace grid {
namespace {

constexpr int LOOKS = 2000;  // before going to sleep: some ten microseconds

inline void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// How this thread rounds and treats denormal numbers, which a new thread has from the one that makes it.
inline uint64_t float_mode() {
#if defined(__x86_64__)
    return _mm_getcsr();
#elif defined(__aarch64__)
    uint64_t mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
#else
    return 0;
#endif
}

inline void set_float_mode(uint64_t mode) {
#if defined(__x86_64__)
    _mm_setcsr(static_cast<unsigned>(mode));
#elif defined(__aarch64__)
    asm volatile("msr fpcr, %0" ::"r"(mode));
#else
    static_cast<void>(mode);
#endif
}

// One caller's work at a time, on the calling thread and as many others as it takes.
class Pool {
 public:
    // body(0) ... body(threads - 1), each on a thread of its own, the first on the caller's; false
    // if the pool is at another caller's work. What the system has no thread for runs here.
    template <typename Body>
    bool run(int threads, Body& body) {
        const std::unique_lock<std::mutex> mine(in_use_, std::try_to_lock);
        if (!mine) return false;
        grow(threads - 1);
        const int others = std::min(threads - 1, static_cast<int>(workers_));
        start({&call<Body>, &body, others, float_mode()});
        body(0);
        for (int thread = others + 1; thread < threads; ++thread) body(thread);
        wait_for_all();
        return true;
    }

 private:
    struct Work {
        void (*call)(void* body, int thread) = nullptr;
        void* body = nullptr;
        int threads = 0;
        uint64_t mode = 0;
    };

    template <typename Body>
    static void call(void* body, int thread) {
        (*static_cast<Body*>(body))(thread);
    }

    void grow(int wanted) {
        try {
            for (; workers_ < wanted; ++workers_)
                std::thread(&Pool::serve, this, workers_ + 1, number_.load()).detach();
        } catch (const std::system_error&) {
            return;  // the system has no more threads to give
        }
    }

    void start(const Work& work) {
        unfinished_.store(work.threads, std::memory_order_relaxed);
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            work_ = work;
            number_.fetch_add(1, std::memory_order_release);
        }
        begun_.notify_all();
    }

    void wait_for_all() {
        auto done = [&] { return unfinished_.load(std::memory_order_acquire) == 0; };
        for (int look = 0; look < LOOKS && !done(); ++look) pause();
        if (done()) return;
        std::unique_lock<std::mutex> lock(mutex_);
        ended_.wait(lock, done);
    }

    // A worker's life: whatever is started after the work of number `seen`.
    void serve(int thread, uint64_t seen) {
        for (;;) {
            auto is_new = [&] { return number_.load(std::memory_order_acquire) != seen; };
            for (int look = 0; look < LOOKS && !is_new(); ++look) pause();
            std::unique_lock<std::mutex> lock(mutex_);
            begun_.wait(lock, is_new);
            const Work work = work_;
            seen = number_.load(std::memory_order_relaxed);
            lock.unlock();
            if (thread > work.threads) continue;
            set_float_mode(work.mode);
            work.call(work.body, thread);
            if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) > 1) continue;
            lock.lock();  // the caller is before its last look or asleep, not between the two
            ended_.notify_one();
        }
    }

    std::mutex in_use_, mutex_;
    std::condition_variable begun_, ended_;
    Work work_;
    int workers_ = 0;
    std::atomic<uint64_t> number_{0};  // of the work that was started last
    std::atomic<int> unfinished_{0};
};

// A forked child has none of its parent's threads: it starts with a pool of its own.
Pool* pool = nullptr;

Pool& the_pool() {
    static std::once_flag once;
    std::call_once(once, [] {
        pool = new Pool;  // never destroyed: its threads live until the process ends
        pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });
    });
    return *pool;
}

// Runs body(0) ... body(threads - 1) side by side, the first on the calling thread; an exception is
// passed on.
template <typename Body>
void run_on(int threads, Body body) {
    if (threads == 1) return body(0);
    std::vector<std::exception_ptr> failures(static_cast<size_t>(threads));
    auto guarded = [&](int thread) {
        try {
            body(thread);
        } catch (...) {
            failures[static_cast<size_t>(thread)] = std::current_exception();
        }
    };
    if (!the_pool().run(threads, guarded))
        for (int thread = 0; thread < threads; ++thread) guarded(thread);
    for (const std::exception_ptr& failure : failures)
        if (failure) std::rethrow_exception(failure);
}

}  // namespace
}  // namespace grid
