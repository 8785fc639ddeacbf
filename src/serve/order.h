/* SPDX-License-Identifier: Apache-2.0
 * order.h: pictures that a client asked for: what `sample` with the same options draws, to the bit, its files
 * included. The names are those of the command line. */
#ifndef FDIT_SERVE_ORDER_H
#define FDIT_SERVE_ORDER_H

#include "format/json.h"
#include "sample/caption.h"
#include "sample/request.h"

enum { FDIT_ORDER_MOST_PICTURES = 256 };

enum fdit_order_state {
    FDIT_ORDER_WAITS,
    FDIT_ORDER_DRAWS,
    FDIT_ORDER_DONE,
    FDIT_ORDER_CANCELLED,
    FDIT_ORDER_FAILED
};

struct fdit_order_picture {
    uint8_t *bytes; /* a PNG file; NULL: not drawn yet */
    size_t n;
};

/* A model that is drawn with. */
struct fdit_order_model {
    struct fdit_sample_options options; /* of the server: files, and what holds where an order says nothing */
    struct fdit_sample_source source;
    struct fdit_identity_files files;
    char *name; /* "DiT-S/2" */
    bool pixels;
    int size, channels;
};

/* Does not move once it is made: parts of it point at each other. */
struct fdit_order {
    int64_t id;
    int model;
    enum fdit_order_state state;
    struct fdit_sample_options options; /* settled; texts are those of `asked` */
    json_t *asked;                      /* options as texts */
    struct fdit_sample_source source;   /* the model's, with the guide of this order; owns the guide alone */
    struct fdit_request request;
    struct fdit_identity identity;
    struct fdit_caption caption;
    struct fdit_generator_options how; /* without a hook */
    char sampler[40];
    struct fdit_order_picture *pictures; /* [request.n] */
    size_t taken, done;                  /* of them */
    size_t bytes;                        /* of all files */
    int step, steps;                     /* of the batch that is being drawn */
    double seconds;                      /* of drawing */
    int held;                            /* by whom it is read without the lock */
    uint64_t ended;                      /* number of those that ended before it, from 1; 0: it has not */
    uint64_t served;                     /* number of the batch that it was in last */
    uint64_t changed;                    /* when something was told of it last */
    char *message;                       /* why it failed */
};

/* Of the JSON {"classes":"#5","per-class":4,"seed":7,"guidance":2.5,"sampler":"ddim","steps":50,...}: the
 * options of `sample` that decide a picture of these weights. No file is read for it: FDIT_ERROR_ARGUMENT
 * for @FILE, delta:FILE, and options that need other weights; and for more than FDIT_ORDER_MOST_PICTURES.
 * The model must outlive it. Free with fdit_order_free. */
enum fdit_status fdit_order_new(fdit_context *ctx, const struct fdit_order_model *model, const json_t *asked,
                                struct fdit_order **out);
void fdit_order_free(struct fdit_order *o); /* NULL is allowed */
/* Whether pictures of both can be in one batch. */
bool fdit_order_alike(const struct fdit_order *a, const struct fdit_order *b);
/* Pixels of picture p, [size, size, channels], to the file that `sample` would write. Free *bytes with
 * fdit_free.
 */
enum fdit_status fdit_order_encode(fdit_context *ctx, const struct fdit_order *o,
                                   const struct fdit_order_model *model, size_t p, uint8_t *pixels,
                                   uint8_t **bytes, size_t *n);
/* The command that draws the same into the folder "pictures", for a POSIX shell. Free with fdit_free. */
enum fdit_status fdit_order_command(fdit_context *ctx, const struct fdit_order *o,
                                    const struct fdit_order_model *model, char **out);
/* How far it is: id, state, done, pictures, step, steps, seconds, and why it failed. */
void fdit_order_put(struct fdit_json *b, json_t *to, const struct fdit_order *o);

#endif
