/* SPDX-License-Identifier: Apache-2.0 */
#include "core/print.h"

#include "core/file.h"
#include "core/mem.h"

#include <stdlib.h>

enum fdit_status fdit_print_begin(fdit_context *ctx, struct fdit_print *p, const char *what)
{
    *p = (struct fdit_print){ .what = what };
    p->f = open_memstream(&p->text, &p->n);
    return p->f ? FDIT_OK : fdit_fail(ctx, FDIT_ERROR_MEMORY, "out of memory for %s", what);
}

enum fdit_status fdit_print_end(fdit_context *ctx, struct fdit_print *p, enum fdit_status status,
                                const char *path)
{
    const enum fdit_status printed = status;
    bool bad = ferror(p->f) != 0;
    if (fclose(p->f) != 0 || bad || !p->text)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for %s", p->what);
    TRY(printed);
    TRY(fdit_file_write(ctx, path, false, p->text, p->n));
out:
    free(p->text);
    return status;
}
