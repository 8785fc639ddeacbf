/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/options.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/target.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct fdit_sample_options fdit_sample_defaults(void)
{
    return (struct fdit_sample_options){ .values = FDIT_VALUES_EMA,
                                         .storage = FDIT_F32,
                                         .precision = FDIT_F32,
                                         .per_class = 1,
                                         .shards = 1,
                                         .guidance = { NAN, 0, 0, 999 },
                                         .clip_x0 = -1,
                                         .sampler = { .kind = FDIT_SAMPLER_DDPM },
                                         .rng = FDIT_NOISE_PHILOX };
}

void fdit_sample_settle(struct fdit_sample_options *o, bool pixels)
{
    if (isnan(o->guidance.w))
        o->guidance.w = pixels ? 2 : 4;
    if (o->clip_x0 < 0)
        o->clip_x0 = pixels;
}

static enum fdit_status check_numbers(fdit_context *ctx, const struct fdit_sample_options *o)
{
    enum fdit_status status = FDIT_OK;
    if (o->per_class < 1)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--per-class %d: nothing to do; give 1 or more", o->per_class);
    if (o->batch < 0 || o->batch > 1 << 16)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--batch %d is out of range; give 1 to %d, or leave it out", o->batch,
             1 << 16);
    if (o->shards < 1 || o->shard < 0 || o->shard >= o->shards)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--shard %d/%d: give I/N with 0 <= I < N", o->shard, o->shards);
    if (fabs(o->guidance.w) > FDIT_SAMPLE_MOST_GUIDANCE)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--guidance %g is out of range; pictures come from 1 (none) to about 10, at most %d is taken",
             o->guidance.w, FDIT_SAMPLE_MOST_GUIDANCE);
    if (o->seed > (uint64_t)INT64_MAX - INT32_MAX)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--seed %" PRIu64 " is too large for pictures with seeds behind it; "
             "give at most %" PRIu64,
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
                                          { "--counts", o->counts, false },
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
    if (o->vae_scale < 0 || !isfinite(o->vae_scale) || (o->vae_scale > 0 && !o->vae))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--vae-scale %g: give a number above 0, with --vae FILE",
             o->vae_scale);
    if (plan_only)
        goto out;
    if (!o->out && !o->latents && !o->grid)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "nowhere to put pictures; give --out DIR, --grid FILE.png or --latents "
             "FILE.safetensors");
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
