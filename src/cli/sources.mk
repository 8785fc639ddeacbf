# SPDX-License-Identifier: Apache-2.0
fdit_cli_sources += \
	src/cli/cli.h \
	src/cli/cmd_bench.c \
	src/cli/cmd_convert.c \
	src/cli/cmd_demo.c \
	src/cli/cmd_devices.c \
	src/cli/cmd_encode.c \
	src/cli/cmd_eval.c \
	src/cli/cmd_inspect.c \
	src/cli/cmd_sample.c \
	src/cli/cmd_selftest.c \
	src/cli/cmd_serve.c \
	src/cli/cmd_train.c \
	src/cli/cmd_tune.c \
	src/cli/commands.h \
	src/cli/common.c \
	src/cli/complete.c src/cli/complete.h \
	src/cli/eval_deal.c src/cli/eval_job.h \
	src/cli/eval_print.c src/cli/eval_print.h \
	src/cli/eval_series.c \
	src/cli/eval_utility.c \
	src/cli/help.c \
	src/cli/inspect_cache.c src/cli/inspect_cache.h \
	src/cli/inspect_data.c src/cli/inspect_data.h \
	src/cli/inspect_picture.c src/cli/inspect_picture.h \
	src/cli/inspect_file.c src/cli/inspect_file.h \
	src/cli/main.c \
	src/cli/messages.c \
	src/cli/options.c \
	src/cli/print_json.c \
	src/cli/print_plan.c \
	src/cli/progress.c src/cli/progress.h \
	src/cli/launch.c src/cli/launch.h \
	src/cli/results.c src/cli/results.h \
	src/cli/sigbus.c \
	src/cli/signals.c \
	src/cli/ticker.c \
	src/cli/topics.c src/cli/topics.h
