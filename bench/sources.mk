# SPDX-License-Identifier: Apache-2.0
EXTRA_PROGRAMS += bench/loader
bench_loader_SOURCES = bench/loader.c
bench_loader_LDADD = libfdit_all.la
