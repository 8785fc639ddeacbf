# SPDX-License-Identifier: Apache-2.0
fdit_sources += src/encode/options.c src/encode/sources.c src/encode/sources.h src/encode/encode.c src/encode/encode.h
