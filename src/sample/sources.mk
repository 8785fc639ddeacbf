# SPDX-License-Identifier: Apache-2.0
fdit_sources += \
	src/sample/candidates.c src/sample/candidates.h \
	src/sample/generate.c src/sample/generate.h \
	src/sample/noise.c src/sample/noise.h \
	src/sample/pixels.c src/sample/pixels.h \
	src/sample/options.c src/sample/options.h \
	src/sample/request.c src/sample/request.h \
	src/sample/reuse.c src/sample/reuse.h \
	src/sample/weight_files.c src/sample/weight_files.h \
	src/sample/guide.c src/sample/guide.h src/sample/source.c src/sample/source.h \
	src/sample/painter.c src/sample/painter.h \
	src/sample/identity.c src/sample/identity.h \
	src/sample/album.c src/sample/album.h src/sample/album_state.h \
	src/sample/album_look.c src/sample/album_sweep.c \
	src/sample/caption.c src/sample/caption.h \
	src/sample/like.c src/sample/like.h \
	src/sample/top_up.c src/sample/top_up.h \
	src/sample/contact_sheet.c src/sample/contact_sheet.h \
	src/sample/drawer.c src/sample/drawer.h \
	src/sample/job.c src/sample/job.h src/sample/several.c src/sample/running.h
fdit_sources += src/sample/new_classes.c src/sample/new_classes.h
