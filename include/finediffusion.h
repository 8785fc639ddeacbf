/* SPDX-License-Identifier: Apache-2.0
 * finediffusion.h: fine-tune a class-conditional diffusion transformer and sample it.
 *
 * A program that draws four pictures (cc draw.c $(pkg-config --cflags --libs finediffusion)):
 *
 *     #include <finediffusion.h>
 *     #include <stdio.h>
 *     #include <stdlib.h>
 *
 *     int main(void)
 *     {
 *         fdit_context *ctx = fdit_context_new();
 *         fdit_session *s = NULL;
 *         struct fdit_session_options o = { .base = "base.safetensors", .delta =
 * "delta.safetensors" }; struct fdit_draw_options how = FDIT_DRAW_DEFAULTS; if
 * (fdit_session_open(ctx, &o, &s) != FDIT_OK) { fprintf(stderr, "%s\n", fdit_context_message(ctx));
 *             return 1;
 *         }
 *         int32_t classes[4] = { 0, 0, 1, 1 };
 *         uint64_t seeds[4] = { 1, 2, 1, 2 };
 *         size_t one = fdit_session_numbers(s);
 *         float *x = malloc(4 * one * sizeof *x);
 *         unsigned char *pixels = malloc(4 * one);
 *         if (fdit_session_draw(ctx, s, &how, classes, seeds, 4, x) == FDIT_OK)
 *             fdit_session_pixels(s, x, 4, pixels); // 8-bit, [4][height][width][channels]
 *         free(x);
 *         free(pixels);
 *         fdit_session_close(s);
 *         fdit_context_free(ctx);
 *     }
 *
 * Rules. Functions return a status, results through pointers; the text of a failure is in the
 * context. Strings that are passed in are copied or used during the call only. What a function
 * makes is freed by the function that its comment names. Nothing is printed, nothing ends the
 * process. One thread at a time may use an object; different contexts and sessions are independent.
 *
 * Drivers. OpenCL drivers are loaded into the process that uses them, and may crash, hang or print
 * there. The program `finediffusion` looks at them in processes of its own first. The library has
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
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* What a function that can fail returns. The text that belongs to it is in the context. */
enum fdit_status {
    FDIT_OK = 0,
    FDIT_ERROR_MEMORY,      /* host memory */
    FDIT_ERROR_IO,          /* open, read, write, rename: errno's text is in the message */
    FDIT_ERROR_FORMAT,      /* a file is not what it should be */
    FDIT_ERROR_ARGUMENT,    /* an option or argument of the caller: exit status 2 */
    FDIT_ERROR_UNSUPPORTED, /* well formed, but this build or device cannot do it */
    FDIT_ERROR_DEVICE,      /* a device failed, or its memory is short */
    FDIT_ERROR_NUMERIC,     /* NaN or infinity where a number is needed */
    FDIT_INTERRUPTED,       /* asked to stop, by a signal or fdit_context_stop */
};

/* "out of memory", "input or output error", ...; never NULL, static. */
const char *fdit_status_text(enum fdit_status status);

/* NOTE: what a user who waits would want to know; the others in order of weight. */
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
/* Async-signal-safe request: long jobs end after the current step with FDIT_INTERRUPTED. */
void fdit_context_stop(fdit_context *ctx);

/* "0.1.0" */
const char *fdit_version(void);

/* ------------------------------------------------------------------ drawing pictures */

/* A model on a device. */
typedef struct fdit_session fdit_session;

struct fdit_session_options {
    const char *device;   /* "cpu", "gpu", "opencl:0:0", part of a name; NULL: the best there is */
    int threads;          /* 0: all */
    const char *base;     /* checkpoint: safetensors with the public names */
    const char *delta;    /* delta of a fine-tuning run over it; NULL: none */
    const char *taxonomy; /* class tree, when the files carry none; NULL */
    const char *guide;    /* superclass[:RANK], empty, random, base, delta:FILE, none; NULL: as trained */
    int batch;            /* pictures drawn at once; 0: 16 */
};

/* Opens device and files and loads the weights. *out is freed by fdit_session_close. */
enum fdit_status fdit_session_open(fdit_context *ctx, const struct fdit_session_options *options,
                                   fdit_session **out);
void fdit_session_close(fdit_session *s); /* NULL is allowed */

int32_t fdit_session_classes(const fdit_session *s);
/* Owned by the session. */
const char *fdit_session_class_name(const fdit_session *s, int32_t id);
/* -1 when there is none of that name. */
int32_t fdit_session_find_class(const fdit_session *s, const char *name);
int fdit_session_size(const fdit_session *s);       /* height and width of a picture (or latent) */
int fdit_session_channels(const fdit_session *s);   /* 1 grey, 3 colour, 4 latents */
size_t fdit_session_numbers(const fdit_session *s); /* channels * size * size */

struct fdit_draw_options {
    const char *sampler; /* "ddpm", "ddim", "ddim:ETA", "dpm++"; NULL: ddpm */
    int steps;           /* 0: the sampler's default (250, 50, 20) */
    double guidance;     /* 1: none */
    bool all_channels;   /* guide every channel; false: the first 3 of 4, all of 1 or 3 */
    bool clip_x0;        /* for models on pixels */
};
#define FDIT_DRAW_DEFAULTS         \
    {                              \
        NULL, 0, 4.0, false, false \
    }

/* x [n][channels][size][size]: n pictures of these classes and seeds. A picture depends on weights, class,
 * seed and options only. FDIT_INTERRUPTED after fdit_context_stop. */
enum fdit_status fdit_session_draw(fdit_context *ctx, fdit_session *s,
                                   const struct fdit_draw_options *options, const int32_t *classes,
                                   const uint64_t *seeds, size_t n, float *x);
/* x in [-1, 1] to 8 bits: pixels [n][size][size][channels]. */
void fdit_session_pixels(const fdit_session *s, const float *x, size_t n, uint8_t *pixels);

/* ------------------------------------------------------------------ fine-tuning */

struct fdit_training {
    const char *device; /* as in fdit_session_options */
    int threads;
    const char *base;     /* checkpoint */
    const char *data;     /* folder of class folders, .tar, .tar.gz */
    const char *taxonomy; /* TSV or JSON; NULL: nested folders */
    const char *tune;     /* "finediffusion", "bitfit", "norm", "table", "full"; NULL: finediffusion */
    const char *out;      /* folder of the run; OUT/delta.safetensors is the result */
    bool resume;
    bool mirror; /* mirror half of the pictures */
    int64_t steps;
    int batch; /* 0: 32 */
    double lr; /* 0: 1e-4 */
    uint64_t seed;
};

struct fdit_training_progress {
    int64_t step, steps;
    double loss, images_per_second;
};
/* Called after every step from the calling thread. */
typedef void (*fdit_training_fn)(void *user, const struct fdit_training_progress *p);

/* Runs to the end, or to FDIT_INTERRUPTED with a checkpoint after fdit_context_stop. progress may be
 * NULL. */
enum fdit_status fdit_train(fdit_context *ctx, const struct fdit_training *training,
                            fdit_training_fn progress, void *user);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
