/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/candidates.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/phase.h"
#include "format/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static enum fdit_status path_of(fdit_context *ctx, const char *folder, const struct fdit_request *r,
                                char **out)
{
    char shard[48] = "";
    if (r->shards > 1)
        snprintf(shard, sizeof shard, ".%d-of-%d", r->shard, r->shards);
    return fdit_strf(ctx, out, "%s/.candidates%s.jsonl", folder, shard);
}

/* The numbers of one JSON array, in 17 digits: they are read back to the bit. */
static enum fdit_status save(fdit_context *ctx, const char *path, const struct fdit_identity *id,
                             const struct fdit_request *r, size_t known)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_json b;
    char *text = NULL;
    fdit_json_begin(&b);
    fdit_json_put_text(&b, NULL, "run", id->picture);
    fdit_json_put_int(&b, NULL, "candidates", r->candidates);
    fdit_json_put_int(&b, NULL, "seed", (int64_t)r->seed);
    fdit_json_put_int(&b, NULL, "pictures", (int64_t)r->n);
    json_t *list = json_array();
    for (size_t i = 0; i < known && list; i++)
        json_array_append_new(list, json_real(r->scores[i]));
    fdit_json_put(&b, NULL, "scores", list);
    TRY(fdit_json_end(ctx, &b, path, JSON_COMPACT | JSON_REAL_PRECISION(17), &text));
    TRY(fdit_file_write(ctx, path, false, text, strlen(text)));
out:
    fdit_json_fini(&b);
    fdit_free(text);
    return status;
}

static bool number_is(const json_t *root, const char *key, int64_t value)
{
    const json_t *x = json_object_get(root, key);
    return json_is_integer(x) && json_integer_value(x) == value;
}

/* Scores that a stopped job left; those of other options, and files that are damaged, are passed over. */
static enum fdit_status take(fdit_context *ctx, const char *path, const struct fdit_identity *id,
                             const struct fdit_request *r, size_t *known)
{
    enum fdit_status status = FDIT_OK;
    json_t *root = NULL;
    bool there;
    *known = 0;
    TRY(fdit_file_regular(ctx, path, &there));
    if (!there)
        return FDIT_OK;
    status = fdit_json_read(ctx, path, FDIT_TEXT_MOST, 8, &root);
    if (status == FDIT_ERROR_FORMAT)
        return FDIT_OK;
    TRY(status);
    const char *run = json_string_value(json_object_get(root, "run"));
    const json_t *list = json_object_get(root, "scores");
    const size_t n = json_array_size(list), all = r->n * (size_t)r->candidates;
    if (!run || strcmp(run, id->picture) || !number_is(root, "candidates", r->candidates) ||
        !number_is(root, "seed", (int64_t)r->seed) || !number_is(root, "pictures", (int64_t)r->n) || n > all)
        goto out;
    for (; *known < n && json_is_number(json_array_get(list, *known)); ++*known)
        r->scores[*known] = json_number_value(json_array_get(list, *known));
out:
    json_decref(root);
    return status;
}

/* Candidates from `known` on, a round at a time. */
static enum fdit_status score(fdit_context *ctx, struct fdit_painter *painter,
                              const struct fdit_sample_source *source, const struct fdit_identity *id,
                              const char *path, struct fdit_request *r, size_t known)
{
    enum fdit_status status = FDIT_OK;
    const size_t all = r->n * (size_t)r->candidates, round = (size_t)fdit_painter_round(painter);
    struct fdit_picture_spec *specs = NULL;
    float *x = NULL;
    TRY(fdit_alloc(ctx, round, sizeof *specs, &specs));
    TRY(fdit_alloc(ctx, round * fdit_painter_item(painter), sizeof *x, &x));
    for (size_t n; known < all; known += n) {
        fdit_phase_at(ctx, known);
        n = all - known < round ? all - known : round;
        for (size_t i = 0; i < n; i++) {
            const size_t at = known + i, p = at / (size_t)r->candidates;
            const struct fdit_request_item item = fdit_request_at(r, p);
            specs[i] = fdit_sample_source_picture(
                source, item.id, fdit_request_candidate(r, p, (int)(at % (size_t)r->candidates)));
        }
        TRY(fdit_painter_draw_scored(ctx, painter, specs, n, x, r->scores + known));
        if (path)
            TRY(save(ctx, path, id, r, known + n));
    }
    fdit_phase_at(ctx, all);
out:
    fdit_free(specs);
    fdit_free(x);
    return status;
}

enum fdit_status fdit_candidates_choose(fdit_context *ctx, struct fdit_painter *painter,
                                        const struct fdit_sample_source *source,
                                        const struct fdit_identity *id, const char *folder,
                                        struct fdit_request *r)
{
    enum fdit_status status = FDIT_OK;
    const size_t each = (size_t)r->candidates;
    uint64_t *chosen = NULL;
    char *path = NULL;
    size_t known = 0;
    TRY(fdit_alloc(ctx, r->n * each, sizeof *r->scores, &r->scores));
    TRY(fdit_alloc(ctx, r->n, sizeof *chosen, &chosen));
    if (folder) {
        TRY(fdit_mkdirs(ctx, folder));
        TRY(path_of(ctx, folder, r, &path));
        TRY(take(ctx, path, id, r, &known));
    }
    fdit_phase_begin(ctx, r->n * each, "scoring candidates");
    status = score(ctx, painter, source, id, path, r, known);
    fdit_phase_end(ctx);
    if (status == FDIT_INTERRUPTED)
        FAIL(ctx, FDIT_INTERRUPTED, "stopped while the candidates were scored; %s",
             folder ? "the same command goes on with the others" : "nothing was written");
    TRY(status);
    for (size_t p = 0; p < r->n; p++) {
        size_t best = 0;
        for (size_t i = 1; i < each; i++)
            if (r->scores[p * each + i] < r->scores[p * each + best])
                best = i;
        chosen[p] = fdit_request_candidate(r, p, (int)best);
    }
    r->chosen = chosen;
    chosen = NULL;
out:
    fdit_free(chosen);
    fdit_free(path);
    return status;
}

void fdit_candidates_done(fdit_context *ctx, const char *folder, const struct fdit_request *r)
{
    char *path = NULL;
    if (path_of(ctx, folder, r, &path) == FDIT_OK && fdit_file_remove(ctx, path) != FDIT_OK)
        fdit_log(ctx, FDIT_LOG_WARNING, "%s", fdit_context_message(ctx));
    fdit_free(path);
}
