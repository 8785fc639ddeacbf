/* SPDX-License-Identifier: Apache-2.0
 * convert.h: one file of weights from another: with a delta applied, in another storage type or
 * layout, or only what differs from a base. Numbers are copied piece by piece: neither file is ever
 * in memory. */
#ifndef FDIT_MODEL_CONVERT_H
#define FDIT_MODEL_CONVERT_H

#include "format/safetensors.h"
#include "model/checkpoint.h"

struct fdit_convert_options {
    const char *in;
    /* *.safetensors; *.index.json: shards beside it; *.pt, *.pth, *.bin, *.ckpt, or any other name
     * with torch_names: a torch file. Other endings are refused */
    const char *out;
    const char *merge; /* a delta, applied to `in`; NULL: none */
    const char *base;  /* `out` is the delta from here to `in`; NULL: none */
    const char *model; /* what --model said; NULL: by the file */
    /* Of `in`, where it does not say it; NULL: as it says, else ddpm. */
    const struct fdit_objective *objective;
    enum fdit_values values; /* of a file that holds both */
    bool values_asked;       /* an input that does not hold these is refused */
    bool saturate;           /* numbers beyond the type's largest become it; else they are refused */
    enum fdit_st_type type;  /* F32, F16 or BF16; the position table stays F32 */
    bool torch_names;        /* the tensors that public code expects: no norms that `in` lacks */
    bool peft;               /* `out` is a folder, for PEFT (peft.h); `in` a delta with an adapter */
    bool force;              /* differences that are refused are accepted */
    uint64_t shard_bytes;    /* numbers in one shard */
    /* with base: what a delta says about itself, for inputs that do not say it */
    const struct fdit_mask *mask; /* NULL: finediffusion; without an adapter */
    const char *taxonomy;         /* JSON of fdit_taxonomy_to_json; NULL: the input's */
    int taxonomy_rows;            /* rows of that taxonomy */
    const char *guide;            /* rank that guides, NULL: the input's */
};

struct fdit_convert_report {
    size_t tensors, from_delta;
    int norms_added;            /* scales and offsets that a stock DiT lacks, written as 1 and 0 */
    size_t left_out;            /* tensors of the input beside its weights: other sets, optimiser state */
    size_t files;               /* written */
    uint64_t bytes;             /* of all of them */
    bool delta;                 /* `out` is a delta */
    bool replaced;              /* there was such a file before */
    size_t saturated, vanished; /* numbers that were cut to the largest, or became 0, for the type */
    /* with base: frozen tensors that are the base's bit for bit, and those that differ by rounding
     */
    size_t same, rounded;
    double worst; /* largest root mean square of a difference over that of the base */
    char worst_name[128];
};

/* Writes the whole model under the public names, or a delta: with `base`, or when `in` is itself a
 * delta or the checkpoint of a training that froze weights. Metadata are those of the delta, else
 * of the input: model, taxonomy, guide, flip, train. Atomic, also of shards (shards.h); refuses to
 * write onto an input. A number that the type cannot hold is FDIT_ERROR_NUMERIC with its tensor,
 * unless `saturate`.
 *
 * With `base`, what the mask does not train must be the base's within 1e-3 of its root mean square
 * (averaging in float32 moves frozen weights in their last bits); else FDIT_ERROR_FORMAT names the
 * tensor, unless `force`. */
enum fdit_status fdit_convert(fdit_context *ctx, const struct fdit_convert_options *options,
                              struct fdit_convert_report *report);

#endif
