/* SPDX-License-Identifier: Apache-2.0
 * check.h: what every wrapper of device.h does before and after it calls the table. Internal to
 * src/device.
 *
 *     const struct fdit_dim dims[] = { FDIT_SIZE("m", a->m), FDIT_SIZE("n", a->n), ... };
 *     const struct fdit_operand operands[] = { fdit_out("db", a->db, n), fdit_in("dy", ...) };
 *     struct fdit_call call = FDIT_CALL(dev, FDIT_OP_COLUMN_SUM, dims, operands);
 *     if (!fdit_call_check(&call) || !fdit_call_start(&call))
 *         return;
 *     dev->ops->column_sum(dev, a);
 *     fdit_call_end(&call, flops, 0);
 */
#ifndef FDIT_DEVICE_CHECK_H
#define FDIT_DEVICE_CHECK_H

#include "device/backend.h"

#include <limits.h>

/* A number of the arguments: named in messages, and refused outside min..max. */
struct fdit_dim {
    const char *name;
    long long value, min, max;
};
#define FDIT_SIZE(label, v)                   \
    {                                         \
        (label), (long long)(v), 1, LLONG_MAX \
    }
#define FDIT_RANGE(label, v, least, most)        \
    {                                            \
        (label), (long long)(v), (least), (most) \
    }

enum { FDIT_IN = 1, FDIT_OUT = 2, FDIT_OPTIONAL = 4 };

/* A tensor argument: `rows` rows of `width` elements, `stride` elements apart. */
struct fdit_operand {
    const char *name;
    struct fdit_tensor tensor;
    size_t rows, width, stride;
    enum fdit_dtype type;
    unsigned flags;
    const char *same_as; /* of an output: the input that may be the very same tensor, or NULL */
    const char *or_as;   /* another one */
};

struct fdit_call {
    fdit_device *dev;
    enum fdit_op op; /* FDIT_OP_COUNT: not counted */
    const char *name;
    const struct fdit_dim *dims;
    size_t n_dims;
    const struct fdit_operand *operands;
    size_t n_operands;
    double started; /* seconds, when dev->timing */
};
#define FDIT_CALL(device, which, dims_, operands_)                                                     \
    {                                                                                                  \
        (device), (which), fdit_op_name(which), (dims_), sizeof(dims_) / sizeof *(dims_), (operands_), \
            sizeof(operands_) / sizeof *(operands_), 0                                                 \
    }

/* a * b * c; SIZE_MAX when a factor is negative or the product does not fit, which then fails the
 * bounds check. */
size_t fdit_product(long long a, long long b, long long c);

struct fdit_operand fdit_in(const char *name, struct fdit_tensor t, size_t n);
struct fdit_operand fdit_out(const char *name, struct fdit_tensor t, size_t n);
/* An output that is read as well where `beta` is not 0. */
struct fdit_operand fdit_inout(const char *name, struct fdit_tensor t, size_t n, int beta);
struct fdit_operand fdit_optional(struct fdit_operand operand);
struct fdit_operand fdit_may_be(struct fdit_operand output, const char *input);
/* One row a sample, `stride` apart: overlap is judged row by row. */
struct fdit_operand fdit_strided(struct fdit_operand operand, long long rows, long long width,
                                 long long stride);
struct fdit_operand fdit_typed(struct fdit_operand operand, enum fdit_dtype type);

/* False when the device has failed already, or with a new sticky error when a number is out of range,
 * a tensor is missing, of another device or type, out of its buffer's bounds, or an output overlaps
 * another argument. */
bool fdit_call_check(struct fdit_call *call);
/* Stores the sticky error "op on device (numbers): reason" and returns false. */
bool fdit_call_fail(const struct fdit_call *call, enum fdit_status status, const char *format, ...)
    FDIT_PRINTF(3, 4);
/* After all checks: fault injection and the clock. False: do not run the op. */
bool fdit_call_start(struct fdit_call *call);
/* Counts the call, and puts op and numbers before a failure that the back end reported in it. */
void fdit_call_end(struct fdit_call *call, double flops, size_t more_bytes);

#endif
