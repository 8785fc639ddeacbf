# SPDX-License-Identifier: Apache-2.0
fdit_sources += \
	src/picture/chain.h \
	src/picture/fit.c src/picture/fit.h \
	src/picture/font.c src/picture/font.h \
	src/picture/font_data.c src/picture/font_data.h \
	src/picture/grid.c src/picture/grid.h \
	src/picture/jpeg.c src/picture/jpeg.h \
	src/picture/picture.c src/picture/picture.h \
	src/picture/picture_kind.c \
	src/picture/picture_probe.c src/picture/picture_probe.h \
	src/picture/picture_read.h \
	src/picture/picture_rules.c src/picture/picture_rules.h \
	src/picture/png.c src/picture/png.h \
	src/picture/png_scan.c src/picture/png_scan.h \
	src/picture/resample.c src/picture/resample.h \
	src/picture/resample_x86.h \
	src/picture/resize.c src/picture/resize.h \
	src/picture/resize_float.c src/picture/resize_float.h \
	src/picture/rows.h \
	src/picture/taps.c src/picture/taps.h \
	src/picture/webp.c src/picture/webp.h
fdit_sources += src/picture/chart_pen.h src/picture/chart_svg.c src/picture/chart_png.c
