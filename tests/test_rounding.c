/* SPDX-License-Identifier: Apache-2.0
 * test_rounding.c: how far the output of a network with products in 16 bits, or int8, may be from that in
 * f32: the bound of doc/DESIGN.md, "How far 16 bits are from 32", on models of several widths, depths and
 * patches with random weights, on fixtures whose heads were fitted, on a trained model, and, where
 * FDIT_FIXTURES names another set, on its model. */
#include "device/backend.h"
#include "core/mem.h"
#include "devices.h"
#include "model/init.h"
#include "model/model_internal.h"
#include "model_fixture.h"
#include "step_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PICTURES = 4, PEAK = 4 };
static const struct {
    const char *file; /* NULL: random weights, of this size */
    int width, depth, heads, patch, side;
} models[] = {
    { .file = "dit.safetensors" },
    { .file = "formats/dit.safetensors" },
    { .file = "methods/base.safetensors" },
    { .file = "../../data/base.safetensors" },
    { NULL, 48, 6, 2, 2, 8 },
    { NULL, 96, 3, 3, 4, 16 },
    { NULL, 240, 4, 4, 2, 8 },
};
static fdit_context *ctx;
static fdit_device *reference;
static const char *names[8];
static float drawn[128 * 256]; /* the head's weights, of the random model made last */

/* The mean square error of a product, over its mean square: two operands, each rounded by up to u of its
 * size (mantissas spread evenly in the logarithm: 3 / (8 ln 2) = 0.541), or to 127 steps up to a peak of PEAK
 * times the root mean square. */
static double of_a_product(enum fdit_dtype precision)
{
    const double u = precision == FDIT_F16 ? 0x1p-11 : 0x1p-8;
    return precision == FDIT_I8 ? (double)(PEAK * PEAK) / (127 * 127) / 6 : 2 * 0.541 * u * u / 3;
}

/* About normal; the same on every run, so that a bound holds or does not. */
static void fill(float *x, size_t n, float mean, float deviation, uint32_t *seed)
{
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (int k = 0; k < 12; k++) {
            *seed = *seed * 1664525u + 1013904223u;
            sum += (float)(*seed >> 8) / 16777216.0f - 0.5f;
        }
        x[i] = mean + deviation * sum;
    }
}

/* As those of the fixtures: nothing is zero, one or symmetric. */
static void random_weights(struct fdit_model *m)
{
    uint32_t seed = 1;
    ck_assert_ok(ctx, fdit_model_init(ctx, m, 3));
    for (int i = 0; i < m->params.n; i++) {
        struct fdit_param *p = &m->params.list[i];
        bool norm = strstr(p->name, "norm") != NULL, bias = strstr(p->name, ".bias") != NULL,
             ada = strstr(p->name, "adaLN") != NULL;
        float gain = norm && !bias ? 0.2f
                     : norm        ? 0.1f
                     : bias        ? 0.15f
                                   : 0.2f,
              *x = calloc(p->count, sizeof *x);
        if (p->kind == FDIT_PARAM_MATRIX && !strstr(p->name, "embedding_table"))
            gain = (ada ? 0.3f : strstr(p->name, "qkv") ? 1.4f : 1.0f) / sqrtf((float)p->n_in);
        if (bias && ada)
            gain = 0.4f;
        fill(x, p->count, norm && !bias ? 1.0f : 0.0f, gain, &seed);
        if (p == m->params.ends.linear.weight) {
            ck_assert_uint_le(p->count * sizeof *x, sizeof drawn);
            memcpy(drawn, x, p->count * sizeof *x);
        }
        if (!strstr(p->name, "pos_embed"))
            ck_assert_ok(ctx, fdit_model_set(ctx, m, p, x));
        free(x);
    }
}

static struct fdit_model *load(fdit_device *dev, size_t i)
{
    const struct fdit_model_options options = { .batch = PICTURES, .storage = FDIT_F32 };
    struct fdit_model_config config = { .input_size = models[i].side,
                                        .channels = 4,
                                        .patch = models[i].patch,
                                        .width = models[i].width,
                                        .depth = models[i].depth,
                                        .heads = models[i].heads,
                                        .mlp_ratio = 4,
                                        .table_rows = 10 };
    struct fdit_model *m = NULL;
    if (models[i].file)
        return test_load_model(ctx, dev, models[i].file, &options);
    ck_assert_ok(ctx, fdit_model_new(ctx, dev, &config, &options, &m));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
    random_weights(m);
    return m;
}

struct result {
    float *out, *rows; /* [pictures, outputs], [pictures tokens, D]: what comes to the head */
    float *head;       /* [outputs of a token, D] */
    size_t n, n_rows, width, n_head;
    int depth;
};

static void result_free(struct result *r)
{
    free(r->out);
    free(r->rows);
    free(r->head);
}

static void take_head(struct result *r, const struct fdit_model *m, size_t i)
{
    struct fdit_safetensors *st = models[i].file ? test_open(ctx, models[i].file) : NULL;
    float *w = st ? test_floats(ctx, st, "final_layer.linear.weight", NULL) : NULL;
    r->n_head = m->params.ends.linear.weight->count;
    r->head = malloc(r->n_head * sizeof *r->head);
    ck_assert_ptr_nonnull(r->head);
    memcpy(r->head, w ? w : drawn, r->n_head * sizeof *r->head);
    fdit_free(w);
    fdit_safetensors_close(st);
}

/* The network on a device. */
static struct result run(fdit_device *dev, size_t i)
{
    struct fdit_model *m = load(dev, i);
    const struct fdit_model_config *c = &m->config;
    size_t side = (size_t)c->input_size, picture = (size_t)c->channels * side * side;
    struct result r = { .n = PICTURES * (size_t)fdit_config_out_channels(c) * side * side,
                        .n_rows = PICTURES * (size_t)fdit_config_tokens(c),
                        .width = (size_t)c->width,
                        .depth = c->depth };
    float *x = calloc(picture, PICTURES * sizeof *x);
    const double t[PICTURES] = { 20, 330, 640, 950 };
    const int32_t rows[PICTURES] = { 0, 1, 2, 3 };
    uint32_t seed = 7;
    r.out = calloc(r.n, sizeof *r.out);
    r.rows = calloc(r.n_rows * r.width, sizeof *r.rows);
    ck_assert(x && r.out && r.rows);
    fill(x, PICTURES * picture, 0, 1, &seed);
    fdit_write(dev, m->input, x, PICTURES * picture);
    fdit_write(dev, m->index, rows, PICTURES);
    fdit_model_write_times(m, PICTURES, t);
    fdit_forward(m, PICTURES);
    ck_assert_ok(ctx, fdit_read(ctx, dev, m->output, r.out, r.n));
    ck_assert_ok(ctx, fdit_read(ctx, dev, m->u, r.rows, r.n_rows * r.width));
    const fdit_weight *ends[2] = { m->params.ends.patch.weight->weight,
                                   m->params.ends.linear.weight->weight };
    for (int k = 0; k < 2; k++)
        ck_assert_msg(!ends[k] || ends[k]->desc.exact, "the ends of the network may be in int8");
    take_head(&r, m, i);
    free(x);
    fdit_model_free(m);
    return r;
}

/* What the head makes of an error: *own, of its operands' rounding, each term for itself; *passed, of one
 * that is spread over all features alike. Both grow where its terms cancel. */
static void magnification(const struct result *r, double *own, double *passed)
{
    double terms = 0, results = 0, weights = 0, rows = 0;
    for (size_t i = 0; i < r->n_rows; i++)
        for (size_t o = 0; o < r->n_head / r->width; o++) {
            double sum = 0;
            for (size_t d = 0; d < r->width; d++) {
                double term = (double)r->head[o * r->width + d] * (double)r->rows[i * r->width + d];
                sum += term;
                terms += term * term;
            }
            results += sum * sum;
        }
    for (size_t i = 0; i < r->n_head; i++)
        weights += (double)r->head[i] * (double)r->head[i];
    for (size_t i = 0; i < r->n_rows * r->width; i++)
        rows += (double)r->rows[i] * (double)r->rows[i];
    *own = terms / results;
    *passed = weights * rows / (double)r->width / results;
}

/* `r` is of a block's products; the head's own are of 16 bits in int8 too. */
static void check(fdit_device *dev, const char *name, size_t i)
{
    struct result wanted = run(reference, i), got = run(dev, i);
    double own, passed, r = of_a_product(test_precision());
    double head = of_a_product(test_precision() == FDIT_F16 ? FDIT_F16 : FDIT_BF16);
    double before = (6 * wanted.depth + 1) * r;
    magnification(&wanted, &own, &passed);
    double bound = passed * before + own * head;
    double nmse = fdit_compare(got.out, wanted.out, got.n).nmse;
    double rows = fdit_compare(got.rows, wanted.rows, got.n_rows * got.width).nmse;
    printf(
        "%s, %s width %zu depth %d: head magnifies %.3g, its own %.3g; before it NMSE %.3g of at most %.3g, "
        "behind it %.3g of %.3g\n",
        name, models[i].file ? models[i].file : "random", wanted.width, wanted.depth, passed, own, rows,
        before, nmse, bound);
    ck_assert_msg(rows <= before, "%s, model %zu: before the head NMSE %.3g, at most %.3g", name, i, rows,
                  before);
    ck_assert_msg(nmse <= bound, "%s, model %zu: NMSE %.3g, at most %.3g", name, i, nmse, bound);
    /* small models have no products in int8 */
    ck_assert_msg(test_precision() == FDIT_I8 || nmse > bound / 300,
                  "%s, model %zu: NMSE %.3g of %.3g: are its products in f32?", name, i, nmse, bound);
    result_free(&wanted);
    result_free(&got);
}

START_TEST(bound)
{
    fdit_device *dev = test_open_device(ctx, names[_i], 0);
    const struct fdit_weight_desc large = { .n_out = 128, .n_in = 96 },
                                  end = { .n_out = 128, .n_in = 96, .exact = true };
    ck_assert(test_precision() != FDIT_I8 || fdit_weight_bytes(dev, &end) > fdit_weight_bytes(dev, &large));
    const char *own = getenv("FDIT_FIXTURES");
    for (size_t i = 0; i < (own && *own ? 1 : sizeof models / sizeof *models); i++)
        check(dev, names[_i], i);
    fdit_device_close(dev);
}
END_TEST

int main(void)
{
    const char *all[8];
    int n = 0;
    ctx = fdit_context_new();
    for (int i = 0, k = test_devices(all); i < k; i++)
        if (strchr(all[i], '+'))
            names[n++] = all[i];
    if (!n) {
        printf("no device with products in 16 bits or int8\n");
        fdit_context_free(ctx);
        return 77;
    }
    if (fdit_devices_open_one(ctx, &(struct fdit_device_options){ .spec = "ref" }, &reference) != FDIT_OK) {
        fprintf(stderr, "%s\n", fdit_context_message(ctx));
        return EXIT_FAILURE;
    }
    Suite *suite = suite_create("rounding");
    TCase *tc = tcase_create("bounds");
    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, bound, 0, n);
    suite_add_tcase(suite, tc);
    int result = test_run(suite);
    fdit_device_close(reference);
    fdit_context_free(ctx);
    return result;
}
