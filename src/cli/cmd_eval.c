/* SPDX-License-Identifier: Apache-2.0
 * cmd_eval.c: `finediffusion eval`. */
#include "cli/cli.h"

#include "cli/eval_job.h"
#include "cli/eval_print.h"
#include "core/file.h"
#include "core/mem.h"

#include <stddef.h>
#include <string.h>

static void defaults(void *p)
{
    struct fdit_eval_args *a = p;
    fdit_options_defaults(fdit_eval_option_table, &a->o);
    a->drawn = fdit_sample_defaults();
    a->seeds = 3;
}

/* ------------------------------------------------------------------ progress */

void fdit_cli_eval_begin_set(void *user, const char *path, size_t total)
{
    struct fdit_eval_watch *w = user;
    w->done = 0;
    w->total = total;
    fdit_cli_banner(w->cli, "pictures", "%s: %zu", path, total);
    fdit_cli_progress_begin(w->cli, "features", "picture", 0, total);
}

void fdit_cli_eval_picture(void *user, size_t done)
{
    struct fdit_eval_watch *w = user;
    w->done = done;
    fdit_cli_progress_update(w->cli, done, NULL);
    if (done == w->total) /* what follows has lines of its own */
        fdit_cli_progress_end(w->cli);
}

/* Pictures on their way count as far as their steps are done. */
static void show_step(void *user, size_t drawing, int step, int steps)
{
    struct fdit_eval_watch *w = user;
    char note[64];
    snprintf(note, sizeof note, "drawing, step %d/%d", step, steps);
    fdit_cli_progress_part(w->cli, w->done, (double)drawing * step / steps, step < steps ? note : NULL);
}

void fdit_cli_eval_print_plan(void *user, const struct fdit_plan *plan)
{
    struct fdit_eval_watch *w = user;
    char memory[32];
    if (w->status == FDIT_OK)
        w->status = fdit_cli_plan(w->cli, plan, 0);
    const size_t process = fdit_plan_process_bytes(plan); /* 0: of another device than the first */
    fdit_format_size(process ? process : fdit_plan_device_bytes(plan), memory);
    if (!w->cli->plan)
        fdit_cli_banner(w->cli, "memory", "%s planned%s", memory, process ? "" : " on another device");
}

enum fdit_status fdit_cli_eval_measure(struct fdit_cli *cli, fdit_device *dev, struct fdit_eval_options *o,
                                       struct fdit_eval_watch *watch, struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_eval_hooks hooks = { watch, fdit_cli_eval_begin_set, fdit_cli_eval_picture,
                                           fdit_cli_eval_print_plan };
    o->memory = cli->memory;
    o->plan_only = cli->plan;
    TRY(fdit_eval_run(cli->ctx, dev, o, &hooks, r));
    TRY(watch->status);
out:
    return status;
}

/* ------------------------------------------------------------------ options */

/* What decides the pictures that are drawn, as `sample` reads it. */
static const char *const drawn_names[] = {
    "base",
    "delta",
    "weights-from",
    "objective",
    "model",
    "vae",
    "vae-scale",
    "force",
    "classes",
    "per-class",
    "counts",
    "guide",
    "guidance",
    "guidance-channels",
    "guidance-interval",
    "guidance-rule",
    "sampler",
    "steps",
    "cache-interval",
    "cache-order",
    "cache-full",
    "clip-x0",
    "no-clip-x0",
    "rng",
    NULL,
};
static const struct fdit_borrowed drawn = { .heading =
                                                "Pictures that are drawn, in place of GENERATED: those of "
                                                "'sample', not written",
                                            .table = fdit_sample_option_table,
                                            .names = drawn_names,
                                            .offset = offsetof(struct fdit_eval_args, drawn) };

#define ROW(kind, name, arg, field) FDIT_OPTION_ROW(kind, name, arg, struct fdit_eval_args, field)

static const struct fdit_option options[] = {
    FDIT_HEADING("Real pictures that a run has not seen"),
    { ROW(TEXT, "run", "RUN", run),
      .help =
          "compare with the pictures of this training run's data that its --val kept apart; --real is then "
          "needed only if the data moved. Without GENERATED and --base, what the run learned is drawn; of a "
          "run of 'train --classifier' those pictures are classified: its accuracy and what it confuses" },
    { ROW(SWITCH, "split", "train|val", train), .usual = "val",
      .help = "which side of the split: with train, nearest tells what was memorised" },
    FDIT_HEADING("What generated pictures are good for"),
    { ROW(FLAG, "utility", NULL, utility),
      .help =
          "eval [GENERATED] --utility REAL TEST --out DIR: classifiers are trained on REAL, on GENERATED, "
          "and on REAL with GENERATED added to the third of the classes that has the fewest, and are tested "
          "on TEST, which none of them has seen" },
    { ROW(TEXT, "out", "DIR", out),
      .help = "folder of the classifiers; given again, the same command goes on where it was interrupted" },
    { ROW(INT, "seeds", "N", seeds), FDIT_RANGE(1, 100), .usual = "3",
      .help = "classifiers of each of the three; more estimate the deviation better" },
    { ROW(TEXT, "train", "'NAME=VALUE ...'", train_words),
      .note = ": model=192,6,3,4 size=32 channels=3 steps=2000 batch=32 lr=1e-3",
      .help = "options of 'train' for the classifiers" },
    { 0 }
};

/* ------------------------------------------------------------------ the run */

static void close_work(struct fdit_eval_work *w)
{
    fdit_drawer_close(w->drawer);
    fdit_held_out_fini(&w->held_out);
    fdit_taxonomy_free(w->classes);
    fdit_free(w->run);
    fdit_free(w->delta);
    fdit_free(w->words);
    fdit_free(w->features);
    fdit_devices_close(&w->devices);
}

/* A run of train --classifier: what it says of the pictures that it has not seen. They are measured as they
 * are, with nothing beside them. */
static enum fdit_status measure_classifier(fdit_context *ctx, struct fdit_eval_args *a,
                                           struct fdit_eval_work *w)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_held_out *h = &w->held_out;
    TRY(fdit_strf(ctx, &w->delta, "judge:%s/delta.safetensors", a->run));
    a->o.generated = h->path;
    a->o.real = NULL;
    a->o.split_generated = h->some ? &h->split : NULL;
    a->o.features = w->delta;
    if (!a->o.metrics)
        a->o.metrics = "accuracy";
    if (!a->o.taxonomy)
        a->o.classes = h->taxonomy;
    a->o.fit = h->o.fit;
    if (!a->o.look.orient && !a->o.look.matte)
        a->o.look = h->o.look;
out:
    return status;
}

/* What --run says where nothing else does. */
static enum fdit_status use_run(struct fdit_cli *cli, struct fdit_eval_args *a, struct fdit_eval_work *w,
                                bool series)
{
    enum fdit_status status = FDIT_OK;
    fdit_context *ctx = cli->ctx;
    const bool draw = !a->o.generated && !a->drawn.base;
    struct fdit_held_out *h = &w->held_out;
    if (!a->run) {
        if (a->train)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "--split train: of which run? give --run RUN");
        goto out;
    }
    if (a->o.stats)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--run and --stats: give one of the two");
    TRY(fdit_held_out_open(ctx, a->run, a->o.real, a->train, draw, h));
    if (draw && h->o.classifier) {
        status = measure_classifier(ctx, a, w);
        goto out;
    }
    a->o.real = h->path;
    a->o.split = h->some ? &h->split : NULL;
    if (!a->o.taxonomy)
        a->o.classes = h->taxonomy;
    if (!draw)
        goto out;
    TRY(fdit_strf(ctx, &w->delta, "%s/delta.safetensors", a->run));
    a->drawn.base = h->o.base;
    if (!series && h->o.base)
        a->drawn.delta = w->delta;
    else if (!series)
        a->drawn.base = w->delta;
    if (!a->drawn.vae) {
        a->drawn.vae = h->o.vae;
        a->drawn.vae_scale = h->o.vae_scale;
    }
out:
    return status;
}

enum fdit_status fdit_cli_eval_draw(struct fdit_cli *cli, struct fdit_eval_args *a,
                                    struct fdit_eval_watch *watch, struct fdit_eval_work *w)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_sample_options *o = &a->drawn;
    o->seed = a->o.seed;
    o->taxonomy = a->o.taxonomy;
    o->ranks = a->o.ranks;
    o->storage = cli->weights;
    o->precision = fdit_device_precision(w->devices.list[0]);
    o->memory = cli->memory;
    a->o.drawing = NULL;
    fdit_drawer_close(w->drawer);
    w->drawer = NULL;
    TRY(fdit_drawer_open(cli->ctx, &w->devices, o, show_step, watch, &w->drawer));
    a->o.drawing = fdit_drawer_drawing(w->drawer);
    fdit_cli_banner(cli, "drawing", "%zu pictures, %s", a->o.drawing->n, fdit_drawer_how(w->drawer));
out:
    return status;
}

/* Pictures, the files of a set's parts, or (*series) checkpoints. */
static enum fdit_status take_operands(fdit_context *ctx, struct fdit_eval_args *a, int n, char **operands,
                                      bool *series)
{
    enum fdit_status status = FDIT_OK;
    int files = 0, checkpoints = 0;
    for (int i = 0; i < n; i++) {
        bool checkpoint = fdit_cli_eval_is_checkpoint(operands[i]);
        checkpoints += checkpoint;
        files += !checkpoint && fdit_feature_file_is(operands[i]);
        if (n > 1 && !(checkpoint ? checkpoints : files))
            FAIL(
                ctx, FDIT_ERROR_ARGUMENT,
                "%s: several operands are the files of a set's parts (.safetensors or .npz, from --part), or "
                "checkpoints; give one set of pictures",
                operands[i]);
    }
    if (n > 1 && files != n && checkpoints != n)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%d of %d operands are checkpoints; give checkpoints alone, or the files of a set's parts, or "
             "one set of pictures",
             checkpoints, n);
    *series = checkpoints > 0;
    if (*series)
        goto out;
    a->o.generated = n ? operands[0] : NULL;
    if (files) {
        a->o.parts_of = (const char *const *)operands;
        a->o.n_parts = (size_t)n;
    }
    if (n && a->drawn.base)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--base %s and %s: give pictures, or what draws them", a->drawn.base,
             operands[0]);
    if (!a->drawn.base && a->drawn.delta)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--delta %s needs the checkpoint that it was made from; give --base FILE", a->drawn.delta);
out:
    return status;
}

/* The run that checkpoints lie in, RUN/checkpoints/step-N.safetensors, is --run where nothing else says what
 * to compare with; otherwise it still knows the base that they were made from. */
static enum fdit_status find_run(fdit_context *ctx, struct fdit_eval_args *a, struct fdit_eval_work *w,
                                 const char *checkpoint)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL, *config = NULL;
    const bool compared = a->o.real || a->o.stats;
    if (a->run || (compared && a->drawn.base))
        return FDIT_OK;
    TRY(fdit_path_folder(ctx, checkpoint, &folder));
    TRY(fdit_path_folder(ctx, folder, &w->run));
    TRY(fdit_path_join(ctx, w->run, "config.json", &config));
    if (!fdit_is_file(config))
        goto out;
    if (!compared) {
        a->run = w->run;
        goto out;
    }
    TRY(fdit_held_out_model(ctx, w->run, &w->held_out));
    a->drawn.base = w->held_out.o.base;
    if (!a->drawn.vae) {
        a->drawn.vae = w->held_out.o.vae;
        a->drawn.vae_scale = w->held_out.o.vae_scale;
    }
out:
    fdit_free(folder);
    fdit_free(config);
    return status;
}

/* A classifier of one's own also gives the features where nothing else says which: the built-in one knows
 * grey letters only. */
static enum fdit_status use_classifier(struct fdit_cli *cli, struct fdit_eval_args *a,
                                       struct fdit_eval_work *w)
{
    static const char *const names[] = { "features", NULL };
    enum fdit_status status = FDIT_OK;
    if (!a->o.classifier || a->o.stats || (a->o.real && fdit_feature_file_is(a->o.real)) ||
        fdit_options_given(cli, names))
        return FDIT_OK;
    TRY(fdit_strf(cli->ctx, &w->features, "judge:%s", a->o.classifier));
    a->o.features = w->features;
out:
    return status;
}

/* fdit_eval_check before a model is loaded: nothing of it is drawn yet. */
static enum fdit_status check(struct fdit_cli *cli, const struct fdit_eval_args *a, bool series, bool *device)
{
    const struct fdit_drawing soon = { .name = "" };
    struct fdit_eval_options o = a->o;
    if (a->drawn.base || series)
        o.drawing = &soon;
    return fdit_eval_check(cli->ctx, &o, device);
}

/* Options that decide what is drawn do nothing for pictures that are there. */
static enum fdit_status check_drawn(struct fdit_cli *cli, const struct fdit_eval_args *a, bool series)
{
    enum fdit_status status = FDIT_OK;
    const char *name = a->drawn.base || series ? NULL : fdit_options_given(cli, drawn_names);
    if (name)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT,
             "--%s is of pictures that are drawn, and %s is there already; leave it out, or give --base (or "
             "checkpoints) in the place of GENERATED",
             name, a->o.generated ? a->o.generated : "GENERATED");
out:
    return status;
}

static enum fdit_status open_devices(struct fdit_cli *cli, struct fdit_eval_work *work)
{
    enum fdit_status status = FDIT_OK;
    char *names = NULL;
    TRY(fdit_cli_devices(cli, &work->devices));
    TRY(fdit_devices_names(cli->ctx, &work->devices, &names));
    if (!cli->plan)
        fdit_cli_banner(cli, "device", "%s", names);
out:
    fdit_free(names);
    return status;
}

/* The numbers, and then the report, which takes longer where its pictures are drawn again. */
static enum fdit_status tell(struct fdit_cli *cli, const struct fdit_eval_options *o,
                             const struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    TRY(cli->json ? fdit_cli_eval_json(cli, o, r) : fdit_cli_print_eval(cli, o, r));
    if (!o->report)
        goto out;
    TRY(fdit_eval_write_report(cli->ctx, o, r));
    if (!cli->json)
        fdit_cli_note(cli, "a report in %s", o->report);
out:
    return status;
}

/* What can be done about pictures that have to go through the network again. */
static enum fdit_status advise_parts(struct fdit_cli *cli, const struct fdit_eval_args *a,
                                     const struct fdit_eval_watch *w, enum fdit_status status)
{
    if (status != FDIT_INTERRUPTED || a->o.deal || w->done >= w->total)
        return status;
    return fdit_fail(cli->ctx, status,
                     "%s; they are not kept: --part I/N with --features-out measures a set in parts",
                     fdit_context_message(cli->ctx));
}

/* With a->o.deal, before its `take`: this process's part of the features, and nothing else. */
static enum fdit_status measure(struct fdit_cli *cli, struct fdit_eval_args *a, struct fdit_eval_work *work,
                                bool series, int n, char **operands)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_eval_result result = { 0 };
    struct fdit_eval_watch watch = { .cli = cli };
    if (series) {
        status = fdit_cli_eval_series(cli, a, &watch, work, n, operands);
        goto out;
    }
    if (a->drawn.base)
        TRY(fdit_cli_eval_draw(cli, a, &watch, work));
    TRY(fdit_cli_eval_measure(cli, work->devices.n ? work->devices.list[0] : NULL, &a->o, &watch, &result));
    if (!cli->plan && (!a->o.deal || a->o.deal->take))
        TRY(tell(cli, &a->o, &result));
out:
    fdit_eval_result_fini(&result);
    return series ? status : advise_parts(cli, a, &watch, status);
}

/* Alone, or with the other processes that a launcher started. */
static enum fdit_status measure_together(struct fdit_cli *cli, struct fdit_eval_args *a,
                                         struct fdit_eval_work *work, bool series, int n, char **operands)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_eval_dealing dealing = { .lock = FDIT_FOLDER_UNLOCKED };
    bool needs_device;
    TRY(check(cli, a, series, &needs_device));
    TRY(fdit_cli_eval_deal(cli, a, needs_device, &dealing));
    if (needs_device)
        TRY(open_devices(cli, work));
    if (a->o.deal) {
        TRY(measure(cli, a, work, series, n, operands));
        TRY(fdit_cli_eval_turn(cli, &dealing));
    }
    if (dealing.turn)
        TRY(measure(cli, a, work, series, n, operands));
out:
    a->o.deal = NULL;
    fdit_cli_eval_deal_end(&dealing);
    return status;
}

static enum fdit_status run(struct fdit_cli *cli, void *p, int n, char **operands)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_eval_args *a = p;
    struct fdit_eval_watch watch = { .cli = cli };
    struct fdit_eval_work work = { .run = NULL };
    bool series;
    if (a->utility) {
        TRY(fdit_cli_eval_alone(cli));
        TRY(open_devices(cli, &work));
        TRY(fdit_cli_eval_utility(cli, a, &watch, &work, n, operands));
        goto out;
    }
    if (a->out || a->train_words)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT, "--%s goes with --utility; leave it out",
             a->out ? "out" : "train");
    TRY(take_operands(cli->ctx, a, n, operands, &series));
    if (series)
        TRY(find_run(cli->ctx, a, &work, operands[0]));
    TRY(use_run(cli, a, &work, series));
    TRY(use_classifier(cli, a, &work));
    if (a->o.generated)
        TRY(check_drawn(cli, a, series));
    a->o.threads = cli->threads;
    TRY(measure_together(cli, a, &work, series, n, operands));
out:
    if (status != FDIT_OK)
        fdit_cli_progress_drop(cli);
    close_work(&work);
    return status;
}

const struct fdit_command fdit_command_eval = {
    .name = "eval",
    .summary = "measure how good pictures are, beside real ones",
    .synopsis = "[GENERATED...] --real DATA [OPTION]...",
    .about = "Compares GENERATED pictures with real ones by the features that a network gives them. Both "
             "may be a folder of class folders, an archive, WebDataset shards, a cache of pixels, the "
             "folder of 'sample' or its manifest.jsonl (the pictures that it names), or a file of features. "
             "With --base the pictures are drawn as 'sample' "
             "draws them, measured and not kept; checkpoints of a run in place of GENERATED show how they "
             "become better. Processes that mpirun or srun starts together share the work by the folder "
             "eval-features, which keeps the features of each 64 pictures: one of them measures, with the "
             "bits of one process, and what is there is not computed again. --part divides by hand.\n\n"
             "fd is the Frechet distance: FID where the features are Inception's. It is too large for "
             "few pictures, whatever they show; kid is not, and may be below 0 by chance. precision: how "
             "many generated pictures look like a real one; recall: how many real ones look like a "
             "generated one, low where the pictures are all alike; density and coverage: the same, less "
             "moved by single odd pictures. authenticity and nearest tell of pictures that are copies of "
             "real ones; the closest pairs are listed. accuracy: how many pictures show their class, by a "
             "classifier, for classes and for the groups of each rank.\n\n"
             "+- is the deviation over bootstrap draws. Numbers compare only where features, numbers of "
             "pictures and real pictures are the same. Tables by rank, and by head, middle and tail of "
             "the classes' real pictures, are plain means over the classes.",
    .examples = "  finediffusion eval pictures/ --real birds/ \\\n"
                "      --features judge:judge/delta.safetensors\n"
                "  finediffusion eval pictures/ --real birds/ --by-class classes.tsv --json\n"
                "  finediffusion eval birds/ --stats-out birds.npz --metrics none\n"
                "  finediffusion eval pictures/ --stats birds.npz\n"
                "  finediffusion eval --base base.safetensors --delta run/delta.safetensors \\\n"
                "      --per-class 50 --run run\n"
                "  finediffusion eval --run judge --confusion confusion.tsv\n"
                "  finediffusion eval run/checkpoints/* --per-class 10 --report run.html\n"
                "  finediffusion eval pictures/ --utility birds/ birds-test/ --out utility\n"
                "  finediffusion eval pictures/ --metrics none --part 0/2 --features-out 0.npz\n",
    .job = fdit_eval_option_table,
    .borrowed = &drawn,
    .options = options,
    .common = FDIT_COMMON_DEVICE | FDIT_COMMON_DEVICES | FDIT_COMMON_WEIGHTS | FDIT_COMMON_PLAN |
              FDIT_COMMON_JSON | FDIT_COMMON_LINE,
    .most_operands = -1,
    .args_size = sizeof(struct fdit_eval_args),
    .defaults = defaults,
    .run = run,
};
