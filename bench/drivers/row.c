/* The name of a benchmark row and the command line of its driver. See row.h. */
#include "row.h"
#include "workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void refuse_row(void)
{
	fprintf(stderr, "usage: FAMILY[/ARGUMENT][@THREADS] MILLISECONDS, or --list for the families\n");
	exit(2);
}

/* A number from 1 to `largest` without anything behind it, or 0. */
static size_t read_number(const char *text, size_t largest)
{
	char *end;
	unsigned long long number = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
	return number > 0 && *end == '\0' && number <= largest ? (size_t)number : 0;
}

static void copy_part(char *part, size_t size, const char *from, size_t length)
{
	if (length >= size)
		refuse_row();
	memcpy(part, from, length);
	part[length] = '\0';
}

static void read_name(const char *name, struct row *row)
{
	size_t length = strcspn(name, "@");
	size_t family = strcspn(name, "/@");
	copy_part(row->family, sizeof row->family, name, family);
	row->argument[0] = '\0';
	if (family < length)
		copy_part(row->argument, sizeof row->argument, name + family + 1, length - family - 1);
	row->size = read_number(row->argument, SIZE_MAX / 2);
	row->threads = name[length] == '@' ? read_number(name + length + 1, WORKERS_MAXIMUM) : 1;
	if (row->threads == 0)
		refuse_row();
}

size_t read_row(int argc, char **argv, const void *families, size_t family_size, size_t count, struct row *row)
{
	const char *family = families;
	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (size_t i = 0; i < count; i++)
			puts(*(const char *const *)(family + i * family_size));
		exit(0);
	}
	if (argc != 3)
		refuse_row();
	read_name(argv[1], row);
	row->duration = read_number(argv[2], 3600 * 1000) * UINT64_C(1000000);
	if (row->duration == 0)
		refuse_row();
	for (size_t i = 0; i < count; i++) {
		if (strcmp(*(const char *const *)(family + i * family_size), row->family) == 0)
			return i;
	}
	refuse_row();
}
