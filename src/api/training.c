/* SPDX-License-Identifier: Apache-2.0
 * The fine-tuning half of finediffusion.h. */
#include "api/api.h"
#include "core/file.h"
#include "core/mem.h"
#include "train/config.h"
#include "train/run.h"

#include <string.h>

struct fdit_training {
    struct fdit_train_options o;
    struct fdit_train_config *config; /* what o was read from; NULL: nothing */
    char **texts;                     /* [n] that o points to */
    size_t n, room;
    char *plan;
};

enum fdit_status fdit_training_new(fdit_context *ctx, fdit_training **out)
{
    enum fdit_status status = FDIT_OK;
    fdit_training *t = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *t, &t));
    t->o = fdit_train_defaults();
    *out = t;
out:
    return status;
}

void fdit_training_free(fdit_training *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n; i++)
        fdit_free(t->texts[i]);
    fdit_free(t->texts);
    fdit_train_config_close(t->config);
    fdit_free(t->plan);
    fdit_free(t);
}

/* A copy that lives as long as the training. */
static enum fdit_status keep(fdit_context *ctx, fdit_training *t, const char *text, char **out)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_grow(ctx, &t->texts, &t->room, t->n + 1, sizeof *t->texts));
    TRY(fdit_strdup(ctx, text, out));
    t->texts[t->n++] = *out;
out:
    return status;
}

enum fdit_status fdit_training_set(fdit_context *ctx, fdit_training *t, const char *option, const char *value)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_options changed = t->o;
    char *copy = NULL;
    if (value)
        TRY(keep(ctx, t, value, &copy));
    TRY(fdit_train_options_set(ctx, &changed, option, copy));
    t->o = changed;
out:
    return status;
}

/* Options from `path` below nothing: what was set before is lost. */
static enum fdit_status read_config(fdit_context *ctx, fdit_training *t, const char *path, const char *run)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_config *config = NULL;
    struct fdit_train_options o = fdit_train_defaults();
    TRY(fdit_train_config_open(ctx, path, &config));
    fdit_train_config_apply(config, &o);
    TRY(fdit_train_config_resolve(ctx, config, run, &o));
    fdit_train_config_close(t->config);
    t->config = config;
    t->o = o;
    return FDIT_OK;
out:
    fdit_train_config_close(config);
    return status;
}

enum fdit_status fdit_training_read_config(fdit_context *ctx, fdit_training *t, const char *path)
{
    return read_config(ctx, t, path, NULL);
}

enum fdit_status fdit_training_resume(fdit_context *ctx, fdit_training *t, const char *run)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *folder = NULL;
    TRY(fdit_path_join(ctx, run, "config.json", &path));
    if (!fdit_is_file(path))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s holds no run (no config.json)", run);
    TRY(keep(ctx, t, run, &folder));
    TRY(read_config(ctx, t, path, folder));
    t->o.out = folder;
    t->o.resume = true;
out:
    fdit_free(path);
    return status;
}

/* ------------------------------------------------------------------ running */

struct relay {
    fdit_training_fn progress;
    void *user;
    fdit_context *ctx; /* of this run alone, so that a callback stops nothing else */
    fdit_training *training;
    enum fdit_status status; /* of the plan's text */
};

static void on_step(void *user, const struct fdit_train_progress *p)
{
    const struct relay *r = user;
    const struct fdit_training_progress now = { .step = p->step,
                                                .steps = p->steps,
                                                .loss = p->loss,
                                                .mse = p->mse,
                                                .vb = p->vb,
                                                .lr = p->lr,
                                                .images_per_second = p->images_per_second,
                                                .seconds = p->seconds };
    if (!r->progress(r->user, &now))
        fdit_context_stop(r->ctx);
}

static void on_plan(void *user, const struct fdit_plan *plan)
{
    struct relay *r = user;
    char *part = NULL, *longer = NULL;
    const char *before = r->training->plan ? r->training->plan : "";
    if (r->status == FDIT_OK)
        r->status = fdit_plan_text(r->ctx, plan, &part);
    if (r->status == FDIT_OK)
        r->status = fdit_strf(r->ctx, &longer, "%s%s", before, part);
    if (r->status == FDIT_OK) {
        fdit_free(r->training->plan);
        r->training->plan = longer;
    }
    fdit_free(part);
}

static enum fdit_status run(fdit_context *ctx, fdit_training *t, bool plan_only, struct relay *relay)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_options o = t->o;
    struct fdit_devices devices = { 0 };
    const struct fdit_train_hooks hooks = { .user = relay,
                                            .on_plan = plan_only ? on_plan : NULL,
                                            .on_step = relay->progress ? on_step : NULL };
    const struct fdit_device_options d = { .spec = o.device, .threads = o.threads, .precision = o.precision };
    if (o.steps > 0 && o.epochs > 0)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--steps and --epochs: give one of the two");
    if (plan_only && !o.out)
        o.out = "."; /* nothing is written */
    TRY(fdit_train_check(ctx, &o));
    TRY(fdit_api_devices(ctx, &d, o.storage, &devices));
    TRY(fdit_train_run(ctx, &devices, &o, &hooks, plan_only, NULL));
    TRY(relay->status);
out:
    fdit_devices_close(&devices);
    return status;
}

static enum fdit_status run_apart(fdit_context *ctx, fdit_training *t, bool plan_only,
                                  fdit_training_fn progress, void *user)
{
    enum fdit_status status = FDIT_OK;
    struct relay relay = { .progress = progress, .user = user, .training = t };
    relay.ctx = fdit_context_child(ctx);
    if (!relay.ctx)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory");
    status = run(relay.ctx, t, plan_only, &relay);
    if (status != FDIT_OK)
        fdit_context_take_message(ctx, relay.ctx);
out:
    fdit_context_free(relay.ctx);
    return status;
}

enum fdit_status fdit_training_run(fdit_context *ctx, fdit_training *t, fdit_training_fn progress, void *user)
{
    return run_apart(ctx, t, false, progress, user);
}

enum fdit_status fdit_training_plan(fdit_context *ctx, fdit_training *t, const char **text)
{
    fdit_free(t->plan);
    t->plan = NULL;
    enum fdit_status status = run_apart(ctx, t, true, NULL, NULL);
    *text = t->plan ? t->plan : "";
    return status;
}
