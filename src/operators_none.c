/* A build with a prefix has no C++ operators: nothing stands between a sized free and the heap. */
#include "operators.h"

bool operators_are_ours(void)
{
	return true;
}
