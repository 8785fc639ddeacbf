/* SPDX-License-Identifier: Apache-2.0
 * cmd_convert.c: `finediffusion convert`. */
#include "cli/cli.h"

#include "model/convert.h"

#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>

struct args {
    struct fdit_convert_options o;
    int type, values;
};

static const struct fdit_option options[] = {
    FDIT_HEADING("Conversion"),
    FDIT_OPTION("merge", "DELTA", TEXT, struct args, o.delta, "apply this delta to IN"),
    FDIT_OPTION("type", "f32|f16|bf16", CHOICE, struct args, type,
                "storage of the numbers (default f32)"),
    FDIT_OPTION("weights-from", "ema|raw", CHOICE, struct args, values,
                "which weights of a training checkpoint (default ema)"),
    FDIT_OPTION("model", "NAME|D,L,H,P", TEXT, struct args, o.model,
                "size of the model (default: what IN says)"),
    FDIT_OPTION("force", NULL, FLAG, struct args, o.force,
                "merge a delta that was made from another base"),
    { 0 }
};

static enum fdit_status run(struct fdit_cli *cli, void *p, int n, char **operands)
{
    enum fdit_status status = FDIT_OK;
    static const enum fdit_st_type types[] = { FDIT_ST_F32, FDIT_ST_F16, FDIT_ST_BF16 };
    struct args *a = p;
    struct fdit_convert_report r;
    if (n != 2)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT, "give two files: IN and OUT");
    a->o.in = operands[0];
    a->o.out = operands[1];
    a->o.type = types[a->type];
    a->o.values = a->values ? FDIT_VALUES_RAW : FDIT_VALUES_EMA;
    TRY(fdit_convert(cli->ctx, &a->o, &r));
    if (cli->json) {
        json_t *j = json_pack("{s:s,s:I,s:I,s:i,s:I}", "file", a->o.out, "tensors", (json_int_t)r.tensors,
                              "from_delta", (json_int_t)r.from_delta, "norms_added", r.norms_added,
                              "bytes", (json_int_t)r.bytes);
        char *text = json_dumps(j, JSON_COMPACT);
        printf("%s\n", text ? text : "{}");
        free(text);
        json_decref(j);
        return FDIT_OK;
    }
    fdit_cli_note(cli, "wrote %s: %zu tensors, %zu of them from the delta, %.2f MB", a->o.out, r.tensors,
                  r.from_delta, (double)r.bytes / 1e6);
    if (r.norms_added)
        fdit_cli_note(cli, "%d LayerNorm tensors that a stock DiT lacks were written as 1 and 0",
                      r.norms_added);
out:
    return status;
}

const struct fdit_command fdit_command_convert = {
    .name = "convert",
    .summary = "apply a delta to its base, change the storage type",
    .synopsis = "[OPTION]... IN OUT",
    .about =
        "Writes the model in IN (safetensors, or a checkpoint of a training run) to OUT, a\n"
        "safetensors file with the public names. With --merge the delta's tensors take the place of\n"
        "IN's, and its taxonomy goes into OUT.",
    .examples =
        "  finediffusion convert base.safetensors merged.safetensors --merge run/delta.safetensors\n"
        "  finediffusion convert run/checkpoints/step-12000.safetensors base.safetensors --type f16\n",
    .options = options,
    .common = FDIT_COMMON_JSON,
    .most_operands = 2,
    .args_size = sizeof(struct args),
    .run = run,
};
