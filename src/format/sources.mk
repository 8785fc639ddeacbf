# SPDX-License-Identifier: Apache-2.0
fdit_sources += src/format/json.c src/format/json.h src/format/json_build.c \
	src/format/weights.c src/format/weights.h \
	src/format/tensor.c src/format/tensor.h src/format/pt.c src/format/pt.h \
	src/format/pt_pickle.c src/format/pt_pickle.h src/format/pt_machine.h src/format/pt_names.c src/format/pt_zip.c src/format/pt_zip.h \
	src/format/pt_write.c \
	src/format/safetensors.c src/format/safetensors.h src/format/safetensors_write.c \
	src/format/picture.c src/format/picture.h src/format/png.c src/format/png.h src/format/png_scan.c src/format/png_scan.h \
	src/format/jpeg.c src/format/jpeg.h src/format/webp.c src/format/webp.h src/format/resize.c src/format/resize.h \
	src/format/resample.c src/format/resample.h src/format/resample_x86.h \
	src/format/tar.c src/format/tar.h src/format/tar_write.c
fdit_sources += src/format/font.c src/format/font.h src/format/font_data.c src/format/font_data.h src/format/grid.c src/format/grid.h
fdit_sources += src/format/cache.c src/format/cache.h src/format/cache_layout.h src/format/cache_write.c
fdit_sources += src/format/kind.c src/format/kind.h
fdit_sources += src/format/picture_kind.c src/format/picture_probe.c src/format/picture_probe.h
fdit_sources += src/format/picture_read.h src/format/rows.h src/format/chain.h src/format/fit.c src/format/fit.h
fdit_sources += src/format/picture_rules.c src/format/picture_rules.h
