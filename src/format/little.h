/* SPDX-License-Identifier: Apache-2.0
 * little.h: whole numbers in the little-endian bytes of files, at any address. */
#ifndef FDIT_FORMAT_LITTLE_H
#define FDIT_FORMAT_LITTLE_H

#include <stdint.h>

static inline uint32_t fdit_get16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}
static inline uint32_t fdit_get32(const uint8_t *p)
{
    return fdit_get16(p) | fdit_get16(p + 2) << 16;
}
static inline uint64_t fdit_get64(const uint8_t *p)
{
    return fdit_get32(p) | (uint64_t)fdit_get32(p + 4) << 32;
}
static inline void fdit_put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}
static inline void fdit_put64(uint8_t *p, uint64_t v)
{
    fdit_put32(p, (uint32_t)v);
    fdit_put32(p + 4, (uint32_t)(v >> 32));
}

#endif
