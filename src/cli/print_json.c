/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include "core/mem.h"
#include "format/json.h"

enum fdit_status fdit_cli_print_json(struct fdit_cli *cli, const struct fdit_json *b, size_t flags)
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL;
    TRY(fdit_json_end(cli->ctx, b, "the results", flags, &text));
    fdit_cli_print_exactly(cli, text); /* main looks whether it was taken */
    fdit_cli_print_exactly(cli, "\n");
out:
    fdit_free(text);
    return status;
}
