# SPDX-License-Identifier: Apache-2.0
fdit_sources += \
	src/core/child.c src/core/child.h \
	src/core/clock.h \
	src/core/datadir.c src/core/datadir.h \
	src/core/difference.c src/core/difference.h \
	src/core/file.c src/core/file.h \
	src/core/finite.h \
	src/core/fnv.h \
	src/core/folder_lock.c src/core/folder_lock.h \
	src/core/half.c src/core/half.h \
	src/core/limits.c src/core/limits.h \
	src/core/mem.c src/core/mem.h \
	src/core/option_table.c src/core/option_table.h \
	src/core/path.c \
	src/core/phase.c src/core/phase.h \
	src/core/pool.c src/core/pool.h \
	src/core/print.c src/core/print.h \
	src/core/ranks.c src/core/ranks.h \
	src/core/rng.c src/core/rng.h \
	src/core/share.c src/core/share.h \
	src/core/status.c src/core/status.h \
	src/core/target.c src/core/target.h \
	src/core/text.c src/core/text.h \
	src/core/threads.c src/core/threads.h \
	src/core/utf8.c src/core/utf8.h \
	src/core/version.c
