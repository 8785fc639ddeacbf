/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/lapack.h"

#include <stdio.h>

#ifdef HAVE_LAPACK

#include <dlfcn.h>
#include <errno.h>
#include <lapacke.h>
#include <string.h>

struct lapack {
    __typeof__(&LAPACKE_dgesdd) dgesdd;
};

/* Looked up anew by each call, so that nothing is kept between them; the library itself stays loaded, since
 * threads of its own may run in it. *memory: it is memory that lacks, not the library. */
static bool load(struct lapack *l, char *why, size_t bytes, bool *memory)
{
    *memory = false;
    void *handle = dlopen(FDIT_LAPACKE_NAME, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    void *dgesdd = handle ? dlsym(handle, "LAPACKE_dgesdd") : NULL;
    if (!dgesdd) {
        const char *error = dlerror();
        error = error ? error : "no reason given";
        *memory = strstr(error, strerror(ENOMEM));
        snprintf(why, bytes, "whose library cannot be loaded (%s); install liblapacke", error);
        return false;
    }
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

enum fdit_status fdit_lapack_singular(fdit_context *ctx, double *a, size_t rows, size_t columns,
                                      double *values)
{
    enum fdit_status status = FDIT_OK;
    struct lapack l;
    double none = 0;
    TRY(loaded(ctx, &l));
    lapack_int info = l.dgesdd(LAPACK_COL_MAJOR, 'N', (lapack_int)columns, (lapack_int)rows, a,
                               (lapack_int)columns, values, &none, 1, &none, 1);
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for the singular values of a Frechet distance");
    if (info)
        FAIL(
            ctx, FDIT_ERROR_NUMERIC,
            "the singular values of a Frechet distance were not found (LAPACK says %d); look at the features",
            (int)info);
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

enum fdit_status fdit_lapack_singular(fdit_context *ctx, double *a, size_t rows, size_t columns,
                                      double *values)
{
    (void)a;
    (void)rows;
    (void)columns;
    (void)values;
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                     "fd, the Frechet distance, needs LAPACK, which this program was built without; build it "
                     "with liblapacke-dev, or take --metrics kid");
}

#endif
