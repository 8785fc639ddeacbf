/* SPDX-License-Identifier: Apache-2.0
 * cache.h: compiled programs on the disk. The head of cache.c says how they are kept. */
#ifndef FDIT_HOST_OPENCL_CACHE_H
#define FDIT_HOST_OPENCL_CACHE_H

#include "state.h"

struct cache_key {
    cl_ulong a, b;
};

struct cache_key fdit_opencl_cache_key(const struct opencl *cl, const char *const parts[2],
                                       const char *options);
/* The file of a key in the folder of the cache, which `make` makes where it is missing. Fails where
 * there is no cache, or a folder that others may write. Free with fdit_free. */
enum fdit_status fdit_opencl_cache_path(struct cache_key key, bool make, const char *suffix, char **out);
/* The program of that key, built, or NULL: not there, or not what this driver takes. */
cl_program fdit_opencl_cache_load(struct opencl *cl, struct cache_key key, const char *options);
/* Keeps a program that was built from source; a failure has no effect. */
void fdit_opencl_cache_store(struct opencl *cl, struct cache_key key, cl_program program);

#endif
