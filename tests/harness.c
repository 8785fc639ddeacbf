/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef TESTS_DIR
#define TESTS_DIR "tests"
#endif

char *test_fixture(const char *format, ...)
{
    const char *folder = getenv("FDIT_FIXTURES");
    if (!folder || !*folder)
        folder = TESTS_DIR "/fixtures";
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    size_t bytes = strlen(folder) + (size_t)n + 2;
    char *path = malloc(bytes);
    ck_assert_ptr_nonnull(path);
    int at = snprintf(path, bytes, "%s/", folder);
    va_start(args, format);
    vsnprintf(path + at, bytes - (size_t)at, format, args);
    va_end(args);
    return path;
}

bool test_fixture_exists(const char *name)
{
    char *path = test_fixture("%s", name);
    bool there = access(path, R_OK) == 0;
    free(path);
    return there;
}

uint64_t test_seed(void)
{
    static uint64_t seed;
    static bool known;
    if (!known) {
        const char *given = getenv("FDIT_TEST_SEED");
        seed = given && *given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) % 1000000;
        known = true;
    }
    return seed;
}

struct test_rng test_rng_new(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return (struct test_rng){ hash ^ test_seed() * 0x9e3779b97f4a7c15u };
}

uint64_t test_bits(struct test_rng *rng) /* splitmix64 */
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

double test_uniform(struct test_rng *rng)
{
    return (double)(test_bits(rng) >> 11) * 0x1p-53;
}

int test_int(struct test_rng *rng, int below)
{
    return (int)(test_uniform(rng) * below);
}

float test_normal(struct test_rng *rng)
{
    double u = 1 - test_uniform(rng), v = test_uniform(rng);
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

void test_fill_normal(struct test_rng *rng, float *x, size_t n, float mean, float deviation)
{
    for (size_t i = 0; i < n; i++)
        x[i] = mean + deviation * test_normal(rng);
}

double test_largest(const float *x, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        double v = fabs((double)x[i]); /* fmax here breaks GCC 12 for AArch64 */
        largest = v > largest ? v : largest;
    }
    return largest;
}

size_t test_first_difference(const void *got, const void *wanted, size_t n, size_t element_bytes)
{
    const char *a = got, *b = wanted;
    if (memcmp(a, b, n * element_bytes) == 0)
        return n;
    size_t i = 0;
    while (memcmp(a + i * element_bytes, b + i * element_bytes, element_bytes) == 0)
        i++;
    return i;
}

void test_repeat_command(char *text, size_t bytes, const char *set, const char *test_case)
{
    snprintf(text, bytes, "FDIT_TEST_SEED=%llu %s%sCK_RUN_CASE=%s %s", (unsigned long long)test_seed(), set,
             *set ? " " : "", test_case, program_invocation_name);
}

int test_run(Suite *suite)
{
    printf("FDIT_TEST_SEED=%llu\n", (unsigned long long)test_seed());
    fflush(stdout);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
