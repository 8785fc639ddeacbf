/* SPDX-License-Identifier: Apache-2.0
 * ops.c: the ops except attention. The bits of `flags` are named in the kernel's file. */
#include "state.h"

static size_t product(int a, int b)
{
    return (size_t)a * (size_t)b;
}

/* --------------------------------------------------------------------------------------- sums */

struct sums {
    cl_mem sum, product; /* either NULL */
    size_t sum_at, product_at;
    cl_mem p, q;
    size_t p_at, q_at;
    int M, rows, width, sum_stride, product_stride; /* rows a part */
    float alpha;
    int beta;
};

static void run_sums(fdit_device *dev, const struct sums *s)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_REDUCE, KERNEL_COLUMN_SUMS);
    cl_mem dummy = opencl_of(dev)->dummy;
    fdit_launch_memory(&l, s->sum ? s->sum : dummy, s->sum_at);
    fdit_launch_memory(&l, s->product ? s->product : dummy, s->product_at);
    fdit_launch_memory(&l, s->p, s->p_at);
    fdit_launch_memory(&l, s->q ? s->q : dummy, s->q_at);
    fdit_launch_int(&l, s->M);
    fdit_launch_int(&l, s->rows);
    fdit_launch_int(&l, s->width);
    fdit_launch_int(&l, s->sum_stride);
    fdit_launch_int(&l, s->product_stride);
    fdit_launch_float(&l, s->alpha);
    fdit_launch_uint(&l, BIT(s->sum, SUMS_SUM) | BIT(s->product, SUMS_PRODUCT) | BIT(s->beta, SUMS_BETA));
    size_t parts = ((size_t)s->M + (size_t)s->rows - 1) / (size_t)s->rows;
    size_t columns = l.group < 32 ? l.group : 32, slices = l.group / columns;
    fdit_launch_run(&l, 2, (size_t[]){ (size_t)s->width, parts * slices }, (size_t[]){ columns, slices });
}

/* Blocks of SUM_ROWS rows to the workspace, then the blocks; the blocks depend on m alone. */
void fdit_opencl_column_sum(fdit_device *dev, const struct fdit_column_sum_args *a)
{
    struct opencl *cl = opencl_of(dev);
    int parts = (a->m + SUM_ROWS - 1) / SUM_ROWS;
    struct sums s = { .sum = a->db.buffer->handle,
                      .sum_at = a->db.offset,
                      .p = a->dy.buffer->handle,
                      .p_at = a->dy.offset,
                      .M = a->m,
                      .rows = SUM_ROWS,
                      .width = a->n,
                      .alpha = 1,
                      .beta = a->beta };
    if (parts > 1) {
        struct sums first = s;
        first.sum = cl->workspace;
        first.sum_at = 0;
        first.sum_stride = a->n;
        first.beta = 0;
        run_sums(dev, &first);
        s.p = cl->workspace;
        s.p_at = 0;
        s.M = s.rows = parts;
    }
    run_sums(dev, &s);
}

void fdit_opencl_token_mean(fdit_device *dev, const struct fdit_token_mean_args *a)
{
    run_sums(dev, &(struct sums){ .sum = a->y.buffer->handle,
                                  .sum_at = a->y.offset,
                                  .p = a->x.buffer->handle,
                                  .p_at = a->x.offset,
                                  .M = a->samples * a->tokens,
                                  .rows = a->tokens,
                                  .width = a->width,
                                  .sum_stride = a->width,
                                  .alpha = 1.0f / (float)a->tokens });
}

void fdit_opencl_sum_squares(fdit_device *dev, const struct fdit_sum_squares_args *a)
{
    struct opencl *cl = opencl_of(dev);
    /* The parts depend on n alone; one of them is at least 4096 numbers. */
    size_t least = 4096, parts = (a->n + least - 1) / least;
    if (parts > SUM_PARTS)
        parts = SUM_PARTS;
    size_t chunk = (a->n + parts - 1) / parts;
    struct launch l = fdit_launch_begin(dev, PROGRAM_REDUCE, KERNEL_SUM_SQUARES);
    fdit_launch_memory(&l, cl->workspace, 0);
    fdit_launch_tensor(&l, a->x);
    fdit_launch_size(&l, a->n);
    fdit_launch_size(&l, chunk);
    fdit_launch_run(&l, 1, (size_t[]){ parts * l.group }, (size_t[]){ l.group });
    l = fdit_launch_begin(dev, PROGRAM_REDUCE, KERNEL_SUM_ALL);
    fdit_launch_tensor(&l, a->out);
    fdit_launch_memory(&l, cl->workspace, 0);
    fdit_launch_int(&l, (int)parts);
    fdit_launch_run(&l, 1, (size_t[]){ l.group }, (size_t[]){ l.group });
}

void fdit_opencl_clip_scale(fdit_device *dev, const struct fdit_clip_scale_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_REDUCE, KERNEL_CLIP_SCALE);
    fdit_launch_tensor(&l, a->scale);
    fdit_launch_tensor(&l, a->norm);
    fdit_launch_tensor(&l, a->partial);
    fdit_launch_int(&l, a->n);
    fdit_launch_float(&l, a->max_norm);
    fdit_launch_int(&l, fdit_has(a->norm));
    fdit_launch_run(&l, 1, (size_t[]){ l.group }, (size_t[]){ l.group });
}

/* --------------------------------------------------------------------------------------- norm */

void fdit_opencl_norm(fdit_device *dev, const struct fdit_norm_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_NORM, KERNEL_NORM);
    fdit_launch_tensor(&l, a->y);
    fdit_launch_tensor(&l, a->x);
    fdit_launch_tensor(&l, a->weight);
    fdit_launch_tensor(&l, a->bias);
    fdit_launch_tensor(&l, a->shift);
    fdit_launch_tensor(&l, a->scale);
    fdit_launch_tensor(&l, a->xhat);
    fdit_launch_tensor(&l, a->rstd);
    fdit_launch_int(&l, a->tokens);
    fdit_launch_int(&l, a->width);
    fdit_launch_int(&l, a->mod_stride);
    fdit_launch_uint(&l, BIT(fdit_has(a->weight), NORM_WEIGHT) | BIT(fdit_has(a->scale), NORM_MOD) |
                             BIT(fdit_has(a->y), NORM_Y) | BIT(fdit_has(a->xhat), NORM_XHAT) |
                             BIT(fdit_has(a->rstd), NORM_RSTD));
    fdit_launch_run(&l, 1, (size_t[]){ product(a->samples, a->tokens) * l.group }, (size_t[]){ l.group });
}

void fdit_opencl_modulate(fdit_device *dev, const struct fdit_modulate_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_NORM, KERNEL_MODULATE);
    fdit_launch_tensor(&l, a->y);
    fdit_launch_tensor(&l, a->xhat);
    fdit_launch_tensor(&l, a->weight);
    fdit_launch_tensor(&l, a->bias);
    fdit_launch_tensor(&l, a->shift);
    fdit_launch_tensor(&l, a->scale);
    fdit_launch_int(&l, a->tokens);
    fdit_launch_int(&l, a->width);
    fdit_launch_int(&l, a->mod_stride);
    fdit_launch_uint(&l, BIT(fdit_has(a->weight), NORM_WEIGHT) | BIT(fdit_has(a->scale), NORM_MOD));
    fdit_launch_run(&l, 1, (size_t[]){ product(a->samples, a->tokens) * l.group }, (size_t[]){ l.group });
}

static void norm_dx(fdit_device *dev, const struct fdit_norm_backward_args *a, unsigned flags)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_NORM, KERNEL_NORM_DX);
    fdit_launch_tensor(&l, a->dx);
    fdit_launch_tensor(&l, a->dy);
    fdit_launch_tensor(&l, a->xhat);
    fdit_launch_tensor(&l, a->rstd);
    fdit_launch_tensor(&l, a->weight);
    fdit_launch_tensor(&l, a->scale);
    fdit_launch_int(&l, a->tokens);
    fdit_launch_int(&l, a->width);
    fdit_launch_int(&l, a->mod_stride);
    fdit_launch_uint(&l, flags | BIT(a->accumulate, NORM_ACCUMULATE));
    fdit_launch_run(&l, 1, (size_t[]){ product(a->samples, a->tokens) * l.group }, (size_t[]){ l.group });
}

/* The sums over a sample's rows of dy and dy xhat, to the workspace; then what is made of them. */
static void norm_dvectors(fdit_device *dev, const struct fdit_norm_backward_args *a, unsigned flags)
{
    cl_mem work = opencl_of(dev)->workspace;
    size_t products = product(a->samples, a->width), width = (size_t)a->width;
    run_sums(dev, &(struct sums){ .sum = work,
                                  .product = work,
                                  .product_at = products,
                                  .p = a->dy.buffer->handle,
                                  .p_at = a->dy.offset,
                                  .q = a->xhat.buffer->handle,
                                  .q_at = a->xhat.offset,
                                  .M = a->samples * a->tokens,
                                  .rows = a->tokens,
                                  .width = a->width,
                                  .sum_stride = a->width,
                                  .product_stride = a->width,
                                  .alpha = 1 });
    struct launch l = fdit_launch_begin(dev, PROGRAM_NORM, KERNEL_NORM_DVECTORS);
    fdit_launch_tensor(&l, a->dshift);
    fdit_launch_tensor(&l, a->dscale);
    fdit_launch_tensor(&l, a->dweight);
    fdit_launch_tensor(&l, a->dbias);
    fdit_launch_memory(&l, work, 0);
    fdit_launch_memory(&l, work, products);
    fdit_launch_tensor(&l, a->weight);
    fdit_launch_tensor(&l, a->bias);
    fdit_launch_tensor(&l, a->scale);
    fdit_launch_int(&l, a->samples);
    fdit_launch_int(&l, a->width);
    fdit_launch_int(&l, a->dmod_stride);
    fdit_launch_int(&l, a->mod_stride);
    fdit_launch_int(&l, a->beta);
    fdit_launch_uint(&l, flags | BIT(fdit_has(a->dshift), NORM_WANT_DMOD) |
                             BIT(fdit_has(a->dweight), NORM_WANT_DPARAM));
    fdit_launch_run(&l, 1, (size_t[]){ width }, (size_t[]){ l.group });
}

void fdit_opencl_norm_backward(fdit_device *dev, const struct fdit_norm_backward_args *a)
{
    unsigned flags = BIT(fdit_has(a->weight), NORM_WEIGHT) | BIT(fdit_has(a->scale), NORM_MOD);
    if (fdit_has(a->dshift) || fdit_has(a->dweight))
        norm_dvectors(dev, a, flags);
    if (fdit_has(a->dx))
        norm_dx(dev, a, flags);
}

/* ------------------------------------------------------------------------------- element-wise */

static void run_gate(fdit_device *dev, struct fdit_tensor y, struct fdit_tensor residual,
                     struct fdit_tensor branch, struct fdit_tensor gate, int samples, int rows, int width,
                     int gate_stride)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_POINTWISE, KERNEL_GATE);
    fdit_launch_tensor(&l, y);
    fdit_launch_tensor(&l, residual);
    fdit_launch_tensor(&l, branch);
    fdit_launch_tensor(&l, gate);
    fdit_launch_int(&l, rows);
    fdit_launch_int(&l, width);
    fdit_launch_int(&l, gate_stride);
    fdit_launch_uint(&l, BIT(fdit_has(residual), GATE_RESIDUAL));
    fdit_launch_run(&l, 2, (size_t[]){ (size_t)width, product(samples, rows) }, (size_t[]){ l.group, 1 });
}

void fdit_opencl_gate(fdit_device *dev, const struct fdit_gate_args *a)
{
    run_gate(dev, a->y, a->residual, a->branch, a->gate, a->samples, a->tokens, a->width, a->gate_stride);
}

/* dgate first: dbranch may overwrite branch. */
void fdit_opencl_gate_backward(fdit_device *dev, const struct fdit_gate_backward_args *a)
{
    if (fdit_has(a->dgate))
        run_sums(dev, &(struct sums){ .product = a->dgate.buffer->handle,
                                      .product_at = a->dgate.offset,
                                      .p = a->dy.buffer->handle,
                                      .p_at = a->dy.offset,
                                      .q = a->branch.buffer->handle,
                                      .q_at = a->branch.offset,
                                      .M = a->samples * a->tokens,
                                      .rows = a->tokens,
                                      .width = a->width,
                                      .product_stride = a->dgate_stride,
                                      .alpha = 1 });
    if (fdit_has(a->dbranch))
        run_gate(dev, a->dbranch, FDIT_NO_TENSOR, a->dy, a->gate, a->samples, a->tokens, a->width,
                 a->gate_stride);
}

void fdit_opencl_activation(fdit_device *dev, const struct fdit_activation_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_POINTWISE, KERNEL_ACTIVATION);
    fdit_launch_tensor(&l, a->y);
    fdit_launch_tensor(&l, a->x);
    fdit_launch_size(&l, a->n);
    fdit_launch_uint(&l, (unsigned)a->act);
    fdit_launch_run(&l, 1, (size_t[]){ a->n }, (size_t[]){ l.group });
}

void fdit_opencl_convert(fdit_device *dev, struct fdit_tensor to, struct fdit_tensor from, size_t n)
{
    struct launch l =
        fdit_launch_begin(dev, PROGRAM_POINTWISE, to.type == FDIT_BF16 ? KERNEL_TO_BF16 : KERNEL_FROM_BF16);
    fdit_launch_tensor(&l, to);
    fdit_launch_tensor(&l, from);
    fdit_launch_size(&l, n);
    fdit_launch_run(&l, 1, (size_t[]){ n }, (size_t[]){ l.group });
}

void fdit_opencl_activation_backward(fdit_device *dev, const struct fdit_activation_backward_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_POINTWISE, KERNEL_ACTIVATION_BACKWARD);
    fdit_launch_tensor(&l, a->dx);
    fdit_launch_tensor(&l, a->dy);
    fdit_launch_tensor(&l, a->x);
    fdit_launch_size(&l, a->n);
    fdit_launch_uint(&l, (unsigned)a->act);
    fdit_launch_run(&l, 1, (size_t[]){ a->n }, (size_t[]){ l.group });
}

void fdit_opencl_axpy(fdit_device *dev, const struct fdit_axpy_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_POINTWISE, KERNEL_AXPY);
    fdit_launch_tensor(&l, a->y);
    fdit_launch_tensor(&l, a->x);
    fdit_launch_size(&l, a->n);
    fdit_launch_float(&l, a->alpha);
    fdit_launch_int(&l, a->beta);
    fdit_launch_run(&l, 1, (size_t[]){ a->n }, (size_t[]){ l.group });
}

void fdit_opencl_gather(fdit_device *dev, const struct fdit_gather_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_POINTWISE, KERNEL_GATHER);
    fdit_launch_tensor(&l, a->y);
    fdit_launch_tensor(&l, a->table);
    fdit_launch_tensor(&l, a->index);
    fdit_launch_int(&l, a->table_rows);
    fdit_launch_int(&l, a->width);
    fdit_launch_int(&l, a->beta);
    fdit_launch_run(&l, 2, (size_t[]){ (size_t)a->width, (size_t)a->samples }, (size_t[]){ l.group, 1 });
}

void fdit_opencl_scatter_add(fdit_device *dev, const struct fdit_scatter_add_args *a)
{
    if (!a->beta)
        fdit_opencl_fill(dev, a->dtable, product(a->table_rows, a->width), 0);
    struct launch l = fdit_launch_begin(dev, PROGRAM_POINTWISE, KERNEL_SCATTER_ADD);
    fdit_launch_tensor(&l, a->dtable);
    fdit_launch_tensor(&l, a->dy);
    fdit_launch_tensor(&l, a->index);
    fdit_launch_int(&l, a->samples);
    fdit_launch_int(&l, a->table_rows);
    fdit_launch_int(&l, a->width);
    fdit_launch_run(&l, 2, (size_t[]){ (size_t)a->width, (size_t)a->samples }, (size_t[]){ l.group, 1 });
}

void fdit_opencl_copy_columns(fdit_device *dev, const struct fdit_copy_columns_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_POINTWISE, KERNEL_COPY_COLUMNS);
    fdit_launch_tensor(&l, a->y);
    fdit_launch_tensor(&l, a->x);
    fdit_launch_int(&l, a->n);
    fdit_launch_int(&l, a->width);
    fdit_launch_int(&l, a->first);
    fdit_launch_run(&l, 2, (size_t[]){ (size_t)a->n, (size_t)a->m }, (size_t[]){ l.group, 1 });
}

static void run_patchify(fdit_device *dev, const struct fdit_patchify_args *a, bool back)
{
    int n = a->channels * a->size * a->size;
    struct launch l = fdit_launch_begin(dev, PROGRAM_POINTWISE, KERNEL_PATCHIFY);
    fdit_launch_tensor(&l, back ? a->image : a->tokens);
    fdit_launch_tensor(&l, back ? a->tokens : a->image);
    fdit_launch_int(&l, n);
    fdit_launch_int(&l, a->channels);
    fdit_launch_int(&l, a->size);
    fdit_launch_int(&l, a->patch);
    fdit_launch_int(&l, a->order == FDIT_PATCH_CHANNEL_LAST);
    fdit_launch_int(&l, back);
    fdit_launch_run(&l, 2, (size_t[]){ (size_t)n, (size_t)a->samples }, (size_t[]){ l.group, 1 });
}

void fdit_opencl_patchify(fdit_device *dev, const struct fdit_patchify_args *a)
{
    run_patchify(dev, a, false);
}

void fdit_opencl_unpatchify(fdit_device *dev, const struct fdit_patchify_args *a)
{
    run_patchify(dev, a, true);
}

void fdit_opencl_qk_norm(fdit_device *dev, const struct fdit_qk_norm_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_POINTWISE, KERNEL_QK_NORM);
    const size_t heads = 3 * product(a->samples, a->tokens) * (size_t)a->heads;
    fdit_launch_tensor(&l, a->y);
    fdit_launch_tensor(&l, a->x);
    fdit_launch_tensor(&l, a->q_weight);
    fdit_launch_tensor(&l, a->q_bias);
    fdit_launch_tensor(&l, a->k_weight);
    fdit_launch_tensor(&l, a->k_bias);
    fdit_launch_tensor(&l, a->xhat);
    fdit_launch_tensor(&l, a->rstd);
    fdit_launch_int(&l, fdit_has(a->xhat));
    fdit_launch_int(&l, fdit_has(a->rstd));
    fdit_launch_int(&l, a->heads);
    fdit_launch_int(&l, a->head_size);
    fdit_launch_size(&l, heads);
    fdit_launch_run(&l, 1, (size_t[]){ heads }, (size_t[]){ l.group });
}

void fdit_opencl_qk_norm_backward(fdit_device *dev, const struct fdit_qk_norm_backward_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_POINTWISE, KERNEL_QK_NORM_BACKWARD);
    const size_t parts = 3 * product(a->samples, a->tokens);
    fdit_launch_tensor(&l, a->dx);
    fdit_launch_tensor(&l, a->dy);
    fdit_launch_tensor(&l, a->dq_weight);
    fdit_launch_tensor(&l, a->dq_bias);
    fdit_launch_tensor(&l, a->dk_weight);
    fdit_launch_tensor(&l, a->dk_bias);
    fdit_launch_tensor(&l, a->xhat);
    fdit_launch_tensor(&l, a->rstd);
    fdit_launch_tensor(&l, a->q_weight);
    fdit_launch_tensor(&l, a->k_weight);
    fdit_launch_int(&l, a->heads);
    fdit_launch_int(&l, a->head_size);
    fdit_launch_size(&l, parts);
    fdit_launch_run(&l, 1, (size_t[]){ parts }, (size_t[]){ l.group });
}

void fdit_opencl_token_mean_backward(fdit_device *dev, const struct fdit_token_mean_backward_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_POINTWISE, KERNEL_TOKEN_MEAN_BACKWARD);
    fdit_launch_tensor(&l, a->dx);
    fdit_launch_tensor(&l, a->dy);
    fdit_launch_int(&l, a->tokens);
    fdit_launch_int(&l, a->width);
    fdit_launch_run(&l, 2, (size_t[]){ (size_t)a->width, product(a->samples, a->tokens) },
                    (size_t[]){ l.group, 1 });
}

void fdit_opencl_diffuse(fdit_device *dev, const struct fdit_diffuse_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_POINTWISE, KERNEL_DIFFUSE);
    fdit_launch_tensor(&l, a->xt);
    fdit_launch_tensor(&l, a->x0);
    fdit_launch_tensor(&l, a->noise);
    fdit_launch_tensor(&l, a->coef);
    fdit_launch_size(&l, a->n);
    fdit_launch_run(&l, 2, (size_t[]){ a->n, (size_t)a->samples }, (size_t[]){ l.group, 1 });
}

void fdit_opencl_adamw(fdit_device *dev, const struct fdit_adamw_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_OPTIMISER, KERNEL_ADAMW);
    fdit_launch_tensor(&l, a->p);
    fdit_launch_tensor(&l, a->g);
    fdit_launch_tensor(&l, a->m);
    fdit_launch_tensor(&l, a->v);
    fdit_launch_tensor(&l, a->ema);
    fdit_launch_tensor(&l, a->scale);
    fdit_launch_size(&l, a->n);
    fdit_launch_float(&l, a->decay);
    fdit_launch_float(&l, (float)a->beta1);
    fdit_launch_float(&l, (float)(1 - a->beta1));
    fdit_launch_float(&l, (float)a->beta2);
    fdit_launch_float(&l, (float)(1 - a->beta2));
    fdit_launch_float(&l, a->eps);
    fdit_launch_float(&l, a->lr_bias1);
    fdit_launch_float(&l, a->inv_sqrt_bias2);
    fdit_launch_float(&l, (float)a->ema_decay);
    fdit_launch_float(&l, (float)(1 - a->ema_decay));
    fdit_launch_int(&l, fdit_has(a->ema));
    fdit_launch_int(&l, fdit_has(a->scale));
    fdit_launch_run(&l, 1, (size_t[]){ a->n }, (size_t[]){ l.group });
}

void fdit_opencl_lion(fdit_device *dev, const struct fdit_lion_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_OPTIMISER, KERNEL_LION);
    fdit_launch_tensor(&l, a->p);
    fdit_launch_tensor(&l, a->g);
    fdit_launch_tensor(&l, a->m);
    fdit_launch_tensor(&l, a->ema);
    fdit_launch_tensor(&l, a->scale);
    fdit_launch_size(&l, a->n);
    fdit_launch_float(&l, a->lr);
    fdit_launch_float(&l, a->decay);
    fdit_launch_float(&l, (float)a->beta1);
    fdit_launch_float(&l, (float)(1 - a->beta1));
    fdit_launch_float(&l, (float)a->beta2);
    fdit_launch_float(&l, (float)(1 - a->beta2));
    fdit_launch_float(&l, (float)a->ema_decay);
    fdit_launch_float(&l, (float)(1 - a->ema_decay));
    fdit_launch_int(&l, fdit_has(a->ema));
    fdit_launch_int(&l, fdit_has(a->scale));
    fdit_launch_run(&l, 1, (size_t[]){ a->n }, (size_t[]){ l.group });
}
