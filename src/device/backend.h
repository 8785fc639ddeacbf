/* SPDX-License-Identifier: Apache-2.0
 * backend.h: how a device is made, for host/ and src/device alone. A back end is one `const struct
 * fdit_device_ops` table at the end of host/<name>/<name>.c and one line in host/devices.c; the ops and their
 * rules are in device.h. The wrappers of src/device check all arguments before they call the table.
 *
 *     const struct fdit_device_ops fdit_mine_ops = {
 *         .version = FDIT_BACKEND_VERSION,
 *         .name = "mine",
 *         .open = mine_open, ...
 *     #define OP(entry, ENUM, arguments) .entry = mine_##entry,
 *     #include "device/op_list.h"
 *     };
 */
#ifndef FDIT_DEVICE_BACKEND_H
#define FDIT_DEVICE_BACKEND_H

#include "device/device.h"

/* Rises whenever an entry or an argument changes its meaning: a table of another version is not opened. */
#define FDIT_BACKEND_VERSION 3

struct fdit_device_ops {
    int version;      /* FDIT_BACKEND_VERSION that it was written for */
    const char *name; /* "ref", "cpu", "opencl" */

    /* Required. open fills dev->state and dev->info (strings by fdit_strdup). It finds the wanted precision
     * in dev->precision, and changes it (FDIT_F32 then) when options->fastest and it knows a faster one. */
    enum fdit_status (*open)(fdit_context *ctx, const struct fdit_device_options *options, fdit_device *dev);
    void (*close)(fdit_device *dev);
    enum fdit_status (*buffer_new)(fdit_context *ctx, fdit_device *dev, size_t bytes, void **handle);
    void (*buffer_free)(fdit_device *dev, void *handle);
    void (*write)(fdit_device *dev, fdit_buffer *to, size_t byte_offset, const void *host, size_t bytes);
    void (*read)(fdit_device *dev, const fdit_buffer *from, size_t byte_offset, void *host, size_t bytes);
    void (*fill)(fdit_device *dev, struct fdit_tensor t, size_t n, float value);
    void (*copy)(fdit_device *dev, struct fdit_tensor to, struct fdit_tensor from, size_t n);
    void (*sync)(fdit_device *dev);

    /* (optional; default: a blocking read at read_begin, read_end does nothing) A read that completes by
     * read_end; `slot` is 0..7, one read in flight a slot. */
    void (*read_begin)(fdit_device *dev, const fdit_buffer *from, size_t byte_offset, void *host,
                       size_t bytes, int slot);
    void (*read_end)(fdit_device *dev, int slot);
    /* (optional; default: not known) Measures *out, in less than a second; without `copying` no memory is
     * taken, and copy_gbytes stays 0. */
    enum fdit_status (*peak)(fdit_context *ctx, fdit_device *dev, bool copying, struct fdit_device_peak *out);
    /* (optional; default: name, driver, memory) What a report about the device says: lines "key: value".
     * Free with fdit_free. */
    enum fdit_status (*facts)(fdit_context *ctx, fdit_device *dev, char **out);

    /* (optional; default: the time from call to return) While dev->timing: seconds that the device worked on
     * what was queued since the last call of this, which it waits for; *launches: how many pieces. */
    double (*busy)(fdit_device *dev, uint64_t *launches);

    /* Weights. weight_bytes is exact and asked before any allocation. data: f32 [n_out, n_in]. */
    size_t (*weight_bytes)(fdit_device *dev, const struct fdit_weight_desc *desc);
    enum fdit_status (*weight_new)(fdit_context *ctx, fdit_device *dev, const struct fdit_weight_desc *desc,
                                   const float *data, void **handle);
    void (*weight_free)(fdit_device *dev, void *handle);
    /* Whether the device can keep weights in this storage type / run GEMMs in this precision. */
    bool (*supports_storage)(const fdit_device *dev, enum fdit_dtype storage);
    /* (optional; default: f32 only) Asked after open, which finds the wanted one in dev->precision: the
     * products of linear, linear_dx and linear_dw round their operands to it and add in f32, and so do those
     * of attention where that is faster. In f16 those of gradients may round to bf16, which has
     * their range. */
    bool (*supports_precision)(const fdit_device *dev, enum fdit_dtype precision);
    /* (optional; default: "its own", "") What multiplies in a precision that it supports, for people: "matrix
     * unit mma", "multiply-adds". It may try units out for that; *refused: lines of those that failed, "" for
     * none. Free both with fdit_free. */
    enum fdit_status (*engine)(fdit_context *ctx, fdit_device *dev, enum fdit_dtype precision, char **out,
                               char **refused);

    /* Scratch that an op of this shape needs beyond its arguments; the device gets the largest of all by
     * reserve, once, before the first op (and again if a larger plan follows). */
    size_t (*workspace_bytes)(fdit_device *dev, const struct fdit_op_shape *shape);
    enum fdit_status (*reserve)(fdit_context *ctx, fdit_device *dev, size_t bytes);

    /* (optional) Measures the products of these ops in every way it knows, uses the fastest from
     * now on, and keeps them for later processes; *where: the file, free with fdit_free.
     * FDIT_INTERRUPTED when the context is asked to stop: nothing is kept. Weights that exist already keep
     * their layout. */
    enum fdit_status (*tune)(fdit_context *ctx, fdit_device *dev, const struct fdit_op_shape *shapes,
                             size_t n, const struct fdit_tune_options *options, char **where);

    /* (optional; default: no) Whether linear with a frozen weight takes `low`, at the device's precision. */
    bool (*fuses_low)(const fdit_device *dev);

    int (*tuned)(const fdit_device *dev); /* (optional; default: 0) for how many products */

    /* The ops. Optional ones may be NULL. */
#define OP(entry, ENUM, arguments) void (*entry)(fdit_device * dev, const struct fdit_##arguments *a);
#include "device/op_list.h"
    /* Which of the fused arguments linear and linear_dx take themselves; the rest is composed of
     * activation, gate, axpy, copy by the wrappers. */
    bool fuses_act, fuses_gate, fuses_act_backward, fuses_add; /* add: of both */
};

struct fdit_buffer {
    fdit_device *dev;
    void *handle; /* the back end's */
    size_t bytes;
    char *label; /* for messages: "block 3 activations" */
};

struct fdit_weight {
    fdit_device *dev;
    void *handle;
    struct fdit_weight_desc desc;
    size_t bytes;
};

struct fdit_device {
    const struct fdit_device_ops *ops;
    void *state;
    struct fdit_device_info info;
    enum fdit_dtype precision; /* of matrix products, from open on */
    enum fdit_status status;   /* sticky */
    char *message;
    struct fdit_op_count counts[FDIT_OP_COUNT];
    bool timing;                       /* count seconds */
    size_t reserved;                   /* workspace bytes */
    size_t buffer_bytes, weight_bytes; /* alive */
    uint64_t objects_made;             /* buffers, weights, reserves so far: a step must not raise it */
    uint64_t fail_op_at;               /* tests: the n-th op from now fails, once */
    void *staging;                     /* host scratch of generic.c, of fixed size: it works in chunks */
    size_t staging_bytes;
    fdit_buffer *scratch;     /* only where linear or conv is composed: of the largest, by reserve */
    size_t scratch_need;      /* what the last fdit_device_workspace found for it */
    unsigned reads_in_flight; /* bit per slot of read_begin */
};

/* The pixels of x that output pixel p (over all samples) of pooling sees: `rows` x `columns`, of which the
 * first is number `first` of the pixels of all samples. */
struct fdit_pooling_window {
    size_t first;
    int rows, columns;
};
struct fdit_pooling_window fdit_pooling_window_at(const struct fdit_pooling_args *a, size_t p);
/* What a mean over the window divides by. */
static inline float fdit_pooling_count(const struct fdit_pooling_args *a, const struct fdit_pooling_window *w)
{
    return a->kind == FDIT_POOLING_MEAN ? (float)(w->rows * w->columns) : (float)a->kernel * (float)a->kernel;
}

/* Back ends report a failure of the op in progress. The first one stays. */
void fdit_device_fail(fdit_device *dev, enum fdit_status status, const char *format, ...) FDIT_PRINTF(3, 4);

/* The ops table is chosen by host/devices.c (fdit_devices_open); tests pass tables themselves. A precision
 * that the device lacks is refused by name. */
enum fdit_status fdit_device_open(fdit_context *ctx, const struct fdit_device_ops *ops,
                                  const struct fdit_device_options *options, fdit_device **out);

#endif
