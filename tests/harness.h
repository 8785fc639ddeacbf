/* SPDX-License-Identifier: Apache-2.0
 * harness.h: what the test programs share: fixtures, repeatable random numbers, comparing arrays of
 * floats, and running a suite without fork (OpenCL and OpenMP do not survive one). */
#ifndef FDIT_TESTS_HARNESS_H
#define FDIT_TESTS_HARNESS_H

#include "core/difference.h"
#include "core/status.h"

#include <check.h>

enum { TEST_SKIP = 77 }; /* what automake's harness takes for "skipped" */

/* Path of a file under the fixtures folder: env FDIT_FIXTURES, else TESTS_DIR/fixtures. printf
 * format; free with free(). */
char *test_fixture(const char *format, ...) FDIT_PRINTF(1, 2);
bool test_fixture_exists(const char *name);

/* The seed of this run: env FDIT_TEST_SEED, else the clock. Printed by test_run. */
uint64_t test_seed(void);

struct test_rng {
    uint64_t state;
};
/* A stream of its own for each name, so that one test case run alone sees the numbers it saw
 * before. */
struct test_rng test_rng_new(const char *name);
uint64_t test_bits(struct test_rng *rng);
double test_uniform(struct test_rng *rng); /* [0, 1) */
int test_int(struct test_rng *rng, int below);
float test_normal(struct test_rng *rng);
void test_fill_normal(struct test_rng *rng, float *x, size_t n, float mean, float deviation);

/* The largest magnitude, NaN passed over. */
double test_largest(const float *x, size_t n);
/* Index of the first element whose bits differ, n if there is none. */
size_t test_first_difference(const void *got, const void *wanted, size_t n, size_t element_bytes);

/* Runs the suite in this process and prints the seed first. Returns what main returns. */
int test_run(Suite *suite);
/* The words behind "repeat:" in a failure: environment and program. `set` is further environment.
 */
void test_repeat_command(char *text, size_t bytes, const char *set, const char *test_case);

/* Fails the test with the context's message. */
#define ck_assert_ok(ctx, expr)                                                           \
    do {                                                                                  \
        enum fdit_status status_ = (expr);                                                \
        ck_assert_msg(status_ == FDIT_OK, "%s: %s: %s", #expr, fdit_status_text(status_), \
                      fdit_context_message(ctx));                                         \
    } while (0)

#endif
