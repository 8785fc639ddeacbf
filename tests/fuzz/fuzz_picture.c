/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include "core/mem.h"
#include "picture/picture.h"
#include "picture/resize.h"

/* A header alone can ask for 2^28 pixels: allowed, but too slow here. */
#define MOST_PIXELS 100000

static void use(fdit_context *ctx, const struct fdit_picture *p, int size)
{
    struct fdit_picture out;
    FUZZ_CHECK(p->channels == 3 && p->width > 0 && p->height > 0);
    enum fdit_status status = fdit_picture_crop(ctx, p, size, &out);
    FUZZ_CHECK(status == FDIT_OK || status == FDIT_ERROR_FORMAT);
    FUZZ_CHECK(status != FDIT_OK || (out.width == size && out.height == size));
    fdit_picture_fini(&out);
    FUZZ_CHECK(fdit_picture_pad(ctx, p, size, &out) == FDIT_OK);
    fdit_picture_mirror(&out);
    fdit_picture_grey(&out);
    fdit_picture_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    fdit_context *ctx = fdit_context_new();
    struct fdit_picture p;
    int w, h;
    size_t live = fdit_mem_stats().count;
    if (fdit_picture_size(ctx, bytes, n, "input", &w, &h) == FDIT_OK) {
        FUZZ_CHECK(w > 0 && h > 0 && (uint64_t)w * (uint64_t)h <= FDIT_PICTURE_MAX_PIXELS);
        if ((uint64_t)w * (uint64_t)h <= MOST_PIXELS &&
            fdit_picture_decode(ctx, bytes, n, "input", &p) == FDIT_OK) {
            FUZZ_CHECK(p.width == w && p.height == h);
            use(ctx, &p, 1 + (int)(n % 40));
            fdit_picture_fini(&p);
        }
    } else {
        FUZZ_CHECK(*fdit_context_message(ctx));
        FUZZ_CHECK(fdit_picture_decode(ctx, bytes, n, "input", &p) != FDIT_OK);
    }
    FUZZ_CHECK(fdit_mem_stats().count == live);
    fdit_context_free(ctx);
    return 0;
}
