/* SPDX-License-Identifier: Apache-2.0
 * Caches of encoded pictures: what is put comes out, a writer that was killed at any byte goes on
 * to the same files, and nothing that is broken is taken for whole. */
#include "core/file.h"
#include "core/mem.h"
#include "data_fixture.h"
#include "format/cache_layout.h"
#include "harness.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 7, PER_SHARD = 3, SIDE = 2, CHANNELS = 2, ITEM = 4 * CHANNELS * SIDE * SIDE };
static const int32_t labels[N] = { 0, 0, 1, 1, 1, 2, 2 };
static const char taxonomy[] = "{\"classes\":[\"a\",\"b\",\"c\"],\"ranks\":[]}";
enum { BROKEN = 4 }; /* this picture */

static fdit_context *ctx;
static char *folder;

static void setup(void)
{
    ctx = fdit_context_new();
    folder = test_folder();
}

static void teardown(void)
{
    test_folder_remove(folder);
    fdit_context_free(ctx);
}

static struct fdit_cache_job job_of(bool flip, const char *identity)
{
    return (struct fdit_cache_job){ .info = { .kind = FDIT_CACHE_MOMENTS,
                                              .channels = CHANNELS,
                                              .size = SIDE,
                                              .picture_size = 8 * SIDE,
                                              .flip = flip,
                                              .fit = "crop",
                                              .scale = 0.5,
                                              .shift = 0.25,
                                              .vae = "0123456789abcdef",
                                              .taxonomy = taxonomy,
                                              .n = N },
                                    .labels = labels,
                                    .identity = identity,
                                    .shard_pictures = PER_SHARD };
}

/* Both halves of picture i. */
static void fill(size_t i, uint8_t data[2 * ITEM])
{
    for (size_t k = 0; k < 2 * ITEM; k++)
        data[k] = (uint8_t)(i * 31 + k * 7);
}

static const char identity[] = "{\"size\":16,\"vae\":\"x\"}";

/* Goes on until picture `end`; the index is written when all are there. */
static enum fdit_status write_to(const char *dir, bool flip, size_t end)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_cache_job job = job_of(flip, identity);
    struct fdit_cache_writer *w = NULL;
    uint8_t data[2 * ITEM];
    size_t bad;
    TRY(fdit_cache_begin(ctx, dir, &job, NULL, &w));
    for (size_t i; (i = fdit_cache_next(w)) < end;) {
        fill(i, data);
        TRY(fdit_cache_put(ctx, w, i == BROKEN ? NULL : data));
    }
    if (end == N) {
        TRY(fdit_cache_end(ctx, w, &bad));
        ck_assert_uint_eq(bad, 1);
    }
out:
    fdit_cache_writer_free(w);
    return status;
}

static void same_files(const char *a, const char *b)
{
    static const char *const names[] = { "cache.fdc", "encode.json", "shard-00000.fdc", "shard-00001.fdc",
                                         "shard-00002.fdc" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint8_t *x, *y;
        size_t n, m;
        ck_assert_ok(ctx, fdit_file_read_all(ctx, test_path(folder, "%s/%s", a, names[i]), 1 << 20, &x, &n));
        ck_assert_ok(ctx, fdit_file_read_all(ctx, test_path(folder, "%s/%s", b, names[i]), 1 << 20, &y, &m));
        ck_assert_msg(n == m && !memcmp(x, y, n), "%s differs", names[i]);
        fdit_free(x);
        fdit_free(y);
    }
}

START_TEST(round_trip)
{
    for (int flip = 0; flip < 2; flip++) {
        const char *dir = test_path(folder, "c%d", flip);
        struct fdit_cache *c;
        ck_assert(!fdit_cache_is(dir));
        ck_assert_ok(ctx, write_to(dir, flip, N));
        ck_assert(fdit_cache_is(dir) && fdit_cache_is(test_path(folder, "c%d/cache.fdc", flip)));
        ck_assert_ok(ctx, fdit_cache_open(ctx, dir, &c));
        const struct fdit_cache_info *i = fdit_cache_info_of(c);
        ck_assert(i->n == N - 1 && i->kind == FDIT_CACHE_MOMENTS && i->channels == CHANNELS &&
                  i->size == SIDE);
        ck_assert(i->flip == flip && i->scale == 0.5 && i->shift == 0.25 && i->picture_size == 8 * SIDE);
        ck_assert_str_eq(i->taxonomy, taxonomy);
        ck_assert_str_eq(i->vae, "0123456789abcdef");
        ck_assert_uint_eq(fdit_cache_shards(c), 3);
        for (size_t k = 0; k < i->n; k++) {
            size_t picture = k < BROKEN ? k : k + 1;
            uint8_t wanted[2 * ITEM];
            const uint8_t *got;
            fill(picture, wanted);
            ck_assert_int_eq(fdit_cache_label(c, k), labels[picture]);
            for (int half = 0; half <= flip; half++) {
                ck_assert_ok(ctx, fdit_cache_item(ctx, c, k, half, &got));
                ck_assert_int_eq(memcmp(got, wanted + half * ITEM, ITEM), 0);
                ck_assert_uint_eq((uintptr_t)got % 2, 0);
            }
        }
        struct fdit_cache_job job = job_of(flip, identity);
        uint64_t index;
        ck_assert_ok(ctx, fdit_file_size(ctx, test_path(folder, "c%d/cache.fdc", flip), &index));
        ck_assert_uint_eq(fdit_cache_bytes(c), fdit_cache_job_bytes(&job) + index);
        fdit_cache_close(c);
    }
    /* Half a million pictures of 256 pixels. */
    struct fdit_cache_job job = job_of(true, identity);
    job.info.channels = 4;
    job.info.size = 32;
    job.info.n = 500000;
    job.shard_pictures = 0;
    ck_assert(fdit_cache_job_bytes(&job) < UINT64_C(16410000000));
    job.info.flip = false;
    ck_assert(fdit_cache_job_bytes(&job) < UINT64_C(8210000000));
}
END_TEST

/* A shard cut at any byte, as a kill leaves it, is gone on with to the same files. */
START_TEST(killed_at_any_byte)
{
    const char *dir = test_path(folder, "whole");
    ck_assert_ok(ctx, write_to(dir, true, N));
    size_t record = 2 * (ITEM + FDIT_CACHE_TRAILER);
    for (size_t cut = 0; cut <= FDIT_CACHE_HEADER + 2 * record; cut += cut % 5 + 1) {
        char *broken = strdup(test_path(folder, "cut%zu", cut));
        struct fdit_cache_job job = job_of(true, identity);
        struct fdit_cache_writer *w;
        struct fdit_cache *c;
        ck_assert_ok(ctx, write_to(broken, true, 5));
        ck_assert_int_eq(fdit_cache_open(ctx, broken, &c), FDIT_ERROR_FORMAT);
        ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "not finished"));
        ck_assert_int_eq(truncate(test_path(folder, "cut%zu/shard-00001.fdc", cut), (off_t)cut), 0);
        ck_assert_ok(ctx, fdit_cache_begin(ctx, broken, &job, NULL, &w));
        size_t there = cut < FDIT_CACHE_HEADER ? 0 : (cut - FDIT_CACHE_HEADER) / record;
        ck_assert_uint_eq(fdit_cache_next(w), PER_SHARD + there);
        fdit_cache_writer_free(w);
        ck_assert_ok(ctx, write_to(broken, true, N));
        same_files("whole", fdit_path_base(broken));
        ck_assert_ok(ctx, write_to(broken, true, N)); /* a finished one is left as it is */
        same_files("whole", fdit_path_base(broken));
        free(broken);
    }
}
END_TEST

/* A record that never reached the disk (zeroes after a crash) is written again. */
START_TEST(crashed)
{
    const char *dir = test_path(folder, "whole"), *other = test_path(folder, "crashed");
    size_t record = 2 * (ITEM + FDIT_CACHE_TRAILER);
    ck_assert_ok(ctx, write_to(dir, true, N));
    ck_assert_ok(ctx, write_to(other, true, 6));
    const char *shard = test_path(folder, "crashed/shard-00001.fdc");
    ck_assert_int_eq(truncate(shard, (off_t)(FDIT_CACHE_HEADER + record + 3)), 0);
    ck_assert_int_eq(truncate(shard, (off_t)(FDIT_CACHE_HEADER + 3 * record)), 0);
    ck_assert_ok(ctx, write_to(other, true, N));
    same_files("whole", "crashed");
}
END_TEST

/* A damaged sample costs itself alone. */
START_TEST(repaired)
{
    const char *dir = test_path(folder, "whole"), *other = test_path(folder, "hurt");
    struct fdit_cache_job job = job_of(true, identity);
    struct fdit_cache_writer *w;
    uint8_t *bytes, data[2 * ITEM];
    size_t n, bad, put = 0;
    ck_assert_ok(ctx, write_to(dir, true, N));
    ck_assert_ok(ctx, write_to(other, true, N));
    const char *shard = test_path(folder, "hurt/shard-00000.fdc");
    ck_assert_ok(ctx, fdit_file_read_all(ctx, shard, 1 << 20, &bytes, &n));
    bytes[FDIT_CACHE_HEADER + 2 * (ITEM + FDIT_CACHE_TRAILER) + 5] ^= 1; /* of picture 1 */
    ck_assert_ok(ctx, fdit_file_write(ctx, shard, false, bytes, n));
    fdit_free(bytes);
    ck_assert_ok(ctx, fdit_cache_begin(ctx, other, &job, NULL, &w));
    ck_assert_uint_eq(fdit_cache_next(w), 1);
    for (; fdit_cache_next(w) < N; put++) {
        fill(fdit_cache_next(w), data);
        ck_assert_ok(ctx, fdit_cache_put(ctx, w, data));
    }
    ck_assert_uint_eq(put, 1);
    ck_assert_ok(ctx, fdit_cache_end(ctx, w, &bad));
    ck_assert_uint_eq(bad, 1);
    fdit_cache_writer_free(w);
    same_files("whole", "hurt");
}
END_TEST

static void expect_begin(const char *dir, const struct fdit_cache_job *job, enum fdit_status wanted,
                         const char *words)
{
    struct fdit_cache_writer *w;
    ck_assert_int_eq(fdit_cache_begin(ctx, dir, job, NULL, &w), wanted);
    ck_assert_msg(strstr(fdit_context_message(ctx), words), "'%s' lacks '%s'", fdit_context_message(ctx),
                  words);
    ck_assert_ptr_null(w);
}

START_TEST(refused)
{
    const char *dir = test_path(folder, "c");
    struct fdit_cache_job job = job_of(true, identity), other = job_of(true, "{\"size\":32,\"vae\":\"x\"}");
    struct fdit_cache_writer *w;
    struct fdit_cache *c;
    ck_assert_ok(ctx, write_to(dir, true, 5));
    expect_begin(dir, &other, FDIT_ERROR_ARGUMENT, "begun with size 16, now it is 32");
    ck_assert_ok(ctx, fdit_cache_begin(ctx, dir, &job, NULL, &w));
    expect_begin(dir, &job, FDIT_ERROR_IO, "another process");
    fdit_cache_writer_free(w);
    test_file(ctx, folder, "full/notes.txt", "x", 1);
    expect_begin(test_path(folder, "full"), &job, FDIT_ERROR_ARGUMENT, "notes.txt");
    ck_assert_int_ne(fdit_cache_open(ctx, test_path(folder, "nothing"), &c), FDIT_OK);
    /* a shard of another job, one that is too short, a damaged sample */
    ck_assert_ok(ctx, write_to(dir, true, N));
    const char *shard = test_path(folder, "c/shard-00001.fdc");
    uint8_t *bytes, *again;
    size_t n;
    ck_assert_ok(ctx, fdit_file_read_all(ctx, shard, 1 << 20, &bytes, &n));
    ck_assert_int_eq(truncate(shard, (off_t)n - 1), 0);
    ck_assert_int_eq(fdit_cache_open(ctx, dir, &c), FDIT_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "pictures need"));
    for (size_t at = 0; at < n; at++) {
        bytes[at] ^= 0x10;
        ck_assert_ok(ctx, fdit_file_write(ctx, shard, false, bytes, n));
        bytes[at] ^= 0x10;
        size_t failed = 0;
        if (fdit_cache_open(ctx, dir, &c) == FDIT_OK) {
            const uint8_t *data;
            for (size_t i = 0; i < N - 1; i++)
                for (int half = 0; half < 2; half++)
                    failed += fdit_cache_item(ctx, c, i, half, &data) != FDIT_OK;
            fdit_cache_close(c);
            bool of_broken =
                (at - FDIT_CACHE_HEADER) / (2 * (ITEM + FDIT_CACHE_TRAILER)) == BROKEN - PER_SHARD;
            ck_assert_uint_eq(failed, of_broken ? 0 : 1);
        } else {
            ck_assert_uint_lt(at, FDIT_CACHE_HEADER);
        }
    }
    /* the index: any changed byte, any length */
    fdit_free(bytes);
    ck_assert_ok(ctx, fdit_file_read_all(ctx, test_path(folder, "c/cache.fdc"), 1 << 20, &bytes, &n));
    ck_assert_ok(ctx, fdit_alloc(ctx, n, 1, &again));
    for (size_t at = 0; at < n; at++) {
        memcpy(again, bytes, n);
        again[at] ^= 1;
        ck_assert_int_ne(fdit_cache_parse(ctx, "index", again, n, &c), FDIT_OK);
        ck_assert_int_eq(fdit_cache_parse(ctx, "index", bytes, at, &c), FDIT_ERROR_FORMAT);
    }
    memcpy(again, bytes, n);
    fdit_put32(again + 8, FDIT_CACHE_VERSION + 1);
    ck_assert_int_eq(fdit_cache_parse(ctx, "index", again, n, &c), FDIT_ERROR_UNSUPPORTED);
    fdit_free(bytes);
    fdit_free(again);
}
END_TEST

/* A scale that no autoencoder has was not written by a job: everything would be noise. */
START_TEST(scales)
{
    static const struct {
        double scale, shift;
        bool good;
    } all[] = { { 0.18215, 0, true }, { 1.5305, 0.0609, true }, { 1, 0, true },     { 0, 0, false },
                { -1, 0, false },     { 1e18, 0, false },       { 1e-9, 0, false }, { 1, 1e9, false } };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const char *dir = test_path(folder, "scale%zu", i);
        struct fdit_cache_job job = job_of(false, identity);
        struct fdit_cache_writer *w;
        struct fdit_cache *c = NULL;
        uint8_t data[2 * ITEM];
        size_t bad;
        job.info.scale = all[i].scale;
        job.info.shift = all[i].shift;
        ck_assert_ok(ctx, fdit_cache_begin(ctx, dir, &job, NULL, &w));
        for (size_t k; (k = fdit_cache_next(w)) < N;) {
            fill(k, data);
            ck_assert_ok(ctx, fdit_cache_put(ctx, w, data));
        }
        ck_assert_ok(ctx, fdit_cache_end(ctx, w, &bad));
        fdit_cache_writer_free(w);
        enum fdit_status status = fdit_cache_open(ctx, dir, &c);
        ck_assert_int_eq(status, all[i].good ? FDIT_OK : FDIT_ERROR_FORMAT);
        ck_assert(all[i].good || strstr(fdit_context_message(ctx), "scale"));
        fdit_cache_close(c);
    }
}
END_TEST

/* A record within a shard is replaced in its place; the others stay. */
START_TEST(renewed)
{
    const char *dir = test_path(folder, "renewed");
    struct fdit_cache_job job = job_of(true, identity);
    struct fdit_cache_writer *w;
    uint8_t data[2 * ITEM];
    size_t bad;
    ck_assert_ok(ctx, write_to(test_path(folder, "whole"), true, N));
    ck_assert_ok(ctx, write_to(dir, true, N));
    ck_assert_ok(ctx, fdit_cache_begin(ctx, dir, &job, NULL, &w));
    ck_assert_uint_eq(fdit_cache_next(w), N);
    uint32_t crc = fdit_cache_record_crc(w, 0);
    fdit_cache_renew(w, N - 1);
    fdit_cache_renew(w, 0);
    ck_assert(!fdit_cache_has(w, 0) && fdit_cache_has(w, 1));
    ck_assert_uint_eq(fdit_cache_next(w), 0);
    fill(99, data);
    ck_assert_ok(ctx, fdit_cache_put(ctx, w, data));
    ck_assert_uint_ne(fdit_cache_record_crc(w, 0), crc);
    ck_assert_uint_eq(fdit_cache_next(w), N - 1);
    fdit_cache_writer_free(w); /* stopped here: goes on */
    ck_assert_ok(ctx, fdit_cache_begin(ctx, dir, &job, NULL, &w));
    fdit_cache_renew(w, 0);
    fill(0, data);
    ck_assert_ok(ctx, fdit_cache_put(ctx, w, data));
    ck_assert_uint_eq(fdit_cache_record_crc(w, 0), crc);
    ck_assert_uint_eq(fdit_cache_next(w), N);
    ck_assert_ok(ctx, fdit_cache_end(ctx, w, &bad));
    fdit_cache_writer_free(w);
    same_files("whole", "renewed");
}
END_TEST

/* Every write, then every allocation, fails once: an error, no leak, and the job goes on to the
 * same files. */
START_TEST(failures)
{
    ck_assert_ok(ctx, write_to(test_path(folder, "whole"), true, N));
    for (int memory = 0; memory < 2; memory++) {
        enum fdit_status status = FDIT_ERROR_IO;
        for (uint64_t at = 1; status != FDIT_OK; at++) {
            char *dir = strdup(test_path(folder, "f%d-%d", memory, (int)at));
            size_t count = fdit_mem_stats().count;
            memory ? fdit_mem_fail_at(at) : fdit_file_fail_at(at);
            status = write_to(dir, true, N);
            fdit_mem_fail_at(0);
            fdit_file_fail_at(0);
            ck_assert_uint_le(fdit_mem_stats().count, count + 1);
            if (status == FDIT_OK) {
                free(dir);
                break;
            }
            ck_assert_int_eq(status, memory ? FDIT_ERROR_MEMORY : FDIT_ERROR_IO);
            ck_assert_ok(ctx, write_to(dir, true, N));
            same_files("whole", fdit_path_base(dir));
            ck_assert_uint_lt(at, 1000);
            free(dir);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache");
    TCase *tcase = tcase_create("cache");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, round_trip);
    tcase_add_test(tcase, killed_at_any_byte);
    tcase_add_test(tcase, crashed);
    tcase_add_test(tcase, repaired);
    tcase_add_test(tcase, scales);
    tcase_add_test(tcase, renewed);
    tcase_add_test(tcase, refused);
    tcase_add_test(tcase, failures);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
