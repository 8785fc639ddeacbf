/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/problem.h"

#include "core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The paper's table: 10,000 classes and 11 superclasses. */
enum { DEFAULT_ROWS = 10011, MOST_WORDS = 12, MOST_SIZE = 1 << 24, MOST_BATCH = 65536 };

const char *const fdit_bench_default_problems[] = {
    "linear 512x4608x1152",      "linear_dx 512x4608x1152",
    "attention b2 n256 h16 d72", "attention_backward b2 n256 h16 d72",
    "block DiT-XL/2 b2",         "train DiT-S/2 b4",
    "sample DiT-S/2 b4",         NULL
};

static const char *const kinds[FDIT_BENCH_KINDS] = {
    "linear", "linear_dx", "linear_dw", "attention", "attention_backward", "block", "train", "sample", "vae"
};
#define KINDS "linear, linear_dx, linear_dw, attention, attention_backward, block, train, sample and vae"

struct words {
    fdit_context *ctx;
    const char *text;
    char *copy, *list[MOST_WORDS];
    int n;
};

/* "PREFIXnumber" with nothing behind it: true and the number in *out. */
static bool numbered(const char *word, const char *prefix, int most, int *out)
{
    size_t length = strlen(prefix);
    char *end;
    if (strncmp(word, prefix, length) || word[length] < '0' || word[length] > '9')
        return false;
    long value = strtol(word + length, &end, 10);
    if (*end || value < 1 || value > most)
        return false;
    *out = (int)value;
    return true;
}

static enum fdit_status refuse(const struct words *w, const char *word, const char *wanted)
{
    return fdit_fail(w->ctx, FDIT_ERROR_ARGUMENT, "problem '%s': '%s' is not understood; %s", w->text, word,
                     wanted);
}

/* "512x4608x1152" */
static bool three_sizes(const char *word, int *m, int *n, int *k)
{
    int *const sizes[3] = { m, n, k };
    for (int i = 0; i < 3; i++) {
        char *end;
        if (*word < '0' || *word > '9')
            return false;
        long value = strtol(word, &end, 10);
        if (*end != (i < 2 ? 'x' : '\0') || value < 1 || value > MOST_SIZE)
            return false;
        *sizes[i] = (int)value;
        word = end + 1;
    }
    return true;
}

static enum fdit_status parse_linear(const struct words *w, struct fdit_bench_problem *p)
{
    static const char wanted[] = "after linear come the sizes MxNxK (rows, columns out, columns in), as in "
                                 "'linear 512x4608x1152', and perhaps the samples they belong to, as b2";
    if (w->n < 2)
        return refuse(w, w->list[0], wanted);
    if (!three_sizes(w->list[1], &p->m, &p->n, &p->k))
        return refuse(w, w->list[1], wanted);
    for (int i = 2; i < w->n; i++)
        if (!numbered(w->list[i], "b", MOST_BATCH, &p->batch))
            return refuse(w, w->list[i], wanted);
    if (p->m % p->batch)
        return fdit_fail(w->ctx, FDIT_ERROR_ARGUMENT,
                         "problem '%s': %d rows cannot be shared by %d samples; use a multiple", w->text,
                         p->m, p->batch);
    return FDIT_OK;
}

static enum fdit_status parse_attention(const struct words *w, struct fdit_bench_problem *p)
{
    static const char wanted[] = "attention takes samples, tokens, heads and the size of a head, as in "
                                 "'attention b2 n256 h16 d72'";
    for (int i = 1; i < w->n; i++)
        if (!numbered(w->list[i], "b", MOST_BATCH, &p->batch) &&
            !numbered(w->list[i], "n", MOST_SIZE, &p->tokens) &&
            !numbered(w->list[i], "h", 1024, &p->heads) && !numbered(w->list[i], "d", 128, &p->head_size))
            return refuse(w, w->list[i], wanted);
    if (!p->tokens || !p->heads || !p->head_size)
        return fdit_fail(w->ctx, FDIT_ERROR_ARGUMENT, "problem '%s': a size is missing; %s", w->text, wanted);
    return FDIT_OK;
}

static bool parse_recompute(const char *word, enum fdit_recompute *out)
{
    static const char *const names[] = { "none", "branches", "block" };
    if (strncmp(word, "recompute=", 10))
        return false;
    for (int i = 0; i < 3; i++)
        if (!strcmp(word + 10, names[i])) {
            *out = (enum fdit_recompute)i;
            return true;
        }
    return false;
}

static bool parse_activations(const char *word, enum fdit_dtype *out)
{
    bool bf16 = !strcmp(word, "activations=bf16");
    if (!bf16 && strcmp(word, "activations=f32"))
        return false;
    *out = bf16 ? FDIT_BF16 : FDIT_F32;
    return true;
}

static enum fdit_status parse_model(const struct words *w, struct fdit_bench_problem *p)
{
    static const char wanted[] =
        "a model's problem takes a model (DiT-XL/2, DiT-S/4, ..., or WIDTH,DEPTH,HEADS,PATCH), its samples "
        "as b2, and perhaps size=64, channels=1, classes=N (rows of the class table); block and train also "
        "what is trained (finediffusion, full, lora:16, ..., as train --tune) and "
        "recompute=none|branches|block or activations=f32|bf16; sample also an adapter beside the weights "
        "(lora:16, difffit, ...)";
    enum fdit_status status = FDIT_OK;
    struct fdit_model_config *c = &p->config;
    bool trains = p->kind != FDIT_BENCH_SAMPLE;
    *c = (struct fdit_model_config){
        .kind = FDIT_MODEL_DIT, .input_size = 32, .channels = 4, .mlp_ratio = 4, .table_rows = DEFAULT_ROWS
    };
    if (trains)
        p->mask = *fdit_mask_find("finediffusion");
    for (int i = 1; i < w->n; i++) {
        const char *word = w->list[i];
        struct fdit_mask mask;
        if (fdit_mask_parse(NULL, word, &mask) == FDIT_OK && (trains || fdit_adapter_any(&mask.adapter)))
            p->mask = mask;
        else if (!c->width && (!strncmp(word, "DiT-", 4) || strchr(word, ',')))
            TRY(fdit_config_parse(w->ctx, word, c));
        else if (!numbered(word, "b", MOST_BATCH, &p->batch) &&
                 !numbered(word, "size=", MOST_SIZE, &c->input_size) &&
                 !numbered(word, "channels=", MOST_SIZE, &c->channels) &&
                 !numbered(word, "classes=", MOST_SIZE, &c->table_rows) &&
                 !(trains && parse_recompute(word, &p->recompute)) &&
                 !(trains && parse_activations(word, &p->activations)))
            TRY(refuse(w, word, wanted));
    }
    if (p->activations != FDIT_F32 && p->recompute != FDIT_RECOMPUTE_NONE)
        FAIL(w->ctx, FDIT_ERROR_ARGUMENT,
             "problem '%s': activations=bf16 is for recompute=none, leave one out; %s", w->text, wanted);
    if (!c->width)
        FAIL(w->ctx, FDIT_ERROR_ARGUMENT, "problem '%s': the model is missing; %s", w->text, wanted);
    c->adapter = p->mask.adapter;
    TRY(fdit_config_check(w->ctx, c));
out:
    return status;
}

static enum fdit_status parse_vae(const struct words *w, struct fdit_bench_problem *p)
{
    static const char wanted[] = "vae takes encode or decode and the side of a picture, a multiple of 8, as "
                                 "in 'vae encode 256'";
    const char *way = w->n > 1 ? w->list[1] : w->list[0];
    p->decode = !strcmp(way, "decode");
    if (!p->decode && strcmp(way, "encode"))
        return refuse(w, way, wanted);
    if (w->n != 3 || !numbered(w->list[2], "", 4096, &p->m) || p->m % 8)
        return refuse(w, w->list[w->n - 1], wanted);
    return FDIT_OK;
}

/* Splits at spaces; text becomes the words with one space between two. */
static enum fdit_status split(struct words *w, const char *text, char **joined)
{
    enum fdit_status status = FDIT_OK;
    char *rest;
    TRY(fdit_strdup(w->ctx, text, &w->copy));
    for (char *word = strtok_r(w->copy, " \t\n", &rest); word; word = strtok_r(NULL, " \t\n", &rest)) {
        if (w->n == MOST_WORDS)
            FAIL(w->ctx, FDIT_ERROR_ARGUMENT,
                 "problem '%s': more than %d words; give one problem in one "
                 "pair of quotes",
                 text, MOST_WORDS);
        w->list[w->n++] = word;
    }
    if (!w->n)
        FAIL(w->ctx, FDIT_ERROR_ARGUMENT, "a problem without words; there are " KINDS);
    TRY(fdit_strdup(w->ctx, text, joined));
    char *to = *joined;
    for (int i = 0; i < w->n; i++)
        to += sprintf(to, "%s%s", i ? " " : "", w->list[i]);
    w->text = *joined;
out:
    return status;
}

enum fdit_status fdit_bench_problem_parse(fdit_context *ctx, const char *text, struct fdit_bench_problem *out)
{
    enum fdit_status status = FDIT_OK;
    struct words w = { .ctx = ctx };
    int kind = 0;
    *out = (struct fdit_bench_problem){ .batch = 1 };
    TRY(split(&w, text, &out->text));
    while (kind < FDIT_BENCH_KINDS && strcmp(w.list[0], kinds[kind]))
        kind++;
    if (kind == FDIT_BENCH_KINDS)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "problem '%s': '%s' is not known; there are " KINDS, out->text,
             w.list[0]);
    out->kind = (enum fdit_bench_kind)kind;
    if (kind <= FDIT_BENCH_LINEAR_DW)
        TRY(parse_linear(&w, out));
    else if (kind <= FDIT_BENCH_ATTENTION_BACKWARD)
        TRY(parse_attention(&w, out));
    else if (kind == FDIT_BENCH_VAE)
        TRY(parse_vae(&w, out));
    else
        TRY(parse_model(&w, out));
out:
    fdit_free(w.copy);
    return status;
}

void fdit_bench_problem_fini(struct fdit_bench_problem *p)
{
    fdit_free(p->text);
    *p = (struct fdit_bench_problem){ 0 };
}
