/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/evaluate.h"

#include "core/file.h"
#include "core/limits.h"
#include "core/mem.h"
#include "core/phase.h"
#include "core/text.h"
#include "eval/job.h"
#include "eval/lapack.h"
#include "eval/report.h"

#include <string.h>

void fdit_eval_result_fini(struct fdit_eval_result *r)
{
    for (size_t k = 0; k < r->n_pairs; k++) {
        fdit_free(r->pairs[k].generated_name);
        fdit_free(r->pairs[k].real_name);
    }
    for (size_t k = 0; k < r->n_confusions; k++)
        fdit_confusion_fini(&r->confusions[k]);
    for (int k = 0; k < FDIT_CLASS_COLUMNS; k++)
        fdit_free(r->by_class[k]);
    fdit_free(r->n_real);
    fdit_free(r->n_generated);
    fdit_free(r->third);
    fdit_feature_set_fini(&r->generated); /* may have the real set's taxonomy */
    fdit_feature_set_fini(&r->real);
    fdit_taxonomy_free(r->taxonomy);
    *r = (struct fdit_eval_result){ 0 };
}

/* ------------------------------------------------------------------ which metrics */

static enum fdit_status unknown_metric(fdit_context *ctx, const char *name, size_t n)
{
    struct fdit_text_guess guess = { .typed = name, .length = n };
    for (int k = 0; k < FDIT_METRICS; k++)
        fdit_text_consider(&guess, fdit_metric_table[k].name);
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--metrics: \"%.*s\" is not a metric%s%s%s; see eval --help",
                     (int)(n < 40 ? n : 40), name, guess.best ? "; did you mean " : "",
                     guess.best ? guess.best : "", guess.best ? "?" : "");
}

static enum fdit_status parse_metrics(fdit_context *ctx, const char *list, unsigned *wanted)
{
    enum fdit_status status = FDIT_OK;
    *wanted = 0;
    if (list && !strcmp(list, "none"))
        return FDIT_OK;
    bool all = list && !strcmp(list, "all");
    for (int k = 0; (!list || all) && k < FDIT_METRICS; k++)
        *wanted |= all || fdit_metric_table[k].usual ? 1u << k : 0;
    for (const char *at = list; at && !all;) {
        size_t n = strcspn(at, ",");
        int k = 0;
        while (k < FDIT_METRICS &&
               (strlen(fdit_metric_table[k].name) != n || strncmp(fdit_metric_table[k].name, at, n) != 0))
            k++;
        if (k == FDIT_METRICS)
            TRY(unknown_metric(ctx, at, n));
        *wanted |= 1u << k;
        at = at[n] ? at + n + 1 : NULL;
    }
out:
    return status;
}

/* What the options alone make impossible, before pictures are read. */
static enum fdit_status check_asked(fdit_context *ctx, const struct fdit_eval_options *o, unsigned wanted)
{
    char why[512];
    for (int k = 0; o->metrics && k < FDIT_METRICS; k++) {
        const struct fdit_metric_info *info = &fdit_metric_table[k];
        if (!(wanted >> k & 1) || !strcmp(o->metrics, "all"))
            continue;
        if (k == FDIT_METRIC_LPIPS && !o->lpips)
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                             "--metrics lpips: give its network, --lpips FILE[,HEADS]");
        if (info->pair && !o->real)
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                             "--metrics %s: it needs features of real pictures; give --real DATA",
                             info->name);
        const bool frechet = k == FDIT_METRIC_FD || k == FDIT_METRIC_SFID;
        if (frechet && !o->real && !o->stats)
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                             "--metrics %s: it needs real pictures; give --real DATA or --stats FILE.npz",
                             info->name);
        if ((frechet || k == FDIT_METRIC_FD_INFINITY) && !fdit_lapack_available(why, sizeof why))
            return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "--metrics %s: it needs LAPACK, %s, or take kid",
                             info->name, why);
    }
    return FDIT_OK;
}

/* ------------------------------------------------------------------ the two sets */

/* Of real pictures, or of generated ones. */
static struct fdit_gather_options gather_options(const struct fdit_eval_job *j, bool real,
                                                 const struct fdit_taxonomy *taxonomy)
{
    return (struct fdit_gather_options){ .drawing = real ? NULL : j->o->drawing,
                                         .split = real ? j->o->split : j->o->split_generated,
                                         .part = real ? 0 : j->o->part,
                                         .parts = real ? 0 : j->o->parts,
                                         .taxonomy = j->o->no_classes ? NULL : taxonomy,
                                         .loose = j->o->no_classes &&
                                                  !(real ? j->o->split : j->o->split_generated),
                                         .ranks = j->o->ranks,
                                         .fit = j->o->fit,
                                         .rules = j->rules,
                                         .workers = j->o->workers,
                                         .skip_bad = j->o->skip_bad,
                                         .deal = j->o->deal,
                                         .on_begin = j->hooks ? j->hooks->on_begin : NULL,
                                         .on_picture = j->hooks ? j->hooks->on_picture : NULL,
                                         .user = j->hooks ? j->hooks->user : NULL };
}

/* Features that keep places: for sfid, and in statistics that are written, as ADM's have them. */
static bool wants_spatial(const struct fdit_eval_job *j, bool real)
{
    return (j->wanted >> FDIT_METRIC_SFID & 1 && (j->o->real || j->o->stats)) || (!real && j->o->stats_out);
}

/* What a network says of classes that nobody named is not kept for an accuracy that cannot be. */
static bool wants_logits(const struct fdit_eval_job *j)
{
    return j->wanted >> FDIT_METRIC_SCORE & 1 || j->o->features_out ||
           (j->wanted >> FDIT_METRIC_ACCURACY & 1 && (j->classifier || j->extractor->taxonomy));
}

enum fdit_status fdit_eval_prepare(fdit_context *ctx, struct fdit_eval_job *j, int batch, size_t memory)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_eval_options *o = j->o;
    char *what = NULL;
    if (!o->extractor) {
        fdit_extractor_close(j->extractor);
        j->extractor = NULL;
        TRY(fdit_extractor_prepare(ctx, j->dev, o->features, batch, memory, &j->extractor));
    }
    if (!o->classifier)
        goto out;
    fdit_extractor_close(j->classifier);
    j->classifier = NULL;
    TRY(fdit_strf(ctx, &what, "judge:%s", o->classifier));
    TRY(fdit_extractor_prepare(ctx, j->dev, what, batch, memory, &j->classifier));
    for (int k = 0; k < 2; k++)
        if (j->how[k].classifier)
            j->how[k].classifier = j->classifier;
out:
    fdit_free(what);
    return status;
}

enum { REAL, GENERATED };

/* Opens pictures, in the classes of `taxonomy` (NULL: their own). */
static enum fdit_status open_pictures(fdit_context *ctx, struct fdit_eval_job *j, const char *path, int which,
                                      const struct fdit_taxonomy *taxonomy, struct fdit_feature_set *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_gather_options *o = &j->how[which];
    const bool logits = which == GENERATED && (j->o->drawing || !j->o->classifier);
    if (!j->extractor || (j->o->classifier && !j->classifier))
        TRY(fdit_eval_prepare(ctx, j, j->o->batch, 0));
    *o = gather_options(j, which == REAL, taxonomy);
    o->features = j->keep;
    o->moments = !j->keep;
    o->spatial = wants_spatial(j, which == REAL);
    if (!j->extractor->spatial && j->asked && j->wanted >> FDIT_METRIC_SFID & 1)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--metrics sfid: %s has no features that keep places; give --features inception-tf:FILE (or "
             "inception-torch, inception-clean)",
             j->extractor->name);
    o->logits = logits && wants_logits(j);
    o->classifier = o->drawing ? j->classifier : NULL;
    TRY(fdit_feature_set_open(ctx, j->extractor, path, o, out));
    j->runs[which] = true;
out:
    return status;
}

static enum fdit_status open_real(fdit_context *ctx, struct fdit_eval_job *j, struct fdit_feature_set *out)
{
    enum fdit_status status = FDIT_OK;
    const char *path = j->o->real ? j->o->real : j->o->stats;
    struct fdit_feature_set *kept = j->o->kept_real;
    if (!path)
        return FDIT_OK;
    if (kept && kept->path) {
        *out = *kept;
        *kept = (struct fdit_feature_set){ 0 };
        return FDIT_OK;
    }
    if (j->o->stats && !fdit_feature_file_is(path))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--stats %s: give the .npz file of statistics", path);
    if (fdit_feature_file_is(path))
        TRY(fdit_feature_set_read(ctx, path, out));
    else
        TRY(open_pictures(ctx, j, path, REAL, j->classes, out));
out:
    return status;
}

/* Feature files that are parts of one set. */
static enum fdit_status load_parts(fdit_context *ctx, const struct fdit_eval_job *j,
                                   struct fdit_feature_set *out)
{
    enum fdit_status status = FDIT_OK;
    size_t n = j->n_parts;
    struct fdit_feature_set *sets = NULL;
    if (n == 1)
        return fdit_feature_set_read(ctx, j->parts_of[0], out);
    TRY(fdit_alloc(ctx, n, sizeof *sets, &sets));
    for (size_t i = 0; i < n; i++)
        TRY(fdit_feature_set_read(ctx, j->parts_of[i], &sets[i]));
    TRY(fdit_feature_sets_merge(ctx, sets, n, out));
out:
    for (size_t i = 0; sets && i < n; i++)
        fdit_feature_set_fini(&sets[i]);
    fdit_free(sets);
    return status;
}

/* Logits of the classes of the labels, in their order; classifiers know classes by name. */
static enum fdit_status align_logits(fdit_context *ctx, struct fdit_feature_set *s,
                                     const struct fdit_taxonomy *known)
{
    enum fdit_status status = FDIT_OK;
    size_t classes = (size_t)fdit_taxonomy_n_classes(s->taxonomy), k = s->logit_classes, n = s->points.n;
    int32_t *column = NULL;
    float *aligned = NULL;
    if (!s->logits || !known || k != (size_t)fdit_taxonomy_n_classes(known))
        return FDIT_OK;
    TRY(fdit_alloc(ctx, classes, sizeof *column, &column));
    for (size_t c = 0; c < classes; c++) {
        column[c] = fdit_taxonomy_find_class(known, fdit_taxonomy_class_name(s->taxonomy, (int32_t)c));
        if (column[c] < 0) { /* it was made for other classes */
            fdit_free(s->logits);
            s->logits = NULL;
            goto out;
        }
    }
    TRY(fdit_alloc(ctx, n, classes * sizeof(float), &aligned));
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < classes; c++)
            aligned[i * classes + c] = s->logits[i * k + (size_t)column[c]];
    fdit_free(s->logits);
    s->logits = aligned;
    s->logit_classes = classes;
out:
    fdit_free(column);
    return status;
}

/* Logits of a classifier of its own, beside the features. Of pictures that are drawn they are there. */
static enum fdit_status classify(fdit_context *ctx, struct fdit_eval_job *j, struct fdit_feature_set *s)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_feature_set other = { 0 };
    struct fdit_gather_options o = gather_options(j, false, s->taxonomy);
    o.logits = true;
    if (!o.drawing) {
        TRY(fdit_feature_set_gather(ctx, j->pool, j->classifier, s->path, &o, &other));
        if (other.points.n != s->points.n || memcmp(other.index, s->index, s->points.n * sizeof *s->index))
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: other pictures can be read for --classifier (%zu) "
                 "than for --features (%zu); remove the broken ones",
                 s->path, other.points.n, s->points.n);
        fdit_free(s->logits);
        s->logits = other.logits;
        s->logit_classes = other.logit_classes;
        other.logits = NULL;
    }
    TRY(align_logits(ctx, s, j->classifier->taxonomy));
    if (!s->logits)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--classifier %s does not know all classes of %s; train one on them",
             j->o->classifier, s->path);
out:
    fdit_feature_set_fini(&other);
    return status;
}

static enum fdit_status open_generated(fdit_context *ctx, struct fdit_eval_job *j, struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_taxonomy *classes = j->classes ? j->classes : r->real.taxonomy;
    const struct fdit_drawing *d = j->o->drawing;
    if (j->n_parts)
        return load_parts(ctx, j, &r->generated);
    TRY(open_pictures(ctx, j, d ? d->name : j->o->generated, GENERATED, classes, &r->generated));
    TRY(fdit_feature_sets_check_colours(ctx, &r->generated, &r->real));
out:
    return status;
}

static enum fdit_status load_networks(fdit_context *ctx, struct fdit_eval_job *j)
{
    enum fdit_status status = FDIT_OK;
    fdit_phase_begin(ctx, 0, "reading the feature network");
    if (j->extractor && !j->o->extractor && (j->runs[REAL] || j->runs[GENERATED]))
        TRY(fdit_extractor_load(ctx, j->extractor));
    if (j->classifier)
        TRY(fdit_extractor_load(ctx, j->classifier));
    if (j->lpips)
        TRY(fdit_lpips_load(ctx, j->lpips));
out:
    fdit_phase_end(ctx);
    return status;
}

/* Both sets go through the networks, and their classes become those that are compared. */
static enum fdit_status run_sets(fdit_context *ctx, struct fdit_eval_job *j, struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_feature_set *x = &r->real, *y = &r->generated;
    if (j->runs[REAL])
        TRY(fdit_feature_set_run(ctx, j->pool, j->extractor, &j->how[REAL], x));
    if (j->classes && x->label && x->taxonomy != j->classes) /* files and caches have their own */
        TRY(fdit_feature_set_relabel(ctx, x, j->classes));
    const struct fdit_taxonomy *classes = j->classes ? j->classes : x->taxonomy;
    if (j->runs[GENERATED])
        TRY(fdit_feature_set_run(ctx, j->pool, j->extractor, &j->how[GENERATED], y));
    const struct fdit_taxonomy *known = j->n_parts ? y->taxonomy : j->extractor->taxonomy; /* of the logits */
    if (j->o->no_classes) {
        fdit_free(y->label);
        fdit_free(x->label);
        y->label = x->label = NULL;
    } else if (classes && y->label && y->taxonomy != classes) {
        TRY(fdit_feature_set_relabel(ctx, y, classes));
    }
    if (j->o->classifier)
        TRY(classify(ctx, j, y));
    else if (y->label)
        TRY(align_logits(ctx, y, known));
out:
    return status;
}

/* This process's pieces of all that `run_sets` will take. */
static enum fdit_status deal_sets(fdit_context *ctx, struct fdit_eval_job *j, struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_feature_set other = { 0 }, *y = &r->generated;
    const struct fdit_taxonomy *classes = j->classes ? j->classes : r->real.taxonomy;
    for (int k = REAL; k <= GENERATED; k++)
        if (j->runs[k])
            TRY(fdit_feature_set_run(ctx, j->pool, j->extractor, &j->how[k], k == REAL ? &r->real : y));
    if (!j->o->classifier || j->o->drawing)
        return FDIT_OK;
    struct fdit_gather_options o = gather_options(j, false, classes ? classes : y->taxonomy);
    o.logits = true;
    TRY(fdit_feature_set_gather(ctx, j->pool, j->classifier, y->path, &o, &other));
out:
    fdit_feature_set_fini(&other);
    return status;
}

static enum fdit_status check_sets(fdit_context *ctx, const struct fdit_eval_result *r)
{
    const struct fdit_feature_set *x = &r->real, *y = &r->generated;
    if (!x->path)
        return FDIT_OK;
    if (x->points.d != y->points.d)
        return fdit_fail(
            ctx, FDIT_ERROR_ARGUMENT,
            "%s has %zu features a picture and %s has %zu; take the same feature network for both", x->path,
            x->points.d, y->path, y->points.d);
    if (x->features && y->features && strcmp(x->features, y->features) != 0)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s has features of %s and %s of %s; take the same feature network for both",
                         x->path, x->features, y->path, y->features);
    if (x->spatial.d && y->spatial.d && x->spatial.d != y->spatial.d)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s has %zu features that keep places and %s has "
                         "%zu; take the same feature network for both",
                         x->path, x->spatial.d, y->path, y->spatial.d);
    return FDIT_OK;
}

bool fdit_eval_wants_by(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; at;) {
        size_t part = strcspn(at, ",");
        if (part == n && !strncmp(at, name, n))
            return true;
        at = at[part] ? at + part + 1 : NULL;
    }
    return !list;
}

static enum fdit_status no_confusion(fdit_context *ctx, const char *path)
{
    return fdit_fail(
        ctx, FDIT_ERROR_ARGUMENT,
        "--confusion %s: it needs pictures in class folders and a classifier of these classes; give "
        "--classifier FILE",
        path);
}

static enum fdit_status check_by(fdit_context *ctx, const char *list, const struct fdit_taxonomy *tax)
{
    for (const char *at = list; at;) {
        size_t n = strcspn(at, ",");
        bool known = (n == 5 && !strncmp(at, "class", n)) || (n == 4 && !strncmp(at, "tail", n));
        for (int32_t k = 0; k < fdit_taxonomy_n_ranks(tax) && !known; k++)
            known = strlen(fdit_taxonomy_rank_name(tax, k)) == n &&
                    !strncmp(at, fdit_taxonomy_rank_name(tax, k), n);
        if (!known)
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                             "--by: \"%.*s\" is not class, tail or a rank of the classes%s%s",
                             (int)(n < 60 ? n : 60), at, fdit_taxonomy_n_ranks(tax) ? ", as " : "",
                             fdit_taxonomy_n_ranks(tax) ? fdit_taxonomy_rank_name(tax, 0) : "");
        at = at[n] ? at + n + 1 : NULL;
    }
    return FDIT_OK;
}

/* What tables are to be written or printed needs classes: said before the pictures go through a network. */
static enum fdit_status check_tables(fdit_context *ctx, const struct fdit_eval_job *j,
                                     const struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_eval_options *o = j->o;
    const struct fdit_feature_set *y = &r->generated;
    const struct fdit_taxonomy *tax = j->classes ? j->classes : r->real.taxonomy;
    const bool labels = !o->no_classes && (j->runs[GENERATED] || y->label);
    if (o->by && !labels)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--by %s: %s has no classes", o->by, y->path);
    TRY(check_by(ctx, o->by, tax ? tax : y->taxonomy));
    if (o->by_class && !labels)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--by-class %s: %s has no classes", o->by_class, y->path);
    if (o->confusion && (!labels || !(j->wanted >> FDIT_METRIC_ACCURACY & 1)))
        TRY(no_confusion(ctx, o->confusion));
out:
    return status;
}

/* ------------------------------------------------------------------ output */

/* What the pass over the pictures made, kept before metrics are computed: it took the longest. */
static enum fdit_status write_features(fdit_context *ctx, struct fdit_eval_job *j, struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    if (j->o->features_out)
        TRY(fdit_feature_set_write(ctx, &r->generated, j->o->features_out));
    if (j->o->stats_out) {
        if (!r->generated.moments.d)
            TRY(fdit_moments_of(ctx, j->pool, &r->generated.points, &r->generated.moments));
        TRY(fdit_moments_write(ctx, &r->generated, j->o->stats_out));
    }
out:
    return status;
}

static enum fdit_status write_tables(fdit_context *ctx, const struct fdit_eval_options *o,
                                     const struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    if (o->by_class)
        TRY(fdit_eval_table(ctx, r, o->by_class));
    if (o->confusion && !r->n_confusions)
        TRY(no_confusion(ctx, o->confusion));
    if (o->confusion)
        TRY(fdit_confusion_table(ctx, r->confusions, r->n_confusions, r->generated.taxonomy, o->confusion));
out:
    return status;
}

static enum fdit_status rules_of(fdit_context *ctx, const struct fdit_eval_options *o,
                                 struct fdit_picture_rules *out)
{
    const struct fdit_picture_words none = { 0 };
    if (o->look.orient || o->look.matte)
        return fdit_picture_words_rules(ctx, &o->look, &none, out);
    *out = fdit_picture_rules_usual();
    return FDIT_OK;
}

enum fdit_status fdit_eval_write_report(fdit_context *ctx, const struct fdit_eval_options *o,
                                        const struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture_rules rules;
    TRY(rules_of(ctx, o, &rules));
    fdit_phase_begin(ctx, 0, "writing the report");
    status = fdit_eval_report(ctx, r, &rules, o->report);
    fdit_phase_end(ctx);
out:
    return status;
}

static enum fdit_status open_pool(fdit_context *ctx, struct fdit_eval_job *j)
{
    struct fdit_limits limits;
    enum fdit_status status = fdit_limits_read(ctx, NULL, &limits);
    if (status != FDIT_OK)
        return status;
    int threads = j->o->threads > 0 ? j->o->threads : limits.threads;
    if (threads > FDIT_POOL_MOST_MEMBERS)
        threads = FDIT_POOL_MOST_MEMBERS;
    return fdit_pool_new(ctx, threads, 0, 0, NULL, &j->pool);
}

/* Which metrics, of which classes, and what must be kept for them. */
static enum fdit_status settle(fdit_context *ctx, struct fdit_eval_job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_eval_options *o = j->o;
    const unsigned few = 1u << FDIT_METRIC_FD | 1u << FDIT_METRIC_SFID | 1u << FDIT_METRIC_SCORE |
                         1u << FDIT_METRIC_ACCURACY | 1u << FDIT_METRIC_LPIPS;
    j->parts_of = o->n_parts ? o->parts_of : &o->generated;
    j->n_parts = o->n_parts ? o->n_parts : !o->drawing && fdit_feature_file_is(o->generated);
    TRY(parse_metrics(ctx, o->metrics, &j->wanted));
    j->wanted |= o->lpips ? 1u << FDIT_METRIC_LPIPS : 0;
    j->asked = o->metrics && strcmp(o->metrics, "all") != 0;
    TRY(check_asked(ctx, o, j->wanted));
    TRY(open_pool(ctx, j));
    TRY(rules_of(ctx, o, &j->rules));
    j->keep = (o->real && j->wanted & ~few) || o->features_out;
    if (o->taxonomy && !o->no_classes)
        TRY(fdit_taxonomy_load(ctx, o->taxonomy, o->ranks, &j->taxonomy));
    if (!o->no_classes)
        j->classes = j->taxonomy                       ? j->taxonomy
                     : o->classes                      ? o->classes
                     : o->drawing && o->drawing->named ? o->drawing->taxonomy
                                                       : NULL;
out:
    return status;
}

/* Sets and networks, of which nothing is computed yet, and the plan. */
static enum fdit_status open_all(fdit_context *ctx, struct fdit_eval_job *j, struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    const unsigned frechet = 1u << FDIT_METRIC_FD | 1u << FDIT_METRIC_SFID | 1u << FDIT_METRIC_FD_INFINITY;
    j->extractor = j->o->extractor;
    if (j->wanted & frechet && (j->o->real || j->o->stats))
        (void)fdit_lapack_available(NULL, 0); /* in memory before what is there is counted */
    TRY(open_real(ctx, j, &r->real));
    TRY(open_generated(ctx, j, r));
    TRY(check_sets(ctx, r));
    TRY(check_tables(ctx, j, r));
    if (j->asked && r->real.points.n) /* 0: statistics that do not say of how many they are */
        TRY(fdit_eval_check_few(ctx, j->wanted, r->real.points.n, r->generated.points.n, j->keep));
    if (j->o->stats_out && r->generated.points.n == 1)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--stats-out %s: a covariance needs two pictures, and %s has one",
             j->o->stats_out, r->generated.path);
    if (j->o->lpips)
        TRY(fdit_eval_diversity_prepare(ctx, j->dev, j->o, &j->rules, &r->generated, &j->lpips));
    if (!j->o->extractor)
        TRY(fdit_eval_plan(ctx, j, r));
out:
    return status;
}

static enum fdit_status measure(fdit_context *ctx, struct fdit_eval_job *j, struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_eval_options *o = j->o;
    TRY(load_networks(ctx, j));
    if (o->deal && !o->deal->take) {
        status = deal_sets(ctx, j, r);
        goto out;
    }
    TRY(run_sets(ctx, j, r));
    TRY(fdit_feature_sets_check_weights(ctx, &r->real, &r->generated));
    TRY(write_features(ctx, j, r));
    if (r->generated.label && (j->wanted || o->by_class || o->report))
        TRY(fdit_eval_by_class(ctx, j->pool, r));
    if (j->lpips)
        TRY(fdit_eval_diversity(ctx, j->lpips, o, &j->rules, r));
    TRY(fdit_eval_measure(ctx, j->pool, o, j->wanted, j->asked, r));
    TRY(write_tables(ctx, o, r));
out:
    return status;
}

enum fdit_status fdit_eval_run(fdit_context *ctx, fdit_device *dev, const struct fdit_eval_options *o,
                               const struct fdit_eval_hooks *hooks, struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_eval_job j = { .dev = dev, .o = o, .hooks = hooks };
    *r = (struct fdit_eval_result){ 0 };
    TRY(settle(ctx, &j));
    TRY(open_all(ctx, &j, r));
    if (!o->plan_only)
        TRY(measure(ctx, &j, r));
    r->taxonomy = j.taxonomy; /* the result keeps it */
    j.taxonomy = NULL;
out:
    if (j.extractor != o->extractor)
        fdit_extractor_close(j.extractor);
    fdit_extractor_close(j.classifier);
    fdit_lpips_close(j.lpips);
    fdit_pool_free(j.pool);
    fdit_plan_fini(&j.plan);
    if (status != FDIT_OK)
        fdit_eval_result_fini(r);
    fdit_taxonomy_free(j.taxonomy);
    return status;
}
