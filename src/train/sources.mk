# SPDX-License-Identifier: Apache-2.0
fdit_sources += \
	src/train/autoencoder.c src/train/autoencoder.h \
	src/train/batch.c src/train/batch.h \
	src/train/class_losses.c src/train/class_losses.h \
	src/train/class_table.c src/train/class_table.h \
	src/train/config.c src/train/config.h \
	src/train/exchange.c src/train/exchange.h \
	src/train/exchange_ranks.c src/train/exchange_ranks.h \
	src/train/growth.c src/train/growth.h \
	src/train/held_out.c src/train/held_out.h \
	src/train/journal.c src/train/journal.h \
	src/train/learn.c src/train/learn.h \
	src/train/prior.c src/train/prior.h \
	src/train/look.c src/train/look.h \
	src/train/made_of.c src/train/made_of.h \
	src/train/open.c \
	src/train/optimiser.c src/train/optimiser.h \
	src/train/options.c src/train/options.h \
	src/train/overlap.c src/train/overlap.h \
	src/train/pace.c src/train/pace.h \
	src/train/preview.c src/train/preview.h \
	src/train/quality.c src/train/quality.h \
	src/train/replica_rows.c src/train/replica_rows.h \
	src/train/replicas.c src/train/replicas.h \
	src/train/resume.c \
	src/train/run.c src/train/run.h \
	src/train/run_folder.c src/train/run_folder.h \
	src/train/run_loop.c src/train/run_output.c \
	src/train/running.h \
	src/train/snapshot.c src/train/snapshot.h \
	src/train/source.c src/train/source.h \
	src/train/state.c src/train/state.h \
	src/train/step.c src/train/step.h \
	src/train/utility.c src/train/utility.h \
	src/train/validate.c \
	src/train/vector_layout.c src/train/vector_layout.h
fdit_sources += src/train/lr_range.c src/train/lr_range.h
