# SPDX-License-Identifier: Apache-2.0
fdit_sources += src/demo/demo.c src/demo/demo.h src/demo/options.c src/demo/sheet.c src/demo/sheet.h
