/* SPDX-License-Identifier: Apache-2.0
 * programs.c: which programs there are, and building them. */
#include "cache.h"
#include "guard.h"
#include "state.h"

#include "core/mem.h"

#include <stdio.h>
#include <string.h>

#define KERNEL_NAME(name, text) text,
#define PROGRAM_ROW(name, file, list) [PROGRAM_##name] = { file, { list(KERNEL_NAME) } },
static const struct {
    const char *source;
    const char *kernels[PROGRAM_KERNELS];
} programs[PROGRAM_COUNT] = { OPENCL_PROGRAMS(PROGRAM_ROW) };

/* On a processor the work-items of a group are the lanes of its vectors, and every barrier costs a
 * pass over them: programs that reduce along a row use few. picture.cl is written for 256. */
int fdit_opencl_group(const struct opencl *cl, enum program which)
{
    bool along_rows = which == PROGRAM_NORM || which == PROGRAM_QUANTISE || which == PROGRAM_REDUCE ||
                      which == PROGRAM_DIFFUSION;
    if (which == PROGRAM_PICTURE)
        return GROUP;
    return cl->is_cpu && along_rows && !cl->no_registers ? 16 : cl->group;
}

static const char *source_of(const char *name)
{
    for (const struct cl_source *s = fdit_cl_sources; s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s->text;
    return NULL;
}

enum { LOG_MOST = 1 << 24 };

/* "linear.cl -DB_ROWS: BUILD LOG", shortened to one line that fits a message. */
static enum fdit_status build_failed(fdit_context *ctx, struct opencl *cl, cl_program program, cl_int error,
                                     const char *what)
{
    enum fdit_status status = FDIT_OK;
    char *log = NULL;
    size_t bytes = 0;
    if (clGetProgramBuildInfo(program, cl->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes) || bytes > LOG_MOST)
        bytes = 0;
    TRY(fdit_alloc(ctx, bytes + 1, 1, &log));
    if (bytes)
        clGetProgramBuildInfo(program, cl->device, CL_PROGRAM_BUILD_LOG, bytes, log, NULL);
    for (char *c = log; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    fdit_free(cl->build_log);
    cl->build_log = NULL;
    TRY(fdit_strdup(ctx, log, &cl->build_log));
    FAIL(ctx, FDIT_ERROR_DEVICE, "opencl, %s: its compiler refuses %s: %s (%d): %.600s", cl->label, what,
         fdit_opencl_error_name(error), (int)error, *log ? log : "its log is empty");
out:
    fdit_free(log);
    return status;
}

static enum fdit_status build(fdit_context *ctx, struct opencl *cl, const char *source, const char *options,
                              int group, cl_program *out, const char *what)
{
    const char *parts[2] = { source_of("prelude.cl"), source_of(source) };
    enum fdit_status status = FDIT_OK;
    char all[VARIANT_OPTIONS + 160], simd[16] = "";
    cl_int error;
    if (cl->simd)
        snprintf(simd, sizeof simd, "-DSIMD=%d ", cl->simd);
    /* Drivers without the first option compile as 1.2 anyway. */
    for (int attempt = 0; attempt < 2; attempt++) {
        snprintf(all, sizeof all, "%s%s-DGROUP=%d %s%s%s", attempt ? "" : "-cl-std=CL1.2 ",
                 cl->quirks.options, group, cl->is_cpu ? "-DON_CPU=1 " : "", simd, options);
        struct cache_key key = fdit_opencl_cache_key(cl, parts, all);
        *out = fdit_opencl_cache_load(cl, key, all);
        if (*out)
            return FDIT_OK;
        *out = clCreateProgramWithSource(cl->context, 2, parts, NULL, &error);
        TRY(fdit_opencl_status(ctx, cl, error, "clCreateProgramWithSource", what));
        error = clBuildProgram(*out, 1, &cl->device, all, NULL, NULL);
        if (error == CL_SUCCESS) {
            fdit_opencl_cache_store(cl, key, *out);
            return FDIT_OK;
        }
        if (error != CL_INVALID_BUILD_OPTIONS || attempt)
            break;
        clReleaseProgram(*out);
        *out = NULL;
    }
    status = build_failed(ctx, cl, *out, error, what);
out:
    return status;
}

/* A driver may find at build time that a group of the size we ask for does not fit. */
static enum fdit_status check_kernel(fdit_context *ctx, struct opencl *cl, cl_kernel kernel, const char *what)
{
    enum fdit_status status = FDIT_OK;
    size_t items = 0;
    cl_ulong local = 0;
    TRY(fdit_opencl_status(
        ctx, cl,
        clGetKernelWorkGroupInfo(kernel, cl->device, CL_KERNEL_WORK_GROUP_SIZE, sizeof items, &items, NULL),
        "clGetKernelWorkGroupInfo", what));
    TRY(fdit_opencl_status(
        ctx, cl,
        clGetKernelWorkGroupInfo(kernel, cl->device, CL_KERNEL_LOCAL_MEM_SIZE, sizeof local, &local, NULL),
        "clGetKernelWorkGroupInfo", what));
    if (!cl->quirks.misreports_kernels && (items < GROUP || local > cl->local_bytes))
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "opencl, %s: kernel %s needs groups of %d and %llu bytes of "
             "local memory; the device allows %zu and %zu; use another device",
             cl->label, what, GROUP, (unsigned long long)local, items, cl->local_bytes);
out:
    return status;
}

static enum fdit_status make(fdit_context *ctx, struct opencl *cl, const char *source, const char *options,
                             int group, const char *const *kernels, struct program_state *p)
{
    enum fdit_status status = FDIT_OK;
    char what[VARIANT_OPTIONS + 64];
    struct guard guard;
    cl_int error;
    fdit_guard_begin(&guard);
    snprintf(what, sizeof what, "%s %s", source, options);
    TRY(build(ctx, cl, source, options, group, &p->program, what));
    for (int k = 0; k < PROGRAM_KERNELS && kernels[k]; k++) {
        p->kernels[k] = clCreateKernel(p->program, kernels[k], &error);
        TRY(fdit_opencl_status(ctx, cl, error, "clCreateKernel", kernels[k]));
        TRY(check_kernel(ctx, cl, p->kernels[k], kernels[k]));
    }
out:
    fdit_guard_end(&guard);
    return status;
}

bool fdit_opencl_program_need(fdit_device *dev, enum program which)
{
    struct opencl *cl = opencl_of(dev);
    if (cl->programs[which].program || dev->status != FDIT_OK)
        return dev->status == FDIT_OK;
    enum fdit_status status = make(cl->ctx, cl, programs[which].source, "", fdit_opencl_group(cl, which),
                                   programs[which].kernels, &cl->programs[which]);
    if (status != FDIT_OK)
        fdit_device_fail(dev, status, "%s", fdit_context_message(cl->ctx));
    return status == FDIT_OK;
}

const char *fdit_opencl_kernel_name(enum program which, int kernel)
{
    return programs[which].kernels[kernel];
}

static void program_free(struct program_state *p)
{
    for (int k = 0; k < PROGRAM_KERNELS; k++)
        if (p->kernels[k])
            clReleaseKernel(p->kernels[k]);
    if (p->program)
        clReleaseProgram(p->program);
}

static enum fdit_status add_variant(struct opencl *cl, const char *source, const char *kernel,
                                    const char *options)
{
    enum fdit_status status = FDIT_OK;
    struct variant *v = &cl->variants[cl->n_variants];
    const char *const kernels[PROGRAM_KERNELS] = { kernel };
    if (cl->n_variants == VARIANTS)
        FAIL(cl->ctx, FDIT_ERROR_UNSUPPORTED, "opencl, %s: more than %d builds of %s", cl->label, VARIANTS,
             source);
    snprintf(v->source, sizeof v->source, "%s", source);
    snprintf(v->kernel, sizeof v->kernel, "%s", kernel);
    snprintf(v->options, sizeof v->options, "%s", options);
    TRY(make(cl->ctx, cl, source, options, cl->group, kernels, &v->state));
    cl->n_variants++;
    return FDIT_OK;
out:
    program_free(&v->state);
    *v = (struct variant){ 0 };
    return status;
}

const struct program_state *fdit_opencl_variant(fdit_device *dev, const char *source, const char *kernel,
                                                const char *options)
{
    struct opencl *cl = opencl_of(dev);
    for (int i = 0; i < cl->n_variants; i++)
        if (strcmp(cl->variants[i].options, options) == 0 && strcmp(cl->variants[i].kernel, kernel) == 0 &&
            strcmp(cl->variants[i].source, source) == 0)
            return &cl->variants[i].state;
    if (dev->status != FDIT_OK)
        return NULL;
    enum fdit_status status = add_variant(cl, source, kernel, options);
    if (status != FDIT_OK) {
        fdit_device_fail(dev, status, "%s", fdit_context_message(cl->ctx));
        return NULL;
    }
    return &cl->variants[cl->n_variants - 1].state;
}

void fdit_opencl_variants_trim(struct opencl *cl, int n)
{
    while (cl->n_variants > n) {
        struct variant *v = &cl->variants[--cl->n_variants];
        program_free(&v->state);
        *v = (struct variant){ 0 };
    }
}

void fdit_opencl_programs_free(struct opencl *cl)
{
    for (int i = 0; i < PROGRAM_COUNT; i++)
        program_free(&cl->programs[i]);
    fdit_opencl_variants_trim(cl, 0);
}
