/* SPDX-License-Identifier: Apache-2.0
 * selftest.h: everything that can be said about a device that nobody here has seen, as one text: its facts,
 * every op against the reference, speed, what happens when memory runs out. */
#ifndef FDIT_SELFTEST_SELFTEST_H
#define FDIT_SELFTEST_SELFTEST_H

#include "device/device.h"

struct fdit_selftest_options {
    fdit_device *reference; /* slow and right */
    bool tiny;              /* small shapes, no timing: for simulators */
    bool spoil;             /* tests: the device computes wrongly */
    /* Called for every section and op with a line of the report, without its newline; may be NULL. */
    void (*on_line)(void *user, const char *line);
    void *user;
};

struct fdit_selftest_summary {
    int passed, failed; /* cases of ops, and the parts of the memory test */
    char *report;       /* all lines; free with fdit_free */
};

/* A device that fails is a result; fails itself only for reasons that are not the device's. */
enum fdit_status fdit_selftest_run(fdit_context *ctx, fdit_device *dev,
                                   const struct fdit_selftest_options *options,
                                   struct fdit_selftest_summary *out);

#endif
