/* SPDX-License-Identifier: Apache-2.0
 * clblast.c: products by CLBlast's Sgemm.
 *
 * - CLBlast takes products below a size by another kernel, which adds up differently; a sample's
 * bits would depend on the batch around it. Here one kernel does all of them
 * (XGEMM_MIN_INDIRECT_SIZE): the "indirect" one, which copies operands that do not lie as it wants,
 * or the "direct" one, which takes them as they are.
 * - Its indirect kernel copies an operand that does not begin at 0, so tensors go in as
 * sub-buffers, which are made once. Where the driver refuses one, the offset goes in.
 * - Scratch comes from the workspace that the plan counts, not from a buffer a call.
 * - Parameters are overridden by the table's row for the device: Debian's release (1.5.3) knows
 * few. Releases before 1.6.1 have a race in their caches: calls hold a lock.
 * - The half-precision and the batched products are not used: they add up in half, or ignore
 * offsets. */
#include "clblast.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_CLBLAST
#include "core/mem.h"

#include <clblast_c.h>
#include <pthread.h>

static pthread_mutex_t calls = PTHREAD_MUTEX_INITIALIZER;

bool fdit_clblast_built_in(void)
{
    return true;
}

/* ------------------------------------------------------------------------------------ the table */

/* Field `i` of a row; returns its length. */
static size_t field(const char *row, int i, const char **out)
{
    for (; i > 0; i--)
        row += strcspn(row, "\t") + 1;
    *out = row;
    return strcspn(row, "\t");
}

static bool field_is(const char *row, int i, const char *text)
{
    const char *at;
    size_t n = field(row, i, &at);
    return strlen(text) == n && memcmp(at, text, n) == 0;
}

/* As CLBlast's data base names devices. */
static struct clblast_identity identify(const struct opencl *cl)
{
    enum { COMPUTE_MAJOR_NV = 0x4000, COMPUTE_MINOR_NV = 0x4001, BOARD_NAME_AMD = 0x4038 };
    static const char *const vendors[][2] = {
        { "Intel", "Intel" }, { "NVIDIA", "NVIDIA" },
        { "AMD", "AMD" },     { "Advanced", "AMD" },
        { "ARM", "ARM" },     { "QUALCOMM", "QUALCOMM" },
        { "Apple", "Apple" }, { "Imagination", "Imagination Technologies" },
    };
    struct clblast_identity id = { .type = cl->is_cpu ? "CPU" : "GPU",
                                   .vendor = "",
                                   .architecture = "default" };
    char text[128] = "";
    cl_uint major = 0, minor = 0;
    clGetDeviceInfo(cl->device, CL_DEVICE_VENDOR, sizeof text, text, NULL);
    for (size_t i = 0; i < sizeof vendors / sizeof *vendors && !*id.vendor; i++)
        if (strstr(text, vendors[i][0]))
            id.vendor = vendors[i][1];
    clGetDeviceInfo(cl->device, CL_DEVICE_NAME, sizeof id.device, id.device, NULL);
    if (strcmp(id.vendor, "NVIDIA") == 0 &&
        !clGetDeviceInfo(cl->device, COMPUTE_MAJOR_NV, sizeof major, &major, NULL) &&
        !clGetDeviceInfo(cl->device, COMPUTE_MINOR_NV, sizeof minor, &minor, NULL))
        snprintf(id.architecture, sizeof id.architecture, "SM%u.%u", major, minor);
    if (strcmp(id.vendor, "AMD") == 0) {
        memcpy(id.architecture, id.device, sizeof id.architecture);
        clGetDeviceInfo(cl->device, BOARD_NAME_AMD, sizeof id.device, id.device, NULL);
    }
    return id;
}

/* "gfx906:sramecc+:xnack-" and "gfx906" are one. */
static bool same_architecture(const char *row, const char *name)
{
    const char *at;
    size_t n = field(row, 3, &at), base = strcspn(name, ":");
    return n >= base && memcmp(at, name, base) == 0 && (n == base || at[base] == ':');
}

const char *fdit_clblast_row_for(const struct opencl *cl, const struct clblast_identity *id, bool direct)
{
    const char *best = NULL, *parameters;
    int most = 0;
    for (const char *const *row = fdit_clblast_rows; *row; row++) {
        if (!field_is(*row, 0, direct ? "XgemmDirect" : "Xgemm"))
            continue;
        int points = field_is(*row, 1, "All") ? 1 : 0;
        if (field_is(*row, 1, id->type) && field_is(*row, 2, id->vendor)) {
            bool ours = field_is(*row, 3, "default"), any = field_is(*row, 4, "default");
            points = field_is(*row, 4, id->device)                        ? 4
                     : !ours && same_architecture(*row, id->architecture) ? (any ? 3 : 0)
                     : ours && any                                        ? 2
                                                                          : 0;
        }
        field(*row, 5, &parameters);
        if (points > most && fdit_clblast_row_fits(cl, parameters, direct)) {
            most = points;
            best = *row;
        }
    }
    return best;
}

const char *fdit_clblast_row(const struct opencl *cl, bool direct)
{
    struct clblast_identity id = identify(cl);
    return fdit_clblast_row_for(cl, &id, direct);
}

static size_t value_of(const char *parameters, const char *name, size_t otherwise)
{
    size_t n = strlen(name);
    for (const char *at = parameters; *at; at += strcspn(at, " "), at += strspn(at, " "))
        if (strncmp(at, name, n) == 0 && at[n] == '=')
            return strtoul(at + n + 1, NULL, 10);
    return otherwise;
}

bool fdit_clblast_row_fits(const struct opencl *cl, const char *parameters, bool direct)
{
    size_t items, floats;
    if (direct) {
        size_t wgd = value_of(parameters, "WGD", 8);
        items = value_of(parameters, "MDIMCD", 8) * value_of(parameters, "NDIMCD", 8);
        floats = wgd * (2 * wgd + value_of(parameters, "PADA", 1) + value_of(parameters, "PADB", 1));
    } else {
        items = value_of(parameters, "MDIMC", 8) * value_of(parameters, "NDIMC", 8);
        floats = value_of(parameters, "KWG", 32) *
                 (value_of(parameters, "SA", 0) * value_of(parameters, "MWG", 64) +
                  value_of(parameters, "SB", 0) * value_of(parameters, "NWG", 64));
    }
    return items > 0 && items <= cl->group_items && floats * sizeof(float) <= cl->local_bytes;
}

/* ------------------------------------------------------------------------------------- products */

static const char *error_text(CLBlastStatusCode code)
{
    switch ((int)code) {
    case CLBlastInvalidLocalMemUsage: return "its parameters need more local memory than there is";
    case CLBlastUnexpectedError: return "an unexpected error";
    case CLBlastInsufficientMemoryTemp: return "its scratch is too small";
    case -4: return "CL_MEM_OBJECT_ALLOCATION_FAILURE";
    case -5: return "CL_OUT_OF_RESOURCES";
    case -11: return "CL_BUILD_PROGRAM_FAILURE";
    case -54: return "CL_INVALID_WORK_GROUP_SIZE";
    default: return "see the list of status codes in clblast_c.h";
    }
}

static CLBlastTranspose transpose(bool yes)
{
    return yes ? CLBlastTransposeYes : CLBlastTransposeNo;
}

size_t fdit_clblast_workspace(const struct opencl *cl, const struct clblast_product *p)
{
    size_t bytes = 0;
    cl_command_queue queue = cl->queue;
    pthread_mutex_lock(&calls);
    CLBlastStatusCode code = CLBlastSGemmTempBufferSize(CLBlastLayoutColMajor, transpose(p->a_transposed),
                                                        transpose(p->b_transposed), p->m, p->n, p->k, 0,
                                                        p->lda, 0, p->ldb, 0, p->ldc, &queue, &bytes);
    pthread_mutex_unlock(&calls);
    return code == CLBlastSuccess ? bytes : 0;
}

void fdit_clblast_forget(struct opencl *cl, cl_mem parent)
{
    int kept = 0;
    for (int i = 0; i < cl->clblast.n_views; i++) {
        if (!parent || cl->clblast.views[i].parent == parent)
            clReleaseMemObject(cl->clblast.views[i].view);
        else
            cl->clblast.views[kept++] = cl->clblast.views[i];
    }
    cl->clblast.n_views = kept;
}

/* The buffer from *at on, for a tensor of n floats; *at becomes 0. Where there is no such view, the
 * buffer. */
static cl_mem view(struct opencl *cl, cl_mem parent, size_t *at, size_t n)
{
    cl_buffer_region region = { *at * sizeof(float), n * sizeof(float) };
    cl_int error;
    if (*at == 0 || region.origin % cl->view_align)
        return parent;
    for (int i = 0; i < cl->clblast.n_views; i++)
        if (cl->clblast.views[i].parent == parent && cl->clblast.views[i].at == region.origin &&
            cl->clblast.views[i].bytes == region.size) {
            *at = 0;
            return cl->clblast.views[i].view;
        }
    if (cl->clblast.n_views == CLBLAST_VIEWS)
        return parent;
    cl_mem made = clCreateSubBuffer(parent, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &region, &error);
    if (error != CL_SUCCESS)
        return parent;
    cl->clblast.views[cl->clblast.n_views++] =
        (struct clblast_view){ parent, made, region.origin, region.size };
    *at = 0;
    return made;
}

void fdit_clblast_run(fdit_device *dev, const struct clblast_product *p)
{
    struct opencl *cl = opencl_of(dev);
    struct clblast_product q = *p;
    cl_event event = NULL;
    if (dev->status != FDIT_OK)
        return;
    q.a = view(cl, p->a, &q.a_at, p->lda * (p->a_transposed ? p->m : p->k));
    q.b = view(cl, p->b, &q.b_at, p->ldb * (p->b_transposed ? p->k : p->n));
    q.c = view(cl, p->c, &q.c_at, p->ldc * p->n);
    cl_event *wanted = fdit_launch_foreign_begin(dev, &event);
    size_t scratch = fdit_clblast_workspace(cl, p);
    bool views = q.a_at + q.b_at + q.c_at == 0 && scratch > 0 && scratch <= cl->reserved;
    pthread_mutex_lock(&calls);
    CLBlastStatusCode code =
        views ? CLBlastSgemmWithTempBuffer(CLBlastLayoutColMajor, transpose(q.a_transposed),
                                           transpose(q.b_transposed), q.m, q.n, q.k, 1.0f, q.a, 0, q.lda, q.b,
                                           0, q.ldb, q.beta ? 1.0f : 0.0f, q.c, 0, q.ldc, &cl->queue, wanted,
                                           cl->workspace)
              : CLBlastSgemm(CLBlastLayoutColMajor, transpose(q.a_transposed), transpose(q.b_transposed), q.m,
                             q.n, q.k, 1.0f, q.a, q.a_at, q.lda, q.b, q.b_at, q.ldb, q.beta ? 1.0f : 0.0f,
                             q.c, q.c_at, q.ldc, &cl->queue, wanted);
    pthread_mutex_unlock(&calls);
    if (code != CLBlastSuccess)
        fdit_device_fail(dev, FDIT_ERROR_DEVICE,
                         "opencl, %s: CLBlast's product of %zu x %zu x %zu: %s (%d); "
                         "FINEDIFFUSION_OPENCL_GEMM=default does without CLBlast",
                         cl->label, q.n, q.m, q.k, error_text(code), (int)code);
    else
        fdit_launch_foreign_end(dev, wanted, "CLBlast");
}

/* ----------------------------------------------------------------------------------- parameters */

static bool override(const struct opencl *cl, const char *kernel, const char *parameters)
{
    char text[CLBLAST_TEXT + 64];
    const char *names[CLBLAST_PARAMETERS];
    size_t values[CLBLAST_PARAMETERS], n = 0;
    char *rest = NULL;
    snprintf(text, sizeof text, "%s", parameters);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(word, '=');
        if (!equals || n == CLBLAST_PARAMETERS)
            return false;
        *equals = '\0';
        names[n] = word;
        values[n++] = strtoul(equals + 1, NULL, 10);
    }
    pthread_mutex_lock(&calls);
    CLBlastStatusCode code =
        CLBlastOverrideParameters(cl->device, kernel, CLBlastPrecisionSingle, n, names, values);
    pthread_mutex_unlock(&calls);
    return code == CLBlastSuccess;
}

/* A product whose numbers are made from their indices: sizes, leading dimensions and offsets in
 * floats. */
struct trial {
    size_t m, n, k, pad, at;
    bool a_transposed, b_transposed, beta;
};

static float number(size_t i, unsigned salt)
{
    uint32_t x = (uint32_t)i * 2654435761u + salt * 40503u;
    x ^= x >> 15;
    return (float)(x % 2001u) / 1000.0f - 1.0f;
}

/* The largest error over the largest sum of magnitudes; 1 after a failure. `memory` holds
 * `floats`. */
static double try_product(fdit_device *dev, const struct trial *t, fdit_buffer *memory, float *host)
{
    struct clblast_product p = { .m = t->m,
                                 .n = t->n,
                                 .k = t->k,
                                 .beta = t->beta,
                                 .a_transposed = t->a_transposed,
                                 .b_transposed = t->b_transposed,
                                 .a = memory->handle,
                                 .b = memory->handle,
                                 .c = memory->handle };
    p.lda = (t->a_transposed ? t->k : t->m) + t->pad;
    p.ldb = t->b_transposed ? t->n : t->k;
    p.ldc = t->m;
    size_t a_floats = p.lda * (t->a_transposed ? t->m : t->k), b_floats = t->k * t->n;
    p.a_at = t->at;
    p.b_at = fdit_page_floats(p.a_at + a_floats) + t->at;
    p.c_at = fdit_page_floats(p.b_at + b_floats) + t->at;
    size_t all = p.c_at + t->m * t->n;
    for (size_t i = 0; i < all; i++)
        host[i] = number(i, (unsigned)t->m);
    fdit_write(dev, fdit_tensor_of(memory, FDIT_F32), host, all);
    fdit_clblast_run(dev, &p);
    float *got = host + all;
    fdit_context *ctx = opencl_of(dev)->ctx;
    if (fdit_read(ctx, dev, fdit_at(fdit_tensor_of(memory, FDIT_F32), p.c_at), got, t->m * t->n) != FDIT_OK)
        return 1.0;
    double worst = 0, scale = 0;
    for (size_t j = 0; j < t->n; j++)
        for (size_t i = 0; i < t->m; i++) {
            double sum = t->beta ? host[p.c_at + j * p.ldc + i] : 0, size = fabs(sum);
            for (size_t k = 0; k < t->k; k++) {
                double a = host[p.a_at + (t->a_transposed ? i * p.lda + k : k * p.lda + i)];
                double b = host[p.b_at + (t->b_transposed ? k * p.ldb + j : j * p.ldb + k)];
                sum += a * b;
                size += fabs(a * b);
            }
            double error = fabs(got[j * p.ldc + i] - sum);
            worst = error > worst ? error : worst;
            scale = size > scale ? size : scale;
        }
    return worst <= scale ? worst / scale : 1.0;
}

/* Multiples of 64, where nothing is padded and offsets have been ignored before, and odd sizes. */
static bool verify(fdit_device *dev, char why[CLBLAST_TEXT])
{
    static const struct trial trials[] = {
        { 128, 64, 64, 0, 0, false, false, false },    { 128, 64, 192, 0, 1024, false, false, true },
        { 64, 128, 64, 64, 1024, true, false, false }, { 128, 64, 128, 0, 1024, false, true, false },
        { 192, 128, 64, 0, 37, true, false, true },    { 70, 35, 41, 6, 1024, false, false, false },
        { 35, 70, 48, 0, 3, true, false, true },       { 33, 71, 19, 0, 1024, false, true, true },
    };
    enum { FLOATS = 96 << 10 };
    struct opencl *cl = opencl_of(dev);
    fdit_buffer *memory = NULL;
    float *host = NULL;
    double worst = 0;
    if (fdit_buffer_new(cl->ctx, dev, FLOATS * sizeof(float), "trial of CLBlast", &memory) == FDIT_OK &&
        fdit_alloc(cl->ctx, FLOATS, sizeof *host, &host) == FDIT_OK)
        for (size_t i = 0; i < sizeof trials / sizeof *trials; i++) {
            double error = try_product(dev, &trials[i], memory, host);
            worst = error > worst ? error : worst;
        }
    else
        worst = 1.0;
    fdit_free(host);
    fdit_buffer_free(memory);
    if (dev->status != FDIT_OK) {
        snprintf(why, CLBLAST_TEXT, "%s", dev->message ? dev->message : "a trial failed");
        fdit_device_clear_error(dev);
        return false;
    }
    if (!(worst < 1e-5))
        snprintf(why, CLBLAST_TEXT, "CLBlast computes wrongly here: a relative error of %.1e", worst);
    return worst < 1e-5;
}

bool fdit_clblast_set(fdit_device *dev, const char *parameters, bool direct, char why[CLBLAST_TEXT])
{
    struct opencl *cl = opencl_of(dev);
    char all[CLBLAST_TEXT];
    cl->clblast.on = false;
    snprintf(all, sizeof all, "%s%s", direct ? "" : "GEMMK=0 ", parameters ? parameters : "");
    if (parameters && !override(cl, direct ? "XgemmDirect" : "Xgemm", all)) {
        snprintf(why, CLBLAST_TEXT, "CLBlast does not take its parameters %.100s", parameters);
        return false;
    }
    /* Its cube is compared with m n k. */
    if (!override(cl, "GemmRoutine",
                  direct ? "XGEMM_MIN_INDIRECT_SIZE=1048576" : "XGEMM_MIN_INDIRECT_SIZE=1")) {
        snprintf(why, CLBLAST_TEXT, "CLBlast does not let its kernel be chosen");
        return false;
    }
    snprintf(cl->clblast.text, sizeof cl->clblast.text, "%s %.180s", direct ? "direct" : "indirect",
             parameters ? parameters : "");
    cl->clblast.on = verify(dev, why);
    return cl->clblast.on;
}

void fdit_clblast_close(struct opencl *cl)
{
    fdit_clblast_forget(cl, NULL);
    if (!cl->clblast.text[0])
        return;
    pthread_mutex_lock(&calls);
    CLBlastClearCache(); /* it holds programs of the context */
    pthread_mutex_unlock(&calls);
}

#else /* not built in */

bool fdit_clblast_built_in(void)
{
    return false;
}
const char *fdit_clblast_row_for(const struct opencl *cl, const struct clblast_identity *id, bool direct)
{
    (void)cl;
    (void)id;
    (void)direct;
    return NULL;
}
const char *fdit_clblast_row(const struct opencl *cl, bool direct)
{
    (void)cl;
    (void)direct;
    return NULL;
}
bool fdit_clblast_row_fits(const struct opencl *cl, const char *parameters, bool direct)
{
    (void)cl;
    (void)parameters;
    (void)direct;
    return false;
}
bool fdit_clblast_set(fdit_device *dev, const char *parameters, bool direct, char why[CLBLAST_TEXT])
{
    (void)dev;
    (void)parameters;
    (void)direct;
    snprintf(why, CLBLAST_TEXT, "this program was built without CLBlast");
    return false;
}
size_t fdit_clblast_workspace(const struct opencl *cl, const struct clblast_product *p)
{
    (void)cl;
    (void)p;
    return 0;
}
void fdit_clblast_run(fdit_device *dev, const struct clblast_product *p)
{
    (void)p;
    fdit_device_fail(dev, FDIT_ERROR_UNSUPPORTED, "this program was built without CLBlast");
}
void fdit_clblast_forget(struct opencl *cl, cl_mem parent)
{
    (void)cl;
    (void)parent;
}
void fdit_clblast_close(struct opencl *cl)
{
    (void)cl;
}
#endif
