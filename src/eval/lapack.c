/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/lapack.h"

#include <stdio.h>

#ifdef HAVE_LAPACK

#include <dlfcn.h>
#include <errno.h>
#include <lapacke.h>
#include <string.h>

struct lapack {
    __typeof__(&LAPACKE_dsyevd) dsyevd;
    __typeof__(&LAPACKE_dgesdd) dgesdd;
};

/* Looked up anew by each call, so that nothing is kept between them; the library itself stays loaded, since
 * threads of its own may run in it. *memory: it is memory that lacks, not the library. */
static bool load(struct lapack *l, char *why, size_t bytes, bool *memory)
{
    *memory = false;
    void *handle = dlopen(FDIT_LAPACKE_NAME, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    void *dsyevd = handle ? dlsym(handle, "LAPACKE_dsyevd") : NULL;
    void *dgesdd = dsyevd ? dlsym(handle, "LAPACKE_dgesdd") : NULL;
    if (!dgesdd) {
        const char *error = dlerror();
        error = error ? error : "no reason given";
        *memory = strstr(error, strerror(ENOMEM));
        snprintf(why, bytes, "whose library cannot be loaded (%s); install liblapacke", error);
        return false;
    }
    memcpy(&l->dsyevd, &dsyevd, sizeof l->dsyevd);
    memcpy(&l->dgesdd, &dgesdd, sizeof l->dgesdd);
    return true;
}

bool fdit_lapack_available(char *why, size_t bytes)
{
    struct lapack l;
    char unused[1];
    bool memory;
    return load(&l, why ? why : unused, why ? bytes : sizeof unused, &memory) || memory;
}

static enum fdit_status loaded(fdit_context *ctx, struct lapack *l)
{
    char why[512];
    bool memory;
    if (load(l, why, sizeof why, &memory))
        return FDIT_OK;
    return fdit_fail(ctx, memory ? FDIT_ERROR_MEMORY : FDIT_ERROR_UNSUPPORTED,
                     "fd, the Frechet distance, needs LAPACK, %s", why);
}

static enum fdit_status solved(fdit_context *ctx, const char *what, lapack_int info)
{
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return fdit_fail(ctx, FDIT_ERROR_MEMORY, "out of memory for the %s of a Frechet distance", what);
    if (info)
        return fdit_fail(ctx, FDIT_ERROR_NUMERIC,
                         "the %s of a Frechet distance were not found (LAPACK says %d); look at the features",
                         what, (int)info);
    return FDIT_OK;
}

enum fdit_status fdit_lapack_eigen(fdit_context *ctx, double *a, size_t d, double *values)
{
    enum fdit_status status = FDIT_OK;
    struct lapack l;
    TRY(loaded(ctx, &l));
    /* of a symmetric matrix both orders are the same; column-major leaves eigenvector i in row i for us */
    TRY(solved(ctx, "eigenvalues",
               l.dsyevd(LAPACK_COL_MAJOR, 'V', 'L', (lapack_int)d, a, (lapack_int)d, values)));
out:
    return status;
}

enum fdit_status fdit_lapack_singular(fdit_context *ctx, double *a, size_t rows, size_t columns,
                                      double *values)
{
    enum fdit_status status = FDIT_OK;
    struct lapack l;
    double none = 0;
    TRY(loaded(ctx, &l));
    TRY(solved(ctx, "singular values",
               l.dgesdd(LAPACK_COL_MAJOR, 'N', (lapack_int)columns, (lapack_int)rows, a, (lapack_int)columns,
                        values, &none, 1, &none, 1)));
out:
    return status;
}

#else

bool fdit_lapack_available(char *why, size_t bytes)
{
    if (why)
        snprintf(why, bytes, "which this program was built without; build it with liblapacke-dev");
    return false;
}

static enum fdit_status no_lapack(fdit_context *ctx)
{
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                     "fd, the Frechet distance, needs LAPACK, which this program was built without; build it "
                     "with liblapacke-dev, or take --metrics kid");
}

enum fdit_status fdit_lapack_eigen(fdit_context *ctx, double *a, size_t d, double *values)
{
    (void)a;
    (void)d;
    (void)values;
    return no_lapack(ctx);
}

enum fdit_status fdit_lapack_singular(fdit_context *ctx, double *a, size_t rows, size_t columns,
                                      double *values)
{
    (void)a;
    (void)rows;
    (void)columns;
    (void)values;
    return no_lapack(ctx);
}

#endif
