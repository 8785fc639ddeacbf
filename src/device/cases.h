/* SPDX-License-Identifier: Apache-2.0
 * cases.h: every op of a device against another device, on ragged shapes. */
#ifndef FDIT_DEVICE_CASES_H
#define FDIT_DEVICE_CASES_H

#include "device/probe.h"

/* Called after each case. */
typedef void (*fdit_selftest_fn)(void *user, const struct fdit_probe *p, const struct fdit_probe_result *r);

/* All ops but fill and copy, which every case uses. tiny: shapes for a simulator. Fails only for reasons
 * that are not the device's: memory, a stop request. */
enum fdit_status fdit_selftest_ops(fdit_context *ctx, fdit_device *reference, fdit_device *dev, bool tiny,
                                   fdit_selftest_fn report, void *user);
int fdit_selftest_families(void); /* how many ops that are */

/* A few of the cases, in milliseconds once the kernels are compiled: FDIT_ERROR_DEVICE "self-test: ..." when
 * the device computes wrongly. spoil: tests make it do so. */
enum fdit_status fdit_selftest_quick(fdit_context *ctx, fdit_device *reference, fdit_device *dev, bool spoil);

#endif
