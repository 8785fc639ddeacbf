/* SPDX-License-Identifier: Apache-2.0
 * test_eval_stop.c: a measuring is stopped at each thing that it says of its progress: what it wrote is
 * whole, and features are kept once the pictures have gone through the network. */
#include "harness.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/phase.h"
#include "eval/drawing.h"
#include "eval/evaluate.h"
#include "model_fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PICTURES = 24, SIZE = 48, CLASSES = 3 };

static fdit_context *ctx;
static fdit_device *dev;
static struct fdit_taxonomy *taxonomy;
static char folder[64];
static char *judge, *lpips;

/* What the run says, counted: at number `stop_at` it is asked to stop, -1: never. */
static struct {
    int events, stop_at, pictures;
    char phases[2000]; /* names, each once, with bars between */
} told;

static void count(void)
{
    if (told.events++ == told.stop_at)
        fdit_context_stop(ctx);
}

static void on_phase(void *user, const struct fdit_phase_event *event)
{
    (void)user;
    if (event->kind == FDIT_PHASE_BEGIN && !strstr(told.phases, event->name) &&
        strlen(told.phases) + strlen(event->name) + 2 < sizeof told.phases)
        strcat(strcat(told.phases, event->name), "|");
    if (event->kind == FDIT_PHASE_BEGIN || event->kind == FDIT_PHASE_AT)
        count();
}

static void on_picture(void *user, size_t done)
{
    (void)user;
    told.pictures = (int)done;
    count();
}

/* ------------------------------------------------------------------ pictures that are made */

static int32_t label_of(void *self, size_t i)
{
    (void)self;
    return (int32_t)(i % CLASSES);
}

/* A bar whose place and brightness depend on the number; as what draws, it looks whether to stop. */
static enum fdit_status picture_of(fdit_context *c, void *self, size_t i, size_t end,
                                   struct fdit_picture *out)
{
    uint8_t *pixels = self;
    (void)end;
    if (fdit_stopped(c))
        return fdit_fail(c, FDIT_INTERRUPTED, "stopped while a picture was drawn");
    for (size_t k = 0; k < (size_t)SIZE * SIZE; k++)
        pixels[k] = (uint8_t)(k % SIZE / 8 == i % 6 ? 255 - 7 * i : (k * (i + 3)) % 50);
    *out = (struct fdit_picture){ SIZE, SIZE, 1, pixels };
    return FDIT_OK;
}

static enum fdit_status title_of(fdit_context *c, void *self, size_t i, char **out)
{
    (void)self;
    return fdit_strf(c, out, "bar %zu", i);
}

static uint8_t room[SIZE * SIZE];
static struct fdit_drawing drawing = { .self = room,
                                       .name = "bars",
                                       .n = PICTURES,
                                       .size = SIZE,
                                       .channels = 1,
                                       .named = true,
                                       .label = label_of,
                                       .picture = picture_of,
                                       .title = title_of };

/* ------------------------------------------------------------------ set up */

static void set_up(void)
{
    static const char table[] = "class\tletter\na\tx\nb\tx\nc\ty\n";
    char *file = test_fixture("../../data/judge.safetensors");
    char *net = test_fixture("eval/lpips_alex_backbone_small.pth"),
         *heads = test_fixture("eval/lpips_alex_small.pth");
    ctx = fdit_context_new();
    snprintf(folder, sizeof folder, "/tmp/fdit-stop-XXXXXX");
    ck_assert(mkdtemp(folder) != NULL);
    dev = test_open_device(ctx, "cpu", 2);
    ck_assert_ok(ctx, fdit_taxonomy_parse(ctx, table, strlen(table), "bars", NULL, &taxonomy));
    drawing.taxonomy = taxonomy;
    ck_assert_ok(ctx, fdit_strf(ctx, &judge, "judge:%s", file));
    ck_assert_ok(ctx, fdit_strf(ctx, &lpips, "%s,%s", net, heads));
    free(file);
    free(net);
    free(heads);
    fdit_context_set_phase(ctx, on_phase, NULL);
}

static void tear_down(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
    fdit_free(judge);
    fdit_free(lpips);
    fdit_taxonomy_free(taxonomy);
    fdit_device_close(dev);
    fdit_context_free(ctx);
}

/* ------------------------------------------------------------------ the runs */

static char *in_folder(const char *name)
{
    char *path;
    ck_assert_ok(ctx, fdit_strf(ctx, &path, "%s/%s", folder, name));
    return path;
}

/* A whole measuring with its report, stopped at `at`. */
static enum fdit_status measure(const char *real, const char *features_out, const char *report, int at)
{
    struct fdit_eval_options o = { 0 };
    struct fdit_eval_result r;
    const struct fdit_eval_hooks hooks = { .on_picture = on_picture };
    fdit_options_defaults(fdit_eval_option_table, &o);
    o.drawing = &drawing;
    o.features = judge;
    o.real = real;
    o.draws = 3;
    o.batch = 5;
    o.threads = 2;
    o.features_out = features_out;
    o.report = report;
    o.metrics = real ? "kid,kid-subsets,cmmd,precision,recall,density,coverage,nearest,lpips" : "none";
    o.lpips = real ? lpips : NULL;
    told.events = told.pictures = 0;
    told.phases[0] = '\0';
    told.stop_at = at;
    ctx->stop = 0;
    enum fdit_status status = fdit_eval_run(ctx, dev, &o, &hooks, &r);
    if (status == FDIT_OK && report)
        status = fdit_eval_write_report(ctx, &o, &r);
    fdit_eval_result_fini(&r);
    ctx->stop = 0;
    return status;
}

static size_t files_in_folder(void)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    ck_assert(d != NULL);
    for (const struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    closedir(d);
    return n;
}

static void read_whole(const char *path, uint8_t **bytes, size_t *n)
{
    ck_assert_ok(ctx, fdit_file_read_all(ctx, path, SIZE_MAX, bytes, n));
    ck_assert_int_eq(unlink(path), 0);
}

/* Whether the file is there; then it has these bytes. */
static bool whole(const char *path, const uint8_t *bytes, size_t n)
{
    uint8_t *got;
    size_t have;
    if (!fdit_is_file(path))
        return false;
    read_whole(path, &got, &have);
    ck_assert_msg(have == n && !memcmp(got, bytes, n), "%s is not whole", path);
    fdit_free(got);
    return true;
}

START_TEST(whatever_is_written_is_whole)
{
    static const char *const phases[] = { "comparing classes", "how different pictures of a class are",
                                          "finding neighbours", "writing the report" };
    char *real = in_folder("real.safetensors"), *kept = in_folder("kept.safetensors"),
         *report = in_folder("report.html");
    uint8_t *features, *page;
    size_t n_features, n_page, stopped = 0, finished = 0, kept_by = 0;
    ck_assert_ok(ctx, measure(NULL, real, NULL, -1));
    ck_assert_ok(ctx, measure(real, kept, report, -1));
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        ck_assert_msg(strstr(told.phases, phases[i]) != NULL, "no phase \"%s\": %s", phases[i], told.phases);
    const int events = told.events;
    read_whole(kept, &features, &n_features);
    read_whole(report, &page, &n_page);

    for (int at = 0; at < events; at++) {
        const enum fdit_status status = measure(real, kept, report, at);
        ck_assert_msg(status == FDIT_INTERRUPTED || status == FDIT_OK, "stopped at %d of %d: %s: %s", at,
                      events, fdit_status_text(status), fdit_context_message(ctx));
        ck_assert(status == FDIT_OK || strstr(fdit_context_message(ctx), "stopped"));
        const bool has_features = whole(kept, features, n_features);
        ck_assert_msg(has_features == (told.pictures == PICTURES),
                      "stopped at %d of %d, %d pictures went through the network: features are %s", at,
                      events, told.pictures, has_features ? "there" : "lost");
        ck_assert_int_eq(whole(report, page, n_page), status == FDIT_OK);
        ck_assert_uint_eq(files_in_folder(), 1); /* nothing half-written is left */
        stopped += status == FDIT_INTERRUPTED;
        finished += status == FDIT_OK;
        kept_by += status == FDIT_INTERRUPTED && has_features;
    }
    ck_assert_msg(stopped > finished && kept_by > 0, "%zu stopped, %zu finished", stopped, finished);
    fdit_free(features);
    fdit_free(page);
    fdit_free(real);
    fdit_free(kept);
    fdit_free(report);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("eval_stop");
    TCase *t = tcase_create("stop");
    tcase_set_timeout(t, 0);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, whatever_is_written_is_whole);
    suite_add_tcase(s, t);
    return test_run(s);
}
