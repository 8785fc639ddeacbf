/* SPDX-License-Identifier: Apache-2.0
 * units.h: which matrix units a device has. What it says of itself only names candidates; a trial of each in
 * another process decides, and is remembered as that of a driver is (verdicts.c): until the driver, or the
 * kernel, is another one.
 *
 * FINEDIFFUSION_TEST_UNITS="emulated-mma,emulated-mfma"  tests: the device counts as one that may have these,
 * and an emulation that passes is used however slow it is; "emulated-mma parts=2" is one of another number
 * of parts. */
#ifndef FDIT_HOST_OPENCL_UNITS_H
#define FDIT_HOST_OPENCL_UNITS_H

#include "state.h"

enum { UNITS_MOST = 8, UNIT_NOTE = 2048 };

/* By vendor, version and extension; returns how many. */
int fdit_units_candidates(const struct opencl *cl, struct gemm_config out[UNITS_MOST]);
/* Finds what multiplies operands of this type, once for an open device: cl->units, for fdit_gemm_choose.
 * Nothing where a product is forced, and where no program can make the trial
 * (fdit_context.helper). */
enum fdit_status fdit_units_find(fdit_context *ctx, fdit_device *dev, enum fdit_dtype operands);
/* The entry `engine` of the table. */
enum fdit_status fdit_opencl_engine(fdit_context *ctx, fdit_device *dev, enum fdit_dtype precision,
                                    char **out, char **refused);
/* Lines "matrix unit mma, bf16: ..." with every verdict, for a report; free with fdit_free. */
enum fdit_status fdit_units_report(fdit_context *ctx, fdit_device *dev, char **out);

/* unit_trial.c, in the other process: builds the kernel for this unit, compares sums that f32 holds exactly
 * number by number, and longer ones with sums in double, and times it beside multiply-adds. Writes a line
 * into out: "12300 GFLOP/s, 4560 by multiply-adds, NMSE 1e-14" and returns true, or what is wrong.
 * *phase is kept at what comes next, by the caller's function. */
bool fdit_unit_trial(fdit_context *ctx, fdit_device *dev, const struct gemm_config *unit,
                     enum fdit_dtype operands, void (*phase)(const char *what), char out[UNIT_NOTE]);
/* attention_trial.c, in the other process: the same for attention_matrix.cl, by a case of the self-test.
 * Leaves the device with this precision and unit. */
bool fdit_attention_trial(fdit_context *ctx, fdit_device *dev, const struct gemm_config *unit,
                          enum fdit_dtype operands, void (*phase)(const char *what), char out[UNIT_NOTE]);

#endif
