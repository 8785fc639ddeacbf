/* SPDX-License-Identifier: Apache-2.0
 * resume.c: how a run goes on with what stands in its folder. */
#include "train/running.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"
#include "train/config.h"

#include <inttypes.h>
#include <string.h>

/* ------------------------------------------------------------------ before any work */

static enum fdit_status read_config(fdit_context *ctx, struct run *r, const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_config *config = NULL;
    uint8_t *text = NULL;
    size_t n;
    TRY(fdit_train_config_open(ctx, path, &config)); /* every value is of its kind */
    TRY(fdit_file_read_all(ctx, path, FDIT_TEXT_MOST, &text, &n));
    TRY(fdit_train_options_compare(ctx, path, (const char *)text, n, r->made_by));
    TRY(fdit_json_parse(ctx, path, (const char *)text, n, 64, &r->before));
    r->output.checkpoints = json_is_true(json_object_get(r->before, "checkpoints"));
    const json_t *from = json_object_get(r->before, "log-from");
    if (from && (!json_is_integer(from) || json_integer_value(from) < 1))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: \"log-from\" must be a whole number above 0; correct it", path);
    r->output.log_from = from ? json_integer_value(from) : 1;
out:
    fdit_free(text);
    fdit_train_config_close(config);
    return status;
}

/* Where a folder or a pipe stands in place of a checkpoint, none of that step could be written either. */
static enum fdit_status check_checkpoints(fdit_context *ctx, const char *run)
{
    enum fdit_status status = FDIT_OK;
    int64_t *steps = NULL;
    char *path = NULL;
    size_t n = 0;
    TRY(fdit_state_list(ctx, run, &steps, &n));
    while (n-- > 0) {
        fdit_free(path);
        TRY(fdit_state_path(ctx, run, steps[n], &path));
        const bool folder = fdit_is_folder(path);
        if (folder || (fdit_file_exists(path) && !fdit_is_file(path)))
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "--resume: %s is a %s, where the file of a checkpoint belongs; move it away", path,
                 folder ? "folder" : "pipe or a device");
    }
out:
    fdit_free(path);
    fdit_free(steps);
    return status;
}

enum fdit_status fdit_run_check_folder(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->made_by;
    char *path = NULL;
    if (fdit_file_exists(o->out) && !fdit_is_folder(o->out))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--out %s is a file; give a folder", o->out);
    if (r->output.run)
        TRY(fdit_run_folder_init(ctx, o->out, &r->output.folder));
    TRY(fdit_path_join(ctx, o->out, "config.json", &path));
    if (!o->resume) {
        if (r->output.run && !r->output.folder.fresh)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "--out %s is not empty; continue that run with --resume or choose another folder", o->out);
    } else if (fdit_is_file(path)) {
        TRY(read_config(ctx, r, path));
        TRY(check_checkpoints(ctx, o->out));
    } else if (r->output.run && !r->output.folder.fresh) {
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--resume: %s holds no run (no config.json)", o->out);
    }
out:
    fdit_free(path);
    return status;
}

enum fdit_status fdit_run_check_identity(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const json_t *was = json_object_get(r->before, "made_of");
    const struct fdit_train_options *o = r->o;
    bool differs;
    if (!r->before)
        return FDIT_OK;
    if (!was) {
        fdit_log(ctx, FDIT_LOG_WARNING,
                 "%s was begun by a version that did not note what its data hold: whether pictures were "
                 "added, removed or changed since then cannot be seen",
                 o->out);
        return FDIT_OK;
    }
    TRY(fdit_made_of_compare(ctx, was, &r->identity,
                             &(struct fdit_made_of_names){ .run = o->out,
                                                           .data = o->data,
                                                           .val = o->validation,
                                                           .prior = r->prior.path,
                                                           .base = o->base,
                                                           .delta = o->delta,
                                                           .vae = o->vae,
                                                           .vectors = o->class_vectors },
                             o->data_changed, &differs));
    if (differs)
        fdit_log(ctx, FDIT_LOG_WARNING,
                 "%s has other pictures than when the run began: from "
                 "here on it is not what an unbroken run would be",
                 o->data);
out:
    return status;
}

/* The last name of a path, which the run's files go by: what it was called when the run began. A share in the
 * place of a path is what it is. */
static enum fdit_status name_of(fdit_context *ctx, struct run *r, struct fdit_json *names, const char *key,
                                const char **path)
{
    enum fdit_status status = FDIT_OK;
    const json_t *before = json_object_get(json_object_get(r->before, "names"), key);
    const json_t *option = json_object_get(json_object_get(r->before, "options"), key);
    const char *text = json_string_value(before ? before : option);
    char *copy = NULL;
    double now, then;
    if (!*path)
        return FDIT_OK;
    if (fdit_train_is_fraction(*path, &now) && !(text && fdit_train_is_fraction(text, &then) && now == then))
        return FDIT_OK;
    TRY(fdit_strdup(ctx, text ? text : *path, &copy));
    for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
        copy[n - 1] = '\0';
    fdit_json_put_text(names, NULL, key, fdit_path_base(copy));
    *path = json_string_value(json_object_get(names->root, key));
out:
    fdit_free(copy);
    return status;
}

/* What of the options goes into files: no path, so that the same run gives the same bytes anywhere. */
enum fdit_status fdit_run_make_train_json(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_options o = *r->made_by;
    const struct fdit_cache_info *cache = fdit_train_source_cache(r->data);
    struct fdit_json names;
    fdit_json_begin(&names);
    if (cache) { /* what decided how the pictures look */
        o.look.orient = cache->orient;
        o.look.matte = cache->matte;
    }
    if (r->output.hooks.exchange &&
        r->output.hooks.exchange->add) { /* then the number of devices decides nothing */
        o.accumulate *= r->members;
        o.devices = 1;
    }
    for (const struct fdit_option *row = fdit_train_option_table; row->name; row++)
        if (row->path)
            TRY(name_of(ctx, r, &names, row->name, (const char **)((char *)&o + row->offset)));
    TRY(fdit_json_end(ctx, &names, "config.json", JSON_COMPACT, &r->names_json));
    TRY(fdit_train_options_json(ctx, &o, &r->train_json));
out:
    fdit_json_fini(&names);
    return status;
}

/* ------------------------------------------------------------------ going on */

/* No checkpoint is there: a run that had some lost them, which nobody should find out by its log. */
static enum fdit_status no_checkpoint(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL, *log = NULL;
    uint64_t bytes = 0;
    TRY(fdit_path_join(ctx, r->o->out, "checkpoints", &folder));
    TRY(fdit_path_join(ctx, r->o->out, "log.jsonl", &log));
    if (fdit_file_exists(log))
        TRY(fdit_file_size(ctx, log, &bytes));
    const bool lost = r->output.checkpoints || (bytes && !fdit_is_folder(folder));
    if (lost && r->o->or_begin)
        fdit_log(ctx, FDIT_LOG_WARNING, "%s has written checkpoints, but none is in %s: starting at step 0",
                 r->o->out, folder);
    else if (lost)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--resume: %s has written checkpoints, but none is in "
             "%s; put one back, or begin again with another --out",
             r->o->out, folder);
    else
        fdit_log(ctx, FDIT_LOG_INFO, "%s has no checkpoint yet: starting at step 0", r->o->out);
out:
    fdit_free(folder);
    fdit_free(log);
    return status;
}

static bool is_broken(enum fdit_status status)
{
    return status == FDIT_ERROR_FORMAT || status == FDIT_ERROR_NUMERIC || status == FDIT_ERROR_IO;
}

/* Why a checkpoint cannot be used, without the remedy for files that were got from elsewhere. */
static enum fdit_status reason(fdit_context *ctx, char **out)
{
    static const char remedy[] = "get it again";
    enum fdit_status status = fdit_strdup(ctx, fdit_context_message(ctx), out);
    if (status != FDIT_OK)
        return status;
    size_t n = strlen(*out), end = sizeof remedy - 1;
    if (n <= end || strcmp(*out + n - end, remedy))
        return FDIT_OK;
    for (n -= end; n && strchr(" ,;", (*out)[n - 1]);)
        n--;
    (*out)[n] = 0;
    return FDIT_OK;
}

/* Checkpoints that were passed over, newest first. */
struct unusable {
    char **why;
    size_t n, room;
    bool edited; /* the newest is whole, and config.json differs from it */
    bool unread; /* one may be whole: it cannot be read, or is of other options */
};

static void unusable_fini(struct unusable *u)
{
    for (size_t i = 0; i < u->n; i++)
        fdit_free(u->why[i]);
    fdit_free(u->why);
}

static enum fdit_status note_unusable(fdit_context *ctx, struct unusable *u, enum fdit_status found,
                                      bool other_options)
{
    enum fdit_status status = FDIT_OK;
    char *why = NULL;
    TRY(reason(ctx, &why));
    TRY(fdit_grow(ctx, &u->why, &u->room, u->n + 1, sizeof *u->why));
    u->edited = u->n ? u->edited : other_options;
    u->unread = u->unread || other_options || found == FDIT_ERROR_IO;
    u->why[u->n++] = why;
    why = NULL;
out:
    fdit_free(why);
    return status;
}

/* Warns of those of the n checkpoints that were passed over; an error where that was all, unless the run may
 * begin and nothing is lost by it. */
static enum fdit_status tell_unusable(fdit_context *ctx, const struct run *r, const struct unusable *u,
                                      const int64_t *steps, size_t n)
{
    enum fdit_status status = FDIT_OK;
    if (u->n == n && r->o->or_begin && !u->unread) {
        fdit_log(ctx, FDIT_LOG_WARNING, "none of the %zu checkpoints of %s is whole (%s): starting at step 0",
                 n, r->o->out, u->why[0]);
        return FDIT_OK;
    }
    if (u->n == n && u->edited)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--resume: %s; put the old value back, or begin again with another --out", u->why[0]);
    if (u->n == n)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "--resume: none of the %zu checkpoints of %s can be used (%s); put a whole one back, or "
             "begin again with another --out",
             n, r->o->out, u->why[0]);
    for (size_t i = 0; i < u->n; i++)
        fdit_log(ctx, FDIT_LOG_WARNING, "%s; going back to the checkpoint before it, of step %" PRId64,
                 u->why[i], steps[n - 2 - i]);
out:
    return status;
}

/* A learning rate that falls over the whole run jumps when the run becomes longer or shorter. */
static void warn_of_schedule(fdit_context *ctx, const struct run *r)
{
    int64_t before = json_integer_value(json_object_get(r->before, "steps"));
    const struct fdit_train_options *o = r->o;
    char word[32];
    if (o->schedule == FDIT_LR_CONSTANT || before == r->total || r->at.step >= r->total || !before)
        return;
    fdit_log(ctx, FDIT_LOG_WARNING,
             "--lr-schedule %s: the run has %" PRId64 " steps instead of %" PRId64
             ", so the rate goes from %.3g (step %" PRId64 ") to %.3g",
             fdit_train_option_word(o, "lr-schedule", word), r->total, before,
             fdit_train_lr(o, r->at.step, before), r->at.step, fdit_train_lr(o, r->at.step + 1, r->total));
}

/* A log that was put away: a new one begins, and config.json says where. */
static enum fdit_status check_log(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    char *log = NULL;
    TRY(fdit_path_join(ctx, r->o->out, "log.jsonl", &log));
    if (!fdit_file_exists(log)) {
        r->output.log_from = r->at.step + 1;
        fdit_log(ctx, FDIT_LOG_WARNING, "%s no longer exists: a new one begins at step %" PRId64, log,
                 r->output.log_from);
    }
out:
    fdit_free(log);
    return status;
}

/* "model" of config.json describes what "options" and the base make; where it says something else, one of the
 * two was edited. Older versions left out what they did not know. */
static enum fdit_status check_model(fdit_context *ctx, const struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const json_t *was = json_object_get(r->before, "model");
    char *text = NULL, *path = NULL, old[64], new[64];
    json_t *now = NULL;
    const char *key;
    json_t *value;
    TRY(fdit_config_to_json(ctx, &r->config, &text));
    TRY(fdit_json_parse(ctx, "the model", text, strlen(text), 16, &now));
    TRY(fdit_path_join(ctx, r->o->out, "config.json", &path));
    json_object_foreach(now, key, value)
    {
        const json_t *before = json_object_get(was, key);
        if (before && !json_equal(before, value))
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "--resume: %s: \"%s\" of \"model\" is %s, and %s in the run; put "
                 "the old value back",
                 path, key, fdit_json_show(before, old, sizeof old), fdit_json_show(value, new, sizeof new));
    }
    if (was && !json_is_object(was))
        FAIL(ctx, FDIT_ERROR_FORMAT, "--resume: %s: \"model\" must be an object; put the old value back",
             path);
out:
    json_decref(now);
    fdit_free(path);
    fdit_free(text);
    return status;
}

/* Where the run may begin instead, a checkpoint is looked at first: one that is broken must not leave
 * anything in the model. */
static enum fdit_status load(fdit_context *ctx, struct run *r, const char *path,
                             struct fdit_state_wanted *wanted)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_position at;
    fdit_phase_begin(ctx, 0, "reading %s", path);
    wanted->look = r->o->or_begin;
    if (wanted->look)
        TRY(fdit_state_load(ctx, r->model, path, wanted, &at));
    wanted->look = false;
    TRY(fdit_state_load(ctx, r->model, path, wanted, &at));
    r->at = at;
out:
    fdit_phase_end(ctx);
    return status;
}

enum fdit_status fdit_run_resume(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    bool other_options = false;
    struct fdit_state_wanted wanted = { .optimiser = r->optimiser,
                                        .group = (uint64_t)r->round * (uint64_t)o->accumulate,
                                        .taxonomy = r->rule.taxonomy,
                                        .base = r->fingerprint,
                                        .train = r->train_json,
                                        .options = r->made_by,
                                        .other_options = &other_options,
                                        .other = FDIT_ERROR_FORMAT };
    struct unusable unusable = { 0 };
    int64_t *steps = NULL;
    char *path = NULL;
    size_t n = 0;
    if (!json_object_get(r->before, "made_of")) /* then it is not known yet whether the data are the same */
        wanted.other = FDIT_ERROR_ARGUMENT;
    TRY(fdit_state_list(ctx, o->out, &steps, &n));
    if (!n)
        TRY(no_checkpoint(ctx, r));
    for (size_t i = n; i-- > 0;) {
        fdit_free(path);
        TRY(fdit_state_path(ctx, o->out, steps[i], &path));
        wanted.step = steps[i];
        status = load(ctx, r, path, &wanted);
        if (status == FDIT_OK)
            break;
        if (!is_broken(status) && !other_options)
            goto out;
        TRY(note_unusable(ctx, &unusable, status, other_options));
    }
    if (n)
        TRY(tell_unusable(ctx, r, &unusable, steps, n));
    TRY(check_model(ctx, r)); /* after what is told of options and data by name */
    if (unusable.n == n) {
        r->output.log_from = 1;
        goto out;
    }
    r->output.checkpoints = r->output.kept = true;
    fdit_log(ctx, FDIT_LOG_INFO, "resuming at step %" PRId64 " from %s", r->at.step, path);
    TRY(check_log(ctx, r));
    warn_of_schedule(ctx, r);
out:
    unusable_fini(&unusable);
    fdit_free(path);
    fdit_free(steps);
    return status;
}

/* ------------------------------------------------------------------ other processes */

struct reading {
    struct run *r;
    struct fdit_state_table *table;
};

static enum fdit_status read_table(fdit_context *ctx, void *user, int set, size_t first, size_t n, float *out)
{
    enum fdit_status status = FDIT_OK;
    struct reading *reading = user;
    struct run *r = reading->r;
    char *path = NULL;
    if (!reading->table) {
        TRY(fdit_state_path(ctx, r->o->out, r->at.step, &path));
        TRY(fdit_state_table_open(ctx, r->model, r->optimiser, path, &reading->table));
    }
    TRY(fdit_state_table_read(ctx, reading->table, set, first, n, out));
out:
    fdit_free(path);
    return status;
}

enum fdit_status fdit_run_deal(fdit_context *ctx, struct run *r)
{
    struct reading reading = { r, NULL };
    enum fdit_status status = FDIT_OK;
    if (r->at.step > 0)
        status = fdit_replicas_deal(ctx, r->replicas, read_table, &reading);
    fdit_state_table_close(reading.table);
    return status;
}
