# SPDX-License-Identifier: Apache-2.0
fdit_sources += src/selftest/probe.c src/selftest/probe.h src/selftest/cases.c src/selftest/cases.h
fdit_sources += src/selftest/selftest.c src/selftest/selftest.h
