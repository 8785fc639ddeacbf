/* SPDX-License-Identifier: Apache-2.0
 * diversity.c: how different the pictures of a class are, by LPIPS. */
#include "eval/evaluate.h"

#include "core/mem.h"
#include "core/phase.h"
#include "eval/lpips.h"
#include "picture/resize.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Larger pictures are made so large: VGG16's features of one are 32 MB then. */
enum { MOST_SIZE = 256 };

struct diversity {
    struct fdit_lpips *net;
    struct fdit_lpips_spread spread;
    const struct fdit_eval_options *o;
    const struct fdit_picture_rules *rules;
    const struct fdit_feature_set *s;
    int size;
    float *x, *features; /* of a picture */
};

/* "NET" or "NET,HEADS". */
static enum fdit_status prepare_net(fdit_context *ctx, fdit_device *dev, const char *what, int size,
                                    struct fdit_lpips **out)
{
    enum fdit_status status = FDIT_OK;
    const char *comma = strchr(what, ',');
    char *path = NULL;
    TRY(fdit_strndup(ctx, what, comma ? (size_t)(comma - what) : strlen(what), &path));
    TRY(fdit_lpips_prepare(ctx, dev, path, comma ? comma + 1 : NULL, size, 0, out));
out:
    fdit_free(path);
    return status;
}

size_t fdit_eval_diversity_bytes(const struct fdit_lpips *net)
{
    const size_t picture = 3 * (size_t)fdit_lpips_size(net) * (size_t)fdit_lpips_size(net);
    return picture * sizeof(float) + fdit_lpips_width(net) * (2 * sizeof(float) + sizeof(double));
}

static enum fdit_status make_room(fdit_context *ctx, struct diversity *d)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_lpips_spread_new(ctx, d->net, &d->spread));
    TRY(fdit_alloc(ctx, 3 * (size_t)d->size, (size_t)d->size * sizeof(float), &d->x));
    TRY(fdit_alloc(ctx, fdit_lpips_width(d->net), sizeof(float), &d->features));
out:
    return status;
}

static enum fdit_status read_picture(fdit_context *ctx, const struct diversity *d, size_t i,
                                     struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    bool found;
    TRY(fdit_feature_set_picture(ctx, d->s, i, d->rules, out, &found));
    if (!found)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--lpips needs pictures, and %s has none", d->s->path);
out:
    return status;
}

/* Picture i as the network takes it: a square, -1..1, grey ones in three equal channels. */
static enum fdit_status add_picture(fdit_context *ctx, struct diversity *d, size_t i)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture p = { 0 }, square = { 0 };
    const size_t plane = (size_t)d->size * (size_t)d->size;
    TRY(read_picture(ctx, d, i, &p));
    TRY(d->o->fit == FDIT_FIT_PAD ? fdit_picture_pad(ctx, &p, d->size, &square)
                                  : fdit_picture_crop(ctx, &p, d->size, &square));
    const size_t channels = (size_t)square.channels;
    for (size_t k = 0; k < 3 * plane; k++) {
        const size_t c = k / plane < channels ? k / plane : 0;
        d->x[k] = (float)square.pixels[k % plane * channels + c] / 127.5f - 1;
    }
    TRY(fdit_lpips_run(ctx, d->net, d->x, d->features));
    fdit_lpips_spread_add(d->net, &d->spread, d->features);
out:
    fdit_picture_fini(&p);
    fdit_picture_fini(&square);
    return status;
}

/* Class after class: only the sums of one are kept. */
static enum fdit_status all_classes(fdit_context *ctx, struct diversity *d, size_t classes, double *value)
{
    enum fdit_status status = FDIT_OK;
    size_t done = 0;
    for (size_t c = 0; c < classes; c++) {
        fdit_lpips_spread_clear(&d->spread);
        for (size_t i = 0; i < d->s->points.n; i++) {
            if ((size_t)d->s->label[i] != c)
                continue;
            if (fdit_stopped(ctx))
                FAIL(ctx, FDIT_INTERRUPTED, "stopped after %zu of %zu pictures of %s", done, d->s->points.n,
                     d->s->path);
            TRY(add_picture(ctx, d, i));
            fdit_phase_at(ctx, ++done);
        }
        value[c] = fdit_lpips_spread_mean(d->net, &d->spread);
    }
out:
    return status;
}

enum fdit_status fdit_eval_diversity_prepare(fdit_context *ctx, fdit_device *dev,
                                             const struct fdit_eval_options *o,
                                             const struct fdit_picture_rules *rules,
                                             const struct fdit_feature_set *s, struct fdit_lpips **out)
{
    enum fdit_status status = FDIT_OK;
    const struct diversity d = { .rules = rules, .s = s };
    struct fdit_picture first = { 0 };
    int size;
    if (s->drawing) {
        size = s->drawing->size;
    } else {
        size_t i = 0;
        do
            status = read_picture(ctx, &d, i++, &first);
        while (o->skip_bad && fdit_picture_is_bad(status) && i < s->points.n);
        TRY(status);
        size = first.width < first.height ? first.width : first.height;
    }
    TRY(prepare_net(ctx, dev, o->lpips, size < MOST_SIZE ? size : MOST_SIZE, out));
out:
    fdit_picture_fini(&first);
    return status;
}

enum fdit_status fdit_eval_diversity(fdit_context *ctx, struct fdit_lpips *net,
                                     const struct fdit_eval_options *o,
                                     const struct fdit_picture_rules *rules, struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    struct diversity d = {
        .net = net, .o = o, .rules = rules, .s = &r->generated, .size = fdit_lpips_size(net)
    };
    double sum = 0, counted = 0;
    if (!r->classes || !r->generated.label || !r->generated.points.n)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--lpips: %s has no classes, within which pictures are compared",
             r->generated.path);
    TRY(make_room(ctx, &d));
    TRY(fdit_alloc(ctx, r->classes, sizeof(double), &r->by_class[FDIT_CLASS_LPIPS]));
    fdit_phase_begin(ctx, r->generated.points.n, "how different pictures of a class are");
    status = all_classes(ctx, &d, r->classes, r->by_class[FDIT_CLASS_LPIPS]);
    fdit_phase_end(ctx);
    TRY(status);
    for (size_t c = 0; c < r->classes; c++)
        if (!isnan(r->by_class[FDIT_CLASS_LPIPS][c])) {
            sum += r->by_class[FDIT_CLASS_LPIPS][c];
            counted++;
        }
    r->lpips = sum / counted; /* NaN: no class has two pictures */
    snprintf(r->lpips_name, sizeof r->lpips_name, "lpips:%s", fdit_lpips_name(net));
out:
    fdit_lpips_spread_fini(&d.spread);
    fdit_free(d.x);
    fdit_free(d.features);
    return status;
}
