# SPDX-License-Identifier: Apache-2.0
fdit_sources += src/api/api.c src/api/api.h src/api/session.c src/api/session.h src/api/draw.c src/api/training.c
