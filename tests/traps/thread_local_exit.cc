/*
 * Trap: C++ thread_local objects whose destructors allocate and free, some of which
 * come into being only while others are destroyed; threads that are joined, detached,
 * ended by pthread_exit and by cancellation.
 *
 *     thread_local_exit [rounds]
 */
#include "trap.h"

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <string>
#include <thread>
#include <vector>

namespace
{

std::atomic<unsigned long> destroyed{0};

struct Late {
	std::vector<std::string> lines{100, std::string(200, 'l')};
	~Late()
	{
		auto copy = std::make_unique<std::vector<std::string>>(lines);
		REQUIRE(copy->back() == std::string(200, 'l'), "late object has changed");
		destroyed++;
	}
};

/* Not touched before a destructor below does. */
Late &late()
{
	thread_local Late object;
	return object;
}

struct Early {
	std::map<int, std::string> names;
	std::unique_ptr<char[]> large{new char[400 * KIB]};
	~Early()
	{
		for (int i = 0; i < 50; i++)
			names[i + 1000] = std::string(static_cast<size_t>(i) * 50, 'x');
		late().lines.emplace_back("one more");
		late().lines.back() = std::string(200, 'l');
		large.reset(new char[500 * KIB]);
		destroyed++;
	}
};

thread_local Early early;

void use_thread_locals()
{
	for (int i = 0; i < 50; i++)
		early.names[i] = std::string(static_cast<size_t>(i) * 20, 'y');
}

void *use_and_exit(void *)
{
	use_thread_locals();
	pthread_exit(nullptr);
}

void *use_and_wait_for_cancel(void *)
{
	use_thread_locals();
	for (;;)
		pause(); /* a cancellation point; the destructors run from here */
}

void start(pthread_t *thread, void *(*function)(void *))
{
	int error = pthread_create(thread, nullptr, function, nullptr);
	REQUIRE(error == 0, "pthread_create: %s", strerror(error));
}

void run_joined()
{
	std::thread joined(use_thread_locals);
	pthread_t exiting, cancelled;
	start(&exiting, use_and_exit);
	start(&cancelled, use_and_wait_for_cancel);
	pthread_cancel(cancelled);
	joined.join();
	pthread_join(exiting, nullptr);
	pthread_join(cancelled, nullptr);
}

/* Returns when the detached thread is past its last statement. */
void run_detached()
{
	struct Gate {
		std::mutex mutex;
		std::condition_variable opened;
		bool open = false;
	};
	auto gate = std::make_shared<Gate>();
	std::thread([gate] {
		use_thread_locals();
		std::lock_guard<std::mutex> guard(gate->mutex);
		gate->open = true;
		gate->opened.notify_one();
	}).detach();
	std::unique_lock<std::mutex> lock(gate->mutex);
	gate->opened.wait(lock, [&] { return gate->open; });
}

} // namespace

int main(int count, char **values)
{
	require_allocator();
	unsigned long rounds = argument(count, values, 1, 300);
	for (unsigned long i = 0; i < rounds; i++) {
		run_joined();
		run_detached();
	}
	/* Two objects in each joined thread; a detached one may still be on its way. */
	REQUIRE(destroyed >= rounds * 6, "only %lu objects destroyed", destroyed.load());
	return 0;
}
