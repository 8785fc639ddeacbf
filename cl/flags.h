/* SPDX-License-Identifier: Apache-2.0
 * flags.h: the bits of a kernel's `flags`, for kernels and for the host that sets them: OpenCL C 1.2 and C11
 * read it, so it has nothing but defines. Each is a bit's number, for FLAG() and BIT(). */
#ifndef FDIT_CL_FLAGS_H
#define FDIT_CL_FLAGS_H

/* Products: linear.cl, linear_block.cl, linear_registers.cl, epilogue.cl. */
#define LINEAR_BETA 0
#define LINEAR_BIAS 1
#define LINEAR_PRE 2
#define LINEAR_GATE 3
#define LINEAR_RESIDUAL 4
#define LINEAR_SHARED 5 /* the residual is one sample's */
#define LINEAR_SLOPE 6  /* multiply by act'(pre) */
#define LINEAR_ADD 7    /* before act or the slope */
#define LINEAR_ACT 8    /* enum fdit_act from this bit on */

/* norm.cl */
#define NORM_WEIGHT 0 /* and bias */
#define NORM_MOD 1    /* shift and scale */
#define NORM_Y 2
#define NORM_XHAT 3
#define NORM_RSTD 4
#define NORM_ACCUMULATE 5
#define NORM_WANT_DMOD 6
#define NORM_WANT_DPARAM 7

/* column_sums of reduce.cl */
#define SUMS_SUM 0
#define SUMS_PRODUCT 1
#define SUMS_BETA 2

/* gate of pointwise.cl */
#define GATE_RESIDUAL 0

/* sampler of diffusion.cl */
#define SAMPLER_UNCOND 0
#define SAMPLER_Z 1
#define SAMPLER_OLD 2
#define SAMPLER_CLIP_X0 3
#define SAMPLER_LEARNED 4
#define SAMPLER_SINGLE 5

/* conv and patches of picture.cl */
#define CONV_BIAS 0
#define CONV_RESIDUAL 1
#define CONV_UPSAMPLE 2
#define CONV_ACT 3 /* enum fdit_act from this bit on */

#endif
