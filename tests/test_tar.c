/* SPDX-License-Identifier: Apache-2.0
 * test_tar.c: tar archives, what is accepted, refused and written. */
#include "core/file.h"
#include "core/mem.h"
#include "format/tar.h"
#include "format_fixture.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

struct archive {
    uint8_t *bytes;
    size_t n;
};

static void put(struct archive *a, const void *bytes, size_t n)
{
    a->bytes = realloc(a->bytes, a->n + n + 1024);
    ck_assert_ptr_nonnull(a->bytes);
    memset(a->bytes + a->n, 0, n + 1024);
    if (n)
        memcpy(a->bytes + a->n, bytes, n);
    a->n += n;
}

static void put_checksum(char *h)
{
    unsigned sum = 0;
    memset(h + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
}

static void put_member(struct archive *a, const char *name, char type, const char *text, const char *magic)
{
    char h[513] = { 0 };
    size_t n = strlen(text);
    memcpy(h, name, strlen(name) < 100 ? strlen(name) : 100);
    snprintf(h + 124, 12, "%011o", (unsigned)n);
    memcpy(h + 257, magic, 8);
    h[156] = type;
    put_checksum(h);
    put(a, h, 512);
    put(a, text, n);
    a->n = (a->n + 511) / 512 * 512; /* put left zeros there */
}

static void put_end(struct archive *a)
{
    static const char zeros[1024];
    put(a, zeros, 1024);
}

static void zip_archive(struct archive *a)
{
    size_t room = a->n + 1000;
    uint8_t *out = malloc(room);
    z_stream z = { 0 };
    ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = a->bytes;
    z.avail_in = (uInt)a->n;
    z.next_out = out;
    z.avail_out = (uInt)room;
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    a->n = room - z.avail_out;
    deflateEnd(&z);
    free(a->bytes);
    a->bytes = out;
}

static void check_member(const struct fdit_tar *t, size_t i, const char *name, const char *text)
{
    const struct fdit_tar_member *m = fdit_tar_at(t, i);
    ck_assert_str_eq(m->name, name);
    ck_assert_uint_eq(m->size, strlen(text));
    ck_assert_mem_eq(fdit_tar_data(t, i), text, strlen(text));
}

#define USTAR "ustar\0000"
#define GNU "ustar  "

START_TEST(test_tar_dialects)
{
    for (int zipped = 0; zipped < 2; zipped++) {
        struct archive a = { 0 };
        struct fdit_tar *t;
        char name[301];
        size_t i;
        memset(name, 'n', 300);
        name[300] = 0;
        put_member(&a, "pax_global", 'g', "19 comment=nothing\n", USTAR);
        put_member(&a, "./", '5', "", USTAR);
        put_member(&a, "./birds//Ara macao/", '5', "", USTAR);
        put_member(&a, "./birds//Ara macao/./1.png", '0', "one", USTAR);
        put_member(&a, "old", 0, "", "\0\0\0\0\0\0\0");
        put_member(&a, "link", '2', "", USTAR);
        put_member(&a, "hard", '1', "", USTAR);
        put_member(&a, "device", '3', "", USTAR);
        put_member(&a, "././@LongLink", 'L', name, GNU);
        put_member(&a, "cut", '0', "long", GNU);
        put_member(&a, "x", 'x', "18 path=pax/n\xc3\xa4me\n9 size=3\n16 SCHILY.dev=1\n", USTAR);
        put_member(&a, "cut", '0', "abc", USTAR);
        put_member(&a, "old", '7', "the later one", USTAR);
        put_end(&a);
        if (zipped)
            zip_archive(&a);
        ck_assert_ok(ctx, fdit_tar_open_memory(ctx, "a.tar", a.bytes, a.n, 1 << 20, &t));
        ck_assert_uint_eq(fdit_tar_count(t), 5);
        check_member(t, 0, "birds/Ara macao/1.png", "one");
        check_member(t, 1, "old", "");
        check_member(t, 2, name, "long");
        check_member(t, 3, "pax/n\xc3\xa4me", "abc");
        check_member(t, 4, "old", "the later one");
        ck_assert_uint_eq(fdit_tar_memory(t), zipped ? 23 : 0);
        ck_assert(fdit_tar_find(t, "old", &i) && i == 4);
        ck_assert(fdit_tar_find(t, name, &i) && i == 2);
        ck_assert(!fdit_tar_find(t, "link", &i) && !fdit_tar_find(t, "zzz", &i) && !fdit_tar_find(t, "", &i));
        fdit_tar_close(t);
        free(a.bytes);
    }
}
END_TEST

/* ustar's prefix, and numbers in GNU's binary form and between spaces */
START_TEST(test_tar_fields)
{
    struct archive a = { 0 };
    struct fdit_tar *t;
    char *h;
    put_member(&a, "name", '0', "1234567", USTAR);
    h = (char *)a.bytes;
    memcpy(h + 345, "some/prefix", 11);
    memset(h + 124, 0, 12);
    h[124] = (char)0x80;
    h[135] = 7;
    put_checksum(h);
    put_member(&a, "two", '0', "12", GNU);
    h = (char *)a.bytes + 1024;
    memcpy(h + 345, "not a prefix", 12);
    memcpy(h + 124, "      2 \0\0\0\0", 12);
    put_checksum(h);
    put_end(&a);
    a.n -= 512; /* one block of zeros is enough */
    ck_assert_ok(ctx, fdit_tar_open_memory(ctx, "a.tar", a.bytes, a.n, 0, &t));
    check_member(t, 0, "some/prefix/name", "1234567");
    check_member(t, 1, "two", "12");
    fdit_tar_close(t);
    free(a.bytes);
}
END_TEST

static void check_tar_refused(struct archive *a, const char *word)
{
    for (int zipped = 0; zipped < 2; zipped++) {
        struct fdit_tar *t = NULL;
        if (zipped)
            zip_archive(a);
        uint8_t *exact = malloc(a->n);
        ck_assert_ptr_nonnull(exact);
        memcpy(exact, a->bytes, a->n);
        enum fdit_status status = fdit_tar_open_memory(ctx, "a.tar", exact, a->n, 1 << 20, &t);
        ck_assert_msg(status == FDIT_ERROR_FORMAT, "%s for \"%s\"", fdit_status_text(status), word);
        ck_assert_ptr_null(t);
        check_message("a.tar: ");
        check_message(word);
        free(exact);
    }
    free(a->bytes);
    *a = (struct archive){ 0 };
}

START_TEST(test_tar_refused)
{
    const char *outside[] = { "/etc/passwd", "../x", "a/../../x", "a/..", "", "./." };
    const char *pax[] = { "99 path=x\n",
                          "path=x\n",
                          "10 pathxxx\n",
                          "9 path=x ",
                          "0 path=x\n",
                          "8 path=\n",
                          "11 size=1x\n",
                          "30 size=99999999999999999999999\n",
                          "99999999999999999999 path=x\n" };
    struct archive a = { 0 };
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        put_member(&a, outside[i], '0', "x", USTAR);
        put_end(&a);
        check_tar_refused(&a, "outside");
    }
    for (size_t i = 0; i < sizeof pax / sizeof *pax; i++) {
        put_member(&a, "x", 'x', pax[i], USTAR);
        put_member(&a, "y", '0', "y", USTAR);
        put_end(&a);
        check_tar_refused(&a, "pax");
    }
    put_member(&a, "x", 'x', "22 GNU.sparse.major=1\n", USTAR);
    put_end(&a);
    check_tar_refused(&a, "sparse");
    put_member(&a, "x", 'S', "data", GNU);
    put_end(&a);
    check_tar_refused(&a, "sparse");
    put_member(&a, "x", 'x', "18 path=some/name\n", USTAR);
    check_tar_refused(&a, "cut off");
    put_member(&a, "x", '0', "data", USTAR);
    a.n = 515;
    check_tar_refused(&a, "cut off");
    put_member(&a, "x", '0', "data", USTAR);
    a.n = 100;
    check_tar_refused(&a, "cut off");
    put_member(&a, "x", '0', "data", USTAR);
    a.bytes[3] ^= 1;
    put_end(&a);
    check_tar_refused(&a, "checksum");
    put_member(&a, "x", '0', "data", USTAR);
    memcpy(a.bytes + 124, "77777777777", 12); /* 8 GB that are not there */
    put_checksum((char *)a.bytes);
    put_end(&a);
    check_tar_refused(&a, "cut off");
    put_member(&a, "x", '0', "data", USTAR);
    memcpy(a.bytes + 124, "12x", 4);
    put_checksum((char *)a.bytes);
    put_end(&a);
    check_tar_refused(&a, "size");
    put_member(&a, "x", 'L', "data", GNU);
    memcpy(a.bytes + 124, "00077777777", 12);
    put_checksum((char *)a.bytes);
    put_end(&a);
    check_tar_refused(&a, "too long");
}
END_TEST

/* Cut anywhere: refused, except behind a whole member or the first block of the end mark. */
START_TEST(test_tar_cut_anywhere)
{
    for (int zipped = 0; zipped < 2; zipped++) {
        struct archive a = { 0 };
        put_member(&a, "x", 'x', "18 path=some/name\n", USTAR);
        put_member(&a, "x", '0', "contents of x", USTAR);
        put_member(&a, "y", '0', "contents of y", USTAR);
        put_end(&a);
        size_t enough = a.n - 512, x = a.n - 4 * 512, y = a.n - 2 * 512;
        if (zipped)
            zip_archive(&a);
        for (size_t n = 0; n < a.n; n++) {
            struct fdit_tar *t = NULL;
            enum fdit_status status = fdit_tar_open_memory(ctx, "a.tar", a.bytes, n, 1 << 20, &t);
            if (!zipped)
                ck_assert_msg((status == FDIT_OK) == (n >= enough || n == x || n == y), "%zu bytes: %s", n,
                              fdit_context_message(ctx));
            else /* without its checksum it is not whole */
                ck_assert_msg(status == FDIT_ERROR_FORMAT, "%zu bytes of %zu", n, a.n);
            ck_assert(status == FDIT_OK || status == FDIT_ERROR_FORMAT);
            fdit_tar_close(t);
        }
        if (zipped) {
            struct fdit_tar *t = NULL;
            a.bytes[a.n / 2] ^= 0x10;
            ck_assert_int_eq(fdit_tar_open_memory(ctx, "a.tar", a.bytes, a.n, 1 << 20, &t),
                             FDIT_ERROR_FORMAT);
        }
        free(a.bytes);
    }
}
END_TEST

/* Archives joined by cat are one; a missing end mark is not a loss; the checksum of gzip counts. */
START_TEST(test_tar_ends)
{
    for (int zipped = 0; zipped < 2; zipped++) {
        struct archive a = { 0 };
        struct fdit_tar *t = NULL;
        for (int i = 0; i < 3; i++) {
            char name[2] = { (char)('a' + i), 0 };
            put_member(&a, name, '0', "data", USTAR);
            if (i < 2)
                put_end(&a);
        }
        if (zipped)
            zip_archive(&a);
        ck_assert_ok(ctx, fdit_tar_open_memory(ctx, "a.tar", a.bytes, a.n, 1 << 20, &t));
        ck_assert_uint_eq(fdit_tar_count(t), 3);
        fdit_tar_close(t);
        if (zipped) {
            a.bytes[a.n - 5] ^= 1; /* of the checksum, then of the length */
            ck_assert_int_eq(fdit_tar_open_memory(ctx, "a.tar", a.bytes, a.n, 1 << 20, &t),
                             FDIT_ERROR_FORMAT);
            a.bytes[a.n - 5] ^= 1;
            a.bytes[a.n - 1] ^= 1;
            ck_assert_int_eq(fdit_tar_open_memory(ctx, "a.tar", a.bytes, a.n, 1 << 20, &t),
                             FDIT_ERROR_FORMAT);
        }
        free(a.bytes);
    }
}
END_TEST

START_TEST(test_tar_limit)
{
    struct archive a = { 0 };
    struct fdit_tar *t;
    put_member(&a, "x", '0', "twelve bytes", USTAR);
    put_member(&a, "y", '0', "twelve bytes", USTAR);
    put_end(&a);
    zip_archive(&a);
    ck_assert_ok(ctx, fdit_tar_open_memory(ctx, "a.tar.gz", a.bytes, a.n, 24, &t));
    fdit_tar_close(t);
    ck_assert_int_eq(fdit_tar_open_memory(ctx, "a.tar.gz", a.bytes, a.n, 23, &t), FDIT_ERROR_MEMORY);
    check_message("23 bytes");
    /* two gzip members in a row, zeros behind, are one archive */
    struct archive b = { 0 }, c = { 0 };
    put_member(&b, "x", '0', "first", USTAR);
    zip_archive(&b);
    put_member(&c, "y", '0', "second", USTAR);
    put_end(&c);
    zip_archive(&c);
    struct archive both = { 0 };
    put(&both, b.bytes, b.n);
    put(&both, c.bytes, c.n);
    put(&both, "\0\0\0\0", 4);
    ck_assert_ok(ctx, fdit_tar_open_memory(ctx, "a.tar.gz", both.bytes, both.n, 24, &t));
    ck_assert_uint_eq(fdit_tar_count(t), 2);
    check_member(t, 1, "y", "second");
    fdit_tar_close(t);
    free(a.bytes);
    free(b.bytes);
    free(c.bytes);
    free(both.bytes);
}
END_TEST

START_TEST(test_tar_stream)
{
    for (int zipped = 0; zipped < 2; zipped++) {
        struct archive a = { 0 };
        struct fdit_tar_stream *s;
        struct fdit_tar_member m;
        char text[2001], got[2001];
        bool found;
        size_t n;
        for (int i = 0; i < 2000; i++)
            text[i] = (char)('a' + i % 26);
        text[2000] = 0;
        put_member(&a, "first", '0', text, USTAR);
        put_member(&a, "second", '0', text, USTAR);
        put_member(&a, "third", '0', "", USTAR);
        put_end(&a);
        if (zipped)
            zip_archive(&a);
        ck_assert_ok(ctx, fdit_file_write(ctx, in_folder("a"), false, a.bytes, a.n));
        free(a.bytes);
        ck_assert_ok(ctx, fdit_tar_stream_open(ctx, in_folder("a"), &s));
        ck_assert_ok(ctx, fdit_tar_stream_next(ctx, s, &m, &found));
        ck_assert(found && m.size == 2000 && m.offset == 512);
        ck_assert_ok(ctx, fdit_tar_stream_read(ctx, s, got, 700, &n)); /* a part; next skips the rest */
        ck_assert_uint_eq(n, 700);
        ck_assert_mem_eq(got, text, 700);
        ck_assert_ok(ctx, fdit_tar_stream_next(ctx, s, &m, &found));
        ck_assert_str_eq(m.name, "second");
        size_t at = 0;
        do {
            ck_assert_ok(ctx, fdit_tar_stream_read(ctx, s, got + at, 333, &n));
            at += n;
        } while (n);
        ck_assert_uint_eq(at, 2000);
        ck_assert_mem_eq(got, text, 2000);
        ck_assert_ok(ctx, fdit_tar_stream_next(ctx, s, &m, &found));
        ck_assert(found && m.size == 0);
        for (int i = 0; i < 2; i++) {
            ck_assert_ok(ctx, fdit_tar_stream_next(ctx, s, &m, &found));
            ck_assert(!found);
        }
        fdit_tar_stream_close(s);
    }
}
END_TEST

START_TEST(test_tar_writer)
{
    const size_t lengths[] = { 1, 99, 100, 101, 150, 155, 156, 200, 256, 257, 300, 990, 1000, 5000 };
    const char *wrong[] = { "", "/a", "a//b", "a/", "./a", "..", "a/../b" };
    enum { N = sizeof lengths / sizeof *lengths };
    struct fdit_tar_writer *w;
    struct fdit_tar *t;
    static char names[2 * N][5001];
    char text[1100];
    ck_assert_ok(ctx, fdit_tar_writer_open(ctx, in_folder("a.tar"), true, &w));
    for (int i = 0; i < 2 * N; i++) {
        size_t n = lengths[i / 2];
        memset(names[i], 'a' + i, n);
        for (size_t k = 37; i % 2 && k + 1 < n; k += 38)
            names[i][k] = '/';
        memset(text, 'a' + i, sizeof text);
        ck_assert_ok(ctx, fdit_tar_writer_add(ctx, w, names[i], text, (size_t)i * 40));
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_int_eq(fdit_tar_writer_add(ctx, w, wrong[i], "x", 1), FDIT_ERROR_ARGUMENT);
    ck_assert_ok(ctx, fdit_tar_writer_commit(ctx, &w));
    ck_assert_ptr_null(w);
    ck_assert_ok(ctx, fdit_tar_open(ctx, in_folder("a.tar"), 0, &t));
    ck_assert_uint_eq(fdit_tar_count(t), 2 * N);
    for (size_t i = 0; i < 2 * N; i++) {
        ck_assert_str_eq(fdit_tar_at(t, i)->name, names[i]);
        ck_assert_uint_eq(fdit_tar_at(t, i)->size, i * 40);
        for (size_t k = 0; k < i * 40; k++)
            ck_assert_int_eq(fdit_tar_data(t, i)[k], 'a' + (int)i);
    }
    fdit_tar_close(t);
    /* other programs agree, where there is one */
    char command[400];
    snprintf(command, sizeof command, "tar tf '%s' > '%s' 2> /dev/null", in_folder("a.tar"),
             in_folder("list"));
    if (system("tar --version > /dev/null 2>&1") == 0) {
        uint8_t *list;
        size_t n, at = 0;
        ck_assert_int_eq(system(command), 0);
        ck_assert_ok(ctx, fdit_file_read_all(ctx, in_folder("list"), 1 << 20, &list, &n));
        for (int i = 0; i < 2 * N; i++) {
            size_t length = strlen(names[i]);
            ck_assert_uint_le(at + length + 1, n);
            ck_assert_mem_eq(list + at, names[i], length);
            at += length + 1;
        }
        ck_assert_uint_eq(at, n);
        fdit_free(list);
    }
    ck_assert_ok(ctx, fdit_tar_writer_open(ctx, in_folder("b.tar"), true, &w));
    fdit_tar_writer_abort(w);
    fdit_tar_writer_abort(NULL);
    ck_assert(!fdit_file_exists(in_folder("b.tar")));
}
END_TEST

START_TEST(test_tar_memory_short_at_every_point)
{
    for (int zipped = 0; zipped < 2; zipped++) {
        struct archive a = { 0 };
        put_member(&a, "x", 'x', "18 path=some/name\n", USTAR);
        put_member(&a, "x", '0', "contents", USTAR);
        put_end(&a);
        if (zipped)
            zip_archive(&a);
        for (uint64_t k = 1;; k++) {
            struct fdit_tar *t = NULL;
            fdit_mem_fail_at(k);
            enum fdit_status status = fdit_tar_open_memory(ctx, "a", a.bytes, a.n, 99, &t);
            fdit_mem_fail_at(0);
            fdit_tar_close(t);
            if (status == FDIT_OK)
                break;
            ck_assert_int_eq(status, FDIT_ERROR_MEMORY);
            ck_assert_uint_lt(k, 100);
        }
        free(a.bytes);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tar");
    TCase *t = tcase_create("tar");
    tcase_add_checked_fixture(t, format_setup, format_teardown);
    tcase_add_test(t, test_tar_dialects);
    tcase_add_test(t, test_tar_fields);
    tcase_add_test(t, test_tar_refused);
    tcase_add_test(t, test_tar_cut_anywhere);
    tcase_add_test(t, test_tar_limit);
    tcase_add_test(t, test_tar_ends);
    tcase_add_test(t, test_tar_stream);
    tcase_add_test(t, test_tar_writer);
    tcase_add_test(t, test_tar_memory_short_at_every_point);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
