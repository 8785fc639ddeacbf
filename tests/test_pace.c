/* SPDX-License-Identifier: Apache-2.0
 * test_pace.c: the clock of a training run, and the learning rate over a run that time ends. */
#include "harness.h"
#include "train/options.h"
#include "train/pace.h"

#include <math.h>

static void near(const char *what, double got, double wanted)
{
    ck_assert_msg(fabs(got - wanted) <= 1e-12 * fmax(fabs(wanted), 1), "%s: %.17g, wanted %.17g", what, got,
                  wanted);
}
#define NEAR(got, wanted) near(#got, got, wanted)

START_TEST(test_pauses_do_not_count)
{
    struct fdit_pace p;
    fdit_pace_init(&p, 0);
    fdit_pace_start(&p, 100);
    NEAR(fdit_pace_spent(&p, 103), 3);
    fdit_pace_pause(&p, 104);
    NEAR(p.spent, 4);
    fdit_pace_start(&p, 150);
    NEAR(fdit_pace_spent(&p, 151), 5);
    fdit_pace_pause(&p, 152);
    fdit_pace_pause(&p, 152);
    NEAR(p.spent, 6);
}
END_TEST

START_TEST(test_rate_is_of_the_last_seconds)
{
    struct fdit_pace p;
    fdit_pace_init(&p, 5);
    fdit_pace_start(&p, 10);
    NEAR(p.rate, 0);
    fdit_pace_step(&p, 10.5, 6); /* the first step gives one at once */
    NEAR(p.rate, 2);
    fdit_pace_step(&p, 11, 8); /* and so does every other one of the first two seconds */
    NEAR(p.rate, 3);
    fdit_pace_step(&p, 12.5, 15);
    NEAR(p.rate, 4);
    NEAR(p.steady, 4);
    fdit_pace_step(&p, 13, 20); /* not yet older than two seconds */
    NEAR(p.rate, 4);
    fdit_pace_pause(&p, 13);
    fdit_pace_start(&p, 1000); /* a pause does not slow it */
    fdit_pace_step(&p, 1000.5, 17);
    NEAR(p.rate, 4);
    fdit_pace_step(&p, 1002.5, 42);
    NEAR(p.rate, 9); /* 27 steps in the half second before the pause and 2.5 after it */
    NEAR(p.steady, 4 + 5 * (1 - exp(-3.0 / 30))); /* what is left does not jump */
}
END_TEST

START_TEST(test_expected_steps)
{
    struct fdit_pace p;
    fdit_pace_init(&p, 0);
    fdit_pace_start(&p, 0);
    ck_assert_int_eq(fdit_pace_expected(&p, 0, 0, 1000, 60), 1000); /* nothing known yet */
    ck_assert_int_eq(fdit_pace_expected(&p, 6, 30, 1000, 0), 1000); /* no limit of time */
    ck_assert_int_eq(fdit_pace_expected(&p, 6, 30, 1000, 60), 300);
    ck_assert_int_eq(fdit_pace_expected(&p, 6, 30, 200, 60), 200); /* the steps end it first */
    ck_assert_int_eq(fdit_pace_expected(&p, 59.9, 300, 1000, 60), 301);
    ck_assert_int_eq(fdit_pace_expected(&p, 70, 300, 1000, 60), 301); /* over time: this step is the last */
    ck_assert_int_eq(fdit_pace_expected(&p, 1e-9, 1, INT64_MAX, 1e12), INT64_MAX);
}
END_TEST

/* A resumed run has the time anew; the steps before it took none of that. */
START_TEST(test_expected_steps_resumed)
{
    struct fdit_pace p;
    fdit_pace_init(&p, 1000);
    fdit_pace_start(&p, 0);
    ck_assert_int_eq(fdit_pace_expected(&p, 0.5, 1000, 1 << 30, 60), 1 << 30);
    ck_assert_int_eq(fdit_pace_expected(&p, 1, 1010, 1 << 30, 60), 1600);
    ck_assert_int_eq(fdit_pace_expected(&p, 59.95, 1599, 1 << 30, 60), 1600);
}
END_TEST

START_TEST(test_learning_rates)
{
    struct fdit_train_options o = fdit_train_defaults();
    o.lr = 0.5;
    o.warmup = 3;
    for (int s = FDIT_LR_CONSTANT; s <= FDIT_LR_COSINE; s++) {
        o.schedule = (enum fdit_lr_schedule)s;
        NEAR(fdit_train_lr(&o, 1, 13), 0.125);
        NEAR(fdit_train_lr(&o, 3, 13), 0.375);
        NEAR(fdit_train_lr(&o, 4, 13), 0.5);
    }
    o.schedule = FDIT_LR_CONSTANT;
    NEAR(fdit_train_lr(&o, 13, 13), 0.5);
    o.schedule = FDIT_LR_LINEAR;
    NEAR(fdit_train_lr(&o, 9, 13), 0.25);
    NEAR(fdit_train_lr(&o, 13, 13), 0.05);
    o.schedule = FDIT_LR_COSINE;
    NEAR(fdit_train_lr(&o, 9, 13), 0.25);
    NEAR(fdit_train_lr(&o, 13, 13), 0.25 * (1 + cos(0.9 * acos(-1))));
    o.schedule = FDIT_LR_LINEAR;
    NEAR(fdit_train_lr(&o, 20, 13), 0); /* beyond the end it stays at 0 */
}
END_TEST

/* Steps of 1/10 s, then of 1/20: the rate never rises, halves at half time however many steps that
 * will be, and comes down to its last step's with the time. */
START_TEST(test_rate_falls_with_time)
{
    struct fdit_train_options o = fdit_train_defaults();
    struct fdit_pace p;
    double now = 0, last = 2, at_half = 0;
    int64_t step = 0;
    o.lr = 1;
    o.schedule = FDIT_LR_LINEAR;
    fdit_pace_init(&p, 0);
    fdit_pace_start(&p, now);
    while (fdit_pace_spent(&p, now) < 30) {
        double lr = fdit_train_lr(&o, step + 1, fdit_pace_expected(&p, now, step, 1 << 30, 30));
        ck_assert_msg(now < 15 || lr <= last, "step %d: %g after %g", (int)step, lr, last);
        if (now < 15)
            at_half = lr;
        last = lr;
        now += now < 15 ? 0.1 : 0.05;
        fdit_pace_step(&p, now, ++step);
    }
    ck_assert_msg(fabs(at_half - 0.5) < 0.01, "%g at half time", at_half);
    ck_assert_msg(last > 0 && last < 0.01, "%g at the end", last);
    ck_assert_int_ge(step, 449);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pace");
    TCase *clock = tcase_create("clock");
    tcase_add_test(clock, test_pauses_do_not_count);
    tcase_add_test(clock, test_rate_is_of_the_last_seconds);
    tcase_add_test(clock, test_expected_steps);
    tcase_add_test(clock, test_expected_steps_resumed);
    tcase_add_test(clock, test_learning_rates);
    tcase_add_test(clock, test_rate_falls_with_time);
    suite_add_tcase(suite, clock);
    return test_run(suite);
}
