/* SPDX-License-Identifier: Apache-2.0
 * mpi.c: ranks through MPI-3. Every call is a non-blocking collective that is tested until it is done, with
 * short sleeps: MPI libraries wait at full speed, and for ever when a link is cut without a word.
 *
 * Signs of life. A thread of each process sends one byte to rank 0 every few seconds, on a communicator of
 * its own, and rank 0's sends one to each. Whoever has been silent for the deadline is named, and the job
 * ends.
 * Where the library cannot be called from two threads, a collective that takes longer than the deadline ends
 * the job instead. */
#include <mpi.h>

#include "ranks.h"

#include "core/clock.h"
#include "core/mem.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SIGN = 7, NAME = 64, LEAST_START = 30 /* seconds */ };

struct mpi {
    struct fdit_ranks ranks;
    MPI_Comm work, life;
    const char *command;
    double timeout;
    char *names;       /* [size][NAME] hosts */
    double *heard;     /* [size] when a sign of each came, by the clock; rank 0: of all, others: of rank 0 */
    int *counts, *at;  /* [size] of a collective call whose processes send different amounts */
    MPI_Request *sent; /* [size] signs that are on their way */
    char sign;
    bool threaded;
    pthread_t thread;
    atomic_bool ending;
};

static void nap(double seconds)
{
    struct timespec t = { .tv_sec = (time_t)seconds };
    t.tv_nsec = (long)(1e9 * (seconds - (double)t.tv_sec));
    nanosleep(&t, NULL);
}

_Noreturn void fdit_ranks_abort(struct fdit_ranks *ranks, int code)
{
    struct mpi *m = (struct mpi *)ranks;
    fflush(stdout);
    signal(SIGALRM, SIG_DFL); /* where the others cannot be reached MPI_Abort itself may wait */
    alarm(10);
    MPI_Abort(m->work, code);
    _exit(code);
}

/* Names the process that is silent, and ends the job. */
static _Noreturn void lost(struct mpi *m, int q, double seconds)
{
    fprintf(
        stderr,
        "finediffusion: %s: rank %d (%s) has given no sign of life for %.0f s: it is stopped, its host is "
        "down or its link is cut; the last checkpoint is whole, go on from it with --resume\n",
        m->command, q, m->names + q * NAME, seconds);
    fflush(stderr);
    fdit_ranks_abort(&m->ranks, 1);
}

/* ------------------------------------------------------------------ signs of life */

static void hear(struct mpi *m)
{
    int there = 1;
    while (there) {
        MPI_Status from;
        char sign;
        MPI_Iprobe(MPI_ANY_SOURCE, SIGN, m->life, &there, &from);
        if (there) {
            MPI_Recv(&sign, 1, MPI_CHAR, from.MPI_SOURCE, SIGN, m->life, MPI_STATUS_IGNORE);
            m->heard[from.MPI_SOURCE] = fdit_clock_seconds();
        }
    }
}

/* One sign at a time: a link that is down takes no more. */
static void give_sign(struct mpi *m, int q)
{
    int done = 1;
    if (m->sent[q] != MPI_REQUEST_NULL)
        MPI_Test(&m->sent[q], &done, MPI_STATUS_IGNORE);
    if (done)
        MPI_Isend(&m->sign, 1, MPI_CHAR, q, SIGN, m->life, &m->sent[q]);
}

static void *live(void *user)
{
    struct mpi *m = user;
    const int rank = m->ranks.rank, first = rank ? 0 : 1, end = rank ? 1 : m->ranks.size;
    const double period = m->timeout / 6 < 2 ? m->timeout / 6 : 2;
    double next = 0;
    while (!m->ending) {
        double now = fdit_clock_seconds();
        hear(m);
        if (now >= next) {
            for (int q = first; q < end; q++)
                give_sign(m, q);
            next = now + period;
        }
        /* rank 0 is missed by all: the first of them says so, a moment before the others would */
        for (int q = first; q < end; q++)
            if (now - m->heard[q] > m->timeout + (rank > 1 ? rank - 1 : 0))
                lost(m, q, now - m->heard[q]);
        nap(0.05);
    }
    return NULL;
}

/* ------------------------------------------------------------------ collectives */

static enum fdit_status failed(fdit_context *ctx, int code)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int n = 0;
    MPI_Error_string(code, text, &n);
    return fdit_fail(ctx, FDIT_ERROR_IO, "MPI: %s; go on from the last checkpoint with --resume", text);
}

/* Until the call whose result is `code` is done. */
static enum fdit_status wait_for(fdit_context *ctx, struct mpi *m, int code, MPI_Request *request)
{
    double begun = fdit_clock_seconds(), pause = 20e-6;
    int done = 0;
    for (int i = 0; code == MPI_SUCCESS && !done; i++) {
        code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
        if (done || i < 200)
            continue;
        nap(pause);
        pause = pause < 500e-6 ? 1.2 * pause : pause;
        if (!m->threaded && fdit_clock_seconds() - begun > m->timeout) {
            fprintf(
                stderr,
                "finediffusion: %s: rank %d (%s) has waited for the others for %.0f s; the last checkpoint "
                "is whole, go on from it with --resume\n",
                m->command, m->ranks.rank, m->ranks.host, m->timeout);
            fdit_ranks_abort(&m->ranks, 1);
        }
    }
    return code == MPI_SUCCESS ? FDIT_OK : failed(ctx, code);
}

/* n bytes of a block of `stride` bytes: a piece of what is more than a message. */
static int make_piece(size_t n, size_t stride, MPI_Datatype *out)
{
    MPI_Datatype bytes;
    int code = MPI_Type_contiguous((int)n, MPI_BYTE, &bytes);
    if (code != MPI_SUCCESS)
        return code;
    code = MPI_Type_create_resized(bytes, 0, (MPI_Aint)stride, out);
    MPI_Type_free(&bytes);
    if (code == MPI_SUCCESS && (code = MPI_Type_commit(out)) != MPI_SUCCESS)
        MPI_Type_free(out);
    return code;
}

/* Begins an exchange of blocks of `count` of `type` between all processes. */
typedef int start_fn(struct mpi *m, const void *send, void *receive, int count, MPI_Datatype type,
                     MPI_Request *request);

static int start_all_to_all(struct mpi *m, const void *send, void *receive, int count, MPI_Datatype type,
                            MPI_Request *request)
{
    return MPI_Ialltoall(send, count, type, receive, count, type, m->work, request);
}

static int start_gather(struct mpi *m, const void *send, void *receive, int count, MPI_Datatype type,
                        MPI_Request *request)
{
    return MPI_Igather(send, count, type, receive, count, type, 0, m->work, request);
}

/* The exchange of blocks of n bytes: in one message, or a piece of each block after the other. */
static enum fdit_status exchange(fdit_context *ctx, struct mpi *m, start_fn *start, const void *send,
                                 void *receive, size_t n)
{
    enum fdit_status status = FDIT_OK;
    const size_t most = m->ranks.most;
    MPI_Request request;
    if (n <= most)
        return wait_for(ctx, m, start(m, send, receive, (int)n, MPI_BYTE, &request), &request);
    for (size_t at = 0; at < n && status == FDIT_OK; at += most) {
        MPI_Datatype piece;
        int code = make_piece(n - at < most ? n - at : most, n, &piece);
        if (code != MPI_SUCCESS)
            return failed(ctx, code);
        code = start(m, (const char *)send + at, receive ? (char *)receive + at : NULL, 1, piece, &request);
        status = wait_for(ctx, m, code, &request);
        MPI_Type_free(&piece);
    }
    return status;
}

static enum fdit_status all_to_all(fdit_context *ctx, struct fdit_ranks *r, const void *send, void *receive,
                                   size_t n)
{
    return exchange(ctx, (struct mpi *)r, start_all_to_all, send, receive, n);
}

static enum fdit_status collect(fdit_context *ctx, struct fdit_ranks *r, const void *send, void *receive,
                                size_t n)
{
    return exchange(ctx, (struct mpi *)r, start_gather, send, receive, n);
}

/* Those of rank q to all. */
static enum fdit_status give(fdit_context *ctx, struct mpi *m, int q, char *bytes, size_t n)
{
    enum fdit_status status = FDIT_OK;
    const size_t usual = (size_t)1 << 28, most = m->ranks.most < usual ? m->ranks.most : usual;
    for (size_t at = 0; at < n; at += most) {
        MPI_Request request;
        const size_t k = n - at < most ? n - at : most;
        TRY(wait_for(ctx, m, MPI_Ibcast(bytes + at, (int)k, MPI_BYTE, q, m->work, &request), &request));
    }
out:
    return status;
}

/* In one message, whose places are ints; what is more is given by each process in turn. */
static enum fdit_status all_gather(fdit_context *ctx, struct fdit_ranks *r, const void *send, void *receive,
                                   const size_t *sizes)
{
    enum fdit_status status = FDIT_OK;
    struct mpi *m = (struct mpi *)r;
    MPI_Request request;
    size_t sum = 0;
    bool whole = true;
    for (int q = 0; q < r->size && whole; q++) {
        m->at[q] = (int)sum;
        m->counts[q] = (int)sizes[q];
        whole = sizes[q] <= r->most - sum;
        sum += sizes[q];
    }
    if (whole)
        return wait_for(ctx, m,
                        MPI_Iallgatherv(send, m->counts[r->rank], MPI_BYTE, receive, m->counts, m->at,
                                        MPI_BYTE, m->work, &request),
                        &request);
    char *to = receive;
    for (int q = 0; q < r->size; to += sizes[q++]) {
        if (q == r->rank)
            memcpy(to, send, sizes[q]);
        TRY(give(ctx, m, q, to, sizes[q]));
    }
out:
    return status;
}

static enum fdit_status broadcast(fdit_context *ctx, struct fdit_ranks *r, void *bytes, size_t n)
{
    return give(ctx, (struct mpi *)r, 0, bytes, n);
}

/* ------------------------------------------------------------------ joining and leaving */

const char *fdit_ranks_library(void)
{
    static char name[MPI_MAX_LIBRARY_VERSION_STRING];
    int n = 0;
    MPI_Get_library_version(name, &n);
    name[strcspn(name, ",\n")] = '\0';
    return name;
}

/* Who is where. */
static enum fdit_status look_around(fdit_context *ctx, struct mpi *m)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_ranks *r = &m->ranks;
    MPI_Comm here;
    char host[MPI_MAX_PROCESSOR_NAME] = "", name[NAME];
    int n = 0;
    MPI_Comm_dup(MPI_COMM_WORLD, &m->work);
    MPI_Comm_dup(MPI_COMM_WORLD, &m->life);
    MPI_Comm_set_errhandler(m->work, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(m->life, MPI_ERRORS_RETURN);
    MPI_Comm_rank(m->work, &r->rank);
    MPI_Comm_size(m->work, &r->size);
    MPI_Comm_split_type(m->work, MPI_COMM_TYPE_SHARED, r->rank, MPI_INFO_NULL, &here);
    MPI_Comm_rank(here, &r->local);
    MPI_Comm_size(here, &r->local_size);
    MPI_Comm_free(&here);
    MPI_Get_processor_name(host, &n);
    snprintf(name, sizeof name, "%.*s", NAME - 1, host);
    TRY(fdit_alloc(ctx, (size_t)r->size, NAME, &m->names));
    TRY(fdit_alloc(ctx, (size_t)r->size, sizeof *m->heard, &m->heard));
    TRY(fdit_alloc(ctx, (size_t)r->size, sizeof *m->counts, &m->counts));
    TRY(fdit_alloc(ctx, (size_t)r->size, sizeof *m->at, &m->at));
    TRY(fdit_alloc(ctx, (size_t)r->size, sizeof(MPI_Request), &m->sent));
    MPI_Allgather(name, NAME, MPI_CHAR, m->names, NAME, MPI_CHAR, m->work);
    r->host = m->names + r->rank * NAME;
    for (int q = 0; q < r->size; q++) {
        m->heard[q] = fdit_clock_seconds();
        m->sent[q] = MPI_REQUEST_NULL;
    }
out:
    return status;
}

/* MPI_Init waits without an end for a process that was started but does not come. */
struct start {
    const char *command;
    int rank;
    double timeout;
    atomic_bool joined;
};

static void *watch_start(void *user)
{
    struct start *s = user;
    /* the first says so, before the others would */
    const double more = s->rank > 30 ? 40 : s->rank ? 10 + s->rank : 0;
    const double least = s->timeout > LEAST_START ? s->timeout : LEAST_START;
    const double until = fdit_clock_seconds() + least + more;
    char host[NAME] = "";
    while (!s->joined) {
        nap(0.02);
        if (s->joined || fdit_clock_seconds() < until)
            continue;
        gethostname(host, sizeof host - 1);
        fprintf(stderr,
                "finediffusion: %s: rank %d (%s) has waited %.0f s for the others to start: one of them was "
                "not started, hangs, or cannot be reached\n",
                s->command, s->rank, host, least);
        fflush(stderr);
        _exit(1); /* the launcher ends the others */
    }
    return NULL;
}

static enum fdit_status start(fdit_context *ctx, const struct mpi *m, int rank, int *provided)
{
    struct start s = { .command = m->command, .rank = rank, .timeout = m->timeout };
    pthread_t watcher;
    const bool watched = pthread_create(&watcher, NULL, watch_start, &s) == 0;
    const int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, provided);
    s.joined = true;
    if (watched)
        pthread_join(watcher, NULL);
    return code == MPI_SUCCESS ? FDIT_OK : fdit_fail(ctx, FDIT_ERROR_IO, "MPI cannot be started");
}

enum fdit_status fdit_ranks_open(fdit_context *ctx, const char *command, int rank, double timeout,
                                 struct fdit_ranks **out)
{
    enum fdit_status status = FDIT_OK;
    struct mpi *m = NULL;
    int provided = MPI_THREAD_SINGLE;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *m, &m));
    m->ranks = (struct fdit_ranks){
        .size = 1,
        .local_size = 1,
        .most = INT_MAX,
        .all_to_all = all_to_all,
        .collect = collect,
        .all_gather = all_gather,
        .broadcast = broadcast,
    };
    m->command = command;
    m->timeout = timeout;
    TRY(start(ctx, m, rank, &provided));
    TRY(look_around(ctx, m));
    m->threaded = provided == MPI_THREAD_MULTIPLE && m->ranks.size > 1 &&
                  pthread_create(&m->thread, NULL, live, m) == 0;
    m->ranks.any_thread = m->threaded;
    *out = &m->ranks;
    return FDIT_OK;
out:
    fdit_free(m);
    return status;
}

/* In every other job of several hosts MPI_Finalize of MPICH 4.0 waits without an end (UCX 1.13 over TCP: each
 * process for the answer of one that is through already). All work is done, and all processes have said so:
 * mpiexec is told what MPI_Finalize would tell it (PMI-1: one line), and the process ends without it. */
static bool leaves_without_finalize(void)
{
#ifdef MPICH_VERSION
    const char *text = getenv("PMI_FD");
    const int launcher = text ? atoi(text) : -1;
    char answer[64];
    return launcher > 2 && write(launcher, "cmd=finalize\n", 13) == 13 &&
           read(launcher, answer, sizeof answer) > 0;
#else
    return false;
#endif
}

void fdit_ranks_close(struct fdit_ranks *ranks)
{
    struct mpi *m = (struct mpi *)ranks;
    MPI_Request request;
    if (!m)
        return;
    /* signs of life go on until all are here, and what was sent is received before the library ends */
    wait_for(NULL, m, MPI_Ibarrier(m->work, &request), &request);
    m->ending = true;
    if (m->threaded)
        pthread_join(m->thread, NULL);
    for (int q = 0; q < m->ranks.size; q++)
        if (m->sent[q] != MPI_REQUEST_NULL)
            MPI_Wait(&m->sent[q], MPI_STATUS_IGNORE);
    wait_for(NULL, m, MPI_Ibarrier(m->work, &request), &request);
    for (int i = 0; i < 10; i++, nap(0.002)) /* answers to others, too */
        hear(m);
    MPI_Comm_free(&m->life);
    MPI_Comm_free(&m->work);
    if (!leaves_without_finalize())
        MPI_Finalize();
    fdit_free(m->names);
    fdit_free(m->heard);
    fdit_free(m->counts);
    fdit_free(m->at);
    fdit_free(m->sent);
    fdit_free(m);
}
