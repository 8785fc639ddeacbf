/* SPDX-License-Identifier: Apache-2.0
 * Feature sets in files. */
#include "eval/feature_set.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/npz.h"
#include "format/safetensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char format_name[] = "finediffusion-features";

bool fdit_feature_file_is(const char *path)
{
    return (fdit_path_has_suffix(path, ".npz") || fdit_path_has_suffix(path, ".safetensors")) &&
           !fdit_is_folder(path);
}

/* labels [n] into the set; numbers below 0 or beyond int32 are refused. */
static enum fdit_status take_labels(fdit_context *ctx, struct fdit_feature_set *s, const int64_t *labels)
{
    enum fdit_status status = FDIT_OK;
    int64_t most = 0;
    TRY(fdit_alloc(ctx, s->points.n, sizeof *s->label, &s->label));
    for (size_t i = 0; i < s->points.n; i++) {
        if (labels[i] < 0 || labels[i] >= 1 << 24)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: label %lld of picture %zu is not a class number", s->path,
                 (long long)labels[i], i);
        s->label[i] = (int32_t)labels[i];
        most = labels[i] > most ? labels[i] : most;
    }
    if (!s->own_taxonomy)
        TRY(fdit_taxonomy_from_count(ctx, (size_t)most + 1, &s->own_taxonomy));
    if (most >= fdit_taxonomy_n_classes(s->own_taxonomy))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: label %lld is not one of its %d classes", s->path, (long long)most,
             fdit_taxonomy_n_classes(s->own_taxonomy));
    s->taxonomy = s->own_taxonomy;
out:
    return status;
}

static enum fdit_status set_shape(fdit_context *ctx, struct fdit_feature_set *s,
                                  const struct fdit_st_tensor *t, float **x)
{
    enum fdit_status status = FDIT_OK;
    if (t->rank != 2 || t->shape[0] < 1 || t->shape[1] < 1)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: %s is not a matrix of pictures and features", s->path, t->name);
    s->points.n = (size_t)t->shape[0];
    s->points.d = (size_t)t->shape[1];
    TRY(fdit_alloc(ctx, t->n, sizeof(float), x));
    s->points.x = *x;
out:
    return status;
}

/* ------------------------------------------------------------------ safetensors */

static enum fdit_status read_taxonomy(fdit_context *ctx, const struct fdit_safetensors *st,
                                      struct fdit_feature_set *s)
{
    const char *json = fdit_safetensors_meta(st, "taxonomy");
    return json ? fdit_taxonomy_parse(ctx, json, strlen(json), s->path, NULL, &s->own_taxonomy) : FDIT_OK;
}

/* "I/N" */
static enum fdit_status take_part(fdit_context *ctx, struct fdit_feature_set *s, int64_t part, int64_t parts)
{
    if (part < 0 || parts < 1 || part >= parts || parts > INT32_MAX)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: says that it is part %lld of %lld; make it again",
                         s->path, (long long)part, (long long)parts);
    s->part = (int)part;
    s->parts = (int)parts;
    return FDIT_OK;
}

static enum fdit_status read_part(fdit_context *ctx, const struct fdit_safetensors *st,
                                  struct fdit_feature_set *s)
{
    const char *text = fdit_safetensors_meta(st, "part");
    int part = -1, parts = 0;
    if (!text)
        return FDIT_OK;
    if (sscanf(text, "%9d/%9d", &part, &parts) != 2)
        part = -1;
    return take_part(ctx, s, part, parts);
}

static enum fdit_status read_safetensors(fdit_context *ctx, struct fdit_feature_set *s)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_safetensors *st = NULL;
    int64_t *labels = NULL;
    float *x;
    TRY(fdit_safetensors_open(ctx, s->path, &st));
    const struct fdit_st_tensor *t = fdit_safetensors_find(st, "features"), *l;
    if (!t)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: has no tensor \"features\"; give what --features-out wrote",
             s->path);
    TRY(set_shape(ctx, s, t, &x));
    TRY(fdit_safetensors_f32(ctx, st, t, 0, t->n, x));
    if (fdit_safetensors_meta(st, "features"))
        TRY(fdit_strdup(ctx, fdit_safetensors_meta(st, "features"), &s->features));
    if (fdit_safetensors_meta(st, "weights"))
        s->weights = strtoull(fdit_safetensors_meta(st, "weights"), NULL, 16);
    TRY(read_taxonomy(ctx, st, s));
    TRY(read_part(ctx, st, s));
    if (fdit_safetensors_find(st, "labels")) {
        TRY(fdit_safetensors_need(ctx, st, "labels", 1, (int64_t[]){ t->shape[0] }, &l));
        TRY(fdit_alloc(ctx, s->points.n, sizeof *labels, &labels));
        TRY(fdit_safetensors_i64(ctx, st, l, 0, l->n, labels));
        TRY(take_labels(ctx, s, labels));
    }
    if (fdit_safetensors_find(st, "logits")) {
        TRY(fdit_safetensors_need(ctx, st, "logits", 2, (int64_t[]){ t->shape[0], -1 }, &l));
        s->logit_classes = (size_t)l->shape[1];
        TRY(fdit_alloc(ctx, l->n, sizeof(float), &s->logits));
        TRY(fdit_safetensors_weights(ctx, st, l, 0, l->n, s->logits));
    }
out:
    fdit_free(labels);
    fdit_safetensors_close(st);
    return status;
}

static enum fdit_status write_safetensors(fdit_context *ctx, const struct fdit_feature_set *s,
                                          const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_st_writer *w = NULL;
    int64_t *labels = NULL;
    char *json = NULL, part[32], hash[20];
    int64_t n = (int64_t)s->points.n;
    TRY(fdit_st_writer_new(ctx, &w));
    TRY(fdit_st_writer_meta(ctx, w, "format", format_name));
    TRY(fdit_st_writer_meta(ctx, w, "version", "1"));
    if (s->features)
        TRY(fdit_st_writer_meta(ctx, w, "features", s->features));
    snprintf(part, sizeof part, "%d/%d", s->part, s->parts);
    if (s->parts)
        TRY(fdit_st_writer_meta(ctx, w, "part", part));
    snprintf(hash, sizeof hash, "%016" PRIx64, s->weights);
    if (s->weights)
        TRY(fdit_st_writer_meta(ctx, w, "weights", hash));
    if (s->label) {
        TRY(fdit_taxonomy_to_json(ctx, s->taxonomy, &json));
        TRY(fdit_st_writer_meta(ctx, w, "taxonomy", json));
        TRY(fdit_alloc(ctx, s->points.n, sizeof *labels, &labels));
        for (size_t i = 0; i < s->points.n; i++)
            labels[i] = s->label[i];
        TRY(fdit_st_writer_raw(ctx, w, "labels", FDIT_ST_I64, 1, (int64_t[]){ n }, labels));
    }
    TRY(fdit_st_writer_f32(ctx, w, "features", FDIT_ST_F32, 2, (int64_t[]){ n, (int64_t)s->points.d },
                           s->points.x));
    if (s->logits)
        TRY(fdit_st_writer_f32(ctx, w, "logits", FDIT_ST_F32, 2, (int64_t[]){ n, (int64_t)s->logit_classes },
                               s->logits));
    TRY(fdit_st_writer_save(ctx, w, path));
out:
    fdit_st_writer_free(w);
    fdit_free(labels);
    fdit_free(json);
    return status;
}

/* ------------------------------------------------------------------ npz */

/* An array of `count` whole numbers that statistics and features may have; *found: they have it. */
static enum fdit_status read_numbers(fdit_context *ctx, struct fdit_npz *z, struct fdit_feature_set *s,
                                     const char *name, int64_t count, int64_t *out, bool *found)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_st_tensor *t = fdit_npz_find(z, name);
    *found = t && t->rank == 1 && t->shape[0] == count && !fdit_st_is_float(t->type);
    if (!*found) /* files of other programs may call something else so */
        return FDIT_OK;
    TRY(fdit_npz_i64(ctx, z, t, out));
    for (int64_t i = 0; i < count; i++)
        if (out[i] < 0)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: %s is %lld; make the file again", s->path, name,
                 (long long)out[i]);
out:
    return status;
}

/* How many pictures, and which part of a set. */
static enum fdit_status read_counts(fdit_context *ctx, struct fdit_npz *z, struct fdit_feature_set *s)
{
    enum fdit_status status = FDIT_OK;
    int64_t n, part[2];
    bool found;
    TRY(read_numbers(ctx, z, s, "n", 1, &n, &found));
    if (found && s->moments.d)
        s->points.n = s->moments.n = s->spatial.n = (uint64_t)n;
    TRY(read_numbers(ctx, z, s, "part", 2, part, &found));
    if (found)
        TRY(take_part(ctx, s, part[0], part[1]));
out:
    return status;
}

/* Which network it was, in files of ours: see feature_set.h. */
struct origin {
    int64_t name[64], weights;
    size_t n;
};

static void put_origin(const struct fdit_feature_set *s, struct origin *o, struct fdit_npz_array arrays[2])
{
    const char *name = s->features ? s->features : "";
    for (o->n = 0; name[o->n] && o->n < 64; o->n++)
        o->name[o->n] = (unsigned char)name[o->n];
    memcpy(&o->weights, &s->weights, sizeof o->weights);
    arrays[0] = (struct fdit_npz_array){ "network", FDIT_ST_I64, 1, { (int64_t)o->n }, o->name };
    arrays[1] = (struct fdit_npz_array){ "weights", FDIT_ST_I64, 1, { 1 }, &o->weights };
}

/* Files of others have no such arrays, or other ones of these names. */
static enum fdit_status read_origin(fdit_context *ctx, struct fdit_npz *z, struct fdit_feature_set *s)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_st_tensor *n = fdit_npz_find(z, "network"), *w = fdit_npz_find(z, "weights");
    struct origin o = { .n = 0 };
    char name[65] = "";
    if (!n || !w || n->type != FDIT_ST_I64 || w->type != FDIT_ST_I64 || n->n < 1 || n->n > 64 || w->n != 1)
        return FDIT_OK;
    TRY(fdit_npz_i64(ctx, z, n, o.name));
    TRY(fdit_npz_i64(ctx, z, w, &o.weights));
    for (size_t i = 0; i < n->n; i++)
        name[i] = (char)(o.name[i] > 31 && o.name[i] < 256 ? o.name[i] : '?');
    memcpy(&s->weights, &o.weights, sizeof s->weights);
    TRY(fdit_strdup(ctx, name, &s->features));
out:
    return status;
}

/* mu and sigma, or mu_s and sigma_s. */
static enum fdit_status read_moments(fdit_context *ctx, struct fdit_npz *z, const char *path,
                                     const char *mean, const char *covariance, struct fdit_moments *m)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_st_tensor *mu = fdit_npz_find(z, mean), *sigma = fdit_npz_find(z, covariance);
    if (!mu || !sigma || mu->rank != 1 || mu->shape[0] < 1 || sigma->rank != 2 ||
        sigma->shape[0] != mu->shape[0] || sigma->shape[1] != mu->shape[0])
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: %s and %s are not the mean [d] and covariance [d, d] of features%s%s; make the file again",
             path, mean, covariance, mu && sigma ? "" : ": it has no ",
             !mu      ? mean
             : !sigma ? covariance
                      : "");
    size_t d = (size_t)mu->shape[0];
    TRY(fdit_moments_new(ctx, d, m));
    TRY(fdit_npz_f64(ctx, z, mu, m->mean));
    TRY(fdit_npz_f64(ctx, z, sigma, m->covariance));
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++) {
            double a = m->covariance[i * d + j], b = m->covariance[j * d + i];
            if (!isfinite(a) || !isfinite(m->mean[i]))
                FAIL(ctx, FDIT_ERROR_NUMERIC, "%s: statistics of feature %zu are not finite; make them again",
                     path, i);
            if (i == j && a < 0)
                FAIL(ctx, FDIT_ERROR_FORMAT,
                     "%s: %s is not a covariance: the variance of feature %zu is %g, below 0; make it again",
                     path, covariance, i, a);
            if (fabs(a - b) > 1e-6 * (fabs(a) + fabs(b)) + 1e-12)
                FAIL(ctx, FDIT_ERROR_FORMAT, "%s: %s is not symmetric, so it is not a covariance", path,
                     covariance);
        }
out:
    return status;
}

/* The matrix called features, else the only one of floats. */
static const struct fdit_st_tensor *matrix_of(const struct fdit_npz *z)
{
    const struct fdit_st_tensor *found = fdit_npz_find(z, "features");
    for (size_t i = 0; !found && i < fdit_npz_count(z); i++) {
        const struct fdit_st_tensor *t = fdit_npz_at(z, i);
        if (t->rank == 2 && fdit_st_is_float(t->type))
            found = t;
    }
    return found;
}

static enum fdit_status read_npz(fdit_context *ctx, struct fdit_feature_set *s)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_npz *z = NULL;
    int64_t *labels = NULL;
    float *x;
    TRY(fdit_npz_open(ctx, s->path, &z));
    TRY(read_origin(ctx, z, s));
    if (fdit_npz_find(z, "mu") || fdit_npz_find(z, "sigma")) {
        TRY(read_moments(ctx, z, s->path, "mu", "sigma", &s->moments));
        s->points.d = s->moments.d;
        if (fdit_npz_find(z, "mu_s") || fdit_npz_find(z, "sigma_s"))
            TRY(read_moments(ctx, z, s->path, "mu_s", "sigma_s", &s->spatial));
        TRY(read_counts(ctx, z, s));
        goto out;
    }
    const struct fdit_st_tensor *t = matrix_of(z), *l = fdit_npz_find(z, "labels");
    if (!t)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: has neither mu and sigma nor a matrix of features; give statistics or features", s->path);
    TRY(set_shape(ctx, s, t, &x));
    TRY(read_counts(ctx, z, s));
    TRY(fdit_npz_f32(ctx, z, t, x));
    if (l) {
        if (l->rank != 1 || l->shape[0] != t->shape[0])
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: has %zu labels for %zu pictures", s->path, l->n, s->points.n);
        TRY(fdit_alloc(ctx, s->points.n, sizeof *labels, &labels));
        TRY(fdit_npz_i64(ctx, z, l, labels));
        TRY(take_labels(ctx, s, labels));
    }
out:
    fdit_free(labels);
    fdit_npz_close(z);
    return status;
}

static enum fdit_status write_npz(fdit_context *ctx, const struct fdit_feature_set *s, const char *path)
{
    enum fdit_status status = FDIT_OK;
    int64_t *labels = NULL, n = (int64_t)s->points.n;
    struct origin origin;
    TRY(fdit_alloc(ctx, s->points.n, sizeof *labels, &labels));
    for (size_t i = 0; s->label && i < s->points.n; i++)
        labels[i] = s->label[i];
    struct fdit_npz_array arrays[5];
    const int64_t part[2] = { s->part, s->parts };
    size_t count = 0;
    arrays[count++] =
        (struct fdit_npz_array){ "features", FDIT_ST_F32, 2, { n, (int64_t)s->points.d }, s->points.x };
    if (s->label)
        arrays[count++] = (struct fdit_npz_array){ "labels", FDIT_ST_I64, 1, { n }, labels };
    if (s->parts)
        arrays[count++] = (struct fdit_npz_array){ "part", FDIT_ST_I64, 1, { 2 }, part };
    if (s->weights) {
        put_origin(s, &origin, arrays + count);
        count += 2;
    }
    TRY(fdit_npz_write(ctx, path, arrays, count));
out:
    fdit_free(labels);
    return status;
}

enum fdit_status fdit_moments_write(fdit_context *ctx, const struct fdit_feature_set *s, const char *path)
{
    const struct fdit_moments *m = &s->moments, *spatial = &s->spatial;
    const int64_t d = (int64_t)m->d, ds = (int64_t)spatial->d, n = (int64_t)m->n,
                  part[2] = { s->part, s->parts };
    struct fdit_npz_array arrays[8] = { { "mu", FDIT_ST_F64, 1, { d }, m->mean },
                                        { "sigma", FDIT_ST_F64, 2, { d, d }, m->covariance } };
    struct origin origin;
    size_t count = 2;
    if (spatial->d) {
        arrays[count++] = (struct fdit_npz_array){ "mu_s", FDIT_ST_F64, 1, { ds }, spatial->mean };
        arrays[count++] =
            (struct fdit_npz_array){ "sigma_s", FDIT_ST_F64, 2, { ds, ds }, spatial->covariance };
    }
    if (m->n)
        arrays[count++] = (struct fdit_npz_array){ "n", FDIT_ST_I64, 1, { 1 }, &n };
    if (s->parts)
        arrays[count++] = (struct fdit_npz_array){ "part", FDIT_ST_I64, 1, { 2 }, part };
    if (s->weights) {
        put_origin(s, &origin, arrays + count);
        count += 2;
    }
    return fdit_npz_write(ctx, path, arrays, count);
}

/* ------------------------------------------------------------------ either */

enum fdit_status fdit_feature_set_read(fdit_context *ctx, const char *path, struct fdit_feature_set *out)
{
    enum fdit_status status = FDIT_OK;
    *out = (struct fdit_feature_set){ 0 };
    TRY(fdit_strdup(ctx, path, &out->path));
    TRY(fdit_path_has_suffix(path, ".npz") ? read_npz(ctx, out) : read_safetensors(ctx, out));
    if (out->points.x)
        TRY(fdit_points_check_finite(ctx, path, &out->points));
out:
    if (status != FDIT_OK)
        fdit_feature_set_fini(out);
    return status;
}

enum fdit_status fdit_feature_set_write(fdit_context *ctx, const struct fdit_feature_set *s, const char *path)
{
    if (!s->points.x)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s holds statistics; there are no features to write to %s", s->path, path);
    return fdit_path_has_suffix(path, ".npz") ? write_npz(ctx, s, path) : write_safetensors(ctx, s, path);
}
