/* SPDX-License-Identifier: Apache-2.0 */
#include "core/difference.h"

#include <math.h>

struct fdit_difference fdit_compare(const float *got, const float *wanted, size_t n)
{
    struct fdit_difference d = { 0 };
    double sum = 0, norm = 0, worst = -1;
    for (size_t i = 0; i < n; i++) {
        double distance = fabs((double)got[i] - (double)wanted[i]);
        if (!isfinite(got[i]) && !isfinite(wanted[i]))
            continue;
        if (!isfinite(got[i]) || !isfinite(wanted[i]))
            distance = INFINITY;
        sum += distance * distance;
        norm += isfinite(wanted[i]) ? (double)wanted[i] * (double)wanted[i] : 0;
        if (distance > worst) {
            worst = distance;
            d.worst = i;
            d.got = got[i];
            d.wanted = wanted[i];
        }
    }
    d.norm = norm + 1e-60;
    d.nmse = sum > 0 ? sum / d.norm : 0;
    return d;
}
