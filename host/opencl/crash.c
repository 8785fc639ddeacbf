/* SPDX-License-Identifier: Apache-2.0
 * crash.c: a driver that lives through its trial may crash later, in a kernel that the trial does not
 * have, and would end every job that uses its device. While such a device is open, a verdict against it
 * lies ready in memory, as verdicts.c reads it; the handler of the signal that ends the program writes
 * it. */
#include "cache.h"
#include "drivers.h"
#include "opencl.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/mem.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 16 }; /* devices that are open at a time; more are not watched */

/* One that is armed is not changed until it is not armed any more: the handler may come at any time. */
struct watched {
    char *spec, *path, *before, *behind; /* what stands before and behind the signal's number */
    volatile int armed;
};
static struct watched watched[MOST];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void drop(struct watched *w)
{
    w->armed = 0;
    fdit_free(w->spec);
    fdit_free(w->path);
    fdit_free(w->before);
    fdit_free(w->behind);
    *w = (struct watched){ 0 };
}

void fdit_crash_watch(const char *spec, const char *subject)
{
    enum fdit_status status = FDIT_OK;
    struct watched *w = NULL;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MOST && !w; i++)
        if (!watched[i].armed)
            w = &watched[i];
    if (!w)
        goto out;
    TRY(fdit_strdup(NULL, spec, &w->spec));
    TRY(fdit_verdict_path(subject, &w->path));
    TRY(fdit_strf(NULL, &w->before,
                  "%swhen %.0f\ngood %d platforms 0 gpus 0\nnote it ended an earlier job by signal ",
                  fdit_verdict_head, fdit_clock_date(), VERDICT_CRASHED));
    TRY(fdit_strf(NULL, &w->behind, "; `finediffusion devices --all` tries it again\nfiles 0\nsubject\n%s",
                  subject));
    w->armed = 1;
out:
    if (w && status != FDIT_OK)
        drop(w);
    pthread_mutex_unlock(&lock);
}

void fdit_crash_unwatch(const char *spec)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; spec && i < MOST; i++)
        if (watched[i].armed && strcmp(watched[i].spec, spec) == 0) {
            drop(&watched[i]);
            break;
        }
    pthread_mutex_unlock(&lock);
}

/* Only what may be called in a signal handler. */
void fdit_opencl_crashed(int number)
{
    const char digits[] = { (char)('0' + number / 10 % 10), (char)('0' + number % 10) };
    const size_t from = number < 10;
    for (int i = 0; i < MOST; i++) {
        const struct watched *w = &watched[i];
        int fd = w->armed ? open(w->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
        if (fd < 0)
            continue;
        size_t n = strlen(w->before), m = strlen(w->behind);
        if (write(fd, w->before, n) != (ssize_t)n ||
            write(fd, digits + from, 2 - from) != (ssize_t)(2 - from) ||
            write(fd, w->behind, m) != (ssize_t)m)
            unlink(w->path);
        close(fd);
    }
}
