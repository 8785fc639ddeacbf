/* SPDX-License-Identifier: Apache-2.0
 * threads.c: loops of the CPU device on its threads. */
#include "cpu/cpu.h"

#include "core/pool.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum {
    SERIAL = 16384,        /* elements below which threads cost more than they save */
    LEAST_ELEMENTS = 4096, /* that are dealt out at a time */
    CHUNKS = 8,            /* of a thread's part: what is left of a slow thread's goes to the others */
    SPIN_NS = 100000,      /* longer than what lies between two ops of a step */
    CROWDED_NS = 5000,     /* where other programs want the processors */
    ACTIVE_NS = 10000000,
};

/* ------------------------------------------------------------------------ OpenMP in other libraries */

static void *openmp(const char *function)
{
    return dlsym(RTLD_DEFAULT, function);
}

int fdit_cpu_openmp_threads(int threads)
{
    int (*get)(void) = NULL;
    void (*set)(int) = NULL;
    void *get_at = openmp("omp_get_max_threads"), *set_at = openmp("omp_set_num_threads");
    memcpy(&get, &get_at, sizeof get);
    memcpy(&set, &set_at, sizeof set);
    if (!get || !set)
        return threads;
    int before = get();
    set(threads);
    return before;
}

static bool binds(void)
{
    static const char *const variables[] = { "OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY",
                                             "KMP_AFFINITY" };
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *value = getenv(variables[i]);
        if (value && *value && strcasecmp(value, "false"))
            return true;
    }
    return false;
}

int fdit_cpu_openmp_processors(void)
{
    int (*count)(void) = NULL;
    void *at = binds() ? openmp("omp_get_num_procs") : NULL;
    memcpy(&count, &at, sizeof count);
    return count ? count() : 0;
}

/* Member i to the runtime's place i, as it would have bound its own. */
static void bind_thread(int member)
{
    int (*places)(void) = NULL, (*size)(int) = NULL;
    void (*ids)(int, int *) = NULL;
    void *places_at = openmp("omp_get_num_places"), *size_at = openmp("omp_get_place_num_procs"),
         *ids_at = openmp("omp_get_place_proc_ids");
    memcpy(&places, &places_at, sizeof places);
    memcpy(&size, &size_at, sizeof size);
    memcpy(&ids, &ids_at, sizeof ids);
    int n = places && size && ids ? places() : 0, place = n > 0 ? member % n : 0, id[CPU_SETSIZE];
    int processors = n > 0 ? size(place) : 0;
    if (processors < 1 || processors > CPU_SETSIZE)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    ids(place, id);
    for (int i = 0; i < processors; i++)
        CPU_SET((size_t)id[i], &set);
    sched_setaffinity(0, sizeof set, &set); /* not more than a hint */
}

static void begin_thread(int member)
{
    fdit_cpu_openmp_threads(1);
    if (binds())
        bind_thread(member);
}

/* ------------------------------------------------------------------------------------- life */

/* OMP_WAIT_POLICY is heeded, for those who know that nobody else uses the machine, or that somebody does. */
static long spin_time(int threads, int processors, long *crowded)
{
    const char *policy = getenv("OMP_WAIT_POLICY");
    bool active = policy && !strcasecmp(policy, "active");
    bool passive = threads > processors || (policy && !strcasecmp(policy, "passive"));
    *crowded = active ? ACTIVE_NS : CROWDED_NS;
    return passive ? 0 : active ? ACTIVE_NS : SPIN_NS;
}

enum fdit_status fdit_cpu_threads_start(fdit_context *ctx, struct fdit_cpu *cpu, int processors)
{
    long crowded, spin = spin_time(cpu->threads, processors, &crowded);
    return fdit_pool_new(ctx, cpu->threads, spin, crowded, begin_thread, &cpu->pool);
}

void fdit_cpu_threads_stop(struct fdit_cpu *cpu)
{
    fdit_pool_free(cpu->pool);
    cpu->pool = NULL;
}

/* ------------------------------------------------------------------------------------- loops */

struct loop {
    const struct fdit_cpu *cpu;
    fdit_cpu_pieces fn;
    const void *job;
};

static void run(void *of, size_t begin, size_t end, int member)
{
    const struct loop *loop = of;
    loop->fn(loop->cpu, loop->job, begin, end, member);
}

static void deal(const struct fdit_cpu *cpu, size_t n, size_t grain, fdit_cpu_pieces fn, const void *job)
{
    struct loop loop = { .cpu = cpu, .fn = fn, .job = job };
    fdit_pool_run(cpu->pool, n, grain, run, &loop);
}

void fdit_cpu_each(const struct fdit_cpu *cpu, size_t n, fdit_cpu_pieces fn, const void *job)
{
    deal(cpu, n, 1, fn, job);
}

void fdit_cpu_range(const struct fdit_cpu *cpu, size_t n, size_t elements, fdit_cpu_pieces fn,
                    const void *job)
{
    size_t part = (size_t)cpu->threads * CHUNKS, grain = (n + part - 1) / part;
    if (elements <= SERIAL || cpu->threads == 1) {
        if (n)
            fn(cpu, job, 0, n, 0);
        return;
    }
    size_t least = (size_t)((double)LEAST_ELEMENTS * (double)n / (double)elements);
    deal(cpu, n, grain > least ? grain : least, fn, job);
}
