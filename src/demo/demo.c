/* SPDX-License-Identifier: Apache-2.0 */
#include "demo/demo.h"

#include "core/clock.h"
#include "core/datadir.h"
#include "core/file.h"
#include "core/mem.h"
#include "demo/sheet.h"
#include "sample/painter.h"
#include "train/class_table.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SAMPLE_BATCH = 55, MOST_STEPS = 1000000 };

struct demo {
    const struct fdit_demo_options *o;
    const struct fdit_demo_hooks *hooks;
    struct fdit_demo_result *result;
    fdit_device *dev;
    char *base, *train, *test, *taxonomy_file, *judge_file;
    char *folder;                   /* all runs */
    struct fdit_taxonomy *taxonomy; /* letter and style */
    struct fdit_taxonomy *letters;  /* the letter alone: the model's classes and superclasses */
    struct fdit_judge *judge;
    struct fdit_sheet sheet;
    int per_class, phase, phases;
    size_t n_classes, pixels; /* S S C of a picture */
    double phase_seconds;
};

static void phase(struct demo *d, const char *text)
{
    d->phase++;
    if (d->hooks && d->hooks->on_phase)
        d->hooks->on_phase(d->hooks->user, d->phase, d->phases, text);
}

static void progress(struct demo *d, double done, double total, const char *unit, const char *note)
{
    if (d->hooks && d->hooks->on_progress)
        d->hooks->on_progress(d->hooks->user, done, total, unit, note);
}

/* ------------------------------------------------------------------ set-up */

static enum fdit_status open_all(fdit_context *ctx, struct demo *d)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_data_file(ctx, "base.safetensors", &d->base));
    TRY(fdit_data_file(ctx, "judge.safetensors", &d->judge_file));
    TRY(fdit_data_file(ctx, "letters-train.tar.gz", &d->train));
    TRY(fdit_data_file(ctx, "letters-test.tar.gz", &d->test));
    TRY(fdit_data_file(ctx, "letters/taxonomy.tsv", &d->taxonomy_file));
    TRY(fdit_taxonomy_load(ctx, d->taxonomy_file, "letter,style", &d->taxonomy));
    TRY(fdit_taxonomy_pick(ctx, d->taxonomy, "letter", &d->letters));
    TRY(fdit_judge_open(ctx, d->dev, d->judge_file, 2 * SAMPLE_BATCH, &d->judge));
    d->n_classes = (size_t)fdit_taxonomy_n_classes(d->taxonomy);
out:
    return status;
}

static enum fdit_status make_work_folder(fdit_context *ctx, struct demo *d)
{
    enum fdit_status status = FDIT_OK;
    if (d->o->run) {
        TRY(fdit_mkdirs(ctx, d->o->run));
        TRY(fdit_strdup(ctx, d->o->run, &d->folder));
        return FDIT_OK;
    }
    TRY(fdit_strf(ctx, &d->folder, "%s/finediffusion-demo-XXXXXX", fdit_temporary_folder()));
    if (!mkdtemp(d->folder)) {
        status =
            fdit_fail_errno(ctx, FDIT_ERROR_IO, errno,
                            "cannot make the folder %s; set TMPDIR to a folder with some space", d->folder);
        fdit_free(d->folder);
        d->folder = NULL;
    }
out:
    return status;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* Real pictures of held-out typefaces: the judge's own accuracy, and one of each class for the sheet. */
static enum fdit_status look_at_real(fdit_context *ctx, struct demo *d)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_dataset *test = NULL, *train = NULL;
    uint8_t *all = NULL, *chw = NULL;
    int32_t *labels = NULL;
    struct fdit_dataset_options o = {
        .taxonomy = d->taxonomy, .size = d->sheet.size, .channels = d->sheet.channels, .allow_missing = true
    };
    size_t plane = (size_t)d->sheet.size * (size_t)d->sheet.size, channels = (size_t)d->sheet.channels;
    TRY(fdit_dataset_open(ctx, d->test, &o, &test));
    TRY(fdit_dataset_open(ctx, d->train, &o, &train));
    size_t n = fdit_dataset_size(test);
    TRY(fdit_alloc(ctx, n, d->pixels, &all));
    TRY(fdit_alloc(ctx, d->pixels, 1, &chw));
    TRY(fdit_alloc(ctx, n, sizeof *labels, &labels));
    for (size_t i = 0; i < n; i++) {
        TRY(fdit_dataset_decode(ctx, test, i, chw));
        for (size_t c = 0; c < channels; c++)
            for (size_t p = 0; p < plane; p++)
                all[i * d->pixels + p * channels + c] = chw[c * plane + p];
        labels[i] = fdit_dataset_label(test, i);
    }
    TRY(fdit_judge_score(ctx, d->judge, all, labels, n, d->taxonomy, &d->result->real));
    for (size_t k = 0; k < d->n_classes; k++) {
        size_t count = fdit_dataset_class_count(train, (int32_t)k);
        if (!count)
            continue;
        TRY(fdit_dataset_decode(ctx, train, fdit_dataset_class_first(train, (int32_t)k) + count / 2, chw));
        for (size_t c = 0; c < channels; c++)
            for (size_t p = 0; p < plane; p++)
                d->sheet.real[k * d->pixels + p * channels + c] = chw[c * plane + p];
    }
out:
    fdit_dataset_close(test);
    fdit_dataset_close(train);
    fdit_free(all);
    fdit_free(chw);
    fdit_free(labels);
    return status;
}

/* ------------------------------------------------------------------ sampling */

struct watch {
    struct demo *d;
    double before, total; /* network steps done by earlier batches; of all */
};

static void on_sampler_step(void *user, int done, int steps)
{
    const struct watch *w = user;
    (void)steps;
    progress(w->d, w->before + done, w->total, "step", NULL);
}

/* How pictures are drawn, with or without guidance. */
static struct fdit_generator_options way(const struct demo *d, bool guided, struct watch *w)
{
    /* eta 1: fresh noise in every step mends what the one before spoilt. Of 880 pictures at w = 2, of the
     * same weights, it drew 60 % with the right letter and style, eta 0 drew 48 %. */
    struct fdit_generator_options how = { .sampler = { .kind = FDIT_SAMPLER_DDIM, .eta = 1 },
                                          .steps = d->o->steps,
                                          .guidance = FDIT_GUIDANCE_DEFAULT,
                                          .guided = guided,
                                          .clip_x0 = true,
                                          .batch = SAMPLE_BATCH,
                                          .on_step = on_sampler_step,
                                          .user = w };
    how.guidance.w = d->o->guidance;
    return how;
}

/* per_class pictures of every class, pixels [n_classes * per_class, S, S, C], class after class. */
static enum fdit_status sample(fdit_context *ctx, struct demo *d, struct fdit_painter *p, bool guided,
                               struct watch *w, uint8_t *pixels)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_guide guide = { .kind = FDIT_GUIDE_SUPERCLASS };
    const struct fdit_generator_options how = way(d, guided, w);
    struct fdit_picture_spec specs[SAMPLE_BATCH];
    float *x = NULL;
    size_t n = d->n_classes * (size_t)d->per_class;
    TRY(fdit_painter_set(ctx, p, &how));
    TRY(fdit_alloc(ctx, SAMPLE_BATCH * d->pixels, sizeof *x, &x));
    for (size_t done = 0; done < n;) {
        int k = n - done < SAMPLE_BATCH ? (int)(n - done) : SAMPLE_BATCH;
        for (int i = 0; i < k; i++) {
            int32_t id = (int32_t)((done + (size_t)i) / (size_t)d->per_class);
            uint64_t seed = d->o->seed + (done + (size_t)i) % (size_t)d->per_class;
            specs[i] = fdit_guide_picture(&guide, d->letters, id, seed);
        }
        TRY(fdit_painter_draw(ctx, p, specs, (size_t)k, x));
        for (int i = 0; i < k; i++)
            TRY(fdit_painter_decode(ctx, p, x + (size_t)i * d->pixels,
                                    pixels + (done + (size_t)i) * d->pixels));
        done += (size_t)k;
        w->before += d->o->steps;
    }
out:
    fdit_free(x);
    return status;
}

static enum fdit_status score(fdit_context *ctx, struct demo *d, const uint8_t *pixels,
                              struct fdit_judge_score *out)
{
    enum fdit_status status = FDIT_OK;
    size_t n = d->n_classes * (size_t)d->per_class;
    int32_t *wanted = NULL;
    TRY(fdit_alloc(ctx, n, sizeof *wanted, &wanted));
    for (size_t i = 0; i < n; i++)
        wanted[i] = (int32_t)(i / (size_t)d->per_class);
    TRY(fdit_judge_score(ctx, d->judge, pixels, wanted, n, d->taxonomy, out));
out:
    fdit_free(wanted);
    return status;
}

/* The first picture of each class into a panel of the sheet. */
static void keep_first(const struct demo *d, const uint8_t *pixels, uint8_t *panel)
{
    for (size_t k = 0; k < d->n_classes; k++)
        memcpy(panel + k * d->pixels, pixels + k * (size_t)d->per_class * d->pixels, d->pixels);
}

/* Samples with and without guidance. delta NULL: the base with the new rows as training would start. */
static enum fdit_status sample_both(fdit_context *ctx, struct demo *d, const char *delta, int row,
                                    uint8_t *plain_panel, uint8_t *guided_panel)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_demo_row *r = &d->result->rows[row];
    struct fdit_sample_source source = { .taxonomy = d->letters };
    struct fdit_weight_files *files = &source.files;
    struct fdit_painter *p = NULL;
    const struct fdit_painter_options o = { .storage = d->o->storage, .new_table = !delta };
    uint8_t *pixels = NULL;
    size_t n = d->n_classes * (size_t)d->per_class;
    double batches = (double)((n + SAMPLE_BATCH - 1) / SAMPLE_BATCH), began = fdit_clock_seconds();
    struct watch w = { .d = d, .total = 2 * batches * d->o->steps };
    const struct fdit_generator_options how = way(d, true, &w);
    TRY(fdit_checkpoint_open(ctx, d->base, FDIT_VALUES_EMA, &source.base));
    if (delta)
        TRY(fdit_checkpoint_open(ctx, delta, FDIT_VALUES_EMA, &source.delta));
    TRY(fdit_checkpoint_config(ctx, source.base, NULL, &files->config));
    TRY(fdit_weight_files_join(ctx, source.delta, source.base, files));
    files->config.table_rows = fdit_taxonomy_n_rows(d->letters); /* before training, the table is to come */
    TRY(fdit_painter_new(ctx, FDIT_ONE_DEVICE(d->dev), &source, &o, &p));
    TRY(fdit_painter_plan(ctx, p, &how, 0));
    TRY(fdit_painter_load(ctx, p, NULL));
    if (!delta)
        TRY(fdit_class_table_start(ctx, fdit_painter_model(p), FDIT_TABLE_NAMES, source.base, d->letters,
                                   d->o->seed, NULL));
    TRY(fdit_alloc(ctx, n, d->pixels, &pixels));
    TRY(sample(ctx, d, p, false, &w, pixels));
    TRY(score(ctx, d, pixels, &r->plain));
    if (plain_panel)
        keep_first(d, pixels, plain_panel);
    TRY(sample(ctx, d, p, true, &w, pixels));
    TRY(score(ctx, d, pixels, &r->guided));
    if (guided_panel)
        keep_first(d, pixels, guided_panel);
    r->sample_seconds = fdit_clock_seconds() - began;
out:
    fdit_painter_free(p);
    fdit_checkpoint_close(source.delta);
    fdit_checkpoint_close(source.base);
    fdit_free(pixels);
    return status;
}

/* ------------------------------------------------------------------ training */

static void on_step(void *user, const struct fdit_train_progress *p)
{
    struct demo *d = user;
    char note[96];
    snprintf(note, sizeof note, "step %lld, loss %.3f, %.0f images/s", (long long)p->step, p->loss,
             p->images_per_second);
    if (d->phase_seconds > 0)
        progress(d, p->seconds, d->phase_seconds, "second", note);
    else
        progress(d, (double)p->step, (double)p->steps, "step", note);
}

/* Fine-tunes with a mask for `steps`, or when 0 as the options say, into folder/name. */
static enum fdit_status tune(fdit_context *ctx, struct demo *d, const char *mask, const char *name,
                             int64_t steps, struct fdit_demo_row *row, char **delta)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_options o = fdit_train_defaults();
    struct fdit_train_hooks hooks = { .user = d, .on_step = on_step };
    char *out = NULL;
    *delta = NULL;
    TRY(fdit_path_join(ctx, d->folder, name, &out));
    o.base = d->base;
    o.data = d->train;
    o.validation = d->test;
    o.taxonomy = d->taxonomy_file;
    o.ranks = "letter";
    o.superclass = "letter";
    o.tune = mask;
    o.flip = false;
    o.batch = 32; /* more steps in the same time than with 64, and a little better for it */
    /* the rates that suit each: a full set of weights wants a far smaller one */
    o.lr = !strcmp(mask, "full") ? d->o->lr / 16 : d->o->lr;
    o.schedule = FDIT_LR_LINEAR; /* measured against constant: more of the right letters and styles */
    o.beta1 = 0.9;
    o.beta2 = 0.99;
    o.clip = 1;
    o.warmup = 50;
    o.ema = 0.995;
    o.table_init = FDIT_TABLE_NAMES;
    o.seed = d->o->seed;
    o.storage = d->o->storage;
    o.workers = 1;
    o.checkpoint_every = o.preview_every = 0;
    if (!steps)
        steps = d->o->train_steps;
    o.steps = steps ? steps : MOST_STEPS;
    o.seconds = steps ? 0 : d->o->seconds;
    o.out = out;
    d->phase_seconds = o.seconds;
    status = fdit_train_run(ctx, FDIT_ONE_DEVICE(d->dev), &o, &hooks, false, &row->run);
    if (status == FDIT_INTERRUPTED) /* nothing of it stays to go on with */
        status = fdit_fail(ctx, status,
                           "stopped while it trained; the next call starts the demo from the beginning");
    TRY(status);
    row->trained = true;
    TRY(fdit_path_join(ctx, out, "delta.safetensors", delta));
out:
    fdit_free(out);
    return status;
}

struct plan_row {
    const char *name, *folder, *mask;
    bool same_steps; /* as FineDiffusion took in its time */
};

static const struct plan_row plan_rows[] = {
    { "FineDiffusion", "finediffusion", "finediffusion", false },
    { "BitFit, same time", "bitfit-time", "bitfit", false },
    { "BitFit, same steps", "bitfit-steps", "bitfit", true },
    { "full, same time", "full-time", "full", false },
    { "full, same steps", "full-steps", "full", true },
};

static enum fdit_status run_row(fdit_context *ctx, struct demo *d, const struct plan_row *p, int row)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_demo_row *r = &d->result->rows[row];
    char *delta = NULL, text[96];
    int64_t steps = p->same_steps ? d->result->rows[1].run.step : 0;
    r->name = p->name;
    snprintf(text, sizeof text, "fine-tuning (%s)", p->name);
    phase(d, text);
    TRY(tune(ctx, d, p->mask, p->folder, steps, r, &delta));
    snprintf(text, sizeof text, "sampling (%s), without guidance and with SCG", p->name);
    phase(d, text);
    TRY(sample_both(ctx, d, delta, row, row == 1 ? d->sheet.plain : NULL, row == 1 ? d->sheet.guided : NULL));
    d->result->n_rows = row + 1;
    if (d->hooks && d->hooks->on_row)
        d->hooks->on_row(d->hooks->user, d->result, row);
out:
    fdit_free(delta);
    return status;
}

static void close_all(struct demo *d)
{
    fdit_judge_close(d->judge);
    fdit_taxonomy_free(d->taxonomy);
    fdit_taxonomy_free(d->letters);
    fdit_sheet_fini(&d->sheet);
    if (d->folder && !d->o->run)
        nftw(d->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    char *const texts[] = { d->base, d->train, d->test, d->taxonomy_file, d->judge_file, d->folder };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        fdit_free(texts[i]);
}

enum fdit_status fdit_demo_run(fdit_context *ctx, fdit_device *dev, const struct fdit_demo_options *options,
                               const struct fdit_demo_hooks *hooks, struct fdit_demo_result *result)
{
    enum fdit_status status = FDIT_OK;
    struct demo d = { .o = options, .hooks = hooks, .result = result, .dev = dev };
    int rows = options->full ? (int)(sizeof plan_rows / sizeof plan_rows[0]) : 1;
    d.per_class = options->per_class ? options->per_class : options->full ? 8 : 2;
    d.phases = 1 + 2 * rows;
    *result = (struct fdit_demo_result){ .guidance = options->guidance, .per_class = d.per_class };
    TRY(open_all(ctx, &d));
    TRY(fdit_sheet_init(ctx, &d.sheet, d.taxonomy, 24, 1));
    d.pixels = (size_t)d.sheet.size * (size_t)d.sheet.size * (size_t)d.sheet.channels;
    TRY(make_work_folder(ctx, &d));
    TRY(look_at_real(ctx, &d));
    result->rows[0].name = "before fine-tuning";
    phase(&d, "sampling (before fine-tuning)");
    TRY(sample_both(ctx, &d, NULL, 0, d.sheet.before, NULL));
    result->n_rows = 1;
    if (hooks && hooks->on_row)
        hooks->on_row(hooks->user, result, 0);
    for (int i = 0; i < rows; i++) {
        TRY(run_row(ctx, &d, &plan_rows[i], i + 1));
        if (i == 0) /* the picture is there even when the comparison is stopped */
            TRY(fdit_sheet_write(ctx, &d.sheet, options->guidance, options->out));
    }
out:
    close_all(&d);
    return status;
}
