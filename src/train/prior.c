/* SPDX-License-Identifier: Apache-2.0 */
#include "train/prior.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/phase.h"
#include "sample/guide.h"
#include "sample/request.h"

#include <inttypes.h>
#include <string.h>

#define STEPS "50" /* of ddim, where the sampler would else take five times as many */

enum fdit_status fdit_prior_check(fdit_context *ctx, const struct fdit_train_options *o)
{
    const char *option = o->prior ? "prior" : "prior-per-class";
    if (!fdit_prior_wanted(o)) {
        if (o->prior_classes || o->prior_weight != 1)
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                             "--prior-%s is of a prior; give --prior DATA or --prior-per-class N, too",
                             o->prior_classes ? "classes" : "weight");
        return FDIT_OK;
    }
    if (o->prior && (o->prior_per_class || o->prior_classes))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--prior gives the pictures that --prior-%s would have drawn; give one of them",
                         o->prior_per_class ? "per-class" : "classes");
    if (o->from_scratch)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--%s: with --from-scratch there is no base to preserve; leave it out", option);
    if (!(o->prior_weight > 0))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--prior-weight %g counts nothing of it; give a number above 0, or leave --%s out",
                         o->prior_weight, option);
    return FDIT_OK;
}

/* ------------------------------------------------------------------ drawing */

/* A job's hooks, and those of the caller. */
struct drawing {
    fdit_context *ctx;
    const struct fdit_sample_hooks *hooks;
};

static void on_plan(void *user, const struct fdit_plan *plan)
{
    const struct drawing *d = user;
    if (d->hooks && d->hooks->on_plan)
        d->hooks->on_plan(d->hooks->user, plan);
}

static void on_picture(void *user, const struct fdit_sample_picture *p)
{
    const struct drawing *d = user;
    fdit_phase_at(d->ctx, p->index + 1);
}

/* Of a list of classes that `sample` would call --classes. */
static enum fdit_status fail_classes(fdit_context *ctx)
{
    static const char theirs[] = "--classes";
    const char *found = fdit_context_message(ctx);
    char *message = NULL;
    if (strncmp(found, theirs, sizeof theirs - 1) != 0)
        return FDIT_ERROR_ARGUMENT;
    enum fdit_status status = fdit_strf(ctx, &message, "--prior-%s", found + 2);
    if (status == FDIT_OK)
        status = fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s", message);
    fdit_free(message);
    return status;
}

enum fdit_status fdit_prior_draw(fdit_context *ctx, const struct fdit_devices *devices,
                                 const struct fdit_train_options *o, double vae_scale,
                                 const struct fdit_sample_hooks *hooks, bool plan_only, struct fdit_prior *p)
{
    enum fdit_status status = FDIT_OK;
    struct drawing d = { ctx, hooks };
    const struct fdit_sample_hooks own = { .user = &d, .on_plan = on_plan, .on_picture = on_picture };
    struct fdit_sample_options s = fdit_sample_defaults();
    struct fdit_sample_summary summary = { 0 };
    struct fdit_request wanted = { 0 };
    TRY(fdit_path_join(ctx, o->out, "prior", &p->path));
    s.base = o->base;
    s.delta = o->delta;
    s.objective = o->objective;
    s.model = o->model;
    s.storage = o->storage;
    s.precision = o->precision;
    s.memory = o->memory;
    s.vae = o->vae;
    s.vae_scale = vae_scale;
    s.guide = "none";
    s.classes = o->prior_classes;
    s.per_class = o->prior_per_class;
    s.seed = o->seed;
    s.out = p->path;
    if (!o->objective || !strcmp(o->objective, "ddpm")) {
        TRY(fdit_option_set(ctx, fdit_option_find(fdit_sample_option_table, "sampler"), &s, "ddim"));
        TRY(fdit_option_set(ctx, fdit_option_find(fdit_sample_option_table, "steps"), &s, STEPS));
    }
    status = fdit_request_init(ctx, p->known, s.classes, NULL, s.per_class, s.seed, 0, 1, &wanted);
    TRY(status == FDIT_ERROR_ARGUMENT ? fail_classes(ctx) : status);
    fdit_phase_begin(ctx, wanted.n, "drawing the prior");
    status = fdit_sample_run(ctx, devices, &s, &own, plan_only, &summary);
    fdit_phase_end(ctx);
    fdit_mem_trim(); /* the training's plan begins from what is held now */
    if (status == FDIT_ERROR_ARGUMENT)
        fdit_fail_prefix(ctx, status, "--prior-per-class");
    TRY(status);
    p->pictures = summary.pictures;
    p->classes = summary.classes;
    p->process_bytes = summary.process_plan_bytes;
out:
    fdit_request_fini(&wanted);
    return status;
}

/* ------------------------------------------------------------------ classes and rows */

enum fdit_status fdit_prior_classes(fdit_context *ctx, struct fdit_checkpoint *from, struct fdit_prior *p)
{
    enum fdit_status status = FDIT_OK;
    const int64_t rows = fdit_checkpoint_dim(from, "y_embedder.embedding_table.weight", 0);
    TRY(fdit_guide_taxonomy(ctx, from, &p->known));
    if (!p->known && rows <= 0)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s has no class table, so it has no classes to preserve",
             fdit_checkpoint_path(from));
    if (!p->known)
        TRY(fdit_taxonomy_from_count(ctx, (size_t)rows, &p->known));
out:
    return status;
}

enum fdit_status fdit_prior_rows(fdit_context *ctx, struct fdit_checkpoint *from, int width,
                                 struct fdit_prior *p)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_alloc(ctx, p->classes * (size_t)width, sizeof *p->table, &p->table));
    for (size_t c = 0; c < p->classes; c++) {
        const char *name = fdit_taxonomy_class_name(p->tax, (int32_t)c);
        const int32_t row = fdit_taxonomy_find_class(p->known, name);
        if (row < 0)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "--prior %s has the class %s, which %s does not know (it has %s to %s); name its folders as "
                 "that model does",
                 p->path, name, fdit_checkpoint_path(from), fdit_taxonomy_class_name(p->known, 0),
                 fdit_taxonomy_class_name(p->known, fdit_taxonomy_n_classes(p->known) - 1));
        TRY(fdit_checkpoint_read_rows(ctx, from, row, 1, width, p->table + c * (size_t)width));
    }
out:
    return status;
}

/* ------------------------------------------------------------------ its samples */

struct fdit_loader_options fdit_prior_loader(const struct fdit_prior *p, struct fdit_loader_options run)
{
    run.seed = fdit_prior_seed(run.seed);
    run.flip = p->data && fdit_train_source_flip(p->data);
    run.balance = FDIT_BALANCE_NONE;
    run.repeats = p->pictures && p->pictures < run.group ? (int)((run.group - 1) / p->pictures) + 1 : 1;
    run.classes = p->classes;
    return run;
}

uint64_t fdit_prior_seed(uint64_t seed)
{
    return seed ^ UINT64_C(0x7072696f72000000); /* any other stream will do */
}

void fdit_prior_fini(struct fdit_prior *p)
{
    fdit_train_source_close(p->data);
    fdit_taxonomy_free(p->known);
    fdit_free(p->path);
    fdit_free(p->table);
    *p = (struct fdit_prior){ 0 };
}
