/* SPDX-License-Identifier: Apache-2.0 */
#include "train/replicas.h"

#include "core/mem.h"
#include "core/threads.h"
#include "train/overlap.h"

#include <math.h>

/* Numbers of a report: sums of mse and vb, samples, those of the prior, norm of the gradient. */
enum { REPORT = 7 };

/* Numbers of a gradient that go to other processes at once while the pass computes the rest: 256 KiB. Less
 * would cost more in messages than it brings. */
enum { PIECE = 1 << 16 };

struct fdit_replicas {
    int n, micros;
    struct fdit_model **models;       /* [n]; the first is not ours */
    struct fdit_step **steps;         /* [n]; likewise */
    struct fdit_threads *threads;     /* NULL when alone */
    struct fdit_exchange *exchange;   /* NULL when alone */
    struct fdit_exchange *own;        /* the same, where nobody gave one */
    float **vectors;                  /* [n][elements]: gradients of each device, then values of the first */
    struct fdit_vector_layout layout; /* of all trained groups, without the table of `rows` */
    size_t elements;                  /* of it */
    struct fdit_overlap *overlap;     /* of an exchange by shards */
    struct fdit_replica_rows *rows;   /* NULL: the class table is one group among the others */
    bool shared;                      /* the table has gone to all once */
    bool stepping;                    /* processes are in a step, and answer nothing */
    bool asking;                      /* the others answer this one */
    struct fdit_step_losses *losses;  /* [n]: of the step, but for the optimiser's, which is read later */
    double *report;                   /* [n][REPORT] */
    const struct fdit_micro *micro;   /* of the call in progress */
};

/* Nobody else: no thread, copy or wait. */
static bool alone(const struct fdit_replicas *r)
{
    return r->n == 1 && !r->exchange;
}

/* Whether every micro-batch is handed over by itself (exchange.h, add). */
static bool in_shards(const struct fdit_replicas *r)
{
    return r->exchange && r->exchange->add;
}

/* Whether local device i is the one with the optimiser. */
static bool updates(const struct fdit_replicas *r, int i)
{
    return i == 0 && (!r->exchange || r->exchange->first == 0);
}

/* Whether several processes have parts of the class table's moments and averages. */
static bool spread(const struct fdit_replicas *r)
{
    return r->rows && fdit_exchange_size(r->exchange) > 1;
}

int fdit_replicas_size(const struct fdit_replicas *r)
{
    return r->n;
}

bool fdit_replicas_several(const struct fdit_replicas *r)
{
    return !alone(r);
}

struct fdit_model *fdit_replicas_model(struct fdit_replicas *r, int i)
{
    return r->models[i];
}

static enum fdit_status add_replica(fdit_context *ctx, struct fdit_replicas *r, int i, fdit_device *dev,
                                    const struct fdit_objective *objective, int micros)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model_options o = r->models[0]->options;
    const bool learns = fdit_step_learns_guidance(r->steps[0]);
    o.ema = learns; /* a copy of the first one's, which its predictions are made with */
    o.profiles = false;
    o.moments = 0;
    o.share = (struct fdit_model_share){ 0 };
    TRY(fdit_model_new(ctx, dev, &r->models[0]->config, &o, &r->models[i]));
    TRY(fdit_step_new(ctx, r->models[i], objective, micros, &r->steps[i]));
    if (learns)
        TRY(fdit_step_learn_guidance(ctx, r->steps[i]));
out:
    return status;
}

enum fdit_status fdit_replicas_new(fdit_context *ctx, const struct fdit_devices *devices,
                                   struct fdit_model *first, struct fdit_step *step,
                                   const struct fdit_objective *objective, int micros,
                                   struct fdit_exchange *exchange, struct fdit_replicas **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_replicas *r = NULL;
    int n = devices->n;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *r, &r));
    r->n = n;
    r->micros = micros;
    r->exchange = exchange;
    TRY(fdit_alloc(ctx, (size_t)n, sizeof *r->models, &r->models));
    TRY(fdit_alloc(ctx, (size_t)n, sizeof *r->steps, &r->steps));
    TRY(fdit_alloc(ctx, (size_t)n, sizeof *r->vectors, &r->vectors));
    TRY(fdit_alloc(ctx, (size_t)n, sizeof *r->losses, &r->losses));
    TRY(fdit_alloc(ctx, (size_t)n, REPORT * sizeof *r->report, &r->report));
    r->models[0] = first;
    r->steps[0] = step;
    for (int i = 1; i < n; i++)
        TRY(add_replica(ctx, r, i, devices->list[i], objective, micros));
    if (in_shards(r))
        TRY(fdit_replica_rows_new(ctx, first, micros, exchange, &r->rows));
    TRY(fdit_vector_layout_init(ctx, first, fdit_replica_rows_group(r->rows), in_shards(r) ? PIECE : SIZE_MAX,
                                &r->layout));
    r->elements = fdit_vector_layout_length(&r->layout);
    if (exchange)
        TRY(fdit_exchange_cut(ctx, exchange, r->layout.ends, r->layout.pieces));
    if (!alone(r)) {
        size_t bytes;
        if (!fdit_mul((size_t)n * sizeof(float), r->elements, &bytes))
            bytes = SIZE_MAX;
        if (exchange && exchange->bytes && bytes < SIZE_MAX)
            bytes += exchange->bytes(exchange) + fdit_replica_rows_bytes(r->rows);
        TRY(fdit_plan_add(ctx, &first->plan, FDIT_PLAN_HOST, NULL, bytes, "exchange of gradients"));
    }
    *out = r;
    return FDIT_OK;
out:
    fdit_replicas_free(r);
    return status;
}

void fdit_replicas_free(struct fdit_replicas *r)
{
    if (!r)
        return;
    fdit_overlap_free(r->overlap);
    fdit_exchange_free(r->own);
    fdit_vector_layout_fini(&r->layout);
    fdit_replica_rows_free(r->rows);
    fdit_threads_free(r->threads);
    for (int i = 1; i < r->n; i++) {
        if (r->steps)
            fdit_step_free(r->steps[i]);
        if (r->models)
            fdit_model_free(r->models[i]);
    }
    for (int i = 0; r->vectors && i < r->n; i++)
        fdit_free(r->vectors[i]);
    fdit_free(r->vectors);
    fdit_free(r->losses);
    fdit_free(r->report);
    fdit_free(r->models);
    fdit_free(r->steps);
    fdit_free(r);
}

/* Names the device that failed before its message. */
static enum fdit_status blame(fdit_context *ctx, struct fdit_replicas *r, int member, enum fdit_status status)
{
    enum fdit_status found = status;
    const fdit_device *dev = r->models[member]->dev;
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

static enum fdit_status run_all(fdit_context *ctx, struct fdit_replicas *r, fdit_threads_fn fn)
{
    int member;
    enum fdit_status status = fdit_threads_run(ctx, r->threads, fn, r, &member);
    return status == FDIT_OK ? FDIT_OK : blame(ctx, r, member, status);
}

/* ------------------------------------------------------------------ what others keep */

/* What the first process says before a step, and when it asks; then it tells sets, and NO_SET at the end. */
enum { GO, OVER, ASK };
enum { NO_SET = -1 };

static enum fdit_status agree(fdit_context *ctx, struct fdit_replicas *r, int32_t *word, bool *stop)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_exchange *x = r->exchange;
    const int32_t own = *word;
    int32_t set = NO_SET;
    if (r->asking)
        TRY(x->tell(ctx, x, &set, sizeof set));
    r->asking = false;
    do {
        *word = own;
        TRY(x->agree(ctx, x, word, stop));
        while (*word == ASK) {
            TRY(x->tell(ctx, x, &set, sizeof set));
            if (set == NO_SET)
                break;
            TRY(fdit_replica_rows_gather(ctx, r->rows, r->models[0], set, NULL));
        }
    } while (*word == ASK);
out:
    return status;
}

/* Of the first process's model (model.h). */
static enum fdit_status gather(fdit_context *ctx, void *user, fdit_buffer *part, fdit_buffer *whole)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_replicas *r = user;
    struct fdit_exchange *x = r->exchange;
    int32_t word = ASK, set = fdit_replica_rows_set(r->rows, r->models[0], part);
    bool stop; /* before the next step */
    if (r->stepping)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "other processes are in a step: their part of the state is not at hand");
    if (!r->asking)
        TRY(x->agree(ctx, x, &word, &stop));
    r->asking = true;
    TRY(x->tell(ctx, x, &set, sizeof set));
    TRY(fdit_replica_rows_gather(ctx, r->rows, r->models[0], set, whole));
out:
    return status;
}

bool fdit_replicas_reachable(const struct fdit_replicas *r)
{
    return !spread(r) || !r->stepping;
}

enum fdit_status fdit_replicas_deal(fdit_context *ctx, struct fdit_replicas *r, fdit_replica_rows_read read,
                                    void *user)
{
    return spread(r) ? fdit_replica_rows_deal(ctx, r->rows, r->models[0], read, user) : FDIT_OK;
}

/* ------------------------------------------------------------------ memory */

static enum fdit_status allocate_one(fdit_context *ctx, void *user, int i)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_replicas *r = user;
    TRY(fdit_alloc(ctx, r->elements, sizeof(float), &r->vectors[i]));
    if (i) {
        TRY(fdit_model_allocate(ctx, r->models[i]));
        fdit_step_bind(r->steps[i]);
    }
out:
    return status;
}

enum fdit_status fdit_replicas_allocate(fdit_context *ctx, struct fdit_replicas *r)
{
    enum fdit_status status = FDIT_OK;
    if (alone(r))
        return FDIT_OK;
    TRY(fdit_threads_new(ctx, r->n, &r->threads));
    if (!r->exchange) {
        TRY(fdit_exchange_local(ctx, r->threads, r->n, &r->own));
        TRY(fdit_exchange_cut(ctx, r->own, r->layout.ends, r->layout.pieces));
    }
    r->exchange = r->exchange ? r->exchange : r->own;
    if (r->rows)
        TRY(fdit_replica_rows_allocate(ctx, r->rows));
    TRY(run_all(ctx, r, allocate_one));
    if (spread(r) && updates(r, 0)) {
        r->models[0]->gather = gather;
        r->models[0]->gather_user = r;
    }
    if (in_shards(r))
        TRY(fdit_overlap_new(ctx, r->exchange, &r->layout, r->models, r->vectors, &r->overlap));
out:
    return status;
}

/* ------------------------------------------------------------------ the exchange */

enum direction { READ_GRADIENTS, WRITE_GRADIENTS, READ_VALUES, WRITE_VALUES, READ_AVERAGES, WRITE_AVERAGES };

/* All groups of the layout of model i, from or to host memory. */
static enum fdit_status transfer(fdit_context *ctx, const struct fdit_replicas *r, int i, enum direction way,
                                 float *host)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model *m = r->models[i];
    for (int k = 0; k < r->layout.n; k++) {
        const struct fdit_group *group = &m->params.groups[r->layout.group[k]];
        const bool reads = way == READ_GRADIENTS || way == READ_VALUES || way == READ_AVERAGES;
        fdit_buffer *const buffers[] = { group->grad,  group->grad, group->value,
                                         group->value, group->ema,  group->ema };
        struct fdit_tensor t = fdit_tensor_of(buffers[way], FDIT_F32);
        if (reads)
            TRY(fdit_read(ctx, m->dev, t, host + r->layout.first[k], group->trained));
        else
            fdit_write(m->dev, t, host + r->layout.first[k], group->trained);
    }
    status = fdit_device_status(ctx, m->dev);
out:
    return status;
}

/* What the optimiser needs of local device i. The losses of all but its own device are read here, too:
 * whatever fails on them fails before that one changes. */
static enum fdit_status read_step(fdit_context *ctx, void *user, int i)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_replicas *r = user;
    if (!in_shards(r))
        TRY(transfer(ctx, r, i, READ_GRADIENTS, r->vectors[i]));
    if (!updates(r, i)) {
        fdit_step_report_begin(r->steps[i]);
        TRY(fdit_step_report_end(ctx, r->steps[i], &r->losses[i]));
    }
out:
    return status;
}

static enum fdit_status write_values(fdit_context *ctx, void *user, int i)
{
    struct fdit_replicas *r = user;
    return updates(r, i) ? FDIT_OK : transfer(ctx, r, i, WRITE_VALUES, r->vectors[0]);
}

static enum fdit_status write_averages(fdit_context *ctx, void *user, int i)
{
    struct fdit_replicas *r = user;
    return updates(r, i) ? FDIT_OK : transfer(ctx, r, i, WRITE_AVERAGES, r->vectors[0]);
}

/* Learnt guidance looks at the average of the trained parameters on every device. */
static enum fdit_status share_averages(fdit_context *ctx, struct fdit_replicas *r)
{
    enum fdit_status status = transfer(ctx, r, 0, READ_AVERAGES, r->vectors[0]);
    if (status != FDIT_OK)
        return blame(ctx, r, 0, status);
    return run_all(ctx, r, write_averages);
}

enum fdit_status fdit_replicas_share(fdit_context *ctx, struct fdit_replicas *r)
{
    enum fdit_status status = FDIT_OK;
    if (alone(r))
        return FDIT_OK;
    if (updates(r, 0))
        status = transfer(ctx, r, 0, READ_VALUES, r->vectors[0]);
    if (status != FDIT_OK)
        return blame(ctx, r, 0, status);
    TRY(r->exchange->share(ctx, r->exchange, r->vectors[0], r->elements));
    TRY(run_all(ctx, r, write_values));
    if (fdit_step_learns_guidance(r->steps[0]))
        TRY(share_averages(ctx, r));
    if (r->rows && !r->shared)
        TRY(fdit_replica_rows_share(ctx, r->rows, r->models));
    r->shared = true;
    r->stepping = false;
out:
    return status;
}

/* ------------------------------------------------------------------ a step */

static enum fdit_status micro_part(fdit_context *ctx, void *user, int i)
{
    struct fdit_replicas *r = user;
    const struct fdit_model_config *c = &r->models[0]->config;
    struct fdit_micro part = *r->micro;
    size_t item = (size_t)c->channels * (size_t)c->input_size * (size_t)c->input_size;
    part.samples /= r->n;
    size_t first = (size_t)i * (size_t)part.samples;
    part.x0 += first * item;
    part.noise = part.noise ? part.noise + first * item : NULL;
    part.t += first;
    part.rows += first;
    part.scales = part.scales ? part.scales + first : NULL;
    if (part.strength) {
        part.strength += first;
        part.class_rows += first;
        part.guide_rows += first;
    }
    part.first = part.first || in_shards(r);
    if (!in_shards(r)) {
        fdit_step_micro(r->steps[i], &part);
        return fdit_device_status(ctx, r->models[i]->dev);
    }
    fdit_overlap_watch(ctx, r->overlap, i);
    fdit_step_micro(r->steps[i], &part);
    enum fdit_status status = fdit_overlap_watched(r->overlap, i);
    if (status == FDIT_OK && r->rows)
        status = fdit_replica_rows_read_one(ctx, r->rows, r->models[i], i);
    return status == FDIT_OK ? fdit_device_status(ctx, r->models[i]->dev) : status;
}

enum fdit_status fdit_replicas_micro(fdit_context *ctx, struct fdit_replicas *r,
                                     const struct fdit_micro *micro)
{
    enum fdit_status status = FDIT_OK;
    if (alone(r)) {
        fdit_step_micro(r->steps[0], micro);
        return FDIT_OK; /* a failure sticks to the device, and the report has it */
    }
    r->micro = micro;
    r->models[0]->gathered = NULL;
    if (r->rows)
        TRY(fdit_replica_rows_fetch(ctx, r->rows, r->models, micro->rows, micro->prior ? 0 : micro->samples,
                                    micro->first));
    if (in_shards(r))
        fdit_overlap_begin(r->overlap, micro->first, micro->index + 1 == r->micros);
    status = run_all(ctx, r, micro_part);
    if (in_shards(r))
        status = fdit_overlap_end(ctx, r->overlap, status);
    TRY(status);
    if (r->rows)
        TRY(fdit_replica_rows_add(ctx, r->rows));
out:
    return status;
}

/* Those who keep rows of the class table get their gradients, and how much of these is taken. */
static enum fdit_status share_scale(fdit_context *ctx, struct fdit_replicas *r)
{
    enum fdit_status status = FDIT_OK;
    float scale = 0;
    if (updates(r, 0))
        status = fdit_step_scale(ctx, r->steps[0], &scale);
    if (status != FDIT_OK)
        return blame(ctx, r, 0, status);
    TRY(fdit_replica_rows_give(ctx, r->rows, r->models[0], &scale));
    if (!updates(r, 0))
        fdit_step_set_scale(r->steps[0], scale);
out:
    return status;
}

enum fdit_status fdit_replicas_update(fdit_context *ctx, struct fdit_replicas *r, const struct fdit_update *u)
{
    enum fdit_status status = FDIT_OK;
    if (alone(r)) {
        fdit_step_update(r->steps[0], u);
        return FDIT_OK;
    }
    TRY(run_all(ctx, r, read_step));
    for (int piece = 0; !in_shards(r) && piece < r->layout.pieces; piece++)
        TRY(r->exchange->sum(ctx, r->exchange, r->vectors, piece));
    if (updates(r, 0)) {
        TRY(transfer(ctx, r, 0, WRITE_GRADIENTS, r->vectors[0]));
        if (r->rows)
            fdit_replica_rows_write(r->rows, r->models[0]);
        fdit_step_clip(r->steps[0], u);
    }
    if (spread(r))
        TRY(share_scale(ctx, r));
    if (updates(r, 0) || spread(r))
        fdit_step_apply(r->steps[0], u);
out:
    return status;
}

void fdit_replicas_report_begin(struct fdit_replicas *r)
{
    if (updates(r, 0))
        fdit_step_report_begin(r->steps[0]);
}

enum fdit_status fdit_replicas_report_end(fdit_context *ctx, struct fdit_replicas *r,
                                          struct fdit_step_losses *out)
{
    enum fdit_status status = FDIT_OK;
    if (alone(r))
        return fdit_step_report_end(ctx, r->steps[0], out);
    if (updates(r, 0))
        status = fdit_step_report_end(ctx, r->steps[0], &r->losses[0]);
    if (status != FDIT_OK)
        return blame(ctx, r, 0, status);
    for (int i = 0; i < r->n; i++) {
        const struct fdit_step_losses *l = &r->losses[i];
        double *report = r->report + REPORT * i;
        report[0] = l->mse_sum;
        report[1] = l->vb_sum;
        report[2] = l->samples;
        report[3] = l->prior_mse_sum;
        report[4] = l->prior_vb_sum;
        report[5] = l->prior_samples;
        report[6] = updates(r, i) ? l->gradient_norm : 0; /* of the sum: only one updates */
    }
    TRY(r->exchange->total(ctx, r->exchange, r->report, REPORT));
    const double *sums = r->report;
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

/* ------------------------------------------------------------------ what is not finite */

enum { BAD_LOSS = 1 };

/* Of the members' flags: who is to blame. The first with a loss is, unless all have one; else the first with
 * a gradient that some others do not share. */
static size_t first_suspect(const int32_t *flags, const double *spoilt, size_t members, bool *of_all)
{
    size_t losses = 0, gradients = 0, loss = 0, gradient = 0;
    for (size_t i = members; i-- > 0;) {
        if (flags[i] & BAD_LOSS) {
            losses++;
            loss = i;
        }
        if (spoilt[i] > 0) {
            gradients++;
            gradient = i;
        }
    }
    *of_all = losses == members || (!losses && (!gradients || gradients == members));
    return *of_all ? 0 : losses ? loss : gradient;
}

enum fdit_status fdit_replicas_suspect(fdit_context *ctx, struct fdit_replicas *r, struct fdit_step **step,
                                       bool *of_all)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_exchange *x = r->exchange;
    int32_t *own = NULL, *all = NULL;
    double *spoilt = NULL; /* [n][members] what this process has seen, which counts once */
    *step = r->steps[0];
    *of_all = true;
    if (!x || !x->meet)
        return FDIT_OK;
    const size_t members = (size_t)x->members;
    TRY(fdit_alloc(ctx, (size_t)r->n, sizeof *own, &own));
    TRY(fdit_alloc(ctx, members, sizeof *all, &all));
    TRY(fdit_alloc(ctx, (size_t)r->n * members, sizeof *spoilt, &spoilt));
    for (size_t i = 0; i < members; i++)
        spoilt[i] = x->spoilt && x->spoilt[i];
    for (int i = 0; i < r->n; i++) {
        const struct fdit_step_losses *l = &r->losses[i];
        own[i] = isfinite(l->mse_sum + l->vb_sum + l->prior_mse_sum + l->prior_vb_sum) ? 0 : BAD_LOSS;
    }
    TRY(x->meet(ctx, x, own, 1, all));
    TRY(x->total(ctx, x, spoilt, members));
    const int member = (int)first_suspect(all, spoilt, members, of_all) - x->first;
    *step = member >= 0 && member < r->n ? r->steps[member] : NULL;
out:
    fdit_free(own);
    fdit_free(all);
    fdit_free(spoilt);
    return status;
}

enum fdit_status fdit_replicas_settle(fdit_context *ctx, struct fdit_replicas *r, enum fdit_status own)
{
    return r->exchange && r->exchange->settle ? r->exchange->settle(ctx, r->exchange, own) : own;
}

/* ------------------------------------------------------------------ other processes */

enum fdit_status fdit_replicas_tell(fdit_context *ctx, struct fdit_replicas *r, void *bytes, size_t n)
{
    return r->exchange && r->exchange->tell ? r->exchange->tell(ctx, r->exchange, bytes, n) : FDIT_OK;
}

enum fdit_status fdit_replicas_agree(fdit_context *ctx, struct fdit_replicas *r, bool *over)
{
    enum fdit_status status = FDIT_OK;
    int32_t word = *over ? OVER : GO;
    bool stop = false;
    if (!r->exchange || !r->exchange->agree)
        return FDIT_OK;
    TRY(agree(ctx, r, &word, &stop));
    if (stop)
        fdit_context_stop(ctx);
    *over = word == OVER;
    r->stepping = !stop && !*over;
out:
    return status;
}

enum fdit_status fdit_replicas_part(fdit_context *ctx, struct fdit_replicas *r)
{
    int32_t word = OVER;
    bool stop;
    return spread(r) ? agree(ctx, r, &word, &stop) : FDIT_OK;
}

struct fdit_exchange_traffic fdit_replicas_traffic(const struct fdit_replicas *r)
{
    return r->exchange ? r->exchange->traffic : (struct fdit_exchange_traffic){ 0 };
}
