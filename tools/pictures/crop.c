/* SPDX-License-Identifier: Apache-2.0
 * crop.c: what the program makes of a picture file, for comparison with other programs.
 *
 *     crop < LIST      lines: SIZE crop|pad FILE
 *
 * For each line one line to stdout, "ok" or the message of the refusal, and behind an "ok" the
 * [SIZE, SIZE, 3] bytes. compare.py beside it runs this against Pillow; `make tools/pictures/crop`
 * builds it. */
#include "core/mem.h"
#include "picture/resize.h"

#include <stdio.h>
#include <string.h>

static enum fdit_status make(fdit_context *ctx, int size, const char *fit, const char *path,
                             struct fdit_picture *square)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture whole = { 0 };
    TRY(fdit_picture_read(ctx, path, &whole));
    TRY((!strcmp(fit, "pad") ? fdit_picture_pad : fdit_picture_crop)(ctx, &whole, size, square));
out:
    fdit_picture_fini(&whole);
    return status;
}

int main(void)
{
    char line[4096], fit[8], path[4000];
    int size;
    fdit_context *ctx = fdit_context_new();
    while (ctx && fgets(line, sizeof line, stdin)) {
        struct fdit_picture p = { 0 };
        if (sscanf(line, "%d %7s %3999[^\n]", &size, fit, path) != 3) {
            fprintf(stderr, "crop: lines are SIZE crop|pad FILE\n");
            return 2;
        }
        if (make(ctx, size, fit, path, &p) == FDIT_OK) {
            puts("ok");
            fwrite(p.pixels, 3, (size_t)size * (size_t)size, stdout);
        } else {
            puts(fdit_context_message(ctx));
        }
        fdit_picture_fini(&p);
    }
    fdit_context_free(ctx);
    return 0;
}
