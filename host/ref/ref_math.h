/* SPDX-License-Identifier: Apache-2.0
 * ref_math.h: the formulas of device.h as naive loops over arrays, with double accumulation. Each exists
 * for f32 arrays, which the ref device runs, and for double arrays, on which finite differences are
 * exact enough to check the backward formulas: fdit_ref_norm_f32 and fdit_ref_norm_f64. One body serves both:
 * ref_kernels.inc. Arguments have the names, shapes and meaning of the entries in device.h; pointers to
 * optional arrays may be NULL. */
#ifndef FDIT_HOST_REF_MATH_H
#define FDIT_HOST_REF_MATH_H

#include "device/backend.h"

double fdit_ref_act(enum fdit_act act, double x);
double fdit_ref_act_slope(enum fdit_act act, double x);

#define REAL float
#define REF(name) fdit_ref_##name##_f32
#include "ref/ref_prototypes.inc"
#undef REAL
#undef REF

#define REAL double
#define REF(name) fdit_ref_##name##_f64
#include "ref/ref_prototypes.inc"
#undef REAL
#undef REF

#endif
