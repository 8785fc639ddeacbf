# SPDX-License-Identifier: Apache-2.0
opencl_sources += host/opencl/attention.c host/opencl/cache.c host/opencl/cache.h \
	host/opencl/diffusion.c host/opencl/error.c host/opencl/facts.c host/opencl/gemm.c \
	host/opencl/gemm.h host/opencl/launch.c host/opencl/memory.c host/opencl/opencl.c \
	host/opencl/opencl.h host/opencl/ops.c host/opencl/picture.c host/opencl/platforms.c \
	host/opencl/profile.c host/opencl/programs.c host/opencl/state.h host/opencl/weights.c
