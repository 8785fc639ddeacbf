/* SPDX-License-Identifier: Apache-2.0
 * cache.c: compiled programs on the disk.
 *
 * Folder  $FINEDIFFUSION_CACHE, else $XDG_CACHE_HOME/finediffusion, else ~/.cache/finediffusion; in
 *         it "opencl", made with mode 0700. FINEDIFFUSION_CACHE set to nothing: no cache. A folder
 *         of another user, or one that others may write, is not used: what lies in it runs on the
 *         device.
 *
 * Key     two 64-bit hashes over the format's version, source, options, and the names and versions
 *         of platform, device and driver. The name of a file is the key, 32 hex digits and ".bin".
 *
 * Layout  a head of five u64 of this machine: magic, key (2), bytes of the binary, their hash; then
 *         the binary as CL_PROGRAM_BINARIES gives it.
 *
 * Races   a file is written beside its place and renamed: a reader sees a whole file or none. Two
 *         that write the same key write the same program, and the last stays. Nothing is locked.
 *
 * Any failure is a miss: the program is then built from source, and the file replaced. A driver
 * with a cache of its own is left alone (quirks.c). */
#include "cache.h"

#include "core/file.h"
#include "core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const cl_ulong magic = UINT64_C(0x3130304c43544446); /* "FDTCL001": the version of the format */
static const size_t most_bytes = 64 << 20;

struct head {
    cl_ulong magic, a, b, bytes, hash;
};

/* FNV-1a with another start for the second half of a key. */
static cl_ulong hash(cl_ulong h, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

static const cl_ulong start = UINT64_C(0xcbf29ce484222325), other_start = UINT64_C(0x9e3779b97f4a7c15);

/* With its final zero, so that "ab", "c" is not "a", "bc". */
static void mix(struct cache_key *key, const char *text)
{
    key->a = hash(key->a, text, strlen(text) + 1);
    key->b = hash(key->b, text, strlen(text) + 1);
}

struct cache_key fdit_opencl_cache_key(const struct opencl *cl, const char *const parts[2],
                                       const char *options)
{
    static const cl_platform_info platform[] = { CL_PLATFORM_NAME, CL_PLATFORM_VERSION };
    static const cl_device_info device[] = { CL_DEVICE_NAME, CL_DEVICE_VENDOR, CL_DEVICE_VERSION,
                                             CL_DRIVER_VERSION };
    struct cache_key key = { hash(start, &magic, sizeof magic), hash(other_start, &magic, sizeof magic) };
    char text[1024];
    for (int i = 0; i < 2; i++)
        mix(&key, parts[i]);
    mix(&key, options);
    for (size_t i = 0; i < sizeof platform / sizeof *platform; i++)
        if (clGetPlatformInfo(cl->platform, platform[i], sizeof text, text, NULL) == CL_SUCCESS)
            mix(&key, text);
    for (size_t i = 0; i < sizeof device / sizeof *device; i++)
        if (clGetDeviceInfo(cl->device, device[i], sizeof text, text, NULL) == CL_SUCCESS)
            mix(&key, text);
    return key;
}

static enum fdit_status folder_of(char **out)
{
    const char *own = getenv("FINEDIFFUSION_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (own)
        return *own ? fdit_strf(NULL, out, "%s/opencl", own) : FDIT_ERROR_UNSUPPORTED;
    if (xdg && *xdg == '/') /* the XDG rule: one that is not absolute does not count */
        return fdit_strf(NULL, out, "%s/finediffusion/opencl", xdg);
    return home && *home ? fdit_strf(NULL, out, "%s/.cache/finediffusion/opencl", home)
                         : FDIT_ERROR_UNSUPPORTED;
}

enum fdit_status fdit_opencl_cache_path(struct cache_key key, bool make, const char *suffix, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL, *above = NULL;
    struct stat s;
    TRY(folder_of(&folder));
    if (make) {
        TRY(fdit_path_folder(NULL, folder, &above));
        TRY(fdit_mkdirs(NULL, above));
        mkdir(folder, 0700); /* one that is there is looked at next */
    }
    if (stat(folder, &s) != 0 || !S_ISDIR(s.st_mode) || s.st_uid != geteuid() || (s.st_mode & 022))
        status = FDIT_ERROR_IO;
    else
        status = fdit_strf(NULL, out, "%s/%016llx%016llx.%s", folder, (unsigned long long)key.a,
                           (unsigned long long)key.b, suffix);
out:
    fdit_free(folder);
    fdit_free(above);
    return status;
}

static cl_program program_from(struct opencl *cl, const unsigned char *binary, size_t bytes,
                               const char *options)
{
    cl_int taken = CL_SUCCESS, error = CL_SUCCESS;
    cl_program program =
        clCreateProgramWithBinary(cl->context, 1, &cl->device, &bytes, &binary, &taken, &error);
    if (error == CL_SUCCESS && taken == CL_SUCCESS &&
        clBuildProgram(program, 1, &cl->device, options, NULL, NULL) == CL_SUCCESS)
        return program;
    if (program)
        clReleaseProgram(program);
    return NULL;
}

cl_program fdit_opencl_cache_load(struct opencl *cl, struct cache_key key, const char *options)
{
    cl_program program = NULL;
    uint8_t *file = NULL;
    char *path = NULL;
    size_t size = 0;
    struct head head;
    if (cl->quirks.has_own_cache || fdit_opencl_cache_path(key, false, "bin", &path) != FDIT_OK ||
        !fdit_is_file(path) || fdit_file_read_all(NULL, path, most_bytes, &file, &size) != FDIT_OK ||
        size < sizeof head)
        goto out;
    memcpy(&head, file, sizeof head);
    if (head.magic == magic && head.a == key.a && head.b == key.b && head.bytes == size - sizeof head &&
        head.bytes > 0 && head.hash == hash(start, file + sizeof head, size - sizeof head))
        program = program_from(cl, file + sizeof head, size - sizeof head, options);
out:
    cl->cache_hits += program != NULL;
    fdit_free(file);
    fdit_free(path);
    return program;
}

void fdit_opencl_cache_store(struct opencl *cl, struct cache_key key, cl_program program)
{
    unsigned char *file = NULL, *binary;
    char *path = NULL;
    size_t bytes = 0;
    if (cl->quirks.has_own_cache ||
        clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL) != CL_SUCCESS ||
        bytes == 0 || bytes > most_bytes - sizeof(struct head) ||
        fdit_opencl_cache_path(key, true, "bin", &path) != FDIT_OK ||
        fdit_alloc(NULL, bytes + sizeof(struct head), 1, &file) != FDIT_OK)
        goto out;
    binary = file + sizeof(struct head);
    if (clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) != CL_SUCCESS)
        goto out;
    struct head head = { magic, key.a, key.b, bytes, hash(start, binary, bytes) };
    memcpy(file, &head, sizeof head);
    if (fdit_file_write(NULL, path, false, file, bytes + sizeof head) == FDIT_OK)
        cl->cache_stores++;
out:
    fdit_free(file);
    fdit_free(path);
}
