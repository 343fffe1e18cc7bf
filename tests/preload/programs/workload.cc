// Work for the C++ runtime whose output does not depend on timing or addresses: containers, exceptions, threads, a queue from
// one thread to another, over-aligned objects. The argument chooses the part.
#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <iostream>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <queue>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

using Numbers = std::mt19937;

static std::uint64_t mix(std::uint64_t sum, std::uint64_t value)
{
    return (sum ^ value) * 1099511628211u;
}

static std::uint64_t churn_containers(unsigned seed)
{
    Numbers numbers(seed);
    std::map<int, std::string> tree;
    std::unordered_map<std::string, std::vector<int>> table;
    std::list<std::shared_ptr<std::deque<double>>> chain;
    std::set<std::pair<int, int>> pairs;
    for (int round = 0; round < 60000; round++) {
        int key = static_cast<int>(numbers() % 5000);
        tree[key] += std::string(numbers() % 60, static_cast<char>('a' + key % 26));
        table["key " + std::to_string(key)].push_back(round);
        pairs.emplace(key, round % 17);
        chain.push_back(std::make_shared<std::deque<double>>(numbers() % 30, key));
        if (chain.size() > 300)
            chain.erase(std::next(chain.begin(), numbers() % 300));
        if (round % 3 == 0) {
            tree.erase(static_cast<int>(numbers() % 5000));
            table.erase("key " + std::to_string(numbers() % 5000));
        }
    }
    std::uint64_t sum = pairs.size();
    for (auto const &[key, text] : tree)
        sum = mix(sum, std::hash<std::string>()(text) + static_cast<unsigned>(key) + table["key " + std::to_string(key)].size());
    for (auto const &item : chain)
        sum = mix(sum, static_cast<std::uint64_t>(std::accumulate(item->begin(), item->end(), 0.0)));
    return sum;
}

static void containers()
{
    std::cout << churn_containers(1) << '\n';
    std::vector<std::string> lines;
    for (int i = 0; i < 200000; i++)
        lines.push_back(std::to_string(i * 2654435761u) + std::string(i % 50, '.'));
    std::sort(lines.begin(), lines.end());
    std::ostringstream all;
    for (auto const &line : lines)
        all << line << '\n';
    std::cout << std::hash<std::string>()(all.str()) << '\n';
}

struct Failure : std::runtime_error {
    std::vector<std::string> trail;
    explicit Failure(int depth) : std::runtime_error("at depth " + std::to_string(depth)) {}
};

static int descend(int depth, Numbers &numbers)
{
    std::vector<std::unique_ptr<std::string>> held(numbers() % 8);
    for (auto &item : held)
        item = std::make_unique<std::string>(numbers() % 200, 'h');
    if (depth == 0)
        throw Failure(static_cast<int>(numbers() % 100));
    try {
        return descend(depth - 1, numbers);
    } catch (Failure &failure) {
        failure.trail.push_back(std::to_string(depth) + std::string(held.size(), '!'));
        if (depth % 10 == 0)
            std::throw_with_nested(failure);
        throw;
    }
}

static std::uint64_t throw_many(unsigned seed)
{
    Numbers numbers(seed);
    std::uint64_t sum = 0;
    for (int round = 0; round < 400; round++) {
        try {
            descend(9 + round % 20, numbers);
        } catch (Failure const &failure) {
            for (auto const &step : failure.trail)
                sum = mix(sum, std::hash<std::string>()(step + failure.what()));
        }
    }
    return sum;
}

static void exceptions()
{
    std::cout << throw_many(1) << '\n';
    std::vector<std::future<std::uint64_t>> results;
    for (unsigned seed = 0; seed < 4; seed++)
        results.push_back(std::async(std::launch::async, throw_many, seed));
    for (auto &result : results)
        std::cout << result.get() << '\n';
    auto failing = std::async(std::launch::async, [] { Numbers numbers(5); return descend(5, numbers); });
    try {
        failing.get();
    } catch (Failure const &failure) {
        std::cout << failure.what() << ' ' << failure.trail.size() << '\n';
    }
    try {
        // Volatile, so that the compiler does not see that the size is impossible.
        std::size_t volatile too_large = std::numeric_limits<std::ptrdiff_t>::max();
        std::cout << static_cast<void *>(::operator new(too_large)) << '\n';
    } catch (std::bad_alloc const &error) {
        std::cout << error.what() << '\n';
    }
}

// Built at a thread's first use of it and destroyed at its exit, when other destructors may have run already.
struct Diary {
    std::vector<std::string> lines;
    ~Diary() { lines.push_back(std::string(100, 'e')); lines.clear(); lines.shrink_to_fit(); }
};
static thread_local Diary diary;

static void threads()
{
    std::vector<std::uint64_t> sums(6);
    std::vector<std::thread> workers;
    for (unsigned seed = 0; seed < sums.size(); seed++)
        workers.emplace_back([&sums, seed] {
            diary.lines.assign(50, "kept until the thread ends");
            sums[seed] = churn_containers(seed);
        });
    for (auto &worker : workers)
        worker.join();
    for (auto sum : sums)
        std::cout << sum << '\n';
    for (int i = 0; i < 500; i++)
        std::thread([i] { diary.lines.emplace_back(static_cast<std::size_t>(i), 'x'); }).join();
}

static void queue()
{
    std::mutex mutex;
    std::condition_variable changed;
    std::queue<std::unique_ptr<std::string>> waiting;
    bool finished = false;
    std::uint64_t sum = 0;
    std::thread consumer([&] {
        std::unique_lock<std::mutex> lock(mutex);
        for (;;) {
            changed.wait(lock, [&] { return finished || !waiting.empty(); });
            if (waiting.empty())
                return;
            auto item = std::move(waiting.front());
            waiting.pop();
            lock.unlock();
            sum = mix(sum, std::hash<std::string>()(*item));
            item.reset();
            lock.lock();
        }
    });
    Numbers numbers(9);
    for (int i = 0; i < 100000; i++) {
        auto item = std::make_unique<std::string>(std::to_string(i) + std::string(numbers() % 2000, 'q'));
        std::lock_guard<std::mutex> lock(mutex);
        waiting.push(std::move(item));
        changed.notify_one();
    }
    {
        std::lock_guard<std::mutex> lock(mutex);
        finished = true;
        changed.notify_one();
    }
    consumer.join();
    std::cout << sum << '\n';
}

template <std::size_t Alignment> struct alignas(Alignment) Aligned {
    unsigned char bytes[Alignment];
};

template <std::size_t Alignment> static bool aligned_works()
{
    std::vector<std::unique_ptr<Aligned<Alignment>>> objects;
    std::vector<Aligned<Alignment>> array;
    bool good = true;
    for (int i = 0; i < 200; i++) {
        objects.push_back(std::make_unique<Aligned<Alignment>>());
        objects.back()->bytes[Alignment - 1] = static_cast<unsigned char>(i);
        good = good && reinterpret_cast<std::uintptr_t>(objects.back().get()) % Alignment == 0;
        array.push_back(*objects.back());
        good = good && reinterpret_cast<std::uintptr_t>(array.data()) % Alignment == 0;
    }
    for (int i = 0; i < 200; i++)
        good = good && array[static_cast<std::size_t>(i)].bytes[Alignment - 1] == i;
    return good;
}

static void aligned()
{
    std::cout << aligned_works<16>() << aligned_works<32>() << aligned_works<64>() << aligned_works<128>() << aligned_works<512>()
              << aligned_works<4096>() << aligned_works<16384>() << aligned_works<65536>() << '\n';
}

int main(int argc, char **argv)
{
    std::map<std::string, void (*)()> parts{{"containers", containers}, {"exceptions", exceptions}, {"threads", threads},
                                            {"queue", queue}, {"aligned", aligned}};
    auto part = parts.find(argc > 1 ? argv[1] : "");
    if (part == parts.end()) {
        std::cerr << "usage: workload PART\n";
        return 2;
    }
    part->second();
    return 0;
}
