/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/identity.h"

#include "core/mem.h"
#include "format/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDENTITY_FORMAT "finediffusion-sample"
#define IDENTITY_VERSION "1"

static const uint64_t fnv_start = UINT64_C(0xcbf29ce484222325); /* FNV-1a, 64 bits */

static uint64_t fnv(uint64_t hash, const void *bytes, size_t n)
{
    const uint8_t *b = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ b[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static json_t *hex(uint64_t value)
{
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, value);
    return json_string(text);
}

static uint64_t hash_request(const struct fdit_request *r)
{
    uint64_t hash = fnv(fnv_start, &r->shards, sizeof r->shards);
    for (size_t i = 0; i < r->n_classes; i++) {
        uint64_t pair[2] = { (uint64_t)r->ids[i], (uint64_t)r->first[i + 1] };
        hash = fnv(hash, pair, sizeof pair);
    }
    return hash;
}

/* Key for key the long options of `finediffusion sample`. */
static json_t *options_json(const struct fdit_sample_options *o, const struct fdit_subject *s,
                            const struct fdit_request *request, int steps)
{
    char sampler[40], interval[40];
    static const char *const rngs[] = { "philox", "torch-cpu", "torch-cuda" };
    fdit_sampler_format(&o->sampler, sampler);
    snprintf(interval, sizeof interval, "%d:%d", o->guidance.t_low, o->guidance.t_high);
    bool guided = s->guide != FDIT_GUIDE_NONE;
    json_t *j = json_object();
    json_object_set_new(j, "guide", json_string(s->guide_text));
    if (guided) {
        json_object_set_new(j, "guidance", json_real(o->guidance.w));
        json_object_set_new(
            j, "guidance-channels",
            json_integer(fdit_guidance_channels(&o->guidance, s->files.config.channels)));
        json_object_set_new(j, "guidance-interval", json_string(interval));
    }
    json_object_set_new(j, "sampler", json_string(sampler));
    json_object_set_new(j, "steps", json_integer(steps));
    json_object_set_new(j, "clip-x0", json_boolean(o->clip_x0));
    json_object_set_new(j, "seed", json_integer((json_int_t)o->seed));
    json_object_set_new(j, "rng", json_string(rngs[o->rng]));
    json_object_set_new(j, "weights", json_string(fdit_dtype_name(o->storage)));
    if (o->precision != FDIT_F32) /* absent in the files of older programs */
        json_object_set_new(j, "precision", json_string(fdit_dtype_name(o->precision)));
    json_object_set_new(j, "tar", json_boolean(o->tar));
    if (o->tar)
        json_object_set_new(j, "classes", hex(hash_request(request)));
    return j;
}

enum fdit_status fdit_identity_init(fdit_context *ctx, const struct fdit_sample_options *o,
                                    const struct fdit_subject *s,
                                    const struct fdit_request *request, int steps,
                                    uint64_t vae, struct fdit_identity *out)
{
    enum fdit_status status = FDIT_OK;
    uint64_t weights = 0, guide = 0;
    char *taxonomy = NULL, *text = NULL;
    json_t *j = json_object();
    *out = (struct fdit_identity){ .text = NULL };
    TRY(fdit_weight_files_hash(ctx, &s->files, &weights));
    if (s->guide_files.n)
        TRY(fdit_weight_files_hash(ctx, &s->guide_files, &guide));
    TRY(fdit_taxonomy_to_json(ctx, s->taxonomy, &taxonomy));
    json_object_set_new(j, "format", json_string(IDENTITY_FORMAT));
    json_object_set_new(j, "version", json_string(IDENTITY_VERSION));
    json_object_set_new(j, "weights", hex(weights));
    json_object_set_new(j, "guide_weights", s->guide_files.n ? hex(guide) : json_null());
    if (vae) /* without one the text is as it was before there were any */
        json_object_set_new(j, "vae", hex(vae));
    json_object_set_new(j, "taxonomy", hex(fnv(fnv_start, taxonomy, strlen(taxonomy))));
    json_object_set_new(j, "options", options_json(o, s, request, steps));
    text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    if (!text)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for run.json");
    snprintf(out->hash, sizeof out->hash, "%016" PRIx64, fnv(fnv_start, text, strlen(text)));
    json_object_set_new(j, "hash", json_string(out->hash));
    free(text);
    text = json_dumps(j, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    if (!text)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for run.json");
    TRY(fdit_strf(ctx, &out->text, "%s\n", text));
out:
    json_decref(j);
    free(text);
    fdit_free(taxonomy);
    return status;
}

void fdit_identity_fini(struct fdit_identity *id)
{
    fdit_free(id->text);
    *id = (struct fdit_identity){ .text = NULL };
}

static const char remedy[] = "choose another --out, or --overwrite to replace its pictures";

enum fdit_status fdit_identity_compare(fdit_context *ctx, const struct fdit_identity *id,
                                       const char *path, const char *text, size_t n)
{
    enum fdit_status status = FDIT_OK;
    static const char *const parts[] = { "weights", "guide_weights", "vae", "taxonomy" };
    static const char *const names[] = { "weights", "weights of the guide", "autoencoder",
                                         "taxonomy" };
    json_t *mine = json_loads(id->text, 0, NULL), *value;
    json_t *root = json_loadb(text, n, 0, NULL);
    const json_t *old = json_object_get(root, "options");
    const char *hash = json_string_value(json_object_get(root, "hash")), *key;
    char *was = NULL, *is = NULL;
    if (!hash || !json_is_object(old))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s was not written by this program; %s", path, remedy);
    if (!strcmp(hash, id->hash))
        goto out;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const json_t *a = json_object_get(mine, parts[i]), *b = json_object_get(root, parts[i]);
        if ((a || b) && !json_equal(a, b))
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: the pictures there come from %s%s; %s", path,
                 i == 3   ? "other classes: another "
                 : i == 2 ? "another "
                          : "other ",
                 names[i], remedy);
    }
    json_object_foreach(json_object_get(mine, "options"), key, value)
    {
        const json_t *before = json_object_get(old, key);
        if (json_equal(before, value) || !before) /* what is new follows from another difference */
            continue;
        was = json_dumps(before ? before : json_null(), JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
        is = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: the pictures there were made with --%s %s, now it is %s; %s", path, key,
             was ? was : "?", is ? is : "?", remedy);
    }
    FAIL(ctx, FDIT_ERROR_FORMAT, "%s: the pictures there were made with other options; %s", path,
         remedy);
out:
    free(was);
    free(is);
    json_decref(root);
    json_decref(mine);
    return status;
}
