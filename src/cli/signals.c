/* SPDX-License-Identifier: Apache-2.0
 * signals.c: the first SIGINT or SIGTERM asks the work to stop after its step, a second one does
 * not ask. */
#include "cli/cli.h"

#include <signal.h>
#include <unistd.h>

/* A handler has no argument of its own: the only state of the program outside of its stack. */
static fdit_context *volatile target;
static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    if (caught)
        _exit(128 + number);
    caught = number;
    if (target)
        fdit_context_stop(target);
}

void fdit_signals_install(fdit_context *ctx)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    target = ctx;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int fdit_signals_caught(void)
{
    return caught;
}
