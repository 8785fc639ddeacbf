/* SPDX-License-Identifier: Apache-2.0
 * isa.c: which instruction sets this build has kernels for, and which of them the processor has. */
#include "cpu/cpu.h"
#include "cpu/gemm_kernels.h"
#include "cpu/op_kernels.h"

#include <stdio.h>
#include <string.h>
#if defined(HAVE_AVXVNNI) || defined(HAVE_AVX512BF16)
#include <cpuid.h>
#endif
#if defined(HAVE_NEONDOT)
#include <sys/auxv.h>
#endif
#if defined(HAVE_AMX) && !defined(FDIT_EMULATED_AMX)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(HAVE_AVX2)
static bool has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif
#if defined(HAVE_AVX512)
static bool has_avx512(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

#if defined(HAVE_AVXVNNI) || defined(HAVE_AVX512BF16)
/* A bit of cpuid 7.1, EAX: the compilers' own checks of these are younger than the instructions. */
static bool has_bit_of_leaf_7_1(int bit)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> bit & 1);
}
#endif
#if defined(HAVE_AVXVNNI)
static bool has_avxvnni(void)
{
    return has_avx2() && has_bit_of_leaf_7_1(4);
}
#endif
#if defined(HAVE_AVX512VNNI)
static bool has_avx512vnni(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}
#endif
#if defined(HAVE_AVX512BF16)
/* All that have it have products of int8, VNNI, too. */
static bool has_avx512bf16(void)
{
    return has_avx512vnni() && has_bit_of_leaf_7_1(5);
}

/* Measured: training DiT-S/2 in bf16 takes 0.57 of float32's time on AMD's Zen 5, which starts two
 * vdpbf16ps a cycle, and 1.1 on Intel's Emerald Rapids, which starts one and has AMX instead. */
static bool is_amd(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_is("amd");
}
#endif
#if defined(HAVE_NEONDOT)
/* <asm/hwcap.h> of older systems lacks the name. */
static bool has_neondot(void)
{
    const unsigned long dot_products = 1ul << 20;
    return getauxval(AT_HWCAP) & dot_products;
}
#endif

#if defined(FDIT_EMULATED_AMX)
static bool has_amx(void)
{
    return has_avx512bf16();
}
#elif defined(HAVE_AMX)
/* The tile registers are 8 KB of state for each thread that uses them, so the kernel wants to be asked
 * first. Its leave is the whole process's, threads that run already included, and asking again does no
 * harm. Refused by kernels before Linux 5.16, and where a thread's alternate signal stack is too small.
 * <asm/prctl.h> of older systems lacks the name. */
static bool may_use_tiles(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

/* cpuid 7.0, EDX bits 24 (tiles), 22 and 25 (their products of bf16 and of int8); 1, ECX bit 27: the
 * system saves registers by xsave; xgetbv bits 17 and 18: those of the tiles too. */
static bool has_amx(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0, low = 0, high = 0;
    if (!has_avx512bf16() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & 1u << 24) || !(d & 1u << 22) ||
        !(d & 1u << 25))
        return false;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 27))
        return false;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 3u << 17) == 3u << 17 && may_use_tiles();
}
#endif

static bool yes(void)
{
    return true;
}

static const struct {
    struct fdit_cpu_isa_entry entry;
    bool (*supported)(void), (*fast_bf16)(void); /* asked for one entry alone: cpuid is slow in a guest */
} sets[] = {
    { .entry = { .name = "generic",
                 .vlen = 4,
                 .gemm = &fdit_cpu_gemm_kernels_generic,
                 .op = &fdit_cpu_op_kernels_generic },
      .supported = yes },
#if defined(__aarch64__)
    /* Every such processor has it, so the compiler has put it into the generic kernels already. */
    { .entry = { .name = "neon",
                 .vlen = 4,
                 .gemm = &fdit_cpu_gemm_kernels_generic,
                 .op = &fdit_cpu_op_kernels_generic },
      .supported = yes },
#endif
#if defined(HAVE_NEONDOT)
    { .entry = { .name = "neondot",
                 .vlen = 4,
                 .gemm = &fdit_cpu_gemm_kernels_generic,
                 .op = &fdit_cpu_op_kernels_generic,
                 .gemm_int8 = &fdit_cpu_gemm_int8_kernels_neondot },
      .supported = has_neondot },
#endif
#if defined(HAVE_AVX2)
    { .entry = { .name = "avx2",
                 .vlen = 8,
                 .gemm = &fdit_cpu_gemm_kernels_avx2,
                 .op = &fdit_cpu_op_kernels_avx2 },
      .supported = has_avx2 },
#endif
#if defined(HAVE_AVXVNNI)
    { .entry = { .name = "avxvnni",
                 .vlen = 8,
                 .gemm = &fdit_cpu_gemm_kernels_avx2,
                 .op = &fdit_cpu_op_kernels_avx2,
                 .gemm_int8 = &fdit_cpu_gemm_int8_kernels_avxvnni },
      .supported = has_avxvnni },
#endif
#if defined(HAVE_AVX512)
    { .entry = { .name = "avx512",
                 .vlen = 16,
                 .gemm = &fdit_cpu_gemm_kernels_avx512,
                 .op = &fdit_cpu_op_kernels_avx512 },
      .supported = has_avx512 },
#endif
/* From here on the same kernels for multiply-adds in f32, the same bits. */
#if defined(HAVE_AVX512VNNI)
    { .entry = { .name = "avx512vnni",
                 .vlen = 16,
                 .gemm = &fdit_cpu_gemm_kernels_avx512,
                 .op = &fdit_cpu_op_kernels_avx512,
                 .gemm_int8 = &fdit_cpu_gemm_int8_kernels_avx512vnni },
      .supported = has_avx512vnni },
#endif
#if defined(HAVE_AVX512BF16)
    { .entry = { .name = "avx512bf16",
                 .vlen = 16,
                 .gemm = &fdit_cpu_gemm_kernels_avx512,
                 .op = &fdit_cpu_op_kernels_avx512,
                 .gemm_bf16 = &fdit_cpu_gemm_kernels_avx512bf16,
                 .attention_bf16 = &fdit_cpu_attention_kernels_avx512bf16,
                 .gemm_int8 = &fdit_cpu_gemm_int8_kernels_avx512vnni },
      .supported = has_avx512bf16,
      .fast_bf16 = is_amd },
#endif
#if defined(HAVE_AMX)
    { .entry = { .name = "amx",
                 .vlen = 16,
                 .gemm = &fdit_cpu_gemm_kernels_avx512,
                 .op = &fdit_cpu_op_kernels_avx512,
                 .gemm_bf16 = &fdit_cpu_gemm_kernels_amx,
                 .attention_bf16 = &fdit_cpu_attention_kernels_amx,
                 .gemm_int8 = &fdit_cpu_gemm_int8_kernels_amx,
                 .gemm_f32_parts = &fdit_cpu_gemm_f32_kernels_amx,
                 .gemm_bf16x3 = &fdit_cpu_gemm_bf16x3_kernels_amx },
      .supported = has_amx,
      .fast_bf16 = yes },
#endif
};

enum { N_SETS = sizeof sets / sizeof *sets };

bool fdit_cpu_isa_get(int i, struct fdit_cpu_isa_entry *out)
{
    if (i < 0 || i >= N_SETS)
        return false;
    *out = sets[i].entry;
    out->supported = sets[i].supported();
    out->fast_bf16 = out->supported && sets[i].fast_bf16 && sets[i].fast_bf16();
    return true;
}

enum fdit_status fdit_cpu_isa_choose(fdit_context *ctx, const char *name, struct fdit_cpu_isa_entry *out)
{
    const bool any = !name || !*name;
    struct fdit_cpu_isa_entry entry;
    char names[128] = "";
    for (int i = N_SETS - 1; i >= 0; i--) {
        if (!any && strcmp(sets[i].entry.name, name) != 0)
            continue;
        fdit_cpu_isa_get(i, &entry);
        if (entry.supported) {
            *out = entry;
            return FDIT_OK;
        }
        if (!any)
            return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                             "FINEDIFFUSION_ISA=%s: this processor does not have these instructions, or the "
                             "system does not let them be used; unset it to take the best there is",
                             name);
    }
    for (int i = 0; i < N_SETS; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "",
                 sets[i].entry.name);
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                     "FINEDIFFUSION_ISA=%s: this build has no such kernels; it knows %s", name, names);
}
