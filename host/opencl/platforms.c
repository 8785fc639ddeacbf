/* SPDX-License-Identifier: Apache-2.0
 * platforms.c: the walk over all platforms and devices, and which one a name means. */
#include "opencl.h"
#include "state.h"

#include "core/mem.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Called for each device; `p`, `d` are the numbers in "opencl:P:D". Platforms without a device are
 * not counted out: P is the loader's number, as other tools print it. */
typedef enum fdit_status (*visit_fn)(fdit_context *ctx, void *user, int p, int d,
                                     cl_platform_id platform, cl_device_id device);

static enum fdit_status walk(fdit_context *ctx, visit_fn visit, void *user)
{
    enum fdit_status status = FDIT_OK;
    cl_platform_id *platforms = NULL;
    cl_device_id *devices = NULL;
    cl_uint n_platforms = 0, n_devices = 0;
    /* Without any driver the loader answers with an error of its own. */
    if (clGetPlatformIDs(0, NULL, &n_platforms) != CL_SUCCESS || n_platforms == 0)
        return FDIT_OK;
    TRY(fdit_alloc(ctx, n_platforms, sizeof *platforms, &platforms));
    TRY(opencl_status(ctx, NULL, clGetPlatformIDs(n_platforms, platforms, NULL), "clGetPlatformIDs",
                      "all platforms"));
    for (cl_uint p = 0; p < n_platforms; p++) {
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, 0, NULL, &n_devices) != CL_SUCCESS)
            continue; /* CL_DEVICE_NOT_FOUND: an installed driver without its hardware */
        fdit_free(devices);
        TRY(fdit_alloc(ctx, n_devices, sizeof *devices, &devices));
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, n_devices, devices, NULL) !=
            CL_SUCCESS)
            continue;
        for (cl_uint d = 0; d < n_devices; d++)
            TRY(visit(ctx, user, (int)p, (int)d, platforms[p], devices[d]));
    }
out:
    fdit_free(devices);
    fdit_free(platforms);
    return status;
}

static void trim(char *text)
{
    size_t from = strspn(text, " \t"), n = strlen(text);
    while (n > from && isspace((unsigned char)text[n - 1]))
        n--;
    memmove(text, text + from, n - from);
    text[n - from] = 0;
}

enum fdit_status opencl_device_text(fdit_context *ctx, cl_device_id device, cl_device_info what,
                                    char **out)
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL;
    size_t bytes = 0;
    if (clGetDeviceInfo(device, what, 0, NULL, &bytes) != CL_SUCCESS)
        bytes = 0;
    TRY(fdit_alloc(ctx, bytes + 1, 1, &text));
    if (bytes && clGetDeviceInfo(device, what, bytes, text, NULL) != CL_SUCCESS)
        text[0] = 0;
    trim(text);
    *out = text;
out:
    return status;
}

/* AMD's CL_DEVICE_NAME is a chip's code; cl_amd_device_attribute_query has the card's name. */
enum { DEVICE_BOARD_NAME_AMD = 0x4038 };

static enum fdit_status full_name(fdit_context *ctx, cl_platform_id platform, cl_device_id device,
                                  char **out)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL, *board = NULL, *extensions = NULL, where[128] = "";
    if (clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof where, where, NULL) != CL_SUCCESS)
        where[0] = 0;
    trim(where);
    TRY(opencl_device_text(ctx, device, CL_DEVICE_NAME, &name));
    TRY(opencl_device_text(ctx, device, CL_DEVICE_EXTENSIONS, &extensions));
    if (strstr(extensions, "cl_amd_device_attribute_query"))
        TRY(opencl_device_text(ctx, device, DEVICE_BOARD_NAME_AMD, &board));
    bool more = board && *board;
    TRY(fdit_strf(ctx, out, "%s / %s%s%s%s", where, name, more ? " (" : "", more ? board : "",
                  more ? ")" : ""));
out:
    fdit_free(extensions);
    fdit_free(name);
    fdit_free(board);
    return status;
}

static cl_ulong ulong_of(cl_device_id device, cl_device_info what)
{
    cl_ulong value = 0;
    if (clGetDeviceInfo(device, what, sizeof value, &value, NULL) != CL_SUCCESS)
        value = 0;
    return value;
}

static cl_device_type type_of(cl_device_id device)
{
    cl_device_type type = 0;
    if (clGetDeviceInfo(device, CL_DEVICE_TYPE, sizeof type, &type, NULL) != CL_SUCCESS)
        type = 0;
    return type;
}

/* NULL, or why our kernels cannot run on it. */
static const char *unusable(cl_device_id device)
{
    cl_bool available = CL_FALSE, compiler = CL_FALSE;
    size_t items = 0;
    char version[32] = "";
    int major = 0, minor = 0;
    if (clGetDeviceInfo(device, CL_DEVICE_AVAILABLE, sizeof available, &available, NULL) ||
        clGetDeviceInfo(device, CL_DEVICE_COMPILER_AVAILABLE, sizeof compiler, &compiler, NULL) ||
        clGetDeviceInfo(device, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof items, &items, NULL))
        return "the driver does not answer";
    if (clGetDeviceInfo(device, CL_DEVICE_VERSION, sizeof version, version, NULL) == CL_SUCCESS &&
        sscanf(version, "OpenCL %d.%d", &major, &minor) == 2 && major * 10 + minor < 12)
        return "OpenCL 1.2 is needed";
    if (!available)
        return "the driver says it is not available";
    if (!compiler)
        return "the driver has no compiler";
    if (items < GROUP)
        return "work-groups of 256 are needed";
    if (ulong_of(device, CL_DEVICE_LOCAL_MEM_SIZE) < 32768)
        return "32 KiB of local memory are needed";
    return NULL;
}

/* Hardware before drivers that run on the processor, which the cpu device does better. */
static int score_of(cl_device_type type)
{
    return type & CL_DEVICE_TYPE_GPU ? 3 : type & CL_DEVICE_TYPE_ACCELERATOR ? 2 : 1;
}

/* ---------------------------------------------------------------------------------- the list */

struct listing {
    struct fdit_device_entry *entries;
    int *scores;
    size_t n, capacity, score_capacity;
};

static enum fdit_status add_entry(fdit_context *ctx, void *user, int p, int d,
                                  cl_platform_id platform, cl_device_id device)
{
    enum fdit_status status = FDIT_OK;
    struct listing *list = user;
    TRY(fdit_grow(ctx, &list->entries, &list->capacity, list->n + 1, sizeof *list->entries));
    TRY(fdit_grow(ctx, &list->scores, &list->score_capacity, list->n + 1, sizeof *list->scores));
    size_t at = list->n++;
    list->scores[at] = score_of(type_of(device));
    for (; at > 0 && list->scores[at - 1] < score_of(type_of(device)); at--) {
        list->entries[at] = list->entries[at - 1];
        list->scores[at] = list->scores[at - 1];
        list->scores[at - 1] = score_of(type_of(device));
    }
    struct fdit_device_entry *e = &list->entries[at];
    const char *reason = unusable(device);
    *e = (struct fdit_device_entry){ .usable = !reason };
    e->info.memory = (size_t)ulong_of(device, CL_DEVICE_GLOBAL_MEM_SIZE);
    e->info.max_buffer = (size_t)ulong_of(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    e->info.is_gpu = (type_of(device) & CL_DEVICE_TYPE_GPU) != 0;
    TRY(fdit_strf(ctx, &e->spec, "opencl:%d:%d", p, d));
    TRY(full_name(ctx, platform, device, &e->info.name));
    TRY(opencl_device_text(ctx, device, CL_DRIVER_VERSION, &e->info.driver));
    if (reason)
        TRY(fdit_strdup(ctx, reason, &e->note));
    else
        TRY(opencl_device_text(ctx, device, CL_DEVICE_VERSION, &e->note));
out:
    return status;
}

enum fdit_status fdit_opencl_list(fdit_context *ctx, struct fdit_device_entry **out, size_t *n)
{
    struct listing list = { 0 };
    enum fdit_status status = walk(ctx, add_entry, &list);
    fdit_free(list.scores);
    if (status != FDIT_OK) {
        fdit_devices_list_free(list.entries, list.n);
        list.entries = NULL;
        list.n = 0;
    }
    *out = list.entries;
    *n = list.n;
    return status;
}

/* -------------------------------------------------------------------------------- finding one */

struct search {
    int p, d; /* wanted numbers; -1: the best */
    int score;
    cl_platform_id platform;
    cl_device_id device;
    const char *reason; /* of the one that was asked for by number */
};

static enum fdit_status consider(fdit_context *ctx, void *user, int p, int d,
                                 cl_platform_id platform, cl_device_id device)
{
    (void)ctx;
    struct search *s = user;
    const char *reason = unusable(device);
    int score = score_of(type_of(device));
    if (s->p >= 0 ? s->p != p || s->d != d : reason || score <= s->score)
        return FDIT_OK;
    s->score = score;
    s->platform = platform;
    s->device = device;
    s->reason = reason;
    return FDIT_OK;
}

enum fdit_status opencl_find(fdit_context *ctx, const char *spec, cl_platform_id *platform,
                             cl_device_id *device, char **label)
{
    enum fdit_status status = FDIT_OK;
    struct search s = { .p = -1, .d = -1 };
    char rest;
    if (spec && sscanf(spec, "opencl:%d:%d%c", &s.p, &s.d, &rest) != 2)
        s.p = s.d = -1;
    TRY(walk(ctx, consider, &s));
    if (!s.score)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "no OpenCL device answers to '%s'; `finediffusion devices` "
             "lists what there is, and cpu needs no driver",
             spec ? spec : "opencl");
    if (s.reason)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "%s cannot be used: %s; choose another device", spec,
             s.reason);
    TRY(full_name(ctx, s.platform, s.device, label));
    *platform = s.platform;
    *device = s.device;
out:
    return status;
}
