/* SPDX-License-Identifier: Apache-2.0
 * print.h: a file that is printed with stdio, in memory, and appears at its path whole or not at all.
 *
 *     struct fdit_print p;
 *     TRY(fdit_print_begin(ctx, &p, "the report"));
 *     TRY(fdit_print_end(ctx, &p, put_page(ctx, p.f), path)); */
#ifndef FDIT_CORE_PRINT_H
#define FDIT_CORE_PRINT_H

#include "core/status.h"

#include <stddef.h>
#include <stdio.h>

struct fdit_print {
    FILE *f;
    const char *what; /* in messages: "out of memory for the report" */
    char *text;
    size_t n;
};
enum fdit_status fdit_print_begin(fdit_context *ctx, struct fdit_print *p, const char *what);
/* Ends it in any case, and writes it where `status`, that of printing it, is FDIT_OK; else that is
 * returned. */
enum fdit_status fdit_print_end(fdit_context *ctx, struct fdit_print *p, enum fdit_status status,
                                const char *path);

#endif
