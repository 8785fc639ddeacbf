/* SPDX-License-Identifier: Apache-2.0
 * platforms.c: the walk over all platforms and devices, and which one a name means. */
#include "drivers.h"
#include "guard.h"
#include "opencl.h"
#include "quirks.h"
#include "state.h"

#include "core/mem.h"
#include "core/text.h"

#include <stdio.h>
#include <string.h>

/* Called for each device; `p`, `d` are the numbers in "opencl:P:D", the same that other tools print. For a
 * platform that has none, once with d -1 and what it answered. */
typedef enum fdit_status (*visit_fn)(fdit_context *ctx, void *user, int p, int d, cl_platform_id platform,
                                     cl_device_id device, cl_int error);

enum { PLATFORMS_MOST = 256, DEVICES_MOST = 1024 };

/* The devices of a platform; n 0: none, and why. */
static enum fdit_status devices_of(fdit_context *ctx, cl_platform_id platform, cl_device_id **devices,
                                   cl_uint *n, cl_int *error)
{
    enum fdit_status status = FDIT_OK;
    fdit_free(*devices);
    *devices = NULL;
    *n = 0;
    *error = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, NULL, n);
    if (*error == CL_SUCCESS && *n == 0)
        *error = CL_DEVICE_NOT_FOUND;
    if (*error != CL_SUCCESS) {
        *n = 0;
        return FDIT_OK;
    }
    *n = *n < DEVICES_MOST ? *n : DEVICES_MOST;
    TRY(fdit_alloc(ctx, *n, sizeof **devices, devices));
    *error = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, *n, *devices, NULL);
    if (*error != CL_SUCCESS)
        *n = 0;
    for (cl_uint i = 0; i < *n; i++) /* it announced more than it has */
        if (!(*devices)[i])
            *n = i;
out:
    return status;
}

enum fdit_status fdit_opencl_count_platforms(fdit_context *ctx, int *out)
{
    struct guard guard;
    cl_uint n = 0;
    (void)ctx;
    fdit_guard_begin(&guard);
    *out = clGetPlatformIDs(0, NULL, &n) != CL_SUCCESS ? 0 : n < PLATFORMS_MOST ? (int)n : PLATFORMS_MOST;
    fdit_guard_end(&guard);
    return FDIT_OK;
}

static enum fdit_status walk_loaded(fdit_context *ctx, visit_fn visit, void *user)
{
    enum fdit_status status = FDIT_OK;
    cl_platform_id *platforms = NULL;
    cl_device_id *devices = NULL;
    cl_uint n_platforms = 0, n_devices = 0;
    cl_int error;
    /* Without any driver the loader answers with an error of its own. */
    if (clGetPlatformIDs(0, NULL, &n_platforms) != CL_SUCCESS || n_platforms == 0)
        return FDIT_OK;
    n_platforms = n_platforms < PLATFORMS_MOST ? n_platforms : PLATFORMS_MOST;
    TRY(fdit_alloc(ctx, n_platforms, sizeof *platforms, &platforms));
    TRY(fdit_opencl_status(ctx, NULL, clGetPlatformIDs(n_platforms, platforms, NULL), "clGetPlatformIDs",
                           "all platforms"));
    for (cl_uint p = 0; p < n_platforms; p++) {
        TRY(devices_of(ctx, platforms[p], &devices, &n_devices, &error));
        if (!n_devices)
            TRY(visit(ctx, user, (int)p, -1, platforms[p], NULL, error));
        for (cl_uint d = 0; d < n_devices; d++)
            TRY(visit(ctx, user, (int)p, (int)d, platforms[p], devices[d], CL_SUCCESS));
    }
out:
    fdit_free(devices);
    fdit_free(platforms);
    return status;
}

/* gpus: drivers without a GPU are not even loaded where nothing else makes them be. */
static enum fdit_status walk(fdit_context *ctx, bool gpus, visit_fn visit, void *user)
{
    enum fdit_status status = FDIT_OK;
    struct guard guard;
    bool any = false;
    TRY(fdit_drivers_admit(ctx, gpus, &any));
    if (!any)
        return FDIT_OK;
    fdit_guard_begin(&guard);
    status = walk_loaded(ctx, visit, user);
    fdit_guard_end(&guard);
out:
    return status;
}

/* AMD's CL_DEVICE_NAME is a chip's code; cl_amd_device_attribute_query has the card's name. */
enum { DEVICE_BOARD_NAME_AMD = 0x4038 };

static enum fdit_status full_name(fdit_context *ctx, cl_platform_id platform, cl_device_id device, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL, *board = NULL, *extensions = NULL, *where = NULL;
    TRY(fdit_opencl_platform_text(ctx, platform, CL_PLATFORM_NAME, &where));
    TRY(fdit_opencl_device_text(ctx, device, CL_DEVICE_NAME, &name));
    TRY(fdit_opencl_device_text(ctx, device, CL_DEVICE_EXTENSIONS, &extensions));
    if (strstr(extensions, "cl_amd_device_attribute_query"))
        TRY(fdit_opencl_device_text(ctx, device, DEVICE_BOARD_NAME_AMD, &board));
    bool more = board && *board;
    const char *called = *name ? name : "device without a name";
    TRY(fdit_strf(ctx, out, "%s / %s%s%s%s", where, called, more ? " (" : "", more ? board : "",
                  more ? ")" : ""));
out:
    fdit_free(where);
    fdit_free(extensions);
    fdit_free(name);
    fdit_free(board);
    return status;
}

static cl_device_type type_of(cl_device_id device)
{
    cl_device_type type = 0;
    if (clGetDeviceInfo(device, CL_DEVICE_TYPE, sizeof type, &type, NULL) != CL_SUCCESS)
        type = 0;
    return type;
}

static bool is_layer(cl_platform_id platform)
{
    char *name = NULL;
    bool layer = fdit_opencl_platform_text(NULL, platform, CL_PLATFORM_NAME, &name) == FDIT_OK &&
                 fdit_opencl_is_layer(name);
    fdit_free(name);
    return layer;
}

/* The order of preference: cards before graphics in the processor, hardware before drivers that run on the
 * processor (which the cpu device does better), a card's own driver before a layer. */
static int score_of(cl_platform_id platform, cl_device_id device)
{
    cl_device_type type = type_of(device);
    cl_uint vendor = 0;
    cl_bool unified = CL_FALSE;
    if (clGetDeviceInfo(device, CL_DEVICE_VENDOR_ID, sizeof vendor, &vendor, NULL) != CL_SUCCESS)
        vendor = 0;
    if (clGetDeviceInfo(device, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof unified, &unified, NULL) != CL_SUCCESS)
        unified = CL_FALSE;
    int score = type & CL_DEVICE_TYPE_GPU ? 40 : type & CL_DEVICE_TYPE_ACCELERATOR ? 20 : 10;
    if (type & CL_DEVICE_TYPE_GPU && !unified)
        score += vendor == VENDOR_NVIDIA || vendor == VENDOR_AMD ? 8 : 4;
    return score + !is_layer(platform);
}

/* ---------------------------------------------------------------------------------- the list */

struct listing {
    struct fdit_device_entry *entries;
    int *scores;
    size_t n, capacity, score_capacity;
};

/* The queries of cl_khr_pci_bus_info and of the two vendors before there was one. */
enum { PCI_BUS_INFO_KHR = 0x410f, PCI_BUS_ID_NV = 0x4008, PCI_SLOT_ID_NV = 0x4009, TOPOLOGY_AMD = 0x4037 };

/* Where the card sits; *out stays NULL when no extension tells. */
static enum fdit_status find_bus(fdit_context *ctx, cl_device_id device, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *extensions = NULL;
    cl_uint khr[4] = { 0 }, bus = 0, slot = 0;
    unsigned char amd[24] = { 0 };
    TRY(fdit_opencl_device_text(ctx, device, CL_DEVICE_EXTENSIONS, &extensions));
    if (strstr(extensions, "cl_khr_pci_bus_info") &&
        clGetDeviceInfo(device, PCI_BUS_INFO_KHR, sizeof khr, khr, NULL) == CL_SUCCESS)
        TRY(fdit_strf(ctx, out, "%04x:%02x:%02x.%x", khr[0], khr[1], khr[2], khr[3]));
    else if (strstr(extensions, "cl_nv_device_attribute_query") &&
             clGetDeviceInfo(device, PCI_BUS_ID_NV, sizeof bus, &bus, NULL) == CL_SUCCESS &&
             clGetDeviceInfo(device, PCI_SLOT_ID_NV, sizeof slot, &slot, NULL) == CL_SUCCESS)
        TRY(fdit_strf(ctx, out, "0000:%02x:%02x.%x", bus, slot >> 3 & 31u, slot & 7u));
    else if (strstr(extensions, "cl_amd_device_attribute_query") &&
             clGetDeviceInfo(device, TOPOLOGY_AMD, sizeof amd, amd, NULL) == CL_SUCCESS)
        TRY(fdit_strf(ctx, out, "0000:%02x:%02x.%x", amd[21], amd[22], amd[23]));
out:
    fdit_free(extensions);
    return status;
}

static enum fdit_status describe_device(fdit_context *ctx, struct fdit_device_entry *e, int p, int d,
                                        cl_platform_id platform, cl_device_id device)
{
    enum fdit_status status = FDIT_OK;
    const char *reason = fdit_opencl_unusable(device);
    const struct opencl_limits limits = fdit_opencl_limits_of(device);
    char *extensions = NULL, local[32];
    e->usable = !reason;
    e->info.memory = limits.memory;
    e->info.max_buffer = limits.max_buffer;
    e->info.is_gpu = (type_of(device) & CL_DEVICE_TYPE_GPU) != 0;
    TRY(fdit_strf(ctx, &e->spec, "opencl:%d:%d", p, d));
    TRY(full_name(ctx, platform, device, &e->info.name));
    TRY(fdit_opencl_device_text(ctx, device, CL_DRIVER_VERSION, &e->info.driver));
    TRY(fdit_opencl_device_text(ctx, device, CL_DEVICE_EXTENSIONS, &extensions));
    fdit_format_size(limits.local, local);
    snprintf(e->info.capabilities, sizeof e->info.capabilities, "local memory %s%s", local,
             strstr(extensions, "cl_khr_fp16") ? ", fp16" : "");
    TRY(find_bus(ctx, device, &e->bus));
    if (reason)
        TRY(fdit_strdup(ctx, reason, &e->note));
    else
        TRY(fdit_opencl_device_text(ctx, device, CL_DEVICE_VERSION, &e->note));
out:
    fdit_free(extensions);
    return status;
}

/* A driver without its hardware. */
static enum fdit_status describe_empty(fdit_context *ctx, struct fdit_device_entry *e, int p,
                                       cl_platform_id platform, cl_int error)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL;
    TRY(fdit_opencl_platform_text(ctx, platform, CL_PLATFORM_NAME, &name));
    TRY(fdit_strf(ctx, &e->spec, "opencl:%d", p));
    TRY(fdit_strdup(ctx, name, &e->info.name));
    TRY(fdit_strdup(ctx, "", &e->info.driver));
    if (error != CL_DEVICE_NOT_FOUND)
        TRY(fdit_strf(ctx, &e->note, "the platform does not list its devices: %s",
                      fdit_opencl_error_name(error)));
    else
        TRY(fdit_strf(ctx, &e->note, "the platform has no device%s", fdit_opencl_why_no_devices(name)));
out:
    fdit_free(name);
    return status;
}

static enum fdit_status add_entry(fdit_context *ctx, void *user, int p, int d, cl_platform_id platform,
                                  cl_device_id device, cl_int error)
{
    enum fdit_status status = FDIT_OK;
    struct listing *list = user;
    TRY(fdit_grow(ctx, &list->entries, &list->capacity, list->n + 1, sizeof *list->entries));
    TRY(fdit_grow(ctx, &list->scores, &list->score_capacity, list->n + 1, sizeof *list->scores));
    size_t at = list->n++;
    int score = device ? score_of(platform, device) : 0;
    for (; at > 0 && list->scores[at - 1] < score; at--) {
        list->entries[at] = list->entries[at - 1];
        list->scores[at] = list->scores[at - 1];
    }
    list->scores[at] = score;
    list->entries[at] = (struct fdit_device_entry){ .same_as = -1 };
    if (device)
        TRY(describe_device(ctx, &list->entries[at], p, d, platform, device));
    else
        TRY(describe_empty(ctx, &list->entries[at], p, platform, error));
out:
    return status;
}

/* One card under two drivers: the later entry says which it is. */
static void find_twins(struct listing *list)
{
    for (size_t i = 0; i < list->n; i++)
        for (size_t k = 0; k < i && list->entries[i].bus; k++)
            if (list->entries[k].same_as < 0 && list->entries[k].bus &&
                strcmp(list->entries[i].bus, list->entries[k].bus) == 0) {
                list->entries[i].same_as = (int)k;
                break;
            }
}

/* Drivers that were left out, and those that print. */
static enum fdit_status add_drivers(fdit_context *ctx, struct listing *list)
{
    enum fdit_status status = FDIT_OK;
    size_t n;
    const struct driver *d = fdit_drivers_known(&n);
    for (size_t i = 0; i < n; i++, d++) {
        if (d->good ? !*d->note : d->implied && d->empty) /* no driver is installed */
            continue;
        TRY(fdit_grow(ctx, &list->entries, &list->capacity, list->n + 1, sizeof *list->entries));
        struct fdit_device_entry *e = &list->entries[list->n++];
        *e = (struct fdit_device_entry){
            .same_as = -1, .is_driver = true, .fine = d->good, .fresh = d->fresh
        };
        TRY(fdit_strdup(ctx, d->name, &e->spec));
        TRY(fdit_strf(ctx, &e->info.name, "OpenCL driver %s%s%s%s", d->icd ? d->icd : d->library,
                      d->icd ? " (" : "", d->icd ? d->library : "", d->icd ? ")" : ""));
        TRY(fdit_strdup(ctx, "", &e->info.driver));
        TRY(fdit_strdup(ctx, d->note, &e->note));
    }
out:
    return status;
}

enum fdit_status fdit_opencl_list(fdit_context *ctx, bool gpus, struct fdit_device_entry **out, size_t *n)
{
    struct listing list = { 0 };
    enum fdit_status status = walk(ctx, gpus, add_entry, &list);
    find_twins(&list);
    if (status == FDIT_OK)
        status = add_drivers(ctx, &list);
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

static enum fdit_status consider(fdit_context *ctx, void *user, int p, int d, cl_platform_id platform,
                                 cl_device_id device, cl_int error)
{
    (void)ctx;
    (void)error;
    if (!device)
        return FDIT_OK;
    struct search *s = user;
    const char *reason = fdit_opencl_unusable(device);
    int score = score_of(platform, device);
    if (s->p >= 0 ? s->p != p || s->d != d : reason || score <= s->score)
        return FDIT_OK;
    s->score = score;
    s->platform = platform;
    s->device = device;
    s->reason = reason;
    return FDIT_OK;
}

enum fdit_status fdit_opencl_find(fdit_context *ctx, const char *spec, cl_platform_id *platform,
                                  cl_device_id *device, char **label)
{
    enum fdit_status status = FDIT_OK;
    struct search s = { .p = -1, .d = -1 };
    char rest;
    if (spec && sscanf(spec, "opencl:%d:%d%c", &s.p, &s.d, &rest) != 2)
        s.p = s.d = -1;
    TRY(walk(ctx, false, consider, &s));
    if (!s.score)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "no OpenCL device answers to '%s'; `finediffusion devices` "
             "lists the devices, and cpu needs no driver",
             spec ? spec : "opencl");
    if (s.reason)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "%s cannot be used: %s; choose another device", spec, s.reason);
    TRY(full_name(ctx, s.platform, s.device, label));
    *platform = s.platform;
    *device = s.device;
out:
    return status;
}

enum fdit_status fdit_opencl_try(fdit_context *ctx, struct fdit_device_entry *e)
{
    enum fdit_status status = FDIT_OK;
    char *why = NULL, *said = NULL;
    TRY(fdit_drivers_try(ctx, e->spec, e->info.name, e->info.driver, &why, &said));
    if (why) {
        fdit_free(e->note);
        e->note = why;
        why = NULL;
        e->usable = false;
    }
    fdit_free(e->said);
    e->said = said;
    said = NULL;
out:
    fdit_free(why);
    fdit_free(said);
    return status;
}
