/* SPDX-License-Identifier: Apache-2.0 */
#include "train/options.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/pool.h"
#include "format/option_json.h"
#include "diffusion/objective.h"
#include "train/learn.h"
#include "train/lr_range.h"
#include "train/optimiser.h"
#include "train/prior.h"

#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SECONDS 6e10 /* between two checkpoints */

/* ------------------------------------------------------------------ what is typed in a way of its own */

/* "0.9999", "0.9999:exact" */
static enum fdit_status parse_ema(fdit_context *ctx, void *args, const char *value)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_options *o = args;
    const char *colon = strchr(value, ':');
    char decay[64];
    if (colon && (strcmp(colon, ":exact") || (size_t)(colon - value) >= sizeof decay))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--ema %s: only :exact may follow the decay, like 0.9999:exact",
             value);
    snprintf(decay, sizeof decay, "%.*s", colon ? (int)(colon - value) : 0, value);
    TRY(fdit_parse_real(ctx, "--ema", colon ? decay : value, &o->ema));
    o->ema_exact = colon;
out:
    return status;
}

static enum fdit_status parse_tune(fdit_context *ctx, void *args, const char *value)
{
    struct fdit_train_options *o = args;
    struct fdit_mask mask;
    o->tune = value;
    return fdit_mask_parse(ctx, value, &mask);
}

/* Steps as a number, or time as "10m", "90s", "1.5h". */
static enum fdit_status parse_interval(fdit_context *ctx, struct fdit_train_options *o, const char *value)
{
    enum fdit_status status = FDIT_OK;
    static const char what[] = "--checkpoint-every", units[] = "smh";
    static const double seconds[] = { 1, 60, 3600 };
    const size_t n = strlen(value);
    const char *unit = n > 1 ? strchr(units, value[n - 1]) : NULL;
    char number[64];
    double time = 0;
    if (!unit) {
        TRY(fdit_parse_int64(ctx, what, value, &o->checkpoint_every));
        if (o->checkpoint_every == 0)
            o->checkpoint_seconds = 0;
        goto out;
    }
    snprintf(number, sizeof number, "%.*s", (int)n - 1, value);
    TRY(fdit_parse_real(ctx, what, number, &time));
    o->checkpoint_seconds = time * seconds[unit - units];
    if (!(time > 0) || o->checkpoint_seconds > MOST_SECONDS)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s %s: give a time above 0 and up to %gh, like 10m", what, value,
             MOST_SECONDS / 3600);
out:
    return status;
}

static enum fdit_status parse_checkpoints(fdit_context *ctx, void *args, const char *value)
{
    enum fdit_status status = FDIT_OK;
    const char *comma = strchr(value, ',');
    char first[64];
    if (comma) {
        snprintf(first, sizeof first, "%.*s", (int)(comma - value), value);
        TRY(parse_interval(ctx, args, first));
    }
    TRY(parse_interval(ctx, args, comma ? comma + 1 : value));
out:
    return status;
}

/* "1e-6:1" */
static enum fdit_status parse_lr_range(fdit_context *ctx, void *args, const char *value)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_options *o = args;
    const char *colon = strchr(value, ':');
    char low[64];
    if (!colon || (size_t)(colon - value) >= sizeof low)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--lr-range %s: give the lowest and the highest rate, as 1e-6:1",
             value);
    snprintf(low, sizeof low, "%.*s", (int)(colon - value), value);
    TRY(fdit_parse_real(ctx, "--lr-range", low, &o->lr_low));
    TRY(fdit_parse_real(ctx, "--lr-range", colon + 1, &o->lr_high));
    if (o->lr_low == 0 && o->lr_high == 0) /* none, as files may say */
        return FDIT_OK;
    if (!(o->lr_low > 0 && o->lr_high > o->lr_low && o->lr_high <= 100))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--lr-range %s: the lowest rate must be above 0, the highest above that and at most 100", value);
out:
    return status;
}

static void format_lr_range(const void *args, char out[40])
{
    const struct fdit_train_options *o = args;
    char low[32], high[32];
    fdit_format_number(o->lr_low, low);
    fdit_format_number(o->lr_high, high);
    snprintf(out, 40, "%.19s:%.19s", low, high);
}

static bool has_lr_range(const void *args) /* absent as in the files of older programs */
{
    return ((const struct fdit_train_options *)args)->lr_high > 0;
}

static enum fdit_status parse_weight(fdit_context *ctx, void *args, const char *value)
{
    return fdit_loss_weight_parse(ctx, value, &((struct fdit_train_options *)args)->loss_weight);
}

static void format_weight(const void *args, char out[40])
{
    fdit_loss_weight_format(&((const struct fdit_train_options *)args)->loss_weight, out);
}

static enum fdit_status parse_density(fdit_context *ctx, void *args, const char *value)
{
    return fdit_time_density_parse(ctx, value, &((struct fdit_train_options *)args)->time_density);
}

static void format_density(const void *args, char out[40])
{
    fdit_time_density_format(&((const struct fdit_train_options *)args)->time_density, out);
}

/* ------------------------------------------------------------------ the table */

static bool has_shards(const void *args)
{
    return ((const struct fdit_train_options *)args)->shards;
}

static bool has_epochs(const void *args)
{
    return ((const struct fdit_train_options *)args)->epochs > 0;
}

static bool has_steps(const void *args)
{
    return !has_epochs(args);
}

static bool has_objective(const void *args)
{
    const struct fdit_train_options *o = args;
    return !o->classifier && o->objective;
}

static bool has_loss_weight(const void *args)
{
    return ((const struct fdit_train_options *)args)->loss_weight.min_snr;
}

static bool has_time_density(const void *args)
{
    return ((const struct fdit_train_options *)args)->time_density.kind != FDIT_TIMES_UNIFORM;
}

static bool has_evaluation(const void *args) /* absent as in the files of older programs */
{
    return ((const struct fdit_train_options *)args)->eval_every > 0;
}

/* Those of learnt guidance are absent where they are as in the files of older programs. */
static bool learns(const void *args)
{
    return fdit_learn_wanted(args);
}

static bool learns_from_base(const void *args)
{
    return ((const struct fdit_train_options *)args)->learn_guide != FDIT_LEARN_SUPERCLASS;
}

static bool learns_later(const void *args)
{
    return ((const struct fdit_train_options *)args)->learn_after != 0;
}

static bool learns_from(const void *args)
{
    return ((const struct fdit_train_options *)args)->learn_from > 0;
}

static bool learns_below(const void *args)
{
    return ((const struct fdit_train_options *)args)->learn_below > 0;
}

static bool has_vectors(const void *args) /* likewise */
{
    return ((const struct fdit_train_options *)args)->class_vectors != NULL;
}

static bool has_vectors_as(const void *args)
{
    return ((const struct fdit_train_options *)args)->vectors_as != FDIT_VECTORS_ROWS;
}

static bool has_snapshots(const void *args) /* absent as in the files of older programs */
{
    return ((const struct fdit_train_options *)args)->snapshots > 0;
}

static bool weighs_prior(const void *args) /* those of the prior likewise */
{
    return ((const struct fdit_train_options *)args)->prior_weight != 1;
}

static bool has_prior_files(const void *args)
{
    return ((const struct fdit_train_options *)args)->prior != NULL;
}

static bool draws_prior(const void *args)
{
    return ((const struct fdit_train_options *)args)->prior_per_class > 0;
}

static bool picks_prior(const void *args)
{
    return ((const struct fdit_train_options *)args)->prior_classes != NULL;
}

static bool has_profiles(const void *args) /* likewise */
{
    return ((const struct fdit_train_options *)args)->ema_profiles;
}

static bool has_vae(const void *args)
{
    return ((const struct fdit_train_options *)args)->vae != NULL;
}

static const int types[] = { FDIT_F32, FDIT_BF16, FDIT_F16, FDIT_I8 };
static const int precisions[] = { FDIT_F32, FDIT_BF16X3, FDIT_BF16, FDIT_F16, FDIT_I8 };

#define ROW(kind, name, arg, field) FDIT_OPTION_ROW(kind, name, arg, struct fdit_train_options, field)
/* Whether an option decides the result, and so may not change when a run goes on. */
#define RESULT .keep = FDIT_KEEP_RESULT
#define FILES .keep = FDIT_KEEP_CONTENT, .path = true /* that decide the result by what they hold */
#define NOTED .keep = FDIT_KEEP_NOTE                  /* beside those, but may change */
#define SETTING .keep = FDIT_KEEP_RUN

/* In the order in which config.json holds them. Those without help belong to files, or to the options that
 * all commands share. */
const struct fdit_option fdit_train_option_table[] = {
    FDIT_HEADING("Model"),
    { ROW(TEXT, "base", "FILE", base), FILES, .help = "checkpoint to fine-tune" },
    { ROW(FLAG, "from-scratch", NULL, from_scratch), RESULT,
      .help = "start from random weights instead; needs --model and --tune full" },
    { ROW(FLAG, "classifier", NULL, classifier), RESULT,
      .help = "train a classifier with the same blocks instead; needs --from-scratch" },
    { ROW(TEXT, "objective", FDIT_OBJECTIVE_NAMES, objective), RESULT, .kept = has_objective,
      .note = ": what FILE says, else ddpm",
      .help = "what the model learns: the noise (ddpm), or the velocity of flow matching in the form of REPA "
              "(flow, flow-repa) or of SiT" },
    { ROW(TEXT, "model", "NAME|D,L,H,P", model), RESULT, .note = ": what FILE says",
      .help = "size: DiT-XL/2 (XL, L, B or S with any patch size), or width, depth, heads and patch size" },
    { ROW(INT, "size", "S", size), FDIT_RANGE(1, 1 << 16), RESULT,
      .note = ": the base's; from scratch the cache's, else 32",
      .help = "height and width of the model's input" },
    { ROW(INT, "channels", "C", channels), FDIT_RANGE(1, 1 << 16), RESULT, .note = ": the cache's, else 4",
      .help = "channels of the model's input, with --from-scratch: 3 for colour, 1 for grey" },
    { ROW(TEXT, "delta", "FILE", delta), FILES,
      .help = "start from this delta: rows of the class table are matched by name, and its classes need no "
              "pictures if --taxonomy lists them" },
    { ROW(TEXT, "tune", "MASK", tune), RESULT, .parse = parse_tune, .usual = "finediffusion",
      .help = "which parameters are trained: finediffusion, bitfit, norm, table, full, difffit, "
              "difffit-linear, or an adapter: lora:RANK[:ALPHA] or rslora:RANK[:ALPHA], alone or as "
              "finediffusion+lora:16; + joins them" },
    { ROW(CHOICE, "recompute", "none|branches|block", recompute), RESULT, .usual = "none",
      .help = "what the backward pass recomputes to save memory" },
    { ROW(CHOICE, "activations", "f32|bf16", activations), RESULT, .values = types, .usual = "f32",
      .help = "type of the activations kept for the backward pass; bf16 halves their memory" },
    { ROW(CHOICE, "weights", "f32|bf16|f16|int8", storage), RESULT, .values = types, .usual = "f32" },
    { ROW(CHOICE, "precision", "f32|bf16x3|bf16|f16|int8", precision), RESULT, .values = precisions,
      .usual = "f32" },

    FDIT_HEADING("Data"),
    { ROW(TEXT, "data", "DATA", data), FILES,
      .help = "a folder with one sub-folder per class, a .tar or .tar.gz of one, WebDataset shards, or a "
              "cache made by 'encode'" },
    { ROW(TEXT, "val", "DATA|FRACTION", validation), FILES,
      .help = "validation pictures, or the share of DATA kept aside for validation" },
    { ROW(TEXT, "taxonomy", "FILE", taxonomy), NOTED,
      .path = true, /* its classes are compared, see made_of.h */
      .note = ": the nesting of the folders",
      .help = "classes and their groups: TSV, CSV or iNaturalist JSON" },
    { ROW(TEXT, "ranks", "A,B", ranks), RESULT, .note = ": all",
      .help = "ranks of the taxonomy whose groups get rows in the class table" },
    { ROW(TEXT, "superclass", "RANK", superclass), RESULT, .note = ": the one next to the class",
      .help = "rank whose group replaces a dropped label" },
    { ROW(TEXT, "superclass-train", "all|A,B", superclass_train), RESULT, .note = ": --superclass alone",
      .help = "ranks that share the dropped labels equally" },
    { ROW(CHOICE, "fit", "crop|pad", fit), RESULT, .usual = "crop", .help = "how pictures become square" },
    { ROW(TEXT, "orient", "exif|none", look.orient), RESULT, .note = " exif; with --delta: as it was trained",
      .help = "turn pictures upright as their EXIF data say, or leave them as stored" },
    { ROW(TEXT, "matte", "white|black|#rrggbb", look.matte), RESULT,
      .note = " white; with --delta: as it was trained",
      .help = "background of transparent pixels; none: ignore transparency, as the published pipeline does" },
    { ROW(SWITCH, "flip", "horizontal|none", flip), RESULT, .usual = "horizontal",
      .help = "mirror half of the samples, or none" },
    { ROW(INT, "shift", "N", shift), FDIT_RANGE(0, 64), RESULT, .usual = "0",
      .help = "with --classifier: move pictures at random by up to N pixels" },
    /* a broken picture would end the run, so leaving it out from here on changes nothing that was done */
    { ROW(FLAG, "skip-bad", NULL, skip_bad), NOTED,
      .help = "leave out pictures that cannot be decoded, and count them" },
    { ROW(INT, "val-pictures", "N", val_pictures), FDIT_RANGE(0, INT_MAX), RESULT, .usual = "1024",
      .note = "; 0: all", .help = "how many validation pictures are used, evenly spread" },
    { ROW(CHOICE, "old-classes", "refuse|keep|drop", old_classes), RESULT, .usual = "refuse",
      .help = "with --delta, if DATA lacks some of its classes: keep adds them to those of DATA, drop leaves "
              "out their rows, refuse stops" },
    { ROW(CHOICE, "balance", "none|sqrt|uniform", balance), RESULT, .usual = "none",
      .help = "how often a class is drawn: by the number of its pictures, by the square root of that, or all "
              "classes as often, pictures of rare ones repeated" },
    { ROW(INT, "repeats", "N", repeats), FDIT_RANGE(1, 1 << 20), RESULT, .usual = "1",
      .help = "how often a pass over the data takes each picture" },
    { ROW(TEXT, "vae", "FILE", vae), FILES,
      .help = "autoencoder of a model on latents: decodes previews and, unless DATA is a cache of "
              "latents, encodes pictures at every step (encoding once with 'encode' is faster)" },
    { ROW(REAL, "vae-scale", "X", vae_scale), RESULT, .note = ": as its config.json says",
      .help = "scaling factor of the autoencoder" },

    FDIT_HEADING("Optimisation"),
    { ROW(INT64, "steps", "N", steps), FDIT_RANGE(1, FDIT_TRAIN_MOST_STEPS), SETTING, .kept = has_steps,
      .help = "optimiser steps" },
    { ROW(REAL, "epochs", "N", epochs), FDIT_RANGE(1e-9, FDIT_TRAIN_MOST_STEPS), SETTING, .kept = has_epochs,
      .help = "passes over the data, instead of --steps" },
    { ROW(INT, "batch", "N", batch), FDIT_RANGE(1, 1 << 20), RESULT, .usual = "32",
      .help = "pictures per pass and device" },
    { ROW(INT, "accumulate", "N", accumulate), FDIT_RANGE(1, 1 << 20), RESULT, .usual = "1",
      .help = "passes per optimiser step" },
    { ROW(INT, "devices", "N", devices), FDIT_RANGE(1, INT_MAX), NOTED, .usual = "1" },
    { ROW(FLAG, "shards", NULL, shards), NOTED, .kept = has_shards,
      .help = "add up the gradient of each pass and device by itself: the result has the same bits for any "
              "number of processes (mpirun, srun; always so there) and of equal devices" },
    { ROW(CHOICE, "optimiser", FDIT_OPTIMISER_NAMES, optimiser), RESULT, .usual = "adamw",
      .help =
          "update rule; lion keeps one moment instead of two, and needs a third to a tenth of adamw's --lr" },
    { ROW(REAL, "lr", "X", lr), FDIT_RANGE(0, 10), RESULT, .usual = "1e-4", .help = "learning rate" },
    { ROW(PARSE, "lr-range", "LO:HI", lr_low), RESULT, .parse = parse_lr_range, .format = format_lr_range,
      .kept = has_lr_range,
      .help =
          "in place of a training, a test of --steps steps (100 or more) whose rate rises from LO to HI by "
          "the same factor: RUN/lr-range.svg, .png and .tsv show the loss, and a rate is proposed" },
    { ROW(CHOICE, "lr-schedule", "constant|linear|cosine", schedule), RESULT, .usual = "constant",
      .help = "learning rate after the warm-up" },
    { ROW(INT64, "warmup", "N", warmup), FDIT_RANGE(0, FDIT_TRAIN_MOST_STEPS), RESULT, .usual = "0",
      .help = "steps over which the learning rate rises from 0" },
    { ROW(REALS, "betas", "A,B", beta1), FDIT_RANGE(0, 0.999999999), RESULT,
      .note = ": the optimiser's, adamw 0.9,0.999, lion 0.9,0.99",
      .help = "decay of the optimiser's moments" },
    { ROW(REAL, "weight-decay", "X", weight_decay), FDIT_RANGE(0, 100), RESULT, .usual = "0",
      .help = "weight decay; a step takes this times the learning rate" },
    { ROW(REAL, "clip", "X", clip), FDIT_RANGE(0, 1e30), RESULT, .usual = "0", .note = ": none",
      .help = "limit of the gradient norm" },
    { ROW(REAL, "ema", "D[:exact]", ema), FDIT_RANGE(0, 1), RESULT, .parse = parse_ema, .usual = "0.9999",
      .note = ", with a warm-up; :exact: without", .help = "decay of the moving average of the weights" },
    { ROW(FLAG, "ema-exact", NULL, ema_exact), RESULT },
    { ROW(CHOICE, "label-drop", "superclass|empty", drop), RESULT, .usual = "superclass",
      .help = "what replaces a dropped label: its superclass, or one empty row for all" },
    { ROW(REAL, "drop-prob", "X", drop_prob), FDIT_RANGE(0, 1), RESULT, .usual = "0.1",
      .help = "share of the labels that are dropped" },
    { ROW(REAL, "learn-guidance", "W", learn_guidance), FDIT_RANGE(0, 100), RESULT, .kept = learns,
      .note = ": none",
      .help =
          "learn the predictions of guidance of scale W (usually 1.3 to 1.7), so that one pass of the "
          "network draws guided pictures; in a long run they come to be those of scale 1 / (2 - W), as 1.5 "
          "to 2, and from W = 2 on they have no end: then few steps alone are of use" },
    { ROW(REAL, "learn-from", "W", learn_from), FDIT_RANGE(0, 100), RESULT, .kept = learns_from,
      .note = ": one scale",
      .help = "draw the scale of each picture from this (usually 1) to that of --learn-guidance and tell it "
              "to the "
              "network: one pass then draws with any --guidance between them" },
    { ROW(CHOICE, "learn-guide", "superclass|base", learn_guide), RESULT, .kept = learns_from_base,
      .usual = "superclass",
      .help =
          "guide of --learn-guidance: what dropped labels become, or the base at the last row of its table" },
    { ROW(INT64, "learn-after", "N", learn_after), FDIT_RANGE(0, FDIT_TRAIN_MOST_STEPS), RESULT,
      .kept = learns_later, .usual = "0",
      .help = "steps, besides the first, before --learn-guidance begins" },
    { ROW(REAL, "learn-below", "X", learn_below), FDIT_RANGE(0, 1), RESULT, .kept = learns_below,
      .note = ": at all",
      .help = "apply --learn-guidance below this time only, from 0 (picture) to 1 (noise)" },
    { ROW(CHOICE, "table-init", "normal|base|names", table_init), RESULT, .usual = "normal",
      .help = "how the class table starts: from N(0, 0.02), with the spread of the base's table, or from "
              "the base's rows of the same names" },
    { ROW(TEXT, "class-vectors", "FILE", class_vectors), FILES, .kept = has_vectors,
      .help =
          "a vector for each class, as means of BioCLIP's, CLIP's or DINO's features: a .npy of [classes, "
          "width] with the names in a .txt beside it, or safetensors" },
    { ROW(CHOICE, "class-vectors-as", "rows|projection|map|map+row", vectors_as), RESULT,
      .kept = has_vectors_as, .usual = "rows",
      .help =
          "what the vectors are for: rows, where the class table starts (as they are where they have the "
          "width of the model, else projected at random, which keeps angles), or always projected; map: "
          "a linear map of the vector, which is trained, is the class's row ('sample --class-vector' then "
          "draws classes that were not trained), map+row: added to one of its own" },
    { ROW(PARSE, "loss-weight", FDIT_LOSS_WEIGHT_NAMES, loss_weight), RESULT, .parse = parse_weight,
      .format = format_weight, .usual = "uniform",
      .help = "how much the error of a sample counts by its noise: all the same, or at most G (5) times its "
              "signal to noise ratio, which trains faster; the log tells losses without it" },
    { ROW(PARSE, "time-density", FDIT_TIME_DENSITY_NAMES, time_density), RESULT, .parse = parse_density,
      .format = format_density, .usual = "uniform",
      .help = "which noise times are trained on: all as often, around the middle (M 0, S 1), or with more "
              "noise (S above 1)" },
    { ROW(SEED, "seed", "N", seed), RESULT, .usual = "0", .help = "seed of all random numbers" },
    { ROW(FLAG, "ema-profiles", NULL, ema_profiles), RESULT, .kept = has_profiles,
      .help = "keep two more averages in the --snapshots, of which 'convert RUN --ema-length X' makes one of "
              "any length afterwards; takes twice the memory of the trained weights" },
    { ROW(TEXT, "prior", "DATA", prior), FILES, .kept = has_prior_files,
      .help =
          "prior preservation: train in every step on as many pictures of this data set, too, with the class "
          "rows of the base (of --delta, where one is given), so that its classes are not forgotten; folders "
          "have the names of its classes, or the numbers of its rows" },
    { ROW(INT, "prior-per-class", "N", prior_per_class), FDIT_RANGE(0, 1 << 20), RESULT, .kept = draws_prior,
      .note = " 0: none",
      .help =
          "instead of --prior: the model that the run begins from draws N pictures of each of its classes "
          "before, unguided, into RUN/prior" },
    { ROW(TEXT, "prior-classes", "LIST", prior_classes), RESULT, .kept = picks_prior, .note = ": all",
      .help = "of these classes alone, as --classes of 'sample'" },
    { ROW(REAL, "prior-weight", "W", prior_weight), FDIT_RANGE(0, 1000), RESULT, .kept = weighs_prior,
      .usual = "1",
      .help = "what the loss of the prior is multiplied with before it is added to that of the pictures" },

    FDIT_HEADING("Run"),
    { ROW(TEXT, "out", "RUN", out), .help = "folder of the run; must be empty or not exist yet" },
    { ROW(INT64, "checkpoint-every", "N|TIME", checkpoint_every), FDIT_RANGE(0, FDIT_TRAIN_MOST_STEPS),
      SETTING, .parse = parse_checkpoints, .usual = "1000,10m", .note = ": both; 0: only at the end",
      .help = "steps between checkpoints, each with a validation, "
              "or a time such as 10m, 90s or 1h, or both" },
    { ROW(REAL, "checkpoint-seconds", "X", checkpoint_seconds), FDIT_RANGE(0, MOST_SECONDS), SETTING },
    { ROW(INT64, "preview-every", "N", preview_every), FDIT_RANGE(0, FDIT_TRAIN_MOST_STEPS), SETTING,
      .usual = "1000", .note = "; 0: none", .help = "steps between previews, sheets of sampled pictures" },
    { ROW(REAL, "preview-guidance", "W", preview_guidance), FDIT_RANGE(-1e6, 1e6), SETTING, .usual = "4",
      .help = "guidance scale of the previews" },
    { ROW(INT, "keep", "N", keep), FDIT_RANGE(0, 1e9), SETTING, .usual = "3", .note = "; 0: all",
      .help = "checkpoints that are kept" },
    { ROW(INT64, "snapshots", "N", snapshots), FDIT_RANGE(0, FDIT_TRAIN_MOST_STEPS), SETTING,
      .kept = has_snapshots, .note = " 0: none",
      .help =
          "steps between snapshots: deltas of the averaged weights in RUN/snapshots that stay for good, to "
          "draw with, or as a guide (sample --guide delta:FILE)" },
    { ROW(INT, "workers", "N", workers), FDIT_RANGE(0, 1024), SETTING, .usual = "2",
      .help = "threads that decode pictures" },
    { ROW(SIZE, "cache-memory", "SIZE", cache_bytes), SETTING, .usual = "1G", .note = "; 0: none",
      .help = "memory for decoded pictures" },
    { ROW(SIZE, "memory", "SIZE", memory), SETTING },
    /* an autoencoder that only decodes previews is not among what decides the result */
    { ROW(TEXT, "vae", "FILE", vae), SETTING, .kept = has_vae },
    { ROW(REAL, "vae-scale", "X", vae_scale), SETTING, .kept = has_vae },
    { ROW(TEXT, "device", "SPEC", device), SETTING },
    { ROW(INT, "threads", "N", threads), FDIT_RANGE(1, FDIT_POOL_MOST_MEMBERS), SETTING },

    FDIT_HEADING("Quality of the pictures"),
    { ROW(INT64, "eval-every", "N", eval_every), FDIT_RANGE(0, FDIT_TRAIN_MOST_STEPS), SETTING,
      .kept = has_evaluation, .note = " 0: never",
      .help = "steps between evaluations: pictures are drawn as for previews and measured as by 'eval'; the "
              "numbers stand in log.jsonl and TensorBoard" },
    { ROW(TEXT, "eval-real", "DATA", eval_real), SETTING, .kept = has_evaluation, .path = true,
      .note = ": those of --val, else those of --data",
      .help = "real pictures, or their features, to compare with" },
    { ROW(TEXT, "eval-features", "NAME[:FILE]", eval_features), SETTING, .kept = has_evaluation,
      .usual = "judge", .help = "network whose features are compared, as --features of 'eval'" },
    { ROW(TEXT, "eval-metrics", "LIST", eval_metrics), SETTING, .kept = has_evaluation,
      .note = ": those that can be computed", .help = "what is measured, as --metrics of 'eval'" },
    { ROW(INT, "eval-pictures", "N", eval_pictures), FDIT_RANGE(4, 1 << 20), SETTING, .kept = has_evaluation,
      .usual = "256", .help = "pictures that are drawn each time, spread evenly over the classes" },
    { ROW(FLAG, "data-changed", NULL, data_changed),
      .help = "with --resume: continue although pictures were added, removed or replaced" },
    { ROW(FLAG, "resume", NULL, resume) },
    { 0 }
};

_Static_assert(offsetof(struct fdit_train_options, beta2) ==
                   offsetof(struct fdit_train_options, beta1) + sizeof(double),
               "the row of --betas reads two numbers in a row");

void fdit_train_betas_settle(struct fdit_train_options *o)
{
    const struct fdit_optimiser *optimiser = fdit_optimiser_at((size_t)o->optimiser);
    if (!isnan(o->beta1))
        return;
    o->beta1 = optimiser->beta1;
    o->beta2 = optimiser->beta2;
}

struct fdit_train_options fdit_train_defaults(void)
{
    struct fdit_train_options o = { .base = NULL };
    fdit_options_defaults(fdit_train_option_table, &o);
    return o;
}

enum fdit_status fdit_train_options_set(fdit_context *ctx, struct fdit_train_options *o, const char *name,
                                        const char *value)
{
    return fdit_options_set(ctx, fdit_train_option_table, o, name, value);
}

const char *fdit_train_option_word(const struct fdit_train_options *o, const char *name, char out[32])
{
    return fdit_option_word(fdit_option_find(fdit_train_option_table, name), o, out);
}

bool fdit_train_is_fraction(const char *validation, double *fraction)
{
    char *end = NULL;
    *fraction = validation ? strtod(validation, &end) : 0;
    return validation && *validation && !*end;
}

/* ------------------------------------------------------------------ what does not go together */

static enum fdit_status check_model(fdit_context *ctx, const struct fdit_train_options *o)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_mask mask;
    char word[32];
    if (!o->base == !o->from_scratch)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "give either --base FILE or --from-scratch");
    if (o->vae_scale < 0 || !isfinite(o->vae_scale) || (o->vae_scale > 0 && !o->vae))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--vae-scale %g: give a number above 0, with --vae FILE",
             o->vae_scale);
    if (o->classifier && o->vae)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--vae: a classifier works on pixels; leave the option out");
    if (o->classifier && o->eval_every)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--eval-every: a classifier draws no pictures; leave the option out");
    if (o->classifier && !o->from_scratch)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--classifier starts from nothing; add --from-scratch");
    if (o->from_scratch && !o->model)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--from-scratch needs --model DiT-S/2 (or WIDTH,DEPTH,HEADS,PATCH)");
    if (o->from_scratch && strcmp(o->tune, "full"))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--from-scratch trains every weight; add --tune full");
    if (!fdit_objective_find(o->objective))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--objective %s: not known; give one of " FDIT_OBJECTIVE_NAMES,
             o->objective);
    if (o->classifier && o->objective)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--objective %s: a classifier has none; leave it out", o->objective);
    if (o->classifier && (has_loss_weight(o) || has_time_density(o)))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--%s: a classifier has no noise times; leave it out",
             has_loss_weight(o) ? "loss-weight" : "time-density");
    TRY(fdit_mask_parse(ctx, o->tune, &mask));
    if (o->activations != FDIT_F32 && o->recompute != FDIT_RECOMPUTE_NONE)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--activations %s has almost no effect with --recompute %s; use only one of them",
             fdit_dtype_name(o->activations), fdit_train_option_word(o, "recompute", word));
out:
    return status;
}

static enum fdit_status check_vectors(fdit_context *ctx, const struct fdit_train_options *o)
{
    if (!o->class_vectors && o->vectors_as != FDIT_VECTORS_ROWS)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--class-vectors-as is of --class-vectors FILE; give that, too");
    if (o->class_vectors && o->classifier)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--class-vectors: a classifier has no class table; leave it out");
    if (o->class_vectors && o->table_init == FDIT_TABLE_NAMES)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--class-vectors and --table-init names both say how rows start; give one of them");
    return FDIT_OK;
}

enum fdit_status fdit_train_check(fdit_context *ctx, const struct fdit_train_options *o)
{
    enum fdit_status status = FDIT_OK;
    if (!o->data)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--data is missing; give a folder with one sub-folder per class");
    if (!o->out)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--out is missing; give a folder for the run");
    TRY(check_model(ctx, o));
    TRY(fdit_options_check(ctx, fdit_train_option_table, o));
    if (o->steps <= 0 && !(o->epochs > 0))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--steps %lld: nothing to do; give --steps N or --epochs N, above 0",
             (long long)o->steps);
    if (o->ema == 1)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--ema 1: the average would never move; give less, as 0.9999");
    if (o->ema_profiles && !o->snapshots)
        FAIL(
            ctx, FDIT_ERROR_ARGUMENT,
            "--ema-profiles: the averages are kept in snapshots; give --snapshots N, the steps between them");
    if (o->shift && !o->classifier)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--shift is of a classifier; leave it out, or add --classifier");
    if (o->data_changed && !o->resume)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--data-changed goes with --resume; a new run takes any data");
    if (o->old_classes != FDIT_OLD_CLASSES_REFUSE && !o->delta)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--old-classes are those of a delta; add --delta FILE");
    TRY(check_vectors(ctx, o));
    if (has_lr_range(o) && o->resume)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--lr-range: a test keeps no checkpoint to go on from; begin it again with another --out");
    if (has_lr_range(o) && o->steps > 0 && o->steps < 20)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--lr-range: %lld steps show no curve; give --steps 100 or more",
             (long long)o->steps);
    TRY(fdit_learn_check(ctx, o));
    TRY(fdit_prior_check(ctx, o));
out:
    return status;
}

double fdit_train_lr(const struct fdit_train_options *o, int64_t n, int64_t total)
{
    if (o->lr_high > 0)
        return fdit_lr_range_rate(o->lr_low, o->lr_high, n, total);
    if (n <= o->warmup)
        return o->lr * (double)n / (double)(o->warmup + 1);
    double span = (double)(total - o->warmup), done = (double)(n - 1 - o->warmup);
    double part = span > 0 ? fmin(done / span, 1) : 0;
    switch (o->schedule) {
    case FDIT_LR_CONSTANT: return o->lr;
    case FDIT_LR_LINEAR: return o->lr * (1 - part);
    case FDIT_LR_COSINE: return o->lr * 0.5 * (1 + cos(3.14159265358979323846 * part));
    }
    return o->lr;
}

/* ------------------------------------------------------------------ config.json */

static enum fdit_status json_of(fdit_context *ctx, const struct fdit_train_options *o,
                                enum fdit_option_keep first, enum fdit_option_keep last, char **out)
{
    struct fdit_json b;
    fdit_json_begin(&b);
    fdit_options_put(&b, NULL, fdit_train_option_table, first, last, o);
    enum fdit_status status = fdit_json_end(ctx, &b, "options", JSON_COMPACT | JSON_REAL_PRECISION(17), out);
    fdit_json_fini(&b);
    return status;
}

enum fdit_status fdit_train_options_json(fdit_context *ctx, const struct fdit_train_options *o, char **out)
{
    return json_of(ctx, o, FDIT_KEEP_RESULT, FDIT_KEEP_NOTE, out);
}

enum fdit_status fdit_train_settings_json(fdit_context *ctx, const struct fdit_train_options *o, char **out)
{
    return json_of(ctx, o, FDIT_KEEP_RUN, FDIT_KEEP_RUN, out);
}

/* ------------------------------------------------------------------ going on */

static json_int_t integer_of(const json_t *options, const json_t *usual, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(options, key) ? options : usual, key));
}

/* With another number of devices --batch and --accumulate may change as long as a step has as many
 * pictures as before. *other: the number of devices is another one. */
static enum fdit_status compare_steps(fdit_context *ctx, const json_t *old, const json_t *usual,
                                      const struct fdit_train_options *o, bool *other)
{
    json_int_t devices = integer_of(old, usual, "devices");
    json_int_t was = integer_of(old, usual, "batch") * integer_of(old, usual, "accumulate") * devices;
    json_int_t is = (json_int_t)o->batch * o->accumulate * o->devices;
    *other = devices != o->devices;
    if (!*other || was == is)
        return FDIT_OK;
    return fdit_fail(
        ctx, FDIT_ERROR_ARGUMENT,
        "--resume: the run made its steps of %lld pictures (devices: %lld), and these options give %lld "
        "(devices: %d); choose --batch and --accumulate so that their product over all devices is %lld",
        (long long)was, (long long)devices, (long long)is, o->devices, (long long)was);
}

/* Whether a run may go on with `value` where it began with `before`: files are compared by what they hold,
 * so another path may do, but not one in place of none. */
static bool may_change(const struct fdit_option *row, const json_t *before, const json_t *value)
{
    const char *a = json_string_value(before), *b = json_string_value(value);
    double x = 0, y = 0;
    if (row->keep != FDIT_KEEP_CONTENT)
        return row->keep != FDIT_KEEP_RESULT;
    if (row->offset == offsetof(struct fdit_train_options, validation) && a && b) {
        bool share = fdit_train_is_fraction(a, &x), now = fdit_train_is_fraction(b, &y);
        return share == now && (!share || x == y);
    }
    return a && b;
}

/* config.json or a checkpoint: what tells how the run began. */
struct beginning {
    const char *path, *config; /* config: of a checkpoint, the config.json that it is compared with; NULL */
    const json_t *options;
};

static enum fdit_status refuse_row(fdit_context *ctx, const struct beginning *old, const char *name,
                                   const json_t *before, const json_t *value)
{
    char was[200], is[200];
    fdit_json_show(before, was, sizeof was);
    fdit_json_show(value, is, sizeof is);
    if (old->config)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s: was written with --%s %s, and %s says %s now",
                         old->path, name, was, old->config, is);
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                     "--resume: --%s was %s when the run began and is %s now; only paths, steps, epochs, "
                     "device, threads, workers, intervals, --keep and --skip-bad may change",
                     name, was, is);
}

static enum fdit_status compare_rows(fdit_context *ctx, const struct beginning *old, const json_t *usual,
                                     const json_t *mine, bool other_devices)
{

    for (const struct fdit_option *row = fdit_train_option_table; row->name; row++) {
        const json_t *value = json_object_get(mine, row->name);
        const json_t *known = json_object_get(old->options, row->name) ? old->options : usual;
        const json_t *before = json_object_get(known, row->name);
        const bool numbers = json_is_number(before) && json_is_number(value); /* 3 and 3.0 are the same */
        const bool same =
            numbers ? json_number_value(before) == json_number_value(value) : json_equal(before, value);
        if (!value || same || may_change(row, before, value))
            continue;
        if (other_devices && (!strcmp(row->name, "batch") || !strcmp(row->name, "accumulate")))
            continue;
        return refuse_row(ctx, old, row->name, before, value);
    }
    return FDIT_OK;
}

/* mine: of o, as the options are kept beside `old`. */
static enum fdit_status compare(fdit_context *ctx, const struct beginning *old, const json_t *mine,
                                const struct fdit_train_options *o)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_options defaults = fdit_train_defaults();
    struct fdit_json usual; /* of options that the run's program did not know yet */
    bool other = false;
    fdit_json_begin(&usual);
    defaults.look = (struct fdit_picture_words){ "none", "none" }; /* as it was before there was a choice */
    defaults.objective = fdit_objective_find(NULL)->name;
    fdit_train_betas_settle(&defaults);
    fdit_options_put(&usual, NULL, fdit_train_option_table, FDIT_KEEP_RESULT, FDIT_KEEP_NOTE, &defaults);
    TRY(fdit_json_check(ctx, &usual, "options"));
    TRY(compare_steps(ctx, old->options, usual.root, o, &other));
    TRY(compare_rows(ctx, old, usual.root, mine, other));
out:
    fdit_json_fini(&usual);
    return status;
}

enum fdit_status fdit_train_options_compare(fdit_context *ctx, const char *path, const char *text, size_t n,
                                            const struct fdit_train_options *o)
{
    enum fdit_status status = FDIT_OK;
    struct beginning old = { .path = path };
    struct fdit_json mine;
    json_t *root = NULL;
    fdit_json_begin(&mine);
    fdit_options_put(&mine, NULL, fdit_train_option_table, FDIT_KEEP_RESULT, FDIT_KEEP_NOTE, o);
    TRY(fdit_json_check(ctx, &mine, "options"));
    TRY(fdit_json_parse(ctx, path, text, n, 64, &root));
    old.options = json_object_get(root, "options");
    if (!json_is_object(old.options))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: is not the config.json of a run (it has no \"options\"); resume another folder", path);
    TRY(compare(ctx, &old, mine.root, o));
out:
    json_decref(root);
    fdit_json_fini(&mine);
    return status;
}

enum fdit_status fdit_train_options_same(fdit_context *ctx, const char *path, const char *theirs,
                                         const char *mine, const struct fdit_train_options *o)
{
    enum fdit_status status = FDIT_OK;
    struct beginning old = { .path = path };
    json_t *a = NULL, *b = NULL;
    char *config = NULL;
    TRY(fdit_json_parse(ctx, path, theirs, strlen(theirs), 64, &a));
    TRY(fdit_json_parse(ctx, path, mine, strlen(mine), 64, &b));
    TRY(fdit_path_join(ctx, o->out, "config.json", &config));
    old.options = a;
    old.config = config;
    TRY(compare(ctx, &old, b, o));
out:
    json_decref(a);
    json_decref(b);
    fdit_free(config);
    return status;
}
