/* SPDX-License-Identifier: Apache-2.0 */
#include "train/learn.h"

#include "core/mem.h"
#include "core/rng.h"

#include <string.h>

enum fdit_status fdit_learn_check(fdit_context *ctx, const struct fdit_train_options *o)
{
    const bool base = o->learn_guide == FDIT_LEARN_BASE;
    if (!fdit_learn_wanted(o)) {
        if (base || o->learn_after || o->learn_below > 0 || o->learn_from > 0)
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--learn-%s is of --learn-guidance W; give that, too",
                             base                ? "guide"
                             : o->learn_after    ? "after"
                             : o->learn_from > 0 ? "from"
                                                 : "below");
        return FDIT_OK;
    }
    if (o->learn_guidance <= 1)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--learn-guidance %g does not guide; give a scale above 1, usually 1.3 to 1.7",
                         o->learn_guidance);
    if (o->learn_from > 0 && (o->learn_from < 1 || o->learn_from >= o->learn_guidance))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--learn-from %g: scales go from 1 or more up to --learn-guidance %g; give less",
                         o->learn_from, o->learn_guidance);
    if (o->classifier)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--learn-guidance: a classifier draws nothing; leave it out");
    if (base && o->from_scratch)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--learn-guide base: with --from-scratch there is no base; leave it out");
    if (!base && !(o->drop_prob > 0))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--learn-guide superclass: with --drop-prob 0 its rows are not trained; give "
                         "--drop-prob 0.1, or --learn-guide base");
    return FDIT_OK;
}

enum fdit_status fdit_learn_check_file(fdit_context *ctx, const struct fdit_train_options *o,
                                       const char *option, const struct fdit_checkpoint *cp)
{
    if (fdit_learn_tells(o) || !fdit_checkpoint_has(cp, FDIT_PARAM_GUIDANCE))
        return FDIT_OK;
    return fdit_fail(
        ctx, FDIT_ERROR_ARGUMENT,
        "%s %s takes the guidance scale as an input; go on with it: --learn-guidance W --learn-from 1",
        option, fdit_checkpoint_path(cp));
}

enum fdit_status fdit_learn_new(fdit_context *ctx, const struct fdit_train_options *o,
                                const struct fdit_row_rule *rule, const struct fdit_objective *objective,
                                int32_t rank, size_t room, struct fdit_learn **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_learn *l = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *l, &l));
    l->o = o;
    l->rule = rule;
    l->objective = objective;
    l->rank = rank;
    TRY(fdit_alloc(ctx, room, sizeof *l->strength, &l->strength));
    TRY(fdit_alloc(ctx, room, sizeof *l->classes, &l->classes));
    TRY(fdit_alloc(ctx, room, sizeof *l->guides, &l->guides));
    *out = l;
    return FDIT_OK;
out:
    fdit_learn_free(l);
    return status;
}

void fdit_learn_free(struct fdit_learn *l)
{
    if (!l)
        return;
    fdit_free(l->strength);
    fdit_free(l->classes);
    fdit_free(l->guides);
    fdit_free(l);
}

/* The scale of a sample: uniform between those of the options. */
static double scale_of(const struct fdit_train_options *o, uint64_t seed, uint64_t position)
{
    const struct fdit_rng rng = { .seed = seed,
                                  .stream = (uint32_t)position,
                                  .id = (uint32_t)(position >> 32),
                                  .domain = FDIT_RNG_STRENGTH };
    if (!fdit_learn_tells(o))
        return o->learn_guidance;
    return o->learn_from + (o->learn_guidance - o->learn_from) * fdit_rng_uniform(&rng, 0);
}

void fdit_learn_fill(struct fdit_learn *l, int64_t n, uint64_t seed, uint64_t position, const int32_t *labels,
                     struct fdit_micro *micro)
{
    const struct fdit_train_options *o = l->o;
    const bool base = o->learn_guide == FDIT_LEARN_BASE;
    micro->strength = NULL;
    if (n - 1 <= o->learn_after)
        return;
    for (int i = 0; i < micro->samples; i++) {
        const bool dropped = micro->rows[i] != labels[i];
        const bool late =
            o->learn_below > 0 && l->objective->noise_time(l->objective, micro->t[i]) >= o->learn_below;
        const bool plain = late || (dropped && !base);
        l->strength[i] = plain ? 0 : (float)(scale_of(o, seed, position + (uint64_t)i) - 1);
        l->classes[i] = labels[i];
        l->guides[i] = base          ? 0
                       : l->rank < 0 ? l->rule->empty_row
                                     : fdit_taxonomy_superclass_row(l->rule->taxonomy, l->rank, labels[i]);
    }
    micro->strength = l->strength;
    micro->class_rows = l->classes;
    micro->guide_rows = l->guides;
    micro->guide = base ? FDIT_VALUES_BASE : FDIT_VALUES_EMA;
}

static enum fdit_status read_row(fdit_context *ctx, struct fdit_checkpoint *base,
                                 const struct fdit_param *table, float *out)
{
    struct fdit_param theirs = *table;
    const int64_t rows = fdit_checkpoint_dim(base, table->name, 0);
    const size_t width = (size_t)table->shape[1];
    theirs.shape[0] = (int)rows;
    theirs.count = (size_t)rows * width;
    return fdit_checkpoint_read_part(ctx, base, &theirs, (size_t)(rows - 1) * width, width, out);
}

enum fdit_status fdit_learn_load_base(fdit_context *ctx, struct fdit_model *m, struct fdit_checkpoint *base)
{
    enum fdit_status status = FDIT_OK;
    float *data = NULL;
    for (int i = 0; i < m->params.n; i++) {
        const struct fdit_param *p = &m->params.list[i];
        if (!p->trained)
            continue;
        fdit_free(data);
        TRY(fdit_alloc(ctx, p->count, sizeof *data, &data));
        if (p->kind == FDIT_PARAM_TABLE)
            TRY(read_row(ctx, base, p, data));
        else if (fdit_checkpoint_has(base, p->name) && !fdit_param_of_class_map(p->name))
            TRY(fdit_checkpoint_read(ctx, base, p, data));
        else
            for (size_t k = 0; k < p->count; k++)
                data[k] = p->kind == FDIT_PARAM_NORM && strstr(p->name, ".weight") ? 1.0f : 0.0f;
        TRY(fdit_model_set_base(ctx, m, p, data));
    }
out:
    fdit_free(data);
    return status;
}
