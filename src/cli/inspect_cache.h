/* SPDX-License-Identifier: Apache-2.0
 * inspect_cache.h: what `finediffusion inspect` says about a cache. */
#ifndef FDIT_CLI_INSPECT_CACHE_H
#define FDIT_CLI_INSPECT_CACHE_H

#include "cli/cli.h"
#include "data/taxonomy.h"
#include "format/json.h"

/* Reads every sample and checks its checksum. *tax: free with fdit_taxonomy_free. */
enum fdit_status fdit_inspect_cache(struct fdit_cli *cli, const char *path, struct fdit_json *out,
                                    struct fdit_taxonomy **tax);

#endif
