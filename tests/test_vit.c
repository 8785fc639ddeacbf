/* SPDX-License-Identifier: Apache-2.0
 * test_vit.c: vision transformers as feature networks against tests/fixtures/eval (made with PyTorch), on
 * every device; their files under all names; files that must be refused. */
#include "harness.h"

#include "core/file.h"
#include "core/mem.h"
#include "eval/extractor.h"
#include "eval/vit.h"
#include "model_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static fdit_context *ctx;
static struct fdit_safetensors *wanted;
static char folder[64];
static const char *const pictures[] = { "pic_64x64", "pic_320x310", "pic_299x120", "pic_37x53" };
enum { PICTURES = sizeof pictures / sizeof *pictures };

static void set_up(void)
{
    ctx = fdit_context_new();
    wanted = test_open(ctx, "eval/expected.safetensors");
    snprintf(folder, sizeof folder, "/tmp/fdit-vit-XXXXXX");
    ck_assert(mkdtemp(folder) != NULL);
}

static void tear_down(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
    fdit_safetensors_close(wanted);
    fdit_context_free(ctx);
}

/* Picture k as the extractor takes it. */
static float *input_of(const struct fdit_extractor *e, int k)
{
    struct fdit_picture p;
    float *x;
    char *path = test_fixture("eval/%s.png", pictures[k]);
    ck_assert_ok(ctx, fdit_picture_read(ctx, path, &p));
    free(path);
    ck_assert_ok(ctx, fdit_alloc(ctx, 3 * (size_t)e->size, (size_t)e->size * sizeof *x, &x));
    ck_assert_ok(ctx, fdit_input_fill(ctx, e->input, &p, e->size, x));
    fdit_picture_fini(&p);
    return x;
}

static struct fdit_extractor *open_on(fdit_device *dev, const char *kind, const char *file, int batch)
{
    struct fdit_extractor *e = NULL;
    char *path = *file == '/' ? NULL : test_fixture("eval/%s", file), what[512];
    snprintf(what, sizeof what, "%s:%s", kind, path ? path : file);
    free(path);
    ck_assert_ok(ctx, fdit_extractor_open(ctx, dev, what, batch, &e));
    return e;
}

static void check_features(fdit_device *dev, const char *kind, const char *file, const char *tag)
{
    struct fdit_extractor *e = open_on(dev, kind, file, 2);
    ck_assert_str_eq(e->name, kind);
    ck_assert_uint_ne(e->weights, 0);
    for (int k = 0; k < PICTURES; k++) {
        char name[96];
        float *x = input_of(e, k), got[256];
        size_t n;
        ck_assert_uint_le(e->width, 256);
        ck_assert_ok(ctx, fdit_extractor_run(ctx, e, x, 1, got, NULL));
        snprintf(name, sizeof name, "%s.%s", pictures[k], tag);
        float *want = test_floats(ctx, wanted, name, &n);
        ck_assert_uint_eq(n, e->width);
        double nmse = fdit_compare(got, want, n).nmse;
        ck_assert_msg(nmse < (test_precision() == FDIT_F32 ? 1e-11 : 1e-4), "%s on %s: nmse %g", name,
                      fdit_device_info(dev)->name, nmse);
        for (size_t i = 0; test_precision() == FDIT_F32 && i < n; i++)
            ck_assert_msg(fabsf(got[i] - want[i]) <= 2e-5f + 6e-6f * fabsf(want[i]),
                          "%s[%zu]: %.8g, not %.8g", name, i, (double)got[i], (double)want[i]);
        fdit_free(want);
        fdit_free(x);
    }
    fdit_extractor_close(e);
}

static void each_device(void (*check)(fdit_device *dev))
{
    const char *names[8];
    int n = test_devices(names);
    for (int i = 0; i < n; i++) {
        if (strstr(names[i], "int8")) /* pictures are measured in f32 or bf16 */
            continue;
        fdit_device *dev = test_open_device(ctx, names[i], 2);
        check(dev);
        fdit_device_close(dev);
    }
}

/* The networks of tests/peers/vit_features.py: two corners of a picture, as they are. */
static void check_corners(fdit_device *dev, const char *name, enum fdit_vit_family family,
                          enum fdit_vit_positions positions, const struct fdit_net_input *input, int side)
{
    struct fdit_safetensors *expected = test_open(ctx, "eval/vit.safetensors");
    struct fdit_vit *v = NULL;
    struct fdit_picture p;
    float *x, got[128];
    char *path = test_fixture("eval/%s", name), *picture = test_fixture("eval/pic_320x310.png");
    ck_assert_ok(ctx, fdit_picture_read(ctx, picture, &p));
    ck_assert_ok(ctx, fdit_vit_open(ctx, dev, path, family, side, positions, 2, &v));
    size_t s = (size_t)side, n, width = (size_t)fdit_vit_config(v)->features;
    ck_assert_ok(ctx, fdit_alloc(ctx, 2 * 3 * s, s * sizeof *x, &x));
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < s * s; i++)
            for (size_t c = 0; c < 3; c++) {
                size_t row = i / s + (k ? 310 - s : 0), column = i % s + (k ? 320 - s : 0);
                float byte = p.pixels[3 * (row * 320 + column) + c];
                x[((k * 3 + c) * s + i / s) * s + i % s] =
                    (byte / 255 - input->mean[c]) / input->deviation[c];
            }
    float *want = test_floats(ctx, expected, name, &n);
    ck_assert(n == 2 * width && n <= 128);
    ck_assert_ok(ctx, fdit_vit_run(ctx, v, x, 2, got));
    double largest = test_largest(want, n), nmse = fdit_compare(got, want, n).nmse;
    ck_assert_msg(nmse < (test_precision() == FDIT_F32 ? 1e-11 : 1e-4), "%s on %s: nmse %g", name,
                  fdit_device_info(dev)->name, nmse);
    for (size_t i = 0; test_precision() == FDIT_F32 && i < n; i++)
        ck_assert_msg(fabs(got[i] - want[i]) <= 1e-5 * largest, "%s[%zu]: %.8g, not %.8g", name, i,
                      (double)got[i], (double)want[i]);
    fdit_free(want);
    fdit_free(x);
    fdit_vit_close(v);
    fdit_picture_fini(&p);
    fdit_safetensors_close(expected);
    free(path);
    free(picture);
}

static void check_transformers(fdit_device *dev)
{
    check_corners(dev, "clip_small", FDIT_VIT_CLIP, FDIT_VIT_AUTHORS, &fdit_input_clip, 56);
    check_corners(dev, "dinov2_swiglu_small", FDIT_VIT_DINO, FDIT_VIT_AUTHORS, &fdit_input_dino, 70);
    check_corners(dev, "dinov2_hf_small", FDIT_VIT_DINO, FDIT_VIT_TRANSFORMERS, &fdit_input_dino, 224);
}

START_TEST(networks_are_those_of_transformers)
{
    each_device(check_transformers);
}
END_TEST

static void check_dino(fdit_device *dev)
{
    check_features(dev, "dinov2", "dinov2_small", "dinov2_small");
    check_features(dev, "dinov2", "dinov2_reg4_small", "dinov2_reg4_small");
}

START_TEST(dino_is_the_reference)
{
    each_device(check_dino);
}
END_TEST

START_TEST(positions_are_the_reference)
{
    static const char *const names[] = { "dinov2_small", "dinov2_reg4_small" };
    for (int k = 0; k < 2; k++) {
        struct fdit_vit_file f;
        char *path = test_fixture("eval/%s", names[k]), name[64];
        ck_assert_ok(ctx, fdit_vit_file_open(ctx, path, FDIT_VIT_DINO, &f));
        free(path);
        ck_assert_int_eq(f.config.grid, 37);
        ck_assert_int_eq(f.config.patch, 14);
        ck_assert_int_eq(f.config.depth, 2);
        ck_assert_int_eq(f.config.heads, 3);
        ck_assert_int_eq(f.config.registers, k ? 4 : 0);
        size_t d = (size_t)f.config.width, n;
        float *table, *got;
        ck_assert_ok(ctx, fdit_alloc(ctx, 1 + 37 * 37, d * sizeof *table, &table));
        ck_assert_ok(ctx, fdit_alloc(ctx, 1 + 16 * 16, d * sizeof *got, &got));
        ck_assert_ok(ctx, fdit_vit_file_read(ctx, &f, FDIT_VIT_POSITION, 0, table));
        ck_assert_ok(ctx, fdit_vit_positions_for(ctx, &f.config, table, 16, FDIT_VIT_AUTHORS, got));
        snprintf(name, sizeof name, "%s.positions", names[k]);
        float *want = test_floats(ctx, wanted, name, &n);
        for (size_t i = 0; i < n; i++) {
            float v = got[i / d * 17 * d + i % d];
            ck_assert_msg(fabsf(v - want[i]) <= 3e-7f, "%s[%zu]: %g, not %g", name, i, (double)v,
                          (double)want[i]);
        }
        fdit_free(want);
        fdit_free(table);
        fdit_free(got);
        fdit_vit_file_close(&f);
    }
}
END_TEST

/* ------------------------------------------------------------------ files under other names */

/* The tensors of a fixture file, to be written under other names. */
struct file {
    struct fdit_weights *from;
    struct fdit_st_writer *to;
    float *kept[64];
    int n;
};

static void begin_file(struct file *f, const char *fixture)
{
    char *path = test_fixture("eval/%s", fixture);
    *f = (struct file){ 0 };
    ck_assert_ok(ctx, fdit_weights_open(ctx, path, NULL, &f->from));
    free(path);
    ck_assert_ok(ctx, fdit_st_writer_new(ctx, &f->to));
}

static float *numbers(struct file *f, const struct fdit_st_tensor *t)
{
    float *x;
    ck_assert_int_lt(f->n, 64);
    ck_assert_ok(ctx, fdit_alloc(ctx, t->n, sizeof *x, &x));
    ck_assert_ok(ctx, fdit_st_f32(ctx, "fixture", t, 0, t->n, x));
    return f->kept[f->n++] = x;
}

/* As NAME.safetensors in the test's folder, with a config.json of three heads beside it. */
static void end_file(struct file *f, const char *name, int width)
{
    char path[128], config[128];
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    ck_assert_ok(ctx, fdit_st_writer_save(ctx, f->to, path));
    fdit_st_writer_free(f->to);
    fdit_weights_close(f->from);
    for (int i = 0; i < f->n; i++)
        fdit_free(f->kept[i]);
    snprintf(path, sizeof path, "%s/config.json", folder);
    snprintf(config, sizeof config, "{\"hidden_size\": %d, \"num_attention_heads\": 3}", width);
    ck_assert_ok(ctx, fdit_file_write(ctx, path, false, config, strlen(config)));
}

/* transformers' name of one of DINOv2's; NULL: left out. "qkv" is taken apart by the caller. */
static void transformers_name(const char *name, char to[128])
{
    static const char *const pairs[][2] = {
        { "cls_token", "embeddings.cls_token" },
        { "pos_embed", "embeddings.position_embeddings" },
        { "mask_token", "embeddings.mask_token" },
        { "register_tokens", "embeddings.register_tokens" },
        { "patch_embed.proj", "embeddings.patch_embeddings.projection" },
        { "blocks.", "encoder.layer." },
        { "attn.qkv", "attention.attention.QKV" },
        { "attn.proj", "attention.output.dense" },
        { "ls1.gamma", "layer_scale1.lambda1" },
        { "ls2.gamma", "layer_scale2.lambda1" },
    };
    if (!strncmp(name, "norm.", 5)) {
        snprintf(to, 128, "dinov2.layernorm.%s", name + 5);
        return;
    }
    snprintf(to, 128, "dinov2.%s", name);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *at = strstr(to, pairs[i][0]), rest[128];
        if (!at)
            continue;
        snprintf(rest, sizeof rest, "%s", at + strlen(pairs[i][0]));
        snprintf(at, 128 - (size_t)(at - to), "%s%s", pairs[i][1], rest);
        if (i < 5)
            return;
    }
}

static void write_transformers(const char *fixture, int width)
{
    static const char *const parts[] = { "query", "key", "value" };
    struct file f;
    begin_file(&f, fixture);
    for (size_t i = 0; i < fdit_weights_count(f.from); i++) {
        const struct fdit_st_tensor *t = fdit_weights_at(f.from, i);
        float *x = numbers(&f, t);
        char name[128];
        transformers_name(t->name, name);
        char *at = strstr(name, "QKV"), whole[160];
        if (!at) {
            ck_assert_ok(ctx, fdit_st_writer_f32(ctx, f.to, name, FDIT_ST_F32, t->rank, t->shape, x));
            continue;
        }
        int64_t shape[2] = { t->shape[0] / 3, t->rank == 2 ? t->shape[1] : 1 };
        for (int k = 0; k < 3; k++) {
            snprintf(whole, sizeof whole, "%.*s%s%s", (int)(at - name), name, parts[k], at + 3);
            ck_assert_ok(ctx, fdit_st_writer_f32(ctx, f.to, whole, FDIT_ST_F32, t->rank, shape,
                                                 x + (size_t)k * (t->n / 3)));
        }
    }
    end_file(&f, "model", width);
}

/* The SwiGLU network of transformers' names under its authors'. */
static void write_authors(void)
{
    static const char *const pairs[][2] = {
        { "embeddings.cls_token", "cls_token" },
        { "embeddings.position_embeddings", "pos_embed" },
        { "embeddings.patch_embeddings.projection", "patch_embed.proj" },
        { "embeddings.mask_token", "mask_token" },
        { "encoder.layer.", "blocks." },
        { "layernorm.", "norm." },
        { "attention.attention.query", "attn.qkv" },
        { "attention.output.dense", "attn.proj" },
        { "layer_scale1.lambda1", "ls1.gamma" },
        { "layer_scale2.lambda1", "ls2.gamma" },
        { "mlp.weights_in", "mlp.w12" },
        { "mlp.weights_out", "mlp.w3" },
    };
    static const char *const parts[] = { "query", "key", "value" };
    struct file f;
    begin_file(&f, "dinov2_swiglu_small");
    for (size_t i = 0; i < fdit_weights_count(f.from); i++) {
        const struct fdit_st_tensor *t = fdit_weights_at(f.from, i);
        int64_t shape[4] = { 0 };
        char name[128], other[128], rest[128];
        const char *q = strstr(t->name, "query");
        if (strstr(t->name, "attention.key") || strstr(t->name, "attention.value"))
            continue;
        float *x = numbers(&f, t);
        memcpy(shape, t->shape, (size_t)t->rank * sizeof *shape);
        snprintf(name, sizeof name, "%s", t->name);
        for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
            char *at = strstr(name, pairs[k][0]);
            if (!at)
                continue;
            snprintf(rest, sizeof rest, "%s", at + strlen(pairs[k][0]));
            snprintf(at, sizeof name - (size_t)(at - name), "%s%s", pairs[k][1], rest);
        }
        if (q) {
            ck_assert_ok(ctx, fdit_alloc(ctx, 3 * t->n, sizeof *x, &x));
            f.kept[f.n++] = x;
            for (size_t k = 0; k < 3; k++) {
                snprintf(other, sizeof other, "%.*s%s%s", (int)(q - t->name), t->name, parts[k],
                         q + strlen("query"));
                const struct fdit_st_tensor *part = fdit_weights_find(f.from, other);
                ck_assert_msg(part != NULL, "%s", other);
                ck_assert_ok(ctx, fdit_st_f32(ctx, "fixture", part, 0, t->n, x + k * t->n));
            }
            shape[0] *= 3;
        }
        ck_assert_ok(ctx, fdit_st_writer_f32(ctx, f.to, name, FDIT_ST_F32, t->rank, shape, x));
    }
    end_file(&f, "model", 48);
}

/* Two networks that are one under other names have the same hash and give the features of picture `number` to
 * the bit; both are closed. */
static void same_features(struct fdit_extractor *a, struct fdit_extractor *b, int number)
{
    float *x = input_of(a, number), first[64], second[64];
    ck_assert_uint_eq(a->weights, b->weights);
    ck_assert(a->width == b->width && a->width <= 64);
    ck_assert_ok(ctx, fdit_extractor_run(ctx, a, x, 1, first, NULL));
    ck_assert_ok(ctx, fdit_extractor_run(ctx, b, x, 1, second, NULL));
    ck_assert_mem_eq(first, second, a->width * sizeof *first);
    fdit_free(x);
    fdit_extractor_close(a);
    fdit_extractor_close(b);
}

START_TEST(names_of_swiglu_do_not_matter)
{
    fdit_device *dev = test_open_device(ctx, "cpu", 2);
    write_authors();
    struct fdit_extractor *a = open_on(dev, "dinov2", "dinov2_swiglu_small", 4);
    struct fdit_extractor *b = open_on(dev, "dinov2", folder, 4);
    ck_assert_uint_eq(a->width, 48);
    same_features(a, b, 1);
    fdit_device_close(dev);
}
END_TEST

/* OpenAI's name of one of transformers' CLIP. */
static void openai_name(const char *name, char to[128])
{
    static const char *const pairs[][2] = {
        { "embeddings.class_embedding", "class_embedding" },
        { "embeddings.position_embedding.weight", "positional_embedding" },
        { "embeddings.patch_embedding", "conv1" },
        { "pre_layrnorm", "ln_pre" },
        { "post_layernorm", "ln_post" },
        { "encoder.layers", "transformer.resblocks" },
        { "layer_norm1", "ln_1" },
        { "layer_norm2", "ln_2" },
        { "self_attn.out_proj", "attn.out_proj" },
        { "self_attn.q_proj.", "attn.in_proj_" },
        { "mlp.fc1", "mlp.c_fc" },
        { "mlp.fc2", "mlp.c_proj" },
    };
    const char *inside = strstr(name, "vision_model.");
    snprintf(to, 128, "visual.%s", inside ? inside + strlen("vision_model.") : "proj");
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *at = strstr(to, pairs[i][0]), rest[128];
        if (!at)
            continue;
        snprintf(rest, sizeof rest, "%s", at + strlen(pairs[i][0]));
        snprintf(at, 128 - (size_t)(at - to), "%s%s", pairs[i][1], rest);
    }
}

/* q, k and v in one, the projection turned. */
static void write_openai(void)
{
    struct file f;
    begin_file(&f, "clip_small");
    for (size_t i = 0; i < fdit_weights_count(f.from); i++) {
        const struct fdit_st_tensor *t = fdit_weights_at(f.from, i);
        int64_t shape[4] = { 0 };
        char name[128], other[128];
        char *q = strstr(t->name, ".q_proj.");
        if (strstr(t->name, ".k_proj.") || strstr(t->name, ".v_proj."))
            continue;
        float *x = numbers(&f, t);
        memcpy(shape, t->shape, (size_t)t->rank * sizeof *shape);
        openai_name(t->name, name);
        if (q) {
            float *all;
            ck_assert_ok(ctx, fdit_alloc(ctx, 3 * t->n, sizeof *all, &all));
            f.kept[f.n++] = all;
            for (size_t k = 0; k < 3; k++) {
                snprintf(other, sizeof other, "%.*s.%c_proj.%s", (int)(q - t->name), t->name, "qkv"[k],
                         q + strlen(".q_proj."));
                const struct fdit_st_tensor *part = fdit_weights_find(f.from, other);
                ck_assert_msg(part != NULL, "%s", other);
                ck_assert_ok(ctx, fdit_st_f32(ctx, "fixture", part, 0, t->n, all + k * t->n));
            }
            shape[0] *= 3;
            x = all;
        } else if (!strcmp(name, "visual.proj")) {
            float *turned;
            size_t rows = (size_t)t->shape[0], columns = (size_t)t->shape[1];
            ck_assert_ok(ctx, fdit_alloc(ctx, t->n, sizeof *turned, &turned));
            f.kept[f.n++] = turned;
            for (size_t k = 0; k < t->n; k++)
                turned[k % columns * rows + k / columns] = x[k];
            shape[0] = (int64_t)columns;
            shape[1] = (int64_t)rows;
            x = turned;
        }
        ck_assert_ok(ctx, fdit_st_writer_f32(ctx, f.to, name, FDIT_ST_F32, t->rank, shape, x));
    }
    end_file(&f, "model", 48);
}

START_TEST(names_of_clip_do_not_matter)
{
    fdit_device *dev = test_open_device(ctx, "cpu", 2);
    write_openai();
    struct fdit_extractor *a = open_on(dev, "clip", "clip_small", 4), *b = open_on(dev, "clip", folder, 4);
    ck_assert_int_eq(a->size, 56);
    ck_assert_uint_eq(a->width, 20);
    same_features(a, b, 2);
    fdit_device_close(dev);
}
END_TEST

/* One network under two names has the same hash and the same bits. */
START_TEST(names_do_not_matter)
{
    static const char *const fixtures[] = { "dinov2_small", "dinov2_reg4_small" };
    for (int k = 0; k < 2; k++) {
        fdit_device *dev = test_open_device(ctx, "cpu", 2);
        write_transformers(fixtures[k], k ? 24 : 48);
        struct fdit_extractor *a = open_on(dev, "dinov2", fixtures[k], 4);
        struct fdit_extractor *b = open_on(dev, "dinov2", folder, 4);
        same_features(a, b, 0);
        fdit_device_close(dev);
    }
}
END_TEST

/* ------------------------------------------------------------------ bits */

/* Batches of any size and any number of threads: the same bits. */
START_TEST(batch_and_threads_change_no_bit)
{
    float first[PICTURES * 64];
    for (int variant = 0; variant < 3; variant++) {
        fdit_device *dev = test_open_device(ctx, "cpu", variant == 2 ? 1 : 2);
        struct fdit_extractor *e = open_on(dev, "dinov2", "dinov2_small", variant ? 3 : 1);
        size_t picture = 3 * (size_t)e->size * (size_t)e->size;
        float *all, got[PICTURES * 64];
        ck_assert_ok(ctx, fdit_alloc(ctx, PICTURES, picture * sizeof *all, &all));
        for (int k = 0; k < PICTURES; k++) {
            float *x = input_of(e, k);
            memcpy(all + (size_t)k * picture, x, picture * sizeof *x);
            fdit_free(x);
        }
        for (int k = 0; !variant && k < PICTURES; k++)
            ck_assert_ok(ctx, fdit_extractor_run(ctx, e, all + (size_t)k * picture, 1,
                                                 first + (size_t)k * e->width, NULL));
        if (variant)
            ck_assert_ok(ctx, fdit_extractor_run(ctx, e, all, PICTURES, got, NULL));
        for (size_t i = 0; variant && i < PICTURES * e->width; i++)
            ck_assert_msg(!memcmp(&got[i], &first[i], sizeof *got), "variant %d, number %zu", variant, i);
        fdit_free(all);
        fdit_extractor_close(e);
        fdit_device_close(dev);
    }
}
END_TEST

/* ------------------------------------------------------------------ what is refused */

static void refused(const char *kind, const char *path, const char *words)
{
    fdit_device *dev = test_open_device(ctx, "cpu", 1);
    struct fdit_extractor *e = NULL;
    char what[512];
    snprintf(what, sizeof what, "%s:%s", kind, path);
    enum fdit_status status = fdit_extractor_open(ctx, dev, what, 1, &e);
    ck_assert_msg(status != FDIT_OK && strstr(fdit_context_message(ctx), words) != NULL,
                  "%s: status %d, '%s' without '%s'", what, (int)status, fdit_context_message(ctx), words);
    ck_assert_ptr_null(e);
    fdit_device_close(dev);
}

/* The small network without one tensor, or (shape) with another one cut. */
static void write_broken(const char *without, const char *cut, int width)
{
    struct file f;
    begin_file(&f, "dinov2_small");
    for (size_t i = 0; i < fdit_weights_count(f.from); i++) {
        const struct fdit_st_tensor *t = fdit_weights_at(f.from, i);
        int64_t shape[4] = { 0 };
        if (without && !strcmp(t->name, without))
            continue;
        memcpy(shape, t->shape, (size_t)t->rank * sizeof *shape);
        shape[0] -= cut && !strcmp(t->name, cut);
        ck_assert_ok(ctx,
                     fdit_st_writer_f32(ctx, f.to, t->name, FDIT_ST_F32, t->rank, shape, numbers(&f, t)));
    }
    end_file(&f, "model", width);
}

START_TEST(wrong_files_are_refused)
{
    char path[128];
    char *inception = test_fixture("eval/metrics.safetensors"), *dino = test_fixture("eval/dinov2_small");
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    refused("dinov2", inception, "is not a DINOv2 network: expected tensors cls_token");
    refused("clip", inception, "is not a CLIP network");
    refused("clip", dino, "give --features dinov2:FILE");
    refused("dinov2", "", "give its file");
    write_broken("blocks.1.mlp.fc2.weight", NULL, 48);
    refused("dinov2", path, "is DINOv2 without blocks.1.mlp.fc2.weight");
    write_broken("blocks.0.ls1.gamma", NULL, 48);
    refused("dinov2", path, "without blocks.0.ls1.gamma");
    write_broken("blocks.0.mlp.fc2.weight", NULL, 48);
    refused("dinov2", path, "without blocks.0.mlp.fc2.weight");
    write_broken(NULL, "blocks.1.attn.qkv.weight", 48);
    refused("dinov2", path, "blocks.1.attn.qkv.weight has shape [143, 48] and type F32; expected [144, 48]");
    write_broken(NULL, "norm.bias", 48);
    refused("dinov2", path, "norm.bias has shape [47]");
    write_broken(NULL, NULL, 47); /* the config.json is of something else */
    refused("dinov2", path, "how many heads it has is not known");
    write_broken(NULL, NULL, 48);
    fdit_device *dev = test_open_device(ctx, "cpu", 1);
    struct fdit_extractor *e = open_on(dev, "dinov2", path, 1);
    fdit_extractor_close(e);
    fdit_device_close(dev);
    free(inception);
    free(dino);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vision transformers");
    TCase *tc = tcase_create("vit");
    tcase_set_timeout(tc, 1200);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, dino_is_the_reference);
    tcase_add_test(tc, positions_are_the_reference);
    tcase_add_test(tc, networks_are_those_of_transformers);
    tcase_add_test(tc, names_do_not_matter);
    tcase_add_test(tc, names_of_clip_do_not_matter);
    tcase_add_test(tc, names_of_swiglu_do_not_matter);
    tcase_add_test(tc, batch_and_threads_change_no_bit);
    tcase_add_test(tc, wrong_files_are_refused);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
