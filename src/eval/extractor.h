/* SPDX-License-Identifier: Apache-2.0
 * extractor.h: networks that turn pictures into feature vectors, as rows of a table. Each is one row and the
 * functions that it names; whoever measures knows none of them.
 *
 *     struct fdit_extractor *e = NULL;
 *     TRY(fdit_extractor_prepare(ctx, dev, "judge:run/delta.safetensors", 64, 0, &e)); // what it is
 *     TRY(fdit_extractor_plan(ctx, e, &plan));                                         // what it will take
 *     TRY(fdit_extractor_load(ctx, e));
 *     TRY(fdit_extractor_run(ctx, e, x, n, features, logits));
 * out:
 *     fdit_extractor_close(e); */
#ifndef FDIT_EVAL_EXTRACTOR_H
#define FDIT_EVAL_EXTRACTOR_H

#include "data/taxonomy.h"
#include "device/device.h"
#include "device/plan.h"
#include "eval/input.h"

struct fdit_extractor {
    const struct fdit_extractor_kind *kind;
    void *self;
    char *name;                           /* of the features in results: "judge", "judge:FILE", "dinov2" */
    uint64_t weights;                     /* hash of the network's numbers; 0: not loaded */
    const struct fdit_net_input *input;   /* how a picture becomes what it takes: */
    int size, channels;                   /* [channels, size, size] */
    size_t width;                         /* features of a picture */
    size_t classes;                       /* logits of a picture; 0: it tells no classes apart */
    size_t spatial;                       /* features of a picture that keep places, for sFID; 0: none */
    const struct fdit_taxonomy *taxonomy; /* of the classes; NULL: without names */
    int batch;
};

struct fdit_extractor_kind {
    const char *name;
    const char *what;  /* half a line for --help and messages */
    const char *usual; /* its file among the built-in data; NULL: a file must be given */
    /* Opens the file, plans what it takes of the device, to keep to `memory` bytes where it can (0: what the
     * device has), and fills in input, size, channels, width, classes, taxonomy and self. */
    enum fdit_status (*open)(fdit_context *ctx, fdit_device *dev, const char *path, size_t memory,
                             struct fdit_extractor *e);
    enum fdit_status (*plan)(fdit_context *ctx, const void *self, struct fdit_plan *plan); /* adds it */
    /* Takes the memory and reads the numbers, of which *weights is the hash. */
    enum fdit_status (*load)(fdit_context *ctx, void *self, uint64_t *weights);
    enum fdit_status (*run)(fdit_context *ctx, void *self, const float *x, size_t n, float *features,
                            float *logits);
    void (*close)(void *self);
    /* What its Frechet distance and its Inception score are called; NULL: by the metric and the network. */
    const char *frechet, *score;
    /* Of a network that also has features that keep places: run with them in the same pass (each of the three
     * may be NULL), and what their Frechet distance is called; NULL: it has none. */
    enum fdit_status (*run_spatial)(fdit_context *ctx, void *self, const float *x, size_t n, float *features,
                                    float *logits, float *spatial);
    const char *spatial_frechet;
};
/* The table; ends with a row of zeroes. */
extern const struct fdit_extractor_kind fdit_extractor_kinds[];

/* `what`: "NAME" or "NAME:FILE". An unknown name is FDIT_ERROR_ARGUMENT with those that there are. */
enum fdit_status fdit_extractor_prepare(fdit_context *ctx, fdit_device *dev, const char *what, int batch,
                                        size_t memory, struct fdit_extractor **out);
enum fdit_status fdit_extractor_plan(fdit_context *ctx, const struct fdit_extractor *e,
                                     struct fdit_plan *plan); /* adds what it takes */
enum fdit_status fdit_extractor_load(fdit_context *ctx, struct fdit_extractor *e);
enum fdit_status fdit_extractor_open(fdit_context *ctx, fdit_device *dev, const char *what, int batch,
                                     struct fdit_extractor **out); /* prepared and loaded */
/* Writes what a metric of these features (a name as in struct fdit_extractor) is called in results:
 * "kid:judge", "fid:clean", and of "judge:PLACE/letters.safetensors" or "judge:letters/delta.safetensors"
 * "kid:judge:letters", wherever the file lies. */
void fdit_extractor_metric(const char *features, const char *metric, char *out, size_t size);
void fdit_extractor_close(struct fdit_extractor *e); /* before the device; NULL is allowed */
/* n <= batch pictures; features [n, width], logits [n, classes]; either may be NULL. */
enum fdit_status fdit_extractor_run(fdit_context *ctx, struct fdit_extractor *e, const float *x, size_t n,
                                    float *features, float *logits);
/* The same with spatial [n, e->spatial], which must be NULL where the network has none. */
enum fdit_status fdit_extractor_run_all(fdit_context *ctx, struct fdit_extractor *e, const float *x, size_t n,
                                        float *features, float *logits, float *spatial);

#endif
