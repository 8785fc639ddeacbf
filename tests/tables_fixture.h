/* SPDX-License-Identifier: Apache-2.0
 * tables_fixture.h: numbers of other programs' formulas, fixtures/methods/tables2.json. */
#ifndef FDIT_TESTS_TABLES_FIXTURE_H
#define FDIT_TESTS_TABLES_FIXTURE_H

#include "harness.h"

#include <jansson.h>

extern fdit_context *ctx;
extern json_t *tables;

/* Of a test case. */
void tables_open(void);
void tables_close(void);
double table_item(const json_t *list, size_t i); /* which must be a number */

#endif
