/*
 * The smallest program that prints a line. Without an argument it does just that, and its parent counts its page
 * faults; with one it also prints its memory and which allocator is loaded.
 */
#include "measure.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    (void)argv;
    printf("hello, world\n");
    if (argc > 1) {
        uint64_t resident = resident_kib(), address_space = address_space_kib();
        printf("resident_kib %ju\naddress_space_kib %ju\n", (uintmax_t)resident, (uintmax_t)address_space);
        print_allocator();
    }
    return 0;
}
