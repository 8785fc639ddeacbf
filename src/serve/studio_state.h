/* SPDX-License-Identifier: Apache-2.0
 * studio_state.h: what studio.c (models, orders) and studio_draw.c (the thread) share. */
#ifndef FDIT_SERVE_STUDIO_STATE_H
#define FDIT_SERVE_STUDIO_STATE_H

#include "serve/studio.h"

#include <pthread.h>

struct fdit_studio_model {
    struct fdit_order_model shown;
    struct fdit_painter *painter;
};

/* A picture in the making that somebody wants to see. */
struct fdit_studio_preview {
    int64_t order, picture; /* 0: none is wanted */
    char *bytes;            /* the answer, a PNG */
    size_t n;
    double wanted_at, next; /* when it was asked for; before when none is made */
};

struct fdit_studio {
    fdit_context *ctx;
    const struct fdit_devices *devices;
    struct fdit_studio_model *models;
    int n_models;
    struct fdit_plan *plans; /* [devices->n] of all models together */
    size_t item;
    size_t picture_bytes, picture_most; /* of all files, and of one at the most */
    size_t sheet_bytes;                 /* while one is made, at the most */
    /* of a round: */
    int round;
    float *x;
    uint8_t *pixels; /* of one picture */
    struct fdit_picture_spec *specs;
    struct fdit_order **owners; /* [round] whose picture each is */
    size_t *places;             /* [round] which */
    int in_round;

    pthread_t thread;
    bool locks, running; /* what was made */
    pthread_mutex_t lock;
    pthread_cond_t work, told;
    /* under the lock: */
    bool stopping, ended;
    bool sheet;            /* one is made */
    fdit_context *drawing; /* of the round, NULL: none */
    struct fdit_order *orders[FDIT_STUDIO_KEPT_ORDERS + FDIT_STUDIO_MOST_ORDERS]; /* by rising id */
    int n_orders;
    size_t bytes;
    int64_t last_id;
    uint64_t rounds, version, ends;
    double told_at; /* of steps */
    struct fdit_studio_preview preview;
};

void *fdit_studio_work(void *studio);
/* Under the lock: the order changed in a way that clients want to know. */
void fdit_studio_tell(struct fdit_studio *s, struct fdit_order *o);
/* Under the lock: it is done, cancelled or has failed, and is told of. */
void fdit_studio_end(struct fdit_studio *s, struct fdit_order *o, enum fdit_order_state state);
/* Under the lock: those that ended first are forgotten, until room for `bytes` of pictures is there and
 * `most` orders or fewer are kept; but those that are drawn, waited for or read. */
void fdit_studio_forget(struct fdit_studio *s, size_t bytes, int most);
struct fdit_order *fdit_studio_find(struct fdit_studio *s, int64_t id); /* NULL: not there */
static inline bool fdit_order_open(const struct fdit_order *o)
{
    return o->state == FDIT_ORDER_WAITS || o->state == FDIT_ORDER_DRAWS;
}

#endif
