/* SPDX-License-Identifier: Apache-2.0
 * kind.h: what a file is by its first bytes, whatever it is called; for messages that tell a user
 * what he gave, and for lists of files that were left out. Names and endings do not matter. */
#ifndef FDIT_FORMAT_KIND_H
#define FDIT_FORMAT_KIND_H

#include "core/status.h"

enum fdit_kind {
    FDIT_KIND_UNKNOWN, /* bytes that mean nothing to us */
    FDIT_KIND_EMPTY,   /* no byte */
    FDIT_KIND_ZEROS,   /* nothing but zero bytes at the beginning */
    FDIT_KIND_FOLDER,
    FDIT_KIND_SPECIAL, /* a pipe, socket or device: never opened */
    /* pictures that are read */
    FDIT_KIND_PNG,
    FDIT_KIND_JPEG,
    FDIT_KIND_WEBP,
    /* pictures that are not */
    FDIT_KIND_BMP,
    FDIT_KIND_TIFF,
    FDIT_KIND_GIF,
    FDIT_KIND_HEIC,
    FDIT_KIND_AVIF,
    FDIT_KIND_JXL,
    FDIT_KIND_JP2,
    FDIT_KIND_SVG,
    FDIT_KIND_PSD,
    FDIT_KIND_ICO,
    FDIT_KIND_PNM,
    FDIT_KIND_EXR,
    FDIT_KIND_HDR,
    FDIT_KIND_QOI,
    FDIT_KIND_DDS,
    FDIT_KIND_RAW, /* of a camera; those that begin as a TIFF count as one */
    FDIT_KIND_VIDEO,
    FDIT_KIND_AUDIO,
    /* archives that are read */
    FDIT_KIND_TAR,
    FDIT_KIND_TAR_GZ,
    /* archives and compressed files that are not */
    FDIT_KIND_GZIP, /* of something that is not tar */
    FDIT_KIND_XZ,
    FDIT_KIND_BZIP2,
    FDIT_KIND_ZSTD,
    FDIT_KIND_LZ4,
    FDIT_KIND_LZIP,
    FDIT_KIND_COMPRESS,
    FDIT_KIND_ZIP,
    FDIT_KIND_7Z,
    FDIT_KIND_RAR,
    FDIT_KIND_CAB,
    FDIT_KIND_AR, /* .a, .deb */
    /* weights that are read */
    FDIT_KIND_SAFETENSORS,
    FDIT_KIND_TORCH,        /* a zip with data.pkl */
    FDIT_KIND_TORCH_LEGACY, /* before torch 1.6 */
    FDIT_KIND_PICKLE,       /* Python's, of whatever */
    /* weights and tables that are not */
    FDIT_KIND_HDF5,
    FDIT_KIND_NPY,
    FDIT_KIND_NPZ,
    FDIT_KIND_GGUF,
    FDIT_KIND_ONNX,
    FDIT_KIND_TFLITE,
    FDIT_KIND_PARQUET,
    FDIT_KIND_ARROW,
    FDIT_KIND_SQLITE,
    FDIT_KIND_LMDB,
    FDIT_KIND_OFFICE, /* spreadsheets and documents that are a zip inside */
    FDIT_KIND_OLE,    /* .xls, .doc */
    FDIT_KIND_PDF,
    /* text */
    FDIT_KIND_LFS_POINTER,
    FDIT_KIND_ANNEX_POINTER,
    FDIT_KIND_HTML,
    FDIT_KIND_XML,
    FDIT_KIND_JSON,
    FDIT_KIND_SCRIPT,
    FDIT_KIND_TEXT,       /* ASCII or UTF-8 */
    FDIT_KIND_UTF16,      /* also UTF-32 */
    FDIT_KIND_TEXT_OTHER, /* text in an 8-bit encoding */
    FDIT_KIND_PROGRAM,    /* ELF, PE, Mach-O */
    FDIT_KIND_COUNT
};

enum fdit_kind_group {
    FDIT_KIND_IS_OTHER,
    FDIT_KIND_IS_PICTURE,       /* PNG, JPEG, WebP */
    FDIT_KIND_IS_OTHER_PICTURE, /* of a kind that is not read; also films */
    FDIT_KIND_IS_ARCHIVE,       /* tar, tar.gz */
    FDIT_KIND_IS_OTHER_ARCHIVE,
    FDIT_KIND_IS_WEIGHTS,
    FDIT_KIND_IS_OTHER_WEIGHTS,
    FDIT_KIND_IS_TEXT
};

/* So many bytes decide; fewer decide less surely. */
enum { FDIT_KIND_BYTES = 4096 };

/* From the first n bytes of a file, which are all of it when n < FDIT_KIND_BYTES. */
enum fdit_kind fdit_kind_of_bytes(const uint8_t *bytes, size_t n);
/* From a file. A folder, a pipe or a device is told without opening it. FDIT_ERROR_IO when there is
 * no such file or it cannot be read. */
enum fdit_status fdit_kind_of_file(fdit_context *ctx, const char *path, enum fdit_kind *out);

enum fdit_kind_group fdit_kind_group(enum fdit_kind kind);
/* With an article, behind "is": "a zip archive", "text". */
const char *fdit_kind_text(enum fdit_kind kind);
/* For lists with counts, "3 TIFF": short, the same in the plural. */
const char *fdit_kind_word(enum fdit_kind kind);
/* What to do with it, behind a semicolon: "unpack it with unzip"; NULL: nothing general. */
const char *fdit_kind_remedy(enum fdit_kind kind);

/* FDIT_ERROR_FORMAT with "PATH: is TEXT, not WANTED; REMEDY". wanted: "a taxonomy (...)". `remedy`
 * stands when the kind has none of its own; NULL: no remedy then. */
enum fdit_status fdit_kind_refuse(fdit_context *ctx, const char *path, enum fdit_kind kind,
                                  const char *wanted, const char *remedy);

#endif
