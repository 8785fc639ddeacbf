/* SPDX-License-Identifier: Apache-2.0 */
#include "train/pace.h"

#include <math.h>

#define RENEW_SECONDS 2.0

void fdit_pace_init(struct fdit_pace *p, int64_t step)
{
    *p = (struct fdit_pace){ .first = step, .marked = step };
}

void fdit_pace_start(struct fdit_pace *p, double now, int64_t step)
{
    p->since = p->mark = now;
    p->marked = step;
}

void fdit_pace_pause(struct fdit_pace *p, double now)
{
    p->spent += now - p->since;
    p->since = now;
}

double fdit_pace_spent(const struct fdit_pace *p, double now)
{
    return p->spent + now - p->since;
}

void fdit_pace_step(struct fdit_pace *p, double now, int64_t step)
{
    if (now - p->mark <= RENEW_SECONDS && p->rate > 0)
        return;
    p->rate = (double)(step - p->marked) / fmax(now - p->mark, 1e-9);
    p->mark = now;
    p->marked = step;
}

int64_t fdit_pace_expected(const struct fdit_pace *p, double now, int64_t step, int64_t total,
                           double limit)
{
    double spent = fdit_pace_spent(p, now), done = (double)(step - p->first);
    if (!(limit > 0) || !(spent > 0) || step <= p->first)
        return total;
    double all = (double)p->first + fmax(done * limit / spent, done + 1);
    return all < (double)total ? (int64_t)all : total;
}
