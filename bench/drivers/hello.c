/*
 * The smallest program that prints a line. Without an argument it does just that, and the launcher counts its page
 * faults; with one it also prints its memory and which allocator is loaded.
 */
#include "measure.h"

#include <stdio.h>

int main(int argc, char **argv)
{
	(void)argv;
	printf("hello, world\n");
	if (argc > 1) {
		double resident = (double)resident_kib() / 1024.0, address_space = (double)address_space_kib() / 1024.0;
		printf("rss_hello %.4f\naddress_space %.4f\n", resident, address_space);
		print_allocator();
	}
	return 0;
}
