/* SPDX-License-Identifier: Apache-2.0
 * fnv.h: the hash of Fowler, Noll and Vo (FNV-1a, 64 bits): what files and folders are told apart by. It is
 * not proof against somebody who wants two contents to look alike. */
#ifndef FDIT_CORE_FNV_H
#define FDIT_CORE_FNV_H

#include <stddef.h>
#include <stdint.h>

#define FDIT_FNV_START UINT64_C(0xcbf29ce484222325)

/* Goes on with n bytes; begin with FDIT_FNV_START. */
static inline uint64_t fdit_fnv(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *b = (const unsigned char *)bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ b[i]) * UINT64_C(0x100000001b3);
    return hash;
}

#endif
