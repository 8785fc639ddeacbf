/* SPDX-License-Identifier: Apache-2.0
 * kernel_fixture.h: kernels of cl/ built by themselves, as they are or with a mistake in their text. */
#ifndef FDIT_TESTS_KERNEL_FIXTURE_H
#define FDIT_TESTS_KERNEL_FIXTURE_H

#include "opencl/state.h"

/* The text of a file of cl/ behind prelude.cl, with `from` replaced by `to` everywhere, which fails the
 * test where it is not there; NULL: as it is. Free with free. */
char *test_kernel_source(const char *file, const char *from, const char *to);
/* The kernel of that text; fails the test with the compiler's log. */
cl_kernel test_kernel_build(fdit_device *dev, const char *text, const char *options, const char *kernel);
/* A buffer with a copy of n floats. */
cl_mem test_memory(fdit_device *dev, float *from, size_t n);

#endif
