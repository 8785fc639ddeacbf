/* SPDX-License-Identifier: Apache-2.0
 * The loader: the same batches for any number of workers and from any start, reshuffled epochs,
 * mirror images, broken pictures, caches. */
#include "core/clock.h"
#include "core/mem.h"
#include "core/rng.h"
#include "data/loader.h"
#include "data_fixture.h"
#include "format/safetensors.h"
#include "harness.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static fdit_context *ctx;
static size_t live_before;
static atomic_int n_logged;

static void count_log(void *user, enum fdit_log_level level, const char *message)
{
    (void)user;
    (void)level;
    (void)message;
    atomic_fetch_add(&n_logged, 1);
}

static void setup(void)
{
    live_before = fdit_mem_stats().count;
    ctx = fdit_context_new();
    fdit_context_set_log(ctx, count_log, NULL);
    atomic_store(&n_logged, 0);
}

static void teardown(void)
{
    fdit_context_free(ctx);
    ck_assert_uint_eq(fdit_mem_stats().count, live_before);
}

/* ------------------------------------------------------------------ a source without files */

enum { width = 4 };

struct fake {
    size_t n;
    const bool *bad;  /* [n] or NULL */
    size_t fails_at;  /* item that cannot be read at all; SIZE_MAX = none */
    long nanoseconds; /* that reading takes */
    atomic_uint reads;
};

/* Item i is the bytes 4 i, 4 i + 1, ...; mirrored, they are reversed. */
static enum fdit_status fake_read(fdit_context *worker, void *self, size_t i, void *item)
{
    struct fake *f = self;
    uint32_t *v = item;
    atomic_fetch_add(&f->reads, 1);
    if (f->nanoseconds)
        nanosleep(&(struct timespec){ .tv_nsec = f->nanoseconds }, NULL);
    if (i == f->fails_at)
        return fdit_fail(worker, FDIT_ERROR_IO, "item %zu: it is gone", i);
    if (f->bad && f->bad[i])
        return fdit_fail(worker, FDIT_ERROR_FORMAT, "item %zu: broken", i);
    for (uint32_t k = 0; k < width; k++)
        v[k] = (uint32_t)i * width + k;
    return FDIT_OK;
}

static void fake_expand(void *self, const void *item, bool mirror, uint64_t seed, uint64_t position,
                        float *out)
{
    (void)self;
    (void)seed;
    (void)position;
    const uint32_t *v = item;
    for (int k = 0; k < width; k++)
        out[k] = (float)v[mirror ? width - 1 - k : k];
}

static int32_t fake_label(void *self, size_t i)
{
    (void)self;
    return (int32_t)i * 10;
}

static struct fdit_loader *open_fake(struct fake *f, const struct fdit_loader_options *o)
{
    struct fdit_source source = { .self = f,
                                  .n = f->n,
                                  .item_bytes = width * sizeof(uint32_t),
                                  .item_size = width,
                                  .read = fake_read,
                                  .expand = fake_expand,
                                  .label = fake_label };
    struct fdit_loader *l = NULL;
    ck_assert_ok(ctx, fdit_loader_open_source(ctx, &source, NULL, 0, o, &l));
    return l;
}

/* What a sample showed: the item, and whether it was mirrored. */
struct shown {
    uint64_t position, epoch;
    size_t item;
    bool mirrored;
};

static size_t take(struct fdit_loader *l, size_t n_batches, struct shown *out)
{
    size_t n = 0;
    for (size_t b = 0; b < n_batches; b++) {
        struct fdit_batch batch;
        ck_assert_ok(ctx, fdit_loader_next(ctx, l, &batch));
        for (size_t i = 0; i < batch.n; i++) {
            const float *x = batch.x + i * width;
            bool mirrored = x[0] > x[width - 1];
            size_t item = (size_t)(mirrored ? x[width - 1] : x[0]) / width;
            ck_assert_uint_eq(batch.index[i], item);
            ck_assert_int_eq(batch.labels[i], (int32_t)item * 10);
            for (int k = 0; k < width; k++)
                ck_assert(x[k] == (float)(item * width + (size_t)(mirrored ? width - 1 - k : k)));
            out[n++] = (struct shown){ batch.position + i, batch.epoch, item, mirrored };
        }
    }
    return n;
}

static bool same(const struct shown *a, const struct shown *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i].position != b[i].position || a[i].epoch != b[i].epoch || a[i].item != b[i].item ||
            a[i].mirrored != b[i].mirrored)
            return false;
    return true;
}

/* ------------------------------------------------------------------ order */

START_TEST(test_workers)
{
    /* The same samples for any number of workers, ring and cache. */
    struct fake f = { .n = 23, .fails_at = SIZE_MAX };
    struct fdit_loader_options o = { .batch = 4, .seed = 99, .flip = true };
    struct shown wanted[400], got[400];
    struct fdit_loader *l = open_fake(&f, &o);
    size_t n = take(l, 100, wanted);
    fdit_loader_close(l);
    static const struct {
        int workers, ring;
        size_t cache;
    } cases[] = { { 1, 1, 0 }, { 3, 2, 0 }, { 8, 5, 1 << 20 }, { 2, 0, 7 * 16 + 3 }, { 0, 0, 1 << 20 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        o.workers = cases[i].workers;
        o.ring = cases[i].ring;
        o.cache_bytes = cases[i].cache;
        f.nanoseconds = i == 1 ? 20000 : 0;
        l = open_fake(&f, &o);
        take(l, 100, got);
        ck_assert_msg(same(wanted, got, n), "case %zu differs", i);
        struct fdit_loader_stats s = fdit_loader_stats(l);
        ck_assert_uint_eq(s.batches, 100);
        ck_assert_uint_eq(s.epoch_samples, 20);
        ck_assert_uint_le(s.cached, s.cache_items);
        ck_assert_uint_eq(s.cache_items, cases[i].cache >= 23 * 16 ? 23 : cases[i].cache / 16);
        fdit_loader_close(l);
    }
}
END_TEST

START_TEST(test_epochs)
{
    /* Each epoch is the documented permutation without its last samples; mirror choices follow the
     * documented bit. */
    enum { n = 23, batch = 5, E = 20, epochs = 6 };
    struct fake f = { .n = n, .fails_at = SIZE_MAX };
    struct fdit_loader_options o = { .batch = batch, .seed = 12345678901234u, .flip = true, .workers = 2 };
    struct shown got[E * epochs];
    struct fdit_loader *l = open_fake(&f, &o);
    ck_assert_uint_eq(take(l, E * epochs / batch, got), E * epochs);
    fdit_loader_close(l);
    uint32_t last[n] = { 0 };
    int mirrored = 0;
    for (uint32_t e = 0; e < epochs; e++) {
        uint32_t order[n];
        struct fdit_rng rng = { .seed = o.seed, .stream = e, .domain = FDIT_RNG_SHUFFLE };
        fdit_rng_permutation(&rng, n, order);
        ck_assert(memcmp(order, last, sizeof order));
        memcpy(last, order, sizeof order);
        for (uint32_t i = 0; i < E; i++) {
            const struct shown *s = &got[e * E + i];
            uint32_t word;
            struct fdit_rng flip = { .seed = o.seed, .domain = FDIT_RNG_FLIP };
            fdit_rng_fill_words(&flip, e * E + i, 1, &word);
            ck_assert_uint_eq(s->position, e * E + i);
            ck_assert_uint_eq(s->epoch, e);
            ck_assert_uint_eq(s->item, order[i]);
            ck_assert_int_eq(s->mirrored, word & 1);
            mirrored += s->mirrored;
        }
    }
    ck_assert(mirrored > E * epochs / 4 && mirrored < E * epochs * 3 / 4);
}
END_TEST

START_TEST(test_resume)
{
    /* From any batch on: what the unbroken run gave there. Epochs of one, two and many batches. */
    static const size_t batches[] = { 20, 10, 3 };
    for (size_t c = 0; c < 3; c++) {
        struct fake f = { .n = 21, .fails_at = SIZE_MAX };
        struct fdit_loader_options o = { .batch = batches[c], .seed = 5, .flip = true, .workers = 2 };
        enum { total = 30 };
        struct shown whole[total * 20], rest[total * 20];
        struct fdit_loader *l = open_fake(&f, &o);
        size_t n = take(l, total, whole);
        fdit_loader_close(l);
        for (size_t from = 1; from < total; from += 4) {
            o.start = from * o.batch;
            l = open_fake(&f, &o);
            take(l, total - from, rest);
            ck_assert_msg(same(whole + o.start, rest, n - o.start), "batch %zu, from %zu", o.batch, from);
            fdit_loader_close(l);
        }
    }
    /* Far away, where positions need more than 32 bits. */
    struct fake f = { .n = 21, .fails_at = SIZE_MAX };
    struct fdit_loader_options o = { .batch = 3, .seed = 5, .start = (uint64_t)3 << 40 };
    struct shown a[30];
    struct fdit_loader *l = open_fake(&f, &o);
    take(l, 10, a);
    ck_assert_uint_eq(a[0].position, o.start);
    ck_assert_uint_eq(a[0].epoch, o.start / 21);
    fdit_loader_close(l);
}
END_TEST

START_TEST(test_next_position)
{
    struct fake f = { .n = 30, .fails_at = SIZE_MAX };
    struct fdit_loader_options o = { .batch = 3, .part = 1, .parts = 2, .start = 12, .workers = 1 };
    struct fdit_loader *l = open_fake(&f, &o);
    struct fdit_batch b;
    ck_assert_ok(ctx, fdit_loader_next(ctx, l, &b));
    ck_assert_uint_eq(b.position, 15);
    ck_assert_uint_eq(b.next, 18);
    fdit_loader_close(l);
}
END_TEST

START_TEST(test_parts)
{
    /* The parts of a batch, side by side, are the batch of one loader; the group decides what an
     * epoch drops. */
    enum { parts = 3, batch = 2, batches = 20 };
    struct fake f = { .n = 41, .fails_at = SIZE_MAX };
    struct shown whole[parts * batch * batches], part[batch * batches];
    struct fdit_loader_options o = { .batch = parts * batch, .group = 12, .seed = 3, .flip = true };
    struct fdit_loader *l = open_fake(&f, &o);
    ck_assert_uint_eq(fdit_loader_stats(l).epoch_samples, 36);
    take(l, batches, whole);
    fdit_loader_close(l);
    for (size_t p = 0; p < parts; p++) {
        struct fdit_loader_options own = o;
        own.batch = batch;
        own.part = p;
        own.parts = parts;
        own.workers = 2;
        l = open_fake(&f, &own);
        take(l, batches, part);
        for (size_t b = 0; b < batches; b++)
            ck_assert(same(whole + b * parts * batch + p * batch, part + b * batch, batch));
        fdit_loader_close(l);
    }
}
END_TEST

START_TEST(test_in_order)
{
    struct fake f = { .n = 11, .fails_at = SIZE_MAX };
    struct fdit_loader_options o = { .batch = 2, .in_order = true, .workers = 3 };
    struct shown got[30];
    struct fdit_loader *l = open_fake(&f, &o);
    take(l, 15, got);
    for (size_t i = 0; i < 30; i++) {
        ck_assert_uint_eq(got[i].item, i % 10);
        ck_assert(!got[i].mirrored); /* not asked for */
    }
    fdit_loader_close(l);
}
END_TEST

/* ------------------------------------------------------------------ failures */

START_TEST(test_skip_bad)
{
    /* Bad items are replaced by the next good one, whoever finds them; counted and logged once. */
    enum { n = 12, batches = 30 };
    bool bad[n] = { [0] = true, [5] = true, [6] = true, [11] = true };
    struct fake f = { .n = n, .fails_at = SIZE_MAX, .bad = bad };
    struct fdit_loader_options o = { .batch = 4, .seed = 8, .skip_bad = true };
    struct shown all[4 * batches], some[4 * batches], good[4 * batches];
    struct fdit_loader *l = open_fake(&f, &o);
    take(l, batches, all);
    ck_assert_uint_eq(fdit_loader_stats(l).skipped, 4);
    ck_assert_int_eq(atomic_load(&n_logged), 4);
    fdit_loader_close(l);
    f.bad = NULL;
    l = open_fake(&f, &o);
    take(l, batches, good);
    fdit_loader_close(l);
    for (size_t i = 0; i < 4 * batches; i++) {
        size_t wanted = good[i].item;
        while (bad[wanted])
            wanted = (wanted + 1) % n;
        ck_assert_uint_eq(all[i].item, wanted);
    }
    f.bad = bad;
    for (int workers = 1; workers <= 4; workers += 3)
        for (size_t from = 0; from < 20; from += 7) {
            o.workers = workers;
            o.start = from * 4;
            o.cache_bytes = from * 16;
            l = open_fake(&f, &o);
            take(l, batches - from, some);
            ck_assert(same(all + o.start, some, 4 * batches - o.start));
            fdit_loader_close(l);
        }
    for (int i = 0; i < n; i++)
        bad[i] = true;
    o.start = 0;
    l = open_fake(&f, &o);
    struct fdit_batch b;
    ck_assert_int_eq(fdit_loader_next(ctx, l, &b), FDIT_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "all 12 pictures are broken"));
    fdit_loader_close(l);
}
END_TEST

START_TEST(test_errors_surface)
{
    /* A bad item without skip_bad, and one that cannot be read even with it: batches before it
     * come, it is named when its batch is due, and again after that. */
    for (int workers = 0; workers <= 4; workers += 2)
        for (int skip = 0; skip < 2; skip++) {
            bool bad[20] = { [13] = !skip };
            struct fake f = { .n = 20, .fails_at = skip ? 13 : SIZE_MAX, .bad = bad };
            struct fdit_loader_options o = {
                .batch = 4, .in_order = true, .workers = workers, .skip_bad = skip
            };
            struct fdit_loader *l = open_fake(&f, &o);
            struct shown got[12];
            take(l, 3, got);
            for (int again = 0; again < 2; again++) {
                struct fdit_batch b;
                enum fdit_status status = fdit_loader_next(ctx, l, &b);
                ck_assert_int_eq(status, skip ? FDIT_ERROR_IO : FDIT_ERROR_FORMAT);
                ck_assert_str_eq(fdit_context_message(ctx), skip ? "item 13: it is gone" : "item 13: broken");
            }
            fdit_loader_close(l);
        }
}
END_TEST

START_TEST(test_stop)
{
    struct fake f = { .n = 20, .fails_at = SIZE_MAX, .nanoseconds = 200000000 };
    for (int workers = 0; workers <= 1; workers++) {
        struct fdit_loader_options o = { .batch = 10, .workers = workers };
        struct fdit_loader *l = open_fake(&f, &o);
        struct fdit_batch b;
        fdit_context_stop(ctx);
        ck_assert_int_eq(fdit_loader_next(ctx, l, &b), FDIT_INTERRUPTED);
        ck_assert_uint_lt(atomic_load(&f.reads), 10);
        fdit_loader_close(l);
    }
}
END_TEST

START_TEST(test_refused)
{
    struct fake f = { .n = 10, .fails_at = SIZE_MAX };
    struct fdit_source source = { .self = &f,
                                  .n = 10,
                                  .item_bytes = 16,
                                  .item_size = width,
                                  .read = fake_read,
                                  .expand = fake_expand,
                                  .label = fake_label };
    static const struct fdit_loader_options bad[] = {
        { .batch = 0 },
        { .batch = 11 },
        { .batch = 4, .parts = 3 },
        { .batch = 2, .group = 5 },
        { .batch = 2, .group = 12 },
        { .batch = 2, .start = 3 },
        { .batch = 2, .part = 1 },
        { .batch = 2, .workers = -1 },
        { .batch = 2, .ring = -1 },
        { .batch = 2, .ring = 10000 },
        { .batch = SIZE_MAX, .parts = 3 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct fdit_loader *l;
        ck_assert_int_eq(fdit_loader_open_source(ctx, &source, NULL, 0, &bad[i], &l), FDIT_ERROR_ARGUMENT);
        ck_assert_ptr_null(l);
    }
    struct fdit_loader *l;
    struct fdit_loader_options o = { .batch = 11 };
    ck_assert_int_eq(fdit_loader_open_source(ctx, &source, NULL, 0, &o, &l), FDIT_ERROR_ARGUMENT);
    ck_assert_str_eq(fdit_context_message(ctx), "a step takes 11 pictures, the data has 10; use a smaller "
                                                "--batch or --accumulate");
    o.batch = 2;
    uint32_t subset[] = { 3, 10 };
    ck_assert_int_eq(fdit_loader_open_source(ctx, &source, subset, 2, &o, &l), FDIT_ERROR_ARGUMENT);
}
END_TEST

START_TEST(test_memory)
{
    struct fake f = { .n = 10, .fails_at = SIZE_MAX };
    struct fdit_source source = { .self = &f,
                                  .n = 10,
                                  .item_bytes = 16,
                                  .item_size = width,
                                  .read = fake_read,
                                  .expand = fake_expand,
                                  .label = fake_label };
    struct fdit_loader_options o = { .batch = 2, .workers = 2, .cache_bytes = 100 };
    uint32_t subset[] = { 3, 9, 1 };
    bool ok = false;
    size_t live = fdit_mem_stats().count;
    for (uint64_t n = 1; !ok; n++) {
        struct fdit_loader *l;
        fdit_mem_fail_at(n);
        enum fdit_status status = fdit_loader_open_source(ctx, &source, subset, 3, &o, &l);
        fdit_mem_fail_at(0);
        ok = status == FDIT_OK;
        ck_assert(ok || (status == FDIT_ERROR_MEMORY && !l));
        fdit_loader_close(l);
        ck_assert_uint_eq(fdit_mem_stats().count, live);
        ck_assert_uint_lt(n, 1000);
    }
    /* What the plan says is what it takes, but for small structs. */
    o = (struct fdit_loader_options){ .batch = 100, .workers = 3, .ring = 4, .cache_bytes = 1 << 20 };
    struct fake large = { .n = 50000, .fails_at = SIZE_MAX };
    size_t before = fdit_mem_stats().bytes, planned = fdit_loader_bytes(large.n, 16, width, &o);
    struct fdit_loader *l = open_fake(&large, &o);
    size_t took = fdit_mem_stats().bytes - before;
    ck_assert_msg(took >= planned - 300000 && took <= planned + 4096, "planned %zu, took %zu", planned, took);
    ck_assert_uint_eq(fdit_loader_stats(l).memory_bytes, planned);
    fdit_loader_close(l);
}
END_TEST

/* ------------------------------------------------------------------ balance */

/* A long tail: of 60 items 40 are of class 0, 16 of class 2, 4 of class 3, none of class 1. */
static int32_t tail_label(void *self, size_t i)
{
    (void)self;
    return i % 3 != 0 ? 0 : i % 15 != 0 ? 2 : 3;
}

static struct fdit_loader *open_tail(struct fake *f, const struct fdit_loader_options *o)
{
    struct fdit_source source = { .self = f,
                                  .n = f->n,
                                  .item_bytes = width * sizeof(uint32_t),
                                  .item_size = width,
                                  .read = fake_read,
                                  .expand = fake_expand,
                                  .label = tail_label };
    struct fdit_loader *l = NULL;
    ck_assert_ok(ctx, fdit_loader_open_source(ctx, &source, NULL, 0, o, &l));
    return l;
}

/* Samples of each class in every epoch, and of each item in all of them. */
static void count_tail(struct fdit_loader_options o, int epochs, const double share[4], size_t of_item[60])
{
    struct fake f = { .n = 60, .fails_at = SIZE_MAX };
    const int repeats = o.repeats ? o.repeats : 1;
    struct fdit_loader *l = open_tail(&f, &o);
    double all[4] = { 0 };
    struct fdit_batch b;
    const size_t samples = 60 * (size_t)repeats;
    ck_assert_uint_eq(fdit_loader_stats(l).epoch_samples, samples);
    memset(of_item, 0, 60 * sizeof *of_item);
    for (int e = 0; e < epochs; e++) {
        double count[4] = { 0 };
        for (size_t i = 0; i < samples / o.batch; i++) {
            ck_assert_ok(ctx, fdit_loader_next(ctx, l, &b));
            ck_assert_uint_eq(b.epoch, (uint64_t)e);
            for (size_t k = 0; k < b.n; k++) {
                ck_assert_int_eq(b.labels[k], tail_label(NULL, b.index[k]));
                count[b.labels[k]]++;
                of_item[b.index[k]]++;
            }
        }
        for (int c = 0; c < 4; c++) {
            ck_assert(fabs(count[c] - share[c] * repeats) < 1); /* rounded down or up */
            all[c] += count[c];
        }
    }
    for (int c = 0; c < 4; c++)
        ck_assert_double_eq_tol(all[c] / epochs, share[c] * repeats, 0.15);
    fdit_loader_close(l);
}

START_TEST(test_balance)
{
    const double roots = sqrt(40) + 4 + 2;
    const double none[4] = { 40, 0, 16, 4 }, even[4] = { 20, 0, 20, 20 },
                 root[4] = { 60 * sqrt(40) / roots, 0, 240 / roots, 120 / roots };
    size_t n[60];
    for (int workers = 0; workers < 4; workers += 3) {
        struct fdit_loader_options o = { .batch = 6, .seed = 3, .workers = workers, .classes = 4 };
        o.balance = FDIT_BALANCE_UNIFORM;
        count_tail(o, 40, even, n);
        for (size_t i = 0; i < 60; i++) /* within a class all items as often: rare ones five times an epoch */
            ck_assert_double_eq_tol((double)n[i] / 40, i % 15 == 0 ? 5 : i % 3 == 0 ? 1.25 : 0.5, 0.3);
        o.balance = FDIT_BALANCE_SQRT;
        count_tail(o, 40, root, n);
        o.balance = FDIT_BALANCE_NONE;
        o.repeats = 3;
        count_tail(o, 5, none, n);
        for (size_t i = 0; i < 60; i++)
            ck_assert_uint_eq(n[i], 15);
        o.balance = FDIT_BALANCE_SQRT;
        count_tail(o, 40, root, n);
    }
}
END_TEST

/* The same order for any number of workers, for parts, and from any place on; another one in each epoch. */
START_TEST(test_balance_order)
{
    struct fdit_loader_options o = {
        .batch = 4, .group = 4, .seed = 9, .classes = 4, .balance = FDIT_BALANCE_SQRT, .repeats = 2
    };
    struct fake f = { .n = 60, .fails_at = SIZE_MAX };
    uint64_t whole[320];
    struct fdit_batch b;
    for (int workers = 0; workers < 4; workers += 3) {
        o.workers = workers;
        struct fdit_loader *l = open_tail(&f, &o);
        for (size_t i = 0; i < 80; i++) {
            ck_assert_ok(ctx, fdit_loader_next(ctx, l, &b));
            for (size_t k = 0; k < 4; k++) {
                ck_assert(workers == 0 || whole[4 * i + k] == b.index[k]);
                whole[4 * i + k] = b.index[k];
            }
        }
        fdit_loader_close(l);
    }
    ck_assert_int_ne(memcmp(whole, whole + 120, 120 * sizeof *whole), 0);
    o.batch = 2;
    o.parts = 2;
    o.start = 132;
    for (o.part = 0; o.part < 2; o.part++) {
        struct fdit_loader *l = open_tail(&f, &o);
        for (size_t i = 0; i < 40; i++) {
            ck_assert_ok(ctx, fdit_loader_next(ctx, l, &b));
            for (size_t k = 0; k < 2; k++)
                ck_assert_uint_eq(b.index[k], whole[132 + 4 * i + 2 * o.part + k]);
        }
        fdit_loader_close(l);
    }
}
END_TEST

START_TEST(test_balance_memory)
{
    struct fdit_loader_options o = { .batch = 100, .workers = 1, .balance = FDIT_BALANCE_SQRT, .repeats = 3 };
    struct fake large = { .n = 50000, .fails_at = SIZE_MAX };
    struct fdit_source source = { .self = &large,
                                  .n = 60,
                                  .item_bytes = 16,
                                  .item_size = width,
                                  .read = fake_read,
                                  .expand = fake_expand,
                                  .label = tail_label };
    bool ok = false;
    o.classes = 4;
    size_t before = fdit_mem_stats().bytes, planned = fdit_loader_bytes(large.n, 16, width, &o);
    struct fdit_loader *l = open_tail(&large, &o);
    size_t took = fdit_mem_stats().bytes - before;
    ck_assert_msg(took >= planned - 300000 && took <= planned + 4096, "planned %zu, took %zu", planned, took);
    fdit_loader_close(l);
    o.batch = 2;
    for (uint64_t n = 1; !ok; n++) {
        before = fdit_mem_stats().count;
        fdit_mem_fail_at(n);
        enum fdit_status status = fdit_loader_open_source(ctx, &source, NULL, 0, &o, &l);
        fdit_mem_fail_at(0);
        ok = status == FDIT_OK;
        ck_assert(ok || (status == FDIT_ERROR_MEMORY && !l));
        fdit_loader_close(l);
        ck_assert_uint_eq(fdit_mem_stats().count, before);
    }
    o.classes = 3; /* one of the labels is not below it */
    ck_assert_int_eq(fdit_loader_open_source(ctx, &source, NULL, 0, &o, &l), FDIT_ERROR_ARGUMENT);
}
END_TEST

/* ------------------------------------------------------------------ speed */

START_TEST(test_cache_and_stalls)
{
    /* Once all is cached nothing is read, and a step that takes longer than the copying never
     * waits. */
    struct fake f = { .n = 64, .fails_at = SIZE_MAX, .nanoseconds = 100000 };
    struct fdit_loader_options o = { .batch = 8, .seed = 1, .workers = 2, .cache_bytes = 1 << 20 };
    struct fdit_loader *l = open_fake(&f, &o);
    struct fdit_batch b;
    for (int i = 0; i < 8 + 8; i++)
        ck_assert_ok(ctx, fdit_loader_next(ctx, l, &b));
    unsigned reads = atomic_load(&f.reads);
    struct fdit_loader_stats before = fdit_loader_stats(l);
    uint64_t calls = fdit_mem_stats().calls;
    ck_assert_uint_eq(before.cached, 64);
    /* A busy machine may hold the workers up for a while: one of several rounds has to be undisturbed. */
    double least = INFINITY;
    for (int round = 0; round < 20 && !(least < 0.25); round++) {
        before = fdit_loader_stats(l);
        double start = fdit_clock_seconds();
        for (int i = 0; i < 40; i++) {
            nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL); /* the training step */
            ck_assert_ok(ctx, fdit_loader_next(ctx, l, &b));
        }
        struct fdit_loader_stats after = fdit_loader_stats(l);
        ck_assert_uint_eq(after.read, before.read);
        double share = (after.stall_seconds - before.stall_seconds) / (fdit_clock_seconds() - start);
        least = share < least ? share : least;
    }
    ck_assert_uint_eq(atomic_load(&f.reads), reads);
    ck_assert_uint_eq(fdit_mem_stats().calls, calls);
    ck_assert_msg(least < 0.25, "the trainer waited for %.0f %% of its time at the least", 100 * least);
    fdit_loader_close(l);
}
END_TEST

START_TEST(test_close_early)
{
    /* At once, and in the middle of an epoch, with workers busy. */
    struct fake f = { .n = 64, .fails_at = SIZE_MAX, .nanoseconds = 50000 };
    for (int i = 0; i < 20; i++) {
        struct fdit_loader_options o = { .batch = 8, .workers = 1 + i % 5 };
        struct fdit_loader *l = open_fake(&f, &o);
        struct shown got[8];
        if (i % 2)
            take(l, 1, got);
        fdit_loader_close(l);
    }
    fdit_loader_close(NULL);
}
END_TEST

/* ------------------------------------------------------------------ pictures */

START_TEST(test_pictures)
{
    /* Values, layout, mirror images and labels of real pictures. */
    enum { S = 6 };
    char *folder = test_folder();
    test_classes(ctx, folder, 3, 5, 9);
    struct fdit_dataset *ds;
    struct fdit_dataset_options set = { .size = S, .channels = 3, .flip = true };
    ck_assert_ok(ctx, fdit_dataset_open(ctx, folder, &set, &ds));
    const uint32_t subset[] = { 2, 3, 5, 7, 11, 13 };
    for (int cached = 0; cached < 2; cached++) {
        struct fdit_loader_options o = {
            .batch = 3, .seed = 2, .flip = true, .workers = 2, .cache_bytes = cached ? 1 << 20 : 0
        };
        struct fdit_loader *l;
        ck_assert_ok(ctx, fdit_loader_open(ctx, ds, subset, 6, &o, &l));
        int mirrored = 0, seen[15] = { 0 };
        for (int step = 0; step < 10; step++) {
            struct fdit_batch b;
            ck_assert_ok(ctx, fdit_loader_next(ctx, l, &b));
            ck_assert_uint_eq(b.n, 3);
            for (size_t i = 0; i < b.n; i++) {
                uint8_t chw[3 * S * S];
                uint32_t word;
                struct fdit_rng flip = { .seed = 2, .domain = FDIT_RNG_FLIP };
                fdit_rng_fill_words(&flip, b.position + i, 1, &word);
                ck_assert_ok(ctx, fdit_dataset_decode(ctx, ds, b.index[i], chw));
                ck_assert_int_eq(b.labels[i], fdit_dataset_label(ds, b.index[i]));
                seen[b.index[i]]++;
                mirrored += word & 1;
                for (int r = 0; r < 3 * S; r++)
                    for (int x = 0; x < S; x++) {
                        float v = (float)chw[r * S + (word & 1 ? S - 1 - x : x)];
                        ck_assert(b.x[(i * 3 * S + (size_t)r) * S + (size_t)x] == (v / 255.0f - 0.5f) / 0.5f);
                    }
            }
        }
        ck_assert(mirrored > 0 && mirrored < 30);
        for (int i = 0; i < 6; i++)
            ck_assert_int_eq(seen[subset[i]], 5);
        fdit_loader_close(l);
    }
    fdit_dataset_close(ds);
    test_folder_remove(folder);
}
END_TEST

START_TEST(test_reference_values)
{
    /* All 256 bytes, as the reference turns them into numbers. */
    struct fdit_safetensors *st = NULL;
    const struct fdit_st_tensor *t;
    float wanted[256];
    char *path = test_fixture("image/values.safetensors");
    ck_assert_ok(ctx, fdit_safetensors_open(ctx, path, &st));
    ck_assert_ok(ctx, fdit_safetensors_need(ctx, st, "all_256", -1, NULL, &t));
    ck_assert_uint_eq(t->n, 256);
    ck_assert_ok(ctx, fdit_safetensors_f32(ctx, st, t, 0, 256, wanted));
    fdit_safetensors_close(st);
    free(path);
    char *folder = test_folder();
    test_picture(ctx, folder, "a/1.png", 64, 9);
    struct fdit_dataset *ds;
    struct fdit_dataset_options set = { .size = 64, .channels = 3 };
    ck_assert_ok(ctx, fdit_dataset_open(ctx, folder, &set, &ds));
    struct fdit_loader *l;
    struct fdit_loader_options o = { .batch = 1 };
    ck_assert_ok(ctx, fdit_loader_open(ctx, ds, NULL, 0, &o, &l));
    struct fdit_batch b;
    ck_assert_ok(ctx, fdit_loader_next(ctx, l, &b));
    uint8_t *chw;
    ck_assert_ok(ctx, fdit_alloc(ctx, 3, 64 * 64, &chw));
    ck_assert_ok(ctx, fdit_dataset_decode(ctx, ds, 0, chw));
    for (int i = 0; i < 3 * 64 * 64; i++)
        ck_assert(b.x[i] == wanted[chw[i]]);
    fdit_free(chw);
    fdit_loader_close(l);
    fdit_dataset_close(ds);
    test_folder_remove(folder);
}
END_TEST

START_TEST(test_broken_picture)
{
    char *folder = test_folder();
    test_classes(ctx, folder, 1, 6, 9);
    test_file(ctx, folder, "c000/p00003.png", "\x89PNG\r\n\x1a\n and no more", 20);
    struct fdit_dataset *ds;
    struct fdit_dataset_options set = { .size = 6, .channels = 1 };
    ck_assert_ok(ctx, fdit_dataset_open(ctx, folder, &set, &ds));
    for (int skip = 0; skip < 2; skip++) {
        struct fdit_loader *l;
        struct fdit_loader_options o = { .batch = 6, .workers = 2, .skip_bad = skip, .in_order = true };
        ck_assert_ok(ctx, fdit_loader_open(ctx, ds, NULL, 0, &o, &l));
        struct fdit_batch b;
        enum fdit_status status = fdit_loader_next(ctx, l, &b);
        if (skip) {
            ck_assert_int_eq(status, FDIT_OK);
            ck_assert_uint_eq(b.index[2], 2);
            ck_assert_uint_eq(b.index[3], 4);
            ck_assert_uint_eq(b.index[4], 4);
            ck_assert_uint_eq(fdit_loader_stats(l).skipped, 1);
        } else {
            ck_assert_int_eq(status, FDIT_ERROR_FORMAT);
            ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "c000/p00003.png"));
        }
        fdit_loader_close(l);
    }
    ck_assert_int_eq(atomic_load(&n_logged), 1);
    fdit_dataset_close(ds);
    test_folder_remove(folder);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loader");
    TCase *c = tcase_create("loader");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, test_workers);
    tcase_add_test(c, test_epochs);
    tcase_add_test(c, test_resume);
    tcase_add_test(c, test_next_position);
    tcase_add_test(c, test_parts);
    tcase_add_test(c, test_in_order);
    tcase_add_test(c, test_skip_bad);
    tcase_add_test(c, test_errors_surface);
    tcase_add_test(c, test_stop);
    tcase_add_test(c, test_refused);
    tcase_add_test(c, test_memory);
    tcase_add_test(c, test_balance);
    tcase_add_test(c, test_balance_order);
    tcase_add_test(c, test_balance_memory);
    tcase_add_test(c, test_cache_and_stalls);
    tcase_add_test(c, test_close_early);
    tcase_add_test(c, test_pictures);
    tcase_add_test(c, test_reference_values);
    tcase_add_test(c, test_broken_picture);
    suite_add_tcase(suite, c);
    return test_run(suite);
}
