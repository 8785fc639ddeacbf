# SPDX-License-Identifier: Apache-2.0
fdit_sources += src/vae/config.c src/vae/config.h src/vae/file.c src/vae/file.h src/vae/layers.c src/vae/layers.h \
	src/vae/projection.c src/vae/projection.h src/vae/vae.c src/vae/vae.h src/vae/weights.c
