/* SPDX-License-Identifier: Apache-2.0
 * finite.h: whether numbers are finite, at the speed of memory. */
#ifndef FDIT_CORE_FINITE_H
#define FDIT_CORE_FINITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* An exponent of all ones carries into the highest bit, that of another number does not. */
static inline bool fdit_all_finite(const float *x, size_t n)
{
    uint32_t any = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        any |= (bits & UINT32_C(0x7fffffff)) + UINT32_C(0x00800000);
    }
    return !(any & UINT32_C(0x80000000));
}

#endif
