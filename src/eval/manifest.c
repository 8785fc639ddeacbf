/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/manifest.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/text.h"
#include "format/json.h"

#include <stdlib.h>
#include <string.h>

struct fdit_manifest {
    char *path, *folder;
    char **names; /* [n] as fdit_dataset_name gives them, sorted */
    size_t n, capacity, lines;
};

bool fdit_manifest_is(const char *path)
{
    return fdit_path_has_suffix(path, ".jsonl") && !fdit_is_folder(path);
}

void fdit_manifest_close(struct fdit_manifest *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n; i++)
        fdit_free(m->names[i]);
    fdit_free(m->names);
    fdit_free(m->path);
    fdit_free(m->folder);
    fdit_free(m);
}

const char *fdit_manifest_folder(const struct fdit_manifest *m)
{
    return m->folder;
}

/* ------------------------------------------------------------------ reading */

struct reading {
    fdit_context *ctx;
    struct fdit_manifest *m;
    enum fdit_status status;
};

static enum fdit_status add(fdit_context *ctx, struct fdit_manifest *m, const char *file, const char *tar)
{
    enum fdit_status status = FDIT_OK;
    char *whole = NULL;
    if (m->n == m->capacity)
        TRY(fdit_grow(ctx, &m->names, &m->capacity, m->n + 1, sizeof *m->names));
    if (tar)
        TRY(fdit_strf(ctx, &whole, "%s:%s", tar, file));
    TRY(fdit_path_join(ctx, m->folder, whole ? whole : file, &m->names[m->n]));
    m->n++;
out:
    fdit_free(whole);
    return status;
}

static bool take_line(void *user, const char *line, size_t n)
{
    struct reading *r = user;
    json_t *root = NULL;
    r->m->lines++;
    r->status = fdit_json_parse(r->ctx, r->m->path, line, n, 4, &root);
    const char *file = json_string_value(json_object_get(root, "file"));
    const char *tar = json_string_value(json_object_get(root, "tar"));
    if (r->status == FDIT_OK && (!file || !*file))
        r->status =
            fdit_fail(r->ctx, FDIT_ERROR_FORMAT,
                      "%s: in line %zu no picture is named (\"file\"); give the manifest.jsonl of a folder "
                      "that 'sample' wrote",
                      r->m->path, r->m->lines);
    if (r->status == FDIT_OK)
        r->status = add(r->ctx, r->m, file, tar);
    json_decref(root);
    return r->status == FDIT_OK;
}

enum fdit_status fdit_manifest_open(fdit_context *ctx, const char *path, struct fdit_manifest **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_manifest *m = NULL;
    uint64_t end;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *m, &m));
    TRY(fdit_strdup(ctx, path, &m->path));
    TRY(fdit_path_folder(ctx, path, &m->folder));
    if (!fdit_is_file(path))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: there is no such file", path);
    struct reading r = { ctx, m, FDIT_OK };
    TRY(fdit_file_lines(ctx, path, take_line, &r, &end));
    TRY(r.status);
    if (!m->n)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s names no pictures", path);
    qsort(m->names, m->n, sizeof *m->names, fdit_text_compare);
    for (size_t i = 1; i < m->n; i++)
        if (!strcmp(m->names[i - 1], m->names[i]))
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s names %s twice", path, m->names[i]);
    *out = m;
    m = NULL;
out:
    fdit_manifest_close(m);
    return status;
}

/* ------------------------------------------------------------------ choosing */

static size_t find(const struct fdit_manifest *m, const char *name)
{
    char *const *at = bsearch(&name, m->names, m->n, sizeof *m->names, fdit_text_compare);
    return at ? (size_t)(at - m->names) : m->n;
}

enum fdit_status fdit_manifest_choose(fdit_context *ctx, const struct fdit_manifest *m,
                                      const struct fdit_dataset *ds, uint32_t **index, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    bool *seen = NULL;
    char *name = NULL;
    *index = NULL;
    *n = 0;
    TRY(fdit_alloc(ctx, m->n, sizeof *seen, &seen));
    TRY(fdit_alloc(ctx, m->n, sizeof **index, index));
    for (size_t i = 0; i < fdit_dataset_size(ds); i++) {
        TRY(fdit_dataset_name(ctx, ds, i, &name));
        size_t at = find(m, name);
        if (at < m->n && !seen[at]) {
            seen[at] = true;
            (*index)[(*n)++] = (uint32_t)i;
        }
        fdit_free(name);
        name = NULL;
    }
    for (size_t k = 0; k < m->n; k++)
        if (!seen[k])
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "%s names %s, which is not among the pictures of %s; draw it again, or give the folder",
                 m->path, m->names[k], m->folder);
out:
    fdit_free(name);
    fdit_free(seen);
    if (status != FDIT_OK) {
        fdit_free(*index);
        *index = NULL;
    }
    return status;
}
