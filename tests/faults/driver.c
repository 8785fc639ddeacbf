/* SPDX-License-Identifier: Apache-2.0
 * driver.c: an OpenCL driver that misbehaves on demand, over a real one (FDIT_CL_REAL, a library),
 * or over none:
 *
 *     FDIT_CL_DRIVER="WHERE:WHAT"
 *     WHERE  load, platforms, devices, build, run, end (when the program ends), late (the kernel behind
 *            FDIT_LATE others: a name that is not among what verdicts depend on); unit-build, unit-run:
 *            the kernel for matrix units is built, runs; heads-build, heads-run: that for attention by them
 *     WHAT   abort, segv, exit, hang, print (and goes on), print-on (to standard output, without an
 *            end), child (leaves a process behind that keeps its output open, and aborts), fork (the same
 *            without the abort), thread (one that aborts after half a second), exit-well (status 0),
 *            close (descriptors 0 to 2), change (folder, permissions, locale, signals, how numbers are
 *            rounded), alarm (in 50 ms), big (10 GiB of addresses), many (2^31 platforms, 2^20 devices),
 *            wrong (unit-build, heads-build: what is built computes something else)
 *
 *     FDIT_CL_LIE="WHAT=VALUE"       what it says of its device, or of its platform
 *     WHAT   type, units, items, buffer, memory, local, align, vector, version, name, driver, platform
 *     VALUE  a number, or for the last four a text; @4096: so many letters; @raw: bytes that are not text;
 *            @size: it claims to have 2^63 bytes; @open: without its end; @nothing: of no bytes at all
 *
 * "build" and "run" need a real driver: their entries in its table of functions are replaced. */
#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl_icd.h>

#include <dlfcn.h>
#include <fenv.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

static void *abort_later(void *unused)
{
    usleep(500000);
    abort();
    return unused;
}

/* What goes on as if nothing were. */
static void spoil(const char *what)
{
    pthread_t thread;
    sigset_t all;
    if (!strcmp(what, "thread"))
        pthread_create(&thread, NULL, abort_later, NULL);
    if (!strcmp(what, "big") && !malloc((size_t)10 << 30))
        abort();
    if (!strcmp(what, "alarm"))
        setitimer(ITIMER_REAL, &(struct itimerval){ .it_value.tv_usec = 50000 }, NULL);
    for (int fd = 0; fd < 3 && !strcmp(what, "close"); fd++)
        close(fd);
    if (strcmp(what, "change"))
        return;
    umask(0777);
    if (chdir("/") || !setlocale(LC_ALL, "C.UTF-8"))
        abort();
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    fesetround(FE_UPWARD);
#ifdef __SSE__
    _mm_setcsr(_mm_getcsr() | 0x8040); /* numbers near zero become zero */
#endif
}

static bool is_fault(const char *fault)
{
    const char *now = getenv("FDIT_CL_DRIVER");
    return now && !strcmp(now, fault);
}

static void misbehave(const char *where)
{
    const char *fault = getenv("FDIT_CL_DRIVER");
    size_t n = strlen(where);
    if (!fault || strncmp(fault, where, n) != 0 || fault[n] != ':')
        return;
    const char *what = fault + n + 1;
    if (!strcmp(what, "child") && fork() == 0)
        for (;;)
            pause();
    if (!strcmp(what, "abort") || !strcmp(what, "child"))
        abort();
    /* the compiler's handler has been seen to swallow it */
    if (!strncmp(where, "unit-", 5) || !strncmp(where, "heads-", 6))
        signal(SIGSEGV, SIG_DFL);
    if (!strcmp(what, "segv"))
        raise(SIGSEGV);
    if (!strcmp(what, "exit"))
        _exit(7);
    if (!strcmp(what, "exit-well"))
        _exit(0);
    if (!strcmp(what, "fork") && fork() == 0)
        for (;;)
            pause();
    spoil(what);
    if (!strcmp(what, "hang"))
        for (;;)
            pause();
    if (!strcmp(what, "print"))
        printf("driver: a word at %s\n", where);
    while (!strcmp(what, "print-on"))
        printf("driver: %s %s %s %s\n", where, where, where, where);
}

__attribute__((constructor)) static void begin(void)
{
    misbehave("load");
}

__attribute__((destructor)) static void end(void)
{
    misbehave("end");
}

/* A platform, as every object, has its driver's table of functions as its first member. */
struct platform {
    struct _cl_icd_dispatch *functions;
};

static cl_int (*real_devices)(cl_platform_id, cl_device_type, cl_uint, cl_device_id *, cl_uint *);
static cl_int (*real_build)(cl_program, cl_uint, const cl_device_id *, const char *,
                            void(CL_CALLBACK *)(cl_program, void *), void *);
static cl_int (*real_run)(cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *,
                          const size_t *, cl_uint, const cl_event *, cl_event *);

static cl_int devices(cl_platform_id p, cl_device_type type, cl_uint n, cl_device_id *list, cl_uint *found)
{
    misbehave("devices");
    cl_int error = real_devices(p, type, n, list, found);
    if (error == CL_SUCCESS && found && is_fault("devices:many"))
        *found = 1 << 20;
    return error;
}

static cl_int build(cl_program program, cl_uint n, const cl_device_id *list, const char *options,
                    void(CL_CALLBACK *notify)(cl_program, void *), void *user)
{
    char more[2048];
    const char *fault = getenv("FDIT_CL_DRIVER");
    misbehave("build");
    if (options && strstr(options, "-DUNIT=")) {
        misbehave("unit-build");
        if (fault && strcmp(fault, "unit-build:wrong") == 0) { /* a GELU follows */
            snprintf(more, sizeof more, "%s -DACT=1", options);
            options = more;
        }
    }
    if (options && strstr(options, "-DUNIT=") && strstr(options, "-DHEAD=")) {
        misbehave("heads-build");
        if (fault && strcmp(fault, "heads-build:wrong") == 0) { /* for heads of another size */
            snprintf(more, sizeof more, "%s", options);
            strstr(more, "-DHEAD=")[7] = '5';
            options = more;
        }
    }
    return real_build(program, n, list, options, notify, user);
}

static cl_int run(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t *offset,
                  const size_t *global, const size_t *local, cl_uint n, const cl_event *wait, cl_event *event)
{
    const char *most = getenv("FDIT_LATE");
    static long kernels;
    char name[64] = "";
    misbehave("run");
    ((struct platform *)kernel)
        ->functions->clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name, name, NULL);
    if (strcmp(name, "linear_matrix") == 0)
        misbehave("unit-run");
    if (strcmp(name, "attention_matrix") == 0)
        misbehave("heads-run");
    if (most && kernels++ >= atol(most))
        misbehave("late");
    return real_run(queue, kernel, dimensions, offset, global, local, n, wait, event);
}

static cl_int (*real_device_info)(cl_device_id, cl_device_info, size_t, void *, size_t *);
static cl_int (*real_platform_info)(cl_platform_id, cl_platform_info, size_t, void *, size_t *);

/* The value of the lie about `what`, or NULL. */
static const char *lie_about(cl_uint what, int platform, size_t *width)
{
    static const struct {
        const char *name;
        cl_uint what;
        size_t width; /* 0: a text */
    } lies[] = { { "type", CL_DEVICE_TYPE, 8 },
                 { "units", CL_DEVICE_MAX_COMPUTE_UNITS, 4 },
                 { "items", CL_DEVICE_MAX_WORK_GROUP_SIZE, 8 },
                 { "buffer", CL_DEVICE_MAX_MEM_ALLOC_SIZE, 8 },
                 { "memory", CL_DEVICE_GLOBAL_MEM_SIZE, 8 },
                 { "local", CL_DEVICE_LOCAL_MEM_SIZE, 8 },
                 { "align", CL_DEVICE_MEM_BASE_ADDR_ALIGN, 4 },
                 { "vector", CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, 4 },
                 { "version", CL_DEVICE_VERSION, 0 },
                 { "name", CL_DEVICE_NAME, 0 },
                 { "driver", CL_DRIVER_VERSION, 0 },
                 { "platform", CL_PLATFORM_NAME, 0 } };
    const char *lie = getenv("FDIT_CL_LIE");
    for (size_t i = 0; lie && i < sizeof lies / sizeof *lies; i++) {
        size_t n = strlen(lies[i].name);
        if (lies[i].what == what && (what == CL_PLATFORM_NAME) == platform &&
            strncmp(lie, lies[i].name, n) == 0 && lie[n] == '=') {
            *width = lies[i].width;
            return lie + n + 1;
        }
    }
    return NULL;
}

static cl_int tell(const char *lie, size_t width, size_t n, void *value, size_t *bytes)
{
    char text[8192] = "";
    cl_ulong number = strtoull(lie, NULL, 0);
    const void *from = &number;
    if (!width) {
        int letters = 0;
        if (strcmp(lie, "@raw") == 0)
            strcpy(text, "a\033[31m\xff\xc3\n\tb\xe2\x80\xae"
                         "c");
        else if (sscanf(lie, "@%d", &letters) == 1)
            memset(text, 'x', (size_t)letters);
        else if (strcmp(lie, "@open") == 0)
            memset(text, 'x', 64);
        else if (strcmp(lie, "@size") != 0)
            snprintf(text, sizeof text, "%s", lie);
        from = text;
        width = strlen(text) + (strcmp(lie, "@open") != 0);
        width = strcmp(lie, "@nothing") == 0 ? 0 : width;
        if (strcmp(lie, "@size") == 0 && !value) {
            *bytes = (size_t)1 << 63;
            return CL_SUCCESS;
        }
    }
    if (value && n < width)
        return CL_INVALID_VALUE;
    if (value)
        memcpy(value, from, width);
    if (bytes)
        *bytes = width;
    return CL_SUCCESS;
}

static cl_int device_info(cl_device_id d, cl_device_info what, size_t n, void *value, size_t *bytes)
{
    size_t width;
    const char *lie = lie_about(what, 0, &width);
    return lie ? tell(lie, width, n, value, bytes) : real_device_info(d, what, n, value, bytes);
}

static cl_int platform_info(cl_platform_id p, cl_platform_info what, size_t n, void *value, size_t *bytes)
{
    size_t width;
    const char *lie = lie_about(what, 1, &width);
    return lie ? tell(lie, width, n, value, bytes) : real_platform_info(p, what, n, value, bytes);
}

static void *real_function(const char *name)
{
    static void *library;
    const char *file = getenv("FDIT_CL_REAL");
    void *(*find)(const char *);
    if (!library && file)
        library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return NULL;
    void *symbol = dlsym(library, name);
    if (symbol)
        return symbol;
    symbol = dlsym(library, "clGetExtensionFunctionAddress");
    memcpy(&find, &symbol, sizeof find);
    return symbol ? find(name) : NULL;
}

static void replace(struct _cl_icd_dispatch *f)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)f / page * page;
    if (f->clBuildProgram == build ||
        mprotect((void *)from, (uintptr_t)(f + 1) - from, PROT_READ | PROT_WRITE) != 0)
        return;
    real_devices = f->clGetDeviceIDs;
    real_build = f->clBuildProgram;
    real_run = f->clEnqueueNDRangeKernel;
    real_device_info = f->clGetDeviceInfo;
    real_platform_info = f->clGetPlatformInfo;
    f->clGetDeviceInfo = device_info;
    f->clGetPlatformInfo = platform_info;
    f->clGetDeviceIDs = devices;
    f->clBuildProgram = build;
    f->clEnqueueNDRangeKernel = run;
}

__attribute__((visibility("default"))) cl_int clIcdGetPlatformIDsKHR(cl_uint n, cl_platform_id *list,
                                                                     cl_uint *found)
{
    void *symbol = real_function("clIcdGetPlatformIDsKHR");
    cl_int (*real)(cl_uint, cl_platform_id *, cl_uint *);
    cl_uint count = 0;
    misbehave("platforms");
    if (!symbol)
        return -1001; /* CL_PLATFORM_NOT_FOUND_KHR */
    memcpy(&real, &symbol, sizeof real);
    cl_int error = real(n, list, &count);
    for (cl_uint i = 0; error == CL_SUCCESS && list && i < count && i < n; i++)
        replace(((struct platform *)list[i])->functions);
    if (found)
        *found = is_fault("platforms:many") ? 1u << 31 : count;
    return error;
}

__attribute__((visibility("default"))) void *clGetExtensionFunctionAddress(const char *name)
{
    if (strcmp(name, "clIcdGetPlatformIDsKHR") == 0)
        return (void *)(uintptr_t)clIcdGetPlatformIDsKHR;
    return real_function(name);
}

__attribute__((visibility("default"))) cl_int clGetPlatformInfo(cl_platform_id p, cl_platform_info what,
                                                                size_t n, void *value, size_t *bytes)
{
    return p ? ((struct platform *)p)->functions->clGetPlatformInfo(p, what, n, value, bytes)
             : CL_INVALID_PLATFORM;
}
