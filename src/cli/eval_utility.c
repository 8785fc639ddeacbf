/* SPDX-License-Identifier: Apache-2.0
 * eval_utility.c: `eval --utility`, what generated pictures are good for. */
#include "cli/eval_job.h"
#include "core/file.h"
#include "core/mem.h"
#include "core/print.h"
#include "eval/html.h"
#include "train/utility.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ options */

/* "NAME=VALUE NAME=VALUE", options of `train`; `text` is changed and must outlive them. */
static enum fdit_status take_words(fdit_context *ctx, char *text, struct fdit_train_options *o)
{
    enum fdit_status status = FDIT_OK;
    char *rest = NULL;
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(word, '=');
        if (value)
            *value++ = '\0';
        TRY(fdit_train_options_set(ctx, o, word, value ? value : "true"));
    }
    if (o->data || o->out || o->base || o->delta || o->vae || o->validation || o->resume)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--train: data, out, val, base, delta, vae and resume are settled by --utility; leave them out");
out:
    return status;
}

/* A small network for photographs, which options of --train replace. */
static struct fdit_train_options usual(struct fdit_cli *cli, const struct fdit_devices *devices)
{
    struct fdit_train_options o = fdit_train_defaults();
    o.classifier = o.from_scratch = true;
    o.tune = "full";
    o.model = "192,6,3,4";
    o.size = 32;
    o.channels = 3;
    o.steps = 2000;
    o.batch = 32;
    o.lr = 1e-3;
    o.preview_every = 0;
    o.precision = fdit_device_precision(devices->list[0]);
    o.threads = cli->threads;
    return o;
}

static enum fdit_status settle(struct fdit_cli *cli, struct fdit_eval_args *a, struct fdit_eval_work *w,
                               int n, char **operands, struct fdit_utility_options *o)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_picture_words none = { 0 };
    const bool draw = a->drawn.base != NULL;
    fdit_context *ctx = cli->ctx;
    if (n != (draw ? 2 : 3))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--utility: give %s, as 'eval %s--utility REAL TEST --out DIR'",
             draw ? "REAL and TEST: what is drawn is measured" : "GENERATED, REAL and TEST (or --base)",
             draw ? "--base FILE " : "GENERATED ");
    if (!a->out)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--utility: give --out DIR, the folder of its classifiers");
    if (a->run || a->o.real || a->o.stats || a->o.no_classes || a->o.parts)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--utility: --run, --real, --stats, --no-classes and --part are not for it; leave them out");
    *o = (struct fdit_utility_options){ .real = operands[n - 2],
                                        .generated = draw ? NULL : operands[0],
                                        .test = operands[n - 1],
                                        .out = a->out,
                                        .taxonomy = a->o.taxonomy,
                                        .ranks = a->o.ranks,
                                        .fit = a->o.fit,
                                        .skip_bad = a->o.skip_bad,
                                        .workers = a->o.workers,
                                        .seeds = a->seeds,
                                        .train = usual(cli, &w->devices) };
    TRY(fdit_picture_words_rules(ctx, &a->o.look, &none, &o->rules));
    if (!a->o.look.orient && !a->o.look.matte)
        o->rules = fdit_picture_rules_usual();
    if (a->train_words) {
        TRY(fdit_strdup(ctx, a->train_words, &w->words));
        TRY(take_words(ctx, w->words, &o->train));
    }
    if (a->o.report)
        TRY(fdit_file_target(ctx, "--report", a->o.report));
out:
    return status;
}

/* ------------------------------------------------------------------ progress */

static void begin_classifier(void *user, enum fdit_utility_set set, int seed, int64_t steps)
{
    const struct fdit_eval_watch *w = user;
    static const char *const what[] = { "real pictures", "generated pictures",
                                        "real ones, and generated ones for the tail" };
    fdit_cli_banner(w->cli, "classifier", "of %s, seed %d", what[set], seed);
    fdit_cli_progress_begin(w->cli, "train", "step", 0, (uint64_t)steps);
}

static void show_step(void *user, const struct fdit_train_progress *p)
{
    const struct fdit_eval_watch *w = user;
    char note[48];
    snprintf(note, sizeof note, "loss %.4f", p->loss);
    fdit_cli_progress_update(w->cli, (uint64_t)p->step, note);
    if (p->step == p->steps)
        fdit_cli_progress_end(w->cli);
}

/* ------------------------------------------------------------------ the result */

static const char *const trained_on[] = { "real", "generated", "real, and generated for the tail" };

static void format_share(const struct fdit_utility_result *r, int set, int m, char out[32])
{
    double mean, deviation;
    fdit_utility_mean(r, (enum fdit_utility_set)set, (enum fdit_utility_measure)m, &mean, &deviation);
    if (isnan(mean))
        snprintf(out, 32, "-");
    else if (isnan(deviation))
        snprintf(out, 32, "%.1f %%", 100 * mean);
    else
        snprintf(out, 32, "%.1f +- %.1f %%", 100 * mean, 100 * deviation);
}

static void print_table(struct fdit_cli *cli, const struct fdit_utility_result *r)
{
    char text[32];
    fdit_cli_print(cli, "%-33s %8s", "right class, trained on", "pictures");
    for (int m = 0; m < FDIT_UTILITY_MEASURES; m++)
        fdit_cli_print(cli, " %15s", fdit_utility_measure_names[m]);
    fdit_cli_print(cli, "\n");
    for (int set = 0; set < FDIT_UTILITY_SETS; set++) {
        fdit_cli_print(cli, "%-33s %8zu", trained_on[set], r->pictures[set]);
        for (int m = 0; m < FDIT_UTILITY_MEASURES; m++) {
            format_share(r, set, m, text);
            fdit_cli_print(cli, " %15s", text);
        }
        fdit_cli_print(cli, "\n");
    }
    fdit_cli_print(cli,
                   "%zu test pictures of %zu classes; generated ones were added to %zu of them; mean and "
                   "deviation of %d seed%s\n",
                   r->test, r->classes, r->tail, r->seeds, r->seeds == 1 ? "" : "s");
    if (r->skipped)
        fdit_cli_note(cli, "%zu broken picture%s left out", r->skipped, r->skipped > 1 ? "s were" : " was");
}

static enum fdit_status print_json(struct fdit_cli *cli, const struct fdit_utility_result *r)
{
    struct fdit_json b;
    double mean, deviation;
    fdit_json_begin(&b);
    fdit_json_put_int(&b, NULL, "test_pictures", (int64_t)r->test);
    fdit_json_put_int(&b, NULL, "classes", (int64_t)r->classes);
    fdit_json_put_int(&b, NULL, "tail_classes", (int64_t)r->tail);
    fdit_json_put_int(&b, NULL, "seeds", r->seeds);
    if (r->skipped)
        fdit_json_put_int(&b, NULL, "skipped", (int64_t)r->skipped);
    json_t *list = fdit_json_put_array(&b, NULL, "utility");
    for (int set = 0; set < FDIT_UTILITY_SETS; set++) {
        json_t *to = fdit_json_put_object(&b, list, NULL);
        fdit_json_put_text(&b, to, "trained_on", fdit_utility_set_names[set]);
        fdit_json_put_int(&b, to, "pictures", (int64_t)r->pictures[set]);
        for (int m = 0; m < FDIT_UTILITY_MEASURES; m++) {
            json_t *one = fdit_json_put_object(&b, to, fdit_utility_measure_names[m]);
            fdit_utility_mean(r, (enum fdit_utility_set)set, (enum fdit_utility_measure)m, &mean, &deviation);
            fdit_json_put_real(&b, one, "mean", mean);
            fdit_json_put_real(&b, one, "deviation", deviation);
            json_t *each = fdit_json_put_array(&b, one, "seeds");
            for (int s = 0; s < r->seeds; s++)
                fdit_json_put_real(&b, each, NULL, r->value[set][s][m]);
        }
    }
    enum fdit_status status = fdit_cli_print_json(cli, &b, JSON_COMPACT);
    fdit_json_fini(&b);
    return status;
}

/* OUT/utility.tsv: a line for each classifier. */
static enum fdit_status write_table(fdit_context *ctx, const char *dir, const struct fdit_utility_result *r)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, number[32];
    struct fdit_print table;
    TRY(fdit_path_join(ctx, dir, "utility.tsv", &path));
    TRY(fdit_print_begin(ctx, &table, "the table of classifiers"));
    FILE *f = table.f;
    fputs("trained_on\tseed\tall\thead\tmiddle\ttail\n", f);
    for (int set = 0; set < FDIT_UTILITY_SETS; set++)
        for (int s = 0; s < r->seeds; s++) {
            fprintf(f, "%s\t%d", fdit_utility_set_names[set], s + 1);
            for (int m = 0; m < FDIT_UTILITY_MEASURES; m++)
                fprintf(f, "\t%s",
                        isnan(r->value[set][s][m]) ? "" : fdit_format_number(r->value[set][s][m], number));
            fputc('\n', f);
        }
    TRY(fdit_print_end(ctx, &table, FDIT_OK, path));
out:
    fdit_free(path);
    return status;
}

static void put_page(FILE *f, const struct fdit_utility_options *o, const struct fdit_utility_result *r)
{
    static const char title[] = "What are the generated pictures good for?";
    char share[32];
    fdit_html_begin(f, title);
    fprintf(f, "<h1>%s</h1>\n<p>Classifiers of ", title);
    fdit_html_text(f, o->real);
    fputs(" and of ", f);
    fdit_html_text(f, o->drawing ? o->drawing->name : o->generated);
    fputs(", tested on ", f);
    fdit_html_text(f, o->test);
    fprintf(
        f,
        ": %zu pictures that none has seen, of %zu classes. Generated pictures are added to the %zu classes "
        "with the fewest real ones. Mean and deviation of %d seeds; finediffusion %s.</p>\n",
        r->test, r->classes, r->tail, r->seeds, fdit_version());
    for (int m = 0; m < FDIT_UTILITY_MEASURES; m++) {
        struct fdit_html_point points[FDIT_UTILITY_SETS];
        for (int set = 0; set < FDIT_UTILITY_SETS; set++) {
            double mean, deviation;
            fdit_utility_mean(r, (enum fdit_utility_set)set, (enum fdit_utility_measure)m, &mean, &deviation);
            points[set] = (struct fdit_html_point){
                .label = trained_on[set], .value = mean, .low = mean - deviation, .high = mean + deviation
            };
        }
        snprintf(share, sizeof share, "Right class: %s", fdit_utility_measure_names[m]);
        fdit_html_dots(f, share, points, FDIT_UTILITY_SETS, 0, 1);
    }
    fputs("<table><tr><th>trained on</th><th>pictures</th><th>all</th><th>head</th><th>middle</th>"
          "<th>tail</th></tr>\n",
          f);
    for (int set = 0; set < FDIT_UTILITY_SETS; set++) {
        fprintf(f, "<tr><td>%s</td><td>%zu</td>", trained_on[set], r->pictures[set]);
        for (int m = 0; m < FDIT_UTILITY_MEASURES; m++) {
            format_share(r, set, m, share);
            fprintf(f, "<td>%s</td>", share);
        }
        fputs("</tr>\n", f);
    }
    fputs("</table>\n", f);
    fdit_html_end(f);
}

static enum fdit_status write_report(fdit_context *ctx, const char *path,
                                     const struct fdit_utility_options *o,
                                     const struct fdit_utility_result *r)
{
    struct fdit_print page;
    enum fdit_status status = fdit_print_begin(ctx, &page, "the report");
    if (status != FDIT_OK)
        return status;
    put_page(page.f, o, r);
    return fdit_print_end(ctx, &page, FDIT_OK, path);
}

/* The parts of the job: what draws, which stays, and a training. */
static enum fdit_status print_plans(struct fdit_cli *cli, const struct fdit_devices *devices,
                                    const struct fdit_utility_options *o, struct fdit_eval_watch *watch)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_drawing *d = o->drawing;
    struct fdit_plan plan = { .in_process = !fdit_device_info(devices->list[0])->is_gpu };
    if (d && d->plan) {
        TRY(fdit_plan_add(cli->ctx, &plan, FDIT_PLAN_PROCESS, NULL, fdit_mem_resident(),
                          "program, libraries, drivers"));
        TRY(d->plan(cli->ctx, d->self, cli->memory, &plan));
        fdit_cli_eval_print_plan(watch, &plan);
    }
    TRY(fdit_utility_plan(cli->ctx, devices, o, fdit_cli_eval_print_plan, watch));
    TRY(watch->status);
    fdit_cli_note(cli, "every classifier is trained in this, one after the other%s",
                  d ? ", beside what draws (the plan above)" : "");
out:
    fdit_plan_fini(&plan);
    return status;
}

enum fdit_status fdit_cli_eval_utility(struct fdit_cli *cli, struct fdit_eval_args *a,
                                       struct fdit_eval_watch *watch, struct fdit_eval_work *w, int n,
                                       char **operands)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_utility_options o;
    struct fdit_utility_result *r = NULL;
    char *how = NULL;
    const struct fdit_utility_hooks hooks = { watch, fdit_cli_eval_begin_set, fdit_cli_eval_picture,
                                              begin_classifier, show_step };
    TRY(settle(cli, a, w, n, operands, &o));
    TRY(fdit_alloc(cli->ctx, 1, sizeof *r, &r));
    if (a->drawn.base) {
        TRY(fdit_cli_eval_draw(cli, a, watch, w));
        o.drawing = a->o.drawing;
        TRY(fdit_strf(cli->ctx, &how, "%s, base %s, delta %s, seed %" PRIu64, fdit_drawer_how(w->drawer),
                      a->drawn.base, a->drawn.delta ? a->drawn.delta : "none", a->drawn.seed));
        o.drawn_how = how;
    }
    if (cli->plan) {
        TRY(print_plans(cli, &w->devices, &o, watch));
        goto out;
    }
    TRY(fdit_utility_run(cli->ctx, &w->devices, &o, &hooks, r));
    fdit_cli_progress_end(cli);
    TRY(write_table(cli->ctx, o.out, r));
    if (a->o.report)
        TRY(write_report(cli->ctx, a->o.report, &o, r));
    if (cli->json) {
        TRY(print_json(cli, r));
    } else {
        print_table(cli, r);
        fdit_cli_note(cli, "a line for each classifier in %s/utility.tsv", o.out);
    }
out:
    fdit_free(how);
    fdit_free(r);
    return status;
}
