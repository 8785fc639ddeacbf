/* SPDX-License-Identifier: Apache-2.0
 * eval_series.c: several checkpoints of a run, one after the other. */
#include "cli/eval_job.h"
#include "core/file.h"
#include "core/mem.h"
#include "eval/series.h"
#include "format/safetensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool fdit_cli_eval_is_checkpoint(const char *path)
{
    struct fdit_safetensors *st = NULL;
    bool features;
    if (fdit_is_folder(path) || !fdit_path_has_suffix(path, ".safetensors"))
        return fdit_path_has_suffix(path, ".pt") && fdit_is_file(path);
    if (fdit_safetensors_open(NULL, path, &st) != FDIT_OK)
        return false; /* opening it as what it seems to be says what is wrong */
    features = fdit_safetensors_find(st, "features") != NULL;
    fdit_safetensors_close(st);
    return !features;
}

/* "…/step-1000.safetensors" is of step 1000; others are numbered. */
static int64_t step_of(const char *path, int64_t otherwise)
{
    const char *base = fdit_path_base(path);
    int64_t step = 0;
    if (sscanf(base, "step-%" SCNd64, &step) == 1)
        return step;
    return otherwise;
}

static int by_step(const void *pa, const void *pb)
{
    const struct fdit_eval_point *a = pa, *b = pb;
    return (a->step > b->step) - (a->step < b->step);
}

/* Classes that outlive each of the drawings: those of the file, of the run, or of the first checkpoint. */
static enum fdit_status settle_classes(fdit_context *ctx, struct fdit_eval_args *a, struct fdit_eval_work *w)
{
    enum fdit_status status = FDIT_OK;
    char *json = NULL;
    if (a->o.classes || a->o.no_classes)
        return FDIT_OK;
    if (a->o.taxonomy) {
        TRY(fdit_taxonomy_load(ctx, a->o.taxonomy, a->o.ranks, &w->classes));
    } else if (a->o.drawing->named) {
        TRY(fdit_taxonomy_to_json(ctx, a->o.drawing->taxonomy, &json));
        TRY(fdit_taxonomy_parse(ctx, json, strlen(json), a->o.drawing->name, NULL, &w->classes));
    }
    a->o.classes = w->classes;
out:
    fdit_free(json);
    return status;
}

static void print_header(struct fdit_cli *cli, const struct fdit_eval_point *p)
{
    fdit_cli_print(cli, "%10s", "step");
    for (size_t k = 0; k < p->n; k++)
        fdit_cli_print(cli, " %*s", (int)(strlen(p->values[k].name) > 10 ? strlen(p->values[k].name) : 10),
                       p->values[k].name);
    fdit_cli_print(cli, "\n");
}

static void print_point(struct fdit_cli *cli, const struct fdit_eval_point *p)
{
    fdit_cli_print(cli, "%10" PRId64, p->step);
    for (size_t k = 0; k < p->n; k++)
        fdit_cli_print(cli, " %*.4g", (int)(strlen(p->values[k].name) > 10 ? strlen(p->values[k].name) : 10),
                       p->values[k].value);
    fdit_cli_print(cli, "\n");
}

static enum fdit_status print_point_json(struct fdit_cli *cli, const struct fdit_eval_point *p,
                                         size_t pictures)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_json b;
    fdit_json_begin(&b);
    fdit_json_put_int(&b, NULL, "step", p->step);
    fdit_json_put_text(&b, NULL, "checkpoint", p->name);
    json_t *metrics = fdit_json_put_object(&b, NULL, "metrics");
    for (size_t k = 0; k < p->n; k++) {
        json_t *to = fdit_json_put_object(&b, metrics, p->values[k].name);
        fdit_json_put_real(&b, to, "value", p->values[k].value);
        fdit_json_put_real(&b, to, "error", p->values[k].bar.error);
        fdit_json_put_int(&b, to, "n", (int64_t)pictures);
    }
    TRY(fdit_cli_print_json(cli, &b, JSON_COMPACT));
out:
    fdit_json_fini(&b);
    return status;
}

/* One checkpoint: its numbers into *p; the real set stays in a->o.kept_real for the next. */
static enum fdit_status measure_one(struct fdit_cli *cli, struct fdit_eval_args *a,
                                    struct fdit_eval_watch *watch, struct fdit_eval_work *w, const char *base,
                                    struct fdit_eval_point *p)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_eval_result result = { 0 };
    a->drawn.base = base ? base : p->name;
    a->drawn.delta = base ? p->name : NULL;
    TRY(fdit_cli_eval_draw(cli, a, watch, w));
    TRY(settle_classes(cli->ctx, a, w));
    struct fdit_eval_options o = a->o;
    if (o.classes)
        o.taxonomy = NULL;
    o.report = NULL; /* that of the series */
    TRY(fdit_cli_eval_measure(cli, w->devices.list[0], &o, watch, &result));
    if (cli->plan)
        goto out;
    if (a->o.deal && !a->o.deal->take)
        goto keep;
    memcpy(p->values, result.values, sizeof p->values);
    p->n = result.n_values;
    TRY(cli->json ? print_point_json(cli, p, result.generated.points.n) : FDIT_OK);
keep:
    *a->o.kept_real = result.real;
    result.real = (struct fdit_feature_set){ 0 };
out:
    fdit_eval_result_fini(&result);
    return status;
}

static enum fdit_status check_series(fdit_context *ctx, const struct fdit_eval_args *a, const char *first)
{
    enum fdit_status status = FDIT_OK;
    const char *file = a->o.features_out ? "features-out"
                       : a->o.stats_out  ? "stats-out"
                       : a->o.by_class   ? "by-class"
                                         : NULL;
    if (a->drawn.delta)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--delta %s and %s: give one of the two", a->drawn.delta, first);
    if (file)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--%s is of one set of pictures; give one checkpoint with --base and --delta", file);
out:
    return status;
}

static enum fdit_status write_report(struct fdit_cli *cli, const struct fdit_eval_args *a,
                                     const struct fdit_eval_point *points, size_t n)
{
    enum fdit_status status = FDIT_OK;
    if (!a->o.report || (a->o.deal && !a->o.deal->take))
        return FDIT_OK;
    TRY(fdit_eval_series_report(cli->ctx, points, n, a->o.real ? a->o.real : a->o.stats, a->o.report));
    fdit_cli_note(cli, "a report in %s", a->o.report);
out:
    return status;
}

enum fdit_status fdit_cli_eval_series(struct fdit_cli *cli, struct fdit_eval_args *a,
                                      struct fdit_eval_watch *watch, struct fdit_eval_work *w, int n,
                                      char **checkpoints)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_eval_point *points = NULL;
    struct fdit_feature_set real = { 0 };
    const char *base = a->drawn.base;
    int done = 0;
    TRY(check_series(cli->ctx, a, checkpoints[0]));
    TRY(fdit_alloc(cli->ctx, (size_t)n, sizeof *points, &points));
    for (int i = 0; i < n; i++) {
        points[i].name = checkpoints[i];
        points[i].step = step_of(checkpoints[i], i);
    }
    qsort(points, (size_t)n, sizeof *points, by_step);
    a->o.kept_real = &real;
    for (; done < n; done++) {
        TRY(measure_one(cli, a, watch, w, base, &points[done]));
        if (cli->plan) /* that of the others is the same */
            goto out;
        if (a->o.deal && !a->o.deal->take)
            continue;
        if (!cli->json && done == 0)
            print_header(cli, &points[0]);
        if (!cli->json)
            print_point(cli, &points[done]);
    }
out:
    if (done && (status == FDIT_OK || status == FDIT_INTERRUPTED)) { /* of those that are done */
        const enum fdit_status written = write_report(cli, a, points, (size_t)done);
        status = status == FDIT_OK ? written : status;
    }
    a->o.kept_real = NULL;
    a->drawn.base = base; /* as for one run, for a second pass */
    a->drawn.delta = NULL;
    fdit_feature_set_fini(&real);
    fdit_free(points);
    return status;
}
