# SPDX-License-Identifier: Apache-2.0
fdit_serve_sources += \
	src/serve/api.c src/serve/api.h \
	src/serve/find.c src/serve/find.h \
	src/serve/guard.c src/serve/guard.h \
	src/serve/http.c src/serve/http.h \
	src/serve/listen.c src/serve/listen.h \
	src/serve/mhd.c src/serve/mhd.h \
	src/serve/numbers.c src/serve/numbers.h \
	src/serve/order.c src/serve/order.h \
	src/serve/page.h \
	src/serve/real.c src/serve/real.h \
	src/serve/runs.c src/serve/runs.h \
	src/serve/studio.c src/serve/studio.h src/serve/studio_draw.c src/serve/studio_state.h \
	src/serve/tree.c src/serve/tree.h

# The page travels inside the program (src/serve/embed.awk).
fdit_page_files = src/serve/page/index.html src/serve/page/icon.svg src/serve/page/page.css src/serve/page/page.js \
	src/serve/page/api.js src/serve/page/draw.js src/serve/page/node.js src/serve/page/pictures.js \
	src/serve/page/runs.js src/serve/page/search.js src/serve/page/tree.js
EXTRA_DIST += $(fdit_page_files) src/serve/embed.awk
nodist_libfdit_serve_la_SOURCES = src/serve/embedded.c
CLEANFILES += src/serve/embedded.c
src/serve/embedded.c: $(fdit_page_files) src/serve/embed.awk
	$(AM_V_GEN)$(MKDIR_P) src/serve && \
	LC_ALL=C $(AWK) -f $(srcdir)/src/serve/embed.awk $(fdit_page_files:%=$(srcdir)/%) > $@.tmp && mv $@.tmp $@
