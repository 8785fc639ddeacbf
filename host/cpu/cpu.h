/* SPDX-License-Identifier: Apache-2.0
 * cpu.h: the CPU device: its state, and how kernels are built for several instruction sets.
 *
 * Two kinds of files
 * - Driver files (cpu.c, linear.c, ops_*.c) are compiled once, with the plain flags. They read the
 *   arguments of an op, split the work over threads and call kernels through a table.
 * - Kernel files (gemm_kernels.c, op_kernels.c) are compiled once per instruction set, each time with
 *   -DFDIT_ISA=<name> -DFDIT_VLEN=<floats in a vector> -ffp-contract=off and
 *
 *       generic     4   the compiler's base flags (SSE2 on x86-64, NEON on AArch64)
 *       avx2        8   -mavx2 -mfma
 *       avx512     16   -mavx512f -mavx512vl -mavx512bw -mavx512dq -mfma
 *       wide       16   -mavx2 -mfma: tests only, runs the 16-wide body where there is no AVX-512
 *       avx512bf16 16   avx512 and -mavx512bf16: the products on bf16 operands alone
 *                       (gemm_bf16_kernels.c, attention_bf16_kernels.c)
 *       amx        16   avx512bf16 and -mamx-tile -mamx-bf16: the same by tiles (gemm_amx_kernels.c,
 *                       attention_bf16_kernels.c with attention_bf16_amx.h), the products of int8
 *                       by int8 (gemm_amx_int8_kernels.c), and those of f32 and bf16x3 by numbers
 *                       of bf16 (gemm_amx_f32_kernels.c, gemm_amx_bf16x3_kernels.c)
 *       avx512vnni 16   avx512 and -mavx512vnni: the products of int8 by int8 alone
 *                       (gemm_int8_kernels.c)
 *       avxvnni     8   avx2 and -mavxvnni: the same
 *       neondot     4   -march=armv8.2-a+dotprod: the same
 *
 * into one libtool convenience library each (sources.mk). They are written once, with the vectors of simd.h
 * and the functions of vmath.h, start no threads and call no driver code. Each exports one object:
 *
 *     const struct fdit_cpu_gemm_kernels FDIT_ISA_NAME(fdit_cpu_gemm_kernels) = { ... };
 *     const struct fdit_cpu_op_kernels FDIT_ISA_NAME(fdit_cpu_op_kernels) = { ... };
 *
 * declared for all sets in gemm_kernels.h and op_kernels.h. Everything else in them is static: of an external
 * inline function that several sets contain, the linker keeps one copy for all, and that one could use
 * instructions that the processor at hand lacks.
 *
 * Fused multiply-add: contraction by the compiler is off, because the same expression inlined in
 * two places (a full tile and an edge, say) could otherwise be rounded in two ways, and a sample's
 * bits would depend on its place in the batch. vfma() of simd.h is fused where the set has the
 * instruction.
 *
 * Threads: fdit_cpu_each and fdit_cpu_range (threads.c) deal out pieces whose arithmetic depends neither on
 * the number of threads nor on who computes them. */
#ifndef FDIT_CPU_CPU_H
#define FDIT_CPU_CPU_H

#include "device/backend.h"

enum fdit_cpu_provider { FDIT_GEMM_OWN, FDIT_GEMM_ONEDNN, FDIT_GEMM_CBLAS, FDIT_GEMM_COUNT };

struct fdit_pool; /* core/pool.h */
struct fdit_cpu_gemm_provider;
struct fdit_cpu_gemm_kernels; /* gemm_kernels.h */
struct fdit_cpu_op_kernels;   /* op_kernels.h */
struct fdit_cpu_attention_kernels;

/* dev->state. Constant after open, but for the workspace. */
struct fdit_cpu {
    int threads;     /* >= 1 */
    const char *isa; /* the name of the instruction set */
    struct fdit_pool *pool;
    enum fdit_cpu_provider provider;
    const struct fdit_cpu_gemm_kernels *gemm;
    const struct fdit_cpu_op_kernels *op;
    const struct fdit_cpu_attention_kernels *attention;
    const struct fdit_cpu_gemm_provider *library; /* NULL: our own GEMM (gemm.h) */
    /* Products of int8 weights with rows turned into int8; NULL where that was not asked for. */
    const struct fdit_cpu_gemm_kernels *gemm_int8;
    /* Products of f32 by numbers of bf16 (gemm_amx_parts.h), for those that are large enough; NULL: none. */
    const struct fdit_cpu_gemm_kernels *gemm_parts;
    bool has_bf16, has_int8, has_bf16x3; /* the instruction set has such products */

    /* Scratch of the op in progress, aligned to 4096 bytes. An op may use as many bytes as its
     * workspace function names for the shape (in total: multiply by threads where each needs its
     * own), and keeps nothing there between calls. */
    void *workspace;
    size_t workspace_bytes;
};

static inline struct fdit_cpu *fdit_cpu_of(const fdit_device *dev)
{
    return dev->state;
}

/* The address of a tensor's first element; NULL when it is absent. A buffer's handle is its memory.
 */
static inline float *fdit_cpu_f32(struct fdit_tensor t)
{
    return t.buffer ? (float *)t.buffer->handle + t.offset : NULL;
}
static inline int32_t *fdit_cpu_i32(struct fdit_tensor t)
{
    return t.buffer ? (int32_t *)t.buffer->handle + t.offset : NULL;
}

/* isa.c: one entry per instruction set of this build. `supported`: this processor has it. */
struct fdit_cpu_isa_entry {
    const char *name; /* "avx2" */
    int vlen;
    const struct fdit_cpu_gemm_kernels *gemm;
    const struct fdit_cpu_op_kernels *op;
    /* Products on bf16 operands, NULL where the set has none. */
    const struct fdit_cpu_gemm_kernels *gemm_bf16;
    const struct fdit_cpu_attention_kernels *attention_bf16;
    /* The same of int8; gemm_bf16, or gemm where there is none, takes the rest. */
    const struct fdit_cpu_gemm_kernels *gemm_int8;
    /* Of f32 and of bf16x3 in parts, NULL where the set has none; gemm takes the rest. */
    const struct fdit_cpu_gemm_kernels *gemm_f32_parts, *gemm_bf16x3;
    bool supported;
    bool fast_bf16; /* bf16 is faster than f32 in training too */
};
/* Entry i, or false when there are no more. From the least to the best; `wide` is not among them.
 */
bool fdit_cpu_isa_get(int i, struct fdit_cpu_isa_entry *out);
/* The best one, or the one called `name` (NULL, "": the best): refused by name when this build or
 * this processor lacks it. */
enum fdit_status fdit_cpu_isa_choose(fdit_context *ctx, const char *name, struct fdit_cpu_isa_entry *out);

/* threads.c */
/* Makes cpu->pool for cpu->threads; `processors` is how many of them can run at a time. */
enum fdit_status fdit_cpu_threads_start(fdit_context *ctx, struct fdit_cpu *cpu, int processors);
void fdit_cpu_threads_stop(struct fdit_cpu *cpu);
/* Pieces begin .. end - 1 of `job` in thread `thread` (0 .. cpu->threads - 1), whose scratch they may use. */
typedef void (*fdit_cpu_pieces)(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end,
                                int thread);
/* All n pieces, one at a time: each is worth dealing out. */
void fdit_cpu_each(const struct fdit_cpu *cpu, size_t n, fdit_cpu_pieces fn, const void *job);
/* All n pieces, many at a time; by the caller alone where they are of few elements together. */
void fdit_cpu_range(const struct fdit_cpu *cpu, size_t n, size_t elements, fdit_cpu_pieces fn,
                    const void *job);

/* Libraries of products (oneDNN, MKL, BLIS) start OpenMP threads of their own, as many as the calling
 * thread wants; that is one in ours. Sets it for the thread that calls, returns what it was. No effect
 * where there is no OpenMP runtime in the process. */
int fdit_cpu_openmp_threads(int threads);

/* An OpenMP runtime that was told to bind threads (OMP_PROC_BIND, OMP_PLACES, GOMP_CPU_AFFINITY) has bound
 * the program's first one when it was loaded: the processors that it found before, for our threads, which
 * it knows nothing of; 0: there is none, or nothing to bind. */
int fdit_cpu_openmp_processors(void);

/* name.c: what the processor is called by a file like /proc/cpuinfo: "AMD EPYC 7763 64-Core Processor",
 * "ARM Neoverse-N1"; "CPU" where the file does not say or is not there. Free with fdit_free. */
enum fdit_status fdit_cpu_name(fdit_context *ctx, const char *cpuinfo, char **out);

/* linear.c: the three products; weights. */
void fdit_cpu_linear(fdit_device *dev, const struct fdit_linear_args *a);
void fdit_cpu_linear_dx(fdit_device *dev, const struct fdit_linear_dx_args *a);
void fdit_cpu_linear_dw(fdit_device *dev, const struct fdit_linear_dw_args *a);
size_t fdit_cpu_linear_workspace(const struct fdit_cpu *cpu, const struct fdit_op_shape *shape);

/* probe.c: what this processor reaches with this many threads. */
enum fdit_status fdit_cpu_peak(fdit_context *ctx, fdit_device *dev, bool copying,
                               struct fdit_device_peak *out);

/* All other ops: void fdit_cpu_<op>(fdit_device *dev, const struct fdit_<op>_args *a), in ops_*.c,
 * declared in ops.h together with
 *   size_t fdit_cpu_op_workspace(const struct fdit_cpu *cpu, const struct fdit_op_shape *shape);
 * (0 for ops that need none). The table fdit_cpu_ops at the end of cpu.c lists them. */

#endif
