/* SPDX-License-Identifier: Apache-2.0 */
#include "train/replica_rows.h"

#include "core/mem.h"

#include <string.h>

enum { BLOCK = 1 << 18 /* numbers of the table that travel at once when all of it does: 1 MiB */ };

struct fdit_replica_rows {
    struct fdit_exchange *x;
    int group;                /* of the class table */
    size_t offset, d, n_rows; /* where it begins there, its width and rows */
    size_t batch;             /* rows of a device in a micro-batch, with what fills them up */
    size_t most, most_step;   /* different rows of a micro-batch on all devices, and of a step */
    int32_t *own, *all;       /* [count][batch], [members][batch]; -1: no more */
    int32_t *slot;            /* [n_rows] place among the step's rows, -1: none */
    int32_t *step;            /* [most_step] the step's rows, in the order in which they came */
    size_t n_step;
    size_t room;   /* rows of `values`: most, or what the whole table travels in at the beginning */
    float *values; /* [room][d] of rows on their way */
    float *sent;   /* [count][batch][d] gradients */
    /* of the process with the optimiser */
    float *received; /* [members][batch][d] */
    float *sums;     /* [most_step][d] */
};

static bool updates(const struct fdit_replica_rows *s)
{
    return s->x->first == 0;
}

size_t fdit_replica_rows_bytes(const struct fdit_replica_rows *s)
{
    if (!s)
        return 0;
    const size_t count = (size_t)s->x->count, members = (size_t)s->x->members, row = s->d * sizeof(float);
    const size_t numbers = (count + members) * s->batch + s->n_rows + s->most_step;
    return numbers * sizeof(int32_t) + (s->room + count * s->batch) * row +
           (updates(s) ? (members * s->batch + s->most_step) * row : 0);
}

enum fdit_status fdit_replica_rows_new(fdit_context *ctx, const struct fdit_model *model, int micros,
                                       struct fdit_exchange *x, struct fdit_replica_rows **out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_param *table = model->params.ends.table;
    struct fdit_replica_rows *s = NULL;
    *out = NULL;
    if (!table || !table->trained)
        return FDIT_OK;
    TRY(fdit_alloc(ctx, 1, sizeof *s, &s));
    s->x = x;
    s->group = table->group;
    s->offset = table->offset;
    s->d = (size_t)model->config.width;
    s->n_rows = (size_t)model->config.table_rows;
    s->batch = (size_t)model->options.batch;
    s->most = fdit_least((size_t)x->members * s->batch, s->n_rows);
    s->most_step = fdit_least((size_t)micros * (size_t)x->members * s->batch, s->n_rows);
    s->room = fdit_least(BLOCK / s->d, s->n_rows);
    s->room = s->room > s->most ? s->room : s->most;
    *out = s;
out:
    return status;
}

enum fdit_status fdit_replica_rows_allocate(fdit_context *ctx, struct fdit_replica_rows *s)
{
    enum fdit_status status = FDIT_OK;
    const size_t own = (size_t)s->x->count * s->batch, all = (size_t)s->x->members * s->batch;
    TRY(fdit_alloc(ctx, own, sizeof *s->own, &s->own));
    TRY(fdit_alloc(ctx, all, sizeof *s->all, &s->all));
    TRY(fdit_alloc(ctx, s->n_rows, sizeof *s->slot, &s->slot));
    TRY(fdit_alloc(ctx, s->most_step, sizeof *s->step, &s->step));
    TRY(fdit_alloc(ctx, s->room * s->d, sizeof *s->values, &s->values));
    TRY(fdit_alloc(ctx, own * s->d, sizeof *s->sent, &s->sent));
    if (updates(s)) {
        TRY(fdit_alloc(ctx, all * s->d, sizeof *s->received, &s->received));
        TRY(fdit_alloc(ctx, s->most_step * s->d, sizeof *s->sums, &s->sums));
    }
    for (size_t i = 0; i < s->n_rows; i++)
        s->slot[i] = -1;
out:
    return status;
}

void fdit_replica_rows_free(struct fdit_replica_rows *s)
{
    if (!s)
        return;
    void *blocks[] = { s->own, s->all, s->slot, s->step, s->values, s->sent, s->received, s->sums, s };
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        fdit_free(blocks[i]);
}

int fdit_replica_rows_group(const struct fdit_replica_rows *s)
{
    return s ? s->group : -1;
}

/* ------------------------------------------------------------------ values */

static struct fdit_tensor row_of(const struct fdit_replica_rows *s, fdit_buffer *buffer, size_t row)
{
    return (struct fdit_tensor){ buffer, s->offset + row * s->d, FDIT_F32 };
}

static fdit_buffer *values_of(const struct fdit_replica_rows *s, const struct fdit_model *m)
{
    return m->params.groups[s->group].value;
}

enum fdit_status fdit_replica_rows_share(fdit_context *ctx, struct fdit_replica_rows *s,
                                         struct fdit_model *const *models)
{
    enum fdit_status status = FDIT_OK;
    for (size_t row = 0; row < s->n_rows; row += s->room) {
        size_t n = fdit_least(s->room, s->n_rows - row) * s->d;
        if (updates(s))
            TRY(fdit_read(ctx, models[0]->dev, row_of(s, values_of(s, models[0]), row), s->values, n));
        TRY(s->x->share(ctx, s->x, s->values, n));
        for (int i = updates(s) ? 1 : 0; i < s->x->count; i++) {
            fdit_write(models[i]->dev, row_of(s, values_of(s, models[i]), row), s->values, n);
            TRY(fdit_device_status(ctx, models[i]->dev));
        }
    }
out:
    return status;
}

/* Who needs which rows; those that are new in this step join s->step. */
static enum fdit_status meet(fdit_context *ctx, struct fdit_replica_rows *s, const int32_t *rows, int samples)
{
    enum fdit_status status = FDIT_OK;
    const size_t each = (size_t)samples / (size_t)s->x->count;
    for (size_t i = 0; i < (size_t)s->x->count; i++)
        for (size_t k = 0; k < s->batch; k++)
            s->own[i * s->batch + k] = k < each ? rows[i * each + k] : -1;
    TRY(s->x->meet(ctx, s->x, s->own, s->batch, s->all));
    for (size_t k = 0; k < (size_t)s->x->members * s->batch; k++) {
        const int32_t row = s->all[k];
        if (row < 0 || s->slot[row] >= 0)
            continue;
        if (updates(s))
            memset(s->sums + s->n_step * s->d, 0, s->d * sizeof *s->sums);
        s->slot[row] = (int32_t)s->n_step;
        s->step[s->n_step++] = row;
    }
out:
    return status;
}

enum fdit_status fdit_replica_rows_fetch(fdit_context *ctx, struct fdit_replica_rows *s,
                                         struct fdit_model *const *models, const int32_t *rows, int samples,
                                         bool begins)
{
    enum fdit_status status = FDIT_OK;
    if (begins) {
        for (size_t k = 0; k < s->n_step; k++)
            s->slot[s->step[k]] = -1;
        s->n_step = 0;
    }
    const size_t before = s->n_step;
    TRY(meet(ctx, s, rows, samples));
    const size_t n = s->n_step - before;
    const int32_t *come = s->step + before;
    for (size_t k = 0; updates(s) && k < n; k++)
        TRY(fdit_read(ctx, models[0]->dev, row_of(s, values_of(s, models[0]), (size_t)come[k]),
                      s->values + k * s->d, s->d));
    if (n)
        TRY(s->x->share(ctx, s->x, s->values, n * s->d));
    for (int i = updates(s) ? 1 : 0; i < s->x->count; i++) {
        for (size_t k = 0; k < n; k++)
            fdit_write(models[i]->dev, row_of(s, values_of(s, models[i]), (size_t)come[k]),
                       s->values + k * s->d, s->d);
        TRY(fdit_device_status(ctx, models[i]->dev));
    }
out:
    return status;
}

/* ------------------------------------------------------------------ gradients */

/* Whether rows [k] stood before among the rows of its shard, whose gradient of it is one sum. */
static bool repeats(const int32_t *rows, size_t k)
{
    for (size_t i = 0; i < k; i++)
        if (rows[i] == rows[k])
            return true;
    return false;
}

enum fdit_status fdit_replica_rows_read_one(fdit_context *ctx, struct fdit_replica_rows *s,
                                            struct fdit_model *model, int i)
{
    enum fdit_status status = FDIT_OK;
    const int32_t *rows = s->own + (size_t)i * s->batch;
    float *out = s->sent + (size_t)i * s->batch * s->d;
    for (size_t k = 0; k < s->batch && rows[k] >= 0; k++)
        if (!repeats(rows, k))
            TRY(fdit_read(ctx, model->dev, row_of(s, model->params.groups[s->group].grad, (size_t)rows[k]),
                          out + k * s->d, s->d));
out:
    return status;
}

enum fdit_status fdit_replica_rows_add(fdit_context *ctx, struct fdit_replica_rows *s)
{
    enum fdit_status status = FDIT_OK;
    TRY(s->x->bring(ctx, s->x, s->sent, s->batch * s->d, s->received));
    for (size_t member = 0; updates(s) && member < (size_t)s->x->members; member++) {
        const int32_t *rows = s->all + member * s->batch;
        for (size_t k = 0; k < s->batch && rows[k] >= 0; k++) {
            const float *gradient = s->received + (member * s->batch + k) * s->d;
            float *sum = s->sums + (size_t)s->slot[rows[k]] * s->d;
            if (repeats(rows, k))
                continue;
            for (size_t j = 0; j < s->d; j++)
                sum[j] += gradient[j];
        }
    }
out:
    return status;
}

void fdit_replica_rows_write(struct fdit_replica_rows *s, struct fdit_model *first)
{
    for (size_t k = 0; k < s->n_step; k++)
        fdit_write(first->dev, row_of(s, first->params.groups[s->group].grad, (size_t)s->step[k]),
                   s->sums + k * s->d, s->d);
}
