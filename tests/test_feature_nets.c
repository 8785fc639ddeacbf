/* SPDX-License-Identifier: Apache-2.0
 * test_feature_nets.c: networks that pictures are measured with, of the published structure with a sixteenth
 * of its channels, against numbers of the packages (tests/fixtures/eval), on all devices; the names of each
 * kind of file; files that are something else or lack something. */
#include "core/mem.h"
#include "eval/extractor.h"
#include "eval/inception.h"
#include "eval/lpips.h"
#include "format/pt.h"
#include "format/safetensors.h"
#include "format/weights.h"
#include "model_fixture.h"
#include "picture/picture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static fdit_context *ctx;
static struct fdit_safetensors *wanted;
static const char *const pictures[] = { "pic_64x64", "pic_320x310", "pic_299x120", "pic_37x53" };
enum { PICTURES = sizeof pictures / sizeof *pictures };

static void set_up(void)
{
    ctx = fdit_context_new();
    char *path = test_fixture("eval/expected.safetensors");
    ck_assert_ok(ctx, fdit_safetensors_open(ctx, path, &wanted));
    free(path);
}

static void tear_down(void)
{
    fdit_safetensors_close(wanted);
    fdit_context_free(ctx);
}

/* ------------------------------------------------------------------ Inception */

/* How far numbers may be off: `absolute` plus `relative` of each, in f32; in bf16 a share of the largest. */
struct allowed {
    double absolute, relative, bf16;
};

static void check(const char *device, const char *name, const float *got, size_t n, struct allowed a)
{
    size_t n_wanted;
    float *want = test_floats(ctx, wanted, name, &n_wanted);
    const bool rounded = strchr(device, '+') != NULL;
    const double largest = test_largest(want, n_wanted);
    ck_assert_uint_eq(n, n_wanted);
    for (size_t i = 0; i < n; i++) {
        const double off = fabs((double)got[i] - (double)want[i]);
        const double may = rounded ? a.bf16 * largest : a.absolute + a.relative * fabs((double)want[i]);
        ck_assert_msg(off <= may, "%s, %s: number %zu is %g, not %g", device, name, i, (double)got[i],
                      (double)want[i]);
    }
    fdit_free(want);
}

static float *input_of(const char *picture, const struct fdit_net_input *input, int size)
{
    struct fdit_picture p;
    float *x;
    char *path = test_fixture("eval/%s.png", picture);
    ck_assert_ok(ctx, fdit_picture_read(ctx, path, &p));
    ck_assert_ok(ctx, fdit_alloc(ctx, 3 * (size_t)size, (size_t)size * sizeof *x, &x));
    ck_assert_ok(ctx, fdit_input_fill(ctx, input, &p, size, x));
    fdit_picture_fini(&p);
    free(path);
    return x;
}

/* Features, logits without bias and, as torch-fidelity resizes, places. */
static void check_flavour(const char *device, struct fdit_inception *net, const char *flavour,
                          const struct fdit_net_input *input)
{
    float features[128], logits[1008], spatial[2023];
    char name[96];
    for (int i = 0; i < PICTURES; i++) {
        float *x = input_of(pictures[i], input, FDIT_INCEPTION_SIZE);
        ck_assert_ok(ctx, fdit_inception_run(ctx, net, x, 1, features, logits, spatial));
        snprintf(name, sizeof name, "%s.%s.2048", pictures[i], flavour);
        check(device, name, features, 128, (struct allowed){ 2e-5, 4e-6, 0.05 });
        snprintf(name, sizeof name, "%s.%s.logits_unbiased", pictures[i], flavour);
        check(device, name, logits, 1008, (struct allowed){ 2e-5, 4e-6, 0.05 });
        snprintf(name, sizeof name, "%s.%s.spatial", pictures[i], flavour);
        if (input == &fdit_input_torch_fidelity)
            check(device, name, spatial, 2023, (struct allowed){ 5e-5, 9e-6, 0.05 });
        fdit_free(x);
    }
}

START_TEST(inception)
{
    const char *names[8];
    const int n = test_all_devices(ctx, names);
    char *path = test_fixture("eval/inception_small.pth");
    struct fdit_inception *net;
    for (int d = 0; d < n; d++) {
        if (strstr(names[d], "int8")) /* its error is not stated */
            continue;
        fdit_device *dev = test_open_device(ctx, names[d], 0);
        ck_assert_ok(ctx, fdit_inception_open(ctx, dev, path, 4, &net));
        ck_assert_uint_eq(fdit_inception_width(net), 128);
        ck_assert_uint_eq(fdit_inception_classes(net), 1008);
        ck_assert_uint_eq(fdit_inception_spatial(net), 2023);
        check_flavour(names[d], net, "torch-fidelity", &fdit_input_torch_fidelity);
        if (strcmp(names[d], "ref") != 0) {
            check_flavour(names[d], net, "pytorch-fid", &fdit_input_pytorch_fid);
            check_flavour(names[d], net, "clean-fid", &fdit_input_clean_fid);
        }
        fdit_inception_close(net);
        fdit_device_close(dev);
    }
    free(path);
}
END_TEST

/* ------------------------------------------------------------------ the other kind of file */

/* pytorch-fid's names, and those of the TorchScript file. */
static const char *const script_names[][2] = {
    { "Conv2d_1a_3x3", "layers.conv" },
    { "Conv2d_2a_3x3", "layers.conv_1" },
    { "Conv2d_2b_3x3", "layers.conv_2" },
    { "Conv2d_3b_1x1", "layers.conv_3" },
    { "Conv2d_4a_3x3", "layers.conv_4" },
    { "Mixed_5b", "layers.mixed" },
    { "Mixed_5c", "layers.mixed_1" },
    { "Mixed_5d", "layers.mixed_2" },
    { "Mixed_6a", "layers.mixed_3" },
    { "Mixed_6b", "layers.mixed_4" },
    { "Mixed_6c", "layers.mixed_5" },
    { "Mixed_6d", "layers.mixed_6" },
    { "Mixed_6e", "layers.mixed_7" },
    { "Mixed_7a", "layers.mixed_8" },
    { "Mixed_7b", "layers.mixed_9" },
    { "Mixed_7c", "layers.mixed_10" },
    { "5.branch1x1", "conv" },
    { "5.branch5x5_1", "tower.conv" },
    { "5.branch5x5_2", "tower.conv_1" },
    { "5.branch3x3dbl_1", "tower_1.conv" },
    { "5.branch3x3dbl_2", "tower_1.conv_1" },
    { "5.branch3x3dbl_3", "tower_1.conv_2" },
    { "5.branch_pool", "tower_2.conv" },
    { "6.branch3x3", "conv" },
    { "6.branch3x3dbl_1", "tower.conv" },
    { "6.branch3x3dbl_2", "tower.conv_1" },
    { "6.branch3x3dbl_3", "tower.conv_2" },
    { "6.branch1x1", "conv" },
    { "6.branch7x7_1", "tower.conv" },
    { "6.branch7x7_2", "tower.conv_1" },
    { "6.branch7x7_3", "tower.conv_2" },
    { "6.branch7x7dbl_1", "tower_1.conv" },
    { "6.branch7x7dbl_2", "tower_1.conv_1" },
    { "6.branch7x7dbl_3", "tower_1.conv_2" },
    { "6.branch7x7dbl_4", "tower_1.conv_3" },
    { "6.branch7x7dbl_5", "tower_1.conv_4" },
    { "6.branch_pool", "tower_2.conv" },
    { "7a.branch3x3_1", "tower.conv" },
    { "7a.branch3x3_2", "tower.conv_1" },
    { "7a.branch7x7x3_1", "tower_1.conv" },
    { "7a.branch7x7x3_2", "tower_1.conv_1" },
    { "7a.branch7x7x3_3", "tower_1.conv_2" },
    { "7a.branch7x7x3_4", "tower_1.conv_3" },
    { "7.branch1x1", "conv" },
    { "7.branch3x3_1", "tower_conv" },
    { "7.branch3x3_2a", "tower_mixed_conv" },
    { "7.branch3x3_2b", "tower_mixed_conv_1" },
    { "7.branch3x3dbl_1", "tower_1_conv" },
    { "7.branch3x3dbl_2", "tower_1_conv_1" },
    { "7.branch3x3dbl_3a", "tower_1_mixed_conv" },
    { "7.branch3x3dbl_3b", "tower_1_mixed_conv_1" },
    { "7.branch_pool", "tower_2_conv" },
};

static const char *script_of(const char *name)
{
    for (size_t i = 0; i < sizeof script_names / sizeof *script_names; i++)
        if (!strcmp(script_names[i][0], name))
            return script_names[i][1];
    ck_abort_msg("no name for %s", name);
    return NULL;
}

/* Mixed_5b.branch1x1 -> layers.mixed.conv */
static void script_name(const char *name, char *out, size_t size)
{
    char block[64], branch[64], key[160];
    if (sscanf(name, "%63[^.].%63s", block, branch) < 2) {
        snprintf(out, size, "%s", script_of(name));
        return;
    }
    if (!strcmp(block, "Mixed_7a"))
        snprintf(key, sizeof key, "7a.%s", branch);
    else
        snprintf(key, sizeof key, "%c.%s", block[6], branch);
    snprintf(out, size, "%s.%s", script_of(block), script_of(key));
}

/* A copy of the small file: with the other names, or without one tensor. */
struct copy {
    struct fdit_weights *from;
    bool script;
    size_t index[800];
    size_t n;
};

static bool ends_with(const char *name, const char *end)
{
    const size_t n = strlen(name), k = strlen(end);
    return n >= k && !strcmp(name + n - k, end);
}

/* The name of a tensor in the copy; false: it has no place there. */
static bool new_name(const struct copy *c, const char *name, char *out, size_t size)
{
    static const char *const parts[][2] = { { ".conv.weight", ".weight" },
                                            { ".bn.bias", ".beta" },
                                            { ".bn.running_mean", ".mean" },
                                            { ".bn.running_var", ".var" } };
    char layer[128], own[128];
    if (!c->script) {
        snprintf(out, size, "%s", name);
        return true;
    }
    if (!strncmp(name, "fc.", 3)) {
        snprintf(out, size, "output%s", name + 2);
        return true;
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (ends_with(name, parts[i][0])) {
            snprintf(layer, sizeof layer, "%.*s", (int)(strlen(name) - strlen(parts[i][0])), name);
            script_name(layer, own, sizeof own);
            snprintf(out, size, "%s%s", own, parts[i][1]);
            return true;
        }
    return false; /* the scale of a batch norm: it is 1 there */
}

/* With the scale of its batch norm taken into weights and means. */
static enum fdit_status fill(fdit_context *context, void *user, size_t i, float *out)
{
    const struct copy *c = user;
    const struct fdit_st_tensor *t = fdit_weights_at(c->from, c->index[i]), *scale;
    char name[160];
    const char *end = ends_with(t->name, ".conv.weight") ? ".conv.weight" : ".bn.running_mean";
    float factor[512];
    ck_assert_ok(context, fdit_st_weights(context, "small", t, 0, t->n, out));
    if (!c->script || !ends_with(t->name, end))
        return FDIT_OK;
    snprintf(name, sizeof name, "%.*s.bn.weight", (int)(strlen(t->name) - strlen(end)), t->name);
    scale = fdit_weights_find(c->from, name);
    ck_assert(scale != NULL && scale->n <= 512);
    ck_assert_ok(context, fdit_st_weights(context, "small", scale, 0, scale->n, factor));
    for (size_t k = 0; k < t->n; k++)
        out[k] *= factor[k / (t->n / scale->n)];
    return FDIT_OK;
}

/* Writes a copy; `without`: a tensor that it lacks, or NULL. */
static void write_copy(const char *path, bool script, const char *without)
{
    struct copy c = { .script = script };
    struct fdit_pt_writer *w;
    char *small = test_fixture("eval/inception_small.pth"), name[160];
    ck_assert_ok(ctx, fdit_weights_open(ctx, small, NULL, &c.from));
    ck_assert_ok(ctx, fdit_pt_writer_new(ctx, &w));
    for (size_t i = 0; i < fdit_weights_count(c.from); i++) {
        const struct fdit_st_tensor *t = fdit_weights_at(c.from, i);
        if (ends_with(t->name, "num_batches_tracked") || !new_name(&c, t->name, name, sizeof name) ||
            (without && !strcmp(without, name)))
            continue;
        ck_assert_uint_lt(c.n, sizeof c.index / sizeof *c.index);
        c.index[c.n++] = i;
        ck_assert_ok(ctx, fdit_pt_writer_add(ctx, w, name, FDIT_ST_F32, t->rank, t->shape));
    }
    ck_assert_ok(ctx, fdit_pt_writer_save(ctx, w, path, fill, &c, NULL));
    fdit_pt_writer_free(w);
    fdit_weights_close(c.from);
    free(small);
}

START_TEST(inception_files)
{
    fdit_device *dev = test_open_device(ctx, "cpu", 1);
    struct fdit_inception *net;
    char path[64], *judge = test_fixture("dit.safetensors");
    float features[128];
    snprintf(path, sizeof path, "feature_nets.%d.pt", (int)getpid());
    write_copy(path, true, NULL);
    ck_assert_ok(ctx, fdit_inception_open(ctx, dev, path, 4, &net));
    float *x = input_of("pic_64x64", &fdit_input_clean_fid, FDIT_INCEPTION_SIZE);
    ck_assert_ok(ctx, fdit_inception_run(ctx, net, x, 1, features, NULL, NULL));
    check("cpu", "pic_64x64.clean-fid.2048", features, 128, (struct allowed){ 4e-5, 8e-6, 0 });
    fdit_inception_close(net);
    fdit_free(x);
    write_copy(path, false, "Mixed_6c.branch7x7dbl_4.bn.running_var");
    ck_assert_int_eq(fdit_inception_open(ctx, dev, path, 4, &net), FDIT_ERROR_FORMAT);
    ck_assert_msg(strstr(fdit_context_message(ctx),
                         "the tensor Mixed_6c.branch7x7dbl_4.bn.running_var of FID's Inception is missing") !=
                      NULL,
                  "%s", fdit_context_message(ctx));
    write_copy(path, true, "layers.mixed_10.tower_1_mixed_conv_1.weight");
    ck_assert_int_eq(fdit_inception_open(ctx, dev, path, 4, &net), FDIT_ERROR_FORMAT);
    ck_assert_msg(strstr(fdit_context_message(ctx), "layers.mixed_10.tower_1_mixed_conv_1.weight") != NULL,
                  "%s", fdit_context_message(ctx));
    remove(path);
    ck_assert_int_eq(fdit_inception_open(ctx, dev, judge, 4, &net), FDIT_ERROR_FORMAT);
    ck_assert_msg(strstr(fdit_context_message(ctx), "not the Inception of FID") != NULL, "%s",
                  fdit_context_message(ctx));
    free(judge);
    fdit_device_close(dev);
}
END_TEST

/* A TorchScript program: the tensors of its modules under their paths; its code is not looked at. */
START_TEST(script)
{
    struct fdit_weights *w;
    char *path = test_fixture("eval/script.pt");
    float numbers[6];
    ck_assert_ok(ctx, fdit_weights_open(ctx, path, NULL, &w));
    ck_assert_uint_eq(fdit_weights_count(w), 4);
    const struct fdit_st_tensor *t = fdit_weights_find(w, "layers/conv/weight");
    ck_assert(t != NULL && t->n == 6 && t->rank == 4 && t->shape[1] == 3);
    ck_assert_ok(ctx, fdit_st_weights(ctx, path, t, 0, 6, numbers));
    ck_assert(numbers[5] == 2.5f);
    ck_assert_ok(ctx, fdit_st_weights(ctx, path, fdit_weights_find(w, "layers/conv/var"), 0, 2, numbers));
    ck_assert(numbers[1] == 6);
    fdit_weights_close(w);
    free(path);
}
END_TEST

START_TEST(names_of_metrics)
{
    char name[64];
    fdit_extractor_metric("inception-clean", "fd", name, sizeof name);
    ck_assert_str_eq(name, "fid:clean");
    fdit_extractor_metric("inception-tf", "is", name, sizeof name);
    ck_assert_str_eq(name, "is:tf");
    fdit_extractor_metric("spatial-torch", "fd", name, sizeof name);
    ck_assert_str_eq(name, "sfid:torch");
    fdit_extractor_metric("inception-torch", "kid", name, sizeof name);
    ck_assert_str_eq(name, "kid:inception-torch");
    fdit_extractor_metric("judge", "fd", name, sizeof name);
    ck_assert_str_eq(name, "fd:judge");
}
END_TEST

/* The rows of the table: sizes, and what --features says without a file. */
START_TEST(extractors)
{
    fdit_device *dev = test_open_device(ctx, "cpu", 1);
    struct fdit_extractor *e;
    char *path = test_fixture("eval/inception_small.pth"), what[4096];
    float features[2023], wide[2023];
    float *x = input_of("pic_37x53", &fdit_input_torch_fidelity, FDIT_INCEPTION_SIZE);
    snprintf(what, sizeof what, "spatial-tf:%s", path);
    ck_assert_ok(ctx, fdit_extractor_open(ctx, dev, what, 4, &e));
    ck_assert_str_eq(e->name, "spatial-tf");
    ck_assert(e->width == 2023 && e->classes == 0 && e->size == 299 &&
              e->input == &fdit_input_torch_fidelity);
    ck_assert_ok(ctx, fdit_extractor_run(ctx, e, x, 1, wide, NULL));
    check("cpu", "pic_37x53.torch-fidelity.spatial", wide, 2023, (struct allowed){ 5e-5, 9e-6, 0 });
    fdit_extractor_close(e);
    snprintf(what, sizeof what, "inception-tf:%s", path);
    ck_assert_ok(ctx, fdit_extractor_open(ctx, dev, what, 4, &e));
    ck_assert(e->width == 128 && e->classes == 1008);
    ck_assert_ok(ctx, fdit_extractor_run(ctx, e, x, 1, features, NULL));
    check("cpu", "pic_37x53.torch-fidelity.2048", features, 128, (struct allowed){ 2e-5, 4e-6, 0 });
    fdit_extractor_close(e);
    ck_assert_int_eq(fdit_extractor_open(ctx, dev, "inception-clean", 4, &e), FDIT_ERROR_ARGUMENT);
    ck_assert(strstr(fdit_context_message(ctx), "give its file, as inception-clean:FILE") != NULL);
    fdit_free(x);
    free(path);
    fdit_device_close(dev);
}
END_TEST

/* ------------------------------------------------------------------ LPIPS */

enum { CLASS_PICTURES = 4 };

/* Pictures of one class, -1..1. */
static float *class_pictures(int *size)
{
    float *x = NULL;
    for (int i = 0; i < CLASS_PICTURES; i++) {
        struct fdit_picture p;
        char *path = test_fixture("eval/class_pic%d.png", i);
        ck_assert_ok(ctx, fdit_picture_read(ctx, path, &p));
        free(path);
        const size_t plane = (size_t)p.width * (size_t)p.height;
        if (!x)
            ck_assert_ok(ctx, fdit_alloc(ctx, CLASS_PICTURES * 3, plane * sizeof *x, &x));
        for (size_t k = 0; k < 3 * plane; k++)
            x[(size_t)i * 3 * plane + k] = (float)p.pixels[k % plane * 3 + k / plane] / 127.5f - 1;
        *size = p.width;
        fdit_picture_fini(&p);
    }
    return x;
}

/* Distances of all pairs and the mean of those of two different pictures. `rounded`: what bf16 may be off. */
static void check_lpips(const char *device, struct fdit_lpips *net, const float *x, size_t picture)
{
    const size_t width = fdit_lpips_width(net);
    const bool rounded = strchr(device, '+') != NULL;
    float *features, got[CLASS_PICTURES * CLASS_PICTURES];
    char name[32];
    struct fdit_lpips_spread spread;
    double mean = 0;
    ck_assert_ok(ctx, fdit_alloc(ctx, CLASS_PICTURES, width * sizeof *features, &features));
    ck_assert_ok(ctx, fdit_lpips_spread_new(ctx, net, &spread));
    ck_assert(isnan(fdit_lpips_spread_mean(net, &spread)));
    for (size_t i = 0; i < CLASS_PICTURES; i++) {
        ck_assert_ok(ctx, fdit_lpips_run(ctx, net, x + i * picture, features + i * width));
        fdit_lpips_spread_add(net, &spread, features + i * width);
        for (size_t j = 0; j < i; j++) {
            const double d = fdit_lpips_distance(net, features + i * width, features + j * width);
            got[i * CLASS_PICTURES + j] = got[j * CLASS_PICTURES + i] = (float)d;
            mean += d / 6;
        }
        got[i * (CLASS_PICTURES + 1)] = 0;
    }
    ck_assert_double_eq_tol(fdit_lpips_spread_mean(net, &spread), mean, 1e-9);
    fdit_lpips_spread_clear(&spread);
    for (size_t i = 0; i < 2; i++) /* one picture twice */
        fdit_lpips_spread_add(net, &spread, features);
    ck_assert(fdit_lpips_spread_mean(net, &spread) == 0);
    snprintf(name, sizeof name, "lpips_%s", fdit_lpips_name(net));
    check(device, name, got, CLASS_PICTURES * CLASS_PICTURES,
          (struct allowed){ rounded ? 0 : 5e-8, 9e-6, 0.1 });
    fdit_lpips_spread_fini(&spread);
    fdit_free(features);
}

START_TEST(lpips)
{
    const char *names[8];
    const int n = test_all_devices(ctx, names);
    int size = 0;
    float *x = class_pictures(&size);
    for (int d = 0; d < n; d++)
        for (int vgg = 0; vgg < 2; vgg++) {
            struct fdit_lpips *net;
            char *path = test_fixture("eval/lpips_%s_backbone_small.pth", vgg ? "vgg" : "alex");
            char *heads = test_fixture("eval/lpips_%s_small.pth", vgg ? "vgg" : "alex");
            fdit_device *dev = test_open_device(ctx, names[d], 0);
            if (!strstr(names[d], "int8")) {
                ck_assert_ok(ctx, fdit_lpips_open(ctx, dev, path, heads, size, &net));
                ck_assert_str_eq(fdit_lpips_name(net), vgg ? "vgg" : "alex");
                check_lpips(names[d], net, x, 3 * (size_t)size * (size_t)size);
                fdit_lpips_close(net);
            }
            fdit_device_close(dev);
            free(path);
            free(heads);
        }
    fdit_free(x);
}
END_TEST

START_TEST(lpips_files)
{
    fdit_device *dev = test_open_device(ctx, "cpu", 1);
    struct fdit_lpips *net;
    char *backbone = test_fixture("eval/lpips_alex_backbone_small.pth"),
         *other = test_fixture("eval/lpips_vgg_small.pth"), *wrong = test_fixture("eval/inception_small.pth");
    ck_assert_int_eq(fdit_lpips_open(ctx, dev, backbone, NULL, 64, &net), FDIT_ERROR_FORMAT);
    ck_assert_msg(strstr(fdit_context_message(ctx), "weights/v0.1/alex.pth") != NULL, "%s",
                  fdit_context_message(ctx));
    ck_assert_int_eq(fdit_lpips_open(ctx, dev, backbone, other, 64, &net), FDIT_ERROR_FORMAT);
    ck_assert_msg(strstr(fdit_context_message(ctx), "lin1.model.1.weight") != NULL, "%s",
                  fdit_context_message(ctx));
    ck_assert_int_eq(fdit_lpips_open(ctx, dev, wrong, NULL, 64, &net), FDIT_ERROR_FORMAT);
    ck_assert_msg(strstr(fdit_context_message(ctx), "not a network of LPIPS") != NULL, "%s",
                  fdit_context_message(ctx));
    ck_assert_int_eq(fdit_lpips_open(ctx, dev, other, NULL, 64, &net), FDIT_ERROR_FORMAT);
    free(backbone);
    free(other);
    free(wrong);
    fdit_device_close(dev);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("feature nets");
    TCase *tcase = tcase_create("feature nets");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    const TTest *tests[] = { inception,  inception_files, script,     names_of_metrics,
                             extractors, lpips,           lpips_files };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
