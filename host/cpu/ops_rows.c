/* SPDX-License-Identifier: Apache-2.0
 * ops_rows.c: ops over rows of D elements, and sums over rows. */
#include "cpu/op_kernels.h"
#include "cpu/ops.h"

#include "core/mem.h"

/* Rows of a sample that one piece of norm_backward and gate_backward adds up. */
#define ROW_CHUNK 32
/* column_sum cuts its M rows into at most so many pieces, of at least ROW_CHUNK rows. */
#define SUM_PIECES 128
/* Columns that one piece of a combining pass works on. */
#define COLUMN_BLOCK 128

static size_t chunks_of(int rows)
{
    return ((size_t)rows + ROW_CHUNK - 1) / ROW_CHUNK;
}

static size_t blocks_of(size_t width)
{
    return (width + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
}

static size_t sum_chunk(size_t m)
{
    size_t chunk = (m + SUM_PIECES - 1) / SUM_PIECES;
    return chunk < ROW_CHUNK ? ROW_CHUNK : chunk;
}

static size_t column_sum_bytes(size_t m, size_t n)
{
    size_t pieces = (m + ROW_CHUNK - 1) / ROW_CHUNK;
    return (pieces < SUM_PIECES ? pieces : SUM_PIECES) * n * sizeof(float);
}

static size_t positive(int n)
{
    return n > 0 ? (size_t)n : 1;
}

size_t fdit_cpu_rows_workspace(const struct fdit_op_shape *shape)
{
    const size_t samples = positive(shape->samples), width = positive(shape->n_out);
    const int rows = shape->tokens > 0 ? shape->tokens : 1;
    switch (shape->op) {
    case FDIT_OP_COLUMN_SUM: return column_sum_bytes(samples * (size_t)rows, width);
    case FDIT_OP_NORM_BACKWARD: return samples * chunks_of(rows) * 2 * width * sizeof(float);
    case FDIT_OP_GATE_BACKWARD: return samples * chunks_of(rows) * width * sizeof(float);
    default: return 0;
    }
}

struct column_sum {
    const struct fdit_column_sum_args *a;
    size_t chunk, pieces; /* rows of a piece */
    float *partial;       /* [pieces, n] */
};

static void column_sum_rows(const struct fdit_cpu *cpu, const void *job, size_t first, size_t last,
                            int thread)
{
    const struct column_sum *s = job;
    const size_t m = (size_t)s->a->m, n = (size_t)s->a->n;
    const float *dy = fdit_cpu_f32(s->a->dy);
    (void)thread;
    for (size_t p = first; p < last; p++) {
        size_t begin = p * s->chunk, end = begin + s->chunk < m ? begin + s->chunk : m;
        cpu->op->sum_rows(s->partial + p * n, dy + begin * n, (int)(end - begin), n, n);
    }
}

static void column_sum_columns(const struct fdit_cpu *cpu, const void *job, size_t first, size_t last,
                               int thread)
{
    const struct column_sum *s = job;
    const size_t n = (size_t)s->a->n;
    float *db = fdit_cpu_f32(s->a->db);
    (void)thread;
    for (size_t c = first * COLUMN_BLOCK; c < last * COLUMN_BLOCK; c += COLUMN_BLOCK) {
        float sum[COLUMN_BLOCK];
        size_t columns = n - c < COLUMN_BLOCK ? n - c : COLUMN_BLOCK;
        cpu->op->sum_rows(sum, s->partial + c, (int)s->pieces, n, columns);
        for (size_t i = 0; i < columns; i++)
            db[c + i] = s->a->beta ? db[c + i] + sum[i] : sum[i];
    }
}

void fdit_cpu_column_sum(fdit_device *dev, const struct fdit_column_sum_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    const size_t m = (size_t)a->m, n = (size_t)a->n, chunk = sum_chunk(m);
    const struct column_sum s = {
        .a = a,
        .chunk = chunk,
        .pieces = (m + chunk - 1) / chunk,
        .partial = fdit_cpu_scratch(dev, FDIT_OP_COLUMN_SUM, column_sum_bytes(m, n)),
    };
    if (!s.partial)
        return;
    fdit_cpu_range(cpu, s.pieces, m * n, column_sum_rows, &s);
    fdit_cpu_range(cpu, blocks_of(n), s.pieces * n, column_sum_columns, &s);
}

static void norm_rows(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct fdit_norm_args *a = job;
    const size_t rows = (size_t)a->tokens, width = (size_t)a->width, stride = (size_t)a->mod_stride;
    float *y = fdit_cpu_f32(a->y), *xhat = fdit_cpu_f32(a->xhat), *rstd = fdit_cpu_f32(a->rstd);
    const float *x = fdit_cpu_f32(a->x), *weight = fdit_cpu_f32(a->weight);
    const float *bias = fdit_cpu_f32(a->bias);
    const float *shift = fdit_cpu_f32(a->shift), *scale = fdit_cpu_f32(a->scale);
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t at = i * width, mod = i / rows * stride;
        const struct fdit_cpu_norm_row row = {
            .y = y ? y + at : NULL,
            .xhat = xhat ? xhat + at : NULL,
            .rstd = rstd ? rstd + i : NULL,
            .x = x + at,
            .weight = weight,
            .bias = bias,
            .shift = shift ? shift + mod : NULL,
            .scale = scale ? scale + mod : NULL,
        };
        cpu->op->norm(&row, a->width);
    }
}

void fdit_cpu_norm(fdit_device *dev, const struct fdit_norm_args *a)
{
    const size_t m = (size_t)a->samples * (size_t)a->tokens;
    fdit_cpu_range(fdit_cpu_of(dev), m, m * (size_t)a->width, norm_rows, a);
}

static void modulate_rows(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct fdit_modulate_args *a = job;
    const size_t rows = (size_t)a->tokens, width = (size_t)a->width, stride = (size_t)a->mod_stride;
    float *y = fdit_cpu_f32(a->y);
    const float *xhat = fdit_cpu_f32(a->xhat), *weight = fdit_cpu_f32(a->weight);
    const float *bias = fdit_cpu_f32(a->bias);
    const float *shift = fdit_cpu_f32(a->shift), *scale = fdit_cpu_f32(a->scale);
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t mod = i / rows * stride;
        const struct fdit_cpu_norm_row row = {
            .y = y + i * width,
            .weight = weight,
            .bias = bias,
            .shift = shift ? shift + mod : NULL,
            .scale = scale ? scale + mod : NULL,
        };
        cpu->op->modulate(&row, xhat + i * width, a->width);
    }
}

void fdit_cpu_modulate(fdit_device *dev, const struct fdit_modulate_args *a)
{
    const size_t m = (size_t)a->samples * (size_t)a->tokens;
    fdit_cpu_range(fdit_cpu_of(dev), m, m * (size_t)a->width, modulate_rows, a);
}

struct norm_backward {
    const struct fdit_norm_backward_args *a;
    float *partial; /* [B, chunks, (dy, dy xhat), D]; NULL: no sums are wanted */
};

/* For `columns` columns from c on: adds up the pieces of each sample, and the samples. */
static void norm_backward_block(const struct fdit_cpu *cpu, const struct fdit_norm_backward_args *a,
                                const float *partial, size_t c, size_t columns)
{
    const size_t width = (size_t)a->width, chunks = chunks_of(a->tokens);
    float *dshift = fdit_cpu_f32(a->dshift), *dscale = fdit_cpu_f32(a->dscale);
    float *dweight = fdit_cpu_f32(a->dweight), *dbias = fdit_cpu_f32(a->dbias);
    const float *weight = fdit_cpu_f32(a->weight), *bias = fdit_cpu_f32(a->bias);
    const float *scale = fdit_cpu_f32(a->scale);
    float sum[COLUMN_BLOCK], sum_x[COLUMN_BLOCK];
    float dw[COLUMN_BLOCK] = { 0 }, db[COLUMN_BLOCK] = { 0 };
    for (size_t b = 0; b < (size_t)a->samples; b++) {
        const float *p = partial + b * chunks * 2 * width + c;
        cpu->op->sum_rows(sum, p, (int)chunks, 2 * width, columns);
        cpu->op->sum_rows(sum_x, p + width, (int)chunks, 2 * width, columns);
        if (dshift) {
            float *to = dshift + b * (size_t)a->dmod_stride + c;
            for (size_t i = 0; i < columns; i++)
                to[i] = sum[i];
        }
        if (dscale) {
            float *to = dscale + b * (size_t)a->dmod_stride + c;
            for (size_t i = 0; i < columns; i++)
                to[i] = weight ? weight[c + i] * sum_x[i] + bias[c + i] * sum[i] : sum_x[i];
        }
        for (size_t i = 0; i < columns; i++) {
            float s = scale ? 1.0f + scale[b * (size_t)a->mod_stride + c + i] : 1.0f;
            dw[i] += s * sum_x[i];
            db[i] += s * sum[i];
        }
    }
    for (size_t i = 0; dweight && i < columns; i++)
        dweight[c + i] = a->beta ? dweight[c + i] + dw[i] : dw[i];
    for (size_t i = 0; dbias && i < columns; i++)
        dbias[c + i] = a->beta ? dbias[c + i] + db[i] : db[i];
}

static void norm_backward_columns(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end,
                                  int thread)
{
    const struct norm_backward *n = job;
    const size_t width = (size_t)n->a->width;
    (void)thread;
    for (size_t c = begin * COLUMN_BLOCK; c < end * COLUMN_BLOCK; c += COLUMN_BLOCK)
        norm_backward_block(cpu, n->a, n->partial, c, width - c < COLUMN_BLOCK ? width - c : COLUMN_BLOCK);
}

static void norm_backward_rows(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end,
                               int thread)
{
    const struct norm_backward *n = job;
    const struct fdit_norm_backward_args *a = n->a;
    const size_t rows = (size_t)a->tokens, width = (size_t)a->width, chunks = chunks_of(a->tokens);
    float *dx = fdit_cpu_f32(a->dx), *partial = n->partial;
    const float *dy = fdit_cpu_f32(a->dy), *xhat = fdit_cpu_f32(a->xhat);
    const float *rstd = fdit_cpu_f32(a->rstd), *weight = fdit_cpu_f32(a->weight);
    const float *scale = fdit_cpu_f32(a->scale);
    (void)thread;
    for (size_t p = begin; p < end; p++) {
        const size_t b = p / chunks, row = p % chunks * ROW_CHUNK, at = b * rows + row;
        const struct fdit_cpu_norm_backward_rows piece = {
            .rows = (int)(rows - row < ROW_CHUNK ? rows - row : ROW_CHUNK),
            .width = a->width,
            .dx = dx ? dx + at * width : NULL,
            .accumulate = a->accumulate,
            .dy = dy + at * width,
            .xhat = xhat + at * width,
            .rstd = rstd ? rstd + at : NULL,
            .weight = weight,
            .scale = scale ? scale + b * (size_t)a->mod_stride : NULL,
            .sum_dy = partial ? partial + p * 2 * width : NULL,
            .sum_dy_xhat = partial ? partial + p * 2 * width + width : NULL,
        };
        cpu->op->norm_backward(&piece);
    }
}

void fdit_cpu_norm_backward(fdit_device *dev, const struct fdit_norm_backward_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    const size_t rows = (size_t)a->tokens, samples = (size_t)a->samples, width = (size_t)a->width;
    const size_t pieces = samples * chunks_of(a->tokens);
    const bool sums =
        fdit_has(a->dshift) || fdit_has(a->dscale) || fdit_has(a->dweight) || fdit_has(a->dbias);
    struct norm_backward n = { .a = a };
    if (sums) {
        n.partial = fdit_cpu_scratch(dev, FDIT_OP_NORM_BACKWARD, pieces * 2 * width * sizeof(float));
        if (!n.partial)
            return;
    }
    fdit_cpu_range(cpu, pieces, samples * rows * width, norm_backward_rows, &n);
    if (sums)
        fdit_cpu_range(cpu, blocks_of(width), pieces * 2 * width, norm_backward_columns, &n);
}

static void gate_rows(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct fdit_gate_args *a = job;
    const size_t rows = (size_t)a->tokens, width = (size_t)a->width;
    float *y = fdit_cpu_f32(a->y);
    const float *residual = fdit_cpu_f32(a->residual), *branch = fdit_cpu_f32(a->branch);
    const float *gate = fdit_cpu_f32(a->gate);
    (void)thread;
    for (size_t i = begin; i < end; i++)
        cpu->op->gate(y + i * width, residual ? residual + i * width : NULL, branch + i * width,
                      gate + i / rows * (size_t)a->gate_stride, width);
}

void fdit_cpu_gate(fdit_device *dev, const struct fdit_gate_args *a)
{
    const size_t m = (size_t)a->samples * (size_t)a->tokens;
    fdit_cpu_range(fdit_cpu_of(dev), m, m * (size_t)a->width, gate_rows, a);
}

struct gate_backward {
    const struct fdit_gate_backward_args *a;
    float *partial; /* [B, chunks, D]; NULL: dgate is not wanted */
};

static void gate_backward_rows(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end,
                               int thread)
{
    const struct gate_backward *g = job;
    const struct fdit_gate_backward_args *a = g->a;
    const size_t rows = (size_t)a->tokens, width = (size_t)a->width, chunks = chunks_of(a->tokens);
    float *dbranch = fdit_cpu_f32(a->dbranch);
    const float *dy = fdit_cpu_f32(a->dy), *branch = fdit_cpu_f32(a->branch);
    const float *gate = fdit_cpu_f32(a->gate);
    (void)thread;
    for (size_t p = begin; p < end; p++) {
        const size_t b = p / chunks, row = p % chunks * ROW_CHUNK, at = (b * rows + row) * width;
        cpu->op->gate_backward(dbranch ? dbranch + at : NULL, g->partial ? g->partial + p * width : NULL,
                               dy + at, branch ? branch + at : NULL,
                               gate ? gate + b * (size_t)a->gate_stride : NULL,
                               (int)(rows - row < ROW_CHUNK ? rows - row : ROW_CHUNK), a->width);
    }
}

static void gate_backward_columns(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end,
                                  int thread)
{
    const struct gate_backward *g = job;
    const size_t width = (size_t)g->a->width, chunks = chunks_of(g->a->tokens), blocks = blocks_of(width);
    float *dgate = fdit_cpu_f32(g->a->dgate);
    (void)thread;
    for (size_t p = begin; p < end; p++) {
        const size_t b = p / blocks, c = p % blocks * COLUMN_BLOCK;
        cpu->op->sum_rows(dgate + b * (size_t)g->a->dgate_stride + c, g->partial + b * chunks * width + c,
                          (int)chunks, width, width - c < COLUMN_BLOCK ? width - c : COLUMN_BLOCK);
    }
}

void fdit_cpu_gate_backward(fdit_device *dev, const struct fdit_gate_backward_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    const size_t rows = (size_t)a->tokens, samples = (size_t)a->samples, width = (size_t)a->width;
    const size_t pieces = samples * chunks_of(a->tokens);
    struct gate_backward g = { .a = a };
    if (fdit_has(a->dgate)) {
        g.partial = fdit_cpu_scratch(dev, FDIT_OP_GATE_BACKWARD, pieces * width * sizeof(float));
        if (!g.partial)
            return;
    }
    fdit_cpu_range(cpu, pieces, samples * rows * width, gate_backward_rows, &g);
    if (g.partial)
        fdit_cpu_range(cpu, samples * blocks_of(width), pieces * width, gate_backward_columns, &g);
}

static void token_mean_blocks(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end,
                              int thread)
{
    const struct fdit_token_mean_args *a = job;
    const size_t rows = (size_t)a->tokens, width = (size_t)a->width, blocks = blocks_of(width);
    float *y = fdit_cpu_f32(a->y);
    const float *x = fdit_cpu_f32(a->x);
    (void)thread;
    for (size_t p = begin; p < end; p++) {
        const size_t b = p / blocks, c = p % blocks * COLUMN_BLOCK;
        const size_t columns = width - c < COLUMN_BLOCK ? width - c : COLUMN_BLOCK;
        float part[COLUMN_BLOCK], sum[COLUMN_BLOCK] = { 0 };
        for (size_t row = 0; row < rows; row += ROW_CHUNK) {
            cpu->op->sum_rows(part, x + (b * rows + row) * width + c,
                              (int)(rows - row < ROW_CHUNK ? rows - row : ROW_CHUNK), width, columns);
            for (size_t i = 0; i < columns; i++)
                sum[i] += part[i];
        }
        for (size_t i = 0; i < columns; i++)
            y[b * width + c + i] = sum[i] / (float)rows;
    }
}

void fdit_cpu_token_mean(fdit_device *dev, const struct fdit_token_mean_args *a)
{
    const size_t samples = (size_t)a->samples, width = (size_t)a->width;
    fdit_cpu_range(fdit_cpu_of(dev), samples * blocks_of(width), samples * (size_t)a->tokens * width,
                   token_mean_blocks, a);
}

static void token_mean_backward_rows(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end,
                                     int thread)
{
    const struct fdit_token_mean_backward_args *a = job;
    const size_t rows = (size_t)a->tokens, width = (size_t)a->width;
    float *dx = fdit_cpu_f32(a->dx);
    const float *dy = fdit_cpu_f32(a->dy);
    (void)cpu;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const float *from = dy + i / rows * width;
        for (size_t c = 0; c < width; c++)
            dx[i * width + c] = from[c] / (float)rows;
    }
}

void fdit_cpu_token_mean_backward(fdit_device *dev, const struct fdit_token_mean_backward_args *a)
{
    const size_t m = (size_t)a->samples * (size_t)a->tokens;
    fdit_cpu_range(fdit_cpu_of(dev), m, m * (size_t)a->width, token_mean_backward_rows, a);
}
