/* SPDX-License-Identifier: Apache-2.0
 * cpu.c: opening and closing the CPU device, its memory, and the table of its ops. */
#include "cpu/cpu.h"

#include "core/limits.h"
#include "core/mem.h"
#include "core/pool.h"
#include "cpu/gemm.h"
#include "cpu/linear.h"
#include "cpu/op_kernels.h"
#include "cpu/ops.h"
#include "devices.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------- open and close */

static void cpu_close(fdit_device *dev)
{
    struct fdit_cpu *cpu = fdit_cpu_of(dev);
    if (!cpu)
        return;
    fdit_cpu_threads_stop(cpu);
    fdit_free(cpu->workspace);
    fdit_free(cpu);
    dev->state = NULL;
}

static enum fdit_status choose_kernels(fdit_context *ctx, struct fdit_cpu_isa_entry *isa,
                                       const struct fdit_cpu_gemm_provider **provider, bool *multiply_adds)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_cpu_isa_choose(ctx, getenv("FINEDIFFUSION_ISA"), isa));
    TRY(fdit_cpu_provider_choose(ctx, getenv("FINEDIFFUSION_GEMM"), provider, multiply_adds));
out:
    return status;
}

enum fdit_status fdit_cpu_environment(fdit_context *ctx)
{
    const char *isa = getenv("FINEDIFFUSION_ISA"), *gemm = getenv("FINEDIFFUSION_GEMM");
    const struct fdit_cpu_gemm_provider *provider;
    struct fdit_cpu_isa_entry entry;
    bool multiply_adds;
    return (isa && *isa) || (gemm && *gemm) ? choose_kernels(ctx, &entry, &provider, &multiply_adds)
                                            : FDIT_OK;
}

/* cpu->gemm_parts for the device's precision. A library that was chosen has products of f32 of its own. */
static enum fdit_status choose_parts(fdit_context *ctx, const fdit_device *dev,
                                     const struct fdit_cpu_isa_entry *isa, bool multiply_adds)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_cpu *cpu = fdit_cpu_of(dev);
    bool agree = false;
    if (dev->precision == FDIT_BF16X3)
        cpu->gemm_parts = isa->gemm_bf16x3;
    if (dev->precision != FDIT_F32 || !isa->gemm_f32_parts || multiply_adds || cpu->library)
        return FDIT_OK;
    TRY(fdit_cpu_parts_agree(ctx, cpu, isa->gemm_f32_parts, &agree));
    cpu->gemm_parts = agree ? isa->gemm_f32_parts : NULL;
out:
    return status;
}

static enum fdit_status cpu_open(fdit_context *ctx, const struct fdit_device_options *options,
                                 fdit_device *dev)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_cpu *cpu = NULL;
    struct fdit_cpu_isa_entry isa = { 0 };
    const struct fdit_cpu_gemm_provider *provider = NULL;
    char *name = NULL, gemm[64] = "own GEMM";
    bool multiply_adds = false;
    TRY(fdit_alloc(ctx, 1, sizeof *cpu, &cpu));
    dev->state = cpu;
    struct fdit_limits limits;
    TRY(fdit_limits_read(ctx, &(struct fdit_limits_source){ .affinity = fdit_cpu_openmp_processors() },
                         &limits));
    const int most = FDIT_POOL_MOST_MEMBERS, usual = limits.threads < most ? limits.threads : most;
    cpu->threads = options->threads > 0 ? options->threads : usual;
    TRY(fdit_cpu_threads_start(ctx, cpu, limits.processors));
    TRY(choose_kernels(ctx, &isa, &provider, &multiply_adds));
    cpu->isa = isa.name;
    cpu->gemm = isa.gemm;
    cpu->op = isa.op;
    cpu->has_bf16 = isa.gemm_bf16 != NULL;
    cpu->attention = isa.op->attention;
    cpu->has_int8 = isa.gemm_int8 != NULL;
    cpu->has_bf16x3 = isa.gemm_bf16x3 != NULL;
    if (options->fastest && isa.fast_bf16)
        dev->precision = FDIT_BF16;
    if ((dev->precision == FDIT_BF16 || dev->precision == FDIT_I8) && isa.gemm_bf16) {
        cpu->gemm = isa.gemm_bf16;
        cpu->attention = isa.attention_bf16;
    }
    if (dev->precision == FDIT_I8)
        cpu->gemm_int8 = isa.gemm_int8;
    if (provider) {
        cpu->provider = provider->id;
        cpu->library = provider;
        provider->open();
        provider->version(gemm, sizeof gemm);
    }
    TRY(choose_parts(ctx, dev, &isa, multiply_adds));
    TRY(fdit_cpu_name(ctx, "/proc/cpuinfo", &name));
    TRY(fdit_strf(ctx, &dev->info.name, "%s, %d thread%s", name, cpu->threads, cpu->threads == 1 ? "" : "s"));
    TRY(fdit_strf(ctx, &dev->info.driver, "%s, %s", isa.name, gemm));
    dev->info.memory = limits.memory;
    dev->info.machine_memory = limits.machine_memory;
    dev->info.machine_processors = limits.machine_processors;
    memcpy(dev->info.memory_by, limits.memory_by, sizeof dev->info.memory_by);
    if (options->threads <= 0)
        memcpy(dev->info.threads_by, limits.threads_by, sizeof dev->info.threads_by);
    dev->info.max_buffer = dev->info.memory;
    dev->info.threads = cpu->threads;
    dev->info.is_gpu = false;
out:
    fdit_free(name);
    if (status != FDIT_OK)
        cpu_close(dev);
    return status;
}

/* ------------------------------------------------------------------------------------- memory */

/* Zeroed by writing, so every page is there when this returns. */
static enum fdit_status cpu_buffer_new(fdit_context *ctx, fdit_device *dev, size_t bytes, void **handle)
{
    (void)dev;
    return fdit_alloc_pages(ctx, bytes, 1, handle);
}

static void cpu_buffer_free(fdit_device *dev, void *handle)
{
    (void)dev;
    fdit_free(handle);
}

static void cpu_write(fdit_device *dev, fdit_buffer *to, size_t byte_offset, const void *host, size_t bytes)
{
    (void)dev;
    memcpy((char *)to->handle + byte_offset, host, bytes);
}

static void cpu_read(fdit_device *dev, const fdit_buffer *from, size_t byte_offset, void *host, size_t bytes)
{
    (void)dev;
    memcpy(host, (const char *)from->handle + byte_offset, bytes);
}

static void cpu_sync(fdit_device *dev)
{
    (void)dev;
}

static bool cpu_supports_precision(const fdit_device *dev, enum fdit_dtype precision)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    return precision == FDIT_F32 || (precision == FDIT_BF16 && cpu->has_bf16) ||
           (precision == FDIT_I8 && cpu->has_int8) || (precision == FDIT_BF16X3 && cpu->has_bf16x3);
}

static enum fdit_status cpu_engine(fdit_context *ctx, fdit_device *dev, enum fdit_dtype precision, char **out,
                                   char **refused)
{
    (void)refused;
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    char library[64];
    const int parts = precision == FDIT_BF16X3 ? 2 : cpu->gemm_parts ? cpu->gemm_parts->parts : 0;
    if (parts && (precision == FDIT_F32 || precision == FDIT_BF16X3))
        return fdit_strf(ctx, out, "matrix unit %s, in %d products of parts of bf16", cpu->isa,
                         parts == 3 ? 6 : 3);
    if (precision != FDIT_F32)
        return fdit_strf(ctx, out, "%s %s", strcmp(cpu->isa, "amx") ? "dot products of" : "matrix unit",
                         cpu->isa);
    if (!cpu->library)
        return fdit_strf(ctx, out, "multiply-adds of %s", cpu->isa);
    cpu->library->version(library, sizeof library);
    return fdit_strdup(ctx, library, out);
}

static size_t cpu_workspace_bytes(fdit_device *dev, const struct fdit_op_shape *shape)
{
    return fdit_cpu_op_workspace(fdit_cpu_of(dev), shape);
}

static enum fdit_status cpu_reserve(fdit_context *ctx, fdit_device *dev, size_t bytes)
{
    struct fdit_cpu *cpu = fdit_cpu_of(dev);
    if (bytes <= cpu->workspace_bytes)
        return FDIT_OK;
    fdit_free(cpu->workspace);
    cpu->workspace = NULL;
    cpu->workspace_bytes = 0;
    enum fdit_status status = fdit_alloc_pages(ctx, bytes, 1, &cpu->workspace);
    if (status == FDIT_OK)
        cpu->workspace_bytes = bytes;
    return status;
}

const struct fdit_device_ops fdit_cpu_ops = {
    .version = FDIT_BACKEND_VERSION,
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .buffer_new = cpu_buffer_new,
    .buffer_free = cpu_buffer_free,
    .write = cpu_write,
    .read = cpu_read,
    .fill = fdit_cpu_fill,
    .copy = fdit_cpu_copy,
    .sync = cpu_sync,
    .peak = fdit_cpu_peak,
    .weight_bytes = fdit_cpu_weight_bytes,
    .weight_new = fdit_cpu_weight_new,
    .weight_free = fdit_cpu_weight_free,
    .supports_storage = fdit_cpu_supports_storage,
    .supports_precision = cpu_supports_precision,
    .engine = cpu_engine,
    .workspace_bytes = cpu_workspace_bytes,
    .reserve = cpu_reserve,
#define OP(entry, ENUM, arguments) .entry = fdit_cpu_##entry,
#include "device/op_list.h"
    .fuses_low = fdit_cpu_fuses_low,
    .fuses_act = true,
    .fuses_gate = true,
    .fuses_add = true,
    .fuses_act_backward = true,
};
