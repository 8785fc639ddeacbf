/* SPDX-License-Identifier: Apache-2.0
 * checkpoint_file.h: what checkpoint.c and checkpoint_file.c share: the file under a checkpoint,
 * its layout, and which of its tensors make up a parameter. */
#ifndef FDIT_MODEL_CHECKPOINT_FILE_H
#define FDIT_MODEL_CHECKPOINT_FILE_H

#include "format/pt.h"
#include "format/safetensors.h"
#include "model/checkpoint.h"

enum { FDIT_PARTS = 3, FDIT_MOST_PREFIX = 64 };

struct fdit_checkpoint {
    struct fdit_safetensors *st; /* one of the two is set */
    struct fdit_pt *pt;
    char prefix[FDIT_MOST_PREFIX]; /* before every name: "", "ema.", "model/", ... */
    bool diffusers;                /* the names of a diffusers DiTTransformer2DModel */
};

/* The tensors that, one behind the other, are the parameter: 1, or 3 for the q, k and v of
 * diffusers, of type, width and order as they lie in the file. 0 when one is missing. */
int fdit_checkpoint_parts(const struct fdit_checkpoint *cp, const char *param,
                          const struct fdit_st_tensor *parts[FDIT_PARTS]);
/* diffusers does not store the position table; it is computed. */
bool fdit_checkpoint_computes(const struct fdit_checkpoint *cp, const char *param);
/* A whole number or text from the dictionary beside the weights ("args/model"). */
bool fdit_checkpoint_text(const struct fdit_checkpoint *cp, const char *name, char *out,
                          size_t size);

#endif
