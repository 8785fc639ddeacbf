/* SPDX-License-Identifier: Apache-2.0
 * lapack.h: what is computed by LAPACK, through LAPACKE of any provider. The library is loaded when it is
 * first needed: it brings a Fortran run-time library, and with some providers threads, which every start of
 * the program would pay for. */
#ifndef FDIT_EVAL_LAPACK_H
#define FDIT_EVAL_LAPACK_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>

/* Whether it can be used. If not, `why` (may be NULL) continues a sentence: "which this program was built
 * without". */
bool fdit_lapack_available(char *why, size_t bytes);

/* The singular values of a [rows, columns], which is overwritten: values [the lesser of both], descending.
 * FDIT_ERROR_UNSUPPORTED where LAPACK is not available, FDIT_ERROR_NUMERIC where it finds no solution. */
enum fdit_status fdit_lapack_singular(fdit_context *ctx, double *a, size_t rows, size_t columns,
                                      double *values);

#endif
