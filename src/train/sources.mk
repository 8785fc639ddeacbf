# SPDX-License-Identifier: Apache-2.0
fdit_sources += \
	src/train/batch.c src/train/batch.h \
	src/train/coder.c src/train/coder.h \
	src/train/config.c src/train/config.h \
	src/train/fleet.c src/train/fleet.h \
	src/train/folder.c src/train/folder.h \
	src/train/growth.c src/train/growth.h \
	src/train/made_of.c src/train/made_of.h \
	src/train/journal.c src/train/journal.h \
	src/train/open.c \
	src/train/options.c src/train/options.h \
	src/train/pace.c src/train/pace.h \
	src/train/preview.c src/train/preview.h \
	src/train/resume.c \
	src/train/run.c src/train/run.h src/train/running.h \
	src/train/state.c src/train/state.h \
	src/train/step.c src/train/step.h \
	src/train/table.c src/train/table.h \
	src/train/tfevents.c src/train/tfevents.h \
	src/train/validate.c
fdit_sources += src/train/data.c src/train/data.h
fdit_sources += src/train/look.c src/train/look.h
