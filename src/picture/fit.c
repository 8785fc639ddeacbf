/* SPDX-License-Identifier: Apache-2.0
 * fit.c: rows go through the halvings as they are decoded; each step keeps the two or three rows
 * that the next row of its output is made of. EXIF's turns cost no memory either: rows that come
 * from the bottom are taken in that order, mirrored rows are mirrored, and of a picture that is
 * turned by a quarter the steps work along y first, so that the small picture, turned at the end,
 * has the bits of the turned large one. */
#include "picture/fit.h"

#include "core/mem.h"
#include "picture/chain.h"
#include "picture/picture_read.h"

#include <string.h>

/* A step on the rows as they are stored. `along` is the axis along them, `down` the one across. */
struct stage {
    const struct fdit_axis *along, *down;
    bool even;
    int in_first, in_n; /* columns of its input */
    size_t in_bytes;    /* of a row of it, with slack behind */
    int ring, at;       /* rows kept; the output that is due next */
    uint8_t *rows;      /* [ring][in_bytes] */
    uint8_t *made;      /* rows between the two passes */
    const uint8_t **taps;
};

struct fit {
    fdit_context *ctx;
    const char *name;
    int width, height; /* as stored */
    bool flip_x, flip_y, turned;
    struct fdit_chain chain;
    struct stage stages[FDIT_CHAIN_HALVINGS];
    int n;
    /* what the bicubic step needs, in stored directions */
    int first_x, first_y, n_x, n_y;
    uint8_t *kept, *row; /* [n_y][n_x][3]; a row of the picture, where there is no halving */
};

static uint8_t *ring_row(const struct stage *s, int d)
{
    return s->rows + (size_t)(d % s->ring) * s->in_bytes;
}

/* Output o of a stage into `to`. */
static void make_output(const struct fit *f, struct stage *s, int o, uint8_t *to)
{
    const struct fdit_axis *along = s->along, *down = s->down;
    int first = down->first[o], taps = down->taps[o];
    if (s->even) {
        size_t from = 3 * (size_t)(2 * along->lo - s->in_first);
        fdit_halve_rows(ring_row(s, first) + from, ring_row(s, first + 1) + from, along->n, 3, f->turned, to);
    } else if (f->turned) {
        for (int k = 0; k < taps; k++)
            s->taps[k] = ring_row(s, first + k);
        fdit_resample_down(down, o, s->taps, 3 * (size_t)s->in_n, s->made);
        fdit_resample_along(along, s->made, s->in_first, to);
    } else {
        size_t bytes = 3 * (size_t)along->n;
        for (int k = 0; k < taps; k++) {
            s->taps[k] = s->made + (size_t)k * bytes;
            fdit_resample_along(along, ring_row(s, first + k), s->in_first, s->made + (size_t)k * bytes);
        }
        fdit_resample_down(down, o, s->taps, bytes, to);
    }
}

/* The row d (of the halved picture) into what the bicubic step needs. */
static uint8_t *kept_row(const struct fit *f, int d)
{
    return f->kept + (size_t)(d - f->first_y) * 3 * (size_t)f->n_x;
}

/* Row d of the input of stage i is in its ring: makes every output that is complete with it. */
static void take_row(struct fit *f, int i, int d)
{
    struct stage *s = &f->stages[i];
    const struct fdit_axis *down = s->down;
    while (s->at >= 0 && s->at < down->n) {
        int first = down->first[s->at], last = first + down->taps[s->at] - 1;
        if (f->flip_y ? d > first : d < last)
            return;
        int made = down->lo + s->at;
        bool end = i + 1 == f->n;
        make_output(f, s, s->at, end ? kept_row(f, made) : ring_row(&f->stages[i + 1], made));
        s->at += f->flip_y ? -1 : 1;
        if (!end)
            take_row(f, i + 1, made);
    }
}

static int down_of(const struct fit *f, int y)
{
    return f->flip_y ? f->height - 1 - y : y;
}

static void reverse(uint8_t *row, int n)
{
    for (uint8_t *a = row, *b = row + 3 * (size_t)(n - 1); a < b; a += 3, b -= 3)
        for (int c = 0; c < 3; c++) {
            uint8_t t = a[c];
            a[c] = b[c];
            b[c] = t;
        }
}

static uint8_t *sink_row(void *self, int y)
{
    struct fit *f = self;
    return f->n ? ring_row(&f->stages[0], down_of(f, y)) : f->row;
}

static enum fdit_status sink_done(void *self, int y)
{
    struct fit *f = self;
    int d = down_of(f, y);
    uint8_t *row = sink_row(f, y);
    if (f->flip_x)
        reverse(row, f->width);
    if (f->n)
        take_row(f, 0, d);
    else if (d >= f->first_y && d < f->first_y + f->n_y)
        memcpy(kept_row(f, d), row + 3 * (size_t)f->first_x, 3 * (size_t)f->n_x);
    return FDIT_OK;
}

static enum fdit_status stage_init(fdit_context *ctx, struct fit *f, int i)
{
    enum fdit_status status = FDIT_OK;
    struct stage *s = &f->stages[i];
    const struct fdit_chain_step *step = &f->chain.steps[i];
    const struct stage *before = i ? s - 1 : NULL;
    s->along = f->turned ? &step->y : &step->x;
    s->down = f->turned ? &step->x : &step->y;
    s->even = step->even;
    s->in_first = before ? before->along->lo : 0;
    s->in_n = before ? before->along->n : f->width;
    s->in_bytes = 3 * (size_t)s->in_n + FDIT_RESAMPLE_SLACK;
    s->ring = s->down->max_taps + 1; /* neighbouring outputs may share a row */
    s->at = f->flip_y ? s->down->n - 1 : 0;
    TRY(fdit_alloc(ctx, (size_t)s->ring, s->in_bytes, &s->rows));
    if (!s->even) {
        TRY(fdit_alloc(ctx, (size_t)s->down->max_taps, sizeof *s->taps, &s->taps));
        size_t rows = f->turned ? 1 : (size_t)s->down->max_taps;
        size_t pixels = f->turned ? (size_t)s->in_n : (size_t)s->along->n;
        TRY(fdit_alloc(ctx, rows * 3 * pixels + FDIT_RESAMPLE_SLACK, 1, &s->made));
    }
out:
    return status;
}

static enum fdit_status sink_begin(void *self, int width, int height)
{
    enum fdit_status status = FDIT_OK;
    struct fit *f = self;
    const struct fdit_chain_step *last = &f->chain.steps[f->chain.n - 1];
    int lo, hi;
    if (width != f->width || height != f->height)
        FAIL(f->ctx, FDIT_ERROR_FORMAT, "%s: the header says %d x %d, the pixels are %d x %d; get it again",
             f->name, f->width, f->height, width, height);
    f->n = f->chain.n - 1;
    for (int i = 0; i < f->n; i++)
        TRY(stage_init(f->ctx, f, i));
    fdit_axis_needs(f->turned ? &last->y : &last->x, &lo, &hi);
    f->first_x = lo;
    f->n_x = hi - lo;
    fdit_axis_needs(f->turned ? &last->x : &last->y, &lo, &hi);
    f->first_y = lo;
    f->n_y = hi - lo;
    TRY(fdit_alloc(f->ctx, (size_t)f->n_y, 3 * (size_t)f->n_x, &f->kept));
    if (!f->n)
        TRY(fdit_alloc(f->ctx, 3 * (size_t)f->width, 1, &f->row));
out:
    return status;
}

/* Rows become columns. */
static enum fdit_status turn(fdit_context *ctx, struct fit *f)
{
    uint8_t *out;
    enum fdit_status status = fdit_alloc(ctx, (size_t)f->n_x, 3 * (size_t)f->n_y, &out);
    if (status != FDIT_OK)
        return status;
    for (size_t y = 0; y < (size_t)f->n_y; y++)
        for (size_t x = 0; x < (size_t)f->n_x; x++)
            memcpy(out + 3 * (x * (size_t)f->n_y + y), f->kept + 3 * (y * (size_t)f->n_x + x), 3);
    fdit_free(f->kept);
    f->kept = out;
    return FDIT_OK;
}

/* The bicubic step. */
static enum fdit_status finish(fdit_context *ctx, struct fit *f, bool pad, struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_chain_step *last = &f->chain.steps[f->chain.n - 1];
    struct fdit_part part = { .width = f->n_x, .x = f->first_x, .y = f->first_y, .channels = 3 };
    uint8_t *scaled = NULL;
    if (f->turned) {
        TRY(turn(ctx, f));
        part.width = f->n_y;
        part.x = f->first_y;
        part.y = f->first_x;
    }
    part.pixels = f->kept;
    part.row_bytes = 3 * (size_t)part.width;
    if (!pad) {
        TRY(fdit_resample(ctx, &part, &last->x, &last->y, out->pixels));
        goto out;
    }
    TRY(fdit_alloc(ctx, (size_t)last->out_h, 3 * (size_t)last->out_w, &scaled));
    TRY(fdit_resample(ctx, &part, &last->x, &last->y, scaled));
    fdit_chain_place(scaled, last->out_w, last->out_h, out);
out:
    fdit_free(scaled);
    return status;
}

static void fit_fini(struct fit *f)
{
    fdit_chain_fini(&f->chain);
    for (int i = 0; i < f->n; i++) {
        fdit_free(f->stages[i].rows);
        fdit_free(f->stages[i].made);
        fdit_free(f->stages[i].taps);
    }
    fdit_free(f->kept);
    fdit_free(f->row);
}

/* Rings of 3 to 6 rows of 3 bytes, half as wide at each step, the weights of both axes, and what
 * the square is made of. */
static size_t sink_bytes(uint32_t width, uint32_t height, int size)
{
    size_t square = 2 * (size_t)size + 8;
    return 54 * (size_t)width + 64 * ((size_t)width + height) + 8 * 3 * square * square;
}

size_t fdit_picture_fit_bytes(const struct fdit_picture_probe *p, int size)
{
    return fdit_picture_read_bytes(p) + sink_bytes(p->width, p->height, size);
}

enum fdit_status fdit_picture_fit(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                  const struct fdit_picture_rules *rules, bool pad, int size,
                                  struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    static const struct fdit_picture_rules plain = { .limit = 0 };
    struct fdit_picture_bytes from = fdit_picture_memory(bytes, n);
    struct fdit_picture_probe p = { .width = 0 };
    struct fit f = { .ctx = ctx, .name = name };
    struct fdit_row_sink sink = { .self = &f, .begin = sink_begin, .row = sink_row, .done = sink_done };
    rules = rules ? rules : &plain;
    memset(out, 0, sizeof *out);
    TRY(fdit_chain_check_size(ctx, size));
    TRY(fdit_picture_probe(ctx, &from, name, &p));
    f.width = (int)p.width;
    f.height = (int)p.height;
    struct fdit_turn t = fdit_picture_turn(rules->exif ? p.orientation : 1);
    f.flip_x = t.flip_x;
    f.flip_y = t.flip_y;
    f.turned = t.turned;
    int w = f.turned ? f.height : f.width, h = f.turned ? f.width : f.height;
    TRY(fdit_picture_read_check(ctx, name, &p, rules, 0));
    TRY(fdit_chain_check(ctx, name, w, h, size, pad));
    TRY(fdit_picture_read_check(ctx, name, &p, rules, fdit_picture_fit_bytes(&p, size)));
    TRY(fdit_chain_init(ctx, &f.chain, name, w, h, size, pad));
    TRY(fdit_picture_new(ctx, size, size, 3, out));
    TRY(fdit_picture_read_rows(ctx, bytes, n, name, &p, rules, &sink));
    TRY(finish(ctx, &f, pad, out));
out:
    fit_fini(&f);
    if (status != FDIT_OK)
        fdit_picture_fini(out);
    return fdit_picture_read_failed(ctx, status, name, &p);
}
