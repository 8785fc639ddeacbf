/* SPDX-License-Identifier: Apache-2.0
 * test_replicas.c: several devices at once. Training with the same pictures a step is the same training on
 * one device and on several (to rounding), repeats bit by bit, goes on with other devices, and keeps what
 * is whole when a device fails or a stop is asked for. Runs on the CPU device, the reference loops and,
 * where there are any, OpenCL devices. */
#include "device/backend.h"
#include "core/file.h"
#include "core/mem.h"
#include "core/threads.h"
#include "data_fixture.h"
#include "devices.h"
#include "harness.h"
#include "train/optimiser.h"
#include "train/run.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;
static char *folder;
static char lists[4][64]; /* what to run on: "cpu,ref", "cpu,opencl:0:0", ... */
static int n_lists;

enum { STEPS = 4, PICTURES = 8 };

/* ------------------------------------------------------------------ threads */

struct counts {
    atomic_int each[5];
    int fails; /* this member, and those above it */
};

static enum fdit_status count(fdit_context *own, void *user, int member)
{
    struct counts *c = user;
    c->each[member]++;
    return member < c->fails ? FDIT_OK : fdit_fail(own, FDIT_ERROR_IO, "member %d", member);
}

START_TEST(threads_together)
{
    struct fdit_threads *t;
    for (int n = 1; n <= 5; n++) {
        struct counts c = { .fails = 5 };
        int failed;
        ck_assert_ok(ctx, fdit_threads_new(ctx, n, &t));
        for (int round = 1; round <= 200; round++) {
            ck_assert_ok(ctx, fdit_threads_run(ctx, t, count, &c, &failed));
            ck_assert_int_eq(failed, -1);
            for (int i = 0; i < 5; i++)
                ck_assert_int_eq(c.each[i], i < n ? round : 0);
        }
        c.fails = n / 2;
        ck_assert_int_eq(fdit_threads_run(ctx, t, count, &c, &failed), FDIT_ERROR_IO);
        ck_assert_int_eq(failed, n / 2); /* the lowest */
        char words[16];
        snprintf(words, sizeof words, "member %d", n / 2);
        ck_assert_str_eq(fdit_context_message(ctx), words);
        fdit_threads_free(t);
    }
    fdit_threads_free(NULL);
    size_t before = fdit_mem_stats().count;
    enum fdit_status status = FDIT_ERROR_MEMORY;
    for (uint64_t at = 1; status != FDIT_OK; at++) {
        fdit_mem_fail_at(at);
        status = fdit_threads_new(ctx, 3, &t);
        fdit_mem_fail_at(0);
        ck_assert(status == FDIT_OK || status == FDIT_ERROR_MEMORY);
    }
    fdit_threads_free(t);
    ck_assert_uint_eq(fdit_mem_stats().count, before);
}
END_TEST

/* ------------------------------------------------------------------ training */

struct seen {
    double loss[STEPS + 1];
    int steps;
    int stop_at;      /* asks to stop in this step */
    int fail_at;      /* `victim` fails after it, */
    uint64_t fail_op; /* in which op; 0: 7 */
    fdit_device *victim;
};

static void on_step(void *user, const struct fdit_train_progress *p)
{
    struct seen *s = user;
    ck_assert_int_le(p->step, STEPS);
    s->loss[p->step] = p->loss;
    s->steps++;
    if (p->step == s->stop_at)
        fdit_context_stop(ctx);
    if (p->step == s->fail_at)
        s->victim->fail_op_at = s->fail_op ? s->fail_op : 7;
}

static struct fdit_train_options options(const char *out, int devices)
{
    static char data[4096], run[4096];
    struct fdit_train_options o = fdit_train_defaults();
    snprintf(data, sizeof data, "%s", test_path(folder, "data"));
    snprintf(run, sizeof run, "%s", test_path(folder, "%s", out));
    o.from_scratch = true;
    o.tune = "full";
    o.model = "16,2,2,4";
    o.size = 8;
    o.channels = 1;
    o.data = data;
    o.drop = FDIT_DROP_EMPTY;
    o.steps = STEPS;
    o.batch = PICTURES / devices;
    o.lr = 1e-3;
    o.clip = 1;
    o.workers = 0;
    o.preview_every = 0;
    o.out = run;
    return o;
}

/* Opened once: some drivers compile for a minute each time. */
static struct {
    char list[64];
    struct fdit_devices devices;
} opened[6];

static const struct fdit_devices *open_list(const char *list)
{
    size_t i = 0;
    while (opened[i].devices.n && strcmp(opened[i].list, list))
        i++;
    struct fdit_devices *devices = &opened[i].devices;
    if (devices->n) {
        for (int d = 0; d < devices->n; d++) {
            fdit_device_clear_error(devices->list[d]);
            devices->list[d]->fail_op_at = 0;
        }
        return devices;
    }
    ck_assert_ok(
        ctx, fdit_devices_open(ctx, &(struct fdit_device_options){ .spec = list, .threads = 1 }, devices));
    snprintf(opened[i].list, sizeof opened[i].list, "%s", list);
    return devices;
}

static enum fdit_status train(const char *list, const struct fdit_train_options *o, struct seen *seen)
{
    struct fdit_train_hooks hooks = { .user = seen, .on_step = on_step };
    const struct fdit_devices *devices = open_list(list);
    seen->victim = devices->n > 1 ? devices->list[1] : NULL;
    return fdit_train_run(ctx, devices, o, &hooks, false, NULL);
}

/* The result's bytes; free with fdit_free. */
static uint8_t *result(const char *out, size_t *n)
{
    uint8_t *bytes;
    ck_assert_ok(ctx, fdit_file_read_all(ctx, test_path(folder, "%s/delta.safetensors", out), (size_t)1 << 26,
                                         &bytes, n));
    return bytes;
}

static void same_result(const char *a, const char *b)
{
    size_t n, m;
    uint8_t *x = result(a, &n), *y = result(b, &m);
    ck_assert_msg(n == m && memcmp(x, y, n) == 0, "%s and %s differ", a, b);
    fdit_free(x);
    fdit_free(y);
}

static void close_losses(const struct seen *got, const struct seen *wanted, int from, const char *what)
{
    for (int i = from; i <= STEPS; i++)
        ck_assert_msg(fabs(got->loss[i] - wanted->loss[i]) <= 2e-5 * fabs(wanted->loss[i]),
                      "%s: step %d: loss %.9g, not %.9g", what, i, got->loss[i], wanted->loss[i]);
}

static struct seen alone; /* one device, all pictures of a step at once */

START_TEST(like_one_device)
{
    struct fdit_train_options o = options("alone", 1);
    ck_assert_ok(ctx, train("cpu", &o, &alone));
    ck_assert_int_eq(alone.steps, STEPS);
    ck_assert(alone.loss[1] > 0 && fabs(alone.loss[1] - alone.loss[STEPS]) > 1e-3);
    for (int i = 0; i < n_lists; i++) {
        struct seen seen = { 0 }, again = { 0 };
        char first[32], second[32];
        snprintf(first, sizeof first, "several%d", i);
        snprintf(second, sizeof second, "again%d", i);
        o = options(first, 2);
        ck_assert_ok(ctx, train(lists[i], &o, &seen));
        close_losses(&seen, &alone, 1, lists[i]);
        o = options(second, 2);
        ck_assert_ok(ctx, train(lists[i], &o, &again));
        same_result(first, second);
        /* with accumulation: the same pictures in two passes */
        snprintf(first, sizeof first, "passes%d", i);
        o = options(first, 4);
        o.accumulate = 2;
        seen = (struct seen){ 0 };
        ck_assert_ok(ctx, train(lists[i], &o, &seen));
        close_losses(&seen, &alone, 1, "two passes");
    }
}
END_TEST

/* With learnt guidance every device needs the average, and the base's values where that guides. */
static struct fdit_train_options learning(const char *out, int devices, bool base)
{
    static char from[4096];
    struct fdit_train_options o = options(out, devices);
    snprintf(from, sizeof from, "%s", test_path(folder, "alone/delta.safetensors"));
    o.lr = 1e-2; /* so that an average of the step before would show */
    o.learn_guidance = 8;
    o.learn_from = base ? 0 : 2;
    if (base) {
        o.from_scratch = false;
        o.base = from;
        o.model = NULL;
        o.size = o.channels = 0;
        o.tune = "finediffusion";
        o.learn_guide = FDIT_LEARN_BASE;
    }
    return o;
}

START_TEST(learnt_guidance)
{
    for (int base = 0; base < 2; base++) {
        struct seen one = { 0 };
        char name[32];
        snprintf(name, sizeof name, "learns%d", base);
        struct fdit_train_options o = learning(name, 1, base);
        ck_assert_ok(ctx, train("cpu", &o, &one));
        for (int i = 0; i < n_lists; i++) {
            struct seen seen = { 0 }, again = { .stop_at = 3 };
            char whole[32], stopped[32];
            snprintf(whole, sizeof whole, "learns%d.%d", base, i);
            snprintf(stopped, sizeof stopped, "learns%d.%d.stopped", base, i);
            o = learning(whole, 2, base);
            ck_assert_ok(ctx, train(lists[i], &o, &seen));
            close_losses(&seen, &one, 1, lists[i]);
            o = learning(stopped, 2, base);
            ck_assert_int_eq(train(lists[i], &o, &again), FDIT_INTERRUPTED);
            fdit_context_free(ctx); /* a stop request stays for good */
            ctx = fdit_context_new();
            o.resume = true;
            again.stop_at = 0;
            ck_assert_ok(ctx, train(lists[i], &o, &again));
            same_result(whole, stopped);
        }
    }
}
END_TEST

START_TEST(stop_and_resume)
{
    for (int i = 0; i < n_lists; i++) {
        struct seen seen = { .stop_at = 2 };
        char name[32], whole[32];
        snprintf(name, sizeof name, "stopped%d", i);
        snprintf(whole, sizeof whole, "several%d", i);
        struct fdit_train_options o = options(name, 2);
        ck_assert_int_eq(train(lists[i], &o, &seen), FDIT_INTERRUPTED);
        fdit_context_free(ctx); /* a stop request stays for good */
        ctx = fdit_context_new();
        ck_assert(fdit_is_file(test_path(folder, "%s/checkpoints/step-2.safetensors", name)));
        ck_assert(!fdit_file_exists(test_path(folder, "%s/delta.safetensors", name)));
        o.resume = true;
        seen.stop_at = 0;
        ck_assert_ok(ctx, train(lists[i], &o, &seen));
        same_result(name, whole);

        /* on other devices: as many pictures a step as before, or not at all */
        snprintf(name, sizeof name, "moved%d", i);
        o = options(name, 2);
        seen = (struct seen){ .stop_at = 2 };
        ck_assert_int_eq(train(lists[i], &o, &seen), FDIT_INTERRUPTED);
        fdit_context_free(ctx);
        ctx = fdit_context_new();
        o.resume = true;
        seen.stop_at = 0;
        ck_assert_int_eq(train("cpu", &o, &seen), FDIT_ERROR_ARGUMENT);
        ck_assert_msg(
            strstr(fdit_context_message(ctx),
                   "made its steps of 8 pictures (devices: 2), and these options give 4 (devices: 1)"),
            "%s", fdit_context_message(ctx));
        o.batch = PICTURES;
        ck_assert_ok(ctx, train("cpu", &o, &seen));
        close_losses(&seen, &alone, 1, "moved to one device");
    }
}
END_TEST

START_TEST(device_fails)
{
    for (int i = 0; i < n_lists; i++) {
        struct seen seen = { .fail_at = 2 };
        char name[32];
        const char *second = strchr(lists[i], ',') + 1;
        snprintf(name, sizeof name, "failed%d", i);
        struct fdit_train_options o = options(name, 2);
        ck_assert_int_eq(train(lists[i], &o, &seen), FDIT_ERROR_DEVICE);
        const char *message = fdit_context_message(ctx);
        ck_assert_msg(strstr(message, second) && strstr(message, "step 2 is kept") &&
                          strstr(message, "--resume"),
                      "%s", message);
        ck_assert(fdit_is_file(test_path(folder, "%s/checkpoints/step-2.safetensors", name)));
        o.resume = true;
        o.batch = PICTURES;
        seen.fail_at = 0;
        ck_assert_ok(ctx, train("cpu", &o, &seen));
        ck_assert_int_eq(seen.steps, STEPS); /* none twice, none left out */
        close_losses(&seen, &alone, 1, "after a failure");
        /* before the first step there is nothing to keep */
        snprintf(name, sizeof name, "early%d", i);
        o = options(name, 2);
        struct fdit_train_hooks none = { 0 };
        const struct fdit_devices *devices = open_list(lists[i]);
        devices->list[1]->fail_op_at = 1;
        enum fdit_status status = fdit_train_run(ctx, devices, &o, &none, false, NULL);
        ck_assert_int_eq(status, FDIT_ERROR_DEVICE);
        ck_assert(!fdit_file_exists(test_path(folder, "%s/config.json", name)));
    }
}
END_TEST

/* Wherever in the steps behind the second the other device fails, be it while it is given new values: what is
 * kept is called by the step that it holds, and the rest of the run makes each step once. */
START_TEST(device_fails_anywhere)
{
    size_t runs = 0, kept[STEPS + 1] = { 0 };
    for (uint64_t op = 1;; op += 1 + op / 4) {
        struct seen seen = { .fail_at = 2, .fail_op = op };
        char name[32];
        snprintf(name, sizeof name, "anywhere%d", (int)op);
        struct fdit_train_options o = options(name, 2);
        enum fdit_status status = train(lists[0], &o, &seen);
        if (status == FDIT_OK)
            break; /* behind the last op */
        int64_t step = 0;
        ck_assert_int_eq(status, FDIT_ERROR_DEVICE);
        const char *words = strstr(fdit_context_message(ctx), "; step ");
        ck_assert_msg(words && sscanf(words, "; step %" SCNd64 " is kept", &step) == 1, "%s",
                      fdit_context_message(ctx));
        ck_assert(fdit_is_file(test_path(folder, "%s/checkpoints/step-%d.safetensors", name, (int)step)));
        ck_assert_int_eq(seen.steps, (int)step);
        o.resume = true;
        seen.fail_at = 0;
        ck_assert_ok(ctx, train(lists[0], &o, &seen));
        ck_assert_int_eq(seen.steps, STEPS);
        same_result(name, "several0");
        kept[step]++;
        runs++;
    }
    ck_assert(runs > 10 && kept[2] && kept[3]);
}
END_TEST

/* Another filler of the exchange: keeps copies of all that it is given, adds up in one thread, and counts. */
struct recorder {
    struct fdit_exchange x;
    int sums, shares, totals;
    int fails_at; /* this sum fails, 0: none */
    size_t n;
    float *sum;    /* [n] the last one, */
    float *shared; /* and what was shared after it */
};

static void keep(float **copy, const float *vector, size_t n)
{
    free(*copy);
    *copy = malloc(n * sizeof **copy);
    ck_assert_ptr_nonnull(*copy);
    memcpy(*copy, vector, n * sizeof **copy);
}

static enum fdit_status record_sum(fdit_context *own, struct fdit_exchange *x, float *const *vectors,
                                   int piece)
{
    struct recorder *r = (struct recorder *)x;
    const size_t n = x->ends[piece];
    ck_assert(!piece && x->pieces == 1 && n > 0 && (!r->n || r->n == n));
    r->n = n;
    if (++r->sums == r->fails_at)
        return fdit_fail(own, FDIT_ERROR_DEVICE, "the line is cut");
    keep(&r->sum, vectors[0], n);
    for (int d = 1; d < x->count; d++)
        for (size_t k = 0; k < n; k++) {
            r->sum[k] += vectors[d][k];
            vectors[d][k] = NAN; /* nobody may read it again */
        }
    memcpy(vectors[0], r->sum, n * sizeof *r->sum);
    return FDIT_OK;
}

static enum fdit_status record_share(fdit_context *own, struct fdit_exchange *x, float *vector, size_t n)
{
    struct recorder *r = (struct recorder *)x;
    (void)own;
    r->shares++;
    keep(&r->shared, vector, n);
    return FDIT_OK;
}

static enum fdit_status record_total(fdit_context *own, struct fdit_exchange *x, double *values, size_t n)
{
    struct recorder *r = (struct recorder *)x;
    (void)own;
    r->totals++;
    for (int d = 1; d < x->count; d++)
        for (size_t k = 0; k < n; k++)
            values[k] += values[(size_t)d * n + k];
    return FDIT_OK;
}

START_TEST(another_exchange)
{
    for (int i = 0; i < n_lists; i++) {
        struct recorder r = {
            .x = { .members = 2, .count = 2, .sum = record_sum, .share = record_share, .total = record_total }
        };
        struct seen seen = { 0 }, usual = { 0 };
        struct fdit_train_hooks hooks = { .user = &seen, .on_step = on_step, .exchange = &r.x };
        char name[32], whole[32];
        snprintf(name, sizeof name, "recorded%d", i);
        snprintf(whole, sizeof whole, "local%d", i);
        struct fdit_train_options o = options(whole, 2);
        ck_assert_ok(ctx, train(lists[i], &o, &usual));
        o = options(name, 2);
        ck_assert_ok(ctx, fdit_train_run(ctx, open_list(lists[i]), &o, &hooks, false, NULL));
        same_result(name, whole);
        for (int k = 1; k <= STEPS; k++)
            ck_assert(seen.loss[k] == usual.loss[k]);
        ck_assert_int_eq(r.sums, STEPS);
        ck_assert_int_eq(r.shares, STEPS + 1); /* the values at the beginning, too */
        ck_assert_int_eq(r.totals, STEPS);
        /* the last sum is a gradient, and the values that were shared are others */
        size_t differ = 0;
        for (size_t k = 0; k < r.n; k++) {
            ck_assert(isfinite(r.sum[k]) && isfinite(r.shared[k]));
            differ += r.sum[k] != r.shared[k];
        }
        ck_assert_uint_gt(differ, r.n / 4);
        /* what fails between the devices leaves the step before it */
        r.fails_at = r.sums + 3;
        snprintf(name, sizeof name, "cut%d", i);
        o = options(name, 2);
        ck_assert_int_eq(fdit_train_run(ctx, open_list(lists[i]), &o, &hooks, false, NULL),
                         FDIT_ERROR_DEVICE);
        ck_assert_msg(strstr(fdit_context_message(ctx), "the line is cut; step 2 is kept"), "%s",
                      fdit_context_message(ctx));
        r.fails_at = 0;
        o.resume = true;
        ck_assert_ok(ctx, fdit_train_run(ctx, open_list(lists[i]), &o, &hooks, false, NULL));
        same_result(name, whole);
        free(r.sum);
        free(r.shared);
        fdit_free(r.x.ends);
    }
}
END_TEST

/* Two trainings, each in a thread of its own with one device, as two processes would be. */
struct meeting {
    pthread_barrier_t all;
    float *vectors[2];
    double values[2][8];
};

struct process {
    struct fdit_exchange x;
    struct meeting *meeting;
    struct seen *seen;
    struct fdit_train_options options;
    fdit_context *ctx;
    enum fdit_status status;
};

static void meet(struct process *p)
{
    pthread_barrier_wait(&p->meeting->all);
}

static enum fdit_status meet_sum(fdit_context *own, struct fdit_exchange *x, float *const *vectors, int piece)
{
    struct process *p = (struct process *)x;
    (void)own;
    p->meeting->vectors[x->first] = vectors[0];
    meet(p);
    for (size_t k = 0; x->first == 0 && k < x->ends[piece]; k++)
        vectors[0][k] += p->meeting->vectors[1][k];
    meet(p);
    return FDIT_OK;
}

static enum fdit_status meet_share(fdit_context *own, struct fdit_exchange *x, float *vector, size_t n)
{
    struct process *p = (struct process *)x;
    (void)own;
    p->meeting->vectors[x->first] = vector;
    meet(p);
    if (x->first)
        memcpy(vector, p->meeting->vectors[0], n * sizeof *vector);
    meet(p);
    return FDIT_OK;
}

static enum fdit_status meet_total(fdit_context *own, struct fdit_exchange *x, double *values, size_t n)
{
    struct process *p = (struct process *)x;
    (void)own;
    memcpy(p->meeting->values[x->first], values, n * sizeof *values);
    meet(p);
    for (size_t k = 0; k < n; k++)
        values[k] = p->meeting->values[0][k] + p->meeting->values[1][k];
    meet(p);
    return FDIT_OK;
}

static void *train_one(void *user)
{
    struct process *p = user;
    struct fdit_train_hooks hooks = {
        .user = p->seen, .on_step = on_step, .exchange = &p->x, .silent = p->x.first > 0
    };
    fdit_device *own = NULL;
    p->status =
        fdit_devices_open_one(p->ctx, &(struct fdit_device_options){ .spec = "cpu", .threads = 1 }, &own);
    if (p->status == FDIT_OK)
        p->status = fdit_train_run(p->ctx, FDIT_ONE_DEVICE(own), &p->options, &hooks, false, NULL);
    fdit_device_close(own);
    return NULL;
}

/* Each takes its half of the pictures: the sum is the gradient of one device. */
START_TEST(two_processes)
{
    struct meeting meeting;
    struct process p[2];
    struct seen seen = { 0 };
    pthread_t thread;
    struct fdit_train_options o = options("two_processes", 2);
    ck_assert_int_eq(pthread_barrier_init(&meeting.all, NULL, 2), 0);
    for (int i = 0; i < 2; i++) {
        p[i] = (struct process){ .x = { .members = 2,
                                        .first = i,
                                        .count = 1,
                                        .sum = meet_sum,
                                        .share = meet_share,
                                        .total = meet_total },
                                 .meeting = &meeting,
                                 .seen = &seen,
                                 .options = o,
                                 .ctx = fdit_context_new() };
        ck_assert_ptr_nonnull(p[i].ctx);
    }
    ck_assert_int_eq(pthread_create(&thread, NULL, train_one, &p[1]), 0);
    train_one(&p[0]);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_msg(p[i].status == FDIT_OK, "%d: %s", i, fdit_context_message(p[i].ctx));
        fdit_context_free(p[i].ctx);
        fdit_free(p[i].x.ends);
    }
    pthread_barrier_destroy(&meeting.all);
    close_losses(&seen, &alone, 1, "two processes");
}
END_TEST

/* A device whose memory does not suffice is named before any work; both plans are shown. */
static void count_plans(void *user, const struct fdit_plan *plan)
{
    ck_assert_ptr_nonnull(plan->title);
    ++*(int *)user;
}

START_TEST(plans)
{
    struct fdit_train_options o = options("plans", 2);
    struct fdit_train_summary summary;
    int n = 0;
    struct fdit_train_hooks hooks = { .user = &n, .on_plan = count_plans };
    const struct fdit_devices *devices = open_list("cpu,ref");
    ck_assert_ok(ctx, fdit_train_run(ctx, devices, &o, &hooks, true, &summary));
    ck_assert_int_eq(n, 2);
    o.memory = 1000;
    ck_assert_int_eq(fdit_train_run(ctx, devices, &o, &hooks, true, &summary), FDIT_ERROR_DEVICE);
    o.memory = 0;
    size_t memory = devices->list[1]->info.memory;
    devices->list[1]->info.memory = 1000;
    ck_assert_int_eq(fdit_train_run(ctx, devices, &o, &hooks, true, &summary), FDIT_ERROR_DEVICE);
    devices->list[1]->info.memory = memory;
    ck_assert(!fdit_file_exists(o.out));
}
END_TEST

/* As all but the first of processes that train together: the same steps, and not a trace of them. */
static void told(void *user, const struct fdit_train_banner *banner)
{
    (void)banner;
    ++*(int *)user;
}

static void told_step(void *user, const struct fdit_train_progress *p)
{
    (void)p;
    ++*(int *)user;
}

static void told_validation(void *user, int64_t step, double mse, double vb)
{
    (void)step, (void)mse, (void)vb;
    ++*(int *)user;
}

static void told_path(void *user, const char *path)
{
    (void)path;
    ++*(int *)user;
}

START_TEST(nothing_given_out)
{
    int calls = 0;
    struct fdit_train_options o = options("silent", 1);
    struct fdit_train_summary summary;
    struct fdit_train_hooks hooks = { .user = &calls,
                                      .on_start = told,
                                      .on_step = told_step,
                                      .on_validation = told_validation,
                                      .on_saved = told_path };
    const struct fdit_devices *devices = open_list("cpu");
    o.validation = "0.25";
    o.checkpoint_every = 2;
    o.preview_every = 2;
    o.batch = 4;
    for (int silent = 1; silent >= 0; silent--) {
        size_t before = fdit_mem_stats().count;
        hooks.silent = silent;
        ck_assert_ok(ctx, fdit_train_run(ctx, devices, &o, &hooks, false, &summary));
        ck_assert_uint_eq(fdit_mem_stats().count, before);
        ck_assert_int_eq(summary.step, STEPS);
        ck_assert_uint_eq(summary.images, STEPS * 4);
        ck_assert_int_eq(!silent, fdit_file_exists(o.out));
        ck_assert_int_eq(!silent, isfinite(summary.val_mse));
        ck_assert_int_eq(calls, silent ? 0 : 1 + STEPS + 3 + 3); /* validations 0, 2, 4; saved 2, 4, delta */
    }
    /* another process of the same run goes on with what the first one wrote, and leaves it alone */
    ck_assert_int_eq(remove(test_path(folder, "silent/delta.safetensors")), 0);
    o.resume = hooks.silent = true;
    o.steps = STEPS + 2;
    ck_assert_ok(ctx, fdit_train_run(ctx, devices, &o, &hooks, false, &summary));
    ck_assert_int_eq(summary.step, STEPS + 2);
    ck_assert_uint_eq(summary.images, 2 * 4);
    ck_assert(!fdit_file_exists(test_path(folder, "silent/delta.safetensors")));
    ck_assert(!fdit_file_exists(test_path(folder, "silent/checkpoints/step-6.safetensors")));
}
END_TEST

START_TEST(short_of_memory)
{
    struct fdit_train_options o = options("short", 2);
    struct seen seen = { 0 };
    enum fdit_status status = FDIT_ERROR_MEMORY;
    o.steps = 1;
    size_t before = fdit_mem_stats().count;
    for (uint64_t n = 1; status != FDIT_OK; n += 1 + n / 6) {
        fdit_mem_fail_at(n);
        struct fdit_devices devices = { 0 };
        status = fdit_devices_open(ctx, &(struct fdit_device_options){ .spec = "cpu,ref", .threads = 1 },
                                   &devices);
        if (status == FDIT_OK) {
            struct fdit_train_hooks hooks = { .user = &seen, .on_step = on_step };
            status = fdit_train_run(ctx, &devices, &o, &hooks, false, NULL);
        }
        fdit_mem_fail_at(0);
        fdit_devices_close(&devices);
        ck_assert_uint_eq(fdit_mem_stats().count, before);
        ck_assert_msg(status == FDIT_OK || status == FDIT_ERROR_MEMORY, "allocation %d: %s", (int)n,
                      fdit_context_message(ctx));
        if (status != FDIT_OK)
            ck_assert(!fdit_file_exists(test_path(folder, "short/delta.safetensors")));
        o.resume = fdit_is_file(test_path(folder, "short/config.json"));
    }
}
END_TEST

/* cpu,ref; cpu with an OpenCL device; two OpenCL devices of different platforms. */
static enum fdit_status find_lists(void)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_device_entry *entries = NULL;
    const char *first = NULL;
    size_t n = 0;
    snprintf(lists[n_lists++], sizeof lists[0], "cpu,ref");
    TRY(fdit_devices_list(ctx, &entries, &n));
    for (size_t i = 0; i < n && n_lists < 4; i++) {
        if (!entries[i].usable || strncmp(entries[i].spec, "opencl:", 7))
            continue;
        snprintf(lists[n_lists++], sizeof lists[0], "%s,%s", first ? first : "cpu", entries[i].spec);
        first = first ? first : entries[i].spec;
    }
    fdit_devices_list_free(entries, n);
    for (int i = 0; i < n_lists; i++)
        printf("%s\n", lists[i]);
out:
    return status;
}

static void make_folder(void)
{
    folder = test_folder();
    test_classes(ctx, test_path(folder, "data"), 4, 6, 12);
}

static void remove_folder(void)
{
    test_folder_remove(folder);
}

int main(void)
{
    ctx = fdit_context_new();
    if (find_lists() != FDIT_OK)
        return EXIT_FAILURE;
    Suite *suite = suite_create("replicas");
    TCase *tcase = tcase_create("replicas");
    tcase_add_unchecked_fixture(tcase, make_folder, remove_folder);
    tcase_add_test(tcase, threads_together);
    tcase_add_test(tcase, like_one_device);
    tcase_add_test(tcase, learnt_guidance);
    tcase_add_test(tcase, stop_and_resume);
    tcase_add_test(tcase, device_fails);
    tcase_add_test(tcase, device_fails_anywhere);
    tcase_add_test(tcase, another_exchange);
    tcase_add_test(tcase, two_processes);
    tcase_add_test(tcase, plans);
    tcase_add_test(tcase, nothing_given_out);
    tcase_add_test(tcase, short_of_memory);
    suite_add_tcase(suite, tcase);
    int result = test_run(suite);
    for (size_t i = 0; opened[i].devices.n; i++)
        fdit_devices_close(&opened[i].devices);
    fdit_context_free(ctx);
    return result;
}
