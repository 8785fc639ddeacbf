/* SPDX-License-Identifier: Apache-2.0
 * opencl_fixture.h: the OpenCL device of tests that need one. */
#ifndef FDIT_TESTS_OPENCL_FIXTURE_H
#define FDIT_TESTS_OPENCL_FIXTURE_H

/* "opencl:0:0", of the first usable one; NULL: there is none. The text stays. */
const char *test_opencl_device(void);
/* What main returns without one: skipped, or failed where FDIT_REQUIRE_DEVICES asks for all. */
int test_no_opencl(void);

#endif
