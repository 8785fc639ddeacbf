/* SPDX-License-Identifier: Apache-2.0 */
#include "data/room.h"

#include "core/mem.h"

#include <pthread.h>

struct fdit_room {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    size_t bytes, used;
};

enum fdit_status fdit_room_new(fdit_context *ctx, struct fdit_room **out)
{
    struct fdit_room *r;
    enum fdit_status status = fdit_alloc(ctx, 1, sizeof *r, &r);
    *out = NULL;
    if (status != FDIT_OK)
        return status;
    if (pthread_mutex_init(&r->lock, NULL)) {
        fdit_free(r);
        return fdit_fail(ctx, FDIT_ERROR_MEMORY, "no memory for a lock");
    }
    if (pthread_cond_init(&r->freed, NULL)) {
        pthread_mutex_destroy(&r->lock);
        fdit_free(r);
        return fdit_fail(ctx, FDIT_ERROR_MEMORY, "no memory for a condition variable");
    }
    *out = r;
    return FDIT_OK;
}

void fdit_room_free(struct fdit_room *r)
{
    if (!r)
        return;
    pthread_cond_destroy(&r->freed);
    pthread_mutex_destroy(&r->lock);
    fdit_free(r);
}

void fdit_room_set(struct fdit_room *r, size_t bytes)
{
    r->bytes = bytes;
}

void fdit_room_take(struct fdit_room *r, size_t bytes)
{
    pthread_mutex_lock(&r->lock);
    while (r->bytes && r->used && (r->used > r->bytes || bytes > r->bytes - r->used))
        pthread_cond_wait(&r->freed, &r->lock);
    r->used += bytes;
    pthread_mutex_unlock(&r->lock);
}

void fdit_room_give(struct fdit_room *r, size_t bytes)
{
    pthread_mutex_lock(&r->lock);
    r->used -= bytes;
    pthread_cond_broadcast(&r->freed);
    pthread_mutex_unlock(&r->lock);
}
