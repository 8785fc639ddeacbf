/* SPDX-License-Identifier: Apache-2.0
 * guard.c: drivers are libraries that were written for programs of their own: some set the user's locale,
 * install handlers, let the processor flush small numbers to zero. A comma in place of the point in a result,
 * or a file that is written elsewhere, would be ours. */
#include "guard.h"

#include "core/status.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

static const int guarded[GUARD_SIGNALS] = { SIGALRM, SIGVTALRM, SIGPROF, SIGHUP,  SIGINT,  SIGQUIT, SIGTERM,
                                            SIGPIPE, SIGXFSZ,   SIGXCPU, SIGCHLD, SIGUSR1, SIGUSR2 };
/* The first of `guarded` belong to these. */
static const int timers[GUARD_TIMERS] = { ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF };
enum { ABOVE_ALL = 64 }; /* duplicates lie where drivers that close the first few do not look */

/* umask tells what it is only by changing it: not two threads at a time. */
static pthread_mutex_t asking = PTHREAD_MUTEX_INITIALIZER;

/* How numbers are rounded, and whether small ones become zero. */
static int rounding(void)
{
#ifdef __SSE__
    return (int)(_mm_getcsr() & ~0x3fu); /* without the flags of what has happened */
#else
    return fegetround();
#endif
}

static bool is_same(int fd, const struct stat *before)
{
    struct stat now;
    return fstat(fd, &now) == 0 && now.st_dev == before->st_dev && now.st_ino == before->st_ino;
}

static mode_t mask_of_files(void)
{
    pthread_mutex_lock(&asking);
    const mode_t mask = umask(077);
    umask(mask);
    pthread_mutex_unlock(&asking);
    return mask;
}

void fdit_guard_begin(struct guard *g)
{
    sigset_t clocks;
    memset(g, 0, sizeof *g);
    for (int i = 0; i < 3; i++) {
        g->fd[i] = fcntl(i, F_DUPFD_CLOEXEC, ABOVE_ALL);
        if (g->fd[i] >= 0 && fstat(i, &g->of[i]) != 0)
            memset(&g->of[i], 0, sizeof g->of[i]);
    }
    g->folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *locale = setlocale(LC_ALL, NULL);
    const size_t length = locale ? strlen(locale) : 0;
    g->has_locale = locale && length < sizeof g->locale;
    if (g->has_locale)
        memcpy(g->locale, locale, length + 1);
    g->thread_locale = uselocale((locale_t)0);
    g->mask = mask_of_files();
    fegetenv(&g->arithmetic);
    g->rounding = rounding();
    sigemptyset(&clocks);
    for (int i = 0; i < GUARD_TIMERS; i++) {
        sigaddset(&clocks, guarded[i]);
        getitimer(timers[i], &g->timers[i]);
    }
    pthread_sigmask(SIG_BLOCK, &clocks, &g->blocked);
    for (int i = 0; i < GUARD_SIGNALS; i++)
        g->known[i] = sigaction(guarded[i], NULL, &g->actions[i]) == 0;
}

/* A timer that the driver set goes, and what it has sent already. */
static void put_timers_back(const struct guard *g)
{
    for (int i = 0; i < GUARD_TIMERS; i++)
        setitimer(timers[i], &g->timers[i], NULL); /* ours, where there is one, begins anew */
    for (int i = 0; i < GUARD_TIMERS; i++) {
        sigset_t waiting;
        sigemptyset(&waiting);
        sigpending(&waiting);
        if (sigismember(&waiting, guarded[i]) == 1 && !sigismember(&g->blocked, guarded[i])) {
            struct sigaction ignore = { .sa_handler = SIG_IGN };
            sigaction(guarded[i], &ignore, NULL);
        }
    }
}

void fdit_guard_end(struct guard *g)
{
    for (int i = 0; i < 3; i++) {
        if (g->fd[i] < 0)
            continue;
        if (!is_same(i, &g->of[i]))
            dup2(g->fd[i], i);
        close(g->fd[i]);
    }
    if (g->folder >= 0) {
        (void)!fchdir(g->folder);
        close(g->folder);
    }
    const char *locale = setlocale(LC_ALL, NULL);
    if (g->has_locale && (!locale || strcmp(locale, g->locale) != 0))
        setlocale(LC_ALL, g->locale);
    uselocale(g->thread_locale);
    umask(g->mask);
    fesetenv(&g->arithmetic);
    put_timers_back(g);
    for (int i = 0; i < GUARD_SIGNALS; i++)
        if (g->known[i])
            sigaction(guarded[i], &g->actions[i], NULL);
    pthread_sigmask(SIG_SETMASK, &g->blocked, NULL);
}

const char *fdit_guard_changed(const struct guard *g)
{
    static const char *const files[3] = { "standard input", "standard output", "standard error" };
    struct stat folder, now;
    for (int i = 0; i < 3; i++)
        if (g->fd[i] >= 0 && !is_same(i, &g->of[i]))
            return files[i];
    if (g->folder >= 0 && fstat(g->folder, &folder) == 0 &&
        (stat(".", &now) != 0 || now.st_dev != folder.st_dev || now.st_ino != folder.st_ino))
        return "the current folder";
    const char *locale = setlocale(LC_ALL, NULL);
    if (uselocale((locale_t)0) != g->thread_locale ||
        (g->has_locale && locale && strcmp(locale, g->locale) != 0))
        return "the locale";
    if (mask_of_files() != g->mask)
        return "the permissions of new files";
    return rounding() == g->rounding ? NULL : "how numbers are rounded";
}
