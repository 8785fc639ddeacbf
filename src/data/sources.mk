# SPDX-License-Identifier: Apache-2.0
fdit_sources += src/data/names.c src/data/names.h src/data/taxonomy.c src/data/taxonomy.h \
	src/data/taxonomy_build.h src/data/taxonomy_table.c src/data/taxonomy_nest.c src/data/taxonomy_read.c src/data/taxonomy_select.c \
	src/data/dataset.c src/data/dataset.h src/data/dataset_index.h src/data/dataset_names.c src/data/survey.c src/data/survey.h src/data/dataset_folder.c \
	src/data/dataset_tar.c src/data/loader.c src/data/loader.h
fdit_sources += src/data/balance.c src/data/balance.h
fdit_sources += src/data/split.c src/data/split.h
fdit_sources += src/data/identity.c src/data/identity.h
fdit_sources += src/data/table_text.c src/data/table_text.h src/data/spelling.c src/data/spelling.h
fdit_sources += src/data/dataset_probe.c src/data/dataset_report.c src/data/room.c src/data/room.h
fdit_sources += src/data/class_vectors.c src/data/class_vectors.h
fdit_sources += src/data/taxonomy_join.c
