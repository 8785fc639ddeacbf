/* SPDX-License-Identifier: Apache-2.0
 * child.h: a program of ours in a process of its own, for what may crash, hang or print. It writes
 * its reply to descriptor 3; what else it prints is caught. */
#ifndef FDIT_CORE_CHILD_H
#define FDIT_CORE_CHILD_H

#include "core/status.h"

enum { FDIT_CHILD_REPLY = 3 }; /* the descriptor */

struct fdit_child {
    const char *program;     /* path; becomes argv[0], too */
    const char *const *args; /* what follows argv[0]; NULL ends the list */
    const char *const *env;  /* "NAME=VALUE", or "NAME" to take it away; NULL ends the list; may be NULL */
    double seconds;          /* then it is killed */
    const char *patience;    /* a note after three seconds, FDIT_LOG_NOTE; NULL: none */
};

struct fdit_child_end {
    char *reply; /* at most 64 KiB of it; free with fdit_free */
    char *said;  /* the last line that it printed, "" when none; free with fdit_free */
    int code;    /* of exit; -1: it did not come so far, or cannot be told */
    int signal;  /* that ended it, 0: none */
    bool late;   /* killed at the deadline */
    bool left;   /* a copy of itself that it made outlived it */
};

/* Runs it to its end. It has a process group of its own, which is killed with it; /dev/null is its
 * standard input. FDIT_INTERRUPTED when ctx was asked to stop: the child is gone then.
 * FDIT_ERROR_IO: not started. */
enum fdit_status fdit_child_run(fdit_context *ctx, const struct fdit_child *child,
                                struct fdit_child_end *out);
void fdit_child_end_fini(struct fdit_child_end *end);

/* For the child, first of all: it ends with its parent or after `seconds`, leaves no core file, and
 * keeps no descriptor but 0 to 3. */
void fdit_child_begin(int seconds);

#endif
