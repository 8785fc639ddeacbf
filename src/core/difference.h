/* SPDX-License-Identifier: Apache-2.0
 * difference.h: how far numbers are from those that were wanted. */
#ifndef FDIT_CORE_DIFFERENCE_H
#define FDIT_CORE_DIFFERENCE_H

#include <stddef.h>

/* nmse = sum (got - wanted)^2 / sum wanted^2 (0 / 0 is 0). An element that is finite in one and not
 * in the other makes it infinite; elements that are not finite in both are left out. */
struct fdit_difference {
    double nmse;
    double norm;  /* sum wanted^2, what nmse was divided by */
    size_t worst; /* the element that is farthest off */
    float got, wanted;
};
struct fdit_difference fdit_compare(const float *got, const float *wanted, size_t n);

#endif
