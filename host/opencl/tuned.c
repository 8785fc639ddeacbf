/* SPDX-License-Identifier: Apache-2.0
 * tuned.c: the file of a device's tuned products. Text, so that it can be read and sent:
 *
 *     finediffusion tuned 1
 *     device Portable Computing Language / cpu
 *     clblast indirect KWG=32 ...
 *     forward weight f32 1536 384 registers im=4 vw=16 nv=4 group=8
 *     dx weight f32 384 1536 clblast
 *     dw plain f32 384 0 registers im=8 vw=16 nv=2 group=8
 *     forward weight bf16 1536 384 in bf16 matrix mma tm=128 tn=128 waves=2 group=256 step=32
 *     end 4
 *
 * A product's line: kind, how its matrix lies and is stored, N, K (0: any), "in bf16" where operands are not
 * f32, as in files of versions that tuned f32 alone, configuration. Without the last line, or with one that
 * cannot be read, the file counts as none. */
#include "tuned.h"

#include "cache.h"
#include "clblast.h"
#include "core/file.h"
#include "core/mem.h"
#include "gemm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char first_line[] = "finediffusion tuned 1";
static const char *const kinds[] = { "forward", "dx", "dw" };
enum { STORAGES = 4 };
static const enum fdit_dtype storages[STORAGES] = { FDIT_F32, FDIT_F16, FDIT_BF16, FDIT_I8 };
static const enum fdit_dtype multiplied[UNIT_TYPES] = { FDIT_F32, FDIT_BF16X3, FDIT_F16, FDIT_BF16, FDIT_I8 };

static enum fdit_status path_of(const struct opencl *cl, bool make, char **out)
{
    struct cache_key key = fdit_opencl_cache_key(cl, (const char *const[]){ first_line, "" }, "");
    return fdit_opencl_cache_path(key, make, "tuned", out);
}

static bool type_of(const char *name, const enum fdit_dtype *types, int n, enum fdit_dtype *out)
{
    for (int i = 0; i < n; i++)
        if (strcmp(name, fdit_dtype_name(types[i])) == 0) {
            *out = types[i];
            return true;
        }
    return false;
}

static bool read_product(const char *line, struct gemm_tuned *out)
{
    char kind[16], lies[16], storage[16], operands[16];
    int used = 0, found = 0;
    if (sscanf(line, "%15s %15s %15s %d %d %n", kind, lies, storage, &out->N, &out->K, &used) != 5 || !used ||
        out->N < 1 || out->K < 0)
        return false;
    for (int i = 0; i < 3; i++)
        if (strcmp(kind, kinds[i]) == 0) {
            out->kind = (enum gemm_kind)i;
            found++;
        }
    found += type_of(storage, storages, STORAGES, &out->storage);
    line += used;
    out->operands = FDIT_F32;
    if (sscanf(line, "in %15s %n", operands, &used) == 1) {
        if (!type_of(operands, multiplied, UNIT_TYPES, &out->operands))
            return false;
        line += used;
    }
    out->plain = strcmp(lies, "plain") == 0;
    return found == 2 && (out->plain || strcmp(lies, "weight") == 0) &&
           fdit_gemm_config_parse(line, &out->config) && out->config.engine != GEMM_DEFAULT;
}

/* Into cl->tuned; `clblast` [CLBLAST_TEXT + 16] becomes its parameters, or "". */
static bool read_lines(struct opencl *cl, char *text, char *clblast)
{
    char *rest = NULL, *line = strtok_r(text, "\n", &rest);
    int n = 0, end = -1;
    if (!line || strcmp(line, first_line) != 0)
        return false;
    while ((line = strtok_r(NULL, "\n", &rest))) {
        if (end >= 0)
            return false;
        if (strncmp(line, "device ", 7) == 0)
            continue;
        if (strncmp(line, "clblast ", 8) == 0)
            snprintf(clblast, CLBLAST_TEXT + 16, "%s", line + 8);
        else if (sscanf(line, "end %d", &end) == 1)
            continue;
        else if (n == TUNED || !read_product(line, &cl->tuned[n++]))
            return false;
    }
    cl->n_tuned = n;
    return end == n;
}

static void drop_clblast(struct opencl *cl)
{
    int kept = 0;
    for (int i = 0; i < cl->n_tuned; i++)
        if (cl->tuned[i].config.engine != GEMM_CLBLAST)
            cl->tuned[kept++] = cl->tuned[i];
    cl->n_tuned = kept;
}

void fdit_opencl_tuned_load(fdit_context *ctx, fdit_device *dev)
{
    struct opencl *cl = opencl_of(dev);
    char clblast[CLBLAST_TEXT + 16] = "", why[CLBLAST_TEXT] = "", *path = NULL;
    uint8_t *text = NULL;
    size_t size;
    if (path_of(cl, false, &path) != FDIT_OK || !fdit_is_file(path) ||
        fdit_file_read_all(NULL, path, 64 << 10, &text, &size) != FDIT_OK)
        goto out;
    if (!read_lines(cl, (char *)text, clblast)) {
        fdit_log(ctx, FDIT_LOG_WARNING,
                 "%s cannot be read: %s counts as not tuned; `finediffusion tune` writes a new one", path,
                 cl->label);
        cl->n_tuned = 0;
        goto out;
    }
    bool direct = strncmp(clblast, "direct ", 7) == 0;
    if (*clblast &&
        !fdit_clblast_set(dev, strchr(clblast, ' ') ? strchr(clblast, ' ') + 1 : NULL, direct, why)) {
        fdit_log(ctx, FDIT_LOG_WARNING, "%s: %s; its products are done without", cl->label, why);
        drop_clblast(cl);
    } else if (!*clblast) {
        drop_clblast(cl);
    }
out:
    fdit_free(text);
    fdit_free(path);
}

enum fdit_status fdit_opencl_tuned_path(fdit_context *ctx, const fdit_device *dev, char **path)
{
    const enum fdit_status found = path_of(opencl_of(dev), true, path);
    if (found == FDIT_OK)
        return FDIT_OK;
    if (found == FDIT_ERROR_MEMORY)
        return fdit_fail(ctx, found, "out of memory for the name of the file of tuned parameters");
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                     "no folder to keep it in: FINEDIFFUSION_CACHE is set to nothing, or the folder "
                     "cannot be made, or others may write to it");
}

enum fdit_status fdit_opencl_tuned_save(fdit_context *ctx, const fdit_device *dev, const char *path)
{
    enum fdit_status status = FDIT_OK;
    const struct opencl *cl = opencl_of(dev);
    char *text = NULL;
    bool clblast = false;
    size_t room = (size_t)(cl->n_tuned + 4) * 256, n;
    TRY(fdit_alloc(ctx, room, 1, &text));
    for (int i = 0; i < cl->n_tuned; i++)
        clblast |= cl->tuned[i].config.engine == GEMM_CLBLAST;
    n = (size_t)snprintf(text, room, "%s\ndevice %.200s\n", first_line, cl->label);
    if (clblast)
        n += (size_t)snprintf(text + n, room - n, "clblast %s\n", cl->clblast.text);
    for (int i = 0; i < cl->n_tuned; i++) {
        const struct gemm_tuned *t = &cl->tuned[i];
        char config[GEMM_TEXT], in[24] = "";
        fdit_gemm_config_text(&t->config, config);
        if (t->operands != FDIT_F32)
            snprintf(in, sizeof in, "in %s ", fdit_dtype_name(t->operands));
        n += (size_t)snprintf(text + n, room - n, "%s %s %s %d %d %s%s\n", kinds[t->kind],
                              t->plain ? "plain" : "weight", fdit_dtype_name(t->storage), t->N, t->K, in,
                              config);
    }
    n += (size_t)snprintf(text + n, room - n, "end %d\n", cl->n_tuned);
    TRY(fdit_file_write(ctx, path, false, text, n));
out:
    fdit_free(text);
    return status;
}
