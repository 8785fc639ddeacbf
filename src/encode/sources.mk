# SPDX-License-Identifier: Apache-2.0
fdit_sources += src/encode/encode.c src/encode/encode.h
