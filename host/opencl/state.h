/* SPDX-License-Identifier: Apache-2.0
 * state.h: what the files of this folder share. */
#ifndef FDIT_HOST_OPENCL_STATE_H
#define FDIT_HOST_OPENCL_STATE_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include "cl/flags.h"
#include "device/backend.h"
#include "programs.h"

#include <stdatomic.h>

/* One kernel file, embedded at build time. */
struct cl_source {
    const char *name, *text;
};
extern const struct cl_source fdit_cl_sources[]; /* ends with a NULL name; made by cl/embed.awk */

enum gemm_kind { GEMM_FORWARD, GEMM_DX, GEMM_DW };
enum gemm_engine { GEMM_DEFAULT, GEMM_TILE, GEMM_REGISTERS, GEMM_CLBLAST, GEMM_BLOCK, GEMM_MATRIX };
struct matrix_unit;
/* An engine and its parameters: see gemm.h and the heads of the kernel files. */
struct gemm_config {
    enum gemm_engine engine;
    int im, nv;    /* rows and columns (tile) or vectors (registers) of a work-item */
    int step;      /* tile, block, matrix: steps of k in local memory */
    int bx, by;    /* block: work-items a group, each way */
    int vw, group; /* registers: floats of a vector; items a group (matrix, too) */
    /* matrix: cl/linear_matrix.cl. parts 0: what the operands need */
    const struct matrix_unit *unit;
    bool emulated;
    int tm, tn, waves, parts;
};

/* A product's configuration for all M of one N and K: a sample's bits must not depend on the batch. */
struct gemm_tuned {
    enum gemm_kind kind;
    bool plain;
    enum fdit_dtype storage, operands;
    int N, K;
    struct gemm_config config;
};
/* The matrix unit that multiplies in one precision; engine GEMM_DEFAULT: none. units.c */
struct unit_choice {
    bool asked;
    struct gemm_config config;
    double gflops;  /* in its trial */
    bool attention; /* by the same unit, whose trial of that was good */
    double attention_gflops;
    char *refused; /* lines about those that failed; NULL: none did */
};
/* A sub-buffer of a tensor: clblast.c. */
struct clblast_view {
    cl_mem parent, view;
    size_t at, bytes;
};

enum {
    GROUP = 256,             /* most work-items a group; a build gets its own as -DGROUP */
    VARIANTS = 160,          /* builds of the products */
    SUM_ROWS = 256,          /* rows a partial sum of column_sum */
    SUM_PARTS = 1024,        /* most partial sums of sum_squares */
    QUEUE_BOUND = 128,       /* launches between two waits for the one before: see fdit_launch_run */
    STAGING_BYTES = 4 << 20, /* of each half of the ring for writes */
    READ_SLOTS = 8,
    PROFILE_EVENTS = 64,
    TUNED = 256,    /* shapes of products, of all precisions */
    UNIT_TYPES = 5, /* bf16, f16, f32 and bf16x3 in parts of bf16, int8 */
    VARIANT_OPTIONS = 320,
    CLBLAST_VIEWS = 512, /* tensors of a model that are given to CLBlast */
};

struct program_state {
    cl_program program;
    cl_kernel kernels[PROGRAM_KERNELS];
};

/* A kernel built for options that are found at run time. */
struct variant {
    char source[32], kernel[32], options[VARIANT_OPTIONS];
    struct program_state state;
};

/* What is done differently for this driver: quirks.c says why. */
struct opencl_quirks {
    int unroll;          /* UNROLL of linear_block.cl and attention.cl: what compilers keep in registers */
    const char *options; /* for its compiler, with a blank after each */
    bool has_own_cache;  /* of built programs: ours is not used */
    bool choose_simd;    /* ask for the lanes of a hardware thread */
    bool misreports_kernels; /* its answers about a kernel's groups and local memory are not believed */
};

struct opencl {
    fdit_context *ctx; /* takes the messages of programs that are built outside of open */
    cl_platform_id platform;
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
    char *label; /* "platform / device", for messages */
    struct program_state programs[PROGRAM_COUNT];
    struct variant variants[VARIANTS];
    int n_variants;
    int cache_hits, cache_stores; /* programs from the disk, and written there: cache.c */
    bool is_cpu;                  /* the device is a processor: no local memory of its own, slow barriers */
    int vector_floats;            /* of its vector registers */
    struct opencl_quirks quirks;
    int simd; /* lanes to ask for (SIMD of cl/prelude.cl); 0: the compiler's choice */
    int compute_units;
    int group;                            /* work-items a group, but for fdit_opencl_group */
    bool no_registers;                    /* never the kernels for processors */
    struct gemm_config gemm_forced;       /* engine GEMM_DEFAULT: none */
    bool engines_fixed;                   /* FINEDIFFUSION_OPENCL_GEMM says something: nothing is tried out */
    struct unit_choice units[UNIT_TYPES]; /* by opencl_unit_place */
    int dot;                              /* DOT of cl/int8.h: int8.c */
    bool dot_asked;
    char *build_log;                /* of the last program that was refused, on one line; NULL: none */
    struct gemm_tuned tuned[TUNED]; /* what tune found on this device: tuned.c */
    int n_tuned;
    int chosen[TUNED][4]; /* products whose engine --verbose has named: kind, M, N, K */
    int n_chosen;
    struct {
        bool on;        /* parameters are set, and a few products were right */
        char text[192]; /* "indirect KWG=32 ..."; empty: never asked for */
        struct clblast_view views[CLBLAST_VIEWS];
        int n_views;
    } clblast;
    size_t view_align; /* bytes, of a sub-buffer's begin */
    cl_mem workspace;  /* `reserved` bytes */
    size_t reserved;
    cl_mem dummy; /* stands for absent tensors */
    cl_event reads[READ_SLOTS];
    struct {
        char *memory;
        size_t used;
        cl_event last; /* the last write from it */
    } staging[2];
    int staging_now;
    int launches; /* since the last marker */
    cl_event marker;
    struct {
        bool on; /* the queue is one that keeps times */
        cl_event events[PROFILE_EVENTS];
        int n;
        double seconds; /* of launches that are no longer in events */
        uint64_t launches;
    } profile;
    bool finish_each; /* FINEDIFFUSION_OPENCL_SYNC: wait after each launch, to find the culprit */
    size_t local_bytes, group_items, max_buffer;
    atomic_flag said_lock;
    char said[256]; /* what the driver told the context's callback last */
};

static inline struct opencl *opencl_of(const fdit_device *dev)
{
    return dev->state;
}

/* Where cl->units has what multiplies in this precision; -1: nothing can. */
static inline int opencl_unit_place(enum fdit_dtype operands)
{
    return operands == FDIT_BF16     ? 0
           : operands == FDIT_F16    ? 1
           : operands == FDIT_F32    ? 2
           : operands == FDIT_BF16X3 ? 3
           : operands == FDIT_I8     ? 4
                                     : -1;
}

/* Whether products of int8 are those of linear_registers.cl. */
static inline bool opencl_int8_by_registers(const struct opencl *cl)
{
    return cl->is_cpu && !cl->no_registers;
}

#define BIT(condition, bit) ((condition) ? 1u << (bit) : 0u) /* of cl/flags.h */

/* error.c */
const char *fdit_opencl_error_name(cl_int error);
/* A sticky error of the device if `error` is one: "opencl: <api>: <name> (<number>), <what>; ...".
 */
bool fdit_opencl_ok(fdit_device *dev, cl_int error, const char *api, const char *what);
/* The same into ctx. */
enum fdit_status fdit_opencl_status(fdit_context *ctx, struct opencl *cl, cl_int error, const char *api,
                                    const char *what);

/* platforms.c: the device "opencl:P:D"; any other spec or NULL: the best. label: free with
 * fdit_free. */
enum fdit_status fdit_opencl_find(fdit_context *ctx, const char *spec, cl_platform_id *platform,
                                  cl_device_id *device, char **label);

/* answers.c. Texts are safe lines without spaces at the ends, names cut after 120 bytes, "" where there is no
 * answer (the name of a platform: "platform without a name"); free with fdit_free. */
enum fdit_status fdit_opencl_device_text(fdit_context *ctx, cl_device_id device, cl_device_info what,
                                         char **out);
enum fdit_status fdit_opencl_platform_text(fdit_context *ctx, cl_platform_id platform, cl_platform_info what,
                                           char **out);
/* In bytes; max_buffer at most memory; a local memory that no device has counts as the least that is needed.
 * 0 where there is no answer. */
enum { OPENCL_LOCAL_LEAST = 32768 };
struct opencl_limits {
    size_t memory, max_buffer, local;
};
struct opencl_limits fdit_opencl_limits_of(cl_device_id device);
/* NULL, or why our kernels cannot run on it. */
const char *fdit_opencl_unusable(cl_device_id device);

/* facts.c: the entry of the table */
enum fdit_status fdit_opencl_facts(fdit_context *ctx, fdit_device *dev, char **out);

/* programs.c: built when first needed: by workspace_bytes, which is asked about the ops of a plan
 * before the first of them runs, by weight_new, else by the first launch. A failure is sticky. */
bool fdit_opencl_program_need(fdit_device *dev, enum program which);
/* The program of one kernel, built with these options when first asked for; NULL after a failure,
 * which is sticky. */
const struct program_state *fdit_opencl_variant(fdit_device *dev, const char *source, const char *kernel,
                                                const char *options);
/* Frees the programs of fdit_opencl_variant from the n-th on. */
void fdit_opencl_variants_trim(struct opencl *cl, int n);
void fdit_opencl_programs_free(struct opencl *cl);
/* Work-items a group in its build: -DGROUP. */
int fdit_opencl_group(const struct opencl *cl, enum program which);
const char *fdit_opencl_kernel_name(enum program which, int kernel);

/* launch.c: one call of one kernel.
 *
 *     struct launch l = fdit_launch_begin(dev, PROGRAM_POINTWISE, KERNEL_AXPY);
 *     fdit_launch_tensor(&l, a->y);
 *     fdit_launch_int(&l, a->beta);
 *     fdit_launch_run(&l, 1, (size_t[]){ items }, (size_t[]){ GROUP });      // items is rounded up
 */
struct launch {
    fdit_device *dev;
    cl_kernel kernel;
    const char *name;
    cl_uint n;
    size_t group; /* GROUP of the program's build */
};
struct launch fdit_launch_begin(fdit_device *dev, enum program program, int kernel);
struct launch fdit_launch_variant(fdit_device *dev, const struct program_state *program, const char *name);
void fdit_launch_memory(struct launch *l, cl_mem memory, size_t at); /* at: in elements */
void fdit_launch_tensor(struct launch *l, struct fdit_tensor t);     /* absent: the dummy */
void fdit_launch_int(struct launch *l, int v);
void fdit_launch_uint(struct launch *l, unsigned v);
void fdit_launch_size(struct launch *l, size_t v);
void fdit_launch_float(struct launch *l, float v);
/* A launch by somebody else. begin: where its event is to go, NULL where none is wanted (`room` is the
 * caller's); end: what fdit_launch_run does after its own. */
cl_event *fdit_launch_foreign_begin(fdit_device *dev, cl_event *room);
void fdit_launch_foreign_end(fdit_device *dev, cl_event *event, const char *name);
void fdit_launch_run(struct launch *l, cl_uint dimensions, const size_t *items, const size_t *local);

/* profile.c: times of launches, while dev->timing. `want` returns where a launch's event goes, NULL: none. */
cl_event *fdit_opencl_profile_want(fdit_device *dev);
double fdit_opencl_busy(fdit_device *dev, uint64_t *launches);

/* memory.c, weights.c: entries of the table */
enum fdit_status fdit_opencl_buffer_new(fdit_context *ctx, fdit_device *dev, size_t bytes, void **handle);
void fdit_opencl_buffer_free(fdit_device *dev, void *handle);
void fdit_opencl_write(fdit_device *dev, fdit_buffer *to, size_t byte_offset, const void *host, size_t bytes);
void fdit_opencl_read(fdit_device *dev, const fdit_buffer *from, size_t byte_offset, void *host,
                      size_t bytes);
void fdit_opencl_read_begin(fdit_device *dev, const fdit_buffer *from, size_t byte_offset, void *host,
                            size_t bytes, int slot);
void fdit_opencl_read_end(fdit_device *dev, int slot);
void fdit_opencl_fill(fdit_device *dev, struct fdit_tensor t, size_t n, float value);
void fdit_opencl_copy(fdit_device *dev, struct fdit_tensor to, struct fdit_tensor from, size_t n);
void fdit_opencl_sync(fdit_device *dev);
size_t fdit_opencl_workspace_bytes(fdit_device *dev, const struct fdit_op_shape *shape);
enum fdit_status fdit_opencl_reserve(fdit_context *ctx, fdit_device *dev, size_t bytes);
/* How a weight's numbers are kept: where products round to 16 bits, f32 ones already rounded; in int8 large
 * ones as that. */
enum fdit_dtype fdit_opencl_weight_storage(const fdit_device *dev, const struct fdit_weight_desc *desc);
bool fdit_opencl_supports_precision(const fdit_device *dev, enum fdit_dtype precision);
bool fdit_opencl_supports_storage(const fdit_device *dev, enum fdit_dtype storage);
size_t fdit_opencl_weight_bytes(fdit_device *dev, const struct fdit_weight_desc *desc);
enum fdit_status fdit_opencl_weight_new(fdit_context *ctx, fdit_device *dev,
                                        const struct fdit_weight_desc *desc, const float *data,
                                        void **handle);
void fdit_opencl_weight_free(fdit_device *dev, void *handle);
/* Where the scales of an int8 weight begin in its buffer, in floats. */
size_t fdit_opencl_weight_scales(const struct opencl *cl, const struct fdit_weight_desc *desc);

/* ops.c, attention.c: builds the programs of an op of this shape */
void fdit_opencl_linear_prepare(fdit_device *dev, const struct fdit_op_shape *shape);
size_t fdit_opencl_linear_workspace(fdit_device *dev, const struct fdit_op_shape *shape);
size_t fdit_opencl_attention_floats(const fdit_device *dev, const struct fdit_op_shape *shape);
void fdit_opencl_attention_programs(fdit_device *dev, const struct fdit_op_shape *shape, bool backward);

/* f32 to bf16 or back. */
void fdit_opencl_convert(fdit_device *dev, struct fdit_tensor to, struct fdit_tensor from, size_t n);
/* picture.c. On a processor a conv is a product of patches that are written first, as `linear` does products
 * best there; elsewhere, and in groups, kernels look them up, from a weight that lies as [n_out][n_in]. */
static inline bool opencl_conv_by_patches(const struct opencl *cl)
{
    return cl->is_cpu && !cl->no_registers;
}
static inline bool opencl_weight_is_plain(const struct opencl *cl, const struct fdit_weight_desc *desc)
{
    return desc->conv && (desc->groups > 1 || !opencl_conv_by_patches(cl));
}
#define OP(entry, ENUM, arguments) \
    void fdit_opencl_##entry(fdit_device *dev, const struct fdit_##arguments *a);
#include "device/op_list.h"

size_t fdit_opencl_picture_workspace(const fdit_device *dev, const struct fdit_op_shape *shape);
void fdit_opencl_conv_prepare(fdit_device *dev, const struct fdit_op_shape *shape);

#endif
