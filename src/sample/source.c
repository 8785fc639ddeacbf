/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/source.h"

#include "core/mem.h"
#include "model/delta.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static enum fdit_status open_taxonomy(fdit_context *ctx, const struct fdit_sample_options *o,
                                      struct fdit_sample_source *s)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_checkpoint *source = s->delta ? s->delta : s->base;
    struct fdit_taxonomy *file = NULL;
    char *ranks = NULL;
    if (s->fresh.n) { /* their taxonomy is there already */
        s->named = true;
        return FDIT_OK;
    }
    TRY(fdit_guide_taxonomy(ctx, source, &s->taxonomy));
    s->named = s->taxonomy || o->taxonomy;
    if (o->ranks && (s->taxonomy || !o->taxonomy))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--ranks %s: %s; leave it out", o->ranks,
             s->taxonomy ? "the weights carry their taxonomy, whose ranks are fixed"
                         : "there is no --taxonomy FILE to pick them from");
    if (o->taxonomy && s->taxonomy) {
        TRY(fdit_taxonomy_rank_list(ctx, s->taxonomy, &ranks));
        TRY(fdit_taxonomy_load(ctx, o->taxonomy, ranks, &file));
        if (!fdit_taxonomy_earlier(s->taxonomy, file))
            TRY(fdit_taxonomy_compare(ctx, s->taxonomy, fdit_checkpoint_path(source), file, o->taxonomy));
    } else if (o->taxonomy) {
        TRY(fdit_taxonomy_load(ctx, o->taxonomy, o->ranks, &s->taxonomy));
    }
out:
    fdit_taxonomy_free(file);
    fdit_free(ranks);
    return status;
}

/* The table has a row for each class and group, and perhaps one for the empty label. */
static enum fdit_status check_rows(fdit_context *ctx, const struct fdit_sample_options *o,
                                   const struct fdit_sample_source *s)
{
    int rows = s->files.config.table_rows, wanted = fdit_taxonomy_n_rows(s->taxonomy);
    if (rows == wanted || rows == wanted + 1)
        return FDIT_OK;
    return fdit_fail(
        ctx, FDIT_ERROR_FORMAT,
        "%s: its class table has %d rows, the taxonomy %s has %d classes and %d groups; give "
        "the taxonomy and --ranks that it was trained with (where groups of one name are told apart and "
        "were one when it was trained, write the line \"#independent\" into the taxonomy)",
        fdit_checkpoint_path(s->files.list[0]), rows, o->taxonomy ? o->taxonomy : "in its metadata",
        fdit_taxonomy_n_classes(s->taxonomy), wanted - fdit_taxonomy_n_classes(s->taxonomy));
}

enum fdit_status fdit_sample_source_open_beside(fdit_context *ctx, const struct fdit_sample_options *o,
                                                const struct fdit_sample_source *beside,
                                                struct fdit_sample_source *s)
{
    enum fdit_status status = FDIT_OK;
    char *fingerprint = NULL;
    *s = (struct fdit_sample_source){ .guide.rank = -1, .borrowed = beside != NULL };
    if (beside)
        s->base = beside->base;
    else
        TRY(fdit_checkpoint_open(ctx, o->base, o->values, &s->base));
    TRY(fdit_delta_refuse_as_base(ctx, s->base));
    if (o->delta) {
        TRY(fdit_checkpoint_open(ctx, o->delta, o->values, &s->delta));
        TRY(fdit_delta_check(ctx, s->delta));
        TRY(fdit_delta_match(ctx, s->delta, s->base));
    }
    if (o->values_asked)
        TRY(fdit_checkpoint_check_kind(ctx, s->delta ? s->delta : s->base, o->values));
    if (o->objective)
        fdit_checkpoint_ask_objective(s->base, fdit_objective_find(o->objective), true);
    TRY(fdit_weight_files_sizes(ctx, s->base, s->delta, o->model, &s->files.config));
    TRY(fdit_new_classes_add(ctx, o, s->delta ? s->delta : s->base, s->files.config.width, &s->taxonomy,
                             &s->fresh));
    TRY(fdit_weight_files_join(ctx, s->delta, s->base, &s->files));
    TRY(open_taxonomy(ctx, o, s));
    if (!s->named) { /* classes are numbers; the empty row is none of them */
        bool empty = o->guide && !strcmp(o->guide, "empty");
        TRY(fdit_taxonomy_from_count(ctx, (size_t)s->files.config.table_rows - (empty ? 1 : 0),
                                     &s->taxonomy));
    }
    TRY(check_rows(ctx, o, s));
    if (s->delta)
        TRY(fdit_weight_files_check_base(ctx, s->delta, s->base, &s->files.config, o->force, &fingerprint));
    TRY(fdit_guide_choose(ctx, o, s, &fingerprint, &s->guide));
    if (s->guide.kind == FDIT_GUIDE_SUPERCLASS)
        TRY(fdit_new_classes_check_guide(ctx, &s->fresh, s->taxonomy, s->guide.rank));
out:
    fdit_free(fingerprint);
    if (status != FDIT_OK)
        fdit_sample_source_close(s);
    return status;
}

enum fdit_status fdit_sample_source_open(fdit_context *ctx, const struct fdit_sample_options *o,
                                         struct fdit_sample_source *s)
{
    return fdit_sample_source_open_beside(ctx, o, NULL, s);
}

void fdit_sample_source_close(struct fdit_sample_source *s)
{
    fdit_guide_fini(&s->guide);
    if (!s->borrowed)
        fdit_checkpoint_close(s->base);
    fdit_checkpoint_close(s->delta);
    fdit_taxonomy_free(s->taxonomy);
    fdit_new_classes_fini(&s->fresh);
    *s = (struct fdit_sample_source){ 0 };
}

struct fdit_picture_spec fdit_sample_source_picture(const struct fdit_sample_source *s, int32_t id,
                                                    uint64_t seed)
{
    return fdit_guide_picture(&s->guide, s->taxonomy, id, seed);
}

enum fdit_status fdit_sample_source_check(fdit_context *ctx, const struct fdit_sample_source *s,
                                          const struct fdit_picture_spec *p, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return fdit_fail(ctx, FDIT_ERROR_NUMERIC,
                             "class %s, seed %" PRIu64
                             ": number %zu of the result is not finite; check the weights "
                             "(finediffusion inspect), or use a smaller --guidance",
                             fdit_taxonomy_class_name(s->taxonomy, p->class_id), p->seed, i);
    return FDIT_OK;
}

enum fdit_status fdit_sample_source_rules(fdit_context *ctx, const struct fdit_sample_source *s,
                                          const struct fdit_picture_words *typed,
                                          struct fdit_picture_rules *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture_notes notes = { NULL, NULL };
    const struct fdit_checkpoint *file = s->files.list[0];
    const char *train = fdit_checkpoint_meta(file, "train");
    if (train)
        TRY(fdit_picture_notes_read(ctx, fdit_checkpoint_path(file), train, strlen(train), &notes));
    const struct fdit_picture_words words = fdit_picture_notes_words(&notes);
    TRY(fdit_picture_words_rules(ctx, typed, &words, out));
out:
    fdit_picture_notes_fini(&notes);
    return status;
}
