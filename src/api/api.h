/* SPDX-License-Identifier: Apache-2.0
 * api.h: what the two halves of finediffusion.h share. */
#ifndef FDIT_API_API_H
#define FDIT_API_API_H

#include "core/option_table.h"
#include "device/device.h"

/* A caller's struct of options, which begins with its size, into `own`, which holds the defaults: fields
 * that an older struct lacks keep them, fields that a newer one has must be zero. FDIT_ERROR_ARGUMENT for a
 * size that was not set, FDIT_ERROR_UNSUPPORTED for a field that this version does not have; `what` begins
 * the message. */
enum fdit_status fdit_api_options(fdit_context *ctx, const char *what, const void *given, void *own,
                                  size_t own_size);

/* fdit_options_set where there is a text; NULL leaves the option as it is. */
enum fdit_status fdit_api_set(fdit_context *ctx, const struct fdit_option *table, void *args,
                              const char *name, const char *text);

/* Whether all devices can keep weights in `storage` and compute in one precision:
 * FDIT_ERROR_UNSUPPORTED, FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_api_check_devices(fdit_context *ctx, const struct fdit_devices *set,
                                        enum fdit_dtype storage);
/* Opens the devices of `options` and checks them. Close with fdit_devices_close. */
enum fdit_status fdit_api_devices(fdit_context *ctx, const struct fdit_device_options *options,
                                  enum fdit_dtype storage, struct fdit_devices *out);

#endif
