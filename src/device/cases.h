/* SPDX-License-Identifier: Apache-2.0
 * cases.h: every op of a device against another device, on ragged shapes. */
#ifndef FDIT_DEVICE_CASES_H
#define FDIT_DEVICE_CASES_H

#include "device/probe.h"

/* One case an op: calls of it, variants 0, 1, ..., for the self-test, for tests/test_ops (which adds what
 * every device promises) and for tests/test_device (arguments made wrong in turn). FDIT_CASE_ALL is a call
 * on a few elements with every argument that may be given. */
enum { FDIT_CASE_ALL = 1000004 };        /* even, and 2 in a cycle of 3 */
int fdit_case_variants(enum fdit_op op); /* 0: fill and copy, which have none */
bool fdit_case_is_tiny(int variant);     /* small enough for a simulator */
/* To be ended by fdit_probe_end, also after a failure. What an op needs of another one (attention_backward)
 * is computed on `reference`. */
enum fdit_status fdit_case_make(fdit_context *ctx, struct fdit_probe *p, enum fdit_op op, int variant,
                                fdit_device *reference, const struct fdit_device *dev);

/* Called after each case. */
typedef void (*fdit_cases_fn)(void *user, const struct fdit_probe *p, const struct fdit_probe_result *r);

/* All ops but fill and copy, which every case uses. tiny: shapes for a simulator. Fails only for reasons
 * that are not the device's: memory, a stop request. */
enum fdit_status fdit_cases_run(fdit_context *ctx, fdit_device *reference, fdit_device *dev, bool tiny,
                                fdit_cases_fn report, void *user);
int fdit_cases_families(void); /* how many ops that are */

/* A few of the cases, in milliseconds once the kernels are compiled: FDIT_ERROR_DEVICE "self-test: ..." when
 * the device computes wrongly. spoil: tests make it do so. */
enum fdit_status fdit_cases_quick(fdit_context *ctx, fdit_device *reference, fdit_device *dev, bool spoil);

#endif
