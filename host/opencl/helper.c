/* SPDX-License-Identifier: Apache-2.0
 * helper.c: the other side of admit.c: what runs in the process that drivers may ruin. Lines to
 * descriptor 3:
 *
 *     finediffusion VERSION
 *     phase when it is loaded         (what comes next; the last one says where it ended)
 *     file PATH                       (of the library)
 *     platform                        (for each)
 *     gpu                             (for each)
 *     failed TEXT                     (found without a crash)
 *     result TEXT                     (of a trial of a matrix unit that was good)
 *     changes the current folder      (of the process, when it computes)
 *     end                             (what follows are the ends of drivers)
 *
 * Its exit status is HELPER_DONE. */
#include "drivers.h"
#include "gemm.h"
#include "guard.h"
#include "opencl.h"
#include "units.h"

#include "core/child.h"
#include "core/clock.h"
#include "core/mem.h"
#include "device/cases.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void say(const char *word, const char *text)
{
    char line[UNIT_NOTE + 64];
    int n = snprintf(line, sizeof line - 1, "%s%s%s", word, *text ? " " : "", text);
    if (n >= (int)sizeof line - 1)
        n = (int)sizeof line - 2;
    for (int i = 0; i < n; i++)
        if (line[i] == '\n' || line[i] == '\r')
            line[i] = ' ';
    line[n++] = '\n';
    if (write(FDIT_CHILD_REPLY, line, (size_t)n) != n)
        _exit(1);
}

/* The loaders pass over a library that cannot be loaded; here its reason is wanted. */
static bool load_library(const char *library)
{
    struct link_map *map = NULL;
    void *handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
    if (!handle) {
        const char *why = dlerror();
        char text[1024];
        snprintf(text, sizeof text, "its library cannot be loaded: %s", why ? why : library);
        say("failed", text);
        return false;
    }
    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map && map->l_name && *map->l_name)
        say("file", map->l_name);
    return true;
}

static int look(fdit_context *ctx, const char *library)
{
    struct fdit_device_entry *entries = NULL;
    size_t n = 0;
    int platforms = 0;
    say("phase", "when it is loaded");
    if (library && !load_library(library))
        return 0;
    say("phase", "when its platforms are asked for");
    enum fdit_status status = fdit_opencl_count_platforms(ctx, &platforms);
    for (int i = 0; i < platforms; i++)
        say("platform", "");
    say("phase", "when its devices are asked for");
    if (status == FDIT_OK)
        status = fdit_opencl_list(ctx, false, &entries, &n);
    for (size_t i = 0; i < n; i++)
        if (entries[i].info.is_gpu)
            say("gpu", "");
    fdit_devices_list_free(entries, n);
    if (status != FDIT_OK)
        say("failed", fdit_context_message(ctx));
    return 0;
}

static int try_out(fdit_context *ctx, const char *spec)
{
    fdit_device *dev = NULL, *reference = NULL;
    struct guard guard;
    say("phase", "when it is opened");
    enum fdit_status status =
        fdit_device_open(ctx, &fdit_opencl_ops, &(struct fdit_device_options){ .spec = spec }, &dev);
    say("phase", "when it compiles and computes the self-test");
    if (status == FDIT_OK)
        status = fdit_device_open(ctx, &fdit_ref_ops, NULL, &reference);
    fdit_guard_begin(&guard);
    if (status == FDIT_OK)
        status = fdit_cases_quick(ctx, reference, dev, false);
    const char *changed = fdit_guard_changed(&guard); /* by kernels: compiling is guarded by itself */
    fdit_guard_end(&guard);
    if (changed)
        say("changes", changed);
    if (status != FDIT_OK)
        say("failed", fdit_context_message(ctx));
    say("phase", "when it is closed");
    fdit_device_close(reference);
    fdit_device_close(dev);
    return 0;
}

static void say_phase(const char *what)
{
    say("phase", what);
}

/* unit: "mma"; what: "products" or "attention" */
static int try_unit(fdit_context *ctx, const char *spec, const char *unit, const char *type, const char *what)
{
    const bool attention = strcmp(what, "attention") == 0;
    fdit_device *dev = NULL;
    struct gemm_config c;
    char text[64], out[UNIT_NOTE] = "";
    static const enum fdit_dtype types[UNIT_TYPES] = { FDIT_F32, FDIT_BF16X3, FDIT_F16, FDIT_I8, FDIT_BF16 };
    int at = 0;
    while (at < UNIT_TYPES - 1 && strcmp(type, fdit_dtype_name(types[at])) != 0)
        at++;
    const enum fdit_dtype operands = types[at];
    snprintf(text, sizeof text, "matrix %.40s", unit);
    if (!fdit_gemm_config_parse(text, &c))
        return 2;
    say_phase("when the device is opened");
    if (fdit_device_open(ctx, &fdit_opencl_ops, &(struct fdit_device_options){ .spec = spec }, &dev) !=
        FDIT_OK)
        say("failed", fdit_context_message(ctx));
    else if ((attention ? fdit_attention_trial : fdit_unit_trial)(ctx, dev, &c, operands, say_phase, out))
        say("result", out);
    else
        say("failed", out);
    say_phase("when the device is closed");
    fdit_device_close(dev);
    return 0;
}

/* Threads that a driver has begun may fail where nobody waits for them: they get a moment. */
static void watch_threads(void)
{
    static const double moment = 1.2; /* seconds */
    const double began = fdit_clock_seconds();
    struct stat threads;
    /* a folder for each thread, and two names of its own */
    while (stat("/proc/self/task", &threads) == 0 && threads.st_nlink > 3 &&
           fdit_clock_seconds() - began < moment)
        usleep(20000);
}

int fdit_opencl_helper(int argc, char **argv)
{
    fdit_context *ctx = fdit_context_new();
    int code = 2;
    fdit_child_begin(argc > 1 ? atoi(argv[1]) + 5 : 60);
    say("finediffusion", fdit_version());
    if (ctx && argc >= 2 && strcmp(argv[0], "drivers") == 0)
        code = look(ctx, argc > 2 ? argv[2] : NULL);
    else if (ctx && argc == 3 && strcmp(argv[0], "try") == 0)
        code = try_out(ctx, argv[2]);
    else if (ctx && argc == 6 && strcmp(argv[0], "unit") == 0)
        code = try_unit(ctx, argv[2], argv[3], argv[4], argv[5]);
    fdit_context_free(ctx);
    if (code)
        return code;
    say("phase", "a moment after it is loaded");
    watch_threads();
    say("end", "");
    return HELPER_DONE;
}
