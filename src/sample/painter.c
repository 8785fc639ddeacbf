/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/painter.h"

#include "core/clock.h"
#include "core/mem.h"
#include "core/threads.h"
#include "model/merge.h"
#include "sample/pixels.h"
#include "vae/projection.h"

#include <string.h>

/* Tokens of one pass and pictures of one batch that batch 0 aims at: enough rows for the matrix
 * products to run at full speed, with little memory. */
enum { AIM_TOKENS = 4096, AIM_PICTURES = 64 };

static const char remedy[] = "use a smaller --batch, or --weights in 16 bits";

struct replica {
    fdit_device *dev;
    struct fdit_model *model, *guide; /* guide: only where it is another model */
    struct fdit_generator *generator;
    struct fdit_plan plan; /* of all of them, for people and the limit */
};

struct fdit_painter {
    const struct fdit_sample_source *source; /* NULL: the model is the caller's */
    struct fdit_painter_options options;
    struct replica *replicas; /* [n], one a device */
    int n, batch;
    struct fdit_vae *vae; /* NULL: none */
    int model_channels;
    size_t item;
    bool decodes;
    int size, channels; /* of pictures */
    size_t beside;      /* bytes of the caller */
    const char *beside_label;
    float *decoded;                     /* [channels, size, size] */
    struct fdit_projection *projection; /* NULL: no glances, or x is a picture */
    /* the drawing in progress */
    const struct fdit_picture_spec *pictures;
    int todo;
    float *x;
    double *scores; /* NULL: not wanted */
};

/* ------------------------------------------------------------------ making */

/* That it opened itself. */
static struct fdit_vae *own_vae(const struct fdit_painter *p)
{
    return p->source && !p->options.lent_vae ? p->vae : NULL;
}

/* Opens the autoencoder and says what pictures come out. */
static enum fdit_status open_decoder(fdit_context *ctx, struct fdit_painter *p)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_weight_files *files = &p->source->files;
    const struct fdit_model_config *c = &files->config;
    const char *path = p->options.vae;
    if (!path)
        goto out;
    if (p->options.lent_vae)
        p->vae = p->options.lender->vae;
    else
        TRY(fdit_vae_open(ctx, path, &p->vae));
    const struct fdit_vae_config *v = fdit_vae_config_of(p->vae);
    if (v->latent_channels != c->channels)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--vae %s has latents of %d channels, %s works on %d%s", path,
             v->latent_channels, fdit_checkpoint_path(files->list[files->n - 1]), c->channels,
             p->decodes ? ", pixels: leave --vae out" : "; give the autoencoder that it was trained with");
    if (v->out_channels != 1 && v->out_channels != 3)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--vae %s makes pictures of %d channels; a PNG has 1 or 3", path,
             v->out_channels);
    if (own_vae(p) && p->options.vae_scale > 0)
        fdit_vae_set_scale(p->vae, p->options.vae_scale);
out:
    return status;
}

/* What is drawn, by a model of these sizes and the autoencoder. */
static enum fdit_status describe(fdit_context *ctx, struct fdit_painter *p, const struct fdit_model_config *c)
{
    enum fdit_status status = FDIT_OK;
    p->model_channels = c->channels;
    p->item = (size_t)c->channels * (size_t)c->input_size * (size_t)c->input_size;
    p->size = c->input_size;
    p->channels = c->channels;
    p->decodes = c->channels == 1 || c->channels == 3;
    if (p->source)
        TRY(open_decoder(ctx, p));
    if (!p->vae)
        goto out;
    p->size = c->input_size * fdit_vae_factor(fdit_vae_config_of(p->vae));
    p->channels = fdit_vae_config_of(p->vae)->out_channels;
    p->decodes = p->channels == 1 || p->channels == 3;
    TRY(fdit_alloc(ctx, (size_t)p->size * (size_t)p->size * (size_t)p->channels, sizeof *p->decoded,
                   &p->decoded));
    if (p->options.glances)
        TRY(fdit_projection_new(ctx,
                                &(struct fdit_projection_size){ .latents = c->channels,
                                                                .channels = p->channels,
                                                                .height = c->input_size,
                                                                .width = c->input_size,
                                                                .factor = p->size / c->input_size },
                                &p->projection));
out:
    return status;
}

enum fdit_status fdit_painter_new(fdit_context *ctx, const struct fdit_devices *devices,
                                  const struct fdit_sample_source *source,
                                  const struct fdit_painter_options *options, struct fdit_painter **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_painter *p = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *p, &p));
    p->source = source;
    p->options = *options;
    TRY(describe(ctx, p, &source->files.config));
    TRY(fdit_alloc(ctx, (size_t)devices->n, sizeof *p->replicas, &p->replicas));
    for (; p->n < devices->n; p->n++)
        p->replicas[p->n].dev = devices->list[p->n];
    *out = p;
    return FDIT_OK;
out:
    fdit_painter_free(p);
    return status;
}

enum fdit_status fdit_painter_over(fdit_context *ctx, struct fdit_model *model, struct fdit_vae *vae,
                                   const struct fdit_generator_options *how, struct fdit_painter **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_painter *p = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *p, &p));
    p->vae = vae;
    p->batch = how->batch;
    TRY(describe(ctx, p, &model->config));
    TRY(fdit_alloc(ctx, 1, sizeof *p->replicas, &p->replicas));
    p->n = 1;
    p->replicas[0].dev = model->dev;
    p->replicas[0].model = model;
    TRY(fdit_generator_new(ctx, model, NULL, how, &p->replicas[0].generator));
    *out = p;
    return FDIT_OK;
out:
    fdit_painter_free(p);
    return status;
}

static void free_models(struct fdit_painter *p)
{
    for (int i = 0; i < p->n; i++) {
        struct replica *r = &p->replicas[i];
        fdit_generator_free(r->generator);
        if (p->source)
            fdit_model_free(r->model);
        fdit_model_free(r->guide);
        fdit_plan_fini(&r->plan);
        *r = (struct replica){ .dev = r->dev };
    }
}

void fdit_painter_free(struct fdit_painter *p)
{
    if (!p)
        return;
    free_models(p);
    fdit_vae_free(own_vae(p));
    fdit_free(p->replicas);
    fdit_free(p->decoded);
    fdit_projection_free(p->projection);
    fdit_free(p);
}

/* ------------------------------------------------------------------ the plan */

/* Where the sampled model and the guide come from. */
struct lent {
    const struct fdit_weight_files *model, *guide;
    const struct fdit_model_config *model_config, *guide_config;
};

/* The file of a parameter; NULL when it is not as it stands there. */
static const struct fdit_checkpoint *
file_of(const struct fdit_weight_files *f, const struct fdit_model_config *config, const struct fdit_param *p)
{
    int from = 0;
    if (fdit_merges(f->list[0], config) && fdit_merge_changes(f->list[0], p))
        return NULL;
    while (from < f->n && !fdit_checkpoint_has(f->list[from], p->name))
        from++;
    return from < f->n ? f->list[from] : NULL;
}

/* Two deltas of one base, and the base beside its delta, share the matrices that none of them trains. The
 * borrower is `guide`, whatever it is for. */
static bool borrows(const void *user, const struct fdit_param *p)
{
    const struct lent *l = user;
    const struct fdit_checkpoint *file = file_of(l->model, l->model_config, p);
    return file && file == file_of(l->guide, l->guide_config, p);
}

/* The models and the generator of one device, without memory on it yet. */
static enum fdit_status plan_replica(fdit_context *ctx, struct fdit_painter *p, struct replica *r,
                                     const struct fdit_generator_options *how)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_weight_files *guide = &p->source->guide.files;
    struct fdit_model_config config = p->source->files.config, guides = guide->config;
    bool other = guide->n > 0;
    struct fdit_model_options m = { .batch = fdit_generator_model_batch(how, !other),
                                    .conditions = fdit_generator_conditions(how, !other),
                                    .kept_branches = fdit_generator_branches(how),
                                    .storage = p->options.storage };
    if (p->options.merge)
        config.adapter = guides.adapter = (struct fdit_adapter){ 0 };
    const struct fdit_painter *lender = p->options.lender;
    const struct replica *from = lender ? &lender->replicas[r - p->replicas] : NULL;
    const struct lent first = { lender ? &lender->source->files : NULL, &p->source->files,
                                from ? &from->model->config : NULL, &config };
    m.borrows = borrows;
    if (from) {
        m.lender = from->model;
        m.borrows_user = &first;
    }
    TRY(fdit_model_new(ctx, r->dev, &config, &m, &r->model));
    const struct lent lent = { &p->source->files, guide, &config, &guides };
    m.batch = how->batch;
    m.lender = r->model;
    m.borrows_user = &lent;
    if (other)
        TRY(fdit_model_new(ctx, r->dev, &guides, &m, &r->guide));
    TRY(fdit_generator_new(ctx, r->model, r->guide, how, &r->generator));
    r->plan.title = p->n > 1 ? fdit_device_info(r->dev)->name : NULL;
    TRY(fdit_plan_join(ctx, &r->plan, &r->model->plan, ""));
    if (other)
        TRY(fdit_plan_join(ctx, &r->plan, &r->guide->plan, "guide: "));
out:
    return status;
}

static enum fdit_status plan_models(fdit_context *ctx, struct fdit_painter *p,
                                    const struct fdit_generator_options *how, int batch)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_generator_options g = *how;
    free_models(p);
    g.batch = p->batch = batch;
    for (int i = 0; i < p->n; i++) {
        TRY(plan_replica(ctx, p, &p->replicas[i], &g));
        g.on_step = NULL; /* steps are counted on the first device */
    }
    if (own_vae(p))
        TRY(fdit_plan_join(ctx, &p->replicas[0].plan, fdit_vae_plan_of(p->vae), ""));
    TRY(fdit_plan_add(ctx, &p->replicas[0].plan, FDIT_PLAN_HOST, NULL,
                      (size_t)fdit_painter_round(p) * p->item * sizeof(float), "pictures of a batch"));
    TRY(fdit_plan_add(ctx, &p->replicas[0].plan, FDIT_PLAN_HOST, NULL, p->beside, "%s",
                      p->beside_label ? p->beside_label : ""));
out:
    return status;
}

void fdit_painter_beside(struct fdit_painter *p, size_t bytes, const char *label)
{
    p->beside = bytes;
    p->beside_label = label;
}

static size_t limit_of(const struct fdit_painter *p, int i)
{
    return p->options.memory ? p->options.memory : fdit_device_info(p->replicas[i].dev)->memory;
}

/* The decoder, planned to take what a batch of one leaves of the limit. */
static enum fdit_status plan_decoder(fdit_context *ctx, struct fdit_painter *p,
                                     const struct fdit_generator_options *how)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_vae_options o = { .height = p->size, .decode = true };
    size_t limit = limit_of(p, 0);
    TRY(fdit_vae_plan(ctx, p->vae, p->replicas[0].dev, &o));
    TRY(plan_models(ctx, p, how, 1));
    size_t all = fdit_plan_device_bytes(&p->replicas[0].plan);
    size_t decoder = fdit_plan_device_bytes(fdit_vae_plan_of(p->vae));
    if (!limit || all <= limit)
        goto out;
    o.memory = limit > all - decoder ? limit - (all - decoder) : 1;
    TRY(fdit_vae_plan(ctx, p->vae, p->replicas[0].dev, &o));
out:
    return status;
}

enum fdit_status fdit_painter_plan(fdit_context *ctx, struct fdit_painter *p,
                                   const struct fdit_generator_options *how, size_t pictures)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_plan *plan = &p->replicas[0].plan;
    size_t limit = limit_of(p, 0);
    int batch = how->batch;
    if (!batch) {
        batch = AIM_TOKENS / fdit_config_tokens(&p->source->files.config);
        batch = batch < 1 ? 1 : batch > AIM_PICTURES ? AIM_PICTURES : batch;
    }
    if (pictures && (size_t)batch > pictures)
        batch = (int)pictures;
    if (own_vae(p))
        TRY(plan_decoder(ctx, p, how));
    TRY(plan_models(ctx, p, how, batch));
    while (!how->batch && batch > 1 && limit && fdit_plan_device_bytes(plan) > limit) {
        batch /= 2;
        TRY(plan_models(ctx, p, how, batch));
    }
    TRY(fdit_plan_add_process(ctx, plan, p->replicas[0].dev));
out:
    return status;
}

void fdit_painter_limit(struct fdit_painter *p, size_t memory)
{
    p->options.memory = memory;
}

int fdit_painter_devices(const struct fdit_painter *p)
{
    return p->n;
}

const struct fdit_plan *fdit_painter_plan_of(const struct fdit_painter *p, int i)
{
    return &p->replicas[i].plan;
}

enum fdit_status fdit_painter_check(fdit_context *ctx, const struct fdit_painter *p, int i)
{
    return fdit_plan_check(ctx, &p->replicas[i].plan, p->replicas[i].dev, limit_of(p, i), remedy);
}

int fdit_painter_batch(const struct fdit_painter *p)
{
    return p->batch;
}

int fdit_painter_round(const struct fdit_painter *p)
{
    return p->batch * p->n;
}

/* ------------------------------------------------------------------ memory and weights */

static enum fdit_status allocate_replica(fdit_context *ctx, struct replica *r)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_model_allocate(ctx, r->model));
    if (r->guide)
        TRY(fdit_model_allocate(ctx, r->guide));
    fdit_generator_bind(r->generator);
out:
    return status;
}

enum fdit_status fdit_painter_allocate(fdit_context *ctx, struct fdit_painter *p)
{
    enum fdit_status status = FDIT_OK;
    TRY(allocate_replica(ctx, &p->replicas[0]));
    if (own_vae(p))
        TRY(fdit_vae_allocate(ctx, p->vae));
    for (int i = 1; i < p->n; i++)
        TRY(allocate_replica(ctx, &p->replicas[i]));
out:
    return status;
}

void fdit_painter_bind(struct fdit_painter *p)
{
    for (int i = 0; i < p->n; i++)
        fdit_generator_bind(p->replicas[i].generator);
}

enum fdit_status fdit_painter_load(fdit_context *ctx, struct fdit_painter *p, struct fdit_load_report *report)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_weight_files *f = &p->source->files, *g = &p->source->guide.files;
    TRY(fdit_painter_allocate(ctx, p));
    double start = fdit_clock_seconds();
    for (int i = 0; i < p->n; i++) {
        struct replica *r = &p->replicas[i];
        TRY(fdit_model_load(ctx, r->model, f->list, f->n, p->options.new_table, i ? NULL : report));
        if (r->guide)
            TRY(fdit_model_load(ctx, r->guide, g->list, g->n, false, NULL));
    }
    fdit_log(ctx, FDIT_LOG_INFO, "weights loaded in %.2f s", fdit_clock_seconds() - start);
out:
    return status;
}

/* ------------------------------------------------------------------ drawing */

enum fdit_status fdit_painter_set(fdit_context *ctx, struct fdit_painter *p,
                                  const struct fdit_generator_options *how)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_generator_options g = *how;
    g.batch = p->batch;
    for (int i = 0; i < p->n; i++) {
        TRY(fdit_generator_set(ctx, p->replicas[i].generator, &g));
        g.on_step = NULL;
    }
out:
    return status;
}

int fdit_painter_steps(const struct fdit_painter *p)
{
    return fdit_generator_steps(p->replicas[0].generator);
}

static enum fdit_status draw_part(fdit_context *ctx, void *user, int i)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_painter *p = user;
    int part = (p->todo + p->n - 1) / p->n, first = i * part;
    int n = p->todo - first < part ? p->todo - first : part;
    if (n <= 0)
        return FDIT_OK;
    TRY(fdit_generator_run(ctx, p->replicas[i].generator, p->pictures + first, n,
                           p->x + (size_t)first * p->item));
    if (p->scores)
        memcpy(p->scores + first, fdit_generator_scores(p->replicas[i].generator),
               (size_t)n * sizeof *p->scores);
out:
    return status;
}

/* A round on all devices. */
static enum fdit_status draw_round(fdit_context *ctx, struct fdit_painter *p, struct fdit_threads *threads)
{
    enum fdit_status status = FDIT_OK;
    char *message = NULL;
    int failed = -1;
    enum fdit_status found = fdit_threads_run(ctx, threads, draw_part, p, &failed);
    if (found == FDIT_OK || found == FDIT_ERROR_MEMORY || found == FDIT_INTERRUPTED)
        return found;
    const fdit_device *dev = p->replicas[failed].dev;
    TRY(fdit_strdup(ctx, fdit_context_message(ctx), &message));
    status = fdit_fail(ctx, found, "device %s (%s): %s; go on with the other devices",
                       fdit_device_info(dev)->spec, fdit_device_info(dev)->name, message);
out:
    fdit_free(message);
    return status;
}

enum fdit_status fdit_painter_look(fdit_context *ctx, struct fdit_painter *p, int i, float *x)
{
    int part = (p->todo + p->n - 1) / p->n;
    if (i >= part)
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "picture %d of a round is on another device", i);
    return fdit_generator_read(ctx, p->replicas[0].generator, i + 1, x);
}

enum fdit_status fdit_painter_draw(fdit_context *ctx, struct fdit_painter *p,
                                   const struct fdit_picture_spec *pictures, size_t n, float *x)
{
    return fdit_painter_draw_scored(ctx, p, pictures, n, x, NULL);
}

enum fdit_status fdit_painter_draw_scored(fdit_context *ctx, struct fdit_painter *p,
                                          const struct fdit_picture_spec *pictures, size_t n, float *x,
                                          double *scores)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_threads *threads = NULL;
    size_t round = (size_t)fdit_painter_round(p);
    if (p->n > 1)
        TRY(fdit_threads_new(ctx, p->n, &threads));
    for (size_t done = 0; done < n; done += (size_t)p->todo) {
        p->pictures = pictures + done;
        p->todo = (int)(n - done < round ? n - done : round);
        p->x = x + done * p->item;
        p->scores = scores ? scores + done : NULL;
        TRY(threads ? draw_round(ctx, p, threads) : draw_part(ctx, p, 0));
    }
out:
    fdit_threads_free(threads);
    return status;
}

/* ------------------------------------------------------------------ pictures */

size_t fdit_painter_item(const struct fdit_painter *p)
{
    return p->item;
}

bool fdit_painter_decodes(const struct fdit_painter *p)
{
    return p->decodes;
}

int fdit_painter_size(const struct fdit_painter *p)
{
    return p->size;
}

int fdit_painter_channels(const struct fdit_painter *p)
{
    return p->channels;
}

enum fdit_status fdit_painter_decode(fdit_context *ctx, struct fdit_painter *p, const float *x,
                                     uint8_t *pixels)
{
    enum fdit_status status = FDIT_OK;
    if (!p->decodes)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "the model draws latents (%d channels), which are not "
             "pictures; give the autoencoder that decodes them",
             p->model_channels);
    if (p->vae)
        TRY(fdit_vae_decode(ctx, p->vae, x, p->decoded));
    if (p->projection)
        fdit_projection_learn(p->projection, x, p->decoded);
    fdit_pixels(p->vae ? p->decoded : x, p->channels, (size_t)p->size * (size_t)p->size, pixels);
out:
    return status;
}

enum fdit_status fdit_painter_glance(fdit_context *ctx, struct fdit_painter *p, const float *x,
                                     uint8_t *pixels)
{
    if (!p->projection || !fdit_projection_ready(p->projection))
        return fdit_painter_decode(ctx, p, x, pixels);
    fdit_projection_make(p->projection, x, p->decoded);
    fdit_pixels(p->decoded, p->channels, (size_t)p->size * (size_t)p->size, pixels);
    return FDIT_OK;
}

struct fdit_model *fdit_painter_model(const struct fdit_painter *p)
{
    return p->replicas[0].model;
}

const struct fdit_vae *fdit_painter_vae(const struct fdit_painter *p)
{
    return p->vae;
}
