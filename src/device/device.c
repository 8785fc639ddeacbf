/* SPDX-License-Identifier: Apache-2.0
 * device.c: the life of devices, buffers and weights, transfers, the sticky error. The ops are in
 * ops.c. */
#include "device/backend.h"
#include "core/mem.h"
#include "core/text.h"
#include "device/check.h"
#include "device/generic.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

size_t fdit_dtype_bytes(enum fdit_dtype type)
{
    switch (type) {
    case FDIT_F32:
    case FDIT_BF16X3: /* nothing is kept so: f32 is taken apart */
    case FDIT_I32: return 4;
    case FDIT_BF16:
    case FDIT_F16: return 2;
    case FDIT_I8: return 1;
    }
    return 4;
}

const char *fdit_dtype_name(enum fdit_dtype type)
{
    switch (type) {
    case FDIT_F32: return "f32";
    case FDIT_I32: return "i32";
    case FDIT_BF16: return "bf16";
    case FDIT_F16: return "f16";
    case FDIT_I8: return "int8";
    case FDIT_BF16X3: return "bf16x3";
    }
    return "an unknown type";
}

const char *fdit_op_name(enum fdit_op op)
{
    static const char *const names[FDIT_OP_COUNT] = {
#define OP(entry, ENUM, arguments) [FDIT_OP_##ENUM] = #entry,
#include "device/op_list.h"
        [FDIT_OP_FILL] = "fill",
        [FDIT_OP_COPY] = "copy",
    };
    return (unsigned)op < FDIT_OP_COUNT ? names[op] : "an unknown op";
}

/* --------------------------------------------------------------------------------- the error */

void fdit_device_fail(fdit_device *dev, enum fdit_status status, const char *format, ...)
{
    if (dev->status != FDIT_OK)
        return;
    char text[1536];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    dev->status = status;
    /* Short of memory the status stands without its text. */
    (void)fdit_strdup(NULL, text, &dev->message);
}

enum fdit_status fdit_device_status(fdit_context *ctx, const fdit_device *dev)
{
    if (dev->status == FDIT_OK)
        return FDIT_OK;
    return fdit_fail(ctx, dev->status, "%s", dev->message ? dev->message : fdit_status_text(dev->status));
}

void fdit_device_clear_error(fdit_device *dev)
{
    fdit_free(dev->message);
    dev->message = NULL;
    dev->status = FDIT_OK;
}

enum fdit_status fdit_device_sync(fdit_context *ctx, fdit_device *dev)
{
    dev->ops->sync(dev); /* after a failure too: then nothing uses the buffers any more */
    return fdit_device_status(ctx, dev);
}

/* ------------------------------------------------------------------------------- what it says */

const struct fdit_device_info *fdit_device_info(const fdit_device *dev)
{
    return &dev->info;
}

enum fdit_dtype fdit_device_precision(const fdit_device *dev)
{
    return dev->precision;
}

int fdit_device_tuned(const fdit_device *dev)
{
    return dev->ops->tuned ? dev->ops->tuned(dev) : 0;
}

bool fdit_device_failed(const fdit_device *dev)
{
    return dev->status != FDIT_OK;
}

const struct fdit_op_count *fdit_device_counts(const fdit_device *dev)
{
    return dev->counts;
}

void fdit_device_set_timing(fdit_device *dev, bool timing)
{
    dev->timing = timing;
}

bool fdit_device_has_queue(const fdit_device *dev)
{
    return dev->ops->busy != NULL;
}

bool fdit_device_can_time(const fdit_device *dev)
{
    return dev->info.threads || fdit_device_has_queue(dev);
}

size_t fdit_device_held(const fdit_device *dev)
{
    return dev->buffer_bytes + dev->weight_bytes + dev->reserved;
}

uint64_t fdit_device_objects_made(const fdit_device *dev)
{
    return dev->objects_made;
}

enum fdit_status fdit_device_facts(fdit_context *ctx, fdit_device *dev, char **out)
{
    if (dev->ops->facts)
        return dev->ops->facts(ctx, dev, out);
    return fdit_strf(ctx, out, "driver: %s\nmemory, bytes: %zu\n", dev->info.driver ? dev->info.driver : "",
                     dev->info.memory);
}

void fdit_device_reset_counts(fdit_device *dev)
{
    memset(dev->counts, 0, sizeof dev->counts);
}

enum fdit_status fdit_device_peak(fdit_context *ctx, fdit_device *dev, bool copying,
                                  struct fdit_device_peak *out)
{
    enum fdit_status status = FDIT_OK;
    *out = (struct fdit_device_peak){ 0 };
    TRY(fdit_device_sync(ctx, dev));
    if (dev->ops->peak)
        TRY(dev->ops->peak(ctx, dev, copying, out));
out:
    return status;
}

/* ----------------------------------------------------------------------------- open and close */

static enum fdit_status check_table(fdit_context *ctx, const struct fdit_device_ops *ops)
{
    enum fdit_status status = FDIT_OK;
    if (ops->version != FDIT_BACKEND_VERSION)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "device %s was written for version %d of the interface, this is %d",
             ops->name ? ops->name : "without a name", ops->version, FDIT_BACKEND_VERSION);
#define NEED(entry)                                                                       \
    if (!ops->entry)                                                                      \
    FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "device %s: its table lacks the required entry %s", \
         ops->name ? ops->name : "without a name", #entry)
    NEED(name);
    NEED(open);
    NEED(close);
    NEED(buffer_new);
    NEED(buffer_free);
    NEED(write);
    NEED(read);
    NEED(fill);
    NEED(copy);
    NEED(sync);
    NEED(weight_bytes);
    NEED(weight_new);
    NEED(weight_free);
    NEED(supports_storage);
    NEED(workspace_bytes);
    NEED(reserve);
#define REQUIRED_OP(entry, ENUM, arguments) NEED(entry);
#include "device/op_list.h"
#undef NEED
out:
    return status;
}

static void device_free(fdit_device *dev)
{
    if (!dev)
        return;
    fdit_free(dev->info.spec);
    fdit_free(dev->info.name);
    fdit_free(dev->info.driver);
    fdit_free(dev->message);
    fdit_free(dev->staging);
    fdit_free(dev);
}

enum fdit_status fdit_device_open(fdit_context *ctx, const struct fdit_device_ops *ops,
                                  const struct fdit_device_options *options, fdit_device **out)
{
    static const struct fdit_device_options defaults = { 0 };
    enum fdit_status status = FDIT_OK;
    fdit_device *dev = NULL;
    *out = NULL;
    TRY(check_table(ctx, ops));
    TRY(fdit_alloc(ctx, 1, sizeof *dev, &dev));
    dev->ops = ops;
    dev->staging_bytes = FDIT_GENERIC_STAGING;
    TRY(fdit_alloc(ctx, dev->staging_bytes, 1, &dev->staging));
    if (!options)
        options = &defaults;
    dev->precision = options->fastest ? FDIT_F32 : options->precision;
    TRY(fdit_strdup(ctx, options->spec ? options->spec : ops->name, &dev->info.spec));
    dev->info.tunable = ops->tune != NULL;
    TRY(ops->open(ctx, options, dev));
    if (!fdit_device_supports_precision(dev, dev->precision)) {
        fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                  "--precision %s: %s (%s) has no matrix products in %s; use --precision f32",
                  fdit_dtype_name(dev->precision), dev->info.name ? dev->info.name : ops->name,
                  dev->info.driver ? dev->info.driver : ops->name, fdit_dtype_name(dev->precision));
        status = FDIT_ERROR_UNSUPPORTED;
        ops->close(dev);
        goto out;
    }
    *out = dev;
    return FDIT_OK;
out:
    device_free(dev);
    return status;
}

void fdit_device_close(fdit_device *dev)
{
    if (!dev)
        return;
    fdit_buffer_free(dev->scratch);
    assert(dev->buffer_bytes == 0 && dev->weight_bytes == 0);
    dev->ops->close(dev);
    device_free(dev);
}

/* ---------------------------------------------------------------------------------- sets of devices */

void fdit_devices_close(struct fdit_devices *set)
{
    while (set->n)
        fdit_device_close(set->list[--set->n]);
    fdit_free(set->list);
    set->list = NULL;
}

fdit_device *fdit_devices_take(struct fdit_devices *set)
{
    fdit_device *first = set->n ? set->list[0] : NULL;
    if (first)
        set->list[0] = NULL;
    fdit_devices_close(set);
    return first;
}

enum fdit_status fdit_devices_names(fdit_context *ctx, const struct fdit_devices *set, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL, *longer = NULL;
    TRY(fdit_strdup(ctx, set->list[0]->info.name, &text));
    for (int i = 1; i < set->n; i++) {
        TRY(fdit_strf(ctx, &longer, "%s + %s", text, set->list[i]->info.name));
        fdit_free(text);
        text = longer;
    }
    *out = text;
    return FDIT_OK;
out:
    fdit_free(text);
    return status;
}

int fdit_devices_threads(const struct fdit_devices *set)
{
    return set->n == 1 ? set->list[0]->info.threads : 0;
}

/* ------------------------------------------------------------------------------------ buffers */

/* Puts what was to be made, and what there is already, before the device's own message. */
static enum fdit_status not_made(fdit_context *ctx, const fdit_device *dev, enum fdit_status status,
                                 const char *label, size_t bytes)
{
    char *message = NULL, size[32], used[32];
    if (fdit_strdup(NULL, fdit_context_message(ctx), &message) != FDIT_OK)
        return status;
    fdit_format_size(bytes, size);
    fdit_format_size(fdit_device_held(dev), used);
    status = fdit_fail(ctx, status, "could not allocate '%s' (%s); %s are already in use: %s", label, size,
                       used, message);
    fdit_free(message);
    return status;
}

enum fdit_status fdit_buffer_new(fdit_context *ctx, fdit_device *dev, size_t bytes, const char *label,
                                 fdit_buffer **out)
{
    enum fdit_status status = FDIT_OK;
    fdit_buffer *buffer = NULL;
    size_t whole;
    *out = NULL;
    TRY(fdit_device_status(ctx, dev));
    /* Whole floats, at least one: fill zeroes them all. */
    if (!fdit_add(bytes ? bytes : 1, 3, &whole))
        FAIL(ctx, FDIT_ERROR_MEMORY, "'%s': %zu bytes are too many", label ? label : "", bytes);
    whole &= ~(size_t)3;
    if (dev->info.max_buffer && whole > dev->info.max_buffer)
        FAIL(ctx, FDIT_ERROR_DEVICE,
             "'%s' needs %zu bytes in one piece, %s allows %zu; use a smaller batch or model, or "
             "another device",
             label ? label : "", whole, dev->ops->name, dev->info.max_buffer);
    TRY(fdit_alloc(ctx, 1, sizeof *buffer, &buffer));
    buffer->dev = dev;
    TRY(fdit_strdup(ctx, label ? label : "", &buffer->label));
    status = dev->ops->buffer_new(ctx, dev, whole, &buffer->handle);
    if (status != FDIT_OK)
        status = not_made(ctx, dev, status, buffer->label, whole);
    TRY(status);
    buffer->bytes = whole; /* from here buffer_free gives it back */
    dev->buffer_bytes += whole;
    dev->objects_made++;
    dev->ops->fill(dev, fdit_tensor_of(buffer, FDIT_F32), whole / 4, 0.0f);
    status = fdit_device_sync(ctx, dev);
    if (status != FDIT_OK) {
        /* The device did nothing but this: a shortage is the caller's to report, not sticky. */
        fdit_device_clear_error(dev);
        dev->buffer_bytes -= whole; /* not among those in use */
        status = not_made(ctx, dev, status, buffer->label, whole);
        dev->buffer_bytes += whole;
        goto out;
    }
    *out = buffer;
    return FDIT_OK;
out:
    fdit_buffer_free(buffer);
    return status;
}

void fdit_buffer_free(fdit_buffer *buffer)
{
    if (!buffer)
        return;
    if (buffer->bytes) {
        buffer->dev->ops->buffer_free(buffer->dev, buffer->handle);
        buffer->dev->buffer_bytes -= buffer->bytes;
    }
    fdit_free(buffer->label);
    fdit_free(buffer);
}

/* A transfer is checked like an op. `name` is what messages call it. */
static bool transfer_begins(struct fdit_call *call, const void *host)
{
    if (!fdit_call_check(call))
        return false;
    if (!host)
        return fdit_call_fail(call, FDIT_ERROR_ARGUMENT, "the host pointer is missing");
    return fdit_call_start(call);
}

static struct fdit_call transfer(fdit_device *dev, const char *name, const struct fdit_dim *n,
                                 const struct fdit_operand *operand)
{
    return (struct fdit_call){ .dev = dev,
                               .op = FDIT_OP_COUNT,
                               .name = name,
                               .dims = n,
                               .n_dims = 1,
                               .operands = operand,
                               .n_operands = 1 };
}

void fdit_write(fdit_device *dev, struct fdit_tensor t, const void *host, size_t n)
{
    const struct fdit_dim dim = FDIT_SIZE("n", n);
    const struct fdit_operand to = fdit_typed(fdit_out("the tensor", t, n), t.type);
    struct fdit_call call = transfer(dev, "write", &dim, &to);
    if (!transfer_begins(&call, host))
        return;
    size_t width = fdit_dtype_bytes(t.type);
    dev->ops->write(dev, t.buffer, t.offset * width, host, n * width);
    fdit_call_end(&call, 0, 0);
}

enum fdit_status fdit_read(fdit_context *ctx, fdit_device *dev, struct fdit_tensor t, void *host, size_t n)
{
    const struct fdit_dim dim = FDIT_SIZE("n", n);
    const struct fdit_operand from = fdit_typed(fdit_in("the tensor", t, n), t.type);
    struct fdit_call call = transfer(dev, "read", &dim, &from);
    if (transfer_begins(&call, host)) {
        size_t width = fdit_dtype_bytes(t.type);
        dev->ops->read(dev, t.buffer, t.offset * width, host, n * width);
        fdit_call_end(&call, 0, 0);
    }
    return fdit_device_status(ctx, dev);
}

enum { READ_SLOTS = 8 };

void fdit_read_begin(fdit_device *dev, struct fdit_tensor t, void *host, size_t n, int slot)
{
    const struct fdit_dim dims[] = { FDIT_SIZE("n", n), FDIT_RANGE("slot", slot, 0, READ_SLOTS - 1) };
    const struct fdit_operand from = fdit_typed(fdit_in("the tensor", t, n), t.type);
    struct fdit_call call = transfer(dev, "read_begin", dims, &from);
    call.n_dims = 2;
    if (dev->status == FDIT_OK && slot >= 0 && slot < READ_SLOTS && dev->reads_in_flight & 1u << slot) {
        fdit_call_fail(&call, FDIT_ERROR_ARGUMENT, "a read is in flight in this slot");
        return;
    }
    if (!transfer_begins(&call, host))
        return;
    size_t width = fdit_dtype_bytes(t.type);
    if (dev->ops->read_begin)
        dev->ops->read_begin(dev, t.buffer, t.offset * width, host, n * width, slot);
    else
        dev->ops->read(dev, t.buffer, t.offset * width, host, n * width);
    dev->reads_in_flight |= 1u << slot;
    fdit_call_end(&call, 0, 0);
}

enum fdit_status fdit_read_end(fdit_context *ctx, fdit_device *dev, int slot)
{
    bool in_flight = slot >= 0 && slot < READ_SLOTS && dev->reads_in_flight & 1u << slot;
    if (in_flight) {
        /* Ended after a failure too: the host memory may go away when this returns. */
        if (dev->ops->read_end && dev->ops->read_begin)
            dev->ops->read_end(dev, slot);
        dev->reads_in_flight &= ~(1u << slot);
    } else {
        fdit_device_fail(dev, FDIT_ERROR_ARGUMENT, "read_end on %s (slot %d): no read is in flight",
                         dev->ops->name, slot);
    }
    return fdit_device_status(ctx, dev);
}

void fdit_fill(fdit_device *dev, struct fdit_tensor t, size_t n, float value)
{
    const struct fdit_dim dims[] = { FDIT_SIZE("n", n) };
    const struct fdit_operand operands[] = { fdit_out("the tensor", t, n) };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_FILL, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    dev->ops->fill(dev, t, n, value);
    fdit_call_end(&call, 0, 0);
}

void fdit_copy(fdit_device *dev, struct fdit_tensor to, struct fdit_tensor from, size_t n)
{
    const struct fdit_dim dims[] = { FDIT_SIZE("n", n) };
    bool converts =
        (to.type == FDIT_F32 && from.type == FDIT_BF16) || (to.type == FDIT_BF16 && from.type == FDIT_F32);
    enum fdit_dtype type = converts ? to.type : from.type;
    const struct fdit_operand operands[] = { fdit_typed(fdit_out("to", to, n), type),
                                             fdit_typed(fdit_in("from", from, n), from.type) };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_COPY, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    dev->ops->copy(dev, to, from, n);
    fdit_call_end(&call, 0, 0);
}

/* ------------------------------------------------------------------------------------ weights */

size_t fdit_weight_bytes(fdit_device *dev, const struct fdit_weight_desc *desc)
{
    return fdit_generic_keeps(dev, desc) ? 0 : dev->ops->weight_bytes(dev, desc);
}

bool fdit_device_supports_storage(const fdit_device *dev, enum fdit_dtype storage)
{
    return dev->ops->supports_storage(dev, storage);
}

bool fdit_device_supports_precision(const fdit_device *dev, enum fdit_dtype precision)
{
    if (dev->ops->supports_precision)
        return dev->ops->supports_precision(dev, precision);
    return precision == FDIT_F32;
}

enum fdit_status fdit_device_engine(fdit_context *ctx, fdit_device *dev, enum fdit_dtype precision,
                                    char **out, char **refused)
{
    enum fdit_status status = FDIT_OK;
    char *lines = NULL;
    *out = NULL;
    if (dev->ops->engine)
        TRY(dev->ops->engine(ctx, dev, precision, out, &lines));
    else
        TRY(fdit_strdup(ctx, "its own", out));
    if (!lines)
        TRY(fdit_strdup(ctx, "", &lines));
out:
    if (status == FDIT_OK && refused) {
        *refused = lines;
        lines = NULL;
    } else if (status != FDIT_OK) {
        fdit_free(*out);
        *out = NULL;
    }
    fdit_free(lines);
    return status;
}

bool fdit_device_fuses_low(const fdit_device *dev)
{
    return dev->ops->fuses_low && dev->ops->fuses_low(dev);
}

enum fdit_status fdit_weight_new(fdit_context *ctx, fdit_device *dev, const struct fdit_weight_desc *desc,
                                 const float *data, fdit_weight **out)
{
    enum fdit_status status = FDIT_OK;
    fdit_weight *weight = NULL;
    *out = NULL;
    TRY(fdit_device_status(ctx, dev));
    if (desc->n_out < 1 || desc->n_in < 1 || !data)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "weight of %d x %d on %s: %s", desc->n_out, desc->n_in, dev->ops->name,
             data ? "both numbers must be at least 1" : "the data are missing");
    if (desc->conv && desc->groups > 1 && desc->n_out % desc->groups)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "weight of %d x %d on %s: it cannot be cut into %d groups",
             desc->n_out, desc->n_in, dev->ops->name, desc->groups);
    if (!fdit_device_supports_storage(dev, desc->storage))
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "%s cannot keep weights as %s; use --weights f32, or another device", dev->ops->name,
             fdit_dtype_name(desc->storage));
    TRY(fdit_alloc(ctx, 1, sizeof *weight, &weight));
    weight->dev = dev;
    weight->desc = *desc;
    status = fdit_generic_keeps(dev, desc) ? fdit_generic_weight_new(ctx, desc, data, &weight->handle)
                                           : dev->ops->weight_new(ctx, dev, desc, data, &weight->handle);
    if (status != FDIT_OK) {
        char label[64];
        snprintf(label, sizeof label, "matrix of %d x %d", desc->n_out, desc->n_in);
        status = not_made(ctx, dev, status, label, fdit_weight_bytes(dev, desc));
    }
    TRY(status);
    weight->bytes = fdit_weight_bytes(dev, desc);
    dev->weight_bytes += weight->bytes;
    dev->objects_made++;
    *out = weight;
    return FDIT_OK;
out:
    fdit_free(weight);
    return status;
}

void fdit_weight_free(fdit_weight *weight)
{
    if (!weight)
        return;
    if (fdit_generic_keeps(weight->dev, &weight->desc))
        fdit_free(weight->handle);
    else
        weight->dev->ops->weight_free(weight->dev, weight->handle);
    weight->dev->weight_bytes -= weight->bytes;
    fdit_free(weight);
}

/* ---------------------------------------------------------------------------------- workspace */

enum fdit_status fdit_device_tune(fdit_context *ctx, fdit_device *dev, const struct fdit_op_shape *shapes,
                                  size_t n, const struct fdit_tune_options *options, char **where)
{
    *where = NULL;
    if (!dev->ops->tune)
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                         "%s (%s) has nothing to tune: it finds its blocking by itself", dev->info.spec,
                         dev->info.name ? dev->info.name : dev->ops->name);
    return dev->ops->tune(ctx, dev, shapes, n, options, where);
}

size_t fdit_device_workspace(fdit_device *dev, const struct fdit_op_shape *shapes, size_t n)
{
    size_t most = 0, scratch = 0;
    for (size_t i = 0; i < n; i++) {
        const struct fdit_op_shape shape = fdit_generic_shape(dev, &shapes[i]);
        size_t bytes = dev->ops->workspace_bytes(dev, &shape);
        size_t own = fdit_generic_scratch(dev, &shapes[i]);
        most = bytes > most ? bytes : most;
        scratch = own > scratch ? own : scratch;
    }
    dev->scratch_need = scratch;
    return fdit_add(most, scratch, &most) ? most : SIZE_MAX;
}

enum fdit_status fdit_device_reserve(fdit_context *ctx, fdit_device *dev, size_t bytes)
{
    enum fdit_status status = FDIT_OK;
    fdit_buffer *scratch = NULL;
    size_t scratch_need = dev->scratch_need;
    size_t ops_bytes = bytes > scratch_need ? bytes - scratch_need : 0;
    TRY(fdit_device_sync(ctx, dev));
    if (scratch_need && (!dev->scratch || dev->scratch->bytes < scratch_need)) {
        fdit_buffer_free(dev->scratch);
        dev->scratch = NULL;
        TRY(fdit_buffer_new(ctx, dev, scratch_need, "scratch of composed ops", &scratch));
        dev->scratch = scratch;
    }
    TRY(dev->ops->reserve(ctx, dev, ops_bytes));
    if (bytes > dev->reserved)
        dev->reserved = bytes;
    dev->objects_made++;
out:
    return status;
}
