/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/options.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/target.h"
#include "sample/source.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ what is typed in a way of its own */

static enum fdit_status parse_values(fdit_context *ctx, void *args, const char *value)
{
    struct fdit_sample_options *o = args;
    const bool raw = !strcmp(value, "raw");
    if (!raw && strcmp(value, "ema"))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--weights-from %s: not known; give one of ema|raw",
                         value);
    o->values = raw ? FDIT_VALUES_RAW : FDIT_VALUES_EMA;
    o->values_asked = true;
    return FDIT_OK;
}

/* Each is drawn with, in the order in which they were typed. */
static enum fdit_status parse_delta(fdit_context *ctx, void *args, const char *value)
{
    struct fdit_sample_options *o = args;
    if (o->n_deltas == FDIT_SAMPLE_MOST_DELTAS)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--delta %s: a job draws with %d deltas at the most",
                         value, FDIT_SAMPLE_MOST_DELTAS);
    for (int i = 0; i < o->n_deltas; i++)
        if (!strcmp(o->deltas[i], value))
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--delta %s is given twice; give each once", value);
    o->deltas[o->n_deltas++] = value;
    o->delta = o->deltas[0];
    return FDIT_OK;
}

static enum fdit_status parse_channels(fdit_context *ctx, void *args, const char *value)
{
    return fdit_guidance_parse_channels(ctx, value, &((struct fdit_sample_options *)args)->guidance);
}

static enum fdit_status parse_interval(fdit_context *ctx, void *args, const char *value)
{
    return fdit_guidance_parse_interval(ctx, value, &((struct fdit_sample_options *)args)->guidance);
}

static void format_interval(const void *args, char out[40])
{
    fdit_guidance_format_interval(&((const struct fdit_sample_options *)args)->guidance, out);
}

static enum fdit_status parse_sampler(fdit_context *ctx, void *args, const char *value)
{
    struct fdit_sample_options *o = args;
    o->sampler_asked = true;
    return fdit_sampler_parse(ctx, value, &o->sampler);
}

static void format_sampler(const void *args, char out[40])
{
    fdit_sampler_format(&((const struct fdit_sample_options *)args)->sampler, out);
}

static enum fdit_status parse_shard(fdit_context *ctx, void *args, const char *value)
{
    struct fdit_sample_options *o = args;
    return fdit_parse_part(ctx, "--shard", value, &o->shard, &o->shards);
}

/* --clip-x0 and --no-clip-x0 are two words for one value. */
static enum fdit_status set_clip(fdit_context *ctx, struct fdit_sample_options *o, bool on)
{
    if (o->clip_x0 == !on)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--clip-x0 and --no-clip-x0: give one of the two");
    o->clip_x0 = on;
    return FDIT_OK;
}

static enum fdit_status parse_clip(fdit_context *ctx, void *args, const char *value)
{
    return set_clip(ctx, args, !value || strcmp(value, "false") != 0);
}

static enum fdit_status parse_no_clip(fdit_context *ctx, void *args, const char *value)
{
    return set_clip(ctx, args, value && !strcmp(value, "false"));
}

/* ------------------------------------------------------------------ the table */

static bool has_precision(const void *args) /* f32 is absent, as in the files of older programs */
{
    return ((const struct fdit_sample_options *)args)->precision != FDIT_F32;
}

static bool has_objective(const void *args)
{
    return ((const struct fdit_sample_options *)args)->objective != NULL;
}

static bool merges(const void *args)
{
    return ((const struct fdit_sample_options *)args)->merge;
}

static bool has_guide(const void *args)
{
    const struct fdit_sample_options *o = args;
    return !o->guide || strcmp(o->guide, "none") != 0;
}

static bool has_cache(const void *args) /* absent, as in the files of older programs */
{
    return ((const struct fdit_sample_options *)args)->reuse.interval > 1;
}

static bool has_candidates(const void *args) /* likewise */
{
    return ((const struct fdit_sample_options *)args)->candidates > 1;
}

static bool has_rule(const void *args) /* absent, as in the files of older programs */
{
    return ((const struct fdit_sample_options *)args)->guidance.rule != FDIT_GUIDANCE_PLAIN;
}

static const int types[] = { FDIT_F32, FDIT_BF16, FDIT_F16, FDIT_I8 };
static const int precisions[] = { FDIT_F32, FDIT_BF16X3, FDIT_BF16, FDIT_F16, FDIT_I8 };

#define ROW(kind, name, arg, field) FDIT_OPTION_ROW(kind, name, arg, struct fdit_sample_options, field)
#define PICTURE .keep = FDIT_KEEP_RESULT /* decides a picture of given class and seed */
#define FOLDER .keep = FDIT_KEEP_RUN     /* decides what is in the folder */

/* Those without help are the options that all commands share. */
const struct fdit_option fdit_sample_option_table[] = {
    FDIT_HEADING("Model"),
    { ROW(TEXT, "base", "FILE", base), .help = "checkpoint: the base of --delta, or a whole model" },
    { ROW(TEXT, "delta", "FILE", delta), .parse = parse_delta,
      .help = "delta.safetensors of a run, or one of its checkpoints; 'sample' takes several: each draws "
              "into a folder "
              "of its name in DIR, the base's weights being loaded once" },
    { ROW(PARSE, "weights-from", "ema|raw", values), .parse = parse_values, .note = " ema",
      .help = "which weights of a file that holds both" },
    { ROW(TEXT, "objective", FDIT_OBJECTIVE_NAMES, objective), PICTURE, .kept = has_objective,
      .note = ": as the files say, else ddpm",
      .help = "what a base whose file does not say it was trained with" },
    { ROW(TEXT, "model", "NAME|D,L,H,P", model), .note = ": from the files",
      .help = "size: DiT-XL/2 (or another), or width, depth, heads and patch size" },
    { ROW(TEXT, "taxonomy", "FILE", taxonomy),
      .help = "classes and their groups, for weights that do not carry them" },
    { ROW(TEXT, "ranks", "A,B", ranks), .note = ": all",
      .help = "ranks of the taxonomy whose groups have rows in the class table" },
    { ROW(TEXT, "class-vector", "FILE", class_vector),
      .help =
          "vectors of classes that were not trained, as --class-vectors of 'train': these are drawn, by the "
          "map that a delta of --class-vectors-as map holds; their groups are those of --taxonomy FILE, "
          "which lists them, or of their names as paths" },
    { ROW(TEXT, "vae", "FILE", vae), .help = "autoencoder that turns latents into pictures: the "
                                             "safetensors file of an AutoencoderKL, or its folder" },
    { ROW(REAL, "vae-scale", "X", vae_scale), .note = ": as its config.json says, 0.18215 without one",
      .help = "scaling factor of the autoencoder" },
    { ROW(FLAG, "merge", NULL, merge), PICTURE, .kept = merges,
      .help = "merge the adapter of a delta into the weights when they are loaded: no slower than without "
              "one, other by rounding" },
    { ROW(FLAG, "force", NULL, force), .help = "accept a delta that was made from another base" },
    { ROW(CHOICE, "weights", "f32|bf16|f16|int8", storage), PICTURE, .values = types, .usual = "f32" },
    { ROW(CHOICE, "precision", "f32|bf16x3|bf16|f16|int8", precision), PICTURE, .values = precisions,
      .usual = "f32", .kept = has_precision },

    FDIT_HEADING("Pictures"),
    { ROW(TEXT, "classes", "LIST|@FILE|all|RANK=GROUP", classes), .offers = "all|CLASS|RANK=GROUP",
      .note = " all", .help = "classes by name, or by id as #5, with commas between" },
    { ROW(INT, "per-class", "N", per_class), FDIT_RANGE(1, INT_MAX), .usual = "1",
      .help = "pictures of each class" },
    { ROW(TEXT, "counts", "FILE", counts),
      .help = "file with a class, a tab and a count in each line, instead of --classes and --per-class" },
    { ROW(INT, "candidates", "N", candidates), FDIT_RANGE(1, 10000), FOLDER, .kept = has_candidates,
      .usual = "1",
      .help = "draw each picture with N seeds and take the one in which class and guide agree best in the "
              "end; the manifest has the others' seeds and scores (takes the time of N + 1 pictures)" },
    { ROW(INT, "top-up", "N", top_up), FDIT_RANGE(1, INT_MAX),
      .help = "draw what each class lacks of N pictures; DIR becomes a data set with the pictures of "
              "--counts-of copied beside them, and manifest-data.jsonl says which are real" },
    { ROW(TEXT, "counts-of", "DATA", counts_of), .help =
                                                     "with --top-up: the data set that is filled up; of a "
                                                     "cache made by 'encode', or a manifest (.jsonl), "
                                                     "the counts alone are taken, and no pictures copied" },
    { ROW(TEXT, "like", "PICTURE", like),
      .help = "draw this picture of an earlier job again, to the bit: class, seed and options are taken from "
              "it, and other weights or files are refused" },
    { ROW(SEED, "seed", "S", seed), FOLDER, .usual = "0",
      .help = "picture k = 0, 1, ... of each class has the seed S + k" },
    { ROW(PARSE, "shard", "I/N", shard), .parse = parse_shard, .usual = "0/1",
      .help = "draw only every N-th picture, beginning with number I (from 0); shards may share --out" },

    FDIT_HEADING("Sampling"),
    { ROW(TEXT, "guide", "GUIDE", guide), PICTURE, .note = ": as trained",
      .offers = "superclass|superclass:RANK|empty|random|base|delta:|none",
      .help =
          "what guides: superclass, superclass:RANK, empty, random, base, delta:FILE, input (the network is "
          "told the scale, if trained so) or none" },
    { ROW(REAL, "guidance", "W", guidance.w), PICTURE, .kept = has_guide,
      .note = ": 2 for models of pixels, 4 on latents", .help = "guidance scale; 1: no guidance" },
    { ROW(INT, "guidance-channels", "3|all", guidance.channels), PICTURE, .kept = has_guide,
      .parse = parse_channels, .note = ": 3 of 4 latent channels as in the public program, else all",
      .help = "channels that are guided" },
    { ROW(PARSE, "guidance-interval", "LO:HI", guidance.t_low), PICTURE, .kept = has_guide,
      .parse = parse_interval, .format = format_interval, .usual = "0:999",
      .help = "guide only at times LO <= t <= HI; of flow models, from 0 (picture) to 1 (noise)" },
    { ROW(CHOICE, "guidance-rule", "plain|zero-star", guidance.rule), PICTURE, .kept = has_rule,
      .usual = "plain",
      .help = "zero-star: CFG-Zero* for flow models, which cuts the guide to its part along the class and "
              "stands still in the first step" },
    { ROW(PARSE, "sampler", FDIT_SAMPLER_NAMES, sampler), PICTURE, .parse = parse_sampler,
      .format = format_sampler, .note = ": ddpm; euler for flow models",
      .help = "for ddpm models" FDIT_SAMPLERS_OF_DDPM " for flow models" FDIT_SAMPLERS_OF_FLOW
              " whose times SHIFT moves towards the noise (above 1) or the picture" },
    { ROW(INT, "steps", "N", steps), FDIT_RANGE(1, 1000), PICTURE, .note = ": " FDIT_SAMPLER_STEPS,
      .help = "steps of the sampler" },
    { ROW(INT, "cache-interval", "N", reuse.interval), FDIT_RANGE(1, 1000), PICTURE, .kept = has_cache,
      .usual = "1",
      .help =
          "compute the blocks in every N-th step only and predict their results in the others; 1: in all" },
    { ROW(INT, "cache-order", "0|1|2", reuse.order), FDIT_RANGE(0, 2), PICTURE, .kept = has_cache,
      .usual = "1",
      .help = "prediction by a Taylor polynomial of this order, which "
              "keeps the results of one step more; 0: the last ones" },
    { ROW(CHOICE, "cache-full", "ends|taylor|fora", reuse.full), PICTURE, .kept = has_cache, .usual = "ends",
      .help = "which steps are computed besides: the first two and the "
              "last, or as the programs of TaylorSeer or FORA do" },
    { ROW(MAYBE, "clip-x0", NULL, clip_x0), PICTURE, .parse = parse_clip, .note = " for models of pixels",
      .help = "clamp the predicted picture to [-1, 1] at each step" },
    { ROW(PARSE, "no-clip-x0", NULL, clip_x0), .parse = parse_no_clip, .note = " on latents",
      .help = "do not clamp it" },
    { ROW(CHOICE, "rng", "philox|torch-cpu|torch-cuda", rng), PICTURE, .usual = "philox",
      .help = "random number generator: the program's own, or PyTorch's for comparison" },
    { ROW(INT, "batch", "N", batch), FDIT_RANGE(1, 1 << 16), .note = ": by size and memory",
      .help = "pictures drawn at once; changes only speed and memory" },

    FDIT_HEADING("Output"),
    { ROW(TEXT, "out", "DIR", out),
      .help =
          "folder for CLASS/CLASS-SEED.png, manifest.jsonl and run.json; pictures already there are kept" },
    { ROW(FLAG, "overwrite", NULL, overwrite),
      .help = "draw the pictures in DIR again; deletes what another sample job left there, nothing else" },
    { ROW(FLAG, "tar", NULL, tar), FOLDER,
      .help = "write WebDataset archives of 1000 pictures to DIR instead of single files" },
    { ROW(TEXT, "grid", "FILE.png", grid),
      .help = "contact sheet with a row of up to 16 pictures for each class; more than 100 classes make "
              "pages, FILE-1.png, FILE-2.png, ..." },
    { ROW(TEXT, "grid-real", "DATA", grid_real),
      .help = "begin each row of the sheet with a real picture of the class from this data set" },
    { ROW(TEXT, "orient", "exif|none", look.orient), .note = ": as the delta was trained",
      .help = "for --grid-real: turn pictures upright as their EXIF data say, or leave them as stored" },
    { ROW(TEXT, "matte", "white|black|#rrggbb", look.matte), .note = ": as the delta was trained",
      .help = "for --grid-real: background of transparent pixels" },
    { ROW(TEXT, "latents", "FILE.safetensors", latents),
      .help = "file for the final latents of all pictures: tensor x "
              "[n, C, S, S], unscaled, in the order of the manifest" },
    { ROW(SIZE, "memory", "SIZE", memory) },
    { 0 }
};

struct fdit_sample_options fdit_sample_defaults(void)
{
    struct fdit_sample_options o = { .values = FDIT_VALUES_EMA, .guidance.w = NAN, .clip_x0 = -1 };
    fdit_options_defaults(fdit_sample_option_table, &o);
    return o;
}

enum fdit_status fdit_sample_settle(fdit_context *ctx, struct fdit_sample_options *o,
                                    const struct fdit_sample_source *source, bool pixels)
{
    const enum fdit_objective_id objective = source->files.config.objective;
    const struct fdit_guide *guide = &source->guide;
    if (!o->sampler_asked && o->sampler.kind == FDIT_SAMPLER_DDPM)
        o->sampler.kind = fdit_sampler_usual(objective, FDIT_SAMPLER_DDPM);
    if (isnan(o->guidance.w))
        o->guidance.w = guide->input ? fdit_guide_nearest(guide, pixels ? 2 : 4) : pixels ? 2 : 4;
    if (guide->input && o->guidance.w != fdit_guide_nearest(guide, o->guidance.w))
        return fdit_fail(
            ctx, FDIT_ERROR_ARGUMENT,
            "--guidance %g: %s takes it as an input and was trained with %g to %g; give one of these, "
            "1 for none, or name a --guide",
            o->guidance.w, fdit_checkpoint_path(source->files.list[0]), guide->from, guide->to);
    if (o->clip_x0 < 0)
        o->clip_x0 = pixels && fdit_sampler_clamps(o->sampler.kind);
    return fdit_guidance_settle(ctx, &o->guidance, objective);
}

struct fdit_generator_options fdit_sample_way(const struct fdit_sample_options *o,
                                              const struct fdit_sample_source *source)
{
    return (struct fdit_generator_options){ .sampler = o->sampler,
                                            .steps = o->steps,
                                            .guidance = o->guidance,
                                            .reuse = o->reuse,
                                            .guided = source->guide.kind != FDIT_GUIDE_NONE,
                                            .told = source->guide.input,
                                            .clip_x0 = o->clip_x0 > 0,
                                            .scored = o->candidates > 1,
                                            .batch = o->batch,
                                            .noise = o->rng };
}

static enum fdit_status check_numbers(fdit_context *ctx, const struct fdit_sample_options *o)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_options_check(ctx, fdit_sample_option_table, o));
    if (!fdit_objective_find(o->objective))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--objective %s: not known; give one of " FDIT_OBJECTIVE_NAMES,
             o->objective);
    if (o->candidates > 1 && o->like)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--candidates and --like: the picture was chosen before; leave out one");
    if (o->shards < 1 || o->shard < 0 || o->shard >= o->shards)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--shard %d/%d: give I/N with 0 <= I < N", o->shard, o->shards);
    if (fabs(o->guidance.w) > FDIT_SAMPLE_MOST_GUIDANCE)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--guidance %g is out of range; pictures come from 1 (none) to about 10, at most %d is taken",
             o->guidance.w, FDIT_SAMPLE_MOST_GUIDANCE);
    if (o->seed > (uint64_t)INT64_MAX - INT32_MAX)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--seed %" PRIu64 " is too large for pictures with seeds behind it; give at most %" PRIu64,
             o->seed, (uint64_t)INT64_MAX - INT32_MAX);
out:
    return status;
}

/* What is written must not be what is read. */
static enum fdit_status check_targets(fdit_context *ctx, const struct fdit_sample_options *o)
{
    enum fdit_status status = FDIT_OK;
    static const char by_delta[] = "delta:";
    bool delta = o->guide && !strncmp(o->guide, by_delta, strlen(by_delta));
    const struct fdit_input sources[] = { { "--base", o->base, false },
                                          { "--delta", o->delta, false },
                                          { "--guide", delta ? o->guide + strlen(by_delta) : NULL, false },
                                          { "--vae", o->vae, false },
                                          { "--taxonomy", o->taxonomy, false },
                                          { "--class-vector", o->class_vector, false },
                                          { "--counts", o->counts, false },
                                          { "--counts-of", o->counts_of, true },
                                          { "--like", o->like, false },
                                          { "--classes",
                                            o->classes && *o->classes == '@' ? o->classes + 1 : NULL, false },
                                          { "--grid-real", o->grid_real, true } };
    size_t n = sizeof sources / sizeof *sources;
    TRY(fdit_target_check(ctx, "--out", o->out, sources, n));
    TRY(fdit_target_check(ctx, "--grid", o->grid, sources, n));
    TRY(fdit_target_check(ctx, "--latents", o->latents, sources, n));
    const struct fdit_input latents = { "--latents", o->latents, false };
    if (o->grid && o->latents)
        TRY(fdit_target_check(ctx, "--grid", o->grid, &latents, 1));
out:
    return status;
}

enum fdit_status fdit_sample_check(fdit_context *ctx, const struct fdit_sample_options *o, bool plan_only)
{
    enum fdit_status status = FDIT_OK;
    if (!o->base)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--base is missing; give the checkpoint to sample from%s",
             o->delta ? ", the one the delta was made from" : "");
    TRY(check_numbers(ctx, o));
    if (o->classes && o->counts)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--classes and --counts: give one of the two");
    if (!o->top_up != !o->counts_of)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--%s is missing; --top-up N fills up the data of --counts-of DATA",
             o->top_up ? "counts-of DATA" : "top-up N");
    if (o->top_up && (o->counts || o->like))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--top-up and --%s: give one of the two",
             o->counts ? "counts" : "like");
    if (o->top_up && o->per_class != 1)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--per-class %d and --top-up %d: give one of the two; --top-up draws what each class lacks",
             o->per_class, o->top_up);
    if (o->merge && !o->delta)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--merge is about the adapter of a delta; give --delta FILE");
    if (o->top_up && !o->out)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--top-up makes a data set; give --out DIR");
    if (o->like && !o->out)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--like %s: give --out DIR for the picture", o->like);
    if (o->vae_scale < 0 || !isfinite(o->vae_scale) || (o->vae_scale > 0 && !o->vae))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--vae-scale %g: give a number above 0, with --vae FILE",
             o->vae_scale);
    if (plan_only)
        goto out;
    if (!o->out && !o->latents && !o->grid)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "nowhere to put pictures; give --out DIR, --grid FILE.png or --latents FILE.safetensors");
    if (!o->out && (o->tar || o->overwrite))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--%s is about the folder of the pictures; give --out DIR",
             o->tar ? "tar" : "overwrite");
    if (o->out && fdit_file_exists(o->out) && !fdit_is_folder(o->out))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--out %s is a file; give a folder", o->out);
    if (o->grid_real && !o->grid)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--grid-real %s: there is no sheet to put them on; add --grid FILE.png", o->grid_real);
    if (o->grid) {
        TRY(fdit_target_ending(ctx, "--grid", o->grid, ".png", "a contact sheet"));
        TRY(fdit_file_target(ctx, "--grid", o->grid));
    }
    if (o->latents) {
        TRY(fdit_target_ending(ctx, "--latents", o->latents, ".safetensors", "the file of latents"));
        TRY(fdit_file_target(ctx, "--latents", o->latents));
    }
    TRY(check_targets(ctx, o));
out:
    return status;
}
