/* SPDX-License-Identifier: Apache-2.0
 * gemm_amx_bf16x3_kernels.c: products of bf16x3 by 3 products of 2 parts, for processors with AMX
 * (gemm_amx_parts.h). Built for that set alone: see cpu.h. */
#define PARTS 2
#include "cpu/gemm_amx_parts.h"

const struct fdit_cpu_gemm_kernels FDIT_ISA_NAME(fdit_cpu_gemm_bf16x3_kernels) = GEMM_KERNELS;
