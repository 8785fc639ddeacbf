# SPDX-License-Identifier: Apache-2.0
fdit_sources += src/format/json.c src/format/json.h src/format/half.c \
	src/format/safetensors.c src/format/safetensors.h src/format/safetensors_write.c \
	src/format/picture.c src/format/picture.h src/format/png.c src/format/png.h \
	src/format/jpeg.c src/format/jpeg.h src/format/webp.c src/format/webp.h src/format/resize.c src/format/resize.h \
	src/format/resample.c src/format/resample.h src/format/resample_x86.h \
	src/format/tar.c src/format/tar.h src/format/tar_write.c
fdit_sources += src/format/font.c src/format/font.h src/format/grid.c src/format/grid.h
