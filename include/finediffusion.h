/* SPDX-License-Identifier: Apache-2.0
 * finediffusion.h: fine-tune a class-conditional diffusion transformer and draw with it.
 *
 * A program that draws four pictures (doc/examples/draw.c; doc/examples/finetune.c trains as well):
 *
 *     cc draw.c $(pkg-config --cflags --libs finediffusion) -o draw
 *     ./draw base.safetensors run/delta.safetensors
 *
 *     #include <finediffusion.h>
 *
 *     #include <stdio.h>
 *     #include <stdlib.h>
 *
 *     enum { PICTURES = 4 };
 *
 *     static enum fdit_status draw(fdit_context *ctx, fdit_session *s, float *x)
 *     {
 *         const int32_t classes[PICTURES] = { 0, 0, 1, 1 };
 *         const uint64_t seeds[PICTURES] = { 1, 2, 1, 2 };
 *         enum fdit_status status = fdit_session_draw(ctx, s, NULL, classes, seeds, PICTURES, x);
 *         for (int i = 0; i < PICTURES && status == FDIT_OK; i++) {
 *             char path[32];
 *             snprintf(path, sizeof path, "picture-%d.png", i);
 *             status = fdit_session_save_png(ctx, s, x + (size_t)i * fdit_session_elements(s), path);
 *             if (status == FDIT_OK)
 *                 printf("%s: %s\n", path, fdit_session_class_name(s, classes[i]));
 *         }
 *         return status;
 *     }
 *
 *     int main(int argc, char **argv)
 *     {
 *         if (argc < 3)
 *             return fprintf(stderr, "use: draw BASE DELTA [AUTOENCODER]\n"), EXIT_FAILURE;
 *         fdit_context *ctx = fdit_context_new();
 *         if (!ctx)
 *             return fprintf(stderr, "draw: out of memory\n"), EXIT_FAILURE;
 *         struct fdit_session_options options;
 *         fdit_session_options_init(&options);
 *         options.base = argv[1];
 *         options.delta = argv[2];
 *         options.vae = argc > 3 ? argv[3] : NULL; // for a model on latents
 *         fdit_session *s = NULL;
 *         float *x = NULL;
 *         enum fdit_status status = fdit_session_open(ctx, &options, &s);
 *         if (status == FDIT_OK) {
 *             x = (float *)malloc(PICTURES * fdit_session_elements(s) * sizeof *x);
 *             status = x ? draw(ctx, s, x) : FDIT_ERROR_MEMORY;
 *         }
 *         if (status != FDIT_OK)
 *             fprintf(stderr, "draw: %s: %s\n", fdit_status_text(status), fdit_context_message(ctx));
 *         free(x);
 *         fdit_session_close(s);
 *         fdit_context_free(ctx);
 *         return status == FDIT_OK ? EXIT_SUCCESS : EXIT_FAILURE;
 *     }
 *
 * Rules. Functions return a status, results through pointers; the text of a failure is in the context. Any
 * function that returns a status may return FDIT_ERROR_MEMORY (host memory is short) besides those that its
 * comment lists. Strings that are passed in are copied or used during the call only; texts that are returned
 * belong to the object. What a function makes is freed by the function that its comment names. Nothing is
 * printed, nothing ends the process. One thread at a time may use an object; different contexts, sessions and
 * trainings are independent, but for sessions that share a base (`beside`): one thread at a time uses any of
 * these.
 *
 * Versions. Structs of options begin with their size: fill them with their _init macro, which stores it and
 * the defaults, then set fields. A later version may add fields at the end; programs that were compiled
 * before get the defaults for them. A struct that a callback receives may grow at the end as well.
 * Files and programs of earlier versions: see NEWS.
 *
 * The defaults are those of the program: `finediffusion sample --help` and `finediffusion train --help`.
 *
 * Drivers. OpenCL drivers are loaded into the process that uses them, and may crash, hang or print
 * there. The program `finediffusion` tries them in processes of its own first. The library has
 * no program to start: it does so where FINEDIFFUSION_HELPER holds the path of a `finediffusion` of
 * the same version, and loads what is installed otherwise; with the device "cpu" no driver is
 * touched. */
#ifndef FINEDIFFUSION_H
#define FINEDIFFUSION_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* What a function that can fail returns. The text that belongs to it is in the context. */
enum fdit_status {
    FDIT_OK = 0,
    FDIT_ERROR_MEMORY,      /* host memory */
    FDIT_ERROR_IO,          /* open, read, write, rename: errno's text is in the message */
    FDIT_ERROR_FORMAT,      /* a file is not what it should be */
    FDIT_ERROR_ARGUMENT,    /* an option or argument of the caller; the program then exits with status 2 */
    FDIT_ERROR_UNSUPPORTED, /* well formed, but this build or device cannot do it */
    FDIT_ERROR_DEVICE,      /* a device failed, or its memory is short */
    FDIT_ERROR_NUMERIC,     /* NaN or infinity where a number is needed */
    FDIT_INTERRUPTED,       /* asked to stop, by a signal or fdit_context_stop */
};

/* "out of memory", "input or output error", ...; never NULL, static. */
const char *fdit_status_text(enum fdit_status status);

/* From the most to the least serious; NOTE beside them: what a user who waits wants to know. */
enum fdit_log_level { FDIT_LOG_ERROR, FDIT_LOG_WARNING, FDIT_LOG_INFO, FDIT_LOG_DEBUG, FDIT_LOG_NOTE };

/* Receives one message without a newline. The library never prints by itself. */
typedef void (*fdit_log_fn)(void *user, enum fdit_log_level level, const char *message);

/* Carries the last error message, the log callback and the stop request. One thread at a time; make
 * one per thread. */
typedef struct fdit_context fdit_context;

fdit_context *fdit_context_new(void);      /* NULL when memory is short; free with fdit_context_free */
void fdit_context_free(fdit_context *ctx); /* NULL is allowed */
void fdit_context_set_log(fdit_context *ctx, fdit_log_fn log, void *user);
/* The message of the last failure, "" if there was none. Owned by ctx, valid until its next failure. */
const char *fdit_context_message(const fdit_context *ctx);
/* Async-signal-safe request: long jobs end after the current step with FDIT_INTERRUPTED, those that begin
 * later at once, until fdit_context_go_on takes the request back. */
void fdit_context_stop(fdit_context *ctx);
void fdit_context_go_on(fdit_context *ctx);

/* "0.1.0" */
const char *fdit_version(void);

/* ------------------------------------------------------------------ devices */

struct fdit_device_description {
    const char *device; /* what options call it: "cpu", "opencl:0:0" */
    const char *name;   /* "AMD EPYC, 2 threads" */
    const char *driver; /* instruction set and matrix products, or the OpenCL driver's version */
    const char *note;   /* why it cannot be used, or what is worth knowing; "": nothing */
    size_t memory;      /* bytes that may be used */
    int threads;        /* of the CPU; 0: others */
    bool is_gpu;
    bool usable; /* it opens; what it computes is tried by whoever opens it */
};
/* Returns false to end the list. The texts are valid until it returns. */
typedef bool (*fdit_device_fn)(void *user, const struct fdit_device_description *device);
/* Calls `each` for every device of this machine, also for those that cannot be used. FDIT_ERROR_DEVICE: they
 * cannot be listed. */
enum fdit_status fdit_list_devices(fdit_context *ctx, fdit_device_fn each, void *user);

/* ------------------------------------------------------------------ drawing pictures */

/* A loaded model on its devices. */
typedef struct fdit_session fdit_session;

/* Texts are what the options of `finediffusion sample` take; NULL is their default. */
struct fdit_session_options {
    size_t size; /* of this struct: fdit_session_options_init */
    /* weights and classes */
    const char *base;         /* checkpoint; must be set */
    const char *delta;        /* delta of a fine-tuning run over it; NULL: none */
    const char *weights_from; /* "ema" (NULL) or "raw", of files that hold both */
    const char *model;        /* "DiT-XL/2" or "D,L,H,P"; NULL: as the files say */
    const char *taxonomy;     /* class tree, when the files carry none; NULL */
    const char *ranks;        /* "genus,family" of that file; NULL: all */
    const char *guide;        /* superclass[:RANK], empty, random, base, delta:FILE, none; NULL: as trained */
    bool force;               /* take a delta that was made from another base */
    /* the autoencoder of a model on latents */
    const char *vae;  /* safetensors file of an AutoencoderKL, or its folder; NULL: latents stay latents */
    double vae_scale; /* its scaling factor; 0: as its config.json says */
    /* where and how it is computed */
    const char *device; /* "cpu", "gpu", "opencl:0:0", part of a name, several with commas; NULL: the best */
    int threads;        /* of the CPU; 0: all */
    const char *precision; /* of products: "f32" (NULL), "bf16x3", "bf16", "f16", "int8" or "auto" */
    const char *weights;   /* type that weights are kept in: "f32" (NULL), "bf16", "f16", "int8" */
    size_t memory;         /* bytes of a device to keep to; 0: what the device has */
    int batch;             /* pictures that a device draws at once; 0: by size and memory */
    bool plan_only; /* for fdit_session_plan: nothing is allocated on the device, nothing can be drawn */
    /* "flow-sit", "ddpm", ... of a base whose file does not say it, as a SiT's state_dict; NULL: as the files
     * say, else "ddpm" */
    const char *objective;
    bool merge; /* add the delta's adapter to the weights as they are loaded: draws as fast as without */
    /* compute some blocks only every few steps: "3", "0" and "fora" mean what --cache-interval, --cache-order
     * and --cache-full do; NULL: all blocks in every step. The plan counts what is kept for it. */
    const char *cache_interval, *cache_order, *cache_full;
    /* A session over the same base that was opened before, with its weights: this one draws on its devices,
     * in its precision and type of weights, and what both take from the base is in memory once; bytes and
     * plan are those of what this one adds. `base` may be NULL; threads is not looked at; device, precision
     * and weights are NULL or what they are there. Either may be closed first. NULL: none. */
    fdit_session *beside;
};
#define fdit_session_options_init(options) fdit_session_options_init_size((options), sizeof *(options))
void fdit_session_options_init_size(struct fdit_session_options *options, size_t size);

/* Opens device and files and loads the weights. *out is freed by fdit_session_close, NULL on failure.
 * FDIT_ERROR_ARGUMENT: an option is not what it should be; FDIT_ERROR_IO, _FORMAT, _NUMERIC: a file;
 * FDIT_ERROR_UNSUPPORTED: this build or device cannot do it; FDIT_ERROR_DEVICE: the device failed, or the
 * plan does not fit its memory. */
enum fdit_status fdit_session_open(fdit_context *ctx, const struct fdit_session_options *options,
                                   fdit_session **out);
void fdit_session_close(fdit_session *s); /* NULL is allowed */

/* The memory that it holds: as a table for people, and in bytes on all devices together and in this process
 * (with the device's part where the device has no memory of its own). The text belongs to the session. */
const char *fdit_session_plan(const fdit_session *s);
size_t fdit_session_device_bytes(const fdit_session *s);
size_t fdit_session_process_bytes(const fdit_session *s);
int fdit_session_batch(const fdit_session *s); /* pictures that a device draws at once */

/* "DiT-XL/2", "superclass:genus". */
const char *fdit_session_model(const fdit_session *s);
const char *fdit_session_guide(const fdit_session *s);

/* Classes have ids from 0; a name out of range is NULL, an unknown one -1. */
int32_t fdit_session_n_classes(const fdit_session *s);
const char *fdit_session_class_name(const fdit_session *s, int32_t id);
int32_t fdit_session_find_class(const fdit_session *s, const char *name);
/* Ranks of the taxonomy ("genus", "family", ...), from the one next to the class, and their groups. */
int32_t fdit_session_n_ranks(const fdit_session *s);
const char *fdit_session_rank_name(const fdit_session *s, int32_t rank);
int32_t fdit_session_find_rank(const fdit_session *s, const char *name);
int32_t fdit_session_n_groups(const fdit_session *s, int32_t rank);
const char *fdit_session_group_name(const fdit_session *s, int32_t rank, int32_t group);
int32_t fdit_session_find_group(const fdit_session *s, int32_t rank, const char *name);
/* The group of a class at a rank: its superclass there. -1 when either is out of range. */
int32_t fdit_session_class_group(const fdit_session *s, int32_t rank, int32_t id);
/* The ids of classes, written as for --classes: "all", "genus=Turdus", names, "#5", several with commas,
 * "@FILE". Writes the first `room` of them to ids (NULL with room 0) and their number to *n.
 * FDIT_ERROR_ARGUMENT: a name is not known, with the closest ones; FDIT_ERROR_IO: the file. */
enum fdit_status fdit_session_select(fdit_context *ctx, const fdit_session *s, const char *what, int32_t *ids,
                                     size_t room, size_t *n);

/* What the model draws, x [channels][size][size] of pixels or latents: its size, channels and elements. */
int fdit_session_size(const fdit_session *s);
int fdit_session_channels(const fdit_session *s); /* pixels: 1 grey, 3 colour; latents: usually 4 */
size_t fdit_session_elements(const fdit_session *s);
/* A picture of 8 bits a channel: its height and width, its channels (1 or 3) and its bytes. All are 0 for
 * latents without an autoencoder. */
int fdit_session_picture_size(const fdit_session *s);
int fdit_session_picture_channels(const fdit_session *s);
size_t fdit_session_picture_bytes(const fdit_session *s);

struct fdit_draw_progress {
    size_t done, total; /* pictures */
    int step, steps;    /* of the pictures that are being drawn */
};
/* Called after every step from the thread that draws; returns false to stop. */
typedef bool (*fdit_draw_fn)(void *user, const struct fdit_draw_progress *progress);

struct fdit_draw_options {
    size_t size;         /* of this struct: fdit_draw_options_init */
    const char *sampler; /* as --sampler: "ddim:ETA", "heun"; NULL: "ddpm", of flow models "euler" */
    int steps;           /* 1 to 1000; 0: the sampler's default */
    double guidance;     /* scale, 1: none; NaN (the default): 2 for pixels, 4 for latents */
    const char *guidance_channels; /* "3" or "all"; NULL: 3 of 4 latent channels, else all */
    const char *guidance_interval; /* "LO:HI": guide at LO <= t <= HI only; NULL: always */
    int clip_x0;                   /* clamp the predicted x0 to [-1, 1]: 1, 0; -1 (the default): for pixels */
    const char *rng;               /* random numbers: "philox" (NULL), "torch-cpu", "torch-cuda" */
    fdit_draw_fn progress;         /* NULL: none */
    void *user;                    /* of progress */
    const char *guidance_rule;     /* "plain" (NULL) or, of flow models, "zero-star" */
};
#define fdit_draw_options_init(options) fdit_draw_options_init_size((options), sizeof *(options))
void fdit_draw_options_init_size(struct fdit_draw_options *options, size_t size);

/* Draws n pictures, of these classes [n] and seeds [n], into x [n][channels][size][size]; options NULL: the
 * defaults. A picture depends on weights, class, seed and options only, not on batch, order, threads or the
 * other pictures.
 * FDIT_ERROR_ARGUMENT: a class or an option; FDIT_ERROR_NUMERIC: a result is not finite; FDIT_ERROR_DEVICE;
 * FDIT_INTERRUPTED after fdit_context_stop, or when progress returned false. */
enum fdit_status fdit_session_draw(fdit_context *ctx, fdit_session *s,
                                   const struct fdit_draw_options *options, const int32_t *classes,
                                   const uint64_t *seeds, size_t n, float *x);
/* Turns x of n pictures into 8 bits a channel, decoded by the autoencoder where the model works on latents:
 * pixels [n][picture_size][picture_size][picture_channels]. FDIT_ERROR_ARGUMENT: latents without an
 * autoencoder; FDIT_ERROR_DEVICE. */
enum fdit_status fdit_session_pixels(fdit_context *ctx, fdit_session *s, const float *x, size_t n,
                                     unsigned char *pixels);
/* Writes x of one picture to a PNG file, which appears whole or not at all; the same statuses, and
 * FDIT_ERROR_IO. */
enum fdit_status fdit_session_save_png(fdit_context *ctx, fdit_session *s, const float *x, const char *path);
/* The same for a picture that was drawn with these options (NULL: the defaults), class and seed: the file
 * that `finediffusion sample` writes, with texts that say class, seed, options and the hash of the weights.
 * The first call reads the files of the weights for that hash: FDIT_ERROR_IO, _FORMAT. */
enum fdit_status fdit_session_save_picture(fdit_context *ctx, fdit_session *s,
                                           const struct fdit_draw_options *options, int32_t class_id,
                                           uint64_t seed, const float *x, const char *path);
/* Writes pixels [height][width][channels], channels 1 or 3, to a PNG file, which appears whole or not at all.
 * FDIT_ERROR_ARGUMENT: a size or number of channels; FDIT_ERROR_IO. */
enum fdit_status fdit_save_png(fdit_context *ctx, const char *path, const unsigned char *pixels, int width,
                               int height, int channels);

/* ------------------------------------------------------------------ fine-tuning */

/* A run of fine-tuning, or of training from scratch: its options, then the run itself. */
typedef struct fdit_training fdit_training;

/* A training with the defaults of `finediffusion train`. Freed by fdit_training_free. */
enum fdit_status fdit_training_new(fdit_context *ctx, fdit_training **out);
void fdit_training_free(fdit_training *t); /* NULL is allowed */

/* An option of `finediffusion train --help`, without its dashes, as it would be typed there: ("lr",
 * "1e-3"), ("tune", "bitfit"), ("flip", "none"), ("device", "cpu"), ("memory", "6G"). A flag takes "true"
 * or "false". Needed are base (or from-scratch), data, steps (or epochs) and out. FDIT_ERROR_ARGUMENT names
 * the option, the value and what is possible; the training is then as it was. */
enum fdit_status fdit_training_set(fdit_context *ctx, fdit_training *t, const char *option,
                                   const char *value);
/* Takes the options that a run's config.json (or a file like it) holds; those that were set before are lost.
 * FDIT_ERROR_IO, FDIT_ERROR_FORMAT; FDIT_ERROR_ARGUMENT: a file that it names is not there. */
enum fdit_status fdit_training_read_config(fdit_context *ctx, fdit_training *t, const char *path);
/* The same with the options of the run in this folder, which fdit_training_run goes on with, to the bits that
 * an unbroken run would have had. */
enum fdit_status fdit_training_resume(fdit_context *ctx, fdit_training *t, const char *run);

/* What the run would hold in memory, as a table for people; nothing is computed or written. The text is
 * valid until the next call with this training. Statuses as of fdit_training_run; FDIT_ERROR_DEVICE: it
 * does not fit, the text is there all the same. */
enum fdit_status fdit_training_plan(fdit_context *ctx, fdit_training *t, const char **text);

struct fdit_training_progress {
    int64_t step, steps;  /* steps done, and of the whole run */
    double loss, mse, vb; /* of the last step: loss = mse + vb, mean squared error and bound in bits */
    double lr;            /* of the last step */
    double images_per_second, seconds; /* of training so far */
};
/* Called after every step from the calling thread; returns false to stop after a checkpoint. */
typedef bool (*fdit_training_fn)(void *user, const struct fdit_training_progress *progress);

/* Runs to the end. The result is OUT/delta.safetensors; the README says what else OUT holds. progress may be
 * NULL. FDIT_ERROR_ARGUMENT: an option; FDIT_ERROR_IO, _FORMAT, _NUMERIC: a file; FDIT_ERROR_UNSUPPORTED,
 * FDIT_ERROR_DEVICE: the device; FDIT_ERROR_NUMERIC: the loss is not finite; FDIT_INTERRUPTED, with a
 * checkpoint to go on from, after fdit_context_stop or when progress returned false. */
enum fdit_status fdit_training_run(fdit_context *ctx, fdit_training *t, fdit_training_fn progress,
                                   void *user);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
