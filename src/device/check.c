/* SPDX-License-Identifier: Apache-2.0 */
#include "device/check.h"
#include "core/clock.h"
#include "core/mem.h"

#include <stdio.h>
#include <string.h>

size_t fdit_product(long long a, long long b, long long c)
{
    size_t n;
    if (a < 0 || b < 0 || c < 0 || !fdit_mul((size_t)a, (size_t)b, &n) || !fdit_mul(n, (size_t)c, &n))
        return SIZE_MAX;
    return n;
}

struct fdit_operand fdit_in(const char *name, struct fdit_tensor t, size_t n)
{
    return (struct fdit_operand){
        .name = name, .tensor = t, .rows = 1, .width = n, .stride = n, .type = FDIT_F32, .flags = FDIT_IN
    };
}

struct fdit_operand fdit_out(const char *name, struct fdit_tensor t, size_t n)
{
    struct fdit_operand operand = fdit_in(name, t, n);
    operand.flags = FDIT_OUT;
    return operand;
}

struct fdit_operand fdit_inout(const char *name, struct fdit_tensor t, size_t n, int beta)
{
    struct fdit_operand operand = fdit_out(name, t, n);
    if (beta)
        operand.flags |= FDIT_IN;
    return operand;
}

struct fdit_operand fdit_optional(struct fdit_operand operand)
{
    operand.flags |= FDIT_OPTIONAL;
    return operand;
}

struct fdit_operand fdit_may_be(struct fdit_operand output, const char *input)
{
    output.same_as = input;
    return output;
}

struct fdit_operand fdit_strided(struct fdit_operand operand, long long rows, long long width,
                                 long long stride)
{
    operand.rows = fdit_product(rows, 1, 1);
    operand.width = fdit_product(width, 1, 1);
    operand.stride = fdit_product(stride, 1, 1);
    return operand;
}

struct fdit_operand fdit_typed(struct fdit_operand operand, enum fdit_dtype type)
{
    operand.type = type;
    return operand;
}

/* Elements from the first to one past the last; SIZE_MAX when that does not fit. */
static size_t extent(const struct fdit_operand *o)
{
    size_t n;
    if (!fdit_mul(o->rows - 1, o->stride, &n) || !fdit_add(n, o->width, &n))
        return SIZE_MAX;
    return n;
}

static bool same_tensor(const struct fdit_operand *a, const struct fdit_operand *b)
{
    return a->tensor.offset == b->tensor.offset && a->type == b->type && a->rows == b->rows &&
           a->width == b->width && (a->stride == b->stride || a->rows == 1);
}

/* Whether two operands of one buffer, both inside its bounds, share a byte. Row by row: the slices of
 * a [B, 6 D] tensor interleave without touching. */
static bool overlap(const struct fdit_operand *a, const struct fdit_operand *b)
{
    size_t a_bytes = fdit_dtype_bytes(a->type), b_bytes = fdit_dtype_bytes(b->type);
    size_t b_start = b->tensor.offset * b_bytes, b_row = b->width * b_bytes;
    size_t b_stride = b->stride * b_bytes, b_rows = b->rows;
    if (b_stride < b_row) { /* rows that touch or share: one interval */
        b_row = extent(b) * b_bytes;
        b_stride = b_row;
        b_rows = 1;
    }
    for (size_t i = 0; i < a->rows; i++) {
        size_t from = (a->tensor.offset + i * a->stride) * a_bytes;
        size_t to = from + a->width * a_bytes;
        /* The first row of b that ends behind `from`. */
        size_t j = from < b_start + b_row ? 0 : (from - b_start - b_row) / b_stride + 1;
        if (j < b_rows && b_start + j * b_stride < to)
            return true;
    }
    return false;
}

static bool check_operand(struct fdit_call *call, const struct fdit_operand *o)
{
    size_t n = extent(o), end, bytes;
    if (!fdit_has(o->tensor)) {
        if (o->flags & FDIT_OPTIONAL)
            return true;
        return fdit_call_fail(call, FDIT_ERROR_ARGUMENT, "%s is missing", o->name);
    }
    const fdit_buffer *buffer = o->tensor.buffer;
    const char *label = buffer->label ? buffer->label : "";
    if (buffer->dev != call->dev)
        return fdit_call_fail(call, FDIT_ERROR_ARGUMENT, "%s ('%s') lies on another device, %s", o->name,
                              label, buffer->dev->ops->name);
    if (o->tensor.type != o->type)
        return fdit_call_fail(call, FDIT_ERROR_ARGUMENT, "%s ('%s') is %s, %s is needed", o->name, label,
                              fdit_dtype_name(o->tensor.type), fdit_dtype_name(o->type));
    if (o->flags & FDIT_OUT && o->rows > 1 && o->stride < o->width)
        return fdit_call_fail(call, FDIT_ERROR_ARGUMENT,
                              "%s ('%s'): rows of %zu elements, %zu apart, overlap each other", o->name,
                              label, o->width, o->stride);
    if (n == SIZE_MAX || !fdit_add(o->tensor.offset, n, &end) ||
        !fdit_mul(end, fdit_dtype_bytes(o->type), &bytes) || bytes > buffer->bytes)
        return fdit_call_fail(call, FDIT_ERROR_ARGUMENT,
                              "%s: %zu elements from element %zu do not fit into '%s' of %zu bytes", o->name,
                              n, o->tensor.offset, label, buffer->bytes);
    return true;
}

static bool may_be(const struct fdit_operand *output, const struct fdit_operand *input)
{
    return (output->same_as && strcmp(output->same_as, input->name) == 0) ||
           (output->or_as && strcmp(output->or_as, input->name) == 0);
}

static bool check_overlap(struct fdit_call *call, const struct fdit_operand *a, const struct fdit_operand *b)
{
    if (!fdit_has(a->tensor) || a->tensor.buffer != b->tensor.buffer || !((a->flags | b->flags) & FDIT_OUT))
        return true;
    bool allowed = may_be(a, b) || may_be(b, a);
    if ((allowed && same_tensor(a, b)) || !overlap(a, b))
        return true;
    const char *label = a->tensor.buffer->label ? a->tensor.buffer->label : "";
    return fdit_call_fail(call, FDIT_ERROR_ARGUMENT,
                          "%s (from element %zu) and %s (from element %zu) overlap in '%s'", a->name,
                          a->tensor.offset, b->name, b->tensor.offset, label);
}

bool fdit_call_check(struct fdit_call *call)
{
    if (call->dev->status != FDIT_OK)
        return false;
    for (size_t i = 0; i < call->n_dims; i++) {
        const struct fdit_dim *d = &call->dims[i];
        if (d->value < d->min)
            return fdit_call_fail(call, FDIT_ERROR_ARGUMENT, "%s is %lld, at least %lld is needed", d->name,
                                  d->value, d->min);
        if (d->value > d->max)
            return fdit_call_fail(call, FDIT_ERROR_ARGUMENT, "%s is %lld, at most %lld is allowed", d->name,
                                  d->value, d->max);
    }
    for (size_t i = 0; i < call->n_operands; i++)
        if (!check_operand(call, &call->operands[i]))
            return false;
    for (size_t i = 0; i < call->n_operands; i++)
        for (size_t j = 0; j < i; j++)
            if (!check_overlap(call, &call->operands[i], &call->operands[j]))
                return false;
    return true;
}

/* "samples 2, tokens 16, ..." into text. */
static void describe(const struct fdit_call *call, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < call->n_dims && used < size; i++) {
        int n = snprintf(text + used, size - used, "%s%s %lld", i ? ", " : "", call->dims[i].name,
                         call->dims[i].value);
        used += n > 0 ? (size_t)n : 0;
    }
}

bool fdit_call_fail(const struct fdit_call *call, enum fdit_status status, const char *format, ...)
{
    char numbers[512], reason[512];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    describe(call, numbers, sizeof numbers);
    fdit_device_fail(call->dev, status, "%s on %s (%s): %s", call->name, call->dev->ops->name, numbers,
                     reason);
    return false;
}

bool fdit_call_start(struct fdit_call *call)
{
    fdit_device *dev = call->dev;
    if (dev->fail_op_at && --dev->fail_op_at == 0)
        return fdit_call_fail(call, FDIT_ERROR_DEVICE, "failed because a test asked for it");
    if (dev->timing)
        call->started = fdit_clock_seconds();
    return true;
}

void fdit_call_end(struct fdit_call *call, double flops, size_t more_bytes)
{
    fdit_device *dev = call->dev;
    if (dev->status != FDIT_OK) {
        char *reason = dev->message;
        enum fdit_status status = dev->status;
        dev->message = NULL;
        dev->status = FDIT_OK;
        fdit_call_fail(call, status, "%s", reason ? reason : fdit_status_text(status));
        fdit_free(reason);
        return;
    }
    if (call->op >= FDIT_OP_COUNT)
        return;
    struct fdit_op_count *count = &dev->counts[call->op];
    count->calls++;
    count->flops += flops;
    count->bytes += (double)more_bytes;
    for (size_t i = 0; i < call->n_operands; i++) {
        const struct fdit_operand *o = &call->operands[i];
        if (!fdit_has(o->tensor))
            continue;
        double bytes = (double)o->rows * (double)o->width * (double)fdit_dtype_bytes(o->type);
        count->bytes += (o->flags & FDIT_IN && o->flags & FDIT_OUT) ? 2 * bytes : bytes;
    }
    if (dev->timing && dev->ops->busy)
        count->seconds += dev->ops->busy(dev, &count->launches);
    else if (dev->timing)
        count->seconds += fdit_clock_seconds() - call->started;
}
