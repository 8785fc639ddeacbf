/* SPDX-License-Identifier: Apache-2.0
 * cmd_convert.c: `finediffusion convert`. */
#include "cli/cli.h"

#include "core/mem.h"
#include "data/taxonomy.h"
#include "model/convert.h"
#include "model/ema_length.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

struct args {
    struct fdit_convert_options o;
    const char *taxonomy, *ranks, *superclass, *tune, *objective;
    int values, names; /* values: -1 where it was not given */
    bool delta;
    struct fdit_mask mask;
    size_t shard_bytes;
    double ema_length;
};

static const int types[] = { FDIT_ST_F32, FDIT_ST_F16, FDIT_ST_BF16 };
static const int values[] = { FDIT_VALUES_EMA, FDIT_VALUES_RAW };

#define ROW(kind, name, arg, field) FDIT_OPTION_ROW(kind, name, arg, struct args, field)

static const struct fdit_option options[] = {
    FDIT_HEADING("Conversion"),
    { ROW(TEXT, "merge", "DELTA", o.merge), .help = "apply this delta to IN" },
    { ROW(CHOICE, "names", "own|torch|peft", names), .usual = "own",
      .help = "torch: write a .pt file with exactly the tensors that public code loads; peft: write the "
              "adapter in a delta as a folder OUT for PEFT" },
    { ROW(CHOICE, "type", "f32|f16|bf16", o.type), .values = types, .usual = "f32",
      .help = "type in which the numbers are stored" },
    { ROW(FLAG, "saturate", NULL, o.saturate),
      .help = "replace numbers too large for --type by its largest, instead of refusing them" },
    { ROW(SIZE, "shard-size", "SIZE", shard_bytes), .note = " 5G", /* more than a size_t of 32 bits */
      .help = "largest size of a shard when OUT is *.index.json" },
    { ROW(CHOICE, "weights-from", "ema|raw", values), .values = values, .note = " ema",
      .help = "which weights of a file that has both" },
    { ROW(TEXT, "model", "NAME|D,L,H,P", o.model), .note = ": what IN says", .help = "size of the model" },
    { ROW(TEXT, "objective", FDIT_OBJECTIVE_NAMES, objective), .note = ": what IN says, else ddpm",
      .help = "what the model was trained with" },
    { ROW(FLAG, "force", NULL, o.force),
      .help = "merge a delta made from another base, or drop differences larger than rounding" },

    FDIT_HEADING("An average of another length"),
    { ROW(REAL, "ema-length", "X", ema_length), FDIT_RANGE(FDIT_EMA_LEAST_WIDTH, FDIT_EMA_MOST_WIDTH),
      .help = "IN is the folder of a run that was trained with --ema-profiles; OUT becomes a delta with the "
              "average of this width (0.05: short, 0.1, 0.2: long; a share of the training)" },

    FDIT_HEADING("A delta from a fine-tuned model"),
    { ROW(TEXT, "base", "FILE", o.base), .help = "checkpoint from which IN was fine-tuned" },
    { ROW(FLAG, "delta", NULL, delta), .help = "write a delta: what IN changes in --base" },
    { ROW(TEXT, "tune", "MASK", tune), .note = " finediffusion; see train --tune",
      .help = "which parameters were trained" },
    { ROW(TEXT, "taxonomy", "FILE", taxonomy),
      .help = "names of the classes, for a file that does not carry them" },
    { ROW(TEXT, "ranks", "A,B", ranks), .note = ": all", .help = "ranks of the taxonomy" },
    { ROW(TEXT, "superclass", "RANK", superclass), .note = ": the one next to the class",
      .help = "rank whose group replaced dropped labels" },
    { 0 }
};

/* Options that belong together; taxonomy and mask into a->o. */
static enum fdit_status settle(fdit_context *ctx, struct args *a, struct fdit_taxonomy **tax, char **json)
{
    enum fdit_status status = FDIT_OK;
    a->o.objective = a->objective ? fdit_objective_find(a->objective) : NULL;
    if (a->objective && !a->o.objective)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--objective %s: not known; give one of " FDIT_OBJECTIVE_NAMES,
             a->objective);
    if (a->delta && !a->o.base)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--delta wants --base FILE, the model that IN was fine-tuned from");
    if (a->o.base && !a->delta)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--base is for --delta; to apply a delta to IN give --merge DELTA");
    if (a->o.base && a->o.merge)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--merge makes a model, --delta takes one apart; give one of them");
    if (!a->o.base && (a->tune || a->taxonomy))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--%s is for --delta", a->tune ? "tune" : "taxonomy");
    if (!a->taxonomy && (a->ranks || a->superclass))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--%s wants --taxonomy FILE", a->ranks ? "ranks" : "superclass");
    if (a->tune) {
        TRY(fdit_mask_parse(ctx, a->tune, &a->mask));
        a->o.mask = &a->mask;
        if (fdit_adapter_any(&a->mask.adapter))
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "--tune %s: an adapter cannot be told from merged weights; give the delta of its training",
                 a->tune);
    }
    if (!a->taxonomy)
        return FDIT_OK;
    TRY(fdit_taxonomy_load(ctx, a->taxonomy, a->ranks, tax));
    TRY(fdit_taxonomy_to_json(ctx, *tax, json));
    a->o.taxonomy = *json;
    a->o.taxonomy_rows = fdit_taxonomy_n_rows(*tax);
    if (fdit_taxonomy_n_ranks(*tax)) {
        int32_t rank;
        TRY(fdit_taxonomy_superclass(ctx, *tax, a->superclass, &rank));
        a->o.guide = fdit_taxonomy_rank_name(*tax, rank);
    }
out:
    return status;
}

static enum fdit_status print_json(struct fdit_cli *cli, const struct args *a,
                                   const struct fdit_convert_report *r)
{
    struct fdit_json b;
    fdit_json_begin(&b);
    fdit_json_put_text(&b, NULL, "file", a->o.out);
    fdit_json_put_text(&b, NULL, "kind", r->delta ? "delta" : "model");
    fdit_json_put_int(&b, NULL, "tensors", (int64_t)r->tensors);
    fdit_json_put_int(&b, NULL, "from_delta", (int64_t)r->from_delta);
    fdit_json_put_int(&b, NULL, "norms_added", r->norms_added);
    fdit_json_put_int(&b, NULL, "left_out", (int64_t)r->left_out);
    fdit_json_put_int(&b, NULL, "files", (int64_t)r->files);
    fdit_json_put_int(&b, NULL, "bytes", (int64_t)r->bytes);
    fdit_json_put_bool(&b, NULL, "replaced", r->replaced);
    fdit_json_put_int(&b, NULL, "saturated", (int64_t)r->saturated);
    fdit_json_put_int(&b, NULL, "vanished", (int64_t)r->vanished);
    if (a->o.base) {
        fdit_json_put_int(&b, NULL, "frozen_same", (int64_t)r->same);
        fdit_json_put_int(&b, NULL, "frozen_rounded", (int64_t)r->rounded);
        fdit_json_put_real(&b, NULL, "largest_difference", r->worst);
        fdit_json_put_text(&b, NULL, "largest_difference_in", r->worst_name);
    }
    enum fdit_status status = fdit_cli_print_json(cli, &b, JSON_COMPACT | JSON_REAL_PRECISION(6));
    fdit_json_fini(&b);
    return status;
}

static void print_text(struct fdit_cli *cli, const struct args *a, const struct fdit_convert_report *r)
{
    char size[32];
    fdit_format_size((size_t)r->bytes, size);
    fdit_cli_note(cli, "wrote %s%s: a %s of %zu tensor%s, %s", a->o.out,
                  r->replaced ? " (in place of the file that was there)" : "", r->delta ? "delta" : "model",
                  r->tensors, r->tensors == 1 ? "" : "s", size);
    if (r->saturated)
        fdit_cli_note(cli, "%zu number%s beyond what the type holds and became its largest", r->saturated,
                      r->saturated == 1 ? " was" : "s were");
    if (r->vanished)
        fdit_cli_note(cli, "%zu number%s too small for the type and became 0", r->vanished,
                      r->vanished == 1 ? " is" : "s are");
    if (r->files > 1)
        fdit_cli_note(cli, "%zu data files (shards) were written next to it", r->files);
    if (a->o.merge)
        fdit_cli_note(cli, "%zu tensor%s from the delta", r->from_delta,
                      r->from_delta == 1 ? " comes" : "s come");
    if (r->norms_added)
        fdit_cli_note(cli, "%d LayerNorm tensors that a stock DiT lacks were written as 1 and 0",
                      r->norms_added);
    if (r->left_out)
        fdit_cli_note(cli, "%zu tensors beside the weights were left out (other weights, optimiser state)",
                      r->left_out);
    if (a->o.base)
        fdit_cli_note(cli,
                      "dropped as the base's: %zu tensors that are the same bit for bit, %zu that "
                      "differ by rounding%s",
                      r->same, r->rounded, r->rounded ? ":" : "");
    if (r->rounded)
        fdit_cli_note(cli, "  at most %.2g of its size, in %s", r->worst, r->worst_name);
}

/* convert RUN --ema-length X OUT */
static enum fdit_status make_average(struct fdit_cli *cli, const struct args *a)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_ema_length_report r;
    struct fdit_json b;
    char size[32];
    fdit_json_begin(&b);
    if (a->delta || a->o.merge || a->o.base || a->names || a->tune || a->taxonomy || a->values >= 0 ||
        a->o.model || a->objective || a->o.force || a->o.saturate)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT,
             "--ema-length goes with --type alone; convert the delta that it writes in a second step");
    TRY(fdit_ema_length(cli->ctx,
                        &(struct fdit_ema_length_options){
                            .run = a->o.in, .out = a->o.out, .width = a->ema_length, .type = a->o.type },
                        &r));
    fdit_format_size((size_t)r.bytes, size);
    fdit_cli_note(
        cli, "wrote %s%s: the average of width %g at step %" PRId64 ", of %zu stored ones, %zu tensor%s, %s",
        a->o.out, r.replaced ? " (in place of the file that was there)" : "", a->ema_length, r.step, r.used,
        r.tensors, r.tensors == 1 ? "" : "s", size);
    if (!cli->json)
        goto out;
    fdit_json_put_text(&b, NULL, "file", a->o.out);
    fdit_json_put_text(&b, NULL, "kind", "delta");
    fdit_json_put_real(&b, NULL, "ema_length", a->ema_length);
    fdit_json_put_int(&b, NULL, "step", r.step);
    fdit_json_put_int(&b, NULL, "averages", (int64_t)r.used);
    fdit_json_put_int(&b, NULL, "tensors", (int64_t)r.tensors);
    fdit_json_put_int(&b, NULL, "bytes", (int64_t)r.bytes);
    fdit_json_put_bool(&b, NULL, "replaced", r.replaced);
    TRY(fdit_cli_print_json(cli, &b, JSON_COMPACT | JSON_REAL_PRECISION(6)));
out:
    fdit_json_fini(&b);
    return status;
}

static void defaults(void *p)
{
    struct args *a = p;
    a->values = -1;
}

static enum fdit_status run(struct fdit_cli *cli, void *p, int n, char **operands)
{
    enum fdit_status status = FDIT_OK;
    struct args *a = p;
    struct fdit_convert_report r;
    struct fdit_taxonomy *tax = NULL;
    char *json = NULL;
    if (n > 2 && a->delta)
        FAIL(
            cli->ctx, FDIT_ERROR_ARGUMENT,
            "--delta takes no file: it makes OUT a delta; to apply one, give 'convert IN OUT --merge DELTA'");
    if (n != 2)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT,
             "%d file%s; give two: IN and OUT, see finediffusion convert --help", n, n == 1 ? "" : "s");
    a->o.in = operands[0];
    a->o.out = operands[1];
    if (a->ema_length > 0)
        return make_average(cli, a);
    a->o.values_asked = a->values >= 0;
    a->o.values = a->o.values_asked ? (enum fdit_values)a->values : FDIT_VALUES_EMA;
    a->o.torch_names = a->names == 1;
    a->o.peft = a->names == 2;
    a->o.shard_bytes = a->shard_bytes ? a->shard_bytes : (uint64_t)5 << 30;
    TRY(settle(cli->ctx, a, &tax, &json));
    TRY(fdit_convert(cli->ctx, &a->o, &r));
    if (cli->json)
        TRY(print_json(cli, a, &r));
    else
        print_text(cli, a, &r);
out:
    fdit_free(json);
    fdit_taxonomy_free(tax);
    return status;
}

const struct fdit_command fdit_command_convert = {
    .name = "convert",
    .summary = "convert PyTorch files, safetensors and deltas; apply a delta",
    .synopsis = "[OPTION]... IN OUT",
    .about = "Converts the weights in IN: safetensors (also in shards, by their *.index.json), a "
             "PyTorch file (.pt: a plain state_dict, or a dictionary with \"model\" and \"ema\"), a "
             "diffusers folder, a checkpoint of a training run, a delta, a PEFT adapter folder, or with "
             "--ema-length the folder of a run. Code in a "
             "PyTorch file is "
             "never executed.\n\n"
             "The name of OUT decides the format: *.safetensors, *.index.json (the shards are written "
             "beside it), or *.pt, *.pth, *.bin or *.ckpt (a state_dict for torch.load). Other endings "
             "are refused, and so are numbers too large for --type.\n\n"
             "--merge DELTA applies a delta: its tensors replace those of IN, and its taxonomy goes into "
             "OUT. --base FILE --delta does the reverse: OUT becomes the delta that turns FILE into IN. It "
             "holds the parameters that --tune names; all others must equal those of FILE up to rounding. A "
             "PEFT adapter as IN becomes a delta in the same way, and says itself what was trained.",
    .examples = "  finediffusion convert DiT-XL-2-256x256.pt base.safetensors --type f16\n"
                "  finediffusion convert base.safetensors merged.safetensors \\\n"
                "      --merge run/delta.safetensors\n"
                "  finediffusion convert 0100000.pt delta.safetensors --delta \\\n"
                "      --base DiT-XL-2-256x256.pt --taxonomy birds.tsv\n"
                "  finediffusion convert run/delta.safetensors adapter --names peft\n"
                "  finediffusion convert run longer.safetensors --ema-length 0.15\n"
                "  finediffusion convert base.pt fine.pt --merge delta.safetensors --names torch\n"
                "  finediffusion convert base.pt model.safetensors.index.json --shard-size 1G\n",
    .options = options,
    .common = FDIT_COMMON_JSON,
    .most_operands = -1,
    .defaults = defaults,
    .args_size = sizeof(struct args),
    .run = run,
};
