/* SPDX-License-Identifier: Apache-2.0
 * The autoencoder against the fixtures (a small AutoencoderKL of diffusers in both spellings), in
 * bands, under failing memory, and on broken files. */
#include "device/backend.h"
#include "core/file.h"
#include "core/mem.h"
#include "cpu/cpu.h"
#include "devices.h"
#include "model_fixture.h"
#include "net/net_internal.h"
#include "vae/projection.h"
#include "vae/vae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { H = 48, W = 64, F = 8, Z_H = 3, Z_W = 5 };

static fdit_context *ctx;

static void setup(void)
{
    ctx = fdit_context_new();
}

static void teardown(void)
{
    fdit_context_free(ctx);
}

static struct fdit_vae *open_fixture(const char *folder)
{
    struct fdit_vae *v;
    char *path = test_fixture("%s", folder);
    ck_assert_ok(ctx, fdit_vae_open(ctx, path, &v));
    free(path);
    return v;
}

static void make(struct fdit_vae *v, fdit_device *dev, int height, int width, size_t memory)
{
    struct fdit_vae_options o = {
        .height = height, .width = width, .encode = true, .decode = true, .memory = memory
    };
    ck_assert_ok(ctx, fdit_vae_plan(ctx, v, dev, &o));
    ck_assert_ok(ctx, fdit_vae_allocate(ctx, v));
}

/* A pass from x [channels, n] as far as the layer of this name, to `out` [channels, n]; returns the number of
 * floats. */
static size_t as_far_as(struct fdit_vae *v, int pass, const char *layer, const float *x, float *out)
{
    struct fdit_net *net = fdit_vae_net(v);
    const struct fdit_net_pass *p = &net->passes[pass];
    struct fdit_net_walk w = { .ctx = ctx, .net = net, .n = 1 };
    size_t end = p->first;
    while (end < p->end &&
           (net->steps[end].layer < 0 || strcmp(net->layers[net->steps[end].layer].name, layer)))
        end++;
    ck_assert_msg(end < p->end, "no layer %s", layer);
    const struct fdit_net_picture *from = &net->pictures[p->input], *to = &net->pictures[net->steps[end].out];
    size_t channels = (size_t)from->channels, n = fdit_net_floats(from) / channels;
    float *rows;
    ck_assert_ok(ctx, fdit_alloc(ctx, 1 << 20, sizeof *rows, &rows));
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < n; i++)
            rows[i * channels + c] = x[c * n + i];
    fdit_write(net->dev, fdit_tensor_of(net->rooms[from->room].buffer, FDIT_F32), rows, n * channels);
    ck_assert_ok(ctx, fdit_net_walk(&w, p, end + 1));
    channels = (size_t)to->channels;
    n = fdit_net_floats(to) / channels;
    ck_assert_ok(ctx, fdit_read(ctx, net->dev, fdit_tensor_of(net->rooms[to->room].buffer, FDIT_F32), rows,
                                n * channels));
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < n; i++)
            out[c * n + i] = rows[i * channels + c];
    fdit_free(rows);
    return n * channels;
}

static const char tolerance_blocks[] = "vae/expected.safetensors: block outputs";

START_TEST(trace)
{
    /* Behind which layer each of them is: 4 levels of 2 (3) blocks. */
    static const struct {
        const char *name;
        int pass;
        const char *layer;
    } points[] = {
        { "trace.conv_in", FDIT_VAE_ENCODER, "encoder.conv_in" },
        { "trace.down0", FDIT_VAE_ENCODER, "encoder.down_blocks.0.downsamplers.0.conv" },
        { "trace.down1.resnet0", FDIT_VAE_ENCODER, "encoder.down_blocks.1.resnets.0.conv2" },
        { "trace.down1", FDIT_VAE_ENCODER, "encoder.down_blocks.1.downsamplers.0.conv" },
        { "trace.down2", FDIT_VAE_ENCODER, "encoder.down_blocks.2.downsamplers.0.conv" },
        { "trace.down3", FDIT_VAE_ENCODER, "encoder.down_blocks.3.resnets.1.conv2" },
        { "trace.mid.resnet0", FDIT_VAE_ENCODER, "encoder.mid_block.resnets.0.conv2" },
        { "trace.mid.attention", FDIT_VAE_ENCODER, "encoder.mid_block.attentions.0.to_out.0" },
        { "trace.mid.resnet1", FDIT_VAE_ENCODER, "encoder.mid_block.resnets.1.conv2" },
        { "trace.conv_out", FDIT_VAE_ENCODER, "encoder.conv_out" },
        { "trace.dec.post_quant", FDIT_VAE_DECODER, "post_quant_conv" },
        { "trace.dec.conv_in", FDIT_VAE_DECODER, "decoder.conv_in" },
        { "trace.dec.mid", FDIT_VAE_DECODER, "decoder.mid_block.resnets.1.conv2" },
        { "trace.dec.up0", FDIT_VAE_DECODER, "decoder.up_blocks.0.upsamplers.0.conv" },
    };
    const char *names[8];
    struct fdit_safetensors *st = test_open(ctx, "vae/expected.safetensors");
    float *image = test_floats(ctx, st, "image", NULL), *z = test_floats(ctx, st, "z", NULL), *got;
    ck_assert_ok(ctx, fdit_alloc(ctx, 1 << 20, sizeof *got, &got));
    int n_devices = test_all_devices(ctx, names);
    for (int d = 0; d < n_devices; d++) {
        fdit_device *dev = test_open_device(ctx, names[d], 0);
        struct fdit_vae *v = open_fixture("vae");
        make(v, dev, H, W, 0);
        for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
            size_t n;
            float *wanted = test_floats(ctx, st, points[i].name, &n);
            const bool decoder = points[i].pass == FDIT_VAE_DECODER;
            if (decoder && points[i - 1].pass == FDIT_VAE_ENCODER)
                make(v, dev, Z_H * F, Z_W * F, 0);
            size_t made = as_far_as(v, points[i].pass, points[i].layer, decoder ? z : image, got);
            ck_assert_msg(made == n, "%s: %zu numbers, not %zu", points[i].name, made, n);
            test_agree(tolerance_blocks, points[i].name, got, wanted, n);
            fdit_free(wanted);
        }
        fdit_vae_free(v);
        fdit_device_close(dev);
    }
    fdit_free(image);
    fdit_free(z);
    fdit_free(got);
    fdit_safetensors_close(st);
}
END_TEST

/* Encoding, sampling and decoding, in both spellings of the names. */
START_TEST(against_diffusers)
{
    const char *names[8], *folders[] = { "vae", "vae/old_names" };
    struct fdit_safetensors *st = test_open(ctx, "vae/expected.safetensors");
    size_t n, n_decoded, cells = H / F * (W / F) * 4;
    float *image = test_floats(ctx, st, "image", NULL), *moments = test_floats(ctx, st, "moments", &n);
    float *eps = test_floats(ctx, st, "eps", NULL), *latent = test_floats(ctx, st, "latent", NULL);
    float *z = test_floats(ctx, st, "z", NULL), *decoded = test_floats(ctx, st, "decoded", &n_decoded), *got;
    ck_assert_uint_eq(n, 2 * cells);
    ck_assert_uint_eq(n_decoded, 3 * Z_H * F * Z_W * F);
    ck_assert_ok(ctx, fdit_alloc(ctx, 1 << 16, sizeof *got, &got));
    int n_devices = test_all_devices(ctx, names);
    for (int d = 0; d < n_devices; d++)
        for (int k = 0; k < 2; k++) {
            fdit_device *dev = test_open_device(ctx, names[d], 0);
            struct fdit_vae *v = open_fixture(folders[k]);
            const struct fdit_vae_config *c = fdit_vae_config_of(v);
            ck_assert_int_eq(fdit_vae_factor(c), F);
            ck_assert(c->scale == 0.18215);
            make(v, dev, H, W, 0);
            ck_assert_ok(ctx, fdit_vae_encode(ctx, v, image, got));
            test_agree("vae/expected.safetensors: encode: mean and log variance", names[d], got, moments, n);
            fdit_vae_sample(c, cells, moments, moments + cells, eps, got);
            test_agree("vae/expected.safetensors: sampled latent", names[d], got, latent, cells);
            make(v, dev, Z_H * F, Z_W * F, 0);
            for (size_t i = 0; i < 4 * Z_H * Z_W; i++)
                got[i] = (float)(z[i] * c->scale);
            ck_assert_ok(ctx, fdit_vae_decode(ctx, v, got, got));
            test_agree("vae/expected.safetensors: decoded image", names[d], got, decoded, n_decoded);
            fdit_vae_free(v);
            fdit_device_close(dev);
        }
    fdit_free(image);
    fdit_free(moments);
    fdit_free(eps);
    fdit_free(latent);
    fdit_free(z);
    fdit_free(decoded);
    fdit_free(got);
    fdit_safetensors_close(st);
}
END_TEST

/* Under a memory limit bands become flatter; the bits stay. */
START_TEST(bands)
{
    const char *names[8];
    struct test_rng rng = test_rng_new("bands");
    enum { S = 64, N = 3 * S * S, M = 8 * S / F * (S / F) };
    float *x, *moments, *again, *picture, *picture_again;
    ck_assert_ok(ctx, fdit_alloc(ctx, N, sizeof *x, &x));
    ck_assert_ok(ctx, fdit_alloc(ctx, N, sizeof *picture, &picture));
    ck_assert_ok(ctx, fdit_alloc(ctx, N, sizeof *picture_again, &picture_again));
    ck_assert_ok(ctx, fdit_alloc(ctx, M, sizeof *moments, &moments));
    ck_assert_ok(ctx, fdit_alloc(ctx, M, sizeof *again, &again));
    test_fill_normal(&rng, x, N, 0, 0.5f);
    int n_devices = test_all_devices(ctx, names);
    for (int d = 0; d < n_devices; d++) {
        fdit_device *dev = test_open_device(ctx, names[d], 1);
        struct fdit_vae *v = open_fixture("vae");
        make(v, dev, S, S, 0);
        size_t whole = fdit_plan_device_bytes(fdit_vae_plan_of(v));
        ck_assert_ok(ctx, fdit_vae_encode(ctx, v, x, moments));
        ck_assert_ok(ctx, fdit_vae_decode(ctx, v, x, picture));
        make(v, dev, S, S, 1); /* cannot be met: the flattest bands */
        size_t flat = fdit_plan_device_bytes(fdit_vae_plan_of(v));
        ck_assert_uint_lt(flat, whole);
        ck_assert_uint_lt(fdit_vae_net(v)->scratch[FDIT_NET_BAND].buffer->bytes,
                          (size_t)S * S * 16 * sizeof(float) / 4);
        ck_assert_int_eq(fdit_plan_check(ctx, fdit_vae_plan_of(v), dev, 1, "use less"), FDIT_ERROR_DEVICE);
        ck_assert_ok(ctx, fdit_vae_encode(ctx, v, x, again));
        ck_assert_ok(ctx, fdit_vae_decode(ctx, v, x, picture_again));
        ck_assert_uint_eq(test_first_difference(again, moments, M, sizeof *again), M);
        ck_assert_uint_eq(test_first_difference(picture_again, picture, N, sizeof *picture), N);
        /* Between the two a limit is kept to. */
        make(v, dev, S, S, (whole + flat) / 2);
        ck_assert_uint_le(fdit_plan_device_bytes(fdit_vae_plan_of(v)), (whole + flat) / 2);
        fdit_vae_free(v);
        fdit_device_close(dev);
    }
    fdit_free(x);
    fdit_free(picture);
    fdit_free(picture_again);
    fdit_free(moments);
    fdit_free(again);
}
END_TEST

/* A picture allocates nothing, and a plan holds all that is allocated. */
START_TEST(memory)
{
    fdit_device *dev = test_open_device(ctx, "cpu", 1);
    struct fdit_vae *v = open_fixture("vae");
    float x[3 * 16 * 16] = { 0 };
    make(v, dev, 16, 16, 0);
    const struct fdit_plan *plan = fdit_vae_plan_of(v);
    ck_assert_uint_eq(dev->buffer_bytes + dev->weight_bytes + fdit_plan_kind_bytes(plan, FDIT_PLAN_WORKSPACE),
                      fdit_plan_device_bytes(plan));
    uint64_t calls = fdit_mem_stats().calls, objects = dev->objects_made;
    ck_assert_ok(ctx, fdit_vae_encode(ctx, v, x, x));
    ck_assert_ok(ctx, fdit_vae_decode(ctx, v, x, x));
    ck_assert_uint_eq(fdit_mem_stats().calls, calls);
    ck_assert_uint_eq(dev->objects_made, objects);
    /* flops are those that the ops count */
    double counted = 0;
    for (int op = 0; op < FDIT_OP_COUNT; op++)
        counted += dev->counts[op].flops;
    ck_assert(counted == fdit_vae_flops(v, false) + fdit_vae_flops(v, true));
    fdit_vae_free(v);
    /* Every allocation in turn fails: an error, no leak, no crash. */
    char *path = test_fixture("vae");
    for (uint64_t i = 1;; i++) {
        size_t count = fdit_mem_stats().count;
        fdit_mem_fail_at(i);
        v = NULL;
        enum fdit_status status = fdit_vae_open(ctx, path, &v);
        struct fdit_vae_options o = { .height = 16, .encode = true, .decode = true };
        if (status == FDIT_OK)
            status = fdit_vae_plan(ctx, v, dev, &o);
        if (status == FDIT_OK)
            status = fdit_vae_allocate(ctx, v);
        fdit_vae_free(v);
        fdit_mem_fail_at(0);
        if (status == FDIT_OK)
            break;
        ck_assert_int_eq(status, FDIT_ERROR_MEMORY);
        ck_assert_uint_le(fdit_mem_stats().count, count + 1); /* + the message */
        fdit_device_clear_error(dev);
    }
    free(path);
    fdit_device_close(dev);
}
END_TEST

START_TEST(interrupted)
{
    fdit_device *dev = test_open_device(ctx, "cpu", 1);
    struct fdit_vae *v = open_fixture("vae");
    float x[3 * 16 * 16] = { 0 };
    make(v, dev, 16, 16, 0);
    fdit_context_stop(ctx);
    ck_assert_int_eq(fdit_vae_encode(ctx, v, x, x), FDIT_INTERRUPTED);
    fdit_vae_free(v);
    fdit_device_close(dev);
}
END_TEST

static void expect_config(const char *text, enum fdit_status wanted, const char *in_message)
{
    struct fdit_vae_config c;
    enum fdit_status status = fdit_vae_config_from_json(ctx, "config.json", text, strlen(text), &c);
    ck_assert_msg(status == wanted, "%s: %s, not %s", text, fdit_status_text(status),
                  fdit_status_text(wanted));
    if (wanted != FDIT_OK)
        ck_assert_msg(strstr(fdit_context_message(ctx), in_message), "%s: '%s' lacks '%s'", text,
                      fdit_context_message(ctx), in_message);
}

START_TEST(configs)
{
    struct fdit_vae_config c;
    static const char sd3[] =
        "{\"block_out_channels\":[128,256,512,512],\"latent_channels\":16,\"use_quant_conv\":false,"
        "\"use_post_quant_conv\":false,\"scaling_factor\":1.5305,\"shift_factor\":0.0609,"
        "\"layers_per_block\":2}";
    ck_assert_ok(ctx, fdit_vae_config_from_json(ctx, "sd3", sd3, strlen(sd3), &c));
    ck_assert(!c.quant && !c.post_quant && c.latent_channels == 16 && c.scale == 1.5305 && c.shift == 0.0609);
    ck_assert(c.groups == 32 && c.attention && c.levels == 4 && c.channels[3] == 512);
    expect_config("[]", FDIT_ERROR_FORMAT, "no JSON object");
    expect_config("{", FDIT_ERROR_FORMAT, "config.json");
    expect_config("{}", FDIT_ERROR_FORMAT, "block_out_channels");
    expect_config("{\"block_out_channels\":[]}", FDIT_ERROR_FORMAT, "1 to 8 numbers");
    expect_config("{\"block_out_channels\":[32,\"a\"]}", FDIT_ERROR_FORMAT, "entry 1");
    expect_config("{\"block_out_channels\":[33]}", FDIT_ERROR_FORMAT, "multiple of norm_num_groups, 32");
    expect_config("{\"block_out_channels\":[32],\"norm_num_groups\":0}", FDIT_ERROR_FORMAT,
                  "norm_num_groups");
    expect_config("{\"block_out_channels\":[32],\"latent_channels\":-4}", FDIT_ERROR_FORMAT,
                  "latent_channels");
    expect_config("{\"block_out_channels\":[32],\"layers_per_block\":99}", FDIT_ERROR_FORMAT,
                  "layers_per_block");
    expect_config("{\"block_out_channels\":[32],\"scaling_factor\":0}", FDIT_ERROR_FORMAT, "scaling_factor");
    expect_config("{\"block_out_channels\":[32],\"act_fn\":\"gelu\"}", FDIT_ERROR_UNSUPPORTED, "act_fn");
    expect_config("{\"block_out_channels\":[32],\"latents_mean\":[0]}", FDIT_ERROR_UNSUPPORTED,
                  "latents_mean");
    expect_config("{\"block_out_channels\":[32],\"use_quant_conv\":1}", FDIT_ERROR_FORMAT, "use_quant_conv");
    expect_config("{\"block_out_channels\":[32],\"down_block_types\":[\"AttnDownEncoderBlock2D\"]}",
                  FDIT_ERROR_UNSUPPORTED, "AttnDownEncoderBlock2D");
    expect_config("{\"_class_name\":\"VQModel\",\"block_out_channels\":[32]}", FDIT_ERROR_UNSUPPORTED,
                  "VQModel");
}
END_TEST

/* Without config.json the sizes come from the tensors; a file that is none, or lacks one, is
 * refused. */
START_TEST(files)
{
    struct fdit_vae *v = NULL;
    char *path = test_fixture("dit.safetensors"), *expected = test_fixture("vae/expected.safetensors");
    char *empty = test_fixture("image");
    ck_assert_int_ne(fdit_vae_open(ctx, path, &v), FDIT_OK);
    ck_assert_ptr_null(v);
    ck_assert_int_eq(fdit_vae_open(ctx, expected, &v), FDIT_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "holds no AutoencoderKL"));
    ck_assert_int_eq(fdit_vae_open(ctx, empty, &v), FDIT_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "holds no AutoencoderKL"));
    ck_assert_int_eq(fdit_vae_open(ctx, "/nowhere/at/all", &v), FDIT_ERROR_IO);
    free(path);
    free(expected);
    free(empty);
    v = open_fixture("vae/diffusion_pytorch_model.safetensors");
    fdit_device *dev = test_open_device(ctx, "cpu", 1);
    struct fdit_vae_options o = { .height = 12, .decode = true };
    ck_assert_int_eq(fdit_vae_plan(ctx, v, dev, &o), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "multiples of 8"));
    uint64_t hash, other;
    ck_assert_ok(ctx, fdit_vae_hash(ctx, v, &hash));
    fdit_vae_set_scale(v, 0.5);
    ck_assert_ok(ctx, fdit_vae_hash(ctx, v, &other));
    ck_assert_uint_ne(hash, other);
    fdit_vae_free(v);
    v = open_fixture("vae/old_names");
    ck_assert_ok(ctx, fdit_vae_hash(ctx, v, &other));
    ck_assert_uint_eq(hash, other);
    fdit_vae_free(v);
    fdit_device_close(dev);
}
END_TEST

/* The noise of the latents: its own domain, fresh at every position. */
START_TEST(noise)
{
    float a[64], b[64];
    fdit_vae_noise(1, 5, 64, a);
    fdit_vae_noise(1, 5, 64, b);
    ck_assert_uint_eq(test_first_difference(a, b, 64, sizeof *a), 64);
    fdit_vae_noise(1, 6, 64, b);
    ck_assert_uint_lt(test_first_difference(a, b, 64, sizeof *a), 2);
    fdit_vae_noise(1, 5 + ((uint64_t)1 << 32), 64, b);
    ck_assert_uint_lt(test_first_difference(a, b, 64, sizeof *a), 2);
    struct fdit_vae_config c = fdit_vae_config_usual();
    float mean[3] = { 1, 2, 3 }, logvar[3] = { 0, -1000, 1000 }, eps[3] = { 1, 1, 1 }, x[3];
    c.shift = 1;
    c.scale = 2;
    fdit_vae_sample(&c, 3, mean, logvar, eps, x);
    ck_assert(x[0] == 2);
    ck_assert_float_eq_tol(x[1], 2, 1e-5f);
    ck_assert_float_eq_tol(x[2], (float)(2 * (2 + exp(10))), 1e-2f);
}
END_TEST

/* With FDIT_VAE_PEER: a folder that bench/peers/diffusers_vae.py made, of a model and pictures of
 * any size. */
START_TEST(peer)
{
    const char *folder = getenv("FDIT_VAE_PEER"), *names[8];
    char path[4096];
    struct fdit_safetensors *st;
    struct fdit_vae *v;
    size_t n_moments, n_decoded, n_z;
    if (!folder || !*folder)
        return;
    snprintf(path, sizeof path, "%s/expected.safetensors", folder);
    ck_assert_ok(ctx, fdit_safetensors_open(ctx, path, &st));
    ck_assert_ok(ctx, fdit_vae_open(ctx, folder, &v));
    const struct fdit_st_tensor *t = fdit_safetensors_find(st, "image");
    float *image = test_floats(ctx, st, "image", NULL), *z = test_floats(ctx, st, "z", &n_z);
    float *moments = test_floats(ctx, st, "moments", &n_moments);
    float *decoded = test_floats(ctx, st, "decoded", &n_decoded), *got;
    ck_assert_ok(ctx, fdit_alloc(ctx, n_decoded, sizeof *got, &got));
    int n_devices = test_devices(names);
    for (int d = 0; d < n_devices; d++) {
        if (!strcmp(names[d], "ref") || strchr(names[d], '+')) /* hours; f32 alone */
            continue;
        fdit_device *dev = test_open_device(ctx, names[d], 0);
        make(v, dev, (int)t->shape[2], (int)t->shape[3], 0);
        for (int decode = 0; decode < 2; decode++) {
            const float *wanted = decode ? decoded : moments;
            size_t n = decode ? n_decoded : n_moments;
            double worst = 0, largest = test_largest(wanted, n);
            for (size_t i = 0; decode && i < n_z; i++)
                got[i] = (float)(z[i] * fdit_vae_config_of(v)->scale);
            ck_assert_ok(ctx,
                         decode ? fdit_vae_decode(ctx, v, got, got) : fdit_vae_encode(ctx, v, image, got));
            for (size_t i = 0; i < n; i++) {
                double off = fabs((double)got[i] - (double)wanted[i]);
                worst = off > worst ? off : worst;
            }
            printf("%s, %s: largest difference %.3g of numbers up to %.3g; NMSE %.3g\n", names[d],
                   decode ? "picture" : "moments", worst, largest, fdit_compare(got, wanted, n).nmse);
            ck_assert_double_lt(worst, 1e-4 * largest);
        }
        fdit_vae_free(v);
        v = NULL;
        fdit_device_close(dev);
        ck_assert_ok(ctx, fdit_vae_open(ctx, folder, &v));
    }
    fdit_vae_free(v);
    fdit_free(image);
    fdit_free(z);
    fdit_free(moments);
    fdit_free(decoded);
    fdit_free(got);
    fdit_safetensors_close(st);
}
END_TEST

/* One convolution of picture and weights so short that every sum of their products is exact in
 * float32, and they in bf16: all devices give the same numbers. */
struct form {
    int samples, height, width, n_in, n_out, stride;
    bool upsample;
};

static void convolve(const char *device, const struct form *f, const float *x, const float *w, float *y)
{
    fdit_device *dev = test_open_device(ctx, device, 2);
    fdit_buffer *from = NULL, *to = NULL;
    fdit_weight *weight = NULL;
    struct fdit_conv_args a = { .samples = f->samples,
                                .height = f->height,
                                .width = f->width,
                                .n_in = f->n_in,
                                .n_out = f->n_out,
                                .kernel_y = 3,
                                .kernel_x = 3,
                                .groups = 1,
                                .top = f->stride == 1 ? -1 : 0,
                                .left = f->stride == 1 ? -1 : 0,
                                .stride_y = f->stride,
                                .stride_x = f->stride,
                                .upsample = f->upsample };
    a.out_height = f->upsample ? 2 * f->height : f->height / f->stride;
    a.out_width = f->upsample ? 2 * f->width : f->width / f->stride;
    size_t pixels = (size_t)(f->samples * f->height * f->width), n_in = (size_t)f->n_in;
    int rows = a.out_height * a.out_width;
    size_t n = (size_t)(f->samples * rows * f->n_out);
    const struct fdit_op_shape shape = { .op = FDIT_OP_CONV,
                                         .samples = f->samples,
                                         .tokens = rows,
                                         .taps = 9,
                                         .n_in = f->n_in,
                                         .n_out = f->n_out };
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, pixels * n_in * sizeof *x, "x", &from));
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, n * sizeof *y, "y", &to));
    ck_assert_ok(
        ctx, fdit_weight_new(ctx, dev,
                             &(struct fdit_weight_desc){
                                 .n_out = f->n_out, .n_in = 9 * f->n_in, .storage = FDIT_F32, .conv = true },
                             w, &weight));
    ck_assert_ok(ctx, fdit_device_reserve(ctx, dev, fdit_device_workspace(dev, &shape, 1)));
    if (dev->ops == &fdit_cpu_ops) /* what is not written is not a number */
        memset(fdit_cpu_of(dev)->workspace, 0xff, fdit_cpu_of(dev)->workspace_bytes);
    a.x = fdit_tensor_of(from, FDIT_F32);
    a.y = fdit_tensor_of(to, FDIT_F32);
    a.weight = weight;
    fdit_write(dev, a.x, x, pixels * n_in);
    fdit_conv(dev, &a);
    ck_assert_ok(ctx, fdit_read(ctx, dev, a.y, y, n));
    fdit_weight_free(weight);
    fdit_buffer_free(from);
    fdit_buffer_free(to);
    fdit_device_close(dev);
}

START_TEST(convolutions)
{
    static const struct form forms[] = {
        { 1, 9, 7, 32, 40, 1, false },  { 2, 5, 33, 64, 33, 1, false }, { 1, 4, 1, 32, 8, 1, false },
        { 2, 6, 10, 96, 16, 2, false }, { 2, 3, 5, 32, 65, 1, true },   { 1, 6, 7, 20, 12, 1, false },
        { 2, 1, 40, 32, 32, 1, false },
    };
    enum { MOST_X = 2 * 5 * 33 * 64, MOST_W = 40 * 9 * 96, MOST_Y = 2 * 6 * 10 * 80 };
    static float x[MOST_X], w[MOST_W], wanted[2 * MOST_Y], got[2 * MOST_Y];
    const char *names[8];
    int n_devices = test_devices(names);
    struct test_rng rng = test_rng_new("convolutions");
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const struct form *f = &forms[i];
        int up = f->upsample ? 2 : 1;
        int out_h = f->height * up / f->stride, out_w = f->width * up / f->stride;
        size_t n_x = (size_t)(f->samples * f->height * f->width * f->n_in);
        size_t n_w = (size_t)(9 * f->n_in * f->n_out), n_y = (size_t)(f->samples * out_h * out_w * f->n_out);
        ck_assert(n_x <= MOST_X && n_w <= MOST_W && n_y <= 2 * MOST_Y);
        for (size_t k = 0; k < n_x || k < n_w; k++) {
            if (k < n_x)
                x[k] = (float)(int)(test_int(&rng, 255)) / 128 - 1;
            if (k < n_w)
                w[k] = (float)(int)(test_int(&rng, 127)) / 64 - 1;
        }
        convolve("ref", f, x, w, wanted);
        for (int d = 0; d < n_devices; d++) {
            if (strstr(names[d], "int8"))
                continue; /* rounds weights by another rule */
            convolve(names[d], f, x, w, got);
            for (size_t k = 0; k < n_y; k++)
                ck_assert_msg(got[k] == wanted[k], "%s, form %zu: y[%zu] is %g, not %g", names[d], i, k,
                              (double)got[k], (double)wanted[k]);
        }
    }
}
END_TEST

/* A decoder that is linear is found again, whatever stands in some cells; the newest picture counts most. */
START_TEST(projection)
{
    enum {
        L = 4,
        C = 3,
        HIGH = 5,
        WIDE = 7,
        FACTOR = 3,
        CELLS = HIGH * WIDE,
        PIXELS = CELLS * FACTOR * FACTOR
    };
    static float x[L * CELLS], picture[C * PIXELS], seen[C * PIXELS];
    struct test_rng rng = test_rng_new("projection");
    struct fdit_projection *p;
    const struct fdit_projection_size size = { L, C, HIGH, WIDE, FACTOR };
    ck_assert_ok(ctx, fdit_projection_new(ctx, &size, &p));
    ck_assert(!fdit_projection_ready(p));
    fdit_projection_make(p, x, seen);
    for (size_t i = 0; i < C * PIXELS; i++)
        ck_assert_float_eq(seen[i], 0);
    for (int round = 0; round < 40; round++) {
        const float gain = round < 3 ? -1 : 1; /* another decoder at first */
        for (size_t i = 0; i < L * CELLS; i++)
            x[i] = (float)test_int(&rng, 2000) / 1000 - 1;
        for (size_t c = 0; c < C; c++)
            for (size_t i = 0; i < PIXELS; i++) {
                const size_t y = i / (WIDE * FACTOR) / FACTOR, column = i % (WIDE * FACTOR) / FACTOR;
                float sum = 0.125f * (float)c;
                for (size_t l = 0; l < L; l++)
                    sum += gain * x[l * CELLS + y * WIDE + column] * (float)((l * 3 + c) % 5) / 8;
                picture[c * PIXELS + i] = sum;
            }
        if (round == 2)
            x[11] = NAN;
        if (round == 39)
            break;
        fdit_projection_learn(p, x, picture);
        ck_assert(fdit_projection_ready(p));
    }
    fdit_projection_make(p, x, seen);
    for (size_t c = 0; c < C; c++)
        for (size_t y = 0; y < HIGH; y++)
            for (size_t k = 0; k < WIDE; k++) { /* in the centre of a cell */
                const size_t at = c * PIXELS + (y * FACTOR + 1) * WIDE * FACTOR + k * FACTOR + 1;
                ck_assert_msg(fabsf(seen[at] - picture[at]) < 1e-4f, "%zu: %g, not %g", at, (double)seen[at],
                              (double)picture[at]);
            }
    fdit_projection_free(p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vae");
    TCase *tcase = tcase_create("vae");
    tcase_add_checked_fixture(tcase, setup, teardown);
    const TTest *tests[] = { trace, against_diffusers, bands,     memory, interrupted, configs, files, noise,
                             peer,  convolutions,      projection };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
