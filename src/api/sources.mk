# SPDX-License-Identifier: Apache-2.0
fdit_sources += src/api/session.c src/api/training.c
