# SPDX-License-Identifier: Apache-2.0
fdit_sources += \
	src/selftest/selftest.c src/selftest/selftest.h
