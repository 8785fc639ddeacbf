/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/reuse.h"

int fdit_reuse_kept(const struct fdit_reuse_options *o)
{
    return o->interval > 1 ? o->order + 1 : 0;
}

void fdit_reuse_begin(struct fdit_reuse *r, const struct fdit_reuse_options *options, int steps)
{
    *r = (struct fdit_reuse){ .options = *options, .steps = steps };
}

static bool is_full(const struct fdit_reuse *r, int k)
{
    const int i = r->steps - 1 - k, interval = r->options.interval;
    if (r->known == 0)
        return true;
    switch (r->options.full) {
    case FDIT_REUSE_FORA: return k == 0 || i % interval == 0;
    case FDIT_REUSE_ENDS: return k < 2 || i == 0 || r->since == interval - 1;
    case FDIT_REUSE_TAYLOR: return k < 2 || r->since == interval - 1;
    }
    return true;
}

/* The oldest place becomes that of step number i. */
static int keep(struct fdit_reuse *r, int i)
{
    const int room = r->options.order + 1;
    const int place = r->known < room ? r->known : r->place[room - 1];
    r->known += r->known < room;
    for (int j = r->known - 1; j > 0; j--) {
        r->full[j] = r->full[j - 1];
        r->place[j] = r->place[j - 1];
    }
    r->full[0] = i;
    r->place[0] = place;
    return place;
}

static void extrapolate(const struct fdit_reuse *r, int i, struct fdit_branch_use *use)
{
    const double d = i - r->full[0];
    double factor[FDIT_MOST_BRANCHES] = { 1 };
    if (r->known > 1) {
        const double h = r->full[0] - r->full[1];
        factor[0] += d / h;
        factor[1] -= d / h;
        if (r->known > 2) {
            const double before = r->full[1] - r->full[2], half = 0.5 * d * d / h;
            factor[0] += half / h;
            factor[1] -= half / h + half / before;
            factor[2] += half / before;
        }
    }
    use->n = r->known;
    for (int j = 0; j < r->known; j++) {
        use->place[j] = r->place[j];
        use->factor[j] = (float)factor[j];
    }
}

bool fdit_reuse_step(struct fdit_reuse *r, int k, bool anew, struct fdit_branch_use *use)
{
    const int i = r->steps - 1 - k;
    *use = (struct fdit_branch_use){ .n = 0 };
    if (anew)
        r->known = 0;
    if (is_full(r, k)) {
        r->since = 0;
        use->store = keep(r, i);
        return true;
    }
    r->since++;
    extrapolate(r, i, use);
    return false;
}
