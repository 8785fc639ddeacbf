/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/job.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/mem.h"
#include "core/phase.h"
#include "format/safetensors.h"
#include "sample/album.h"
#include "sample/contact_sheet.h"
#include "sample/crew.h"
#include "sample/pixels.h"
#include "vae/vae.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* Tokens of one pass and pictures of one batch that --batch 0 aims at: enough rows for the matrix
 * products to run at full speed, with little memory. */
enum { AIM_TOKENS = 4096, AIM_PICTURES = 64 };

/* Everything a job holds, in the order of its making. */
struct job {
    const struct fdit_sample_options *o; /* = &options */
    struct fdit_sample_options options;  /* with what was left to the model filled in */
    const struct fdit_sample_hooks *hooks;
    struct fdit_sample_summary *summary;
    fdit_device *dev;
    struct fdit_subject subject;
    struct fdit_request request;
    struct fdit_model *model, *guide_model; /* the second one only where the guide is another model */
    struct fdit_generator *generator;
    struct fdit_crew *crew; /* the further devices */
    struct fdit_vae *vae;   /* NULL: none */
    struct fdit_plan plan;  /* of all three, for people and the limit */
    struct fdit_identity identity;
    struct fdit_caption caption;
    char *model_name, sampler_text[40];
    struct fdit_album *album;
    struct fdit_contact_sheet *contact;
    size_t item;        /* numbers of one picture */
    int batch, round;   /* pictures of a device at once; of all devices */
    bool decodable;     /* x is a picture, or becomes one */
    int size, channels; /* of pictures */
    float *x;           /* [round, item] */
    float *decoded;     /* [channels, size, size] */
    struct fdit_picture picture;
    struct fdit_picture_spec *specs; /* [round] */
    size_t *places;                  /* [round]: pictures of the shard */
    size_t next;                     /* the first picture that was not looked at */
    size_t rows_first, rows_end;     /* --latents: x holds these rows */
    size_t done;                     /* pictures, kept ones included */
};

/* ------------------------------------------------------------------ the plan */

static void on_step(void *user, int step, int steps)
{
    const struct job *j = user;
    if (j->hooks && j->hooks->on_step)
        j->hooks->on_step(j->hooks->user, j->done, j->request.n, step, steps);
}

static void free_models(struct job *j)
{
    fdit_crew_free(j->crew);
    j->crew = NULL;
    fdit_generator_free(j->generator);
    fdit_model_free(j->model);
    fdit_model_free(j->guide_model);
    fdit_plan_fini(&j->plan);
    j->generator = NULL;
    j->model = j->guide_model = NULL;
    j->plan = (struct fdit_plan){ 0 };
}

static enum fdit_status add_plan(fdit_context *ctx, struct fdit_plan *sum, const struct fdit_plan *part,
                                 const char *prefix)
{
    enum fdit_status status = FDIT_OK;
    for (size_t i = 0; i < part->n; i++) {
        const struct fdit_plan_entry *e = &part->list[i];
        TRY(fdit_plan_add(ctx, sum, e->kind, e->where, e->bytes, "%s%s", prefix, e->label));
    }
out:
    return status;
}

/* Models and generator for a batch, without memory on the device yet. */
static enum fdit_status plan_models(fdit_context *ctx, struct job *j, int batch)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_sample_options *o = j->o;
    bool other = j->subject.guide_files.n > 0;
    struct fdit_generator_options g = { .sampler = o->sampler,
                                        .steps = o->steps,
                                        .guidance = o->guidance,
                                        .guided = j->subject.guide != FDIT_GUIDE_NONE,
                                        .clip_x0 = o->clip_x0 > 0,
                                        .batch = batch,
                                        .noise = o->rng,
                                        .on_step = on_step,
                                        .user = j };
    struct fdit_model_options m = { .batch = fdit_generator_model_batch(&g, !other),
                                    .conditions = fdit_generator_conditions(&g, !other),
                                    .storage = o->storage };
    free_models(j);
    j->batch = batch;
    TRY(fdit_model_new(ctx, j->dev, &j->subject.files.config, &m, &j->model));
    m.batch = batch;
    if (other)
        TRY(fdit_model_new(ctx, j->dev, &j->subject.guide_files.config, &m, &j->guide_model));
    TRY(fdit_generator_new(ctx, j->model, j->guide_model, &g, &j->generator));
    TRY(add_plan(ctx, &j->plan, &j->model->plan, ""));
    if (other)
        TRY(add_plan(ctx, &j->plan, &j->guide_model->plan, "guide: "));
    if (j->vae)
        TRY(add_plan(ctx, &j->plan, fdit_vae_plan_of(j->vae), ""));
    TRY(fdit_crew_new(ctx, j->dev, &j->subject, &g, o->storage, &j->crew));
    j->round = batch * fdit_crew_devices(j->crew);
    TRY(fdit_plan_add(ctx, &j->plan, FDIT_PLAN_HOST, NULL, (size_t)j->round * j->item * sizeof(float),
                      "pictures of a batch"));
out:
    return status;
}

/* The decoder, planned to take what a batch of one leaves of the limit. */
static enum fdit_status plan_decoder(fdit_context *ctx, struct job *j, size_t limit)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_vae_options o = { .height = j->size, .decode = true };
    TRY(fdit_vae_plan(ctx, j->vae, j->dev, &o));
    TRY(plan_models(ctx, j, 1));
    size_t all = fdit_plan_device_bytes(&j->plan);
    size_t decoder = fdit_plan_device_bytes(fdit_vae_plan_of(j->vae));
    if (!limit || all <= limit)
        goto out;
    o.memory = limit > all - decoder ? limit - (all - decoder) : 1;
    TRY(fdit_vae_plan(ctx, j->vae, j->dev, &o));
out:
    return status;
}

/* The plans of the other devices. */
static enum fdit_status check_crew(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    for (int i = 1; i < fdit_crew_devices(j->crew); i++) {
        const struct fdit_plan *plan = fdit_crew_plan(j->crew, i);
        const fdit_device *dev = fdit_crew_device(j->crew, i);
        if (j->hooks && j->hooks->on_plan)
            j->hooks->on_plan(j->hooks->user, plan);
        j->summary->plan_bytes += fdit_plan_device_bytes(plan);
        TRY(fdit_plan_check(ctx, plan, dev, j->o->memory ? j->o->memory : dev->info.memory,
                            "use a smaller --batch, or --weights in 16 bits"));
    }
out:
    return status;
}

/* The batch as asked for, or the largest sensible one that fits. */
static enum fdit_status make_plan(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    size_t limit = j->o->memory ? j->o->memory : j->dev->info.memory;
    int batch = j->o->batch;
    if (!batch) {
        batch = AIM_TOKENS / fdit_config_tokens(&j->subject.files.config);
        batch = batch < 1 ? 1 : batch > AIM_PICTURES ? AIM_PICTURES : batch;
    }
    if ((size_t)batch > j->request.n)
        batch = j->request.n > 0 ? (int)j->request.n : 1;
    if (j->vae)
        TRY(plan_decoder(ctx, j, limit));
    TRY(plan_models(ctx, j, batch));
    while (!j->o->batch && batch > 1 && limit && fdit_plan_device_bytes(&j->plan) > limit) {
        batch /= 2;
        TRY(plan_models(ctx, j, batch));
    }
    j->plan.title = j->dev->next ? j->dev->info.name : NULL;
    TRY(fdit_plan_add_process(ctx, &j->plan, j->dev));
    j->summary->process_plan_bytes = fdit_plan_process_bytes(&j->plan);
    if (j->hooks && j->hooks->on_plan)
        j->hooks->on_plan(j->hooks->user, &j->plan);
    j->summary->plan_bytes = fdit_plan_device_bytes(&j->plan);
    j->summary->batch = batch;
    j->summary->steps = fdit_generator_steps(j->generator);
    TRY(fdit_plan_check(ctx, &j->plan, j->dev, limit, "use a smaller --batch, or --weights in 16 bits"));
    TRY(check_crew(ctx, j));
out:
    return status;
}

static enum fdit_status load_models(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_weight_files *f = &j->subject.files, *g = &j->subject.guide_files;
    struct fdit_load_report report = { 0 };
    TRY(fdit_model_allocate(ctx, j->model));
    if (j->guide_model)
        TRY(fdit_model_allocate(ctx, j->guide_model));
    fdit_generator_bind(j->generator);
    if (j->vae)
        TRY(fdit_vae_allocate(ctx, j->vae));
    double start = fdit_clock_seconds();
    TRY(fdit_model_load(ctx, j->model, f->list, f->n, false, &report));
    if (j->guide_model)
        TRY(fdit_model_load(ctx, j->guide_model, g->list, g->n, false, NULL));
    fdit_log(ctx, FDIT_LOG_INFO, "weights loaded in %.2f s", fdit_clock_seconds() - start);
    TRY(fdit_crew_load(ctx, j->crew));
    j->summary->norms_missing = report.norms_missing;
    if (report.norms_missing)
        fdit_log(ctx, FDIT_LOG_INFO,
                 "%s is a stock DiT without LayerNorm weights: %d scales and offsets are 1 and 0",
                 fdit_checkpoint_path(f->list[f->n - 1]), report.norms_missing);
out:
    return status;
}

/* ------------------------------------------------------------------ where pictures go */

/* A model on latents has no pictures without a decoder. */
static enum fdit_status check_outputs(fdit_context *ctx, const struct job *j)
{
    const struct fdit_sample_options *o = j->o;
    int channels = j->subject.files.config.channels;
    if (j->decodable)
        return FDIT_OK;
    if (!o->latents)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s works on latents (%d channels); give the autoencoder that decodes them, "
                         "--vae FILE, or keep them with --latents FILE.safetensors",
                         o->base, channels);
    if (o->grid || o->tar)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--%s: %s works on latents (%d channels); give the autoencoder that decodes "
                         "them, --vae FILE",
                         o->grid ? "grid" : "tar", o->base, channels);
    return FDIT_OK;
}

/* Opens the autoencoder and says what pictures come out. */
static enum fdit_status open_decoder(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_model_config *c = &j->subject.files.config;
    j->size = c->input_size;
    j->channels = c->channels;
    j->decodable = c->channels == 1 || c->channels == 3;
    if (!j->o->vae)
        goto out;
    TRY(fdit_vae_open(ctx, j->o->vae, &j->vae));
    const struct fdit_vae_config *v = fdit_vae_config_of(j->vae);
    if (v->latent_channels != c->channels)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--vae %s has latents of %d channels, %s works on %d%s", j->o->vae,
             v->latent_channels, j->o->base, c->channels,
             j->decodable ? ", pixels: leave --vae out" : "; give the autoencoder that it was trained with");
    if (v->out_channels != 1 && v->out_channels != 3)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--vae %s makes pictures of %d channels; a PNG has 1 or 3", j->o->vae,
             v->out_channels);
    if (j->o->vae_scale > 0)
        fdit_vae_set_scale(j->vae, j->o->vae_scale);
    j->size = c->input_size * fdit_vae_factor(v);
    j->channels = v->out_channels;
    j->decodable = true;
out:
    return status;
}

/* What was left to the model. A folder that an older program began goes on as it was begun. */
static enum fdit_status settle(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_sample_options *o = &j->options;
    bool pixels = j->decodable && !j->vae;
    double w = NAN;
    int clip = -1;
    if (o->out && !o->overwrite && pixels)
        TRY(fdit_identity_older_defaults(ctx, o->out, &w, &clip));
    if (isnan(o->guidance.w) && !isnan(w)) {
        o->guidance.w = w;
        fdit_log(ctx, FDIT_LOG_WARNING, "%s was begun with --guidance %g and goes on with it", o->out, w);
    }
    if (o->clip_x0 < 0 && clip == 0) {
        o->clip_x0 = 0;
        fdit_log(ctx, FDIT_LOG_WARNING, "%s was begun without --clip-x0 and goes on so", o->out);
    }
    j->summary->settled = pixels && (isnan(o->guidance.w) || o->clip_x0 < 0);
    fdit_sample_settle(o, pixels);
    if (j->subject.guide == FDIT_GUIDE_NONE)
        j->summary->w = 1;
    else
        j->summary->w = o->guidance.w;
    j->summary->clip_x0 = o->clip_x0 > 0;
    if (j->subject.guide != FDIT_GUIDE_NONE &&
        (o->guidance.w > FDIT_SAMPLE_ODD_GUIDANCE || o->guidance.w < 0))
        fdit_log(ctx, FDIT_LOG_WARNING, "--guidance %g: %s; pictures usually come from 1 to 10",
                 o->guidance.w,
                 o->guidance.w < 0 ? "below 0 leads away from the class" : "so much leaves no picture");
out:
    return status;
}

/* Killed jobs leave temporary files beside the files that they were writing. */
static void clean_beside(const char *path)
{
    char *folder = NULL;
    if (path && fdit_path_folder(NULL, path, &folder) == FDIT_OK)
        fdit_folder_clean(NULL, folder, NULL);
    fdit_free(folder);
}

static enum fdit_status open_album(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_sample_options *o = j->o;
    uint64_t vae = 0;
    if (j->vae)
        TRY(fdit_vae_hash(ctx, j->vae, &vae));
    fdit_phase_begin(ctx, 0, "reading %s", fdit_path_base(o->base));
    status = fdit_identity_init(ctx, o, &j->subject, &j->request, j->summary->steps, vae, &j->identity);
    fdit_phase_end(ctx);
    TRY(status);
    TRY(fdit_album_new(ctx, o->out, &j->request, j->subject.taxonomy, j->decodable, o->tar, j->size,
                       &j->album));
    fdit_sampler_format(&o->sampler, j->sampler_text);
    j->caption = (struct fdit_caption){ .identity = &j->identity,
                                        .model = j->model_name,
                                        .sampler = j->sampler_text,
                                        .guide = j->subject.guide_text,
                                        .w = o->guidance.w,
                                        .clip_x0 = o->clip_x0 > 0,
                                        .steps = j->summary->steps,
                                        .width = j->size,
                                        .height = j->size };
    fdit_phase_begin(ctx, 0, "looking at the pictures in %s", o->out);
    status = fdit_album_check(ctx, j->album, &j->identity, o->overwrite);
    fdit_phase_end(ctx);
out:
    return status;
}

/* Real pictures beside sampled ones look as those that the model was trained on. */
static enum fdit_status choose_rules(fdit_context *ctx, const struct job *j, struct fdit_picture_rules *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture_notes notes = { NULL, NULL };
    const struct fdit_checkpoint *file = j->subject.files.list[0];
    const char *train = fdit_checkpoint_meta(file, "train");
    struct fdit_picture_words words;
    if (train)
        TRY(fdit_picture_notes_read(ctx, fdit_checkpoint_path(file), train, strlen(train), &notes));
    words = fdit_picture_notes_words(&notes);
    TRY(fdit_picture_words_rules(ctx, &j->o->look, &words, out));
out:
    fdit_picture_notes_fini(&notes);
    return status;
}

static enum fdit_status open_outputs(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_sample_options *o = j->o;
    size_t pixels = (size_t)j->size * (size_t)j->size;
    if (o->out)
        TRY(open_album(ctx, j));
    clean_beside(o->grid);
    clean_beside(o->latents);
    if (o->grid) {
        struct fdit_picture_rules rules;
        TRY(choose_rules(ctx, j, &rules));
        TRY(fdit_contact_sheet_new(ctx, &j->request, j->subject.taxonomy, j->size, j->channels, o->grid_real,
                                   &rules, &j->contact));
        j->summary->sheet_classes = fdit_contact_sheet_rows(j->contact);
        j->summary->sheet_pages = fdit_contact_sheet_pages(j->contact);
    }
    if (j->decodable)
        TRY(fdit_picture_new(ctx, j->size, j->size, j->channels, &j->picture));
    if (j->vae)
        TRY(fdit_alloc(ctx, pixels * (size_t)j->channels, sizeof *j->decoded, &j->decoded));
    TRY(fdit_alloc(ctx, (size_t)j->round * j->item, sizeof *j->x, &j->x));
    TRY(fdit_alloc(ctx, (size_t)j->round, sizeof *j->specs, &j->specs));
    TRY(fdit_alloc(ctx, (size_t)j->round, sizeof *j->places, &j->places));
out:
    return status;
}

static bool is_needed(const struct job *j, size_t p)
{
    if (j->o->latents)
        return true;
    if (j->album)
        return !fdit_album_has(j->album, p);
    struct fdit_request_item item = fdit_request_at(&j->request, p);
    return fdit_contact_sheet_wants(j->contact, &item);
}

static size_t count_needed(const struct job *j)
{
    size_t n = 0;
    for (size_t p = 0; p < j->request.n; p++)
        n += is_needed(j, p);
    return n;
}

static enum fdit_status report(fdit_context *ctx, struct job *j, size_t p, bool kept)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_request_item item = fdit_request_at(&j->request, p);
    char *file = NULL;
    if (!j->hooks || !j->hooks->on_picture)
        return FDIT_OK;
    if (j->album && j->decodable)
        TRY(fdit_album_file(ctx, j->album, p, &file));
    struct fdit_sample_picture picture = {
        .index = item.index, .id = item.id, .seed = item.seed, .file = file, .kept = kept
    };
    picture.class_name = fdit_taxonomy_class_name(j->subject.taxonomy, item.id);
    j->hooks->on_picture(j->hooks->user, &picture);
out:
    fdit_free(file);
    return status;
}

/* x of picture p to wherever it belongs. */
static enum fdit_status deliver(fdit_context *ctx, struct job *j, size_t p, const float *x)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_request_item item = fdit_request_at(&j->request, p);
    bool kept = j->album && fdit_album_has(j->album, p);
    for (size_t i = 0; i < j->item; i++)
        if (!isfinite(x[i]))
            FAIL(ctx, FDIT_ERROR_NUMERIC,
                 "class %s, seed %" PRIu64 ": number %zu of the result is not finite; check the weights "
                 "(finediffusion inspect), or use a smaller --guidance",
                 fdit_taxonomy_class_name(j->subject.taxonomy, item.id), item.seed, i);
    if (j->decodable) {
        if (j->vae)
            TRY(fdit_vae_decode(ctx, j->vae, x, j->decoded));
        fdit_pixels(j->vae ? j->decoded : x, j->channels, (size_t)j->size * (size_t)j->size,
                    j->picture.pixels);
        if (j->album)
            TRY(fdit_album_put(ctx, j->album, p, &j->picture));
        if (j->contact && fdit_contact_sheet_wants(j->contact, &item))
            TRY(fdit_contact_sheet_put(ctx, j->contact, &item, &j->picture));
    }
    j->summary->computed++;
    j->done++;
    TRY(report(ctx, j, p, kept));
out:
    return status;
}

/* ------------------------------------------------------------------ sampling */

/* Samples the next pictures that are needed; *n of them, 0 at the end. */
static enum fdit_status run_batch(fdit_context *ctx, struct job *j, int *n)
{
    enum fdit_status status = FDIT_OK;
    *n = 0;
    for (; j->next < j->request.n && *n < j->round; j->next++) {
        if (!is_needed(j, j->next))
            continue;
        struct fdit_request_item item = fdit_request_at(&j->request, j->next);
        j->places[*n] = j->next;
        j->specs[(*n)++] = fdit_subject_picture(&j->subject, item.id, item.seed);
    }
    if (!*n)
        goto out;
    j->summary->in_flight = (size_t)*n;
    j->rows_first = j->places[0];
    j->rows_end = j->places[*n - 1] + 1;
    TRY(fdit_crew_run(ctx, j->crew, j->generator, j->specs, *n, j->x));
    if (j->vae)
        fdit_phase_begin(ctx, (uint64_t)*n, "decoding");
    for (int i = 0; i < *n && status == FDIT_OK; i++) {
        status = deliver(ctx, j, j->places[i], j->x + (size_t)i * j->item);
        if (j->vae)
            fdit_phase_at(ctx, (uint64_t)i + 1);
    }
    if (j->vae)
        fdit_phase_end(ctx);
    TRY(status);
    on_step(j, j->summary->steps, j->summary->steps); /* now with these pictures counted */
out:
    return status;
}

/* Numbers first..first+n-1 of all rows, which are sampled while the file is written. */
static enum fdit_status fill_latents(fdit_context *ctx, void *user, size_t first, size_t n, void *out)
{
    enum fdit_status status = FDIT_OK;
    struct job *j = user;
    float *to = out;
    while (n) {
        int made;
        if (first >= j->rows_end * j->item)
            TRY(run_batch(ctx, j, &made));
        size_t from = first - j->rows_first * j->item;
        size_t part = j->rows_end * j->item - first;
        part = part < n ? part : n;
        memcpy(to, j->x + from, part * sizeof *to);
        to += part;
        first += part;
        n -= part;
    }
out:
    return status;
}

static enum fdit_status write_latents(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_model_config *c = &j->subject.files.config;
    struct fdit_st_writer *w = NULL;
    int64_t *ids = NULL, *seeds = NULL, rows = (int64_t)j->request.n;
    const int64_t shape[4] = { rows, c->channels, c->input_size, c->input_size };
    TRY(fdit_alloc(ctx, j->request.n, sizeof *ids, &ids));
    TRY(fdit_alloc(ctx, j->request.n, sizeof *seeds, &seeds));
    for (size_t p = 0; p < j->request.n; p++) {
        struct fdit_request_item item = fdit_request_at(&j->request, p);
        ids[p] = item.id;
        seeds[p] = (int64_t)item.seed;
    }
    TRY(fdit_st_writer_new(ctx, &w));
    TRY(fdit_st_writer_meta(ctx, w, "format", "finediffusion-latents"));
    TRY(fdit_st_writer_meta(ctx, w, "version", "1"));
    TRY(fdit_st_writer_raw(ctx, w, "id", FDIT_ST_I64, 1, &rows, ids));
    TRY(fdit_st_writer_raw(ctx, w, "seed", FDIT_ST_I64, 1, &rows, seeds));
    TRY(fdit_st_writer_fill(ctx, w, "x", FDIT_ST_F32, 4, shape, fill_latents, j));
    TRY(fdit_st_writer_save(ctx, w, j->o->latents));
out:
    fdit_st_writer_free(w);
    fdit_free(ids);
    fdit_free(seeds);
    return status;
}

static enum fdit_status sample_all(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    int n = 1;
    if (j->o->latents)
        return write_latents(ctx, j);
    while (n)
        TRY(run_batch(ctx, j, &n));
out:
    return status;
}

/* ------------------------------------------------------------------ the end */

/* Pictures that were there already: the sheet shows them, too. */
static enum fdit_status take_kept(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture picture = { 0 };
    for (size_t p = 0; j->album && !j->o->latents && p < j->request.n; p++) {
        if (!fdit_album_has(j->album, p))
            continue;
        struct fdit_request_item item = fdit_request_at(&j->request, p);
        if (j->contact && fdit_contact_sheet_wants(j->contact, &item)) {
            TRY(fdit_album_get(ctx, j->album, p, &picture));
            TRY(fdit_contact_sheet_put(ctx, j->contact, &item, &picture));
            fdit_picture_fini(&picture);
        }
        TRY(report(ctx, j, p, true));
    }
out:
    fdit_picture_fini(&picture);
    return status;
}

static enum fdit_status write_sheet(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    char sampler[40], *model = NULL, *title = NULL;
    fdit_sampler_format(&j->o->sampler, sampler);
    TRY(fdit_config_name(ctx, &j->subject.files.config, &model));
    TRY(fdit_contact_sheet_title(
        ctx,
        &(struct fdit_contact_sheet_title){
            .base = j->o->base,
            .delta = j->o->delta,
            .model = model,
            .sampler = sampler,
            .guide = j->subject.guide == FDIT_GUIDE_NONE ? NULL : j->subject.guide_text,
            .precision = fdit_dtype_name(j->o->precision),
            .steps = j->summary->steps,
            .w = j->o->guidance.w,
            .clip_x0 = j->o->clip_x0 > 0 },
        &title));
    TRY(fdit_contact_sheet_write(ctx, j->contact, title, j->o->grid));
out:
    fdit_free(model);
    fdit_free(title);
    return status;
}

static void summarise(struct job *j, double seconds)
{
    struct fdit_sample_summary *s = j->summary;
    struct rusage usage;
    double forward = fdit_config_forward_flops(&j->subject.files.config), passes = s->steps;
    struct fdit_sampler *sampler = NULL;
    if (j->subject.guide != FDIT_GUIDE_NONE &&
        fdit_sampler_new(NULL, &j->o->sampler, s->steps, &sampler) == FDIT_OK)
        for (int k = 0; k < s->steps; k++)
            passes += fdit_guidance_active(&j->o->guidance, sampler->coef[k].t);
    fdit_sampler_free(sampler);
    s->seconds = seconds;
    s->pictures_per_second = seconds > 0 ? (double)s->computed / seconds : 0;
    s->gflops = s->pictures_per_second * forward * passes / 1e9;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        s->peak_bytes = (size_t)usage.ru_maxrss * 1024;
}

static enum fdit_status work(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    size_t needed = count_needed(j), kept = j->album ? fdit_album_kept(j->album) : 0;
    j->summary->kept = kept;
    if (j->hooks && j->hooks->on_begin)
        j->hooks->on_begin(j->hooks->user);
    if (needed) {
        fdit_phase_begin(ctx, 0, "reading %s", fdit_path_base(j->o->base));
        status = load_models(ctx, j);
        fdit_phase_end(ctx);
        TRY(status);
    }
    if (j->album)
        TRY(fdit_album_begin(ctx, j->album, &j->identity, &j->caption));
    j->done = j->o->latents ? 0 : j->request.n - needed;
    if (j->hooks && j->hooks->on_start)
        j->hooks->on_start(j->hooks->user, j->done, j->request.n);
    double began = fdit_clock_seconds();
    if (needed || j->o->latents)
        status = sample_all(ctx, j);
    summarise(j, fdit_clock_seconds() - began);
    size_t lost = j->album ? fdit_album_unfinished(j->album) : 0;
    if (status == FDIT_INTERRUPTED)
        FAIL(ctx, status, "stopped after %zu of %zu pictures; %s", j->done - lost, j->request.n,
             j->album && j->decodable ? "the same command goes on with the others" : "nothing was written");
    TRY(status);
    TRY(take_kept(ctx, j));
    if (j->album) {
        fdit_phase_begin(ctx, 0, "waiting for the disk");
        status = fdit_album_end(ctx, j->album);
        fdit_phase_end(ctx);
        TRY(status);
    }
    if (j->contact)
        TRY(write_sheet(ctx, j));
out:
    return status;
}

static void close_job(struct job *j)
{
    free_models(j);
    fdit_vae_free(j->vae);
    fdit_album_free(j->album);
    fdit_contact_sheet_free(j->contact);
    fdit_identity_fini(&j->identity);
    fdit_free(j->model_name);
    fdit_picture_fini(&j->picture);
    fdit_request_fini(&j->request);
    fdit_subject_close(&j->subject);
    fdit_free(j->x);
    fdit_free(j->decoded);
    fdit_free(j->specs);
    fdit_free(j->places);
}

enum fdit_status fdit_sample_run(fdit_context *ctx, fdit_device *dev,
                                 const struct fdit_sample_options *options,
                                 const struct fdit_sample_hooks *hooks, bool plan_only,
                                 struct fdit_sample_summary *summary)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_sample_summary own;
    const struct fdit_sample_options *o = options;
    struct job j = { .options = *options, .hooks = hooks, .dev = dev, .summary = summary ? summary : &own };
    j.o = &j.options;
    *j.summary = (struct fdit_sample_summary){ 0 };
    TRY(fdit_sample_check(ctx, options, plan_only));
    TRY(fdit_subject_open(ctx, options, &j.subject));
    TRY(fdit_request_init(ctx, j.subject.taxonomy, o->classes, o->counts, o->per_class, o->seed, o->shard,
                          o->shards, &j.request));
    const struct fdit_model_config *c = &j.subject.files.config;
    j.item = (size_t)c->channels * (size_t)c->input_size * (size_t)c->input_size;
    TRY(open_decoder(ctx, &j));
    TRY(settle(ctx, &j));
    TRY(fdit_config_name(ctx, c, &j.model_name));
    snprintf(j.summary->model, sizeof j.summary->model, "%s", j.model_name);
    j.summary->classes = j.request.n_classes;
    j.summary->pictures = j.request.n;
    snprintf(j.summary->guide, sizeof j.summary->guide, "%s", j.subject.guide_text);
    if (!plan_only)
        TRY(check_outputs(ctx, &j));
    TRY(make_plan(ctx, &j));
    if (plan_only)
        goto out;
    TRY(open_outputs(ctx, &j));
    TRY(work(ctx, &j));
out:
    close_job(&j);
    return status;
}
