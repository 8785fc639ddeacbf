/* SPDX-License-Identifier: Apache-2.0
 * net.h: runs convolutional networks: a list of layers with named weights, and passes, each a list of steps
 * from one picture to another.
 *
 *     struct fdit_net *net = NULL;
 *     TRY(fdit_net_new(ctx, "colours", &net));
 *     int norm = fdit_net_add_norm(net, 32, 8, "norm", NULL);     // layers, in the order of the file
 *     int conv = fdit_net_add_conv(net, 3, 32, 3, "conv", NULL);  // 3 from 32 channels, 3 x 3
 *     fdit_net_id x = fdit_net_begin(net, "paint", 32);           // a pass: steps take and give pictures
 *     x = fdit_net_conv(net, x, &(struct fdit_net_conv){
 *         .layer = conv, .border = fdit_net_border(1, 1), .has_norm = true, .norm = norm });
 *     fdit_net_end(net, x);
 *     TRY(fdit_net_status(net));                                  // the first failure of all these calls
 *     fdit_net_want(net, 0, 48, 64);                              // pass 0 on pictures of 48 x 64
 *     TRY(fdit_net_plan(ctx, net, dev, 0));
 *     ... look at fdit_net_plan_of(net), check it ...
 *     TRY(fdit_net_allocate(ctx, net));
 *     TRY(fdit_net_load(ctx, net, source, file));                 // source: reads the numbers of a layer
 *     TRY(fdit_net_run(ctx, net, 0, FDIT_NET_AS_IS, in, out));
 * out:
 *     fdit_net_free(net);                                         // before its device
 *
 * Memory. One picture is computed at a time, or as many as fdit_net_want_batch asks for: layers of few
 * pixels then read their weights once for all of them, and the bits are the same. Between two steps a picture
 * stays in a buffer as rows of channels, [H, W, C]; a buffer is used again when nobody reads its picture any
 * more, and steps that can do so work in place. A convolution of a normalised picture goes in bands of rows:
 * a band is normalised, then convolved. The statistics of group norms are taken over the whole picture first,
 * so bands have no seams and any band height gives the same bits; a memory limit makes them flatter. All
 * passes share the buffers.
 */
#ifndef FDIT_NET_NET_H
#define FDIT_NET_NET_H

#include "device/plan.h"

struct fdit_net;

/* ------------------------------------------------------------------ layers and steps */

/* What a step takes and gives: a picture of a pass; 0: none. After a failure all calls give 0. */
typedef int fdit_net_id;

enum fdit_net_kind {
    FDIT_NET_CONV, /* weight [n_out, n_in / groups, kernel_y, kernel_x], bias [n_out] */
    FDIT_NET_NORM, /* group norm: weight, bias [n_out]; n_in = n_out */
};

struct fdit_net_layer {
    enum fdit_net_kind kind;
    char *name, *alias; /* in a file, without ".weight"; alias: another name that files have, or NULL */
    int pass;           /* whose it is */
    int n_in, n_out;
    int kernel_y, kernel_x;
    int groups;                /* of a norm, or of channels that do not see each other in a convolution */
    bool linear;               /* a convolution whose steps are all products of its pixels */
    size_t weight_at, bias_at; /* places in the parameter buffer; weight_at: norms only */
    fdit_weight *weight;
};

/* `title` begins the lines of the plan and messages: "autoencoder". ctx must live until the last
 * fdit_net_end. */
enum fdit_status fdit_net_new(fdit_context *ctx, const char *title, struct fdit_net **out);
void fdit_net_free(struct fdit_net *net); /* NULL is allowed */
/* Adds a layer to the pass that is begun next, or that is being described; returns its number. The names
 * are copied. */
int fdit_net_add_conv(struct fdit_net *net, int n_out, int n_in, int kernel, const char *name,
                      const char *alias);
/* kernel_y x kernel_x, and in groups: 1, or n_in for a depthwise one (device.h, conv). */
int fdit_net_add_windows(struct fdit_net *net, int n_out, int n_in, int kernel_y, int kernel_x, int groups,
                         const char *name);
int fdit_net_add_norm(struct fdit_net *net, int channels, int groups, const char *name, const char *alias);
size_t fdit_net_layers(const struct fdit_net *net);
const struct fdit_net_layer *fdit_net_layer(const struct fdit_net *net, size_t i);

/* Begins pass 0, 1, ...: its input, with so many channels. fdit_net_end: its output. */
fdit_net_id fdit_net_begin(struct fdit_net *net, const char *name, int channels);
void fdit_net_end(struct fdit_net *net, fdit_net_id y);

/* Zeros around a picture: rows above and below, columns to the left and right. */
struct fdit_net_border {
    int top, bottom, left, right;
};
static inline struct fdit_net_border fdit_net_border(int y, int x)
{
    return (struct fdit_net_border){ y, y, x, x };
}
/* y = then(conv(act(norm(x)))) + add. Without has_norm y = then(conv(x)) + add; a norm needs a 3 x 3 layer
 * without groups, stride 1, a border of 1 and no upsample. The height of y is
 * (height + top + bottom - kernel_y) / stride + 1, rounded down. upsample: x with every pixel four times. */
struct fdit_net_conv {
    int layer;
    bool has_norm;
    int norm;
    enum fdit_act act, then;
    fdit_net_id add;               /* 0: nothing; of the size of y */
    int stride;                    /* 0: 1 */
    struct fdit_net_border border; /* each less than the kernel */
    bool upsample;
};
fdit_net_id fdit_net_conv(struct fdit_net *net, fdit_net_id x, const struct fdit_net_conv *c);
/* y = act(norm(x)), and y = act(x). */
fdit_net_id fdit_net_norm(struct fdit_net *net, fdit_net_id x, int norm, enum fdit_act act);
fdit_net_id fdit_net_act(struct fdit_net *net, fdit_net_id x, enum fdit_act act);
/* y = softmax(q k^T / sqrt(C)) v: attention of one head over all pixels, some rows of scores at a time. */
fdit_net_id fdit_net_attend(struct fdit_net *net, fdit_net_id q, fdit_net_id k, fdit_net_id v);
/* y = the largest, or the mean, of x in windows of kernel x kernel pixels (device.h, pooling). */
fdit_net_id fdit_net_pool(struct fdit_net *net, fdit_net_id x, enum fdit_pooling_kind kind, int kernel,
                          int stride, int pad, int more);
/* y = the channels of all n pictures, one picture's after the other's. All have one size; n is 1 or more. */
fdit_net_id fdit_net_join(struct fdit_net *net, const fdit_net_id *x, int n);
/* x is a result beside the output: fdit_net_read has it after a run. */
void fdit_net_keep(struct fdit_net *net, fdit_net_id x);
/* The first failure since fdit_net_new: memory, or FDIT_ERROR_ARGUMENT for steps that do not fit. */
enum fdit_status fdit_net_status(const struct fdit_net *net);

/* ------------------------------------------------------------------ memory */

/* Pass `pass` will be run, on pictures of this size; 0 x 0: it will not. Before the plan. */
void fdit_net_want(struct fdit_net *net, int pass, int height, int width);
/* Up to `most` pictures at once, at least 1; 1 when it is not called. Before the plan, which takes fewer
 * where memory asks for it. */
void fdit_net_want_batch(struct fdit_net *net, int most);
int fdit_net_batch(const struct fdit_net *net); /* what was planned */
/* Lists what the wanted passes need; again: plans anew, what was allocated goes. `memory`: bytes on the
 * device that the plan should keep to, by fewer pictures at once, then by flatter bands; 0: no limit. A plan
 * that cannot stays larger: fdit_plan_check refuses it. */
enum fdit_status fdit_net_plan(fdit_context *ctx, struct fdit_net *net, fdit_device *dev, size_t memory);
const struct fdit_plan *fdit_net_plan_of(const struct fdit_net *net);
double fdit_net_flops(const struct fdit_net *net, int pass); /* of one picture; after the plan */
enum fdit_status fdit_net_allocate(fdit_context *ctx, struct fdit_net *net);

/* ------------------------------------------------------------------ weights */

enum fdit_net_part { FDIT_NET_WEIGHT, FDIT_NET_BIAS };
size_t fdit_net_part_floats(const struct fdit_net_layer *layer, enum fdit_net_part part);
/* Where weights come from: writes all numbers of layer i's part to `to`, in the order of enum
 * fdit_net_kind. */
typedef enum fdit_status (*fdit_net_source)(fdit_context *ctx, void *user, const struct fdit_net_layer *layer,
                                            size_t i, enum fdit_net_part part, float *to);
/* Gives the layers of the wanted passes their numbers; the bias of a layer is asked for before its weight.
 * */
enum fdit_status fdit_net_load(fdit_context *ctx, struct fdit_net *net, fdit_net_source source, void *user);

/* ------------------------------------------------------------------ running */

/* The pass sees scale x + shift of what it is given, computed in double. */
struct fdit_net_range {
    double scale, shift;
};
#define FDIT_NET_AS_IS ((struct fdit_net_range){ 1, 0 })
/* in [C, H, W] -> out [C', H', W']; they may be the same memory. FDIT_INTERRUPTED when the context is asked
 * to stop. */
enum fdit_status fdit_net_run(fdit_context *ctx, struct fdit_net *net, int pass, struct fdit_net_range range,
                              const float *in, float *out);
/* The same of n pictures, in [n, C, H, W] -> out [n, C', H', W']; n at most fdit_net_batch. */
enum fdit_status fdit_net_run_batch(fdit_context *ctx, struct fdit_net *net, int pass,
                                    struct fdit_net_range range, int n, const float *in, float *out);
/* A picture of the last run's pass, its output or one that is kept, as rows of channels: out [H, W, C], or of
 * n pictures [n, H, W, C]. Its size, after the plan: */
enum fdit_status fdit_net_read(fdit_context *ctx, struct fdit_net *net, fdit_net_id x, float *out);
void fdit_net_size(const struct fdit_net *net, fdit_net_id x, int *height, int *width, int *channels);

#endif
