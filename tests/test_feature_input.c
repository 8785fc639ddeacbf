/* SPDX-License-Identifier: Apache-2.0
 * test_feature_input.c: how a picture becomes the input of a feature network, against numbers of the packages
 * that publish such features (tests/fixtures/eval), and rows whose result is known. */
#include "harness.h"

#include "core/mem.h"
#include "eval/input.h"
#include "format/safetensors.h"
#include "picture/resize.h"
#include "picture/resize_float.h"
#include "picture/taps.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static float *floats(const char *name, const struct fdit_st_tensor **t)
{
    float *out;
    *t = fdit_safetensors_find(wanted, name);
    ck_assert_msg(*t != NULL, "no tensor %s", name);
    ck_assert_ok(ctx, fdit_alloc(ctx, (*t)->n, sizeof *out, &out));
    ck_assert_ok(ctx, fdit_safetensors_f32(ctx, wanted, *t, 0, (*t)->n, out));
    return out;
}

/* The rows and columns of `wanted` that NAME.input has: those of "resize_rows", or every 31st. */
static size_t kept_rows(int size, int64_t rows[32])
{
    size_t n = 0;
    if (size == 299) {
        const struct fdit_st_tensor *t = fdit_safetensors_find(wanted, "resize_rows");
        ck_assert(t != NULL && t->n <= 32);
        ck_assert_ok(ctx, fdit_safetensors_i64(ctx, wanted, t, 0, t->n, rows));
        return t->n;
    }
    for (int i = 0; i < size; i += 31)
        rows[n++] = i;
    return n;
}

static void check_input(const char *picture, const char *flavour, const struct fdit_net_input *input,
                        int size)
{
    struct fdit_picture p;
    const struct fdit_st_tensor *t;
    int64_t rows[32];
    char name[96];
    float *got;
    char *path = test_fixture("eval/%s.png", picture);
    ck_assert_ok(ctx, fdit_picture_read(ctx, path, &p));
    free(path);
    size_t side = (size_t)size, n = kept_rows(size, rows);
    ck_assert_ok(ctx, fdit_alloc(ctx, 3 * side, side * sizeof *got, &got));
    ck_assert_ok(ctx, fdit_input_fill(ctx, input, &p, size, got));
    snprintf(name, sizeof name, "%s.%s.input", picture, flavour);
    float *want = floats(name, &t);
    ck_assert_uint_eq(t->n, 3 * n * n);
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                float a = got[(c * side + (size_t)rows[i]) * side + (size_t)rows[j]];
                float b = want[(c * n + i) * n + j];
                ck_assert_msg(fabsf(a - b) <= 2e-6f + 2e-6f * fabsf(b), "%s [%zu, %d, %d]: %.9g, not %.9g",
                              name, c, (int)rows[i], (int)rows[j], (double)a, (double)b);
            }
    fdit_free(want);
    fdit_free(got);
    fdit_picture_fini(&p);
}

START_TEST(inputs_are_those_of_the_packages)
{
    for (int k = 0; k < PICTURES; k++) {
        check_input(pictures[k], "pytorch-fid", &fdit_input_pytorch_fid, 299);
        check_input(pictures[k], "torch-fidelity", &fdit_input_torch_fidelity, 299);
        check_input(pictures[k], "clean-fid", &fdit_input_clean_fid, 299);
        check_input(pictures[k], "dino_dgm-eval", &fdit_input_dino, 224);
        check_input(pictures[k], "dino_clean", &fdit_input_dino_clean, 224);
    }
}
END_TEST

/* A row of grey pixels resized along x. */
static void check_row(enum fdit_float_filter filter, int n, const uint8_t *row, int m, const float *want)
{
    struct fdit_picture p;
    float got[16];
    ck_assert_ok(ctx, fdit_picture_new(ctx, n, 1, 1, &p));
    memcpy(p.pixels, row, (size_t)n);
    ck_assert_ok(ctx, fdit_picture_resize_float(ctx, &p, filter, 1, m, 1, got));
    for (int i = 0; i < m; i++)
        ck_assert_msg(fabsf(got[i] - want[i]) < 2e-4f, "filter %d, %d of %d: %g, not %g", (int)filter, i, m,
                      (double)got[i], (double)want[i]);
    /* and the same along y */
    p.width = 1;
    p.height = n;
    ck_assert_ok(ctx, fdit_picture_resize_float(ctx, &p, filter, 1, 1, m, got));
    for (int i = 0; i < m; i++)
        ck_assert(fabsf(got[i] - want[i]) < 2e-4f);
    fdit_picture_fini(&p);
}

START_TEST(rows_that_are_known)
{
    const uint8_t step[] = { 0, 10 }, spike[] = { 100, 0, 0, 0, 0 }, pair[] = { 100, 0 };
    check_row(FDIT_FLOAT_TORCH, 2, step, 5, (const float[]){ 0, 1, 5, 9, 10 });
    check_row(FDIT_FLOAT_TF1, 2, step, 5, (const float[]){ 0, 4, 8, 10, 10 });
    /* sums below 0 are cut, those of bright spots above 100 are not: they are below 255 */
    check_row(FDIT_FLOAT_PILLOW, 5, spike, 3, (const float[]){ 58.461538f, 0, 0 });
    check_row(FDIT_FLOAT_PILLOW, 2, pair, 3, (const float[]){ 106.578947f, 50, 0 });
    struct fdit_taps t;
    ck_assert_ok(ctx, fdit_taps_antialias(ctx, 5, 3, &t));
    const double weights[] = { .584615, .446154, 0, -.030769 };
    ck_assert_int_eq(t.count[0], 4);
    for (int k = 0; k < 4; k++)
        ck_assert(fabs(t.weight[k] - weights[k]) < 1e-6 && t.index[k] == k);
    fdit_taps_fini(&t);
}
END_TEST

/* DINOv2's table of 37 places at 16, with the step that its code has. */
START_TEST(cubic_taps_that_are_known)
{
    struct fdit_taps t;
    ck_assert_ok(ctx, fdit_taps_cubic(ctx, 37, 16, 37 / 16.1, &t));
    const double weights[] = { -.059951, .393905, .776929, -.110883 };
    const int index[] = { 0, 0, 1, 2 };
    for (int k = 0; k < 4; k++)
        ck_assert_msg(fabs(t.weight[k] - weights[k]) < 1e-6 && t.index[k] == index[k], "%d: %g of %d", k,
                      t.weight[k], t.index[k]);
    fdit_taps_fini(&t);
    ck_assert_ok(ctx, fdit_taps_antialias(ctx, 37, 16, &t));
    const double wide[] = { .387186, .441451, .209256, -.003056, -.031817, -.00302 };
    for (int k = 0; k < 6; k++)
        ck_assert(fabs(t.weight[k] - wide[k]) < 1e-6 && t.index[k] == k);
    fdit_taps_fini(&t);
}
END_TEST

/* A picture of the right size goes through unchanged, whichever filter. */
START_TEST(right_sizes_are_left_alone)
{
    struct fdit_picture p;
    char *path = test_fixture("eval/pic_64x64.png");
    ck_assert_ok(ctx, fdit_picture_read(ctx, path, &p));
    free(path);
    size_t plane = 64 * 64;
    float *got;
    ck_assert_ok(ctx, fdit_alloc(ctx, 3 * plane, sizeof *got, &got));
    for (int filter = FDIT_FLOAT_TORCH; filter <= FDIT_FLOAT_PILLOW; filter++) {
        ck_assert_ok(ctx, fdit_picture_resize_float(ctx, &p, (enum fdit_float_filter)filter, 1, 64, 64, got));
        for (size_t i = 0; i < plane; i++)
            for (size_t c = 0; c < 3; c++)
                ck_assert(got[c * plane + i] == p.pixels[3 * i + c]);
    }
    fdit_free(got);
    fdit_picture_fini(&p);
}
END_TEST

/* CLIP: the middle square in Pillow's bytes, then its mean and deviation. */
START_TEST(clip_takes_the_middle)
{
    enum { SIZE = 30 };
    struct fdit_picture p, square, sized;
    float got[3 * SIZE * SIZE];
    char *path = test_fixture("eval/pic_299x120.png");
    ck_assert_ok(ctx, fdit_picture_read(ctx, path, &p));
    free(path);
    ck_assert_ok(ctx, fdit_picture_new(ctx, 120, 120, 3, &square));
    for (size_t y = 0; y < 120; y++)
        memcpy(square.pixels + 3 * 120 * y, p.pixels + 3 * (299 * y + 89), 3 * 120);
    ck_assert_ok(ctx, fdit_picture_resize(ctx, &square, FDIT_FILTER_BICUBIC, SIZE, SIZE, &sized));
    ck_assert_ok(ctx, fdit_input_fill(ctx, &fdit_input_clip, &p, SIZE, got));
    const double mean[] = { 0.48145466, 0.4578275, 0.40821073 };
    const double deviation[] = { 0.26862954, 0.26130258, 0.27577711 };
    for (size_t i = 0; i < SIZE * SIZE; i++)
        for (size_t c = 0; c < 3; c++)
            ck_assert(fabs(got[c * SIZE * SIZE + i] -
                           (sized.pixels[3 * i + c] / 255.0 - mean[c]) / deviation[c]) < 1e-6);
    fdit_picture_fini(&p);
    fdit_picture_fini(&square);
    fdit_picture_fini(&sized);
}
END_TEST

/* DINOv2's own: a shorter side of 8/7, the middle of it; of 51 columns too many torchvision leaves out 26 on
 * the left, since 25.5 is as near to the even 26, and transformers 25. */
START_TEST(dino_takes_the_middle)
{
    enum { SIZE = 28, WIDE = 79, HIGH = 32 };
    const struct fdit_net_input *const inputs[] = { &fdit_input_dino_crop, &fdit_input_dino_hf };
    const size_t left[] = { 26, 25 };
    const double mean[] = { 0.485, 0.456, 0.406 }, deviation[] = { 0.229, 0.224, 0.225 };
    struct fdit_picture p, sized;
    float got[3 * SIZE * SIZE];
    char *path = test_fixture("eval/pic_299x120.png");
    ck_assert_ok(ctx, fdit_picture_read(ctx, path, &p));
    free(path);
    ck_assert_ok(ctx, fdit_picture_resize(ctx, &p, FDIT_FILTER_BICUBIC, WIDE, HIGH, &sized));
    for (int k = 0; k < 2; k++) {
        ck_assert_ok(ctx, fdit_input_fill(ctx, inputs[k], &p, SIZE, got));
        for (size_t i = 0; i < SIZE * SIZE; i++)
            for (size_t c = 0; c < 3; c++) {
                size_t at = (i / SIZE + (HIGH - SIZE) / 2) * WIDE + i % SIZE + left[k];
                double want = (sized.pixels[3 * at + c] / 255.0 - mean[c]) / deviation[c];
                ck_assert_msg(fabs(got[c * SIZE * SIZE + i] - want) < 1e-6, "%d: [%zu, %zu]", k, c, i);
            }
    }
    fdit_picture_fini(&p);
    fdit_picture_fini(&sized);
}
END_TEST

/* Of a grey picture and the same in three equal channels the networks see the same. */
START_TEST(grey_is_three_equal_channels)
{
    static const struct fdit_net_input *const inputs[] = {
        &fdit_input_pytorch_fid, &fdit_input_torch_fidelity, &fdit_input_clean_fid,
        &fdit_input_dino,        &fdit_input_dino_crop,      &fdit_input_clip
    };
    enum { WIDE = 9, HIGH = 7, SIZE = 5 };
    struct fdit_picture grey, same;
    float got[3 * SIZE * SIZE], other[3 * SIZE * SIZE];
    ck_assert_ok(ctx, fdit_picture_new(ctx, WIDE, HIGH, 1, &grey));
    ck_assert_ok(ctx, fdit_picture_new(ctx, WIDE, HIGH, 3, &same));
    for (size_t i = 0; i < WIDE * HIGH; i++)
        for (size_t c = 0; c < 3; c++)
            grey.pixels[i] = same.pixels[3 * i + c] = (uint8_t)(37 * i % 251);
    for (size_t k = 0; k < sizeof inputs / sizeof *inputs; k++) {
        ck_assert_ok(ctx, fdit_input_fill(ctx, inputs[k], &grey, SIZE, got));
        ck_assert_ok(ctx, fdit_input_fill(ctx, inputs[k], &same, SIZE, other));
        ck_assert_msg(!memcmp(got, other, sizeof got), "input %zu", k);
    }
    fdit_picture_fini(&grey);
    fdit_picture_fini(&same);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("feature input");
    TCase *tc = tcase_create("input");
    tcase_set_timeout(tc, 300);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, inputs_are_those_of_the_packages);
    tcase_add_test(tc, rows_that_are_known);
    tcase_add_test(tc, cubic_taps_that_are_known);
    tcase_add_test(tc, right_sizes_are_left_alone);
    tcase_add_test(tc, clip_takes_the_middle);
    tcase_add_test(tc, dino_takes_the_middle);
    tcase_add_test(tc, grey_is_three_equal_channels);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
