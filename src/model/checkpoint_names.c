/* SPDX-License-Identifier: Apache-2.0
 * Where in a file the weights of a DiT are. Training code wraps models (DistributedDataParallel,
 * torch.compile, Lightning, DeepSpeed, averaging) and every wrapper leaves a mark in the names;
 * dictionaries hold several sets beside each other. So the names are searched, not tried. */
#include "core/mem.h"
#include "model/checkpoint_file.h"
#include "model/peft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ names without marks */

/* Parts of names that wrappers put in anywhere and that no name of a DiT has. */
static const char *const marks[] = { "_orig_mod", "module", "_fsdp_wrapped_module",
                                     "_checkpoint_wrapped_module", "_forward_module" };

static bool is_mark(const char *part, size_t n)
{
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (strlen(marks[i]) == n && !memcmp(marks[i], part, n))
            return true;
    return false;
}

/* The name without its marks into out, of as many bytes as name; whether there were any. A part is
 * followed by a dot; keys of dictionaries, which are followed by a slash, stay. */
static bool strip(const char *name, char *out)
{
    bool any = false;
    while (*name) {
        size_t n = strcspn(name, "./");
        if (name[n] == '.' && is_mark(name, n)) {
            any = true;
            name += n + 1;
            continue;
        }
        n += name[n] != 0;
        memcpy(out, name, n);
        out += n;
        name += n;
    }
    *out = 0;
    return any;
}

static int by_plain_name(const void *pa, const void *pb)
{
    const struct fdit_plain_name *const *a = pa, *const *b = pb;
    return strcmp((*a)->name, (*b)->name);
}

static bool has_marks(const char *name)
{
    for (;;) {
        size_t n = strcspn(name, "./");
        if (!name[n])
            return false;
        if (name[n] == '.' && is_mark(name, n))
            return true;
        name += n + 1;
    }
}

static enum fdit_status make_plain(fdit_context *ctx, struct fdit_checkpoint *cp)
{
    enum fdit_status status = FDIT_OK;
    size_t n = fdit_checkpoint_tensors(cp), i = 0;
    while (!cp->peft && i < n && !has_marks(fdit_checkpoint_at(cp, i)->name))
        i++;
    if (i == n)
        return FDIT_OK;
    TRY(fdit_alloc(ctx, n, sizeof *cp->sorted, &cp->sorted));
    TRY(fdit_alloc(ctx, n, sizeof *cp->plain, &cp->plain));
    for (i = 0; i < n; i++) {
        const struct fdit_st_tensor *t = fdit_checkpoint_at(cp, i);
        TRY(fdit_strdup(ctx, t->name, &cp->plain[i].name));
        if (cp->peft)
            fdit_peft_ours(t->name, cp->plain[i].name);
        else
            strip(t->name, cp->plain[i].name);
        cp->plain[i].tensor = t;
        cp->sorted[i] = &cp->plain[i];
    }
    qsort(cp->sorted, n, sizeof *cp->sorted, by_plain_name);
    for (i = 1; i < n; i++)
        if (*cp->sorted[i]->name && !strcmp(cp->sorted[i - 1]->name, cp->sorted[i]->name))
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: %.200s and %.200s are the same tensor but for "
                 "the marks of wrappers; save one of the models alone",
                 fdit_checkpoint_path(cp), cp->sorted[i - 1]->tensor->name, cp->sorted[i]->tensor->name);
out:
    return status;
}

void fdit_checkpoint_free_names(struct fdit_checkpoint *cp)
{
    size_t n = cp->plain ? fdit_checkpoint_tensors(cp) : 0;
    for (size_t i = 0; i < n; i++)
        fdit_free(cp->plain[i].name);
    fdit_free(cp->plain);
    fdit_free(cp->sorted);
}

const char *fdit_checkpoint_plain_name(const struct fdit_checkpoint *cp, size_t i)
{
    return cp->plain ? cp->plain[i].name : fdit_checkpoint_at(cp, i)->name;
}

const struct fdit_st_tensor *fdit_checkpoint_tensor(const struct fdit_checkpoint *cp, const char *name)
{
    if (!cp->plain)
        return fdit_weights_find(cp->weights, name);
    const struct fdit_plain_name key = { .name = (char *)(uintptr_t)name }, *at = &key;
    const struct fdit_plain_name *const *found =
        bsearch(&at, cp->sorted, fdit_checkpoint_tensors(cp), sizeof *cp->sorted, by_plain_name);
    return found ? (*found)->tensor : NULL;
}

/* ------------------------------------------------------------------ sets of weights */

struct set {
    char prefix[FDIT_MOST_PREFIX];
    bool diffusers, ema;
    int rank; /* 0: nothing before the names; sets that training code is known to write come first */
};

enum { MOST_SETS = 16, RANK_UNKNOWN = 100 };

static bool has_part(const char *prefix, const char *const *words, size_t n_words)
{
    for (; *prefix; prefix += strspn(prefix, "./_")) {
        size_t n = strcspn(prefix, "./_");
        for (size_t i = 0; i < n_words; i++)
            if (strlen(words[i]) == n && !memcmp(words[i], prefix, n))
                return true;
        prefix += n;
    }
    return false;
}

static bool is_average(const char *prefix)
{
    static const char *const words[] = { "ema", "swa", "averaged", "average", "avg", "shadow", "polyak" };
    return has_part(prefix, words, sizeof words / sizeof *words);
}

/* Moments of an optimiser and networks of other kinds can have parameters' names. */
static bool is_other(const char *prefix)
{
    static const char *const words[] = { "optimizer", "optimiser", "optim",    "opt",           "grad",
                                         "grads",     "exp",       "momentum", "discriminator", "disc",
                                         "teacher",   "repa",      "lora",     "scheduler" };
    return has_part(prefix, words, sizeof words / sizeof *words);
}

static int rank_of(const char *prefix)
{
    static const char *const known[] = {
        "",       "model/", "state_dict/", "model_state_dict/", "module/",   "state_dict/model.",
        "model.", "ema/",   "model_ema/",  "ema_state_dict/",   "ema_model."
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(prefix, known[i]))
            return (int)i;
    return RANK_UNKNOWN;
}

/* Whether a name ends with `end` behind nothing, a dot or a slash; *n: what comes before. */
static bool ends_with(const char *name, const char *end, size_t *n)
{
    size_t length = strlen(name), m = strlen(end);
    if (length < m || strcmp(name + length - m, end))
        return false;
    *n = length - m;
    return *n == 0 || name[*n - 1] == '.' || name[*n - 1] == '/';
}

static void add_set(const struct fdit_checkpoint *cp, const char *name, size_t n, bool diffusers,
                    struct set *sets, size_t *n_sets)
{
    char block[FDIT_MOST_PREFIX + 64];
    if (n >= FDIT_MOST_PREFIX || *n_sets == MOST_SETS)
        return;
    struct set *s = &sets[*n_sets];
    *s = (struct set){ .diffusers = diffusers };
    memcpy(s->prefix, name, n);
    snprintf(block, sizeof block, "%stransformer_blocks.0.norm1.linear.weight", s->prefix);
    if ((diffusers && !fdit_checkpoint_tensor(cp, block)) || is_other(s->prefix))
        return;
    for (size_t i = 0; i < *n_sets; i++)
        if (!strcmp(sets[i].prefix, s->prefix))
            return;
    s->ema = is_average(s->prefix);
    s->rank = rank_of(s->prefix);
    (*n_sets)++;
}

/* All sets of weights in the file. A file that holds a part of a DiT has at least one of these
 * names. */
static size_t find_sets(const struct fdit_checkpoint *cp, struct set *sets)
{
    static const char *const ours[] = { "x_embedder.proj.weight", "y_embedder.embedding_table.weight",
                                        "x_embedder.proj.bias", "blocks.0.mlp.fc1.weight" };
    size_t n_sets = 0, n = fdit_checkpoint_tensors(cp), before;
    for (size_t k = 0; k < sizeof ours / sizeof *ours && !n_sets; k++)
        for (size_t i = 0; i < n; i++) {
            const char *name = fdit_checkpoint_plain_name(cp, i);
            if (ends_with(name, ours[k], &before))
                add_set(cp, name, before, false, sets, &n_sets);
            else if (k == 0 && ends_with(name, "pos_embed.proj.weight", &before))
                add_set(cp, name, before, true, sets, &n_sets);
        }
    return n_sets;
}

/* The best of the averaged or other sets; NULL: none. Two that are equally good are an error. */
static enum fdit_status best(fdit_context *ctx, const struct fdit_checkpoint *cp, const struct set *sets,
                             size_t n, bool ema, const struct set **out)
{
    const struct set *second = NULL;
    *out = NULL;
    for (size_t i = 0; i < n; i++) {
        if (sets[i].ema != ema)
            continue;
        if (!*out || sets[i].rank < (*out)->rank) {
            *out = &sets[i];
            second = NULL;
        } else if (sets[i].rank == (*out)->rank) {
            second = &sets[i];
        }
    }
    if (!second)
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                     "%s: holds several models, \"%s\" and \"%s\"; save the one that is meant alone",
                     fdit_checkpoint_path(cp), (*out)->prefix, second->prefix);
}

/* How many tensors have a name with one of the words as a part. */
static size_t count_parts(const struct fdit_checkpoint *cp, const char *const *words, size_t n_words)
{
    size_t found = 0;
    for (size_t i = 0; i < fdit_checkpoint_tensors(cp); i++) {
        const char *name = fdit_checkpoint_plain_name(cp, i);
        for (size_t k = 0; k < n_words; k++) {
            const char *at = strstr(name, words[k]);
            if (at && (at == name || strchr("./", at[-1]))) {
                found++;
                break;
            }
        }
    }
    return found;
}

/* No weights of a DiT: what the file holds instead. */
static enum fdit_status nothing(fdit_context *ctx, const struct fdit_checkpoint *cp)
{
    static const char *const moments[] = { "exp_avg",         "momentum_buffer", "square_avg",
                                           "optimizer/state", "optimizer_state", "max_exp_avg_sq" };
    static const char *const autoencoder[] = { "encoder.conv_in.", "decoder.conv_in.", "post_quant_conv.",
                                               "quant_conv." };
    const char *path = fdit_checkpoint_path(cp);
    size_t n = fdit_checkpoint_tensors(cp);
    char object[200];
    if (fdit_weights_unknown(cp->weights, object, sizeof object))
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                         "%s: holds no weights of a DiT outside of the Python object %s, which is not read "
                         "(nothing was executed); load the file in PyTorch and save the model's state_dict()",
                         path, object);
    if (cp->peft ||
        fdit_checkpoint_meta(cp, "format")) /* a delta of other parts: what is missing is said later */
        return FDIT_OK;
    if (count_parts(cp, moments, sizeof moments / sizeof *moments))
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: holds the state of an optimizer and no weights of a DiT; give the file with "
                         "the model's state_dict()",
                         path);
    if (count_parts(cp, autoencoder, sizeof autoencoder / sizeof *autoencoder))
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: holds an autoencoder, which is given with --vae, and no weights of a DiT; give "
                         "the file of a class-conditional DiT",
                         path);
    return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                     "%s: holds %zu tensor%s%s%.100s%s, and no weights of a DiT; give the checkpoint of a "
                     "class-conditional DiT",
                     path, n, n == 1 ? "" : "s", n ? " (" : "", n ? fdit_checkpoint_at(cp, 0)->name : "",
                     n > 1 ? ", ...)"
                     : n   ? ")"
                           : "");
}

const char *fdit_values_prefix(enum fdit_values values)
{
    return values == FDIT_VALUES_EMA ? "ema." : "raw.";
}

enum fdit_status fdit_checkpoint_find_weights(fdit_context *ctx, struct fdit_checkpoint *cp,
                                              enum fdit_values values)
{
    enum fdit_status status = FDIT_OK;
    struct set *sets = NULL;
    const struct set *averaged, *raw, *chosen;
    const char *format = fdit_checkpoint_meta(cp, "format");
    if (format && !strcmp(format, "finediffusion-checkpoint")) {
        cp->ema = values != FDIT_VALUES_RAW;
        snprintf(cp->prefix, sizeof cp->prefix, "%s",
                 fdit_values_prefix(cp->ema ? FDIT_VALUES_EMA : FDIT_VALUES_RAW));
        return FDIT_OK;
    }
    TRY(make_plain(ctx, cp));
    cp->ema = format && !strcmp(format, "finediffusion-delta"); /* that is what a run leaves */
    TRY(fdit_alloc(ctx, MOST_SETS + 1, sizeof *sets, &sets));
    size_t n = find_sets(cp, sets);
    TRY(best(ctx, cp, sets, n, true, &averaged));
    TRY(best(ctx, cp, sets, n, false, &raw));
    if (!n)
        TRY(nothing(ctx, cp));
    if (values == FDIT_VALUES_RAW && averaged && !raw)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: holds EMA weights only; leave out --weights-from raw",
             fdit_checkpoint_path(cp));
    chosen = values == FDIT_VALUES_RAW || !averaged ? raw : averaged;
    if (chosen) {
        memcpy(cp->prefix, chosen->prefix, sizeof cp->prefix);
        cp->diffusers = chosen->diffusers;
        if (averaged && chosen != averaged)
            memcpy(cp->averaged, averaged->prefix, sizeof cp->averaged);
        cp->ema = cp->ema || chosen->ema;
    }
out:
    fdit_free(sets);
    return status;
}
