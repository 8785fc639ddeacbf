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
    struct launch l = launch_begin(dev, PROGRAM_REDUCE, KERNEL_COLUMN_SUMS);
    cl_mem dummy = opencl_of(dev)->dummy;
    launch_memory(&l, s->sum ? s->sum : dummy, s->sum_at);
    launch_memory(&l, s->product ? s->product : dummy, s->product_at);
    launch_memory(&l, s->p, s->p_at);
    launch_memory(&l, s->q ? s->q : dummy, s->q_at);
    launch_int(&l, s->M);
    launch_int(&l, s->rows);
    launch_int(&l, s->width);
    launch_int(&l, s->sum_stride);
    launch_int(&l, s->product_stride);
    launch_float(&l, s->alpha);
    launch_uint(&l, BIT(s->sum, SUMS_SUM) | BIT(s->product, SUMS_PRODUCT) | BIT(s->beta, SUMS_BETA));
    size_t parts = ((size_t)s->M + (size_t)s->rows - 1) / (size_t)s->rows;
    size_t columns = l.group < 32 ? l.group : 32, slices = l.group / columns;
    launch_run(&l, 2, (size_t[]){ (size_t)s->width, parts * slices }, (size_t[]){ columns, slices });
}

/* Blocks of SUM_ROWS rows to the workspace, then the blocks; the blocks depend on m alone. */
void opencl_column_sum(fdit_device *dev, const struct fdit_column_sum_args *a)
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

void opencl_token_mean(fdit_device *dev, const struct fdit_token_mean_args *a)
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

void opencl_sum_squares(fdit_device *dev, const struct fdit_sum_squares_args *a)
{
    struct opencl *cl = opencl_of(dev);
    /* The parts depend on n alone; one of them is at least 4096 numbers. */
    size_t least = 4096, parts = (a->n + least - 1) / least;
    if (parts > SUM_PARTS)
        parts = SUM_PARTS;
    size_t chunk = (a->n + parts - 1) / parts;
    struct launch l = launch_begin(dev, PROGRAM_REDUCE, KERNEL_SUM_SQUARES);
    launch_memory(&l, cl->workspace, 0);
    launch_tensor(&l, a->x);
    launch_size(&l, a->n);
    launch_size(&l, chunk);
    launch_run(&l, 1, (size_t[]){ parts * l.group }, (size_t[]){ l.group });
    l = launch_begin(dev, PROGRAM_REDUCE, KERNEL_SUM_ALL);
    launch_tensor(&l, a->out);
    launch_memory(&l, cl->workspace, 0);
    launch_int(&l, (int)parts);
    launch_run(&l, 1, (size_t[]){ l.group }, (size_t[]){ l.group });
}

void opencl_clip_scale(fdit_device *dev, const struct fdit_clip_scale_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_REDUCE, KERNEL_CLIP_SCALE);
    launch_tensor(&l, a->scale);
    launch_tensor(&l, a->norm);
    launch_tensor(&l, a->partial);
    launch_int(&l, a->n);
    launch_float(&l, a->max_norm);
    launch_int(&l, fdit_has(a->norm));
    launch_run(&l, 1, (size_t[]){ l.group }, (size_t[]){ l.group });
}

/* --------------------------------------------------------------------------------------- norm */

void opencl_norm(fdit_device *dev, const struct fdit_norm_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_NORM, KERNEL_NORM);
    launch_tensor(&l, a->y);
    launch_tensor(&l, a->x);
    launch_tensor(&l, a->weight);
    launch_tensor(&l, a->bias);
    launch_tensor(&l, a->shift);
    launch_tensor(&l, a->scale);
    launch_tensor(&l, a->xhat);
    launch_tensor(&l, a->rstd);
    launch_int(&l, a->tokens);
    launch_int(&l, a->width);
    launch_int(&l, a->mod_stride);
    launch_uint(&l, BIT(fdit_has(a->weight), NORM_WEIGHT) | BIT(fdit_has(a->scale), NORM_MOD) |
                        BIT(fdit_has(a->y), NORM_Y) | BIT(fdit_has(a->xhat), NORM_XHAT) |
                        BIT(fdit_has(a->rstd), NORM_RSTD));
    launch_run(&l, 1, (size_t[]){ product(a->samples, a->tokens) * l.group }, (size_t[]){ l.group });
}

void opencl_modulate(fdit_device *dev, const struct fdit_modulate_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_NORM, KERNEL_MODULATE);
    launch_tensor(&l, a->y);
    launch_tensor(&l, a->xhat);
    launch_tensor(&l, a->weight);
    launch_tensor(&l, a->bias);
    launch_tensor(&l, a->shift);
    launch_tensor(&l, a->scale);
    launch_int(&l, a->tokens);
    launch_int(&l, a->width);
    launch_int(&l, a->mod_stride);
    launch_uint(&l, BIT(fdit_has(a->weight), NORM_WEIGHT) | BIT(fdit_has(a->scale), NORM_MOD));
    launch_run(&l, 1, (size_t[]){ product(a->samples, a->tokens) * l.group }, (size_t[]){ l.group });
}

static void norm_dx(fdit_device *dev, const struct fdit_norm_backward_args *a, unsigned flags)
{
    struct launch l = launch_begin(dev, PROGRAM_NORM, KERNEL_NORM_DX);
    launch_tensor(&l, a->dx);
    launch_tensor(&l, a->dy);
    launch_tensor(&l, a->xhat);
    launch_tensor(&l, a->rstd);
    launch_tensor(&l, a->weight);
    launch_tensor(&l, a->scale);
    launch_int(&l, a->tokens);
    launch_int(&l, a->width);
    launch_int(&l, a->mod_stride);
    launch_uint(&l, flags | BIT(a->accumulate, NORM_ACCUMULATE));
    launch_run(&l, 1, (size_t[]){ product(a->samples, a->tokens) * l.group }, (size_t[]){ l.group });
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
    struct launch l = launch_begin(dev, PROGRAM_NORM, KERNEL_NORM_DVECTORS);
    launch_tensor(&l, a->dshift);
    launch_tensor(&l, a->dscale);
    launch_tensor(&l, a->dweight);
    launch_tensor(&l, a->dbias);
    launch_memory(&l, work, 0);
    launch_memory(&l, work, products);
    launch_tensor(&l, a->weight);
    launch_tensor(&l, a->bias);
    launch_tensor(&l, a->scale);
    launch_int(&l, a->samples);
    launch_int(&l, a->width);
    launch_int(&l, a->dmod_stride);
    launch_int(&l, a->mod_stride);
    launch_int(&l, a->beta);
    launch_uint(&l, flags | BIT(fdit_has(a->dshift), NORM_WANT_DMOD) |
                        BIT(fdit_has(a->dweight), NORM_WANT_DPARAM));
    launch_run(&l, 1, (size_t[]){ width }, (size_t[]){ l.group });
}

void opencl_norm_backward(fdit_device *dev, const struct fdit_norm_backward_args *a)
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
    struct launch l = launch_begin(dev, PROGRAM_POINTWISE, KERNEL_GATE);
    launch_tensor(&l, y);
    launch_tensor(&l, residual);
    launch_tensor(&l, branch);
    launch_tensor(&l, gate);
    launch_int(&l, rows);
    launch_int(&l, width);
    launch_int(&l, gate_stride);
    launch_uint(&l, BIT(fdit_has(residual), GATE_RESIDUAL));
    launch_run(&l, 2, (size_t[]){ (size_t)width, product(samples, rows) }, (size_t[]){ l.group, 1 });
}

void opencl_gate(fdit_device *dev, const struct fdit_gate_args *a)
{
    run_gate(dev, a->y, a->residual, a->branch, a->gate, a->samples, a->tokens, a->width, a->gate_stride);
}

/* dgate first: dbranch may overwrite branch. */
void opencl_gate_backward(fdit_device *dev, const struct fdit_gate_backward_args *a)
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

void opencl_activation(fdit_device *dev, const struct fdit_activation_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_POINTWISE, KERNEL_ACTIVATION);
    launch_tensor(&l, a->y);
    launch_tensor(&l, a->x);
    launch_size(&l, a->n);
    launch_uint(&l, (unsigned)a->act);
    launch_run(&l, 1, (size_t[]){ a->n }, (size_t[]){ l.group });
}

void opencl_convert(fdit_device *dev, struct fdit_tensor to, struct fdit_tensor from, size_t n)
{
    struct launch l =
        launch_begin(dev, PROGRAM_POINTWISE, to.type == FDIT_BF16 ? KERNEL_TO_BF16 : KERNEL_FROM_BF16);
    launch_tensor(&l, to);
    launch_tensor(&l, from);
    launch_size(&l, n);
    launch_run(&l, 1, (size_t[]){ n }, (size_t[]){ l.group });
}

void opencl_activation_backward(fdit_device *dev, const struct fdit_activation_backward_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_POINTWISE, KERNEL_ACTIVATION_BACKWARD);
    launch_tensor(&l, a->dx);
    launch_tensor(&l, a->dy);
    launch_tensor(&l, a->x);
    launch_size(&l, a->n);
    launch_uint(&l, (unsigned)a->act);
    launch_run(&l, 1, (size_t[]){ a->n }, (size_t[]){ l.group });
}

void opencl_axpy(fdit_device *dev, const struct fdit_axpy_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_POINTWISE, KERNEL_AXPY);
    launch_tensor(&l, a->y);
    launch_tensor(&l, a->x);
    launch_size(&l, a->n);
    launch_float(&l, a->alpha);
    launch_int(&l, a->beta);
    launch_run(&l, 1, (size_t[]){ a->n }, (size_t[]){ l.group });
}

void opencl_gather(fdit_device *dev, const struct fdit_gather_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_POINTWISE, KERNEL_GATHER);
    launch_tensor(&l, a->y);
    launch_tensor(&l, a->table);
    launch_tensor(&l, a->index);
    launch_int(&l, a->table_rows);
    launch_int(&l, a->width);
    launch_int(&l, a->beta);
    launch_run(&l, 2, (size_t[]){ (size_t)a->width, (size_t)a->samples }, (size_t[]){ l.group, 1 });
}

void opencl_scatter_add(fdit_device *dev, const struct fdit_scatter_add_args *a)
{
    if (!a->beta)
        opencl_fill(dev, a->dtable, product(a->table_rows, a->width), 0);
    struct launch l = launch_begin(dev, PROGRAM_POINTWISE, KERNEL_SCATTER_ADD);
    launch_tensor(&l, a->dtable);
    launch_tensor(&l, a->dy);
    launch_tensor(&l, a->index);
    launch_int(&l, a->samples);
    launch_int(&l, a->table_rows);
    launch_int(&l, a->width);
    launch_run(&l, 2, (size_t[]){ (size_t)a->width, (size_t)a->samples }, (size_t[]){ l.group, 1 });
}

void opencl_copy_columns(fdit_device *dev, const struct fdit_copy_columns_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_POINTWISE, KERNEL_COPY_COLUMNS);
    launch_tensor(&l, a->y);
    launch_tensor(&l, a->x);
    launch_int(&l, a->n);
    launch_int(&l, a->width);
    launch_int(&l, a->first);
    launch_run(&l, 2, (size_t[]){ (size_t)a->n, (size_t)a->m }, (size_t[]){ l.group, 1 });
}

static void run_patchify(fdit_device *dev, const struct fdit_patchify_args *a, bool back)
{
    int n = a->channels * a->size * a->size;
    struct launch l = launch_begin(dev, PROGRAM_POINTWISE, KERNEL_PATCHIFY);
    launch_tensor(&l, back ? a->image : a->tokens);
    launch_tensor(&l, back ? a->tokens : a->image);
    launch_int(&l, n);
    launch_int(&l, a->channels);
    launch_int(&l, a->size);
    launch_int(&l, a->patch);
    launch_int(&l, a->order == FDIT_PATCH_CHANNEL_LAST);
    launch_int(&l, back);
    launch_run(&l, 2, (size_t[]){ (size_t)n, (size_t)a->samples }, (size_t[]){ l.group, 1 });
}

void opencl_patchify(fdit_device *dev, const struct fdit_patchify_args *a)
{
    run_patchify(dev, a, false);
}

void opencl_unpatchify(fdit_device *dev, const struct fdit_patchify_args *a)
{
    run_patchify(dev, a, true);
}

void opencl_qk_norm(fdit_device *dev, const struct fdit_qk_norm_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_POINTWISE, KERNEL_QK_NORM);
    const size_t heads = 3 * product(a->samples, a->tokens) * (size_t)a->heads;
    launch_tensor(&l, a->y);
    launch_tensor(&l, a->x);
    launch_tensor(&l, a->q_weight);
    launch_tensor(&l, a->q_bias);
    launch_tensor(&l, a->k_weight);
    launch_tensor(&l, a->k_bias);
    launch_tensor(&l, a->xhat);
    launch_tensor(&l, a->rstd);
    launch_int(&l, fdit_has(a->xhat));
    launch_int(&l, fdit_has(a->rstd));
    launch_int(&l, a->heads);
    launch_int(&l, a->head_size);
    launch_size(&l, heads);
    launch_run(&l, 1, (size_t[]){ heads }, (size_t[]){ l.group });
}

void opencl_qk_norm_backward(fdit_device *dev, const struct fdit_qk_norm_backward_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_POINTWISE, KERNEL_QK_NORM_BACKWARD);
    const size_t parts = 3 * product(a->samples, a->tokens);
    launch_tensor(&l, a->dx);
    launch_tensor(&l, a->dy);
    launch_tensor(&l, a->dq_weight);
    launch_tensor(&l, a->dq_bias);
    launch_tensor(&l, a->dk_weight);
    launch_tensor(&l, a->dk_bias);
    launch_tensor(&l, a->xhat);
    launch_tensor(&l, a->rstd);
    launch_tensor(&l, a->q_weight);
    launch_tensor(&l, a->k_weight);
    launch_int(&l, a->heads);
    launch_int(&l, a->head_size);
    launch_size(&l, parts);
    launch_run(&l, 1, (size_t[]){ parts }, (size_t[]){ l.group });
}

void opencl_token_mean_backward(fdit_device *dev, const struct fdit_token_mean_backward_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_POINTWISE, KERNEL_TOKEN_MEAN_BACKWARD);
    launch_tensor(&l, a->dx);
    launch_tensor(&l, a->dy);
    launch_int(&l, a->tokens);
    launch_int(&l, a->width);
    launch_run(&l, 2, (size_t[]){ (size_t)a->width, product(a->samples, a->tokens) },
               (size_t[]){ l.group, 1 });
}

void opencl_diffuse(fdit_device *dev, const struct fdit_diffuse_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_POINTWISE, KERNEL_DIFFUSE);
    launch_tensor(&l, a->xt);
    launch_tensor(&l, a->x0);
    launch_tensor(&l, a->noise);
    launch_tensor(&l, a->coef);
    launch_size(&l, a->n);
    launch_run(&l, 2, (size_t[]){ a->n, (size_t)a->samples }, (size_t[]){ l.group, 1 });
}

void opencl_adamw(fdit_device *dev, const struct fdit_adamw_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_OPTIMISER, KERNEL_ADAMW);
    launch_tensor(&l, a->p);
    launch_tensor(&l, a->g);
    launch_tensor(&l, a->m);
    launch_tensor(&l, a->v);
    launch_tensor(&l, a->ema);
    launch_tensor(&l, a->scale);
    launch_size(&l, a->n);
    launch_float(&l, a->decay);
    launch_float(&l, (float)a->beta1);
    launch_float(&l, (float)(1 - a->beta1));
    launch_float(&l, (float)a->beta2);
    launch_float(&l, (float)(1 - a->beta2));
    launch_float(&l, a->eps);
    launch_float(&l, a->lr_bias1);
    launch_float(&l, a->inv_sqrt_bias2);
    launch_float(&l, (float)a->ema_decay);
    launch_float(&l, (float)(1 - a->ema_decay));
    launch_int(&l, fdit_has(a->ema));
    launch_int(&l, fdit_has(a->scale));
    launch_run(&l, 1, (size_t[]){ a->n }, (size_t[]){ l.group });
}

void opencl_lion(fdit_device *dev, const struct fdit_lion_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_OPTIMISER, KERNEL_LION);
    launch_tensor(&l, a->p);
    launch_tensor(&l, a->g);
    launch_tensor(&l, a->m);
    launch_tensor(&l, a->ema);
    launch_tensor(&l, a->scale);
    launch_size(&l, a->n);
    launch_float(&l, a->lr);
    launch_float(&l, a->decay);
    launch_float(&l, (float)a->beta1);
    launch_float(&l, (float)(1 - a->beta1));
    launch_float(&l, (float)a->beta2);
    launch_float(&l, (float)(1 - a->beta2));
    launch_float(&l, (float)a->ema_decay);
    launch_float(&l, (float)(1 - a->ema_decay));
    launch_int(&l, fdit_has(a->ema));
    launch_int(&l, fdit_has(a->scale));
    launch_run(&l, 1, (size_t[]){ a->n }, (size_t[]){ l.group });
}
