/* SPDX-License-Identifier: Apache-2.0
 * test_overlap.c: gradients that leave while the backward pass goes on (train/overlap.h): that what the pass
 * calls final does not change any more, that pieces go as soon as all devices have them, and what happens
 * when a pass or the exchange fails. */
#include "core/clock.h"
#include "core/mem.h"
#include "device/backend.h"
#include "devices.h"
#include "model/model.h"
#include "model_fixture.h"
#include "train/overlap.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { D = 32, CLASSES = 3, ROWS = 5, BATCH = 3, PIXELS = 16, DEPTH = 3, PIECES = DEPTH + 2 };

static fdit_context *ctx;
static fdit_device *dev;

static const struct fdit_model_config sizes = { .input_size = 4,
                                                .channels = 1,
                                                .patch = 2,
                                                .width = D,
                                                .depth = DEPTH,
                                                .heads = 2,
                                                .mlp_ratio = 4,
                                                .table_rows = ROWS };

/* Every number of it is of ordinary size, so that each has an influence. */
static struct fdit_model *new_model(struct fdit_model_config c, const char *tune,
                                    enum fdit_recompute recompute)
{
    struct fdit_model *m = NULL;
    struct fdit_mask mask;
    ck_assert_ok(ctx, fdit_mask_parse(ctx, tune, &mask));
    c.adapter = mask.adapter;
    const struct fdit_model_options o = {
        .mask = &mask, .training = true, .batch = BATCH, .recompute = recompute, .storage = FDIT_F32
    };
    ck_assert_ok(ctx, fdit_model_new(ctx, dev, &c, &o, &m));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
    for (int i = 0; i < m->params.n; i++) {
        struct fdit_param *p = &m->params.list[i];
        float *x = calloc(p->count, sizeof *x);
        uint32_t state = (uint32_t)strlen(p->name);
        for (size_t k = 0; k < p->count; k++) {
            state = state * 1664525u + 1013904223u;
            x[k] = ((float)(state >> 8) / 8388608.0f - 1) * 0.4f + (p->kind == FDIT_PARAM_NORM);
        }
        ck_assert_ok(ctx, fdit_model_set(ctx, m, p, x));
        free(x);
    }
    return m;
}

static void forward(struct fdit_model *m)
{
    float numbers[BATCH * 2 * PIXELS];
    const int32_t rows[BATCH] = { 1, 4, 1 };
    const double t[BATCH] = { 3, 500, 900 };
    const float strengths[BATCH] = { 0.5f, 1, 0 };
    const bool dit = m->config.kind == FDIT_MODEL_DIT;
    for (int i = 0; i < BATCH * 2 * PIXELS; i++)
        numbers[i] = (float)(i * 31 % 17) / 8 - 1;
    fdit_write(dev, m->input, numbers, (size_t)BATCH * PIXELS);
    fdit_write(dev, m->index, rows, BATCH);
    if (dit) {
        fdit_model_write_times(m, BATCH, t);
        fdit_model_write_strengths(m, BATCH, strengths);
    }
    fdit_forward(m, BATCH);
    fdit_write(dev, m->doutput, numbers, (size_t)BATCH * (dit ? 2 * PIXELS : ROWS));
}

/* ------------------------------------------------------------------ what is final */

struct copies {
    struct fdit_model *model;
    float *of[DEPTH + 4];
    int told;
};

static void copy_group(void *user, int group)
{
    struct copies *c = user;
    const struct fdit_group *g = &c->model->params.groups[group];
    ck_assert_ptr_null(c->of[group]);
    c->of[group] = calloc(g->trained + 1, sizeof(float));
    c->told++;
    if (g->trained)
        ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_tensor_of(g->grad, FDIT_F32), c->of[group], g->trained));
}

/* Each group is told once, and its gradients are the same at the end of the pass. */
static void check_final(struct fdit_model_config config, const char *tune, enum fdit_recompute recompute)
{
    struct fdit_model *m = new_model(config, tune, recompute);
    struct copies c = { .model = m };
    size_t compared = 0;
    forward(m);
    m->final = copy_group;
    m->final_user = &c;
    fdit_backward(m, BATCH, 0);
    ck_assert_int_eq(c.told, DEPTH + 2);
    for (int g = 0; g < m->params.n_groups; g++) {
        const struct fdit_group *group = &m->params.groups[g];
        if (!c.of[g])
            continue;
        float *now = calloc(group->trained + 1, sizeof *now);
        if (group->trained)
            ck_assert_ok(ctx,
                         fdit_read(ctx, dev, fdit_tensor_of(group->grad, FDIT_F32), now, group->trained));
        ck_assert_msg(!memcmp(now, c.of[g], group->trained * sizeof *now),
                      "%s: group %d changes after it was final", tune, g);
        compared += group->trained;
        free(now);
        free(c.of[g]);
    }
    ck_assert_uint_gt(compared, 0);
    fdit_model_free(m);
}

static void open_device(const char *name)
{
    dev = test_open_device(ctx, name, 2);
}

START_TEST(final)
{
    static const char *const masks[] = { "full",    "finediffusion", "finediffusion+lora:2",
                                         "difffit", "norm",          "bitfit" };
    const char *devices[8];
    const int n = test_devices(devices);
    for (int d = 0; d < n; d++) {
        open_device(devices[d]);
        for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
            struct fdit_model_config c = sizes;
            check_final(c, masks[i], FDIT_RECOMPUTE_NONE);
            c.class_vectors = 7;
            c.guidance_input = true;
            c.qk_norm = true;
            check_final(c, masks[i], FDIT_RECOMPUTE_BLOCK);
        }
        struct fdit_model_config classifier = sizes;
        classifier.kind = FDIT_MODEL_CLASSIFIER;
        check_final(classifier, "full", FDIT_RECOMPUTE_NONE);
        fdit_device_close(dev);
    }
}
END_TEST

/* ------------------------------------------------------------------ an exchange that keeps a diary */

struct diary {
    struct fdit_exchange x;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int adds[PIECES], sums[PIECES], n_adds, n_sums; /* pieces, in the order of the calls */
    bool begins[PIECES];
    bool elsewhere; /* a call came in another thread than `caller` */
    pthread_t caller;
    float *added; /* [length] vectors[0] + vectors[1] + ... when add had them */
    int fails_at; /* this piece fails; -1: none */
};

static enum fdit_status diary_add(fdit_context *own, struct fdit_exchange *x, float *const *vectors,
                                  int piece, bool begins)
{
    struct diary *d = (struct diary *)x;
    pthread_mutex_lock(&d->lock);
    for (size_t k = fdit_exchange_begin(x, piece); k < x->ends[piece]; k++) {
        d->added[k] = 0;
        for (int i = 0; i < x->count; i++)
            d->added[k] += vectors[i][k];
    }
    d->elsewhere = d->elsewhere || !pthread_equal(pthread_self(), d->caller);
    d->begins[d->n_adds] = begins;
    d->adds[d->n_adds++] = piece;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
    return piece == d->fails_at ? fdit_fail(own, FDIT_ERROR_IO, "the line is cut") : FDIT_OK;
}

static enum fdit_status diary_sum(fdit_context *own, struct fdit_exchange *x, float *const *vectors,
                                  int piece)
{
    struct diary *d = (struct diary *)x;
    (void)own, (void)vectors;
    pthread_mutex_lock(&d->lock);
    d->sums[d->n_sums++] = piece;
    pthread_mutex_unlock(&d->lock);
    return FDIT_OK;
}

/* Until so many pieces were added, which nothing but a fault can delay by a minute. */
static void wait_for(struct diary *d, int adds)
{
    struct timespec until;
    int error = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    pthread_mutex_lock(&d->lock);
    while (d->n_adds < adds && !error)
        error = pthread_cond_timedwait(&d->changed, &d->lock, &until);
    ck_assert_msg(d->n_adds >= adds, "%d pieces have left, not %d", d->n_adds, adds);
    pthread_mutex_unlock(&d->lock);
}

static int adds_of(struct diary *d)
{
    pthread_mutex_lock(&d->lock);
    const int n = d->n_adds;
    pthread_mutex_unlock(&d->lock);
    return n;
}

/* Two models as two devices of a process, their vectors, and the exchange. */
struct scene {
    struct diary diary;
    fdit_device *devices[2];
    struct fdit_model *models[2];
    float *vectors[2];
    struct fdit_vector_layout layout;
    struct fdit_overlap *overlap;
};

static void open_scene(struct scene *s, bool behind)
{
    *s = (struct scene){
        .diary = { .x = { .members = 2, .count = 2, .add = diary_add, .sum = diary_sum, .behind = behind },
                   .caller = pthread_self(),
                   .fails_at = -1 }
    };
    for (int i = 0; i < 2; i++) {
        open_device(i ? "ref" : "cpu");
        s->devices[i] = dev;
        s->models[i] = new_model(sizes, "full", FDIT_RECOMPUTE_NONE);
    }
    ck_assert_ok(ctx, fdit_vector_layout_init(ctx, s->models[0], fdit_group_table(&sizes), 1, &s->layout));
    ck_assert_int_eq(s->layout.pieces, PIECES);
    const size_t length = fdit_vector_layout_length(&s->layout);
    for (int i = 0; i < 2; i++)
        s->vectors[i] = calloc(length, sizeof(float));
    s->diary.added = calloc(length, sizeof(float));
    pthread_mutex_init(&s->diary.lock, NULL);
    pthread_cond_init(&s->diary.changed, NULL);
    ck_assert_ok(ctx, fdit_exchange_cut(ctx, &s->diary.x, s->layout.ends, s->layout.pieces));
    ck_assert_ok(ctx, fdit_overlap_new(ctx, &s->diary.x, &s->layout, s->models, s->vectors, &s->overlap));
}

static void close_scene(struct scene *s)
{
    fdit_overlap_free(s->overlap);
    fdit_vector_layout_fini(&s->layout);
    fdit_free(s->diary.x.ends);
    free(s->diary.added);
    pthread_mutex_destroy(&s->diary.lock);
    pthread_cond_destroy(&s->diary.changed);
    for (int i = 0; i < 2; i++) {
        free(s->vectors[i]);
        fdit_model_free(s->models[i]);
        fdit_device_close(s->devices[i]);
    }
}

/* The gradient of a group on device i, which its pass then calls final. */
static void finish_group(struct scene *s, int i, int place)
{
    struct fdit_model *m = s->models[i];
    const int group = s->layout.group[place];
    fdit_fill(m->dev, fdit_tensor_of(m->params.groups[group].grad, FDIT_F32), m->params.groups[group].trained,
              (float)(10 * i + place + 1));
    m->final(m->final_user, group);
}

/* A pass by hand: pieces leave when both devices have them, and not before; a read is waited for when the
 * next group is queued. */
START_TEST(as_soon_as_final)
{
    struct scene s;
    open_scene(&s, true);
    for (int micro = 0; micro < 2; micro++) {
        s.diary.n_adds = s.diary.n_sums = 0;
        s.diary.elsewhere = false;
        fdit_overlap_begin(s.overlap, micro == 0, micro == 1);
        fdit_overlap_watch(ctx, s.overlap, 0);
        fdit_overlap_watch(ctx, s.overlap, 1);
        for (int place = 0; place < 3; place++)
            finish_group(&s, 0, place);
        ck_assert_int_eq(adds_of(&s.diary), 0); /* the other device has none */
        finish_group(&s, 1, 0);
        finish_group(&s, 1, 1);
        wait_for(&s.diary, 1);
        finish_group(&s, 1, 2);
        wait_for(&s.diary, 2);
        for (int i = 0; i < 2; i++) {
            for (int place = 3; place < s.layout.n; place++)
                finish_group(&s, i, place);
            ck_assert_ok(ctx, fdit_overlap_watched(s.overlap, i));
        }
        ck_assert_ok(ctx, fdit_overlap_end(ctx, s.overlap, FDIT_OK));
        ck_assert_int_eq(s.diary.n_adds, PIECES);
        ck_assert_int_eq(s.diary.n_sums, micro == 1 ? PIECES : 0);
        ck_assert(s.diary.elsewhere);
        for (int piece = 0; piece < PIECES; piece++) {
            ck_assert_int_eq(s.diary.adds[piece], piece);
            ck_assert(micro == 0 || s.diary.sums[piece] == piece);
            ck_assert_int_eq(s.diary.begins[piece], micro == 0);
        }
        for (int place = 0; place < s.layout.n; place++)
            for (size_t k = s.layout.first[place]; k < s.layout.first[place + 1]; k++)
                ck_assert(s.diary.added[k] == (float)(12 + 2 * place));
    }
    close_scene(&s);
}
END_TEST

/* A pass that fails: what has not left stays, and the failure is that of the pass. One of the exchange comes
 * out at the end, with its message, and the next micro-batch begins anew. */
START_TEST(failures)
{
    struct scene s;
    open_scene(&s, true);
    fdit_overlap_begin(s.overlap, true, true);
    for (int i = 0; i < 2; i++) {
        fdit_overlap_watch(ctx, s.overlap, i);
        finish_group(&s, i, 0);
        finish_group(&s, i, 1);
    }
    wait_for(&s.diary, 1);
    ck_assert_int_eq(fdit_overlap_end(ctx, s.overlap, FDIT_ERROR_DEVICE), FDIT_ERROR_DEVICE);
    ck_assert_int_eq(s.diary.n_adds, 1);
    for (int i = 0; i < 2; i++)
        ck_assert_ok(ctx, fdit_overlap_watched(s.overlap, i));

    for (int attempt = 0; attempt < 2; attempt++) {
        s.diary.n_adds = s.diary.n_sums = 0;
        s.diary.fails_at = attempt ? -1 : 2;
        fdit_overlap_begin(s.overlap, true, false);
        for (int i = 0; i < 2; i++) {
            fdit_overlap_watch(ctx, s.overlap, i);
            for (int place = attempt; place < s.layout.n && place < 4; place++) /* also out of order */
                finish_group(&s, i, place);
            ck_assert_ok(ctx, fdit_overlap_watched(s.overlap, i));
        }
        if (attempt) {
            ck_assert_ok(ctx, fdit_overlap_end(ctx, s.overlap, FDIT_OK));
            ck_assert_int_eq(s.diary.n_adds, PIECES);
            continue;
        }
        ck_assert_int_eq(fdit_overlap_end(ctx, s.overlap, FDIT_OK), FDIT_ERROR_IO);
        ck_assert_str_eq(fdit_context_message(ctx), "the line is cut");
        ck_assert_int_eq(s.diary.n_adds, 3);
    }
    close_scene(&s);
}
END_TEST

/* Without a thread all goes at the end, in the caller's. */
START_TEST(after_the_pass)
{
    struct scene s;
    open_scene(&s, false);
    fdit_overlap_begin(s.overlap, true, true);
    for (int i = 0; i < 2; i++) {
        fdit_overlap_watch(ctx, s.overlap, i);
        for (int place = 0; place < s.layout.n; place++)
            finish_group(&s, i, place);
        ck_assert_ok(ctx, fdit_overlap_watched(s.overlap, i));
    }
    ck_assert_int_eq(s.diary.n_adds, 0);
    ck_assert_ok(ctx, fdit_overlap_end(ctx, s.overlap, FDIT_OK));
    ck_assert_int_eq(s.diary.n_adds, PIECES);
    ck_assert_int_eq(s.diary.n_sums, PIECES);
    ck_assert(!s.diary.elsewhere);
    close_scene(&s);
}
END_TEST

int main(void)
{
    ctx = fdit_context_new();
    Suite *suite = suite_create("overlap");
    TCase *tcase = tcase_create("overlap");
    tcase_add_test(tcase, final);
    tcase_add_test(tcase, as_soon_as_final);
    tcase_add_test(tcase, failures);
    tcase_add_test(tcase, after_the_pass);
    suite_add_tcase(suite, tcase);
    int result = test_run(suite);
    fdit_context_free(ctx);
    return result;
}
