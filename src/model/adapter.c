/* SPDX-License-Identifier: Apache-2.0 */
#include "model/adapter.h"

#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const fdit_adapter_layers[FDIT_ADAPTER_LAYERS] = { "attn.qkv", "attn.proj", "mlp.fc1",
                                                               "mlp.fc2" };

bool fdit_adapter_any(const struct fdit_adapter *a)
{
    return a->rank != 0 || a->gammas != FDIT_GAMMAS_NONE;
}

bool fdit_adapter_equal(const struct fdit_adapter *a, const struct fdit_adapter *b)
{
    return a->rank == b->rank && a->gammas == b->gammas && a->rslora == b->rslora && !(a->alpha < b->alpha) &&
           !(a->alpha > b->alpha);
}

float fdit_adapter_scale(const struct fdit_adapter *a)
{
    if (!a->rank)
        return 0;
    return (float)(a->alpha / (a->rslora ? sqrt(a->rank) : a->rank));
}

static const char *name_of(const struct fdit_adapter *a)
{
    return a->gammas == FDIT_GAMMAS_BRANCH   ? "difffit"
           : a->gammas == FDIT_GAMMAS_LINEAR ? "difffit-linear"
           : a->rslora                       ? "rslora"
                                             : "lora";
}

enum fdit_status fdit_adapter_check(fdit_context *ctx, const struct fdit_adapter *a, int width)
{
    if (!fdit_adapter_any(a) || a->gammas)
        return FDIT_OK;
    if (a->rank < 1 || a->rank > width)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s of rank %d: the model has width %d, so give a rank of 1 to %d", name_of(a),
                         a->rank, width, width);
    if (!(a->alpha > 0) || !isfinite(a->alpha))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s of alpha %g: give a number above 0", name_of(a),
                         a->alpha);
    return FDIT_OK;
}

void fdit_adapter_text(const struct fdit_adapter *a, char out[FDIT_ADAPTER_TEXT])
{
    if (a->gammas)
        snprintf(out, FDIT_ADAPTER_TEXT, "%s", name_of(a));
    else if (a->rank)
        snprintf(out, FDIT_ADAPTER_TEXT, "%s of rank %d, alpha %g", name_of(a), a->rank, a->alpha);
    else
        snprintf(out, FDIT_ADAPTER_TEXT, "no adapter");
}

/* ------------------------------------------------------------------ in a model's description */

enum fdit_status fdit_adapter_to_json(fdit_context *ctx, const struct fdit_adapter *a, char **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_json b;
    char *text = NULL;
    if (!fdit_adapter_any(a))
        return fdit_strdup(ctx, "", out);
    fdit_json_begin(&b);
    fdit_json_put_text(&b, NULL, "method", name_of(a));
    if (a->rank) {
        fdit_json_put_int(&b, NULL, "rank", a->rank);
        fdit_json_put_real(&b, NULL, "alpha", a->alpha);
    }
    json_t *targets = fdit_json_put_array(&b, NULL, "targets");
    for (int i = 0; i < FDIT_ADAPTER_LAYERS; i++)
        fdit_json_put_text(&b, targets, NULL, fdit_adapter_layers[i]);
    TRY(fdit_json_end(ctx, &b, "the adapter", JSON_COMPACT | JSON_REAL_PRECISION(17), &text));
    TRY(fdit_strf(ctx, out, ",\"adapter\":%s", text));
out:
    fdit_json_fini(&b);
    fdit_free(text);
    return status;
}

static bool usual_targets(const json_t *targets)
{
    if (json_array_size(targets) != FDIT_ADAPTER_LAYERS)
        return false;
    for (size_t i = 0; i < FDIT_ADAPTER_LAYERS; i++) {
        const char *target = json_string_value(json_array_get(targets, i));
        if (!target || strcmp(target, fdit_adapter_layers[i]))
            return false;
    }
    return true;
}

enum fdit_status fdit_adapter_from_json(fdit_context *ctx, const char *name, const json_t *entry,
                                        struct fdit_adapter *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_adapter a = { 0 };
    const char *method = json_string_value(json_object_get(entry, "method"));
    const json_t *rank = json_object_get(entry, "rank"), *alpha = json_object_get(entry, "alpha");
    if (!entry)
        goto out;
    if (method && (!strcmp(method, "difffit") || !strcmp(method, "difffit-linear"))) {
        a.gammas = strcmp(method, "difffit") ? FDIT_GAMMAS_LINEAR : FDIT_GAMMAS_BRANCH;
        goto out;
    }
    a.rslora = method && !strcmp(method, "rslora");
    if (!a.rslora && (!method || strcmp(method, "lora")))
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "%s: its adapter is of the method \"%.40s\", which this version does not know; use a newer one",
             name, method ? method : "");
    if (!json_is_integer(rank) || json_integer_value(rank) < 1 || json_integer_value(rank) > 65536 ||
        !json_is_number(alpha) || !(json_number_value(alpha) > 0))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: its adapter has no rank and alpha above 0; the file is damaged",
             name);
    if (!usual_targets(json_object_get(entry, "targets")))
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "%s: its adapter is on other layers than attn.qkv, "
             "attn.proj, mlp.fc1 and mlp.fc2; use a newer version",
             name);
    a.rank = (int)json_integer_value(rank);
    a.alpha = json_number_value(alpha);
out:
    if (status == FDIT_OK)
        *out = a;
    return status;
}
