/* The interface to recording: see tiermalloc.h. */
#include <errno.h>

#include "abi.h"
#include "observe/recording.h"
#include "process.h"
#include "tiermalloc/tiermalloc.h"

EXPORT int PUBLIC(tiermalloc_record_start)(const char *path)
{
	return process_ready() ? recording_start(path) : ENOMEM;
}

EXPORT int PUBLIC(tiermalloc_record_stop)(void)
{
	return recording_stop();
}

EXPORT int PUBLIC(tiermalloc_record_write)(const char *path)
{
	return recording_write(path);
}
