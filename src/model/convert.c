/* SPDX-License-Identifier: Apache-2.0 */
#include "model/convert.h"

#include "core/file.h"
#include "core/folder_lock.h"
#include "core/mem.h"
#include "core/target.h"
#include "format/json.h"
#include "format/pt.h"
#include "model/delta.h"
#include "model/merge.h"
#include "model/peft.h"
#include "model/shards.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-3 /* of frozen weights, see convert.h */
enum { PIECE = 65536 };

static const char table_name[] = "y_embedder.embedding_table.weight";

struct job {
    const struct fdit_convert_options *o;
    struct fdit_convert_report *report;
    struct fdit_checkpoint *in, *merge, *base;
    const struct fdit_mask *mask;
    struct fdit_mask told; /* by a PEFT adapter */
    struct fdit_model_config config;
    struct fdit_params params;
    struct piece *pieces; /* what is written, in order */
    size_t n_pieces;
    char *fingerprint, *train;
};

/* A parameter on its way; the writers' `user`. */
struct piece {
    struct job *job;
    const struct fdit_param *p;
};

/* ------------------------------------------------------------------ reading */

/* Numbers first..first+n of a parameter: from the delta, else the input, else what a LayerNorm
 * without weights means. */
static enum fdit_status read_piece(fdit_context *ctx, const struct job *j, const struct fdit_param *p,
                                   size_t first, size_t n, float *out)
{
    enum fdit_status status = FDIT_OK;
    if (j->merge && fdit_checkpoint_has(j->merge, p->name)) {
        TRY(fdit_checkpoint_read_part(ctx, j->merge, p, first, n, out));
    } else if (fdit_checkpoint_is_peft(j->in) && !fdit_checkpoint_has(j->in, p->name)) {
        TRY(fdit_checkpoint_read_part(ctx, j->base, p, first, n, out)); /* the class table of the base */
    } else if (p->kind != FDIT_PARAM_NORM || fdit_checkpoint_has(j->in, p->name)) {
        TRY(fdit_checkpoint_read_part(ctx, j->in, p, first, n, out));
    } else {
        for (size_t i = 0; i < n; i++)
            out[i] = strstr(p->name, ".weight") ? 1.0f : 0.0f;
    }
    if (j->merge && fdit_merge_changes(j->merge, p))
        TRY(fdit_merge_adapter(ctx, j->merge, p, first, n, out));
out:
    return status;
}

static enum fdit_st_type type_of(const struct job *j, const struct fdit_param *p)
{
    return p->kind == FDIT_PARAM_POS ? FDIT_ST_F32 : j->o->type;
}

/* What is too large for the type becomes its largest number when that was asked for; what is too
 * small becomes 0 and is counted. */
static void fit(const struct job *j, const struct fdit_param *p, size_t n, float *x)
{
    enum fdit_st_type type = type_of(j, p);
    float largest = fdit_st_largest(type);
    if (type != FDIT_ST_F16 && type != FDIT_ST_BF16)
        return;
    for (size_t i = 0; i < n; i++) {
        j->report->vanished += type == FDIT_ST_F16 && x[i] != 0 && fabsf(x[i]) <= 0x1p-25f;
        if (!j->o->saturate || !(fabsf(x[i]) > largest))
            continue;
        x[i] = copysignf(largest, x[i]);
        j->report->saturated++;
    }
}

static enum fdit_status fill_part(fdit_context *ctx, void *user, size_t first, size_t n, void *out)
{
    const struct piece *piece = user;
    enum fdit_status status = read_piece(ctx, piece->job, piece->p, first, n, out);
    if (status == FDIT_OK)
        fit(piece->job, piece->p, n, out);
    return status;
}

static enum fdit_status fill_whole(fdit_context *ctx, void *user, size_t i, float *out)
{
    const struct job *j = user;
    const struct fdit_param *p = j->pieces[i].p;
    enum fdit_status status = read_piece(ctx, j, p, 0, p->count, out);
    if (status == FDIT_OK)
        fit(j, p, p->count, out);
    return status;
}

/* ------------------------------------------------------------------ the files that come in */

/* The delta must have been made from this input. */
static enum fdit_status check_base(fdit_context *ctx, const struct job *j)
{
    enum fdit_status status = FDIT_OK;
    char *got = NULL;
    const char *wanted = fdit_checkpoint_meta(j->merge, "base");
    if (!wanted || j->o->force)
        return FDIT_OK;
    /* every parameter counts: those that the delta trains are not in its fingerprint */
    TRY(fdit_checkpoint_fingerprint(ctx, j->in, &j->config, NULL, &got));
    TRY(fdit_fingerprint_compare(ctx, wanted, got, j->o->merge, j->o->in));
out:
    fdit_free(got);
    return status;
}

/* What a PEFT adapter trains, by its tensors: as --tune would say it. */
static enum fdit_status peft_mask(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_adapter *a = fdit_checkpoint_adapter(j->in);
    const bool bias = fdit_checkpoint_has(j->in, "x_embedder.proj.bias");
    const bool norm = fdit_checkpoint_has(j->in, "blocks.0.norm1.weight");
    char *text = NULL;
    TRY(fdit_strf(ctx, &text, "%slora:%d:%.17g%s%s", a->rslora ? "rs" : "", a->rank, a->alpha,
                  bias ? "+bias" : "", norm ? "+norm" : ""));
    TRY(fdit_mask_parse(ctx, text, &j->told));
    j->mask = &j->told;
out:
    fdit_free(text);
    return status;
}

/* The rank that its description says is that of its tensors, and not above the width of the model. */
static enum fdit_status check_peft_rank(fdit_context *ctx, const struct job *j)
{
    static const char *const layers[] = { "blocks.0.attn.qkv.lora_A", "blocks.0.attn.proj.lora_A",
                                          "blocks.0.mlp.fc1.lora_A", "blocks.0.mlp.fc2.lora_A" };
    const int rank = j->config.adapter.rank;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const int64_t is = fdit_checkpoint_dim(j->in, layers[i], 0);
        if (is > 0 && is != rank)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                             "%s: its tensors have rank %lld, the " FDIT_PEFT_CONFIG
                             " beside it says \"r\": %d; take both files from one adapter",
                             fdit_checkpoint_path(j->in), (long long)is, rank);
    }
    const enum fdit_status status = fdit_adapter_check(ctx, &j->config.adapter, j->config.width);
    return status == FDIT_OK ? FDIT_OK : fdit_fail_prefix(ctx, status, fdit_checkpoint_path(j->in));
}

/* A PEFT adapter says nothing of its model: that is the base's, with the rows of the adapter's table. */
static enum fdit_status open_peft(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    int extra;
    if (!j->o->base)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s: is a PEFT adapter, which does not say the sizes of its model; make a delta of it with "
             "--delta --base FILE",
             j->o->in);
    if (j->o->mask)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--tune %s: a PEFT adapter says itself what it trains; leave it out",
             j->o->mask->name);
    j->report->delta = true;
    TRY(fdit_checkpoint_open(ctx, j->o->base, FDIT_VALUES_EMA, &j->base));
    TRY(fdit_delta_refuse_as_base(ctx, j->base));
    fdit_checkpoint_ask_objective(j->base, j->o->objective, true);
    TRY(fdit_checkpoint_config(ctx, j->base, j->o->model, &j->config));
    const int64_t rows = fdit_checkpoint_dim(j->in, table_name, 0);
    if (rows > 0 && rows <= INT32_MAX)
        j->config.table_rows = (int)rows;
    j->config.adapter = *fdit_checkpoint_adapter(j->in);
    TRY(peft_mask(ctx, j));
    TRY(check_peft_rank(ctx, j));
    TRY(fdit_params_init(ctx, &j->config, j->mask, &j->params));
    TRY(fdit_checkpoint_check(ctx, j->in, &j->params, j->config.depth, &extra));
    for (int i = 0; i < j->params.n; i++)
        if (j->params.list[i].trained && fdit_checkpoint_has(j->in, j->params.list[i].name))
            TRY(fdit_checkpoint_check_shape(ctx, j->in, &j->params.list[i]));
out:
    return status;
}

static enum fdit_status open_files(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_convert_options *o = j->o;
    int extra;
    const struct fdit_input sources[] = { { .option = "IN", .path = o->in },
                                          { .option = "--merge", .path = o->merge },
                                          { .option = "--base", .path = o->base } };
    TRY(fdit_target_check(ctx, "OUT", o->out, sources, 3));
    TRY(fdit_checkpoint_open(ctx, o->in, o->values, &j->in));
    fdit_checkpoint_ask_objective(j->in, o->objective, true);
    if (o->values_asked && !o->merge)
        TRY(fdit_checkpoint_check_kind(ctx, j->in, o->values));
    const char *format = fdit_checkpoint_meta(j->in, "format");
    if (fdit_checkpoint_is_peft(j->in)) {
        TRY(open_peft(ctx, j));
        goto out;
    }
    bool ours = format && (!strcmp(format, FDIT_DELTA_FORMAT) || !strcmp(format, "finediffusion-checkpoint"));
    if (ours)
        TRY(fdit_delta_check(ctx, j->in));
    j->report->delta = o->base || (ours && !fdit_checkpoint_has(j->in, "x_embedder.proj.weight"));
    if (j->report->delta && o->merge)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--merge wants a whole model as IN; %s is %s", o->in,
             o->base ? "to become a delta by --base" : "a delta itself");
    if (j->report->delta && !o->base)
        TRY(fdit_delta_config(ctx, j->in, &j->config));
    else
        TRY(fdit_checkpoint_config(ctx, j->in, o->model, &j->config));
    if (o->merge) {
        TRY(fdit_checkpoint_open(ctx, o->merge, o->values, &j->merge));
        if (o->values_asked)
            TRY(fdit_checkpoint_check_kind(ctx, j->merge, o->values));
        TRY(fdit_delta_check(ctx, j->merge));
        TRY(fdit_delta_match(ctx, j->merge, j->in));
        TRY(fdit_delta_match_objective(ctx, j->merge, o->in, &j->config));
        TRY(check_base(ctx, j));
        int64_t rows = fdit_checkpoint_dim(j->merge, table_name, 0);
        if (rows > 0 && rows <= INT32_MAX)
            j->config.table_rows = (int)rows;
        if (fdit_checkpoint_has(j->merge, FDIT_PARAM_GUIDANCE))
            j->config.guidance_input = true;
    }
    if (j->config.guidance_input && (o->torch_names || o->peft))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--names %s: %s takes a guidance scale as an input (w_embed.*), which it has no place for; "
             "leave the "
             "option out",
             o->peft ? "peft" : "torch", o->merge ? o->merge : o->in);
    TRY(fdit_params_init(ctx, &j->config, j->mask, &j->params));
    TRY(fdit_checkpoint_check(ctx, j->in, &j->params, j->config.depth, &extra));
    for (size_t i = 0; i < fdit_checkpoint_tensors(j->in); i++)
        j->report->left_out += !fdit_checkpoint_in_weights(j->in, i);
out:
    return status;
}

/* ------------------------------------------------------------------ against a base */

/* Root mean squares of b and of a - b; whether all bits agree. */
static enum fdit_status compare(fdit_context *ctx, const struct job *j, const struct fdit_param *p, float *a,
                                float *b, double *rms, double *difference, bool *same)
{
    enum fdit_status status = FDIT_OK;
    double squares = 0, differences = 0;
    *same = true;
    for (size_t first = 0; first < p->count; first += PIECE) {
        size_t n = p->count - first < PIECE ? p->count - first : PIECE;
        TRY(fdit_checkpoint_read_part(ctx, j->in, p, first, n, a));
        TRY(fdit_checkpoint_read_part(ctx, j->base, p, first, n, b));
        *same = *same && !memcmp(a, b, n * sizeof *a);
        for (size_t i = 0; i < n; i++) {
            double d = (double)a[i] - b[i];
            squares += (double)b[i] * b[i];
            differences += d * d;
        }
    }
    *rms = sqrt(squares / (double)p->count);
    *difference = sqrt(differences / (double)p->count);
out:
    return status;
}

static enum fdit_status check_frozen(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_convert_report *r = j->report;
    float *a = NULL, *b = NULL;
    TRY(fdit_alloc(ctx, PIECE, sizeof *a, &a));
    TRY(fdit_alloc(ctx, PIECE, sizeof *b, &b));
    for (int i = 0; i < j->params.n; i++) {
        const struct fdit_param *p = &j->params.list[i];
        double rms, difference;
        bool same;
        if (p->trained || (p->kind == FDIT_PARAM_NORM && !fdit_checkpoint_has(j->in, p->name) &&
                           !fdit_checkpoint_has(j->base, p->name)))
            continue;
        TRY(compare(ctx, j, p, a, b, &rms, &difference, &same));
        r->same += same;
        r->rounded += !same;
        double relative = same ? 0 : difference / (rms > 1e-30 ? rms : 1e-30);
        if (relative > r->worst) {
            r->worst = relative;
            snprintf(r->worst_name, sizeof r->worst_name, "%s", p->name);
        }
        if (relative > TOLERANCE && !j->o->force)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: %s differs from %s by %.3g of its size, more than the %g of "
                 "rounding: it was trained, too; name what was trained by --tune, "
                 "keep the whole model, or --force to drop the difference",
                 j->o->in, p->name, j->o->base, relative, TOLERANCE);
    }
out:
    fdit_free(a);
    fdit_free(b);
    return status;
}

static enum fdit_status same_model(fdit_context *ctx, const struct job *j)
{
    static const char patch[] = "x_embedder.proj.weight";
    const struct fdit_model_config *c = &j->config;
    const struct {
        const char *what;
        int64_t in, base;
    } sizes[] = { { "width", c->width, fdit_checkpoint_dim(j->base, patch, 0) },
                  { "channels", c->channels, fdit_checkpoint_dim(j->base, patch, 1) },
                  { "patch", c->patch, fdit_checkpoint_dim(j->base, patch, 2) },
                  { "depth", c->depth, fdit_checkpoint_depth(j->base) } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].base > 0 && sizes[i].in != sizes[i].base)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                             "%s and %s are of different models: %s %lld and %lld; there is no "
                             "delta between them",
                             j->o->in, j->o->base, sizes[i].what, (long long)sizes[i].in,
                             (long long)sizes[i].base);
    return FDIT_OK;
}

/* The base of a fine-tuned model: of the same sizes, and frozen weights are its own. */
static enum fdit_status compare_base(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model_config base = { 0 };
    const struct fdit_model_config *c = &j->config;
    char said[96];
    TRY(fdit_checkpoint_open(ctx, j->o->base, FDIT_VALUES_EMA, &j->base));
    TRY(fdit_delta_refuse_as_base(ctx, j->base));
    TRY(same_model(ctx, j));
    snprintf(said, sizeof said, "%d,%d,%d,%d", c->width, c->depth, c->heads, c->patch);
    fdit_checkpoint_ask_objective(j->base, fdit_objective_at(c->objective), true);
    TRY(fdit_checkpoint_config(ctx, j->base, said, &base));
    if (base.channels != c->channels || base.input_size != c->input_size || base.mlp_ratio != c->mlp_ratio)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s is a model for %dx%dx%d, %s for %dx%dx%d: no delta between them",
             j->o->in, c->input_size, c->input_size, c->channels, j->o->base, base.input_size,
             base.input_size, base.channels);
    TRY(check_frozen(ctx, j));
out:
    return status;
}

static enum fdit_status open_base(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_model_config *c = &j->config;
    const char *carried = fdit_checkpoint_meta(j->in, "taxonomy");
    const bool peft = fdit_checkpoint_is_peft(j->in);
    if (j->o->taxonomy && c->table_rows != j->o->taxonomy_rows && c->table_rows != j->o->taxonomy_rows + 1)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: its class table has %d rows, the taxonomy %d classes and groups; give the "
             "taxonomy and --ranks that it was trained with (where groups of one name are told apart and "
             "were one when it was trained, write the line \"#independent\" into the taxonomy)",
             j->o->in, c->table_rows, j->o->taxonomy_rows);
    for (int i = 0; i < j->params.n; i++)
        if (j->params.list[i].trained && !fdit_checkpoint_has(j->in, j->params.list[i].name) &&
            !(peft && j->params.list[i].kind == FDIT_PARAM_TABLE))
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: has no %s, which --tune %s trains%s", j->o->in,
                 j->params.list[i].name, j->mask->name,
                 peft ? "; adapters on some of the layers only are not supported"
                      : "; name by --tune what was trained");
    if (!peft)
        TRY(compare_base(ctx, j));
    TRY(fdit_checkpoint_fingerprint(ctx, j->base, &j->config, j->mask, &j->fingerprint));
    if (!j->o->taxonomy && !carried)
        fdit_log(ctx, FDIT_LOG_WARNING,
                 "%s does not name its classes, so the delta will not either; --taxonomy FILE says them",
                 j->o->in);
    TRY(fdit_strf(ctx, &j->train, "{\"tune\":\"%s\"}", j->mask->name));
out:
    return status;
}

/* ------------------------------------------------------------------ what goes out */

static bool is_written(const struct job *j, const struct fdit_param *p)
{
    bool there = fdit_checkpoint_has(j->in, p->name) || (j->merge && fdit_checkpoint_has(j->merge, p->name));
    if (j->base)
        return p->trained;
    if (j->report->delta)
        return there;
    return there || !j->o->torch_names || p->kind != FDIT_PARAM_NORM;
}

static enum fdit_status choose(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_convert_report *r = j->report;
    TRY(fdit_alloc(ctx, (size_t)j->params.n, sizeof *j->pieces, &j->pieces));
    for (int pass = 0; pass < 2; pass++) /* the wider type first keeps every tensor aligned */
        for (int i = 0; i < j->params.n; i++) {
            const struct fdit_param *p = &j->params.list[i];
            if ((p->kind == FDIT_PARAM_POS) != (pass == 0) || !is_written(j, p))
                continue;
            bool merged =
                j->merge && (fdit_checkpoint_has(j->merge, p->name) || fdit_merge_changes(j->merge, p));
            r->from_delta += merged;
            r->norms_added += !merged && p->kind == FDIT_PARAM_NORM && !fdit_checkpoint_has(j->in, p->name);
            j->pieces[j->n_pieces++] = (struct piece){ j, p };
        }
    r->tensors = j->n_pieces;
out:
    return status;
}

static enum fdit_status put_meta(fdit_context *ctx, const struct job *j, struct fdit_st_writer *w)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_checkpoint *from = j->merge ? j->merge : j->in;
    const bool delta = j->report->delta;
    char *model = NULL;
    TRY(fdit_config_to_json(ctx, &j->config, &model));
    const struct {
        const char *key, *value;
    } entries[] = {
        { "format", delta ? FDIT_DELTA_FORMAT : "finediffusion-model" },
        { "version", FDIT_FILE_VERSION },
        { "model", model },
        { "taxonomy", j->o->taxonomy ? j->o->taxonomy : fdit_checkpoint_meta(from, "taxonomy") },
        { "guide", j->o->guide ? j->o->guide : fdit_checkpoint_meta(from, "guide") },
        { "flip", fdit_checkpoint_meta(from, "flip") },
        { "train",
          j->train && !fdit_checkpoint_meta(from, "train") ? j->train : fdit_checkpoint_meta(from, "train") },
        { "steps", fdit_checkpoint_meta(from, "steps") },
        { "validation", fdit_checkpoint_meta(from, "validation") },
        { "base", j->fingerprint ? j->fingerprint
                  : delta        ? fdit_checkpoint_meta(from, "base")
                                 : NULL },
    };
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        if (entries[i].value)
            TRY(fdit_st_writer_meta(ctx, w, entries[i].key, entries[i].value));
out:
    fdit_free(model);
    return status;
}

static void shape_of(const struct fdit_param *p, int64_t shape[4])
{
    for (int k = 0; k < p->rank; k++)
        shape[k] = p->shape[k];
}

/* Pieces first..last as one safetensors file. */
static enum fdit_status save_safetensors(fdit_context *ctx, struct job *j, size_t first, size_t last,
                                         const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_st_writer *w = NULL;
    int64_t shape[4];
    TRY(fdit_st_writer_new(ctx, &w));
    TRY(put_meta(ctx, j, w));
    for (size_t i = first; i < last; i++) {
        const struct fdit_param *p = j->pieces[i].p;
        shape_of(p, shape);
        TRY(fdit_st_writer_fill(ctx, w, p->name, type_of(j, p), p->rank, shape, fill_part, &j->pieces[i]));
    }
    j->report->bytes += fdit_st_writer_bytes(w);
    j->report->files++;
    TRY(fdit_st_writer_save(ctx, w, path));
out:
    fdit_st_writer_free(w);
    return status;
}

static enum fdit_status save_torch(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_writer *w = NULL;
    int64_t shape[4];
    TRY(fdit_pt_writer_new(ctx, &w));
    for (size_t i = 0; i < j->n_pieces; i++) {
        const struct fdit_param *p = j->pieces[i].p;
        shape_of(p, shape);
        TRY(fdit_pt_writer_add(ctx, w, p->name, type_of(j, p), p->rank, shape));
    }
    if (fdit_objective_at(j->config.objective)->like_ddpm) {
        TRY(fdit_pt_writer_arg(ctx, w, "path_type", "Linear"));
        TRY(fdit_pt_writer_arg(ctx, w, "prediction", "velocity"));
    }
    j->report->files = 1;
    TRY(fdit_pt_writer_save(ctx, w, j->o->out, fill_whole, j, &j->report->bytes));
out:
    fdit_pt_writer_free(w);
    return status;
}

/* ------------------------------------------------------------------ shards */

static uint64_t bytes_of(const struct job *j, size_t i)
{
    const struct fdit_param *p = j->pieces[i].p;
    return (uint64_t)p->count * fdit_st_type_bytes(type_of(j, p));
}

/* The end of the shard that begins at piece i. */
static size_t shard_end(const struct job *j, size_t i)
{
    uint64_t used = bytes_of(j, i++);
    while (i < j->n_pieces && used + bytes_of(j, i) <= j->o->shard_bytes)
        used += bytes_of(j, i++);
    return i;
}

/* Shards get the names that the index will say when all of them are there; *written: how many are, under the
 * one stem or the other. */
static enum fdit_status write_shards(fdit_context *ctx, struct job *j, const struct fdit_shards_stem *stem,
                                     size_t n, size_t *written)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_json index = { 0 };
    char *path = NULL, *text = NULL;
    uint64_t total = 0;
    fdit_json_begin(&index);
    json_t *about = fdit_json_put_object(&index, NULL, "metadata");
    json_t *map = fdit_json_put_object(&index, NULL, "weight_map");
    for (size_t i = 0, end; i < j->n_pieces; i = end) {
        end = shard_end(j, i);
        fdit_free(path);
        path = NULL;
        TRY(fdit_shards_name(ctx, stem->unfinished, *written + 1, n, &path));
        TRY(save_safetensors(ctx, j, i, end, path));
        ++*written;
        fdit_free(path);
        path = NULL;
        TRY(fdit_shards_name(ctx, stem->final, *written, n, &path));
        for (size_t m = i; m < end; m++) {
            total += bytes_of(j, m);
            fdit_json_put_text(&index, map, j->pieces[m].p->name, fdit_path_base(path));
        }
    }
    fdit_json_put_int(&index, about, "total_size", (int64_t)total);
    TRY(fdit_json_end(ctx, &index, j->o->out, JSON_INDENT(1), &text));
    TRY(fdit_shards_publish(ctx, stem, n));
    TRY(fdit_file_write(ctx, j->o->out, true, text, strlen(text)));
out:
    fdit_json_fini(&index);
    fdit_free(path);
    fdit_free(text);
    return status;
}

static enum fdit_status save_shards(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_shards old = { 0 };
    struct fdit_shards_stem stem = { 0 };
    struct fdit_folder_lock lock = FDIT_FOLDER_UNLOCKED;
    char *folder = NULL;
    size_t n = 0, written = 0;
    TRY(fdit_path_folder(ctx, j->o->out, &folder));
    TRY(fdit_folder_lock(ctx, folder, FDIT_FOLDER_ALONE,
                         &lock)); /* the names of the shards are those of a set */
    for (size_t i = 0; i < j->n_pieces; i = shard_end(j, i))
        n++;
    TRY(fdit_shards_read(ctx, j->o->out, &old));
    TRY(fdit_shards_stem(ctx, j->o->out, n, &stem));
    status = write_shards(ctx, j, &stem, n, &written);
    if (status != FDIT_OK)
        fdit_shards_drop(&stem, written, n);
    TRY(status);
    /* The new set is whole: what cannot be taken away beside it is not a failure. */
    if (fdit_shards_clean(ctx, j->o->out, &old) != FDIT_OK)
        fdit_log(ctx, FDIT_LOG_WARNING, "%s is written; shards of an older one may be left beside it",
                 j->o->out);
out:
    fdit_folder_unlock(&lock);
    fdit_free(folder);
    fdit_shards_fini(&old);
    fdit_shards_stem_fini(&stem);
    return status;
}

/* The folder of a PEFT adapter, its description first: it is complete when the numbers are there. */
static enum fdit_status save_peft(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_st_writer *w = NULL;
    struct fdit_folder_lock lock = FDIT_FOLDER_UNLOCKED;
    char *config = NULL, *weights = NULL, **names = NULL;
    bool mapped = false;
    int64_t shape[4];
    if (!j->report->delta || !j->config.adapter.rank)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--names peft: %s does not hold an adapter; give the delta of train --tune lora:R", j->o->in);
    TRY(fdit_folder_lock(ctx, j->o->out, FDIT_FOLDER_ALONE, &lock));
    TRY(fdit_path_join(ctx, j->o->out, FDIT_PEFT_CONFIG, &config));
    TRY(fdit_path_join(ctx, j->o->out, FDIT_PEFT_WEIGHTS, &weights));
    j->report->replaced = fdit_is_file(weights);
    TRY(fdit_peft_write(ctx, config, &j->config.adapter, fdit_checkpoint_has(j->in, "x_embedder.proj.bias"),
                        fdit_checkpoint_has(j->in, "blocks.0.norm1.weight")));
    TRY(fdit_alloc(ctx, j->n_pieces, sizeof *names, &names));
    TRY(fdit_st_writer_new(ctx, &w));
    TRY(fdit_st_writer_meta(ctx, w, "format", "pt"));
    for (size_t i = 0; i < j->n_pieces; i++) {
        const struct fdit_param *p = j->pieces[i].p;
        if (fdit_param_of_class_map(p->name)) { /* PEFT has no place for it; the table holds its rows */
            mapped = true;
            continue;
        }
        shape_of(p, shape);
        TRY(fdit_peft_theirs(ctx, p->name, &names[i]));
        TRY(fdit_st_writer_fill(ctx, w, names[i], type_of(j, p), p->rank, shape, fill_part, &j->pieces[i]));
    }
    j->report->bytes = fdit_st_writer_bytes(w);
    j->report->files = 1;
    TRY(fdit_st_writer_save(ctx, w, weights));
    if (mapped)
        fdit_log(
            ctx, FDIT_LOG_WARNING,
            "%s: the class table has the rows that the map of class vectors gives, and the map itself is not "
            "in it: classes that were not trained cannot be drawn with it",
            j->o->out);
out:
    fdit_st_writer_free(w);
    for (size_t i = 0; names && i < j->n_pieces; i++)
        fdit_free(names[i]);
    if (status != FDIT_OK)
        fdit_folder_remove_made(&lock);
    fdit_folder_unlock(&lock);
    fdit_free(names);
    fdit_free(config);
    fdit_free(weights);
    return status;
}

static enum fdit_status save(fdit_context *ctx, struct job *j)
{
    if (j->o->peft)
        return save_peft(ctx, j);
    static const char *const torch[] = { ".pt", ".pth", ".bin", ".ckpt" };
    j->report->replaced = fdit_is_file(j->o->out);
    bool safe = fdit_path_has_suffix(j->o->out, ".safetensors"),
         shards = fdit_path_has_suffix(j->o->out, ".index.json"), is_torch = j->o->torch_names;
    for (size_t i = 0; i < sizeof torch / sizeof *torch; i++)
        is_torch = is_torch || fdit_path_has_suffix(j->o->out, torch[i]);
    if (j->report->delta && ((is_torch && !safe) || shards))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s: a delta is one safetensors file; name it so, or apply it with --merge first",
                         j->o->out);
    if (!safe && !shards && !is_torch && fdit_file_exists(j->o->out) && !fdit_is_file(j->o->out))
        safe = true; /* a device or pipe may be called anything */
    if (!safe && !shards && !is_torch)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s: its ending says nothing; give *.safetensors, *.index.json (shards of "
                         "it), or *.pt, *.pth, "
                         "*.bin or *.ckpt (torch)",
                         j->o->out);
    if (shards && fdit_path_has_suffix(j->o->out, ".bin.index.json"))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s: shards are written as safetensors; call the index *.safetensors.index.json",
                         j->o->out);
    if (shards)
        return save_shards(ctx, j);
    return is_torch && !safe ? save_torch(ctx, j) : save_safetensors(ctx, j, 0, j->n_pieces, j->o->out);
}

/* ------------------------------------------------------------------ all of it */

enum fdit_status fdit_convert(fdit_context *ctx, const struct fdit_convert_options *o,
                              struct fdit_convert_report *report)
{
    enum fdit_status status = FDIT_OK;
    struct job j = { .o = o, .report = report };
    *report = (struct fdit_convert_report){ 0 };
    j.mask = !o->base ? NULL : o->mask ? o->mask : fdit_mask_find("finediffusion");
    TRY(open_files(ctx, &j));
    if (o->base)
        TRY(open_base(ctx, &j));
    TRY(choose(ctx, &j));
    TRY(save(ctx, &j));
out:
    fdit_free(j.pieces);
    fdit_free(j.fingerprint);
    fdit_free(j.train);
    fdit_params_fini(&j.params);
    fdit_checkpoint_close(j.base);
    fdit_checkpoint_close(j.merge);
    fdit_checkpoint_close(j.in);
    return status;
}
