/* SPDX-License-Identifier: Apache-2.0
 * mem.h: host memory through one door, so that sizes are checked, steps can be shown to allocate
 * nothing, and tests can make any allocation fail. */
#ifndef FDIT_CORE_MEM_H
#define FDIT_CORE_MEM_H

#include "core/status.h"

/* n * size zeroed bytes into *out (a pointer to any object pointer). n * size = 0 gives a valid
 * pointer. On overflow or shortage: FDIT_ERROR_MEMORY, *out = NULL. Free with fdit_free. */
#define fdit_alloc(ctx, n, size, out) fdit_alloc_((ctx), (n), (size), 16, (void **)(void *)(out))
/* The same, aligned to 4096 bytes. */
#define fdit_alloc_pages(ctx, n, size, out) fdit_alloc_((ctx), (n), (size), 4096, (void **)(void *)(out))
enum fdit_status fdit_alloc_(fdit_context *ctx, size_t n, size_t size, size_t align, void **out);
/* Grows *array (from fdit_alloc or NULL) of *capacity elements of `size` bytes so that it holds at
 * least `need`; keeps the contents, zeroes the rest. On failure nothing changes. */
#define fdit_grow(ctx, array, capacity, need, size) \
    fdit_grow_((ctx), (void **)(void *)(array), (capacity), (need), (size))
enum fdit_status fdit_grow_(fdit_context *ctx, void **array, size_t *capacity, size_t need, size_t size);
void fdit_free(void *p); /* NULL is allowed */
/* A copy of the first n bytes of s with a final zero byte. */
enum fdit_status fdit_strndup(fdit_context *ctx, const char *s, size_t n, char **out);
enum fdit_status fdit_strdup(fdit_context *ctx, const char *s, char **out);
/* printf into a new string. */
enum fdit_status fdit_strf(fdit_context *ctx, char **out, const char *format, ...) FDIT_PRINTF(3, 4);

/* n floats rounded up to whole pages of 4096 bytes: the parts of one buffer begin on pages of their own. */
static inline size_t fdit_page_floats(size_t n)
{
    const size_t page = 4096 / sizeof(float);
    return (n + page - 1) / page * page;
}

static inline size_t fdit_least(size_t a, size_t b)
{
    return a < b ? a : b;
}
/* Checked arithmetic for sizes that come from files and options: false on overflow, *out unchanged. */
bool fdit_mul(size_t a, size_t b, size_t *out);
bool fdit_add(size_t a, size_t b, size_t *out);

/* Bytes and number of allocations that are alive, the peak of bytes, and all calls so far. */
struct fdit_mem_stats {
    size_t bytes, count, peak_bytes;
    uint64_t calls;
};
struct fdit_mem_stats fdit_mem_stats(void);
void fdit_mem_reset_peak(void);
/* After a library has freed much that it held in small pieces: what the C library keeps of it for the thread
 * goes back to the system, where that is possible. Takes a millisecond. */
void fdit_mem_trim(void);
/* For a program, before its threads begin: large blocks go back to the system as soon as they are freed.
 * glibc would keep one for each thread once the first was freed, and a worker's photograph stayed in memory
 * beside the next one's. */
void fdit_mem_return_large(void);
/* What the process holds in memory now, shared pages of files included; its most so far where
 * that cannot be read. */
size_t fdit_mem_resident(void);
/* The most that it held so far. Of this program alone: getrusage also counts what the process was before
 * exec, a large parent that started it, and is asked only where /proc is not there. */
size_t fdit_mem_highest(void);
/* Tests: the n-th allocation from now (1 = the next) fails, once; 0 turns it off. */
void fdit_mem_fail_at(uint64_t n);

#endif
