/* SPDX-License-Identifier: Apache-2.0
 * status.h: how a function reports failure.
 *
 *     enum fdit_status thing_open(fdit_context *ctx, const char *path, struct thing **out)
 *     {
 *         enum fdit_status status = FDIT_OK;
 *         struct thing *t = NULL;
 *         TRY(fdit_alloc(ctx, 1, sizeof *t, &t));
 *         if (bad)
 *             FAIL(ctx, FDIT_ERROR_FORMAT, "%s: header says %zu bytes, the file has %zu; ...", ...);
 *         *out = t;
 *         return FDIT_OK;
 *     out:
 *         thing_free(t);
 *         return status;
 *     }
 *
 * A message says what, which object, which numbers, what to try: one line, no final newline. */
#ifndef FDIT_CORE_STATUS_H
#define FDIT_CORE_STATUS_H

#include "finediffusion.h"

#include <signal.h>

struct fdit_phase_event; /* core/phase.h */
typedef void (*fdit_phase_fn)(void *user, const struct fdit_phase_event *event);

struct fdit_context {
    char *message; /* NULL: none yet */
    fdit_log_fn log;
    void *log_user;
    fdit_phase_fn phase; /* NULL: nobody waits to hear; not of a worker's context */
    void *phase_user;
    volatile sig_atomic_t stop;
    const volatile sig_atomic_t *parent_stop; /* of a worker's context: the owner's flag, else NULL */
    const char *helper; /* a program of this version that looks at drivers in its own process; NULL: none */
    bool look_again;    /* what is known about drivers from an earlier look is not believed */
};

/* The only control-flow macros. Both need a local `enum fdit_status status` and a label `out`. */
#define TRY(expr)              \
    do {                       \
        status = (expr);       \
        if (status != FDIT_OK) \
            goto out;          \
    } while (0)
#define FAIL(ctx, code, ...) TRY(fdit_fail((ctx), (code), __VA_ARGS__))

#if defined(__GNUC__)
#define FDIT_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define FDIT_PRINTF(f, a)
#endif

/* Stores the message and returns `code`. With ctx NULL only returns. Here and in fdit_log what %s brings in
 * is made safe for a terminal and for one line (core/text.h). */
enum fdit_status fdit_fail(fdit_context *ctx, enum fdit_status code, const char *format, ...)
    FDIT_PRINTF(3, 4);
/* The same with ": <text of errnum>" behind it. */
enum fdit_status fdit_fail_errno(fdit_context *ctx, enum fdit_status code, int errnum, const char *format,
                                 ...) FDIT_PRINTF(4, 5);
/* Puts "prefix: " before the message of the last failure; returns code. */
enum fdit_status fdit_fail_prefix(fdit_context *ctx, enum fdit_status code, const char *prefix);
void fdit_log(fdit_context *ctx, enum fdit_log_level level, const char *format, ...) FDIT_PRINTF(3, 4);
/* A text of several lines as it stands: a table whose entries are safe. */
void fdit_log_table(fdit_context *ctx, enum fdit_log_level level, const char *lines);
bool fdit_stopped(const fdit_context *ctx);
/* A context for a worker thread: same log callback (which must then be thread-safe), stops with its
 * parent. NULL when memory is short. */
fdit_context *fdit_context_child(const fdit_context *parent);
/* Moves the worker's message into ctx, so that it is the one reported. */
void fdit_context_take_message(fdit_context *ctx, fdit_context *from);

#endif
