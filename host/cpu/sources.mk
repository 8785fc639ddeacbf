# SPDX-License-Identifier: Apache-2.0
# Driver files go to fdit_sources, kernel files to cpu_kernel_sources: Makefile.am compiles those once
# per instruction set, where configure found that the compiler can build for it (HAVE_AVX2 and so on);
# HAVE_ONEDNN or HAVE_CBLAS when configure chose that provider.
cpu_kernel_sources += host/cpu/gemm_kernels.c host/cpu/gemm_kernels.h host/cpu/rounding.h host/cpu/simd.h host/cpu/vmath.h
cpu_kernel_sources += host/cpu/gemm_ahead.h host/cpu/gemm_epilogue.h host/cpu/gemm_quantise.h
cpu_kernel_sources += host/cpu/gemm_tile_rows.h host/cpu/gemm_widen.h
# Built for AVX-512-VNNI, AVX-VNNI and ARM's dot products.
cpu_int8_sources += host/cpu/gemm_int8_kernels.c host/cpu/gemm_int8.h host/cpu/gemm_dot_tiles.h
cpu_int8_sources += host/cpu/gemm_ahead.h host/cpu/gemm_tile_rows.h host/cpu/gemm_quantise.h host/cpu/gemm_kernels.h
cpu_int8_sources += host/cpu/gemm_epilogue.h host/cpu/simd.h host/cpu/vmath.h
# Built for AVX-512-BF16 alone.
cpu_bf16_sources += host/cpu/gemm_bf16_kernels.c host/cpu/gemm_epilogue.h host/cpu/gemm_kernels.h
cpu_bf16_sources += host/cpu/attention_bf16_kernels.c host/cpu/op_kernels.h host/cpu/bf16.h
cpu_bf16_sources += host/cpu/gemm_ahead.h host/cpu/gemm_dot_tiles.h host/cpu/gemm_tile_rows.h host/cpu/gemm_quantise.h
cpu_bf16_sources += host/cpu/simd.h host/cpu/vmath.h host/cpu/gemm_bf16_panels.h host/cpu/attention_bf16_dot.h
# Built for AMX alone.
cpu_amx_sources += host/cpu/attention_bf16_kernels.c host/cpu/attention_bf16_amx.h host/cpu/attention_drive.h host/cpu/attention_sizes.h
cpu_amx_sources += host/cpu/gemm_amx_int8_kernels.c host/cpu/gemm_int8.h host/cpu/gemm_amx_tiles.h
cpu_amx_sources += host/cpu/gemm_amx_f32_kernels.c host/cpu/gemm_amx_bf16x3_kernels.c host/cpu/gemm_amx_parts.h
cpu_amx_sources += host/cpu/gemm_widen.h
cpu_amx_sources += host/cpu/gemm_amx_kernels.c host/cpu/amx.h host/cpu/amx_emulated.h host/cpu/gemm_bf16_panels.h
cpu_amx_sources += host/cpu/gemm_ahead.h host/cpu/gemm_epilogue.h host/cpu/gemm_kernels.h host/cpu/op_kernels.h
cpu_amx_sources += host/cpu/bf16.h host/cpu/simd.h host/cpu/vmath.h host/cpu/gemm_quantise.h
cpu_kernel_sources += host/cpu/op_kernels.c host/cpu/op_kernels.h host/cpu/attention_kernels.c
cpu_kernel_sources += host/cpu/probe_kernels.c host/cpu/picture_kernels.c
fdit_sources += host/cpu/cpu.c host/cpu/cpu.h host/cpu/isa.c host/cpu/name.c
fdit_sources += host/cpu/linear.c host/cpu/linear.h host/cpu/gemm.c host/cpu/gemm.h host/cpu/gemm_parts.c
fdit_sources += host/cpu/ops.h host/cpu/ops_rows.c host/cpu/ops_heads.c host/cpu/ops_attention.c host/cpu/ops_elementwise.c
fdit_sources += host/cpu/ops_index.c host/cpu/ops_loss.c host/cpu/probe.c
fdit_sources += host/cpu/ops_picture.c host/cpu/threads.c host/cpu/workspace.c
if HAVE_ONEDNN
fdit_sources += host/cpu/gemm_onednn.c
endif
if HAVE_CBLAS
fdit_sources += host/cpu/gemm_cblas.c
endif
