# SPDX-License-Identifier: Apache-2.0
fdit_sources += src/device/device.c src/device/device.h src/device/ops.c \
	src/device/check.c src/device/check.h src/device/generic.c src/device/generic.h \
	src/device/host_math.c src/device/host_math.h \
	src/device/ops_picture.c src/device/generic_picture.c
