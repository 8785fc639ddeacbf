/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status.h"

#include "core/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *fdit_status_text(enum fdit_status status)
{
    switch (status) {
    case FDIT_OK: return "success";
    case FDIT_ERROR_MEMORY: return "out of memory";
    case FDIT_ERROR_IO: return "input or output error";
    case FDIT_ERROR_FORMAT: return "malformed file";
    case FDIT_ERROR_ARGUMENT: return "invalid argument";
    case FDIT_ERROR_UNSUPPORTED: return "not supported";
    case FDIT_ERROR_DEVICE: return "device error";
    case FDIT_ERROR_NUMERIC: return "not a finite number";
    case FDIT_INTERRUPTED: return "interrupted";
    }
    return "unknown status";
}

fdit_context *fdit_context_new(void)
{
    return calloc(1, sizeof(fdit_context));
}

fdit_context *fdit_context_child(const fdit_context *parent)
{
    fdit_context *ctx = fdit_context_new();
    if (ctx && parent) {
        ctx->log = parent->log;
        ctx->log_user = parent->log_user;
        ctx->parent_stop = parent->parent_stop ? parent->parent_stop : &parent->stop;
        ctx->helper = parent->helper;
        ctx->look_again = parent->look_again;
    }
    return ctx;
}

void fdit_context_free(fdit_context *ctx)
{
    if (ctx)
        free(ctx->message);
    free(ctx);
}

void fdit_context_set_log(fdit_context *ctx, fdit_log_fn log, void *user)
{
    ctx->log = log;
    ctx->log_user = user;
}

const char *fdit_context_message(const fdit_context *ctx)
{
    return ctx && ctx->message ? ctx->message : "";
}

/* A signal's handler stops a context in whatever thread the system chose, while others look: sig_atomic_t
 * alone is for one thread. These are single instructions, also for a handler. */
static void set_stop(fdit_context *ctx, sig_atomic_t stop)
{
    __atomic_store_n(&ctx->stop, stop, __ATOMIC_RELAXED);
}

static bool is_set(const volatile sig_atomic_t *stop)
{
    return __atomic_load_n(stop, __ATOMIC_RELAXED) != 0;
}

void fdit_context_stop(fdit_context *ctx)
{
    set_stop(ctx, 1);
}

void fdit_context_go_on(fdit_context *ctx)
{
    set_stop(ctx, 0);
}

bool fdit_stopped(const fdit_context *ctx)
{
    return ctx && (is_set(&ctx->stop) || (ctx->parent_stop && is_set(ctx->parent_stop)));
}

void fdit_context_take_message(fdit_context *ctx, fdit_context *from)
{
    if (!ctx || !from || ctx == from)
        return;
    free(ctx->message);
    ctx->message = from->message;
    from->message = NULL;
}

static void set_message(fdit_context *ctx, char *text)
{
    free(ctx->message);
    ctx->message = text;
}

enum fdit_status fdit_fail(fdit_context *ctx, enum fdit_status code, const char *format, ...)
{
    if (ctx) {
        va_list args;
        va_start(args, format);
        char *text = fdit_text_vformat(format, args); /* may quote the old message; NULL: only the status */
        va_end(args);
        set_message(ctx, text);
    }
    return code;
}

enum fdit_status fdit_fail_errno(fdit_context *ctx, enum fdit_status code, int errnum, const char *format,
                                 ...)
{
    if (!ctx)
        return code;
    va_list args;
    va_start(args, format);
    char *text = fdit_text_vformat(format, args);
    va_end(args);
    char reason[256] = "";
#if defined(__GLIBC__) && defined(_GNU_SOURCE)
    const char *said = strerror_r(errnum, reason, sizeof reason);
#else
    const char *said = strerror_r(errnum, reason, sizeof reason) == 0 ? reason : "unknown error";
#endif
    fdit_fail(ctx, code, "%s: %s", text ? text : "", said);
    free(text);
    return code;
}

enum fdit_status fdit_fail_prefix(fdit_context *ctx, enum fdit_status code, const char *prefix)
{
    return fdit_fail(ctx, code, "%s: %s", prefix, fdit_context_message(ctx));
}

void fdit_log(fdit_context *ctx, enum fdit_log_level level, const char *format, ...)
{
    if (!ctx || !ctx->log)
        return;
    va_list args;
    va_start(args, format);
    char *text = fdit_text_vformat(format, args);
    va_end(args);
    if (text)
        ctx->log(ctx->log_user, level, text);
    free(text);
}

void fdit_log_table(fdit_context *ctx, enum fdit_log_level level, const char *lines)
{
    if (ctx && ctx->log)
        ctx->log(ctx->log_user, level, lines);
}
