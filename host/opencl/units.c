/* SPDX-License-Identifier: Apache-2.0
 * units.c: which matrix units a device may have, what their trials say, and what is chosen. */
#include "units.h"

#include "cache.h"
#include "core/mem.h"
#include "drivers.h"
#include "gemm.h"
#include "int8.h"
#include "matrix.h"
#include "quirks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMPUTE_CAPABILITY_MAJOR_NV = 0x4000, SUB_GROUP_SIZES_INTEL = 0x4108 };
static const enum fdit_dtype types[UNIT_TYPES] = { FDIT_F32, FDIT_BF16X3, FDIT_BF16, FDIT_F16, FDIT_I8 };

/* Attention is computed in one part, and in bf16 where the precision is int8. */
static bool has_attention(enum fdit_dtype operands)
{
    return fdit_matrix_parts(operands) == 1 && operands != FDIT_I8;
}

/* ---------------------------------------------------------------------------------- candidates */

static int add(struct gemm_config *out, int n, const char *name)
{
    char text[64];
    snprintf(text, sizeof text, "matrix %.40s", name);
    if (n < UNITS_MOST && fdit_gemm_config_parse(text, &out[n]))
        n++;
    return n;
}

/* The least sub-group: 8 lanes a dpas on Arc A, 16 from PVC on. 0: it does not say. */
static size_t least_lanes(const struct opencl *cl)
{
    size_t sizes[8] = { 0 }, bytes = 0, least = 0;
    if (clGetDeviceInfo(cl->device, SUB_GROUP_SIZES_INTEL, sizeof sizes, sizes, &bytes) != CL_SUCCESS)
        return 0;
    for (size_t i = 0; i < bytes / sizeof *sizes && i < sizeof sizes / sizeof *sizes; i++)
        least = !least || sizes[i] < least ? sizes[i] : least;
    return least;
}

/* AMD's built-ins are build errors on chips without them, so that the trial sorts them out; wmma's kernel
 * takes the lanes that the driver compiles for. */
static int by_vendor(const struct opencl *cl, const char *extensions, struct gemm_config *out)
{
    cl_uint vendor = 0, major = 0;
    int n = 0;
    if (clGetDeviceInfo(cl->device, CL_DEVICE_VENDOR_ID, sizeof vendor, &vendor, NULL))
        return 0;
    if (vendor == VENDOR_NVIDIA && strstr(extensions, "cl_nv_device_attribute_query") &&
        clGetDeviceInfo(cl->device, COMPUTE_CAPABILITY_MAJOR_NV, sizeof major, &major, NULL) == CL_SUCCESS &&
        major >= 8)
        n = add(out, n, "mma");
    if (vendor == VENDOR_AMD && strstr(extensions, "cl_amd_device_attribute_query")) {
        n = add(out, n, "mfma");
        n = add(out, n, "wmma");
        n = add(out, n, "wmma12");
    }
    if (vendor == VENDOR_INTEL && strstr(extensions, "cl_intel_subgroup_matrix_multiply_accumulate") &&
        strstr(extensions, "cl_intel_required_subgroup_size")) {
        size_t lanes = least_lanes(cl);
        if (lanes == 8 || lanes == 16)
            n = add(out, n, lanes == 8 ? "dpas8" : "dpas16");
    }
    return n;
}

int fdit_units_candidates(const struct opencl *cl, struct gemm_config out[UNITS_MOST])
{
    const char *tests = getenv("FINEDIFFUSION_TEST_UNITS");
    char *extensions = NULL, name[48];
    int n = 0;
    if (!cl->is_cpu &&
        fdit_opencl_device_text(NULL, cl->device, CL_DEVICE_EXTENSIONS, &extensions) == FDIT_OK)
        n = by_vendor(cl, extensions, out);
    fdit_free(extensions);
    for (int used; tests && sscanf(tests, "%47[^,]%n", name, &used) == 1;
         tests += used + (tests[used] == ','))
        n = add(out, n, name);
    return n;
}

/* -------------------------------------------------------------------------------------- trials */

/* "mma", "emulated-mma", in tests "emulated-mma parts=2" */
static void name_of(const struct gemm_config *c, char out[48])
{
    int n = snprintf(out, 48, "%s%.20s", c->emulated ? "emulated-" : "", c->unit->name);
    if (c->parts)
        snprintf(out + n, 48 - (size_t)n, " parts=%d", c->parts);
}

/* Of the kernel's text, this program's version, platform, device and driver. */
static void key_of(const struct opencl *cl, bool attention, char out[40])
{
    const char *kernel = "", *file = attention ? "attention_matrix.cl" : "linear_matrix.cl";
    for (const struct cl_source *s = fdit_cl_sources; s->name; s++)
        if (strcmp(s->name, file) == 0)
            kernel = s->text;
    struct cache_key key = fdit_opencl_cache_key(cl, (const char *const[]){ kernel, fdit_version() }, "");
    snprintf(out, 40, "%016llx%016llx", (unsigned long long)key.a, (unsigned long long)key.b);
}

/* GFLOP/s of a good verdict; false: the note does not say. */
static bool speeds(const struct verdict *v, double *unit, double *plain)
{
    return v->good && v->note && sscanf(v->note, "%lf GFLOP/s, %lf by", unit, plain) == 2;
}

static enum fdit_status ask(fdit_context *ctx, const fdit_device *dev, const struct gemm_config *c,
                            enum fdit_dtype operands, bool attention, struct verdict *v, char **subject)
{
    char name[48], key[40];
    name_of(c, name);
    key_of(opencl_of(dev), attention, key);
    return fdit_drivers_try_unit(ctx,
                                 &(struct unit_subject){ .spec = dev->info.spec,
                                                         .device = dev->info.name,
                                                         .unit = name,
                                                         .type = fdit_dtype_name(operands),
                                                         .key = key,
                                                         .attention = attention },
                                 v, subject);
}

/* "matrix unit mma, bf16: TEXT\n", or "attention on matrix ...", behind *text. */
static enum fdit_status add_line(fdit_context *ctx, const char *name, enum fdit_dtype operands,
                                 bool attention, const char *said, char **text)
{
    enum fdit_status status = FDIT_OK;
    char *longer = NULL;
    TRY(fdit_strf(ctx, &longer, "%s%smatrix unit %s, %s: %s\n", *text ? *text : "",
                  attention ? "attention on " : "", name, fdit_dtype_name(operands), said));
    fdit_free(*text);
    *text = longer;
out:
    return status;
}

/* A candidate's verdict. *speed: its GFLOP/s where it computes correctly and faster than multiply-adds,
 * else 0; *subject of its verdict. A line about one that does not goes behind what is refused. */
static enum fdit_status judge(fdit_context *ctx, fdit_device *dev, const struct gemm_config *c,
                              enum fdit_dtype operands, bool attention, double *speed, char **subject)
{
    enum fdit_status status = FDIT_OK;
    struct unit_choice *u = &opencl_of(dev)->units[opencl_unit_place(operands)];
    struct verdict v = { 0 };
    char *said = NULL, name[48];
    double with = 0, without = 0;
    TRY(ask(ctx, dev, c, operands, attention, &v, subject));
    name_of(c, name);
    if (v.note)
        fdit_log(ctx, FDIT_LOG_INFO, "%s: %smatrix unit %s, %s: %s", opencl_of(dev)->label,
                 attention ? "attention on " : "", name, fdit_dtype_name(operands), v.note);
    bool works = speeds(&v, &with, &without), faster = c->emulated || with > without;
    *speed = works && faster ? with : 0;
    if (v.note && !(works && faster)) {
        TRY(fdit_strf(ctx, &said, "%s%s", works ? "slower than multiply-adds: " : "", v.note));
        TRY(add_line(ctx, name, operands, attention, said, &u->refused));
    }
out:
    fdit_free(v.note);
    fdit_free(v.files);
    fdit_free(said);
    return status;
}

/* The first unit whose products are good and fast is chosen (no chip has two), and *chosen is the subject
 * of its verdict; whether it computes attention, too, a second trial says. */
static enum fdit_status consider(fdit_context *ctx, fdit_device *dev, const struct gemm_config *c,
                                 enum fdit_dtype operands, char **chosen)
{
    enum fdit_status status = FDIT_OK;
    struct unit_choice *u = &opencl_of(dev)->units[opencl_unit_place(operands)];
    char *subject = NULL, *second = NULL;
    double speed = 0, attention = 0;
    TRY(judge(ctx, dev, c, operands, false, &speed, &subject));
    if (speed > 0 && u->config.engine != GEMM_MATRIX) {
        u->config = *c;
        u->gflops = speed;
        *chosen = subject;
        subject = NULL;
        if (has_attention(operands))
            TRY(judge(ctx, dev, c, operands, true, &attention, &second));
        u->attention = attention > 0;
        u->attention_gflops = attention;
    }
out:
    fdit_free(subject);
    fdit_free(second);
    return status;
}

enum fdit_status fdit_units_find(fdit_context *ctx, fdit_device *dev, enum fdit_dtype operands)
{
    enum fdit_status status = FDIT_OK;
    struct opencl *cl = opencl_of(dev);
    struct gemm_config list[UNITS_MOST];
    char *chosen = NULL;
    int at = opencl_unit_place(operands), n = 0;
    if (at < 0 || cl->units[at].asked)
        return FDIT_OK;
    cl->units[at].asked = true;
    if (!cl->engines_fixed)
        n = fdit_units_candidates(cl, list);
    for (int i = 0; i < n; i++)
        TRY(consider(ctx, dev, &list[i], operands, &chosen));
    /* A crash from here on speaks against the unit, and next time the device does without. */
    if (chosen) {
        fdit_crash_unwatch(dev->info.spec);
        fdit_crash_watch(dev->info.spec, chosen);
    }
out:
    fdit_free(chosen);
    return status;
}

/* -------------------------------------------------------------------------------------- in words */

static const char *in_parts(enum fdit_dtype precision)
{
    static const char *const words[] = { "", "", ", in 3 products of parts of bf16",
                                         ", in 6 products of parts of bf16" };
    return words[fdit_matrix_parts(precision)];
}

enum fdit_status fdit_opencl_engine(fdit_context *ctx, fdit_device *dev, enum fdit_dtype precision,
                                    char **out, char **refused)
{
    enum fdit_status status = FDIT_OK;
    const struct opencl *cl = opencl_of(dev);
    const struct gemm_config *forced = &cl->gemm_forced;
    const int at = opencl_unit_place(precision);
    const struct unit_choice *u = at < 0 ? NULL : &cl->units[at];
    char name[48];
    if (forced->engine == GEMM_MATRIX) {
        name_of(forced, name);
        return fdit_strf(ctx, out, "matrix unit %s%s, as FINEDIFFUSION_OPENCL_GEMM says", name,
                         in_parts(precision));
    }
    TRY(fdit_units_find(ctx, dev, precision));
    if (u && u->refused)
        TRY(fdit_strdup(ctx, u->refused, refused));
    if (precision == FDIT_I8 && (!u || u->config.engine != GEMM_MATRIX))
        return fdit_strdup(ctx, fdit_int8_engine(dev), out);
    if (!u || u->config.engine != GEMM_MATRIX)
        return fdit_strdup(
            ctx, has_attention(precision) ? "multiply-adds of rounded numbers" : "multiply-adds", out);
    name_of(&u->config, name);
    char attention[64] = "attention by multiply-adds";
    if (precision == FDIT_I8)
        snprintf(attention, sizeof attention, "attention as in bf16");
    else if (u->attention)
        snprintf(attention, sizeof attention, "attention %.3g", u->attention_gflops);
    TRY(fdit_strf(ctx, out, "matrix unit %s%s, %.3g GFLOP/s in its trial, %s", name, in_parts(precision),
                  u->gflops, attention));
out:
    return status;
}

static enum fdit_status report_unit(fdit_context *ctx, fdit_device *dev, const struct gemm_config *c,
                                    enum fdit_dtype operands, bool attention, char **text)
{
    enum fdit_status status = FDIT_OK;
    struct verdict v = { 0 };
    char *subject = NULL, *said = NULL, name[48];
    TRY(ask(ctx, dev, c, operands, attention, &v, &subject));
    name_of(c, name);
    TRY(fdit_strf(ctx, &said, "%s%s",
                  v.good   ? "works: "
                  : v.note ? "not used: "
                           : "not tried",
                  v.note ? v.note : ""));
    TRY(add_line(ctx, name, operands, attention, said, text));
out:
    fdit_free(v.note);
    fdit_free(v.files);
    fdit_free(subject);
    fdit_free(said);
    return status;
}

enum fdit_status fdit_units_report(fdit_context *ctx, fdit_device *dev, char **out)
{
    enum fdit_status status = FDIT_OK;
    struct gemm_config list[UNITS_MOST];
    char *text = NULL;
    int n = fdit_units_candidates(opencl_of(dev), list);
    TRY(fdit_strdup(ctx, n ? "" : "matrix units: none that this device may have\n", &text));
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 2 * UNIT_TYPES; k++)
            if (k % 2 == 0 || has_attention(types[k / 2]))
                TRY(report_unit(ctx, dev, &list[i], types[k / 2], k % 2, &text));
    *out = text;
    text = NULL;
out:
    fdit_free(text);
    return status;
}
