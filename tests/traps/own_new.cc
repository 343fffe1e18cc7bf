/*
 * Trap: a program that replaces operator new(size_t) alone. What it returns goes to the allocator's
 * operator delete, with the size that was asked of the program's.
 */
#include "trap.h"

#include <cstdlib>
#include <new>
#include <vector>

static int news;

void *operator new(std::size_t size)
{
	news++;
	return std::malloc(size + 64);
}

struct object {
	char bytes[8];
};

int main()
{
	require_allocator();
	for (int i = 0; i < 10000; i++)
		delete new object;
	std::vector<int> *numbers = new std::vector<int>;
	for (int i = 0; i < 10000; i++)
		numbers->push_back(i);
	REQUIRE((*numbers)[9999] == 9999, "a vector has changed");
	delete numbers;
	REQUIRE(news > 10000, "operator new was called %d times", news);
	return 0;
}
