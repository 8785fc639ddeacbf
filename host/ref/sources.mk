# SPDX-License-Identifier: Apache-2.0
fdit_sources += host/ref/ref.c host/ref/ref_math.c host/ref/ref_math.h host/ref/ref_picture.c \
	host/ref/ref_ops.h
EXTRA_DIST += host/ref/ref_kernels.inc host/ref/ref_prototypes.inc
