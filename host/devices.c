/* SPDX-License-Identifier: Apache-2.0
 * devices.c: the back ends of this build, and which device a name means. A back end joins by one line in
 * the table below. */
#include "devices.h"
#include "core/mem.h"
#if HAVE_OPENCL
#include "opencl/opencl.h"
#endif

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct backend {
    const struct fdit_device_ops *ops;
    /* Its devices, usable or not; NULL: exactly one, named like the table. */
    enum fdit_status (*list)(fdit_context *ctx, struct fdit_device_entry **out, size_t *n);
};

static const struct backend backends[] = {
    { &fdit_cpu_ops, NULL },
    { &fdit_ref_ops, NULL },
#if HAVE_OPENCL
    { &fdit_opencl_ops, fdit_opencl_list },
#endif
};
enum { N_BACKENDS = sizeof backends / sizeof *backends };

/* An entry and the back end it came from. */
struct candidates {
    struct fdit_device_entry *entries;
    size_t *backend;
    size_t n, capacity, backend_capacity;
};

void fdit_devices_list_free(struct fdit_device_entry *entries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fdit_free(entries[i].spec);
        fdit_free(entries[i].info.name);
        fdit_free(entries[i].info.driver);
        fdit_free(entries[i].note);
    }
    fdit_free(entries);
}

static void candidates_free(struct candidates *c)
{
    fdit_devices_list_free(c->entries, c->n);
    fdit_free(c->backend);
}

static enum fdit_status reserve_entries(fdit_context *ctx, struct candidates *c, size_t more)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_grow(ctx, &c->entries, &c->capacity, c->n + more, sizeof *c->entries));
    TRY(fdit_grow(ctx, &c->backend, &c->backend_capacity, c->n + more, sizeof *c->backend));
out:
    return status;
}

/* The entry of a back end with one device: opened for its description, and closed. */
static enum fdit_status add_single(fdit_context *ctx, struct candidates *c, size_t backend)
{
    const struct fdit_device_ops *ops = backends[backend].ops;
    enum fdit_status status = FDIT_OK;
    fdit_device *dev = NULL;
    TRY(reserve_entries(ctx, c, 1));
    struct fdit_device_entry *e = &c->entries[c->n];
    c->backend[c->n++] = backend; /* from here candidates_free frees its strings */
    TRY(fdit_strdup(ctx, ops->name, &e->spec));
    status = fdit_device_open(ctx, ops, &(struct fdit_device_options){ .spec = ops->name }, &dev);
    if (status == FDIT_ERROR_MEMORY)
        goto out;
    e->usable = status == FDIT_OK;
    TRY(fdit_strdup(ctx, dev && dev->info.driver ? dev->info.driver
                                                 : e->usable ? "" : fdit_context_message(ctx),
                    &e->note));
    if (dev) {
        e->info = dev->info;
        e->info.name = e->info.driver = NULL;
    }
    TRY(fdit_strdup(ctx, dev && dev->info.name ? dev->info.name : ops->name, &e->info.name));
    TRY(fdit_strdup(ctx, dev && dev->info.driver ? dev->info.driver : "", &e->info.driver));
out:
    fdit_device_close(dev);
    return status;
}

static enum fdit_status add_listed(fdit_context *ctx, struct candidates *c, size_t backend)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_device_entry *found = NULL;
    size_t n = 0;
    TRY(backends[backend].list(ctx, &found, &n));
    if (n == 0)
        goto out;
    TRY(reserve_entries(ctx, c, n));
    for (size_t i = 0; i < n; i++) {
        c->entries[c->n] = found[i];
        c->backend[c->n++] = backend;
    }
    n = 0; /* their strings have moved */
out:
    fdit_devices_list_free(found, n);
    return status;
}

static enum fdit_status list_all(fdit_context *ctx, struct candidates *c)
{
    enum fdit_status status = FDIT_OK;
    for (size_t i = 0; i < N_BACKENDS; i++)
        TRY(backends[i].list ? add_listed(ctx, c, i) : add_single(ctx, c, i));
out:
    return status;
}

enum fdit_status fdit_devices_list(fdit_context *ctx, struct fdit_device_entry **out, size_t *n)
{
    struct candidates c = { 0 };
    enum fdit_status status = list_all(ctx, &c);
    *out = NULL;
    *n = 0;
    if (status != FDIT_OK) {
        candidates_free(&c);
        return status;
    }
    *out = c.entries;
    *n = c.n;
    fdit_free(c.backend);
    return FDIT_OK;
}

/* ----------------------------------------------------------------------------------- by name */

/* "cpu (AMD EPYC), ref (...)" */
static enum fdit_status describe(fdit_context *ctx, const struct candidates *c, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL, *longer;
    TRY(fdit_strdup(ctx, "", &text));
    for (size_t i = 0; i < c->n; i++) {
        TRY(fdit_strf(ctx, &longer, "%s%s%s (%s)%s", text, i ? ", " : "", c->entries[i].spec,
                      c->entries[i].info.name, c->entries[i].usable ? "" : " unusable"));
        fdit_free(text);
        text = longer;
    }
    *out = text;
    return FDIT_OK;
out:
    fdit_free(text);
    return status;
}

static bool contains(const char *text, const char *part)
{
    size_t length = strlen(part);
    for (; *text; text++)
        if (strncasecmp(text, part, length) == 0)
            return true;
    return false;
}

/* The one entry that `spec` means: its own spec; the first usable one of a back end with that name; or
 * the only one whose name contains it. */
static enum fdit_status find(fdit_context *ctx, const struct candidates *c, const char *spec,
                             size_t *out)
{
    enum fdit_status status = FDIT_OK;
    char *what = NULL;
    size_t matches = 0;
    TRY(describe(ctx, c, &what));
    for (size_t i = 0; i < c->n && matches != SIZE_MAX; i++) {
        if (strcasecmp(c->entries[i].spec, spec) == 0) {
            *out = i;
            matches = SIZE_MAX;
        }
    }
    for (size_t i = 0; i < c->n && matches != SIZE_MAX; i++) {
        if (c->entries[i].usable && strcasecmp(backends[c->backend[i]].ops->name, spec) == 0) {
            *out = i;
            matches = SIZE_MAX;
        }
    }
    for (size_t i = 0; i < c->n && matches != SIZE_MAX; i++) {
        if (*spec && contains(c->entries[i].info.name, spec)) {
            if (matches++ == 0)
                *out = i;
        }
    }
    if (matches == 0)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "device '%s' does not exist; there are: %s", spec, what);
    if (matches != SIZE_MAX && matches > 1)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "device '%s' means %zu devices; name one of: %s", spec,
             matches, what);
    if (!c->entries[*out].usable)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "device '%s' (%s) cannot be used: %s", spec,
             c->entries[*out].info.name, c->entries[*out].note);
out:
    fdit_free(what);
    return status;
}

static enum fdit_status open_entry(fdit_context *ctx, const struct candidates *c, size_t i,
                                   const struct fdit_device_options *options, fdit_device **out)
{
    struct fdit_device_options exact = *options;
    exact.spec = c->entries[i].spec;
    return fdit_device_open(ctx, backends[c->backend[i]].ops, &exact, out);
}

/* The first GPU that opens. FDIT_ERROR_UNSUPPORTED when there is none. */
static enum fdit_status open_gpu(fdit_context *ctx, const struct candidates *c,
                                 const struct fdit_device_options *options, fdit_device **out)
{
    enum fdit_status status = FDIT_OK;
    char *what = NULL;
    for (size_t i = 0; i < c->n; i++) {
        if (!c->entries[i].info.is_gpu || !c->entries[i].usable)
            continue;
        status = open_entry(ctx, c, i, options, out);
        if (status == FDIT_OK || status == FDIT_ERROR_MEMORY)
            return status;
        fdit_log(ctx, FDIT_LOG_WARNING, "%s (%s) is not used: %s", c->entries[i].spec,
                 c->entries[i].info.name, fdit_context_message(ctx));
    }
    TRY(describe(ctx, c, &what));
    FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "no GPU can be used; use --device cpu; there are: %s", what);
out:
    fdit_free(what);
    return status;
}

enum fdit_status fdit_devices_open(fdit_context *ctx, const struct fdit_device_options *options,
                                   fdit_device **out)
{
    static const struct fdit_device_options defaults = { 0 };
    enum fdit_status status = FDIT_OK;
    struct candidates all = { 0 };
    struct fdit_device_options exact = options ? *options : defaults;
    const char *spec = exact.spec;
    *out = NULL;
    if (!spec || !*spec)
        spec = getenv("FINEDIFFUSION_DEVICE");
    if (spec && *spec) {
        /* A back end of one device is opened without asking the others, which may be slow to start. */
        for (size_t i = 0; i < N_BACKENDS; i++) {
            if (!backends[i].list && strcasecmp(spec, backends[i].ops->name) == 0) {
                exact.spec = backends[i].ops->name;
                return fdit_device_open(ctx, backends[i].ops, &exact, out);
            }
        }
    }
    TRY(list_all(ctx, &all));
    if (spec && *spec && strcasecmp(spec, "gpu") != 0) {
        size_t i = 0;
        TRY(find(ctx, &all, spec, &i));
        TRY(open_entry(ctx, &all, i, &exact, out));
        goto out;
    }
    status = open_gpu(ctx, &all, &exact, out);
    if (status == FDIT_ERROR_UNSUPPORTED && (!spec || !*spec)) {
        exact.spec = fdit_cpu_ops.name;
        status = fdit_device_open(ctx, &fdit_cpu_ops, &exact, out);
    }
out:
    candidates_free(&all);
    return status;
}
