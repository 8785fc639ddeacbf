/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/deal.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/safetensors.h"

#include <inttypes.h>

void fdit_deal_fini(struct fdit_deal *d)
{
    for (size_t i = 0; i < d->n; i++)
        fdit_free(d->files[i]);
    fdit_free(d->files);
    *d = (struct fdit_deal){ 0 };
}

enum fdit_status fdit_deal_path(fdit_context *ctx, const struct fdit_deal *d, uint64_t key, size_t i,
                                char **out)
{
    return fdit_strf(ctx, out, "%s/%016" PRIx64 "-%zu.safetensors", d->folder, key, i);
}

enum fdit_status fdit_deal_note(fdit_context *ctx, struct fdit_deal *d, char *path)
{
    enum fdit_status status = fdit_grow(ctx, &d->files, &d->room, d->n + 1, sizeof *d->files);
    if (status == FDIT_OK)
        d->files[d->n++] = path;
    else
        fdit_free(path);
    return status;
}

size_t fdit_deal_missing(const struct fdit_deal *d)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++)
        n += !fdit_is_file(d->files[i]);
    return n;
}

/* ------------------------------------------------------------------ files */

static const char *const names[3] = { "features", "logits", "places" };

static float **rows_of(struct fdit_rows *r, int which)
{
    return which == 0 ? &r->features : which == 1 ? &r->logits : &r->places;
}

enum fdit_status fdit_rows_new(fdit_context *ctx, size_t n, size_t features, size_t logits, size_t places,
                               struct fdit_rows *out)
{
    enum fdit_status status = FDIT_OK;
    *out = (struct fdit_rows){ .n = n, .widths = { features, logits, places } };
    TRY(fdit_alloc(ctx, n, sizeof *out->whole, &out->whole));
    for (int k = 0; k < 3; k++)
        if (out->widths[k])
            TRY(fdit_alloc(ctx, n, out->widths[k] * sizeof(float), rows_of(out, k)));
out:
    return status;
}

void fdit_rows_fini(struct fdit_rows *r)
{
    fdit_free(r->whole);
    for (int k = 0; k < 3; k++)
        fdit_free(*rows_of(r, k));
    *r = (struct fdit_rows){ 0 };
}

enum fdit_status fdit_rows_write(fdit_context *ctx, const struct fdit_rows *r, const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_rows own = *r;
    struct fdit_st_writer *w = NULL;
    TRY(fdit_st_writer_new(ctx, &w));
    TRY(fdit_st_writer_meta(ctx, w, "format", "finediffusion-rows"));
    TRY(fdit_st_writer_raw(ctx, w, "whole", FDIT_ST_I64, 1, (int64_t[]){ (int64_t)r->n }, r->whole));
    for (int k = 0; k < 3; k++)
        if (r->widths[k] && r->count)
            TRY(fdit_st_writer_f32(ctx, w, names[k], FDIT_ST_F32, 2,
                                   (int64_t[]){ (int64_t)r->count, (int64_t)r->widths[k] },
                                   *rows_of(&own, k)));
    TRY(fdit_st_writer_save(ctx, w, path));
out:
    fdit_st_writer_free(w);
    return status;
}

enum fdit_status fdit_rows_read(fdit_context *ctx, const char *path, struct fdit_rows *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_safetensors *st = NULL;
    const struct fdit_st_tensor *t;
    TRY(fdit_safetensors_open(ctx, path, &st));
    TRY(fdit_safetensors_need(ctx, st, "whole", 1, (int64_t[]){ (int64_t)r->n }, &t));
    TRY(fdit_safetensors_i64(ctx, st, t, 0, r->n, r->whole));
    r->count = 0;
    for (size_t i = 0; i < r->n; i++)
        r->count += r->whole[i] != 0;
    for (int k = 0; k < 3; k++) {
        if (!r->widths[k] || !r->count)
            continue;
        TRY(fdit_safetensors_need(ctx, st, names[k], 2,
                                  (int64_t[]){ (int64_t)r->count, (int64_t)r->widths[k] }, &t));
        TRY(fdit_safetensors_f32(ctx, st, t, 0, t->n, *rows_of(r, k)));
    }
out:
    fdit_safetensors_close(st);
    return status;
}
