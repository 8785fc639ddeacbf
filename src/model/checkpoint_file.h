/* SPDX-License-Identifier: Apache-2.0
 * checkpoint_file.h: what checkpoint.c and checkpoint_file.c share: the file under a checkpoint,
 * its layout, and which of its tensors make up a parameter. */
#ifndef FDIT_MODEL_CHECKPOINT_FILE_H
#define FDIT_MODEL_CHECKPOINT_FILE_H

#include "format/weights.h"
#include "model/checkpoint.h"

enum { FDIT_PARTS = 3, FDIT_MOST_PREFIX = 512 };

/* A tensor under its name without the marks of wrappers. */
struct fdit_plain_name {
    char *name;
    const struct fdit_st_tensor *tensor;
};

struct fdit_checkpoint {
    struct fdit_weights *weights;
    char prefix[FDIT_MOST_PREFIX];      /* before every name: "", "ema.", "model/", ... */
    char averaged[FDIT_MOST_PREFIX];    /* before names of the averaged weights beside them; "": none */
    bool diffusers;                     /* the names of a diffusers DiTTransformer2DModel */
    const struct fdit_objective *asked; /* NULL: nothing */
    bool firm;                          /* a file that says another one is refused */
    struct fdit_adapter adapter;        /* that the file says it holds */
    bool peft;                          /* the names and the description of PEFT (peft.h) */
    bool ema;                           /* the weights are averaged ones, by their prefix or kind */
    struct fdit_plain_name *plain;      /* by tensor, when a name has such marks; else NULL */
    const struct fdit_plain_name **sorted;
    float *table; /* numbers that stand in place of the class table's; NULL: those of the file */
    const struct fdit_st_tensor *replaced; /* that tensor */
};

/* The name of tensor i without marks that wrappers of a model leave in names. */
const char *fdit_checkpoint_plain_name(const struct fdit_checkpoint *cp, size_t i);
/* Finds out where the weights are: prefix, diffusers, ema. checkpoint_names.c */
enum fdit_status fdit_checkpoint_find_weights(fdit_context *ctx, struct fdit_checkpoint *cp,
                                              enum fdit_values values);
void fdit_checkpoint_free_names(struct fdit_checkpoint *cp);
/* The tensor of that name without marks, prefix included; NULL: none. */
const struct fdit_st_tensor *fdit_checkpoint_tensor(const struct fdit_checkpoint *cp, const char *name);

/* The tensors that, one behind the other, are the parameter: 1, or 3 for the q, k and v of
 * diffusers, of type, width and order as they lie in the file. 0 when one is missing. */
int fdit_checkpoint_parts(const struct fdit_checkpoint *cp, const char *param,
                          const struct fdit_st_tensor *parts[FDIT_PARTS]);
/* Tensor i of the weights is of REPA's side loss, which only training there has. */
bool fdit_checkpoint_left_out(const struct fdit_checkpoint *cp, size_t i);
/* diffusers does not store the position table; it is computed. */
bool fdit_checkpoint_computes(const struct fdit_checkpoint *cp, const char *param);
/* A whole number or text from the dictionary beside the weights ("args/model"). */
bool fdit_checkpoint_text(const struct fdit_checkpoint *cp, const char *name, char *out, size_t size);

#endif
