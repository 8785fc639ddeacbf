/* SPDX-License-Identifier: Apache-2.0 */
#include "core/datadir.h"

#include "core/file.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder of the running program; NULL in *out when it cannot be told. */
static enum fdit_status program_folder(fdit_context *ctx, char **out)
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
    return fdit_strf(ctx, out, "%.*s", (int)(slash - path), path);
}

/* From `folder` as FDIT_DATADIR lies from FDIT_BINDIR: the data of an installed tree, also a moved one. */
static enum fdit_status as_installed(fdit_context *ctx, const char *folder, char **out)
{
    const char *bin = FDIT_BINDIR, *data = FDIT_DATADIR;
    size_t same = 0; /* where the last folder ends that both begin with */
    for (size_t i = 0;; i++) {
        if ((!bin[i] || bin[i] == '/') && (!data[i] || data[i] == '/'))
            same = i;
        if (!bin[i] || bin[i] != data[i])
            break;
    }
    char up[sizeof(FDIT_BINDIR) * 3 + 1] = "";
    for (const char *p = bin + same; *p; p++)
        if (*p == '/' && p[1] && p[1] != '/')
            strcat(up, "/..");
    return fdit_strf(ctx, out, "%s%s%s", folder, up, data + same);
}

enum fdit_status fdit_data_file(fdit_context *ctx, const char *name, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *here = NULL, *moved = NULL, *beside = NULL;
    *out = NULL;
    TRY(program_folder(ctx, &here));
    if (here) {
        TRY(as_installed(ctx, here, &moved));
        TRY(fdit_strf(ctx, &beside, "%s/data", here));
    }
    const char *const folders[] = { getenv("FINEDIFFUSION_DATA"), moved, beside, FDIT_DATADIR };
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
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
    fdit_free(here);
    fdit_free(moved);
    fdit_free(beside);
    return status;
}
