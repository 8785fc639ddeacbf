/* SPDX-License-Identifier: Apache-2.0
 * net_internal.h: what the files of this folder share. */
#ifndef FDIT_NET_NET_INTERNAL_H
#define FDIT_NET_NET_INTERNAL_H

#include "net/net.h"

enum fdit_net_step_kind {
    FDIT_NET_STEP_CONV,
    FDIT_NET_STEP_NORM,
    FDIT_NET_STEP_ACT,
    FDIT_NET_STEP_ATTEND,
    FDIT_NET_STEP_POOL,
    FDIT_NET_STEP_JOIN, /* of one picture: its channels become some of out's; out has a step for each */
};

struct fdit_net_step {
    enum fdit_net_step_kind kind;
    fdit_net_id in, more[2]; /* more: k and v of the attention; what a convolution adds; 0: none */
    fdit_net_id out;
    int layer, norm; /* -1: none */
    enum fdit_act act, then;
    int stride;
    struct fdit_net_border border;
    bool upsample;
    enum fdit_pooling_kind pooling;
    int kernel, pad; /* of a pooling */
    int first;       /* JOIN: the first channel of out that it fills */
    bool in_place;   /* plan: out lies where `in` does */
};

/* Sizes and place are the plan's. */
struct fdit_net_picture {
    int channels, height, width;
    int room;
    bool kept;
    size_t last; /* the step that reads it last; SIZE_MAX: it is a result */
};

struct fdit_net_pass {
    char name[32];
    size_t first, end; /* steps */
    fdit_net_id input, output;
    int height, width; /* 0: not wanted */
    double flops;
};

/* A buffer that pictures of the passes take turns in. */
struct fdit_net_room {
    fdit_buffer *buffer;
    size_t floats;
};

/* Buffers that only one step at a time uses. */
enum fdit_net_scratch {
    FDIT_NET_BAND,   /* normalised rows; results of a convolution in place */
    FDIT_NET_SCORES, /* rows of the attention's scores */
    FDIT_NET_STATS,  /* of a group norm */
    FDIT_NET_SCRATCH
};

struct fdit_net {
    char *title;
    fdit_context *building; /* until the last fdit_net_end; its failure */
    enum fdit_status status;
    struct fdit_net_layer *layers;
    struct fdit_net_step *steps;
    struct fdit_net_picture *pictures; /* [0]: none */
    struct fdit_net_pass *passes;
    size_t n_layers, n_steps, n_pictures, n_passes;
    size_t layer_capacity, step_capacity, picture_capacity, pass_capacity;
    size_t n_params; /* floats of the parameter buffer */

    fdit_device *dev;
    struct fdit_plan plan;
    bool allocated, loaded;
    size_t band_floats, score_floats; /* aims for the two; one row is made to fit in any case */
    fdit_buffer *params;
    struct fdit_net_room *rooms;
    size_t n_rooms, room_capacity;
    struct fdit_net_room scratch[FDIT_NET_SCRATCH];
    struct fdit_op_shape *shapes; /* of the ops that a walk runs */
    size_t n_shapes, shape_capacity;
    float *host; /* pictures as rows of channels */
    size_t host_floats;
    int most, batch, last; /* pictures at once: at most, in the plan, and in the last run */
};

/* One way through a pass. Dry: needs, shapes and flops are noted in the net, nothing runs. */
struct fdit_net_walk {
    fdit_context *ctx;
    struct fdit_net *net;
    int n; /* pictures */
    bool dry;
    enum fdit_status status;
    double flops;
};

/* Takes the steps first .. end - 1 of a pass, whose input is in its room. Fails between steps when the
 * context is asked to stop. */
enum fdit_status fdit_net_walk(struct fdit_net_walk *w, const struct fdit_net_pass *pass, size_t end);

/* What a layer's weight is for the device; of a convolution. */
struct fdit_weight_desc fdit_net_weight_desc(const struct fdit_net_layer *layer);
/* Frees what plan and load made. */
void fdit_net_release(struct fdit_net *net);

static inline size_t fdit_net_floats(const struct fdit_net_picture *p)
{
    return (size_t)p->height * (size_t)p->width * (size_t)p->channels;
}

#endif
