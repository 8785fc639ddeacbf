/* SPDX-License-Identifier: Apache-2.0
 * signals.c: a signal that ends a program asks the work to stop after its step first. Only somebody who asks
 * twice, with SIGINT or SIGTERM, is not kept waiting; a terminal that closes sends SIGHUP more than once, and
 * every write to a closed pipe SIGPIPE. */
#include "cli/cli.h"

#include "devices.h"

#include <signal.h>
#include <unistd.h>

/* A handler has no argument of its own: the only state of the program outside of its stack. */
static fdit_context *volatile target;
static volatile sig_atomic_t caught, asked;
static volatile sig_atomic_t *volatile noted; /* fdit_signals_note; NULL: the context is stopped */

static void on_signal(int number)
{
    if (number == SIGINT || number == SIGTERM) {
        if (asked)
            _exit(128 + number);
        asked = 1;
    }
    if (!caught)
        caught = number;
    if (noted)
        *noted = 1;
    else if (target)
        fdit_context_stop(target);
}

/* SA_RESETHAND: what is raised here ends the program as it would have ended without a handler. */
static void on_crash(int number)
{
    fdit_devices_crashed(number);
    raise(number);
}

/* Drivers run in this process. Where a sanitizer or somebody else handles these signals, they go on to. */
static void watch_for_crashes(void)
{
    static const int crashes[] = { SIGSEGV, SIGABRT, SIGILL, SIGFPE };
    struct sigaction action = { .sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_NODEFER }, before;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        if (sigaction(crashes[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
            sigaction(crashes[i], &action, NULL);
}

void fdit_signals_watch_device(void)
{
    struct sigaction action = { .sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_NODEFER };
    sigemptyset(&action.sa_mask);
    sigaction(SIGABRT, &action, NULL);
}

void fdit_signals_install(fdit_context *ctx)
{
    /* the last ones stay ignored where they are when the program starts: nohup, pipes of some shells */
    static const struct {
        int number;
        bool may_be_ignored;
    } stops[] = {
        { SIGINT, false }, { SIGTERM, false }, { SIGHUP, true }, { SIGPIPE, true },
        { SIGXCPU, true }, { SIGUSR1, true }, /* what batch systems send before a job's time is over */
    };
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, before;
    target = ctx;
    watch_for_crashes();
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        bool ignored = sigaction(stops[i].number, NULL, &before) == 0 && before.sa_handler == SIG_IGN;
        if (!ignored || !stops[i].may_be_ignored)
            sigaction(stops[i].number, &action, NULL);
    }
    /* a write beyond the limit of a file's size then fails like one on a full disk */
    action.sa_handler = SIG_IGN;
    sigaction(SIGXFSZ, &action, NULL);
}

void fdit_signals_note(volatile sig_atomic_t *flag)
{
    noted = flag;
}

int fdit_signals_caught(void)
{
    return caught;
}
