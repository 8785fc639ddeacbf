/* SPDX-License-Identifier: Apache-2.0
 * cmd_selftest.c: `finediffusion selftest`. */
#include "cli/cli.h"

#include "core/file.h"
#include "core/mem.h"
#include "devices.h"
#include "selftest/selftest.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct args {
    const char *report;
    bool tiny;
};

static const struct fdit_option options[] = {
    FDIT_HEADING("Report"),
    FDIT_OPTION("report", "FILE", TEXT, struct args, report,
                "also write everything that is printed into this file"),
    FDIT_OPTION("tiny", NULL, FLAG, struct args, tiny,
                "use only the smallest shapes and measure no times, for simulators"),
    { 0 }
};

static void print_line(void *user, const char *line)
{
    struct fdit_cli *cli = user;
    if (!cli->quiet || !strncmp(line, "FAIL", 4) || !strncmp(line, "-- ", 3)) {
        fdit_cli_print(cli, "%s\n", line);
    }
}

/* The device without the trial that fdit_devices_open makes of somebody else's driver: here its failure is
 * what is looked for. */
static enum fdit_status open_device(struct fdit_cli *cli, fdit_device **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_device_entry *entries = NULL;
    size_t n = 0;
    const char *spec = cli->device ? cli->device : getenv("FINEDIFFUSION_DEVICE");
    const struct fdit_device_options o = {
        .threads = cli->threads, .precision = cli->precision < 0 ? FDIT_F32 : (enum fdit_dtype)cli->precision
    };
    *out = NULL;
    TRY(fdit_devices_list(cli->ctx, &entries, &n));
    for (size_t i = 0; spec && i < n; i++)
        if (strcasecmp(entries[i].spec, spec) == 0 && !entries[i].info.threads) {
            TRY(fdit_devices_open_entry(cli->ctx, &entries[i], &o, out));
            goto out;
        }
    TRY(fdit_cli_device(cli, out));
out:
    fdit_devices_list_free(entries, n);
    return status;
}

static enum fdit_status run(struct fdit_cli *cli, void *p, int n, char **operands)
{
    enum fdit_status status = FDIT_OK;
    const struct args *a = p;
    fdit_device *dev = NULL, *reference = NULL;
    struct fdit_selftest_summary summary = { 0 };
    const char *spoil = getenv("FINEDIFFUSION_TEST_MISCOMPUTE");
    (void)n;
    (void)operands;
    if (a->report)
        TRY(fdit_file_target(cli->ctx, "--report", a->report));
    TRY(open_device(cli, &dev));
    TRY(fdit_devices_open_one(cli->ctx, &(struct fdit_device_options){ .spec = "ref" }, &reference));
    struct fdit_selftest_options o = {
        .reference = reference, .tiny = a->tiny, .on_line = print_line, .user = cli
    };
    o.spoil = spoil && strcasecmp(spoil, fdit_device_info(dev)->spec) == 0;
    TRY(fdit_selftest_run(cli->ctx, dev, &o, &summary));
    if (a->report)
        TRY(fdit_file_write(cli->ctx, a->report, false, summary.report, strlen(summary.report)));
    if (summary.failed)
        FAIL(cli->ctx, FDIT_ERROR_NUMERIC,
             "%s (%s, driver %s): %d of %d checks failed; do not trust its results%s%s",
             fdit_device_info(dev)->spec, fdit_device_info(dev)->name, fdit_device_info(dev)->driver,
             summary.failed, summary.passed + summary.failed,
             a->report ? ", and send " : "; --report FILE keeps this text to send",
             a->report ? a->report : "");
out:
    fdit_free(summary.report);
    fdit_device_close(reference);
    fdit_device_close(dev);
    return status;
}

const struct fdit_command fdit_command_selftest = {
    .name = "selftest",
    .summary = "test a device and write a report",
    .synopsis = "[--device SPEC] [--report FILE]",
    .about = "Tests a device and writes a report: what the device says about itself, every operation "
             "compared with plain loops on shapes that do not divide evenly, timings of matrix "
             "products, attention, kernel launches and transfers, and what happens when its memory "
             "runs out. The exit status is 1 if anything is wrong. From a device that nobody has "
             "tested yet, the file of --report is what the developers need.",
    .examples = "  finediffusion selftest --device gpu --report selftest.txt\n"
                "  finediffusion selftest --device cpu --tiny\n",
    .options = options,
    .common = FDIT_COMMON_DEVICE,
    .args_size = sizeof(struct args),
    .run = run,
};
