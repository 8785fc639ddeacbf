/* SPDX-License-Identifier: Apache-2.0
 * gemm_amx_f32_kernels.c: products of f32 by 6 products of 3 parts, for processors with AMX
 * (gemm_amx_parts.h). Built for that set alone: see cpu.h. */
#define PARTS 3
#include "cpu/gemm_amx_parts.h"

const struct fdit_cpu_gemm_kernels FDIT_ISA_NAME(fdit_cpu_gemm_f32_kernels) = GEMM_KERNELS;
