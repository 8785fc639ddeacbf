/* SPDX-License-Identifier: Apache-2.0
 * Data sets: folders, archives, WebDataset; the order of pictures; decoding; what is refused. */
#include "core/file.h"
#include "core/mem.h"
#include "data/dataset.h"
#include "data_fixture.h"
#include "picture/png.h"
#include "picture/resize.h"
#include "format/tar.h"
#include "harness.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static fdit_context *ctx;
static char *folder;
static size_t live_before;

static char logged[2000];

static void keep_log(void *user, enum fdit_log_level level, const char *message)
{
    (void)user;
    (void)level;
    size_t n = strlen(logged);
    snprintf(logged + n, sizeof logged - n, "%s\n", message);
}

static void setup(void)
{
    live_before = fdit_mem_stats().count;
    ctx = fdit_context_new();
    fdit_context_set_log(ctx, keep_log, NULL);
    logged[0] = 0;
    folder = test_folder();
}

static void teardown(void)
{
    test_folder_remove(folder);
    fdit_context_free(ctx);
    ck_assert_uint_eq(fdit_mem_stats().count, live_before);
}

static const struct fdit_dataset_options plain = { .size = 8, .channels = 3 };

static struct fdit_dataset *open_set(const char *path, const struct fdit_dataset_options *options)
{
    struct fdit_dataset *ds = NULL;
    ck_assert_ok(ctx, fdit_dataset_open(ctx, path, options, &ds));
    return ds;
}

static void refuse(const char *path, const struct fdit_dataset_options *options, enum fdit_status wanted,
                   const char *said)
{
    struct fdit_dataset *ds = NULL;
    enum fdit_status status = fdit_dataset_open(ctx, path, options, &ds);
    const char *message = fdit_context_message(ctx);
    ck_assert_msg(status == wanted, "%s: %s: %s", path, fdit_status_text(status), message);
    ck_assert_ptr_null(ds);
    ck_assert_msg(strstr(message, said) != NULL, "\"%s\" is not in \"%s\"", said, message);
    ck_assert_ptr_null(strchr(message, '\n'));
}

static void check_name(const struct fdit_dataset *ds, size_t i, const char *end)
{
    char *name;
    ck_assert_ok(ctx, fdit_dataset_name(ctx, ds, i, &name));
    ck_assert_msg(fdit_path_has_suffix(name, end), "picture %zu is %s, not %s", i, name, end);
    fdit_free(name);
}

/* Files of a folder, in order of depth, into an archive, with a prefix before each name. */
static void archive_tree(struct fdit_tar_writer *w, const char *path, const char *name)
{
    DIR *dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    for (const struct dirent *e; (e = readdir(dir));) {
        char inner[1024], inner_name[1024];
        if (e->d_name[0] == '.')
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        snprintf(inner_name, sizeof inner_name, "%s%s%s", name, *name ? "/" : "", e->d_name);
        if (fdit_is_folder(inner)) {
            archive_tree(w, inner, inner_name);
            continue;
        }
        uint8_t *bytes;
        size_t n;
        ck_assert_ok(ctx, fdit_file_read_all(ctx, inner, 1 << 24, &bytes, &n));
        ck_assert_ok(ctx, fdit_tar_writer_add(ctx, w, inner_name, bytes, n));
        fdit_free(bytes);
    }
    closedir(dir);
}

static void archive(const char *path, const char *tar, const char *prefix)
{
    struct fdit_tar_writer *w = NULL;
    ck_assert_ok(ctx, fdit_tar_writer_open(ctx, tar, false, &w));
    archive_tree(w, path, prefix);
    ck_assert_ok(ctx, fdit_tar_writer_commit(ctx, &w));
}

static void pack(const char *path, const char *to)
{
    uint8_t *bytes;
    size_t n;
    ck_assert_ok(ctx, fdit_file_read_all(ctx, path, 1 << 26, &bytes, &n));
    gzFile out = gzopen(to, "wb");
    ck_assert_ptr_nonnull(out);
    ck_assert_int_eq(gzwrite(out, bytes, (unsigned)n), (int)n);
    ck_assert_int_eq(gzclose(out), Z_OK);
    fdit_free(bytes);
}

static void check_same_set(const struct fdit_dataset *a, const struct fdit_dataset *b)
{
    uint8_t x[8 * 8 * 3], y[8 * 8 * 3];
    ck_assert_ok(ctx,
                 fdit_taxonomy_compare(ctx, fdit_dataset_taxonomy(a), "A", fdit_dataset_taxonomy(b), "B"));
    ck_assert_uint_eq(fdit_dataset_size(a), fdit_dataset_size(b));
    for (size_t i = 0; i < fdit_dataset_size(a); i++) {
        ck_assert_int_eq(fdit_dataset_label(a, i), fdit_dataset_label(b, i));
        ck_assert_ok(ctx, fdit_dataset_decode(ctx, a, i, x));
        ck_assert_ok(ctx, fdit_dataset_decode(ctx, b, i, y));
        ck_assert_msg(!memcmp(x, y, sizeof x), "picture %zu differs", i);
    }
}

START_TEST(test_folder_order)
{
    /* Classes and pictures in byte order; hidden files are not seen, others counted. */
    const char *names[] = { "b/2.png", "b/10.png", "b/A.PNG", "a b/x.png", "a/z.png", "a-b/y.png" };
    for (unsigned i = 0; i < 6; i++)
        test_picture(ctx, folder, names[i], 10, i);
    test_picture(ctx, folder, ".hidden/x.png", 10, 7);
    test_picture(ctx, folder, "b/.hidden.png", 10, 7);
    test_picture(ctx, folder, "stray.png", 10, 7);
    test_file(ctx, folder, "README", "text", 4);
    test_file(ctx, folder, "b/notes.txt", "text", 4);
    struct fdit_dataset *ds = open_set(folder, &plain);
    struct fdit_dataset_info info = fdit_dataset_info(ds);
    const struct fdit_taxonomy *tax = fdit_dataset_taxonomy(ds);
    ck_assert_str_eq(info.kind, "folder");
    ck_assert_uint_eq(info.n, 6);
    ck_assert_uint_eq(info.ignored, 3);
    ck_assert_uint_eq(info.missing, 0);
    ck_assert_ptr_nonnull(strstr(logged, "3 files"));
    ck_assert_int_eq(fdit_taxonomy_n_classes(tax), 4);
    ck_assert_int_eq(fdit_taxonomy_n_ranks(tax), 0);
    const char *classes[] = { "a", "a b", "a-b", "b" };
    for (int i = 0; i < 4; i++)
        ck_assert_str_eq(fdit_taxonomy_class_name(tax, i), classes[i]);
    check_name(ds, 0, "/a/z.png");
    check_name(ds, 3, "/b/10.png");
    check_name(ds, 4, "/b/2.png");
    check_name(ds, 5, "/b/A.PNG");
    ck_assert_int_eq(fdit_dataset_label(ds, 2), 2);
    ck_assert_int_eq(fdit_dataset_label(ds, 5), 3);
    ck_assert_uint_eq(fdit_dataset_class_first(ds, 3), 3);
    ck_assert_uint_eq(fdit_dataset_class_count(ds, 3), 3);
    fdit_dataset_close(ds);
    /* With a slash behind the path it is the same. */
    ds = open_set(test_path(folder, "%s", ""), &plain);
    check_name(ds, 0, "/a/z.png");
    fdit_dataset_close(ds);
}
END_TEST

START_TEST(test_by_content)
{
    /* The name says nothing about the format, and without a picture's name the content decides. */
    char *path = test_fixture("image/rgb_300x200.jpg");
    uint8_t *jpeg;
    size_t n;
    ck_assert_ok(ctx, fdit_file_read_all(ctx, path, 1 << 24, &jpeg, &n));
    test_file(ctx, folder, "a/really_a_jpeg.png", jpeg, n);
    test_file(ctx, folder, "a/no_extension", jpeg, n);
    test_file(ctx, folder, "a/notes", "not a picture", 13);
    struct fdit_dataset *ds = open_set(folder, &plain);
    ck_assert_uint_eq(fdit_dataset_size(ds), 2);
    uint8_t x[192], y[192], *bytes;
    size_t got;
    if (fdit_jpeg_available()) {
        ck_assert_ok(ctx, fdit_dataset_decode(ctx, ds, 0, x));
        ck_assert_ok(ctx, fdit_dataset_decode(ctx, ds, 1, y));
        ck_assert(!memcmp(x, y, sizeof x));
    } else {
        ck_assert_int_eq(fdit_dataset_decode(ctx, ds, 0, x), FDIT_ERROR_UNSUPPORTED);
    }
    ck_assert_ok(ctx, fdit_dataset_read(ctx, ds, 0, &bytes, &got));
    ck_assert(got == n && !memcmp(bytes, jpeg, n));
    fdit_free(bytes);
    fdit_free(jpeg);
    free(path);
    fdit_dataset_close(ds);
}
END_TEST

START_TEST(test_nested)
{
    test_picture(ctx, folder, "birds/robin/1.png", 10, 1);
    test_picture(ctx, folder, "birds/wren/1.png", 10, 2);
    test_picture(ctx, folder, "plants/daisy/1.png", 10, 3);
    struct fdit_dataset *ds = open_set(folder, &plain);
    const struct fdit_taxonomy *tax = fdit_dataset_taxonomy(ds);
    ck_assert_int_eq(fdit_taxonomy_n_ranks(tax), 1);
    ck_assert_str_eq(fdit_taxonomy_rank_name(tax, 0), "level1");
    ck_assert_str_eq(fdit_taxonomy_class_name(tax, 2), "plants/daisy");
    ck_assert_str_eq(fdit_taxonomy_group_name(tax, 0, 0), "birds");
    ck_assert_int_eq(fdit_taxonomy_superclass_row(tax, 0, 1), 3);
    ck_assert_int_eq(fdit_taxonomy_superclass_row(tax, 0, 2), 4);
    fdit_dataset_close(ds);
    ds = open_set(folder, &(struct fdit_dataset_options){ .size = 8, .channels = 3, .ranks = "none" });
    ck_assert_int_eq(fdit_taxonomy_n_ranks(fdit_dataset_taxonomy(ds)), 0);
    fdit_dataset_close(ds);
    refuse(folder, &(struct fdit_dataset_options){ .size = 8, .channels = 3, .ranks = "level2" },
           FDIT_ERROR_ARGUMENT, "no rank \"level2\"");
    test_picture(ctx, folder, "birds/9.png", 10, 3);
    refuse(folder, &plain, FDIT_ERROR_FORMAT, "pictures beside class folders: \"birds/9.png\"");
    ck_assert_int_eq(unlink(test_path(folder, "birds/9.png")), 0);
    test_picture(ctx, folder, "fungi/1.png", 10, 3);
    refuse(folder, &plain, FDIT_ERROR_FORMAT, "but \"fungi\" lies higher; move such into a group folder");
}
END_TEST

START_TEST(test_decode)
{
    /* What decode gives is the crop of the picture, plane by plane; grey is made after the crop. */
    char *path = test_fixture("image/rgb_64x48.png");
    uint8_t *bytes;
    size_t n;
    ck_assert_ok(ctx, fdit_file_read_all(ctx, path, 1 << 24, &bytes, &n));
    test_file(ctx, folder, "a/x.png", bytes, n);
    fdit_free(bytes);
    struct fdit_picture whole, square;
    ck_assert_ok(ctx, fdit_picture_read(ctx, path, &whole));
    for (int pad = 0; pad < 2; pad++)
        for (int channels = 1; channels <= 3; channels += 2) {
            enum { S = 20 };
            uint8_t chw[3 * S * S];
            struct fdit_dataset_options o = { .size = S,
                                              .channels = channels,
                                              .fit = pad ? FDIT_FIT_PAD : FDIT_FIT_CROP };
            struct fdit_dataset *ds = open_set(folder, &o);
            ck_assert_ok(ctx, pad ? fdit_picture_pad(ctx, &whole, S, &square)
                                  : fdit_picture_crop(ctx, &whole, S, &square));
            ck_assert_ok(ctx, fdit_dataset_decode(ctx, ds, 0, chw));
            for (int i = 0; i < S * S; i++) {
                const uint8_t *v = square.pixels + 3 * i;
                for (int c = 0; c < channels; c++) {
                    int wanted =
                        channels == 3 ? v[c] : (19595 * v[0] + 38470 * v[1] + 7471 * v[2] + 32768) >> 16;
                    ck_assert_int_eq(chw[c * S * S + i], wanted);
                }
            }
            fdit_picture_fini(&square);
            fdit_dataset_close(ds);
        }
    fdit_picture_fini(&whole);
    free(path);
}
END_TEST

START_TEST(test_taxonomy_ids)
{
    test_classes(ctx, folder, 3, 2, 10);
    static const char tsv[] = "c\tg\nc002\tx\nc000\ty\nc001\tx\n";
    struct fdit_taxonomy *tax;
    ck_assert_ok(ctx, fdit_taxonomy_parse(ctx, tsv, strlen(tsv), "t", NULL, &tax));
    struct fdit_dataset_options o = { .size = 8, .channels = 3, .taxonomy = tax };
    struct fdit_dataset *ds = open_set(folder, &o);
    ck_assert_ptr_eq(fdit_dataset_taxonomy(ds), tax);
    check_name(ds, 0, "c002/p00000.png");
    ck_assert_int_eq(fdit_dataset_label(ds, 0), 0);
    check_name(ds, 5, "c001/p00001.png");
    fdit_dataset_close(ds);

    /* A folder that the taxonomy does not know, and several. */
    test_picture(ctx, folder, "new/1.png", 10, 1);
    refuse(folder, &o, FDIT_ERROR_FORMAT, "1 class folder is not in the taxonomy: \"new\"");
    for (unsigned i = 0; i < 9; i++) {
        char name[32];
        snprintf(name, sizeof name, "new%u/1.png", i);
        test_picture(ctx, folder, name, 10, i);
    }
    refuse(folder, &o, FDIT_ERROR_FORMAT, "10 class folders are not in the taxonomy");
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), " and 5 more"));
    fdit_taxonomy_free(tax);
}
END_TEST

START_TEST(test_missing_classes)
{
    test_classes(ctx, folder, 2, 2, 10);
    static const char tsv[] = "c\nc000\nc001\nc002\n";
    struct fdit_taxonomy *tax;
    ck_assert_ok(ctx, fdit_taxonomy_parse(ctx, tsv, strlen(tsv), "t", NULL, &tax));
    struct fdit_dataset_options o = { .size = 8, .channels = 3, .taxonomy = tax };
    refuse(folder, &o, FDIT_ERROR_FORMAT, "1 of 3 classes of the taxonomy have no picture: \"c002\"");
    o.allow_missing = true;
    struct fdit_dataset *ds = open_set(folder, &o);
    ck_assert_uint_eq(fdit_dataset_info(ds).missing, 1);
    ck_assert_uint_eq(fdit_dataset_class_count(ds, 2), 0);
    ck_assert_uint_eq(fdit_dataset_class_first(ds, 2), 4);
    ck_assert_ptr_nonnull(strstr(logged, "\"c002\""));
    fdit_dataset_close(ds);
    fdit_taxonomy_free(tax);
}
END_TEST

START_TEST(test_second_names)
{
    /* Folders of iNaturalist carry image_dir_name. */
    static const char json[] = "[{\"id\":0,\"name\":\"Turdus merula\",\"image_dir_name\":\"0_T\"},"
                               "{\"id\":1,\"name\":\"Bellis\",\"image_dir_name\":\"1_B\"}]";
    struct fdit_taxonomy *tax;
    ck_assert_ok(ctx, fdit_taxonomy_parse(ctx, json, strlen(json), "t", NULL, &tax));
    struct fdit_dataset_options o = { .size = 8, .channels = 3, .taxonomy = tax };
    test_picture(ctx, folder, "1_B/1.png", 10, 1);
    test_picture(ctx, folder, "Turdus merula/1.png", 10, 2);
    struct fdit_dataset *ds = open_set(folder, &o);
    check_name(ds, 0, "Turdus merula/1.png");
    check_name(ds, 1, "1_B/1.png");
    fdit_dataset_close(ds);
    test_picture(ctx, folder, "Bellis/1.png", 10, 1);
    refuse(folder, &o, FDIT_ERROR_FORMAT, "are the same class");
    fdit_taxonomy_free(tax);
}
END_TEST

START_TEST(test_refused)
{
    refuse(test_path(folder, "nothing"), &plain, FDIT_ERROR_IO, "no such file or folder");
    refuse(folder, &plain, FDIT_ERROR_FORMAT, "no picture in it");
    test_picture(ctx, folder, "loose.png", 10, 1);
    refuse(folder, &plain, FDIT_ERROR_FORMAT, "1 picture and no class folder");
    test_file(ctx, folder, "file.txt", "x", 1);
    refuse(test_path(folder, "file.txt"), &plain, FDIT_ERROR_FORMAT, "is a text, not a data set");
    test_picture(ctx, folder, "a/1.png", 10, 1);
    ck_assert_int_eq(mkdir(test_path(folder, "empty"), 0700), 0);
    refuse(folder, &plain, FDIT_ERROR_FORMAT, "1 class folder without a picture: \"empty\"");
    test_file(ctx, folder, "empty/text", "x", 1);
    refuse(folder, &plain, FDIT_ERROR_FORMAT, "1 class folder without a picture: \"empty\"");
    ck_assert_int_eq(unlink(test_path(folder, "empty/text")), 0);
    ck_assert_int_eq(rmdir(test_path(folder, "empty")), 0);
    if (geteuid()) { /* root may read everything */
        ck_assert_int_eq(mkdir(test_path(folder, "locked"), 0), 0);
        refuse(folder, &plain, FDIT_ERROR_IO, "locked: cannot be read");
        ck_assert_int_eq(rmdir(test_path(folder, "locked")), 0);
    }
    ck_assert_int_eq(symlink("..", test_path(folder, "a/up")), 0);
    refuse(folder, &plain, FDIT_ERROR_FORMAT, "a link to a folder above it");
    ck_assert_int_eq(unlink(test_path(folder, "a/up")), 0);
    test_picture(ctx, folder, "caf\xe9/1.png", 10, 1);
    refuse(folder, &plain, FDIT_ERROR_FORMAT, "is not UTF-8");
    refuse(folder, &(struct fdit_dataset_options){ .size = 0, .channels = 3 }, FDIT_ERROR_ARGUMENT, "size");
    refuse(folder, &(struct fdit_dataset_options){ .size = 8, .channels = 2 }, FDIT_ERROR_ARGUMENT,
           "2 channels");
}
END_TEST

START_TEST(test_data_that_went_away)
{
    char *there = NULL, *aside = NULL;
    uint8_t chw[192];
    ck_assert_ok(ctx, fdit_path_join(ctx, folder, "data", &there));
    ck_assert_ok(ctx, fdit_path_join(ctx, folder, "aside", &aside));
    test_classes(ctx, there, 1, 4, 10);
    struct fdit_dataset *ds = open_set(there, &plain);
    ck_assert_ok(ctx, fdit_dataset_decode(ctx, ds, 0, chw));
    ck_assert_int_eq(rename(there, aside), 0);
    ck_assert_int_eq(fdit_dataset_decode(ctx, ds, 0, chw), FDIT_ERROR_IO); /* not one broken picture */
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "data: no longer exists"));
    fdit_dataset_close(ds);
    fdit_free(there);
    fdit_free(aside);
}
END_TEST

START_TEST(test_broken_pictures)
{
    test_classes(ctx, folder, 1, 4, 10);
    uint8_t *bytes, chw[192];
    size_t n;
    ck_assert_ok(ctx, fdit_file_read_all(ctx, test_path(folder, "c000/p00001.png"), 1 << 20, &bytes, &n));
    test_file(ctx, folder, "c000/p00001.png", bytes, n / 2);
    fdit_free(bytes);
    test_file(ctx, folder, "c000/p00002.png", "no picture at all", 17);
    struct fdit_dataset *ds = open_set(folder, &plain);
    ck_assert_uint_eq(fdit_dataset_size(ds), 4);
    ck_assert_ok(ctx, fdit_dataset_decode(ctx, ds, 0, chw));
    ck_assert_int_eq(fdit_dataset_decode(ctx, ds, 1, chw), FDIT_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "c000/p00001.png"));
    ck_assert_int_eq(fdit_dataset_decode(ctx, ds, 2, chw), FDIT_ERROR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "c000/p00002.png"));
    ck_assert_int_eq(unlink(test_path(folder, "c000/p00003.png")), 0);
    ck_assert_int_eq(fdit_dataset_decode(ctx, ds, 3, chw), FDIT_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "c000/p00003.png"));
    struct fdit_picture_probe p;
    ck_assert_int_eq(fdit_dataset_probe(ctx, ds, 3, &p), FDIT_ERROR_FORMAT);
    /* all of them at once: that is not a broken picture */
    fdit_dataset_close(ds);
}
END_TEST

START_TEST(test_archives)
{
    /* A folder, its .tar with and without a folder around it, and packed: the same data set. */
    const char *data = test_path(folder, "data");
    test_classes(ctx, data, 3, 4, 10);
    test_picture(ctx, data, "c-1/a.png", 10, 77);
    test_file(ctx, data, "c000/notes.txt", "text", 4);
    struct fdit_dataset *a = open_set(data, &plain), *b;
    archive(data, test_path(folder, "flat.tar"), "");
    archive(data, test_path(folder, "around.tar"), "some/folder");
    pack(test_path(folder, "around.tar"), test_path(folder, "around.tar.gz"));
    pack(test_path(folder, "flat.tar"), test_path(folder, "flat.tgz"));
    static const char *const names[] = { "flat.tar", "flat.tgz" };
    for (int i = 0; i < 2; i++) {
        b = open_set(test_path(folder, "%s", names[i]), &plain);
        ck_assert_str_eq(fdit_dataset_info(b).kind, "tar");
        ck_assert_uint_eq(fdit_dataset_info(b).ignored, 1);
        check_same_set(a, b);
        fdit_dataset_close(b);
    }
    /* One folder around all goes; the second is a level. */
    b = open_set(test_path(folder, "around.tar.gz"), &plain);
    ck_assert_str_eq(fdit_taxonomy_class_name(fdit_dataset_taxonomy(b), 0), "folder/c-1");
    fdit_dataset_close(b);
    /* A taxonomy that has the longer names decides. */
    struct fdit_taxonomy *tax;
    static const char tsv[] = "c\nsome/folder/c000\nsome/folder/c001\nsome/folder/c002\n"
                              "some/folder/c-1\n";
    ck_assert_ok(ctx, fdit_taxonomy_parse(ctx, tsv, strlen(tsv), "t", NULL, &tax));
    struct fdit_dataset_options o = { .size = 8, .channels = 3, .taxonomy = tax };
    b = open_set(test_path(folder, "around.tar"), &o);
    ck_assert_int_eq(fdit_dataset_label(b, fdit_dataset_size(b) - 1), 3);
    check_name(b, 0, "around.tar:some/folder/c000/p00000.png");
    fdit_dataset_close(b);
    fdit_taxonomy_free(tax);
    fdit_dataset_close(a);
    /* Cut off. */
    ck_assert_int_eq(truncate(test_path(folder, "flat.tar"), 5000), 0);
    refuse(test_path(folder, "flat.tar"), &plain, FDIT_ERROR_FORMAT, "flat.tar");
    test_file(ctx, folder, "none.tar", "short", 5);
    refuse(test_path(folder, "none.tar"), &plain, FDIT_ERROR_FORMAT, "none.tar");
}
END_TEST

static void add_picture(struct fdit_tar_writer *w, const char *name, const char *from)
{
    uint8_t *bytes;
    size_t n;
    ck_assert_ok(ctx, fdit_file_read_all(ctx, test_path(folder, "%s", from), 1 << 20, &bytes, &n));
    ck_assert_ok(ctx, fdit_tar_writer_add(ctx, w, name, bytes, n));
    fdit_free(bytes);
}

START_TEST(test_archive_members)
{
    /* A member that is there twice counts once, with its later content; hidden ones not at all. */
    test_picture(ctx, folder, "1.png", 10, 1);
    test_picture(ctx, folder, "2.png", 10, 2);
    struct fdit_tar_writer *w = NULL;
    ck_assert_ok(ctx, fdit_tar_writer_open(ctx, test_path(folder, "x.tar"), false, &w));
    add_picture(w, "a/x.png", "1.png");
    add_picture(w, "a/._x.png", "1.png");
    add_picture(w, "a/x.png", "2.png");
    add_picture(w, "a/without_extension", "1.png");
    ck_assert_ok(ctx, fdit_tar_writer_add(ctx, w, "a/notes", "hello, this is text", 19));
    ck_assert_ok(ctx, fdit_tar_writer_commit(ctx, &w));
    pack(test_path(folder, "x.tar"), test_path(folder, "y.tgz"));
    static const char *const names[] = { "x.tar", "y.tgz" };
    for (int i = 0; i < 2; i++) {
        struct fdit_dataset *ds = open_set(test_path(folder, "%s", names[i]), &plain);
        ck_assert_uint_eq(fdit_dataset_size(ds), 2);
        ck_assert_uint_eq(fdit_dataset_info(ds).ignored, 1);
        uint8_t *bytes, *wanted;
        size_t n, n_wanted;
        ck_assert_ok(ctx, fdit_dataset_read(ctx, ds, 1, &bytes, &n));
        ck_assert_ok(ctx, fdit_file_read_all(ctx, test_path(folder, "2.png"), 1 << 20, &wanted, &n_wanted));
        ck_assert(n == n_wanted && !memcmp(bytes, wanted, n));
        fdit_free(bytes);
        fdit_free(wanted);
        fdit_dataset_close(ds);
    }
    ck_assert_ok(ctx, fdit_tar_writer_open(ctx, test_path(folder, "z.tar"), false, &w));
    add_picture(w, "x.png", "1.png");
    ck_assert_ok(ctx, fdit_tar_writer_commit(ctx, &w));
    refuse(test_path(folder, "z.tar"), &plain, FDIT_ERROR_FORMAT, "z.tar:x.png: lies in no class folder");
}
END_TEST

/* Shards 000.tar, 001.tar of two pictures each: classes 2, 0 and 0, 5. */
static void make_shards(const char *cls)
{
    static const char *const ids[2][2] = { { "2", "0" }, { "0\n", "5" } };
    for (int s = 0; s < 2; s++) {
        struct fdit_tar_writer *w = NULL;
        ck_assert_ok(ctx, fdit_tar_writer_open(ctx, test_path(folder, "shards/%03d.tar", s), false, &w));
        for (int i = 0; i < 2; i++) {
            char name[64];
            const char *id = s && i && cls ? cls : ids[s][i];
            snprintf(name, sizeof name, "%d%d.jpg.png", s, i);
            add_picture(w, name, i ? "1.png" : "2.png");
            snprintf(name, sizeof name, "%d%d.cls", s, i);
            ck_assert_ok(ctx, fdit_tar_writer_add(ctx, w, name, id, strlen(id)));
            snprintf(name, sizeof name, "%d%d.json", s, i);
            ck_assert_ok(ctx, fdit_tar_writer_add(ctx, w, name, "{}", 2));
        }
        ck_assert_ok(ctx, fdit_tar_writer_commit(ctx, &w));
    }
}

START_TEST(test_webdataset)
{
    test_picture(ctx, folder, "1.png", 10, 1);
    test_picture(ctx, folder, "2.png", 10, 2);
    char shards[1024], pattern[1100];
    snprintf(shards, sizeof shards, "%s/shards", folder);
    snprintf(pattern, sizeof pattern, "%s/{000..001}.tar", shards);
    ck_assert_int_eq(mkdir(shards, 0700), 0);
    make_shards(NULL);
    const char *paths[] = { shards, pattern };
    for (int i = 0; i < 2; i++) {
        struct fdit_dataset *ds = open_set(paths[i], &plain);
        ck_assert_str_eq(fdit_dataset_info(ds).kind, "webdataset");
        ck_assert_uint_eq(fdit_dataset_size(ds), 4);
        ck_assert_uint_eq(fdit_dataset_info(ds).missing, 3); /* 1, 3, 4 */
        ck_assert_int_eq(fdit_taxonomy_n_classes(fdit_dataset_taxonomy(ds)), 6);
        check_name(ds, 0, "000.tar:01.jpg.png");
        check_name(ds, 1, "001.tar:10.jpg.png");
        check_name(ds, 2, "000.tar:00.jpg.png");
        check_name(ds, 3, "001.tar:11.jpg.png");
        ck_assert_int_eq(fdit_dataset_label(ds, 3), 5);
        uint8_t chw[192];
        ck_assert_ok(ctx, fdit_dataset_decode(ctx, ds, 3, chw));
        fdit_dataset_close(ds);
    }
    struct fdit_dataset *ds = open_set(test_path(folder, "shards/000.tar"), &plain);
    ck_assert_uint_eq(fdit_dataset_size(ds), 2);
    fdit_dataset_close(ds);

    struct fdit_taxonomy *tax;
    ck_assert_ok(ctx, fdit_taxonomy_from_count(ctx, 5, &tax));
    struct fdit_dataset_options o = { .size = 8, .channels = 3, .taxonomy = tax, .allow_missing = true };
    refuse(shards, &o, FDIT_ERROR_FORMAT, "class id 5, but the taxonomy has 5 classes");
    fdit_taxonomy_free(tax);

    refuse(test_path(folder, "shards/{000..002}.tar"), &plain, FDIT_ERROR_IO, "002.tar");
    refuse(test_path(folder, "shards/{3..2}.tar"), &plain, FDIT_ERROR_ARGUMENT, "A <= B");
    static const char *const bad[] = {
        "",    "x",           "-1",
        "1 2", "99999999999", "                                                                        1"
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        make_shards(bad[i]);
        refuse(shards, &plain, FDIT_ERROR_FORMAT, "001.tar:11.cls: a class id");
    }
    struct fdit_tar_writer *w = NULL;
    ck_assert_ok(ctx, fdit_tar_writer_open(ctx, test_path(folder, "shards/001.tar"), false, &w));
    add_picture(w, "a.png", "1.png");
    ck_assert_ok(ctx, fdit_tar_writer_add(ctx, w, "b.cls", "1", 1));
    ck_assert_ok(ctx, fdit_tar_writer_commit(ctx, &w));
    refuse(shards, &plain, FDIT_ERROR_FORMAT, "001.tar:a.png: no a.cls beside it");
    ck_assert_ok(ctx, fdit_tar_writer_open(ctx, test_path(folder, "shards/001.tar"), false, &w));
    add_picture(w, "a/a.png", "1.png");
    ck_assert_ok(ctx, fdit_tar_writer_commit(ctx, &w));
    refuse(shards, &plain, FDIT_ERROR_FORMAT, "one has .cls members");
}
END_TEST

static void expect_logged(const char *part)
{
    ck_assert_msg(strstr(logged, part) != NULL, "\"%s\" is not in \"%s\"", part, logged);
}

/* What other programs and systems leave in people's folders. */
START_TEST(test_junk)
{
    test_picture(ctx, folder, "d/owl/1.PNG", 10, 1);
    test_picture(ctx, folder, "d/tit/1.png", 10, 1);
    test_file(ctx, folder, "d/__MACOSX/owl/._1.PNG", "x", 1);
    test_file(ctx, folder, "d/@eaDir/owl/x", "x", 1);
    test_file(ctx, folder, "d/lost+found/x", "x", 1);
    test_file(ctx, folder, "d/.DS_Store", "x", 1);
    test_file(ctx, folder, "d/owl/Thumbs.db", "\xd0\xcf\x11\xe0", 4);
    test_file(ctx, folder, "d/owl/empty.txt", "", 0);
    ck_assert_int_eq(symlink("/nowhere/x.png", test_path(folder, "d/owl/gone.png")), 0);
    ck_assert_int_eq(symlink("../owl/1.PNG", test_path(folder, "d/tit/2.png")), 0);
    struct fdit_dataset *ds = open_set(test_path(folder, "d"), &plain);
    ck_assert_uint_eq(fdit_dataset_size(ds), 3);
    ck_assert_uint_eq(fdit_dataset_info(ds).ignored, 2);
    check_name(ds, 0, "owl/1.PNG");
    check_name(ds, 2, "tit/2.png");
    expect_logged("2 files are not pictures of a class and left out (");
    expect_logged("\"Thumbs.db\"");
    expect_logged("1 link to nowhere left out: \"gone.png\"");
    ck_assert_int_eq(unlink(test_path(folder, "d/owl/1.PNG")), 0);
    uint8_t chw[192];
    ck_assert_int_eq(fdit_dataset_decode(ctx, ds, 0, chw), FDIT_ERROR_FORMAT);
    ck_assert_msg(strstr(fdit_context_message(ctx), "owl/1.PNG: no longer exists"), "%s",
                  fdit_context_message(ctx));
    fdit_dataset_close(ds);
}
END_TEST

/* What is not a file in an archive is counted as what it is: of links it is said how to pack them. */
START_TEST(test_archive_links)
{
    static const struct {
        char type;
        size_t links, special;
        const char *says;
    } cases[] = {
        { '1', 1, 0, "1 link is left out; tar packs what links lead to with" },
        { '2', 1, 0, "1 link is left out; tar packs what links lead to with" },
        { '3', 0, 1, "1 member that is a pipe or device is left out" },
        { '4', 0, 1, "1 member that is a pipe or device is left out" },
        { '6', 0, 1, "1 member that is a pipe or device is left out" },
    };
    struct fdit_tar_writer *w = NULL;
    uint8_t *bytes;
    size_t n;
    test_picture(ctx, folder, "1.png", 10, 1);
    ck_assert_ok(ctx, fdit_tar_writer_open(ctx, test_path(folder, "x.tar"), false, &w));
    ck_assert_ok(ctx, fdit_tar_writer_add(ctx, w, "a/hard.png", "", 0));
    add_picture(w, "a/x.png", "1.png");
    ck_assert_ok(ctx, fdit_tar_writer_commit(ctx, &w));
    ck_assert_ok(ctx, fdit_file_read_all(ctx, test_path(folder, "x.tar"), 1 << 20, &bytes, &n));
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        unsigned sum = 0;
        bytes[156] = (uint8_t)cases[k].type;
        memset(bytes + 148, ' ', 8);
        for (int i = 0; i < 512; i++)
            sum += bytes[i];
        snprintf((char *)bytes + 148, 8, "%06o", sum);
        test_file(ctx, folder, "y.tar", bytes, n);
        struct fdit_dataset *ds = open_set(test_path(folder, "y.tar"), &plain);
        ck_assert_uint_eq(fdit_dataset_size(ds), 1);
        ck_assert_uint_eq(fdit_dataset_info(ds).links, cases[k].links);
        ck_assert_uint_eq(fdit_dataset_info(ds).special, cases[k].special);
        ck_assert_uint_eq(fdit_dataset_info(ds).ignored, 0);
        expect_logged(cases[k].says);
        fdit_dataset_close(ds);
    }
    fdit_free(bytes);
}
END_TEST

START_TEST(test_shard_lists)
{
    char path[1200];
    test_picture(ctx, folder, "1.png", 10, 1);
    test_picture(ctx, folder, "2.png", 10, 2);
    ck_assert_int_eq(mkdir(test_path(folder, "shards"), 0700), 0);
    make_shards(NULL);
    static const struct {
        const char *text;
        size_t n;
    } lists[] = { { "%s/shards/000.tar,%s/shards/001.tar", 4 },
                  { "%s/shards/00{0,1}.tar", 4 },
                  { "%s/shards/{000,001}.tar,", 4 },
                  { "%s/shards/0{0..0}{0..1}.tar", 4 },
                  { "%s/shards/*.tar", 4 },
                  { "%s/sh*/00[0-1].tar", 4 },
                  { "%s/shards/001.{tar,tar}", 2 } };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        snprintf(path, sizeof path, lists[i].text, folder, folder);
        struct fdit_dataset *ds = open_set(path, &plain);
        ck_assert_msg(fdit_dataset_size(ds) == lists[i].n, "%s: %zu", path, fdit_dataset_size(ds));
        fdit_dataset_close(ds);
    }
    refuse(test_path(folder, "shards/{a,b}.tar"), &plain, FDIT_ERROR_IO, "a.tar: no such file");
    refuse(test_path(folder, "shards/x*.tar"), &plain, FDIT_ERROR_IO, "no file has such a name");
    refuse(test_path(folder, "{1,2}.png"), &plain, FDIT_ERROR_FORMAT, "is a PNG picture, not a data set");
    refuse(test_path(folder, "shards/{000.tar"), &plain, FDIT_ERROR_IO, "no such file");
    /* a name that has such characters is itself */
    ck_assert_int_eq(rename(test_path(folder, "shards/000.tar"), test_path(folder, "a,{1..2}*.tar")), 0);
    struct fdit_dataset *ds = open_set(test_path(folder, "a,{1..2}*.tar"), &plain);
    ck_assert_uint_eq(fdit_dataset_size(ds), 2);
    fdit_dataset_close(ds);
}
END_TEST

/* KEY.jpg is the sample's picture, whatever others there are. */
START_TEST(test_several_pictures_of_a_sample)
{
    struct fdit_tar_writer *w = NULL;
    test_picture(ctx, folder, "1.png", 10, 1);
    ck_assert_ok(ctx, fdit_tar_writer_open(ctx, test_path(folder, "x.tar"), false, &w));
    add_picture(w, "d/a.seg.png", "1.png");
    add_picture(w, "d/a.png", "1.png");
    ck_assert_ok(ctx, fdit_tar_writer_add(ctx, w, "d/a.cls", "1", 1));
    add_picture(w, "b.image.png", "1.png");
    ck_assert_ok(ctx, fdit_tar_writer_add(ctx, w, "b.cls", "0", 1));
    ck_assert_ok(ctx, fdit_tar_writer_commit(ctx, &w));
    struct fdit_dataset *ds = open_set(test_path(folder, "x.tar"), &plain);
    ck_assert_uint_eq(fdit_dataset_size(ds), 2);
    ck_assert_uint_eq(fdit_dataset_info(ds).ignored, 1);
    check_name(ds, 0, "x.tar:b.image.png");
    check_name(ds, 1, "x.tar:d/a.png");
    fdit_dataset_close(ds);
    ck_assert_ok(ctx, fdit_tar_writer_open(ctx, test_path(folder, "y.tar"), false, &w));
    add_picture(w, "b.image.png", "1.png");
    add_picture(w, "b.depth.png", "1.png");
    ck_assert_ok(ctx, fdit_tar_writer_add(ctx, w, "b.cls", "0", 1));
    ck_assert_ok(ctx, fdit_tar_writer_commit(ctx, &w));
    refuse(test_path(folder, "y.tar"), &plain, FDIT_ERROR_FORMAT,
           "1 sample with several pictures, and it is not clear which is meant: \"b\"");
}
END_TEST

START_TEST(test_split)
{
    test_classes(ctx, folder, 5, 10, 4);
    test_classes(ctx, folder, 6, 1, 4); /* and a class with one picture */
    struct fdit_dataset *ds = open_set(folder, &plain);
    ck_assert_uint_eq(fdit_dataset_size(ds), 51);
    uint32_t *train, *val, *again, *other;
    size_t n_train, n_val, n;
    ck_assert_ok(ctx, fdit_dataset_split(ctx, ds, 0.25, 7, &train, &n_train, &val, &n_val));
    ck_assert_uint_eq(n_train + n_val, 51);
    int seen[51] = { 0 }, per_class[6] = { 0 };
    for (size_t i = 0; i < n_train; i++)
        seen[train[i]]++;
    for (size_t i = 0; i < n_val; i++) {
        ck_assert(!i || val[i] > val[i - 1]);
        seen[val[i]]++;
        per_class[fdit_dataset_label(ds, val[i])]++;
    }
    for (int i = 0; i < 51; i++)
        ck_assert_int_eq(seen[i], 1);
    for (int c = 0; c < 5; c++)
        ck_assert(per_class[c] == 2 || per_class[c] == 3);
    ck_assert_int_eq(per_class[5], 0); /* its last picture stays in training */
    fdit_free(train);
    ck_assert_ok(ctx, fdit_dataset_split(ctx, ds, 0.25, 7, &train, &n_train, &again, &n));
    ck_assert(n == n_val && !memcmp(val, again, n * sizeof *val));
    fdit_free(train);
    fdit_free(again);
    ck_assert_ok(ctx, fdit_dataset_split(ctx, ds, 0.25, 8, &train, &n_train, &other, &n));
    ck_assert(n == n_val && memcmp(val, other, n * sizeof *val));
    fdit_free(train);
    fdit_free(other);
    fdit_free(val);
    static const double bad[] = { 0, 1, -0.5, 2, 0.0 / 1e300, 1e-9 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_int_eq(fdit_dataset_split(ctx, ds, bad[i], 7, &train, &n_train, &val, &n_val),
                         FDIT_ERROR_ARGUMENT);
    fdit_dataset_close(ds);
}
END_TEST

/* Every allocation fails once while a data set is opened and a picture decoded. */
START_TEST(test_memory)
{
    const char *data = test_path(folder, "data");
    test_classes(ctx, data, 2, 2, 10);
    archive(data, test_path(folder, "x.tar"), "");
    pack(test_path(folder, "x.tar"), test_path(folder, "x.tgz"));
    char paths[3][1024];
    snprintf(paths[0], sizeof paths[0], "%s", data);
    snprintf(paths[1], sizeof paths[1], "%s", test_path(folder, "x.tar"));
    snprintf(paths[2], sizeof paths[2], "%s", test_path(folder, "x.tgz"));
    for (int i = 0; i < 3; i++) {
        bool ok = false;
        for (uint64_t n = 1; !ok; n++) {
            struct fdit_dataset *ds = NULL;
            size_t live = fdit_mem_stats().count;
            uint8_t chw[192];
            fdit_mem_fail_at(n);
            enum fdit_status status = fdit_dataset_open(ctx, paths[i], &plain, &ds);
            if (status == FDIT_OK)
                status = fdit_dataset_decode(ctx, ds, 1, chw);
            fdit_mem_fail_at(0);
            ok = status == FDIT_OK;
            ck_assert_msg(ok || status == FDIT_ERROR_MEMORY, "%s: %s", fdit_status_text(status),
                          fdit_context_message(ctx));
            fdit_dataset_close(ds);
            ck_assert_uint_eq(fdit_mem_stats().count, live);
            ck_assert_uint_lt(n, 10000);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("data");
    TCase *c = tcase_create("data");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, test_folder_order);
    tcase_add_test(c, test_by_content);
    tcase_add_test(c, test_nested);
    tcase_add_test(c, test_decode);
    tcase_add_test(c, test_taxonomy_ids);
    tcase_add_test(c, test_missing_classes);
    tcase_add_test(c, test_second_names);
    tcase_add_test(c, test_refused);
    tcase_add_test(c, test_broken_pictures);
    tcase_add_test(c, test_data_that_went_away);
    tcase_add_test(c, test_archives);
    tcase_add_test(c, test_archive_members);
    tcase_add_test(c, test_webdataset);
    tcase_add_test(c, test_junk);
    tcase_add_test(c, test_archive_links);
    tcase_add_test(c, test_shard_lists);
    tcase_add_test(c, test_several_pictures_of_a_sample);
    tcase_add_test(c, test_split);
    tcase_add_test(c, test_memory);
    suite_add_tcase(suite, c);
    return test_run(suite);
}
