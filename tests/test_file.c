/* SPDX-License-Identifier: Apache-2.0
 * test_file.c: whole files or none, logs that are cut, and names that become paths. */
#include "core/file.h"
#include "core/mem.h"
#include "harness.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static fdit_context *ctx;
static size_t live_before;
static char folder[] = "test_file.XXXXXX";

static void setup(void)
{
    live_before = fdit_mem_stats().count;
    ctx = fdit_context_new();
    strcpy(folder, "test_file.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static int files_in_folder(void)
{
    int n = 0;
    DIR *dir = opendir(folder);
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.' || strncmp(e->d_name, ".fdit", 5) == 0;
    closedir(dir);
    return n;
}

static void teardown(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    ck_assert_int_eq(system(command), 0);
    fdit_context_free(ctx);
    ck_assert_uint_eq(fdit_mem_stats().count, live_before);
}

static const char *in_folder(const char *name)
{
    static char path[4][160];
    static int at;
    at = (at + 1) % 4;
    snprintf(path[at], sizeof path[at], "%s/%s", folder, name);
    return path[at];
}

static void check_contents(const char *path, const char *want)
{
    uint8_t *data;
    size_t n;
    ck_assert_ok(ctx, fdit_file_read_all(ctx, path, 1 << 24, &data, &n));
    ck_assert_uint_eq(n, strlen(want));
    ck_assert_str_eq((char *)data, want);
    fdit_free(data);
}

/* ------------------------------------------------------------------ reading */

START_TEST(test_read)
{
    const char *path = in_folder("a");
    uint8_t *data;
    size_t n;
    uint64_t bytes;
    struct fdit_file_map map;
    ck_assert_ok(ctx, fdit_file_write(ctx, path, true, "hello\0you", 9));
    ck_assert_ok(ctx, fdit_file_read_all(ctx, path, 9, &data, &n));
    ck_assert_uint_eq(n, 9);
    ck_assert_mem_eq(data, "hello\0you\0", 10);
    fdit_free(data);
    ck_assert_int_eq(fdit_file_read_all(ctx, path, 8, &data, &n), FDIT_ERROR_FORMAT);
    ck_assert_ptr_null(data);
    ck_assert_ok(ctx, fdit_file_map(ctx, path, &map));
    ck_assert_uint_eq(map.size, 9);
    ck_assert_mem_eq(map.data, "hello\0you", 9);
    fdit_file_map_drop(&map, map.data, map.size);
    ck_assert_mem_eq(map.data, "hello\0you", 9);
    fdit_file_unmap(&map);
    ck_assert_ok(ctx, fdit_file_size(ctx, path, &bytes));
    ck_assert_uint_eq(bytes, 9);
    ck_assert(fdit_file_exists(path) && fdit_is_file(path) && !fdit_is_folder(path));
    ck_assert(fdit_is_folder(folder) && !fdit_is_file(folder));
    ck_assert_ok(ctx, fdit_file_write(ctx, path, false, "", 0));
    ck_assert_ok(ctx, fdit_file_map(ctx, path, &map));
    ck_assert_uint_eq(map.size, 0);
    ck_assert_ptr_nonnull(map.data);
    fdit_file_unmap(&map);
    fdit_file_unmap(&map);
    ck_assert_ok(ctx, fdit_file_remove(ctx, path));
    ck_assert_ok(ctx, fdit_file_remove(ctx, path));
    ck_assert(!fdit_file_exists(path));
    ck_assert_int_eq(fdit_file_map(ctx, path, &map), FDIT_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), path));
    ck_assert_int_eq(fdit_file_map(ctx, folder, &map), FDIT_ERROR_IO);
    ck_assert_int_eq(fdit_file_read_all(ctx, folder, 9, &data, &n), FDIT_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "folder"));
}
END_TEST

START_TEST(test_read_a_pipe)
{
    uint8_t *data;
    size_t n;
    struct fdit_file_map map;
    char through[64];
    ck_assert_int_eq(fdit_file_map(ctx, "/dev/null", &map), FDIT_ERROR_IO);
    ck_assert_int_eq(fdit_file_read_all(ctx, "/dev/zero", 9, &data, &n), FDIT_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "/dev/zero: is a device or a socket"));
    for (int limit = 19999; limit <= 20000; limit++) {
        FILE *f = popen("printf '%020000d' 0", "r");
        ck_assert_ptr_nonnull(f);
        snprintf(through, sizeof through, "/dev/fd/%d", fileno(f));
        if (!fdit_file_exists(through)) { /* not on every system */
            pclose(f);
            break;
        }
        enum fdit_status status = fdit_file_read_all(ctx, through, (size_t)limit, &data, &n);
        ck_assert_int_eq(status, limit < 20000 ? FDIT_ERROR_FORMAT : FDIT_OK);
        if (status == FDIT_OK)
            ck_assert_uint_eq(n, 20000);
        fdit_free(data);
        pclose(f);
    }
}
END_TEST

/* ------------------------------------------------------------------ writing */

START_TEST(test_writer)
{
    const char *path = in_folder("out");
    struct fdit_writer *w;
    ck_assert_ok(ctx, fdit_file_write(ctx, path, false, "old", 3));
    ck_assert_ok(ctx, fdit_writer_open(ctx, path, true, &w));
    ck_assert_ok(ctx, fdit_writer_write(ctx, w, "new", 3));
    ck_assert_ok(ctx, fdit_writer_zeros(ctx, w, 100000));
    ck_assert_ok(ctx, fdit_writer_write(ctx, w, "", 0));
    ck_assert_uint_eq(fdit_writer_bytes(w), 100003);
    check_contents(path, "old");            /* not before the commit */
    ck_assert_int_le(files_in_folder(), 2); /* one where the system has files without a name */
    ck_assert_ok(ctx, fdit_writer_commit(ctx, &w));
    ck_assert_ptr_null(w);
    uint8_t *data;
    size_t n;
    ck_assert_ok(ctx, fdit_file_read_all(ctx, path, 1 << 24, &data, &n));
    ck_assert_uint_eq(n, 100003);
    ck_assert_mem_eq(data, "new\0\0\0", 6);
    ck_assert_int_eq(data[n - 1], 0);
    fdit_free(data);
    ck_assert_int_eq(files_in_folder(), 1);
    /* abort: as if nothing had been */
    ck_assert_ok(ctx, fdit_writer_open(ctx, path, false, &w));
    ck_assert_ok(ctx, fdit_writer_write(ctx, w, "newer", 5));
    fdit_writer_abort(w);
    fdit_writer_abort(NULL);
    ck_assert_int_eq(files_in_folder(), 1);
    ck_assert_ok(ctx, fdit_file_size(ctx, path, &(uint64_t){ 0 }));
    /* two at once */
    struct fdit_writer *v;
    ck_assert_ok(ctx, fdit_writer_open(ctx, path, false, &w));
    ck_assert_ok(ctx, fdit_writer_open(ctx, path, false, &v));
    ck_assert_ok(ctx, fdit_writer_write(ctx, w, "w", 1));
    ck_assert_ok(ctx, fdit_writer_write(ctx, v, "v", 1));
    ck_assert_ok(ctx, fdit_writer_commit(ctx, &v));
    ck_assert_ok(ctx, fdit_writer_commit(ctx, &w));
    check_contents(path, "w");
}
END_TEST

START_TEST(test_writer_permissions)
{
    struct stat st;
    mode_t before = umask(027);
    ck_assert_ok(ctx, fdit_file_write(ctx, in_folder("out"), false, "x", 1));
    umask(before);
    ck_assert_int_eq(stat(in_folder("out"), &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0640);
}
END_TEST

/* A link stays, the file behind it is replaced; a device is written, not replaced. */
START_TEST(test_writer_links_and_devices)
{
    struct stat st;
    ck_assert_ok(ctx, fdit_file_write(ctx, in_folder("real"), false, "1", 1));
    ck_assert_int_eq(symlink("real", in_folder("link")), 0);
    ck_assert_ok(ctx, fdit_file_write(ctx, in_folder("link"), false, "2", 1));
    check_contents(in_folder("real"), "2");
    ck_assert_int_eq(lstat(in_folder("link"), &st), 0);
    ck_assert(S_ISLNK(st.st_mode));
    ck_assert_ok(ctx, fdit_file_write(ctx, "/dev/null", true, "3", 1));
    ck_assert_int_eq(stat("/dev/null", &st), 0);
    ck_assert(S_ISCHR(st.st_mode));
    ck_assert_int_eq(fdit_file_write(ctx, folder, false, "4", 1), FDIT_ERROR_IO);
    ck_assert_int_eq(fdit_file_write(ctx, in_folder("no/such"), false, "4", 1), FDIT_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "no/such"));
}
END_TEST

/* A full disk at each write, sync, close and rename in turn: an error, the old file, nothing beside. */
START_TEST(test_full_disk_at_every_point)
{
    const char *path = in_folder("out");
    static char big[200000];
    memset(big, 'b', sizeof big - 1);
    int failures = 0;
    for (uint64_t n = 1;; n++) {
        ck_assert_ok(ctx, fdit_file_write(ctx, path, false, "old", 3));
        struct fdit_writer *w;
        ck_assert_ok(ctx, fdit_writer_open(ctx, path, true, &w));
        fdit_file_fail_at(n);
        enum fdit_status status = fdit_writer_write(ctx, w, "small", 5);
        for (int i = 0; i < 3 && status == FDIT_OK; i++)
            status = fdit_writer_write(ctx, w, big, sizeof big - 1);
        bool early = status != FDIT_OK;
        if (early)
            ck_assert_int_eq(fdit_writer_write(ctx, w, "x", 1), FDIT_ERROR_IO);
        status = fdit_writer_commit(ctx, &w);
        ck_assert(!early || status == FDIT_ERROR_IO);
        fdit_file_fail_at(0);
        ck_assert_ptr_null(w);
        ck_assert_int_eq(files_in_folder(), 1);
        if (status == FDIT_OK)
            break;
        ck_assert_int_eq(status, FDIT_ERROR_IO);
        failures++;
        ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), path));
        if (!strstr(fdit_context_message(ctx), "is complete")) /* only its folder's sync failed */
            check_contents(path, "old");
        ck_assert_uint_lt(n, 100);
    }
    ck_assert_int_ge(failures, 6); /* three writes, sync, close, rename, the folder's sync */
}
END_TEST

START_TEST(test_memory_short_at_every_point)
{
    for (uint64_t n = 1;; n++) {
        uint8_t *data = NULL;
        size_t size;
        fdit_mem_fail_at(n);
        enum fdit_status status = fdit_file_write(ctx, in_folder("out"), true, "text", 4);
        if (status == FDIT_OK)
            status = fdit_file_read_all(ctx, in_folder("out"), 9, &data, &size);
        fdit_mem_fail_at(0);
        fdit_free(data);
        ck_assert_int_le(files_in_folder(), 1);
        if (status == FDIT_OK)
            break;
        ck_assert_int_eq(status, FDIT_ERROR_MEMORY);
        ck_assert_uint_lt(n, 100);
    }
}
END_TEST

START_TEST(test_clean)
{
    struct fdit_writer *w;
    size_t n;
    ck_assert_ok(ctx, fdit_file_write(ctx, in_folder(".fdit-999999-0.tmp"), false, "left", 4));
    ck_assert_ok(ctx, fdit_file_write(ctx, in_folder("keep.tmp"), false, "keep", 4));
    ck_assert_ok(ctx, fdit_writer_open(ctx, in_folder("out"), false, &w));
    ck_assert_ok(ctx, fdit_folder_clean(ctx, folder, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert_ok(ctx, fdit_writer_commit(ctx, &w)); /* its temporary file was left alone */
    ck_assert_int_eq(files_in_folder(), 2);
    ck_assert_int_eq(fdit_folder_clean(ctx, in_folder("nowhere"), NULL), FDIT_ERROR_IO);
    /* what is left goes when a durable file is written there; what another program is writing stays */
    ck_assert_ok(ctx, fdit_file_write(ctx, in_folder(".fdit-999999-0.tmp"), false, "left", 4));
    ck_assert_ok(ctx, fdit_file_write(ctx, in_folder(".fdit-999999-1.tmp"), false, "busy", 4));
    int fd = open(in_folder(".fdit-999999-1.tmp"), O_RDWR);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    ck_assert_ok(ctx, fdit_file_write(ctx, in_folder("out"), false, "new", 3));
    ck_assert_int_eq(files_in_folder(), 4);
    ck_assert_ok(ctx, fdit_file_write(ctx, in_folder("out"), true, "new", 3));
    ck_assert_int_eq(files_in_folder(), 3);
    close(fd);
    ck_assert_ok(ctx, fdit_file_write(ctx, in_folder("out"), true, "new", 3));
    ck_assert_int_eq(files_in_folder(), 2);
}
END_TEST

static atomic_int written;

static void *write_many(void *user)
{
    fdit_context *own = fdit_context_new();
    int *bad = user;
    for (int i = 0; i < 3000; i++)
        *bad += fdit_file_write(own, in_folder("busy"), false, "new", 3) != FDIT_OK;
    fdit_context_free(own);
    atomic_store(&written, 1);
    return NULL;
}

/* Another job cleans the folder while files are put in place there: it takes none of them for a left one. */
START_TEST(test_clean_meanwhile)
{
    pthread_t writer;
    int bad = 0;
    atomic_store(&written, 0);
    ck_assert_int_eq(pthread_create(&writer, NULL, write_many, &bad), 0);
    while (!atomic_load(&written))
        ck_assert_ok(ctx, fdit_folder_clean(ctx, folder, NULL));
    pthread_join(writer, NULL);
    ck_assert_int_eq(bad, 0);
}
END_TEST

/* ------------------------------------------------------------------ logs */

struct until {
    int most, seen;
};

static bool keep_some(void *user, const char *line, size_t n)
{
    struct until *u = user;
    char want[32];
    snprintf(want, sizeof want, "line %d", u->seen);
    ck_assert_str_eq(line, want);
    ck_assert_uint_eq(n, strlen(want));
    if (u->seen == u->most)
        return false;
    u->seen++;
    return true;
}

START_TEST(test_log)
{
    const char *path = in_folder("log.jsonl");
    struct fdit_appender *a;
    uint64_t offset = 9;
    struct until u = { .most = 3 };
    ck_assert_ok(ctx, fdit_file_lines(ctx, path, keep_some, &u, &offset));
    ck_assert_uint_eq(offset, 0); /* no file, no lines */
    ck_assert_ok(ctx, fdit_appender_open(ctx, path, 0, &a));
    for (int i = 0; i < 5; i++) {
        char line[32];
        snprintf(line, sizeof line, "line %d\n", i);
        ck_assert_ok(ctx, fdit_appender_write(ctx, a, line, 7));
    }
    ck_assert_ok(ctx, fdit_appender_write(ctx, a, "line", 4)); /* as a killed program leaves it */
    ck_assert_ok(ctx, fdit_appender_sync(ctx, a));
    ck_assert_uint_eq(fdit_appender_bytes(a), 39);
    ck_assert_ok(ctx, fdit_appender_close(ctx, a));
    ck_assert_ok(ctx, fdit_file_lines(ctx, path, keep_some, &u, &offset));
    ck_assert_uint_eq(offset, 21);
    u = (struct until){ .most = 99 };
    ck_assert_ok(ctx, fdit_file_lines(ctx, path, keep_some, &u, &offset));
    ck_assert_uint_eq(offset, 35);
    ck_assert_ok(ctx, fdit_appender_open(ctx, path, 21, &a));
    ck_assert_ok(ctx, fdit_appender_write(ctx, a, "again\n", 6));
    ck_assert_ok(ctx, fdit_appender_close(ctx, a));
    check_contents(path, "line 0\nline 1\nline 2\nagain\n");
    ck_assert_ok(ctx, fdit_appender_open(ctx, path, FDIT_APPEND_END, &a));
    ck_assert_uint_eq(fdit_appender_bytes(a), 27);
    /* a full disk leaves no half line, and the log goes on */
    fdit_file_fail_at(1);
    ck_assert_int_eq(fdit_appender_write(ctx, a, "lost\n", 5), FDIT_ERROR_IO);
    ck_assert_ok(ctx, fdit_appender_write(ctx, a, "kept\n", 5));
    ck_assert_ok(ctx, fdit_appender_close(ctx, a));
    ck_assert_ok(ctx, fdit_appender_close(ctx, NULL));
    check_contents(path, "line 0\nline 1\nline 2\nagain\nkept\n");
    ck_assert_int_eq(fdit_appender_open(ctx, path, 1000, &a), FDIT_ERROR_FORMAT);
}
END_TEST

/* ------------------------------------------------------------------ paths */

START_TEST(test_mkdirs)
{
    ck_assert_ok(ctx, fdit_mkdirs(ctx, in_folder("a/b//c/")));
    ck_assert(fdit_is_folder(in_folder("a/b/c")));
    ck_assert_ok(ctx, fdit_mkdirs(ctx, in_folder("a/b/c")));
    ck_assert_ok(ctx, fdit_mkdirs(ctx, "/"));
    ck_assert_ok(ctx, fdit_mkdirs(ctx, "."));
    ck_assert_ok(ctx, fdit_file_write(ctx, in_folder("f"), false, "", 0));
    ck_assert_int_eq(fdit_mkdirs(ctx, in_folder("f")), FDIT_ERROR_IO);
    ck_assert_int_eq(fdit_mkdirs(ctx, in_folder("f/g")), FDIT_ERROR_IO);
}
END_TEST

START_TEST(test_paths)
{
    const struct {
        const char *a, *b, *want;
    } joins[] = { { "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "", "b", "b" }, { "a", "/b", "/b" } };
    const char *folders[][2] = { { "a/b/c", "a/b" }, { "c", "." }, { "/c", "/" }, { "a/", "a" } };
    char *text;
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++) {
        ck_assert_ok(ctx, fdit_path_join(ctx, joins[i].a, joins[i].b, &text));
        ck_assert_str_eq(text, joins[i].want);
        fdit_free(text);
    }
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        ck_assert_ok(ctx, fdit_path_folder(ctx, folders[i][0], &text));
        ck_assert_str_eq(text, folders[i][1]);
        fdit_free(text);
    }
    ck_assert_str_eq(fdit_path_base("a/b.c"), "b.c");
    ck_assert_str_eq(fdit_path_base("b.c"), "b.c");
    ck_assert(fdit_path_has_suffix("x.PNG", ".png") && !fdit_path_has_suffix("png", ".png"));
}
END_TEST

START_TEST(test_encoded_names)
{
    const char *names[][2] = {
        { "Ara macao", "Ara macao" },
        { "\xe4\xb8\xad", "\xe4\xb8\xad" },
        { "50% of it", "50% of it" },
        { "a.b", "a.b" },
        { ".hidden", ".hidden" },
        { "birds/Ara macao", "birds%2FAra macao" },
        { ".", "%2E" },
        { "..", "%2E%2E" },
        { "a..b.c", "a%2E%2Eb.c" },
        { "../x", "%2E%2E%2Fx" },
        { "tab\there", "tab%09here" },
        { "\x7f\n", "%7F%0A" },
        { "a%2Fb", "a%252Fb" },
        { "a%~b", "a%25~b" },
        { "", "%~cbf29ce484222325" },
    };
    char *text;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ck_assert_ok(ctx, fdit_path_encode(ctx, names[i][0], &text));
        ck_assert_str_eq(text, names[i][1]);
        fdit_free(text);
    }
}
END_TEST

START_TEST(test_encoded_long_names)
{
    char name[700], *text, *other;
    memset(name, 'n', 200);
    name[200] = 0;
    ck_assert_ok(ctx, fdit_path_encode(ctx, name, &text));
    ck_assert_str_eq(text, name);
    fdit_free(text);
    memset(name, 'n', 201);
    name[201] = 0;
    ck_assert_ok(ctx, fdit_path_encode(ctx, name, &text));
    ck_assert_uint_eq(strlen(text), 200);
    ck_assert_int_eq(strncmp(text + 180, "nn%~", 4), 0);
    name[200] = 'm'; /* beyond the cut */
    ck_assert_ok(ctx, fdit_path_encode(ctx, name, &other));
    ck_assert_str_ne(text, other);
    fdit_free(text);
    fdit_free(other);
    /* cut between characters and between escapes, never inside */
    for (size_t shift = 0; shift < 3; shift++)
        for (int kind = 0; kind < 2; kind++) {
            memset(name, 'x', shift);
            for (size_t i = 0; i < 80; i++)
                memcpy(name + shift + 3 * i, kind ? "\xe4\xb8\xad" : "/y/", 3);
            name[shift + 240] = 0;
            ck_assert_ok(ctx, fdit_path_encode(ctx, name, &text));
            size_t n = strlen(text);
            ck_assert_uint_le(n, 200);
            ck_assert_uint_gt(n, 190);
            ck_assert_int_eq(strncmp(text + n - 18, "%~", 2), 0);
            const char *before = text + n - 19;
            if (kind) {
                ck_assert_int_eq((unsigned char)*before, 0xad);
            } else {
                ck_assert(*before == 'y' || strncmp(before - 2, "%2F", 3) == 0);
            }
            fdit_free(text);
        }
}
END_TEST

/* Names made of the troublesome characters never meet, and are safe. */
START_TEST(test_encoding_is_one_to_one)
{
    const char letters[] = "a./%2~F";
    enum { MOST = 2800 };
    static char *made[MOST];
    int n = 0;
    for (int length = 0; length <= 4; length++) {
        int all = 1;
        for (int i = 0; i < length; i++)
            all *= 7;
        for (int k = 0; k < all; k++) {
            char name[8] = "";
            for (int i = 0, rest = k; i < length; i++, rest /= 7)
                name[i] = letters[rest % 7];
            ck_assert_int_lt(n, MOST + 1);
            if (n == MOST)
                break;
            ck_assert_ok(ctx, fdit_path_encode(ctx, name, &made[n]));
            ck_assert(!strchr(made[n], '/') && strcmp(made[n], ".") && !strstr(made[n], ".."));
            n++;
        }
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(made[i], made[j]);
    for (int i = 0; i < n; i++)
        fdit_free(made[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("file");
    TCase *t = tcase_create("file");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, test_read);
    tcase_add_test(t, test_read_a_pipe);
    tcase_add_test(t, test_writer);
    tcase_add_test(t, test_writer_permissions);
    tcase_add_test(t, test_writer_links_and_devices);
    tcase_add_test(t, test_full_disk_at_every_point);
    tcase_add_test(t, test_memory_short_at_every_point);
    tcase_add_test(t, test_clean);
    tcase_add_test(t, test_clean_meanwhile);
    tcase_add_test(t, test_log);
    tcase_add_test(t, test_mkdirs);
    tcase_add_test(t, test_paths);
    tcase_add_test(t, test_encoded_names);
    tcase_add_test(t, test_encoded_long_names);
    tcase_add_test(t, test_encoding_is_one_to_one);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
