/* SPDX-License-Identifier: Apache-2.0 */
#include "train/replicas.h"

#include "core/mem.h"
#include "core/threads.h"
#include "train/replica_rows.h"

/* Numbers of a report: sums of mse and vb, samples, those of the prior, norm of the gradient. */
enum { REPORT = 7 };

struct fdit_replicas {
    int n;
    struct fdit_model **models;      /* [n]; the first is not ours */
    struct fdit_step **steps;        /* [n]; likewise */
    struct fdit_threads *team;       /* NULL when alone */
    struct fdit_exchange *exchange;  /* NULL when alone */
    struct fdit_exchange *own;       /* the same, where nobody gave one */
    float **vectors;                 /* [n][numbers]: gradients of each device, then values of the first */
    size_t numbers;                  /* of all trained groups, without the table of `rows` */
    struct fdit_replica_rows *rows;  /* NULL: the class table is one group among the others */
    bool shared;                     /* the table has gone to all once */
    struct fdit_step_losses *losses; /* [n]: of the step, but for the optimiser's, which is read later */
    double *report;                  /* [n][REPORT] */
    const struct fdit_micro *micro;  /* of the call in progress */
};

/* Nobody else: no thread, copy or wait. */
static bool alone(const struct fdit_replicas *f)
{
    return f->n == 1 && !f->exchange;
}

/* Whether every micro-batch is handed over by itself (exchange.h, add). */
static bool in_shards(const struct fdit_replicas *f)
{
    return f->exchange && f->exchange->add;
}

/* Whether local device i is the one with the optimiser. */
static bool updates(const struct fdit_replicas *f, int i)
{
    return i == 0 && (!f->exchange || f->exchange->first == 0);
}

int fdit_replicas_size(const struct fdit_replicas *f)
{
    return f->n;
}

bool fdit_replicas_several(const struct fdit_replicas *f)
{
    return !alone(f);
}

struct fdit_model *fdit_replicas_model(struct fdit_replicas *f, int i)
{
    return f->models[i];
}

static enum fdit_status add_replica(fdit_context *ctx, struct fdit_replicas *f, int i, fdit_device *dev,
                                    const struct fdit_objective *objective, int micros)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model_options o = f->models[0]->options;
    o.ema = false;
    o.profiles = false;
    o.moments = 0;
    TRY(fdit_model_new(ctx, dev, &f->models[0]->config, &o, &f->models[i]));
    TRY(fdit_step_new(ctx, f->models[i], objective, micros, &f->steps[i]));
out:
    return status;
}

enum fdit_status fdit_replicas_new(fdit_context *ctx, const struct fdit_devices *devices,
                                   struct fdit_model *first, struct fdit_step *step,
                                   const struct fdit_objective *objective, int micros,
                                   struct fdit_exchange *exchange, struct fdit_replicas **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_replicas *f = NULL;
    int n = devices->n;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *f, &f));
    f->n = n;
    f->exchange = exchange;
    TRY(fdit_alloc(ctx, (size_t)n, sizeof *f->models, &f->models));
    TRY(fdit_alloc(ctx, (size_t)n, sizeof *f->steps, &f->steps));
    TRY(fdit_alloc(ctx, (size_t)n, sizeof *f->vectors, &f->vectors));
    TRY(fdit_alloc(ctx, (size_t)n, sizeof *f->losses, &f->losses));
    TRY(fdit_alloc(ctx, (size_t)n, REPORT * sizeof *f->report, &f->report));
    f->models[0] = first;
    f->steps[0] = step;
    for (int i = 1; i < n; i++)
        TRY(add_replica(ctx, f, i, devices->list[i], objective, micros));
    if (in_shards(f))
        TRY(fdit_replica_rows_new(ctx, first, micros, exchange, &f->rows));
    for (int g = 0; g < first->params.n_groups; g++)
        if (g != fdit_replica_rows_group(f->rows))
            f->numbers += first->params.groups[g].trained; /* with what aligns the tensors */
    if (!alone(f)) {
        size_t bytes;
        if (!fdit_mul((size_t)n * sizeof(float), f->numbers, &bytes))
            bytes = SIZE_MAX;
        if (exchange && exchange->bytes && bytes < SIZE_MAX)
            bytes += exchange->bytes(exchange, f->numbers) + fdit_replica_rows_bytes(f->rows);
        TRY(fdit_plan_add(ctx, &first->plan, FDIT_PLAN_HOST, NULL, bytes, "exchange of gradients"));
    }
    *out = f;
    return FDIT_OK;
out:
    fdit_replicas_free(f);
    return status;
}

void fdit_replicas_free(struct fdit_replicas *f)
{
    if (!f)
        return;
    fdit_exchange_free(f->own);
    fdit_replica_rows_free(f->rows);
    fdit_threads_free(f->team);
    for (int i = 1; i < f->n; i++) {
        if (f->steps)
            fdit_step_free(f->steps[i]);
        if (f->models)
            fdit_model_free(f->models[i]);
    }
    for (int i = 0; f->vectors && i < f->n; i++)
        fdit_free(f->vectors[i]);
    fdit_free(f->vectors);
    fdit_free(f->losses);
    fdit_free(f->report);
    fdit_free(f->models);
    fdit_free(f->steps);
    fdit_free(f);
}

/* Names the device that failed before its message. */
static enum fdit_status blame(fdit_context *ctx, struct fdit_replicas *f, int member, enum fdit_status status)
{
    enum fdit_status found = status;
    const fdit_device *dev = f->models[member]->dev;
    char *message = NULL;
    if (status == FDIT_ERROR_MEMORY || status == FDIT_INTERRUPTED)
        return status;
    TRY(fdit_strdup(ctx, fdit_context_message(ctx), &message));
    status = fdit_fail(ctx, found, "device %s (%s): %s", fdit_device_info(dev)->spec,
                       fdit_device_info(dev)->name, message);
out:
    fdit_free(message);
    return status;
}

static enum fdit_status run_all(fdit_context *ctx, struct fdit_replicas *f, fdit_threads_fn fn)
{
    int member;
    enum fdit_status status = fdit_threads_run(ctx, f->team, fn, f, &member);
    return status == FDIT_OK ? FDIT_OK : blame(ctx, f, member, status);
}

static enum fdit_status allocate_one(fdit_context *ctx, void *user, int i)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_replicas *f = user;
    TRY(fdit_alloc(ctx, f->numbers, sizeof(float), &f->vectors[i]));
    if (i) {
        TRY(fdit_model_allocate(ctx, f->models[i]));
        fdit_step_bind(f->steps[i]);
    }
out:
    return status;
}

enum fdit_status fdit_replicas_allocate(fdit_context *ctx, struct fdit_replicas *f)
{
    enum fdit_status status = FDIT_OK;
    if (alone(f))
        return FDIT_OK;
    TRY(fdit_threads_new(ctx, f->n, &f->team));
    if (!f->exchange)
        TRY(fdit_exchange_local(ctx, f->team, f->n, &f->own));
    f->exchange = f->exchange ? f->exchange : f->own;
    if (f->rows)
        TRY(fdit_replica_rows_allocate(ctx, f->rows));
    TRY(run_all(ctx, f, allocate_one));
out:
    return status;
}

/* ------------------------------------------------------------------ the exchange */

enum direction { READ_GRADIENTS, WRITE_GRADIENTS, READ_VALUES, WRITE_VALUES };

/* All trained groups of model i, but for the table of f->rows, from or to host memory, in the order of the
 * list. */
static enum fdit_status transfer(fdit_context *ctx, const struct fdit_replicas *f, int i, enum direction way,
                                 float *host)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model *m = f->models[i];
    for (int g = 0; g < m->params.n_groups; g++) {
        const struct fdit_group *group = &m->params.groups[g];
        bool gradients = way == READ_GRADIENTS || way == WRITE_GRADIENTS;
        if (!group->trained || g == fdit_replica_rows_group(f->rows))
            continue;
        struct fdit_tensor t = fdit_tensor_of(gradients ? group->grad : group->value, FDIT_F32);
        if (way == READ_GRADIENTS || way == READ_VALUES)
            TRY(fdit_read(ctx, m->dev, t, host, group->trained));
        else
            fdit_write(m->dev, t, host, group->trained);
        host += group->trained;
    }
    status = fdit_device_status(ctx, m->dev);
out:
    return status;
}

static enum fdit_status read_gradients(fdit_context *ctx, void *user, int i)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_replicas *f = user;
    TRY(transfer(ctx, f, i, READ_GRADIENTS, f->vectors[i]));
    if (f->rows)
        TRY(fdit_replica_rows_read_one(ctx, f->rows, f->models[i], i));
out:
    return status;
}

/* What the optimiser needs of local device i. The losses of all but its own device are read here, too:
 * whatever fails on them fails before that one changes. */
static enum fdit_status read_step(fdit_context *ctx, void *user, int i)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_replicas *f = user;
    if (!in_shards(f))
        TRY(read_gradients(ctx, f, i));
    if (!updates(f, i)) {
        fdit_step_report_begin(f->steps[i]);
        TRY(fdit_step_report_end(ctx, f->steps[i], &f->losses[i]));
    }
out:
    return status;
}

static enum fdit_status write_values(fdit_context *ctx, void *user, int i)
{
    struct fdit_replicas *f = user;
    return updates(f, i) ? FDIT_OK : transfer(ctx, f, i, WRITE_VALUES, f->vectors[0]);
}

enum fdit_status fdit_replicas_share(fdit_context *ctx, struct fdit_replicas *f)
{
    enum fdit_status status = FDIT_OK;
    if (alone(f))
        return FDIT_OK;
    if (updates(f, 0))
        status = transfer(ctx, f, 0, READ_VALUES, f->vectors[0]);
    if (status != FDIT_OK)
        return blame(ctx, f, 0, status);
    TRY(f->exchange->share(ctx, f->exchange, f->vectors[0], f->numbers));
    TRY(run_all(ctx, f, write_values));
    if (f->rows && !f->shared)
        TRY(fdit_replica_rows_share(ctx, f->rows, f->models));
    f->shared = true;
out:
    return status;
}

/* ------------------------------------------------------------------ a step */

static enum fdit_status micro_part(fdit_context *ctx, void *user, int i)
{
    struct fdit_replicas *f = user;
    const struct fdit_model_config *c = &f->models[0]->config;
    struct fdit_micro part = *f->micro;
    size_t item = (size_t)c->channels * (size_t)c->input_size * (size_t)c->input_size;
    part.samples /= f->n;
    size_t first = (size_t)i * (size_t)part.samples;
    part.x0 += first * item;
    part.noise = part.noise ? part.noise + first * item : NULL;
    part.t += first;
    part.rows += first;
    part.scales = part.scales ? part.scales + first : NULL;
    part.first = part.first || in_shards(f);
    fdit_step_micro(f->steps[i], &part);
    return fdit_device_status(ctx, f->models[i]->dev);
}

enum fdit_status fdit_replicas_micro(fdit_context *ctx, struct fdit_replicas *f,
                                     const struct fdit_micro *micro)
{
    enum fdit_status status = FDIT_OK;
    if (alone(f)) {
        fdit_step_micro(f->steps[0], micro);
        return FDIT_OK; /* a failure sticks to the device, and the report has it */
    }
    f->micro = micro;
    if (f->rows)
        TRY(fdit_replica_rows_fetch(ctx, f->rows, f->models, micro->rows, micro->prior ? 0 : micro->samples,
                                    micro->first));
    TRY(run_all(ctx, f, micro_part));
    if (in_shards(f)) {
        TRY(run_all(ctx, f, read_gradients));
        TRY(f->exchange->add(ctx, f->exchange, f->vectors, f->numbers, micro->first));
    }
    if (f->rows)
        TRY(fdit_replica_rows_add(ctx, f->rows));
out:
    return status;
}

enum fdit_status fdit_replicas_update(fdit_context *ctx, struct fdit_replicas *f, const struct fdit_update *u)
{
    enum fdit_status status = FDIT_OK;
    if (alone(f)) {
        fdit_step_update(f->steps[0], u);
        return FDIT_OK;
    }
    TRY(run_all(ctx, f, read_step));
    TRY(f->exchange->sum(ctx, f->exchange, f->vectors, f->numbers));
    if (!updates(f, 0))
        goto out;
    TRY(transfer(ctx, f, 0, WRITE_GRADIENTS, f->vectors[0]));
    if (f->rows)
        fdit_replica_rows_write(f->rows, f->models[0]);
    fdit_step_update(f->steps[0], u);
out:
    return status;
}

void fdit_replicas_report_begin(struct fdit_replicas *f)
{
    if (updates(f, 0))
        fdit_step_report_begin(f->steps[0]);
}

enum fdit_status fdit_replicas_report_end(fdit_context *ctx, struct fdit_replicas *f,
                                          struct fdit_step_losses *out)
{
    enum fdit_status status = FDIT_OK;
    if (alone(f))
        return fdit_step_report_end(ctx, f->steps[0], out);
    if (updates(f, 0))
        status = fdit_step_report_end(ctx, f->steps[0], &f->losses[0]);
    if (status != FDIT_OK)
        return blame(ctx, f, 0, status);
    for (int i = 0; i < f->n; i++) {
        const struct fdit_step_losses *l = &f->losses[i];
        double *report = f->report + REPORT * i;
        report[0] = l->mse_sum;
        report[1] = l->vb_sum;
        report[2] = l->samples;
        report[3] = l->prior_mse_sum;
        report[4] = l->prior_vb_sum;
        report[5] = l->prior_samples;
        report[6] = updates(f, i) ? l->gradient_norm : 0; /* of the sum: only one updates */
    }
    TRY(f->exchange->total(ctx, f->exchange, f->report, REPORT));
    const double *sums = f->report;
    *out = (struct fdit_step_losses){ .mse_sum = sums[0],
                                      .vb_sum = sums[1],
                                      .samples = sums[2],
                                      .prior_mse_sum = sums[3],
                                      .prior_vb_sum = sums[4],
                                      .prior_samples = sums[5],
                                      .gradient_norm = sums[6] };
    fdit_step_losses_mean(out);
out:
    return status;
}

/* ------------------------------------------------------------------ other processes */

enum fdit_status fdit_replicas_tell(fdit_context *ctx, struct fdit_replicas *f, void *bytes, size_t n)
{
    return f->exchange && f->exchange->tell ? f->exchange->tell(ctx, f->exchange, bytes, n) : FDIT_OK;
}

enum fdit_status fdit_replicas_agree(fdit_context *ctx, struct fdit_replicas *f, bool *over)
{
    return f->exchange && f->exchange->agree ? f->exchange->agree(ctx, f->exchange, over) : FDIT_OK;
}

struct fdit_exchange_traffic fdit_replicas_traffic(const struct fdit_replicas *f)
{
    return f->exchange && f->exchange->traffic ? f->exchange->traffic(f->exchange)
                                               : (struct fdit_exchange_traffic){ 0 };
}
