/* SPDX-License-Identifier: Apache-2.0 */
#include "core/datadir.h"

#include "core/file.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* data/ in the folder of the running program: a build folder has it. NULL in *out when it cannot be told. */
static enum fdit_status beside_program(fdit_context *ctx, char **out)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path);
    *out = NULL;
    if (n <= 0 || (size_t)n >= sizeof path)
        return FDIT_OK;
    path[n] = 0;
    const char *slash = strrchr(path, '/');
    if (!slash)
        return FDIT_OK;
    return fdit_strf(ctx, out, "%.*s/data", (int)(slash - path), path);
}

enum fdit_status fdit_data_file(fdit_context *ctx, const char *name, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *beside = NULL;
    *out = NULL;
    TRY(beside_program(ctx, &beside));
    const char *const folders[] = { getenv("FINEDIFFUSION_DATA"), FDIT_DATADIR, beside };
    for (size_t i = 0; i < 3; i++) {
        if (!folders[i])
            continue;
        TRY(fdit_path_join(ctx, folders[i], name, &path));
        bool there, folder;
        TRY(fdit_file_look(ctx, path, &there, &folder));
        if (there) {
            *out = path;
            path = NULL;
            goto out;
        }
        fdit_free(path);
        path = NULL;
        if (i == 0)
            break;
    }
    FAIL(ctx, FDIT_ERROR_IO, "the built-in data file %s is not in %s; set FINEDIFFUSION_DATA to its folder",
         name, folders[0] ? folders[0] : FDIT_DATADIR);
out:
    fdit_free(path);
    fdit_free(beside);
    return status;
}
