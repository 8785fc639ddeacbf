/* SPDX-License-Identifier: Apache-2.0
 * gemm_cblas.c: tiles by a CBLAS. OpenBLAS built with its own threads is told to use one; that
 * setting belongs to the process, there is no other. MKL and BLIS do as their OpenMP runtime says for
 * the calling thread (gemm.c). */
#include "cpu/gemm.h"

#include <cblas.h>
#include <stdio.h>

/* Present in OpenBLAS only. */
extern void openblas_set_num_threads(int n) __attribute__((weak));
extern char *openblas_get_config(void) __attribute__((weak));

static void cblas_open(void)
{
    if (openblas_set_num_threads)
        openblas_set_num_threads(1);
}

static void cblas_version(char *out, size_t size)
{
    int length = 0;
    if (openblas_get_config) {
        /* "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...": name and number */
        const char *text = openblas_get_config();
        int spaces = 0;
        for (; text[length] && spaces < 2; length++)
            spaces += text[length] == ' ';
        length -= spaces == 2;
        snprintf(out, size, "%.*s", length, text);
    } else {
        snprintf(out, size, "CBLAS");
    }
}

static bool cblas_tile(bool a_turned, bool b_turned, int m, int n, int k, const float *a, size_t lda,
                       const float *b, size_t ldb, float *c, size_t ldc)
{
    cblas_sgemm(CblasRowMajor, a_turned ? CblasTrans : CblasNoTrans, b_turned ? CblasTrans : CblasNoTrans, m,
                n, k, 1.0f, a, (int)lda, b, (int)ldb, 0.0f, c, (int)ldc);
    return true;
}

const struct fdit_cpu_gemm_provider fdit_cpu_cblas = {
    .name = "cblas",
    .id = FDIT_GEMM_CBLAS,
    .open = cblas_open,
    .version = cblas_version,
    .sgemm = cblas_tile,
};
