/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pool.h"

#include "core/clock.h"
#include "core/mem.h"

#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* What two threads write is kept apart by so many bytes: two cache lines, which are fetched together. */
#define APART 128
/* A call's chunks are at most so many a member: the number in a part has NEXT_BITS bits. */
#define NEXT_BITS 24
#define MOST_CHUNKS ((size_t)1 << (NEXT_BITS - 1))
/* state: the call is open to those who want to join, and how many are in it. */
#define OPEN 0x10000u

/* What is left of a member's part of the call: its number above NEXT_BITS, below it the chunks that are
 * taken. A number of an earlier call means that nothing is taken yet; so a call begins without writing to
 * what other cores hold. */
struct part {
    _Alignas(APART) _Atomic uint64_t taken;
};

struct member {
    _Alignas(APART) struct fdit_pool *pool;
    int number;
    pthread_t thread;
    sem_t wake;
    atomic_bool asleep; /* whoever turns it false owes a post of wake */
    uint64_t looked_at; /* when it last counted, in nanoseconds, */
    long preempted;     /* how often other programs had taken its processor until then */
};

/* The call in progress: written while nobody has joined. */
struct call {
    uint64_t round;
    size_t n, grain, chunks, parts; /* chunks of `grain` pieces in so many parts */
    fdit_pool_fn fn;
    void *job;
};

struct fdit_pool {
    int members, started; /* of started the caller is one */
    bool refused;         /* the system gave no more threads */
    pid_t process;
    long spin, spin_crowded;
    _Atomic uint64_t crowded_until; /* by fdit_clock_ns */
    fdit_pool_setup setup;
    struct member *member;
    struct part *part;
    struct call call;
    _Alignas(APART) _Atomic uint64_t round; /* changes when there is work */
    _Alignas(APART) atomic_uint state;
    atomic_bool waiting; /* the caller; whoever turns it false owes a post of done */
    atomic_bool closing;
    sem_t done;
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#endif
}

static void sleep_on(sem_t *s)
{
    while (sem_wait(s))
        ; /* a signal */
}

/* ----------------------------------------------------------------------------------------- other programs */

/* A thread that is alone on its processor is interrupted some 20 times a second, one that shares it some
 * hundred times. */
#define WINDOW_NS UINT64_C(50000000) /* it counts so often */
#define WINDOW_PREEMPTED 5           /* and is not alone from so many on, */
#define CROWDED_NS (5 * WINDOW_NS)   /* which holds for so long */

static long preemptions(void)
{
#ifdef RUSAGE_THREAD
    struct rusage used;
    if (!getrusage(RUSAGE_THREAD, &used))
        return used.ru_nivcsw;
#endif
    return 0;
}

/* Until when to look for work rather than sleep, from `now` on. */
static uint64_t spin_until(struct fdit_pool *p, struct member *m, uint64_t now)
{
    uint64_t elapsed = now - m->looked_at;
    if (elapsed >= WINDOW_NS && p->spin > p->spin_crowded) {
        long preempted = preemptions(), more = preempted - m->preempted;
        if (m->looked_at && more > 0 && (uint64_t)more * WINDOW_NS >= WINDOW_PREEMPTED * elapsed)
            atomic_store_explicit(&p->crowded_until, now + CROWDED_NS, memory_order_relaxed);
        m->looked_at = now;
        m->preempted = preempted;
    }
    bool crowded = now < atomic_load_explicit(&p->crowded_until, memory_order_relaxed);
    return now + (uint64_t)(crowded ? p->spin_crowded : p->spin);
}

/* ----------------------------------------------------------------------------------------- work */

static size_t part_begin(const struct call *c, size_t part)
{
    size_t each = c->chunks / c->parts, more = c->chunks % c->parts;
    return part * each + (part < more ? part : more);
}

/* The next chunk of a part, or false: all are taken. */
static bool take(struct fdit_pool *p, size_t part, size_t *chunk)
{
    const struct call *c = &p->call;
    const size_t begin = part_begin(c, part), n = part_begin(c, part + 1) - begin;
    const uint64_t round = c->round << NEXT_BITS, mask = ((uint64_t)1 << NEXT_BITS) - 1;
    uint64_t seen = atomic_load_explicit(&p->part[part].taken, memory_order_relaxed), next;
    do {
        next = (seen & ~mask) == round ? seen & mask : 0;
        if (next >= n)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&p->part[part].taken, &seen, round | (next + 1),
                                                    memory_order_relaxed, memory_order_relaxed));
    *chunk = begin + (size_t)next;
    return true;
}

/* All that is left: the own part first, then the others'. */
static void work(struct fdit_pool *p, int member)
{
    const struct call *c = &p->call;
    size_t chunk;
    for (size_t i = 0; i < c->parts; i++)
        while (take(p, ((size_t)member + i) % c->parts, &chunk)) {
            size_t begin = chunk * c->grain, left = c->n - begin;
            c->fn(c->job, begin, begin + (left < c->grain ? left : c->grain), member);
        }
}

/* ----------------------------------------------------------------------------------------- threads */

/* Joins the call if one is open; returns its number, or `seen`. */
static uint64_t join_in(struct fdit_pool *p, struct member *m, uint64_t seen)
{
    unsigned state = atomic_load_explicit(&p->state, memory_order_relaxed);
    do {
        if (!(state & OPEN))
            return seen;
    } while (!atomic_compare_exchange_weak_explicit(&p->state, &state, state + 1, memory_order_acquire,
                                                    memory_order_relaxed));
    uint64_t round = p->call.round;
    work(p, m->number);
    /* The last to leave a call that is closed wakes the caller. */
    if (atomic_fetch_sub(&p->state, 1) == 1 && atomic_exchange(&p->waiting, false))
        sem_post(&p->done);
    return round;
}

/* Until there is another call than `seen`: looks for a while, then sleeps. */
static uint64_t wait_for_work(struct fdit_pool *p, struct member *m, uint64_t seen)
{
    uint64_t round, end = p->spin ? spin_until(p, m, fdit_clock_ns()) : 0;
    for (unsigned i = 0; (round = atomic_load(&p->round)) == seen; i++) {
        if (p->spin && (i % 16 || fdit_clock_ns() < end)) {
            relax();
            continue;
        }
        atomic_store(&m->asleep, true);
        if (atomic_load(&p->round) == seen || !atomic_exchange(&m->asleep, false))
            sleep_on(&m->wake);
    }
    return round;
}

static void *run_member(void *of)
{
    struct member *m = of;
    struct fdit_pool *p = m->pool;
    if (p->setup)
        p->setup(m->number);
    for (uint64_t seen = 0; !atomic_load(&p->closing);) {
        uint64_t round = wait_for_work(p, m, seen), joined = join_in(p, m, round);
        seen = joined > round ? joined : round;
        if (seen != round)
            relax(); /* it began a call that is not announced yet */
    }
    return NULL;
}

/* Threads for all members below `wanted`. They take no signals: handlers run where they always did. */
static void start_threads(struct fdit_pool *p, int wanted)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    if (p->refused || pthread_attr_init(&attributes))
        return;
    size_t stack = (size_t)2 << 20;
    pthread_attr_setstacksize(&attributes, stack);
    sigfillset(&all);
    sigdelset(&all, SIGBUS); /* of a mapped file: it belongs to the thread that reads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; p->started < wanted && !p->refused; p->started += !p->refused) {
        struct member *m = &p->member[p->started];
        p->refused = pthread_create(&m->thread, &attributes, run_member, m) != 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

/* ----------------------------------------------------------------------------------------- the caller */

static void announce(struct fdit_pool *p, int wanted)
{
    atomic_store(&p->round, p->call.round);
    for (int i = 1; i < wanted; i++) {
        struct member *m = &p->member[i];
        if (atomic_load(&m->asleep) && atomic_exchange(&m->asleep, false))
            sem_post(&m->wake);
    }
}

/* Until nobody is in the call, which is closed. */
static void wait_for_members(struct fdit_pool *p)
{
    uint64_t end = 0;
    for (unsigned i = 0; atomic_load_explicit(&p->state, memory_order_acquire); i++) {
        if (p->spin && i == 0)
            end = spin_until(p, &p->member[0], fdit_clock_ns());
        if (p->spin && (i % 16 || fdit_clock_ns() < end)) {
            relax();
            continue;
        }
        atomic_store(&p->waiting, true);
        if (atomic_load(&p->state) || !atomic_exchange(&p->waiting, false))
            sleep_on(&p->done);
    }
}

void fdit_pool_run(struct fdit_pool *p, size_t n, size_t grain, fdit_pool_fn fn, void *job)
{
    size_t chunks = n / grain + (n % grain != 0);
    if (chunks / (size_t)p->members >= MOST_CHUNKS) {
        grain = n / MOST_CHUNKS + 1;
        chunks = n / grain + (n % grain != 0);
    }
    if (chunks <= 1 || p->members == 1) {
        if (n)
            fn(job, 0, n, 0);
        return;
    }
    const int wanted = chunks < (size_t)p->members ? (int)chunks : p->members;
    if (p->started < wanted)
        start_threads(p, wanted);
    p->call = (struct call){ .round = p->call.round + 1,
                             .n = n,
                             .grain = grain,
                             .chunks = chunks,
                             .parts = (size_t)wanted,
                             .fn = fn,
                             .job = job };
    atomic_store_explicit(&p->state, OPEN, memory_order_release);
    announce(p, p->started < wanted ? p->started : wanted);
    work(p, 0);
    if (atomic_fetch_and(&p->state, ~OPEN) != OPEN)
        wait_for_members(p);
}

/* ----------------------------------------------------------------------------------------- life */

enum fdit_status fdit_pool_new(fdit_context *ctx, int members, long spin, long spin_crowded,
                               fdit_pool_setup setup, struct fdit_pool **out)
{
    enum fdit_status status = FDIT_OK;
    const size_t n = (size_t)members;
    char *memory = NULL;
    *out = NULL;
    if (members < 1 || members > FDIT_POOL_MOST_MEMBERS)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%d threads: 1 to %d are possible", members, FDIT_POOL_MOST_MEMBERS);
    size_t bytes = sizeof(struct fdit_pool) + n * (sizeof(struct member) + sizeof(struct part));
    TRY(fdit_alloc_pages(ctx, 1, bytes, &memory));
    struct fdit_pool *p = (void *)memory;
    p->members = members;
    p->started = 1;
    p->process = getpid();
    p->spin = spin;
    p->spin_crowded = spin_crowded < spin ? spin_crowded : spin;
    p->setup = setup;
    p->member = (void *)(memory + sizeof *p);
    p->part = (void *)(memory + sizeof *p + n * sizeof(struct member));
    sem_init(&p->done, 0, 0);
    for (int i = 0; i < members; i++) {
        p->member[i].pool = p;
        p->member[i].number = i;
        sem_init(&p->member[i].wake, 0, 0);
    }
    *out = p;
out:
    return status;
}

int fdit_pool_members(const struct fdit_pool *pool)
{
    return pool->members;
}

void fdit_pool_free(struct fdit_pool *p)
{
    if (!p)
        return;
    atomic_store(&p->closing, true);
    p->call.round++;
    announce(p, p->started);
    /* A forked process has the memory, not the threads. */
    for (int i = 1; i < p->started && p->process == getpid(); i++)
        pthread_join(p->member[i].thread, NULL);
    for (int i = 0; i < p->members; i++)
        sem_destroy(&p->member[i].wake);
    sem_destroy(&p->done);
    fdit_free(p);
}
