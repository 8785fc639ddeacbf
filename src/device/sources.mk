# SPDX-License-Identifier: Apache-2.0
fdit_sources += \
	src/device/backend.h \
	src/device/case_parts.h \
	src/device/cases.c src/device/cases.h \
	src/device/cases_picture.c \
	src/device/check.c src/device/check.h \
	src/device/device.c src/device/device.h \
	src/device/generic.c src/device/generic.h \
	src/device/generic_picture.c \
	src/device/host_math.c src/device/host_math.h \
	src/device/op_list.h src/device/ops.c \
	src/device/ops_picture.c \
	src/device/plan.c src/device/plan.h \
	src/device/probe.c src/device/probe.h \
	src/device/probe_run.c src/device/probe_run.h
