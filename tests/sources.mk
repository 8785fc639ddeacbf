# SPDX-License-Identifier: Apache-2.0
# One block for each test program; append yours.
#
#     check_PROGRAMS += tests/test_status
#     tests_test_status_SOURCES = tests/test_status.c
#
# It links tests/harness.c, the whole library with its internals, and Check. A program exits with 0, 1,
# or 77 when there is nothing to test on this machine. A shell script is
#
#     TESTS += tests/test_cli.sh
#     EXTRA_DIST += tests/test_cli.sh
#
# and finds the program in $FDIT_PROGRAM and the sources in $FDIT_SRCDIR. Folders tests/fixtures and
# tests/corpus are distributed as they are.

# A fuzz target is
#
#     fuzz_programs += tests/fuzz/fuzz_x
#     tests_fuzz_fuzz_x_SOURCES = tests/fuzz/fuzz_x.c tests/fuzz/fuzz.h $(fuzz_main)
#     tests_fuzz_fuzz_x_LDFLAGS = $(fuzz_link_flags)

check_LTLIBRARIES += libfdit_harness.la
libfdit_harness_la_SOURCES = tests/harness.c tests/harness.h

check_PROGRAMS += tests/test_rng
tests_test_rng_SOURCES = tests/test_rng.c

check_PROGRAMS += tests/test_schedule tests/test_sampler
tests_test_schedule_SOURCES = tests/test_schedule.c
check_PROGRAMS += tests/test_weighting
tests_test_weighting_SOURCES = tests/test_weighting.c tests/tables_fixture.c tests/tables_fixture.h
check_PROGRAMS += tests/test_ema_profile
tests_test_ema_profile_SOURCES = tests/test_ema_profile.c tests/tables_fixture.c tests/tables_fixture.h
tests_test_sampler_SOURCES = tests/test_sampler.c

check_PROGRAMS += tests/test_progress
tests_test_progress_SOURCES = tests/test_progress.c src/cli/progress.c src/cli/progress.h
check_PROGRAMS += tests/test_text
tests_test_text_SOURCES = tests/test_text.c

check_PROGRAMS += tests/test_options
tests_test_options_SOURCES = tests/test_options.c

check_PROGRAMS += tests/test_pace
tests_test_pace_SOURCES = tests/test_pace.c

check_PROGRAMS += tests/test_pool tests/test_limits
tests_test_pool_SOURCES = tests/test_pool.c
tests_test_limits_SOURCES = tests/test_limits.c

check_PROGRAMS += tests/test_gemm
tests_test_gemm_SOURCES = tests/test_gemm.c tests/gemm_problem.c tests/gemm_problem.h
tests_test_gemm_LDADD = $(wide_kernels) $(LDADD)
check_PROGRAMS += tests/test_gemm_parts
tests_test_gemm_parts_SOURCES = tests/test_gemm_parts.c tests/gemm_problem.c tests/gemm_problem.h
tests_test_gemm_parts_LDADD = $(wide_kernels) $(LDADD)

check_PROGRAMS += tests/test_image
tests_test_image_SOURCES = tests/test_image.c
tests_test_image_LDADD = $(LDADD) $(PNG_LIBS)

check_PROGRAMS += tests/test_ops
tests_test_ops_SOURCES = tests/test_ops.c tests/op_case.c tests/op_case.h tests/ops_pointwise.c \
	tests/ops_pointwise.h tests/ops_picture.c tests/ops_picture.h
# To be preloaded, so not by libtool, which makes none with --disable-shared. Where it cannot be made its test is left out.
check_DATA = tests/faults/calls.so
tests/faults/calls.so: tests/faults/calls.c
	$(AM_V_GEN)$(MKDIR_P) tests/faults && \
	$(CC) -D_GNU_SOURCE -O1 -Wall -shared -fPIC -o $@ $(srcdir)/tests/faults/calls.c -ldl || : > $@
CLEANFILES += $(check_DATA)
TESTS += tests/test_faults_calls.sh
EXTRA_DIST += tests/test_faults_calls.sh tests/faults/calls.c tests/faults/demo_data.sh
# Out here: what stands in a condition is only distributed where it holds.
EXTRA_DIST += tests/test_opencl_engines.sh tests/test_faults.sh tests/faults/opencl_faults.c \
	tests/test_drivers.sh tests/test_units.sh tests/faults/driver.c
if HAVE_OPENCL
check_PROGRAMS += tests/test_ops_opencl
tests_test_ops_opencl_SOURCES = $(tests_test_ops_SOURCES)
tests_test_ops_opencl_CPPFLAGS = $(AM_CPPFLAGS) -DTEST_OPS_OPENCL=1
check_PROGRAMS += tests/test_ops_opencl_gpu
tests_test_ops_opencl_gpu_SOURCES = $(tests_test_ops_SOURCES)
tests_test_ops_opencl_gpu_CPPFLAGS = $(AM_CPPFLAGS) -DTEST_OPS_OPENCL=1 \
	'-DTEST_OPS_GEMM="block im=8 nv=4 bx=16 by=8 step=16"'
TESTS += tests/test_opencl_engines.sh
# To be preloaded, so not by libtool, which makes none with --disable-shared.
tests/faults/opencl_faults.so: tests/faults/opencl_faults.c
	$(AM_V_GEN)$(MKDIR_P) tests/faults && \
	$(CC) -D_GNU_SOURCE $(OPENCL_CFLAGS) -O1 -Wall -shared -fPIC -o $@ $(srcdir)/tests/faults/opencl_faults.c -ldl
tests/faults/driver.so: tests/faults/driver.c
	$(AM_V_GEN)$(MKDIR_P) tests/faults && \
	$(CC) -D_GNU_SOURCE $(OPENCL_CFLAGS) -O1 -Wall -shared -fPIC -o $@ $(srcdir)/tests/faults/driver.c -ldl -lm -pthread
check_DATA += tests/faults/opencl_faults.so tests/faults/driver.so
TESTS += tests/test_faults.sh tests/test_drivers.sh tests/test_units.sh
opencl_fixture = tests/opencl_fixture.c tests/opencl_fixture.h
check_PROGRAMS += tests/test_launches
tests_test_launches_SOURCES = tests/test_launches.c $(opencl_fixture)
check_PROGRAMS += tests/test_matrix_units tests/test_matrix_attention
kernel_fixture = tests/kernel_fixture.c tests/kernel_fixture.h $(opencl_fixture)
tests_test_matrix_units_SOURCES = tests/test_matrix_units.c $(kernel_fixture)
tests_test_matrix_attention_SOURCES = tests/test_matrix_attention.c $(kernel_fixture)
check_PROGRAMS += tests/test_unit_model
tests_test_unit_model_SOURCES = tests/test_unit_model.c tests/model_fixture.c tests/model_fixture.h \
	tests/step_fixture.c tests/step_fixture.h $(opencl_fixture)
check_PROGRAMS += tests/test_int8
tests_test_int8_SOURCES = tests/test_int8.c $(opencl_fixture)
check_PROGRAMS += tests/test_opencl_memory
tests_test_opencl_memory_SOURCES = tests/test_opencl_memory.c $(opencl_fixture)
check_PROGRAMS += tests/test_clblast
tests_test_clblast_SOURCES = tests/test_clblast.c $(opencl_fixture)
check_PROGRAMS += tests/test_tune
tests_test_tune_SOURCES = tests/test_tune.c $(opencl_fixture) tests/data_fixture.c tests/data_fixture.h
tests_test_tune_LDADD = $(LDADD) $(PNG_LIBS)
check_PROGRAMS += tests/test_program_cache
tests_test_program_cache_SOURCES = tests/test_program_cache.c $(opencl_fixture) tests/data_fixture.c tests/data_fixture.h
tests_test_program_cache_LDADD = $(LDADD) $(PNG_LIBS)
endif

check_PROGRAMS += tests/test_cache
tests_test_cache_SOURCES = tests/test_cache.c tests/data_fixture.c tests/data_fixture.h

check_PROGRAMS += tests/test_encode
tests_test_encode_SOURCES = tests/test_encode.c tests/data_fixture.c tests/data_fixture.h \
	tests/model_fixture.c tests/model_fixture.h
tests_test_encode_LDADD = $(LDADD) $(PNG_LIBS)
TESTS += tests/test_encode_cli.sh tests/test_encode_parts.sh
EXTRA_DIST += tests/test_encode_cli.sh tests/test_encode_parts.sh

fuzz_programs += tests/fuzz/fuzz_cache
tests_fuzz_fuzz_cache_SOURCES = tests/fuzz/fuzz_cache.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_cache_LDFLAGS = $(fuzz_link_flags)

check_PROGRAMS += tests/test_vae
tests_test_vae_SOURCES = tests/test_vae.c tests/model_fixture.c tests/model_fixture.h
check_PROGRAMS += tests/test_net
tests_test_net_SOURCES = tests/test_net.c tests/model_fixture.c tests/model_fixture.h

check_PROGRAMS += tests/test_tfevents tests/test_grid
tests_test_tfevents_SOURCES = tests/test_tfevents.c
tests_test_grid_SOURCES = tests/test_grid.c

check_PROGRAMS += tests/test_model
tests_test_model_SOURCES = tests/test_model.c tests/model_fixture.c tests/model_fixture.h \
	tests/step_fixture.c tests/step_fixture.h
check_PROGRAMS += tests/test_rounding
tests_test_rounding_SOURCES = tests/test_rounding.c tests/model_fixture.c tests/model_fixture.h \
	tests/step_fixture.c tests/step_fixture.h
check_PROGRAMS += tests/test_steps
tests_test_steps_SOURCES = tests/test_steps.c tests/model_fixture.c tests/model_fixture.h \
	tests/step_fixture.c tests/step_fixture.h

check_PROGRAMS += tests/test_device
tests_test_device_SOURCES = tests/test_device.c

check_PROGRAMS += tests/test_device_set
tests_test_device_set_SOURCES = tests/test_device_set.c

check_PROGRAMS += tests/test_device_life
tests_test_device_life_SOURCES = tests/test_device_life.c

check_PROGRAMS += tests/test_gradients tests/test_host_math
tests_test_gradients_SOURCES = tests/test_gradients.c tests/differences.c tests/differences.h
tests_test_host_math_SOURCES = tests/test_host_math.c tests/differences.c tests/differences.h

check_PROGRAMS += tests/test_taxonomy tests/test_names tests/test_data tests/test_loader
tests_test_names_SOURCES = tests/test_names.c
tests_test_taxonomy_SOURCES = tests/test_taxonomy.c
tests_test_data_SOURCES = tests/test_data.c tests/data_fixture.c tests/data_fixture.h
tests_test_data_LDADD = $(LDADD) $(ZLIB_LIBS)
tests_test_loader_SOURCES = tests/test_loader.c tests/data_fixture.c tests/data_fixture.h

check_PROGRAMS += tests/test_file tests/test_tar tests/test_formats
tests_test_file_SOURCES = tests/test_file.c

check_PROGRAMS += tests/test_target
tests_test_target_SOURCES = tests/test_target.c tests/data_fixture.c tests/data_fixture.h

check_PROGRAMS += tests/test_png_text
tests_test_png_text_SOURCES = tests/test_png_text.c
tests_test_formats_SOURCES = tests/test_formats.c tests/format_fixture.c tests/format_fixture.h
tests_test_tar_SOURCES = tests/test_tar.c tests/format_fixture.c tests/format_fixture.h
check_PROGRAMS += tests/test_pt
tests_test_pt_SOURCES = tests/test_pt.c
check_PROGRAMS += tests/test_json
tests_test_json_SOURCES = tests/test_json.c
check_PROGRAMS += tests/test_checkpoint
tests_test_checkpoint_SOURCES = tests/test_checkpoint.c
check_PROGRAMS += tests/test_runtimes
tests_test_runtimes_SOURCES = tests/test_runtimes.c

fuzz_programs += tests/fuzz/fuzz_safetensors tests/fuzz/fuzz_picture tests/fuzz/fuzz_tar \
	tests/fuzz/fuzz_taxonomy tests/fuzz/fuzz_pt
tests_fuzz_fuzz_pt_SOURCES = tests/fuzz/fuzz_pt.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_pt_LDFLAGS = $(fuzz_link_flags)
tests_fuzz_fuzz_safetensors_SOURCES = tests/fuzz/fuzz_safetensors.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_safetensors_LDFLAGS = $(fuzz_link_flags)
tests_fuzz_fuzz_picture_SOURCES = tests/fuzz/fuzz_picture.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_picture_LDFLAGS = $(fuzz_link_flags)
tests_fuzz_fuzz_tar_SOURCES = tests/fuzz/fuzz_tar.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_tar_LDFLAGS = $(fuzz_link_flags)
tests_fuzz_fuzz_taxonomy_SOURCES = tests/fuzz/fuzz_taxonomy.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_taxonomy_LDFLAGS = $(fuzz_link_flags)

check_PROGRAMS += tests/test_cpu_ops
tests_test_cpu_ops_SOURCES = tests/test_cpu_ops.c
tests_test_cpu_ops_LDADD = $(wide_kernels) $(LDADD)

check_PROGRAMS += tests/test_core
tests_test_core_SOURCES = tests/test_core.c

TESTS += tests/test_cli.sh
EXTRA_DIST += tests/test_cli.sh

TESTS += tests/test_resume.sh tests/test_growth.sh tests/test_earlier.sh
EXTRA_DIST += tests/lib.sh tests/eval.sh tests/ranks.sh tests/test_resume.sh tests/test_growth.sh tests/test_earlier.sh

check_PROGRAMS += tests/test_api
tests_test_api_SOURCES = tests/test_api.c
tests_test_api_LDADD = libfinediffusion.la $(CHECK_LIBS)
TESTS += tests/test_library.sh tests/test_abi.sh tests/test_moved.sh
EXTRA_DIST += tests/test_library.sh tests/test_abi.sh tests/test_moved.sh

check_PROGRAMS += tests/test_adapters
TESTS += tests/test_adapters_cli.sh
EXTRA_DIST += tests/test_adapters_cli.sh
tests_test_adapters_SOURCES = tests/test_adapters.c tests/model_fixture.c tests/model_fixture.h

check_PROGRAMS += tests/test_flow
TESTS += tests/test_flow_cli.sh
EXTRA_DIST += tests/test_flow_cli.sh
TESTS += tests/test_lr_range.sh tests/test_training_options.sh tests/test_class_vectors.sh
EXTRA_DIST += tests/test_lr_range.sh tests/test_training_options.sh tests/test_class_vectors.sh
TESTS += tests/test_candidates.sh
EXTRA_DIST += tests/test_candidates.sh
TESTS += tests/test_snapshots.sh
EXTRA_DIST += tests/test_snapshots.sh
TESTS += tests/test_top_up.sh
EXTRA_DIST += tests/test_top_up.sh
tests_test_flow_SOURCES = tests/test_flow.c tests/model_fixture.c tests/model_fixture.h
check_PROGRAMS += tests/test_learn
TESTS += tests/test_learn_cli.sh
EXTRA_DIST += tests/test_learn_cli.sh
tests_test_learn_SOURCES = tests/test_learn.c tests/model_fixture.c tests/model_fixture.h
check_PROGRAMS += tests/test_prior
TESTS += tests/test_prior_cli.sh
EXTRA_DIST += tests/test_prior_cli.sh
tests_test_prior_SOURCES = tests/test_prior.c tests/model_fixture.c tests/model_fixture.h
TESTS += tests/test_deltas.sh
EXTRA_DIST += tests/test_deltas.sh
check_PROGRAMS += tests/test_reuse
tests_test_reuse_SOURCES = tests/test_reuse.c tests/model_fixture.c tests/model_fixture.h
check_PROGRAMS += tests/test_sample
tests_test_sample_SOURCES = tests/test_sample.c tests/model_fixture.c tests/model_fixture.h
check_PROGRAMS += tests/test_sample_job tests/test_sample_draw
sample_fixture = tests/sample_fixture.c tests/sample_fixture.h tests/model_fixture.c tests/model_fixture.h \
	tests/data_fixture.c tests/data_fixture.h
tests_test_sample_job_SOURCES = tests/test_sample_job.c $(sample_fixture)
tests_test_sample_draw_SOURCES = tests/test_sample_draw.c $(sample_fixture)
TESTS += tests/test_sample_cli.sh
EXTRA_DIST += tests/test_sample_cli.sh

check_PROGRAMS += tests/test_memory
tests_test_memory_SOURCES = tests/test_memory.c tests/data_fixture.c tests/data_fixture.h
tests_test_memory_LDADD = $(LDADD) $(PNG_LIBS) $(JPEG_LIBS)

check_PROGRAMS += tests/test_class_table tests/test_class_map
tests_test_class_map_SOURCES = tests/test_class_map.c tests/model_fixture.c tests/model_fixture.h
tests_test_class_table_SOURCES = tests/test_class_table.c

check_PROGRAMS += tests/test_bench
tests_test_bench_SOURCES = tests/test_bench.c
TESTS += tests/test_bench_cli.sh tests/test_commands.sh tests/test_completion.sh tests/test_layers.sh tests/test_docs.sh \
	tests/test_isa_loop.sh tests/test_paper_table.sh
EXTRA_DIST += tests/test_bench_cli.sh tests/commands.awk tests/test_commands.sh tests/test_completion.sh \
	tests/test_layers.sh tests/test_docs.sh tests/test_isa_loop.sh tests/test_paper_table.sh

check_PROGRAMS += tests/test_selftest
tests_test_selftest_SOURCES = tests/test_selftest.c
TESTS += tests/test_devices.sh
EXTRA_DIST += tests/test_devices.sh

check_PROGRAMS += tests/test_overlap
tests_test_overlap_SOURCES = tests/test_overlap.c tests/model_fixture.c tests/model_fixture.h
check_PROGRAMS += tests/test_ranks
tests_test_ranks_SOURCES = tests/test_ranks.c tests/data_fixture.c tests/data_fixture.h

# A slow line between the hosts of tests/test_mpi_hosts.sh.
EXTRA_PROGRAMS += tests/slow_link
check_SCRIPTS += tests/slow_link
tests_slow_link_SOURCES = tests/slow_link.c
tests_slow_link_LDADD =
CLEANFILES += tests/slow_link

# The program with MPI, whether or not it is configured so; not a test by itself.
TESTS += tests/test_mpi.sh tests/test_mpi_hosts.sh
EXTRA_DIST += tests/test_mpi.sh tests/test_mpi_hosts.sh
EXTRA_LTLIBRARIES =
if HAVE_MPI
if !WITH_MPI
EXTRA_LTLIBRARIES += libfdit_mpi.la
CLEANFILES += libfdit_mpi.la
endif
EXTRA_PROGRAMS += tests/finediffusion-mpi
check_SCRIPTS += tests/finediffusion-mpi
tests_finediffusion_mpi_SOURCES = $(fdit_cli_sources) host/ranks.h
tests_finediffusion_mpi_LDADD = libfdit_serve.la libfdit_all.la libfdit_mpi.la
CLEANFILES += tests/finediffusion-mpi
EXTRA_PROGRAMS += tests/mpi_pieces
check_SCRIPTS += tests/mpi_pieces
tests_mpi_pieces_SOURCES = tests/mpi_pieces.c host/ranks.h
tests_mpi_pieces_LDADD = libfdit_all.la libfdit_mpi.la
CLEANFILES += tests/mpi_pieces
endif
if HAVE_MPICH
EXTRA_LTLIBRARIES += libfdit_mpich.la
EXTRA_PROGRAMS += tests/finediffusion-mpich
check_SCRIPTS += tests/finediffusion-mpich
tests_finediffusion_mpich_SOURCES = $(fdit_cli_sources) host/ranks.h
tests_finediffusion_mpich_LDADD = libfdit_serve.la libfdit_all.la libfdit_mpich.la
CLEANFILES += tests/finediffusion-mpich libfdit_mpich.la
endif

check_PROGRAMS += tests/test_replicas
tests_test_replicas_SOURCES = tests/test_replicas.c tests/data_fixture.c tests/data_fixture.h

TESTS += tests/test_data_cli.sh
EXTRA_DIST += tests/test_data_cli.sh

TESTS += tests/test_cases.sh
EXTRA_DIST += tests/test_cases.sh

check_PROGRAMS += tests/test_kind
tests_test_kind_SOURCES = tests/test_kind.c
check_PROGRAMS += tests/test_picture
tests_test_picture_SOURCES = tests/test_picture.c

check_PROGRAMS += tests/test_eval
tests_test_eval_SOURCES = tests/test_eval.c
check_PROGRAMS += tests/test_eval_stop
tests_test_eval_stop_SOURCES = tests/test_eval_stop.c tests/model_fixture.c tests/model_fixture.h
check_PROGRAMS += tests/test_feature_nets
tests_test_feature_nets_SOURCES = tests/test_feature_nets.c tests/model_fixture.c tests/model_fixture.h
check_PROGRAMS += tests/test_feature_input
tests_test_feature_input_SOURCES = tests/test_feature_input.c
check_PROGRAMS += tests/test_vit
tests_test_vit_SOURCES = tests/test_vit.c tests/model_fixture.c tests/model_fixture.h
TESTS += tests/test_vit_cli.sh
EXTRA_DIST += tests/test_vit_cli.sh
fuzz_programs += tests/fuzz/fuzz_npz
tests_fuzz_fuzz_npz_SOURCES = tests/fuzz/fuzz_npz.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_npz_LDFLAGS = $(fuzz_link_flags)
TESTS += tests/test_eval_nets.sh
EXTRA_DIST += tests/test_eval_nets.sh
TESTS += tests/test_eval_utility.sh
EXTRA_DIST += tests/test_eval_utility.sh
TESTS += tests/test_eval_judge.sh
EXTRA_DIST += tests/test_eval_judge.sh
TESTS += tests/test_eval_cli.sh
EXTRA_DIST += tests/test_eval_cli.sh
TESTS += tests/test_report_page.sh
EXTRA_DIST += tests/test_report_page.sh

TESTS += tests/test_eval_sources.sh
EXTRA_DIST += tests/test_eval_sources.sh
TESTS += tests/test_eval_deal.sh
EXTRA_DIST += tests/test_eval_deal.sh

TESTS += tests/test_eval_every.sh
EXTRA_DIST += tests/test_eval_every.sh


check_PROGRAMS += tests/test_serve
tests_test_serve_SOURCES = tests/test_serve.c
tests_test_serve_LDADD = libfdit_serve.la $(LDADD)
TESTS += tests/test_serve_cli.sh
EXTRA_DIST += tests/test_serve_cli.sh
