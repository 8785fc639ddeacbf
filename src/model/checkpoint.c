/* SPDX-License-Identifier: Apache-2.0 */
#include "model/checkpoint.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"
#include "model/checkpoint_file.h"
#include "model/merge.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bool fdit_checkpoint_has(const struct fdit_checkpoint *cp, const char *param)
{
    const struct fdit_st_tensor *parts[FDIT_PARTS];
    return fdit_checkpoint_parts(cp, param, parts) > 0 || fdit_checkpoint_computes(cp, param);
}

int64_t fdit_checkpoint_dim(const struct fdit_checkpoint *cp, const char *param, int i)
{
    const struct fdit_st_tensor *parts[FDIT_PARTS];
    int n = fdit_checkpoint_parts(cp, param, parts);
    if (n < 1 || i < 0 || i >= parts[0]->rank)
        return -1;
    return i == 0 ? n * parts[0]->shape[0] : parts[0]->shape[i];
}

/* ------------------------------------------------------------------ numbers */

/* The tensors of a parameter with the shape that the model wants; *n of them. */
static enum fdit_status need(fdit_context *ctx, const struct fdit_checkpoint *cp, const struct fdit_param *p,
                             const struct fdit_st_tensor *parts[FDIT_PARTS], int *n)
{
    enum fdit_status status = FDIT_OK;
    int64_t shape[4];
    *n = fdit_checkpoint_parts(cp, p->name, parts);
    for (int i = 0; i < p->rank; i++)
        shape[i] = p->shape[i];
    if (!*n)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: the tensor %s%s is missing; is this the checkpoint of a class-conditional DiT?",
             fdit_checkpoint_path(cp), cp->diffusers ? "for " : cp->prefix, p->name);
    if (*n > 1 && shape[0] % *n == 0)
        shape[0] /= *n;
    for (int k = 0; k < *n; k++)
        TRY(fdit_st_check_shape(ctx, fdit_checkpoint_path(cp), parts[k], p->rank, shape));
out:
    return status;
}

enum fdit_status fdit_checkpoint_check_shape(fdit_context *ctx, const struct fdit_checkpoint *cp,
                                             const struct fdit_param *p)
{
    const struct fdit_st_tensor *parts[FDIT_PARTS];
    int n;
    return fdit_checkpoint_computes(cp, p->name) ? FDIT_OK : need(ctx, cp, p, parts, &n);
}

static enum fdit_status compute_positions(fdit_context *ctx, const struct fdit_param *p, size_t first,
                                          size_t n, float *out)
{
    enum fdit_status status = FDIT_OK;
    float *table = NULL;
    int grid = (int)lround(sqrt((double)p->shape[1]));
    TRY(fdit_alloc(ctx, p->count, sizeof *table, &table));
    TRY(fdit_pos_embed(ctx, p->shape[2], grid, table));
    memcpy(out, table + first, n * sizeof *out);
out:
    fdit_free(table);
    return status;
}

enum fdit_status fdit_checkpoint_read_part(fdit_context *ctx, struct fdit_checkpoint *cp,
                                           const struct fdit_param *p, size_t first, size_t n, float *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_st_tensor *parts[FDIT_PARTS];
    int n_parts;
    size_t at = 0;
    if (fdit_checkpoint_computes(cp, p->name))
        return compute_positions(ctx, p, first, n, out);
    TRY(need(ctx, cp, p, parts, &n_parts));
    for (int k = 0; k < n_parts && n; at += parts[k]->n, k++) {
        if (first >= at + parts[k]->n)
            continue;
        size_t from = first - at, m = parts[k]->n - from < n ? parts[k]->n - from : n;
        TRY(fdit_st_weights(ctx, fdit_checkpoint_path(cp), parts[k], from, m, out));
        if (from + m == parts[k]->n)
            fdit_checkpoint_drop(cp, parts[k]);
        out += m;
        first += m;
        n -= m;
    }
out:
    return status;
}

enum fdit_status fdit_checkpoint_read(fdit_context *ctx, struct fdit_checkpoint *cp,
                                      const struct fdit_param *p, float *out)
{
    return fdit_checkpoint_read_part(ctx, cp, p, 0, p->count, out);
}

enum fdit_status fdit_checkpoint_read_rows(fdit_context *ctx, struct fdit_checkpoint *cp, int first, int n,
                                           int width, float *out)
{
    static const char name[] = "y_embedder.embedding_table.weight";
    const struct fdit_st_tensor *parts[FDIT_PARTS], *t;
    if (!fdit_checkpoint_parts(cp, name, parts))
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: the tensor %s is missing", fdit_checkpoint_path(cp),
                         name);
    t = parts[0];
    if (t->rank != 2 || t->shape[1] != width || first < 0 || n < 0 || t->shape[0] < (int64_t)first + n)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: the class table has no rows %d to %d of width %d",
                         fdit_checkpoint_path(cp), first, first + n - 1, width);
    return fdit_st_weights(ctx, fdit_checkpoint_path(cp), t, (size_t)first * (size_t)width,
                           (size_t)n * (size_t)width, out);
}

/* ------------------------------------------------------------------ sizes */

/* A size that two sources give must agree. */
static enum fdit_status agree(fdit_context *ctx, const struct fdit_checkpoint *cp, const char *what,
                              int *known, int64_t from_tensors)
{
    if (from_tensors < 1 || from_tensors > 1000000000)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: its tensors give no %s; is this the checkpoint of a class-conditional DiT?",
                         fdit_checkpoint_path(cp), what);
    if (*known && *known != from_tensors)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: the %s is %d by --model, metadata or config.json, but %lld by the tensors; "
                         "correct the description",
                         fdit_checkpoint_path(cp), what, *known, (long long)from_tensors);
    *known = (int)from_tensors;
    return FDIT_OK;
}

static enum fdit_status config_beside(fdit_context *ctx, const struct fdit_checkpoint *cp,
                                      struct fdit_model_config *config)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL, *path = NULL;
    uint8_t *text = NULL;
    size_t n;
    TRY(fdit_path_folder(ctx, fdit_checkpoint_path(cp), &folder));
    TRY(fdit_path_join(ctx, folder, "config.json", &path));
    if (!fdit_is_file(path))
        goto out;
    TRY(fdit_file_read_all(ctx, path, (size_t)1 << 24, &text, &n));
    TRY(fdit_config_from_json(ctx, path, (const char *)text, n, config));
out:
    fdit_free(folder);
    fdit_free(path);
    fdit_free(text);
    return status;
}

int fdit_checkpoint_depth(const struct fdit_checkpoint *cp)
{
    char name[64];
    int depth = 0;
    for (;; depth++) { /* the norms are not asked for: a stock DiT has none */
        static const char *const any[] = { "attn.qkv.bias", "attn.qkv.weight", "mlp.fc1.weight" };
        bool found = false;
        for (size_t i = 0; i < 3; i++) {
            snprintf(name, sizeof name, "blocks.%d.%s", depth, any[i]);
            found = found || fdit_checkpoint_has(cp, name);
        }
        if (!found)
            return depth;
    }
}

static enum fdit_status sizes_by_tensors(fdit_context *ctx, struct fdit_checkpoint *cp,
                                         struct fdit_model_config *c)
{
    enum fdit_status status = FDIT_OK;
    static const char patch[] = "x_embedder.proj.weight";
    int table_rows = 0;
    TRY(agree(ctx, cp, "width", &c->width, fdit_checkpoint_dim(cp, patch, 0)));
    TRY(agree(ctx, cp, "number of channels", &c->channels, fdit_checkpoint_dim(cp, patch, 1)));
    TRY(agree(ctx, cp, "patch size", &c->patch, fdit_checkpoint_dim(cp, patch, 2)));
    TRY(agree(ctx, cp, "depth", &c->depth, fdit_checkpoint_depth(cp)));
    int64_t hidden = fdit_checkpoint_dim(cp, "blocks.0.mlp.fc1.weight", 0);
    TRY(agree(ctx, cp, "MLP ratio", &c->mlp_ratio, hidden % c->width ? -1 : hidden / c->width));
    if (c->kind == FDIT_MODEL_DIT) /* the table's height follows the file, not the description */
        TRY(agree(ctx, cp, "number of table rows", &table_rows,
                  fdit_checkpoint_dim(cp, "y_embedder.embedding_table.weight", 0)));
    else
        TRY(agree(ctx, cp, "number of classes", &table_rows,
                  fdit_checkpoint_dim(cp, "final_layer.linear.weight", 0)));
    c->table_rows = table_rows;
    if (fdit_checkpoint_computes(cp, "pos_embed")) {
        if (!c->input_size)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "%s: a diffusers model says its input size in the config.json beside it, which is "
                 "missing; put it there",
                 fdit_checkpoint_path(cp));
        return FDIT_OK;
    }
    int64_t tokens = fdit_checkpoint_dim(cp, "pos_embed", 1);
    int64_t side = tokens > 0 ? (int64_t)llround(sqrt((double)tokens)) : 0;
    TRY(agree(ctx, cp, "input size", &c->input_size, side * side == tokens ? side * c->patch : -1));
out:
    return status;
}

/* The heads of the model that the trainer's arguments name, 0 when it has other sizes. */
static int heads_by_args(const struct fdit_checkpoint *cp, const struct fdit_model_config *c)
{
    struct fdit_model_config said = { 0 };
    char text[64];
    if (!fdit_checkpoint_text(cp, "args/model", text, sizeof text) ||
        fdit_config_parse(NULL, text, &said) != FDIT_OK)
        return 0;
    return said.width == c->width && said.depth == c->depth ? said.heads : 0;
}

/* ------------------------------------------------------------------ the objective */

void fdit_checkpoint_ask_objective(struct fdit_checkpoint *cp, const struct fdit_objective *objective,
                                   bool firm)
{
    cp->asked = objective;
    cp->firm = firm;
}

const struct fdit_objective *fdit_checkpoint_asked(const struct fdit_checkpoint *cp)
{
    return cp->asked;
}

/* What only its training used is left out. */
static void tell_left_out(fdit_context *ctx, const struct fdit_checkpoint *cp)
{
    size_t left_out = 0;
    for (size_t i = 0; i < fdit_checkpoint_tensors(cp); i++)
        left_out += fdit_checkpoint_left_out(cp, i);
    if (left_out)
        fdit_log(ctx, FDIT_LOG_INFO,
                 "%s: %zu tensors %sprojectors.* are of a side loss in training; left out",
                 fdit_checkpoint_path(cp), left_out, cp->prefix);
}

/* Arguments of SiT's and REPA's trainers: only the straight path is computed here. */
static enum fdit_status check_path(fdit_context *ctx, const struct fdit_checkpoint *cp, bool *there)
{
    char path[64], prediction[64];
    *there = fdit_checkpoint_text(cp, "args/path_type", path, sizeof path) ||
             fdit_checkpoint_text(cp, "args/path-type", path, sizeof path);
    if (*there && strcmp(path, "Linear") && strcmp(path, "linear"))
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                         "%s: was trained on the path \"%s\"; only Linear is supported",
                         fdit_checkpoint_path(cp), path);
    if (*there && fdit_checkpoint_text(cp, "args/prediction", prediction, sizeof prediction) &&
        strcmp(prediction, "velocity") && strcmp(prediction, "v"))
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "%s: predicts \"%s\"; only velocity is supported",
                         fdit_checkpoint_path(cp), prediction);
    return FDIT_OK;
}

/* told: c->objective is what a description says. */
static enum fdit_status find_objective(fdit_context *ctx, const struct fdit_checkpoint *cp, bool told,
                                       struct fdit_model_config *c)
{
    enum fdit_status status = FDIT_OK;
    const int64_t rows = fdit_checkpoint_dim(cp, "final_layer.linear.weight", 0);
    const int64_t one = fdit_config_patch_in(c);
    bool path;
    tell_left_out(ctx, cp);
    if (fdit_checkpoint_has(cp, "blocks.0.attn.qkv.weight")) /* not a delta, which need not have them */
        c->qk_norm = fdit_checkpoint_has(cp, "blocks.0.attn.q_norm.weight");
    TRY(check_path(ctx, cp, &path));
    c->guidance_input = c->guidance_input || fdit_checkpoint_has(cp, FDIT_PARAM_GUIDANCE);
    if (!told && (rows == one || path)) {
        told = true;
        c->objective = rows == one ? FDIT_OBJECTIVE_FLOW_REPA : FDIT_OBJECTIVE_FLOW_SIT;
    }
    if (told && cp->asked && cp->firm && cp->asked->id != c->objective)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: is of the objective %s, not of %s", fdit_checkpoint_path(cp),
             fdit_objective_at(c->objective)->name, cp->asked->name);
    if (!told && cp->asked)
        c->objective = cp->asked->id;
    if (rows > 0 && rows != fdit_config_patch_out(c))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: final_layer.linear.weight has %lld rows, the objective %s needs %d; is this the checkpoint "
             "of a class-conditional DiT?",
             fdit_checkpoint_path(cp), (long long)rows, fdit_objective_at(c->objective)->name,
             fdit_config_patch_out(c));
out:
    return status;
}

enum fdit_status fdit_checkpoint_config(fdit_context *ctx, struct fdit_checkpoint *cp, const char *model_text,
                                        struct fdit_model_config *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model_config c = { 0 };
    const char *meta = fdit_checkpoint_meta(cp, "model");
    if (model_text && fdit_checkpoint_computes(cp, "pos_embed")) {
        struct fdit_model_config beside = { 0 };
        TRY(config_beside(ctx, cp, &beside));
        c.input_size = beside.input_size;
    }
    if (model_text && meta) { /* sizes can be given, not another kind of model */
        struct fdit_model_config own = { 0 };
        TRY(fdit_config_from_json(ctx, fdit_checkpoint_path(cp), meta, strlen(meta), &own));
        c.kind = own.kind;
        c.objective = own.objective;
        c.qk_norm = own.qk_norm;
    }
    if (model_text)
        TRY(fdit_config_parse(ctx, model_text, &c));
    else if (meta)
        TRY(fdit_config_from_json(ctx, fdit_checkpoint_path(cp), meta, strlen(meta), &c));
    else
        TRY(config_beside(ctx, cp, &c));
    if (model_text && !meta) { /* what else stands beside the file need not be the model's */
        struct fdit_model_config beside = { 0 };
        if (config_beside(NULL, cp, &beside) == FDIT_OK)
            c.objective = beside.objective;
    }
    TRY(sizes_by_tensors(ctx, cp, &c));
    if (c.kind == FDIT_MODEL_DIT)
        TRY(find_objective(ctx, cp, meta || cp->diffusers || c.objective, &c));
    if (!c.heads)
        c.heads = heads_by_args(cp, &c);
    if (!c.heads)
        c.heads = fdit_config_usual_heads(c.width, c.depth);
    if (!c.heads)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s: the number of heads cannot be read off its tensors, and no published model has width %d "
             "and depth %d; give --model %d,%d,HEADS,%d or put a config.json beside the file",
             fdit_checkpoint_path(cp), c.width, c.depth, c.width, c.depth, c.patch);
    TRY(fdit_config_check(ctx, &c));
    *out = c;
out:
    return status;
}

/* ------------------------------------------------------------------ loading */

/* A parameter's numbers in `scratch`, which grows to the largest; or, without copying, where they
 * lie in the file. *mapped is then the tensor to drop after use. merge: the file of an adapter that goes into
 * them; NULL: none. */
static enum fdit_status numbers_of(fdit_context *ctx, struct fdit_checkpoint *cp,
                                   struct fdit_checkpoint *merge, const struct fdit_param *p, float **scratch,
                                   size_t *capacity, const float **out, const struct fdit_st_tensor **mapped)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_st_tensor *parts[FDIT_PARTS];
    int n;
    *mapped = NULL;
    if (cp && !merge && !fdit_checkpoint_computes(cp, p->name)) {
        TRY(need(ctx, cp, p, parts, &n));
        *out = n == 1 ? fdit_st_floats(parts[0]) : NULL;
        if (*out) {
            *mapped = parts[0];
            return fdit_st_check_finite(ctx, fdit_checkpoint_path(cp), parts[0]);
        }
    }
    if (p->count > *capacity) {
        fdit_free(*scratch);
        *scratch = NULL;
        *capacity = 0;
        TRY(fdit_alloc(ctx, p->count, sizeof **scratch, scratch));
        *capacity = p->count;
    }
    *out = *scratch;
    if (cp)
        TRY(fdit_checkpoint_read(ctx, cp, p, *scratch));
    else /* a norm that a stock DiT lacks */
        for (size_t j = 0; j < p->count; j++)
            (*scratch)[j] = strstr(p->name, ".weight") ? 1.0f : 0.0f;
    if (merge)
        TRY(fdit_merge_adapter(ctx, merge, p, 0, p->count, *scratch));
out:
    return status;
}

/* The files' tensors are the model's, and those of an adapter that is merged into it. */
static enum fdit_status check_files(fdit_context *ctx, const struct fdit_model *m,
                                    struct fdit_checkpoint *const *files, int n, int *extra)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_params apart = { 0 };
    struct fdit_model_config config = m->config;
    for (int i = 0; i < n; i++) {
        const bool merged = fdit_merges(files[i], &m->config);
        if (merged) {
            config.adapter = *fdit_checkpoint_adapter(files[i]);
            fdit_params_fini(&apart);
            TRY(fdit_params_init(ctx, &config, NULL, &apart));
        }
        TRY(fdit_checkpoint_check(ctx, files[i], merged ? &apart : &m->params, m->config.depth, extra));
    }
out:
    fdit_params_fini(&apart);
    return status;
}

enum fdit_status fdit_model_load(fdit_context *ctx, struct fdit_model *m,
                                 struct fdit_checkpoint *const *files, int n, bool skip_table,
                                 struct fdit_load_report *report)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_load_report said = { 0 };
    float *scratch = NULL;
    size_t capacity = 0;
    TRY(check_files(ctx, m, files, n, &said.extra));
    for (int i = 0; i < m->params.n; i++) {
        struct fdit_param *p = &m->params.list[i];
        const struct fdit_st_tensor *mapped;
        const float *data;
        if (p->kind == FDIT_PARAM_TABLE && skip_table)
            continue;
        if (p->borrowed) {
            p->weight = fdit_params_find(&m->options.lender->params, p->name)->weight;
            continue;
        }
        int from = 0;
        while (from < n && !fdit_checkpoint_has(files[from], p->name))
            from++;
        if (from == n &&
            (p->kind == FDIT_PARAM_LOW_RANK || p->kind == FDIT_PARAM_GAMMA || /* fdit_model_init_adapters */
             fdit_param_of_guidance(p->name) ||                               /* likewise */
             fdit_param_of_class_map(p->name)))                               /* class_map.h */
            continue;
        bool lacks = from == n && p->kind == FDIT_PARAM_NORM;
        struct fdit_checkpoint *cp = lacks ? NULL : files[from < n ? from : n - 1];
        said.norms_missing += lacks;
        struct fdit_checkpoint *merge = fdit_merges(files[0], &m->config) ? files[0] : NULL;
        if (merge && !fdit_merge_changes(merge, p))
            merge = NULL;
        TRY(numbers_of(ctx, cp, merge, p, &scratch, &capacity, &data, &mapped));
        TRY(fdit_model_set(ctx, m, p, data));
        if (mapped)
            fdit_checkpoint_drop(cp, mapped);
    }
    int norms = 4 * m->config.depth + 2;
    if (said.norms_missing && said.norms_missing != norms)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: %d of the %d LayerNorm tensors are missing; a stock DiT lacks all, a fine-tuned one none",
             fdit_checkpoint_path(files[n - 1]), said.norms_missing, norms);
    if (report)
        *report = said;
out:
    fdit_free(scratch);
    return status;
}

/* ------------------------------------------------------------------ fingerprints */

/* Root mean square, and the sum with signs that depend on the position only, over sqrt(n): two
 * numbers that change when weights change, are exchanged or are moved. */
static void summarise(const float *data, size_t n, double *rms, double *signed_sum)
{
    double squares = 0, sum = 0;
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        squares += (double)data[i] * data[i];
        sum += state >> 31 ? data[i] : -data[i];
    }
    *rms = sqrt(squares / (double)n);
    *signed_sum = sum / sqrt((double)n);
}

enum fdit_status fdit_checkpoint_fingerprint(fdit_context *ctx, struct fdit_checkpoint *cp,
                                             const struct fdit_model_config *config,
                                             const struct fdit_mask *mask, char **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_params params = { 0 };
    float *data = NULL;
    struct fdit_json b;
    json_t *pair;
    *out = NULL;
    fdit_json_begin(&b);
    TRY(fdit_params_init(ctx, config, mask, &params));
    for (int i = 0; i < params.n; i++) {
        const struct fdit_param *p = &params.list[i];
        double rms, sum;
        if (p->trained || p->kind == FDIT_PARAM_TABLE || !fdit_checkpoint_has(cp, p->name))
            continue;
        fdit_free(data);
        TRY(fdit_alloc(ctx, p->count, sizeof *data, &data));
        TRY(fdit_checkpoint_read(ctx, cp, p, data));
        summarise(data, p->count, &rms, &sum);
        pair = fdit_json_put_array(&b, NULL, p->name);
        fdit_json_put_real(&b, pair, NULL, rms);
        fdit_json_put_real(&b, pair, NULL, sum);
    }
    TRY(fdit_json_end(ctx, &b, "the fingerprint", JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(6),
                      out));
out:
    fdit_json_fini(&b);
    fdit_free(data);
    fdit_params_fini(&params);
    return status;
}

enum fdit_status fdit_fingerprint_compare(fdit_context *ctx, const char *wanted, const char *got,
                                          const char *delta, const char *base)
{
    enum fdit_status status = FDIT_OK;
    json_t *a = NULL, *b = NULL, *value;
    const char *key;
    TRY(fdit_json_parse(ctx, base, got, strlen(got), 8, &b));
    status = fdit_json_parse(ctx, delta, wanted, strlen(wanted), 8, &a);
    if (status == FDIT_ERROR_MEMORY)
        goto out;
    if (!json_is_object(a))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: its entry \"base\" is not a fingerprint", delta);
    json_object_foreach(a, key, value)
    {
        const json_t *other = json_object_get(b, key);
        double rms = json_number_value(json_array_get(value, 0));
        double sum = json_number_value(json_array_get(value, 1));
        double rms2 = json_number_value(json_array_get(other, 0));
        double sum2 = json_number_value(json_array_get(other, 1));
        /* The signed sum of n numbers of size rms is about rms: that is its scale. */
        double most = 1e-3 * (rms > rms2 ? rms : rms2) + 1e-12;
        if (!other || fabs(rms - rms2) > most || fabs(sum - sum2) > 30 * most)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s was made from another base than %s: %s differs (rms %.6g, here %.6g); give the "
                 "right --base, or --force to go on",
                 delta, base, key, rms, rms2);
    }
out:
    json_decref(a);
    json_decref(b);
    return status;
}
