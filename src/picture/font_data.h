/* SPDX-License-Identifier: Apache-2.0
 * font_data.h: the packed letters of font.c; tools/font/make.py says how they lie. */
#ifndef FDIT_PICTURE_FONT_DATA_H
#define FDIT_PICTURE_FONT_DATA_H

#include <stddef.h>
#include <stdint.h>

extern const size_t fdit_font_bytes, fdit_font_packed; /* unpacked and packed */
extern const uint64_t fdit_font_words[];

#endif
