# SPDX-License-Identifier: Apache-2.0
fdit_sources += src/bench/problem.c src/bench/problem.h src/bench/workload.c src/bench/workload.h \
	src/bench/workload_op.c src/bench/workload_model.c src/bench/workload_vae.c src/bench/bench.c src/bench/bench.h \
	src/bench/report.c src/bench/report.h src/bench/compare.c \
	src/bench/chart.c src/bench/chart.h

# commit.h: what results say they were measured with. From git in a checkout, from the file beside the
# sources in a tarball, else "unknown"; written only when it changes.
BUILT_SOURCES += commit.h
DISTCLEANFILES = commit.h
EXTRA_DIST += commit.h
commit.h: commit-always
	$(AM_V_GEN)commit=; \
	if git -C $(srcdir) ls-files --error-unmatch configure.ac >/dev/null 2>&1; then \
		commit=`git -C $(srcdir) rev-parse --short=12 HEAD 2>/dev/null`; \
		test -z "$$commit" || GIT_OPTIONAL_LOCKS=0 git -C $(srcdir) diff-index --quiet HEAD -- \
			2>/dev/null || commit="$$commit, changed"; \
	elif test -f $(srcdir)/commit.h; then \
		commit=`sed -n 's/.*FDIT_COMMIT "\(.*\)"/\1/p' $(srcdir)/commit.h`; \
	fi; \
	printf '#define FDIT_COMMIT "%s"\n' "$${commit:-unknown}" >commit.h.new; \
	if cmp -s commit.h.new commit.h; then rm -f commit.h.new; else mv -f commit.h.new commit.h; fi
commit-always:
.PHONY: commit-always
src/bench/report.$(OBJEXT) src/bench/report.lo src/train/exchange_ranks.$(OBJEXT) src/train/exchange_ranks.lo: commit.h
