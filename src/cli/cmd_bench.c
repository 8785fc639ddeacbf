/* SPDX-License-Identifier: Apache-2.0
 * cmd_bench.c: `finediffusion bench`. */
#include "cli/cli.h"

#include "bench/chart.h"
#include "core/file.h"
#include "core/mem.h"
#include "devices.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct args {
    int repetitions;
    bool profile, no_verify, compare;
    const char *chart;
};

static const struct fdit_option options[] = {
    FDIT_HEADING("Measuring"),
    { FDIT_OPTION_ROW(INT, "repetitions", "N", struct args, repetitions), FDIT_RANGE(1, 1000000),
      .note = ": at least 3 and one second, at most 20", .help = "timed repetitions" },
    FDIT_OPTION("profile", NULL, FLAG, struct args, profile,
                "show where the time goes: GEMM, attention, norms, the rest"),
    FDIT_OPTION("no-verify", NULL, FLAG, struct args, no_verify,
                "do not compare with the reference implementation first"),
    FDIT_HEADING("Comparing"),
    FDIT_OPTION("compare", NULL, FLAG, struct args, compare,
                "measure nothing; show files written with --json side by side"),
    FDIT_OPTION("chart", "FILE", TEXT, struct args, chart,
                "also draw the results as a bar chart, SVG or PNG by the ending of FILE"),
    { 0 }
};

struct watch {
    struct fdit_cli *cli;
    uint64_t done;
};

static void on_phase(void *user, const struct fdit_bench_problem *p, const char *phase)
{
    struct watch *w = user;
    char note[160];
    snprintf(note, sizeof note, "%s: %s", p->text, phase);
    fdit_cli_progress_update(w->cli, w->done, note);
}

#define JSON_FLAGS (JSON_INDENT(1) | JSON_REAL_PRECISION(6))

/* Before any work. */
static enum fdit_status check_chart(fdit_context *ctx, const char *path)
{
    if (fdit_chart_format_of(path) == FDIT_CHART_NONE)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--chart %s: charts are SVG or PNG; give a name that ends in .svg or .png", path);
    return fdit_file_target(ctx, "--chart", path);
}

static enum fdit_status write_chart(struct fdit_cli *cli, const char *path, const struct fdit_bench_set *sets,
                                    int n)
{
    enum fdit_status status = FDIT_OK;
    uint8_t *bytes = NULL;
    size_t size = 0;
    TRY(fdit_bench_chart(cli->ctx, sets, n, fdit_chart_format_of(path), &bytes, &size));
    TRY(fdit_file_write(cli->ctx, path, false, bytes, size));
    fdit_cli_note(cli, "wrote %s", path);
out:
    fdit_free(bytes);
    return status;
}

/* ------------------------------------------------------------------ comparing files */

/* Every result with the name of its file. */
static enum fdit_status print_merged(struct fdit_cli *cli, const struct fdit_bench_set *sets, int n)
{
    struct fdit_json all;
    fdit_json_begin_list(&all);
    for (int s = 0; s < n; s++)
        for (size_t i = 0; i < json_array_size(sets[s].results); i++) {
            json_t *r = json_array_get(sets[s].results, i);
            fdit_json_put_text(&all, r, "file", sets[s].name);
            fdit_json_put(&all, NULL, NULL, json_incref(r));
        }
    enum fdit_status status = fdit_cli_print_json(cli, &all, JSON_FLAGS);
    fdit_json_fini(&all);
    return status;
}

static enum fdit_status compare(struct fdit_cli *cli, const struct args *a, int n, char **files)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_bench_set *sets = NULL;
    if (!n)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT,
             "--compare: no file is named; give files that bench --json wrote");
    TRY(fdit_alloc(cli->ctx, (size_t)n, sizeof *sets, &sets));
    for (int i = 0; i < n; i++)
        TRY(fdit_bench_set_read(cli->ctx, files[i], &sets[i]));
    if (a->chart)
        TRY(write_chart(cli, a->chart, sets, n));
    if (cli->json)
        TRY(print_merged(cli, sets, n));
    else
        TRY(fdit_bench_print_compared(cli->ctx, stdout, sets, n));
out:
    for (int i = 0; sets && i < n; i++)
        fdit_bench_set_fini(&sets[i]);
    fdit_free(sets);
    return status;
}

/* ------------------------------------------------------------------ measuring */

static enum fdit_status measure(struct fdit_cli *cli, const struct args *a, fdit_device *dev,
                                fdit_device *reference, const struct fdit_bench_problem *problems, int n,
                                struct fdit_json *results)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_device_peak best = { 0 };
    struct watch w = { .cli = cli };
    char *engine = NULL;
    TRY(fdit_device_engine(cli->ctx, dev, fdit_device_precision(dev), &engine, NULL));
    const struct fdit_bench_options o = { .engine = engine,
                                          .precision = fdit_device_precision(dev),
                                          .storage = cli->weights,
                                          .repetitions = a->repetitions,
                                          .profile = a->profile,
                                          .reference = reference,
                                          .on_phase = on_phase,
                                          .user = &w };
    for (int i = 0; i < n; i++) {
        struct fdit_bench_result r;
        w.done = (uint64_t)i;
        fdit_cli_progress_begin(cli, "bench", "problem", w.done, (uint64_t)n);
        status = fdit_bench_run(cli->ctx, dev, &problems[i], &o, &r);
        fdit_cli_progress_drop(cli); /* before the table's next line */
        TRY(status);
        /* Other programs can only lower what the probe finds. */
        best.gflops = r.peak.gflops > best.gflops ? r.peak.gflops : best.gflops;
        best.copy_gbytes = r.peak.copy_gbytes > best.copy_gbytes ? r.peak.copy_gbytes : best.copy_gbytes;
        r.peak = best;
        if (i == 0 && !cli->json) {
            fdit_cli_print(cli, "%s (%s), precision %s by %s, weights %s", fdit_device_info(dev)->name,
                           fdit_device_info(dev)->driver, fdit_dtype_name(o.precision), engine,
                           fdit_dtype_name(o.storage));
            if (best.gflops > 0)
                fdit_cli_print(cli, ", peak %.4g GFLOP/s, copy %.3g GB/s", best.gflops, best.copy_gbytes);
            fdit_cli_print(cli, "\n\n");
            TRY(fdit_bench_print_header(cli->ctx, stdout));
        }
        if (!cli->json)
            TRY(fdit_bench_print(cli->ctx, stdout, &r));
        if (i == 0 && a->profile && !r.profiled)
            fdit_cli_note(cli, "--profile: %s works through a queue, its ops are not timed one by one",
                          fdit_device_info(dev)->name);
        fdit_bench_json(dev, &r, results);
        TRY(fdit_json_check(cli->ctx, results, "the results"));
    }
out:
    fdit_free(engine);
    return status;
}

static enum fdit_status run(struct fdit_cli *cli, void *p, int n, char **operands)
{
    enum fdit_status status = FDIT_OK;
    const struct args *a = p;
    struct fdit_bench_problem *problems = NULL;
    fdit_device *dev = NULL, *reference = NULL;
    struct fdit_json results = { 0 };
    int count = n; /* 0: the list */
    if (a->repetitions < 0 || a->repetitions > 1000000)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT, "--repetitions %d: give 1 to 1000000, or leave it out",
             a->repetitions);
    if (a->chart)
        TRY(check_chart(cli->ctx, a->chart));
    if (a->compare)
        return compare(cli, a, n, operands);
    while (!n && fdit_bench_default_problems[count])
        count++;
    TRY(fdit_alloc(cli->ctx, (size_t)count, sizeof *problems, &problems));
    for (int i = 0; i < count; i++)
        TRY(fdit_bench_problem_parse(cli->ctx, n ? operands[i] : fdit_bench_default_problems[i],
                                     &problems[i]));
    TRY(fdit_cli_device(cli, &dev));
    if (!a->no_verify)
        TRY(fdit_devices_open_one(cli->ctx, &(struct fdit_device_options){ .spec = "ref" }, &reference));
    fdit_json_begin_list(&results);
    TRY(measure(cli, a, dev, reference, problems, count, &results));
    if (cli->json)
        TRY(fdit_cli_print_json(cli, &results, JSON_FLAGS));
    if (a->chart) {
        char name[] = "finediffusion";
        TRY(write_chart(cli, a->chart, &(struct fdit_bench_set){ name, results.root }, 1));
    }
out:
    fdit_json_fini(&results);
    for (int i = 0; problems && i < count; i++)
        fdit_bench_problem_fini(&problems[i]);
    fdit_free(problems);
    fdit_device_close(reference);
    fdit_device_close(dev);
    return status;
}

const struct fdit_command fdit_command_bench = {
    .name = "bench",
    .summary = "measure how fast a device is, and check its results",
    .synopsis = "[OPTION]... [PROBLEM]... | --compare FILE...",
    .about = "Measures each PROBLEM with random weights and prints the time, GFLOP/s, the share of the "
             "peak (which a loop of multiply-adds reaches), bytes per second, and memory. Before that, "
             "the result is compared with the reference implementation: the error is the size of the "
             "difference divided by the size of the values. Training steps and blocks are compared at "
             "depth 1. Without a PROBLEM, a list of seven is measured.\n\n"
             "A PROBLEM is a few words, in quotes:\n\n"
             "  'linear MxNxK'              matrix product with M rows, N outputs, K inputs;\n"
             "                              linear_dx and linear_dw: the gradients of its\n"
             "                              input and of its weights\n"
             "  'attention b2 n256 h16 d72' 2 samples, 256 tokens, 16 heads of size 72; also\n"
             "                              attention_backward\n"
             "  'block DiT-XL/2 b2'         forward and backward pass of one block\n"
             "  'train DiT-XL/2 b2'         a FineDiffusion step (forward, loss, backward,\n"
             "                              AdamW, EMA) on 2 latents of 32x32x4, with 10,011\n"
             "                              rows in the class table\n"
             "  'sample DiT-S/2 b4'         a guided sampling step for 4 pictures\n"
             "  'vae encode 256'            a picture of 256 x 256 through an autoencoder of\n"
             "                              Stable Diffusion's size; also 'vae decode 256'\n\n"
             "More words for models: what is trained, as in 'train full DiT-S/2 b4' (bitfit, norm, "
             "table, lora:16); an adapter to draw with, as in 'sample lora:16 DiT-S/2 b4'; "
             "recompute=branches or recompute=block; activations=bf16; size=64, channels=1, "
             "classes=N (rows of the class table).\n\n"
             "FLOPs are counted as 2 M N K for a matrix product, 18 x inputs x outputs per pixel of a "
             "convolution, 4 N^2 D for attention and 8 N^2 D for its backward pass. What is computed "
             "twice to save memory is counted once.",
    .examples = "  finediffusion bench\n"
                "  finediffusion bench 'train DiT-S/2 b4' 'sample DiT-S/2 b4' --profile\n"
                "  finediffusion bench 'linear 512x4608x1152' --threads 1 --json > one.json\n"
                "  finediffusion bench --compare one.json two.json --chart both.svg\n",
    .options = options,
    .common = FDIT_COMMON_DEVICE | FDIT_COMMON_WEIGHTS | FDIT_COMMON_JSON,
    .most_operands = -1,
    .args_size = sizeof(struct args),
    .run = run,
};
