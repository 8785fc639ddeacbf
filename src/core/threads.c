/* SPDX-License-Identifier: Apache-2.0 */
#include "core/threads.h"

#include "core/mem.h"

#include <pthread.h>
#include <string.h>

struct member {
    struct fdit_threads *threads;
    fdit_context *ctx;
    pthread_t thread;
    bool started;
    enum fdit_status status;
    int number;
};

struct fdit_threads {
    int n;
    struct member *members;
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    uint64_t round; /* calls so far */
    int busy;       /* threads that have not ended this one */
    bool closing;
    fdit_threads_fn fn;
    void *user;
};

static void *work(void *p)
{
    struct member *m = p;
    struct fdit_threads *t = m->threads;
    uint64_t seen = 0;
    pthread_mutex_lock(&t->lock);
    for (;;) {
        while (t->round == seen && !t->closing)
            pthread_cond_wait(&t->begin, &t->lock);
        if (t->closing)
            break;
        seen = t->round;
        fdit_threads_fn fn = t->fn;
        void *user = t->user;
        pthread_mutex_unlock(&t->lock);
        m->status = fn(m->ctx, user, m->number);
        pthread_mutex_lock(&t->lock);
        if (--t->busy == 0)
            pthread_cond_signal(&t->end);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

enum fdit_status fdit_threads_new(fdit_context *ctx, int n, struct fdit_threads **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_threads *t = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *t, &t));
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->begin, NULL);
    pthread_cond_init(&t->end, NULL);
    TRY(fdit_alloc(ctx, (size_t)n, sizeof *t->members, &t->members));
    t->n = n;
    for (int i = 0; i < n; i++) {
        struct member *m = &t->members[i];
        *m = (struct member){ .threads = t, .number = i };
        m->ctx = fdit_context_child(ctx);
        if (!m->ctx)
            FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for thread %d of %d", i, n);
        int error = i ? pthread_create(&m->thread, NULL, work, m) : 0;
        if (error) {
            status =
                fdit_fail_errno(ctx, FDIT_ERROR_MEMORY, error, "thread %d of %d cannot be started", i, n);
            goto out;
        }
        m->started = i > 0;
    }
    *out = t;
    return FDIT_OK;
out:
    fdit_threads_free(t);
    return status;
}

void fdit_threads_free(struct fdit_threads *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->closing = true;
    pthread_cond_broadcast(&t->begin);
    pthread_mutex_unlock(&t->lock);
    for (int i = 0; i < t->n; i++) {
        if (t->members[i].started)
            pthread_join(t->members[i].thread, NULL);
        fdit_context_free(t->members[i].ctx);
    }
    pthread_cond_destroy(&t->begin);
    pthread_cond_destroy(&t->end);
    pthread_mutex_destroy(&t->lock);
    fdit_free(t->members);
    fdit_free(t);
}

enum fdit_status fdit_threads_run(fdit_context *ctx, struct fdit_threads *t, fdit_threads_fn fn, void *user,
                                  int *failed)
{
    pthread_mutex_lock(&t->lock);
    t->fn = fn;
    t->user = user;
    t->busy = t->n - 1;
    t->round++;
    pthread_cond_broadcast(&t->begin);
    pthread_mutex_unlock(&t->lock);
    t->members[0].status = fn(t->members[0].ctx, user, 0);
    pthread_mutex_lock(&t->lock);
    while (t->busy)
        pthread_cond_wait(&t->end, &t->lock);
    pthread_mutex_unlock(&t->lock);
    if (failed)
        *failed = -1;
    for (int i = 0; i < t->n; i++)
        if (t->members[i].status != FDIT_OK) {
            if (failed)
                *failed = i;
            fdit_context_take_message(ctx, t->members[i].ctx);
            return t->members[i].status;
        }
    return FDIT_OK;
}
