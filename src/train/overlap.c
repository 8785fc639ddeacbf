/* SPDX-License-Identifier: Apache-2.0 */
#include "train/overlap.h"

#include "core/clock.h"
#include "core/mem.h"

#include <pthread.h>

/* Of the device's read slots, those that step.c does not use: a read goes on while the next one begins. */
enum { FIRST_SLOT = 2, SLOTS = 2 };

/* The pass of a device: groups whose read was begun and ended. */
struct watcher {
    struct fdit_overlap *o;
    fdit_context *ctx; /* of the pass in progress */
    enum fdit_status status;
    int i, begun, ended;
    int ready; /* pieces in its vector; guarded by lock */
};

struct fdit_overlap {
    struct fdit_exchange *x;
    const struct fdit_vector_layout *layout;
    struct fdit_model *const *models;
    float *const *vectors;
    struct watcher *watchers; /* [x->count] */
    bool begins, ends;        /* of the micro-batch in progress */
    /* The thread; without one the pieces go in fdit_overlap_end. */
    bool threaded;
    pthread_t thread;
    fdit_context *ctx; /* its own */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool busy, given_up, closing; /* a micro-batch is in progress; no piece follows; the thread is to end */
    enum fdit_status status;
    double waited; /* seconds of the exchange's account before the micro-batch */
};

/* ------------------------------------------------------------------ the pieces */

static enum fdit_status hand_over(fdit_context *ctx, struct fdit_overlap *o, int piece)
{
    enum fdit_status status = FDIT_OK;
    TRY(o->x->add(ctx, o->x, o->vectors, piece, o->begins));
    if (o->ends)
        TRY(o->x->sum(ctx, o->x, o->vectors, piece));
out:
    return status;
}

static bool all_have(const struct fdit_overlap *o, int piece)
{
    for (int i = 0; i < o->x->count; i++)
        if (o->watchers[i].ready <= piece)
            return false;
    return true;
}

/* The pieces of a micro-batch, each as soon as all devices have it. Called with the lock, which is free while
 * one goes. */
static void hand_all_over(struct fdit_overlap *o)
{
    for (int piece = 0; piece < o->layout->pieces && o->status == FDIT_OK; piece++) {
        while (!all_have(o, piece) && !o->given_up)
            pthread_cond_wait(&o->changed, &o->lock);
        if (o->given_up)
            return;
        pthread_mutex_unlock(&o->lock);
        const enum fdit_status status = hand_over(o->ctx, o, piece);
        pthread_mutex_lock(&o->lock);
        o->status = status;
    }
}

static void *work(void *user)
{
    struct fdit_overlap *o = user;
    pthread_mutex_lock(&o->lock);
    for (;;) {
        while (!o->busy && !o->closing)
            pthread_cond_wait(&o->changed, &o->lock);
        if (o->closing)
            break;
        hand_all_over(o);
        o->busy = false;
        pthread_cond_broadcast(&o->changed);
    }
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

void fdit_overlap_begin(struct fdit_overlap *o, bool begins, bool ends)
{
    pthread_mutex_lock(&o->lock);
    for (int i = 0; i < o->x->count; i++)
        o->watchers[i].ready = 0;
    o->begins = begins;
    o->ends = ends;
    o->status = FDIT_OK;
    o->given_up = false;
    o->busy = o->threaded;
    o->waited = o->x->traffic.seconds;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
}

enum fdit_status fdit_overlap_end(fdit_context *ctx, struct fdit_overlap *o, enum fdit_status own)
{
    enum fdit_status status = own;
    if (!o->threaded) {
        for (int piece = 0; status == FDIT_OK && piece < o->layout->pieces; piece++)
            status = hand_over(ctx, o, piece);
        return status;
    }
    const double begun = fdit_clock_seconds();
    pthread_mutex_lock(&o->lock);
    o->given_up = own != FDIT_OK;
    pthread_cond_broadcast(&o->changed);
    while (o->busy)
        pthread_cond_wait(&o->changed, &o->lock);
    pthread_mutex_unlock(&o->lock);
    /* not what the thread has waited while the passes computed */
    o->x->traffic.seconds = o->waited + fdit_clock_seconds() - begun;
    if (own == FDIT_OK && o->status != FDIT_OK) {
        fdit_context_take_message(ctx, o->ctx);
        status = o->status;
    }
    return status;
}

/* ------------------------------------------------------------------ a device's pass */

static int slot_of(int place)
{
    return FIRST_SLOT + place % SLOTS;
}

static void begin_read(struct watcher *w)
{
    const struct fdit_overlap *o = w->o;
    const struct fdit_model *m = o->models[w->i];
    const int place = w->begun++;
    const struct fdit_group *group = &m->params.groups[o->layout->group[place]];
    fdit_read_begin(m->dev, fdit_tensor_of(group->grad, FDIT_F32), o->vectors[w->i] + o->layout->first[place],
                    group->trained, slot_of(place));
}

static void end_read(struct watcher *w)
{
    struct fdit_overlap *o = w->o;
    const int place = w->ended++;
    const enum fdit_status status = fdit_read_end(w->ctx, o->models[w->i]->dev, slot_of(place));
    w->status = w->status == FDIT_OK ? status : w->status;
    if (w->status != FDIT_OK)
        return;
    pthread_mutex_lock(&o->lock);
    if (o->layout->last[w->ready] == place) {
        w->ready++;
        pthread_cond_broadcast(&o->changed);
    }
    pthread_mutex_unlock(&o->lock);
}

/* Called by fdit_backward. A read is waited for when the pass behind it has its next group queued, so that a
 * device has something to do meanwhile. */
static void group_is_final(void *user, int group)
{
    struct watcher *w = user;
    const struct fdit_vector_layout *layout = w->o->layout;
    if (w->begun == layout->n || layout->group[w->begun] != group)
        return;
    begin_read(w);
    if (w->begun - w->ended == SLOTS)
        end_read(w);
}

void fdit_overlap_watch(fdit_context *ctx, struct fdit_overlap *o, int i)
{
    struct watcher *w = &o->watchers[i];
    w->ctx = ctx;
    w->status = FDIT_OK;
    w->begun = w->ended = 0;
    o->models[i]->final = group_is_final;
    o->models[i]->final_user = w;
}

enum fdit_status fdit_overlap_watched(struct fdit_overlap *o, int i)
{
    struct watcher *w = &o->watchers[i];
    o->models[i]->final = NULL;
    while (w->ended < o->layout->n) {
        if (w->begun < o->layout->n)
            begin_read(w);
        if (w->begun - w->ended == SLOTS || w->begun == o->layout->n)
            end_read(w);
    }
    return w->status;
}

/* ------------------------------------------------------------------ making it */

enum fdit_status fdit_overlap_new(fdit_context *ctx, struct fdit_exchange *x,
                                  const struct fdit_vector_layout *layout, struct fdit_model *const *models,
                                  float *const *vectors, struct fdit_overlap **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_overlap *o = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *o, &o));
    o->x = x;
    o->layout = layout;
    o->models = models;
    o->vectors = vectors;
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->changed, NULL);
    TRY(fdit_alloc(ctx, (size_t)x->count, sizeof *o->watchers, &o->watchers));
    for (int i = 0; i < x->count; i++)
        o->watchers[i] = (struct watcher){ .o = o, .i = i };
    if (x->behind) {
        o->ctx = fdit_context_child(ctx);
        if (!o->ctx)
            FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for the thread of the exchange");
        const int error = pthread_create(&o->thread, NULL, work, o);
        if (error) {
            status = fdit_fail_errno(ctx, FDIT_ERROR_MEMORY, error,
                                     "the thread of the exchange cannot be started");
            goto out;
        }
        o->threaded = true;
    }
    *out = o;
    return FDIT_OK;
out:
    fdit_overlap_free(o);
    return status;
}

void fdit_overlap_free(struct fdit_overlap *o)
{
    if (!o)
        return;
    if (o->threaded) {
        pthread_mutex_lock(&o->lock);
        o->closing = true;
        pthread_cond_broadcast(&o->changed);
        pthread_mutex_unlock(&o->lock);
        pthread_join(o->thread, NULL);
    }
    fdit_context_free(o->ctx);
    pthread_cond_destroy(&o->changed);
    pthread_mutex_destroy(&o->lock);
    fdit_free(o->watchers);
    fdit_free(o);
}
