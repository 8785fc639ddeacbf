# SPDX-License-Identifier: Apache-2.0
opencl_sources += host/opencl/admit.c host/opencl/answers.c host/opencl/crash.c host/opencl/drivers.c host/opencl/drivers.h host/opencl/helper.c host/opencl/int8.c host/opencl/int8.h \
	host/opencl/verdicts.c host/opencl/attention.c host/opencl/attention_trial.c host/opencl/cache.c host/opencl/cache.h \
	host/opencl/clblast.c host/opencl/clblast.h host/opencl/tune.c host/opencl/tune.h \
	host/opencl/tuned.c host/opencl/tuned.h \
	host/opencl/diffusion.c host/opencl/error.c host/opencl/facts.c host/opencl/gemm.c \
	host/opencl/gemm.h host/opencl/guard.c host/opencl/guard.h host/opencl/launch.c host/opencl/matrix.c host/opencl/matrix.h host/opencl/memory.c host/opencl/opencl.c \
	host/opencl/opencl.h host/opencl/ops.c host/opencl/picture.c host/opencl/platforms.c \
	host/opencl/profile.c host/opencl/programs.c host/opencl/programs.h host/opencl/quirks.c host/opencl/quirks.h host/opencl/state.h host/opencl/unit_trial.c host/opencl/units.c host/opencl/units.h host/opencl/weights.c host/opencl/workspace.c
EXTRA_DIST += host/opencl/clblast.tsv host/opencl/embed_rows.awk
if HAVE_OPENCL
nodist_libfdit_all_la_SOURCES += host/opencl/clblast_rows.c
CLEANFILES += host/opencl/clblast_rows.c
endif
host/opencl/clblast_rows.c: host/opencl/clblast.tsv host/opencl/embed_rows.awk
	$(AM_V_GEN)$(MKDIR_P) host/opencl && \
	$(AWK) -f $(srcdir)/host/opencl/embed_rows.awk $(srcdir)/host/opencl/clblast.tsv > $@.tmp && mv $@.tmp $@
