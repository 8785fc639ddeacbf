/* SPDX-License-Identifier: Apache-2.0
 * The network against the PyTorch fixtures on every device: outputs, intermediate results, losses, the
 * gradient of every parameter by name, ten optimiser steps, and properties that need no reference. */
#include "device/backend.h"
#include "core/mem.h"
#include "model/model_internal.h"
#include "model_fixture.h"
#include "step_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;
static fdit_device *dev;
static const char *device_name;

static void close_device(void)
{
    if (dev->buffer_bytes == 0 && dev->weight_bytes == 0) /* else a test failed half-way */
        fdit_device_close(dev);
    dev = NULL;
}

static const struct fdit_model_options inference = { .batch = 8, .storage = FDIT_F32 };

/* Numbers that the network gives for a picture. */
static size_t outputs_of(const struct fdit_model *m)
{
    size_t pixels = (size_t)m->config.input_size * (size_t)m->config.input_size;
    return (size_t)fdit_config_out_channels(&m->config) * pixels;
}

/* out [b, O, S, S] of the network. */
static void run(struct fdit_model *m, int b, const float *x, const double *t, const int32_t *rows, float *out)
{
    const struct fdit_model_config *c = &m->config;
    size_t picture = (size_t)c->channels * (size_t)c->input_size * (size_t)c->input_size;
    fdit_write(m->dev, m->input, x, (size_t)b * picture);
    fdit_write(m->dev, m->index, rows, (size_t)b);
    fdit_model_write_times(m, b, t);
    fdit_forward(m, b);
    ck_assert_ok(ctx, fdit_read(ctx, m->dev, m->output, out, (size_t)b * outputs_of(m)));
}

/* ------------------------------------------------------------------ forward */

START_TEST(test_forward)
{
    struct fdit_model *m = test_load_model(ctx, dev, "dit.safetensors", &inference);
    struct fdit_safetensors *st = test_open(ctx, "forward.safetensors");
    size_t b, n;
    float *x = test_floats(ctx, st, "x", NULL), *wanted = test_floats(ctx, st, "out", &n);
    double *t = step_times(ctx, st, "t", &b);
    int32_t *rows = test_ints(ctx, st, "rows", NULL);
    float *got = calloc(n, sizeof *got), *one = calloc(n, sizeof *one);
    run(m, (int)b, x, t, rows, got);
    test_agree("forward.safetensors: out", "out", got, wanted, n);
    for (size_t i = 0; i < b; i++)
        run(m, 1, x + i * n / b / 2, t + i, rows + i, one + i * n / b);
    ck_assert_msg(test_first_difference(one, got, n, sizeof *got) == n,
                  "a batch of %zu differs from batches of one", b);
    fdit_free(x);
    fdit_free(wanted);
    fdit_free(t);
    fdit_free(rows);
    free(got);
    free(one);
    fdit_safetensors_close(st);
    fdit_model_free(m);
}
END_TEST

START_TEST(test_guided)
{
    struct fdit_model *m = test_load_model(ctx, dev, "dit.safetensors", &inference);
    struct fdit_safetensors *st = test_open(ctx, "forward.safetensors");
    size_t b, compared = 0;
    float *x = test_floats(ctx, st, "guided.x", NULL);
    double *t = step_times(ctx, st, "guided.t", &b);
    int32_t *y = test_ints(ctx, st, "guided.y", NULL);
    int32_t *super = test_ints(ctx, st, "guided.super_row", NULL);
    size_t pixels = (size_t)m->config.input_size * (size_t)m->config.input_size;
    size_t each = outputs_of(m), n = b * each;
    float *cond = calloc(n, sizeof *cond), *uncond = calloc(n, sizeof *uncond);
    run(m, (int)b, x, t, y, cond);
    run(m, (int)b, x, t, super, uncond);
    for (size_t k = 0; k < fdit_safetensors_count(st); k++) {
        const struct fdit_st_tensor *e = fdit_safetensors_at(st, k);
        double w;
        int guided;
        if (sscanf(e->name, "guided.w%lf.ch%d.out", &w, &guided) != 2)
            continue;
        float *wanted = test_floats(ctx, st, e->name, NULL), *got = calloc(n, sizeof *got);
        for (size_t i = 0; i < n; i++) {
            bool is_guided = i % each / pixels < (size_t)guided;
            got[i] = is_guided ? uncond[i] + (float)w * (cond[i] - uncond[i]) : cond[i];
        }
        test_agree("forward.safetensors: guided", e->name, got, wanted, n);
        fdit_free(wanted);
        free(got);
        compared++;
    }
    ck_assert_uint_gt(compared, 0);
    fdit_free(x);
    fdit_free(t);
    fdit_free(y);
    fdit_free(super);
    free(cond);
    free(uncond);
    fdit_safetensors_close(st);
    fdit_model_free(m);
}
END_TEST

/* Compares a tensor on the device with trace.NAME. */
static void trace(const struct fdit_safetensors *st, struct fdit_tensor t, const char *format, ...)
{
    char name[96];
    va_list args;
    size_t n;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    float *wanted = test_floats(ctx, st, name, &n), *got = calloc(n, sizeof *got);
    ck_assert_ok(ctx, fdit_read(ctx, dev, t, got, n));
    test_agree("forward.safetensors: trace", name, got, wanted, n);
    fdit_free(wanted);
    free(got);
}

/* What block i kept, and its modulations and GELU computed again from that. */
static void trace_block(struct fdit_model *m, struct fdit_safetensors *st, int i)
{
    const struct fdit_block_saved *s = &m->saved[i];
    const struct fdit_block_layers *l = &m->params.blocks[i];
    int d = m->config.width;
    trace(st, s->mod, "trace.block%d.adaLN", i);
    trace(st, s->qkv, "trace.block%d.qkv", i);
    trace(st, s->heads_out, "trace.block%d.heads_out", i);
    trace(st, s->attn_out, "trace.block%d.attn_out", i);
    trace(st, s->fc1, "trace.block%d.fc1", i);
    trace(st, s->mlp_out, "trace.block%d.mlp_out", i);
    struct fdit_modulate_args a = {
        .samples = 1, .tokens = fdit_config_tokens(&m->config), .width = d, .y = m->u, .mod_stride = 6 * d
    };
    a.xhat = s->xhat1;
    a.weight = fdit_param_value(m, l->norm1.weight);
    a.bias = fdit_param_value(m, l->norm1.bias);
    fdit_modulate(dev, &a);
    trace(st, m->u, "trace.block%d.norm1", i);
    a.shift = fdit_mod_vector(s->mod, SHIFT1, d);
    a.scale = fdit_mod_vector(s->mod, SCALE1, d);
    fdit_modulate(dev, &a);
    trace(st, m->u, "trace.block%d.attn_in", i);
    a.xhat = s->xhat2;
    a.weight = fdit_param_value(m, l->norm2.weight);
    a.bias = fdit_param_value(m, l->norm2.bias);
    a.shift = fdit_mod_vector(s->mod, SHIFT2, d);
    a.scale = fdit_mod_vector(s->mod, SCALE2, d);
    fdit_modulate(dev, &a);
    trace(st, m->u, "trace.block%d.mlp_in", i);
    fdit_activation(dev, &(struct fdit_activation_args){ .n = (size_t)a.tokens * (size_t)l->fc1.weight->n_out,
                                                         .act = FDIT_ACT_GELU_TANH,
                                                         .y = m->wide,
                                                         .x = s->fc1 });
    trace(st, m->wide, "trace.block%d.gelu", i);
}

START_TEST(test_trace)
{
    struct fdit_model_options options = step_training("finediffusion", 1);
    struct fdit_model *m = test_load_model(ctx, dev, "dit.safetensors", &options);
    struct fdit_safetensors *st = test_open(ctx, "forward.safetensors");
    size_t n;
    float *x = test_floats(ctx, st, "x", &n), *wanted = test_floats(ctx, st, "trace.out", NULL);
    double *t = step_times(ctx, st, "t", NULL);
    int32_t *rows = test_ints(ctx, st, "rows", NULL);
    size_t picture = (size_t)m->config.channels * (size_t)m->config.input_size * (size_t)m->config.input_size;
    float *out = calloc(outputs_of(m), sizeof *out);
    run(m, 1, x + 2 * picture, t + 2, rows + 2, out);
    test_agree("forward.safetensors: trace", "trace.out", out, wanted, outputs_of(m));
    trace(st, m->t_features, "trace.t_feat");
    trace(st, m->c, "trace.c");
    trace(st, m->head_mod, "trace.final.adaLN");
    trace(st, m->tokens_out, "trace.final.linear");
    for (int i = 0; i < m->config.depth; i++)
        trace_block(m, st, i);
    fdit_free(x);
    fdit_free(wanted);
    fdit_free(t);
    fdit_free(rows);
    free(out);
    fdit_safetensors_close(st);
    fdit_model_free(m);
}
END_TEST

/* ------------------------------------------------------------------ losses and gradients */

/* Compares one statistic of a matrix gradient when the file has it. Returns how many were compared. */
static size_t compare_stat(const struct fdit_safetensors *st, const char *kind, const struct fdit_param *p,
                           const float *grad, const char *key)
{
    char name[160];
    snprintf(name, sizeof name, "grad_%s.%s", kind, p->name);
    if (!fdit_safetensors_find(st, name))
        return 0;
    size_t n, rows = (size_t)p->n_out, cols = (size_t)p->n_in;
    float *wanted = test_floats(ctx, st, name, &n), *got = calloc(n, sizeof *got);
    if (!strcmp(kind, "first_row"))
        memcpy(got, grad, cols * sizeof *got);
    else if (!strcmp(kind, "last_row"))
        memcpy(got, grad + (rows - 1) * cols, cols * sizeof *got);
    else
        for (size_t k = 0; k < n; k++) {
            double sum = 0;
            bool by_row = !strcmp(kind, "rowsum");
            for (size_t j = 0; j < (by_row ? cols : rows); j++)
                sum += (double)(by_row ? grad[k * cols + j] : grad[j * cols + k]);
            got[k] = (float)sum;
        }
    test_agree(key, name, got, wanted, n);
    fdit_free(wanted);
    free(got);
    return 1;
}

static void compare_gradients(const struct fdit_model *m, const struct fdit_safetensors *st, const char *file)
{
    static const char *const stats[] = { "rowsum", "colsum", "first_row", "last_row" };
    const struct fdit_mask *fine = fdit_mask_find("finediffusion");
    char name[160], trainable[96], frozen[96], sums[96];
    snprintf(trainable, sizeof trainable, "%s: gradients, trainable", file);
    snprintf(frozen, sizeof frozen, "%s: gradients, frozen", file);
    snprintf(sums, sizeof sums, "%s: gradients, frozen (sums)", file);
    for (int i = 0; i < m->params.n; i++) {
        const struct fdit_param *p = &m->params.list[i];
        size_t compared = 0;
        if (!p->trained)
            continue;
        float *got = calloc(p->count, sizeof *got);
        ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_param_grad(m, p), got, p->count));
        snprintf(name, sizeof name, "grad.%s", p->name);
        if (fdit_safetensors_find(st, name)) {
            float *wanted = test_floats(ctx, st, name, NULL);
            test_agree(fdit_mask_trains(fine, p->name) ? trainable : frozen, name, got, wanted, p->count);
            fdit_free(wanted);
            compared++;
        }
        for (size_t k = 0; k < 4; k++)
            compared += compare_stat(st, stats[k], p, got, k < 2 ? sums : frozen);
        ck_assert_msg(compared > 0, "%s has no gradient of %s to compare with", file, p->name);
        free(got);
    }
}

static void check_losses(struct fdit_step *step, const struct loss_case *l, const char *key)
{
    float *mse = test_floats(ctx, l->st, "mse", NULL), *vb = test_floats(ctx, l->st, "vb", NULL);
    float *got_mse = calloc(l->b, sizeof(float)), *got_vb = calloc(l->b, sizeof(float));
    ck_assert_ok(ctx, fdit_step_sample_losses(ctx, step, 0, (int)l->b, got_mse, got_vb));
    test_agree(key, "mse", got_mse, mse, l->b);
    test_agree(key, "vb", got_vb, vb, l->b);
    fdit_free(mse);
    fdit_free(vb);
    free(got_mse);
    free(got_vb);
}

static const struct {
    const char *weights, *loss, *mask;
} loss_cases[] = {
    { "dit.safetensors", "loss.safetensors", "finediffusion" },
    { "dit.safetensors", "loss.safetensors", "full" },
    { "dit.safetensors", "loss.safetensors", "bitfit" },
    { "dit.safetensors", "loss.safetensors", "norm" },
    { "dit.safetensors", "loss.safetensors", "table" },
    { "formats/dit.safetensors", "formats/loss.safetensors", "full" },
};

START_TEST(test_gradients)
{
    struct loss_case l = loss_open(ctx, loss_cases[_i].loss);
    struct fdit_model_options options = step_training(loss_cases[_i].mask, (int)l.b);
    struct fdit_step *step = NULL;
    struct fdit_model *m = step_model_ddpm(ctx, dev, loss_cases[_i].weights, &options, 1, &step);
    char key[96];
    snprintf(key, sizeof key, "%s: mse, vb, loss", loss_cases[_i].loss);
    loss_run(step, &l);
    check_losses(step, &l, key);
    compare_gradients(m, l.st, loss_cases[_i].loss);
    fdit_step_free(step);
    fdit_model_free(m);
    loss_close(&l);
}
END_TEST

/* All gradients of a model, group after group. Free with free(). */
static float *all_gradients(const struct fdit_model *m, size_t *n)
{
    size_t total = 0, at = 0;
    for (int g = 0; g < m->params.n_groups; g++)
        total += m->params.groups[g].trained;
    float *all = calloc(total, sizeof *all);
    for (int g = 0; g < m->params.n_groups; g++) {
        const struct fdit_group *group = &m->params.groups[g];
        if (!group->trained)
            continue;
        ck_assert_ok(ctx,
                     fdit_read(ctx, dev, fdit_tensor_of(group->grad, FDIT_F32), all + at, group->trained));
        at += group->trained;
    }
    *n = total;
    return all;
}

START_TEST(test_recompute)
{
    struct loss_case l = loss_open(ctx, "loss.safetensors");
    static const char *const masks[] = { "finediffusion", "full" };
    for (int k = 0; k < 2; k++) {
        float *first = NULL;
        size_t n = 0, bytes = 0;
        for (int r = FDIT_RECOMPUTE_NONE; r <= FDIT_RECOMPUTE_BLOCK; r++) {
            struct fdit_model_options options = step_training(masks[k], (int)l.b);
            struct fdit_step *step = NULL;
            options.recompute = (enum fdit_recompute)r;
            struct fdit_model *m = step_model_ddpm(ctx, dev, "dit.safetensors", &options, 1, &step);
            loss_run(step, &l);
            float *got = all_gradients(m, &n);
            size_t kept = fdit_plan_kind_bytes(&m->plan, FDIT_PLAN_ACTIVATIONS);
            if (first) {
                /* ref rounds a fused residual once, the separate gate twice */
                bool same = !strcmp(device_name, "ref")
                                ? fdit_compare(got, first, n).nmse < 1e-11
                                : test_first_difference(got, first, n, sizeof *got) == n;
                ck_assert_msg(same, "gradients change with recomputation %d (%s)", r, masks[k]);
                ck_assert_uint_lt(kept, bytes);
                free(got);
            } else {
                first = got;
            }
            bytes = kept;
            fdit_step_free(step);
            fdit_model_free(m);
        }
        free(first);
    }
    loss_close(&l);
}
END_TEST

/* Activations kept in bf16: the same output and losses to the bit, gradients to the rounding of what they are
 * made of, in about half of the memory. */
START_TEST(test_rounded_activations)
{
    struct loss_case l = loss_open(ctx, "loss.safetensors");
    static const char *const masks[] = { "finediffusion", "full" };
    for (int k = 0; k < 2; k++) {
        float *got[2], *output[2];
        size_t n = 0, n_out = 0, kept[2];
        for (int i = 0; i < 2; i++) {
            struct fdit_model_options options = step_training(masks[k], (int)l.b);
            struct fdit_step *step = NULL;
            options.activations = i ? FDIT_BF16 : FDIT_F32;
            struct fdit_model *m = step_model_ddpm(ctx, dev, "dit.safetensors", &options, 1, &step);
            loss_run(step, &l);
            got[i] = all_gradients(m, &n);
            n_out = l.b * outputs_of(m);
            output[i] = calloc(n_out, sizeof **output);
            ck_assert_ok(ctx, fdit_read(ctx, dev, m->output, output[i], n_out));
            kept[i] = fdit_plan_kind_bytes(&m->plan, FDIT_PLAN_ACTIVATIONS) -
                      (size_t)m->config.depth * l.b * 6 * (size_t)m->config.width * sizeof(float);
            fdit_step_free(step);
            fdit_model_free(m);
        }
        ck_assert_uint_eq(test_first_difference(output[0], output[1], n_out, sizeof **output), n_out);
        double nmse = fdit_compare(got[1], got[0], n).nmse;
        ck_assert_msg(nmse > 1e-8 && nmse < 2e-4, "gradients of %s: NMSE %g", masks[k], nmse);
        ck_assert_msg(kept[1] > kept[0] / 2 && (double)kept[1] < 0.6 * (double)kept[0], "kept %zu of %zu",
                      kept[1], kept[0]);
        for (int i = 0; i < 2; i++) {
            free(got[i]);
            free(output[i]);
        }
    }
    loss_close(&l);
}
END_TEST

/* Two micro-batches add up to one batch: same losses, gradients to rounding. */
START_TEST(test_accumulation)
{
    struct loss_case l = loss_open(ctx, "loss.safetensors");
    struct fdit_model_options options = step_training("full", (int)l.b);
    struct fdit_step *step = NULL;
    struct fdit_model *m = step_model_ddpm(ctx, dev, "dit.safetensors", &options, 2, &step);
    size_t n, half = l.b / 2;
    size_t picture = (size_t)m->config.channels * (size_t)m->config.input_size * (size_t)m->config.input_size;
    for (size_t i = 0; i < 2; i++) {
        size_t from = i * half, count = i ? l.b - half : half;
        fdit_step_micro(step, &(struct fdit_micro){ .samples = (int)count,
                                                    .x0 = l.x0 + from * picture,
                                                    .noise = l.noise + from * picture,
                                                    .t = l.t + from,
                                                    .rows = l.rows + from,
                                                    .first = i == 0,
                                                    .index = (int)i,
                                                    .loss_scale = 1.0 / (double)l.b });
    }
    compare_gradients(m, l.st, "loss.safetensors");
    struct fdit_step_losses losses;
    fdit_step_report_begin(step);
    ck_assert_ok(ctx, fdit_step_report_end(ctx, step, &losses));
    float *loss = test_floats(ctx, l.st, "loss", &n);
    double mean = 0;
    for (size_t i = 0; i < n; i++)
        mean += (double)loss[i] / (double)n;
    ck_assert_double_eq_tol(losses.mse + losses.vb, mean, test_precision() == FDIT_F32 ? 1e-4 : 5e-3);
    fdit_free(loss);
    fdit_step_free(step);
    fdit_model_free(m);
    loss_close(&l);
}
END_TEST

/* ------------------------------------------------------------------ formats and bad files */

START_TEST(test_formats)
{
    static const char *const files[] = { "formats/dit.safetensors", "formats/dit_f16.safetensors",
                                         "formats/dit_bf16.safetensors" };
    static const char *const names[] = { "dit", "dit_f16", "dit_bf16" };
    struct fdit_safetensors *st = test_open(ctx, "formats/expected.safetensors");
    size_t b, n, compared = 0;
    float *x = test_floats(ctx, st, "x", NULL);
    double *t = step_times(ctx, st, "t", &b);
    for (size_t k = 0; k < 3; k++) {
        char name[64];
        snprintf(name, sizeof name, "%s.out", names[k]);
        if (!fdit_safetensors_find(st, name))
            continue;
        struct fdit_model *m = test_load_model(ctx, dev, files[k], &inference);
        int32_t *rows = test_ints(ctx, st, fdit_safetensors_find(st, "rows") ? "rows" : "y", NULL);
        float *wanted = test_floats(ctx, st, name, &n), *got = calloc(n, sizeof *got);
        run(m, (int)b, x, t, rows, got);
        test_agree("formats/expected.safetensors: dit.out", name, got, wanted, n);
        fdit_free(rows);
        fdit_free(wanted);
        free(got);
        fdit_model_free(m);
        compared++;
    }
    ck_assert_uint_gt(compared, 0);
    fdit_free(x);
    fdit_free(t);
    fdit_safetensors_close(st);
}
END_TEST

/* Every file of bad/ is refused, with its path in the message; ok.safetensors loads. */
START_TEST(test_bad_files)
{
    static const struct {
        const char *file, *says;
    } files[] = {
        { "ok", NULL },
        { "empty", "" },
        { "seven_bytes", "" },
        { "truncated", "" },
        { "truncated_header", "" },
        { "header_beyond_file", "" },
        { "header_length_max", "" },
        { "header_no_json", "" },
        { "header_deep_json", "" },
        { "overlap", "blocks.0.attn.qkv.weight" },
        { "out_of_range", "blocks.0.attn.qkv.weight" },
        { "offsets_reversed", "blocks.0.attn.qkv.weight" },
        { "offsets_negative", "blocks.0.attn.qkv.weight" },
        { "size_mismatch", "blocks.0.attn.qkv.weight" },
        { "shape_overflow", "blocks.0.attn.qkv.weight" },
        { "shape_negative", "blocks.0.attn.qkv.weight" },
        { "wrong_dtype", "blocks.0.attn.qkv.weight" },
        { "integer_dtype", "blocks.0.attn.qkv.weight" },
        { "wrong_shape", "blocks.0.attn.qkv.weight" },
        { "missing_tensor", "blocks.0.attn.qkv.weight" },
        { "nan", "blocks.0.attn.qkv.weight" },
        { "inf", "final_layer.linear.bias" },
        { "duplicate_key", "" },
        { "duplicate_key_same", "" },
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char *path = test_fixture("bad/%s.safetensors", files[i].file);
        struct fdit_checkpoint *cp = NULL;
        struct fdit_model_config config;
        struct fdit_model *m = NULL;
        enum fdit_status status = fdit_checkpoint_open(ctx, path, FDIT_VALUES_RAW, &cp);
        if (status == FDIT_OK)
            status = fdit_checkpoint_config(ctx, cp, NULL, &config);
        if (status == FDIT_OK)
            status = fdit_model_new(ctx, dev, &config, &inference, &m);
        if (status == FDIT_OK)
            status = fdit_model_allocate(ctx, m);
        if (status == FDIT_OK)
            status = fdit_model_load(ctx, m, &cp, 1, false, NULL);
        if (!files[i].says) {
            ck_assert_msg(status == FDIT_OK, "%s: %s", path, fdit_context_message(ctx));
        } else {
            const char *message = fdit_context_message(ctx);
            ck_assert_msg(status != FDIT_OK, "%s was accepted", path);
            ck_assert_msg(strstr(message, files[i].file) && strstr(message, files[i].says),
                          "%s: the message \"%s\" names no file and tensor", path, message);
            ck_assert_msg(!strchr(message, '\n'), "\"%s\" is more than one line", message);
        }
        fdit_model_free(m);
        fdit_checkpoint_close(cp);
        free(path);
    }
}
END_TEST

/* ------------------------------------------------------------------ properties */

START_TEST(test_sizes)
{
    struct fdit_model_config c = { .input_size = 32, .channels = 4, .table_rows = 10011 };
    struct fdit_params params;
    ck_assert_ok(ctx, fdit_config_parse(ctx, "DiT-XL/2", &c));
    ck_assert_ok(ctx, fdit_params_init(ctx, &c, fdit_mask_find("finediffusion"), &params));
    ck_assert_uint_eq(fdit_params_trained(&params), 12153632);
    ck_assert_uint_eq(fdit_params_total(&params), 685640480);
    fdit_params_fini(&params);
    ck_assert_double_eq_tol(fdit_config_forward_flops(&c), 237.2e9, 0.5e9);
}
END_TEST

/* The roles of a layer, each missing in turn: an error that names it. */
static void check_missing(const struct fdit_model_config *c, struct fdit_params *params, struct fdit_layer *l,
                          const char *where, const char *role)
{
    struct fdit_param **const parts[2] = { &l->weight, &l->bias };
    for (int i = 0; i < 2; i++) {
        char name[64];
        struct fdit_param *const p = *parts[i];
        ck_assert_msg(p != NULL, "%s has no %s", where, role);
        *parts[i] = NULL;
        ck_assert_int_eq(fdit_params_check(ctx, c, params), FDIT_ERROR_UNSUPPORTED);
        snprintf(name, sizeof name, "%s has no parameter for %s.%s;", where, role, i ? "bias" : "weight");
        ck_assert_msg(strstr(fdit_context_message(ctx), name), "\"%s\" lacks \"%s\"",
                      fdit_context_message(ctx), name);
        *parts[i] = p;
        ck_assert_ok(ctx, fdit_params_check(ctx, c, params));
    }
}

START_TEST(test_roles)
{
    for (int kind = FDIT_MODEL_DIT; kind <= FDIT_MODEL_CLASSIFIER; kind++) {
        struct fdit_model_config c = {
            .kind = (enum fdit_model_kind)kind, .input_size = 8, .channels = 3, .table_rows = 5
        };
        struct fdit_params params;
        const bool dit = kind == FDIT_MODEL_DIT;
        ck_assert_ok(ctx, fdit_config_parse(ctx, "16,2,2,4", &c));
        ck_assert_ok(ctx, fdit_params_init(ctx, &c, NULL, &params));
#define IN_BLOCK(name, in_classifier) \
    if (dit || in_classifier)         \
        check_missing(&c, &params, &params.blocks[1].name, "block 1", #name);
#define OUTSIDE(name, in_classifier) \
    if (dit || in_classifier)        \
        check_missing(&c, &params, &params.ends.name, "the network", #name);
        FDIT_BLOCK_ROLES(IN_BLOCK)
        FDIT_END_ROLES(OUTSIDE)
#undef IN_BLOCK
#undef OUTSIDE
        ck_assert(params.blocks[0].qkv.weight == fdit_params_find(&params, "blocks.0.attn.qkv.weight"));
        ck_assert(params.blocks[1].fc2.bias == fdit_params_find(&params, "blocks.1.mlp.fc2.bias"));
        ck_assert(params.ends.table == fdit_params_find(&params, "y_embedder.embedding_table.weight"));
        ck_assert((params.ends.table != NULL) == dit);
        params.ends.pos = NULL;
        ck_assert_int_eq(fdit_params_check(ctx, &c, &params), FDIT_ERROR_UNSUPPORTED);
        fdit_params_fini(&params);
    }
}
END_TEST

/* The plan counts blocks from 0 in every kind of memory, and names the rest. */
START_TEST(test_plan_labels)
{
    struct fdit_model_config c = { .input_size = 8, .channels = 3, .table_rows = 5 };
    struct fdit_model_options options = step_training("full", 1);
    struct fdit_model *m = NULL;
    bool blocks[FDIT_PLAN_KINDS][2] = { { false } };
    int table = 0;
    ck_assert_ok(ctx, fdit_config_parse(ctx, "16,2,2,4", &c));
    ck_assert_ok(ctx, fdit_model_new(ctx, dev, &c, &options, &m));
    for (size_t i = 0; i < m->plan.n; i++) {
        const struct fdit_plan_entry *e = &m->plan.list[i];
        const char *at = strstr(e->label, "block ");
        if (at) {
            int block = atoi(at + strlen("block "));
            ck_assert_msg(block >= 0 && block < 2, "\"%s\" of 2 blocks", e->label);
            blocks[e->kind][block] = true;
        }
        table += strstr(e->label, "the class table") != NULL;
    }
    for (int block = 0; block < 2; block++)
        ck_assert(blocks[FDIT_PLAN_TRAINED][block] && blocks[FDIT_PLAN_GRADIENTS][block] &&
                  blocks[FDIT_PLAN_OPTIMISER][block] && blocks[FDIT_PLAN_EMA][block] &&
                  blocks[FDIT_PLAN_ACTIVATIONS][block]);
    ck_assert_int_eq(table, 5); /* parameters, gradients, two moments, averages */
    fdit_model_free(m);
}
END_TEST

/* Nothing is made or allocated by steps after the first. */
START_TEST(test_no_allocation)
{
    struct loss_case l = loss_open(ctx, "loss.safetensors");
    struct fdit_model_options options = step_training("full", (int)l.b);
    struct fdit_step *step = NULL;
    struct fdit_model *m = step_model_ddpm(ctx, dev, "dit.safetensors", &options, 1, &step);
    uint64_t calls = 0, objects = 0;
    for (int k = 0; k < 4; k++) {
        struct fdit_step_losses losses;
        loss_run(step, &l);
        fdit_step_update(step, &(struct fdit_update){ .optimiser = fdit_optimiser_find("adamw"),
                                                      .lr = 1e-4,
                                                      .beta1 = 0.9,
                                                      .beta2 = 0.999,
                                                      .eps = 1e-8,
                                                      .clip = 1,
                                                      .ema_decay = 0.9,
                                                      .n = k + 1 });
        fdit_step_report_begin(step);
        ck_assert_ok(ctx, fdit_step_report_end(ctx, step, &losses));
        if (k > 0) {
            ck_assert_uint_eq(fdit_mem_stats().calls, calls);
            ck_assert_uint_eq(dev->objects_made, objects);
        }
        calls = fdit_mem_stats().calls;
        objects = dev->objects_made;
    }
    fdit_step_free(step);
    fdit_model_free(m);
    loss_close(&l);
}
END_TEST

/* The same bits with one and with two threads. */
START_TEST(test_threads)
{
    struct loss_case l = loss_open(ctx, "loss.safetensors");
    float *first = NULL;
    size_t n = 0;
    fdit_device *kept = dev;
    for (int threads = 1; threads <= 2; threads++) {
        struct fdit_model_options options = step_training("full", (int)l.b);
        struct fdit_step *step = NULL;
        dev = test_open_device(ctx, device_name, threads);
        struct fdit_model *m = step_model_ddpm(ctx, dev, "dit.safetensors", &options, 1, &step);
        loss_run(step, &l);
        float *got = all_gradients(m, &n);
        if (first)
            ck_assert_msg(test_first_difference(got, first, n, sizeof *got) == n,
                          "gradients change with the number of threads");
        else
            first = got;
        if (got != first)
            free(got);
        fdit_step_free(step);
        fdit_model_free(m);
        close_device();
    }
    free(first);
    dev = kept;
    loss_close(&l);
}
END_TEST

static void open_device(void)
{
    dev = test_open_device(ctx, device_name, 0);
}

int main(void)
{
    const char *names[8];
    int n = test_devices(names), failed = 0;
    ctx = fdit_context_new();
    for (int i = 0; i < n; i++) {
        device_name = names[i];
        printf("device %s\n", device_name);
        Suite *s = suite_create("model");
        TCase *tc = tcase_create("fixtures");
        tcase_add_checked_fixture(tc, open_device, close_device);
        tcase_add_test(tc, test_sizes);
        tcase_add_test(tc, test_roles);
        tcase_add_test(tc, test_plan_labels);
        tcase_add_test(tc, test_forward);
        tcase_add_test(tc, test_guided);
        tcase_add_test(tc, test_trace);
        tcase_add_loop_test(tc, test_gradients, 0, (int)(sizeof loss_cases / sizeof loss_cases[0]));
        tcase_add_test(tc, test_recompute);
        tcase_add_test(tc, test_rounded_activations);
        tcase_add_test(tc, test_accumulation);
        tcase_add_test(tc, test_formats);
        tcase_add_test(tc, test_bad_files);
        tcase_add_test(tc, test_no_allocation);
        tcase_add_test(tc, test_threads);
        suite_add_tcase(s, tc);
        failed |= test_run(s);
    }
    fdit_context_free(ctx);
    return failed;
}
