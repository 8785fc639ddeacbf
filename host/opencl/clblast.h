/* SPDX-License-Identifier: Apache-2.0
 * clblast.h: products by CLBlast's Sgemm, where it was built in. The head of clblast.c says how.
 *
 * Column-major terms: C [m][n] = A B + beta C, with leading dimensions and offsets in floats. The
 * row-major Y [M][N] = X W is this with m = N, n = M, A = W, B = X. */
#ifndef FDIT_HOST_OPENCL_CLBLAST_H
#define FDIT_HOST_OPENCL_CLBLAST_H

#include "state.h"

/* clblast.tsv: "kernel TAB type TAB vendor TAB architecture TAB device TAB NAME=VALUE ..."; ends
 * with NULL. */
extern const char *const fdit_clblast_rows[];

enum { CLBLAST_PARAMETERS = 16, CLBLAST_TEXT = 192 };

struct clblast_product {
    size_t m, n, k;
    bool a_transposed, b_transposed, beta;
    cl_mem a, b, c;
    size_t a_at, b_at, c_at; /* floats */
    size_t lda, ldb, ldc;
};

bool fdit_clblast_built_in(void);
/* A device as CLBlast's data base names it. */
struct clblast_identity {
    const char *type, *vendor; /* "CPU" or "GPU"; vendor "": none that the table has */
    char architecture[128], device[128];
};
/* The row of the table for this device: its own, its architecture's, its vendor's, the one for all;
 * NULL: none fits it. `direct`: of the kernel that needs no copies of its operands. */
const char *fdit_clblast_row(const struct opencl *cl, bool direct);
/* The same as if it were another device, with the limits of this one. */
const char *fdit_clblast_row_for(const struct opencl *cl, const struct clblast_identity *id, bool direct);
/* Whether the device has the work-items and local memory that a row's parameters ask for. */
bool fdit_clblast_row_fits(const struct opencl *cl, const char *parameters, bool direct);
/* Makes all products run by one kernel, whatever their size, with these parameters ("KWG=32 ...";
 * NULL: the library's own), and compares a few with the host. False: not built in, not taken, or
 * wrong; `why` says it. */
bool fdit_clblast_set(fdit_device *dev, const char *parameters, bool direct, char why[CLBLAST_TEXT]);
/* Bytes of scratch for a product (its buffers are not looked at; offsets count as 0). */
size_t fdit_clblast_workspace(const struct opencl *cl, const struct clblast_product *p);
/* Enqueues it, with cl->workspace as scratch. A failure is sticky. */
void fdit_clblast_run(fdit_device *dev, const struct clblast_product *p);
/* A buffer is about to be freed: its views are. NULL: all. */
void fdit_clblast_forget(struct opencl *cl, cl_mem parent);
/* Before the context is released. */
void fdit_clblast_close(struct opencl *cl);

#endif
