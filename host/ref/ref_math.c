/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/ref_math.h"

#include <math.h>

static const double root_2_over_pi = 0.79788456080286535588;

/* GELU by tanh is x s(2 u) with s the logistic function, since (1 + tanh u) / 2 = s(2 u): written so, its
 * tail keeps its digits. */
static double gelu_u(double x)
{
    return root_2_over_pi * (x + 0.044715 * x * x * x);
}

static double logistic(double x)
{
    return 1 / (1 + exp(-x));
}

/* The normal distribution's part below x, (1 + erf(x / sqrt 2)) / 2, without cancellation. */
static double normal_below(double x)
{
    return 0.5 * erfc(-0.70710678118654752440 * x);
}

double fdit_ref_act(enum fdit_act act, double x)
{
    switch (act) {
    case FDIT_ACT_NONE: return x;
    case FDIT_ACT_GELU_TANH: return x * logistic(2 * gelu_u(x));
    case FDIT_ACT_SILU: return x * logistic(x);
    case FDIT_ACT_RELU: return x < 0 ? 0 : x;
    case FDIT_ACT_GELU_ERF: return x * normal_below(x);
    }
    return NAN;
}

double fdit_ref_act_slope(enum fdit_act act, double x)
{
    switch (act) {
    case FDIT_ACT_NONE: return 1;
    case FDIT_ACT_GELU_TANH: {
        double u = gelu_u(x), du = root_2_over_pi * (1 + 3 * 0.044715 * x * x);
        return logistic(2 * u) * (1 + 2 * x * du * logistic(-2 * u));
    }
    case FDIT_ACT_SILU: return logistic(x) * (1 + x * logistic(-x));
    case FDIT_ACT_RELU: return x > 0 ? 1 : x <= 0 ? 0 : x; /* NaN stays */
    case FDIT_ACT_GELU_ERF: return normal_below(x) + x * exp(-x * x / 2) * 0.39894228040143267794;
    }
    return NAN;
}

#define REAL float
#define REF(name) fdit_ref_##name##_f32
#include "ref/ref_kernels.inc"
#undef REAL
#undef REF

#define REAL double
#define REF(name) fdit_ref_##name##_f64
#include "ref/ref_kernels.inc"
#undef REAL
#undef REF
