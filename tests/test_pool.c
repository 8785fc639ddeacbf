/* SPDX-License-Identifier: Apache-2.0
 * test_pool.c: the pool of threads that loops are dealt out to: every piece once, nobody waits for a thread
 * that has not begun, nobody holds a core while he waits. */
#include "core/clock.h"
#include "core/mem.h"
#include "core/pool.h"
#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 5000, MEMBERS = 9, SPIN = 50000 };

static fdit_context *ctx;

static struct fdit_pool *pool_of(int members, long spin)
{
    struct fdit_pool *pool;
    ck_assert_ok(ctx, fdit_pool_new(ctx, members, spin, spin / 10, NULL, &pool));
    return pool;
}

static void nap(long milliseconds)
{
    struct timespec t = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
    nanosleep(&t, NULL);
}

static double processor_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

struct count {
    int pieces[MOST]; /* not atomic: two threads with one piece are a race, and one too many */
    size_t grain;
    int members;
    atomic_bool busy[MEMBERS];
    atomic_int wrong;
};

static void count_pieces(void *job, size_t begin, size_t end, int member)
{
    struct count *c = job;
    if (member < 0 || member >= c->members || atomic_exchange(&c->busy[member], true))
        c->wrong++;
    if (begin >= end)
        c->wrong++;
    for (size_t i = begin; i < end; i++)
        c->pieces[i]++;
    atomic_store(&c->busy[member], false);
}

START_TEST(every_piece_once)
{
    struct test_rng rng = test_rng_new("pieces");
    struct count *c = calloc(1, sizeof *c);
    for (int members = 1; members <= MEMBERS; members++) {
        struct fdit_pool *pool = pool_of(members, members % 2 ? SPIN : 0);
        for (int round = 0; round < 120; round++) {
            size_t n = (size_t)test_int(&rng, round % 4 ? 40 : MOST), grain = 1 + (size_t)test_int(&rng, 20);
            memset(c->pieces, 0, sizeof c->pieces);
            c->members = members;
            fdit_pool_run(pool, n, round % 3 ? 1 : grain, count_pieces, c);
            size_t i = 0;
            while (i < MOST && c->pieces[i] == (i < n))
                i++;
            ck_assert_msg(i == MOST, "%d members, %zu pieces: piece %zu came %d times", members, n, i,
                          i < MOST ? c->pieces[i] : 0);
            ck_assert_int_eq(c->wrong, 0);
            if (round % 40 == 20)
                nap(2); /* all asleep */
        }
        fdit_pool_free(pool);
    }
    free(c);
    fdit_pool_free(NULL);
}
END_TEST

struct held {
    atomic_int done;
    int n;
};

static void hold_first(void *job, size_t begin, size_t end, int member)
{
    struct held *h = job;
    (void)member;
    for (size_t i = begin; i < end; i++) {
        double until = fdit_clock_seconds() + 60;
        while (i == 0 && h->done < h->n - 1 && fdit_clock_seconds() < until)
            nap(1);
        h->done += i != 0 || h->done == h->n - 1;
    }
}

/* Whoever has piece 0 keeps it until all others are done: so the rest of his part is done by others. */
START_TEST(a_slow_member_holds_one_piece)
{
    for (int members = 2; members <= 4; members++) {
        struct fdit_pool *pool = pool_of(members, SPIN);
        struct held h = { .n = 64 };
        fdit_pool_run(pool, (size_t)h.n, 1, hold_first, &h);
        ck_assert_int_eq(h.done, h.n);
        fdit_pool_free(pool);
    }
}
END_TEST

static void sleep_there(void *job, size_t begin, size_t end, int member)
{
    (void)job;
    (void)begin;
    (void)end;
    nap(member ? 300 : 20);
}

/* The caller waits 280 ms for the other, then all wait for work: neither is done by spinning. */
START_TEST(waiting_costs_no_processor_time)
{
    struct fdit_pool *pool = pool_of(2, SPIN);
    double began = processor_seconds();
    for (int i = 0; i < 2; i++)
        fdit_pool_run(pool, 2, 1, sleep_there, NULL);
    nap(300);
    double used = processor_seconds() - began;
    ck_assert_msg(used < 0.1, "%.3f s of processor time for waiting", used);
    fdit_pool_free(pool);
}
END_TEST

static void look_at_signals(void *job, size_t begin, size_t end, int member)
{
    atomic_int *open = job;
    sigset_t set;
    (void)begin;
    (void)end;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    if (member && (!sigismember(&set, SIGTERM) || !sigismember(&set, SIGINT)))
        ++*open;
    nap(5);
}

START_TEST(signals_are_the_callers)
{
    struct fdit_pool *pool = pool_of(4, 0);
    atomic_int open = 0;
    sigset_t set;
    fdit_pool_run(pool, 16, 1, look_at_signals, &open);
    ck_assert_int_eq(open, 0);
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    ck_assert(!sigismember(&set, SIGTERM));
    fdit_pool_free(pool);
}
END_TEST

START_TEST(a_forked_process_works_alone)
{
    struct fdit_pool *pool = pool_of(3, SPIN);
    struct count *c = calloc(1, sizeof *c);
    c->members = 3;
    fdit_pool_run(pool, 300, 1, count_pieces, c);
    pid_t child = fork();
    if (!child) {
        alarm(60);
        fdit_pool_run(pool, 300, 1, count_pieces, c);
        for (int i = 0; i < 300; i++)
            if (c->pieces[i] != 2)
                _exit(2);
        fdit_pool_free(pool);
        _exit(0);
    }
    int how;
    ck_assert_int_eq(waitpid(child, &how, 0), child);
    ck_assert_msg(WIFEXITED(how) && WEXITSTATUS(how) == 0, "the child ended with %x", (unsigned)how);
    fdit_pool_run(pool, 300, 1, count_pieces, c);
    fdit_pool_free(pool);
    free(c);
}
END_TEST

START_TEST(what_cannot_be)
{
    struct fdit_pool *pool;
    ck_assert_int_eq(fdit_pool_new(ctx, 0, 0, 0, NULL, &pool), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_pool_new(ctx, FDIT_POOL_MOST_MEMBERS + 1, 0, 0, NULL, &pool), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "1 to 1024"));
    fdit_mem_fail_at(1);
    ck_assert_int_eq(fdit_pool_new(ctx, 2, 0, 0, NULL, &pool), FDIT_ERROR_MEMORY);
    fdit_mem_fail_at(0);
    ck_assert_ptr_null(pool);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool");
    TCase *tcase = tcase_create("pool");
    tcase_add_test(tcase, every_piece_once);
    tcase_add_test(tcase, a_slow_member_holds_one_piece);
    tcase_add_test(tcase, waiting_costs_no_processor_time);
    tcase_add_test(tcase, signals_are_the_callers);
    tcase_add_test(tcase, a_forked_process_works_alone);
    tcase_add_test(tcase, what_cannot_be);
    suite_add_tcase(suite, tcase);
    ctx = fdit_context_new();
    int result = ctx ? test_run(suite) : 99;
    fdit_context_free(ctx);
    return result;
}
