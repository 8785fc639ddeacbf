/* SPDX-License-Identifier: Apache-2.0
 * What files are by their first bytes. */
#include "core/file.h"
#include "core/mem.h"
#include "format/kind.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTES(text) text, sizeof(text) - 1

static const struct {
    enum fdit_kind kind;
    const char *bytes;
    size_t n;
} examples[] = {
    { FDIT_KIND_EMPTY, "", 0 },
    { FDIT_KIND_ZEROS, BYTES("\0\0\0\0\0\0\0\0\0\0") },
    { FDIT_KIND_UNKNOWN, BYTES("\1\2\3\4\5\6\7") },
    { FDIT_KIND_PNG, BYTES("\x89PNG\r\n\x1a\n\0\0\0\rIHDR") },
    { FDIT_KIND_JPEG, BYTES("\xff\xd8\xff\xe0\0\x10JFIF") },
    { FDIT_KIND_WEBP, BYTES("RIFF\x24\0\0\0WEBPVP8 ") },
    { FDIT_KIND_BMP, BYTES("BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\2\0\0\0\2\0\0\0\1\0") },
    { FDIT_KIND_TEXT, BYTES("BMI by class, a table of people\n") },
    { FDIT_KIND_TIFF, BYTES("II*\0\x08\0\0\0") },
    { FDIT_KIND_TIFF, BYTES("MM\0*\0\0\0\x08") },
    { FDIT_KIND_GIF, BYTES("GIF89a\1\0\1\0") },
    { FDIT_KIND_HEIC, BYTES("\0\0\0\x18"
                            "ftypheic\0\0\0\0mif1heic") },
    { FDIT_KIND_HEIC, BYTES("\0\0\0\x18"
                            "ftypmif1\0\0\0\0mif1heic") },
    { FDIT_KIND_AVIF, BYTES("\0\0\0\x1c"
                            "ftypmif1\0\0\0\0mif1miafavif") },
    { FDIT_KIND_VIDEO, BYTES("\0\0\0\x18"
                             "ftypisom\0\0\2\0isomiso2") },
    { FDIT_KIND_VIDEO, BYTES("RIFF\x24\0\0\0AVI LIST") },
    { FDIT_KIND_VIDEO, BYTES("\x1a\x45\xdf\xa3\x9f") },
    { FDIT_KIND_AUDIO, BYTES("RIFF\x24\0\0\0WAVEfmt ") },
    { FDIT_KIND_RAW, BYTES("\0\0\0\x18"
                           "ftypcrx \0\0\0\1crx isom") },
    { FDIT_KIND_JXL, BYTES("\0\0\0\x0cJXL \r\n\x87\n") },
    { FDIT_KIND_JP2, BYTES("\0\0\0\x0cjP  \r\n\x87\n") },
    { FDIT_KIND_SVG, BYTES("<?xml version=\"1.0\"?>\n<!-- x -->\n<svg xmlns=\"\">") },
    { FDIT_KIND_PSD, BYTES("8BPS\0\1\0\0\0\0\0\0") },
    { FDIT_KIND_ICO, BYTES("\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0\0\0\0\0\x16\0\0\0") },
    { FDIT_KIND_PNM, BYTES("P6\n2 2\n255\n\0\0\0\0\0\0\0\0\0\0\0\0") },
    { FDIT_KIND_TEXT, BYTES("P6 is the name of a class\n") },
    { FDIT_KIND_GZIP, BYTES("\x1f\x8b\x08\0\0\0\0\0\0\3\x4b\4\0\x43\xbe\xb7\xe8\1\0\0\0") },
    { FDIT_KIND_XZ, BYTES("\xfd"
                          "7zXZ\0\0\4") },
    { FDIT_KIND_BZIP2, BYTES("BZh91AY&SY\1\2") },
    { FDIT_KIND_ZSTD, BYTES("\x28\xb5\x2f\xfd\4\0") },
    { FDIT_KIND_LZ4, BYTES("\4\x22\x4d\x18\x64\x40") },
    { FDIT_KIND_7Z, BYTES("7z\xbc\xaf\x27\x1c\0\4") },
    { FDIT_KIND_RAR, BYTES("Rar!\x1a\7\1\0") },
    { FDIT_KIND_ZIP, BYTES("PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0") },
    { FDIT_KIND_ZIP, BYTES("PK\3\4\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\5\0\0\0a.pngx") },
    { FDIT_KIND_TORCH,
      BYTES("PK\3\4\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\x10\0\0\0archive/data.pklx") },
    { FDIT_KIND_TORCH, BYTES("PK\3\4\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\3\0\0\0a/bx"
                             "PK\3\4\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\x0a\0\0\0a/data.pklx") },
    { FDIT_KIND_NPZ, BYTES("PK\3\4\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\5\0\0\0a.npyx") },
    { FDIT_KIND_OFFICE,
      BYTES("PK\3\4\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\x13\0\0\0[Content_Types].xmlx") },
    { FDIT_KIND_OLE, BYTES("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0") },
    { FDIT_KIND_SAFETENSORS, BYTES("\x28\0\0\0\0\0\0\0{\"a\":{}}") },
    { FDIT_KIND_TORCH_LEGACY, BYTES("\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.") },
    { FDIT_KIND_PICKLE, BYTES("\x80\4\x95\x10\0\0\0\0\0\0\0") },
    { FDIT_KIND_HDF5, BYTES("\x89HDF\r\n\x1a\n\0") },
    { FDIT_KIND_NPY, BYTES("\x93NUMPY\1\0v\0") },
    { FDIT_KIND_GGUF, BYTES("GGUF\3\0\0\0") },
    { FDIT_KIND_ONNX, BYTES("\x08\x08\x12\7pytorch\x1a\5"
                            "2.1.0") },
    { FDIT_KIND_PARQUET, BYTES("PAR1\x15\4") },
    { FDIT_KIND_SQLITE, BYTES("SQLite format 3\0\x10\0") },
    { FDIT_KIND_PDF, BYTES("%PDF-1.7\n") },
    { FDIT_KIND_LFS_POINTER, BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n") },
    { FDIT_KIND_ANNEX_POINTER, BYTES("/annex/objects/SHA256E-s5--0.pt\n") },
    { FDIT_KIND_HTML, BYTES("\n<!DOCTYPE HTML><html><body>404") },
    { FDIT_KIND_XML, BYTES("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>") },
    { FDIT_KIND_JSON, BYTES(" {\n \"a\": 1}") },
    { FDIT_KIND_JSON, BYTES("\xef\xbb\xbf[{\"id\": 0}]") },
    { FDIT_KIND_TEXT, BYTES("[section]\nkey = 1\n") },
    { FDIT_KIND_TEXT, BYTES("class\tgenus\nparus major\tParus\n") },
    { FDIT_KIND_TEXT, BYTES("P\xc3\xa3o\tx\n") },
    { FDIT_KIND_SCRIPT, BYTES("#!/bin/sh\n") },
    { FDIT_KIND_UTF16, BYTES("\xff\xfe"
                             "c\0l\0a\0s\0s\0") },
    { FDIT_KIND_UTF16, BYTES("\xfe\xff\0c\0l\0a\0s\0s") },
    { FDIT_KIND_UTF16, BYTES("c\0l\0a\0s\0s\0\n\0") },
    { FDIT_KIND_TEXT_OTHER, BYTES("class\tgenus\nP\xe3o\tEl\xe9phant\n") },
    { FDIT_KIND_PROGRAM, BYTES("\x7f"
                               "ELF\2\1\1") },
};

START_TEST(test_bytes)
{
    const size_t n = examples[_i].n;
    /* Without a byte behind it that may be read. */
    uint8_t *copy = calloc(n + !n, 1);
    memcpy(copy, examples[_i].bytes, n);
    enum fdit_kind kind = fdit_kind_of_bytes(copy, n);
    ck_assert_msg(kind == examples[_i].kind, "example %d is told as %s instead of %s", _i,
                  fdit_kind_text(kind), fdit_kind_text(examples[_i].kind));
    free(copy);
    for (size_t less = 1; less < n; less++) { /* cut anywhere, it is read within its bounds */
        copy = calloc(less, 1);
        memcpy(copy, examples[_i].bytes, less);
        fdit_kind_of_bytes(copy, less);
        free(copy);
    }
}
END_TEST

START_TEST(test_words)
{
    for (int k = 0; k < FDIT_KIND_COUNT; k++) {
        ck_assert_ptr_nonnull(fdit_kind_text((enum fdit_kind)k));
        ck_assert_ptr_nonnull(fdit_kind_word((enum fdit_kind)k));
        bool convert = fdit_kind_group((enum fdit_kind)k) == FDIT_KIND_IS_OTHER_PICTURE ||
                       fdit_kind_group((enum fdit_kind)k) == FDIT_KIND_IS_OTHER_ARCHIVE;
        ck_assert(!convert || fdit_kind_remedy((enum fdit_kind)k));
    }
}
END_TEST

/* Nothing is opened that would wait for a writer or act when it is read. */
START_TEST(test_special)
{
    fdit_context *ctx = fdit_context_new();
    char folder[] = "/tmp/fdit-kind-XXXXXX", *path = NULL;
    enum fdit_kind kind;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_ok(ctx, fdit_path_join(ctx, folder, "pipe", &path));
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_ok(ctx, fdit_kind_of_file(ctx, path, &kind));
    ck_assert_int_eq(kind, FDIT_KIND_SPECIAL);
    unlink(path);
    ck_assert_ok(ctx, fdit_kind_of_file(ctx, folder, &kind));
    ck_assert_int_eq(kind, FDIT_KIND_FOLDER);
    ck_assert_ok(ctx, fdit_kind_of_file(ctx, "/dev/null", &kind));
    ck_assert_int_eq(kind, FDIT_KIND_SPECIAL);
    ck_assert_int_eq(fdit_kind_of_file(ctx, path, &kind), FDIT_ERROR_IO);
    fdit_kind_refuse(ctx, "a.pt", FDIT_KIND_LFS_POINTER, "a checkpoint", "get it again");
    ck_assert_str_eq(fdit_context_message(ctx),
                     "a.pt: is a Git LFS pointer in place of the file, not a checkpoint; get the file with "
                     "\"git lfs pull\"");
    fdit_kind_refuse(ctx, "a.pt", FDIT_KIND_TEXT, "a checkpoint", NULL);
    ck_assert_str_eq(fdit_context_message(ctx), "a.pt: is a text, not a checkpoint");
    rmdir(folder);
    fdit_free(path);
    fdit_context_free(ctx);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kind");
    TCase *tcase = tcase_create("kind");
    tcase_add_loop_test(tcase, test_bytes, 0, (int)(sizeof examples / sizeof *examples));
    tcase_add_test(tcase, test_words);
    tcase_add_test(tcase, test_special);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
