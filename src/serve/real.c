/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/real.h"

#include "core/mem.h"
#include "data/room.h"
#include "picture/png.h"

#include <string.h>

enum { READERS = 4 /* that the memory for reading is planned for */ };

struct fdit_real {
    struct fdit_dataset *data;
    size_t n_classes;
    struct fdit_room *room;
    size_t reading; /* bytes that the data set takes */
    size_t one; /* what a picture takes when it is read: in planes, in pixels, and as a file, which grows */
};

enum fdit_status fdit_real_open(fdit_context *ctx, const char *path, const struct fdit_sample_source *source,
                                const struct fdit_picture_words *look, enum fdit_fit fit, int size,
                                int channels, struct fdit_real **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_real *r = NULL;
    struct fdit_dataset_options o = { .taxonomy = source->taxonomy,
                                      .size = size,
                                      .channels = channels,
                                      .fit = fit,
                                      .skip_bad = true,
                                      .allow_missing = true };
    *out = NULL;
    TRY(fdit_sample_source_rules(ctx, source, look, &o.rules));
    TRY(fdit_alloc(ctx, 1, sizeof *r, &r));
    r->n_classes = (size_t)fdit_taxonomy_n_classes(source->taxonomy);
    TRY(fdit_dataset_open(ctx, path, &o, &r->data));
    TRY(fdit_dataset_plan_reading(ctx, r->data, READERS, 0, true, &r->reading));
    TRY(fdit_room_new(ctx, &r->room));
    r->one = 4 * (size_t)size * (size_t)size * (size_t)channels;
    fdit_room_set(r->room, READERS * r->one);
    *out = r;
    r = NULL;
out:
    fdit_real_close(r);
    return status;
}

void fdit_real_close(struct fdit_real *r)
{
    if (!r)
        return;
    fdit_dataset_close(r->data);
    fdit_room_free(r->room);
    fdit_free(r);
}

size_t fdit_real_bytes(const struct fdit_real *r)
{
    return r->reading + READERS * r->one;
}

size_t fdit_real_count(const struct fdit_real *r, int32_t class_id)
{
    return fdit_dataset_class_count(r->data, class_id);
}

enum fdit_status fdit_real_picture(fdit_context *ctx, const struct fdit_real *r, int32_t class_id, size_t k,
                                   char **bytes, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_dataset_info info = fdit_dataset_info(r->data);
    struct fdit_picture picture = { .pixels = NULL };
    uint8_t *planes = NULL, *file = NULL;
    *bytes = NULL;
    fdit_room_take(r->room, r->one);
    if (class_id < 0 || (size_t)class_id >= r->n_classes || k >= fdit_real_count(r, class_id))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "class %d has no real picture %zu", class_id, k);
    TRY(fdit_picture_new(ctx, info.size, info.size, info.channels, &picture));
    TRY(fdit_alloc(ctx, (size_t)info.size * (size_t)info.size, (size_t)info.channels, &planes));
    TRY(fdit_dataset_decode(ctx, r->data, fdit_dataset_class_first(r->data, class_id) + k, planes));
    fdit_picture_from_planes(planes, &picture);
    TRY(fdit_png_encode(ctx, &picture, &file, n));
    *bytes = (char *)file;
out:
    fdit_free(planes);
    fdit_picture_fini(&picture);
    fdit_room_give(r->room, r->one);
    return status;
}
