/* SPDX-License-Identifier: Apache-2.0
 * Workers take samples in the order of their positions, under one lock, and fill the places of a
 * ring of batches. Whoever takes the first sample of an epoch must have its permutation: two are
 * kept, the present one and the next, which the first idle worker computes.
 *
 * The lock covers counters and states only; reading, expanding and permuting happen outside of it.
 */
#include "data/loader.h"

#include "core/clock.h"
#include "core/mem.h"
#include "core/rng.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { default_ring = 3, most_ring = 64, most_workers = 1024, largest_chunk = 16 };

/* State of an item. */
enum { ITEM_UNREAD, ITEM_FILLING, ITEM_CACHED, ITEM_BAD };

struct slot {
    float *x;
    int32_t *labels;
    uint64_t *index;
    size_t left;       /* samples that are not done */
    uint64_t error_at; /* position of the first sample that failed */
    enum fdit_status status;
    fdit_context *error; /* holds its message */
};

struct order {
    uint64_t epoch;
    bool ready, busy;
    uint32_t *items;   /* [n], balanced [per_epoch] */
    uint32_t *scratch; /* balanced: [n] */
};

struct fdit_loader;

struct worker {
    struct fdit_loader *loader;
    fdit_context *ctx;
    uint8_t *item; /* for items that are not cached */
    pthread_t thread;
    bool started;
};

struct fdit_loader {
    struct fdit_source source;
    struct fdit_loader_options options;
    struct pictures *pictures; /* owned, of fdit_loader_open */
    size_t n;                  /* items in use */
    uint32_t *subset;          /* [n], NULL = all */
    uint64_t per_epoch;        /* samples */
    uint64_t stride;           /* positions from one batch to the next */

    uint8_t *cache;
    size_t cache_items;
    atomic_uchar *state; /* [n] ITEM_* */
    atomic_size_t cached, skipped, read, from_cache;

    pthread_mutex_t lock;
    pthread_cond_t work, done; /* for workers, for next */
    bool locks_made, quit;
    size_t n_slots;
    struct slot *slots;
    uint64_t taken;    /* samples given to workers, counted from the start, without other parts */
    uint64_t consumed; /* batches whose slots are free again */
    uint64_t given;    /* batches that next has given */
    struct order orders[2];
    size_t chunk;                   /* samples that are taken at once */
    struct fdit_balanced *balanced; /* NULL: every picture once an epoch */

    struct worker *workers; /* [options.workers], or one that next itself uses */
    size_t n_workers;
    uint64_t stalls;
    double stall_seconds;
    size_t memory_bytes;
};

/* ------------------------------------------------------------------ pictures as a source */

struct pictures {
    const struct fdit_dataset *ds;
    size_t width, rows; /* of the planes: rows = channels * S */
    float value[256];
};

static enum fdit_status picture_read(fdit_context *ctx, void *self, size_t i, void *item)
{
    const struct pictures *p = self;
    return fdit_dataset_decode(ctx, p->ds, i, item);
}

static void picture_expand(void *self, const void *item, bool mirror, uint64_t seed, uint64_t position,
                           float *out)
{
    const struct pictures *p = self;
    const uint8_t *v = item;
    (void)seed;
    (void)position;
    for (size_t row = 0; row < p->rows; row++, v += p->width, out += p->width)
        for (size_t x = 0; x < p->width; x++)
            out[x] = p->value[v[mirror ? p->width - 1 - x : x]];
}

static int32_t picture_label(void *self, size_t i)
{
    return fdit_dataset_label(((const struct pictures *)self)->ds, i);
}

/* ------------------------------------------------------------------ order */

static uint64_t position_of(const struct fdit_loader *l, uint64_t sample)
{
    uint64_t batch = sample / l->options.batch, place = sample % l->options.batch;
    return l->options.start + batch * l->stride + l->options.part * l->options.batch + place;
}

static bool mirrored(const struct fdit_loader *l, uint64_t position)
{
    struct fdit_rng rng = { .seed = l->options.seed,
                            .stream = (uint32_t)(position >> 32),
                            .domain = FDIT_RNG_FLIP };
    uint32_t word;
    fdit_rng_fill_words(&rng, position & UINT32_MAX, 1, &word);
    return word & 1;
}

static void permute(const struct fdit_loader *l, uint64_t epoch, const struct order *o)
{
    if (l->balanced) {
        fdit_balanced_order(l->balanced, l->options.seed, epoch, o->scratch, o->items);
        return;
    }
    struct fdit_rng rng = { .seed = l->options.seed,
                            .stream = (uint32_t)epoch,
                            .id = (uint32_t)(epoch >> 32),
                            .domain = FDIT_RNG_SHUFFLE };
    fdit_rng_permutation(&rng, (uint32_t)l->n, o->items);
}

/* With the lock held: computes the permutation of an epoch without holding it meanwhile. */
static void make_order(struct fdit_loader *l, uint64_t epoch)
{
    struct order *o = &l->orders[epoch & 1];
    o->epoch = epoch;
    o->ready = false;
    o->busy = true;
    pthread_mutex_unlock(&l->lock);
    permute(l, epoch, o);
    pthread_mutex_lock(&l->lock);
    o->busy = false;
    o->ready = true;
    pthread_cond_broadcast(&l->work);
}

/* ------------------------------------------------------------------ items */

/* The result of reading item i of a source for good: FDIT_OK with *bad for one that is to be skipped. */
static enum fdit_status judge(struct worker *w, size_t i, enum fdit_status status, bool *bad)
{
    struct fdit_loader *l = w->loader;
    *bad = l->options.skip_bad && fdit_picture_is_bad(status);
    if (!*bad)
        return status;
    if (atomic_exchange(&l->state[i], ITEM_BAD) != ITEM_BAD) {
        atomic_fetch_add(&l->skipped, 1);
        fdit_log(w->ctx, FDIT_LOG_WARNING, "skipped: %s", fdit_context_message(w->ctx));
    }
    return FDIT_OK;
}

/* Item i into `item`, from the cache or its source. FDIT_OK with *bad for an item that is to be
 * skipped. */
static enum fdit_status fetch(struct worker *w, size_t i, const uint8_t **item, bool *bad)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_loader *l = w->loader;
    size_t number = l->subset ? l->subset[i] : i;
    unsigned char state = atomic_load_explicit(&l->state[i], memory_order_acquire);
    *bad = state == ITEM_BAD;
    if (*bad)
        return FDIT_OK;
    if (state == ITEM_CACHED) {
        *item = l->cache + i * l->source.item_bytes;
        atomic_fetch_add(&l->from_cache, 1);
        return FDIT_OK;
    }
    /* The one who gets to fill the cache does; others read into memory of their own. */
    bool fill = i < l->cache_items && state == ITEM_UNREAD &&
                atomic_compare_exchange_strong(&l->state[i], &state, ITEM_FILLING);
    uint8_t *into = fill ? l->cache + i * l->source.item_bytes : w->item;
    status = l->source.read(w->ctx, l->source.self, number, into);
    atomic_fetch_add(&l->read, 1);
    if (status == FDIT_OK) {
        if (fill) {
            atomic_store_explicit(&l->state[i], ITEM_CACHED, memory_order_release);
            atomic_fetch_add(&l->cached, 1);
        }
        *item = into;
        return FDIT_OK;
    }
    if (fill && !(l->options.skip_bad && fdit_picture_is_bad(status)))
        atomic_store(&l->state[i], ITEM_UNREAD);
    return judge(w, i, status, bad);
}

/* Item i as numbers to `out`. */
static enum fdit_status make(struct worker *w, size_t i, uint64_t position, float *out, bool *bad)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_loader *l = w->loader;
    const struct fdit_source *source = &l->source;
    bool mirror = l->options.flip && mirrored(l, position);
    const uint8_t *item = NULL;
    if (!source->sample) {
        TRY(fetch(w, i, &item, bad));
        if (!*bad)
            source->expand(source->self, item, mirror, l->options.seed, position, out);
        return FDIT_OK;
    }
    *bad = atomic_load_explicit(&l->state[i], memory_order_acquire) == ITEM_BAD;
    if (*bad)
        return FDIT_OK;
    status = source->sample(w->ctx, source->self, l->subset ? l->subset[i] : i, mirror, l->options.seed,
                            position, w->item, out);
    atomic_fetch_add(&l->read, 1);
    return judge(w, i, status, bad);
out:
    return status;
}

/* The sample whose item is i into place k of the slot. */
static enum fdit_status load(struct worker *w, struct slot *s, size_t k, size_t i, uint64_t position)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_loader *l = w->loader;
    bool bad = true;
    size_t at = i;
    for (size_t tries = 0; tries < l->n; tries++) {
        TRY(make(w, at, position, s->x + k * l->source.item_size, &bad));
        if (!bad || l->options.leave_bad)
            break;
        at = at + 1 < l->n ? at + 1 : 0;
    }
    if (bad && !l->options.leave_bad && l->n == 1)
        FAIL(w->ctx, FDIT_ERROR_FORMAT, "the only picture is broken: %s", fdit_context_message(w->ctx));
    if (bad && !l->options.leave_bad)
        FAIL(w->ctx, FDIT_ERROR_FORMAT, "all %zu pictures are broken; the last: %s", l->n,
             fdit_context_message(w->ctx));
    size_t number = l->subset ? l->subset[at] : at;
    s->labels[k] = l->source.label(l->source.self, number);
    s->index[k] = bad ? FDIT_LOADER_BAD : number;
    if (bad)
        memset(s->x + k * l->source.item_size, 0, l->source.item_size * sizeof *s->x);
out:
    return status;
}

/* ------------------------------------------------------------------ work */

enum job { JOB_NONE, JOB_ORDER, JOB_SAMPLES };

struct work {
    uint64_t sample; /* first */
    size_t n;
    uint64_t epoch; /* JOB_ORDER */
};

/* With the lock held: what is to be done now. Samples of one batch are of one epoch, as the samples
 * of an epoch are a multiple of those of all parts of a batch. The next permutation overwrites that
 * of the epoch before, all of whose samples have been taken with their items. */
static enum job next_job(struct fdit_loader *l, struct work *work)
{
    uint64_t batch = l->taken / l->options.batch, position = position_of(l, l->taken);
    bool room = batch < l->consumed + l->n_slots;
    if (!l->options.in_order) {
        work->epoch = position / l->per_epoch;
        const struct order *now = &l->orders[work->epoch & 1], *next = &l->orders[~work->epoch & 1];
        if (!(now->ready && now->epoch == work->epoch))
            return now->busy ? JOB_NONE : JOB_ORDER;
        bool late = position % l->per_epoch > l->per_epoch / 2;
        if ((late || !room) && !next->busy && !(next->ready && next->epoch == work->epoch + 1)) {
            work->epoch++;
            return JOB_ORDER;
        }
    }
    if (!room)
        return JOB_NONE;
    size_t rest = l->options.batch - (size_t)(l->taken % l->options.batch);
    work->sample = l->taken;
    work->n = l->chunk < rest ? l->chunk : rest;
    l->taken += work->n;
    return JOB_SAMPLES;
}

/* With the lock held on entry and return. */
static void do_samples(struct worker *w, const struct work *work)
{
    struct fdit_loader *l = w->loader;
    size_t items[largest_chunk];
    struct slot *s = &l->slots[work->sample / l->options.batch % l->n_slots];
    size_t k = (size_t)(work->sample % l->options.batch);
    enum fdit_status status = FDIT_OK;
    size_t i = 0;
    uint64_t position = position_of(l, work->sample);
    const struct order *o = &l->orders[position / l->per_epoch & 1];
    for (size_t j = 0; j < work->n; j++) {
        size_t place = (size_t)((position + j) % l->per_epoch);
        items[j] = l->options.in_order ? place : o->items[place];
    }
    pthread_mutex_unlock(&l->lock);
    for (; i < work->n && status == FDIT_OK; i++)
        status = load(w, s, k + i, items[i], position + i);
    pthread_mutex_lock(&l->lock);
    if (status != FDIT_OK && (s->status == FDIT_OK || position + i - 1 < s->error_at)) {
        s->status = status;
        s->error_at = position + i - 1;
        fdit_context_take_message(s->error, w->ctx);
    }
    s->left -= work->n;
    if (!s->left)
        pthread_cond_signal(&l->done);
}

static void *run(void *user)
{
    struct worker *w = user;
    struct fdit_loader *l = w->loader;
    struct work work;
    pthread_mutex_lock(&l->lock);
    while (!l->quit) {
        switch (next_job(l, &work)) {
        case JOB_NONE: pthread_cond_wait(&l->work, &l->lock); break;
        case JOB_ORDER: make_order(l, work.epoch); break;
        case JOB_SAMPLES: do_samples(w, &work); break;
        }
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* With the lock held: until the slot is full, or a stop request. */
static enum fdit_status wait_for(fdit_context *ctx, struct fdit_loader *l, const struct slot *s)
{
    struct work work;
    if (!l->options.workers) {
        while (s->left) {
            if (fdit_stopped(ctx))
                return fdit_fail(ctx, FDIT_INTERRUPTED, "interrupted while loading data");
            if (next_job(l, &work) == JOB_ORDER)
                make_order(l, work.epoch);
            else
                do_samples(l->workers, &work);
        }
        return FDIT_OK;
    }
    if (!s->left)
        return FDIT_OK;
    double start = fdit_clock_seconds();
    l->stalls++;
    while (s->left) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += 50 * 1000 * 1000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&l->done, &l->lock, &until);
        if (s->left && fdit_stopped(ctx))
            return fdit_fail(ctx, FDIT_INTERRUPTED, "interrupted while waiting for data");
    }
    l->stall_seconds += fdit_clock_seconds() - start;
    return FDIT_OK;
}

enum fdit_status fdit_loader_next(fdit_context *ctx, struct fdit_loader *l, struct fdit_batch *out)
{
    enum fdit_status status = FDIT_OK;
    pthread_mutex_lock(&l->lock);
    if (l->consumed < l->given) { /* the batch before is done with: its slot is free */
        struct slot *free_slot = &l->slots[l->consumed % l->n_slots];
        free_slot->left = l->options.batch;
        l->consumed++;
        pthread_cond_broadcast(&l->work);
    }
    struct slot *s = &l->slots[l->given % l->n_slots];
    TRY(wait_for(ctx, l, s));
    if (s->status != FDIT_OK)
        FAIL(ctx, s->status, "%s", fdit_context_message(s->error));
    uint64_t position = position_of(l, l->given * l->options.batch);
    *out = (struct fdit_batch){
        .n = l->options.batch,
        .x = s->x,
        .labels = s->labels,
        .index = s->index,
        .position = position,
        .epoch = position / l->per_epoch,
        .next = l->options.start + (l->given + 1) * l->stride,
    };
    l->given++;
out:
    pthread_mutex_unlock(&l->lock);
    return status;
}

/* ------------------------------------------------------------------ opening */

static enum fdit_status check_options(fdit_context *ctx, size_t n, struct fdit_loader_options *o)
{
    enum fdit_status status = FDIT_OK;
    size_t whole;
    if (!o->parts)
        o->parts = 1;
    if (!o->batch || !fdit_mul(o->batch, o->parts, &whole))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "a batch of %zu pictures on %zu devices", o->batch, o->parts);
    if (!o->group)
        o->group = whole;
    if (o->part >= o->parts || o->group % whole || o->start % whole)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "part %zu of %zu, %zu pictures per step, start %llu: steps and start must be "
             "multiples of %zu",
             o->part, o->parts, o->group, (unsigned long long)o->start, whole);
    if (!o->repeats)
        o->repeats = 1;
    if (o->repeats < 0 || !fdit_mul(n, (size_t)o->repeats, &n) || n > UINT32_MAX)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "an epoch of more than %u pictures; use a smaller --repeats",
             UINT32_MAX);
    if (o->group > n)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "a step takes %zu pictures, the data has %zu; use a smaller --batch or --accumulate", o->group,
             n);
    if (o->workers < 0 || o->workers > most_workers || o->ring < 0 || o->ring > most_ring)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%d workers and %d batches ahead: 0 .. %d and 0 .. %d", o->workers,
             o->ring, most_workers, most_ring);
    if (!o->ring)
        o->ring = default_ring;
out:
    return status;
}

static size_t slot_count(const struct fdit_loader_options *o)
{
    return o->workers ? (size_t)(o->ring ? o->ring : default_ring) + 1 : 1;
}

static size_t items_in_cache(size_t n, size_t item_bytes, const struct fdit_loader_options *o)
{
    size_t fit = item_bytes ? o->cache_bytes / item_bytes : 0;
    return fit < n ? fit : n;
}

static bool is_balanced(const struct fdit_loader_options *o)
{
    return o->balance != FDIT_BALANCE_NONE || o->repeats > 1;
}

/* The orders of two epochs, the subset and the states of n items. */
static bool order_bytes(size_t n, const struct fdit_loader_options *o, size_t *out)
{
    size_t samples, more;
    if (!is_balanced(o))
        return fdit_mul(n, 3 * sizeof(uint32_t) + 1, out);
    return fdit_mul(n, o->repeats > 1 ? (size_t)o->repeats : 1, &samples) &&
           fdit_mul(samples, 2 * sizeof(uint32_t), &samples) &&
           fdit_mul(n, 3 * sizeof(uint32_t) + 1, &more) && fdit_add(samples, more, out) &&
           fdit_add(*out, fdit_balanced_bytes(n, o->classes), out);
}

size_t fdit_loader_bytes(size_t n, size_t item_bytes, size_t item_size, const struct fdit_loader_options *o)
{
    size_t workers = o->workers > 0 ? (size_t)o->workers : 1, bytes, slots, own, orders;
    if (!fdit_mul(items_in_cache(n, item_bytes, o), item_bytes, &bytes) ||
        !fdit_mul(item_size, sizeof(float), &slots) ||
        !fdit_add(slots, sizeof(int32_t) + sizeof(uint64_t), &slots) || !fdit_mul(slots, o->batch, &slots) ||
        !fdit_mul(slots, slot_count(o), &slots) || !fdit_mul(workers, item_bytes, &own) ||
        !order_bytes(n, o, &orders) || !fdit_add(bytes, slots, &bytes) || !fdit_add(bytes, own, &bytes) ||
        !fdit_add(bytes, orders, &bytes))
        return SIZE_MAX;
    return bytes;
}

static enum fdit_status make_locks(fdit_context *ctx, struct fdit_loader *l)
{
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic))
        return fdit_fail(ctx, FDIT_ERROR_MEMORY, "no memory for a condition variable");
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    bool mutex = !pthread_mutex_init(&l->lock, NULL);
    bool work = mutex && !pthread_cond_init(&l->work, NULL);
    bool done = work && !pthread_cond_init(&l->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    l->locks_made = done;
    if (done)
        return FDIT_OK;
    if (work)
        pthread_cond_destroy(&l->work);
    if (mutex)
        pthread_mutex_destroy(&l->lock);
    return fdit_fail(ctx, FDIT_ERROR_MEMORY, "no memory for a lock");
}

static enum fdit_status make_buffers(fdit_context *ctx, struct fdit_loader *l)
{
    enum fdit_status status = FDIT_OK;
    size_t batch = l->options.batch, numbers;
    if (!fdit_mul(batch, l->source.item_size, &numbers))
        FAIL(ctx, FDIT_ERROR_MEMORY, "a batch of %zu x %zu numbers is too large", batch, l->source.item_size);
    TRY(fdit_alloc(ctx, l->n_slots, sizeof *l->slots, &l->slots));
    for (size_t i = 0; i < l->n_slots; i++) {
        struct slot *s = &l->slots[i];
        s->left = batch;
        TRY(fdit_alloc_pages(ctx, numbers, sizeof *s->x, &s->x));
        memset(s->x, 0, numbers * sizeof *s->x); /* touched now, not during a step */
        TRY(fdit_alloc(ctx, batch, sizeof *s->labels, &s->labels));
        TRY(fdit_alloc(ctx, batch, sizeof *s->index, &s->index));
        s->error = fdit_context_new();
        if (!s->error)
            FAIL(ctx, FDIT_ERROR_MEMORY, "no memory for a context");
    }
    TRY(fdit_alloc(ctx, l->n, sizeof *l->state, &l->state));
    for (size_t i = 0; i < l->n; i++)
        atomic_init(&l->state[i], ITEM_UNREAD);
    l->cache_items = items_in_cache(l->n, l->source.item_bytes, &l->options);
    if (l->cache_items)
        TRY(fdit_alloc_pages(ctx, l->cache_items, l->source.item_bytes, &l->cache));
    for (int i = 0; i < 2 && !l->options.in_order; i++) {
        TRY(fdit_alloc(ctx, l->balanced ? (size_t)l->per_epoch : l->n, sizeof *l->orders[i].items,
                       &l->orders[i].items));
        if (l->balanced)
            TRY(fdit_alloc(ctx, l->n, sizeof *l->orders[i].scratch, &l->orders[i].scratch));
    }
    TRY(fdit_alloc(ctx, l->n_workers, sizeof *l->workers, &l->workers));
    for (size_t i = 0; i < l->n_workers; i++) {
        struct worker *w = &l->workers[i];
        w->loader = l;
        TRY(fdit_alloc(ctx, l->source.item_bytes, 1, &w->item));
        w->ctx = fdit_context_child(ctx);
        if (!w->ctx)
            FAIL(ctx, FDIT_ERROR_MEMORY, "no memory for a context");
    }
out:
    return status;
}

static enum fdit_status make_balance(fdit_context *ctx, struct fdit_loader *l)
{
    enum fdit_status status = FDIT_OK;
    int32_t *labels = NULL;
    if (!is_balanced(&l->options) || l->options.in_order)
        return FDIT_OK;
    TRY(fdit_alloc(ctx, l->n, sizeof *labels, &labels));
    for (size_t i = 0; i < l->n; i++)
        labels[i] = l->source.label(l->source.self, l->subset ? l->subset[i] : i);
    TRY(fdit_balanced_new(ctx, labels, l->n, l->options.classes, l->options.balance, (size_t)l->per_epoch,
                          &l->balanced));
out:
    fdit_free(labels);
    return status;
}

/* Signals stay with the threads of the caller. */
static enum fdit_status start_workers(fdit_context *ctx, struct fdit_loader *l)
{
    enum fdit_status status = FDIT_OK;
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS); /* of a mapped file: it belongs to the thread that reads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 0; i < l->options.workers && status == FDIT_OK; i++) {
        struct worker *w = &l->workers[i];
        int error = pthread_create(&w->thread, NULL, run, w);
        w->started = !error;
        if (error)
            status = fdit_fail_errno(ctx, FDIT_ERROR_MEMORY, error,
                                     "there is no memory for worker thread %d of %d, or it is one too many; "
                                     "use a smaller --workers",
                                     i + 1, l->options.workers);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

enum fdit_status fdit_loader_open_source(fdit_context *ctx, const struct fdit_source *source,
                                         const uint32_t *subset, size_t n,
                                         const struct fdit_loader_options *options, struct fdit_loader **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_loader *l = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *l, &l));
    l->source = *source;
    l->options = *options;
    if (source->sample)
        l->options.cache_bytes = 0;
    l->n = subset ? n : source->n;
    TRY(check_options(ctx, l->n, &l->options));
    l->per_epoch = (uint64_t)l->n * (uint64_t)l->options.repeats;
    l->per_epoch -= l->per_epoch % l->options.group;
    l->stride = l->options.batch * l->options.parts;
    l->n_slots = slot_count(&l->options);
    l->n_workers = l->options.workers ? (size_t)l->options.workers : 1;
    l->chunk = l->options.batch / (2 * l->n_workers);
    l->chunk = l->chunk < 1 ? 1 : l->chunk > largest_chunk ? largest_chunk : l->chunk;
    if (subset) {
        TRY(fdit_alloc(ctx, n, sizeof *l->subset, &l->subset));
        memcpy(l->subset, subset, n * sizeof *l->subset);
        for (size_t i = 0; i < n; i++)
            if (subset[i] >= source->n)
                FAIL(ctx, FDIT_ERROR_ARGUMENT, "picture %u of %zu", subset[i], source->n);
    }
    TRY(make_balance(ctx, l));
    TRY(make_locks(ctx, l));
    TRY(make_buffers(ctx, l));
    l->memory_bytes = fdit_loader_bytes(l->n, l->source.item_bytes, l->source.item_size, &l->options);
    TRY(start_workers(ctx, l));
    *out = l;
    return FDIT_OK;
out:
    fdit_loader_close(l);
    return status;
}

enum fdit_status fdit_loader_open(fdit_context *ctx, const struct fdit_dataset *ds, const uint32_t *subset,
                                  size_t n, const struct fdit_loader_options *options,
                                  struct fdit_loader **out)
{
    enum fdit_status status = FDIT_OK;
    struct pictures *p = NULL;
    struct fdit_dataset_info info = fdit_dataset_info(ds);
    size_t size = (size_t)info.size;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *p, &p));
    p->ds = ds;
    p->width = size;
    p->rows = size * (size_t)info.channels;
    for (int v = 0; v < 256; v++)
        p->value[v] = ((float)v / 255.0f - 0.5f) / 0.5f;
    struct fdit_source source = {
        .self = p,
        .n = info.n,
        .item_bytes = p->rows * size,
        .item_size = p->rows * size,
        .read = picture_read,
        .expand = picture_expand,
        .label = picture_label,
    };
    TRY(fdit_loader_open_source(ctx, &source, subset, n, options, out));
    (*out)->pictures = p;
    return FDIT_OK;
out:
    fdit_free(p);
    return status;
}

struct fdit_loader_stats fdit_loader_stats(const struct fdit_loader *l)
{
    return (struct fdit_loader_stats){
        .batches = l->given,
        .read = atomic_load(&l->read),
        .from_cache = atomic_load(&l->from_cache),
        .skipped = atomic_load(&l->skipped),
        .stalls = l->stalls,
        .stall_seconds = l->stall_seconds,
        .cached = atomic_load(&l->cached),
        .cache_items = l->cache_items,
        .memory_bytes = l->memory_bytes,
        .epoch_samples = l->per_epoch,
    };
}

void fdit_loader_close(struct fdit_loader *l)
{
    if (!l)
        return;
    if (l->locks_made) {
        pthread_mutex_lock(&l->lock);
        l->quit = true;
        pthread_cond_broadcast(&l->work);
        pthread_mutex_unlock(&l->lock);
    }
    for (size_t i = 0; l->workers && i < l->n_workers; i++) {
        if (l->workers[i].started)
            pthread_join(l->workers[i].thread, NULL);
        fdit_free(l->workers[i].item);
        fdit_context_free(l->workers[i].ctx);
    }
    fdit_free(l->workers);
    for (size_t i = 0; l->slots && i < l->n_slots; i++) {
        fdit_free(l->slots[i].x);
        fdit_free(l->slots[i].labels);
        fdit_free(l->slots[i].index);
        fdit_context_free(l->slots[i].error);
    }
    fdit_free(l->slots);
    for (int i = 0; i < 2; i++) {
        fdit_free(l->orders[i].items);
        fdit_free(l->orders[i].scratch);
    }
    fdit_balanced_free(l->balanced);
    fdit_free(l->cache);
    fdit_free(l->state);
    fdit_free(l->subset);
    fdit_free(l->pictures);
    if (l->locks_made) {
        pthread_cond_destroy(&l->work);
        pthread_cond_destroy(&l->done);
        pthread_mutex_destroy(&l->lock);
    }
    fdit_free(l);
}
