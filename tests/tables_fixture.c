/* SPDX-License-Identifier: Apache-2.0 */
#include "tables_fixture.h"

#include <stdlib.h>

fdit_context *ctx;
json_t *tables;

void tables_open(void)
{
    char *path = test_fixture("methods/tables2.json");
    json_error_t error;
    ctx = fdit_context_new();
    tables = json_load_file(path, 0, &error);
    ck_assert_msg(tables != NULL, "%s:%d: %s", path, error.line, error.text);
    free(path);
}

void tables_close(void)
{
    json_decref(tables);
    fdit_context_free(ctx);
}

double table_item(const json_t *list, size_t i)
{
    ck_assert(json_is_number(json_array_get(list, i)));
    return json_number_value(json_array_get(list, i));
}
