/* SPDX-License-Identifier: Apache-2.0
 * studio_draw.c: the thread that draws. */
#include "serve/studio_state.h"

#include "core/clock.h"
#include "core/mem.h"
#include "picture/png.h"

#include <string.h>

static const double tell_seconds = 0.1; /* between two words about steps */

/* ------------------------------------------------------------------ what is drawn next */

/* The order that was served longest ago. */
static struct fdit_order *next_order(struct fdit_studio *s)
{
    struct fdit_order *best = NULL;
    for (int i = 0; i < s->n_orders; i++) {
        struct fdit_order *o = s->orders[i];
        if (fdit_order_open(o) && o->taken < o->request.n && (!best || o->served < best->served))
            best = o;
    }
    return best;
}

static void take_picture(struct fdit_studio *s, struct fdit_order *o)
{
    struct fdit_request_item item = fdit_request_at(&o->request, o->taken);
    s->specs[s->in_round] = fdit_sample_source_picture(&o->source, item.id, item.seed);
    s->owners[s->in_round] = o;
    s->places[s->in_round++] = o->taken++;
}

/* Fills a round, in turn from all orders that are like the first. False: nothing is there. */
static bool fill_round(struct fdit_studio *s)
{
    struct fdit_order *first = next_order(s);
    s->in_round = 0;
    if (!first)
        return false;
    s->rounds++;
    for (int before = -1; before != s->in_round && s->in_round < s->round;) {
        before = s->in_round;
        for (int i = 0; i < s->n_orders && s->in_round < s->round; i++) {
            struct fdit_order *o = s->orders[i];
            if (!fdit_order_open(o) || o->taken == o->request.n || !fdit_order_alike(o, first))
                continue;
            o->state = FDIT_ORDER_DRAWS;
            o->served = s->rounds;
            o->step = 0;
            take_picture(s, o);
        }
    }
    return true;
}

/* Whether picture i of the round is the first of its order. */
static bool is_first(const struct fdit_studio *s, int i)
{
    int k = 0;
    while (s->owners[k] != s->owners[i])
        k++;
    return k == i;
}

/* ------------------------------------------------------------------ while it draws */

static bool is_wanted(const struct fdit_studio *s)
{
    for (int i = 0; i < s->in_round; i++)
        if (fdit_order_open(s->owners[i]))
            return true;
    return false;
}

/* The place in the round of the picture that a preview was asked of, -1: none, or not yet. */
static int preview_place(const struct fdit_studio *s)
{
    const struct fdit_studio_preview *p = &s->preview;
    if (!p->order || p->bytes || fdit_clock_seconds() < p->next)
        return -1;
    for (int i = 0; i < s->in_round; i++)
        if (s->owners[i]->id == p->order && (int64_t)s->places[i] == p->picture)
            return i;
    return -1;
}

/* Not under the lock, but for the result. After a failure there is none. */
static void make_preview(struct fdit_studio *s, int place)
{
    struct fdit_studio_model *m = &s->models[s->owners[0]->model];
    const int64_t order = s->owners[place]->id, number = (int64_t)s->places[place];
    const struct fdit_picture picture = { m->shown.size, m->shown.size, m->shown.channels, s->pixels };
    uint8_t *bytes = NULL;
    size_t n = 0;
    double begin = fdit_clock_seconds();
    fdit_context *ctx = fdit_context_child(s->ctx);
    if (!ctx)
        return;
    if (fdit_painter_look(ctx, m->painter, place, s->x) == FDIT_OK &&
        fdit_painter_glance(ctx, m->painter, s->x + (size_t)place * s->item, s->pixels) == FDIT_OK &&
        fdit_png_encode(ctx, &picture, &bytes, &n) != FDIT_OK)
        bytes = NULL;
    fdit_context_free(ctx);
    pthread_mutex_lock(&s->lock);
    s->preview.next = fdit_clock_seconds() + 50 * (fdit_clock_seconds() - begin);
    if (s->preview.order == order && s->preview.picture == number) {
        fdit_free(s->preview.bytes);
        s->preview.bytes = (char *)bytes;
        s->preview.n = n;
    } else {
        fdit_free(bytes); /* another was asked for meanwhile */
    }
    pthread_cond_broadcast(&s->told);
    pthread_mutex_unlock(&s->lock);
}

static void on_step(void *user, int step, int steps)
{
    struct fdit_studio *s = user;
    pthread_mutex_lock(&s->lock);
    double now = fdit_clock_seconds();
    bool tell = now - s->told_at >= tell_seconds;
    if (tell)
        s->told_at = now;
    for (int i = 0; i < s->in_round; i++) {
        struct fdit_order *o = s->owners[i];
        o->step = step;
        o->steps = steps;
        if (tell && is_first(s, i))
            fdit_studio_tell(s, o);
    }
    if (s->stopping || !is_wanted(s))
        fdit_context_stop(s->drawing);
    int place = step < steps ? preview_place(s) : -1;
    pthread_mutex_unlock(&s->lock);
    if (place >= 0)
        make_preview(s, place);
}

/* ------------------------------------------------------------------ what was drawn */

/* Picture i of the round into its order. */
static enum fdit_status deliver(fdit_context *ctx, struct fdit_studio *s, int i)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_order *o = s->owners[i];
    struct fdit_studio_model *m = &s->models[o->model];
    const float *x = s->x + (size_t)i * s->item;
    uint8_t *bytes = NULL;
    size_t n = 0;
    TRY(fdit_sample_source_check(ctx, &m->shown.source, &s->specs[i], x, s->item));
    TRY(fdit_painter_decode(ctx, m->painter, x, s->pixels));
    TRY(fdit_order_encode(ctx, o, &m->shown, s->places[i], s->pixels, &bytes, &n));
out:
    pthread_mutex_lock(&s->lock);
    if (status == FDIT_OK) {
        o->pictures[s->places[i]] = (struct fdit_order_picture){ bytes, n };
        o->bytes += n;
        s->bytes += n;
        o->done++;
        if (fdit_order_open(o) && o->done == o->request.n)
            fdit_studio_end(s, o, FDIT_ORDER_DONE);
        else
            fdit_studio_tell(s, o);
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

static void fail_round(struct fdit_studio *s, const char *message)
{
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < s->in_round; i++) {
        struct fdit_order *o = s->owners[i];
        if (!fdit_order_open(o))
            continue;
        if (!o->message && fdit_strdup(NULL, message, &o->message) != FDIT_OK)
            o->message = NULL;
        fdit_studio_end(s, o, FDIT_ORDER_FAILED);
    }
    pthread_mutex_unlock(&s->lock);
}

static void draw_round(struct fdit_studio *s, fdit_context *ctx)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_studio_model *m = &s->models[s->owners[0]->model];
    struct fdit_generator_options how = s->owners[0]->how;
    double begin = fdit_clock_seconds();
    how.on_step = on_step;
    how.user = s;
    TRY(fdit_painter_set(ctx, m->painter, &how));
    TRY(fdit_painter_draw(ctx, m->painter, s->specs, (size_t)s->in_round, s->x));
    for (int i = 0; i < s->in_round; i++)
        TRY(deliver(ctx, s, i));
out:
    if (status != FDIT_OK && status != FDIT_INTERRUPTED)
        fail_round(s, fdit_context_message(ctx));
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < s->in_round; i++)
        if (is_first(s, i))
            s->owners[i]->seconds += fdit_clock_seconds() - begin;
    pthread_mutex_unlock(&s->lock);
}

/* ------------------------------------------------------------------ the thread */

static bool is_drawn(const struct fdit_studio *s, const struct fdit_order *o)
{
    for (int i = 0; i < s->in_round; i++)
        if (s->owners[i] == o)
            return true;
    return false;
}

/* Of those that nobody needs the one that ended first, -1: none. */
static int oldest(const struct fdit_studio *s)
{
    int best = -1;
    for (int i = 0; i < s->n_orders; i++) {
        const struct fdit_order *o = s->orders[i];
        if (o->ended && !o->held && (best < 0 || o->ended < s->orders[best]->ended) && !is_drawn(s, o))
            best = i;
    }
    return best;
}

void fdit_studio_forget(struct fdit_studio *s, size_t bytes, int most)
{
    while (s->n_orders > most || s->bytes + bytes > s->picture_bytes) {
        const int i = oldest(s);
        if (i < 0)
            break;
        s->bytes -= s->orders[i]->bytes;
        fdit_order_free(s->orders[i]);
        memmove(s->orders + i, s->orders + i + 1, (size_t)(--s->n_orders - i) * sizeof *s->orders);
    }
}

void *fdit_studio_work(void *user)
{
    struct fdit_studio *s = user;
    pthread_mutex_lock(&s->lock);
    while (!s->stopping && !fdit_stopped(s->ctx)) {
        fdit_context *ctx = NULL;
        const bool some = fill_round(s);
        fdit_studio_forget(s, (size_t)s->in_round * s->picture_most, FDIT_STUDIO_KEPT_ORDERS);
        if (!some) {
            pthread_cond_wait(&s->work, &s->lock);
            continue;
        }
        ctx = s->drawing = fdit_context_child(s->ctx);
        pthread_mutex_unlock(&s->lock);
        if (ctx)
            draw_round(s, ctx);
        else
            fail_round(s, "out of memory");
        pthread_mutex_lock(&s->lock);
        s->drawing = NULL;
        if (ctx)
            fdit_context_free(ctx);
    }
    s->ended = true;
    pthread_cond_broadcast(&s->told);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}
