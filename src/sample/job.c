/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/running.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/mem.h"
#include "core/phase.h"
#include "core/share.h"
#include "format/safetensors.h"
#include "sample/album.h"
#include "sample/candidates.h"
#include "sample/contact_sheet.h"
#include "sample/like.h"
#include "sample/painter.h"
#include "sample/top_up.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ the plan */

static void on_step(void *user, int step, int steps)
{
    const struct job *j = user;
    if (j->hooks && j->hooks->on_step && !j->choosing)
        j->hooks->on_step(j->hooks->user, j->done, j->request.n, step, steps);
}

static enum fdit_status open_real(fdit_context *ctx, struct job *j, size_t *reading)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture_rules rules;
    if (!j->o->grid_real)
        return FDIT_OK;
    TRY(fdit_sample_source_rules(ctx, &j->source, &j->o->look, &rules));
    fdit_phase_begin(ctx, 0, "reading the names of pictures in %s", j->o->grid_real);
    status = fdit_contact_sheet_real(ctx, j->o->grid_real, j->source.taxonomy, fdit_painter_size(j->painter),
                                     fdit_painter_channels(j->painter), &rules, &j->real, reading);
    fdit_phase_end(ctx);
out:
    return status;
}

/* The batch as asked for, or the largest sensible one that fits. */
static enum fdit_status make_plan(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_sample_options *o = j->o;
    struct fdit_generator_options how = fdit_sample_way(o, &j->source);
    how.on_step = on_step;
    how.user = j;
    if (o->grid && j->request.total) {
        size_t bytes, reading = 0;
        TRY(open_real(ctx, j, &reading));
        TRY(fdit_contact_sheet_bytes(ctx, &j->request, j->source.taxonomy, fdit_painter_size(j->painter),
                                     fdit_painter_channels(j->painter), o->grid_real, &bytes));
        fdit_painter_beside(j->painter, bytes + reading,
                            reading ? "contact sheet, reading real pictures" : "contact sheet");
    }
    TRY(fdit_painter_plan(ctx, j->painter, &how, j->request.n ? j->request.n : 1));
    j->summary->process_plan_bytes = fdit_plan_process_bytes(fdit_painter_plan_of(j->painter, 0));
    j->summary->batch = fdit_painter_batch(j->painter);
    j->summary->steps = fdit_painter_steps(j->painter);
    j->round = fdit_painter_round(j->painter);
    for (int i = 0; i < fdit_painter_devices(j->painter); i++) {
        const struct fdit_plan *plan = fdit_painter_plan_of(j->painter, i);
        if (j->hooks && j->hooks->on_plan)
            j->hooks->on_plan(j->hooks->user, plan);
        j->summary->plan_bytes += fdit_plan_device_bytes(plan);
        TRY(fdit_painter_check(ctx, j->painter, i));
    }
out:
    return status;
}

static enum fdit_status load_models(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_weight_files *f = &j->source.files;
    struct fdit_load_report report = { 0 };
    if (j->loaded)
        return FDIT_OK;
    if (j->lender)
        TRY(load_models(ctx, j->lender));
    TRY(fdit_painter_load(ctx, j->painter, &report));
    j->loaded = true;
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
    int channels = j->source.files.config.channels;
    if (fdit_painter_decodes(j->painter))
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

/* What was left to the model. A folder that an older program began goes on as it was begun. */
static enum fdit_status settle(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_sample_options *o = &j->options;
    bool pixels = fdit_painter_decodes(j->painter) && !fdit_painter_vae(j->painter);
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
    TRY(fdit_sample_settle(ctx, o, &j->source, pixels));
    if (j->source.guide.kind == FDIT_GUIDE_NONE && !j->source.guide.input)
        j->summary->w = 1;
    else
        j->summary->w = o->guidance.w;
    j->summary->clip_x0 = o->clip_x0 > 0;
    if (j->source.guide.kind != FDIT_GUIDE_NONE &&
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

static enum fdit_status compare_like(fdit_context *ctx, const struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_like like = { .path = NULL };
    TRY(fdit_like_read(ctx, j->o->like, &like));
    TRY(fdit_like_compare(ctx, &like, &j->identity));
out:
    fdit_like_fini(&like);
    return status;
}

static enum fdit_status identify(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_sample_options *o = j->o;
    const struct fdit_vae *decoder = fdit_painter_vae(j->painter);
    struct fdit_identity_files files = { 0 };
    if (decoder)
        TRY(fdit_vae_hash(ctx, decoder, &files.vae));
    fdit_phase_begin(ctx, 0, "reading %s", fdit_path_base(o->base));
    status = fdit_identity_read(ctx, &j->source, &files);
    fdit_phase_end(ctx);
    TRY(status);
    TRY(fdit_identity_init(ctx, o, &j->source, &files, &j->request, j->summary->steps, &j->identity));
out:
    return status;
}

/* With --candidates: which seeds are drawn. */
static enum fdit_status choose_seeds(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    fdit_phase_begin(ctx, 0, "reading %s", fdit_path_base(j->o->base));
    status = load_models(ctx, j);
    fdit_phase_end(ctx);
    TRY(status);
    j->choosing = true;
    status = fdit_candidates_choose(ctx, j->painter, &j->source, &j->identity, j->o->out, &j->request);
    j->choosing = false;
out:
    return status;
}

static enum fdit_status open_album(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_sample_options *o = j->o;
    int size = fdit_painter_size(j->painter);
    if (o->like)
        TRY(compare_like(ctx, j));
    TRY(fdit_album_new(ctx, o->out, &j->request, j->source.taxonomy, fdit_painter_decodes(j->painter), o->tar,
                       size, &j->album));
    fdit_sampler_format(&o->sampler, j->sampler_text);
    j->caption = (struct fdit_caption){ .identity = &j->identity,
                                        .model = j->model_name,
                                        .sampler = j->sampler_text,
                                        .guide = j->source.guide.text,
                                        .w = o->guidance.w,
                                        .clip_x0 = o->clip_x0 > 0,
                                        .steps = j->summary->steps,
                                        .width = size,
                                        .height = size };
    fdit_phase_begin(ctx, 0, "looking at the pictures in %s", o->out);
    status = fdit_album_check(ctx, j->album, &j->identity, o->overwrite);
    fdit_phase_end(ctx);
out:
    return status;
}

static enum fdit_status open_outputs(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_sample_options *o = j->o;
    int size = fdit_painter_size(j->painter), channels = fdit_painter_channels(j->painter);
    if (o->out || o->candidates > 1)
        TRY(identify(ctx, j));
    if (o->candidates > 1)
        TRY(choose_seeds(ctx, j));
    if (o->out)
        TRY(open_album(ctx, j));
    clean_beside(o->grid);
    clean_beside(o->latents);
    if (o->grid) {
        TRY(fdit_contact_sheet_new(ctx, &j->request, j->source.taxonomy, size, channels, j->real, &j->sheet));
        fdit_dataset_close(j->real);
        j->real = NULL;
        j->summary->sheet_classes = fdit_contact_sheet_rows(j->sheet);
        j->summary->sheet_pages = fdit_contact_sheet_pages(j->sheet);
    }
    if (fdit_painter_decodes(j->painter))
        TRY(fdit_picture_new(ctx, size, size, channels, &j->picture));
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
    return fdit_contact_sheet_wants(j->sheet, &item);
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
    if (j->album && fdit_painter_decodes(j->painter))
        TRY(fdit_album_file(ctx, j->album, p, &file));
    struct fdit_sample_picture picture = {
        .index = item.index, .id = item.id, .seed = item.seed, .file = file, .kept = kept
    };
    picture.class_name = fdit_taxonomy_class_name(j->source.taxonomy, item.id);
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
    const struct fdit_picture_spec spec = { .class_id = item.id, .seed = item.seed };
    TRY(fdit_sample_source_check(ctx, &j->source, &spec, x, j->item));
    if (fdit_painter_decodes(j->painter)) {
        TRY(fdit_painter_decode(ctx, j->painter, x, j->picture.pixels));
        if (j->album)
            TRY(fdit_album_put(ctx, j->album, p, &j->picture));
        if (j->sheet && fdit_contact_sheet_wants(j->sheet, &item))
            TRY(fdit_contact_sheet_put(ctx, j->sheet, &item, &j->picture));
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
        j->specs[(*n)++] = fdit_sample_source_picture(&j->source, item.id, item.seed);
    }
    if (!*n)
        goto out;
    j->summary->in_flight = (size_t)*n;
    j->rows_first = j->places[0];
    j->rows_end = j->places[*n - 1] + 1;
    TRY(fdit_painter_draw(ctx, j->painter, j->specs, (size_t)*n, j->x));
    const bool decoding = fdit_painter_vae(j->painter) != NULL;
    if (decoding)
        fdit_phase_begin(ctx, (uint64_t)*n, "decoding");
    for (int i = 0; i < *n && status == FDIT_OK; i++) {
        status = deliver(ctx, j, j->places[i], j->x + (size_t)i * j->item);
        if (decoding)
            fdit_phase_at(ctx, (uint64_t)i + 1);
    }
    if (decoding)
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
    const struct fdit_model_config *c = &j->source.files.config;
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
        if (j->sheet && fdit_contact_sheet_wants(j->sheet, &item)) {
            TRY(fdit_album_get(ctx, j->album, p, &picture));
            TRY(fdit_contact_sheet_put(ctx, j->sheet, &item, &picture));
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
    TRY(fdit_config_name(ctx, &j->source.files.config, &model));
    TRY(fdit_contact_sheet_title(ctx,
                                 &(struct fdit_contact_sheet_title){
                                     .base = j->o->base,
                                     .delta = j->o->delta,
                                     .model = model,
                                     .sampler = sampler,
                                     .guide = j->summary->w == 1 && j->source.guide.kind == FDIT_GUIDE_NONE
                                                  ? NULL
                                                  : j->source.guide.text,
                                     .precision = fdit_dtype_name(j->o->precision),
                                     .steps = j->summary->steps,
                                     .w = j->o->guidance.w,
                                     .clip_x0 = j->o->clip_x0 > 0 },
                                 &title));
    TRY(fdit_contact_sheet_write(ctx, j->sheet, title, j->o->grid));
out:
    fdit_free(model);
    fdit_free(title);
    return status;
}

/* Evaluations of the network for a picture, and how many of the sampler's are full. */
static void count_passes(struct job *j)
{
    struct fdit_sample_summary *s = j->summary;
    struct fdit_sampler *sampler = NULL;
    struct fdit_sampler_spec spec = j->o->sampler;
    struct fdit_reuse reuse;
    struct fdit_branch_use use;
    bool was = false;
    spec.objective = j->source.files.config.objective;
    if (fdit_sampler_new(NULL, &spec, s->steps, &sampler) != FDIT_OK)
        return;
    fdit_reuse_begin(&reuse, &j->o->reuse, sampler->steps);
    for (int k = 0; k < sampler->steps; k++) {
        const bool guided = j->source.guide.kind != FDIT_GUIDE_NONE &&
                            fdit_guidance_active(&j->o->guidance, sampler->coef[k].at);
        const bool full = j->o->reuse.interval <= 1 || fdit_reuse_step(&reuse, k, guided && !was, &use);
        was = guided;
        s->evaluations++;
        s->full += full;
        s->passes += full ? 1 + guided : 0;
    }
    fdit_sampler_free(sampler);
}

static void summarise(struct job *j, double seconds)
{
    struct fdit_sample_summary *s = j->summary;
    double forward = fdit_config_forward_flops(&j->source.files.config), passes = s->passes;
    s->seconds = seconds;
    s->pictures_per_second = seconds > 0 ? (double)s->computed / seconds : 0;
    s->gflops = s->pictures_per_second * forward * passes / 1e9;
    s->peak_bytes = fdit_mem_highest();
}

/* A full disk, say: the pictures that are whole stay. */
static enum fdit_status tell_how_to_go_on(fdit_context *ctx)
{
    enum fdit_status status = FDIT_OK;
    char *message = NULL;
    TRY(fdit_strdup(ctx, fdit_context_message(ctx), &message));
    status = fdit_fail(ctx, FDIT_ERROR_IO,
                       "%s; the pictures before it stay: make room, then the same command goes on", message);
out:
    fdit_free(message);
    return status;
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
    struct fdit_share share;
    fdit_share_begin(&share);
    if (needed || j->o->latents)
        status = sample_all(ctx, j);
    fdit_share_note(ctx, &share, fdit_devices_threads(j->devices));
    summarise(j, fdit_clock_seconds() - began);
    const bool stopped = status == FDIT_INTERRUPTED;
    if (stopped && j->album)
        TRY(fdit_album_keep(ctx, j->album));
    if (stopped)
        FAIL(ctx, FDIT_INTERRUPTED, "stopped after %zu of %zu pictures; %s", j->done, j->request.n,
             j->album && fdit_painter_decodes(j->painter) ? "the same command goes on with the others"
                                                          : "nothing was written");
    if (status == FDIT_ERROR_IO && j->album)
        status = tell_how_to_go_on(ctx);
    TRY(status);
    TRY(take_kept(ctx, j));
    if (j->album) {
        fdit_phase_begin(ctx, 0, "waiting for the disk");
        status = fdit_album_end(ctx, j->album);
        fdit_phase_end(ctx);
        TRY(status);
        if (j->o->candidates > 1)
            fdit_candidates_done(ctx, j->o->out, &j->request);
        if (j->top_up.data)
            TRY(fdit_top_up_finish(ctx, &j->top_up, j->album, &j->request, j->o->out, j->o->tar));
    }
    if (j->sheet)
        TRY(write_sheet(ctx, j));
out:
    return status;
}

void fdit_sample_close(struct job *j)
{
    fdit_painter_free(j->painter);
    fdit_album_free(j->album);
    fdit_contact_sheet_free(j->sheet);
    fdit_dataset_close(j->real);
    fdit_identity_fini(&j->identity);
    fdit_free(j->model_name);
    fdit_picture_fini(&j->picture);
    fdit_request_fini(&j->request);
    fdit_top_up_close(&j->top_up);
    fdit_sample_source_close(&j->source);
    fdit_free(j->x);
    fdit_free(j->specs);
    fdit_free(j->places);
    *j = (struct job){ 0 };
}

static enum fdit_status make_request(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_sample_options *o = j->o;
    if (!o->top_up && !o->classes && !o->counts && j->source.fresh.n)
        return fdit_request_range(ctx, j->source.fresh.first, j->source.fresh.n, o->per_class, o->seed,
                                  o->shard, o->shards, &j->request);
    if (!o->top_up)
        return fdit_request_init(ctx, j->source.taxonomy, o->classes, o->counts, o->per_class, o->seed,
                                 o->shard, o->shards, &j->request);
    TRY(fdit_top_up_open(ctx, o->counts_of, j->source.taxonomy, &j->top_up));
    TRY(fdit_top_up_request(ctx, &j->top_up, o->classes, o->top_up, o->seed, o->shard, o->shards,
                            &j->request));
out:
    return status;
}

/* Every picture gets so many seeds. */
static enum fdit_status set_candidates(fdit_context *ctx, struct job *j)
{
    const struct fdit_sample_options *o = j->o;
    if (o->candidates <= 1)
        return FDIT_OK;
    if (j->source.guide.kind == FDIT_GUIDE_NONE || o->guidance.w == 1)
        return fdit_fail(
            ctx, FDIT_ERROR_ARGUMENT,
            "--candidates %d: the best is found by what a guide says, and there is none; give a --guide "
            "and a --guidance other than 1",
            o->candidates);
    if (j->request.total > INT32_MAX / (size_t)o->candidates)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--candidates %d of %zu pictures are too many; ask for fewer", o->candidates,
                         j->request.total);
    j->request.candidates = o->candidates;
    return FDIT_OK;
}

enum fdit_status fdit_sample_prepare(fdit_context *ctx, struct job *j, bool plan_only)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_sample_options *o = j->o;
    *j->summary = (struct fdit_sample_summary){ 0 };
    TRY(fdit_sample_check(ctx, o, plan_only));
    TRY(fdit_sample_source_open_beside(ctx, o, j->lender ? &j->lender->source : NULL, &j->source));
    TRY(make_request(ctx, j));
    TRY(fdit_painter_new(ctx, j->devices, &j->source,
                         &(struct fdit_painter_options){ .storage = o->storage,
                                                         .vae = o->vae,
                                                         .vae_scale = o->vae_scale,
                                                         .memory = o->memory,
                                                         .merge = o->merge,
                                                         .lender = j->lender ? j->lender->painter : NULL },
                         &j->painter));
    j->item = fdit_painter_item(j->painter);
    TRY(set_candidates(ctx, j));
    TRY(settle(ctx, j));
    TRY(fdit_config_name(ctx, &j->source.files.config, &j->model_name));
    snprintf(j->summary->model, sizeof j->summary->model, "%s", j->model_name);
    j->summary->classes = j->request.n_classes;
    j->summary->pictures = j->request.n;
    snprintf(j->summary->guide, sizeof j->summary->guide, "%s", j->source.guide.text);
    if (!plan_only)
        TRY(check_outputs(ctx, j));
    TRY(make_plan(ctx, j));
    count_passes(j);
out:
    return status;
}

enum fdit_status fdit_sample_draw(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    TRY(open_outputs(ctx, j));
    TRY(work(ctx, j));
    if (j->hooks && j->hooks->on_end)
        j->hooks->on_end(j->hooks->user);
out:
    return status;
}

void fdit_sample_tell(const struct job *j)
{
    if (j->hooks && j->hooks->on_job)
        j->hooks->on_job(j->hooks->user, j->o, j->summary);
}

enum fdit_status fdit_sample_run(fdit_context *ctx, const struct fdit_devices *devices,
                                 const struct fdit_sample_options *options,
                                 const struct fdit_sample_hooks *hooks, bool plan_only,
                                 struct fdit_sample_summary *summary)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_sample_summary own;
    struct job j = {
        .options = *options, .hooks = hooks, .devices = devices, .summary = summary ? summary : &own
    };
    j.o = &j.options;
    if (options->n_deltas > 1)
        return fdit_sample_several(ctx, &j, plan_only);
    fdit_sample_tell(&j);
    TRY(fdit_sample_prepare(ctx, &j, plan_only));
    if (!plan_only)
        TRY(fdit_sample_draw(ctx, &j));
out:
    fdit_sample_close(&j);
    return status;
}
