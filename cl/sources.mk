# SPDX-License-Identifier: Apache-2.0
# The kernels travel inside the library as text (cl/embed.awk); prelude.cl is put before each other
# file.
cl_files = cl/prelude.cl cl/attention.cl cl/attention_matrix.cl cl/attention_registers.cl cl/diffusion.cl cl/dot.cl cl/epilogue.cl cl/linear.cl \
	cl/linear_block.cl cl/linear_matrix.cl cl/linear_registers.cl cl/norm.cl cl/optimiser.cl cl/picture.cl cl/pointwise.cl cl/quantise.cl cl/reduce.cl \
	cl/transpose.cl
cl_headers = cl/attention_rows.h cl/flags.h cl/fused.h cl/int8.h cl/product.h cl/tile.h cl/unit.h cl/unit_dpas.h cl/unit_mfma.h cl/unit_mma.h \
	cl/unit_use.h cl/unit_wmma.h
EXTRA_DIST += $(cl_files) $(cl_headers) cl/embed.awk

if HAVE_OPENCL
nodist_libfdit_all_la_SOURCES += cl/embedded.c
CLEANFILES += cl/embedded.c
endif
cl/embedded.c: $(cl_files) $(cl_headers) cl/embed.awk
	$(AM_V_GEN)$(MKDIR_P) cl && \
	$(AWK) -f $(srcdir)/cl/embed.awk $(cl_files:%=$(srcdir)/%) > $@.tmp && mv $@.tmp $@
