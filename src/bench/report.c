/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report.h"

#include "commit.h"

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

static json_t *profile_json(const struct fdit_bench_result *r)
{
    double share[N_GROUPS];
    json_t *j = json_object(), *ops = json_object();
    profile_shares(r, share);
    for (int g = 0; g < N_GROUPS; g++)
        json_object_set_new(j, group_names[g], json_real(share[g]));
    for (int i = 0; i < FDIT_OP_COUNT; i++)
        if (r->counts[i].calls)
            json_object_set_new(ops, fdit_op_name((enum fdit_op)i),
                                json_pack("{s:I,s:I,s:f}", "calls", (json_int_t)r->counts[i].calls,
                                          "launches", (json_int_t)r->counts[i].launches, "seconds",
                                          r->counts[i].seconds));
    json_object_set_new(j, "seconds", json_real(r->profile_seconds));
    json_object_set_new(j, "ops", ops);
    return j;
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
static json_t *real_or_null(double value)
{
    return value > 0 ? json_real(value) : json_null();
}

json_t *fdit_bench_json(const fdit_device *dev, const struct fdit_bench_result *r)
{
    json_t *j = json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:f,s:f,s:f,s:i,s:f,s:f,s:o,s:o,s:f,s:I,s:f,s:b}", "problem",
        r->problem->text, "device", dev->info.name, "driver", dev->info.driver, "precision",
        fdit_dtype_name(r->precision), "weights", fdit_dtype_name(r->storage), "threads",
        r->threads, "batch", r->problem->batch, "seconds_min", r->seconds_min, "seconds_median",
        r->seconds_median, "seconds_max", r->seconds_max, "repetitions", r->repetitions,
        "seconds_per_image", r->seconds_min / r->problem->batch, "gflops", gflops(r), "peak_gflops",
        real_or_null(r->peak.gflops), "peak_share", real_or_null(peak_share(r)),
        "gbytes_per_second", gbytes(r), "peak_memory_bytes", (json_int_t)peak_memory(r),
        "warmup_seconds", r->warmup_seconds, "verified", r->check.done);
    if (!j)
        return NULL;
    json_object_set_new(j, "max_error",
                        r->check.done ? json_real(r->check.max_error) : json_null());
    json_object_set_new(j, "version", json_string(fdit_version()));
    json_object_set_new(j, "commit", json_string(FDIT_COMMIT));
    json_object_set_new(j, "flops", json_integer((json_int_t)r->flops));
    json_object_set_new(j, "runs_per_repetition", json_integer(r->runs));
    json_object_set_new(j, "copy_gbytes_per_second", real_or_null(r->peak.copy_gbytes));
    json_object_set_new(j, "plan_bytes", json_integer((json_int_t)r->plan_bytes));
    if (r->check.done) {
        json_object_set_new(j, "verified_on", json_string(r->check.on));
        json_object_set_new(j, "worst", json_string(r->check.worst));
        json_object_set_new(j, "allowed_error", json_real(r->check.allowed));
    }
    if (r->profiled)
        json_object_set_new(j, "profile", profile_json(r));
    return j;
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

void fdit_bench_print_header(FILE *to)
{
    fprintf(to, columns, "problem", "min", "median", "max", "per image", "GFLOP/s", "peak", "GB/s",
            "memory", "error");
}

void fdit_bench_print(FILE *to, const struct fdit_bench_result *r)
{
    char min[16], median[16], max[16], each[16], speed[16], share[16], rate[16], memory[24],
        error[16];
    fdit_bench_format_seconds(r->seconds_min, min);
    fdit_bench_format_seconds(r->seconds_median, median);
    fdit_bench_format_seconds(r->seconds_max, max);
    fdit_bench_format_seconds(r->seconds_min / r->problem->batch, each);
    snprintf(speed, sizeof speed, "%.4g", gflops(r));
    snprintf(share, sizeof share, peak_share(r) > 0 ? "%.0f %%" : "-", 100 * peak_share(r));
    snprintf(rate, sizeof rate, "%.3g", gbytes(r));
    snprintf(memory, sizeof memory, "%.0f MB", 1e-6 * (double)peak_memory(r));
    if (r->check.done)
        snprintf(error, sizeof error, "%.1e", r->check.max_error);
    else
        strcpy(error, "-");
    fprintf(to, columns, r->problem->text, min, median, max, each, speed, share, rate, memory,
            error);
    if (r->profiled) {
        double part[N_GROUPS];
        profile_shares(r, part);
        fprintf(to, "    time:");
        for (int g = 0; g < N_GROUPS; g++)
            fprintf(to, "%s %s %.1f %%", g ? "," : "", group_names[g], 100 * part[g]);
        if (launches(r))
            fprintf(to, "; the device works %.4g ms of it, in %llu launches", 1e3 * r->profile_seconds,
                    (unsigned long long)launches(r));
        fputc('\n', to);
    }
    fflush(to);
}
