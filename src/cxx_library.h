/*
 * The C++ library's functions, if the process has one: by name at run time in the shared object, by weak reference
 * in a static build.
 */
#ifndef TIERMALLOC_CXX_LIBRARY_H
#define TIERMALLOC_CXX_LIBRARY_H

/* The function of this mangled name: get_new_handler's or __throw_bad_alloc's. NULL: there is no C++ library. */
void *cxx_library_function(const char *name);

#endif
