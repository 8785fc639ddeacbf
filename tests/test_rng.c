/* SPDX-License-Identifier: Apache-2.0
 * test_rng.c: the picture stream and its relatives, and PyTorch's streams number by number. */
#include "core/rng.h"
#include "diffusion/torch_rng.h"
#include "harness.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *load(const char *name)
{
    char *path = test_fixture("%s", name);
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    ck_assert_msg(root != NULL, "%s:%d: %s", path, error.line, error.text);
    free(path);
    return root;
}

START_TEST(test_philox_known_answers)
{
    json_t *root = load("rng.json"), *answer;
    const char *question;
    int n = 0;
    json_object_foreach(json_object_get(root, "philox4x32_10_known_answers"), question, answer)
    {
        uint32_t c[4], k[2], want[4], got[4];
        ck_assert_int_eq(sscanf(question, "%x %x %x %x %x %x", &c[0], &c[1], &c[2], &c[3], &k[0], &k[1]), 6);
        ck_assert_int_eq(
            sscanf(json_string_value(answer), "%x %x %x %x", &want[0], &want[1], &want[2], &want[3]), 4);
        fdit_philox(c, k, got);
        ck_assert_mem_eq(got, want, sizeof got);
        fdit_philox(c, k, c);
        ck_assert_mem_eq(c, want, sizeof c);
        n++;
    }
    ck_assert_int_ge(n, 3);
    json_decref(root);
}
END_TEST

/* Elements 5..8 of seed 0x0123456789abcdef, stream 3, class 42, from an independent program. */
START_TEST(test_picture_stream_is_pinned)
{
    const float want[4] = { -0x1.b20c72p-2f, 0x1.493e3ap-1f, -0x1.97ddb4p-1f, -0x1.d365bep-6f };
    float got[4];
    fdit_rng_normals(0x0123456789abcdefull, 3, 42, 5, 4, got);
    for (int i = 0; i < 4; i++)
        ck_assert_msg(fabsf(got[i] - want[i]) <= 1e-7f, "element %d: %a, wanted %a", i + 5, got[i], want[i]);
}
END_TEST

/* Any cut of a stream gives the same elements. */
START_TEST(test_cuts)
{
    struct test_rng random = test_rng_new("cuts");
    const struct fdit_rng rng = { test_bits(&random), (uint32_t)test_bits(&random),
                                  (uint32_t)test_bits(&random), FDIT_RNG_TEST };
    enum { N = 103 };
    float normals[N], uniforms[N], part[N];
    uint32_t words[N], part_words[N];
    int32_t below[N], part_below[N];
    const uint64_t start = test_bits(&random) % 1000;

    fdit_rng_fill_normals(&rng, start, N, normals);
    fdit_rng_fill_uniforms(&rng, start, N, uniforms);
    fdit_rng_fill_words(&rng, start, N, words);
    fdit_rng_fill_below(&rng, start, N, 1000, below);
    for (int round = 0; round < 50; round++) {
        size_t from = (size_t)test_int(&random, N), n = (size_t)test_int(&random, N - (int)from + 1);
        fdit_rng_fill_normals(&rng, start + from, n, part);
        ck_assert(memcmp(part, normals + from, n * sizeof *part) == 0);
        fdit_rng_fill_uniforms(&rng, start + from, n, part);
        ck_assert(memcmp(part, uniforms + from, n * sizeof *part) == 0);
        fdit_rng_fill_words(&rng, start + from, n, part_words);
        ck_assert(memcmp(part_words, words + from, n * sizeof *part_words) == 0);
        fdit_rng_fill_below(&rng, start + from, n, 1000, part_below);
        ck_assert(memcmp(part_below, below + from, n * sizeof *part_below) == 0);
    }
    for (int i = 0; i < N; i++) {
        ck_assert(fdit_rng_uniform(&rng, start + (uint64_t)i) == (double)uniforms[i]);
        ck_assert(uniforms[i] >= 0 && uniforms[i] < 1);
        ck_assert_uint_eq(fdit_rng_below(&rng, start + (uint64_t)i, 1000), (uint32_t)below[i]);
        ck_assert(below[i] >= 0 && below[i] < 1000);
    }
}
END_TEST

/* Each of seed, stream, id and domain makes another stream. */
START_TEST(test_streams_differ)
{
    const struct fdit_rng base = { 7, 1, 2, FDIT_RNG_PICTURE };
    struct fdit_rng other[5] = { base, base, base, base, base };
    uint32_t want[8], got[8];
    float a[8], b[8];

    other[0].seed = 8;
    other[1].seed = 7 + (1ull << 32);
    other[2].stream = 2;
    other[3].id = 3;
    other[4].domain = FDIT_RNG_NOISE;
    fdit_rng_fill_words(&base, 0, 8, want);
    for (int k = 0; k < 5; k++) {
        fdit_rng_fill_words(&other[k], 0, 8, got);
        for (int i = 0; i < 8; i++)
            ck_assert_uint_ne(got[i], want[i]);
    }
    fdit_rng_normals(7, 1, 2, 0, 8, a);
    fdit_rng_fill_normals(&base, 0, 8, b);
    ck_assert_mem_eq(a, b, sizeof a);
}
END_TEST

/* Moments of 200,000 normals within 5 standard deviations of their means. */
START_TEST(test_normal_moments)
{
    enum { N = 200000 };
    float *x = malloc(N * sizeof *x);
    double sum = 0, square = 0, fourth = 0;
    ck_assert_ptr_nonnull(x);
    fdit_rng_normals(1234, 0, 5, 0, N, x);
    for (int i = 0; i < N; i++) {
        double y = (double)x[i] * x[i];
        sum += x[i];
        square += y;
        fourth += y * y;
    }
    ck_assert(fabs(sum / N) < 5 / sqrt(N));
    ck_assert(fabs(square / N - 1) < 5 * sqrt(2.0 / N));
    ck_assert(fabs(fourth / N - 3) < 5 * sqrt(96.0 / N));
    free(x);
}
END_TEST

START_TEST(test_below)
{
    const struct fdit_rng rng = { 99, 0, 0, FDIT_RNG_TEST };
    int count[7] = { 0 };
    const uint64_t n = 70000;
    for (uint64_t i = 0; i < n; i++) {
        uint32_t value = fdit_rng_below(&rng, i, 7);
        ck_assert_uint_lt(value, 7);
        count[value]++;
    }
    for (int k = 0; k < 7; k++)
        ck_assert_msg(abs(count[k] - 10000) < 500, "%d came %d times", k, count[k]);
    ck_assert_uint_eq(fdit_rng_below(&rng, 3, 1), 0);
    /* with the largest bound the value is the high word or one less */
    uint32_t word;
    fdit_rng_fill_words(&rng, 6, 1, &word);
    uint32_t value = fdit_rng_below(&rng, 3, UINT32_MAX);
    ck_assert(value == word || value == word - 1);
}
END_TEST

START_TEST(test_permutation)
{
    for (uint32_t n = 0; n < 40; n++) {
        const struct fdit_rng rng = { 5, n, 0, FDIT_RNG_SHUFFLE };
        uint32_t order[40] = { 0 };
        bool seen[40] = { false };
        fdit_rng_permutation(&rng, n, order);
        for (uint32_t i = 0; i < n; i++) {
            ck_assert_uint_lt(order[i], n);
            ck_assert(!seen[order[i]]);
            seen[order[i]] = true;
        }
    }
    /* every order of three comes about equally often */
    int count[27] = { 0 };
    for (uint32_t k = 0; k < 6000; k++) {
        const struct fdit_rng rng = { 5, k, 1, FDIT_RNG_SHUFFLE };
        uint32_t order[3];
        fdit_rng_permutation(&rng, 3, order);
        count[order[0] * 9 + order[1] * 3 + order[2]]++;
    }
    int orders = 0;
    for (int k = 0; k < 27; k++) {
        orders += count[k] > 0;
        ck_assert(count[k] == 0 || abs(count[k] - 1000) < 150);
    }
    ck_assert_int_eq(orders, 6);
}
END_TEST

/* ------------------------------------------------------------------------------------- PyTorch */

static void compare_floats(const char *what, const float *got, const json_t *want, double tolerance)
{
    for (size_t i = 0; i < json_array_size(want); i++) {
        double wanted = json_number_value(json_array_get(want, i));
        ck_assert_msg(fabs((double)got[i] - wanted) <= tolerance, "%s [%zu]: %.9g, wanted %.9g", what, i,
                      (double)got[i], wanted);
    }
}

static void compare_integers(const char *what, const int64_t *got, const json_t *want)
{
    for (size_t i = 0; i < json_array_size(want); i++)
        ck_assert_msg(got[i] == json_integer_value(json_array_get(want, i)), "%s [%zu]: %lld", what, i,
                      (long long)got[i]);
}

/* One call of the generator as a key of the fixture names it: "randn_17", "rand_20",
 * "randint_1000_20", "randperm_10", "bits32"; n is the number of values. Random numbers that a
 * fixture prints with nine digits are exact when they are within half a unit of the ninth. */
static void call_cpu(struct fdit_torch_cpu *rng, const char *name, const json_t *want)
{
    const size_t n = json_array_size(want);
    float *x = malloc((n + 1) * sizeof *x);
    int64_t *k = malloc((n + 1) * sizeof *k);
    unsigned bound = 0;
    ck_assert(x != NULL && k != NULL);
    if (strncmp(name, "randn", 5) == 0) {
        fdit_torch_cpu_randn(rng, n, x);
        compare_floats(name, x, want, n < 16 ? 2.5e-7 : 3e-6);
    } else if (strncmp(name, "randint", 7) == 0) {
        ck_assert_int_eq(sscanf(name, "randint_%u", &bound), 1);
        fdit_torch_cpu_randint(rng, bound, n, k);
        compare_integers(name, k, want);
    } else if (strncmp(name, "randperm", 8) == 0) {
        fdit_torch_cpu_randperm(rng, n, k);
        compare_integers(name, k, want);
    } else if (strncmp(name, "rand", 4) == 0) {
        fdit_torch_cpu_rand(rng, n, x);
        compare_floats(name, x, want, 5.1e-10);
    } else {
        ck_assert_str_eq(name, "bits32");
        for (size_t i = 0; i < n; i++)
            k[i] = fdit_torch_cpu_bits(rng);
        compare_integers(name, k, want);
    }
    free(x);
    free(k);
}

START_TEST(test_torch_cpu)
{
    json_t *root = load("rng.json"), *calls, *want;
    const char *name, *call;
    int n_seeds = 0, n_calls = 0;
    json_object_foreach(root, name, calls)
    {
        if (strncmp(name, "cpu_seed_", 9) != 0)
            continue;
        const uint64_t seed = strtoull(name + 9, NULL, 10);
        n_seeds++;
        json_object_foreach(calls, call, want)
        {
            struct fdit_torch_cpu rng;
            fdit_torch_cpu_seed(&rng, seed);
            n_calls++;
            if (strcmp(call, "sequence") != 0) {
                call_cpu(&rng, call, want);
                continue;
            }
            for (size_t i = 0; i < json_array_size(want); i++) {
                const json_t *pair = json_array_get(want, i);
                call_cpu(&rng, json_string_value(json_array_get(pair, 0)), json_array_get(pair, 1));
            }
        }
    }
    ck_assert_int_ge(n_seeds, 1);
    ck_assert_int_ge(n_calls, 10 * n_seeds);
    json_decref(root);
}
END_TEST

/* The seed counts with 32 bits on the CPU and with 64 in the CUDA stream. */
START_TEST(test_torch_seed_width)
{
    struct fdit_torch_cpu a, b;
    struct fdit_torch_cuda c, d;
    float x[20], y[20];
    fdit_torch_cpu_seed(&a, 5);
    fdit_torch_cpu_seed(&b, (1ull << 32) + 5);
    fdit_torch_cpu_randn(&a, 20, x);
    fdit_torch_cpu_randn(&b, 20, y);
    ck_assert_mem_eq(x, y, sizeof x);
    fdit_torch_cuda_seed(&c, 5, 0);
    fdit_torch_cuda_seed(&d, (1ull << 32) + 5, 0);
    fdit_torch_cuda_randn(&c, 20, x);
    fdit_torch_cuda_randn(&d, 20, y);
    ck_assert_mem_ne(x, y, sizeof x);
    /* a new seed drops the saved normal */
    fdit_torch_cpu_seed(&a, 5);
    fdit_torch_cpu_randn(&a, 3, x);
    fdit_torch_cpu_seed(&a, 5);
    fdit_torch_cpu_randn(&a, 3, y);
    ck_assert_mem_eq(x, y, 3 * sizeof *x);
}
END_TEST

START_TEST(test_torch_cuda)
{
    json_t *root = load("rng.json"), *calls, *want;
    const char *name, *call;
    int n_calls = 0;
    json_object_foreach(root, name, calls)
    {
        struct fdit_torch_cuda rng;
        char *rest = NULL;
        if (strncmp(name, "cuda_seed_", 10) != 0)
            continue;
        const uint64_t seed = strtoull(name + 10, &rest, 10);
        if (*rest != '\0')
            continue;
        fdit_torch_cuda_seed(&rng, seed, 0);
        json_object_foreach(calls, call, want)
        {
            unsigned number, n;
            ck_assert_int_eq(sscanf(call, "call_%u_randn_%u", &number, &n), 2);
            ck_assert_uint_eq(n, json_array_size(want));
            float *x = malloc(n * sizeof *x);
            ck_assert_ptr_nonnull(x);
            fdit_torch_cuda_randn(&rng, n, x);
            compare_floats(call, x, want, 1e-6);
            free(x);
            n_calls++;
        }
    }
    ck_assert_int_ge(n_calls, 6);
    json_decref(root);
}
END_TEST

START_TEST(test_torch_cuda_more_numbers_than_threads)
{
    enum { N = 5000 };
    json_t *root = load("rng.json");
    const json_t *c = json_object_get(root, "cuda_seed_7_more_numbers_than_threads");
    struct fdit_torch_cuda rng;
    float *x = malloc(N * sizeof *x);
    ck_assert(c != NULL && x != NULL);
    fdit_torch_cuda_seed(&rng, 7, (uint64_t)json_integer_value(json_object_get(c, "threads")));
    fdit_torch_cuda_randn(&rng, N, x);
    compare_floats("first", x, json_object_get(c, "randn_5000_first_20"), 1e-6);
    compare_floats("at 512", x + 512, json_object_get(c, "randn_5000_at_512"), 1e-6);
    compare_floats("at 2048", x + 2048, json_object_get(c, "randn_5000_at_2048"), 1e-6);
    ck_assert_uint_gt(json_array_size(json_object_get(c, "randn_5000_at_2048")), 0);
    fdit_torch_cuda_randn(&rng, 4, x);
    compare_floats("next call", x, json_object_get(c, "next_call_randn_4"), 1e-6);
    ck_assert_uint_eq(json_array_size(json_object_get(c, "next_call_randn_4")), 4);
    free(x);
    json_decref(root);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rng");
    TCase *own = tcase_create("philox");
    tcase_add_test(own, test_philox_known_answers);
    tcase_add_test(own, test_picture_stream_is_pinned);
    tcase_add_test(own, test_cuts);
    tcase_add_test(own, test_streams_differ);
    tcase_add_test(own, test_normal_moments);
    tcase_add_test(own, test_below);
    tcase_add_test(own, test_permutation);
    suite_add_tcase(suite, own);
    TCase *torch = tcase_create("torch");
    tcase_add_test(torch, test_torch_cpu);
    tcase_add_test(torch, test_torch_seed_width);
    tcase_add_test(torch, test_torch_cuda);
    tcase_add_test(torch, test_torch_cuda_more_numbers_than_threads);
    suite_add_tcase(suite, torch);
    return test_run(suite);
}
