/* SPDX-License-Identifier: Apache-2.0
 * devices.c: the back ends of this build, and which device a name means. A back end joins by one line in
 * the table below. */
#include "devices.h"
#include "core/mem.h"
#include "device/backend.h"
#include "device/cases.h"
#if HAVE_OPENCL
#include "opencl/opencl.h"
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct backend {
    const struct fdit_device_ops *ops;
    /* Its devices, usable or not; NULL: exactly one, named like the table. */
    enum fdit_status (*list)(fdit_context *ctx, bool gpus, struct fdit_device_entry **out, size_t *n);
    enum fdit_status (*try_out)(fdit_context *ctx, struct fdit_device_entry *e);
    bool reference, fallback; /* of struct fdit_device_entry */
};

static const struct backend backends[] = {
    { .ops = &fdit_cpu_ops, .fallback = true },
    { .ops = &fdit_ref_ops, .reference = true },
#if HAVE_OPENCL
    { .ops = &fdit_opencl_ops, .list = fdit_opencl_list, .try_out = fdit_opencl_try },
#endif
};
enum { N_BACKENDS = sizeof backends / sizeof *backends };

static const char variable[] = "FINEDIFFUSION_DEVICE";

#if HAVE_OPENCL
static const char no_drivers[] = "no OpenCL driver is installed";
#else
static const char no_drivers[] = "this build has no OpenCL";
#endif

/* What was not typed here stands in the environment, and the message says so. */
static enum fdit_status blame_variable(fdit_context *ctx, enum fdit_status status)
{
    char prefix[128];
    if (status == FDIT_INTERRUPTED)
        return status;
    const char *value = getenv(variable);
    snprintf(prefix, sizeof prefix, "%s=%.80s", variable, value ? value : "");
    return fdit_fail_prefix(ctx, status, prefix);
}

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
        fdit_free(entries[i].bus);
        fdit_free(entries[i].said);
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
    e->same_as = -1;
    e->built_in = true;
    e->reference = backends[backend].reference;
    e->fallback = backends[backend].fallback;
    c->backend[c->n++] = backend; /* from here candidates_free frees its strings */
    TRY(fdit_strdup(ctx, ops->name, &e->spec));
    status = fdit_device_open(ctx, ops, &(struct fdit_device_options){ .spec = ops->name }, &dev);
    if (status == FDIT_ERROR_MEMORY || status == FDIT_ERROR_IO) /* nothing is wrong with the device */
        goto out;
    e->usable = status == FDIT_OK;
    TRY(fdit_strdup(ctx,
                    dev && dev->info.driver ? dev->info.driver
                    : e->usable             ? ""
                                            : fdit_context_message(ctx),
                    &e->note));
    if (dev) {
        e->info = dev->info;
        e->info.name = e->info.driver = e->info.spec = NULL;
    }
    TRY(fdit_strdup(ctx, dev && dev->info.name ? dev->info.name : ops->name, &e->info.name));
    TRY(fdit_strdup(ctx, dev && dev->info.driver ? dev->info.driver : "", &e->info.driver));
out:
    fdit_device_close(dev);
    return status;
}

static enum fdit_status add_listed(fdit_context *ctx, struct candidates *c, size_t backend, bool gpus)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_device_entry *found = NULL;
    size_t n = 0;
    TRY(backends[backend].list(ctx, gpus, &found, &n));
    if (n == 0)
        goto out;
    TRY(reserve_entries(ctx, c, n));
    for (size_t i = 0; i < n; i++) {
        if (found[i].same_as >= 0)
            found[i].same_as += (int)(c->n - i); /* it counted from the back end's first */
        c->entries[c->n] = found[i];
        c->backend[c->n++] = backend;
    }
    n = 0; /* their strings have moved */
out:
    fdit_devices_list_free(found, n);
    return status;
}

enum fdit_status fdit_devices_environment(fdit_context *ctx)
{
    return fdit_cpu_environment(ctx);
}

/* gpus: of the drivers only GPUs are of interest. */
static enum fdit_status list_all(fdit_context *ctx, struct candidates *c, bool gpus)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_devices_environment(ctx));
    for (size_t i = 0; i < N_BACKENDS; i++)
        TRY(backends[i].list ? add_listed(ctx, c, i, gpus) : add_single(ctx, c, i));
out:
    return status;
}

enum fdit_status fdit_devices_list(fdit_context *ctx, struct fdit_device_entry **out, size_t *n)
{
    struct candidates c = { 0 };
    enum fdit_status status = list_all(ctx, &c, false);
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

/* "cpu (AMD EPYC), opencl:0:0 (...)"; `only`: those of which only[i] is true, NULL: all, with what
 * is missing. */
static enum fdit_status describe(fdit_context *ctx, const struct candidates *c, const bool *only, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL, *longer;
    bool drivers = false;
    TRY(fdit_strdup(ctx, "", &text));
    for (size_t i = 0; i < c->n; i++) {
        const struct fdit_device_entry *e = &c->entries[i];
        drivers = drivers || backends[c->backend[i]].list;
        if ((only && !only[i]) || e->fine)
            continue;
        bool why = e->is_driver && !only;
        TRY(fdit_strf(ctx, &longer, "%s%s%s (%s%s%s)%s", text, *text ? ", " : "", e->spec, e->info.name,
                      why ? ": " : "", why ? e->note : "", e->usable ? "" : " unusable"));
        fdit_free(text);
        text = longer;
    }
    if (!drivers && !only) {
        TRY(fdit_strf(ctx, &longer, "%s; %s", text, no_drivers));
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

/* How many entries the name means, the first of them in *out, all in meant [n]. Its own spec and
 * the name of a back end mean one: the first usable of the back end, else its first. Part of a name
 * means all that have it, but a card once, and those that cannot be used only when nothing else has
 * it. */
static size_t match(const struct candidates *c, const char *spec, bool *meant, size_t *out)
{
    size_t n = 0;
    memset(meant, 0, c->n * sizeof *meant);
    for (size_t i = 0; i < c->n; i++)
        if (strcasecmp(c->entries[i].spec, spec) == 0 && !c->entries[i].fine) {
            *out = i;
            return meant[i] = 1;
        }
    for (size_t i = 0; i < c->n; i++)
        if (c->entries[i].usable && strcasecmp(backends[c->backend[i]].ops->name, spec) == 0) {
            *out = i;
            return meant[i] = 1;
        }
    for (size_t i = 0; i < c->n; i++) /* why not is said of the first */
        if (!c->entries[i].fine && strcasecmp(backends[c->backend[i]].ops->name, spec) == 0) {
            *out = i;
            return meant[i] = 1;
        }
    for (int usable = 1; *spec && usable >= 0 && n == 0; usable--)
        for (size_t i = 0; i < c->n; i++) {
            const struct fdit_device_entry *e = &c->entries[i];
            if (e->usable != usable || e->fine || !contains(e->info.name, spec))
                continue;
            if (e->same_as >= 0 && contains(c->entries[e->same_as].info.name, spec) &&
                c->entries[e->same_as].usable)
                continue;
            meant[i] = true;
            if (n++ == 0)
                *out = i;
        }
    return n;
}

/* Of the entries that are meant [n] the one whose turn it is, from 1. */
static size_t in_turn(const bool *meant, size_t matches, int turn)
{
    size_t left = (size_t)(turn - 1) % matches, i = 0;
    while (!meant[i] || left-- > 0)
        i++;
    return i;
}

static enum fdit_status find(fdit_context *ctx, const struct candidates *c, const char *spec, int turn,
                             size_t *out)
{
    enum fdit_status status = FDIT_OK;
    char *what = NULL;
    bool *meant = NULL;
    TRY(fdit_alloc(ctx, c->n + 1, sizeof *meant, &meant));
    size_t matches = match(c, spec, meant, out);
    if (matches > 1 && turn > 0) {
        *out = in_turn(meant, matches, turn);
        matches = 1;
    }
    TRY(describe(ctx, c, matches ? meant : NULL, &what));
    if (matches == 0)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "device '%s' does not exist; there are: %s", spec, what);
    if (matches > 1)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "device '%s' means %zu devices; name one of: %s", spec, matches, what);
    if (!c->entries[*out].usable)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "device '%s' (%s) cannot be used: %s; use another, --device cpu "
             "works everywhere",
             spec, c->entries[*out].info.name, c->entries[*out].note);
out:
    fdit_free(meant);
    fdit_free(what);
    return status;
}

/* ----------------------------------------------------------------------------------- opening */

enum fdit_status fdit_devices_open_entry(fdit_context *ctx, struct fdit_device_entry *e,
                                         const struct fdit_device_options *options, fdit_device **out)
{
    static const struct fdit_device_options usual = { 0 };
    enum fdit_status status = FDIT_OK;
    struct fdit_device_options exact = options ? *options : usual;
    exact.spec = e->spec;
    *out = NULL;
    for (size_t i = 0; e->usable && i < N_BACKENDS; i++) {
        size_t n = strlen(backends[i].ops->name);
        if (strncmp(e->spec, backends[i].ops->name, n) != 0 || (e->spec[n] && e->spec[n] != ':'))
            continue;
        if (backends[i].try_out)
            TRY(backends[i].try_out(ctx, e));
        if (e->usable)
            return fdit_device_open(ctx, backends[i].ops, &exact, out);
    }
    status = fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "%s", e->note);
out:
    return status;
}

void fdit_devices_crashed(int number)
{
#if HAVE_OPENCL
    fdit_opencl_crashed(number);
#else
    (void)number;
#endif
}

int fdit_devices_helper(int argc, char **argv)
{
#if HAVE_OPENCL
    return fdit_opencl_helper(argc, argv);
#else
    (void)argc;
    (void)argv;
    return 2;
#endif
}

enum fdit_status fdit_devices_selftest(fdit_context *ctx, fdit_device *dev, const char *spec)
{
    enum fdit_status status = FDIT_OK;
    fdit_device *reference = NULL;
    const char *spoil = getenv("FINEDIFFUSION_TEST_MISCOMPUTE"); /* tests: this device computes wrongly */
    TRY(fdit_device_open(ctx, &fdit_ref_ops, NULL, &reference));
    status = fdit_cases_quick(ctx, reference, dev, spoil && strcasecmp(spoil, spec) == 0);
    if (status == FDIT_ERROR_DEVICE || status == FDIT_ERROR_UNSUPPORTED) {
        enum fdit_status found = status;
        char *message = NULL;
        TRY(fdit_strdup(ctx, fdit_context_message(ctx), &message));
        status = fdit_fail(ctx, found,
                           "%s (%s, driver %s) is not used: %s; update its driver or use another "
                           "device, --device cpu works everywhere",
                           spec, dev->info.name, dev->info.driver ? dev->info.driver : "unknown", message);
        fdit_free(message);
    }
out:
    fdit_device_close(reference);
    return status;
}

static enum fdit_status open_tried(fdit_context *ctx, const struct candidates *c, size_t i,
                                   const struct fdit_device_options *options, fdit_device **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_device_entry *e = &c->entries[i];
    status = fdit_devices_open_entry(ctx, e, options, out);
    if (!e->usable && status == FDIT_ERROR_UNSUPPORTED) /* in the words of fdit_devices_selftest */
        FAIL(ctx, FDIT_ERROR_DEVICE,
             "%s (%s, driver %s) is not used: %s; update its driver or use another "
             "device, --device cpu works everywhere",
             e->spec, e->info.name, e->info.driver && *e->info.driver ? e->info.driver : "unknown", e->note);
    TRY(status);
    if (backends[c->backend[i]].list) /* somebody else's compiler */
        TRY(fdit_devices_selftest(ctx, *out, e->spec));
    return FDIT_OK;
out:
    fdit_device_close(*out);
    *out = NULL;
    return status;
}

static bool is_good_gpu(const struct fdit_device_entry *e)
{
    return e->info.is_gpu && e->usable;
}

/* The best GPU, number *out; with a turn, that of the cards of its kind whose turn it is: results agree to
 * the bit among equal ones only. False: there is none. */
static bool first_gpu(const struct candidates *c, int turn, bool *meant, size_t *out)
{
    const struct fdit_device_entry *best = NULL;
    size_t matches = 0;
    for (size_t i = 0; i < c->n; i++) {
        const struct fdit_device_entry *e = &c->entries[i];
        meant[i] = is_good_gpu(e) && (!best || (!strcmp(e->info.name, best->info.name) && e->same_as < 0));
        if (!meant[i])
            continue;
        matches++;
        best = best ? best : e;
    }
    if (best)
        *out = turn > 0 ? in_turn(meant, matches, turn) : (size_t)(best - c->entries);
    return best != NULL;
}

/* The first GPU that opens and computes correctly, from the best on. FDIT_ERROR_UNSUPPORTED: none does. */
static enum fdit_status open_gpu(fdit_context *ctx, const struct candidates *c,
                                 const struct fdit_device_options *options, fdit_device **out)
{
    enum fdit_status status = FDIT_OK;
    char *what = NULL;
    bool *meant = NULL;
    size_t first = 0;
    TRY(fdit_alloc(ctx, c->n + 1, sizeof *meant, &meant));
    const size_t n = first_gpu(c, options->turn, meant, &first) ? c->n : 0;
    for (size_t k = 0; k < n; k++) {
        const size_t i = (first + k) % n;
        if (!is_good_gpu(&c->entries[i]))
            continue;
        status = open_tried(ctx, c, i, options, out);
        if (status == FDIT_OK || status == FDIT_ERROR_MEMORY || status == FDIT_INTERRUPTED)
            goto out;
        fdit_log(ctx, FDIT_LOG_WARNING, "%s", fdit_context_message(ctx));
    }
    TRY(describe(ctx, c, NULL, &what));
    FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "no GPU can be used; use --device cpu; there are: %s", what);
out:
    fdit_free(meant);
    fdit_free(what);
    return status;
}

/* A driver that was just found to be bad might be the one of the user's GPU. */
static void warn_of_drivers(fdit_context *ctx, const struct candidates *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->entries[i].is_driver && !c->entries[i].fine && c->entries[i].fresh)
            fdit_log(ctx, FDIT_LOG_WARNING, "%s is left out: %s; `finediffusion devices --all` looks again",
                     c->entries[i].info.name, c->entries[i].note);
}

/* One name, not a list. `all` is filled when it is first needed: drivers may be slow to start. */
static enum fdit_status open_one(fdit_context *ctx, struct candidates *all,
                                 const struct fdit_device_options *options, fdit_device **out)
{
    enum fdit_status status = FDIT_OK;
    const char *spec = options->spec;
    struct fdit_device_options exact = *options;
    size_t i = 0;
    for (i = 0; spec && i < N_BACKENDS; i++)
        if (!backends[i].list && strcasecmp(spec, backends[i].ops->name) == 0) {
            exact.spec = backends[i].ops->name;
            return fdit_device_open(ctx, backends[i].ops, &exact, out);
        }
    if (!all->n)
        TRY(list_all(ctx, all, !spec));
    if (spec && strcasecmp(spec, "gpu") != 0) {
        TRY(find(ctx, all, spec, options->turn, &i));
        TRY(open_tried(ctx, all, i, options, out));
        return FDIT_OK;
    }
    if (!spec)
        warn_of_drivers(ctx, all);
    status = open_gpu(ctx, all, options, out);
    if (status == FDIT_ERROR_UNSUPPORTED && !spec) {
        exact.spec = fdit_cpu_ops.name;
        status = fdit_device_open(ctx, &fdit_cpu_ops, &exact, out);
    }
out:
    return status;
}

/* Two names of one device: each would plan with memory that the other uses. */
static enum fdit_status check_twice(fdit_context *ctx, const struct fdit_devices *set)
{
    const fdit_device *last = set->list[set->n - 1];
    for (int i = 0; i + 1 < set->n; i++)
        if (set->list[i]->ops == last->ops && strcmp(set->list[i]->info.spec, last->info.spec) == 0)
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "device %s (%s) is named twice; name each once",
                             last->info.spec, last->info.name);
    return FDIT_OK;
}

static size_t names_in(const char *list)
{
    size_t n = 1;
    for (; list && (list = strchr(list, ',')); list++)
        n++;
    return n;
}

enum fdit_status fdit_devices_open(fdit_context *ctx, const struct fdit_device_options *options,
                                   struct fdit_devices *out)
{
    static const struct fdit_device_options defaults = { 0 };
    enum fdit_status status = FDIT_OK;
    struct candidates all = { 0 };
    struct fdit_device_options exact = options ? *options : defaults;
    struct fdit_devices set = { 0 };
    const char *list = exact.spec;
    char *name = NULL;
    *out = set;
    bool from_environment = !list || !*list;
    if (from_environment)
        list = getenv(variable);
    if (!list || !*list) {
        list = NULL;
        from_environment = false;
    }
    TRY(fdit_alloc(ctx, names_in(list), sizeof *set.list, &set.list));
    do {
        size_t length = list ? strcspn(list, ",") : 0;
        fdit_free(name);
        name = NULL;
        if (list)
            TRY(fdit_strndup(ctx, list, length, &name));
        if (name && !*name)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "device list: a name is missing; write names with one comma between them");
        exact.spec = name;
        TRY(open_one(ctx, &all, &exact, &set.list[set.n]));
        set.n++;
        TRY(check_twice(ctx, &set));
        list = list && list[length] ? list + length + 1 : NULL;
    } while (list);
    *out = set;
    set = (struct fdit_devices){ 0 };
out:
    if (status != FDIT_OK && from_environment)
        status = blame_variable(ctx, status);
    fdit_devices_close(&set);
    fdit_free(name);
    candidates_free(&all);
    return status;
}

enum fdit_status fdit_devices_open_one(fdit_context *ctx, const struct fdit_device_options *options,
                                       fdit_device **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_devices set;
    *out = NULL;
    TRY(fdit_devices_open(ctx, options, &set));
    if (set.n > 1) {
        fdit_devices_close(&set);
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "several devices are named, where one works at a time; name one of them");
    }
    *out = fdit_devices_take(&set);
out:
    return status;
}

enum fdit_status fdit_devices_default(fdit_context *ctx, const struct fdit_device_entry *entries,
                                      const bool *works, size_t n, bool *is_default)
{
    enum fdit_status status = FDIT_OK;
    const char *list = getenv(variable);
    struct candidates c = { .n = n };
    char *name = NULL;
    size_t i;
    memset(is_default, 0, n * sizeof *is_default);
    TRY(fdit_alloc(ctx, n + 1, sizeof *c.entries, &c.entries));
    TRY(fdit_alloc(ctx, n + 1, sizeof *c.backend, &c.backend));
    memcpy(c.entries, entries, n * sizeof *entries);
    for (i = 0; i < n; i++)
        for (c.backend[i] = 0; c.backend[i] + 1 < N_BACKENDS; c.backend[i]++) {
            const char *own = backends[c.backend[i]].ops->name;
            if (strncmp(entries[i].spec, own, strlen(own)) == 0)
                break;
        }
    while (list && *list) {
        size_t length = strcspn(list, ",");
        fdit_free(name);
        TRY(fdit_strndup(ctx, list, length, &name));
        list += length + (list[length] == ',');
        if (strcasecmp(name, "gpu") == 0) {
            for (i = 0; i < n && !(entries[i].info.is_gpu && works[i] && entries[i].same_as < 0); i++) {
            }
            if (i == n)
                FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "no GPU can be used");
        } else {
            TRY(find(ctx, &c, name, 0, &i));
        }
        is_default[i] = true;
    }
    if (name)
        goto out;
    for (i = 0; i < n && !(entries[i].info.is_gpu && works[i]); i++) {
    }
    for (size_t k = 0; i == n && k < n; k++)
        if (entries[k].fallback) {
            is_default[k] = true;
            goto out;
        }
    if (i < n)
        is_default[i] = true;
out:
    if (status != FDIT_OK)
        status = blame_variable(ctx, status);
    fdit_free(name);
    fdit_free(c.entries);
    fdit_free(c.backend);
    return status;
}
