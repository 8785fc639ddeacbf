/* SPDX-License-Identifier: Apache-2.0 */
#include "data_fixture.h"

#include "core/file.h"
#include "core/mem.h"
#include "picture/picture.h"
#include "picture/png.h"
#include "harness.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *test_folder(void)
{
    const char *above = getenv("TMPDIR");
    if (!above || !*above)
        above = "/tmp";
    size_t n = strlen(above) + 40;
    char *path = malloc(n);
    ck_assert_ptr_nonnull(path);
    snprintf(path, n, "%s/finediffusion-test-XXXXXX", above);
    ck_assert_msg(mkdtemp(path) != NULL, "%s", path);
    return path;
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (const struct dirent *e; (e = readdir(dir));) {
        struct stat st;
        char inner[4096];
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        if (!lstat(inner, &st) && S_ISDIR(st.st_mode)) {
            chmod(inner, 0700);
            remove_tree(inner);
        } else {
            unlink(inner);
        }
    }
    closedir(dir);
    rmdir(path);
}

void test_folder_remove(char *path)
{
    remove_tree(path);
    free(path);
}

const char *test_path(const char *folder, const char *format, ...)
{
    static char texts[16][4096];
    static int next;
    char *text = texts[next++ % 16];
    int n = snprintf(text, sizeof texts[0], "%s/", folder);
    va_list args;
    va_start(args, format);
    vsnprintf(text + n, sizeof texts[0] - (size_t)n, format, args);
    va_end(args);
    return text;
}

void test_file(fdit_context *ctx, const char *folder, const char *name, const void *bytes, size_t n)
{
    char *path, *above;
    ck_assert_ok(ctx, fdit_path_join(ctx, folder, name, &path));
    ck_assert_ok(ctx, fdit_path_folder(ctx, path, &above));
    ck_assert_ok(ctx, fdit_mkdirs(ctx, above));
    ck_assert_ok(ctx, fdit_file_write(ctx, path, false, bytes, n));
    fdit_free(path);
    fdit_free(above);
}

void test_picture(fdit_context *ctx, const char *folder, const char *name, int side, unsigned number)
{
    struct fdit_picture p;
    uint8_t *bytes;
    size_t n;
    ck_assert_ok(ctx, fdit_picture_new(ctx, side, side, 3, &p));
    uint32_t state = number * 2654435761u + 1;
    for (int i = 0; i < side * side * 3; i++) {
        state = state * 1664525u + 1013904223u;
        p.pixels[i] = (uint8_t)((number * 37 + (unsigned)(i % 3) * 91 + (state >> 27)) & 255);
    }
    ck_assert_ok(ctx, fdit_png_encode(ctx, &p, &bytes, &n));
    test_file(ctx, folder, name, bytes, n);
    fdit_free(bytes);
    fdit_picture_fini(&p);
}

void test_classes(fdit_context *ctx, const char *folder, int n_classes, int n_pictures, int side)
{
    for (int c = 0; c < n_classes; c++)
        for (int i = 0; i < n_pictures; i++) {
            char name[64];
            snprintf(name, sizeof name, "c%03d/p%05d.png", c, i);
            test_picture(ctx, folder, name, side, (unsigned)(1000 * c + i));
        }
}
