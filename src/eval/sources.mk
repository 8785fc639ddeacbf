# SPDX-License-Identifier: Apache-2.0
fdit_sources += \
	src/eval/bootstrap.c src/eval/bootstrap.h \
	src/eval/by_class.c \
	src/eval/confusion.c src/eval/confusion.h \
	src/eval/deal.c src/eval/deal.h \
	src/eval/diversity.c \
	src/eval/drawing.h \
	src/eval/evaluate.c src/eval/evaluate.h \
	src/eval/extractor.c src/eval/extractor.h \
	src/eval/feature_file.c \
	src/eval/feature_merge.c \
	src/eval/feature_run.c \
	src/eval/feature_set.c src/eval/feature_set.h \
	src/eval/frechet.c src/eval/frechet.h \
	src/eval/frechet_infinity.c \
	src/eval/groups.c src/eval/groups.h \
	src/eval/html.c src/eval/html.h \
	src/eval/inception.c src/eval/inception.h \
	src/eval/input.c src/eval/input.h \
	src/eval/job.h \
	src/eval/judge.c src/eval/judge.h \
	src/eval/lapack.c src/eval/lapack.h \
	src/eval/lpips.c src/eval/lpips.h \
	src/eval/manifest.c src/eval/manifest.h \
	src/eval/measure.c \
	src/eval/memory.c \
	src/eval/mmd.c src/eval/mmd.h \
	src/eval/neighbours.c src/eval/neighbours.h \
	src/eval/net_file.c src/eval/net_file.h \
	src/eval/options.c \
	src/eval/pairs.c src/eval/pairs.h \
	src/eval/report.c src/eval/report.h \
	src/eval/scores.c src/eval/scores.h \
	src/eval/series.c src/eval/series.h \
	src/eval/statistics.c src/eval/statistics.h \
	src/eval/vit.c src/eval/vit.h \
	src/eval/vit_file.c src/eval/vit_file.h \
	src/eval/vit_positions.c
