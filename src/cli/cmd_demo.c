/* SPDX-License-Identifier: Apache-2.0
 * cmd_demo.c: `finediffusion demo`. */
#include "cli/cli.h"

#include "core/file.h"
#include "core/mem.h"
#include "demo/demo.h"

#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct watch {
    struct fdit_cli *cli;
    bool running;
};

static void end_progress(struct watch *w)
{
    fdit_cli_progress_end(w->cli);
    w->running = false;
}

static void on_phase(void *user, int phase, int phases, const char *text)
{
    struct watch *w = user;
    end_progress(w);
    fdit_cli_note(w->cli, "[%d/%d] %s", phase, phases, text);
}

static void on_progress(void *user, double done, double total, const char *unit, const char *note)
{
    struct watch *w = user;
    if (!w->running) {
        fdit_cli_progress_begin(w->cli, "demo", unit, 0, (uint64_t)total);
        w->running = true;
    }
    fdit_cli_progress_update(w->cli, (uint64_t)fmin(done, total), note);
}

/* Share in percent with its standard error: of n independent yes-or-no answers. */
static void percent(size_t right, size_t n, char out[24])
{
    double p = n ? (double)right / (double)n : 0, error = n ? sqrt(p * (1 - p) / (double)n) : 0;
    snprintf(out, 24, "%5.1f +-%.1f", 100 * p, 100 * error);
}

static void print_scores(FILE *f, const char *name, const struct fdit_judge_score *s)
{
    char letter[24], style[24], both[24];
    percent(s->superclass, s->n, letter);
    percent(s->other, s->n, style);
    percent(s->both, s->n, both);
    fprintf(f, "  %-38s %10s %10s %10s\n", name, letter, style, both);
}

static void print_table(FILE *f, const struct fdit_demo_result *r)
{
    char name[64], size[32];
    fprintf(f, "\n%-19s %9s %7s %8s %6s %9s %9s %9s\n", "fine-tuning", "trained", "share", "steps", "time",
            "images/s", "val. mse", "memory");
    for (int i = 0; i < r->n_rows; i++) {
        const struct fdit_train_summary *s = &r->rows[i].run;
        fdit_format_size(s->plan_bytes, size);
        if (r->rows[i].trained)
            fprintf(f, "%-19s %9zu %6.2f%% %8lld %5.0fs %9.0f %9.4f %9s\n", r->rows[i].name, s->trained,
                    100 * (double)s->trained / (double)s->total, (long long)s->step, s->seconds,
                    s->images_per_second, s->val_mse, size);
    }
    if (r->n_rows > 1)
        fprintf(f, "%-19s %58.4f\n", "before", r->rows[1].run.first_val_mse);
    fprintf(f, "\n%d generated pictures a class, right by the judge (%%):\n  %-38s %10s %10s %10s\n",
            r->per_class, "", "letter", "style", "both");
    for (int i = 0; i < r->n_rows; i++) {
        snprintf(name, sizeof name, "%s, no guidance", r->rows[i].name);
        print_scores(f, name, &r->rows[i].plain);
        snprintf(name, sizeof name, "%s, SCG w = %g", r->rows[i].name, r->guidance);
        print_scores(f, name, &r->rows[i].guided);
    }
    print_scores(f, "real pictures of unseen typefaces", &r->real);
}

static void put_score(struct fdit_json *b, json_t *to, const char *key, const struct fdit_judge_score *s)
{
    json_t *j = fdit_json_put_object(b, to, key);
    fdit_json_put_int(b, j, "pictures", (int64_t)s->n);
    fdit_json_put_int(b, j, "letter", (int64_t)s->superclass);
    fdit_json_put_int(b, j, "style", (int64_t)s->other);
    fdit_json_put_int(b, j, "both", (int64_t)s->both);
}

static void put_row(struct fdit_json *b, json_t *rows, const struct fdit_demo_row *row)
{
    json_t *j = fdit_json_put_object(b, rows, NULL);
    fdit_json_put_text(b, j, "name", row->name);
    put_score(b, j, "no_guidance", &row->plain);
    put_score(b, j, "scg", &row->guided);
    if (!row->trained)
        return;
    fdit_json_put_int(b, j, "trained", (int64_t)row->run.trained);
    fdit_json_put_int(b, j, "parameters", (int64_t)row->run.total);
    fdit_json_put_int(b, j, "steps", (int64_t)row->run.step);
    fdit_json_put_real(b, j, "seconds", row->run.seconds);
    fdit_json_put_real(b, j, "images_per_second", row->run.images_per_second);
    fdit_json_put_real(b, j, "val_mse_before", row->run.first_val_mse);
    fdit_json_put_real(b, j, "val_mse", row->run.val_mse);
    fdit_json_put_int(b, j, "memory_bytes", (int64_t)row->run.plan_bytes);
}

static enum fdit_status print_json(struct fdit_cli *cli, const struct fdit_demo_result *r)
{
    struct fdit_json b;
    fdit_json_begin(&b);
    fdit_json_put_real(&b, NULL, "guidance", r->guidance);
    fdit_json_put_int(&b, NULL, "per_class", r->per_class);
    json_t *rows = fdit_json_put_array(&b, NULL, "rows");
    for (int i = 0; i < r->n_rows; i++)
        put_row(&b, rows, &r->rows[i]);
    put_score(&b, NULL, "real", &r->real);
    enum fdit_status status = fdit_cli_print_json(cli, &b, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    fdit_json_fini(&b);
    return status;
}

static enum fdit_status run(struct fdit_cli *cli, void *p, int n, char **operands)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_demo_options *o = p;
    struct watch w = { .cli = cli };
    struct fdit_demo_hooks hooks = { .user = &w, .on_phase = on_phase, .on_progress = on_progress };
    struct fdit_demo_result result = { 0 };
    fdit_device *dev = NULL;
    char *whole = NULL;
    (void)n;
    (void)operands;
    TRY(fdit_file_target(cli->ctx, "--out", o->out));
    TRY(fdit_cli_device(cli, &dev));
    o->storage = cli->weights;
    status = fdit_demo_run(cli->ctx, dev, o, &hooks, &result);
    end_progress(&w);
    TRY(status);
    if (cli->json)
        TRY(print_json(cli, &result));
    else
        print_table(stdout, &result);
    TRY(fdit_path_real(cli->ctx, o->out, &whole));
    fdit_cli_note(cli, "wrote %s: open it to see which letters came out", whole ? whole : o->out);
out:
    fdit_free(whole);
    end_progress(&w);
    fdit_device_close(dev);
    return status;
}

const struct fdit_command fdit_command_demo = {
    .name = "demo",
    .summary = "the whole method on built-in data in three minutes",
    .synopsis = "[--full] [--out FILE.png]",
    .about = "Shows the whole method on built-in data: it fine-tunes a base model that knows the 52 "
             "Latin letters on 110 classes (11 letters in 10 typeface styles), draws pictures with "
             "superclass-conditioned guidance (the class against its letter), lets a classifier judge "
             "them, and writes a picture of all classes.",
    .examples = "  finediffusion demo\n"
                "  finediffusion demo --seconds 300 --per-class 8 --out better.png\n"
                "  finediffusion demo --full --json > table.json\n",
    .job = fdit_demo_option_table,
    .common = FDIT_COMMON_DEVICE | FDIT_COMMON_WEIGHTS | FDIT_COMMON_JSON | FDIT_COMMON_FASTEST,
    .most_operands = 0,
    .args_size = sizeof(struct fdit_demo_options),
    .run = run,
};
