/* SPDX-License-Identifier: Apache-2.0
 * Sampling jobs: pictures that are there, other options, shards, interruption, archives, failures. */
#include "core/file.h"
#include "core/mem.h"
#include "data_fixture.h"
#include "format/json.h"
#include "format/tar.h"
#include "model/delta.h"
#include "sample/painter.h"
#include "sample_fixture.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ the folder */

START_TEST(test_folder_job)
{
    struct fdit_sample_options o = job("whole");
    o.grid = keep(3, "grid.png");
    o.grid_real = NULL;
    struct fdit_sample_summary s = must(&o);
    ck_assert_uint_eq(s.computed, 15);
    ck_assert_uint_eq(s.kept, 0);
    ck_assert_str_eq(s.guide, "superclass:genus");
    check_manifest("whole/manifest.jsonl", 3, 0, 1, 0);
    /* again: nothing is computed, all is reported, the sheet is drawn from the files */
    struct seen seen = { 0 };
    o.grid = keep(4, "grid2.png");
    ck_assert_ok(ctx, run(&o, &s, &seen));
    ck_assert_uint_eq(s.computed, 0);
    ck_assert_uint_eq(s.kept, 15);
    ck_assert_uint_eq(seen.kept, 15);
    ck_assert_uint_eq(seen.steps, 0);
    same_file("grid.png", "grid2.png");
    /* one is missing */
    ck_assert_ok(ctx, fdit_file_remove(ctx, test_path(folder, "whole/three/three-1.png")));
    ck_assert_ok(ctx, fdit_file_remove(ctx, test_path(folder, "whole/manifest.jsonl")));
    o.batch = 4;
    s = must(&o);
    ck_assert_uint_eq(s.computed, 1);
    check_manifest("whole/manifest.jsonl", 3, 0, 1, 0);
    struct fdit_sample_options fresh = job("fresh");
    fresh.batch = 5;
    must(&fresh);
    o.out = keep(2, "whole"); /* job() took its place */
    same_pictures("whole", "fresh", 3);
    same_file("whole/run.json", "fresh/run.json");
    /* a longer request takes over what is there */
    o.grid = NULL;
    o.per_class = 4;
    s = must(&o);
    ck_assert_uint_eq(s.computed, 5);
    ck_assert_uint_eq(s.kept, 15);
    check_manifest("whole/manifest.jsonl", 4, 0, 1, 0);
    /* latents: every row is computed, the files stay */
    o.latents = keep(5, "l.safetensors");
    s = must(&o);
    ck_assert_uint_eq(s.computed, 20);
    ck_assert_uint_eq(s.kept, 20);
    struct latents l = read_latents(o.latents);
    ck_assert_uint_eq(l.n, 20);
    free_latents(&l);
}
END_TEST

START_TEST(test_other_options)
{
    struct fdit_sample_options o = job("out");
    must(&o);
    struct fdit_sample_options p = o;
    p.guidance.w = 2;
    must_fail(&p, FDIT_ERROR_FORMAT, "--guidance 4.0, now it is 2.0");
    p = o;
    p.steps = 4;
    must_fail(&p, FDIT_ERROR_FORMAT, "--steps 3, now it is 4");
    p = o;
    p.clip_x0 = 1;
    must_fail(&p, FDIT_ERROR_FORMAT, "--clip-x0");
    p = o;
    p.guide = "none";
    must_fail(&p, FDIT_ERROR_FORMAT, "--guide");
    p = o;
    p.sampler.kind = FDIT_SAMPLER_DDIM;
    must_fail(&p, FDIT_ERROR_FORMAT, "--sampler");
    p = o;
    p.seed = 1;
    must_fail(&p, FDIT_ERROR_FORMAT, "--seed");
    p = o;
    p.tar = true;
    must_fail(&p, FDIT_ERROR_FORMAT, "--tar false, now it is true");
    p = o;
    p.delta = keep(3, "older.safetensors");
    must_fail(&p, FDIT_ERROR_FORMAT, "other weights");
    ck_assert(is_there("out/manifest.jsonl"));
    /* to overwrite removes what the former job made, and nothing else */
    test_file(ctx, folder, "out/two/mine.png", "x", 1);
    test_file(ctx, folder, "out/notes.txt", "x", 1);
    p.classes = "a/b,two";
    p.overwrite = true;
    struct fdit_sample_summary s = must(&p);
    ck_assert_uint_eq(s.computed, 6);
    ck_assert(!is_there("out/three"));
    ck_assert(is_there("out/two/mine.png"));
    ck_assert(is_there("out/notes.txt"));
    ck_assert(is_there("out/a%%2Fb/a%%2Fb-2.png"));
    p.overwrite = false;
    s = must(&p);
    ck_assert_uint_eq(s.kept, 6);
    /* the same options and --overwrite: all anew */
    p.overwrite = true;
    s = must(&p);
    ck_assert_uint_eq(s.computed, 6);
    /* pictures without run.json may be anyone's */
    p.overwrite = false;
    ck_assert_ok(ctx, fdit_file_remove(ctx, test_path(folder, "out/run.json")));
    must_fail(&p, FDIT_ERROR_FORMAT, "no run.json");
    test_file(ctx, folder, "out/run.json", "{}", 2);
    must_fail(&p, FDIT_ERROR_FORMAT, "was not written by this program");
}
END_TEST

/* A weight that differs in one number is another weight; merging base and delta is not. */
START_TEST(test_weights_hash)
{
    struct fdit_sample_options o = job(NULL);
    struct fdit_sample_source s, t;
    uint64_t a = 0, b = 0, c = 0;
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &s));
    ck_assert_ok(ctx, fdit_weight_files_hash(ctx, &s.files, &a));
    ck_assert_ok(ctx, fdit_weight_files_hash(ctx, &s.files, &b));
    ck_assert_uint_eq(a, b);
    struct fdit_model_options m = { .mask = fdit_mask_find("full"), .batch = 1, .storage = FDIT_F32 };
    struct fdit_model *model = NULL;
    ck_assert_ok(ctx, fdit_model_new(ctx, dev, &s.files.config, &m, &model));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, model));
    ck_assert_ok(ctx, fdit_model_load(ctx, model, s.files.list, 2, false, NULL));
    struct fdit_delta_meta meta = { .taxonomy = fdit_checkpoint_meta(s.delta, "taxonomy"),
                                    .train = by_genus,
                                    .guide = "genus" };
    ck_assert_ok(ctx, fdit_delta_save(ctx, model, FDIT_VALUES_RAW, FDIT_ST_F32, &meta,
                                      test_path(folder, "merged.safetensors")));
    struct fdit_param *p = fdit_params_find(&model->params, "blocks.1.mlp.fc2.weight");
    float *data = calloc(p->count, sizeof *data);
    ck_assert_ok(ctx, fdit_model_get(ctx, model, p, FDIT_VALUES_RAW, data));
    data[p->count - 1] = nextafterf(data[p->count - 1], 9);
    ck_assert_ok(ctx, fdit_model_set(ctx, model, p, data));
    ck_assert_ok(ctx, fdit_delta_save(ctx, model, FDIT_VALUES_RAW, FDIT_ST_F32, &meta,
                                      test_path(folder, "changed.safetensors")));
    free(data);
    fdit_model_free(model);
    o.delta = NULL;
    o.base = keep(3, "merged.safetensors");
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &t));
    ck_assert_ok(ctx, fdit_weight_files_hash(ctx, &t.files, &b));
    fdit_sample_source_close(&t);
    o.base = keep(3, "changed.safetensors");
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &t));
    ck_assert_ok(ctx, fdit_weight_files_hash(ctx, &t.files, &c));
    fdit_sample_source_close(&t);
    fdit_sample_source_close(&s);
    ck_assert_uint_eq(a, b);
    ck_assert_uint_ne(a, c);
}
END_TEST

START_TEST(test_shards)
{
    struct fdit_sample_options o = job("one");
    must(&o);
    o.out = keep(2, "three");
    o.shards = 3;
    for (int s = 2; s >= 0; s--) {
        o.shard = s;
        struct fdit_sample_summary summary = must(&o);
        ck_assert_uint_eq(summary.pictures, 5);
        ck_assert_uint_eq(summary.computed, 5);
        char name[64];
        snprintf(name, sizeof name, "three/manifest.%d-of-3.jsonl", s);
        check_manifest(name, 3, (size_t)s, 3, 0);
    }
    same_pictures("one", "three", 3);
    same_file("one/run.json", "three/run.json");
    /* more shards than pictures: an empty list is a list */
    o = job("many");
    o.classes = "two";
    o.per_class = 1;
    o.shard = 3;
    o.shards = 5;
    o.latents = keep(3, "empty-shard.safetensors");
    struct fdit_sample_summary summary = must(&o);
    ck_assert_uint_eq(summary.pictures, 0);
    size_t n;
    uint8_t *text = bytes_of(&n, "many/manifest.3-of-5.jsonl");
    ck_assert(text && n == 0);
    fdit_free(text);
    struct latents l = read_latents(o.latents);
    ck_assert_uint_eq(l.n, 0);
    free_latents(&l);
}
END_TEST

/* ------------------------------------------------------------------ interruption */

/* The context remembers that it was stopped: a new one, as in a new process. */
static void new_context(void)
{
    fdit_context_free(ctx);
    ctx = fdit_context_new();
}

START_TEST(test_interrupt)
{
    struct fdit_sample_options o = job("whole");
    must(&o);
    o = job("stopped");
    o.batch = 4;
    struct seen seen = { .stop_at = 9 }; /* 3 steps and one report a batch: in the third batch */
    struct fdit_sample_summary s;
    ck_assert_int_eq(run(&o, &s, &seen), FDIT_INTERRUPTED);
    ck_assert_msg(strstr(fdit_context_message(ctx), "8 of 15") != NULL, "%s", fdit_context_message(ctx));
    ck_assert_uint_eq(s.computed, 8);
    ck_assert(is_there("stopped/run.json"));
    ck_assert(is_there("stopped/three/three-1.png"));
    ck_assert(!is_there("stopped/three/three-2.png"));
    ck_assert(!is_there("stopped/manifest.jsonl"));
    new_context();
    s = must(&o);
    ck_assert_uint_eq(s.computed, 7);
    ck_assert_uint_eq(s.kept, 8);
    same_pictures("whole", "stopped", 3);
    same_file("whole/manifest.jsonl", "stopped/manifest.jsonl");
    /* latents appear whole or not at all */
    o = job(NULL);
    o.latents = keep(3, "never.safetensors");
    o.batch = 4;
    seen = (struct seen){ .stop_at = 6 };
    ck_assert_int_eq(run(&o, &s, &seen), FDIT_INTERRUPTED);
    ck_assert(!is_there("never.safetensors"));
    new_context();
}
END_TEST

/* ------------------------------------------------------------------ archives */

START_TEST(test_tar)
{
    struct fdit_sample_options o = job("files");
    struct fdit_tar *tar = NULL;
    o.grid = keep(3, "grid.png");
    must(&o);
    o = job("tar");
    o.tar = true;
    o.batch = 4;
    must(&o);
    ck_assert_ok(ctx, fdit_tar_open(ctx, test_path(folder, "tar/pictures-00000.tar"), 0, &tar));
    ck_assert_uint_eq(fdit_tar_count(tar), 1 + 3 * 15);
    ck_assert_str_eq(fdit_tar_at(tar, 0)->name, "__taxonomy__");
    for (int c = 0; c < CLASSES; c++)
        for (int k = 0; k < 3; k++) {
            char name[64], id[16];
            size_t at, n;
            snprintf(name, sizeof name, "%s/%s-%d.png", encoded[c], encoded[c], k);
            uint8_t *bytes = bytes_of(&n, "files/%s", name);
            ck_assert_msg(fdit_tar_find(tar, name, &at), "%s", name);
            ck_assert(fdit_tar_at(tar, at)->size == n && !memcmp(fdit_tar_data(tar, at), bytes, n));
            fdit_free(bytes);
            snprintf(name, sizeof name, "%s/%s-%d.cls", encoded[c], encoded[c], k);
            snprintf(id, sizeof id, "%d", c);
            ck_assert_msg(fdit_tar_find(tar, name, &at), "%s", name);
            ck_assert(!memcmp(fdit_tar_data(tar, at), id, strlen(id)));
            snprintf(name, sizeof name, "%s/%s-%d.json", encoded[c], encoded[c], k);
            ck_assert_msg(fdit_tar_find(tar, name, &at), "%s", name);
            json_t *j = NULL;
            ck_assert_ok(ctx, fdit_json_parse(ctx, name, (const char *)fdit_tar_data(tar, at),
                                              (size_t)fdit_tar_at(tar, at)->size, 8, &j));
            ck_assert_str_eq(json_string_value(json_object_get(j, "class")), names[c]);
            ck_assert_int_eq(json_integer_value(json_object_get(j, "id")), c);
            ck_assert_str_eq(json_string_value(json_object_get(json_object_get(j, "ranks"), "family")),
                             c < 3 ? "u" : "v");
            json_decref(j);
        }
    fdit_tar_close(tar);
    ck_assert(!is_there("tar/two"));
    /* the archive is kept, and the sheet is drawn from it */
    o.grid = keep(4, "grid2.png");
    struct fdit_sample_summary s = must(&o);
    ck_assert_uint_eq(s.computed, 0);
    same_file("grid.png", "grid2.png");
    /* another request needs other archives */
    o.per_class = 4;
    must_fail(&o, FDIT_ERROR_FORMAT, "--classes");
    o.overwrite = true;
    must(&o);
}
END_TEST

START_TEST(test_tar_interrupted)
{
    struct fdit_sample_options o = job("whole-tar");
    struct fdit_tar *tar = NULL;
    o.tar = true;
    must(&o);
    /* nothing was finished, then two batches of 4, then one: each time it ends behind a picture */
    static const size_t stops[] = { 2, 9, 5 }, there[] = { 0, 8, 12 };
    o = job("stopped-tar");
    o.tar = true;
    o.batch = 4;
    for (int i = 0; i < 3; i++) {
        struct seen seen = { .stop_at = stops[i] };
        ck_assert_int_eq(run(&o, NULL, &seen), FDIT_INTERRUPTED);
        new_context();
        ck_assert(is_there("stopped-tar/pictures-00000.tar") == (there[i] > 0));
        if (!there[i])
            continue;
        ck_assert_ok(ctx, fdit_tar_open(ctx, test_path(folder, "stopped-tar/pictures-00000.tar"), 0, &tar));
        ck_assert_uint_eq(fdit_tar_count(tar), 1 + 3 * there[i]);
        fdit_tar_close(tar);
    }
    struct fdit_sample_summary s = must(&o);
    ck_assert_uint_eq(s.kept, 12);
    ck_assert_uint_eq(s.computed, 3);
    same_file("whole-tar/pictures-00000.tar", "stopped-tar/pictures-00000.tar");
    same_file("whole-tar/manifest.jsonl", "stopped-tar/manifest.jsonl");
}
END_TEST

/* ------------------------------------------------------------------ failures half-way */

/* Whatever write fails: the job says so, what is there is whole, and the next try ends well. */
START_TEST(test_failing_writes)
{
    struct fdit_sample_options o = job("whole");
    must(&o);
    o = job("broken");
    o.tar = _i == 1;
    o.classes = "a/b,two";
    o.per_class = 2;
    o.latents = _i == 1 ? keep(3, "broken.safetensors") : NULL;
    for (uint64_t n = 1;; n++) {
        size_t calls = (size_t)fdit_file_calls();
        fdit_file_fail_at(n);
        enum fdit_status status = run(&o, NULL, NULL);
        fdit_file_fail_at(0);
        if (status == FDIT_OK && fdit_file_calls() - calls < n)
            break;
        if (status == FDIT_OK) /* a sync that may fail, a folder without one */
            continue;
        ck_assert_int_eq(status, FDIT_ERROR_IO);
        ck_assert_uint_lt(n, 200);
        for (int c = 0; c < 2 && !o.tar; c++)
            for (int k = 0; k < 2; k++) {
                char a[64], b[64];
                snprintf(a, sizeof a, "broken/%s/%s-%d.png", encoded[c], encoded[c], k);
                snprintf(b, sizeof b, "whole/%s/%s-%d.png", encoded[c], encoded[c], k);
                if (is_there("%s", a))
                    same_file(a, b);
            }
        test_folder_remove(strdup(test_path(folder, "broken")));
    }
    ck_assert(is_there("broken/manifest.jsonl"));
}
END_TEST

START_TEST(test_failing_memory)
{
    struct fdit_sample_options o = job("out");
    char text[4200];
    snprintf(text, sizeof text, "delta:%s", test_path(folder, "older.safetensors"));
    o.guide = text;
    o.classes = "a/b";
    o.per_class = 2;
    o.grid = keep(3, "sheet.png");
    o.latents = keep(4, "l.safetensors");
    o.overwrite = true;
    must(&o);
    size_t alive = fdit_mem_stats().count;
    uint64_t n = 1;
    for (enum fdit_status status = FDIT_ERROR_MEMORY; status != FDIT_OK; n += 1 + n / 8) {
        fdit_mem_fail_at(n);
        status = run(&o, NULL, NULL);
        fdit_mem_fail_at(0);
        ck_assert_msg(status == FDIT_OK || status == FDIT_ERROR_MEMORY, "%s: %s", fdit_status_text(status),
                      fdit_context_message(ctx));
        size_t now = fdit_mem_stats().count;
        ck_assert_msg(now <= alive + 2, "allocation %" PRIu64 ": %zu blocks are lost", n, now - alive);
    }
    ck_assert_uint_gt(n, 100);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sample_job");
    TCase *tc = tcase_create("jobs");
    ctx = fdit_context_new();
    tcase_add_checked_fixture(tc, make_models, remove_models);
    tcase_add_test(tc, test_folder_job);
    tcase_add_test(tc, test_other_options);
    tcase_add_test(tc, test_weights_hash);
    tcase_add_test(tc, test_shards);
    tcase_add_test(tc, test_interrupt);
    tcase_add_test(tc, test_tar);
    tcase_add_test(tc, test_tar_interrupted);
    tcase_add_loop_test(tc, test_failing_writes, 0, 2);
    tcase_add_test(tc, test_failing_memory);
    suite_add_tcase(suite, tc);
    int code = test_run(suite);
    fdit_context_free(ctx);
    return code;
}
