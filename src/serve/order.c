/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/order.h"

#include "core/mem.h"
#include "core/option_table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What a client may say. */
static const char *const names[] = { "classes",       "per-class", "seed",
                                     "guide",         "guidance",  "guidance-channels",
                                     "guidance-rule", "sampler",   "guidance-interval",
                                     "steps",         "clip-x0",   "no-clip-x0" };

/* ------------------------------------------------------------------ what was asked */

static bool is_allowed(const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

/* The value as it would be typed. */
static enum fdit_status type_value(fdit_context *ctx, const char *name, const json_t *value, char out[4096])
{
    char number[32];
    if (json_is_string(value) && json_string_length(value) && json_string_length(value) < 4096)
        snprintf(out, 4096, "%s", json_string_value(value));
    else if (json_is_integer(value))
        snprintf(out, 4096, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        snprintf(out, 4096, "%s", fdit_format_number(json_real_value(value), number));
    else if (json_is_boolean(value))
        snprintf(out, 4096, "%s", json_is_true(value) ? "true" : "false");
    else
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "\"%s\": give a number, a text of 1 to 4095 bytes, true or false", name);
    return FDIT_OK;
}

static enum fdit_status take_option(fdit_context *ctx, struct fdit_order *o, const char *name,
                                    const json_t *value)
{
    enum fdit_status status = FDIT_OK;
    char text[4096];
    if (!is_allowed(name))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "\"%s\": not an option of a drawing; they are classes, per-class, seed, guide, guidance, "
             "guidance-channels, guidance-interval, guidance-rule, sampler, steps, clip-x0 and no-clip-x0",
             name);
    TRY(type_value(ctx, name, value, text));
    if (!strcmp(name, "classes") && text[0] == '@')
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "\"classes\": files are not read for a client; give names, #ids or RANK=GROUP");
    if (!strcmp(name, "guide") && (!strncmp(text, "delta:", 6) || !strcmp(text, "base")))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "\"guide\": %.4s... is another model; start 'serve' with --guide for it", text);
    const bool flag = fdit_option_find(fdit_sample_option_table, name)->arg == NULL;
    if (flag && strcmp(text, "true") && strcmp(text, "false"))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "\"%s\": %.40s is neither true nor false", name, text);
    if (flag && !strcmp(text, "false"))
        return FDIT_OK;
    json_t *kept = json_string(text);
    if (!kept || json_object_set_new(o->asked, name, kept))
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for an order");
    TRY(fdit_options_set(ctx, fdit_sample_option_table, &o->options, name,
                         flag ? NULL : json_string_value(kept)));
out:
    return status;
}

static enum fdit_status take_options(fdit_context *ctx, struct fdit_order *o, const json_t *asked)
{
    enum fdit_status status = FDIT_OK;
    const char *name;
    json_t *value;
    if (!json_is_object(asked))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "send an object: {\"classes\":\"#5\",\"per-class\":4}");
    json_object_foreach((json_t *)(uintptr_t)asked, name, value)
    {
        if (strcmp(name, "delta"))
            TRY(take_option(ctx, o, name, value));
    }
    TRY(fdit_sample_check(ctx, &o->options, true));
out:
    return status;
}

/* The guide that the model was opened with, where it is another model; else the one that was asked for. */
static enum fdit_status choose_guide(fdit_context *ctx, const struct fdit_order_model *model,
                                     struct fdit_order *o)
{
    enum fdit_status status = FDIT_OK;
    char *fingerprint = NULL;
    const bool other = model->source.guide.files.n > 0;
    o->source = model->source;
    if (other && json_object_get(o->asked, "guide")) {
        o->source.guide = (struct fdit_guide){ .rank = -1 };
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "\"guide\": this server draws with --guide %s alone; leave it out",
             model->source.guide.text);
    }
    if (other)
        return FDIT_OK;
    o->source.guide = (struct fdit_guide){ .rank = -1 };
    TRY(fdit_guide_choose(ctx, &o->options, &model->source, &fingerprint, &o->source.guide));
    if (o->source.guide.kind == FDIT_GUIDE_SUPERCLASS)
        TRY(fdit_new_classes_check_guide(ctx, &o->source.fresh, o->source.taxonomy, o->source.guide.rank));
    if (o->source.guide.kind != FDIT_GUIDE_NONE && model->source.guide.kind == FDIT_GUIDE_NONE)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "\"guide\": the model was loaded to draw without one; start 'serve' with --guide %s",
             o->source.guide.text);
out:
    fdit_free(fingerprint);
    return status;
}

/* Numbers that do not go together are said now, not when the turn comes. */
static enum fdit_status check_sampler(fdit_context *ctx, const struct fdit_order_model *model,
                                      struct fdit_order *o)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_sampler_spec spec = o->options.sampler;
    struct fdit_sampler *sampler = NULL;
    spec.objective = model->source.files.config.objective;
    o->steps = o->options.steps ? o->options.steps : fdit_sampler_default_steps(spec.kind);
    TRY(fdit_sampler_new(ctx, &spec, o->steps, &sampler));
    TRY(fdit_guidance_check_rule(ctx, &o->options.guidance, &spec));
    if (o->options.clip_x0 > 0 && !fdit_sampler_clamps(spec.kind))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "\"clip-x0\": this sampler cannot clamp; leave it out");
out:
    fdit_sampler_free(sampler);
    return status;
}

enum fdit_status fdit_order_new(fdit_context *ctx, const struct fdit_order_model *model, const json_t *asked,
                                struct fdit_order **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_order *o = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *o, &o));
    o->options = model->options;
    o->source.guide.rank = -1;
    if (!(o->asked = json_object()))
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for an order");
    TRY(take_options(ctx, o, asked));
    TRY(choose_guide(ctx, model, o));
    const struct fdit_sample_options *p = &o->options;
    if (!p->classes)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "\"classes\" is missing: names, #ids or RANK=GROUP, with commas between");
    TRY(fdit_request_init(ctx, model->source.taxonomy, p->classes, NULL, p->per_class, p->seed, 0, 1,
                          &o->request));
    if (o->request.n > FDIT_ORDER_MOST_PICTURES)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%zu pictures are too many for one order, %d is the most; 'finediffusion sample' draws more",
             o->request.n, FDIT_ORDER_MOST_PICTURES);
    TRY(fdit_sample_settle(ctx, &o->options, &o->source, model->pixels));
    o->how = fdit_sample_way(&o->options, &o->source);
    TRY(check_sampler(ctx, model, o));
    TRY(fdit_identity_init(ctx, &o->options, &o->source, &model->files, &o->request, o->steps, &o->identity));
    fdit_sampler_format(&o->options.sampler, o->sampler);
    o->caption = (struct fdit_caption){ .identity = &o->identity,
                                        .model = model->name,
                                        .sampler = o->sampler,
                                        .guide = o->source.guide.text,
                                        .w = o->options.guidance.w,
                                        .clip_x0 = o->options.clip_x0 > 0,
                                        .steps = o->steps,
                                        .width = model->size,
                                        .height = model->size };
    TRY(fdit_alloc(ctx, o->request.n, sizeof *o->pictures, &o->pictures));
    *out = o;
    return FDIT_OK;
out:
    fdit_order_free(o);
    return status;
}

void fdit_order_free(struct fdit_order *o)
{
    if (!o)
        return;
    for (size_t i = 0; o->pictures && i < o->request.n; i++)
        fdit_free(o->pictures[i].bytes);
    fdit_free(o->pictures);
    if (!o->source.guide.files.n)
        fdit_guide_fini(&o->source.guide);
    fdit_identity_fini(&o->identity);
    fdit_request_fini(&o->request);
    json_decref(o->asked);
    fdit_free(o->message);
    fdit_free(o);
}

bool fdit_order_alike(const struct fdit_order *a, const struct fdit_order *b)
{
    return a->model == b->model && !strcmp(a->identity.options, b->identity.options);
}

/* ------------------------------------------------------------------ what is made of it */

enum fdit_status fdit_order_encode(fdit_context *ctx, const struct fdit_order *o,
                                   const struct fdit_order_model *model, size_t p, uint8_t *pixels,
                                   uint8_t **bytes, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_caption_texts texts = { 0 };
    const struct fdit_request_item item = fdit_request_at(&o->request, p);
    const struct fdit_picture picture = { model->size, model->size, model->channels, pixels };
    TRY(fdit_caption_make(ctx, &o->caption, fdit_taxonomy_class_name(model->source.taxonomy, item.id),
                          item.id, item.seed, &texts));
    TRY(fdit_png_encode_with(ctx, &picture, texts.list, FDIT_CAPTION_TEXTS, bytes, n));
out:
    fdit_caption_fini(&texts);
    return status;
}

/* A command that grows; one check at the end. */
struct command {
    fdit_context *ctx;
    enum fdit_status status;
    char *text;
    size_t n, capacity;
};

static void add_bytes(struct command *c, const char *bytes, size_t n)
{
    if (c->status == FDIT_OK)
        c->status = fdit_grow(c->ctx, &c->text, &c->capacity, c->n + n + 1, 1);
    if (c->status != FDIT_OK)
        return;
    memcpy(c->text + c->n, bytes, n);
    c->n += n;
    c->text[c->n] = '\0';
}

/* " --name value", the value in quotes where a shell would take it for something else. value NULL: a flag. */
static void add_option(struct command *c, const char *name, const char *value)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,=+";
    add_bytes(c, " --", 3);
    add_bytes(c, name, strlen(name));
    if (!value)
        return;
    bool quote = value[strspn(value, plain)] || !*value || *value == '-';
    add_bytes(c, *value == '-' ? "=" : " ", 1);
    if (quote)
        add_bytes(c, "'", 1);
    for (const char *at = value; *at; at++)
        add_bytes(c, *at == '\'' ? "'\\''" : at, *at == '\'' ? 4 : 1);
    if (quote)
        add_bytes(c, "'", 1);
}

static void add_model(struct command *c, const struct fdit_sample_options *o)
{
    static const char *const texts[] = { "base",     "delta", "objective",    "model",
                                         "taxonomy", "ranks", "class-vector", "vae" };
    char number[32];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const struct fdit_option *row = fdit_option_find(fdit_sample_option_table, texts[i]);
        const char *value = *(const char *const *)(const void *)((const char *)o + row->offset);
        if (value)
            add_option(c, texts[i], value);
    }
    if (o->values == FDIT_VALUES_RAW)
        add_option(c, "weights-from", "raw");
    if (o->vae_scale > 0)
        add_option(c, "vae-scale", fdit_format_number(o->vae_scale, number));
    if (o->merge)
        add_option(c, "merge", NULL);
    if (o->force)
        add_option(c, "force", NULL);
    if (o->storage != FDIT_F32)
        add_option(c, "weights", fdit_dtype_name(o->storage));
    if (o->precision != FDIT_F32)
        add_option(c, "precision", fdit_dtype_name(o->precision));
}

enum fdit_status fdit_order_command(fdit_context *ctx, const struct fdit_order *o,
                                    const struct fdit_order_model *model, char **out)
{
    struct command c = { .ctx = ctx };
    *out = NULL;
    add_bytes(&c, "finediffusion sample", strlen("finediffusion sample"));
    add_model(&c, &model->options);
    if (model->options.guide && !json_object_get(o->asked, "guide"))
        add_option(&c, "guide", model->options.guide);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = json_string_value(json_object_get(o->asked, names[i]));
        if (value)
            add_option(&c, names[i],
                       fdit_option_find(fdit_sample_option_table, names[i])->arg ? value : NULL);
    }
    add_option(&c, "out", "pictures");
    if (c.status == FDIT_OK)
        *out = c.text;
    else
        fdit_free(c.text);
    return c.status;
}

void fdit_order_put(struct fdit_json *b, json_t *to, const struct fdit_order *o)
{
    static const char *const states[] = { "waits", "draws", "done", "cancelled", "failed" };
    fdit_json_put_int(b, to, "order", o->id);
    fdit_json_put_text(b, to, "state", states[o->state]);
    fdit_json_put_int(b, to, "delta", o->model);
    fdit_json_put_int(b, to, "pictures", (int64_t)o->request.n);
    fdit_json_put_int(b, to, "done", (int64_t)o->done);
    fdit_json_put_int(b, to, "step", o->step);
    fdit_json_put_int(b, to, "steps", o->steps);
    fdit_json_put_real(b, to, "seconds", o->seconds);
    if (o->message)
        fdit_json_put_text(b, to, "error", o->message);
}
