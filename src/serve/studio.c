/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/studio_state.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/mem.h"
#include "core/phase.h"
#include "core/text.h"
#include "sample/contact_sheet.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ------------------------------------------------------------------ models */

static enum fdit_status new_painter(fdit_context *ctx, struct fdit_studio *s, struct fdit_studio_model *m)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_sample_options *o = &m->shown.options;
    const struct fdit_studio_model *first = m == s->models ? NULL : &s->models[0];
    TRY(fdit_painter_new(ctx, s->devices, &m->shown.source,
                         &(struct fdit_painter_options){ .storage = o->storage,
                                                         .vae = o->vae,
                                                         .vae_scale = o->vae_scale,
                                                         .memory = o->memory,
                                                         .merge = o->merge,
                                                         .lender = first ? first->painter : NULL,
                                                         .glances = true,
                                                         .lent_vae = first != NULL },
                         &m->painter));
    if (!fdit_painter_decodes(m->painter))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s works on latents (%d channels); give the autoencoder that decodes them, --vae FILE", o->base,
             m->shown.source.files.config.channels);
out:
    return status;
}

/* Of noise, which PNG makes no smaller, with its parameters. */
static size_t most_of_a_picture(const struct fdit_order_model *m)
{
    const size_t side = (size_t)m->size, row = side * (size_t)m->channels + 1;
    return side * row + side * row / 100 + 8192;
}

static enum fdit_status open_model(fdit_context *ctx, struct fdit_studio *s,
                                   const struct fdit_sample_options *o, int i)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_studio_model *m = &s->models[i], *first = i ? &s->models[0] : NULL;
    m->shown.options = *o;
    m->shown.options.n_deltas = 0;
    m->shown.options.delta = o->n_deltas ? o->deltas[i] : NULL;
    o = &m->shown.options;
    TRY(fdit_sample_check(ctx, o, true));
    s->n_models = i + 1; /* from here on there is something to free */
    TRY(fdit_sample_source_open_beside(ctx, o, first ? &first->shown.source : NULL, &m->shown.source));
    TRY(fdit_config_name(ctx, &m->shown.source.files.config, &m->shown.name));
    TRY(new_painter(ctx, s, m));
    m->shown.pixels = !fdit_painter_vae(m->painter);
    m->shown.size = fdit_painter_size(m->painter);
    m->shown.channels = fdit_painter_channels(m->painter);
    if (first && !fdit_taxonomy_equal(m->shown.source.taxonomy, first->shown.source.taxonomy))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--delta %s: it has other classes than %s; serve them one at a time",
             o->delta, first->shown.options.delta);
out:
    return status;
}

enum fdit_status fdit_studio_open(fdit_context *ctx, const struct fdit_devices *devices,
                                  const struct fdit_sample_options *o, size_t picture_bytes,
                                  struct fdit_studio **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_studio *s = NULL;
    int n = o->n_deltas ? o->n_deltas : 1;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *s, &s));
    s->ctx = ctx;
    s->devices = devices;
    s->picture_bytes = picture_bytes;
    TRY(fdit_alloc(ctx, (size_t)n, sizeof *s->models, &s->models));
    TRY(fdit_alloc(ctx, (size_t)devices->n, sizeof *s->plans, &s->plans));
    s->locks = !pthread_mutex_init(&s->lock, NULL) && !pthread_cond_init(&s->work, NULL) &&
               !pthread_cond_init(&s->told, NULL);
    if (!s->locks)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for the queue of drawings");
    for (int i = 0; i < n; i++)
        TRY(open_model(ctx, s, o, i));
    const struct fdit_order_model *shown = &s->models[0].shown;
    s->picture_most = most_of_a_picture(shown);
    if (picture_bytes < s->picture_most) {
        char asked[32];
        fdit_format_size(picture_bytes, asked);
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--picture-memory %s: a picture can take %zu bytes; give that, or more", asked, s->picture_most);
    }
    size_t most = picture_bytes / s->picture_most; /* of one order */
    TRY(fdit_contact_sheet_most_bytes(ctx, most < FDIT_ORDER_MOST_PICTURES ? most : FDIT_ORDER_MOST_PICTURES,
                                      shown->source.taxonomy, shown->size, shown->channels, &s->sheet_bytes));
    *out = s;
    return FDIT_OK;
out:
    fdit_studio_close(s);
    return status;
}

/* ------------------------------------------------------------------ the plan */

/* batch 0: what the first model takes alone. */
static enum fdit_status plan_painters(fdit_context *ctx, struct fdit_studio *s, int batch)
{
    enum fdit_status status = FDIT_OK;
    for (int i = 0; i < s->n_models; i++) {
        struct fdit_studio_model *m = &s->models[i];
        struct fdit_sample_options o = m->shown.options;
        TRY(fdit_sample_settle(ctx, &o, &m->shown.source, m->shown.pixels));
        struct fdit_generator_options how = fdit_sample_way(&o, &m->shown.source);
        if (batch)
            how.batch = batch;
        if (!m->painter)
            TRY(new_painter(ctx, s, m));
        TRY(fdit_painter_plan(ctx, m->painter, &how, 0));
        batch = fdit_painter_batch(m->painter);
    }
    s->round = fdit_painter_round(s->models[0].painter);
    s->item = fdit_painter_item(s->models[0].painter);
out:
    return status;
}

/* What the process holds was counted for each painter, and stands here once, at the end. */
static enum fdit_status join_painters(fdit_context *ctx, struct fdit_studio *s, int device, size_t reading)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_plan *plan = &s->plans[device];
    fdit_plan_fini(plan);
    *plan = (struct fdit_plan){ .title = fdit_painter_plan_of(s->models[0].painter, device)->title };
    for (int i = 0; i < s->n_models; i++) {
        const struct fdit_plan *part = fdit_painter_plan_of(s->models[i].painter, device);
        const char *delta = s->n_models > 1 ? s->models[i].shown.options.delta : NULL;
        for (size_t k = 0; k < part->n; k++)
            if (part->list[k].kind != FDIT_PLAN_PROCESS)
                TRY(fdit_plan_add(ctx, plan, part->list[k].kind, part->list[k].where, part->list[k].bytes,
                                  "%s%s%s", delta ? delta : "", delta ? ": " : "", part->list[k].label));
    }
    fdit_plan_share_workspace(plan); /* one draws at a time */
    if (device)
        goto out;
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_HOST, NULL, s->picture_bytes, "pictures that are kept"));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_HOST, NULL, s->sheet_bytes, "a contact sheet in the making"));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_HOST, NULL, reading, "reading real pictures"));
    TRY(fdit_plan_add_process(ctx, plan, s->devices->list[device]));
out:
    return status;
}

static size_t limit_of(const struct fdit_studio *s, int device)
{
    const size_t asked = s->models[0].shown.options.memory;
    return asked ? asked : fdit_device_info(s->devices->list[device])->memory;
}

static bool fits(const struct fdit_studio *s)
{
    for (int i = 0; i < s->devices->n; i++)
        if (limit_of(s, i) && fdit_plan_device_bytes(&s->plans[i]) > limit_of(s, i))
            return false;
    return true;
}

static void free_painters(struct fdit_studio *s)
{
    for (int i = s->n_models; i-- > 0;) { /* the lender last */
        fdit_painter_free(s->models[i].painter);
        s->models[i].painter = NULL;
    }
}

enum fdit_status fdit_studio_plan(fdit_context *ctx, struct fdit_studio *s, size_t reading)
{
    enum fdit_status status = FDIT_OK;
    const int wanted = s->models[0].shown.options.batch;
    for (int batch = wanted;; batch = s->round / s->devices->n / 2) {
        TRY(plan_painters(ctx, s, batch));
        for (int i = 0; i < s->devices->n; i++)
            TRY(join_painters(ctx, s, i, reading));
        if (wanted || s->round == s->devices->n || fits(s))
            break;
        free_painters(s); /* a borrower points at its lender's model */
    }
    for (int i = 0; i < s->devices->n; i++)
        TRY(fdit_plan_check(ctx, &s->plans[i], s->devices->list[i], limit_of(s, i),
                            "use a smaller --batch, fewer --delta at a time, or --weights in 16 bits"));
out:
    return status;
}

const struct fdit_plan *fdit_studio_plan_of(const struct fdit_studio *s, int i)
{
    return &s->plans[i];
}

static enum fdit_status load_models(fdit_context *ctx, struct fdit_studio *s)
{
    enum fdit_status status = FDIT_OK;
    for (int i = 0; i < s->n_models; i++) {
        struct fdit_studio_model *m = &s->models[i];
        const struct fdit_vae *vae = fdit_painter_vae(m->painter);
        if (vae)
            TRY(fdit_vae_hash(ctx, vae, &m->shown.files.vae));
        TRY(fdit_identity_read(ctx, &m->shown.source, &m->shown.files));
        TRY(fdit_painter_load(ctx, m->painter, NULL));
    }
    const struct fdit_order_model *shown = &s->models[0].shown;
    size_t round = (size_t)s->round, side = (size_t)shown->size;
    TRY(fdit_alloc(ctx, round, s->item * sizeof *s->x, &s->x));
    TRY(fdit_alloc(ctx, side * side, (size_t)shown->channels, &s->pixels));
    TRY(fdit_alloc(ctx, round, sizeof *s->specs, &s->specs));
    TRY(fdit_alloc(ctx, round, sizeof *s->owners, &s->owners));
    TRY(fdit_alloc(ctx, round, sizeof *s->places, &s->places));
out:
    return status;
}

enum fdit_status fdit_studio_start(fdit_context *ctx, struct fdit_studio *s)
{
    enum fdit_status status = FDIT_OK;
    fdit_phase_begin(ctx, 0, "reading %s", fdit_path_base(s->models[0].shown.options.base));
    status = load_models(ctx, s);
    fdit_phase_end(ctx);
    TRY(status);
    if (pthread_create(&s->thread, NULL, fdit_studio_work, s))
        FAIL(ctx, FDIT_ERROR_IO, "no thread to draw with; look at the limits of processes");
    s->running = true;
out:
    return status;
}

bool fdit_studio_stop(struct fdit_studio *s, double seconds)
{
    if (!s || !s->running)
        return true;
    struct timespec until = fdit_clock_after(seconds);
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->work);
    pthread_cond_broadcast(&s->told);
    while (!s->ended && pthread_cond_timedwait(&s->told, &s->lock, &until) != ETIMEDOUT)
        ;
    bool ended = s->ended;
    pthread_mutex_unlock(&s->lock);
    s->running = !ended;
    if (ended)
        pthread_join(s->thread, NULL);
    else
        pthread_detach(s->thread); /* nobody waits for it any more */
    return ended;
}

bool fdit_studio_stopping(struct fdit_studio *s)
{
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping;
    pthread_mutex_unlock(&s->lock);
    return stopping;
}

void fdit_studio_close(struct fdit_studio *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n_orders; i++)
        fdit_order_free(s->orders[i]);
    free_painters(s);
    for (int i = s->n_models; i-- > 0;) {
        fdit_sample_source_close(&s->models[i].shown.source);
        fdit_free(s->models[i].shown.name);
    }
    for (int i = 0; s->plans && i < s->devices->n; i++)
        fdit_plan_fini(&s->plans[i]);
    fdit_free(s->preview.bytes);
    fdit_free(s->plans);
    fdit_free(s->models);
    fdit_free(s->x);
    fdit_free(s->pixels);
    fdit_free(s->specs);
    fdit_free(s->owners);
    fdit_free(s->places);
    if (s->locks) {
        pthread_cond_destroy(&s->told);
        pthread_cond_destroy(&s->work);
        pthread_mutex_destroy(&s->lock);
    }
    fdit_free(s);
}

int fdit_studio_models(const struct fdit_studio *s)
{
    return s->n_models;
}

const struct fdit_order_model *fdit_studio_model(const struct fdit_studio *s, int model)
{
    return &s->models[model].shown;
}

int fdit_studio_round(const struct fdit_studio *s)
{
    return s->round;
}

/* ------------------------------------------------------------------ orders */

void fdit_studio_tell(struct fdit_studio *s, struct fdit_order *o)
{
    o->changed = ++s->version;
    pthread_cond_broadcast(&s->told);
}

void fdit_studio_end(struct fdit_studio *s, struct fdit_order *o, enum fdit_order_state state)
{
    o->state = state;
    o->ended = ++s->ends;
    fdit_studio_tell(s, o);
}

struct fdit_order *fdit_studio_find(struct fdit_studio *s, int64_t id)
{
    for (int i = 0; i < s->n_orders; i++)
        if (s->orders[i]->id == id)
            return s->orders[i];
    return NULL;
}

static enum fdit_status no_order(fdit_context *ctx, int64_t id)
{
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                     "order %" PRId64 " is not there; old ones are forgotten, draw it again", id);
}

/* Under the lock. */
static enum fdit_status queue_order(fdit_context *ctx, struct fdit_studio *s, struct fdit_order *o)
{
    int open = 0;
    size_t pictures = o->request.n;
    char all[32], most[32];
    for (int i = 0; i < s->n_orders; i++) {
        if (!fdit_order_open(s->orders[i]))
            continue;
        open++;
        pictures += s->orders[i]->request.n;
    }
    if (s->n_orders == FDIT_STUDIO_KEPT_ORDERS + FDIT_STUDIO_MOST_ORDERS)
        fdit_studio_forget(s, 0,
                           s->n_orders - 1); /* a batch may take long, and others are cancelled meanwhile */
    if (s->stopping || open >= FDIT_STUDIO_MOST_ORDERS ||
        s->n_orders == FDIT_STUDIO_KEPT_ORDERS + FDIT_STUDIO_MOST_ORDERS)
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                         "the queue is full (%d drawings); wait for some, or cancel them", open);
    fdit_format_size(pictures * s->picture_most, all);
    fdit_format_size(s->picture_bytes, most);
    if (pictures * s->picture_most > s->picture_bytes)
        return fdit_fail(
            ctx, FDIT_ERROR_UNSUPPORTED,
            "the queue is full: its pictures can take %s, 'serve' keeps %s; wait for some, ask for "
            "fewer, or start it with more --picture-memory",
            all, most);
    o->id = ++s->last_id;
    s->orders[s->n_orders++] = o;
    fdit_studio_tell(s, o);
    pthread_cond_signal(&s->work);
    return FDIT_OK;
}

enum fdit_status fdit_studio_order(fdit_context *ctx, struct fdit_studio *s, const json_t *asked,
                                   struct fdit_json *answer)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_order *o = NULL;
    const json_t *delta = json_object_get(asked, "delta");
    json_int_t model = delta ? json_integer_value(delta) : 0;
    if (model < 0 || model >= s->n_models || (delta && !json_is_integer(delta)))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "\"delta\": give its number, 0 to %d; 'info' lists them",
             s->n_models - 1);
    TRY(fdit_order_new(ctx, &s->models[model].shown, asked, &o));
    o->model = (int)model;
    pthread_mutex_lock(&s->lock);
    status = queue_order(ctx, s, o);
    if (status == FDIT_OK) {
        fdit_order_put(answer, NULL, o);
        o = NULL;
    }
    pthread_mutex_unlock(&s->lock);
out:
    fdit_order_free(o);
    return status;
}

enum fdit_status fdit_studio_cancel(fdit_context *ctx, struct fdit_studio *s, int64_t id)
{
    pthread_mutex_lock(&s->lock);
    struct fdit_order *o = fdit_studio_find(s, id);
    if (o && fdit_order_open(o))
        fdit_studio_end(s, o, FDIT_ORDER_CANCELLED);
    pthread_mutex_unlock(&s->lock);
    return o ? FDIT_OK : no_order(ctx, id);
}

void fdit_studio_put_orders(struct fdit_studio *s, struct fdit_json *b, json_t *list)
{
    pthread_mutex_lock(&s->lock);
    for (int i = s->n_orders; i-- > 0;)
        fdit_order_put(b, fdit_json_put_object(b, list, NULL), s->orders[i]);
    pthread_mutex_unlock(&s->lock);
}

static enum fdit_status put_whole(fdit_context *ctx, struct fdit_studio *s, const struct fdit_order *o,
                                  struct fdit_json *b)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_order_model *model = &s->models[o->model].shown;
    char *command = NULL;
    TRY(fdit_order_command(ctx, o, model, &command));
    fdit_order_put(b, NULL, o);
    json_t *asked = json_deep_copy(o->asked);
    fdit_json_put(b, NULL, "options", asked);
    fdit_json_put_text(b, NULL, "command", command);
    fdit_json_put_real(b, NULL, "guidance", o->options.guidance.w);
    fdit_json_put_text(b, NULL, "sampler", o->sampler);
    fdit_json_put_text(b, NULL, "guide", o->source.guide.text);
    fdit_json_put_int(b, NULL, "sheets",
                      (int64_t)fdit_contact_sheet_pages_of(&o->request, model->size, model->channels));
    json_t *list = fdit_json_put_array(b, NULL, "list");
    for (size_t p = 0; p < o->request.n; p++) {
        struct fdit_request_item item = fdit_request_at(&o->request, p);
        json_t *j = fdit_json_put_object(b, list, NULL);
        fdit_json_put_int(b, j, "node", item.id);
        fdit_json_put_text(b, j, "class", fdit_taxonomy_class_name(model->source.taxonomy, item.id));
        fdit_json_put_int(b, j, "seed", (int64_t)item.seed);
        fdit_json_put_bool(b, j, "done", o->pictures[p].bytes != NULL);
    }
out:
    fdit_free(command);
    return status;
}

enum fdit_status fdit_studio_put_order(fdit_context *ctx, struct fdit_studio *s, int64_t id,
                                       struct fdit_json *b)
{
    pthread_mutex_lock(&s->lock);
    struct fdit_order *o = fdit_studio_find(s, id);
    enum fdit_status status = o ? put_whole(ctx, s, o, b) : FDIT_OK;
    pthread_mutex_unlock(&s->lock);
    return o ? status : no_order(ctx, id);
}

/* Under the lock: a copy. */
static enum fdit_status copy_picture(fdit_context *ctx, const struct fdit_studio *s,
                                     const struct fdit_order *o, int64_t p, char **bytes, size_t *n,
                                     char name[96])
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_order_picture *picture = &o->pictures[p];
    struct fdit_request_item item = fdit_request_at(&o->request, (size_t)p);
    (void)s;
    TRY(fdit_alloc(ctx, picture->n, 1, bytes));
    memcpy(*bytes, picture->bytes, picture->n);
    *n = picture->n;
    snprintf(name, 96, "class-%d-seed-%" PRIu64 ".png", item.id, item.seed);
out:
    return status;
}

enum fdit_status fdit_studio_picture(fdit_context *ctx, struct fdit_studio *s, int64_t id, int64_t p,
                                     char **bytes, size_t *n, char name[96])
{
    enum fdit_status status = FDIT_OK;
    *bytes = NULL;
    pthread_mutex_lock(&s->lock);
    struct fdit_order *o = fdit_studio_find(s, id);
    bool there = o && p >= 0 && (size_t)p < o->request.n && o->pictures[p].bytes;
    if (there)
        status = copy_picture(ctx, s, o, p, bytes, n, name);
    pthread_mutex_unlock(&s->lock);
    if (!o)
        return no_order(ctx, id);
    if (!there)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "picture %" PRId64 " of order %" PRId64 " is not drawn (yet)", p, id);
    return status;
}

enum fdit_status fdit_studio_preview(fdit_context *ctx, struct fdit_studio *s, int64_t id, int64_t p,
                                     char **bytes, size_t *n)
{
    struct timespec until = fdit_clock_after(1);
    struct fdit_studio_preview *v = &s->preview;
    *bytes = NULL;
    pthread_mutex_lock(&s->lock);
    struct fdit_order *o = fdit_studio_find(s, id);
    fdit_free(v->bytes);
    v->bytes = NULL;
    v->order = id;
    v->picture = p;
    while (o && fdit_order_open(o) && !s->stopping && !v->bytes && v->order == id && v->picture == p &&
           pthread_cond_timedwait(&s->told, &s->lock, &until) != ETIMEDOUT)
        o = fdit_studio_find(s, id);
    if (v->order == id && v->picture == p) {
        *bytes = v->bytes;
        *n = v->n;
        v->bytes = NULL;
        v->order = 0;
    }
    pthread_mutex_unlock(&s->lock);
    return o ? FDIT_OK : no_order(ctx, id);
}

/* ------------------------------------------------------------------ the contact sheet */

static enum fdit_status fill_sheet(fdit_context *ctx, const struct fdit_order *o,
                                   struct fdit_contact_sheet *sheet)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture picture = { .pixels = NULL };
    for (size_t p = 0; p < o->request.n && status == FDIT_OK; p++) {
        struct fdit_request_item item = fdit_request_at(&o->request, p);
        if (fdit_stopped(ctx))
            return FDIT_INTERRUPTED;
        if (!fdit_contact_sheet_wants(sheet, &item))
            continue;
        status =
            fdit_picture_decode(ctx, o->pictures[p].bytes, o->pictures[p].n, "a drawn picture", &picture);
        if (status == FDIT_OK)
            status = fdit_contact_sheet_put(ctx, sheet, &item, &picture);
        fdit_picture_fini(&picture);
    }
    return status;
}

static enum fdit_status write_sheet(fdit_context *ctx, const struct fdit_order *o,
                                    const struct fdit_order_model *model, int64_t page, const char *folder,
                                    int *out, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_contact_sheet *sheet = NULL;
    char *title = NULL, *path = NULL, *file = NULL;
    bool opened = false;
    TRY(fdit_contact_sheet_new(ctx, &o->request, model->source.taxonomy, model->size, model->channels, NULL,
                               &sheet));
    TRY(fill_sheet(ctx, o, sheet));
    size_t pages = fdit_contact_sheet_pages(sheet);
    if (page < 0 || (size_t)page >= pages)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "page %" PRId64 " is not there: the sheet has %zu, from 0 on", page,
             pages);
    TRY(fdit_contact_sheet_title(ctx,
                                 &(struct fdit_contact_sheet_title){
                                     .base = o->options.base,
                                     .delta = o->options.delta,
                                     .model = model->name,
                                     .sampler = o->sampler,
                                     .guide = o->how.guided || o->how.told ? o->source.guide.text : NULL,
                                     .precision = fdit_dtype_name(o->options.precision),
                                     .steps = o->options.steps ? o->options.steps : o->caption.steps,
                                     .w = o->options.guidance.w,
                                     .clip_x0 = o->options.clip_x0 > 0 },
                                 &title));
    TRY(fdit_path_join(ctx, folder, "sheet.png", &path));
    TRY(fdit_contact_sheet_write(ctx, sheet, title, path));
    for (size_t i = 0; i < pages; i++) {
        fdit_free(file);
        TRY(fdit_contact_sheet_file(ctx, path, i, pages, &file));
        if ((int64_t)i == page) {
            TRY(fdit_file_open(ctx, file, out, n));
            opened = true;
        }
        unlink(file);
    }
out:
    if (status != FDIT_OK && opened)
        close(*out);
    fdit_contact_sheet_free(sheet);
    fdit_free(title);
    fdit_free(path);
    fdit_free(file);
    return status;
}

/* Waits until nobody else makes one, so that the memory for one is enough. */
static bool begin_sheet(struct fdit_studio *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->sheet && !s->stopping)
        pthread_cond_wait(&s->told, &s->lock);
    bool begun = !s->stopping;
    if (begun)
        s->sheet = true;
    pthread_mutex_unlock(&s->lock);
    return begun;
}

static void end_sheet(struct fdit_studio *s, struct fdit_order *held)
{
    pthread_mutex_lock(&s->lock);
    s->sheet = false;
    if (held)
        held->held--;
    pthread_cond_broadcast(&s->told);
    pthread_mutex_unlock(&s->lock);
}

/* An order that is done, and stays there until end_sheet. */
static enum fdit_status hold_order(fdit_context *ctx, struct fdit_studio *s, int64_t id,
                                   struct fdit_order **out)
{
    enum fdit_status status = FDIT_OK;
    pthread_mutex_lock(&s->lock);
    struct fdit_order *o = fdit_studio_find(s, id);
    bool there = o, whole = o && o->done == o->request.n;
    if (whole)
        o->held++; /* what is done does not change */
    pthread_mutex_unlock(&s->lock);
    *out = whole ? o : NULL;
    if (!there)
        TRY(no_order(ctx, id));
    if (!whole)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "order %" PRId64 " is not done: a sheet has all its pictures", id);
out:
    return status;
}

enum fdit_status fdit_studio_sheet(fdit_context *ctx, struct fdit_studio *s, int64_t id, int64_t page,
                                   int *file, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_order *o = NULL;
    char folder[4096];
    bool made = false;
    if (!begin_sheet(s))
        return fdit_fail(ctx, FDIT_INTERRUPTED, "the server is stopping");
    TRY(hold_order(ctx, s, id, &o));
    snprintf(folder, sizeof folder, "%s/finediffusion-serve-XXXXXX", fdit_temporary_folder());
    made = mkdtemp(folder);
    if (!made)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: no folder for a contact sheet; set TMPDIR",
                            folder));
    TRY(write_sheet(ctx, o, &s->models[o->model].shown, page, folder, file, n));
out:
    if (made)
        rmdir(folder);
    end_sheet(s, o);
    return status;
}

/* ------------------------------------------------------------------ what is told */

uint64_t fdit_studio_now(struct fdit_studio *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t now = s->version;
    pthread_mutex_unlock(&s->lock);
    return now;
}

bool fdit_studio_next(struct fdit_studio *s, uint64_t *seen, struct fdit_json *b)
{
    struct timespec until = fdit_clock_after(1);
    struct fdit_order *next = NULL;
    pthread_mutex_lock(&s->lock);
    while (!s->stopping && s->version <= *seen)
        if (pthread_cond_timedwait(&s->told, &s->lock, &until) == ETIMEDOUT)
            break;
    for (int i = 0; i < s->n_orders; i++)
        if (s->orders[i]->changed > *seen && (!next || s->orders[i]->changed < next->changed))
            next = s->orders[i];
    if (next) {
        fdit_order_put(b, NULL, next);
        *seen = next->changed;
    } else if (s->version > *seen) {
        *seen = s->version; /* what changed last is forgotten already */
    }
    pthread_mutex_unlock(&s->lock);
    return next != NULL;
}
