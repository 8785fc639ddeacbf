/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FDIT_TESTS_OPS_PICTURE_H
#define FDIT_TESTS_OPS_PICTURE_H

#include <check.h>

/* Adds the test cases of conv, group_stats, group_apply, softmax. */
void ops_picture_add(Suite *suite);

#endif
