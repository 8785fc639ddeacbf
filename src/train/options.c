/* SPDX-License-Identifier: Apache-2.0 */
#include "train/options.h"

#include "core/mem.h"
#include "format/json.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fdit_train_options fdit_train_defaults(void)
{
    return (struct fdit_train_options){
        .tune = "finediffusion",
        .storage = FDIT_F32,
        .precision = FDIT_F32,
        .flip = true,
        .batch = 32,
        .accumulate = 1,
        .devices = 1,
        .lr = 1e-4,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .ema = 0.9999,
        .drop_prob = 0.1,
        .workers = 2,
        .cache_bytes = (size_t)1 << 30,
        .val_pictures = 1024,
        .checkpoint_every = 1000,
        .checkpoint_seconds = 600,
        .preview_every = 1000,
        .keep = 3,
        .preview_guidance = 4,
    };
}

const char *fdit_lr_schedule_name(enum fdit_lr_schedule s)
{
    static const char *const names[] = { "constant", "linear", "cosine" };
    return names[s];
}

const char *fdit_class_table_init_name(enum fdit_class_table_init t)
{
    static const char *const names[] = { "normal", "base", "names" };
    return names[t];
}

const char *fdit_label_drop_name(enum fdit_label_drop d)
{
    return d == FDIT_DROP_SUPERCLASS ? "superclass" : "empty";
}

const char *fdit_recompute_name(enum fdit_recompute r)
{
    static const char *const names[] = { "none", "branches", "block" };
    return names[r];
}

const char *fdit_old_classes_name(enum fdit_old_classes c)
{
    static const char *const names[] = { "refuse", "keep", "drop" };
    return names[c];
}

bool fdit_train_is_fraction(const char *validation, double *fraction)
{
    char *end = NULL;
    *fraction = validation ? strtod(validation, &end) : 0;
    return validation && *validation && !*end;
}

/* As it was typed: "1048576", "0.999999999": the fewest digits that are this value. */
static const char *number(double value, char text[32])
{
    if (fabs(value) < 1e16 && value == floor(value)) {
        snprintf(text, 32, "%.0f", value);
        return text;
    }
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return text;
}

static enum fdit_status in_range(fdit_context *ctx, const char *option, double value, double low, double high)
{
    if (value >= low && value <= high)
        return FDIT_OK;
    char a[32], b[32], c[32];
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s %s is out of range; it must be from %s to %s", option,
                     number(value, a), number(low, b), number(high, c));
}

enum fdit_status fdit_train_check(fdit_context *ctx, const struct fdit_train_options *o)
{
    enum fdit_status status = FDIT_OK;
    if (!o->data)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--data is missing; give a folder with one sub-folder per class");
    if (!o->out)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--out is missing; give a folder for the run");
    if (!o->base == !o->from_scratch)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "give either --base FILE or --from-scratch");
    if (o->vae_scale < 0 || !isfinite(o->vae_scale) || (o->vae_scale > 0 && !o->vae))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--vae-scale %g: give a number above 0, with --vae FILE",
             o->vae_scale);
    if (o->classifier && o->vae)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--vae: a classifier works on pixels; leave the option out");
    if (o->classifier && !o->from_scratch)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--classifier starts from nothing; add --from-scratch");
    TRY(in_range(ctx, "--shift", o->shift, 0, 64));
    if (o->from_scratch && !o->model)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--from-scratch needs --model DiT-S/2 (or WIDTH,DEPTH,HEADS,PATCH)");
    if (o->from_scratch && strcmp(o->tune, "full"))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--from-scratch trains every weight; add --tune full");
    if (!fdit_mask_find(o->tune))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--tune %s is not known; use finediffusion, bitfit, norm, table or full", o->tune);
    if (o->activations != FDIT_F32 && o->recompute != FDIT_RECOMPUTE_NONE)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--activations %s: --recompute %s keeps next to none; leave out one of the two",
             fdit_dtype_name(o->activations), fdit_recompute_name(o->recompute));
    TRY(in_range(ctx, "--epochs", o->epochs, 0, FDIT_TRAIN_MOST_STEPS));
    if (o->steps <= 0 && !(o->epochs > 0))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--steps %lld: nothing to do; give --steps N or --epochs N, above 0",
             (long long)o->steps);
    TRY(in_range(ctx, "--batch", o->batch, 1, 1 << 20));
    TRY(in_range(ctx, "--accumulate", o->accumulate, 1, 1 << 20));
    TRY(in_range(ctx, "--lr", o->lr, 0, 10));
    TRY(in_range(ctx, "--betas: the first number", o->beta1, 0, 0.999999999));
    TRY(in_range(ctx, "--betas: the second number", o->beta2, 0, 0.999999999));
    TRY(in_range(ctx, "--weight-decay", o->weight_decay, 0, 100));
    TRY(in_range(ctx, "--clip", o->clip, 0, 1e30));
    TRY(in_range(ctx, "--ema", o->ema, 0, 1));
    if (o->ema == 1)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--ema 1: the average would never move; give less, as 0.9999");
    TRY(in_range(ctx, "--drop-prob", o->drop_prob, 0, 1));
    TRY(in_range(ctx, "--warmup", (double)o->warmup, 0, FDIT_TRAIN_MOST_STEPS));
    if (o->shift && !o->classifier)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--shift is of a classifier; leave it out, or add --classifier");
    if (o->data_changed && !o->resume)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--data-changed goes with --resume; a new run takes any data");
    if (o->old_classes != FDIT_OLD_CLASSES_REFUSE && !o->delta)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--old-classes are those of a delta; add --delta FILE");
    TRY(in_range(ctx, "--size", o->size, 0, 1 << 16));
    TRY(in_range(ctx, "--channels", o->channels, 0, 1 << 16));
    TRY(in_range(ctx, "--steps", (double)o->steps, 0, FDIT_TRAIN_MOST_STEPS));
    TRY(in_range(ctx, "--val-pictures", o->val_pictures, 0, INT_MAX));
    TRY(in_range(ctx, "--preview-guidance", o->preview_guidance, -1e6, 1e6));
    TRY(in_range(ctx, "--checkpoint-every: the time in minutes", o->checkpoint_seconds / 60, 0, 1e9));
    TRY(in_range(ctx, "--workers", o->workers, 0, 1024));
    TRY(in_range(ctx, "--keep", o->keep, 0, 1e9));
    TRY(in_range(ctx, "--checkpoint-every", (double)o->checkpoint_every, 0, FDIT_TRAIN_MOST_STEPS));
    TRY(in_range(ctx, "--preview-every", (double)o->preview_every, 0, FDIT_TRAIN_MOST_STEPS));
out:
    return status;
}

double fdit_train_lr(const struct fdit_train_options *o, int64_t n, int64_t total)
{
    if (n <= o->warmup)
        return o->lr * (double)n / (double)(o->warmup + 1);
    double span = (double)(total - o->warmup), done = (double)(n - 1 - o->warmup);
    double part = span > 0 ? fmin(done / span, 1) : 0;
    switch (o->schedule) {
    case FDIT_LR_CONSTANT: return o->lr;
    case FDIT_LR_LINEAR: return o->lr * (1 - part);
    case FDIT_LR_COSINE: return o->lr * 0.5 * (1 + cos(3.14159265358979323846 * part));
    }
    return o->lr;
}

/* Key for key the long options of `finediffusion train`. Paths are here too: they name what the run was
 * made of. */
static void to_json(const struct fdit_train_options *o, struct fdit_json *b)
{
    fdit_json_begin(b);
    fdit_json_put_text(b, NULL, "base", o->base);
    fdit_json_put_bool(b, NULL, "from-scratch", o->from_scratch);
    fdit_json_put_bool(b, NULL, "classifier", o->classifier);
    fdit_json_put_text(b, NULL, "model", o->model);
    fdit_json_put_int(b, NULL, "size", o->size);
    fdit_json_put_int(b, NULL, "channels", o->channels);
    fdit_json_put_text(b, NULL, "delta", o->delta);
    fdit_json_put_text(b, NULL, "tune", o->tune);
    fdit_json_put_text(b, NULL, "recompute", fdit_recompute_name(o->recompute));
    fdit_json_put_text(b, NULL, "activations", fdit_dtype_name(o->activations));
    fdit_json_put_text(b, NULL, "weights", fdit_dtype_name(o->storage));
    fdit_json_put_text(b, NULL, "precision", fdit_dtype_name(o->precision));
    fdit_json_put_text(b, NULL, "data", o->data);
    fdit_json_put_text(b, NULL, "val", o->validation);
    fdit_json_put_text(b, NULL, "taxonomy", o->taxonomy);
    fdit_json_put_text(b, NULL, "ranks", o->ranks);
    fdit_json_put_text(b, NULL, "superclass", o->superclass);
    fdit_json_put_text(b, NULL, "superclass-train", o->superclass_train);
    fdit_json_put_text(b, NULL, "fit", o->fit == FDIT_FIT_CROP ? "crop" : "pad");
    fdit_json_put_text(b, NULL, "orient", o->look.orient);
    fdit_json_put_text(b, NULL, "matte", o->look.matte);
    fdit_json_put_text(b, NULL, "flip", o->flip ? "horizontal" : "none");
    fdit_json_put_int(b, NULL, "shift", o->shift);
    fdit_json_put_bool(b, NULL, "skip-bad", o->skip_bad);
    fdit_json_put_int(b, NULL, "val-pictures", o->val_pictures);
    fdit_json_put_text(b, NULL, "old-classes", fdit_old_classes_name(o->old_classes));
    fdit_json_put_text(b, NULL, "vae", o->vae);
    fdit_json_put_real(b, NULL, "vae-scale", o->vae_scale);
    fdit_json_put_int(b, NULL, "batch", o->batch);
    fdit_json_put_int(b, NULL, "accumulate", o->accumulate);
    fdit_json_put_int(b, NULL, "devices", o->devices);
    fdit_json_put_real(b, NULL, "lr", o->lr);
    fdit_json_put_text(b, NULL, "lr-schedule", fdit_lr_schedule_name(o->schedule));
    fdit_json_put_int(b, NULL, "warmup", o->warmup);
    json_t *betas = fdit_json_put_array(b, NULL, "betas");
    fdit_json_put_real(b, betas, NULL, o->beta1);
    fdit_json_put_real(b, betas, NULL, o->beta2);
    fdit_json_put_real(b, NULL, "weight-decay", o->weight_decay);
    fdit_json_put_real(b, NULL, "clip", o->clip);
    fdit_json_put_real(b, NULL, "ema", o->ema);
    fdit_json_put_bool(b, NULL, "ema-exact", o->ema_exact);
    fdit_json_put_text(b, NULL, "label-drop", fdit_label_drop_name(o->drop));
    fdit_json_put_real(b, NULL, "drop-prob", o->drop_prob);
    fdit_json_put_text(b, NULL, "table-init", fdit_class_table_init_name(o->table_init));
    fdit_json_put_int(b, NULL, "seed", (int64_t)o->seed);
}

enum fdit_status fdit_train_options_json(fdit_context *ctx, const struct fdit_train_options *o, char **out)
{
    struct fdit_json b;
    to_json(o, &b);
    enum fdit_status status = fdit_json_end(ctx, &b, "options", JSON_COMPACT | JSON_REAL_PRECISION(17), out);
    fdit_json_fini(&b);
    return status;
}

enum fdit_status fdit_train_settings_json(fdit_context *ctx, const struct fdit_train_options *o, char **out)
{
    struct fdit_json b;
    fdit_json_begin(&b);
    if (o->epochs > 0)
        fdit_json_put_real(&b, NULL, "epochs", o->epochs);
    else
        fdit_json_put_int(&b, NULL, "steps", o->steps);
    fdit_json_put_int(&b, NULL, "checkpoint-every", o->checkpoint_every);
    fdit_json_put_real(&b, NULL, "checkpoint-seconds", o->checkpoint_seconds);
    fdit_json_put_int(&b, NULL, "preview-every", o->preview_every);
    fdit_json_put_real(&b, NULL, "preview-guidance", o->preview_guidance);
    fdit_json_put_int(&b, NULL, "keep", o->keep);
    fdit_json_put_int(&b, NULL, "workers", o->workers);
    fdit_json_put_int(&b, NULL, "cache-memory", (int64_t)o->cache_bytes);
    fdit_json_put_int(&b, NULL, "memory", (int64_t)o->memory);
    if (o->vae) { /* one that only decodes previews is not among the options that decide the numbers */
        fdit_json_put_text(&b, NULL, "vae", o->vae);
        fdit_json_put_real(&b, NULL, "vae-scale", o->vae_scale);
    }
    fdit_json_put_text(&b, NULL, "device", o->device);
    fdit_json_put_int(&b, NULL, "threads", o->threads);
    enum fdit_status status = fdit_json_end(ctx, &b, "options", JSON_COMPACT | JSON_REAL_PRECISION(17), out);
    fdit_json_fini(&b);
    return status;
}

static json_int_t integer_of(const json_t *options, const json_t *usual, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(options, key) ? options : usual, key));
}

/* With another number of devices --batch and --accumulate may change as long as a step has as many
 * pictures as before. *other: the number of devices is another one. */
static enum fdit_status compare_steps(fdit_context *ctx, const json_t *old, const json_t *usual,
                                      const struct fdit_train_options *o, bool *other)
{
    json_int_t devices = integer_of(old, usual, "devices");
    json_int_t was = integer_of(old, usual, "batch") * integer_of(old, usual, "accumulate") * devices;
    json_int_t is = (json_int_t)o->batch * o->accumulate * o->devices;
    *other = devices != o->devices;
    if (!*other || was == is)
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                     "--resume: a step had %lld pictures on %lld devices and has %lld on %d now; change "
                     "--batch or --accumulate so that their product over all devices is %lld",
                     (long long)was, (long long)devices, (long long)is, o->devices, (long long)was);
}

/* Files are compared by content, not by path, but not one with none. Bad pictures are skipped where they
 * would end the run, so going on with --skip-bad gives what a run with it from the beginning gives. */
static bool may_change(const char *key, const json_t *before, const json_t *value)
{
    static const char *const paths[] = { "base", "data", "delta", "vae" };
    const char *a = json_string_value(before), *b = json_string_value(value);
    double x = 0, y = 0;
    if (!strcmp(key, "skip-bad"))
        return true;
    if (!strcmp(key, "taxonomy")) /* one and none may say the same */
        return true;
    if (!strcmp(key, "val") && a && b) {
        bool share = fdit_train_is_fraction(a, &x), now = fdit_train_is_fraction(b, &y);
        return share == now && (!share || x == y);
    }
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (!strcmp(key, paths[i]))
            return a && b;
    return false;
}

enum fdit_status fdit_train_options_compare(fdit_context *ctx, const char *path, const char *text, size_t n,
                                            const struct fdit_train_options *o)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_options defaults = fdit_train_defaults();
    struct fdit_json mine, usual; /* usual: of options that the run's program did not know yet */
    json_t *root = NULL, *value;
    char was[200], is[200];
    const char *key;
    to_json(o, &mine);
    defaults.look = (struct fdit_picture_words){ "none", "none" }; /* as it was before there was a choice */
    to_json(&defaults, &usual);
    TRY(fdit_json_check(ctx, &mine, "options"));
    TRY(fdit_json_check(ctx, &usual, "options"));
    TRY(fdit_json_parse(ctx, path, text, n, 64, &root));
    const json_t *old = json_object_get(root, "options");
    if (!json_is_object(old))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: is not the config.json of a run (it has no \"options\"); resume another folder", path);
    bool other = false;
    TRY(compare_steps(ctx, old, usual.root, o, &other));
    json_object_foreach(mine.root, key, value)
    {
        if (!strcmp(key, "devices") || (other && (!strcmp(key, "batch") || !strcmp(key, "accumulate"))))
            continue;
        const json_t *before = json_object_get(json_object_get(old, key) ? old : usual.root, key);
        if (json_equal(before, value) || may_change(key, before, value))
            continue;
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--resume: --%s was %s when the run began and is %s now; only paths, steps, epochs, device, "
             "threads, "
             "workers, intervals, --keep and --skip-bad may change",
             key, fdit_json_show(before, was, sizeof was), fdit_json_show(value, is, sizeof is));
    }
out:
    json_decref(root);
    fdit_json_fini(&mine);
    fdit_json_fini(&usual);
    return status;
}
