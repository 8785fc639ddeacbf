/* SPDX-License-Identifier: Apache-2.0 */
#include "train/pace.h"

#include <math.h>

#define RENEW_SECONDS 2.0
#define STEADY_SECONDS 30.0

void fdit_pace_init(struct fdit_pace *p, int64_t step)
{
    *p = (struct fdit_pace){ .first = step, .marked = step };
}

void fdit_pace_start(struct fdit_pace *p, double now)
{
    p->since = now;
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
    double spent = fdit_pace_spent(p, now), elapsed = spent - p->mark;
    bool renew = elapsed > RENEW_SECONDS;
    if (!renew && p->warm)
        return;
    p->rate = (double)(step - p->marked) / fmax(elapsed, 1e-9);
    double weight = p->warm ? 1 - exp(-elapsed / STEADY_SECONDS) : 1;
    p->steady += (p->rate - p->steady) * weight;
    if (!renew)
        return;
    p->warm = true;
    p->mark = spent;
    p->marked = step;
}

int64_t fdit_pace_expected(const struct fdit_pace *p, double now, int64_t step, int64_t total, double limit)
{
    double spent = fdit_pace_spent(p, now), done = (double)(step - p->first);
    if (!(limit > 0) || !(spent > 0) || step <= p->first)
        return total;
    double all = (double)p->first + fmax(done * limit / spent, done + 1);
    return all < (double)total ? (int64_t)all : total;
}
