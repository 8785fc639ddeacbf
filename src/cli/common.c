/* SPDX-License-Identifier: Apache-2.0
 * common.c: what the common options mean. */
#include "cli/cli.h"

#include "api/api.h"
#include "core/mem.h"
#include "core/phase.h"
#include "core/pool.h"
#include "devices.h"

#include <stdlib.h>
#include <string.h>

/* --verbose: what multiplies. */
static enum fdit_status say_engines(struct fdit_cli *cli, const struct fdit_devices *set)
{
    enum fdit_status status = FDIT_OK;
    for (int i = 0; cli->verbose && i < set->n; i++) {
        char *engine = NULL;
        const enum fdit_dtype precision = fdit_device_precision(set->list[i]);
        TRY(fdit_device_engine(cli->ctx, set->list[i], precision, &engine, NULL));
        fdit_log(cli->ctx, FDIT_LOG_INFO, "%s: products in %s by %s", fdit_device_info(set->list[i])->name,
                 fdit_dtype_name(precision), engine);
        fdit_free(engine);
    }
out:
    return status;
}

enum fdit_status fdit_cli_devices(struct fdit_cli *cli, struct fdit_devices *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_devices set = { 0 };
    unsigned common = fdit_command_find(cli->command)->common;
    bool fastest = cli->precision == FDIT_CLI_AUTO ||
                   (cli->precision == FDIT_CLI_NOT_GIVEN && common & FDIT_COMMON_FASTEST);
    *out = set;
    if (cli->threads < 0 || cli->threads > FDIT_POOL_MOST_MEMBERS)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT, "--threads %d: give 1 to %d, or leave it out for all",
             cli->threads, FDIT_POOL_MOST_MEMBERS);
    const struct fdit_device_options options = { .spec = cli->device,
                                                 .threads = cli->threads,
                                                 .turn = cli->device_turn,
                                                 .fastest = fastest,
                                                 .precision = cli->precision < 0
                                                                  ? FDIT_F32
                                                                  : (enum fdit_dtype)cli->precision };
    fdit_phase_begin(cli->ctx, 0, "opening the device");
    status = fdit_devices_open(cli->ctx, &options, &set);
    fdit_phase_end(cli->ctx);
    TRY(status);
    fdit_signals_watch_device();
    if (set.n > 1 && !(common & FDIT_COMMON_DEVICES))
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT, "%s%s: %s works on one device at a time; name one of them",
             cli->device ? "--device " : "FINEDIFFUSION_DEVICE=",
             cli->device ? cli->device : getenv("FINEDIFFUSION_DEVICE"), cli->command);
    TRY(fdit_api_check_devices(cli->ctx, &set, cli->weights));
    TRY(say_engines(cli, &set));
    *out = set;
    return FDIT_OK;
out:
    fdit_devices_close(&set);
    return status;
}

enum fdit_status fdit_cli_device(struct fdit_cli *cli, fdit_device **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_devices set;
    *out = NULL;
    TRY(fdit_cli_devices(cli, &set));
    *out = fdit_devices_take(&set);
out:
    return status;
}
