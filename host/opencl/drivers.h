/* SPDX-License-Identifier: Apache-2.0
 * drivers.h: which of the installed OpenCL drivers are let into this process. A driver is code of
 * others that may abort, crash, hang or print when it is loaded; so a program of ours
 * (fdit_context.helper) looks at each of them in a process of its own first. Without a helper all
 * drivers are loaded as they are. */
#ifndef FDIT_HOST_OPENCL_DRIVERS_H
#define FDIT_HOST_OPENCL_DRIVERS_H

#include "core/status.h"

struct driver {
    char *name;     /* for people: "pocl.icd" */
    char *icd;      /* the file that names the library; NULL: none does */
    char *library;  /* as the loader is given it */
    char *unread;   /* why the file that names it could not be read; NULL: it could, or is not a file */
    char *identity; /* of its files: changes when a driver is updated */
    bool implied;   /* no file was found: whatever the loader finds by itself */
    bool good;      /* it can be loaded, and has a platform */
    bool empty;     /* it can be loaded, and has none */
    bool fresh;     /* looked at now, not remembered */
    int platforms, gpus;
    char *note; /* why it is not used; of a good one what it prints, "" when nothing */
};

/* ---- drivers.c: what is installed */

/* The drivers that the loader would load, in its order. Free with fdit_drivers_free. */
enum fdit_status fdit_drivers_installed(fdit_context *ctx, struct driver **out, size_t *n);
void fdit_drivers_free(struct driver *list, size_t n);
/* What verdicts about drivers depend on beside their files: the kernel, what can be seen of /sys
 * and /dev, limits, variables of the environment. Hex digits; free with fdit_free. */
enum fdit_status fdit_drivers_surroundings(fdit_context *ctx, char **out);
/* "PATH size time", "PATH missing": appended to *text. */
enum fdit_status fdit_drivers_add_file(fdit_context *ctx, const char *path, char **text);

/* ---- verdicts.c: what is remembered about them, in the folder of compiled programs */

/* In the file. Crashed: in a job, after a trial that was good; empty: no platform. Only good is not bad. */
enum { VERDICT_BAD, VERDICT_GOOD, VERDICT_CRASHED, VERDICT_EMPTY };

struct verdict {
    bool good, empty; /* as in struct driver */
    int platforms, gpus;
    char *note;  /* free with fdit_free */
    char *files; /* libraries that the loader found, "PATH\nPATH\n"; a verdict is void when one has
                    changed */
};
/* Is there a verdict about exactly `subject`, not too old? */
extern const char fdit_verdict_head[]; /* the file's first line */
/* Where a verdict about it lies; its folder is made. Free with fdit_free. */
enum fdit_status fdit_verdict_path(const char *subject, char **out);
bool fdit_verdict_load(const char *subject, struct verdict *out);
void fdit_verdict_store(const char *subject, const struct verdict *v); /* a failure has no effect */

/* ---- crash.c: a verdict for a later process when this one crashes */

/* From here on, until _unwatch, a crash of this process speaks against the device. */
void fdit_crash_watch(const char *spec, const char *subject);
void fdit_crash_unwatch(const char *spec); /* one that is not watched: nothing */

/* ---- helper.c */

/* How the process that looks at drivers ends: with no status that a driver would end it with by chance. */
enum { HELPER_DONE = 86 };

/* ---- admit.c */

/* Before the first call of OpenCL: decides, once for the process, which drivers are loaded, and
 * loads them. *any: there are some. gpus: none is loaded where none of them has a GPU (*any false
 * then). */
enum fdit_status fdit_drivers_admit(fdit_context *ctx, bool gpus, bool *any);
/* What was found; valid until the process ends. n 0 without a helper. */
const struct driver *fdit_drivers_known(size_t *n);
/* Tries the device out in another process: opens it and computes the self-test. *why: NULL when
 * that process lived through it (which does not say that it computes correctly), else what
 * happened; *said: what the driver printed meanwhile, "" when nothing. Both are freed with
 * fdit_free. */
enum fdit_status fdit_drivers_try(fdit_context *ctx, const char *spec, const char *name, const char *version,
                                  char **why, char **said);
/* A matrix unit of an open device: what it is called, for which type ("bf16"), and what its verdict depends
 * on beside the drivers. */
struct unit_subject {
    const char *spec, *device, *unit, *type, *key;
    bool attention; /* by it; else products */
};
/* The same for it: fdit_unit_trial or fdit_attention_trial in another process. v->good: it computes
 * correctly, v->note says how fast; else the note says what is wrong, or happened. The note is NULL where
 * no helper can make a trial. *subject: for fdit_crash_watch; it and the strings of v are freed with
 * fdit_free. */
enum fdit_status fdit_drivers_try_unit(fdit_context *ctx, const struct unit_subject *unit, struct verdict *v,
                                       char **subject);

#endif
