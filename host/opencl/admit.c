/* SPDX-License-Identifier: Apache-2.0
 * admit.c: looks at drivers in other processes, and loads those that lived through it.
 *
 * Each driver is looked at alone, so that a bad one does not take good ones along; then the good
 * ones together, because two drivers may bring libraries that do not bear each other. Where some
 * are left out, the loader is given a folder with the others: it reads OCL_ICD_VENDORS at its first
 * call and never again, so the variable is as it was afterwards. The loader loads once for a
 * process; so is what is known here. */
#define CL_TARGET_OPENCL_VERSION 120
#include "drivers.h"
#include "guard.h"

#include "core/child.h"
#include "core/file.h"
#include "core/mem.h"

#include <CL/cl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Cards that sleep take ten seconds and more to answer; some compilers take a minute for what is
 * tried. */
enum { LOOK_SECONDS = 20, TRY_SECONDS = 180, UNIT_SECONDS = 120 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    bool done;   /* it is decided */
    bool loaded; /* the loader has been given the folder, or needs none */
    bool open;   /* without a helper: nothing is known, everything is let in */
    bool all;    /* every installed driver is good */
    struct driver *list;
    size_t n;
    char *subject; /* identities and surroundings */
} known;

/* Seconds that a child may take. */
static int patience(int usual)
{
    const char *text = getenv("FINEDIFFUSION_DRIVER_SECONDS");
    int seconds = text ? atoi(text) : 0;
    return seconds > 0 ? seconds : usual;
}

static const char *helper_of(const fdit_context *ctx)
{
    const char *own = getenv("FINEDIFFUSION_HELPER");
    if (ctx && ctx->helper)
        return ctx->helper;
    return own && *own ? own : NULL;
}

/* ------------------------------------------------------------------------ a folder of drivers */

/* A folder with an .icd file for each of the chosen. Remove it with folder_remove. */
static enum fdit_status folder_make(fdit_context *ctx, const struct driver *list, const bool *chosen,
                                    size_t n, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL, *path = NULL;
    *out = NULL;
    TRY(fdit_strf(ctx, &folder, "%s/finediffusion-XXXXXX", fdit_temporary_folder()));
    if (!mkdtemp(folder))
        FAIL(ctx, FDIT_ERROR_IO, "%s: a temporary folder cannot be made; set TMPDIR", folder);
    *out = folder;
    folder = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!chosen[i])
            continue;
        fdit_free(path);
        /* the loaders sort by name or not at all; the numbers keep the order */
        TRY(fdit_strf(ctx, &path, "%s/%03zu.icd", *out, i));
        TRY(fdit_file_write(ctx, path, false, list[i].library, strlen(list[i].library)));
    }
out:
    fdit_free(path);
    fdit_free(folder);
    return status;
}

static void folder_remove(char *folder, size_t n)
{
    char *path;
    for (size_t i = 0; folder && i < n; i++)
        if (fdit_strf(NULL, &path, "%s/%03zu.icd", folder, i) == FDIT_OK) {
            unlink(path);
            fdit_free(path);
        }
    if (folder)
        rmdir(folder);
    fdit_free(folder);
}

/* ------------------------------------------------------------------------ a look */

/* What a child replied, line by line (helper.c). */
struct reply {
    bool ours, ended; /* begins with this version; ends as it should */
    int platforms, gpus;
    const char *phase;   /* "when it is loaded" */
    const char *failed;  /* what it found by itself, NULL: nothing */
    const char *changes; /* what belongs to the program; NULL: nothing */
    const char *result;  /* of a trial that was good, NULL: none */
    char *files;         /* "PATH\nPATH\n" */
};

static enum fdit_status read_reply(fdit_context *ctx, char *text, struct reply *out)
{
    enum fdit_status status = FDIT_OK;
    char version[64], *line, *next = text;
    *out = (struct reply){ .phase = "when it is started" };
    snprintf(version, sizeof version, "finediffusion %s", fdit_version());
    TRY(fdit_strdup(ctx, "", &out->files));
    while ((line = next) && (next = strchr(line, '\n'))) {
        *next++ = 0;
        if (strcmp(line, version) == 0)
            out->ours = true;
        else if (strncmp(line, "phase ", 6) == 0)
            out->phase = line + 6;
        else if (strncmp(line, "failed ", 7) == 0)
            out->failed = line + 7;
        else if (strncmp(line, "result ", 7) == 0)
            out->result = line + 7;
        else if (strncmp(line, "changes ", 8) == 0)
            out->changes = line + 8;
        else if (strncmp(line, "file ", 5) == 0) {
            char *longer;
            TRY(fdit_strf(ctx, &longer, "%s%s\n", out->files, line + 5));
            fdit_free(out->files);
            out->files = longer;
        }
        out->platforms += strcmp(line, "platform") == 0;
        out->gpus += strcmp(line, "gpu") == 0;
        out->ended = out->ended || strcmp(line, "end") == 0;
    }
out:
    return status;
}

/* How the child ended, when it did not end well: *why, else NULL. */
static enum fdit_status judge(fdit_context *ctx, const struct fdit_child_end *end, const struct reply *r,
                              int seconds, char **why)
{
    enum fdit_status status = FDIT_OK;
    const char *when = r->ended ? "when the program ends" : r->phase,
               *before = *end->said ? "; it says: " : "";
    *why = NULL;
    if (!r->ours)
        TRY(fdit_strf(ctx, why,
                      "the program that should look at it is of another version, or not finediffusion%s%s",
                      before, end->said));
    else if (end->late)
        TRY(fdit_strf(ctx, why, "it does not answer within %d seconds %s%s%s", seconds, when, before,
                      end->said));
    else if (end->signal)
        TRY(fdit_strf(ctx, why, "it %s (signal %d, %s) %s%s%s", end->signal == SIGABRT ? "aborts" : "crashes",
                      end->signal, strsignal(end->signal), when, before, end->said));
    else if (!r->ended || (end->code >= 0 && end->code != HELPER_DONE))
        TRY(fdit_strf(ctx, why, "it ends the program (exit status %d) %s%s%s", end->code, when, before,
                      end->said));
    else if (end->left)
        TRY(fdit_strf(ctx, why,
                      "it leaves a copy of the program behind, which would keep its output open%s%s", before,
                      end->said));
    else if (r->changes)
        TRY(fdit_strf(ctx, why, "it changes %s of the program that computes with it", r->changes));
    else if (r->failed)
        TRY(fdit_strf(ctx, why, "%s%s%s", r->failed, before, end->said));
out:
    return status;
}

/* Starts the helper with these arguments on the chosen drivers (all: as the environment has it). */
static enum fdit_status start(fdit_context *ctx, const struct driver *list, const bool *chosen, size_t n,
                              bool all, const char *const *args, int seconds, const char *words,
                              struct fdit_child_end *end)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL, *variable = NULL;
    const char *env[] = { NULL, "OCL_ICD_FILENAMES", NULL };
    struct fdit_child child = {
        .program = helper_of(ctx), .args = args, .seconds = seconds, .patience = words
    };
    if (!all) {
        TRY(folder_make(ctx, list, chosen, n, &folder));
        TRY(fdit_strf(ctx, &variable, "OCL_ICD_VENDORS=%s", folder));
        env[0] = variable;
        child.env = env;
    }
    TRY(fdit_child_run(ctx, &child, end));
out:
    folder_remove(folder, n);
    fdit_free(variable);
    return status;
}

/* A look at the chosen drivers. A helper that cannot be started is a result, too. */
static enum fdit_status look(fdit_context *ctx, const struct driver *list, const bool *chosen, size_t n,
                             struct verdict *out)
{
    enum fdit_status status = FDIT_OK;
    size_t count = 0, one = 0;
    struct fdit_child_end end = { 0 };
    struct reply r = { 0 };
    char *words = NULL, *why = NULL, number[16];
    int seconds = patience(LOOK_SECONDS);
    *out = (struct verdict){ 0 };
    for (size_t i = 0; i < n; i++)
        if (chosen[i]) {
            count++;
            one = i;
        }
    if (count == 1 && !*list[one].library && !list[one].implied) {
        const char *unread = list[one].unread;
        TRY(fdit_strdup(ctx, unread ? unread : "its file names no library", &out->note));
        goto out;
    }
    snprintf(number, sizeof number, "%d", seconds);
    const char *args[] = { "--helper", "drivers", number,
                           count == 1 && *list[one].library ? list[one].library : NULL, NULL };
    TRY(fdit_strf(ctx, &words, "waiting for %s%s, which has %d seconds to answer",
                  count == 1 ? "the OpenCL driver " : "the OpenCL drivers", count == 1 ? list[one].name : "",
                  seconds));
    status = start(ctx, list, chosen, n, count == n, args, seconds, words, &end);
    if (status == FDIT_ERROR_IO) {
        TRY(fdit_strf(ctx, &out->note, "it could not be looked at: %s", fdit_context_message(ctx)));
        goto out;
    }
    TRY(status);
    TRY(read_reply(ctx, end.reply, &r));
    TRY(judge(ctx, &end, &r, seconds, &why));
    out->empty = !why && !r.platforms;
    if (out->empty)
        TRY(fdit_strf(ctx, &why, "it has no platform%s%s", *end.said ? "; it says: " : "", end.said));
    out->good = !why;
    out->platforms = r.platforms;
    out->gpus = r.gpus;
    if (why) {
        out->note = why;
        why = NULL;
    } else {
        TRY(fdit_strdup(ctx, end.said, &out->note));
    }
    out->files = r.files;
    r.files = NULL;
out:
    if (status == FDIT_ERROR_IO)
        status = FDIT_OK;
    fdit_free(r.files);
    fdit_free(why);
    fdit_free(words);
    fdit_child_end_fini(&end);
    return status;
}

/* The verdict about the chosen drivers, remembered or new. */
static enum fdit_status ask(fdit_context *ctx, const struct driver *list, const bool *chosen, size_t n,
                            const char *where, struct verdict *out, bool *fresh)
{
    enum fdit_status status = FDIT_OK;
    char *subject = NULL, *longer;
    *fresh = false;
    TRY(fdit_strf(ctx, &subject, "drivers %s\n", where));
    for (size_t i = 0; i < n; i++)
        if (chosen[i]) {
            TRY(fdit_strf(ctx, &longer, "%s%s", subject, list[i].identity));
            fdit_free(subject);
            subject = longer;
        }
    if (!ctx->look_again && fdit_verdict_load(subject, out))
        goto out;
    *fresh = true;
    TRY(look(ctx, list, chosen, n, out));
    fdit_verdict_store(subject, out);
out:
    fdit_free(subject);
    return status;
}

/* ------------------------------------------------------------------------ the decision */

static enum fdit_status judge_each(fdit_context *ctx, struct driver *list, size_t n, const char *where,
                                   bool *chosen)
{
    enum fdit_status status = FDIT_OK;
    struct verdict v = { 0 };
    for (size_t i = 0; i < n; i++) {
        memset(chosen, 0, n * sizeof *chosen);
        chosen[i] = true;
        TRY(ask(ctx, list, chosen, n, where, &v, &list[i].fresh));
        list[i].good = v.good;
        list[i].empty = v.empty;
        list[i].platforms = v.platforms;
        list[i].gpus = v.gpus;
        fdit_free(list[i].note);
        list[i].note = v.note;
        v.note = NULL;
        fdit_free(v.files);
        v.files = NULL;
    }
out:
    fdit_free(v.note);
    fdit_free(v.files);
    return status;
}

/* Drivers that are good alone may not be so together: then they join one by one, those of GPUs
 * first. */
static enum fdit_status judge_together(fdit_context *ctx, struct driver *list, size_t n, const char *where,
                                       bool *chosen)
{
    enum fdit_status status = FDIT_OK;
    struct verdict v = { 0 };
    size_t count = 0;
    bool fresh;
    for (size_t i = 0; i < n; i++)
        count += chosen[i] = list[i].good;
    if (count < 2)
        goto out;
    TRY(ask(ctx, list, chosen, n, where, &v, &fresh));
    if (v.good)
        goto out;
    memset(chosen, 0, n * sizeof *chosen);
    for (int gpu = 1; gpu >= 0; gpu--)
        for (size_t i = 0; i < n; i++) {
            if (!list[i].good || (list[i].gpus > 0) != gpu)
                continue;
            chosen[i] = true;
            fdit_free(v.note);
            fdit_free(v.files);
            v = (struct verdict){ 0 };
            TRY(ask(ctx, list, chosen, n, where, &v, &list[i].fresh));
            if (v.good)
                continue;
            chosen[i] = list[i].good = false;
            fdit_free(list[i].note);
            list[i].note = NULL;
            TRY(fdit_strf(ctx, &list[i].note, "not together with the other drivers: %s",
                          v.note ? v.note : ""));
        }
out:
    fdit_free(v.note);
    fdit_free(v.files);
    return status;
}

static enum fdit_status decide(fdit_context *ctx)
{
    enum fdit_status status = FDIT_OK;
    struct driver *list = NULL;
    char *where = NULL, *subject = NULL, *longer;
    bool *chosen = NULL;
    size_t n = 0;
    TRY(fdit_drivers_installed(ctx, &list, &n));
    TRY(fdit_drivers_surroundings(ctx, &where));
    TRY(fdit_alloc(ctx, n + 1, sizeof *chosen, &chosen));
    TRY(judge_each(ctx, list, n, where, chosen));
    TRY(judge_together(ctx, list, n, where, chosen));
    TRY(fdit_strf(ctx, &subject, "%s\n", where));
    known.all = true;
    for (size_t i = 0; i < n; i++) {
        known.all = known.all && list[i].good;
        TRY(fdit_strf(ctx, &longer, "%s%s%s", subject, list[i].good ? "" : "left out ", list[i].identity));
        fdit_free(subject);
        subject = longer;
    }
    known.list = list;
    known.n = n;
    known.subject = subject;
    known.done = true;
    list = NULL;
    subject = NULL;
out:
    if (list)
        fdit_drivers_free(list, n);
    fdit_free(chosen);
    fdit_free(subject);
    fdit_free(where);
    return status;
}

/* The first call of the loader, with the good drivers only. */
static enum fdit_status load(fdit_context *ctx)
{
    enum fdit_status status = FDIT_OK;
    const char *vendors = getenv("OCL_ICD_VENDORS"), *names = getenv("OCL_ICD_FILENAMES");
    char *folder = NULL, *old_vendors = NULL, *old_names = NULL;
    bool *chosen = NULL;
    struct guard guard;
    cl_uint n = 0;
    TRY(fdit_alloc(ctx, known.n + 1, sizeof *chosen, &chosen));
    for (size_t i = 0; i < known.n; i++)
        chosen[i] = known.list[i].good;
    if (vendors)
        TRY(fdit_strdup(ctx, vendors, &old_vendors));
    if (names)
        TRY(fdit_strdup(ctx, names, &old_names));
    TRY(folder_make(ctx, known.list, chosen, known.n, &folder));
    if (setenv("OCL_ICD_VENDORS", folder, 1) != 0 || unsetenv("OCL_ICD_FILENAMES") != 0)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory when drivers are chosen");
    fdit_guard_begin(&guard);
    clGetPlatformIDs(0, NULL, &n);
    fdit_guard_end(&guard);
    known.loaded = true;
out:
    if (folder &&
        (old_vendors ? setenv("OCL_ICD_VENDORS", old_vendors, 1) : unsetenv("OCL_ICD_VENDORS")) == 0 &&
        old_names)
        setenv("OCL_ICD_FILENAMES", old_names, 1);
    folder_remove(folder, known.n);
    fdit_free(old_vendors);
    fdit_free(old_names);
    fdit_free(chosen);
    return status;
}

enum fdit_status fdit_drivers_admit(fdit_context *ctx, bool gpus, bool *any)
{
    enum fdit_status status = FDIT_OK;
    size_t good = 0;
    int n_gpus = 0;
    *any = false;
    pthread_mutex_lock(&lock);
    if (!known.done && !helper_of(ctx))
        known.done = known.open = known.loaded = true;
    if (!known.done)
        TRY(decide(ctx));
    for (size_t i = 0; i < known.n; i++)
        if (known.list[i].good) {
            good++;
            n_gpus += known.list[i].gpus;
        }
    *any = known.open || (gpus ? n_gpus > 0 : good > 0);
    if (*any && known.all)
        known.loaded = true;
    if (*any && !known.loaded)
        TRY(load(ctx));
out:
    pthread_mutex_unlock(&lock);
    return status;
}

const struct driver *fdit_drivers_known(size_t *n)
{
    *n = known.n;
    return known.list;
}

/* ------------------------------------------------------------------------ a device */

/* What a child is to do; wrong results are its own to tell, or found again by this process. */
struct errand {
    const char *const *args;
    const char *words;
    int seconds;
    bool results_count;
};

static enum fdit_status try_new(fdit_context *ctx, const struct errand *e, struct verdict *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_child_end end = { 0 };
    struct reply r = { 0 };
    bool *chosen = NULL;
    char *why = NULL;
    TRY(fdit_alloc(ctx, known.n + 1, sizeof *chosen, &chosen));
    for (size_t i = 0; i < known.n; i++)
        chosen[i] = known.list[i].good;
    TRY(start(ctx, known.list, chosen, known.n, known.all, e->args, e->seconds, e->words, &end));
    TRY(read_reply(ctx, end.reply, &r));
    if (!e->results_count)
        r.failed = NULL;
    TRY(judge(ctx, &end, &r, e->seconds, &why));
    out->good = !why;
    if (why)
        out->note = why;
    else if (e->results_count)
        TRY(fdit_strdup(ctx, r.result ? r.result : "", &out->note));
    else {
        out->note = end.said;
        end.said = NULL;
    }
    why = NULL;
out:
    if (status == FDIT_ERROR_IO) {
        status = fdit_strf(ctx, &out->note, "it could not be looked at: %s", fdit_context_message(ctx));
        out->good = false;
    }
    fdit_free(r.files);
    fdit_free(why);
    fdit_free(chosen);
    fdit_child_end_fini(&end);
    return status;
}

enum fdit_status fdit_drivers_try(fdit_context *ctx, const char *spec, const char *name, const char *version,
                                  char **why, char **said)
{
    enum fdit_status status = FDIT_OK;
    struct verdict v = { 0 };
    char *subject = NULL, *words = NULL, number[16];
    struct errand e = { .seconds = patience(TRY_SECONDS) };
    *why = *said = NULL;
    if (known.open || !known.done)
        return FDIT_OK;
    TRY(fdit_strf(ctx, &subject, "try %s %s %s\n%s", spec, name, version ? version : "", known.subject));
    if (ctx->look_again || !fdit_verdict_load(subject, &v)) {
        snprintf(number, sizeof number, "%d", e.seconds);
        e.args = (const char *const[]){ "--helper", "try", number, spec, NULL };
        TRY(fdit_strf(ctx, &words,
                      "trying out %s (%s): its driver compiles the "
                      "first kernels, for which it has %d seconds",
                      spec, name, e.seconds));
        e.words = words;
        TRY(try_new(ctx, &e, &v));
        fdit_verdict_store(subject, &v);
    }
    if (v.good)
        fdit_crash_watch(spec, subject);
    *(v.good ? said : why) = v.note;
    v.note = NULL;
out:
    fdit_free(v.note);
    fdit_free(subject);
    fdit_free(words);
    return status;
}

enum fdit_status fdit_drivers_try_unit(fdit_context *ctx, const struct unit_subject *unit, struct verdict *v,
                                       char **subject)
{
    enum fdit_status status = FDIT_OK;
    char *words = NULL, number[16];
    struct errand e = { .seconds = patience(UNIT_SECONDS), .results_count = true };
    *v = (struct verdict){ 0 };
    *subject = NULL;
    if (known.open || !known.done)
        return FDIT_OK;
    const char *what = unit->attention ? "attention" : "products";
    TRY(fdit_strf(ctx, subject, "unit %s %s %s %s %s\n%s", unit->unit, what, unit->type, unit->spec,
                  unit->key, known.subject));
    if (!ctx->look_again && fdit_verdict_load(*subject, v))
        return FDIT_OK;
    snprintf(number, sizeof number, "%d", e.seconds);
    e.args =
        (const char *const[]){ "--helper", "unit", number, unit->spec, unit->unit, unit->type, what, NULL };
    TRY(fdit_strf(
        ctx, &words, "trying out %sthe matrix unit %s of %s (%s) in %s, for which its driver has %d seconds",
        unit->attention ? "attention on " : "", unit->unit, unit->spec, unit->device, unit->type, e.seconds));
    e.words = words;
    TRY(try_new(ctx, &e, v));
    fdit_verdict_store(*subject, v);
out:
    fdit_free(words);
    return status;
}
