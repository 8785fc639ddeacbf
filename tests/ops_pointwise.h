/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FDIT_TESTS_OPS_POINTWISE_H
#define FDIT_TESTS_OPS_POINTWISE_H

#include <check.h>

/* Adds the test cases of gate, activation, axpy, gather, patchify, diffusion, samplers, optimiser.
 */
void ops_pointwise_add(Suite *suite);

#endif
