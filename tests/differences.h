/* SPDX-License-Identifier: Apache-2.0
 * differences.h: gradients against finite differences, and PyTorch's numbers for functions of one number. */
#ifndef FDIT_TESTS_DIFFERENCES_H
#define FDIT_TESTS_DIFFERENCES_H

#include <jansson.h>
#include <stddef.h>

/* Compares a gradient to the central differences of f by the n entries of x. */
typedef double (*test_value_fn)(const void *problem);
void test_check_gradient(const char *what, test_value_fn f, const void *problem, double *x,
                         const double *gradient, size_t n);

/* The fixture tables.json, the caller's reference; and a number of one of its arrays. */
json_t *test_tables(void);
double test_item(const json_t *array, size_t i);

#endif
