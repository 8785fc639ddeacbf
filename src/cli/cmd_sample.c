/* SPDX-License-Identifier: Apache-2.0
 * cmd_sample.c: `finediffusion sample`. */
#include "cli/launch.h"

#include "core/mem.h"
#include "sample/job.h"
#include "sample/like.h"

#include <limits.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct args {
    struct fdit_sample_options o;
};

/* What a job's hooks need. */
struct watch {
    struct fdit_cli *cli;
    const struct fdit_devices *devices;
    const char *names;                         /* of the devices */
    const struct fdit_sample_options *o;       /* of the job that is on, as is */
    const struct fdit_sample_summary *summary; /* this */
    bool several;                              /* deltas */
    enum fdit_status status;                   /* of the plan's text */
};

static void defaults(void *p)
{
    struct args *a = p;
    a->o = fdit_sample_defaults();
}

/* ------------------------------------------------------------------ what a job says */

static void print_plan(void *user, const struct fdit_plan *plan)
{
    struct watch *w = user;
    if (w->status == FDIT_OK)
        w->status = fdit_cli_plan(w->cli, plan, 0);
}

/* "guide superclass:genus, w = 2, x0 clipped (defaults for pixels)" */
static void guidance_text(const struct fdit_sample_summary *s, char text[256])
{
    char w[40] = "";
    if (strcmp(s->guide, "none") != 0)
        snprintf(w, sizeof w, ", w = %g", s->w);
    snprintf(text, 256, "%s%s%s%s%s", *w ? "guide " : "no guide", *w ? s->guide : "", w,
             s->clip_x0 ? ", x0 clipped" : "", s->settled ? " (defaults for pixels)" : "");
}

static void print_begin(void *user)
{
    struct watch *w = user;
    const struct fdit_sample_options *o = w->o;
    const struct fdit_sample_summary *s = w->summary;
    char sampler[40], guide[256], memory[32], cache[64] = "";
    fdit_cli_banner(w->cli, "device", "%s", w->names);
    fdit_sampler_format(&o->sampler, sampler);
    guidance_text(s, guide);
    fdit_format_size(s->process_plan_bytes, memory);
    fdit_cli_banner(w->cli, "model", "%s, %s%s%s%s%s", s->model, o->base, o->delta ? " with " : "",
                    o->delta ? o->delta : "", o->vae ? ", decoded by " : "", o->vae ? o->vae : "");
    fdit_cli_banner(w->cli, "pictures", "%zu of %zu class%s%s", s->pictures, s->classes,
                    s->classes == 1 ? "" : "es", s->kept ? "; some are there already" : "");
    if (s->full < s->evaluations)
        snprintf(cache, sizeof cache, ", blocks computed in %d of %d", s->full, s->evaluations);
    fdit_cli_banner(w->cli, "sampling", "%s in %d steps%s, %s", sampler, s->steps, cache, guide);
    fdit_cli_banner(w->cli, "memory", "%s planned, batch %d", memory, s->batch);
    fdit_cli_banner(w->cli, "output", "%s%s%s%s%s", o->out ? o->out : "", o->out && o->grid ? ", " : "",
                    o->grid ? o->grid : "", (o->out || o->grid) && o->latents ? ", " : "",
                    o->latents ? o->latents : "");
}

static void print_start(void *user, size_t kept, size_t total)
{
    struct watch *w = user;
    fdit_cli_progress_begin(w->cli, "sample", "picture", kept, total);
}

/* A batch of 16 pictures after half of its steps counts as 8. */
static void print_step(void *user, size_t done, size_t total, int step, int steps)
{
    struct watch *w = user;
    char note[64];
    (void)total;
    snprintf(note, sizeof note, "step %d/%d", step, steps);
    double part = step < steps ? (double)w->summary->in_flight * step / steps : 0;
    fdit_cli_progress_part(w->cli, done, part, step < steps ? note : NULL);
}

static void print_picture(void *user, const struct fdit_sample_picture *p)
{
    struct watch *w = user;
    if (!w->cli->json)
        return;
    struct fdit_json b;
    fdit_json_begin(&b);
    fdit_json_put_int(&b, NULL, "index", (int64_t)p->index);
    fdit_json_put_text(&b, NULL, "class", p->class_name);
    fdit_json_put_int(&b, NULL, "id", p->id);
    fdit_json_put_int(&b, NULL, "seed", (int64_t)p->seed);
    fdit_json_put_text(&b, NULL, "file", p->file);
    fdit_json_put_bool(&b, NULL, "kept", p->kept);
    if (w->status == FDIT_OK)
        w->status = fdit_cli_print_json(w->cli, &b, JSON_COMPACT);
    fdit_json_fini(&b);
}

static void print_summary(struct fdit_cli *cli, const struct fdit_sample_options *o, const char *devices,
                          const struct fdit_sample_summary *s)
{
    char plan[32], whole[32], peak[32], sampler[40], guide[256];
    fdit_format_size(s->plan_bytes, plan);
    fdit_format_size(s->process_plan_bytes, whole);
    fdit_format_size(s->peak_bytes, peak);
    fdit_sampler_format(&o->sampler, sampler);
    fdit_cli_note(cli, "%zu picture%s of %zu class%s: %zu sampled, %zu kept", s->pictures,
                  s->pictures == 1 ? "" : "s", s->classes, s->classes == 1 ? "" : "es", s->computed, s->kept);
    guidance_text(s, guide);
    if (s->computed)
        fdit_cli_note(cli, "%.3g pictures/s, %.1f GFLOP/s, %.1f s with %s in %d steps, %s, on %s",
                      s->pictures_per_second, s->gflops, s->seconds, sampler, s->steps, guide, devices);
    fdit_cli_note(cli, "peak memory %s; planned were %s, for the device %s, batch %d", peak, whole, plan,
                  s->batch);
    if (s->sheet_pages > 1)
        fdit_cli_note(cli, "the sheet has %zu pages: %s with -1 to -%zu before its ending", s->sheet_pages,
                      o->grid, s->sheet_pages);
    if (s->sheet_classes && s->sheet_classes < s->classes)
        fdit_cli_note(cli, "%s shows the first %zu of %zu classes", o->grid, s->sheet_classes, s->classes);
    if (!cli->json)
        return;
    fdit_cli_print(
        cli,
        "{\"done\":true,\"classes\":%zu,\"pictures\":%zu,\"sampled\":%zu,\"kept\":%zu,\"steps\":%d,"
        "\"guidance\":%.17g,\"clip_x0\":%s,\"batch\":%d,\"seconds\":%.6g,\"pictures_per_second\":%."
        "6g,\"gflops\":%.6g,"
        "\"plan_bytes\":%zu,\"process_plan_bytes\":%zu,\"peak_bytes\":%zu}\n",
        s->classes, s->pictures, s->computed, s->kept, s->steps, s->w, s->clip_x0 ? "true" : "false",
        s->batch, s->seconds, s->pictures_per_second, s->gflops, s->plan_bytes, s->process_plan_bytes,
        s->peak_bytes);
}

static void begin_job(void *user, const struct fdit_sample_options *o, const struct fdit_sample_summary *s)
{
    struct watch *w = user;
    w->o = o;
    w->summary = s;
    if (w->several && w->cli->plan)
        fdit_cli_note(w->cli, "%s:", o->delta);
}

static void end_job(void *user)
{
    struct watch *w = user;
    fdit_cli_progress_end(w->cli);
    if (w->several)
        fdit_cli_note(w->cli, "%s:", w->o->delta);
    print_summary(w->cli, w->o, w->names, w->summary);
}

/* --like: what the picture says, and over it what was typed, which fdit_like_compare refuses where it is
 * something else. */
static enum fdit_status take_like(struct fdit_cli *cli, struct args *a, struct fdit_like *like)
{
    enum fdit_status status = FDIT_OK;
    fdit_context *ctx = cli->ctx;
    const char *path = a->o.like;
    bool help;
    int n;
    TRY(fdit_like_read(ctx, path, like));
    TRY(fdit_like_apply(ctx, like, &a->o));
    const struct fdit_sample_options picture = a->o;
    a->o.classes = NULL;
    a->o.n_deltas = 0; /* typed again below */
    TRY(fdit_options_parse(cli, &fdit_command_sample, a, cli->argc, cli->argv, &n, &help));
    if (a->o.classes || a->o.counts || a->o.per_class != 1 || a->o.seed != picture.seed || a->o.shards != 1)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--like %s: it is one picture of class %s with the seed %" PRIu64
             "; leave out --%s, or leave out --like",
             path, like->class_id, picture.seed,
             a->o.classes          ? "classes"
             : a->o.counts         ? "counts"
             : a->o.per_class != 1 ? "per-class"
             : a->o.shards != 1    ? "shard"
                                   : "seed");
    a->o.classes = like->class_id;
out:
    return status;
}

static enum fdit_status run(struct fdit_cli *cli, void *p, int n, char **operands)
{
    enum fdit_status status = FDIT_OK;
    struct args *a = p;
    struct fdit_sample_summary summary = { 0 };
    struct watch watch = { .cli = cli };
    struct fdit_sample_hooks hooks = { .user = &watch,
                                       .on_plan = print_plan,
                                       .on_job = begin_job,
                                       .on_begin = print_begin,
                                       .on_start = print_start,
                                       .on_step = print_step,
                                       .on_picture = print_picture,
                                       .on_end = end_job };
    struct fdit_devices devices = { 0 };
    struct fdit_like like = { .path = NULL };
    char *names = NULL;
    (void)n;
    (void)operands;
    if (a->o.like)
        TRY(take_like(cli, a, &like));
    if (a->o.shards == 1)
        fdit_cli_deal(cli, &a->o.shard, &a->o.shards);
    a->o.memory = cli->memory;
    a->o.storage = cli->weights;
    TRY(fdit_sample_check(cli->ctx, &a->o, cli->plan));
    TRY(fdit_cli_devices(cli, &devices));
    a->o.precision = fdit_device_precision(devices.list[0]);
    TRY(fdit_devices_names(cli->ctx, &devices, &names));
    watch.devices = &devices;
    watch.names = names;
    watch.several = a->o.n_deltas > 1;
    TRY(fdit_sample_run(cli->ctx, &devices, &a->o, &hooks, cli->plan, &summary));
    TRY(watch.status);
out:
    fdit_cli_progress_end(cli);
    fdit_free(names);
    fdit_devices_close(&devices);
    fdit_like_fini(&like);
    return status;
}

const struct fdit_command fdit_command_sample = {
    .name = "sample",
    .summary = "draw pictures of classes",
    .synopsis = "--base FILE [--delta FILE] --out DIR [OPTION]...",
    .about = "Draws pictures of a model's classes. Each is guided by its superclass, or by what "
             "--guide says. A picture depends only on weights, class, seed and options: batch size, "
             "order, --shard and --threads do not change it.\n\n"
             "Pictures that are already in DIR are kept, so the same command continues an interrupted "
             "job; incomplete files are drawn again. Ctrl-C loses the batch in progress. "
             "A DIR whose pictures were made with other weights, options or "
             "files is refused. The text fields of every PNG say how it was made.",
    .examples = "  finediffusion sample --base base.safetensors --delta run/delta.safetensors \\\n"
                "      --classes parus-major,genus=Turdus --per-class 4 --sampler ddim \\\n"
                "      --out pictures --grid sheet.png\n"
                "  finediffusion sample --base base.safetensors --delta run/delta.safetensors \\\n"
                "      --per-class 50 --shard 0/4 --tar --out fid\n"
                "  finediffusion sample --base xl.safetensors --delta run/delta.safetensors \\\n"
                "      --vae sd-vae-ft-mse --out pictures\n"
                "  finediffusion sample --base xl.safetensors --taxonomy birds.tsv \\\n"
                "      --sampler dpm++ --latents latents.safetensors --plan --memory 6G\n",
    .job = fdit_sample_option_table,
    .common = FDIT_COMMON_DEVICE | FDIT_COMMON_DEVICES | FDIT_COMMON_WEIGHTS | FDIT_COMMON_PLAN |
              FDIT_COMMON_JSON | FDIT_COMMON_LINE,
    .most_operands = 0,
    .args_size = sizeof(struct args),
    .defaults = defaults,
    .run = run,
};
