/* SPDX-License-Identifier: Apache-2.0
 * drawing.h: pictures that are made when they are measured, and are nowhere written. What can draw fills the
 * struct in; src/eval knows no model. */
#ifndef FDIT_EVAL_DRAWING_H
#define FDIT_EVAL_DRAWING_H

#include "data/taxonomy.h"
#include "device/plan.h"
#include "picture/picture.h"

struct fdit_drawing {
    void *self;
    const char *name; /* in results and messages */
    size_t n;         /* pictures, class after class as they are asked for */
    int size;         /* of a picture's sides */
    int channels;     /* 1 or 3 */
    const struct fdit_taxonomy *taxonomy;
    bool named;                             /* false: nothing names the classes, they are numbers */
    int32_t (*label)(void *self, size_t i); /* a class of the taxonomy */
    /* NULL where its memory is in another plan already. Plans anew, to keep to `memory` bytes of a device
     * (0: what it has) by fewer pictures at once, and adds what it takes of the device that also computes
     * features. other: the plan of another of its devices, i from 0; NULL: there are no more. */
    enum fdit_status (*plan)(fdit_context *ctx, void *self, size_t memory, struct fdit_plan *plan);
    const struct fdit_plan *(*other)(void *self, int i);
    /* Takes the memory and reads the weights, before the first picture; NULL: they are there. */
    enum fdit_status (*load)(fdit_context *ctx, void *self);
    /* Picture i; the next calls will ask for those up to end - 1, so that many can be drawn at once. The
     * pixels of *out belong to the drawing and stay until the next call. The same i gives the same bits. */
    enum fdit_status (*picture)(fdit_context *ctx, void *self, size_t i, size_t end,
                                struct fdit_picture *out);
    /* A hash of what decides the pictures: weights, options, classes and seeds. */
    enum fdit_status (*identity)(fdit_context *ctx, void *self, uint64_t *hash);
    /* "Parus major, seed 3". Free with fdit_free. */
    enum fdit_status (*title)(fdit_context *ctx, void *self, size_t i, char **out);
};

#endif
