# SPDX-License-Identifier: Apache-2.0
fdit_sources += src/core/status.c src/core/status.h src/core/mem.c src/core/mem.h \
	src/core/version.c
fdit_sources += src/core/rng.c src/core/rng.h
fdit_sources += src/core/clock.h src/core/progress.c src/core/progress.h
fdit_sources += src/core/file.c src/core/path.c src/core/file.h
fdit_sources += src/core/folder_lock.c src/core/folder_lock.h
fdit_sources += src/core/target.c src/core/target.h
fdit_sources += src/core/child.c src/core/child.h
fdit_sources += src/core/datadir.c src/core/datadir.h
fdit_sources += src/core/team.c src/core/team.h
fdit_sources += src/core/pool.c src/core/pool.h src/core/limits.c src/core/limits.h
fdit_sources += src/core/half.c src/core/half.h
fdit_sources += src/core/utf8.c src/core/utf8.h
fdit_sources += src/core/phase.c src/core/phase.h src/core/text.c src/core/text.h
