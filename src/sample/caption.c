/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/caption.h"

#include "core/mem.h"
#include "finediffusion.h"
#include "format/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A value in "parameters": with quotes where a comma or the like would end it. */
static enum fdit_status quoted(fdit_context *ctx, const char *value, char **out)
{
    return fdit_strf(ctx, out, strpbrk(value, ",:\"\n") ? "\"%s\"" : "%s", value);
}

static enum fdit_status parameters(fdit_context *ctx, const struct fdit_caption *c, const char *class_name,
                                   int32_t id, uint64_t seed, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *model = NULL, *guide = NULL, *sampler = NULL, scale[32] = "";
    TRY(quoted(ctx, c->model, &model));
    TRY(quoted(ctx, c->guide, &guide));
    TRY(quoted(ctx, c->sampler, &sampler));
    if (strcmp(c->guide, "none") != 0)
        snprintf(scale, sizeof scale, "CFG scale: %g, ", c->w);
    TRY(fdit_strf(ctx, out,
                  "%s\nSteps: %d, Sampler: %s, %sSeed: %" PRIu64 ", Size: %dx%d, Model hash: %s, Model: %s, "
                  "Guide: %s, Clip x0: %s, Class id: %" PRId32 ", Version: finediffusion %s",
                  class_name, c->steps, sampler, scale, seed, c->width, c->height, c->identity->weights,
                  model, guide, c->clip_x0 ? "on" : "off", id, fdit_version()));
out:
    fdit_free(model);
    fdit_free(guide);
    fdit_free(sampler);
    return status;
}

static enum fdit_status own_text(fdit_context *ctx, const struct fdit_caption *c, const char *class_name,
                                 int32_t id, uint64_t seed, char **out)
{
    enum fdit_status status = FDIT_OK;
    json_t *options = NULL;
    struct fdit_json b;
    fdit_json_begin(&b);
    fdit_json_put_text(&b, NULL, "class", class_name);
    fdit_json_put_int(&b, NULL, "id", id);
    fdit_json_put_int(&b, NULL, "seed", (int64_t)seed);
    fdit_json_put_text(&b, NULL, "model", c->model);
    fdit_json_put_text(&b, NULL, "weights", c->identity->weights);
    fdit_json_put_text(&b, NULL, "run", c->identity->picture);
    TRY(fdit_json_parse(ctx, "options", c->identity->options, strlen(c->identity->options), 8, &options));
    fdit_json_put(&b, NULL, "options", options);
    fdit_json_put_text(&b, NULL, "version", fdit_version());
    TRY(fdit_json_end(ctx, &b, "the text of a picture", JSON_COMPACT | JSON_REAL_PRECISION(17), out));
out:
    fdit_json_fini(&b);
    return status;
}

enum fdit_status fdit_caption_make(fdit_context *ctx, const struct fdit_caption *c, const char *class_name,
                                   int32_t id, uint64_t seed, struct fdit_caption_texts *out)
{
    enum fdit_status status = FDIT_OK;
    memset(out, 0, sizeof *out);
    TRY(parameters(ctx, c, class_name, id, seed, &out->owned[0]));
    TRY(own_text(ctx, c, class_name, id, seed, &out->owned[1]));
    TRY(fdit_strf(ctx, &out->owned[2], "finediffusion %s", fdit_version()));
    out->list[0] = (struct fdit_png_text){ "parameters", out->owned[0] };
    out->list[1] = (struct fdit_png_text){ FDIT_CAPTION_KEY, out->owned[1] };
    out->list[2] = (struct fdit_png_text){ "Title", class_name };
    out->list[3] = (struct fdit_png_text){ "Software", out->owned[2] };
    return FDIT_OK;
out:
    fdit_caption_fini(out);
    return status;
}

void fdit_caption_fini(struct fdit_caption_texts *texts)
{
    for (size_t i = 0; i < sizeof texts->owned / sizeof *texts->owned; i++)
        fdit_free(texts->owned[i]);
    memset(texts, 0, sizeof *texts);
}

bool fdit_caption_is(const char *text, size_t n, const char *run, const char *class_name, uint64_t seed)
{
    json_t *root = NULL;
    if (!text || n > 1 << 20 || fdit_json_parse(NULL, "", text, n, 16, &root) != FDIT_OK)
        return false;
    const char *by = json_string_value(json_object_get(root, "run"));
    const char *of = json_string_value(json_object_get(root, "class"));
    const json_t *number = json_object_get(root, "seed");
    bool same = by && of && json_is_integer(number) && !strcmp(by, run) &&
                (!class_name || (!strcmp(of, class_name) && (uint64_t)json_integer_value(number) == seed));
    json_decref(root);
    return same;
}
