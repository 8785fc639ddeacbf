/* SPDX-License-Identifier: Apache-2.0
 * text_file.h: reading a text whole: taxonomies, lists, options, results of a benchmark. */
#ifndef FDIT_FORMAT_TEXT_FILE_H
#define FDIT_FORMAT_TEXT_FILE_H

#include "core/status.h"

/* A config.json with a million classes has 100 MiB. */
#define FDIT_TEXT_MOST ((size_t)256 << 20)
/* Annotations of iNaturalist, of which only the categories are used. */
#define FDIT_TEXT_MOST_JSON ((size_t)1 << 30)

/* The text at the path with a zero byte behind it, at most `most` bytes, of anything but JSON at most
 * FDIT_TEXT_MOST. From a regular file or a pipe; what is neither, longer, or by its first bytes not text
 * ("is a PNG picture, not a taxonomy") is refused before the rest is read. wanted: "a taxonomy". Free *text
 * with fdit_free. */
enum fdit_status fdit_text_file_read(fdit_context *ctx, const char *path, const char *wanted, size_t most,
                                     char **text, size_t *n);

#endif
