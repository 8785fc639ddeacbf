# SPDX-License-Identifier: Apache-2.0
fdit_sources += src/diffusion/objective.c src/diffusion/objective.h \
	src/diffusion/torch_rng.c src/diffusion/torch_rng.h src/diffusion/schedule.c src/diffusion/weighting.c src/diffusion/weighting.h \
	src/diffusion/schedule.h src/diffusion/sampler.c src/diffusion/sampler.h
