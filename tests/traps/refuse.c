/*
 * Executes a program to which the kernel refuses rseq or membarrier (not a trap itself):
 *
 *     refuse rseq|membarrier ENOSYS|EPERM [the same again] -- PROGRAM [ARGUMENTS]
 */
#include "refuse.h"

int main(int count, char **values)
{
	int i = 1;

	for (; i + 1 < count && strcmp(values[i], "--") != 0; i += 2) {
		long number = strcmp(values[i], "rseq") == 0 ? SYS_rseq : SYS_membarrier;

		refuse_call(number, strcmp(values[i + 1], "EPERM") == 0 ? EPERM : ENOSYS);
	}
	REQUIRE(i + 1 < count, "which program?");
	execvp(values[i + 1], values + i + 1);
	FAIL("%s: %s", values[i + 1], strerror(errno));
}
