# SPDX-License-Identifier: Apache-2.0
fdit_sources += \
	src/format/cache.c src/format/cache.h \
	src/format/cache_layout.h \
	src/format/cache_write.c \
	src/format/json.c src/format/json.h \
	src/format/json_build.c \
	src/format/kind.c src/format/kind.h \
	src/format/text_file.c src/format/text_file.h \
	src/format/little.h \
	src/format/npz.c src/format/npz.h \
	src/format/npz_write.c \
	src/format/option_json.c src/format/option_json.h \
	src/format/pt.c src/format/pt.h \
	src/format/pt_machine.h \
	src/format/pt_names.c \
	src/format/pt_pickle.c src/format/pt_pickle.h \
	src/format/pt_write.c \
	src/format/safetensors.c src/format/safetensors.h \
	src/format/safetensors_write.c \
	src/format/tar.c src/format/tar.h \
	src/format/tar_write.c \
	src/format/tensor.c src/format/tensor.h \
	src/format/tfevents.c src/format/tfevents.h \
	src/format/weights.c src/format/weights.h \
	src/format/zip.c src/format/zip.h
