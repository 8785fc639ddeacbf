# SPDX-License-Identifier: Apache-2.0
fdit_sources += src/net/build.c src/net/net.h src/net/net_internal.h src/net/plan.c src/net/run.c src/net/weights.c
