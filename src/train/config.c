/* SPDX-License-Identifier: Apache-2.0 */
#include "train/config.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/option_json.h"
#include "format/text_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char byte_order_mark[] = "\xef\xbb\xbf"; /* editors of Windows begin a file with it */

struct fdit_train_config {
    json_t *root, *options, *run; /* the last two belong to root; run NULL: none */
    char *cwd, *out;              /* where the run was begun; NULL: not known */
    char **found;                 /* of _resolve, one for each row of the table; NULL: the path as it is */
};

/* The row of a key that such a file may hold; NULL: none. */
static const struct fdit_option *find(const char *key)
{
    const struct fdit_option *row = fdit_option_find(fdit_train_option_table, key);
    return row && row->keep != FDIT_KEEP_NOT ? row : NULL;
}

static enum fdit_status check_object(fdit_context *ctx, const char *path, json_t *object)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_options scratch = fdit_train_defaults();
    char text[64];
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        const struct fdit_option *row = find(key);
        if (!row)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: \"%s\" is not an option of train; is the file of a newer version?", path, key);
        if (fdit_option_take(row, value, &scratch))
            continue;
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: \"%s\" cannot be %s; correct it", path, key,
             fdit_json_show(value, text, sizeof text));
    }
out:
    return status;
}

/* ------------------------------------------------------------------ the file */

static enum fdit_status parse(fdit_context *ctx, const char *path, struct fdit_train_config *c)
{
    enum fdit_status status = FDIT_OK;
    char *message = NULL, *text = NULL;
    size_t n;
    TRY(fdit_text_file_read(ctx, path, "the options of a run (JSON)", FDIT_TEXT_MOST, &text, &n));
    const char *from = text + (strncmp(text, byte_order_mark, 3) ? 0 : 3);
    if (from[strspn(from, " \t\r\n")] != '{')
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: %s; the config.json of a run is needed, or a file like it", path,
             n ? "is not the options of a run (JSON)" : "is empty");
    status = fdit_json_parse(ctx, path, from, n - (size_t)(from - text), 64, &c->root);
    if (status == FDIT_ERROR_FORMAT) {
        TRY(fdit_strdup(ctx, fdit_context_message(ctx), &message));
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s; correct it, or copy it from a run with the same options", message);
    }
    TRY(status);
    c->options = json_object_get(c->root, "options");
    c->run = json_object_get(c->root, "run");
    if (!c->options && json_object_get(c->root, "format"))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: is not the config.json of a run (it has no \"options\")", path);
    if (!c->options)
        c->options = c->root;
    if (!json_is_object(c->options) || (c->run && !json_is_object(c->run)))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: \"options\" and \"run\" must be objects; correct it", path);
out:
    fdit_free(message);
    fdit_free(text);
    return status;
}

enum fdit_status fdit_train_config_open(fdit_context *ctx, const char *path, struct fdit_train_config **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_config *c = NULL;
    *out = NULL;
    size_t rows = 0;
    while (fdit_train_option_table[rows].name)
        rows++;
    TRY(fdit_alloc(ctx, 1, sizeof *c, &c));
    TRY(fdit_alloc(ctx, rows, sizeof *c->found, &c->found));
    TRY(parse(ctx, path, c));
    TRY(check_object(ctx, path, c->options));
    if (c->run)
        TRY(check_object(ctx, path, c->run));
    const json_t *steps = c->options == c->root ? NULL : json_object_get(c->root, "steps");
    if (steps && (!json_is_integer(steps) || json_integer_value(steps) < 1))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: \"steps\" must be a whole number above 0; correct it, or give --steps", path);
    const json_t *places = json_object_get(c->root, "places");
    const char *cwd = json_string_value(json_object_get(places, "cwd"));
    const char *run = json_string_value(json_object_get(places, "out"));
    if (cwd && run) {
        TRY(fdit_strdup(ctx, cwd, &c->cwd));
        TRY(fdit_strdup(ctx, run, &c->out));
    }
    *out = c;
    c = NULL;
out:
    fdit_train_config_close(c);
    return status;
}

void fdit_train_config_close(struct fdit_train_config *c)
{
    if (!c)
        return;
    json_decref(c->root);
    fdit_free(c->cwd);
    fdit_free(c->out);
    for (size_t i = 0; c->found && fdit_train_option_table[i].name; i++)
        fdit_free(c->found[i]);
    fdit_free(c->found);
    fdit_free(c);
}

void fdit_train_config_apply(const struct fdit_train_config *c, struct fdit_train_options *o)
{
    json_t *objects[] = { c->options, c->run };
    const json_t *steps = json_object_get(c->root, "steps");
    const char *key;
    json_t *value;
    for (size_t i = 0; i < 2; i++)
        json_object_foreach(objects[i], key, value)
        {
            fdit_option_take(find(key), value, o);
        }
    /* runs of older versions say only how many steps they had */
    if (!c->run && c->options != c->root && json_is_integer(steps))
        o->steps = json_integer_value(steps);
}

enum fdit_status fdit_train_config_check_run(fdit_context *ctx, const struct fdit_train_config *c,
                                             const char *path)
{
    const bool options = c->options != c->root, data = json_is_string(json_object_get(c->options, "data"));
    const char *format = json_string_value(json_object_get(c->root, "format"));
    if (format && strcmp(format, "finediffusion-run"))
        return fdit_fail(
            ctx, FDIT_ERROR_FORMAT,
            "%s: \"format\" is \"%.80s\", and \"finediffusion-run\" in a run's; put the run's own back", path,
            format);
    if (options && data &&
        (json_is_string(json_object_get(c->options, "base")) ||
         json_is_true(json_object_get(c->options, "from-scratch"))))
        return FDIT_OK;
    return fdit_fail(
        ctx, FDIT_ERROR_FORMAT,
        "%s: lacks %s, which a run writes; it was edited or is of something else: put the run's own back",
        path,
        !options ? "\"options\""
        : !data  ? "\"data\""
                 : "\"base\" (or \"from-scratch\")");
}

/* ------------------------------------------------------------------ paths */

static bool is_list(const char *path)
{
    return strpbrk(path, ",{*?[") && !fdit_file_exists(path);
}

/* Of a list or pattern only the folder of its first part is looked at; opening it tells the rest. */
static bool is_there(const char *path)
{
    char *folder = NULL, *start = NULL;
    bool there = fdit_file_exists(path);
    if (there || !is_list(path))
        return there;
    if (fdit_strndup(NULL, path, strcspn(path, ",{*?["), &start) == FDIT_OK &&
        fdit_path_folder(NULL, start, &folder) == FDIT_OK)
        there = fdit_is_folder(folder);
    fdit_free(start);
    fdit_free(folder);
    return there;
}

/* Each part of a list of paths in `folder`. */
static enum fdit_status all_in(fdit_context *ctx, const char *folder, const char *path, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *list = NULL, *part = NULL, *joined = NULL, *longer = NULL;
    *out = NULL;
    if (!is_list(path))
        return fdit_path_join(ctx, folder, path, out);
    for (const char *at = path; *at;) {
        int depth = 0;
        const char *end = at;
        for (; *end && (depth || *end != ','); end++)
            depth += *end == '{' ? 1 : *end == '}' && depth ? -1 : 0;
        TRY(fdit_strndup(ctx, at, (size_t)(end - at), &part));
        TRY(fdit_path_join(ctx, folder, part, &joined));
        TRY(fdit_strf(ctx, &longer, "%s%s%s", list ? list : "", list ? "," : "", joined));
        fdit_free(list);
        fdit_free(part);
        fdit_free(joined);
        list = longer;
        part = joined = longer = NULL;
        at = *end ? end + 1 : end;
    }
    *out = list;
    list = NULL;
out:
    fdit_free(list);
    fdit_free(part);
    fdit_free(joined);
    return status;
}

/* The path that `was` has now, when all that lay beside `out` lies beside `run` now: their common end is left
 * off, what remains is exchanged. *result NULL: `was` lies elsewhere. */
static enum fdit_status moved(fdit_context *ctx, const char *was, const char *out, const char *run,
                              char **result)
{
    size_t a = strlen(out), b = strlen(run);
    *result = NULL;
    while (a && b && out[a - 1] == run[b - 1])
        a--, b--;
    while (out[a] && out[a] != '/') /* whole names only */
        a++, b++;
    /* the last name of the run itself may be another */
    const char *name = strrchr(out, '/');
    if (a == strlen(out) && name) {
        a = (size_t)(name - out);
        const char *now = strrchr(run, '/');
        b = now ? (size_t)(now - run) : b;
    }
    if (strncmp(was, out, a) || was[a] != '/')
        return FDIT_OK;
    return fdit_strf(ctx, result, "%.*s%s", (int)b, run, was + a);
}

static enum fdit_status whole_path(fdit_context *ctx, const char *path, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *here = getcwd(NULL, 0);
    *out = NULL;
    if (!here)
        TRY(fdit_fail_errno(ctx, errno == ENOMEM ? FDIT_ERROR_MEMORY : FDIT_ERROR_IO, errno,
                            "the current folder's name cannot be found out"));
    TRY(fdit_path_real(ctx, path, out));
    if (!*out)
        TRY(fdit_path_join(ctx, here, path, out));
out:
    free(here);
    return status;
}

static enum fdit_status resolve_one(fdit_context *ctx, struct fdit_train_config *c, const char *run,
                                    const char *option, const char **path, char **found)
{
    enum fdit_status status = FDIT_OK;
    char *then = NULL, *now = NULL;
    if (c->cwd)
        TRY(all_in(ctx, c->cwd, *path, &then));
    if (then && is_there(then)) {
        *found = then;
        then = NULL;
    } else {
        if (then && run)
            TRY(moved(ctx, then, c->out, run, &now));
        if (now && is_there(now)) {
            *found = now;
            now = NULL;
        }
    }
    if (*found)
        *path = *found;
    else if (!is_there(*path))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--%s of the run no longer exists: %s; say with --%s where it is now",
             option, then ? then : *path, option);
out:
    fdit_free(then);
    fdit_free(now);
    return status;
}

enum fdit_status fdit_train_config_resolve(fdit_context *ctx, struct fdit_train_config *c, const char *run,
                                           struct fdit_train_options *o)
{
    enum fdit_status status = FDIT_OK;
    char *whole = NULL;
    double share;
    if (run)
        TRY(whole_path(ctx, run, &whole));
    for (const struct fdit_option *row = fdit_train_option_table; row->name; row++) {
        if (!row->path)
            continue;
        const char **at = (const char **)((char *)o + row->offset);
        const char *text = json_string_value(json_object_get(c->options, row->name));
        const char *other = json_string_value(json_object_get(c->run, row->name));
        char **found = &c->found[row - fdit_train_option_table];
        if (!*at || (*at != text && *at != other) || *found)
            continue;
        if (at == &o->validation && fdit_train_is_fraction(*at, &share))
            continue;
        TRY(resolve_one(ctx, c, whole, row->name, at, found));
    }
out:
    fdit_free(whole);
    return status;
}

enum fdit_status fdit_train_config_places(fdit_context *ctx, const char *run, char **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_json b;
    char *here = NULL, *folder = NULL;
    *out = NULL;
    fdit_json_begin(&b);
    TRY(whole_path(ctx, ".", &here));
    TRY(whole_path(ctx, run, &folder));
    fdit_json_put_text(&b, NULL, "cwd", here);
    fdit_json_put_text(&b, NULL, "out", folder);
    status = fdit_json_end(ctx, &b, "config.json", JSON_COMPACT, out);
    if (status == FDIT_ERROR_ARGUMENT) /* no UTF-8: what is relative to such a folder will be asked for */
        status = fdit_strdup(ctx, "{}", out);
out:
    fdit_json_fini(&b);
    fdit_free(here);
    fdit_free(folder);
    return status;
}
