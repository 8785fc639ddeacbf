/* SPDX-License-Identifier: Apache-2.0
 * gemm_problem.h: products of the CPU device for its tests: every set of kernels that this processor can
 * run, and one problem in each form of its operands, against sums in double. */
#ifndef FDIT_TESTS_GEMM_PROBLEM_H
#define FDIT_TESTS_GEMM_PROBLEM_H

#include "cpu/gemm.h"
#include "harness.h"

enum { MAX_TABLES = 10 };
#define GUARD_VALUE (-12345.5f) /* of memory that must not be written */

struct table {
    const char *name;
    const struct fdit_cpu_gemm_kernels *kernels; /* pack the weights, and compute unless there are parts */
    const struct fdit_cpu_gemm_kernels *parts;
};

/* All of this processor; how many. */
int tables(struct table *out); /* [MAX_TABLES] */

float *floats(size_t n); /* page-aligned; free with free() */
void round_to_bf16(float *p, size_t n);
/* n floats with guards on both sides; the pointer is to the first of the n. */
float *guarded(size_t n);
/* The same for scratch, which is not a number before it is written. */
float *guarded_scratch(size_t n);
/* Fails where a guard was written. */
void guarded_free(float *p, size_t n, const char *what);

enum form { FORWARD, FORWARD_PLAIN, DX, DX_PLAIN, DW, N_FORMS };
extern const char *const form_names[N_FORMS];

struct problem {
    enum form form;
    int m, n, k;
    int rows;      /* of a sample */
    float *a, *b;  /* as the op gets them; b plain */
    float *packed; /* b packed for the table, or NULL */
    struct fdit_gemm g;
};

void problem_init(struct problem *p, const struct fdit_cpu_gemm_kernels *kernels, enum form form, int samples,
                  int rows, int n, int k, struct test_rng *rng);
/* Packs b, and the factors behind it. */
void problem_pack(struct problem *p, const struct fdit_cpu_gemm_kernels *kernels, enum fdit_dtype type);
void problem_free(struct problem *p);

/* A(m, k) and B(k, n) from what the op gets. */
double a_at(const struct problem *p, int m, int k);
double b_at(const struct problem *p, int k, int n);

/* Runs g into c; checks the workspace's end. */
void run_on(struct fdit_cpu cpu, const struct fdit_gemm *g, float *c);
void run(const struct table *t, int threads, const struct fdit_gemm *g, float *c);

/* Of a product in two parts, relative to it: each leaves out up to 2^-17 of its number and of the other's. */
double left_out(const struct table *t);
/* All elements of c; `more` is allowed relative to a product, besides what f32 rounds. */
void check_product(const struct problem *p, const float *c, const char *table, double more);

#endif
