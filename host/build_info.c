/* SPDX-License-Identifier: Apache-2.0 */
#include "build_info.h"

#include "commit.h"
#include "core/mem.h"
#include "cpu/cpu.h"

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "not known"
#endif

#if defined(HAVE_ONEDNN)
#define PRODUCTS "own kernels; oneDNN by FINEDIFFUSION_GEMM=onednn"
#elif defined(HAVE_CBLAS)
#define PRODUCTS "own kernels; a CBLAS by FINEDIFFUSION_GEMM=cblas"
#else
#define PRODUCTS "own kernels"
#endif

#if !defined(HAVE_OPENCL)
#define DEVICES "cpu, ref (built without OpenCL)"
#elif defined(HAVE_CLBLAST)
#define DEVICES "cpu, opencl (with CLBlast), ref"
#else
#define DEVICES "cpu, opencl (without CLBlast), ref"
#endif

#if defined(HAVE_JPEG)
#define JPEG_TEXT ", JPEG"
#else
#define JPEG_TEXT ""
#endif
#if defined(HAVE_WEBP)
#define WEBP_TEXT ", WebP"
#else
#define WEBP_TEXT ""
#endif

enum fdit_status fdit_build_info(fdit_context *ctx, char **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_cpu_isa_entry isa;
    char *names = NULL, *longer = NULL;
    *out = NULL;
    TRY(fdit_strdup(ctx, "", &names));
    for (int i = 0; fdit_cpu_isa_get(i, &isa); i++) {
        TRY(fdit_strf(ctx, &longer, "%s%s%s%s", names, i ? ", " : "", isa.name,
                      isa.supported ? "" : " (not here)"));
        fdit_free(names);
        names = longer;
        longer = NULL;
    }
    TRY(fdit_strf(ctx, out,
                  "commit        " FDIT_COMMIT "\n"
                  "compiler      " COMPILER "\n"
                  "devices       " DEVICES "\n"
                  "instructions  %s\n"
                  "products      " PRODUCTS "\n"
                  "threads       POSIX threads, a pool of the program's own\n"
                  "pictures      PNG" JPEG_TEXT WEBP_TEXT "\n"
                  "models        safetensors, torch\n",
                  names));
out:
    fdit_free(names);
    return status;
}
