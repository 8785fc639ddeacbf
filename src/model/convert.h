/* SPDX-License-Identifier: Apache-2.0
 * convert.h: one checkpoint from another: with a delta applied, in another storage type. */
#ifndef FDIT_MODEL_CONVERT_H
#define FDIT_MODEL_CONVERT_H

#include "format/safetensors.h"
#include "model/checkpoint.h"

struct fdit_convert_options {
    const char *in, *out;
    const char *delta;        /* applied to `in`; NULL: none */
    const char *model;        /* what --model said; NULL: by the file */
    enum fdit_values values;  /* of a training checkpoint */
    enum fdit_st_type type;   /* F32, F16 or BF16; the position table stays F32 */
    bool force;               /* a delta of another base is applied nevertheless */
};

struct fdit_convert_report {
    size_t tensors, from_delta;
    int norms_added; /* scales and offsets that a stock DiT lacks, written as 1 and 0 */
    uint64_t bytes;
};

/* Writes the whole model under the public names, with the metadata of the delta, else of the input:
 * model, taxonomy, guide, flip, train. Atomic; refuses to write onto an input. */
enum fdit_status fdit_convert(fdit_context *ctx, const struct fdit_convert_options *options,
                              struct fdit_convert_report *report);

#endif
