/* SPDX-License-Identifier: Apache-2.0
 * format_fixture.h: what the tests of file formats share: a context, a folder, and no block that is lost. */
#ifndef FDIT_TESTS_FORMAT_FIXTURE_H
#define FDIT_TESTS_FORMAT_FIXTURE_H

#include "core/status.h"

extern fdit_context *ctx;
void format_setup(void);
void format_teardown(void); /* all that was allocated since is free again */
/* A path there; the last four stay. */
const char *in_folder(const char *name);
/* The last error has this word, in one line. */
void check_message(const char *word);

#endif
