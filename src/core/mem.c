/* SPDX-License-Identifier: Apache-2.0
 * Each block carries its size in a header before it: freeing needs no size, statistics stay exact. */
#include "core/mem.h"

#include "core/file.h"
#include "core/limits.h"
#include "core/text.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct header {
    size_t bytes; /* as asked for */
    void *start;  /* what malloc gave */
};

#ifdef __GLIBC__
enum { LARGE_BLOCK = 4 << 20 }; /* mapping one takes 1 to 2 ms, decoding a file of that size 50 */
#endif

static atomic_size_t live_bytes, live_count, peak_bytes;
static atomic_uint_fast64_t calls, fail_at;

bool fdit_mul(size_t a, size_t b, size_t *out)
{
    if (b && a > SIZE_MAX / b)
        return false;
    *out = a * b;
    return true;
}

bool fdit_add(size_t a, size_t b, size_t *out)
{
    if (a > SIZE_MAX - b)
        return false;
    *out = a + b;
    return true;
}

static bool injected_failure(void)
{
    atomic_fetch_add(&calls, 1);
    uint_fast64_t left = atomic_load(&fail_at);
    while (left > 0)
        if (atomic_compare_exchange_weak(&fail_at, &left, left - 1))
            return left == 1;
    return false;
}

static void count(size_t bytes)
{
    size_t now = atomic_fetch_add(&live_bytes, bytes) + bytes;
    size_t peak = atomic_load(&peak_bytes);
    while (now > peak && !atomic_compare_exchange_weak(&peak_bytes, &peak, now)) {
    }
    atomic_fetch_add(&live_count, 1);
}

static enum fdit_status refuse(fdit_context *ctx, size_t bytes)
{
    size_t limit;
    const char *by;
    char text[32];
    if (!fdit_limits_refuse(bytes, &limit, &by))
        return fdit_fail(ctx, FDIT_ERROR_MEMORY,
                         "out of memory: %zu bytes more are needed; free memory, or use a smaller "
                         "batch or model",
                         bytes);
    fdit_format_size(limit, text);
    return fdit_fail(ctx, FDIT_ERROR_MEMORY,
                     "out of memory: %zu bytes more are needed, and this process may have %s in all (%s); "
                     "raise that limit, or use a smaller batch or model",
                     bytes, text, by);
}

enum fdit_status fdit_alloc_(fdit_context *ctx, size_t n, size_t size, size_t align, void **out)
{
    size_t bytes, total;
    *out = NULL;
    if (!fdit_mul(n, size, &bytes) || !fdit_add(bytes, sizeof(struct header) + align, &total))
        return fdit_fail(ctx, FDIT_ERROR_MEMORY, "a block of %zu x %zu bytes is too large", n, size);
    char *start = injected_failure() ? NULL : calloc(1, total);
    if (!start)
        return refuse(ctx, bytes);
    uintptr_t at = ((uintptr_t)start + sizeof(struct header) + align - 1) & ~(uintptr_t)(align - 1);
    struct header *h = (struct header *)at - 1;
    h->bytes = bytes;
    h->start = start;
    count(bytes);
    *out = (void *)at;
    return FDIT_OK;
}

void fdit_free(void *p)
{
    if (!p)
        return;
    struct header *h = (struct header *)p - 1;
    atomic_fetch_sub(&live_bytes, h->bytes);
    atomic_fetch_sub(&live_count, 1);
    free(h->start);
}

enum fdit_status fdit_grow_(fdit_context *ctx, void **array, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity && *array)
        return FDIT_OK;
    size_t more = *capacity < SIZE_MAX / 2 ? *capacity * 2 : need;
    if (more < need)
        more = need;
    if (more < 8)
        more = 8;
    void *bigger;
    enum fdit_status status = fdit_alloc(ctx, more, size, &bigger);
    if (status != FDIT_OK)
        return status;
    if (*array)
        memcpy(bigger, *array, *capacity * size);
    fdit_free(*array);
    *array = bigger;
    *capacity = more;
    return FDIT_OK;
}

enum fdit_status fdit_strndup(fdit_context *ctx, const char *s, size_t n, char **out)
{
    size_t bytes;
    *out = NULL;
    if (!fdit_add(n, 1, &bytes))
        return fdit_fail(ctx, FDIT_ERROR_MEMORY, "a text of %zu bytes is too large", n);
    enum fdit_status status = fdit_alloc(ctx, bytes, 1, out);
    if (status == FDIT_OK && n)
        memcpy(*out, s, n);
    return status;
}

enum fdit_status fdit_strdup(fdit_context *ctx, const char *s, char **out)
{
    return fdit_strndup(ctx, s, strlen(s), out);
}

enum fdit_status fdit_strf(fdit_context *ctx, char **out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    *out = NULL;
    if (n < 0)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "a text cannot be formatted");
    enum fdit_status status = fdit_alloc(ctx, (size_t)n + 1, 1, out);
    if (status != FDIT_OK)
        return status;
    va_start(args, format);
    vsnprintf(*out, (size_t)n + 1, format, args);
    va_end(args);
    return FDIT_OK;
}

struct fdit_mem_stats fdit_mem_stats(void)
{
    return (struct fdit_mem_stats){ .bytes = atomic_load(&live_bytes),
                                    .count = atomic_load(&live_count),
                                    .peak_bytes = atomic_load(&peak_bytes),
                                    .calls = atomic_load(&calls) };
}

void fdit_mem_reset_peak(void)
{
    atomic_store(&peak_bytes, atomic_load(&live_bytes));
}

void fdit_mem_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void fdit_mem_return_large(void)
{
#ifdef __GLIBC__
    /* either of them ends the adaptation of both */
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
    mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK);
#endif
}

static size_t highest_of_usage(void)
{
    struct rusage used;
    return getrusage(RUSAGE_SELF, &used) == 0 ? (size_t)used.ru_maxrss * 1024 : 0;
}

size_t fdit_mem_resident(void)
{
    long page = sysconf(_SC_PAGESIZE);
    unsigned long pages = 0;
    char text[256] = "";
    const int fd = fdit_regular_open("/proc/self/statm", O_RDONLY);
    bool known =
        fd >= 0 && page > 0 && read(fd, text, sizeof text - 1) > 0 && sscanf(text, "%*u %lu", &pages) == 1;
    if (fd >= 0)
        close(fd);
    if (known)
        return (size_t)pages * (size_t)page;
    return highest_of_usage(); /* better than nothing in a plan */
}

size_t fdit_mem_highest(void)
{
    static const char key[] = "VmHWM:";
    char text[4096] = ""; /* the line stands in the first kilobyte */
    const int fd = fdit_regular_open("/proc/self/status", O_RDONLY);
    const ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    const char *at = n > 0 ? strstr(text, key) : NULL;
    const unsigned long long kilobytes = at ? strtoull(at + strlen(key), NULL, 10) : 0;
    return kilobytes ? (size_t)kilobytes * 1024 : highest_of_usage();
}

void fdit_mem_fail_at(uint64_t n)
{
    atomic_store(&fail_at, n);
}
