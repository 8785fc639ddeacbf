/* SPDX-License-Identifier: Apache-2.0
 * verdicts.c: what a look at drivers found, kept beside the compiled programs (cache.c says where)
 * as text:
 *
 *     finediffusion driver verdict 1
 *     when 1764432000
 *     good 1 platforms 1 gpus 0      (0: bad, 2: a job crashed in it, crash.c)
 *     note ...
 *     files 2                        (each as fdit_drivers_add_file writes it)
 *     ...
 *     subject                        (the rest of the file; compared in full)
 *     ...
 *
 * A good driver is looked at again after a week, a bad one after a day, since libraries below it may have
 * changed; one that ended a job after a month, since its trial would be good again. */
#include "cache.h"
#include "drivers.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char fdit_verdict_head[] = "finediffusion driver verdict 1\n";
enum { MOST = 1 << 20, DAY = 24 * 3600 };

static enum fdit_status path_of(const char *subject, bool make, char **out)
{
    struct cache_key key = { UINT64_C(0xcbf29ce484222325), UINT64_C(0x9e3779b97f4a7c15) };
    for (const char *c = subject; *c; c++) {
        key.a = (key.a ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
        key.b = (key.b ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    }
    return fdit_opencl_cache_path(key, make, "driver", out);
}

enum fdit_status fdit_verdict_path(const char *subject, char **out)
{
    return path_of(subject, true, out);
}

/* The line at *at without its newline, *at behind it; NULL: none. */
static char *next_line(char **at)
{
    char *line = *at, *end = strchr(line, '\n');
    if (!end)
        return NULL;
    *end = 0;
    *at = end + 1;
    return line;
}

/* Is the file as it was? `line` is what fdit_drivers_add_file said. */
static bool unchanged(const char *line)
{
    char *now = NULL, *path = NULL;
    bool same = false;
    const char *end = line + strlen(line);
    for (int i = 0; i < 3 && end > line; i++) /* before size, time and number */
        while (end > line && *--end != ' ') {
        }
    if (fdit_strndup(NULL, line, (size_t)(end - line), &path) == FDIT_OK &&
        fdit_drivers_add_file(NULL, path, &now) == FDIT_OK)
        same = strncmp(now, line, strlen(line)) == 0 && now[strlen(line)] == '\n';
    fdit_free(path);
    fdit_free(now);
    return same;
}

bool fdit_verdict_load(const char *subject, struct verdict *out)
{
    uint8_t *file = NULL;
    char *path = NULL, *at, *line;
    size_t size = 0, n_files = 0;
    double when = 0, age, days;
    int good = 0;
    bool found = false;
    *out = (struct verdict){ 0 };
    if (path_of(subject, false, &path) != FDIT_OK || !fdit_is_file(path) ||
        fdit_file_read_all(NULL, path, MOST, &file, &size) != FDIT_OK || strlen((char *)file) != size ||
        strncmp((char *)file, fdit_verdict_head, strlen(fdit_verdict_head)) != 0)
        goto out;
    at = (char *)file + strlen(fdit_verdict_head);
    if (!(line = next_line(&at)) || sscanf(line, "when %lf", &when) != 1 || !(line = next_line(&at)) ||
        sscanf(line, "good %d platforms %d gpus %d", &good, &out->platforms, &out->gpus) != 3)
        goto out;
    age = fdit_clock_date() - when;
    days = good == VERDICT_GOOD ? 7 : good == VERDICT_CRASHED ? 30 : 1;
    if (!(age >= -DAY && age < days * DAY))
        goto out;
    if (!(line = next_line(&at)) || strncmp(line, "note ", 5) != 0 ||
        fdit_strdup(NULL, line + 5, &out->note) != FDIT_OK)
        goto out;
    if (!(line = next_line(&at)) || sscanf(line, "files %zu", &n_files) != 1)
        goto out;
    for (size_t i = 0; i < n_files; i++)
        if (!(line = next_line(&at)) || !unchanged(line))
            goto out;
    out->good = good == VERDICT_GOOD;
    out->empty = good == VERDICT_EMPTY;
    found = (line = next_line(&at)) && strcmp(line, "subject") == 0 && strcmp(at, subject) == 0;
out:
    if (!found) {
        fdit_free(out->note);
        *out = (struct verdict){ 0 };
    }
    fdit_free(path);
    fdit_free(file);
    return found;
}

void fdit_verdict_store(const char *subject, const struct verdict *v)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *files = NULL, *text = NULL, *name = NULL;
    const char *at = v->files ? v->files : "";
    const int kind = v->good ? VERDICT_GOOD : v->empty ? VERDICT_EMPTY : VERDICT_BAD;
    int n = 0;
    TRY(path_of(subject, true, &path));
    for (; *at; n++) {
        size_t length = strcspn(at, "\n");
        fdit_free(name);
        TRY(fdit_strndup(NULL, at, length, &name));
        TRY(fdit_drivers_add_file(NULL, name, &files));
        at += length + (at[length] == '\n');
    }
    TRY(fdit_strf(NULL, &text, "%swhen %.0f\ngood %d platforms %d gpus %d\nnote %s\nfiles %d\n%ssubject\n%s",
                  fdit_verdict_head, fdit_clock_date(), kind, v->platforms, v->gpus, v->note ? v->note : "",
                  n, files ? files : "", subject));
    TRY(fdit_file_write(NULL, path, false, text, strlen(text)));
out:
    fdit_free(name);
    fdit_free(files);
    fdit_free(text);
    fdit_free(path);
}
