/* SPDX-License-Identifier: Apache-2.0
 * gemm.h: a product on all threads: blocking, the loop over tiles, and the choice of a provider. */
#ifndef FDIT_CPU_GEMM_H
#define FDIT_CPU_GEMM_H

#include "cpu/cpu.h"
#include "cpu/gemm_kernels.h"

/* Runs g with our own kernels; kc, mc and nc are filled in here. Uses the workspace. */
void fdit_cpu_gemm(const struct fdit_cpu *cpu, const struct fdit_gemm *g);
/* Bytes of workspace that suffice for every product with at most these m, n and k. */
size_t fdit_cpu_gemm_workspace(const struct fdit_cpu *cpu, int m, int n, int k, enum fdit_gemm_b form,
                               bool a_turned);
/* Whether low_panels of g are rows (gemm_kernels.h). */
bool fdit_cpu_gemm_low_by_rows(const struct fdit_cpu *cpu, const struct fdit_gemm *g);

/* Tries whether `parts` computes products of f32 with an error no larger than that of cpu->gemm; the same
 * answer on every call on a processor. */
enum fdit_status fdit_cpu_parts_agree(fdit_context *ctx, const struct fdit_cpu *cpu,
                                      const struct fdit_cpu_gemm_kernels *parts, bool *agree);

/* A GEMM library, used for one tile by one thread:
 * c [m][ldc] = sum over k of a(m, k) b(k, n), row-major; a(m, k) = a[k lda + m] when a_turned, b(k,
 * n) = b[n ldb + k] when b_turned. It must not start threads of its own where the OpenMP setting of the
 * calling thread is one. */
struct fdit_cpu_gemm_provider {
    const char *name; /* for FINEDIFFUSION_GEMM */
    enum fdit_cpu_provider id;
    void (*open)(void);
    void (*version)(char *out, size_t size); /* "oneDNN 2.6.3" */
    bool (*sgemm)(bool a_turned, bool b_turned, int m, int n, int k, const float *a, size_t lda,
                  const float *b, size_t ldb, float *c, size_t ldc);
};
extern const struct fdit_cpu_gemm_provider fdit_cpu_onednn; /* gemm_onednn.c, when HAVE_ONEDNN */
extern const struct fdit_cpu_gemm_provider fdit_cpu_cblas;  /* gemm_cblas.c, when HAVE_CBLAS */

/* The provider called `name` (NULL, "": the build's default), NULL in *out for our own, of which
 * "multiply-adds" leaves out the products by numbers of bf16 (*multiply_adds). Refused by name when this
 * build lacks it. */
enum fdit_status fdit_cpu_provider_choose(fdit_context *ctx, const char *name,
                                          const struct fdit_cpu_gemm_provider **out, bool *multiply_adds);

/* g by the provider, in tiles of fixed shape that do not cross samples (g->to.rows rows each), so
 * that a sample's bits depend on neither batch nor threads. B is plain: FDIT_B_ROWS or
 * FDIT_B_COLUMNS. False when the library reports a failure. */
bool fdit_cpu_gemm_provided(const struct fdit_cpu *cpu, const struct fdit_cpu_gemm_provider *provider,
                            const struct fdit_gemm *g);
size_t fdit_cpu_gemm_provided_workspace(const struct fdit_cpu *cpu);

#endif
