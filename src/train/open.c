/* SPDX-License-Identifier: Apache-2.0
 * open.c: the files, data and weights of a run, and its plan. */
#include "train/running.h"

#include "core/fnv.h"
#include "core/file.h"
#include "core/mem.h"
#include "format/cache.h"
#include "format/json.h"
#include "format/weights.h"
#include "sample/weight_files.h"
#include "train/growth.h"

#include <inttypes.h>
#include <string.h>

#define SMALLER "use a smaller --batch, --recompute branches or block, or --accumulate"

/* The input of a model from scratch: as the options say, else as the cache that it is trained on holds. */
static enum fdit_status input_from_scratch(fdit_context *ctx, const struct fdit_train_options *o,
                                           struct fdit_model_config *config)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_cache *cache = NULL;
    config->input_size = o->size ? o->size : 32;
    config->channels = o->channels ? o->channels : 4;
    if ((o->size && o->channels) || !o->data || !fdit_cache_is(o->data))
        return FDIT_OK;
    TRY(fdit_cache_open(ctx, o->data, &cache));
    const struct fdit_cache_info *info = fdit_cache_info_of(cache);
    config->input_size = o->size ? o->size : info->size;
    config->channels = o->channels ? o->channels : info->channels;
out:
    fdit_cache_close(cache);
    return status;
}

enum fdit_status fdit_run_open_files(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    if (o->from_scratch) {
        TRY(input_from_scratch(ctx, o, &r->config));
        r->config.kind = o->classifier ? FDIT_MODEL_CLASSIFIER : FDIT_MODEL_DIT;
        r->config.objective = fdit_objective_find(o->objective)->id;
        TRY(fdit_config_parse(ctx, o->model, &r->config));
    } else {
        status = fdit_checkpoint_open(ctx, o->base, FDIT_VALUES_EMA, &r->base);
        TRY(fdit_weights_explain(ctx, status, "--base", o->base, "--data", o->data));
        TRY(fdit_delta_refuse_as_base(ctx, r->base));
        if (o->objective)
            fdit_checkpoint_ask_objective(r->base, fdit_objective_find(o->objective), true);
        TRY(fdit_checkpoint_config(ctx, r->base, o->model, &r->config));
        if (r->config.kind == FDIT_MODEL_CLASSIFIER)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "--base %s is a classifier; give a diffusion model", o->base);
        if (o->size && o->size != r->config.input_size)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "--size %d: %s is made for %d; leave the option out", o->size,
                 o->base, r->config.input_size);
        if (o->channels && o->channels != r->config.channels)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "--channels %d: %s is made for %d; leave the option out",
                 o->channels, o->base, r->config.channels);
        r->base_config = r->config;
    }
    if (o->delta) {
        TRY(fdit_checkpoint_open(ctx, o->delta, FDIT_VALUES_EMA, &r->start));
        TRY(fdit_delta_check(ctx, r->start));
        if (r->base)
            TRY(fdit_delta_match(ctx, r->start, r->base));
        TRY(fdit_delta_match_objective(ctx, r->start, r->base ? o->base : o->model, &r->config));
        const char *json = fdit_checkpoint_meta(r->start, "taxonomy");
        if (json)
            TRY(fdit_taxonomy_parse(ctx, json, strlen(json), o->delta, NULL, &r->known));
    }
    if (r->base)
        TRY(fdit_learn_check_file(ctx, o, "--base", r->base));
    if (r->start)
        TRY(fdit_learn_check_file(ctx, o, "--delta", r->start));
    r->config.guidance_input = fdit_learn_tells(o);
    TRY(fdit_mask_parse(ctx, o->tune, &r->mask));
    r->config.adapter = r->mask.adapter;
    TRY(fdit_adapter_check(ctx, &r->config.adapter, r->config.width));
    TRY(fdit_autoencoder_open(ctx, o, &r->config, &r->autoencoder));
    if (!r->autoencoder && r->config.channels != 1 && r->config.channels != 3 && !fdit_cache_is(o->data))
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
                                 struct fdit_train_source **out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    struct fdit_train_source_options d = { .path = path,
                                           .taxonomy = taxonomy,
                                           .ranks = o->ranks,
                                           .size = r->config.input_size,
                                           .channels = r->config.channels,
                                           .latent_size = r->config.input_size,
                                           .latent_channels = r->config.channels,
                                           .fit = o->fit,
                                           .rules = o->rules,
                                           .flip = o->flip,
                                           .allow_missing = allow_missing,
                                           .skip_bad = o->skip_bad,
                                           .known = r->known,
                                           .memory = o->memory };
    if (r->autoencoder) {
        d.size = fdit_autoencoder_size(r->autoencoder);
        d.channels = fdit_autoencoder_channels_in(r->autoencoder);
    }
    TRY(fdit_train_source_open(ctx, &d, out));
out:
    return status;
}

/* The classes and groups that a run which goes on was begun with, NULL: it does not say. */
static enum fdit_status recorded_taxonomy(fdit_context *ctx, const struct run *r, struct fdit_taxonomy **out)
{
    enum fdit_status status = FDIT_OK;
    const json_t *noted = json_object_get(json_object_get(r->before, "made_of"), "taxonomy");
    const char *run = r->o->out, *meta;
    struct fdit_checkpoint *cp = NULL;
    int64_t *steps = NULL;
    char *text = NULL, *path = NULL;
    size_t n = 0;
    fdit_context *quiet = NULL; /* which checkpoints are broken is said when they are loaded */
    *out = NULL;
    if (noted) {
        TRY(fdit_json_dump(ctx, noted, JSON_COMPACT, &text));
        TRY(fdit_taxonomy_parse(ctx, text, strlen(text), run, NULL, out));
        goto out;
    }
    TRY(fdit_state_list(ctx, run, &steps, &n));
    quiet = fdit_context_child(ctx);
    if (!quiet)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory");
    while (n-- > 0 && !*out) {
        fdit_free(path);
        fdit_checkpoint_close(cp);
        path = NULL;
        cp = NULL;
        TRY(fdit_state_path(ctx, run, steps[n], &path));
        if (fdit_checkpoint_open(quiet, path, FDIT_VALUES_EMA, &cp) == FDIT_OK &&
            (meta = fdit_checkpoint_meta(cp, "taxonomy")) &&
            fdit_taxonomy_parse(quiet, meta, strlen(meta), path, NULL, out) != FDIT_OK)
            *out = NULL;
    }
out:
    fdit_context_free(quiet);
    fdit_checkpoint_close(cp);
    fdit_free(steps);
    fdit_free(path);
    fdit_free(text);
    return status;
}

/* A run that an earlier version began keeps its rows, also where this version tells more groups apart. */
static enum fdit_status keep_rows(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_taxonomy *was = NULL;
    const struct fdit_taxonomy *is = fdit_train_source_taxonomy(r->data);
    if (!r->before || !fdit_taxonomy_by_path(is))
        return FDIT_OK;
    TRY(recorded_taxonomy(ctx, r, &was));
    if (!was || fdit_taxonomy_equal(was, is) || !fdit_taxonomy_earlier(was, is))
        goto out;
    fdit_log(ctx, FDIT_LOG_WARNING,
             "%s was begun when groups of one name were one group; it goes on with the %d groups that it has",
             r->o->out, fdit_taxonomy_n_rows(was) - fdit_taxonomy_n_classes(was));
    fdit_train_source_close(r->data);
    r->data = NULL;
    fdit_taxonomy_free(r->taxonomy);
    r->taxonomy = was;
    was = NULL;
    TRY(open_one(ctx, r, r->o->data, r->taxonomy, false, &r->data));
out:
    fdit_taxonomy_free(was);
    return status;
}

/* With --old-classes keep the classes of the delta join those of the data, which are then read anew. */
static enum fdit_status open_training_data(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    struct fdit_taxonomy *all = NULL;
    TRY(open_one(ctx, r, o->data, r->taxonomy, false, &r->data));
    if (r->known && o->old_classes == FDIT_OLD_CLASSES_KEEP) {
        TRY(fdit_taxonomy_join(ctx, "--old-classes keep", o->delta, r->known,
                               fdit_train_source_taxonomy(r->data), &all));
        fdit_train_source_close(r->data);
        r->data = NULL;
        fdit_taxonomy_free(r->taxonomy);
        r->taxonomy = all;
        TRY(open_one(ctx, r, o->data, r->taxonomy, false, &r->data));
    }
    TRY(keep_rows(ctx, r));
    /* a run that goes on has been asked, by this version or an older one */
    if (r->known)
        TRY(fdit_growth_check(ctx, o->delta, r->known, fdit_train_source_taxonomy(r->data),
                              !r->before && o->old_classes != FDIT_OLD_CLASSES_DROP));
out:
    return status;
}

static enum fdit_status open_validation_data(fdit_context *ctx, struct run *r,
                                             const struct fdit_taxonomy *tax)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    struct fdit_validation *v = &r->output.val;
    double fraction;
    if (fdit_train_is_fraction(o->validation, &fraction)) {
        TRY(fdit_train_source_split(ctx, r->data, fraction, o->seed, &r->train_ids, &r->n_train, &v->ids,
                                    &v->n));
        v->data = r->data;
    } else if (o->validation && r->output.run) {
        TRY(open_one(ctx, r, o->validation, tax, true, &v->data));
        v->n = fdit_train_source_size(v->data);
    }
    if (!r->output.run) { /* the pictures that a split kept apart are not trained on here either */
        fdit_run_validation_close(r);
        *v = (struct fdit_validation){ .data = NULL };
    }
    v->used = o->val_pictures && (size_t)o->val_pictures < v->n ? (size_t)o->val_pictures : v->n;
out:
    return status;
}

static bool maps_vectors(const struct fdit_train_options *o)
{
    return o->vectors_as >= FDIT_VECTORS_MAP;
}

/* Whether rows of the table start as the vectors are. */
static bool vectors_plain(const struct run *r)
{
    return r->o->vectors_as == FDIT_VECTORS_ROWS && r->vectors.width == r->config.width;
}

/* The vector of each class. Where only their directions count, they are scaled to length 1. */
static enum fdit_status open_vectors(fdit_context *ctx, struct run *r, const struct fdit_taxonomy *tax)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    if (!o->class_vectors)
        return FDIT_OK;
    TRY(fdit_class_vectors_open(ctx, o->class_vectors, &r->vectors));
    TRY(fdit_class_vectors_match(ctx, &r->vectors, tax, &r->vector_of));
    if (maps_vectors(r->o))
        r->config.class_vectors = r->vectors.width;
    if (!vectors_plain(r))
        TRY(fdit_class_vectors_scale(ctx, &r->vectors));
out:
    if (status != FDIT_OK)
        fdit_fail_prefix(ctx, status, "--class-vectors");
    return status;
}

enum fdit_status fdit_run_open_data(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    if (o->taxonomy)
        TRY(fdit_taxonomy_load(ctx, o->taxonomy, o->ranks, &r->taxonomy));
    TRY(open_training_data(ctx, r));
    const struct fdit_taxonomy *tax = fdit_train_source_taxonomy(r->data);
    TRY(open_validation_data(ctx, r, tax));
    TRY(open_vectors(ctx, r, tax));
    if (r->autoencoder)
        TRY(fdit_autoencoder_match(ctx, r->autoencoder, r->data));
    if (!r->train_ids)
        r->n_train = fdit_train_source_size(r->data);
    r->rule = (struct fdit_row_rule){ .taxonomy = tax, .drop = o->drop, .drop_prob = o->drop_prob };
    r->guide_rank = -1;
    if (o->classifier) {
        r->rule.drop_prob = 0;
        r->config.table_rows = fdit_taxonomy_n_classes(tax);
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
                 "--label-drop empty",
                 o->data);
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
    r->config.table_rows = fdit_taxonomy_n_rows(tax) + (o->drop == FDIT_DROP_EMPTY ? 1 : 0);
    TRY(fdit_taxonomy_to_json(ctx, tax, &r->taxonomy_json));
out:
    return status;
}

/* What the run begins from. */
static struct fdit_checkpoint *beginning(const struct run *r)
{
    const bool table = r->start && fdit_checkpoint_has(r->start, "y_embedder.embedding_table.weight");
    return table ? r->start : r->base;
}

/* Drawn by the process that has the run's folder. Others wait: they take it from there. */
static enum fdit_status draw_prior(fdit_context *ctx, struct run *r, bool plan_only)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    const struct fdit_vae *vae = fdit_autoencoder_vae(r->autoencoder);
    const struct fdit_sample_hooks hooks = { .user = r->output.hooks.user,
                                             .on_plan = r->output.hooks.on_plan };
    struct fdit_exchange *x = r->members > r->devices->n ? r->output.hooks.exchange : NULL;
    if (x && x->first > 0 && !plan_only)
        status = fdit_path_join(ctx, o->out, "prior", &r->prior.path);
    else
        status = fdit_prior_draw(ctx, r->devices, o, vae ? fdit_vae_config_of(vae)->scale : 0, &hooks,
                                 plan_only, &r->prior);
    if (!x || !x->settle || plan_only)
        return status;
    status = x->settle(ctx, x, status);
    r->failed_together = status != FDIT_OK;
    if (status == FDIT_OK && !fdit_file_exists(r->prior.path))
        status = fdit_fail(
            ctx, FDIT_ERROR_IO,
            "--prior-per-class: the pictures were drawn into %s, which is not seen on this host; let "
            "--out be in a folder that all hosts share, or draw them before ('finediffusion sample "
            "--guide none --per-class %d') and give --prior DIR",
            r->prior.path, o->prior_per_class);
    return status;
}

enum fdit_status fdit_run_open_prior(fdit_context *ctx, struct run *r, bool plan_only)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    struct fdit_prior *p = &r->prior;
    if (!fdit_prior_wanted(o))
        return FDIT_OK;
    TRY(fdit_prior_classes(ctx, beginning(r), p));
    if (o->prior)
        TRY(fdit_strdup(ctx, o->prior, &p->path));
    else
        TRY(draw_prior(ctx, r, plan_only));
    if (plan_only && !o->prior)
        return FDIT_OK;
    if (!r->autoencoder && r->config.channels != 1 && r->config.channels != 3 && !fdit_cache_is(p->path))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--prior %s: the model works on latents (%d channels); give --vae FILE to encode its pictures, "
             "or a cache made by 'finediffusion encode'",
             p->path, r->config.channels);
    status = open_one(ctx, r, p->path, NULL, false, &p->data);
    if (status != FDIT_OK)
        TRY(fdit_fail_prefix(ctx, status, "--prior"));
    p->tax = fdit_train_source_taxonomy(p->data);
    p->pictures = fdit_train_source_size(p->data);
    p->classes = (size_t)fdit_taxonomy_n_classes(p->tax);
    p->rule = (struct fdit_row_rule){ .taxonomy = p->tax };
    TRY(fdit_prior_rows(ctx, beginning(r), r->config.width, p));
out:
    return status;
}

struct fdit_loader_options fdit_run_loader(const struct run *r)
{
    const struct fdit_exchange *x = r->output.hooks.exchange;
    return (struct fdit_loader_options){ .batch = (size_t)r->local,
                                         .group = (size_t)r->round * (size_t)r->o->accumulate,
                                         .part = x ? (size_t)(x->first / x->count) : 0,
                                         .parts = x ? (size_t)(x->members / x->count) : 1,
                                         .seed = r->o->seed,
                                         .start = r->at.position,
                                         .cache_bytes = r->o->cache_bytes,
                                         .workers = r->o->workers,
                                         .flip = fdit_train_source_flip(r->data),
                                         .skip_bad = r->o->skip_bad,
                                         .balance = r->o->balance,
                                         .repeats = r->o->repeats,
                                         .classes = (size_t)fdit_taxonomy_n_classes(r->rule.taxonomy) };
}

/* What a delta changed and this run does not train would be in neither the base nor the result. */
static enum fdit_status check_start(fdit_context *ctx, const struct run *r)
{
    const struct fdit_params *ps = &r->model->params;
    const struct fdit_adapter *before = r->start ? fdit_checkpoint_adapter(r->start) : NULL;
    char was[FDIT_ADAPTER_TEXT], is[FDIT_ADAPTER_TEXT];
    if (before && fdit_adapter_any(before) && !fdit_adapter_equal(before, &r->config.adapter)) {
        fdit_adapter_text(before, was);
        fdit_adapter_text(&r->config.adapter, is);
        return fdit_fail(
            ctx, FDIT_ERROR_ARGUMENT,
            "--delta %s holds %s, --tune %s means %s; train with the --tune of that delta, or put "
            "it into the base with 'finediffusion convert --merge'",
            r->o->delta, was, r->o->tune, is);
    }
    for (int i = 0; r->start && i < ps->n; i++) {
        const struct fdit_param *p = &ps->list[i];
        if (!p->trained && p->kind != FDIT_PARAM_POS && fdit_checkpoint_has(r->start, p->name))
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                             "--delta %s holds %s, which --tune %s does not train and the new delta would "
                             "lack; train with the --tune of that delta, or put it into the base with "
                             "'finediffusion convert --merge'",
                             r->o->delta, p->name, r->o->tune);
    }
    return FDIT_OK;
}

/* The plans of the other devices. */
static enum fdit_status check_replicas(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    for (int i = 1; i < fdit_replicas_size(r->replicas); i++) {
        struct fdit_model *m = fdit_replicas_model(r->replicas, i);
        m->plan.title = fdit_device_info(m->dev)->name;
        if (r->output.hooks.on_plan)
            r->output.hooks.on_plan(r->output.hooks.user, &m->plan);
        r->summary->plan_bytes += fdit_plan_device_bytes(&m->plan);
        TRY(fdit_plan_check(ctx, &m->plan, m->dev,
                            r->o->memory ? r->o->memory : fdit_device_info(m->dev)->memory, SMALLER));
    }
out:
    return status;
}

/* Also a cache of pixels; latents of 1 or 3 channels are not pictures. */
static bool works_on_pixels(const struct run *r)
{
    const struct fdit_cache_info *cache = fdit_train_source_cache(r->data);
    return !r->autoencoder && (r->config.channels == 1 || r->config.channels == 3) &&
           !(cache && cache->kind == FDIT_CACHE_MOMENTS);
}

/* Previews are guided by what takes the label drops. */
static enum fdit_status plan_preview(fdit_context *ctx, struct run *r)
{
    const struct fdit_train_options *o = r->o;
    struct fdit_guide guide = { .rank = r->guide_rank, .empty_row = r->rule.empty_row };
    bool wanted = (o->preview_every && o->preview_every <= r->total) || o->eval_every;
    if (!r->output.run || !wanted || o->classifier || o->lr_high > 0)
        return FDIT_OK;
    if (!fdit_autoencoder_decodes(r->autoencoder) && !works_on_pixels(r)) {
        if (o->eval_every)
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                             "--eval-every %" PRId64
                             ": the model works on latents; give the autoencoder that "
                             "decodes them, --vae FILE",
                             o->eval_every);
        return FDIT_OK;
    }
    if (fdit_learn_wanted(o))
        guide = (struct fdit_guide){ .input = fdit_learn_tells(o),
                                     .from = o->learn_from,
                                     .to = o->learn_guidance };
    else if (r->guide_rank >= 0)
        guide.kind = FDIT_GUIDE_SUPERCLASS;
    else if (o->drop == FDIT_DROP_EMPTY)
        guide.kind = FDIT_GUIDE_EMPTY;
    return fdit_preview_new(ctx, r->model, fdit_autoencoder_vae(r->autoencoder), r->rule.taxonomy, &guide,
                            o->preview_guidance, &r->output.preview);
}

/* Measured beside pictures that are not trained on, where there are any. */
static enum fdit_status plan_quality(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    const struct fdit_validation *v = &r->output.val;
    struct fdit_quality_real real = { .path = o->eval_real };
    size_t n = v->data ? v->n : fdit_train_source_size(r->data);
    if (!o->eval_every || !r->output.preview)
        return FDIT_OK;
    if (!real.path) {
        const struct fdit_train_source *from = v->data ? v->data : r->data;
        const struct fdit_cache_info *cache = fdit_train_source_cache(from);
        if (cache && cache->kind == FDIT_CACHE_MOMENTS)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "--eval-every %" PRId64
                 ": %s holds latents, not pictures; give real pictures, --eval-real DATA",
                 o->eval_every, fdit_train_source_path(from));
        real.path = fdit_train_source_path(from);
        real.some = v->data == r->data;
        real.split = (struct fdit_eval_split){ .seed = o->seed, .run = o->out };
        (void)fdit_train_is_fraction(o->validation, &real.split.fraction);
    }
    TRY(fdit_quality_new(ctx, r->dev, o, &real, r->rule.taxonomy, r->output.preview, &r->output.quality));
    TRY(fdit_plan_add(ctx, &r->model->plan, FDIT_PLAN_HOST, NULL, fdit_quality_bytes(r->output.quality, n),
                      "features of real and drawn pictures"));
out:
    return status;
}

/* Pictures are decoded by the workers, and by this thread for validation. */
static enum fdit_status plan_reading(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    struct fdit_plan *plan = &r->model->plan;
    bool apart = r->output.val.data && r->output.val.data != r->data, same = r->output.val.data == r->data;
    size_t prior = 0;
    size_t room = fdit_plan_room(plan, o->memory ? o->memory : fdit_device_info(r->dev)->memory), bytes,
           more = 0;
    int workers = o->workers > 1 ? o->workers : 1;
    if (apart)
        TRY(fdit_train_source_plan_reading(ctx, r->output.val.data, 1, room / 2, o->skip_bad, &more));
    if (r->prior.data) /* its loader has workers of its own */
        TRY(fdit_train_source_plan_reading(ctx, r->prior.data, workers, (room - more) / 2, o->skip_bad,
                                           &prior));
    more += prior;
    TRY(fdit_train_source_plan_reading(ctx, r->data, workers + (same && o->workers > 0), room - more,
                                       o->skip_bad, &bytes));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_HOST, NULL, bytes + more, "decoding, %d worker%s%s", workers,
                      workers > 1 ? "s" : "", r->output.val.data ? ", validation" : ""));
out:
    return status;
}

/* The average that learnt guidance looks at goes to all devices of a process, not to other processes. */
static enum fdit_status plan_learning(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    if (r->output.hooks.exchange)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "--learn-guidance works in one process, on any of its devices; run one, or leave it out");
    TRY(fdit_step_learn_guidance(ctx, r->step));
    TRY(fdit_learn_new(ctx, r->o, &r->rule, r->objective, r->guide_rank, (size_t)r->o->batch, &r->learn));
out:
    return status;
}

/* In host memory: the batches of its loader, and the rows until they are on the device. */
static enum fdit_status plan_prior(fdit_context *ctx, struct run *r, const struct fdit_loader_options *l)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_prior *p = &r->prior;
    const struct fdit_loader_options own = fdit_prior_loader(p, *l);
    const struct fdit_train_source *like = p->data ? p->data : r->data;
    if (!fdit_prior_wanted(r->o))
        return FDIT_OK;
    TRY(fdit_plan_add(ctx, &r->model->plan, FDIT_PLAN_HOST, NULL,
                      fdit_loader_bytes(p->pictures, fdit_train_source_item_bytes(like),
                                        fdit_train_source_item(like), &own),
                      "pictures and batches of the prior"));
    TRY(fdit_plan_add(ctx, &r->model->plan, FDIT_PLAN_HOST, NULL,
                      p->classes * (size_t)r->config.width * sizeof(float), "class rows of the prior"));
out:
    return status;
}

/* In host memory: the vectors, and the rows that a delta is written with. */
static enum fdit_status plan_vectors(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const size_t width = (size_t)r->vectors.width, rows = (size_t)r->config.table_rows;
    if (!r->o->class_vectors)
        return FDIT_OK;
    TRY(fdit_plan_add(ctx, &r->model->plan, FDIT_PLAN_HOST, NULL, r->vectors.names.n * width * sizeof(float),
                      "vectors of the classes"));
    if (r->config.class_vectors)
        TRY(fdit_plan_add(ctx, &r->model->plan, FDIT_PLAN_HOST, NULL,
                          rows * (size_t)r->config.width * sizeof(float), "class table of a delta"));
out:
    return status;
}

enum fdit_status fdit_run_plan(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    struct fdit_model_options m = { .mask = &r->mask,
                                    .training = true,
                                    .moments = r->optimiser->moments,
                                    .ema = true,
                                    .share = fdit_replica_rows_share_of(r->output.hooks.exchange,
                                                                        r->config.table_rows),
                                    .profiles = o->ema_profiles,
                                    .base_values = fdit_learn_wanted(o) && o->learn_guide == FDIT_LEARN_BASE,
                                    .prior_rows = (int)r->prior.classes,
                                    .batch = o->batch,
                                    .recompute = o->recompute,
                                    .activations = o->activations,
                                    .storage = o->storage };
    struct fdit_loader_options l = fdit_run_loader(r);
    r->item = (size_t)r->config.channels * (size_t)r->config.input_size * (size_t)r->config.input_size;
    TRY(fdit_model_new(ctx, r->dev, &r->config, &m, &r->model));
    TRY(check_start(ctx, r));
    TRY(fdit_step_new(ctx, r->model, r->objective, fdit_run_micros(r), &r->step));
    if (fdit_learn_wanted(o))
        TRY(plan_learning(ctx, r));
    TRY(fdit_replicas_new(ctx, r->devices, r->model, r->step, r->objective, fdit_run_micros(r),
                          r->output.hooks.exchange, &r->replicas));
    r->model->plan.title = r->devices->n > 1 ? fdit_device_info(r->dev)->name : NULL;
    TRY(plan_preview(ctx, r));
    TRY(fdit_plan_add(ctx, &r->model->plan, FDIT_PLAN_HOST, NULL,
                      fdit_loader_bytes(r->n_train, fdit_train_source_item_bytes(r->data),
                                        fdit_train_source_item(r->data), &l),
                      "pictures and batches"));
    TRY(plan_prior(ctx, r, &l));
    TRY(plan_vectors(ctx, r));
    if (r->autoencoder)
        TRY(fdit_autoencoder_plan(ctx, r->autoencoder, r->model, r->output.preview != NULL,
                                  o->memory ? o->memory : fdit_device_info(r->dev)->memory));
    TRY(fdit_plan_add(ctx, &r->model->plan, FDIT_PLAN_HOST, NULL,
                      r->output.run ? strlen(r->taxonomy_json) : 0, "the classes in a file's header"));
    TRY(plan_quality(ctx, r)); /* its network is in what the process holds */
    TRY(fdit_plan_add_process(ctx, &r->model->plan, r->dev));
    TRY(plan_reading(ctx, r));
    if (r->output.hooks.on_plan)
        r->output.hooks.on_plan(r->output.hooks.user, &r->model->plan);
    r->summary->process_plan_bytes = fdit_plan_process_bytes(&r->model->plan);
    if (r->summary->process_plan_bytes < r->prior.process_bytes) /* before, and given back */
        r->summary->process_plan_bytes = r->prior.process_bytes;
    r->summary->plan_bytes = fdit_plan_device_bytes(&r->model->plan);
    r->summary->trained = fdit_params_trained(&r->model->params);
    r->summary->total = fdit_params_total(&r->model->params);
    r->summary->n_classes = (size_t)fdit_taxonomy_n_classes(r->rule.taxonomy);
    r->summary->n_rows = (size_t)r->config.table_rows;
    r->summary->n_pictures = r->n_train;
    TRY(fdit_plan_check(ctx, &r->model->plan, r->dev,
                        o->memory ? o->memory : fdit_device_info(r->dev)->memory, SMALLER));
    TRY(check_replicas(ctx, r));
out:
    return status;
}

/* Vectors that a map of the model is for. */
static enum fdit_status give_vectors(fdit_context *ctx, const struct run *r, struct fdit_model *m)
{
    if (!r->config.class_vectors)
        return FDIT_OK;
    return fdit_model_set_class_vectors(ctx, m, r->vectors.data, r->vector_of,
                                        fdit_taxonomy_n_classes(r->rule.taxonomy),
                                        r->o->vectors_as == FDIT_VECTORS_MAP);
}

/* The class table, and the map of class vectors, of a run that begins. */
static enum fdit_status start_table(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    const struct fdit_taxonomy *tax = r->rule.taxonomy;
    const struct fdit_row_vectors from = { .vectors = r->vectors.data,
                                           .width = r->vectors.width,
                                           .at = r->vector_of,
                                           .classes = fdit_taxonomy_n_classes(tax),
                                           .plain = vectors_plain(r) };
    const enum fdit_class_table_init how = r->base ? o->table_init : FDIT_TABLE_NORMAL;
    if (r->config.class_vectors) {
        const char *map = r->model->params.ends.class_map.weight->name;
        TRY(give_vectors(ctx, r, r->model));
        TRY(fdit_model_init_class_map(ctx, r->model, how, r->base, o->seed, from.classes,
                                      r->start && fdit_checkpoint_has(r->start, map)));
        if (r->start)
            TRY(fdit_class_map_take(ctx, r->model, r->start, r->known, tax));
        return FDIT_OK;
    }
    if (r->base || o->class_vectors)
        TRY(fdit_class_table_start(ctx, r->model, how, r->base, tax, o->seed,
                                   o->class_vectors ? &from : NULL));
    if (r->start)
        TRY(fdit_class_table_take(ctx, r->model, r->start, r->known, tax));
out:
    return status;
}

/* The frozen weights of the other devices; what is trained comes from the first by fdit_replicas_share. */
static enum fdit_status load_replicas(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_checkpoint *files[2] = { r->start ? r->start : r->base, r->base };
    TRY(fdit_replicas_allocate(ctx, r->replicas));
    for (int i = 1; i < fdit_replicas_size(r->replicas); i++) {
        struct fdit_model *m = fdit_replicas_model(r->replicas, i);
        TRY(give_vectors(ctx, r, m));
        if (r->prior.table)
            TRY(fdit_model_set_prior(ctx, m, r->prior.table));
        TRY(r->o->from_scratch ? fdit_model_init(ctx, m, r->o->seed)
                               : fdit_model_load(ctx, m, files, r->start ? 2 : 1, true, NULL));
        if (m->options.base_values)
            TRY(fdit_learn_load_base(ctx, m, r->base));
    }
out:
    return status;
}

static enum fdit_status load_first(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    struct fdit_load_report report = { 0 };
    char *all = NULL;
    TRY(fdit_model_allocate(ctx, r->model));
    fdit_step_bind(r->step);
    if (r->autoencoder)
        TRY(fdit_autoencoder_allocate(ctx, r->autoencoder));
    if (r->output.preview)
        fdit_preview_bind(r->output.preview);
    if (o->from_scratch) {
        TRY(fdit_model_init(ctx, r->model, o->seed));
        if (o->class_vectors)
            TRY(start_table(ctx, r));
        return FDIT_OK;
    }
    struct fdit_checkpoint *files[2] = { r->start ? r->start : r->base, r->base };
    TRY(fdit_model_load(ctx, r->model, files, r->start ? 2 : 1, true, &report));
    TRY(fdit_model_init_adapters(ctx, r->model, r->start, o->seed));
    if (r->prior.table)
        TRY(fdit_model_set_prior(ctx, r->model, r->prior.table));
    if (report.norms_missing)
        fdit_log(ctx, FDIT_LOG_INFO,
                 "%s is a stock DiT without LayerNorm weights: %d scales and offsets start as 1 and 0",
                 o->base, report.norms_missing);
    if (r->model->options.base_values)
        TRY(fdit_learn_load_base(ctx, r->model, r->base));
    TRY(start_table(ctx, r));
    TRY(fdit_checkpoint_fingerprint(ctx, r->base, &r->model->config, r->model->options.mask,
                                    &r->fingerprint));
    if (r->start) {
        const char *wanted = fdit_checkpoint_meta(r->start, "base");
        if (wanted) { /* of every parameter: that delta may have left alone what this run trains */
            TRY(fdit_checkpoint_fingerprint(ctx, r->base, &r->model->config, NULL, &all));
            TRY(fdit_fingerprint_compare(ctx, wanted, all, o->delta, o->base));
        }
    }
out:
    fdit_free(all);
    return status;
}

enum fdit_status fdit_run_load(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    size_t b = (size_t)r->local;
    TRY(fdit_alloc(ctx, b * r->item, sizeof(float), &r->noise));
    TRY(fdit_alloc(ctx, b, sizeof *r->t, &r->t));
    TRY(fdit_alloc(ctx, b, sizeof(int32_t), &r->rows));
    TRY(fdit_run_validation_open(ctx, r));
    if (fdit_run_encodes(r, r->data) || (r->prior.data && fdit_run_encodes(r, r->prior.data)))
        TRY(fdit_alloc(ctx, b * r->item, sizeof(float), &r->latents));
    TRY(load_first(ctx, r));
    TRY(load_replicas(ctx, r));
out:
    return status;
}

/* ------------------------------------------------------------------ what the run is made of */

static void looked(void *user, size_t done, size_t total)
{
    (void)total;
    fdit_phase_at(user, done);
}

/* The numbers of a file's weights, whatever its layout and type are; `rows` of the class table. */
static enum fdit_status hash_file(fdit_context *ctx, struct run *r, struct fdit_checkpoint *file,
                                  uint64_t *out)
{
    struct fdit_weight_files files = { .list = { file }, .n = 1, .config = r->base_config };
    int64_t rows = fdit_checkpoint_dim(file, "y_embedder.embedding_table.weight", 0);
    if (rows > 0 && rows <= INT32_MAX)
        files.config.table_rows = (int)rows;
    files.config.adapter = *fdit_checkpoint_adapter(file);
    files.config.guidance_input = fdit_checkpoint_has(file, FDIT_PARAM_GUIDANCE);
    return fdit_weight_files_hash(ctx, &files, out);
}

static enum fdit_status hash_files(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_made_of *id = &r->identity;
    if (r->base) {
        id->has_base = true;
        TRY(hash_file(ctx, r, r->base, &id->base));
    }
    if (r->start) {
        id->has_delta = true;
        TRY(hash_file(ctx, r, r->start, &id->delta));
    }
    if (r->o->class_vectors) {
        const struct fdit_taxonomy *tax = r->rule.taxonomy;
        const size_t width = (size_t)r->vectors.width;
        id->has_vectors = true;
        id->vectors = FDIT_FNV_START;
        for (int32_t c = 0; c < fdit_taxonomy_n_classes(tax); c++)
            id->vectors = fdit_fnv(id->vectors, r->vectors.data + (size_t)r->vector_of[c] * width,
                                   width * sizeof(float));
    }
    if (r->made_by->vae) {
        id->has_vae = true;
        TRY(fdit_autoencoder_hash(ctx, r->autoencoder, &id->vae));
    }
out:
    return status;
}

/* Validation data of their own are looked at by every process, and stay open in the one that validates. */
static enum fdit_status open_to_look(fdit_context *ctx, struct run *r, struct fdit_train_source **out)
{
    double fraction;
    if (r->output.run || !r->o->validation || fdit_train_is_fraction(r->o->validation, &fraction))
        return FDIT_OK;
    return open_one(ctx, r, r->o->validation, fdit_train_source_taxonomy(r->data), true, out);
}

enum fdit_status fdit_run_identify(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_source *looked_at = NULL;
    TRY(open_to_look(ctx, r, &looked_at));
    const struct fdit_train_source *val = r->output.val.data == r->data ? NULL : r->output.val.data;
    fdit_phase_begin(ctx, fdit_train_source_size(r->data), "listing the pictures");
    status = fdit_made_of_data(ctx, r->data, r->taxonomy_json, looked_at ? looked_at : val, r->prior.data,
                               looked, ctx, &r->identity);
    fdit_phase_end(ctx);
    TRY(status);
    fdit_phase_begin(ctx, 0, "comparing the weights' files");
    status = hash_files(ctx, r);
    fdit_phase_end(ctx);
    TRY(status);
    TRY(fdit_made_of_json(ctx, &r->identity, &r->identity_json));
out:
    fdit_train_source_close(looked_at);
    return status;
}
