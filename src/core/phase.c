/* SPDX-License-Identifier: Apache-2.0 */
#include "core/phase.h"

#include <stdarg.h>
#include <stdio.h>

void fdit_context_set_phase(fdit_context *ctx, fdit_phase_fn phase, void *user)
{
    ctx->phase = phase;
    ctx->phase_user = user;
}

static void tell(fdit_context *ctx, const struct fdit_phase_event *event)
{
    if (ctx && ctx->phase)
        ctx->phase(ctx->phase_user, event);
}

void fdit_phase_begin(fdit_context *ctx, uint64_t total, const char *name, ...)
{
    char text[256];
    va_list args;
    va_start(args, name);
    vsnprintf(text, sizeof text, name, args);
    va_end(args);
    tell(ctx, &(struct fdit_phase_event){ .kind = FDIT_PHASE_BEGIN, .name = text, .total = total });
}

void fdit_phase_at(fdit_context *ctx, uint64_t done)
{
    tell(ctx, &(struct fdit_phase_event){ .kind = FDIT_PHASE_AT, .done = done });
}

void fdit_phase_end(fdit_context *ctx)
{
    tell(ctx, &(struct fdit_phase_event){ .kind = FDIT_PHASE_END });
}

void fdit_phase_ahead(fdit_context *ctx, const char *name, uint64_t times, double units)
{
    tell(ctx, &(struct fdit_phase_event){
                  .kind = FDIT_PHASE_AHEAD, .name = name, .total = times, .units = units });
}
