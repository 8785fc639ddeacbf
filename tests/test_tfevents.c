/* SPDX-License-Identifier: Apache-2.0
 * test_tfevents.c: event files read back record by record, by a reader of the test's own. */
#include "core/clock.h"
#include "core/file.h"
#include "core/mem.h"
#include "harness.h"
#include "format/tfevents.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static fdit_context *ctx;
static char folder[64];

static void setup(void)
{
    ctx = fdit_context_new();
    ck_assert_ptr_nonnull(ctx);
    snprintf(folder, sizeof folder, "/tmp/fdit-tfevents-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void teardown(void)
{
    ck_assert_int_eq(rmdir(folder), 0);
    fdit_context_free(ctx);
}

/* ------------------------------------------------------------------------------------ a reader */

struct value {
    char tag[64];
    bool has_simple, has_image;
    float simple;
    uint64_t width, height, colours;
    uint8_t image[4096];
    size_t image_bytes;
};

struct event {
    double date;
    int64_t step;
    char version[32];
    uint64_t session;
    struct value value[8];
    int n_values;
};

struct bytes {
    const uint8_t *at;
    size_t left;
};

static uint64_t little(struct bytes *b, int n)
{
    uint64_t value = 0;
    ck_assert_uint_ge(b->left, (size_t)n);
    for (int i = 0; i < n; i++)
        value |= (uint64_t)b->at[i] << (8 * i);
    b->at += n;
    b->left -= (size_t)n;
    return value;
}

static uint64_t varint(struct bytes *b)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        uint64_t byte = little(b, 1);
        value |= (byte & 127) << shift;
        if (byte < 128)
            return value;
    }
    ck_abort_msg("a varint without end");
    return 0;
}

static struct bytes inner(struct bytes *b)
{
    size_t n = varint(b);
    struct bytes in = { b->at, n };
    ck_assert_uint_ge(b->left, n);
    b->at += n;
    b->left -= n;
    return in;
}

static void text(struct bytes in, char *out, size_t size)
{
    ck_assert_uint_lt(in.left, size);
    memcpy(out, in.at, in.left);
    out[in.left] = '\0';
}

static void read_image(struct bytes b, struct value *v)
{
    v->has_image = true;
    while (b.left > 0) {
        uint64_t key = varint(&b);
        if (key == (4 << 3 | 2)) {
            struct bytes in = inner(&b);
            ck_assert_uint_le(in.left, sizeof v->image);
            memcpy(v->image, in.at, in.left);
            v->image_bytes = in.left;
        } else {
            uint64_t number = varint(&b);
            if (key == (1 << 3 | 0))
                v->height = number;
            else if (key == (2 << 3 | 0))
                v->width = number;
            else if (key == (3 << 3 | 0))
                v->colours = number;
            else
                ck_abort_msg("image: key %d", (int)key);
        }
    }
}

static void read_value(struct bytes b, struct value *v)
{
    while (b.left > 0) {
        uint64_t key = varint(&b);
        if (key == (1 << 3 | 2)) {
            text(inner(&b), v->tag, sizeof v->tag);
        } else if (key == (2 << 3 | 5)) {
            uint32_t bits = (uint32_t)little(&b, 4);
            memcpy(&v->simple, &bits, sizeof bits);
            v->has_simple = true;
        } else if (key == (4 << 3 | 2)) {
            read_image(inner(&b), v);
        } else {
            ck_abort_msg("value: key %d", (int)key);
        }
    }
}

static void read_event(struct bytes b, struct event *e)
{
    memset(e, 0, sizeof *e);
    while (b.left > 0) {
        uint64_t key = varint(&b);
        if (key == (1 << 3 | 1)) {
            uint64_t bits = little(&b, 8);
            memcpy(&e->date, &bits, sizeof bits);
        } else if (key == (2 << 3 | 0)) {
            e->step = (int64_t)varint(&b);
        } else if (key == (3 << 3 | 2)) {
            text(inner(&b), e->version, sizeof e->version);
        } else if (key == (5 << 3 | 2)) {
            struct bytes summary = inner(&b);
            while (summary.left > 0) {
                ck_assert_uint_eq(varint(&summary), 1 << 3 | 2);
                ck_assert_int_lt(e->n_values, 8);
                read_value(inner(&summary), &e->value[e->n_values++]);
            }
        } else if (key == (7 << 3 | 2)) {
            struct bytes session = inner(&b);
            ck_assert_uint_eq(varint(&session), 1 << 3 | 0);
            e->session = varint(&session);
            ck_assert_uint_eq(session.left, 0);
        } else {
            ck_abort_msg("event: key %d", (int)key);
        }
    }
}

/* Bit by bit, unlike the table of the writer. */
static uint32_t slow_crc(const uint8_t *p, size_t n)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    crc = ~crc;
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

static int read_file(const char *path, struct event *events, int most)
{
    uint8_t *data;
    size_t size;
    int n = 0;
    ck_assert_ok(ctx, fdit_file_read_all(ctx, path, 1 << 20, &data, &size));
    struct bytes b = { data, size };
    while (b.left > 0) {
        const uint8_t *record = b.at;
        size_t length = little(&b, 8);
        ck_assert_uint_eq(little(&b, 4), slow_crc(record, 8));
        ck_assert_uint_le(length + 4, b.left);
        struct bytes body = { b.at, length };
        b.at += length;
        b.left -= length;
        ck_assert_uint_eq(little(&b, 4), slow_crc(body.at, length));
        ck_assert_int_lt(n, most);
        read_event(body, &events[n++]);
    }
    fdit_free(data);
    return n;
}

/* --------------------------------------------------------------------------------------- tests */

START_TEST(test_crc)
{
    uint8_t zeros[32] = { 0 };
    ck_assert_uint_eq(fdit_crc32c("123456789", 9), 0xe3069283u);
    ck_assert_uint_eq(fdit_crc32c(zeros, 32), 0x8a9136aau); /* RFC 3720, B.4 */
    ck_assert_uint_eq(fdit_crc32c(zeros, 0), 0);
    ck_assert_uint_eq(fdit_crc32c_mask(0), 0xa282ead8u);
}
END_TEST

START_TEST(test_round_trip)
{
    static const char *const tags[] = { "loss", "train/mse", "", "not a number" };
    const float values[] = { 1.5f, -3e-30f, 0, NAN };
    struct event *e = calloc(8, sizeof *e);
    struct fdit_tfevents *w;
    uint8_t png[3000];
    char path[128];
    const double before = fdit_clock_date();

    ck_assert_ptr_nonnull(e);
    for (size_t i = 0; i < sizeof png; i++)
        png[i] = (uint8_t)(i * 7);
    ck_assert_ok(ctx, fdit_tfevents_open(ctx, folder, 0, &w));
    snprintf(path, sizeof path, "%s", fdit_tfevents_path(w));
    ck_assert_ok(ctx, fdit_tfevents_scalars(ctx, w, 0, 1, tags, values));
    ck_assert_ok(ctx, fdit_tfevents_scalars(ctx, w, 300, 4, tags, values));
    ck_assert_ok(ctx,
                 fdit_tfevents_image(ctx, w, INT64_C(5000000000), "preview", 640, 200, 3, png, sizeof png));
    ck_assert_ok(ctx, fdit_tfevents_image(ctx, w, 7, "empty", 1, 2, 1, NULL, 0));
    /* readable before it is closed */
    ck_assert_int_eq(read_file(path, e, 8), 5);
    ck_assert_ok(ctx, fdit_tfevents_close(ctx, w));
    ck_assert_int_eq(read_file(path, e, 8), 5);

    ck_assert_str_eq(e[0].version, "brain.Event:2");
    for (int i = 0; i < 5; i++)
        ck_assert(e[i].date >= before && e[i].date <= fdit_clock_date());
    ck_assert(e[1].step == 0 && e[1].n_values == 1);
    ck_assert(e[2].step == 300 && e[2].n_values == 4);
    for (int i = 0; i < 4; i++) {
        ck_assert_str_eq(e[2].value[i].tag, tags[i]);
        ck_assert(e[2].value[i].has_simple);
        ck_assert_mem_eq(&e[2].value[i].simple, &values[i], sizeof *values);
    }
    const struct value *v = &e[3].value[0];
    ck_assert(e[3].step == INT64_C(5000000000) && e[3].n_values == 1 && v->has_image);
    ck_assert_str_eq(v->tag, "preview");
    ck_assert(v->width == 640 && v->height == 200 && v->colours == 3);
    ck_assert_uint_eq(v->image_bytes, sizeof png);
    ck_assert_mem_eq(v->image, png, sizeof png);
    v = &e[4].value[0];
    ck_assert(v->width == 1 && v->height == 2 && v->colours == 1 && v->image_bytes == 0);
    free(e);
    unlink(path);
}
END_TEST

/* A resumed run in the same second gets a file of its own, which says where it begins. */
START_TEST(test_resumed_run)
{
    struct event *e = calloc(4, sizeof *e);
    struct fdit_tfevents *a, *b;
    char path[2][128];
    ck_assert_ptr_nonnull(e);
    ck_assert_ok(ctx, fdit_tfevents_open(ctx, folder, 0, &a));
    ck_assert_ok(ctx, fdit_tfevents_open(ctx, folder, 41, &b));
    snprintf(path[0], sizeof path[0], "%s", fdit_tfevents_path(a));
    snprintf(path[1], sizeof path[1], "%s", fdit_tfevents_path(b));
    ck_assert_str_ne(path[0], path[1]);
    ck_assert_int_lt(strcmp(path[0], path[1]), 0);
    ck_assert_ok(ctx, fdit_tfevents_close(ctx, a));
    ck_assert_ok(ctx, fdit_tfevents_close(ctx, b));
    ck_assert_int_eq(read_file(path[0], e, 4), 1);
    ck_assert_int_eq(read_file(path[1], e, 4), 2);
    ck_assert_str_eq(e[0].version, "brain.Event:2");
    ck_assert(e[1].session == 1 && e[1].step == 41);
    free(e);
    unlink(path[0]);
    unlink(path[1]);
}
END_TEST

START_TEST(test_failures)
{
    static const char *const tag = "x";
    const float value = 1;
    const size_t before = fdit_mem_stats().count;
    struct fdit_tfevents *w = NULL;
    int failures = 0;

    ck_assert_int_eq(fdit_tfevents_open(ctx, "/nowhere/at/all", 0, &w), FDIT_ERROR_IO);
    ck_assert_ptr_null(w);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "/nowhere/at/all"));
    for (uint64_t n = 1; n < 30; n++) {
        fdit_mem_fail_at(n);
        enum fdit_status status = fdit_tfevents_open(ctx, folder, 1, &w);
        fdit_mem_fail_at(0);
        if (status == FDIT_OK)
            break;
        ck_assert_int_eq(status, FDIT_ERROR_MEMORY);
        ck_assert_ptr_null(w);
        failures++;
    }
    ck_assert_int_ge(failures, 3);
    ck_assert_ptr_nonnull(w);
    fdit_file_fail_at(1);
    ck_assert_int_eq(fdit_tfevents_scalars(ctx, w, 1, 1, &tag, &value), FDIT_ERROR_IO);
    fdit_file_fail_at(0);
    unlink(fdit_tfevents_path(w));
    ck_assert_ok(ctx, fdit_tfevents_close(ctx, w));
    ck_assert_ok(ctx, fdit_tfevents_close(ctx, NULL));
    /* the version cannot be written: teardown finds the folder empty */
    fdit_file_fail_at(1);
    ck_assert_int_eq(fdit_tfevents_open(ctx, folder, 1, &w), FDIT_ERROR_IO);
    fdit_file_fail_at(0);
    ck_assert_ptr_null(w);
    ck_assert_uint_eq(fdit_mem_stats().count, before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tfevents");
    TCase *files = tcase_create("files");
    tcase_add_checked_fixture(files, setup, teardown);
    tcase_add_test(files, test_crc);
    tcase_add_test(files, test_round_trip);
    tcase_add_test(files, test_resumed_run);
    tcase_add_test(files, test_failures);
    suite_add_tcase(suite, files);
    return test_run(suite);
}
