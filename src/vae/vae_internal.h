/* SPDX-License-Identifier: Apache-2.0
 * vae_internal.h: what vae.c and network.c share. */
#ifndef FDIT_VAE_INTERNAL_H
#define FDIT_VAE_INTERNAL_H

#include "vae/layers.h"
#include "vae/vae.h"

/* The buffers of a network. */
enum fdit_vae_room {
    FDIT_VAE_A, /* the picture on its way, and what becomes of it: the two change roles */
    FDIT_VAE_B,
    FDIT_VAE_BAND,   /* normalised rows; results of a shortcut */
    FDIT_VAE_QKV,    /* of the attention */
    FDIT_VAE_SCORES, /* rows of its scores */
    FDIT_VAE_STATS,  /* of a group norm */
    FDIT_VAE_ROOMS
};

struct fdit_vae {
    struct fdit_vae_file file;
    struct fdit_vae_config config;
    struct fdit_vae_layers layers;
    struct fdit_vae_options options;
    fdit_device *dev;
    struct fdit_plan plan;
    bool allocated;
    fdit_buffer *params, *rooms[FDIT_VAE_ROOMS];
    size_t band_floats, score_floats; /* aims for the two rooms; one row is made to fit in any case */
    size_t workspace;
    struct fdit_op_shape *shapes; /* of the ops that a walk runs */
    size_t n_shapes, shape_capacity;
    double flops[2];
    float *host; /* a picture or latents as rows of channels */
    size_t host_floats;
};

/* A picture on its way: height x width x channels in room `at`. */
struct fdit_vae_run {
    fdit_context *ctx;
    struct fdit_vae *vae;
    bool dry; /* sizes, shapes and flops are taken, nothing runs */
    enum fdit_status status;
    int height, width, channels;
    enum fdit_vae_room at;
    size_t need[FDIT_VAE_ROOMS]; /* dry: floats */
    double flops;
};

/* Walks one way (0: encoder, 1: decoder) from the picture in r, which must be in FDIT_VAE_A. Fails
 * between steps when the context is asked to stop. */
enum fdit_status fdit_vae_walk(struct fdit_vae_run *r, int way);

/* The memory of the plan without the weights: benchmarks make their own. */
enum fdit_status fdit_vae_allocate_rooms(fdit_context *ctx, struct fdit_vae *v);

#endif
