/* SPDX-License-Identifier: Apache-2.0
 * cmd_encode.c: `finediffusion encode`. */
#include "cli/cli.h"
#include "cli/launch.h"

#include "core/mem.h"
#include "encode/encode.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

struct args {
    struct fdit_encode_options o;
};

struct watch {
    struct fdit_cli *cli;
    const struct args *args;
    const fdit_device *dev;
    const struct fdit_encode_summary *summary;
    enum fdit_status status;
};

static void print_plan(void *user, const struct fdit_plan *plan, uint64_t bytes)
{
    struct watch *w = user;
    if (w->status == FDIT_OK)
        w->status = fdit_cli_plan(w->cli, plan, bytes);
}

static void print_begin(void *user)
{
    struct watch *w = user;
    const struct fdit_encode_options *o = &w->args->o;
    const struct fdit_encode_summary *s = w->summary;
    char memory[32], bytes[32];
    if (w->dev)
        fdit_cli_banner(w->cli, "device", "%s", fdit_device_info(w->dev)->name);
    fdit_format_size(s->process_plan_bytes, memory);
    fdit_format_size((size_t)s->bytes, bytes);
    fdit_cli_banner(w->cli, "data", "%s: %zu picture%s of %zu class%s", o->data, s->pictures,
                    s->pictures == 1 ? "" : "s", s->classes, s->classes == 1 ? "" : "es");
    fdit_cli_banner(w->cli, "kept", "%s of %d x %d x %d%s%s%s", o->vae ? "moments" : "pixels", s->channels,
                    s->size, s->size, o->flip ? ", mirror images too" : "", o->vae ? ", by " : "",
                    o->vae ? o->vae : "");
    fdit_cli_banner(w->cli, "memory", "%s planned", memory);
    fdit_cli_banner(w->cli, "output", "%s, %s on disk", o->out, bytes);
}

static void print_start(void *user, size_t done, size_t total)
{
    struct watch *w = user;
    if (done)
        fdit_cli_note(w->cli, "going on after %zu of %zu pictures", done, total);
    fdit_cli_progress_begin(w->cli, "encode", "picture", done, total);
}

static void print_picture(void *user, size_t done, size_t total)
{
    struct watch *w = user;
    (void)total;
    fdit_cli_progress_update(w->cli, done, NULL);
}

static void print_summary(struct fdit_cli *cli, const struct args *a, const struct fdit_encode_summary *s)
{
    char peak[32], size[32];
    fdit_format_size(s->peak_bytes, peak);
    fdit_format_size((size_t)s->bytes, size);
    const size_t n = (s->whole ? s->pictures : s->mine) - s->bad;
    char part[48] = "";
    if (a->o.parts > 1)
        snprintf(part, sizeof part, "part %d/%d, ", a->o.part, a->o.parts);
    fdit_cli_note(cli,
                  "%s: %s%zu picture%s of %zu class%s as %s of %d x %d x %d, %s; %zu encoded, %zu there "
                  "before, %zu broken",
                  a->o.out, s->whole ? "" : part, n, n == 1 ? "" : "s", s->classes,
                  s->classes == 1 ? "" : "es", a->o.vae ? "moments" : "pixels", s->channels, s->size, s->size,
                  size, s->encoded, s->kept, s->bad);
    if (s->missing)
        fdit_cli_note(cli,
                      "%zu pictures of other parts are missing: the cache is whole when all parts have run",
                      s->missing);
    else if (!s->whole)
        fdit_cli_note(cli, "other parts are at work: the last to end makes the cache whole");
    if (s->encoded && a->o.vae)
        fdit_cli_note(cli, "%.3g pictures/s, %.1f GFLOP/s, %.1f s; peak memory %s", s->pictures_per_second,
                      s->gflops, s->seconds, peak);
    else if (s->encoded)
        fdit_cli_note(cli, "%.3g pictures/s, %.1f s; peak memory %s", s->pictures_per_second, s->seconds,
                      peak);
    if (cli->json)
        fdit_cli_print(cli,
                       "{\"done\":%s,\"pictures\":%zu,\"classes\":%zu,\"encoded\":%zu,\"kept\":%zu,"
                       "\"broken\":%zu,"
                       "\"bytes\":%" PRIu64 ",\"seconds\":%.6g,\"pictures_per_second\":%.6g,\"gflops\":%.6g,"
                       "\"plan_bytes\":%zu,\"process_plan_bytes\":%zu,\"peak_bytes\":%zu}\n",
                       s->whole ? "true" : "false", n, s->classes, s->encoded, s->kept, s->bad, s->bytes,
                       s->seconds, s->pictures_per_second, s->gflops, s->plan_bytes, s->process_plan_bytes,
                       s->peak_bytes);
}

static enum fdit_status run(struct fdit_cli *cli, void *p, int n, char **operands)
{
    enum fdit_status status = FDIT_OK;
    struct args *a = p;
    struct fdit_encode_summary summary = { 0 };
    struct watch watch = { .cli = cli, .args = a, .summary = &summary };
    struct fdit_encode_hooks hooks = { .user = &watch,
                                       .on_plan = print_plan,
                                       .on_begin = print_begin,
                                       .on_start = print_start,
                                       .on_picture = print_picture };
    fdit_device *dev = NULL;
    if (n != 2)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT, "give the data and the folder of the cache: encode DATA OUT");
    a->o.data = operands[0];
    a->o.out = operands[1];
    a->o.memory = cli->memory;
    if (!a->o.parts)
        fdit_cli_deal(cli, &a->o.part, &a->o.parts);
    if (a->o.vae)
        TRY(fdit_cli_device(cli, &dev));
    watch.dev = dev;
    TRY(fdit_encode_run(cli->ctx, dev, &a->o, &hooks, cli->plan, &summary));
    TRY(watch.status);
    fdit_cli_progress_end(cli);
    if (!cli->plan)
        print_summary(cli, a, &summary);
out:
    if (status != FDIT_OK)
        fdit_cli_progress_drop(cli);
    fdit_device_close(dev);
    return status;
}

const struct fdit_command fdit_command_encode = {
    .name = "encode",
    .summary = "make a cache of encoded pictures to train from",
    .synopsis = "[OPTION]... DATA OUT",
    .about = "Encodes every picture of DATA, and its mirror image, into the folder OUT, together with "
             "the classes and ranks. With --vae it keeps the mean and variance of the latent (its "
             "moments), else the pixels. 'train --data OUT' then draws a new latent sample from the "
             "moments each time, and reads only 16 KiB per picture (256 x 256 pixels, 4 latent "
             "channels).\n\n"
             "Give the same command again to continue a job that was interrupted. Pictures whose "
             "content has changed since then are encoded again; their dates do not matter. Every "
             "sample has a checksum. Several processes make a cache together with --part, or as mpirun and "
             "srun start them: they share the folder OUT, and its files are those of one process.",
    .examples = "  finediffusion encode birds/ birds-256 --vae sd-vae-ft-mse --size 256\n"
                "  finediffusion encode birds.tar birds-512 --vae sd-vae-ft-mse --size 512 \\\n"
                "      --flip none --plan\n"
                "  finediffusion encode letters/ letters-32 --size 32 --channels 1 --flip none\n"
                "  finediffusion train --data birds-256 --base xl.safetensors --epochs 10 \\\n"
                "      --out run\n",
    .job = fdit_encode_option_table,
    .common = FDIT_COMMON_DEVICE | FDIT_COMMON_PLAN | FDIT_COMMON_JSON | FDIT_COMMON_LINE,
    .most_operands = 2,
    .args_size = sizeof(struct args),
    .run = run,
};
