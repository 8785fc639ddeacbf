/* SPDX-License-Identifier: Apache-2.0 */
#include "api/api.h"

#include "core/pool.h"
#include "devices.h"

#include <string.h>

enum fdit_status fdit_api_options(fdit_context *ctx, const char *what, const void *given, void *own,
                                  size_t own_size)
{
    const unsigned char *bytes = given;
    size_t size;
    memcpy(&size, given, sizeof size);
    if (size < sizeof size || size > (size_t)1 << 16)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s: size is not set; fill the struct with %s_init first",
                         what, what);
    for (size_t i = own_size; i < size; i++)
        if (bytes[i])
            return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                             "%s: a field is set that version %s of the library does not have", what,
                             fdit_version());
    memcpy(own, given, size < own_size ? size : own_size);
    memcpy(own, &own_size, sizeof own_size);
    return FDIT_OK;
}

enum fdit_status fdit_api_set(fdit_context *ctx, const struct fdit_option *table, void *args,
                              const char *name, const char *text)
{
    return text ? fdit_options_set(ctx, table, args, name, text) : FDIT_OK;
}

enum fdit_status fdit_api_check_devices(fdit_context *ctx, const struct fdit_devices *set,
                                        enum fdit_dtype storage)
{
    enum fdit_status status = FDIT_OK;
    const fdit_device *first = set->list[0];
    for (int i = 0; i < set->n; i++) {
        const fdit_device *dev = set->list[i];
        const char *name = fdit_device_info(dev)->name;
        if (!fdit_device_supports_storage(dev, storage))
            FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "--weights %s: %s cannot keep weights in %s; use --weights f32",
                 fdit_dtype_name(storage), name, fdit_dtype_name(storage));
        if (fdit_device_precision(dev) != fdit_device_precision(first))
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "--precision auto: %s for %s, %s for %s; say --precision f32",
                 fdit_dtype_name(fdit_device_precision(first)), fdit_device_info(first)->name,
                 fdit_dtype_name(fdit_device_precision(dev)), name);
    }
out:
    return status;
}

enum fdit_status fdit_api_devices(fdit_context *ctx, const struct fdit_device_options *options,
                                  enum fdit_dtype storage, struct fdit_devices *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_devices set = { 0 };
    *out = set;
    if (options->threads < 0 || options->threads > FDIT_POOL_MOST_MEMBERS)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--threads %d: give 1 to %d, or 0 for all", options->threads,
             FDIT_POOL_MOST_MEMBERS);
    TRY(fdit_devices_open(ctx, options, &set));
    TRY(fdit_api_check_devices(ctx, &set, storage));
    *out = set;
    return FDIT_OK;
out:
    fdit_devices_close(&set);
    return status;
}

enum fdit_status fdit_list_devices(fdit_context *ctx, fdit_device_fn each, void *user)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_device_entry *entries = NULL;
    size_t n = 0;
    TRY(fdit_devices_list(ctx, &entries, &n));
    for (size_t i = 0; i < n; i++) {
        const struct fdit_device_entry *e = &entries[i];
        if (e->is_driver)
            continue;
        const struct fdit_device_description d = { .device = e->spec,
                                                   .name = e->info.name,
                                                   .driver = e->info.driver ? e->info.driver : "",
                                                   .note = e->note ? e->note : "",
                                                   .memory = e->info.memory,
                                                   .threads = e->info.threads,
                                                   .is_gpu = e->info.is_gpu,
                                                   .usable = e->usable };
        if (!each(user, &d))
            break;
    }
out:
    fdit_devices_list_free(entries, n);
    return status;
}
