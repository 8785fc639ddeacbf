/* SPDX-License-Identifier: Apache-2.0
 * What sampling jobs draw: the same bits for any batch, order, shard and thread count; guides; other files of
 * weights; latents to pictures; the contact sheet. */
#include "core/mem.h"
#include "data_fixture.h"
#include "sample/contact_sheet.h"
#include "sample/painter.h"
#include "sample/pixels.h"
#include "sample/request.h"
#include "sample_fixture.h"
#include "vae/vae.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ the list */

START_TEST(test_request)
{
    struct fdit_taxonomy *tax = NULL;
    struct fdit_request r, shard;
    static const char counts[] = "three\t2\nfive\t0\na/b\t3\n";
    static const int32_t ids[] = { 2, 2, 0, 0, 0 }, ks[] = { 0, 1, 0, 1, 2 };
    ck_assert_ok(ctx, fdit_taxonomy_parse(ctx, taxonomy_tsv, strlen(taxonomy_tsv), "test", NULL, &tax));
    test_file(ctx, folder, "counts.txt", counts, strlen(counts));
    ck_assert_ok(ctx, fdit_request_init(ctx, tax, NULL, test_path(folder, "counts.txt"), 9, 100, 0, 1, &r));
    ck_assert_uint_eq(r.n, 5);
    size_t seen = 0;
    for (int s = 0; s < 3; s++) {
        ck_assert_ok(
            ctx, fdit_request_init(ctx, tax, NULL, test_path(folder, "counts.txt"), 9, 100, s, 3, &shard));
        for (size_t p = 0; p < shard.n; p++, seen++) {
            struct fdit_request_item item = fdit_request_at(&shard, p);
            ck_assert_uint_eq(item.index, p * 3 + (size_t)s);
            ck_assert_int_eq(item.id, ids[item.index]);
            ck_assert_int_eq(item.k, ks[item.index]);
            ck_assert_uint_eq(item.seed, 100 + (uint64_t)item.k);
            ck_assert_int_eq(shard.ids[item.place], item.id);
        }
        fdit_request_fini(&shard);
    }
    ck_assert_uint_eq(seen, r.n);
    fdit_request_fini(&r);
    ck_assert_ok(ctx, fdit_request_init(ctx, tax, "genus=y,two", NULL, 2, 0, 0, 1, &r));
    ck_assert_uint_eq(r.n, 6);
    ck_assert_int_eq(fdit_request_at(&r, 0).id, 2);
    ck_assert_int_eq(fdit_request_at(&r, 2).id, 3);
    ck_assert_int_eq(fdit_request_at(&r, 4).id, 1);
    fdit_request_fini(&r);
    test_file(ctx, folder, "none.txt", "two\t0\n", 6);
    ck_assert_int_eq(fdit_request_init(ctx, tax, NULL, test_path(folder, "none.txt"), 1, 0, 0, 1, &r),
                     FDIT_ERROR_ARGUMENT);
    test_file(ctx, folder, "many.txt", "two\t2147483647\nfive\t1\n", 22);
    ck_assert_int_eq(fdit_request_init(ctx, tax, NULL, test_path(folder, "many.txt"), 1, 0, 0, 1, &r),
                     FDIT_ERROR_ARGUMENT);
    fdit_taxonomy_free(tax);
}
END_TEST

/* ------------------------------------------------------------------ the same picture */

/* Latents of the job of 5 x 3 pictures in all ways of cutting it up. */
static void check_invariance(struct fdit_sample_options o, const char *what)
{
    struct latents whole, part;
    fdit_device *three = test_open_device(ctx, "cpu", 3), *one = dev;
    o.latents = keep(3, "whole.safetensors");
    o.batch = 15;
    must(&o);
    whole = read_latents(o.latents);
    for (size_t i = 0; i < whole.n; i++) /* in the order of the request */
        ck_assert_msg(whole.ids[i] == (int32_t)(i / 3) && whole.seeds[i] == (int32_t)(i % 3), "%s", what);
    ck_assert_msg(memcmp(whole.x, whole.x + 3 * whole.item, whole.item * sizeof *whole.x) != 0,
                  "%s: two classes give the same picture", what);
    o.latents = keep(4, "part.safetensors");
    for (int b = 1; b < 15; b += 3) {
        o.batch = b;
        dev = b == 4 || b == 7 ? three : one; /* other numbers of threads */
        must(&o);
        part = read_latents(o.latents);
        ck_assert_uint_eq(same_rows(&whole, &part, what), whole.n);
        free_latents(&part);
    }
    dev = one;
    o.batch = 2;
    o.classes = "#3,#1,#4,#0,#2"; /* another order */
    must(&o);
    part = read_latents(o.latents);
    ck_assert_int_eq(part.ids[0], 3);
    ck_assert_uint_eq(same_rows(&whole, &part, what), whole.n);
    free_latents(&part);
    o.classes = NULL;
    size_t rows = 0;
    for (int s = 0; s < 4; s++) {
        o.shard = s;
        o.shards = 4;
        o.batch = 0;
        must(&o);
        part = read_latents(o.latents);
        rows += same_rows(&whole, &part, what);
        free_latents(&part);
    }
    ck_assert_uint_eq(rows, whole.n);
    free_latents(&whole);
    fdit_device_close(three);
}

START_TEST(test_invariance)
{
    static const char *const guides[] = { "superclass", "random", "base", "superclass" };
    struct fdit_sample_options o = job(NULL);
    o.guide = guides[_i];
    if (_i == 1)
        o.sampler.kind = FDIT_SAMPLER_DPMPP;
    if (_i == 2)
        o.sampler = (struct fdit_sampler_spec){ .kind = FDIT_SAMPLER_DDIM, .eta = 0.5 };
    if (_i == 3)
        o.rng = FDIT_NOISE_TORCH_CPU;
    check_invariance(o, guides[_i]);
}
END_TEST

/* The fixtures' model has sizes that fill no vector; classes are numbers, the last row guides. */
START_TEST(test_invariance_fixture)
{
    char *path = test_fixture("dit.safetensors");
    struct fdit_sample_options o = job(NULL);
    o.base = path;
    o.delta = NULL;
    o.guide = "empty";
    o.classes = "#0,#1,#2,#3,#4";
    o.steps = 2;
    struct fdit_checkpoint *cp = NULL;
    ck_assert_ok(ctx, fdit_checkpoint_open(ctx, path, FDIT_VALUES_EMA, &cp));
    int64_t rows = fdit_checkpoint_dim(cp, "y_embedder.embedding_table.weight", 0);
    fdit_checkpoint_close(cp);
    if (rows > CLASSES) {
        struct latents whole, part;
        o.latents = keep(3, "whole.safetensors");
        o.batch = 15;
        must(&o);
        whole = read_latents(o.latents);
        o.latents = keep(4, "part.safetensors");
        for (int b = 1; b < 8; b += 3) {
            o.batch = b;
            must(&o);
            part = read_latents(o.latents);
            ck_assert_uint_eq(same_rows(&whole, &part, "dit.safetensors"), 15);
            free_latents(&part);
        }
        free_latents(&whole);
    }
    free(path);
}
END_TEST

/* ------------------------------------------------------------------ guides */

START_TEST(test_guides)
{
    struct fdit_sample_options o = job(NULL);
    struct fdit_sample_source s;
    struct fdit_picture_spec p;
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &s));
    ck_assert_str_eq(s.guide.text, "superclass:genus");
    p = fdit_sample_source_picture(&s, 3, 7);
    ck_assert_int_eq(p.row, 3);
    ck_assert_int_eq(p.guide_row, CLASSES + 1); /* y */
    ck_assert_uint_eq(p.seed, 7);
    fdit_sample_source_close(&s);
    o.guide = "superclass:family";
    ck_assert_int_eq(fdit_sample_source_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "trained guides: superclass:genus"));
    o.guide = "superclass:order";
    ck_assert_int_eq(fdit_sample_source_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    o.guide = "empty";
    ck_assert_int_eq(fdit_sample_source_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    o.guide = "nonsense";
    ck_assert_int_eq(fdit_sample_source_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
}
END_TEST

/* Another class, by class and seed alone, and all others in turn. */
START_TEST(test_guide_random)
{
    struct fdit_sample_options o = job(NULL);
    struct fdit_sample_source s;
    struct fdit_picture_spec p;
    o.guide = "random";
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &s));
    bool hit[CLASSES] = { false };
    for (uint64_t seed = 0; seed < 200; seed++) {
        p = fdit_sample_source_picture(&s, 2, seed);
        ck_assert(p.guide_row >= 0 && p.guide_row < CLASSES && p.guide_row != 2);
        ck_assert_int_eq(fdit_sample_source_picture(&s, 2, seed).guide_row, p.guide_row);
        hit[p.guide_row] = true;
    }
    ck_assert(hit[0] && hit[1] && hit[3] && hit[4]);
    fdit_sample_source_close(&s);
}
END_TEST

START_TEST(test_guide_files)
{
    struct fdit_sample_options o = job(NULL);
    struct fdit_sample_source s;
    o.guide = "base";
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &s));
    ck_assert_int_eq(s.guide.files.config.table_rows, 4);
    ck_assert_int_eq(fdit_sample_source_picture(&s, 2, 0).guide_row, 3);
    fdit_sample_source_close(&s);
    o.delta = NULL;
    ck_assert_int_eq(fdit_sample_source_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    char text[4200];
    snprintf(text, sizeof text, "delta:%s", test_path(folder, "older.safetensors"));
    o = job(NULL);
    o.guide = text;
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &s));
    ck_assert_int_eq(fdit_sample_source_picture(&s, 2, 0).guide_row, 2);
    fdit_sample_source_close(&s);
}
END_TEST

/* What another training prepared is the default. */
START_TEST(test_guide_defaults)
{
    struct fdit_sample_options o = job(NULL);
    struct fdit_sample_source s;
    o.delta = keep(3, "empty.safetensors");
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &s));
    ck_assert_str_eq(s.guide.text, "empty");
    ck_assert_int_eq(fdit_sample_source_picture(&s, 2, 0).guide_row, CLASSES + 5);
    fdit_sample_source_close(&s);
    o.guide = "superclass";
    ck_assert_int_eq(fdit_sample_source_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "trained guides: empty"));
    o.guide = NULL;
    o.delta = keep(3, "plain.safetensors");
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &s));
    ck_assert_str_eq(s.guide.text, "none");
    fdit_sample_source_close(&s);
}
END_TEST

/* A guide that is the model itself gives what the class alone gives: eps + w (eps - eps). And a
 * second model takes part at all: with another delta's weights the picture is another one. */
START_TEST(test_guide_models)
{
    struct fdit_sample_options o = job(NULL);
    struct latents alone, same, other;
    char text[4200];
    o.latents = keep(3, "alone.safetensors");
    o.guide = "none";
    must(&o);
    alone = read_latents(o.latents);
    o.latents = keep(4, "same.safetensors");
    snprintf(text, sizeof text, "delta:%s", test_path(folder, "delta.safetensors"));
    o.guide = text;
    must(&o);
    same = read_latents(o.latents);
    ck_assert_uint_eq(same_rows(&alone, &same, "the same delta as the guide"), 15);
    o.latents = keep(5, "other.safetensors");
    snprintf(text, sizeof text, "delta:%s", test_path(folder, "older.safetensors"));
    must(&o);
    other = read_latents(o.latents);
    ck_assert(memcmp(alone.x, other.x, alone.n * alone.item * sizeof *alone.x) != 0);
    free_latents(&alone);
    free_latents(&same);
    free_latents(&other);
}
END_TEST

START_TEST(test_files)
{
    struct fdit_sample_options o = job("out");
    o.base = keep(3, "other.safetensors");
    must_fail(&o, FDIT_ERROR_FORMAT, "made from another base");
    ck_assert(!is_there("out"));
    o.force = true;
    must(&o);
    o = job("out2");
    o.base = keep(3, "delta.safetensors");
    o.delta = NULL;
    must_fail(&o, FDIT_ERROR_ARGUMENT, "give it as --delta");
    o = job("out2");
    o.delta = keep(3, "base.safetensors");
    o.base = keep(4, "latent.safetensors");
    must_fail(&o, FDIT_ERROR_FORMAT, "channels");
    o = job(NULL);
    must_fail(&o, FDIT_ERROR_ARGUMENT, "--out DIR");
    o = job("out6");
    o.memory = 1000;
    must_fail(&o, FDIT_ERROR_DEVICE, "--batch");
    ck_assert(!is_there("out6"));
}
END_TEST

START_TEST(test_names)
{
    /* a model without names: numbers, once a guide is named */
    struct fdit_sample_options o = job("out3");
    o.delta = NULL;
    must_fail(&o, FDIT_ERROR_ARGUMENT, "--taxonomy");
    o.guide = "none";
    ck_assert_uint_eq(must(&o).classes, 4);
    ck_assert(is_there("out3/3/3-0.png"));
    o = job("out4");
    o.delta = NULL;
    o.taxonomy = keep(3, "tax.tsv");
    must_fail(&o, FDIT_ERROR_FORMAT, "4 rows");
    o = job("out4");
    o.taxonomy = keep(3, "tax.tsv");
    must(&o);
    o.ranks = "genus";
    must_fail(&o, FDIT_ERROR_ARGUMENT, "--ranks");
    test_file(ctx, folder, "other.tsv", "species\tgenus\tfamily\na\tb\tc\n", 27);
    o.ranks = NULL;
    o.taxonomy = keep(3, "other.tsv");
    must_fail(&o, FDIT_ERROR_FORMAT, "differ");
    o = job("out6");
    o.classes = "tow";
    must_fail(&o, FDIT_ERROR_ARGUMENT, "did you mean \"two\"?");
}
END_TEST

START_TEST(test_latents)
{
    struct fdit_sample_options o = job("out5");
    o.base = keep(3, "latent.safetensors");
    o.delta = NULL;
    o.guide = "none";
    must_fail(&o, FDIT_ERROR_ARGUMENT, "--latents");
    o.latents = keep(4, "l.safetensors");
    must(&o);
    ck_assert(is_there("out5/manifest.jsonl"));
    ck_assert(!is_there("out5/0"));
    o.grid = keep(5, "g.png");
    must_fail(&o, FDIT_ERROR_ARGUMENT, "--grid");
    o.grid = NULL;
    o.vae = "/nowhere/vae.safetensors";
    must_fail(&o, FDIT_ERROR_IO, "/nowhere/vae.safetensors");
    o.vae = NULL;
    o.vae_scale = 0.5;
    must_fail(&o, FDIT_ERROR_ARGUMENT, "--vae-scale");
    o = job("out5");
    char *vae = test_fixture("vae");
    o.vae = vae;
    must_fail(&o, FDIT_ERROR_ARGUMENT, "leave --vae out");
    free(vae);
}
END_TEST

/* ------------------------------------------------------------------ latents to pictures */

/* Picture k of class "c" in the folder is that decoded from row `row` of the latents. */
static void check_decoded(struct fdit_vae *v, const struct latents *l, size_t row, const char *out)
{
    enum { SIDE = 64 };
    float *decoded = calloc(3 * SIDE * SIDE, sizeof *decoded);
    uint8_t *pixels = calloc(3, SIDE * SIDE);
    struct fdit_picture p;
    char file[256];
    ck_assert_ok(ctx, fdit_vae_decode(ctx, v, l->x + row * l->item, decoded));
    fdit_pixels(decoded, 3, SIDE * SIDE, pixels);
    snprintf(file, sizeof file, "%s/%d/%d-%d.png", out, l->ids[row], l->ids[row], l->seeds[row]);
    ck_assert_ok(ctx, fdit_picture_read(ctx, test_path(folder, "%s", file), &p));
    ck_assert(p.width == SIDE && p.height == SIDE && p.channels == 3);
    ck_assert_int_eq(memcmp(p.pixels, pixels, 3 * SIDE * SIDE), 0);
    fdit_picture_fini(&p);
    free(decoded);
    free(pixels);
}

START_TEST(test_vae)
{
    char *path = test_fixture("vae");
    struct fdit_sample_options o = job("decoded");
    struct fdit_vae *v;
    o.base = keep(0, "latent.safetensors");
    o.delta = NULL;
    o.guide = "none";
    o.vae = path;
    o.latents = keep(3, "decoded.safetensors");
    o.grid = keep(4, "decoded.png");
    ck_assert_uint_eq(must(&o).computed, 12);
    struct latents l = read_latents(o.latents);
    ck_assert_ok(ctx, fdit_vae_open(ctx, path, &v));
    struct fdit_vae_options vo = { .height = 64, .decode = true };
    ck_assert_ok(ctx, fdit_vae_plan(ctx, v, dev, &vo));
    ck_assert_ok(ctx, fdit_vae_allocate(ctx, v));
    for (size_t row = 0; row < l.n; row++)
        check_decoded(v, &l, row, "decoded");
    ck_assert(is_there("decoded.png"));
    /* what is there stays, another scale is another job */
    o.latents = o.grid = NULL;
    ck_assert_uint_eq(must(&o).kept, 12);
    o.vae_scale = 0.5;
    must_fail(&o, FDIT_ERROR_FORMAT, "another autoencoder");
    o.out = keep(2, "scaled");
    must(&o);
    fdit_vae_set_scale(v, 0.5);
    check_decoded(v, &l, 5, "scaled");
    o.vae = NULL;
    o.vae_scale = 0;
    o.latents = keep(3, "l.safetensors"); /* without a decoder it is another job, too */
    must_fail(&o, FDIT_ERROR_FORMAT, "another autoencoder");
    /* archives, in two shards, with as little memory as it goes */
    o = job("tars");
    o.base = keep(0, "latent.safetensors");
    o.delta = NULL;
    o.guide = "none";
    o.vae = path;
    o.tar = true;
    o.shards = 2;
    ck_assert_uint_eq(must(&o).computed, 6);
    ck_assert(is_there("tars/pictures.0-of-2-00000.tar"));
    o.tar = false;
    o.shards = 1;
    o.out = keep(2, "tight");
    size_t need = must(&o).plan_bytes;
    o.out = keep(2, "tighter");
    o.memory = need - 100000; /* weights cannot shrink, bands can */
    ck_assert_uint_le(must(&o).plan_bytes, o.memory);
    same_file("tight/1/1-2.png", "tighter/1/1-2.png");
    fdit_vae_free(v);
    free_latents(&l);
    free(path);
}
END_TEST

/* ------------------------------------------------------------------ the sheet */

START_TEST(test_sheet)
{
    struct fdit_sample_options o = job(NULL);
    struct fdit_picture sheet = { 0 }, plain = { 0 };
    /* no folder: only what the sheet shows is computed */
    o.per_class = FDIT_CONTACT_SHEET_COLUMNS + 4;
    o.grid = keep(3, "sheet.png");
    struct fdit_sample_summary s = must(&o);
    ck_assert_uint_eq(s.pictures, CLASSES * (FDIT_CONTACT_SHEET_COLUMNS + 4));
    ck_assert_uint_eq(s.computed, CLASSES * FDIT_CONTACT_SHEET_COLUMNS);
    ck_assert_uint_eq(s.sheet_classes, CLASSES);
    ck_assert_ok(ctx, fdit_picture_read(ctx, o.grid, &plain));
    for (int c = 0; c < CLASSES; c++) {
        char name[64];
        snprintf(name, sizeof name, "real/%s/p.png", names[c]);
        test_picture(ctx, folder, name, 8, (unsigned)c);
    }
    o.grid_real = keep(4, "real");
    must(&o);
    ck_assert_ok(ctx, fdit_picture_read(ctx, o.grid, &sheet));
    ck_assert(sheet.width != plain.width || sheet.height != plain.height ||
              memcmp(sheet.pixels, plain.pixels, (size_t)sheet.width * (size_t)sheet.height * 3));
    fdit_picture_fini(&sheet);
    fdit_picture_fini(&plain);
    o.grid_real = keep(4, "nowhere");
    ck_assert_int_ne(run(&o, NULL, NULL), FDIT_OK);
}
END_TEST

/* A sheet of per_class pictures of noise of each of `classes` classes, which PNG makes no smaller, takes what
 * is planned for it, where the title and the groups' names are the only thing that is not known. */
static void check_sheet_bytes(int size, int channels, int classes, int per_class, bool long_names)
{
    enum { MOST = 300 };
    static char text[64 * MOST];
    struct fdit_taxonomy *tax = NULL;
    struct fdit_contact_sheet *sheet = NULL;
    struct fdit_request r;
    struct fdit_picture p = { 0 };
    size_t planned, most, n = (size_t)sprintf(text, "class\tgenus\n");
    for (int c = 0; c < classes; c++)
        n += (size_t)sprintf(text + n, "%s%d\tg%d\n",
                             long_names ? "A name of many words, which goes on and on " : "n", c, c / 2);
    ck_assert_ok(ctx, fdit_taxonomy_parse(ctx, text, n, "test", NULL, &tax));
    ck_assert_ok(ctx, fdit_request_init(ctx, tax, NULL, NULL, per_class, 0, 0, 1, &r));
    ck_assert_ok(ctx, fdit_contact_sheet_bytes(ctx, &r, tax, size, channels, false, &planned));
    ck_assert_ok(ctx, fdit_contact_sheet_most_bytes(ctx, r.n, tax, size, channels, &most));
    ck_assert_uint_le(planned, most);
    ck_assert_ok(ctx, fdit_picture_new(ctx, size, size, channels, &p));
    for (size_t i = 0, state = 1; i < (size_t)size * (size_t)size * (size_t)channels; i++) {
        state = state * 6364136223846793005u + 1;
        p.pixels[i] = (uint8_t)(state >> 56);
    }
    const size_t before = fdit_mem_stats().bytes;
    fdit_mem_reset_peak();
    ck_assert_ok(ctx, fdit_contact_sheet_new(ctx, &r, tax, size, channels, NULL, &sheet));
    for (size_t i = 0; i < r.n; i++) {
        const struct fdit_request_item item = fdit_request_at(&r, i);
        if (fdit_contact_sheet_wants(sheet, &item))
            ck_assert_ok(ctx, fdit_contact_sheet_put(ctx, sheet, &item, &p));
    }
    ck_assert_ok(ctx, fdit_contact_sheet_write(ctx, sheet, "title", keep(3, "sheet.png")));
    fdit_contact_sheet_free(sheet);
    const size_t took = fdit_mem_stats().peak_bytes - before;
    ck_assert_msg(took <= planned, "%d x %d: %zu bytes taken, %zu planned", classes, per_class, took,
                  planned);
    ck_assert_msg(planned < 2 * took + ((size_t)3 << 20), "%d x %d: %zu bytes taken, %zu planned", classes,
                  per_class, took, planned);
    fdit_picture_fini(&p);
    fdit_request_fini(&r);
    fdit_taxonomy_free(tax);
}

START_TEST(test_sheet_bytes)
{
    check_sheet_bytes(8, 1, 5, 3, false);
    check_sheet_bytes(16, 3, 120, 2, true);
    check_sheet_bytes(32, 1, 300, 1, false);
    check_sheet_bytes(64, 3, 16, 16, false);
    check_sheet_bytes(64, 3, 256, 1, true);
    check_sheet_bytes(128, 3, 1, 40, true);
    check_sheet_bytes(256, 3, 10, 4, false);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sample_draw");
    TCase *tc = tcase_create("jobs");
    ctx = fdit_context_new();
    tcase_add_checked_fixture(tc, make_models, remove_models);
    tcase_add_test(tc, test_request);
    tcase_add_loop_test(tc, test_invariance, 0, 4);
    tcase_add_test(tc, test_invariance_fixture);
    tcase_add_test(tc, test_guides);
    tcase_add_test(tc, test_guide_random);
    tcase_add_test(tc, test_guide_files);
    tcase_add_test(tc, test_guide_defaults);
    tcase_add_test(tc, test_guide_models);
    tcase_add_test(tc, test_files);
    tcase_add_test(tc, test_names);
    tcase_add_test(tc, test_latents);
    tcase_add_test(tc, test_vae);
    tcase_add_test(tc, test_sheet);
    tcase_add_test(tc, test_sheet_bytes);
    suite_add_tcase(suite, tc);
    int code = test_run(suite);
    fdit_context_free(ctx);
    return code;
}
