/* SPDX-License-Identifier: Apache-2.0 */
#include "train/replica_rows.h"

#include "core/finite.h"
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
    int size, rank;  /* processes, and which of them this is */
    size_t each;     /* rows of every process that travel at once when all do */
    size_t *begins;  /* [size + 1] where those of each begin among */
    int32_t *sorted; /* [most] rows that are fetched, by who keeps them; and */
    size_t *numbers; /* [size] how many numbers those of each are */
    size_t room;     /* rows of `values`: most, or what the whole table travels in */
    float *values;   /* [room][d] of rows on their way */
    size_t own_room; /* rows of `mine` */
    float *mine;     /* [own_room][d] those from here */
    float *sent;     /* [count][batch][d] gradients */
    float *given;    /* [1 + most_step * d]: a factor, and */
    float *sums;     /* [most_step][d] behind it */
    float *received; /* [members][batch][d]; of the first process */
};

struct fdit_model_share fdit_replica_rows_share_of(const struct fdit_exchange *x, int table_rows)
{
    const int size = x && x->add ? fdit_exchange_size(x) : 1;
    if (size == 1)
        return (struct fdit_model_share){ 0 };
    const int rank = fdit_exchange_rank(x);
    const size_t rows = (size_t)table_rows, first = fdit_replica_rows_first(rows, size, rank);
    return (struct fdit_model_share){ .some = true,
                                      .others = rank == 0,
                                      .first = first,
                                      .rows = fdit_replica_rows_first(rows, size, rank + 1) - first };
}

static bool updates(const struct fdit_replica_rows *s)
{
    return s->x->first == 0;
}

size_t fdit_replica_rows_bytes(const struct fdit_replica_rows *s)
{
    if (!s)
        return 0;
    const size_t count = (size_t)s->x->count, members = (size_t)s->x->members, row = s->d * sizeof(float);
    const size_t numbers = (count + members) * s->batch + s->n_rows + s->most_step + s->most;
    return numbers * sizeof(int32_t) + (2 * (size_t)s->size + 1) * sizeof(size_t) + sizeof(float) +
           (s->room + s->own_room + count * s->batch + s->most_step + (updates(s) ? members * s->batch : 0)) *
               row;
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
    s->size = fdit_exchange_size(x);
    s->rank = fdit_exchange_rank(x);
    s->room = fdit_least(BLOCK / s->d, s->n_rows);
    s->room = s->room > s->most ? s->room : s->most;
    s->room = s->room > (size_t)s->size ? s->room : (size_t)s->size;
    s->each = s->room / (size_t)s->size;
    const size_t kept = fdit_replica_rows_first(s->n_rows, s->size, s->rank + 1) -
                        fdit_replica_rows_first(s->n_rows, s->size, s->rank);
    s->own_room = fdit_least(s->most, kept);
    s->own_room = s->own_room > s->each ? s->own_room : s->each;
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
    TRY(fdit_alloc(ctx, (size_t)s->size + 1, sizeof *s->begins, &s->begins));
    TRY(fdit_alloc(ctx, (size_t)s->size, sizeof *s->numbers, &s->numbers));
    TRY(fdit_alloc(ctx, s->most, sizeof *s->sorted, &s->sorted));
    TRY(fdit_alloc(ctx, s->own_room * s->d, sizeof *s->mine, &s->mine));
    TRY(fdit_alloc(ctx, own * s->d, sizeof *s->sent, &s->sent));
    TRY(fdit_alloc(ctx, 1 + s->most_step * s->d, sizeof *s->given, &s->given));
    s->sums = s->given + 1;
    if (updates(s))
        TRY(fdit_alloc(ctx, all * s->d, sizeof *s->received, &s->received));
    for (size_t i = 0; i < s->n_rows; i++)
        s->slot[i] = -1;
out:
    return status;
}

void fdit_replica_rows_free(struct fdit_replica_rows *s)
{
    if (!s)
        return;
    void *blocks[] = { s->own,    s->all,  s->slot, s->step,  s->begins,   s->sorted, s->numbers,
                       s->values, s->mine, s->sent, s->given, s->received, s };
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
        memset(s->sums + s->n_step * s->d, 0, s->d * sizeof *s->sums);
        s->slot[row] = (int32_t)s->n_step;
        s->step[s->n_step++] = row;
    }
out:
    return status;
}

static size_t first_of(const struct fdit_replica_rows *s, int q)
{
    return fdit_replica_rows_first(s->n_rows, s->size, q);
}

/* Who keeps a row: the last of whom the first row is not behind it. */
static int keeper_of(const struct fdit_replica_rows *s, size_t row)
{
    return (int)(row * (size_t)s->size / s->n_rows);
}

/* s->sorted, s->begins and s->numbers of rows [n]. */
static void sort_rows(struct fdit_replica_rows *s, const int32_t *rows, size_t n)
{
    const size_t size = (size_t)s->size;
    memset(s->begins, 0, (size + 1) * sizeof *s->begins);
    for (size_t k = 0; k < n; k++)
        s->begins[keeper_of(s, (size_t)rows[k]) + 1]++;
    for (size_t q = 0; q < size; q++) {
        s->numbers[q] = s->begins[q + 1] * s->d;
        s->begins[q + 1] += s->begins[q];
    }
    for (size_t k = n; k-- > 0;) /* from the end of each, which becomes its beginning */
        s->sorted[--s->begins[keeper_of(s, (size_t)rows[k]) + 1]] = rows[k];
    memmove(s->begins, s->begins + 1, size * sizeof *s->begins);
    s->begins[size] = n;
}

/* The present values of rows [n] to all devices but those that have them. */
static enum fdit_status spread_rows(fdit_context *ctx, struct fdit_replica_rows *s,
                                    struct fdit_model *const *models, const int32_t *rows, size_t n)
{
    enum fdit_status status = FDIT_OK;
    sort_rows(s, rows, n);
    const size_t begin = s->begins[s->rank], end = s->begins[s->rank + 1];
    for (size_t k = begin; k < end; k++)
        TRY(fdit_read(ctx, models[0]->dev, row_of(s, values_of(s, models[0]), (size_t)s->sorted[k]),
                      s->mine + (k - begin) * s->d, s->d));
    TRY(s->x->spread(ctx, s->x, s->mine, s->numbers, s->values));
    for (int i = 0; i < s->x->count; i++) {
        for (size_t k = 0; k < n; k++)
            if (i || k < begin || k >= end)
                fdit_write(models[i]->dev, row_of(s, values_of(s, models[i]), (size_t)s->sorted[k]),
                           s->values + k * s->d, s->d);
        TRY(fdit_device_status(ctx, models[i]->dev));
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
    if (s->x->members > 1 && s->n_step > before)
        TRY(spread_rows(ctx, s, models, s->step + before, s->n_step - before));
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
            if (!fdit_all_finite(gradient, s->d))
                s->x->spoilt[member] = true;
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

enum fdit_status fdit_replica_rows_give(fdit_context *ctx, struct fdit_replica_rows *s,
                                        struct fdit_model *model, float *scale)
{
    enum fdit_status status = FDIT_OK;
    s->given[0] = *scale;
    TRY(s->x->share(ctx, s->x, s->given, 1 + s->n_step * s->d));
    *scale = s->given[0];
    for (size_t k = 0; k < s->n_step && !updates(s); k++)
        if (keeper_of(s, (size_t)s->step[k]) == s->rank)
            fdit_write(model->dev, row_of(s, model->params.groups[s->group].grad, (size_t)s->step[k]),
                       s->sums + k * s->d, s->d);
    status = fdit_device_status(ctx, model->dev);
out:
    return status;
}

/* ------------------------------------------------------------------ moments and averages */

static fdit_buffer *set_of(const struct fdit_replica_rows *s, const struct fdit_model *m, int set)
{
    return fdit_group_set(&m->params.groups[s->group], m->options.moments, set);
}

int fdit_replica_rows_set(const struct fdit_replica_rows *s, const struct fdit_model *m,
                          const fdit_buffer *part)
{
    int set = 0;
    while (set + 1 < fdit_group_sets(m->options.moments) && set_of(s, m, set) != part)
        set++;
    return set;
}

enum fdit_status fdit_replica_rows_gather(fdit_context *ctx, struct fdit_replica_rows *s,
                                          struct fdit_model *m, int set, fdit_buffer *whole)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_group *group = &m->params.groups[s->group];
    fdit_buffer *part = set_of(s, m, set);
    const size_t from = part == group->value ? group->first : 0; /* which has all rows, in their places */
    const size_t most = first_of(s, 1);
    for (size_t at = 0; at < most; at += s->each) {
        const size_t n = fdit_least(s->each, most - at), own = group->kept / s->d;
        if (at < own)
            TRY(fdit_read(ctx, m->dev, (struct fdit_tensor){ part, from + at * s->d, FDIT_F32 }, s->mine,
                          fdit_least(n, own - at) * s->d));
        TRY(s->x->collect(ctx, s->x, s->mine, n * s->d, s->values));
        for (int q = 0; whole && q < s->size; q++) {
            const size_t first = first_of(s, q) + at, end = first_of(s, q + 1);
            if (first < end)
                fdit_write(m->dev, row_of(s, whole, first), s->values + (size_t)q * n * s->d,
                           fdit_least(n, end - first) * s->d);
        }
    }
    status = fdit_device_status(ctx, m->dev);
out:
    return status;
}

/* Whether a run keeps the set, on whatever process. */
static bool has_set(const struct fdit_model *m, int set)
{
    return set == 1 || set < 2 + m->options.moments || m->options.profiles;
}

enum fdit_status fdit_replica_rows_deal(fdit_context *ctx, struct fdit_replica_rows *s, struct fdit_model *m,
                                        fdit_replica_rows_read read, void *user)
{
    enum fdit_status status = FDIT_OK;
    for (int set = 1; set < fdit_group_sets(m->options.moments); set++)
        for (size_t row = 0; has_set(m, set) && row < s->n_rows; row += s->room) {
            const size_t n = fdit_least(s->room, s->n_rows - row) * s->d;
            if (updates(s))
                TRY(read(ctx, user, set, row * s->d, n, s->values));
            TRY(s->x->share(ctx, s->x, s->values, n));
            fdit_group_write_part(m->dev, &m->params.groups[s->group], set_of(s, m, set),
                                  s->offset + row * s->d, s->values, n);
            TRY(fdit_device_status(ctx, m->dev));
        }
out:
    return status;
}
