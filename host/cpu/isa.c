/* SPDX-License-Identifier: Apache-2.0
 * isa.c: which instruction sets this build has kernels for, and which of them the processor has. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cpu/cpu.h"
#include "cpu/gemm_kernels.h"
#include "cpu/op_kernels.h"

#include <string.h>

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

bool fdit_cpu_isa_get(int i, struct fdit_cpu_isa_entry *out)
{
    const struct fdit_cpu_isa_entry entries[] = {
        { "generic", FDIT_CPU_GENERIC, 4, &fdit_cpu_gemm_kernels_generic,
          &fdit_cpu_op_kernels_generic, true },
#if defined(HAVE_AVX2)
        { "avx2", FDIT_CPU_AVX2, 8, &fdit_cpu_gemm_kernels_avx2, &fdit_cpu_op_kernels_avx2,
          has_avx2() },
#endif
#if defined(HAVE_AVX512)
        { "avx512", FDIT_CPU_AVX512, 16, &fdit_cpu_gemm_kernels_avx512, &fdit_cpu_op_kernels_avx512,
          has_avx512() },
#endif
    };
    if (i < 0 || (size_t)i >= sizeof entries / sizeof *entries)
        return false;
    *out = entries[i];
    return true;
}

enum fdit_status fdit_cpu_isa_choose(fdit_context *ctx, const char *name,
                                     struct fdit_cpu_isa_entry *out)
{
    struct fdit_cpu_isa_entry entry;
    bool any = !name || !*name;
    for (int i = 0; fdit_cpu_isa_get(i, &entry); i++) {
        if (any && entry.supported)
            *out = entry;
        if (any || strcmp(entry.name, name) != 0)
            continue;
        if (!entry.supported)
            return fdit_fail(
                ctx, FDIT_ERROR_UNSUPPORTED,
                "FINEDIFFUSION_ISA=%s: this processor does not have these instructions; "
                "unset it to take the best it has",
                name);
        *out = entry;
        return FDIT_OK;
    }
    if (any)
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                     "FINEDIFFUSION_ISA=%s: this build has no such kernels; it knows generic"
#if defined(HAVE_AVX2)
                     ", avx2"
#endif
#if defined(HAVE_AVX512)
                     ", avx512"
#endif
                     ,
                     name);
}
