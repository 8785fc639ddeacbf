# SPDX-License-Identifier: Apache-2.0
fdit_sources += src/eval/judge.c src/eval/judge.h
