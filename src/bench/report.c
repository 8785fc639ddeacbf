/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report.h"

#include "commit.h"
#include "core/text.h"

#include <math.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------- JSON */

/* Ops in the groups that a profile shows. */
enum { GROUP_GEMM, GROUP_ATTENTION, GROUP_NORM, GROUP_REST, N_GROUPS };
static const char *const group_names[N_GROUPS] = { "gemm", "attention", "norm", "rest" };

static int group_of(int op)
{
    switch (op) {
    case FDIT_OP_LINEAR:
    case FDIT_OP_LINEAR_DX:
    case FDIT_OP_LINEAR_DW: return GROUP_GEMM;
    case FDIT_OP_ATTENTION:
    case FDIT_OP_ATTENTION_BACKWARD: return GROUP_ATTENTION;
    case FDIT_OP_NORM:
    case FDIT_OP_MODULATE:
    case FDIT_OP_NORM_BACKWARD: return GROUP_NORM;
    default: return GROUP_REST;
    }
}

/* Shares of the whole run; what lies between the ops belongs to the rest. */
static void profile_shares(const struct fdit_bench_result *r, double share[N_GROUPS])
{
    double others = 0;
    memset(share, 0, N_GROUPS * sizeof *share);
    for (int i = 0; i < FDIT_OP_COUNT; i++)
        share[group_of(i)] += r->counts[i].seconds;
    for (int g = 0; g < N_GROUPS; g++) {
        share[g] = r->profile_seconds > 0 ? share[g] / r->profile_seconds : 0;
        others += g == GROUP_REST ? 0 : share[g];
    }
    share[GROUP_REST] = others < 1 ? 1 - others : 0;
}

static uint64_t launches(const struct fdit_bench_result *r)
{
    uint64_t n = 0;
    for (int i = 0; i < FDIT_OP_COUNT; i++)
        n += r->counts[i].launches;
    return n;
}

static void put_profile(struct fdit_json *b, json_t *to, const struct fdit_bench_result *r)
{
    double share[N_GROUPS];
    json_t *j = fdit_json_put_object(b, to, "profile");
    profile_shares(r, share);
    for (int g = 0; g < N_GROUPS; g++)
        fdit_json_put_real(b, j, group_names[g], share[g]);
    fdit_json_put_real(b, j, "seconds", r->profile_seconds);
    json_t *ops = fdit_json_put_object(b, j, "ops");
    for (int i = 0; i < FDIT_OP_COUNT; i++) {
        if (!r->counts[i].calls)
            continue;
        json_t *op = fdit_json_put_object(b, ops, fdit_op_name((enum fdit_op)i));
        fdit_json_put_int(b, op, "calls", (int64_t)r->counts[i].calls);
        fdit_json_put_int(b, op, "launches", (int64_t)r->counts[i].launches);
        fdit_json_put_real(b, op, "seconds", r->counts[i].seconds);
    }
}

static double gflops(const struct fdit_bench_result *r)
{
    return r->seconds_min > 0 ? 1e-9 * r->flops / r->seconds_min : 0;
}

static double peak_share(const struct fdit_bench_result *r)
{
    return r->peak.gflops > 0 ? gflops(r) / r->peak.gflops : 0;
}

static double gbytes(const struct fdit_bench_result *r)
{
    return r->seconds_min > 0 ? 1e-9 * r->bytes / r->seconds_min : 0;
}

/* A device with memory of its own holds what was planned; else everything is resident memory. */
static size_t peak_memory(const struct fdit_bench_result *r)
{
    return r->threads && r->resident_bytes ? r->resident_bytes : r->plan_bytes;
}

/* A number that was not measured is null. */
static void put_measured(struct fdit_json *b, json_t *to, const char *key, double value)
{
    fdit_json_put_real(b, to, key, value > 0 ? value : NAN);
}

void fdit_bench_json(const fdit_device *dev, const struct fdit_bench_result *r, struct fdit_json *b)
{
    json_t *j = fdit_json_put_object(b, NULL, NULL);
    fdit_json_put_text(b, j, "problem", r->problem->text);
    fdit_json_put_text(b, j, "device", fdit_device_info(dev)->name);
    fdit_json_put_text(b, j, "driver", fdit_device_info(dev)->driver);
    fdit_json_put_text(b, j, "precision", fdit_dtype_name(r->precision));
    fdit_json_put_text(b, j, "engine", r->engine);
    fdit_json_put_text(b, j, "weights", fdit_dtype_name(r->storage));
    fdit_json_put_int(b, j, "threads", r->threads);
    fdit_json_put_int(b, j, "batch", r->problem->batch);
    fdit_json_put_real(b, j, "seconds_min", r->seconds_min);
    fdit_json_put_real(b, j, "seconds_median", r->seconds_median);
    fdit_json_put_real(b, j, "seconds_max", r->seconds_max);
    fdit_json_put_int(b, j, "repetitions", r->repetitions);
    fdit_json_put_real(b, j, "seconds_per_image", r->seconds_min / r->problem->batch);
    fdit_json_put_real(b, j, "gflops", gflops(r));
    put_measured(b, j, "peak_gflops", r->peak.gflops);
    put_measured(b, j, "peak_share", peak_share(r));
    fdit_json_put_real(b, j, "gbytes_per_second", gbytes(r));
    fdit_json_put_int(b, j, "peak_memory_bytes", (int64_t)peak_memory(r));
    fdit_json_put_real(b, j, "warmup_seconds", r->warmup_seconds);
    fdit_json_put_bool(b, j, "verified", r->check.done);
    fdit_json_put_real(b, j, "max_error", r->check.done ? r->check.max_error : NAN);
    fdit_json_put_text(b, j, "version", fdit_version());
    fdit_json_put_text(b, j, "commit", FDIT_COMMIT);
    fdit_json_put_int(b, j, "flops", (int64_t)r->flops);
    fdit_json_put_int(b, j, "runs_per_repetition", r->runs);
    put_measured(b, j, "copy_gbytes_per_second", r->peak.copy_gbytes);
    fdit_json_put_int(b, j, "plan_bytes", (int64_t)r->plan_bytes);
    if (r->check.done) {
        fdit_json_put_text(b, j, "verified_on", r->check.on);
        fdit_json_put_text(b, j, "worst", r->check.worst);
        fdit_json_put_real(b, j, "allowed_error", r->check.allowed);
    }
    if (r->profiled)
        put_profile(b, j, r);
}

/* --------------------------------------------------------------------------------------- table */

void fdit_bench_format_seconds(double seconds, char out[16])
{
    if (seconds >= 1)
        snprintf(out, 16, "%.4g s", seconds);
    else if (seconds >= 1e-3)
        snprintf(out, 16, "%.4g ms", 1e3 * seconds);
    else
        snprintf(out, 16, "%.4g us", 1e6 * seconds);
}

static const char columns[] = "%-36s %9s %9s %9s %9s %8s %6s %7s %9s %8s\n";

enum fdit_status fdit_bench_print_header(fdit_context *ctx, FILE *to)
{
    return fdit_text_print(ctx, to, columns, "problem", "min", "median", "max", "per image", "GFLOP/s",
                           "peak", "GB/s", "memory", "error");
}

enum fdit_status fdit_bench_print(fdit_context *ctx, FILE *to, const struct fdit_bench_result *r)
{
    enum fdit_status status = FDIT_OK;
    char min[16], median[16], max[16], each[16], speed[16], share[16], rate[16], memory[32], error[16];
    fdit_bench_format_seconds(r->seconds_min, min);
    fdit_bench_format_seconds(r->seconds_median, median);
    fdit_bench_format_seconds(r->seconds_max, max);
    fdit_bench_format_seconds(r->seconds_min / r->problem->batch, each);
    snprintf(speed, sizeof speed, "%.4g", gflops(r));
    snprintf(share, sizeof share, peak_share(r) > 0 ? "%.0f %%" : "-", 100 * peak_share(r));
    snprintf(rate, sizeof rate, "%.3g", gbytes(r));
    fdit_format_size(peak_memory(r), memory);
    if (r->check.done)
        snprintf(error, sizeof error, "%.1e", r->check.max_error);
    else
        strcpy(error, "-");
    TRY(fdit_text_print(ctx, to, columns, r->problem->text, min, median, max, each, speed, share, rate,
                        memory, error));
    if (r->profiled) {
        double part[N_GROUPS];
        profile_shares(r, part);
        TRY(fdit_text_print(ctx, to, "    time:"));
        for (int g = 0; g < N_GROUPS; g++)
            TRY(fdit_text_print(ctx, to, "%s %s %.1f %%", g ? "," : "", group_names[g], 100 * part[g]));
        if (launches(r))
            TRY(fdit_text_print(ctx, to, "; the device works %.4g ms of it, in %llu launches",
                                1e3 * r->profile_seconds, (unsigned long long)launches(r)));
        fputc('\n', to);
    }
    fflush(to);
out:
    return status;
}
