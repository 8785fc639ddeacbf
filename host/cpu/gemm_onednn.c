/* SPDX-License-Identifier: Apache-2.0
 * gemm_onednn.c: tiles by oneDNN. dnnl_sgemm has the same form in versions 2 and 3 of its
 * interface.
 *
 * oneDNN starts as many threads as its OpenMP runtime says for the calling thread; gemm.c sees to it
 * that this is one. */
#include "cpu/gemm.h"

#include <dnnl.h>
#include <stdio.h>

#if DNNL_VERSION_MAJOR < 2
#error "oneDNN 2 or 3 is needed"
#endif

static void onednn_open(void) {}

static void onednn_version(char *out, size_t size)
{
    const dnnl_version_t *v = dnnl_version();
    snprintf(out, size, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}

static bool onednn_sgemm(bool a_turned, bool b_turned, int m, int n, int k, const float *a, size_t lda,
                         const float *b, size_t ldb, float *c, size_t ldc)
{
    return dnnl_sgemm(a_turned ? 'T' : 'N', b_turned ? 'T' : 'N', m, n, k, 1.0f, a, (dnnl_dim_t)lda, b,
                      (dnnl_dim_t)ldb, 0.0f, c, (dnnl_dim_t)ldc) == dnnl_success;
}

const struct fdit_cpu_gemm_provider fdit_cpu_onednn = {
    .name = "onednn",
    .id = FDIT_GEMM_ONEDNN,
    .open = onednn_open,
    .version = onednn_version,
    .sgemm = onednn_sgemm,
};
