/* SPDX-License-Identifier: Apache-2.0
 * vmath.h: exp, tanh, sigmoid, log and the activations on vectors, for the kernel files.
 *
 * Relative errors, measured against double: exp and log 9e-8, tanh and sigmoid 2e-7, SiLU 2e-7,
 * GELU (both) 1e-6 where |x| < 3; the slopes of GELU and SiLU 2e-6 absolute. NaN propagates, infinities
 * give the limits. Each element depends only on itself. */
#ifndef FDIT_CPU_VMATH_H
#define FDIT_CPU_VMATH_H

#include "cpu/simd.h"

/* ln 2 in two parts; the first has 9 trailing zero bits, so that a small integer times it is exact.
 */
#define FDIT_LN2_HIGH 0.693145751953125f
#define FDIT_LN2_LOW 1.42860682030941723212e-6f

/* x = n ln 2 + r with |r| <= ln 2 / 2; returns e^r - 1 and n. x within +-150. The series r + r^2/2
 * + r^3 (c0 + c1 r + ...) with the c of least largest error in e^r: 4e-9, before they are rounded.
 */
FDIT_KERNEL vf vexpm1_reduced(vf x, vi *n)
{
    const vf magic = vset(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    vf k = vfma(x, vset(1.44269504088896341f), magic);
    *n = (vi)k - (vi)magic;
    k = k - magic;
    vf r = vfma(k, vset(-FDIT_LN2_HIGH), x);
    r = vfma(k, vset(-FDIT_LN2_LOW), r);
    vf q = vset(1.386357576e-3f);
    q = vfma(q, r, vset(8.367712237e-3f));
    q = vfma(q, r, vset(4.166724605e-2f));
    q = vfma(q, r, vset(1.666653224e-1f));
    q = vfma(q, r, vset(0.5f));
    return vfma(q, r * r, r);
}

/* 2^n for n in -126 .. 127, infinity for 128. */
FDIT_KERNEL vf vpow2(vi n)
{
    return (vf)((n + 127) << 23);
}

FDIT_KERNEL vf vexp(vf x)
{
    /* Beyond these the result is infinity or 0. */
    x = vclamp(x, -104.0f, 89.0f);
    vi n;
    vf p = vexpm1_reduced(x, &n);
    /* In two steps: 2^n alone may overflow or be subnormal. */
    vi half = n >> 1;
    return (p + 1.0f) * vpow2(half) * vpow2(n - half);
}

/* e^x in fewer steps than vexp: 1.6e-38 for all x below -87, infinity from 88.4 on. */
FDIT_KERNEL vf vexp_coarse(vf x)
{
    vi n;
    vf p = vexpm1_reduced(vclamp(x, -87.0f, 89.0f), &n);
    return (p + 1.0f) * vpow2(n); /* n = 128 gives the bits of infinity */
}

/* e^x - 1 for 0 <= x <= 80, without cancellation near 0. */
FDIT_KERNEL vf vexpm1_positive(vf x)
{
    vi n;
    vf p = vexpm1_reduced(x, &n);
    vf s = vpow2(n);
    return vfma(p, s, s - 1.0f);
}

FDIT_KERNEL vf vtanh(vf x)
{
    vf a = vmin(vset(10.0f), vabs(x));
    vf t = vexpm1_positive(a + a);
    return vcopysign(t / (t + 2.0f), x);
}

/* 1 / (1 + e^-x); 0 where that is not a normal float. */
FDIT_KERNEL vf vsigmoid(vf x)
{
    return 1.0f / (1.0f + vexp_coarse(-x));
}

/* The natural logarithm; -infinity at 0, NaN below. */
FDIT_KERNEL vf vlog(vf x)
{
    vi tiny = (vi)(x < 1.17549435e-38f);
    vf y = vselect(tiny, x * 8388608.0f, x);
    /* y = 2^e m with m in [sqrt(1/2), sqrt(2)) */
    vi bits = (vi)((vu)y - 0x3f3504f3u); /* wraps below 0, whose result is NaN */
    vi e = bits >> 23;
    vf m = (vf)((bits & 0x7fffff) + 0x3f3504f3);
    vf ef = __builtin_convertvector(e, vf) - (vf)(tiny & (vi)vset(23.0f));
    /* With f = m - 1, s = f / (f + 2): ln m = 2 atanh(s) = 2s + s R, R = s^2 times a series in s^2
     * (cut where its error is 2e-9). As 2s = f - s f and s f = f^2/2 - s f^2/2, this is f - (f^2/2
     * - s (f^2/2
     * + R)), whose first term is exact. */
    vf f = m - 1.0f;
    vf s = f / (f + 2.0f);
    vf z = s * s;
    vf r = vset(2.9871853441e-1f);
    r = vfma(r, z, vset(3.997753728e-1f));
    r = vfma(r, z, vset(6.6666776413e-1f));
    r = r * z;
    vf h = 0.5f * f * f;
    vf l = vfma(ef, vset(FDIT_LN2_LOW), s * (h + r)) - h + f;
    l = vfma(ef, vset(FDIT_LN2_HIGH), l);
    const float inf = __builtin_inff();
    l = vselect((vi)(x == 0.0f), vset(-inf), l);
    l = vselect((vi)(x < 0.0f), vset(__builtin_nanf("")), l);
    l = vselect((vi)(x == inf), x, l);
    return vselect((vi)(x != x), x, l);
}

/* GELU, tanh form: 0.5 x (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3). The
 * second form has no cancellation for negative x. */
#define FDIT_GELU_1 (2.0f * 0.7978845608028654f)
#define FDIT_GELU_3 (2.0f * 0.7978845608028654f * 0.044715f)
FDIT_KERNEL vf vgelu(vf x)
{
    /* Beyond +-15 the result is x or -0; the limits keep x^2 and the product finite. */
    vf low = vmax(vset(-15.0f), x), near = vmin(vset(15.0f), low);
    vf c = vfma(near * near, vset(FDIT_GELU_3), vset(FDIT_GELU_1));
    return low * vsigmoid(near * c);
}
/* d vgelu / dx = s + x s (1 - s) 2u', u' = sqrt(2/pi) (1 + 3 * 0.044715 x^2) */
FDIT_KERNEL vf vgelu_slope(vf x)
{
    /* Beyond +-15 the slope is 1 or 0; the limits keep x^2 and x s finite. */
    x = vclamp(x, -15.0f, 15.0f);
    vf square = x * x;
    vf s = vsigmoid(x * vfma(square, vset(FDIT_GELU_3), vset(FDIT_GELU_1)));
    vf du = vfma(square, vset(3.0f * FDIT_GELU_3), vset(FDIT_GELU_1));
    return vfma(x * s * (1.0f - s), du, s);
}

/* x / (1 + e^-x) */
FDIT_KERNEL vf vsilu(vf x)
{
    vf low = vmax(vset(-120.0f), x);
    return low * vsigmoid(low);
}
FDIT_KERNEL vf vsilu_slope(vf x)
{
    x = vclamp(x, -120.0f, 120.0f);
    vf s = vsigmoid(x);
    return vfma(x * s, 1.0f - s, s);
}

/* The normal distribution's part above a >= 0, erfc(a / sqrt 2) / 2 = e / 2 t P(t) with e = exp(-a^2 / 2),
 * t = 1 / (1 + 0.3 a / sqrt 2). P interpolates at Chebyshev's points of a / sqrt 2 = 0 .. 10.7: 4e-8. */
FDIT_KERNEL vf vnormal_above(vf a, vf e)
{
    vf t = 1.0f / vfma(a, vset(0.212132034f), vset(1.0f));
    vf p = vset(-1.309539092e-01f);
    p = vfma(p, t, vset(4.927695413e-01f));
    p = vfma(p, t, vset(-5.277399858e-01f));
    p = vfma(p, t, vset(5.661386153e-01f));
    p = vfma(p, t, vset(-1.079421090e-01f));
    p = vfma(p, t, vset(2.208618979e-01f));
    p = vfma(p, t, vset(1.467404819e-01f));
    p = vfma(p, t, vset(1.709522325e-01f));
    p = vfma(p, t, vset(1.691732129e-01f));
    return 0.5f * e * t * p;
}
/* And the part below x. */
FDIT_KERNEL vf vnormal_below(vf x, vf e)
{
    vf above = vnormal_above(vabs(x), e);
    return vselect((vi)(x > 0.0f), 1.0f - above, above);
}

/* GELU by erf: x times the part below x. */
FDIT_KERNEL vf vgelu_erf(vf x)
{
    /* Beyond +-15 the result is x or -0; the limits keep x^2 and the product finite. */
    vf low = vmax(vset(-15.0f), x), near = vmin(vset(15.0f), low);
    return low * vnormal_below(near, vexp_coarse(-0.5f * near * near));
}
FDIT_KERNEL vf vgelu_erf_slope(vf x)
{
    x = vclamp(x, -15.0f, 15.0f);
    vf e = vexp_coarse(-0.5f * x * x);
    return vfma(x * e, vset(0.39894228f), vnormal_below(x, e));
}

FDIT_KERNEL vf vrelu(vf x)
{
    return vmax(vzero(), x); /* x where that is NaN */
}
FDIT_KERNEL vf vrelu_slope(vf x)
{
    return vselect((vi)(x > 0.0f), vset(1.0f), vselect((vi)(x <= 0.0f), vzero(), x));
}

#endif
