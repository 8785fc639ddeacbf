/* SPDX-License-Identifier: Apache-2.0
 * probe.h: one call of one op as data, to be made on two devices and compared. How it is run on one device:
 * probe_run.h.
 *
 *     struct fdit_probe p;
 *     fdit_probe_begin(&p, ctx, FDIT_OP_GATE, "%dx%d", b, n);
 *     p.args.gate = (struct fdit_gate_args){ .samples = b, .tokens = n, .width = d, .gate_stride = d };
 *     fdit_probe_in(&p, offsetof(struct fdit_gate_args, branch), "branch", b * n * d);
 *     fdit_probe_out(&p, offsetof(struct fdit_gate_args, y), "y", b * n * d);
 *     TRY(fdit_probe_check(&p, reference, dev, &result));
 *     fdit_probe_end(&p);
 *
 * All tensors lie in one buffer at odd distances, with NaNs between them: what reads outside spoils a
 * result, what writes outside is seen. Random numbers are a function of op and text. */
#ifndef FDIT_DEVICE_PROBE_H
#define FDIT_DEVICE_PROBE_H

#include "device/device.h"

enum fdit_probe_role { FDIT_PROBE_IN, FDIT_PROBE_OUT, FDIT_PROBE_INOUT };

struct fdit_probe_slot {
    const char *name;
    size_t field, alias;   /* offsets in the arguments; alias: a second one with this tensor */
    bool optional, shared; /* shared: of all samples, not a part a sample */
    bool partly_read;      /* what is not finite in it need not show in a result */
    const char *may_be;    /* of an output: the inputs that it may be, "dy x"; NULL: none */
    enum fdit_probe_role role;
    enum fdit_dtype type;
    size_t n;           /* elements */
    size_t stride, row; /* of samples that are apart: rows of `row` elements; 0: one behind the other */
    float *data;        /* [n] values; outputs: NULL */
};
#define FDIT_PROBE_NO_FIELD ((size_t)-1)

enum { FDIT_PROBE_SLOTS = 16, FDIT_PROBE_SIZES = 12, FDIT_PROBE_GUARD = 64 };

struct fdit_probe_size {
    const char *name;
    size_t field;
    bool wide; /* size_t, else int */
};

struct fdit_probe {
    fdit_context *ctx;
    enum fdit_status status; /* sticks: only _check returns it */
    enum fdit_op op;
    union fdit_op_args args;
    struct fdit_op_shape shape; /* for the workspace */
    struct fdit_probe_slot slots[FDIT_PROBE_SLOTS];
    int n_slots;
    struct fdit_probe_size sizes[FDIT_PROBE_SIZES]; /* arguments that are at least 1 */
    int n_sizes;
    bool per_sample; /* the arguments begin with `int samples`, which do not know each other */
    char text[256];  /* "gate 2x9x65" */
    double allowed;  /* of each output: sum (got - wanted)^2 <= allowed (1 + sum wanted^2) */
    float *weight;   /* frozen matrix of a linear op, exact in every storage type */
    struct fdit_weight_desc desc;
    size_t weight_field;
    uint64_t seed;
    float spoil; /* tests: added to the first input, on the device alone */
};

struct fdit_probe_result {
    bool passed;
    double error;     /* the largest sum (got - wanted)^2 / (1 + sum wanted^2) of the outputs */
    double seconds;   /* on the device, launch included, the compilation of kernels too */
    char reason[512]; /* what was wrong, "" */
};

void fdit_probe_begin(struct fdit_probe *p, fdit_context *ctx, enum fdit_op op, const char *format, ...)
    FDIT_PRINTF(4, 5);
void fdit_probe_end(struct fdit_probe *p);
/* Tensors of n floats; inputs are N(0, 1). The slot may be changed until _check; after a failure it is
 * a place where writing does no harm, with data NULL. */
struct fdit_probe_slot *fdit_probe_in(struct fdit_probe *p, size_t field, const char *name, size_t n);
struct fdit_probe_slot *fdit_probe_out(struct fdit_probe *p, size_t field, const char *name, size_t n);
struct fdit_probe_slot *fdit_probe_inout(struct fdit_probe *p, size_t field, const char *name, size_t n);
/* Row numbers 0..below-1 as FDIT_I32. */
void fdit_probe_index(struct fdit_probe *p, size_t field, const char *name, size_t n, int below);
/* Which arguments are sizes, up to one without a name. */
void fdit_probe_sizes(struct fdit_probe *p, const struct fdit_probe_size *sizes);
/* A frozen matrix whose numbers every storage type holds exactly. */
void fdit_probe_weight(struct fdit_probe *p, size_t field, int n_out, int n_in, enum fdit_dtype storage);

/* For a device whose products round their operands to 16 bits: the inputs of a product become numbers that
 * bf16 holds, so that nothing is rounded and the result is held to what f32 is. Attention, whose weights
 * are rounded whatever its inputs are, is held to 1e-4, backward to 1e-3. Other ops and devices: nothing.
 * */
void fdit_probe_round(struct fdit_probe *p, const fdit_device *dev);

/* Makes the call on `reference` (with its storage f32) and on `dev`. A device that fails or differs is a
 * result, not an error; its sticky error is taken. */
enum fdit_status fdit_probe_check(struct fdit_probe *p, fdit_device *reference, fdit_device *dev,
                                  struct fdit_probe_result *out);

#endif
