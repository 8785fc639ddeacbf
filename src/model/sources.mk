# SPDX-License-Identifier: Apache-2.0
fdit_sources += \
	src/model/adapter.c src/model/adapter.h \
	src/model/backward.c \
	src/model/checkpoint.c src/model/checkpoint.h \
	src/model/checkpoint_file.c src/model/checkpoint_file.h \
	src/model/checkpoint_names.c \
	src/model/config.c src/model/config.h \
	src/model/convert.c src/model/convert.h \
	src/model/delta.c src/model/delta.h \
	src/model/ema_length.c src/model/ema_length.h \
	src/model/ema_profile.c src/model/ema_profile.h \
	src/model/forward.c \
	src/model/init.c src/model/init.h \
	src/model/merge.c src/model/merge.h \
	src/model/model.c src/model/model.h \
	src/model/model_internal.h \
	src/model/params.c src/model/params.h \
	src/model/peft.c src/model/peft.h \
	src/model/shards.c src/model/shards.h \
	src/model/sites.c
