/* SPDX-License-Identifier: Apache-2.0
 * cmd_train.c: `finediffusion train`. */
#include "cli/launch.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/phase.h"
#include "train/config.h"
#include "train/exchange_ranks.h"
#include "train/run.h"

#include <limits.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>

struct args {
    struct fdit_train_options o;
    const char *run, *config; /* --resume RUN, --config FILE */
    double rank_timeout;
};

/* What a run's hooks need. */
struct watch {
    struct fdit_cli *cli;
    enum fdit_status status; /* of the plan's text */
};

/* ------------------------------------------------------------------ options */

static enum fdit_status parse_resume(fdit_context *ctx, void *p, const char *value)
{
    struct args *a = p;
    if (value && !*value)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--resume=: the value is empty; give the folder of a run");
    a->o.resume = true;
    a->o.or_begin = value && !strcmp(value, "auto");
    a->run = value && !a->o.or_begin ? value : a->run;
    return FDIT_OK;
}

/* Beside those of the job (train/options.h). */
static const struct fdit_option options[] = {
    FDIT_OPTION_CALL("resume", "[RUN|auto]", parse_resume,
                     "continue the run in RUN (or --out) from its last checkpoint, with the options in its "
                     "config.json; options given here replace those that may change. auto: continue the run "
                     "in --out from its newest whole checkpoint, or begin it where there is none, so that a "
                     "batch job can be queued again as it stands"),
    FDIT_OPTION("config", "FILE", TEXT, struct args, config,
                "read options from the config.json of a run (or a file like it); the command line wins"),
    { FDIT_OPTION_ROW(REAL, "rank-timeout", "SECONDS", struct args, rank_timeout), FDIT_RANGE(1, 1e6),
      .usual = "300",
      .help = "with mpirun or srun: end the job when a process has given no sign of life for so long, or "
              "has not joined at the start (there 30 seconds at least)" },
    { 0 }
};

/* ------------------------------------------------------------------ what a run says */

static void print_plan(void *user, const struct fdit_plan *plan)
{
    struct watch *w = user;
    if (w->status == FDIT_OK)
        w->status = fdit_cli_plan(w->cli, plan, 0);
}

static void banner_model(struct fdit_cli *cli, const struct fdit_train_banner *b)
{
    const struct fdit_model_config *m = b->model;
    fdit_cli_banner(cli, "model", "width %d, depth %d, %d heads, patch %d, on %d x %d x %d%s%s", m->width,
                    m->depth, m->heads, m->patch, m->input_size, m->input_size, m->channels,
                    b->base ? ", from " : "", b->base ? b->base : ", from scratch");
    fdit_cli_banner(cli, "trained", "%zu of %zu parameters (%.2f %%): %s", b->trained, b->parameters,
                    b->parameters ? 100 * (double)b->trained / (double)b->parameters : 0, b->tune);
}

static void banner_data(struct fdit_cli *cli, const struct fdit_train_banner *b)
{
    fdit_cli_banner(cli, "data", "%s: %zu picture%s of %zu class%s in %zu group%s", b->data, b->pictures,
                    b->pictures == 1 ? "" : "s", b->classes, b->classes == 1 ? "" : "es", b->groups,
                    b->groups == 1 ? "" : "s");
    if (b->val_all > b->val_pictures)
        fdit_cli_banner(cli, "validation", "%zu of %zu pictures, evenly spread (--val-pictures)",
                        b->val_pictures, b->val_all);
    else if (b->val_all)
        fdit_cli_banner(cli, "validation", "%zu picture%s", b->val_all, b->val_all == 1 ? "" : "s");
}

static void banner_prior(struct fdit_cli *cli, const struct fdit_train_banner *b)
{
    if (b->prior)
        fdit_cli_banner(cli, "prior", "%s: %zu picture%s of %zu class%s, their loss times %g", b->prior,
                        b->prior_pictures, b->prior_pictures == 1 ? "" : "s", b->prior_classes,
                        b->prior_classes == 1 ? "" : "es", b->prior_weight);
}

static void print_start(void *user, const struct fdit_train_banner *b)
{
    struct watch *w = user;
    struct fdit_cli *cli = w->cli;
    char process[32], device[32];
    fdit_format_size(b->process_plan_bytes, process);
    fdit_format_size(b->plan_bytes, device);
    fdit_cli_banner(cli, "device", "%s, %s%s%s", b->devices, fdit_dtype_name(b->precision),
                    b->storage == FDIT_F32 ? "" : ", frozen weights in ",
                    b->storage == FDIT_F32 ? "" : fdit_dtype_name(b->storage));
    banner_model(cli, b);
    banner_data(cli, b);
    banner_prior(cli, b);
    const int group = b->batch * b->accumulate * b->devices_n;
    const double epochs = b->epoch_steps ? (double)b->steps / (double)b->epoch_steps : 0;
    fdit_cli_banner(cli, "steps", "%" PRId64 " of %d picture%s, %" PRId64 " an epoch (%.3g epoch%s)",
                    b->steps, group, group == 1 ? "" : "s", b->epoch_steps, epochs, epochs == 1 ? "" : "s");
    fdit_cli_banner(cli, "memory", "%s planned, for the device %s", process, device);
    fdit_cli_banner(cli, "writes", "%s", b->out);
    if (b->step > 0 && b->step < b->steps)
        fdit_cli_note(cli, "resumed at step %" PRId64 " of %" PRId64, b->step, b->steps);
    fdit_cli_progress_begin(cli, "train", "step", (uint64_t)b->step, (uint64_t)b->steps);
}

static void print_step(void *user, const struct fdit_train_progress *p)
{
    struct watch *w = user;
    const bool has_prior = !isnan(p->prior_mse);
    char note[128], prior[80] = "";
    if (has_prior)
        snprintf(prior, sizeof prior, ", prior %.4f", p->prior_mse + p->prior_vb);
    snprintf(note, sizeof note, "loss %.4f%s, %.1f images/s", p->loss, prior, p->images_per_second);
    fdit_cli_progress_update(w->cli, (uint64_t)p->step, note);
    if (!w->cli->json)
        return;
    if (has_prior)
        snprintf(prior, sizeof prior, ",\"prior_mse\":%.9g,\"prior_vb\":%.9g", p->prior_mse, p->prior_vb);
    fdit_cli_print(w->cli,
                   "{\"step\":%" PRId64 ",\"loss\":%.9g,\"mse\":%.9g,\"vb\":%.9g,\"lr\":%.9g,"
                   "\"images_per_second\":%.4g,\"seconds\":%.3f%s}\n",
                   p->step, p->loss, p->mse, p->vb, p->lr, p->images_per_second, p->seconds, prior);
}

static void print_validation(void *user, int64_t step, double mse, double vb)
{
    struct watch *w = user;
    fdit_cli_note(w->cli, "step %" PRId64 ": validation mse %.5f, vb %.5f", step, mse, vb);
    if (!w->cli->json)
        return;
    fdit_cli_print(w->cli, "{\"step\":%" PRId64 ",\"val_loss\":%.9g,\"val_mse\":%.9g,\"val_vb\":%.9g}\n",
                   step, mse + vb, mse, vb);
}

static void print_quality(void *user, int64_t step, size_t n, const char *const *names, const double *values)
{
    struct watch *w = user;
    char text[480] = "";
    struct fdit_json b;
    for (size_t i = 0; i < n && strlen(text) < 400; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%.60s %.4g", i ? ", " : "", names[i],
                 values[i]);
    fdit_cli_note(w->cli, "step %" PRId64 ": %s", step, text);
    if (!w->cli->json)
        return;
    fdit_json_begin(&b);
    fdit_json_put_int(&b, NULL, "step", step);
    json_t *eval = fdit_json_put_object(&b, NULL, "eval");
    for (size_t i = 0; i < n; i++)
        fdit_json_put_real(&b, eval, names[i], values[i]);
    (void)fdit_cli_print_json(w->cli, &b, JSON_COMPACT); /* short memory: the log has it */
    fdit_json_fini(&b);
}

static void print_saved(void *user, const char *path)
{
    struct watch *w = user;
    if (w->cli->verbose)
        fdit_cli_note(w->cli, "wrote %s", path);
}

static void json_number(struct fdit_cli *cli, const char *key, double value)
{
    if (isfinite(value))
        fdit_cli_print(cli, ",\"%s\":%.9g", key, value);
    else
        fdit_cli_print(cli, ",\"%s\":null", key);
}

/* What all devices reach together; nothing where one does not tell. */
static enum fdit_status sum_peaks(fdit_context *ctx, const struct fdit_devices *devices,
                                  struct fdit_device_peak *sum)
{
    enum fdit_status status = FDIT_OK;
    bool all = true;
    for (int i = 0; i < devices->n; i++) {
        struct fdit_device_peak one = { 0 };
        TRY(fdit_device_peak(ctx, devices->list[i], false, &one));
        all = all && one.gflops > 0;
        sum->gflops += one.gflops;
    }
    if (!all)
        sum->gflops = 0;
out:
    return status;
}

static enum fdit_status measure_peaks(fdit_context *ctx, const struct fdit_devices *devices,
                                      struct fdit_device_peak *sum)
{
    fdit_phase_begin(ctx, 0, "measuring what the device can reach");
    enum fdit_status status = sum_peaks(ctx, devices, sum);
    fdit_phase_end(ctx);
    return status;
}

/* NaN where it is not known, or where other programs disturbed the measurement of the peak. */
static double share_of_peak(const struct fdit_device_peak *reach, const struct fdit_train_summary *s)
{
    double of = reach->gflops > 0 ? s->gflops / reach->gflops : NAN;
    return of <= 1 ? of : NAN;
}

/* What a test of rates found. */
static void print_lr_range(struct fdit_cli *cli, const char *run, const struct fdit_lr_found *f)
{
    fdit_cli_note(cli, "%s/lr-range.svg, .png and .tsv: the loss of %zu steps", run, f->n);
    if (f->lowest > 0)
        fdit_cli_note(cli, "proposed: --lr %.2g, a tenth of the rate at which the loss is lowest",
                      f->proposed);
    else if (f->rises > 0)
        fdit_cli_note(cli,
                      "the loss falls by no more than it scatters; proposed: --lr %.2g, a tenth of the rate "
                      "from which it rises",
                      f->proposed);
    else
        fdit_cli_note(cli, "the loss neither falls nor rises by more than it scatters: no rate is proposed; "
                           "give more --steps, a larger --batch or a higher rate at the end");
}

static void print_summary(struct fdit_cli *cli, const struct args *a, const char *devices,
                          const struct fdit_device_peak *reach, const struct fdit_train_summary *s)
{
    char plan[32], whole[32], peak[32], of_peak[64] = "";
    double of = share_of_peak(reach, s);
    if (s->nothing && s->step > s->steps) {
        fdit_cli_note(
            cli, "%s: %" PRId64 " steps were done before, more than the %" PRId64 " asked for: nothing to do",
            a->o.out, s->step, s->steps);
        return;
    }
    if (s->nothing) {
        fdit_cli_note(cli, "%s: %" PRId64 " of %" PRId64 " steps were done before: nothing to do", a->o.out,
                      s->step, s->steps);
        return;
    }
    if (a->o.lr_high > 0) {
        print_lr_range(cli, a->o.out, &s->lr_range);
        return;
    }
    if (isfinite(of))
        snprintf(of_peak, sizeof of_peak, " (%.0f %% of the device's %.0f)", 100 * of, reach->gflops);
    fdit_format_size(s->plan_bytes, plan);
    fdit_format_size(s->process_plan_bytes, whole);
    fdit_format_size(s->peak_bytes, peak);
    fdit_cli_note(cli,
                  "%s/delta.safetensors: step %" PRId64 ", %zu picture%s of %zu class%s, table of %zu row%s",
                  a->o.out, s->step, s->n_pictures, s->n_pictures == 1 ? "" : "s", s->n_classes,
                  s->n_classes == 1 ? "" : "es", s->n_rows, s->n_rows == 1 ? "" : "s");
    fdit_cli_note(cli, "trained %zu of %zu parameters (%.2f %%) on %s", s->trained, s->total,
                  s->total ? 100 * (double)s->trained / (double)s->total : 0, devices);
    fdit_cli_note(cli,
                  "%.2f images/s, %.1f GFLOP/s%s, %.1f s of training, "
                  "%.1f s waiting for pictures, %.1f s in all",
                  s->images_per_second, s->gflops, of_peak, s->seconds, s->stall_seconds, s->all_seconds);
    fdit_cli_note(cli, "peak memory %s; planned were %s, for the device %s", peak, whole, plan);
    if (isfinite(s->val_mse))
        fdit_cli_note(cli, "validation mse %.5f, vb %.5f of %zu picture%s", s->val_mse, s->val_vb, s->n_val,
                      s->n_val == 1 ? "" : "s");
    if (s->snapshots.n) {
        char size[32];
        fdit_format_size((size_t)s->snapshots.bytes, size);
        fdit_cli_note(cli, "%s/snapshots: %zu snapshot%s, of steps %" PRId64 " to %" PRId64 "%s, %s",
                      a->o.out, s->snapshots.n, s->snapshots.n == 1 ? "" : "s", s->snapshots.first,
                      s->snapshots.last, a->o.ema_profiles ? " with averages for convert --ema-length" : "",
                      size);
    }
    if (s->skipped)
        fdit_cli_note(cli, "%" PRIu64 " broken picture%s left out", s->skipped,
                      s->skipped > 1 ? "s were" : " was");
}

/* The last line of --json. */
static void print_json_summary(struct fdit_cli *cli, const struct fdit_device_peak *reach,
                               const struct fdit_train_summary *s)
{
    fdit_cli_print(cli,
                   "{\"done\":true,\"step\":%" PRId64 ",\"steps\":%" PRId64
                   ",\"trained\":%zu,\"parameters\":%zu,"
                   "\"classes\":%zu,\"rows\":%zu,\"pictures\":%zu,\"images\":%" PRIu64 ",\"skipped\":%" PRIu64
                   ",\"plan_bytes\":%zu,\"process_plan_bytes\":%zu,\"peak_bytes\":%zu",
                   s->step, s->steps, s->trained, s->total, s->n_classes, s->n_rows, s->n_pictures, s->images,
                   s->skipped, s->plan_bytes, s->process_plan_bytes, s->peak_bytes);
    fdit_cli_print(cli, ",\"val_pictures\":%zu,\"nothing_to_do\":%s", s->n_val,
                   s->nothing ? "true" : "false");
    if (s->snapshots.n)
        fdit_cli_print(cli, ",\"snapshots\":%zu,\"snapshot_bytes\":%" PRIu64, s->snapshots.n,
                       s->snapshots.bytes);
    json_number(cli, "trained_share", s->total ? (double)s->trained / (double)s->total : 0);
    json_number(cli, "seconds", s->seconds);
    json_number(cli, "all_seconds", s->all_seconds);
    json_number(cli, "images_per_second", s->images_per_second);
    json_number(cli, "gflops", s->gflops);
    json_number(cli, "peak_gflops", reach->gflops > 0 ? reach->gflops : NAN);
    json_number(cli, "peak_share", share_of_peak(reach, s));
    json_number(cli, "stall_seconds", s->stall_seconds);
    json_number(cli, "first_val_mse", s->first_val_mse);
    json_number(cli, "first_val_vb", s->first_val_vb);
    json_number(cli, "val_mse", s->val_mse);
    json_number(cli, "val_vb", s->val_vb);
    if (s->lr_range.n) {
        json_number(cli, "lr_proposed", s->lr_range.proposed > 0 ? s->lr_range.proposed : NAN);
        json_number(cli, "lr_of_lowest_loss", s->lr_range.lowest > 0 ? s->lr_range.lowest : NAN);
        json_number(cli, "lr_of_rise", s->lr_range.rises > 0 ? s->lr_range.rises : NAN);
    }
    fdit_cli_print(cli, "}\n");
}

/* ------------------------------------------------------------------ options from a file */

/* Options of a file below those of the command line, which is read again over them. */
static enum fdit_status read_config(struct fdit_cli *cli, struct args *a, const char *path,
                                    const char *run_folder, struct fdit_train_config **config)
{
    enum fdit_status status = FDIT_OK;
    struct args typed = *a;
    bool help;
    int n;
    TRY(fdit_train_config_open(cli->ctx, path, config));
    if (run_folder)
        TRY(fdit_train_config_check_run(cli->ctx, *config, path));
    *a = (struct args){ .run = NULL };
    fdit_command_defaults(&fdit_command_train, a);
    fdit_train_config_apply(*config, &a->o);
    if (typed.o.epochs > 0)
        a->o.steps = 0;
    if (typed.o.steps > 0)
        a->o.epochs = 0;
    cli->precision = (int)a->o.precision;
    cli->weights = a->o.storage;
    cli->device = a->o.device;
    cli->threads = a->o.threads;
    cli->memory = a->o.memory;
    TRY(fdit_options_parse(cli, &fdit_command_train, a, cli->argc, cli->argv, &n, &help));
    if (run_folder)
        a->o.out = run_folder;
    TRY(fdit_train_config_resolve(cli->ctx, *config, run_folder, &a->o));
out:
    return status;
}

/* --resume goes by RUN/config.json, --config by its file. */
static enum fdit_status take_config(struct fdit_cli *cli, struct args *a, struct fdit_train_config **config)
{
    enum fdit_status status = FDIT_OK;
    fdit_context *ctx = cli->ctx;
    const char *run = a->run ? a->run : a->o.out;
    char *path = NULL;
    if (a->o.resume && a->config)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--config with --resume: the run has its own; leave one of the two out");
    if (a->o.resume && !run)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             a->o.or_begin ? "--resume auto: of which run? give its folder, as --out RUN"
                           : "--resume: which run? give its folder, as --resume RUN");
    if (a->run && a->o.out && strcmp(a->run, a->o.out))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--resume %s and --out %s are two runs; give one of them", a->run,
             a->o.out);
    if (a->o.resume) {
        TRY(fdit_path_join(ctx, run, "config.json", &path));
        if (fdit_is_file(path))
            TRY(read_config(cli, a, path, run, config));
        else if (!a->o.data && !a->o.or_begin)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "--resume: %s holds no run (no config.json)", run);
        a->o.out = run;
    } else if (a->config) {
        TRY(read_config(cli, a, a->config, NULL, config));
    }
out:
    fdit_free(path);
    return status;
}

/* What was done, on the terminal and as the last line of --json. */
static enum fdit_status tell_end(struct fdit_cli *cli, const struct args *a,
                                 const struct fdit_devices *devices, const struct fdit_train_summary *summary)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_device_peak reach = { 0 };
    char *names = NULL;
    fdit_cli_progress_end(cli);
    if (cli->plan || cli->rank)
        return FDIT_OK;
    if ((!cli->quiet || cli->json) && !summary->nothing) /* takes a moment: only where it is shown */
        TRY(measure_peaks(cli->ctx, devices, &reach));
    TRY(fdit_devices_names(cli->ctx, devices, &names));
    print_summary(cli, a, names, &reach, summary);
    if (cli->json)
        print_json_summary(cli, &reach, summary);
out:
    fdit_free(names);
    return status;
}

/* What travelled, for people who look for what holds them up. */
static void tell_traffic(struct fdit_cli *cli, const struct fdit_ranks *ranks, const struct fdit_exchange *x,
                         const struct fdit_train_options *o, const struct fdit_train_summary *s)
{
    const struct fdit_exchange_traffic t = x->traffic;
    char bytes[32], each[32];
    const uint64_t step = (uint64_t)x->members * (uint64_t)o->batch * (uint64_t)o->accumulate;
    const uint64_t steps = s->images >= step ? s->images / step : 1;
    fdit_format_size((size_t)t.bytes, bytes);
    fdit_format_size((size_t)(t.bytes / steps), each);
    fdit_cli_note(cli,
                  "%d processes: rank 0 sent %s, %s a step, and waited %.1f s for the others, %.0f %% of "
                  "the time; %.3f s a step",
                  ranks->size, bytes, each, t.seconds,
                  s->all_seconds > 0 ? 100 * t.seconds / s->all_seconds : 0, t.seconds / (double)steps);
}

/* The devices of this process, and the training on them. */
static enum fdit_status train(struct fdit_cli *cli, struct args *a, struct fdit_ranks *ranks,
                              const volatile sig_atomic_t *asked)
{
    enum fdit_status status = FDIT_OK;
    struct watch watch = { .cli = cli };
    struct fdit_train_summary summary = { 0 };
    struct fdit_train_hooks hooks = { .user = &watch,
                                      .on_plan = print_plan,
                                      .on_start = print_start,
                                      .on_step = print_step,
                                      .on_validation = print_validation,
                                      .on_quality = print_quality,
                                      .on_saved = print_saved,
                                      .silent = cli->rank > 0 };
    struct fdit_devices devices = { 0 };
    TRY(fdit_cli_devices(cli, &devices));
    a->o.precision = fdit_device_precision(devices.list[0]);
    if (ranks)
        TRY(fdit_exchange_ranks(cli->ctx, ranks, devices.n, asked, &hooks.exchange));
    TRY(fdit_train_run(cli->ctx, &devices, &a->o, &hooks, cli->plan, &summary));
    TRY(watch.status);
    TRY(tell_end(cli, a, &devices, &summary));
    if (ranks && !cli->plan)
        tell_traffic(cli, ranks, hooks.exchange, &a->o, &summary);
out:
    fdit_cli_progress_drop(cli); /* watch ends here */
    fdit_exchange_free(hooks.exchange);
    fdit_devices_close(&devices);
    return status;
}

static enum fdit_status settle_options(struct fdit_cli *cli, struct args *a,
                                       struct fdit_train_config **config)
{
    enum fdit_status status = FDIT_OK;
    TRY(take_config(cli, a, config));
    if (a->config && !a->o.data)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT,
             "--data is missing, and %s has none; give a folder with one sub-folder per class", a->config);
    a->o.memory = cli->memory;
    a->o.device = cli->device;
    a->o.threads = cli->threads;
    a->o.storage = cli->weights;
    if (cli->plan && !a->o.out)
        a->o.out = "."; /* nothing is written */
    if (a->o.steps > 0 && a->o.epochs > 0)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT, "--steps and --epochs: give one of the two");
    TRY(fdit_train_check(cli->ctx, &a->o));
out:
    return status;
}

static enum fdit_status run(struct fdit_cli *cli, void *p, int n, char **operands)
{
    enum fdit_status status = FDIT_OK;
    static volatile sig_atomic_t asked; /* of a signal handler */
    struct args *a = p;
    struct fdit_train_config *config = NULL;
    struct fdit_ranks *ranks = NULL;
    (void)n;
    (void)operands;
    TRY(fdit_cli_ranks_open(cli, a->rank_timeout, &asked, &ranks));
    status = settle_options(cli, a, &config);
    a->o.shards = a->o.shards || ranks;
    if (ranks)
        status = fdit_ranks_settle(cli->ctx, ranks, status);
    TRY(status);
    status = train(cli, a, ranks, &asked);
    /* launchers take any other code for a crash, and so do scripts of batch systems that have sent a
     * warning */
    if (status == FDIT_INTERRUPTED && (ranks || fdit_signals_caught() == SIGUSR1)) {
        fdit_cli_note(cli, "%s", fdit_context_message(cli->ctx));
        status = FDIT_OK;
    }
out:
    fdit_train_config_close(config);
    fdit_cli_ranks_close(cli, ranks, status);
    return status;
}

const struct fdit_command fdit_command_train = {
    .name = "train",
    .summary = "fine-tune a model, or train one from scratch",
    .synopsis = "--base FILE --data DATA --steps N --out RUN\n"
                "           [OPTION]...\n"
                "       finediffusion train --resume RUN [OPTION]...",
    .about = "Fine-tunes a diffusion transformer on labelled pictures. By default it trains the "
             "biases, the LayerNorm weights and a new class table; --tune chooses other parameters. "
             "The result is RUN/delta.safetensors. RUN also holds config.json, log.jsonl, TensorBoard "
             "events, checkpoints and previews (see 'finediffusion help files').\n\n"
             "An interrupted run continues with --resume, and ends with the same bits as one that was "
             "never interrupted.",
    .examples = "  finediffusion train --from-scratch --model DiT-S/4 --size 24 --channels 1 \\\n"
                "      --tune full --data letters.tar.gz --flip none --epochs 20 --out base\n"
                "  finediffusion train --base base/delta.safetensors --data birds \\\n"
                "      --taxonomy birds.tsv --val 0.05 --steps 20000 --batch 8 --accumulate 4 \\\n"
                "      --out run\n"
                "  finediffusion train --resume run\n"
                "  finediffusion train --base base.safetensors --data birds --epochs 1 \\\n"
                "      --plan --memory 6G\n",
    .job = fdit_train_option_table,
    .options = options,
    .common = FDIT_COMMON_DEVICE | FDIT_COMMON_DEVICES | FDIT_COMMON_WEIGHTS | FDIT_COMMON_PLAN |
              FDIT_COMMON_JSON | FDIT_COMMON_LINE,
    .most_operands = 0,
    .args_size = sizeof(struct args),
    .run = run,
};
