/* SPDX-License-Identifier: Apache-2.0
 * test_ranks.c: processes that train together (train/exchange_ranks.h), as threads of this one: the same bits
 * for any number of them, going on with another number, one that fails or has other files, and a stop request
 * of any of them. */
#include "core/file.h"
#include "core/mem.h"
#include "data_fixture.h"
#include "devices.h"
#include "harness.h"
#include "train/exchange_ranks.h"
#include "train/run.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;
static char *folder;

enum { STEPS = 4, SHARDS = 12, SHARD = 2, WIDTH = 16, MOST = 12 };

/* ------------------------------------------------------------------ a transport between threads */

struct meeting {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int size, waiting;
    unsigned turn;
    bool broken; /* somebody left: who waits for him fails */
    const void *send[MOST];
    void *receive[MOST];
};

struct process {
    struct fdit_ranks ranks;
    struct meeting *meeting;
    struct fdit_train_options options;
    const char *devices;
    char data[4096], out[4096];
    fdit_context *ctx;
    enum fdit_status status;
    volatile sig_atomic_t asked;
    int64_t asked_at; /* is asked to stop in this step; 0: not */
    double loss[2 * STEPS + 1];
    struct fdit_exchange_traffic traffic;
    int broadcasts;      /* calls */
    int exchanged;       /* likewise, of all_to_all */
    const size_t *sizes; /* of the call in progress */
    size_t kept;         /* bytes of moments and averages in the plan */
    pthread_t own;       /* that trains */
    int behind;          /* gradients that another one exchanged, meanwhile */
};

static bool meet(struct process *p)
{
    struct meeting *m = p->meeting;
    pthread_mutex_lock(&m->lock);
    unsigned turn = m->turn;
    if (++m->waiting == m->size) {
        m->waiting = 0;
        m->turn++;
        pthread_cond_broadcast(&m->changed);
    }
    while (turn == m->turn && !m->broken)
        pthread_cond_wait(&m->changed, &m->lock);
    bool all = turn != m->turn;
    pthread_mutex_unlock(&m->lock);
    return all;
}

static void leave(struct process *p)
{
    pthread_mutex_lock(&p->meeting->lock);
    p->meeting->broken = true;
    pthread_cond_broadcast(&p->meeting->changed);
    pthread_mutex_unlock(&p->meeting->lock);
}

/* All have said what they send and where they receive, when `work` is done; nobody goes on before it is. */
static enum fdit_status together(fdit_context *own, struct fdit_ranks *r, const void *send, void *receive,
                                 size_t n, void (*work)(struct process *p, size_t n))
{
    struct process *p = (struct process *)r;
    p->meeting->send[r->rank] = send;
    p->meeting->receive[r->rank] = receive;
    if (!meet(p))
        return fdit_fail(own, FDIT_ERROR_IO, "another process is gone");
    work(p, n);
    if (!meet(p))
        return fdit_fail(own, FDIT_ERROR_IO, "another process is gone");
    return FDIT_OK;
}

/* A number that rank `rank` sends in its call `call` is not finite where rank 1 adds it up. */
static struct {
    int rank, call;
} spoil = { .rank = -1 };

static void take_blocks(struct process *p, size_t n)
{
    p->exchanged++;
    for (int q = 0; q < p->ranks.size; q++)
        memcpy((char *)p->meeting->receive[p->ranks.rank] + (size_t)q * n,
               (const char *)p->meeting->send[q] + (size_t)p->ranks.rank * n, n);
    if (spoil.rank >= 0 && p->exchanged == spoil.call && p->ranks.rank == 1)
        *(float *)((char *)p->meeting->receive[1] + (size_t)spoil.rank * n) = NAN;
}

static void take_all(struct process *p, size_t n)
{
    for (int q = 0; !p->ranks.rank && q < p->ranks.size; q++)
        memcpy((char *)p->meeting->receive[0] + (size_t)q * n, p->meeting->send[q], n);
}

static void take_everywhere(struct process *p, size_t n)
{
    char *to = p->meeting->receive[p->ranks.rank];
    (void)n;
    for (int q = 0; q < p->ranks.size; q++) {
        memcpy(to, p->meeting->send[q], p->sizes[q]);
        to += p->sizes[q];
    }
}

static void take_first(struct process *p, size_t n)
{
    if (p->ranks.rank)
        memcpy(p->meeting->receive[p->ranks.rank], p->meeting->send[0], n);
}

static enum fdit_status all_to_all(fdit_context *own, struct fdit_ranks *r, const void *send, void *receive,
                                   size_t n)
{
    struct process *p = (struct process *)r;
    p->behind += !pthread_equal(pthread_self(), p->own);
    return together(own, r, send, receive, n, take_blocks);
}

static enum fdit_status collect(fdit_context *own, struct fdit_ranks *r, const void *send, void *receive,
                                size_t n)
{
    return together(own, r, send, receive, n, take_all);
}

static enum fdit_status all_gather(fdit_context *own, struct fdit_ranks *r, const void *send, void *receive,
                                   const size_t *sizes)
{
    ((struct process *)r)->sizes = sizes;
    return together(own, r, send, receive, 0, take_everywhere);
}

static enum fdit_status broadcast(fdit_context *own, struct fdit_ranks *r, void *bytes, size_t n)
{
    ((struct process *)r)->broadcasts++;
    return together(own, r, bytes, bytes, n, take_first);
}

/* ------------------------------------------------------------------ trainings */

static void on_step(void *user, const struct fdit_train_progress *progress)
{
    struct process *p = user;
    p->loss[progress->step] = progress->loss;
    if (progress->step == p->asked_at)
        p->asked = 1;
}

static void on_plan(void *user, const struct fdit_plan *plan)
{
    struct process *p = user;
    p->kept = fdit_plan_kind_bytes(plan, FDIT_PLAN_OPTIMISER) + fdit_plan_kind_bytes(plan, FDIT_PLAN_EMA);
}

static void *train_one(void *user)
{
    struct process *p = user;
    struct fdit_exchange *x = NULL;
    struct fdit_devices set = { 0 };
    p->own = pthread_self();
    p->status =
        fdit_devices_open(p->ctx, &(struct fdit_device_options){ .spec = p->devices, .threads = 1 }, &set);
    if (p->status == FDIT_OK)
        p->status = fdit_exchange_ranks(p->ctx, &p->ranks, set.n, &p->asked, &x);
    if (p->status == FDIT_OK) {
        struct fdit_train_hooks hooks = {
            .user = p, .on_plan = on_plan, .on_step = on_step, .exchange = x, .silent = p->ranks.rank > 0
        };
        p->status = fdit_train_run(p->ctx, &set, &p->options, &hooks, false, NULL);
        p->traffic = x->traffic;
    }
    if (p->status != FDIT_OK && p->status != FDIT_INTERRUPTED)
        leave(p);
    fdit_exchange_free(x);
    fdit_devices_close(&set);
    return NULL;
}

/* A run of twelve shards a step on so many processes. */
static struct fdit_train_options options(int members)
{
    struct fdit_train_options o = fdit_train_defaults();
    o.from_scratch = true;
    o.tune = "full";
    o.model = "16,2,2,4";
    o.size = 8;
    o.channels = 1;
    o.drop = FDIT_DROP_EMPTY;
    o.steps = STEPS;
    o.batch = SHARD;
    o.accumulate = SHARDS / members;
    o.lr = 1e-3;
    o.clip = 1;
    o.workers = 0;
    o.seed = 3;
    o.checkpoint_every = 2;
    o.shards = true;
    return o;
}

static struct process processes[MOST];
static struct meeting meeting;

static void prepare(int size, const char *devices, const char *out)
{
    meeting = (struct meeting){ .size = size };
    ck_assert_int_eq(pthread_mutex_init(&meeting.lock, NULL), 0);
    ck_assert_int_eq(pthread_cond_init(&meeting.changed, NULL), 0);
    for (int q = 0; q < size; q++) {
        processes[q] = (struct process){ .ranks = { .rank = q,
                                                    .size = size,
                                                    .local = q,
                                                    .local_size = size,
                                                    .host = "here",
                                                    .any_thread = true,
                                                    .all_to_all = all_to_all,
                                                    .collect = collect,
                                                    .all_gather = all_gather,
                                                    .broadcast = broadcast },
                                         .meeting = &meeting,
                                         .devices = devices,
                                         .options = options(size * (strchr(devices, ',') ? 2 : 1)),
                                         .ctx = fdit_context_new() };
        snprintf(processes[q].data, sizeof processes[q].data, "%s", test_path(folder, "data"));
        snprintf(processes[q].out, sizeof processes[q].out, "%s", test_path(folder, "%s", out));
        processes[q].options.data = processes[q].data;
        processes[q].options.out = processes[q].out;
        ck_assert_ptr_nonnull(processes[q].ctx);
    }
}

static void run_all(int size)
{
    pthread_t threads[MOST];
    for (int q = 0; q < size; q++)
        ck_assert_int_eq(pthread_create(&threads[q], NULL, train_one, &processes[q]), 0);
    for (int q = 0; q < size; q++)
        ck_assert_int_eq(pthread_join(threads[q], NULL), 0);
    pthread_mutex_destroy(&meeting.lock);
    pthread_cond_destroy(&meeting.changed);
}

static void forget(int size)
{
    for (int q = 0; q < size; q++)
        fdit_context_free(processes[q].ctx);
}

static void all_fine(int size)
{
    for (int q = 0; q < size; q++)
        ck_assert_msg(processes[q].status == FDIT_OK, "rank %d of %d: %s", q, size,
                      fdit_context_message(processes[q].ctx));
}

/* The same file, byte by byte, in two runs. */
static void same_file(const char *a, const char *b, const char *file)
{
    uint8_t *bytes[2];
    size_t n[2];
    ck_assert_ok(ctx,
                 fdit_file_read_all(ctx, test_path(folder, "%s/%s", a, file), 1 << 24, &bytes[0], &n[0]));
    ck_assert_ok(ctx,
                 fdit_file_read_all(ctx, test_path(folder, "%s/%s", b, file), 1 << 24, &bytes[1], &n[1]));
    ck_assert_msg(n[0] == n[1] && !memcmp(bytes[0], bytes[1], n[0]), "%s of %s and %s differ", file, a, b);
    fdit_free(bytes[0]);
    fdit_free(bytes[1]);
}

static void same_run(const char *a, const char *b)
{
    same_file(a, b, "delta.safetensors");
    same_file(a, b, "checkpoints/step-2.safetensors");
    same_file(a, b, "checkpoints/step-4.safetensors");
}

/* 1, 2, 3, 4, 6 and 12 processes, and 1, 2 and 3 of two devices each. */
START_TEST(same_bits)
{
    static const int sizes[] = { 1, 2, 3, 4, 6, 12 };
    double loss[STEPS + 1];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char name[32];
        snprintf(name, sizeof name, "on%d", sizes[i]);
        prepare(sizes[i], "cpu", name);
        run_all(sizes[i]);
        all_fine(sizes[i]);
        for (int n = 1; n <= STEPS; n++) {
            ck_assert(i == 0 || processes[0].loss[n] == loss[n]);
            loss[n] = processes[0].loss[n];
        }
        forget(sizes[i]);
        same_run("on1", name);
    }
    prepare(3, "cpu,ref", "on3x2");
    run_all(3);
    all_fine(3);
    for (int n = 1; n <= STEPS; n++)
        ck_assert_double_eq_tol(processes[0].loss[n], loss[n], 1e-5); /* ref computes other bits */
    forget(3);
    /* of two different devices each, the same shards are computed by the same kind of device */
    for (int size = 1; size <= 2; size++) {
        char name[32];
        snprintf(name, sizeof name, "on%dx2", size);
        prepare(size, "cpu,ref", name);
        run_all(size);
        all_fine(size);
        forget(size);
        same_run("on3x2", name);
    }
}
END_TEST

/* A model whose gradient goes in several pieces, each while the pass computes the next: the same bits for any
 * number of processes, and where the transport may be called in one thread only. */
START_TEST(in_pieces)
{
    static const int sizes[] = { 1, 2, 3, 4, 2 };
    for (int i = 0; i < 5; i++) {
        char name[32];
        const bool any_thread = i < 4;
        snprintf(name, sizeof name, "pieces%d", i);
        prepare(sizes[i], "cpu", name);
        for (int q = 0; q < sizes[i]; q++) {
            processes[q].options.model = "64,3,2,4";
            processes[q].ranks.any_thread = any_thread;
        }
        run_all(sizes[i]);
        all_fine(sizes[i]);
        /* three blocks are pieces of their own, with what is before the first and after the last */
        for (int q = 0; q < sizes[i]; q++)
            ck_assert_int_eq(processes[q].behind,
                             any_thread && sizes[i] > 1 ? STEPS * SHARDS / sizes[i] * 4 : 0);
        forget(sizes[i]);
        same_run("pieces0", name);
    }
}
END_TEST

/* What the validations say. */
static void same_validation(const char *a, const char *b)
{
    static const char key[] = "\"val_mse\":";
    uint8_t *text[2];
    size_t n;
    int found = 0;
    ck_assert_ok(ctx, fdit_file_read_all(ctx, test_path(folder, "%s/log.jsonl", a), 1 << 24, &text[0], &n));
    ck_assert_ok(ctx, fdit_file_read_all(ctx, test_path(folder, "%s/log.jsonl", b), 1 << 24, &text[1], &n));
    const char *x = (const char *)text[0], *y = (const char *)text[1];
    while ((x = strstr(x, key)) && (y = strstr(y, key))) {
        ck_assert_msg(!strncmp(x, y, strcspn(x, ",")), "%.40s of %s is %.40s of %s", x, a, y, b);
        x++, y++, found++;
    }
    ck_assert_int_ge(found, 3);
    fdit_free(text[0]);
    fdit_free(text[1]);
}

/* Each process keeps moments and averages of as many rows as the others: of the five that this table has, and
 * where there are more processes than that, some keep none. Files of all averages and validations, which need
 * all rows, are the same, with every optimiser; the first process needs no more memory than its part. */
START_TEST(kept_rows)
{
    static const int sizes[] = { 1, 2, 3, 4, 6 };
    enum { ROWS = 5 };
    for (int lion = 0; lion < 2; lion++) {
        const size_t sets = lion ? 4 : 5; /* moments, EMA and two profiles */
        const char *name = lion ? "lion1" : "adamw1";
        size_t rest = 0;
        for (int i = 0; i < 5; i++) {
            char out[32];
            const int size = sizes[i];
            snprintf(out, sizeof out, "%s%d", lion ? "lion" : "adamw", size);
            prepare(size, "cpu", out);
            for (int q = 0; q < size; q++) {
                struct fdit_train_options *o = &processes[q].options;
                o->optimiser = lion;
                o->beta1 = o->beta2 = 0;
                o->snapshots = 2;
                o->ema_profiles = true;
                o->validation = "0.2";
            }
            run_all(size);
            all_fine(size);
            for (int q = 0; q < size && size > 1; q++) {
                const int rows = (ROWS * (q + 1) + size - 1) / size - (ROWS * q + size - 1) / size;
                const size_t table = sets * (size_t)rows * WIDTH * sizeof(float);
                rest = q ? rest : processes[0].kept - table;
                ck_assert_uint_eq(processes[q].kept, (q ? 0 : rest) + table);
            }
            ck_assert(size == 1 || processes[0].kept < rest + sets * ROWS * WIDTH * sizeof(float));
            forget(size);
            same_run(name, out);
            same_validation(name, out);
            same_file(name, out, "val-classes.tsv");
            same_file(name, out, "snapshots/step-2.safetensors");
            same_file(name, out, "snapshots/step-4.ema-0.10.safetensors");
        }
    }
}
END_TEST

/* Without other processes, by the option; and on two devices. */
START_TEST(alone)
{
    for (int devices = 1; devices <= 2; devices++) {
        struct fdit_train_options o = options(devices);
        struct fdit_devices set = { 0 };
        char data[4096], out[4096], name[32];
        snprintf(name, sizeof name, "alone%d", devices);
        snprintf(data, sizeof data, "%s", test_path(folder, "data"));
        snprintf(out, sizeof out, "%s", test_path(folder, "%s", name));
        o.data = data;
        o.out = out;
        o.shards = true;
        ck_assert_ok(ctx, fdit_devices_open(ctx,
                                            &(struct fdit_device_options){
                                                .spec = devices == 1 ? "cpu" : "cpu,ref", .threads = 1 },
                                            &set));
        ck_assert_ok(ctx, fdit_train_run(ctx, &set, &o, NULL, false, NULL));
        fdit_devices_close(&set);
        if (devices == 1)
            same_run("on1", name);
    }
}
END_TEST

/* The class table travels whole at the beginning, in as many messages whatever a batch is: with 2 rows at a
 * time one of 100,000 classes would need 50,000, each of which all wait for. */
START_TEST(few_messages)
{
    int broadcasts[2];
    for (int k = 0; k < 2; k++) {
        prepare(2, "cpu", k ? "large" : "small");
        for (int q = 0; q < 2; q++) {
            processes[q].options.batch = k ? 8 : 1;
            processes[q].options.accumulate = 1;
        }
        run_all(2);
        all_fine(2);
        broadcasts[k] = processes[0].broadcasts;
        forget(2);
    }
    ck_assert_int_eq(broadcasts[0], broadcasts[1]);
}
END_TEST

/* Stopped after each step and on with another number, fewer and more. */
START_TEST(other_number)
{
    static const int sizes[][STEPS] = { { 3, 2, 3, 1 }, { 1, 4, 6, 2 } };
    prepare(1, "cpu", "unbroken");
    run_all(1);
    all_fine(1);
    forget(1);
    for (int k = 0; k < 2; k++) {
        char name[32];
        snprintf(name, sizeof name, "changing%d", k);
        for (int i = 0; i < STEPS; i++) {
            const int size = sizes[k][i];
            prepare(size, "cpu", name);
            for (int q = 0; q < size; q++) {
                processes[q].options.resume = i > 0;
                processes[q].options.checkpoint_every = 1000;
            }
            processes[0].asked_at = i < STEPS - 1 ? 1 + i : 0;
            run_all(size);
            for (int q = 0; q < size; q++)
                ck_assert_int_eq(processes[q].status, i < STEPS - 1 ? FDIT_INTERRUPTED : FDIT_OK);
            forget(size);
        }
        same_file(name, "unbroken", "delta.safetensors");
        same_file(name, "unbroken", "checkpoints/step-4.safetensors");
    }
}
END_TEST

/* A picture that cannot be decoded, at a process whose part of the state is not all: it says so, and asks the
 * others for nothing, who are in the next step. */
START_TEST(bad_picture)
{
    bool met = false;
    for (int i = 0; i < 12 && !met; i++) {
        char data[32], out[32], picture[64];
        snprintf(data, sizeof data, "bad%d", i);
        snprintf(out, sizeof out, "of-bad%d", i);
        test_classes(ctx, test_path(folder, "%s", data), 4, 12, 12);
        snprintf(picture, sizeof picture, "c001/p%05d.png", i);
        test_file(ctx, test_path(folder, "%s", data), picture, "\x89PNG\r\n\x1a\nno more", 15);
        prepare(2, "cpu", out);
        for (int q = 0; q < 2; q++)
            snprintf(processes[q].data, sizeof processes[q].data, "%s", test_path(folder, "%s", data));
        run_all(2);
        const char *said = fdit_context_message(processes[0].ctx);
        ck_assert_int_ne(processes[0].status, FDIT_OK);
        ck_assert_int_ne(processes[1].status, FDIT_OK);
        met = strstr(said, "p000") && processes[0].loss[1] > 0;
        ck_assert_msg(!strstr(said, "is kept"), "%s", said);
        forget(2);
    }
    ck_assert(met);
}
END_TEST

/* Whoever is asked, all stop after the same step. */
START_TEST(stop_of_any)
{
    prepare(4, "cpu", "stopped");
    processes[2].asked = 1;
    run_all(4);
    for (int q = 0; q < 4; q++)
        ck_assert_int_eq(processes[q].status, FDIT_INTERRUPTED);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(processes[0].ctx), "stopped after step 0"));
    forget(4);
}
END_TEST

static void all_say(int size, enum fdit_status status, const char *words)
{
    for (int q = 0; q < size; q++) {
        ck_assert_int_eq(processes[q].status, status);
        ck_assert_msg(strstr(fdit_context_message(processes[q].ctx), words) != NULL, "rank %d: %s", q,
                      fdit_context_message(processes[q].ctx));
    }
    forget(size);
}

/* What one cannot do, or has otherwise, fails in all before the first step, with its name. */
START_TEST(one_differs)
{
    prepare(3, "cpu", "absent");
    strcat(processes[1].data, "-not");
    run_all(3);
    all_say(3, FDIT_ERROR_IO, "rank 1 (here): ");
    ck_assert(!fdit_file_exists(test_path(folder, "absent/delta.safetensors")));

    prepare(3, "cpu", "absent0");
    strcat(processes[0].data, "-not");
    run_all(3);
    all_say(3, FDIT_ERROR_IO, "rank 0 (here): ");

    prepare(3, "cpu", "absent of all");
    for (int q = 0; q < 3; q++)
        strcat(processes[q].data, "-not");
    run_all(3);
    ck_assert_ptr_null(strstr(fdit_context_message(processes[0].ctx), "rank "));
    all_say(3, FDIT_ERROR_IO, "data-not");

    prepare(3, "cpu", "rate");
    processes[2].options.lr = 2e-3;
    run_all(3);
    all_say(3, FDIT_ERROR_ARGUMENT, "rank 2 (here) has other options, files or classes than rank 0 (here)");

    prepare(3, "cpu", "pictures");
    strcat(processes[2].data, "2");
    run_all(3);
    all_say(3, FDIT_ERROR_ARGUMENT, "rank 2 (here) has other ");
}
END_TEST

/* A gradient that is not finite in the first micro-batch of four of the second step, with a loss that is: all
 * end in that step, and the message names the rank whose it was. */
START_TEST(earlier_micro_batch)
{
    for (int rank = 0; rank < 3; rank++) {
        char name[32], words[100];
        snprintf(name, sizeof name, "spoilt%d", rank);
        prepare(3, "cpu", name);
        spoil.rank = rank;
        spoil.call = SHARDS / 3 + 1;
        run_all(3);
        spoil.rank = -1;
        snprintf(words, sizeof words, "rank %d (here): step 2: the gradient%s is not finite", rank,
                 rank ? " of an earlier micro-batch" : "");
        all_say(3, FDIT_ERROR_NUMERIC, words);
    }
}
END_TEST

/* Numbers of all trained groups but the class table's, with what aligns them. */
static size_t dense_numbers(const struct fdit_train_options *o)
{
    struct fdit_model_config config;
    struct fdit_params params;
    size_t n = 0;
    struct fdit_checkpoint *delta;
    ck_assert_ok(
        ctx, fdit_checkpoint_open(ctx, test_path(folder, "on1/delta.safetensors"), FDIT_VALUES_RAW, &delta));
    ck_assert_ok(ctx, fdit_delta_config(ctx, delta, &config));
    fdit_checkpoint_close(delta);
    ck_assert_ok(ctx, fdit_params_init(ctx, &config, fdit_mask_find(o->tune), &params));
    for (int g = 0; g < params.n_groups; g++)
        n += g == fdit_group_table(&config) ? 0 : params.groups[g].trained;
    fdit_params_fini(&params);
    return n;
}

/* What travels in a step is what the headers say, within 5 %: of a process that is not rank 0 its shards of
 * the dense numbers, its part of their sum, for each shard the numbers and gradients of the rows, and the
 * values of those that it keeps. */
START_TEST(traffic)
{
    for (int size = 2; size <= 4; size++) {
        uint64_t sent[2];
        char name[32];
        for (int more = 0; more < 2; more++) { /* the difference is without what comes once */
            snprintf(name, sizeof name, "traffic%d-%d", size, more);
            prepare(size, "cpu", name);
            for (int q = 0; q < size; q++)
                processes[q].options.steps = more ? 2 * STEPS : STEPS;
            run_all(size);
            all_fine(size);
            sent[more] = processes[size - 1].traffic.bytes;
            forget(size);
        }
        const double n = (double)dense_numbers(&processes[0].options), shards = SHARDS / size;
        const int kept = 5 - (5 * (size - 1) + size - 1) / size; /* rows of five, each needed once a step */
        const double wanted = shards * 4 * (n * (size - 1) / size + SHARD * (size - 1.0 + WIDTH)) +
                              4 * n / size + 4.0 * (size - 1) * kept * WIDTH;
        const double measured = (double)(sent[1] - sent[0]) / STEPS;
        ck_assert_msg(fabs(measured / wanted - 1) < 0.05, "%d processes: %g bytes a step, not %g", size,
                      measured, wanted);
    }
}
END_TEST

static void make_folder(void)
{
    folder = test_folder();
    test_classes(ctx, test_path(folder, "data"), 4, 12, 12);
    test_classes(ctx, test_path(folder, "data2"), 4, 12, 12);
    test_picture(ctx, test_path(folder, "data2"), "c001/p00003.png", 12, 77);
}

static void remove_folder(void)
{
    test_folder_remove(folder);
}

int main(void)
{
    ctx = fdit_context_new();
    Suite *suite = suite_create("ranks");
    TCase *tcase = tcase_create("ranks");
    tcase_add_unchecked_fixture(tcase, make_folder, remove_folder);
    tcase_add_test(tcase, same_bits);
    tcase_add_test(tcase, in_pieces);
    tcase_add_test(tcase, kept_rows);
    tcase_add_test(tcase, bad_picture);
    tcase_add_test(tcase, alone);
    tcase_add_test(tcase, other_number);
    tcase_add_test(tcase, few_messages);
    tcase_add_test(tcase, stop_of_any);
    tcase_add_test(tcase, one_differs);
    tcase_add_test(tcase, earlier_micro_batch);
    tcase_add_test(tcase, traffic);
    suite_add_tcase(suite, tcase);
    int result = test_run(suite);
    fdit_context_free(ctx);
    return result;
}
