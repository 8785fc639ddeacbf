/* SPDX-License-Identifier: Apache-2.0 */
#include "core/datadir.h"

#include "core/file.h"
#include "core/mem.h"

#include <stdlib.h>

enum fdit_status fdit_data_file(fdit_context *ctx, const char *name, char **out)
{
    enum fdit_status status = FDIT_OK;
    const char *const folders[] = { getenv("FINEDIFFUSION_DATA"), FDIT_DATADIR, FDIT_SOURCE_DATADIR };
    char *path = NULL;
    *out = NULL;
    for (size_t i = 0; i < 3; i++) {
        if (!folders[i])
            continue;
        TRY(fdit_path_join(ctx, folders[i], name, &path));
        if (fdit_file_exists(path)) {
            *out = path;
            return FDIT_OK;
        }
        fdit_free(path);
        path = NULL;
        if (i == 0)
            break;
    }
    FAIL(ctx, FDIT_ERROR_IO,
         "the built-in data file %s is in neither %s nor %s; set FINEDIFFUSION_DATA to "
         "its folder",
         name, folders[0] ? folders[0] : FDIT_DATADIR, FDIT_SOURCE_DATADIR);
out:
    fdit_free(path);
    return status;
}
