/* SPDX-License-Identifier: Apache-2.0
 * drivers.c: the drivers that are installed, as the loaders find them.
 *
 *     OCL_ICD_VENDORS     a folder of .icd files instead of /etc/OpenCL/vendors; for the loader of
 * ocl-icd also one .icd file or a library OPENCL_VENDOR_PATH  the folder, for ocl-icd, where
 * OCL_ICD_VENDORS is not set OCL_ICD_FILENAMES   libraries with colons between, for Khronos'
 * loader, beside the folder
 *
 * An .icd file holds the name of a library, for dlopen. */
#define CL_TARGET_OPENCL_VERSION 120
#include "drivers.h"

#include "core/file.h"
#include "core/mem.h"

#include <CL/cl.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

extern char **environ;

static const char default_folder[] = "/etc/OpenCL/vendors";
enum { ICD_MOST = 4096 };

void fdit_drivers_free(struct driver *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fdit_free(list[i].name);
        fdit_free(list[i].icd);
        fdit_free(list[i].library);
        fdit_free(list[i].unread);
        fdit_free(list[i].identity);
        fdit_free(list[i].note);
    }
    fdit_free(list);
}

/* ocl-icd's and Khronos' loader read other variables. */
static bool loader_is_ocl_icd(void)
{
    return dlsym(RTLD_DEFAULT, "clGetICDLoaderInfoOCLICD") != NULL;
}

static enum fdit_status append(fdit_context *ctx, char **text, const char *more)
{
    enum fdit_status status = FDIT_OK;
    char *longer;
    TRY(fdit_strf(ctx, &longer, "%s%s", *text ? *text : "", more));
    fdit_free(*text);
    *text = longer;
out:
    return status;
}

enum fdit_status fdit_drivers_add_file(fdit_context *ctx, const char *path, char **text)
{
    enum fdit_status status = FDIT_OK;
    char *line = NULL;
    struct stat s;
    if (stat(path, &s) != 0)
        TRY(fdit_strf(ctx, &line, "%s missing\n", path));
    else
        TRY(fdit_strf(ctx, &line, "%s %llu %lld.%09ld %llu\n", path, (unsigned long long)s.st_size,
                      (long long)s.st_mtim.tv_sec, s.st_mtim.tv_nsec, (unsigned long long)s.st_ino));
    TRY(append(ctx, text, line));
out:
    fdit_free(line);
    return status;
}

/* ------------------------------------------------------------------------ the files of a driver */

/* The library's file where dlopen would most likely find it; what the look itself finds is kept
 * besides. */
static enum fdit_status add_library(fdit_context *ctx, const char *library, char **text)
{
    static const char *const folders[] = { "/usr/local/lib", "/lib64", "/usr/lib64", "/lib", "/usr/lib" };
    enum fdit_status status = FDIT_OK;
    const char *path = getenv("LD_LIBRARY_PATH");
    char *file = NULL;
    Dl_info loader;
    if (!*library || strchr(library, '/'))
        return *library ? fdit_drivers_add_file(ctx, library, text) : FDIT_OK;
    while (path && *path) {
        size_t n = strcspn(path, ":");
        fdit_free(file);
        TRY(fdit_strf(ctx, &file, "%.*s/%s", (int)n, path, library));
        if (n && fdit_is_file(file)) {
            TRY(fdit_drivers_add_file(ctx, file, text));
            goto out;
        }
        path += n + (path[n] == ':');
    }
    /* Drivers mostly lie beside their loader. */
    for (size_t i = 0; i < 1 + sizeof folders / sizeof *folders; i++) {
        fdit_free(file);
        file = NULL;
        if (i)
            TRY(fdit_strf(ctx, &file, "%s/%s", folders[i - 1], library));
        else if (dladdr((void *)(uintptr_t)clGetPlatformIDs, &loader) && loader.dli_fname)
            TRY(fdit_strf(ctx, &file, "%.*s/%s", (int)(fdit_path_base(loader.dli_fname) - loader.dli_fname),
                          loader.dli_fname, library));
        if (file && fdit_is_file(file)) {
            TRY(fdit_drivers_add_file(ctx, file, text));
            goto out;
        }
    }
    TRY(append(ctx, text, library));
    TRY(append(ctx, text, " somewhere\n"));
out:
    fdit_free(file);
    return status;
}

/* Makes the last of the list; icd may be NULL. */
static enum fdit_status add(fdit_context *ctx, struct driver **list, size_t *n, const char *icd,
                            const char *library)
{
    enum fdit_status status = FDIT_OK;
    size_t capacity = *n;
    TRY(fdit_grow(ctx, list, &capacity, *n + 1, sizeof **list));
    struct driver *d = &(*list)[(*n)++];
    *d = (struct driver){ 0 };
    TRY(fdit_strdup(ctx, fdit_path_base(icd ? icd : library), &d->name));
    if (icd)
        TRY(fdit_strdup(ctx, icd, &d->icd));
    TRY(fdit_strdup(ctx, library, &d->library));
    TRY(fdit_strdup(ctx, "", &d->note));
    if (icd)
        TRY(fdit_drivers_add_file(ctx, icd, &d->identity));
    TRY(append(ctx, &d->identity, library));
    TRY(append(ctx, &d->identity, "\n"));
    TRY(add_library(ctx, library, &d->identity));
out:
    return status;
}

static enum fdit_status add_icd(fdit_context *ctx, struct driver **list, size_t *n, const char *path)
{
    enum fdit_status status = FDIT_OK;
    uint8_t *text = NULL;
    char *why = NULL;
    size_t size = 0;
    /* One that cannot be read, or whose name is not a name, is not loaded by the loaders either. */
    status = fdit_is_file(path) ? fdit_file_read_all(ctx, path, ICD_MOST, &text, &size) : FDIT_ERROR_IO;
    if (status == FDIT_ERROR_MEMORY)
        goto out;
    if (status != FDIT_OK)
        text = NULL;
    char *line = (char *)text;
    if (line)
        line[strcspn(line, "\r\n")] = 0;
    if (status == FDIT_ERROR_IO && fdit_is_file(path))
        TRY(fdit_strdup(ctx, fdit_context_message(ctx), &why));
    TRY(add(ctx, list, n, path, line ? line : ""));
    (*list)[*n - 1].unread = why;
    why = NULL;
out:
    fdit_free(why);
    fdit_free(text);
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct driver *)a)->name, ((const struct driver *)b)->name);
}

static enum fdit_status add_folder(fdit_context *ctx, struct driver **list, size_t *n, const char *folder)
{
    enum fdit_status status = FDIT_OK;
    size_t first = *n;
    char *path = NULL;
    DIR *dir = opendir(folder);
    struct dirent *e;
    while (dir && (e = readdir(dir))) {
        size_t length = strlen(e->d_name);
        if (length < 5 || strcmp(e->d_name + length - 4, ".icd") != 0)
            continue;
        fdit_free(path);
        path = NULL;
        TRY(fdit_path_join(ctx, folder, e->d_name, &path));
        TRY(add_icd(ctx, list, n, path));
    }
    if (*n > first)
        qsort(*list + first, *n - first, sizeof **list, by_name);
out:
    fdit_free(path);
    if (dir)
        closedir(dir);
    return status;
}

enum fdit_status fdit_drivers_installed(fdit_context *ctx, struct driver **out, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    const char *where = getenv("OCL_ICD_VENDORS"), *other = getenv("OPENCL_VENDOR_PATH"),
               *names = getenv("OCL_ICD_FILENAMES");
    bool ocl_icd = loader_is_ocl_icd();
    struct driver *list = NULL;
    char *name = NULL;
    *out = NULL;
    *n = 0;
    while (!ocl_icd && names && *names) {
        size_t length = strcspn(names, ":");
        fdit_free(name);
        TRY(fdit_strndup(ctx, names, length, &name));
        if (length)
            TRY(add(ctx, &list, n, NULL, name));
        names += length + (names[length] == ':');
    }
    if (!where || !*where) {
        TRY(add_folder(ctx, &list, n, ocl_icd && other && *other ? other : default_folder));
    } else if (fdit_is_folder(where)) {
        TRY(add_folder(ctx, &list, n, where));
    } else if (ocl_icd && fdit_path_has_suffix(where, ".icd")) {
        fdit_free(name);
        name = NULL;
        if (strchr(where, '/'))
            TRY(fdit_strdup(ctx, where, &name));
        else
            TRY(fdit_path_join(ctx, other && *other ? other : default_folder, where, &name));
        if (fdit_is_file(name))
            TRY(add_icd(ctx, &list, n, name));
    } else if (ocl_icd) {
        TRY(add(ctx, &list, n, NULL, where));
    }
    if (!*n) { /* a loader that looks elsewhere, or a library that stands in for it */
        TRY(add(ctx, &list, n, NULL, ""));
        list->implied = true;
        fdit_free(list->name);
        list->name = NULL;
        TRY(fdit_strdup(ctx, "opencl", &list->name));
    }
    *out = list;
    list = NULL;
out:
    fdit_free(name);
    if (list)
        fdit_drivers_free(list, *n);
    if (status != FDIT_OK)
        *n = 0;
    return status;
}

/* ------------------------------------------------------------------------ surroundings */

/* FNV-1a over the text and its final zero, twice. */
struct hash {
    uint64_t a, b;
};

static void mix(struct hash *h, const char *text)
{
    do {
        h->a = (h->a ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
        h->b = (h->b ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    } while (*text++);
}

static void mix_place(struct hash *h, const char *path)
{
    char text[256];
    struct stat s;
    if (stat(path, &s) != 0)
        snprintf(text, sizeof text, "%s -", path);
    else
        snprintf(text, sizeof text, "%s %llx %llx %o %llx %d", path, (unsigned long long)s.st_dev,
                 (unsigned long long)s.st_ino, (unsigned)s.st_mode, (unsigned long long)s.st_rdev,
                 access(path, R_OK | W_OK));
    mix(h, text);
}

static void mix_names(struct hash *h, const char *folder, const char *prefix)
{
    /* The order of a folder is not fixed: names are added up. */
    uint64_t sum = 0;
    char text[32];
    DIR *dir = opendir(folder);
    struct dirent *e;
    while (dir && (e = readdir(dir)))
        if (strncmp(e->d_name, prefix, strlen(prefix)) == 0) {
            struct hash one = { 1, 2 };
            mix(&one, e->d_name);
            sum += one.a;
        }
    if (dir)
        closedir(dir);
    snprintf(text, sizeof text, "%llx", (unsigned long long)sum);
    mix(h, text);
}

static void mix_file(struct hash *h, const char *path)
{
    char text[256] = "";
    const int fd = fdit_regular_open(path, O_RDONLY);
    if (fd >= 0 && read(fd, text, sizeof text - 1) < 0)
        text[0] = 0;
    if (fd >= 0)
        close(fd);
    mix(h, text);
}

static void mix_environment(struct hash *h)
{
    static const char *const prefixes[] = {
        "AMD_",     "CL_",     "CLVK_",   "CUDA_",   "FDIT_CL_",  "GALLIUM_", "GPU_",  "HIP_",
        "HOME=",    "HSA_",    "INTEL",   "IGC_",    "LD_",       "LIBGL_",   "LP_",   "MESA_",
        "NEO",      "NVIDIA_", "OCL_",    "ONEAPI_", "OPENCL_",   "POCL_",    "RADV_", "ROCR_",
        "RUSTICL_", "SYCL_",   "TMPDIR=", "VK_",     "XDG_CACHE", "ZE_",
    };
    uint64_t sum = 0;
    char text[32];
    for (char **e = environ; e && *e; e++)
        for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
            if (strncmp(*e, prefixes[i], strlen(prefixes[i])) == 0) {
                struct hash one = { 3, 4 };
                mix(&one, *e);
                sum += one.a;
                break;
            }
    snprintf(text, sizeof text, "%llx", (unsigned long long)sum);
    mix(h, text);
}

enum fdit_status fdit_drivers_surroundings(fdit_context *ctx, char **out)
{
    static const char *const places[] = { "/",
                                          "/sys",
                                          "/sys/devices/system/cpu",
                                          "/sys/class/drm",
                                          "/proc",
                                          "/proc/cpuinfo",
                                          "/proc/self/ns/mnt",
                                          "/dev",
                                          "/dev/shm",
                                          "/dev/dri",
                                          "/dev/kfd",
                                          "/dev/nvidiactl",
                                          "/dev/dxg",
                                          "/tmp" };
    static const int limits[] = {
        RLIMIT_AS,      RLIMIT_DATA, RLIMIT_STACK, RLIMIT_FSIZE, RLIMIT_NOFILE,
#ifdef RLIMIT_NPROC
        RLIMIT_NPROC,
#endif
#ifdef RLIMIT_MEMLOCK
        RLIMIT_MEMLOCK,
#endif
    };
    struct hash h = { UINT64_C(0xcbf29ce484222325), UINT64_C(0x9e3779b97f4a7c15) };
    struct utsname u;
    char text[128];
    if (uname(&u) == 0) {
        mix(&h, u.nodename);
        mix(&h, u.release);
        mix(&h, u.version);
    }
    snprintf(text, sizeof text, "%ld", (long)geteuid());
    mix(&h, text);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        mix_place(&h, places[i]);
    mix_names(&h, "/dev/dri", "");
    mix_names(&h, "/dev", "nvidia");
    mix_names(&h, "/dev", "mali");
    mix_names(&h, "/dev", "kgsl");
    mix_file(&h, "/sys/module/nvidia/version");
    mix_file(&h, "/sys/module/amdgpu/version");
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rlimit r = { 0, 0 };
        getrlimit(limits[i], &r);
        snprintf(text, sizeof text, "%llx", (unsigned long long)r.rlim_cur);
        mix(&h, text);
    }
    mix_environment(&h);
    return fdit_strf(ctx, out, "%016llx%016llx", (unsigned long long)h.a, (unsigned long long)h.b);
}
