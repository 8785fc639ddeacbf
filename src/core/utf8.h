/* SPDX-License-Identifier: Apache-2.0
 * utf8.h: whether bytes are text, and its characters. */
#ifndef FDIT_CORE_UTF8_H
#define FDIT_CORE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many of the n bytes, from the first, are UTF-8 (no surrogates, no overlong forms). Zero bytes are
 * text here. */
size_t fdit_utf8_prefix(const char *s, size_t n);
/* Whether all n bytes are UTF-8 without a zero byte. */
bool fdit_utf8_valid(const char *s, size_t n);
/* Decodes one character of UTF-8 (no overlong forms, no surrogates, at most U+10FFFF). Returns its bytes,
 * 0 at the end of the text, -1 where a byte is not part of one. */
int fdit_utf8_next(const char *text, uint32_t *code);

#endif
