/* SPDX-License-Identifier: Apache-2.0 */
#include "data/survey.h"

#include "core/fnv.h"
#include "core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct seen {
    uint64_t bytes, hash;
    uint32_t width, height;
    uint32_t picture;
};

struct work {
    fdit_context *ctx;
    const struct fdit_dataset *ds;
    fdit_survey_fn progress;
    void *user;
    struct fdit_survey *out;
    struct seen *seen; /* [n] those with headers that make sense */
    size_t n;
};

static int by_size(const void *pa, const void *pb)
{
    const struct seen *a = pa, *b = pb;
    uint64_t short_a = a->width < a->height ? a->width : a->height;
    uint64_t short_b = b->width < b->height ? b->width : b->height;
    uint64_t area_a = (uint64_t)a->width * a->height, area_b = (uint64_t)b->width * b->height;
    if (short_a != short_b)
        return short_a < short_b ? -1 : 1;
    if (area_a != area_b)
        return area_a < area_b ? -1 : 1;
    return a->picture < b->picture ? -1 : a->picture > b->picture;
}

static int by_content(const void *pa, const void *pb)
{
    const struct seen *a = pa, *b = pb;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? -1 : 1;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return a->picture < b->picture ? -1 : a->picture > b->picture;
}

static enum fdit_status keep_unreadable(struct work *w, size_t i, fdit_context *said)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_survey *s = w->out;
    s->unreadable++;
    if (s->n_unread >= FDIT_SURVEY_SHOWN)
        return FDIT_OK;
    if (!s->unread) {
        TRY(fdit_alloc(w->ctx, FDIT_SURVEY_SHOWN, sizeof *s->unread, &s->unread));
        TRY(fdit_alloc(w->ctx, FDIT_SURVEY_SHOWN, sizeof *s->why, &s->why));
    }
    TRY(fdit_strdup(w->ctx, fdit_context_message(said), &s->why[s->n_unread]));
    s->unread[s->n_unread++] = i;
out:
    return status;
}

/* The bytes of picture i; *n 0 for one that cannot be read, which is listed. */
static enum fdit_status read_bytes(struct work *w, size_t i, fdit_context *quiet, uint8_t **bytes, size_t *n)
{
    enum fdit_status status = fdit_dataset_read(quiet, w->ds, i, bytes, n);
    if (status == FDIT_OK)
        return FDIT_OK;
    *n = 0;
    if (fdit_picture_is_bad(status))
        return keep_unreadable(w, i, quiet);
    fdit_context_take_message(w->ctx, quiet);
    return status;
}

static enum fdit_status look(struct work *w, size_t i, fdit_context *quiet)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture_probe p;
    status = fdit_dataset_probe(quiet, w->ds, i, &p);
    if (fdit_picture_is_bad(status))
        return keep_unreadable(w, i, quiet);
    if (status != FDIT_OK) {
        fdit_context_take_message(w->ctx, quiet);
        return status;
    }
    bool turned = p.orientation >= 5;
    w->out->rotated += p.orientation != 1;
    w->out->alpha += p.alpha;
    w->out->animated += p.animated;
    w->seen[w->n++] = (struct seen){ .bytes = p.file_bytes,
                                     .width = turned ? p.height : p.width,
                                     .height = turned ? p.width : p.height,
                                     .picture = (uint32_t)i };
    return FDIT_OK;
}

/* Whether pictures a and b have the same bytes: equal hashes alone are not proof. */
static enum fdit_status same_bytes(struct work *w, size_t a, size_t b, fdit_context *quiet, bool *same)
{
    enum fdit_status status = FDIT_OK;
    uint8_t *x = NULL, *y = NULL;
    size_t nx, ny;
    TRY(read_bytes(w, a, quiet, &x, &nx));
    TRY(read_bytes(w, b, quiet, &y, &ny));
    *same = nx && nx == ny && !memcmp(x, y, nx);
out:
    fdit_free(x);
    fdit_free(y);
    return status;
}

static enum fdit_status keep_pair(struct work *w, size_t first, size_t later)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_survey *s = w->out;
    s->duplicates++;
    s->duplicate_labels += fdit_dataset_label(w->ds, first) != fdit_dataset_label(w->ds, later);
    if (s->n_pairs >= FDIT_SURVEY_SHOWN)
        return FDIT_OK;
    if (!s->pairs)
        TRY(fdit_alloc(w->ctx, FDIT_SURVEY_SHOWN, sizeof *s->pairs, &s->pairs));
    s->pairs[s->n_pairs++] = (struct fdit_survey_pair){ later, first };
out:
    return status;
}

static enum fdit_status find_duplicates(struct work *w, fdit_context *quiet)
{
    enum fdit_status status = FDIT_OK;
    uint8_t *bytes = NULL;
    size_t n;
    qsort(w->seen, w->n, sizeof *w->seen, by_content);
    for (size_t i = 0; i < w->n; i++) {
        bool before = i && w->seen[i - 1].bytes == w->seen[i].bytes;
        bool behind = i + 1 < w->n && w->seen[i + 1].bytes == w->seen[i].bytes;
        if (!before && !behind)
            continue;
        if (fdit_stopped(w->ctx) || !w->progress(w->user, w->out->n))
            FAIL(w->ctx, FDIT_INTERRUPTED, "stopped");
        TRY(read_bytes(w, w->seen[i].picture, quiet, &bytes, &n));
        w->seen[i].hash = n ? fdit_fnv(FDIT_FNV_START, bytes, n) : w->seen[i].picture; /* like no other */
        fdit_free(bytes);
        bytes = NULL;
    }
    qsort(w->seen, w->n, sizeof *w->seen, by_content);
    for (size_t i = 1, first = 0; i < w->n; i++) {
        bool same = w->seen[i].bytes == w->seen[first].bytes && w->seen[i].hash == w->seen[first].hash;
        if (same && w->out->n_pairs < FDIT_SURVEY_SHOWN)
            TRY(same_bytes(w, w->seen[first].picture, w->seen[i].picture, quiet, &same));
        if (same)
            TRY(keep_pair(w, w->seen[first].picture, w->seen[i].picture));
        else
            first = i;
    }
out:
    fdit_free(bytes);
    return status;
}

enum fdit_status fdit_survey_make(fdit_context *ctx, const struct fdit_dataset *ds, fdit_survey_fn progress,
                                  void *user, struct fdit_survey *out)
{
    enum fdit_status status = FDIT_OK;
    struct work w = { .ctx = ctx, .ds = ds, .progress = progress, .user = user, .out = out };
    fdit_context *quiet = fdit_context_child(ctx);
    *out = (struct fdit_survey){ .n = fdit_dataset_size(ds) };
    if (!quiet)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for the survey");
    TRY(fdit_alloc(ctx, out->n, sizeof *w.seen, &w.seen));
    for (size_t i = 0; i < out->n; i++) {
        TRY(look(&w, i, quiet));
        if (fdit_stopped(ctx) || !progress(user, i + 1))
            FAIL(ctx, FDIT_INTERRUPTED, "stopped after %zu of %zu pictures", i + 1, out->n);
    }
    if (w.n) {
        qsort(w.seen, w.n, sizeof *w.seen, by_size);
        const struct seen *at[] = { &w.seen[0], &w.seen[w.n / 2], &w.seen[w.n - 1] };
        struct fdit_survey_size *to[] = { &out->smallest, &out->median, &out->largest };
        for (int i = 0; i < 3; i++)
            *to[i] = (struct fdit_survey_size){ at[i]->width, at[i]->height, at[i]->picture };
        TRY(find_duplicates(&w, quiet));
    }
out:
    fdit_context_free(quiet);
    fdit_free(w.seen);
    if (status != FDIT_OK)
        fdit_survey_fini(out);
    return status;
}

void fdit_survey_fini(struct fdit_survey *s)
{
    for (size_t i = 0; i < s->n_unread; i++)
        fdit_free(s->why[i]);
    fdit_free(s->why);
    fdit_free(s->unread);
    fdit_free(s->pairs);
    *s = (struct fdit_survey){ 0 };
}
