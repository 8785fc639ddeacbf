/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/mem.h"
#include "train/batch.h"
#include "train/coder.h"
#include "train/data.h"
#include "train/fleet.h"
#include "train/folder.h"
#include "train/journal.h"
#include "train/pace.h"
#include "train/preview.h"
#include "train/state.h"
#include "train/step.h"
#include "train/table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { MOST_VALIDATION = 1024 };

/* Everything a run holds, in the order of its making. */
struct run {
    const struct fdit_train_options *o, *made_by; /* made_by: without what leaves the result as it is */
    const struct fdit_train_hooks *hooks;
    fdit_device *dev;
    struct fdit_checkpoint *base, *start; /* start: a delta to begin from */
    struct fdit_model_config config;
    struct fdit_taxonomy *taxonomy, *known; /* known: the classes of `start` */
    struct fdit_coder *coder; /* NULL: none */
    struct fdit_train_data *data, *val_data;
    uint32_t *train_ids, *val_ids; /* NULL: all */
    size_t n_train, n_val;
    int32_t *ranks;
    struct fdit_row_rule rule;
    int32_t guide_rank;
    struct fdit_model *model;
    struct fdit_step *step;
    struct fdit_fleet *fleet;      /* model and step, and those of the other devices */
    int round;                     /* pictures of a pass on all devices */
    struct fdit_preview *preview;
    struct fdit_loader *loader;
    struct fdit_journal *journal;
    char *taxonomy_json, *options_json, *fingerprint, *guide, *train_json;
    float *noise;                  /* [batch, item] */
    float *val_x;                  /* [batch, item] */
    float *latents;                /* [batch, item] of pictures encoded on the way */
    float *picture;                /* for validation */
    int32_t *t, *rows;
    size_t item;
    int64_t total;                 /* steps */
    struct fdit_train_position at;
    int64_t resumed_at;            /* the step that the run began at */
    struct fdit_train_progress last;
    bool pending;                  /* a report is on its way */
    struct fdit_run_folder folder;
    bool kept;                     /* there is a checkpoint or a log worth keeping in the folder */
    double pending_lr, pending_seconds;
    struct fdit_pace pace;
    struct fdit_train_summary *summary;
};

/* ------------------------------------------------------------------ opening */

static enum fdit_status open_model_files(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    if (o->from_scratch) {
        r->config.input_size = o->size ? o->size : 32;
        r->config.channels = o->channels ? o->channels : 4;
        r->config.kind = o->classifier ? FDIT_MODEL_CLASSIFIER : FDIT_MODEL_DIT;
        TRY(fdit_config_parse(ctx, o->model, &r->config));
    } else {
        TRY(fdit_checkpoint_open(ctx, o->base, FDIT_VALUES_EMA, &r->base));
        TRY(fdit_checkpoint_config(ctx, r->base, o->model, &r->config));
        if (o->size && o->size != r->config.input_size)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "--size %d: %s is made for %d; leave the option out", o->size,
                 o->base, r->config.input_size);
    }
    if (o->delta) {
        TRY(fdit_checkpoint_open(ctx, o->delta, FDIT_VALUES_EMA, &r->start));
        TRY(fdit_delta_check(ctx, r->start));
        const char *json = fdit_checkpoint_meta(r->start, "taxonomy");
        if (json)
            TRY(fdit_taxonomy_parse(ctx, json, strlen(json), o->delta, NULL, &r->known));
    }
    TRY(fdit_coder_open(ctx, o, &r->config, &r->coder));
    if (!r->coder && r->config.channels != 1 && r->config.channels != 3 && !fdit_cache_is(o->data))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "the model has %d channels: it works on latents; make them of %s with 'finediffusion encode' "
             "and give that as --data, or give --vae FILE to encode at every step",
             r->config.channels, o->data);
out:
    return status;
}

/* Data or validation data: a cache, or pictures of the size that the model or the autoencoder takes. */
static enum fdit_status open_one(fdit_context *ctx, struct run *r, const char *path,
                                 const struct fdit_taxonomy *taxonomy, bool allow_missing,
                                 struct fdit_train_data **out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    struct fdit_train_data_options d = { .path = path,
                                         .taxonomy = taxonomy,
                                         .ranks = o->ranks,
                                         .size = r->config.input_size,
                                         .channels = r->config.channels,
                                         .latent_size = r->config.input_size,
                                         .latent_channels = r->config.channels,
                                         .fit = o->fit,
                                         .flip = o->flip,
                                         .allow_missing = allow_missing,
                                         .known = r->known };
    if (r->coder) {
        d.size = fdit_coder_size(r->coder);
        d.channels = fdit_coder_channels_in(r->coder);
    }
    TRY(fdit_train_data_open(ctx, &d, out));
out:
    return status;
}

static enum fdit_status open_data(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    if (o->taxonomy)
        TRY(fdit_taxonomy_load(ctx, o->taxonomy, o->ranks, &r->taxonomy));
    TRY(open_one(ctx, r, o->data, r->taxonomy, false, &r->data));
    const struct fdit_taxonomy *tax = fdit_train_data_taxonomy(r->data);
    char *end = NULL;
    double fraction = o->validation ? strtod(o->validation, &end) : 0;
    if (o->validation && *o->validation && !*end) {
        TRY(fdit_train_data_split(ctx, r->data, fraction, o->seed, &r->train_ids, &r->n_train, &r->val_ids,
                               &r->n_val));
        r->val_data = r->data;
    } else if (o->validation) {
        TRY(open_one(ctx, r, o->validation, tax, true, &r->val_data));
        r->n_val = fdit_train_data_size(r->val_data);
    }
    if (r->coder)
        TRY(fdit_coder_match(ctx, r->coder, r->data));
    if (!r->train_ids)
        r->n_train = fdit_train_data_size(r->data);
    r->rule = (struct fdit_row_rule){ .taxonomy = tax, .drop = o->drop, .drop_prob = o->drop_prob };
    r->guide_rank = -1;
    if (o->classifier) {
        r->rule.drop_prob = 0;
        r->config.rows = fdit_taxonomy_n_classes(tax);
        TRY(fdit_taxonomy_to_json(ctx, tax, &r->taxonomy_json));
        return FDIT_OK;
    }
    if (o->drop == FDIT_DROP_EMPTY) {
        r->rule.empty_row = fdit_taxonomy_n_rows(tax);
        TRY(fdit_strdup(ctx, "empty", &r->guide));
    } else if (o->drop_prob > 0) {
        if (fdit_taxonomy_n_ranks(tax) == 0)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "%s has classes but no superclasses: nest the class folders, give --taxonomy FILE, or use "
                 "--label-drop empty", o->data);
        TRY(fdit_taxonomy_superclass(ctx, tax, o->superclass, &r->guide_rank));
        if (o->superclass_train) {
            TRY(fdit_taxonomy_ranks(ctx, tax, o->superclass_train, &r->ranks, &r->rule.n_ranks));
        } else {
            TRY(fdit_alloc(ctx, 1, sizeof *r->ranks, &r->ranks));
            r->ranks[0] = r->guide_rank;
            r->rule.n_ranks = 1;
        }
        r->rule.ranks = r->ranks;
        TRY(fdit_strdup(ctx, fdit_taxonomy_rank_name(tax, r->guide_rank), &r->guide));
    } else {
        TRY(fdit_strdup(ctx, "none", &r->guide));
    }
    r->config.rows = fdit_taxonomy_n_rows(tax) + (o->drop == FDIT_DROP_EMPTY ? 1 : 0);
    TRY(fdit_taxonomy_to_json(ctx, tax, &r->taxonomy_json));
out:
    return status;
}

static struct fdit_loader_options loader_options(const struct run *r)
{
    return (struct fdit_loader_options){ .batch = (size_t)r->round,
                                         .group = (size_t)r->round * (size_t)r->o->accumulate,
                                         .seed = r->o->seed,
                                         .start = r->at.position,
                                         .cache_bytes = r->o->cache_bytes,
                                         .workers = r->o->workers,
                                         .flip = fdit_train_data_flip(r->data),
                                         .skip_bad = r->o->skip_bad };
}

/* What a delta changed and this run does not train would be in neither the base nor the result. */
static enum fdit_status check_start(fdit_context *ctx, const struct run *r)
{
    const struct fdit_params *ps = &r->model->params;
    for (int i = 0; r->start && i < ps->n; i++) {
        const struct fdit_param *p = &ps->list[i];
        if (!p->trained && p->kind != FDIT_PARAM_POS && fdit_checkpoint_has(r->start, p->name))
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                             "--delta %s holds %s, which --tune %s does not train and the new delta would "
                             "lack; train with the --tune of that delta, or put it into the base with "
                             "'finediffusion convert --merge'", r->o->delta, p->name, r->o->tune);
    }
    return FDIT_OK;
}

/* The plans of the other devices. */
static enum fdit_status check_replicas(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    for (int i = 1; i < fdit_fleet_size(r->fleet); i++) {
        struct fdit_model *m = fdit_fleet_model(r->fleet, i);
        m->plan.title = m->dev->info.name;
        if (r->hooks && r->hooks->on_plan)
            r->hooks->on_plan(r->hooks->user, &m->plan);
        r->summary->plan_bytes += fdit_plan_device_bytes(&m->plan);
        TRY(fdit_plan_check(ctx, &m->plan, m->dev, r->o->memory ? r->o->memory : m->dev->info.memory,
                            "use a smaller --batch, --recompute branches or block, or --accumulate"));
    }
out:
    return status;
}

/* Also a cache of pixels; latents of 1 or 3 channels are no pictures. */
static bool works_on_pixels(const struct run *r)
{
    const struct fdit_cache_info *cache = fdit_train_data_cache(r->data);
    return !r->coder && (r->config.channels == 1 || r->config.channels == 3) &&
           !(cache && cache->kind == FDIT_CACHE_MOMENTS);
}

static enum fdit_status plan_model(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    struct fdit_model_options m = { .mask = fdit_mask_find(o->tune),
                                    .training = true,
                                    .ema = true,
                                    .batch = o->batch,
                                    .recompute = o->recompute,
                                    .activations = o->activations,
                                    .storage = o->storage };
    struct fdit_loader_options l = loader_options(r);
    r->item = (size_t)r->config.channels * (size_t)r->config.input_size * (size_t)r->config.input_size;
    TRY(fdit_model_new(ctx, r->dev, &r->config, &m, &r->model));
    TRY(check_start(ctx, r));
    TRY(fdit_step_new(ctx, r->model, o->accumulate, &r->step));
    TRY(fdit_fleet_new(ctx, r->model, r->step, o->accumulate, &r->fleet));
    r->model->plan.title = r->dev->next ? r->dev->info.name : NULL;
    bool due = o->preview_every && o->preview_every <= r->total;
    if (due && !o->classifier && (fdit_coder_decodes(r->coder) || works_on_pixels(r)))
        TRY(fdit_preview_new(ctx, r->model, r->coder, r->rule.taxonomy, r->guide_rank,
                             o->drop == FDIT_DROP_EMPTY ? r->rule.empty_row : -1, o->preview_guidance,
                             &r->preview));
    TRY(fdit_plan_add(ctx, &r->model->plan, FDIT_PLAN_HOST, NULL,
                      fdit_loader_bytes(r->n_train, fdit_train_data_item_bytes(r->data),
                                        fdit_train_data_item(r->data), &l), "pictures and batches"));
    if (r->coder)
        TRY(fdit_coder_plan(ctx, r->coder, r->model, r->preview != NULL,
                            o->memory ? o->memory : r->dev->info.memory));
    TRY(fdit_plan_add_process(ctx, &r->model->plan, r->dev));
    if (r->hooks && r->hooks->on_plan)
        r->hooks->on_plan(r->hooks->user, &r->model->plan);
    r->summary->process_plan_bytes = fdit_plan_process_bytes(&r->model->plan);
    r->summary->plan_bytes = fdit_plan_device_bytes(&r->model->plan);
    r->summary->trained = fdit_params_trained(&r->model->params);
    r->summary->total = fdit_params_total(&r->model->params);
    r->summary->n_classes = (size_t)fdit_taxonomy_n_classes(r->rule.taxonomy);
    r->summary->n_rows = (size_t)r->config.rows;
    r->summary->n_pictures = r->n_train;
    TRY(fdit_plan_check(ctx, &r->model->plan, r->dev, o->memory ? o->memory : r->dev->info.memory,
                        "use a smaller --batch, --recompute branches or block, or --accumulate"));
    TRY(check_replicas(ctx, r));
out:
    return status;
}

/* The frozen weights of the other devices; what is trained comes from the first by fdit_fleet_share. */
static enum fdit_status load_replicas(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_checkpoint *files[2] = { r->start ? r->start : r->base, r->base };
    TRY(fdit_fleet_allocate(ctx, r->fleet));
    for (int i = 1; i < fdit_fleet_size(r->fleet); i++) {
        struct fdit_model *m = fdit_fleet_model(r->fleet, i);
        TRY(r->o->from_scratch ? fdit_model_init(ctx, m, r->o->seed)
                               : fdit_model_load(ctx, m, files, r->start ? 2 : 1, true, NULL));
    }
out:
    return status;
}

static enum fdit_status load_weights(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    struct fdit_load_report report = { 0 };
    TRY(fdit_model_allocate(ctx, r->model));
    fdit_step_bind(r->step);
    if (r->coder)
        TRY(fdit_coder_allocate(ctx, r->coder));
    if (r->preview)
        fdit_preview_bind(r->preview);
    if (o->from_scratch) {
        TRY(fdit_model_init(ctx, r->model, o->seed));
        return FDIT_OK;
    }
    struct fdit_checkpoint *files[2] = { r->start ? r->start : r->base, r->base };
    TRY(fdit_model_load(ctx, r->model, files, r->start ? 2 : 1, true, &report));
    if (report.norms_missing)
        fdit_log(ctx, FDIT_LOG_INFO,
                 "%s is a stock DiT without LayerNorm weights: %d scales and offsets start as 1 and 0",
                 o->base, report.norms_missing);
    TRY(fdit_table_start(ctx, r->model, o->table_init, r->base, r->rule.taxonomy, o->seed));
    if (r->start)
        TRY(fdit_table_take(ctx, r->model, r->start, r->known, r->rule.taxonomy));
    TRY(fdit_checkpoint_fingerprint(ctx, r->base, &r->model->config, r->model->options.mask,
                                    &r->fingerprint));
    if (r->start) {
        const char *wanted = fdit_checkpoint_meta(r->start, "base");
        if (wanted)
            TRY(fdit_fingerprint_compare(ctx, wanted, r->fingerprint, o->delta, o->base));
    }
out:
    return status;
}

/* ------------------------------------------------------------------ the folder of the run */

/* Before any work the folder is locked, so that what is seen in it stays true: one that is not empty needs
 * --resume, and --resume the same options. */
static enum fdit_status check_folder(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->made_by;
    char *path = NULL;
    uint8_t *text = NULL;
    size_t n;
    if (fdit_file_exists(o->out) && !fdit_is_folder(o->out))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--out %s is a file; give a folder", o->out);
    TRY(fdit_run_folder_init(ctx, o->out, &r->folder));
    TRY(fdit_path_join(ctx, o->out, "config.json", &path));
    if (!o->resume) {
        if (!r->folder.fresh)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "--out %s is not empty; continue that run with --resume or choose another folder",
                 o->out);
    } else if (fdit_is_file(path)) {
        TRY(fdit_file_read_all(ctx, path, (size_t)1 << 26, &text, &n));
        TRY(fdit_train_options_compare(ctx, path, (const char *)text, n, o));
    } else if (!r->folder.fresh) {
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--resume: %s holds no run (no config.json)", o->out);
    }
out:
    fdit_free(path);
    fdit_free(text);
    return status;
}

/* config.json first: a run that is killed here can be resumed, one that is killed before it begun again. */
static enum fdit_status make_folder(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    static const char *const names[] = { "checkpoints", "previews" };
    char *path = NULL, *text = NULL, *model = NULL;
    TRY(fdit_config_to_json(ctx, &r->config, &model));
    TRY(fdit_strf(ctx, &text,
                  "{\"format\":\"finediffusion-run\",\"version\":\"%s\",\"model\":%s,\"options\":%s,"
                  "\"steps\":%" PRId64 "}\n",
                  fdit_version(), model, r->options_json, r->total));
    TRY(fdit_path_join(ctx, r->o->out, "config.json", &path));
    TRY(fdit_file_write(ctx, path, true, text, strlen(text)));
    for (size_t i = 0; i < 2; i++) {
        fdit_free(path);
        TRY(fdit_path_join(ctx, r->o->out, names[i], &path));
        TRY(fdit_mkdirs(ctx, path));
        TRY(fdit_folder_clean(ctx, path, NULL));
    }
out:
    fdit_free(path);
    fdit_free(text);
    fdit_free(model);
    return status;
}

static struct fdit_delta_meta delta_meta(const struct run *r)
{
    return (struct fdit_delta_meta){ .taxonomy = r->taxonomy_json,
                                     .guide = r->guide,
                                     .flip = fdit_train_data_flip(r->data) ? "horizontal" : "none",
                                     .train = r->train_json,
                                     .fingerprint = r->fingerprint };
}

/* What of the options goes into files: no path, so that the same run gives the same bytes anywhere. */
static enum fdit_status make_train_json(fdit_context *ctx, struct run *r)
{
    struct fdit_train_options o = *r->made_by;
    o.base = o.base ? fdit_path_base(o.base) : NULL;
    o.delta = o.delta ? fdit_path_base(o.delta) : NULL;
    o.data = fdit_path_base(o.data);
    o.validation = o.validation ? fdit_path_base(o.validation) : NULL;
    o.taxonomy = o.taxonomy ? fdit_path_base(o.taxonomy) : NULL;
    o.vae = o.vae ? fdit_path_base(o.vae) : NULL;
    return fdit_train_options_json(ctx, &o, &r->train_json);
}

static enum fdit_status resume(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    TRY(fdit_state_newest(ctx, r->o->out, &path));
    if (!path) {
        fdit_log(ctx, FDIT_LOG_INFO, "%s has no checkpoint yet: starting at step 0", r->o->out);
        goto out;
    }
    TRY(fdit_state_load(ctx, r->model, path, &r->at));
    fdit_log(ctx, FDIT_LOG_INFO, "resuming at step %" PRId64 " from %s", r->at.step, path);
out:
    fdit_free(path);
    return status;
}

/* ------------------------------------------------------------------ during the run */

/* Pictures that the model takes only after the autoencoder. */
static bool encoded_on_the_way(const struct run *r, const struct fdit_train_data *data)
{
    return r->coder && !fdit_train_data_is_cache(data);
}

static enum fdit_status validate(fdit_context *ctx, struct run *r, double *mse, double *vb)
{
    enum fdit_status status = FDIT_OK;
    size_t n = r->n_val < MOST_VALIDATION ? r->n_val : MOST_VALIDATION, b = (size_t)r->o->batch;
    const bool pictures = encoded_on_the_way(r, r->val_data);
    double sum_mse = 0, sum_vb = 0;
    float each_mse[64], each_vb[64];
    if (b > 64)
        b = 64;
    r->model->values = FDIT_VALUES_EMA;
    for (size_t done = 0; done < n;) {
        size_t k = n - done < b ? n - done : b;
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "stopped during the validation of step %" PRId64, r->at.step);
        for (size_t i = 0; i < k; i++) {
            size_t at = (done + i) * r->n_val / n, id = r->val_ids ? r->val_ids[at] : at;
            float *x = r->val_x + i * r->item;
            TRY(fdit_train_data_fixed(ctx, r->val_data, id, pictures ? r->picture : x));
            if (pictures)
                TRY(fdit_coder_encode(ctx, r->coder, r->picture, 0, id, x));
            r->rows[i] = fdit_train_data_label(r->val_data, id);
            fdit_draw_validation(done + i, r->item, &r->t[i], r->noise + i * r->item);
        }
        fdit_step_evaluate(r->step, &(struct fdit_micro){ .samples = (int)k, .x0 = r->val_x,
                                                          .noise = r->noise, .t = r->t,
                                                          .rows = r->rows, .loss_scale = 1 });
        TRY(fdit_step_sample_losses(ctx, r->step, 0, (int)k, each_mse, each_vb));
        for (size_t i = 0; i < k; i++) {
            sum_mse += (double)each_mse[i];
            sum_vb += (double)each_vb[i];
        }
        done += k;
    }
    *mse = sum_mse / (double)n;
    *vb = sum_vb / (double)n;
out:
    r->model->values = FDIT_VALUES_RAW;
    return status;
}

static enum fdit_status validate_and_log(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    if (!r->n_val)
        return FDIT_OK;
    TRY(validate(ctx, r, &r->summary->val_mse, &r->summary->val_vb));
    if (r->at.step == r->resumed_at && fdit_journal_validated(r->journal))
        return FDIT_OK; /* resumed behind the validation: its line stands in the log already */
    TRY(fdit_journal_validation(ctx, r->journal, r->at.step, r->summary->val_mse, r->summary->val_vb));
    if (r->hooks && r->hooks->on_validation)
        r->hooks->on_validation(r->hooks->user, r->at.step, r->summary->val_mse, r->summary->val_vb);
out:
    return status;
}

static enum fdit_status write_preview(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    uint8_t *png = NULL;
    size_t bytes;
    int width, height;
    TRY(fdit_strf(ctx, &path, "%s/previews/step-%" PRId64 ".png", r->o->out, r->at.step));
    TRY(fdit_preview_write(ctx, r->preview, path, &width, &height, &png, &bytes));
    TRY(fdit_journal_picture(ctx, r->journal, r->at.step, width, height, 3, png, bytes));
out:
    fdit_free(path);
    fdit_free(png);
    return status;
}

static enum fdit_status save(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_delta_meta meta = delta_meta(r);
    char *path = NULL;
    TRY(fdit_journal_sync(ctx, r->journal));
    TRY(fdit_state_path(ctx, r->o->out, r->at.step, &path));
    TRY(fdit_state_save(ctx, r->model, &meta, &r->at, path));
    r->kept = true;
    TRY(fdit_state_prune(ctx, r->o->out, r->o->keep));
    if (r->hooks && r->hooks->on_saved)
        r->hooks->on_saved(r->hooks->user, path);
out:
    fdit_free(path);
    return status;
}

/* The loss of the step whose report is on its way: logged, and checked. */
static enum fdit_status finish_report(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_step_losses losses;
    char *newest = NULL;
    if (!r->pending)
        return FDIT_OK;
    r->pending = false;
    TRY(fdit_fleet_report_end(ctx, r->fleet, &losses));
    double loss = losses.mse + losses.vb;
    if (!isfinite(loss) || !isfinite(losses.gradient_norm)) {
        const char *bad = NULL;
        TRY(fdit_step_find_bad(ctx, r->step, &bad));
        TRY(fdit_state_newest(ctx, r->o->out, &newest));
        r->kept = true; /* its log shows how it went */
        FAIL(ctx, FDIT_ERROR_NUMERIC,
             "step %" PRId64 ": %s is not finite (%s); the last good checkpoint is %s; use a lower --lr or "
             "--clip 1", r->last.step, isfinite(loss) ? "the gradient" : "the loss",
             bad ? bad : "no parameter shows it", newest ? newest : "none");
    }
    r->last.loss = loss;
    r->last.mse = losses.mse;
    r->last.vb = losses.vb;
    r->last.lr = r->pending_lr;
    r->last.seconds = r->pending_seconds;
    TRY(fdit_journal_step(ctx, r->journal,
                          &(struct fdit_journal_step){ .step = r->last.step, .loss = loss,
                                                       .mse = losses.mse, .vb = losses.vb,
                                                       .lr = r->pending_lr,
                                                       .images_per_second = r->last.images_per_second,
                                                       .seconds = r->pending_seconds }));
    if (r->hooks && r->hooks->on_step)
        r->hooks->on_step(r->hooks->user, &r->last);
out:
    fdit_free(newest);
    return status;
}

static enum fdit_status next_batch(fdit_context *ctx, struct run *r, struct fdit_batch *b)
{
    enum fdit_status status = fdit_loader_next(ctx, r->loader, b);
    bool bad = status == FDIT_ERROR_FORMAT || status == FDIT_ERROR_UNSUPPORTED;
    if (bad && !r->o->skip_bad)
        return fdit_fail(ctx, status, "%s; or leave out such pictures with --skip-bad",
                         fdit_context_message(ctx));
    return status;
}

static enum fdit_status one_step(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    int64_t n = r->at.step + 1;
    double lr = fdit_train_lr(o, n, fdit_pace_expected(&r->pace, fdit_clock_seconds(), r->at.step, r->total,
                                                       o->seconds));
    uint64_t position = r->at.position; /* becomes r->at's with the whole step: a stop may come between */
    for (int i = 0; i < o->accumulate; i++) {
        struct fdit_batch b;
        TRY(next_batch(ctx, r, &b));
        const float *x0 = b.x;
        if (encoded_on_the_way(r, r->data)) {
            size_t picture = fdit_train_data_item(r->data);
            for (size_t k = 0; k < b.n; k++)
                TRY(fdit_coder_encode(ctx, r->coder, b.x + k * picture, o->seed, b.position + k,
                                      r->latents + k * r->item));
            x0 = r->latents;
        }
        fdit_draw_batch(&r->rule, o->seed, b.position, b.labels, b.n, r->item, r->t, r->rows, r->noise);
        if (o->classifier && o->shift) {
            fdit_shift_batch(o->seed, b.position, b.x, b.n, r->config.channels, r->config.input_size,
                             o->shift, r->noise);
            x0 = r->noise;
        }
        TRY(fdit_fleet_micro(ctx, r->fleet,
                             &(struct fdit_micro){ .samples = (int)b.n, .x0 = x0, .noise = r->noise,
                                                   .t = r->t, .rows = r->rows, .first = i == 0, .index = i,
                                                   .loss_scale = 1.0 / (r->round * o->accumulate) }));
        position = b.next;
    }
    TRY(fdit_fleet_update(ctx, r->fleet,
                          &(struct fdit_optimiser){ .lr = lr, .beta1 = o->beta1, .beta2 = o->beta2,
                                                    .eps = 1e-8, .weight_decay = o->weight_decay,
                                                    .clip = o->clip,
                                                    .ema_decay = fdit_ema_decay(o->ema, o->ema_exact, n),
                                                    .n = n }));
    TRY(finish_report(ctx, r));
    double now = fdit_clock_seconds();
    r->at.step = n;
    r->at.position = position;
    r->last.step = n;
    r->last.steps = r->total;
    r->pending_lr = lr;
    r->pending_seconds = fdit_pace_spent(&r->pace, now);
    fdit_pace_step(&r->pace, now, n);
    r->last.images_per_second = r->pace.rate * r->round * o->accumulate;
    fdit_fleet_report_begin(r->fleet);
    r->pending = true;
    r->summary->images += (uint64_t)r->round * (uint64_t)o->accumulate;
    /* Several devices have waited for each other anyway; so the log is whole when one of them fails. The step
     * is done once the first device holds it, whether or not the others can be told. */
    if (fdit_fleet_size(r->fleet) > 1) {
        TRY(finish_report(ctx, r));
        TRY(fdit_fleet_share(ctx, r->fleet));
    }
out:
    return status;
}

static bool is_due(int64_t step, int64_t every)
{
    return every > 0 && step % every == 0;
}

/* What a step is looked at with, after its checkpoint: both may take long, and a stop request ends them
 * with FDIT_INTERRUPTED and nothing lost. A resumed run makes up for the validation. */
static enum fdit_status look(fdit_context *ctx, struct run *r, bool validation, bool preview)
{
    enum fdit_status status = FDIT_OK;
    if (validation)
        TRY(validate_and_log(ctx, r));
    if (preview)
        TRY(write_preview(ctx, r));
out:
    return status;
}

/* A device of several has failed: what the first one holds is the state after the last whole step, and worth
 * a checkpoint. Keeps the failure's status and message. */
static enum fdit_status save_after_failure(fdit_context *ctx, struct run *r, bool saved,
                                           enum fdit_status found)
{
    enum fdit_status status = FDIT_OK;
    char *message = NULL;
    if (fdit_fleet_size(r->fleet) == 1 || found != FDIT_ERROR_DEVICE || r->dev->status != FDIT_OK ||
        r->at.step == 0)
        return found;
    TRY(fdit_strdup(ctx, fdit_context_message(ctx), &message));
    if (!saved)
        TRY(save(ctx, r));
    status = fdit_fail(ctx, found, "%s; step %" PRId64 " is kept: go on with --resume and the other devices",
                       message, r->at.step);
out:
    fdit_free(message);
    return status;
}

static enum fdit_status loop(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    bool saved = true;
    fdit_pace_init(&r->pace, r->at.step);
    fdit_pace_start(&r->pace, fdit_clock_seconds(), r->at.step);
    while (r->at.step < r->total) {
        double spent = fdit_pace_spent(&r->pace, fdit_clock_seconds());
        if (fdit_stopped(ctx) || (o->seconds > 0 && spent >= o->seconds))
            break;
        int64_t before = r->at.step;
        status = one_step(ctx, r);
        if (status == FDIT_INTERRUPTED)
            break;
        if (status != FDIT_OK)
            status = save_after_failure(ctx, r, saved && r->at.step == before, status);
        TRY(status);
        saved = false;
        bool checkpoint = is_due(r->at.step, o->checkpoint_every) && r->at.step < r->total;
        bool preview = r->preview && is_due(r->at.step, o->preview_every);
        if (!checkpoint && !preview)
            continue;
        fdit_pace_pause(&r->pace, fdit_clock_seconds());
        TRY(finish_report(ctx, r));
        if (checkpoint) {
            TRY(save(ctx, r));
            saved = true;
        }
        status = look(ctx, r, checkpoint, preview);
        fdit_pace_start(&r->pace, fdit_clock_seconds(), r->at.step);
        if (status == FDIT_INTERRUPTED)
            break;
        TRY(status);
    }
    fdit_pace_pause(&r->pace, fdit_clock_seconds());
    TRY(finish_report(ctx, r));
    if (!saved)
        TRY(save(ctx, r));
    status = fdit_stopped(ctx) ? FDIT_INTERRUPTED : validate_and_log(ctx, r);
    if (status == FDIT_INTERRUPTED)
        FAIL(ctx, FDIT_INTERRUPTED,
             "stopped after step %" PRId64 " of %" PRId64 "; the same command with --resume continues",
             r->at.step, r->total);
out:
    return status;
}

static void summarise(struct run *r)
{
    struct fdit_train_summary *s = r->summary;
    struct rusage usage;
    const struct fdit_model_config *c = &r->config;
    double forward = fdit_config_forward_flops(c), n = fdit_config_tokens(c);
    double attention = 4 * n * n * c->width * c->depth;
    /* dX costs as much as the forward products, weight gradients once more, attention twice its forward */
    bool full = r->model && fdit_params_whole(&r->model->params);
    double each = forward + (forward - attention) * (full ? 2 : 1) + 2 * attention;
    s->step = r->at.step;
    s->steps = r->total;
    s->seconds = r->pace.spent;
    s->images_per_second = s->seconds > 0 ? (double)s->images / s->seconds : 0;
    s->gflops = s->images_per_second * each / 1e9;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        s->peak_bytes = (size_t)usage.ru_maxrss * 1024;
    if (r->loader) {
        struct fdit_loader_stats l = fdit_loader_stats(r->loader);
        s->stall_seconds = l.stall_seconds;
        s->skipped = l.skipped;
    }
    memcpy(s->counts, r->dev->counts, sizeof s->counts);
}

static enum fdit_status set_total(fdit_context *ctx, struct run *r)
{
    const struct fdit_train_options *o = r->o;
    size_t group = (size_t)r->round * (size_t)o->accumulate;
    if (group > r->n_train)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--batch %d times --accumulate %d%s is more than the %zu pictures of %s; use a "
                         "smaller batch", o->batch, o->accumulate,
                         o->devices > 1 ? " on several devices" : "", r->n_train, o->data);
    double per_epoch = (double)(r->n_train / group);
    r->total = o->steps > 0 ? o->steps : (int64_t)ceil(o->epochs * per_epoch);
    return FDIT_OK;
}

static enum fdit_status start(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    size_t b = (size_t)r->round;
    TRY(fdit_alloc(ctx, b * r->item, sizeof(float), &r->noise));
    TRY(fdit_alloc(ctx, b, sizeof(int32_t), &r->t));
    TRY(fdit_alloc(ctx, b, sizeof(int32_t), &r->rows));
    if (r->n_val) {
        TRY(fdit_alloc(ctx, b * r->item, sizeof(float), &r->val_x));
        TRY(fdit_alloc(ctx, fdit_train_data_item(r->val_data), sizeof(float), &r->picture));
    }
    if (encoded_on_the_way(r, r->data))
        TRY(fdit_alloc(ctx, b * r->item, sizeof(float), &r->latents));
    TRY(load_weights(ctx, r));
    TRY(load_replicas(ctx, r));
    if (r->o->resume)
        TRY(resume(ctx, r));
    TRY(fdit_fleet_share(ctx, r->fleet));
    TRY(make_folder(ctx, r));
    TRY(fdit_journal_open(ctx, r->o->out, r->at.step, &r->journal));
    r->resumed_at = r->at.step;
    struct fdit_loader_options l = loader_options(r);
    TRY(fdit_train_data_loader(ctx, r->data, r->train_ids, r->train_ids ? r->n_train : 0, &l, &r->loader));
    if (r->n_val && is_due(r->at.step, r->o->checkpoint_every ? r->o->checkpoint_every : INT64_MAX) &&
        (r->at.step == 0 || !fdit_journal_validated(r->journal)))
        TRY(validate_and_log(ctx, r));
    if (r->at.step == 0) {
        r->summary->first_val_mse = r->summary->val_mse;
        r->summary->first_val_vb = r->summary->val_vb;
    }
    if (r->hooks && r->hooks->on_start)
        r->hooks->on_start(r->hooks->user, r->at.step, r->total);
out:
    return status;
}

static void close_run(struct run *r)
{
    fdit_loader_close(r->loader);
    fdit_journal_close(NULL, r->journal);
    fdit_preview_free(r->preview);
    fdit_fleet_free(r->fleet);
    fdit_step_free(r->step);
    fdit_model_free(r->model);
    fdit_coder_free(r->coder);
    if (r->val_data != r->data)
        fdit_train_data_close(r->val_data);
    fdit_train_data_close(r->data);
    fdit_taxonomy_free(r->taxonomy);
    fdit_taxonomy_free(r->known);
    fdit_checkpoint_close(r->base);
    fdit_checkpoint_close(r->start);
    void *blocks[] = { r->train_ids,    r->val_ids, r->ranks,      r->taxonomy_json, r->options_json,
                       r->fingerprint,  r->guide,   r->train_json, r->noise,         r->val_x,
                       r->picture,      r->latents, r->t,             r->rows };
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        fdit_free(blocks[i]);
}

enum fdit_status fdit_train_run(fdit_context *ctx, fdit_device *dev,
                                const struct fdit_train_options *options,
                                const struct fdit_train_hooks *hooks, bool plan_only,
                                struct fdit_train_summary *summary)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_summary own;
    struct fdit_train_options exact = *options, made_by;
    struct run r = { .o = &exact, .made_by = &made_by, .hooks = hooks, .dev = dev,
                     .folder = FDIT_NO_RUN_FOLDER, .summary = summary ? summary : &own };
    struct fdit_delta_meta meta;
    char *path = NULL;
    *r.summary = (struct fdit_train_summary){ .first_val_mse = NAN, .first_val_vb = NAN, .val_mse = NAN,
                                              .val_vb = NAN };
    exact.devices = fdit_device_count(dev);
    options = &exact;
    TRY(fdit_train_check(ctx, options));
    made_by = exact;
    if (!fdit_coder_encodes(options)) { /* it decodes previews, which are in no file of numbers either */
        made_by.vae = NULL;
        made_by.vae_scale = 0;
    }
    r.round = exact.batch * exact.devices;
    if (!plan_only)
        TRY(check_folder(ctx, &r));
    TRY(open_model_files(ctx, &r));
    TRY(open_data(ctx, &r));
    TRY(set_total(ctx, &r));
    TRY(plan_model(ctx, &r));
    if (plan_only)
        goto out;
    TRY(fdit_train_options_json(ctx, &made_by, &r.options_json));
    TRY(make_train_json(ctx, &r));
    TRY(start(ctx, &r));
    status = loop(ctx, &r);
    summarise(&r);
    TRY(status);
    meta = delta_meta(&r);
    TRY(fdit_path_join(ctx, options->out, "delta.safetensors", &path));
    TRY(fdit_delta_save(ctx, r.model, FDIT_VALUES_EMA, FDIT_ST_F32, &meta, path));
    if (hooks && hooks->on_saved)
        hooks->on_saved(hooks->user, path);
out:
    fdit_free(path);
    close_run(&r);
    if (status != FDIT_OK && !r.kept)
        fdit_run_folder_undo(&r.folder);
    fdit_run_folder_fini(&r.folder);
    return status;
}
