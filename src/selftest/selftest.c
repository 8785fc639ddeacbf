/* SPDX-License-Identifier: Apache-2.0 */
#include "selftest/selftest.h"

#include "bench/bench.h"
#include "core/clock.h"
#include "core/mem.h"
#include "core/text.h"
#include "device/cases.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

enum { PIECES = 4096 };

struct test {
    fdit_context *ctx;
    enum fdit_status status; /* of the report's growth */
    const struct fdit_selftest_options *o;
    struct fdit_selftest_summary *s;
    size_t length, capacity;
    /* the op in progress */
    enum fdit_op op;
    int cases, failures;
    double error, seconds;
};

static void say(struct test *t, const char *format, ...) FDIT_PRINTF(2, 3);
static void say(struct test *t, const char *format, ...)
{
    va_list args, again;
    if (t->status != FDIT_OK)
        return;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    t->status = fdit_grow(t->ctx, &t->s->report, &t->capacity, t->length + (size_t)n + 2, 1);
    if (t->status == FDIT_OK) {
        char *line = t->s->report + t->length;
        vsnprintf(line, (size_t)n + 1, format, again);
        if (t->o->on_line)
            t->o->on_line(t->o->user, line);
        line[n] = '\n';
        line[n + 1] = 0;
        t->length += (size_t)n + 1;
    }
    va_end(again);
}

static void verdict(struct test *t, bool passed, const char *what, const char *detail)
{
    t->s->passed += passed;
    t->s->failed += !passed;
    say(t, "%s: %s%s%s", passed ? "pass" : "FAIL", what, *detail ? ": " : "", detail);
}

/* ------------------------------------------------------------------ facts */

static enum fdit_status facts(fdit_context *ctx, fdit_device *dev, struct test *t)
{
    enum fdit_status status = FDIT_OK;
    struct utsname host;
    char *text = NULL;
    say(t, "finediffusion %s selftest of %s", fdit_version(), fdit_device_info(dev)->spec);
    if (uname(&host) == 0)
        say(t, "host: %s %s %s", host.sysname, host.release, host.machine);
    say(t, "name: %s", fdit_device_info(dev)->name);
    TRY(fdit_device_facts(ctx, dev, &text));
    for (char *line = text, *end; *line; line = end + 1) {
        end = line + strcspn(line, "\n");
        say(t, "%.*s", (int)(end - line), line);
        if (!*end)
            break;
    }
out:
    fdit_free(text);
    return status;
}

/* ------------------------------------------------------------------ ops */

static void end_op(struct test *t)
{
    char detail[96];
    if (!t->cases)
        return;
    snprintf(detail, sizeof detail, "%d cases, largest error %.2g, %.1f ms", t->cases, t->error,
             1e3 * t->seconds);
    say(t, "%s: %s: %s", t->failures ? "FAIL" : "pass", fdit_op_name(t->op), detail);
    t->cases = t->failures = 0;
    t->error = t->seconds = 0;
}

static void on_case(void *user, const struct fdit_probe *p, const struct fdit_probe_result *r)
{
    struct test *t = user;
    if (t->cases && t->op != p->op)
        end_op(t);
    t->op = p->op;
    t->cases++;
    t->seconds += r->seconds;
    t->error = r->error > t->error ? r->error : t->error;
    if (r->passed) {
        t->s->passed++;
        return;
    }
    t->s->failed++;
    if (t->failures++ < 4) /* the first ones say how */
        say(t, "FAIL: %s: %s", p->text, r->reason);
}

/* ------------------------------------------------------------------ speed */

static enum fdit_status time_problem(fdit_context *ctx, fdit_device *dev, struct test *t, const char *words)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_bench_problem problem = { 0 };
    struct fdit_bench_options o = { .precision = FDIT_F32, .storage = FDIT_F32, .repetitions = 3 };
    struct fdit_bench_result r;
    TRY(fdit_bench_problem_parse(ctx, words, &problem));
    enum fdit_status ran = fdit_bench_run(ctx, dev, &problem, &o, &r);
    if (ran == FDIT_INTERRUPTED || ran == FDIT_ERROR_MEMORY)
        TRY(ran);
    if (ran == FDIT_OK)
        say(t, "%s: %.4g ms, %.4g GFLOP/s, first run %.3g s", words, 1e3 * r.seconds_min,
            r.flops / r.seconds_min / 1e9, r.warmup_seconds);
    else
        verdict(t, false, words, fdit_context_message(ctx));
    if (ran != FDIT_OK)
        fdit_device_clear_error(dev);
out:
    fdit_bench_problem_fini(&problem);
    return status;
}

/* Queued launches of the smallest op, a round trip, and transfers. */
static enum fdit_status time_launches(fdit_context *ctx, fdit_device *dev, struct test *t)
{
    enum { LAUNCHES = 1000, ROUNDS = 20, NUMBERS = 4 << 20 };
    enum fdit_status status = FDIT_OK;
    fdit_buffer *buffer = NULL;
    float *host = NULL, one;
    struct fdit_op_shape shape = { .op = FDIT_OP_AXPY, .n = 1 };
    TRY(fdit_alloc(ctx, NUMBERS, sizeof *host, &host));
    TRY(fdit_buffer_new(ctx, dev, NUMBERS * sizeof *host, "transfers", &buffer));
    TRY(fdit_device_reserve(ctx, dev, fdit_device_workspace(dev, &shape, 1)));
    struct fdit_tensor x = fdit_tensor_of(buffer, FDIT_F32);
    struct fdit_axpy_args a = { .n = 1, .alpha = 1, .y = x, .x = fdit_at(x, 1024), .beta = 1 };
    fdit_axpy(dev, &a);
    TRY(fdit_device_sync(ctx, dev));
    double began = fdit_clock_seconds();
    for (int i = 0; i < LAUNCHES; i++)
        fdit_axpy(dev, &a);
    TRY(fdit_device_sync(ctx, dev));
    double queued = (fdit_clock_seconds() - began) / LAUNCHES;
    began = fdit_clock_seconds();
    for (int i = 0; i < ROUNDS; i++) {
        fdit_axpy(dev, &a);
        TRY(fdit_read(ctx, dev, x, &one, 1));
    }
    double round = (fdit_clock_seconds() - began) / ROUNDS;
    began = fdit_clock_seconds();
    fdit_write(dev, x, host, NUMBERS);
    TRY(fdit_device_sync(ctx, dev));
    double written = fdit_clock_seconds() - began;
    began = fdit_clock_seconds();
    TRY(fdit_read(ctx, dev, x, host, NUMBERS));
    double read = fdit_clock_seconds() - began;
    double gbytes = NUMBERS * sizeof *host / 1e9;
    say(t, "launch: %.3g us queued, %.3g us with a read; write %.3g GB/s, read %.3g GB/s", 1e6 * queued,
        1e6 * round, gbytes / written, gbytes / read);
out:
    fdit_buffer_free(buffer);
    fdit_free(host);
    return status;
}

static enum fdit_status speed(fdit_context *ctx, fdit_device *dev, struct test *t)
{
    static const char *const problems[] = { "linear 512x4608x1152", "linear_dx 512x4608x1152",
                                            "attention b2 n256 h16 d72",
                                            "attention_backward b2 n256 h16 d72" };
    enum fdit_status status = FDIT_OK;
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++)
        TRY(time_problem(ctx, dev, t, problems[i]));
    enum fdit_status ran = time_launches(ctx, dev, t);
    if (ran == FDIT_ERROR_MEMORY)
        TRY(ran);
    if (ran != FDIT_OK) {
        verdict(t, false, "launches", fdit_context_message(ctx));
        fdit_device_clear_error(dev);
    }
out:
    return status;
}

/* ------------------------------------------------------------------ out of memory */

/* A device with memory of its own is filled until it refuses. One that lives in the host's memory is asked
 * for one buffer larger than it allows: filling it would drive other programs out. */
static enum fdit_status run_out(fdit_context *ctx, fdit_device *dev, struct test *t)
{
    enum fdit_status status = FDIT_OK, refused = FDIT_OK;
    fdit_buffer **pieces = NULL;
    fdit_buffer *one = NULL;
    size_t n = 0, bytes = 0, most = fdit_device_info(dev)->max_buffer;
    char detail[600], given[32], has[32];
    TRY(fdit_alloc(ctx, PIECES, sizeof *pieces, &pieces));
    if (!fdit_device_info(dev)->is_gpu) {
        if (!most || most >= SIZE_MAX / 4) {
            say(t, "memory: no limit to try, it is the host's");
            goto out;
        }
        refused = fdit_buffer_new(ctx, dev, most + 4, "one buffer too large", &one);
    }
    size_t piece = most && most < (size_t)256 << 20 ? most : (size_t)256 << 20;
    while (fdit_device_info(dev)->is_gpu && refused == FDIT_OK && n < PIECES &&
           bytes / 2 <= fdit_device_info(dev)->memory) {
        char label[48];
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "stopped while memory ran out");
        snprintf(label, sizeof label, "piece %zu of memory", n);
        refused = fdit_buffer_new(ctx, dev, piece, label, &pieces[n]);
        if (refused == FDIT_OK) {
            n++;
            bytes += piece;
        }
    }
    const char *what = fdit_device_info(dev)->is_gpu ? "memory runs out" : "too large a buffer";
    if (refused == FDIT_OK) {
        fdit_format_size(bytes, given);
        fdit_format_size(fdit_device_info(dev)->memory, has);
        snprintf(detail, sizeof detail, "%s were given, the device says that it has %s", given, has);
        verdict(t, false, what, detail);
    } else {
        fdit_format_size(bytes, given);
        snprintf(detail, sizeof detail, "after %s: %.480s", given, fdit_context_message(ctx));
        verdict(t, true, what, detail);
    }
out:
    fdit_buffer_free(one);
    for (size_t i = 0; pieces && i < n; i++)
        fdit_buffer_free(pieces[i]);
    fdit_free(pieces);
    return status;
}

static enum fdit_status memory(fdit_context *ctx, fdit_device *dev, struct test *t)
{
    enum fdit_status status = FDIT_OK;
    TRY(run_out(ctx, dev, t));
    status = fdit_cases_quick(ctx, t->o->reference, dev, t->o->spoil);
    if (status == FDIT_ERROR_MEMORY)
        return status;
    verdict(t, status == FDIT_OK, "computes afterwards", status == FDIT_OK ? "" : fdit_context_message(ctx));
    fdit_device_clear_error(dev);
    status = FDIT_OK;
out:
    return status;
}

enum fdit_status fdit_selftest_run(fdit_context *ctx, fdit_device *dev,
                                   const struct fdit_selftest_options *options,
                                   struct fdit_selftest_summary *out)
{
    enum fdit_status status = FDIT_OK;
    struct test t = { .ctx = ctx, .o = options, .s = out };
    *out = (struct fdit_selftest_summary){ 0 };
    TRY(facts(ctx, dev, &t));
    say(&t, "-- ops against the reference");
    TRY(fdit_cases_run(ctx, options->reference, dev, options->tiny, on_case, &t));
    end_op(&t);
    if (!options->tiny) {
        say(&t, "-- speed");
        TRY(speed(ctx, dev, &t));
    }
    say(&t, "-- memory");
    TRY(memory(ctx, dev, &t));
    say(&t, "-- %d passed, %d failed", out->passed, out->failed);
    if (t.status != FDIT_OK) /* of a line; messages that tests wanted have followed */
        FAIL(ctx, t.status, "out of memory for the report, which lacks lines");
    return FDIT_OK;
out:
    fdit_free(out->report);
    *out = (struct fdit_selftest_summary){ 0 };
    return status;
}
