/* SPDX-License-Identifier: Apache-2.0
 * cmd_tune.c: `finediffusion tune`. */
#include "cli/cli.h"

#include "bench/problem.h"
#include "core/mem.h"
#include "device_words.h"
#include "model/params.h"

#include <stddef.h>
#include <stdlib.h>

struct args {
    int candidates, library;
};

static const struct fdit_option options[] = {
    FDIT_HEADING("Measuring"),
    { FDIT_OPTION_ROW(INT, "candidates", "N", struct args, candidates), FDIT_RANGE(1, 1000), .note = ": all",
      .help = "tile sizes to try on each kind of product" },
    { FDIT_OPTION_ROW(INT, FDIT_TUNE_LIBRARY, "N", struct args, library), FDIT_RANGE(0, 1000), .usual = "16",
      .note = FDIT_TUNE_LIBRARY_NOTE, .help = FDIT_TUNE_LIBRARY_HELP },
    { 0 }
};

/* What a fine-tuning step of the public sizes multiplies; the batch only sets the size of a trial.
 */
static const char *const default_problems[] = { "train DiT-S/2 b4", "train DiT-XL/2 b2" };

struct watch {
    struct fdit_cli *cli;
    bool begun;
    struct fdit_json results;
    double before, after;
};

static void on_progress(void *user, int done, int all, const char *what)
{
    struct watch *w = user;
    if (!w->begun)
        fdit_cli_progress_begin(w->cli, "tune", "trial", 0, (uint64_t)all);
    w->begun = true;
    fdit_cli_progress_update(w->cli, (uint64_t)done, what);
}

static void put_result(struct fdit_json *b, const struct fdit_tune_result *r)
{
    json_t *j = fdit_json_put_object(b, NULL, NULL);
    fdit_json_put_text(b, j, "product", r->what);
    fdit_json_put_text(b, j, "before", r->before);
    fdit_json_put_text(b, j, "after", r->after);
    fdit_json_put_real(b, j, "seconds_before", r->seconds_before);
    fdit_json_put_real(b, j, "seconds_after", r->seconds_after);
    fdit_json_put_real(b, j, "gflops_before", 1e-9 * r->flops / r->seconds_before);
    fdit_json_put_real(b, j, "gflops_after", 1e-9 * r->flops / r->seconds_after);
}

static void on_result(void *user, const struct fdit_tune_result *r)
{
    struct watch *w = user;
    fdit_cli_progress_drop(w->cli);
    w->before += r->seconds_before;
    w->after += r->seconds_after;
    if (w->cli->json)
        put_result(&w->results, r);
    else
        fdit_cli_print(w->cli, "%-28s %9.1f -> %9.1f GFLOP/s  %5.2fx  %s\n", r->what,
                       1e-9 * r->flops / r->seconds_before, 1e-9 * r->flops / r->seconds_after,
                       r->seconds_before / r->seconds_after, r->after);
}

/* The products of one problem; `shapes` has room for FDIT_MODEL_LINEARS. */
static enum fdit_status add_problem(fdit_context *ctx, const char *text, struct fdit_op_shape *shapes,
                                    size_t *n)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_bench_problem p = { 0 };
    struct fdit_params params = { 0 };
    struct fdit_op_shape all[FDIT_MODEL_LINEARS];
    bool plain = false;
    TRY(fdit_bench_problem_parse(ctx, text, &p));
    bool sample = p.kind == FDIT_BENCH_SAMPLE;
    if (!sample && p.kind != FDIT_BENCH_TRAIN && p.kind != FDIT_BENCH_BLOCK)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "'%s': tune takes problems with a model: 'train DiT-S/2 b4', "
             "'train full DiT-B/2 b8', 'sample DiT-XL/2 b4'",
             text);
    if (!sample) {
        TRY(fdit_params_init(ctx, &p.config, &p.mask, &params));
        for (int i = 0; i < params.n; i++)
            plain |= params.list[i].trained && params.list[i].kind == FDIT_PARAM_MATRIX;
    }
    int count = fdit_model_linears(&p.config, sample ? 2 * p.batch : p.batch, plain, all);
    for (int i = 0; i < count; i++) {
        bool dw = all[i].op == FDIT_OP_LINEAR_DW, dx = all[i].op == FDIT_OP_LINEAR_DX;
        if (!(dw && !plain) && !(sample && (dw || dx)))
            shapes[(*n)++] = all[i];
    }
out:
    fdit_params_fini(&params);
    fdit_bench_problem_fini(&p);
    return status;
}

static enum fdit_status run(struct fdit_cli *cli, void *p, int n, char **operands)
{
    enum fdit_status status = FDIT_OK;
    const struct args *a = p;
    struct watch w = { .cli = cli };
    struct fdit_op_shape *shapes = NULL;
    fdit_device *dev = NULL;
    char *where = NULL;
    size_t k = 0;
    int count = n ? n : (int)(sizeof default_problems / sizeof *default_problems);
    if (a->library < 0 || a->library > 1000)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT, "--" FDIT_TUNE_LIBRARY " %d: give 0 to 1000", a->library);
    TRY(fdit_alloc(cli->ctx, (size_t)count * FDIT_MODEL_LINEARS, sizeof *shapes, &shapes));
    for (int i = 0; i < count; i++)
        TRY(add_problem(cli->ctx, n ? operands[i] : default_problems[i], shapes, &k));
    TRY(fdit_cli_device(cli, &dev));
    fdit_json_begin_list(&w.results);
    if (!cli->json && fdit_device_info(dev)->tunable)
        fdit_cli_print(cli, "%s (%s)\nproducts in %s\n\n", fdit_device_info(dev)->name,
                       fdit_device_info(dev)->driver, fdit_dtype_name(fdit_device_precision(dev)));
    const struct fdit_tune_options o = { .candidates = a->candidates,
                                         .library_trials = a->library,
                                         .on_progress = on_progress,
                                         .on_result = on_result,
                                         .user = &w };
    status = fdit_device_tune(cli->ctx, dev, shapes, k, &o, &where);
    fdit_cli_progress_drop(cli);
    TRY(status);
    if (cli->json) {
        TRY(fdit_cli_print_json(cli, &w.results, JSON_INDENT(1) | JSON_REAL_PRECISION(6)));
    } else {
        fdit_cli_print(cli, "\nall of them once: %.3g -> %.3g ms, %.2fx\n", 1e3 * w.before, 1e3 * w.after,
                       w.before / w.after);
    }
    fdit_cli_note(cli, "kept in %s, used from now on; " FDIT_TUNE_OFF " runs without it", where);
out:
    fdit_json_fini(&w.results);
    fdit_free(where);
    fdit_free(shapes);
    fdit_device_close(dev);
    return status;
}

const struct fdit_command fdit_command_tune = {
    .name = "tune",
    .summary = "find and store the fastest matrix products for a device",
    .synopsis = "[--device SPEC] [PROBLEM]...",
    .about = FDIT_TUNE_ABOUT,
    .examples = FDIT_TUNE_EXAMPLES,
    .options = options,
    .common = FDIT_COMMON_DEVICE | FDIT_COMMON_JSON,
    .most_operands = -1,
    .args_size = sizeof(struct args),
    .run = run,
};
