/* SPDX-License-Identifier: Apache-2.0 */
#include "differences.h"

#include "harness.h"

#include <math.h>
#include <stdlib.h>

void test_check_gradient(const char *what, test_value_fn f, const void *problem, double *x,
                         const double *gradient, size_t n)
{
    const double step = 1e-4;
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(gradient[i]));
    ck_assert_msg(largest > 0, "%s: the gradient is all zero", what);
    for (size_t i = 0; i < n; i++) {
        double at = x[i], values[4];
        static const double steps[] = { 1, -1, 2, -2 };
        for (int k = 0; k < 4; k++) {
            x[i] = at + steps[k] * step;
            values[k] = f(problem);
        }
        x[i] = at;
        /* Error of order step^4. */
        double wanted = (8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * step);
        ck_assert_msg(fabs(gradient[i] - wanted) <= 1e-8 * largest + 1e-9,
                      "%s, element %zu: %.12g, differences say %.12g", what, i, gradient[i], wanted);
    }
}

json_t *test_tables(void)
{
    char *path = test_fixture("tables.json");
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    ck_assert_msg(root != NULL, "%s: %s", path, error.text);
    free(path);
    return root;
}

double test_item(const json_t *array, size_t i)
{
    return json_number_value(json_array_get(array, i));
}
