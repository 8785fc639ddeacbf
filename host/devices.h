/* SPDX-License-Identifier: Apache-2.0
 * devices.h: the only place that lists the back ends. */
#ifndef FDIT_HOST_DEVICES_H
#define FDIT_HOST_DEVICES_H

#include "device/device.h"

struct fdit_device_ops; /* device/backend.h */

extern const struct fdit_device_ops fdit_ref_ops; /* host/ref/ref.c */
extern const struct fdit_device_ops fdit_cpu_ops; /* host/cpu/cpu.c */
/* What FINEDIFFUSION_ISA and FINEDIFFUSION_GEMM ask for, where they are set: refused by their names. */
enum fdit_status fdit_cpu_environment(fdit_context *ctx);

/* Opens the device that `options->spec` names: "cpu", "ref", "gpu" (the best), "opencl:P:D", part of a name;
 * NULL: FINEDIFFUSION_DEVICE, else the best GPU, else cpu. Several with commas between: a set of them.
 * What a driver computes is tried first (fdit_cases_quick): a device that computes wrongly is refused by
 * name when it was asked for, and passed over when it was not. An unknown, ambiguous or unusable name fails
 * with what there is. */
enum fdit_status fdit_devices_open(fdit_context *ctx, const struct fdit_device_options *options,
                                   struct fdit_devices *out);
/* The same where one device is wanted: FDIT_ERROR_ARGUMENT when several are named. */
enum fdit_status fdit_devices_open_one(fdit_context *ctx, const struct fdit_device_options *options,
                                       fdit_device **out);

/* One line of `finediffusion devices`. Strings are owned by the entry. */
struct fdit_device_entry {
    char *spec; /* what to type for --device */
    struct fdit_device_info info;
    char *note;  /* instruction set, GEMM provider, or why it cannot be used */
    char *bus;   /* where the card sits, "0000:01:00.0"; NULL: not known */
    char *said;  /* what its driver printed while it was tried out; NULL or "": nothing */
    int same_as; /* an earlier entry that is the same card under another driver; -1: none */
    bool usable;
    bool built_in;  /* no driver stands between: FDIT_ERROR_IO means a file of the system, not the device */
    bool reference; /* computes the formulas in double, slowly: to compare with, shown only when asked for */
    bool fallback;  /* works everywhere: the default where no GPU can be used */
    bool is_driver; /* no device but a driver, about which `note` says something; never usable */
    bool fine;      /* a driver that is used all the same */
    bool fresh;     /* a driver that was looked at just now */
};
enum fdit_status fdit_devices_list(fdit_context *ctx, struct fdit_device_entry **out, size_t *n);
void fdit_devices_list_free(struct fdit_device_entry *entries, size_t n);
/* Opens the entry's device without computing anything, in the given way (NULL: as usual). A driver
 * is tried out in another process first, where there is one for that (fdit_context.helper): what
 * ruins that process fails here with FDIT_ERROR_UNSUPPORTED, and entry->note says why. */
enum fdit_status fdit_devices_open_entry(fdit_context *ctx, struct fdit_device_entry *entry,
                                         const struct fdit_device_options *options, fdit_device **out);
/* Which entries the default is: what FINEDIFFUSION_DEVICE names, else the best GPU for which
 * works[i], else cpu. is_default [n]. FDIT_ERROR_ARGUMENT: the variable names none of them, or too
 * many. */
enum fdit_status fdit_devices_default(fdit_context *ctx, const struct fdit_device_entry *entries,
                                      const bool *works, size_t n, bool *is_default);
/* The process that looks at drivers: called by main when its first argument is --helper, with what follows.
 * Returns the exit status. */
int fdit_devices_helper(int argc, char **argv);
/* FDIT_ERROR_ARGUMENT or _UNSUPPORTED where a variable of the environment chooses kernels that this build or
 * processor does not have: told before anything is done, and not as a device that is missing. */
enum fdit_status fdit_devices_environment(fdit_context *ctx);
/* For the handler of a signal that ends the program (SIGSEGV, SIGABRT, ...): later processes leave the
 * devices alone that are open now and whose drivers are somebody else's, and say why. */
void fdit_devices_crashed(int number);
enum fdit_status fdit_devices_selftest(fdit_context *ctx, fdit_device *dev, const char *spec);

#endif
