/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include "core/mem.h"
#include "format/json.h"

enum fdit_status fdit_cli_print_json(struct fdit_cli *cli, const struct fdit_json *b, size_t flags)
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL;
    TRY(fdit_json_end(cli->ctx, b, "the results", flags, &text));
    fdit_cli_print(cli, "%s\n", text); /* main looks whether it was taken */
out:
    fdit_free(text);
    return status;
}
