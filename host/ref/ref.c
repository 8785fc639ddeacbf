/* SPDX-License-Identifier: Apache-2.0
 * ref.c: the reference device, the yardstick of the tests: naive loops on f32 memory with double
 * accumulation (ref_kernels.inc), in the calling thread, every entry of the table. It is also the
 * smallest complete example of a back end. */
#include "core/half.h"
#include "core/limits.h"
#include "core/mem.h"
#include "device/host_math.h"
#include "devices.h"
#include "ref/ref_math.h"
#include "ref/ref_ops.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------------- memory and weights */

static enum fdit_status open_ref(fdit_context *ctx, const struct fdit_device_options *options,
                                 fdit_device *dev)
{
    (void)options;
    enum fdit_status status = FDIT_OK;
    TRY(fdit_strdup(ctx, "reference loops, 1 thread", &dev->info.name));
    TRY(fdit_strdup(ctx, "naive, for tests", &dev->info.driver));
    struct fdit_limits limits;
    TRY(fdit_limits_read(ctx, NULL, &limits));
    dev->info.memory = limits.memory;
    dev->info.max_buffer = SIZE_MAX / 2;
    dev->info.threads = 1;
out:
    return status; /* fdit_device_open frees the strings */
}

static void close_ref(fdit_device *dev)
{
    (void)dev;
}

static enum fdit_status buffer_new(fdit_context *ctx, fdit_device *dev, size_t bytes, void **handle)
{
    (void)dev;
    return fdit_alloc(ctx, bytes, 1, handle);
}

static void buffer_free(fdit_device *dev, void *handle)
{
    (void)dev;
    fdit_free(handle);
}

static void write_bytes(fdit_device *dev, fdit_buffer *to, size_t byte_offset, const void *host, size_t bytes)
{
    (void)dev;
    memcpy((char *)to->handle + byte_offset, host, bytes);
}

static void read_bytes(fdit_device *dev, const fdit_buffer *from, size_t byte_offset, void *host,
                       size_t bytes)
{
    (void)dev;
    memcpy(host, (const char *)from->handle + byte_offset, bytes);
}

/* The tensor's first element, NULL when it is absent. */
static float *f32(struct fdit_tensor t)
{
    return t.buffer ? (float *)t.buffer->handle + t.offset : NULL;
}

static const int32_t *i32(struct fdit_tensor t)
{
    return (const int32_t *)t.buffer->handle + t.offset;
}

static void fill(fdit_device *dev, struct fdit_tensor t, size_t n, float value)
{
    (void)dev;
    float *to = f32(t);
    for (size_t i = 0; i < n; i++)
        to[i] = value;
}

static void copy(fdit_device *dev, struct fdit_tensor to, struct fdit_tensor from, size_t n)
{
    (void)dev;
    size_t width = fdit_dtype_bytes(to.type);
    if (to.type != from.type) {
        if (to.type == FDIT_BF16)
            fdit_f32_to_bf16(n, f32(from), (uint16_t *)to.buffer->handle + to.offset);
        else
            fdit_bf16_to_f32(n, (const uint16_t *)from.buffer->handle + from.offset, f32(to));
        return;
    }
    memcpy((char *)to.buffer->handle + to.offset * width,
           (const char *)from.buffer->handle + from.offset * width, n * width);
}

static void sync_ref(fdit_device *dev)
{
    (void)dev;
}

static size_t weight_bytes(fdit_device *dev, const struct fdit_weight_desc *desc)
{
    (void)dev;
    return (size_t)desc->n_out * (size_t)desc->n_in * sizeof(float);
}

static enum fdit_status weight_new(fdit_context *ctx, fdit_device *dev, const struct fdit_weight_desc *desc,
                                   const float *data, void **handle)
{
    enum fdit_status status = fdit_alloc(ctx, weight_bytes(dev, desc), 1, handle);
    if (status == FDIT_OK)
        memcpy(*handle, data, weight_bytes(dev, desc));
    return status;
}

static void weight_free(fdit_device *dev, void *handle)
{
    (void)dev;
    fdit_free(handle);
}

static bool supports_storage(const fdit_device *dev, enum fdit_dtype storage)
{
    (void)dev;
    return storage == FDIT_F32;
}

static enum fdit_status engine(fdit_context *ctx, fdit_device *dev, enum fdit_dtype precision, char **out,
                               char **refused)
{
    (void)refused;
    (void)dev;
    (void)precision;
    return fdit_strdup(ctx, "loops in double", out);
}

static size_t workspace_bytes(fdit_device *dev, const struct fdit_op_shape *shape)
{
    (void)dev;
    (void)shape;
    return 0;
}

static enum fdit_status reserve(fdit_context *ctx, fdit_device *dev, size_t bytes)
{
    (void)ctx;
    (void)dev;
    (void)bytes;
    return FDIT_OK;
}

/* --------------------------------------------------------------------------------------- ops */

static const float *matrix(const fdit_weight *weight, struct fdit_tensor plain)
{
    return weight ? (const float *)weight->handle : f32(plain);
}

static bool ref_fuses_low(const fdit_device *dev)
{
    (void)dev;
    return true;
}

void fdit_ref_linear(fdit_device *dev, const struct fdit_linear_args *a)
{
    (void)dev;
    fdit_ref_linear_f32(a->samples, a->tokens, a->n_in, a->n_out, f32(a->y), f32(a->x),
                        matrix(a->weight, a->matrix), f32(a->bias), f32(a->add), f32(a->low),
                        f32(a->low_matrix), a->low_rank, a->act, f32(a->pre), f32(a->gate), a->gate_stride,
                        f32(a->residual), a->residual_shared, a->beta);
}

void fdit_ref_linear_dx(fdit_device *dev, const struct fdit_linear_dx_args *a)
{
    (void)dev;
    fdit_ref_linear_dx_f32(a->samples * a->tokens, a->n_in, a->n_out, f32(a->dx), f32(a->dy),
                           matrix(a->weight, a->matrix), f32(a->add), f32(a->low), f32(a->low_matrix),
                           a->low_rank, a->act, f32(a->pre), a->beta);
}

void fdit_ref_linear_dw(fdit_device *dev, const struct fdit_linear_dw_args *a)
{
    (void)dev;
    fdit_ref_linear_dw_f32(a->samples * a->tokens, a->n_in, a->n_out, f32(a->dw), f32(a->dy), f32(a->x),
                           a->beta);
}

void fdit_ref_column_sum(fdit_device *dev, const struct fdit_column_sum_args *a)
{
    (void)dev;
    fdit_ref_column_sum_f32(a->m, a->n, f32(a->db), f32(a->dy), a->beta);
}

void fdit_ref_norm(fdit_device *dev, const struct fdit_norm_args *a)
{
    (void)dev;
    fdit_ref_norm_f32(a->samples, a->tokens, a->width, f32(a->y), f32(a->x), f32(a->weight), f32(a->bias),
                      f32(a->shift), f32(a->scale), a->mod_stride, f32(a->xhat), f32(a->rstd));
}

void fdit_ref_modulate(fdit_device *dev, const struct fdit_modulate_args *a)
{
    (void)dev;
    for (int r = 0; r < a->samples * a->tokens; r++) {
        size_t at = (size_t)r * (size_t)a->width;
        size_t mod = (size_t)(r / a->tokens) * (size_t)a->mod_stride;
        fdit_host_modulate((size_t)a->width, f32(a->y) + at, f32(a->xhat) + at, f32(a->weight), f32(a->bias),
                           fdit_has(a->shift) ? f32(a->shift) + mod : NULL,
                           fdit_has(a->scale) ? f32(a->scale) + mod : NULL);
    }
}

void fdit_ref_norm_backward(fdit_device *dev, const struct fdit_norm_backward_args *a)
{
    (void)dev;
    if (fdit_has(a->dshift) || fdit_has(a->dweight))
        fdit_ref_norm_backward_sums_f32(a->samples, a->tokens, a->width, f32(a->dshift), f32(a->dscale),
                                        a->dmod_stride, f32(a->dweight), f32(a->dbias), a->beta, f32(a->dy),
                                        f32(a->xhat), f32(a->weight), f32(a->bias), f32(a->scale),
                                        a->mod_stride);
    if (fdit_has(a->dx))
        fdit_ref_norm_backward_dx_f32(a->samples, a->tokens, a->width, f32(a->dx), a->accumulate, f32(a->dy),
                                      f32(a->xhat), f32(a->rstd), f32(a->weight), f32(a->scale),
                                      a->mod_stride);
}

void fdit_ref_attention(fdit_device *dev, const struct fdit_attention_args *a)
{
    (void)dev;
    fdit_ref_attention_f32(a->samples, a->tokens, a->heads, a->head_size, f32(a->out), f32(a->lse),
                           f32(a->qkv));
}

void fdit_ref_attention_backward(fdit_device *dev, const struct fdit_attention_backward_args *a)
{
    (void)dev;
    fdit_ref_attention_backward_f32(a->samples, a->tokens, a->heads, a->head_size, f32(a->dqkv), f32(a->dout),
                                    f32(a->qkv), f32(a->out), f32(a->lse));
}

void fdit_ref_gate(fdit_device *dev, const struct fdit_gate_args *a)
{
    (void)dev;
    fdit_ref_gate_f32(a->samples, a->tokens, a->width, f32(a->y), f32(a->residual), f32(a->branch),
                      f32(a->gate), a->gate_stride);
}

void fdit_ref_gate_backward(fdit_device *dev, const struct fdit_gate_backward_args *a)
{
    (void)dev;
    fdit_ref_gate_backward_f32(a->samples, a->tokens, a->width, f32(a->dbranch), f32(a->dgate),
                               a->dgate_stride, f32(a->dy), f32(a->branch), f32(a->gate), a->gate_stride);
}

void fdit_ref_activation(fdit_device *dev, const struct fdit_activation_args *a)
{
    (void)dev;
    fdit_ref_activation_f32(a->n, a->act, f32(a->y), f32(a->x));
}

void fdit_ref_activation_backward(fdit_device *dev, const struct fdit_activation_backward_args *a)
{
    (void)dev;
    fdit_ref_activation_backward_f32(a->n, a->act, f32(a->dx), f32(a->dy), f32(a->x));
}

void fdit_ref_axpy(fdit_device *dev, const struct fdit_axpy_args *a)
{
    (void)dev;
    fdit_ref_axpy_f32(a->n, a->alpha, f32(a->y), f32(a->x), a->beta);
}

static void check_rows(fdit_device *dev, int bad, int samples, const int32_t *rows, int n_rows)
{
    if (bad < samples)
        fdit_device_fail(dev, FDIT_ERROR_DEVICE, "row %d of sample %d is outside the table of %d rows",
                         (int)rows[bad], bad, n_rows);
}

void fdit_ref_gather(fdit_device *dev, const struct fdit_gather_args *a)
{
    int bad = fdit_ref_gather_f32(a->samples, a->table_rows, a->width, f32(a->y), f32(a->table),
                                  i32(a->index), a->beta);
    check_rows(dev, bad, a->samples, i32(a->index), a->table_rows);
}

void fdit_ref_copy_columns(fdit_device *dev, const struct fdit_copy_columns_args *a)
{
    (void)dev;
    for (size_t r = 0; r < (size_t)a->m; r++)
        for (size_t c = 0; c < (size_t)a->n; c++)
            f32(a->y)[r * (size_t)a->width + (size_t)a->first + c] = f32(a->x)[r * (size_t)a->n + c];
}

void fdit_ref_scatter_add(fdit_device *dev, const struct fdit_scatter_add_args *a)
{
    int bad = fdit_ref_scatter_add_f32(a->samples, a->table_rows, a->width, f32(a->dtable), f32(a->dy),
                                       i32(a->index), a->beta);
    check_rows(dev, bad, a->samples, i32(a->index), a->table_rows);
}

void fdit_ref_patchify(fdit_device *dev, const struct fdit_patchify_args *a)
{
    (void)dev;
    fdit_ref_patchify_f32(a->samples, a->channels, a->size, a->patch, a->order, f32(a->tokens),
                          f32(a->image));
}

void fdit_ref_unpatchify(fdit_device *dev, const struct fdit_patchify_args *a)
{
    (void)dev;
    fdit_ref_unpatchify_f32(a->samples, a->channels, a->size, a->patch, a->order, f32(a->tokens),
                            f32(a->image));
}

void fdit_ref_qk_norm(fdit_device *dev, const struct fdit_qk_norm_args *a)
{
    const float *const vectors[4] = { f32(a->q_weight), f32(a->q_bias), f32(a->k_weight), f32(a->k_bias) };
    (void)dev;
    fdit_ref_qk_norm_f32(a->samples, a->tokens, a->heads, a->head_size, f32(a->y), f32(a->x), vectors,
                         f32(a->xhat), f32(a->rstd));
}

void fdit_ref_qk_norm_backward(fdit_device *dev, const struct fdit_qk_norm_backward_args *a)
{
    float *const sums[4] = { f32(a->dq_weight), f32(a->dq_bias), f32(a->dk_weight), f32(a->dk_bias) };
    const float *const weights[2] = { f32(a->q_weight), f32(a->k_weight) };
    (void)dev;
    fdit_ref_qk_norm_backward_f32(a->samples, a->tokens, a->heads, a->head_size, f32(a->dx), f32(a->dy), sums,
                                  f32(a->xhat), f32(a->rstd), weights);
}

void fdit_ref_token_mean(fdit_device *dev, const struct fdit_token_mean_args *a)
{
    (void)dev;
    fdit_ref_token_mean_f32(a->samples, a->tokens, a->width, f32(a->y), f32(a->x));
}

void fdit_ref_token_mean_backward(fdit_device *dev, const struct fdit_token_mean_backward_args *a)
{
    (void)dev;
    fdit_ref_token_mean_backward_f32(a->samples, a->tokens, a->width, f32(a->dx), f32(a->dy));
}

void fdit_ref_diffuse(fdit_device *dev, const struct fdit_diffuse_args *a)
{
    (void)dev;
    for (size_t b = 0; b < (size_t)a->samples; b++) {
        const float *coef = f32(a->coef) + 2 * b;
        fdit_host_diffuse(a->n, f32(a->xt) + b * a->n, f32(a->x0) + b * a->n, f32(a->noise) + b * a->n,
                          coef[0], coef[1]);
    }
}

void fdit_ref_diffusion_loss(fdit_device *dev, const struct fdit_diffusion_loss_args *a)
{
    (void)dev;
    size_t count = (size_t)a->channels * a->n;
    for (size_t b = 0; b < (size_t)a->samples; b++) {
        struct fdit_loss_coef coef;
        memcpy(&coef, f32(a->coef) + 8 * b, sizeof coef);
        const float *eps = f32(a->out) + 2 * b * count;
        float *deps = fdit_has(a->dout) ? f32(a->dout) + 2 * b * count : NULL;
        double mse = 0, vb = 0;
        fdit_host_diffusion_loss(count, count, &coef, eps, eps + count, f32(a->x0) + b * count,
                                 f32(a->noise) + b * count, deps, deps ? deps + count : NULL, &mse, &vb);
        f32(a->losses)[2 * b] = (float)mse;
        f32(a->losses)[2 * b + 1] = (float)vb;
    }
}

void fdit_ref_velocity_loss(fdit_device *dev, const struct fdit_velocity_loss_args *a)
{
    (void)dev;
    size_t count = (size_t)a->channels * a->n, outputs = (size_t)a->outputs;
    for (size_t b = 0; b < (size_t)a->samples; b++) {
        struct fdit_velocity_coef coef;
        memcpy(&coef, f32(a->coef) + 8 * b, sizeof coef);
        float *dout = fdit_has(a->dout) ? f32(a->dout) + b * outputs * count : NULL;
        double mse = 0;
        fdit_host_velocity_loss(count, count, &coef, f32(a->out) + b * outputs * count,
                                f32(a->x0) + b * count, f32(a->noise) + b * count, dout, &mse);
        if (dout)
            memset(dout + count, 0, (outputs - 1) * count * sizeof *dout);
        f32(a->losses)[2 * b] = (float)mse;
        f32(a->losses)[2 * b + 1] = 0;
    }
}

void fdit_ref_cross_entropy(fdit_device *dev, const struct fdit_cross_entropy_args *a)
{
    size_t classes = (size_t)a->classes;
    for (size_t b = 0; b < (size_t)a->samples; b++) {
        int32_t label = i32(a->labels)[b];
        if (label < 0 || label >= a->classes) {
            fdit_device_fail(dev, FDIT_ERROR_DEVICE, "label %d of sample %zu is not below %d", (int)label, b,
                             a->classes);
            return;
        }
        f32(a->loss)[b] =
            (float)fdit_host_cross_entropy(classes, f32(a->logits) + b * classes, (size_t)label, a->scale,
                                           fdit_has(a->dlogits) ? f32(a->dlogits) + b * classes : NULL);
    }
}

void fdit_ref_sampler_step(fdit_device *dev, const struct fdit_sampler_step_args *a)
{
    (void)dev;
    size_t channels = (size_t)a->channels, outputs = a->single ? 1 : 2;
    for (size_t b = 0; b < (size_t)a->samples; b++) {
        for (size_t c = 0; c < channels; c++) {
            size_t at = (b * channels + c) * a->n, at_eps = (outputs * b * channels + c) * a->n;
            bool guided = fdit_has(a->uncond) && c < (size_t)a->guided_channels;
            const float *eps = f32(a->cond) + at_eps;
            fdit_host_sampler_step(
                a->n, a, f32(a->x_next) + at, f32(a->x) + at, eps, a->single ? NULL : eps + channels * a->n,
                guided ? f32(a->uncond) + at_eps : NULL, fdit_has(a->z) ? f32(a->z) + at : NULL,
                fdit_has(a->old) ? f32(a->old) + at : NULL);
        }
    }
}

void fdit_ref_adamw(fdit_device *dev, const struct fdit_adamw_args *a)
{
    (void)dev;
    fdit_ref_adamw_f32(a, f32(a->p), f32(a->g), f32(a->m), f32(a->v), f32(a->ema), f32(a->scale));
}

void fdit_ref_lion(fdit_device *dev, const struct fdit_lion_args *a)
{
    double scale = fdit_has(a->scale) ? (double)*f32(a->scale) : 1;
    (void)dev;
    if (isfinite(scale))
        fdit_host_lion(a->n, a, scale, f32(a->p), f32(a->g), f32(a->m), f32(a->ema));
}

void fdit_ref_sum_squares(fdit_device *dev, const struct fdit_sum_squares_args *a)
{
    (void)dev;
    f32(a->out)[0] = (float)fdit_ref_sum_squares_f32(a->n, f32(a->x));
}

void fdit_ref_clip_scale(fdit_device *dev, const struct fdit_clip_scale_args *a)
{
    (void)dev;
    fdit_host_clip_scale((size_t)a->n, f32(a->partial), a->max_norm, f32(a->scale), f32(a->norm));
}

const struct fdit_device_ops fdit_ref_ops = {
    .version = FDIT_BACKEND_VERSION,
    .name = "ref",
    .open = open_ref,
    .close = close_ref,
    .buffer_new = buffer_new,
    .buffer_free = buffer_free,
    .write = write_bytes,
    .read = read_bytes,
    .fill = fill,
    .copy = copy,
    .sync = sync_ref,
    .weight_bytes = weight_bytes,
    .weight_new = weight_new,
    .weight_free = weight_free,
    .supports_storage = supports_storage,
    .engine = engine,
    .workspace_bytes = workspace_bytes,
    .reserve = reserve,
#define OP(entry, ENUM, arguments) .entry = fdit_ref_##entry,
#include "device/op_list.h"
    .fuses_low = ref_fuses_low,
    .fuses_act = true,
    .fuses_gate = true,
    .fuses_add = true,
    .fuses_act_backward = true,
};
