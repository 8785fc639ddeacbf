/* SPDX-License-Identifier: Apache-2.0
 * init.h: parameters before training. */
#ifndef FDIT_MODEL_INIT_H
#define FDIT_MODEL_INIT_H

#include "model/checkpoint.h"

/* Every parameter of a model from scratch: linear and patch weights Xavier-uniform, biases 0, class
 * table and timestep weights N(0, 0.02), adaLN and the last linear layer 0 (a classifier's last layer
 * N(0, 0.02)), norms 1 and 0, the sine-cosine position table. A function of `seed` and the names. */
enum fdit_status fdit_model_init(fdit_context *ctx, struct fdit_model *model, uint64_t seed);

/* The parameters of adapters and of a guidance input that `start` (a delta to begin from; NULL: none) does
 * not hold, so that at first they change nothing: A uniform in +- 1/sqrt(n_in), B zero, as PEFT does; gammas
 * 1; the guidance's first layer uniform in +-1, its second zero. A function of `seed` and the names. */
enum fdit_status fdit_model_init_adapters(fdit_context *ctx, struct fdit_model *model,
                                          const struct fdit_checkpoint *start, uint64_t seed);

/* How the rows of a new class table start. */
enum fdit_class_table_init {
    FDIT_TABLE_NORMAL, /* N(0, 0.02) */
    FDIT_TABLE_BASE,   /* N(mean, spread) of each column of the base's table */
    FDIT_TABLE_NAMES,  /* the base's rows of the same names: train/class_table.h */
};
/* Vectors v from outside that the first rows start as, row c as v = vectors [.., width] at[c]: v Z with a
 * random matrix Z [width, D], whose row k is the start of row k of a table without vectors. So the
 * rows of unit vectors are as far apart as the vectors are (Johnson and Lindenstrauss 1984), and the identity
 * gives the table that there is without vectors, to the bit. */
struct fdit_row_vectors {
    const float *vectors; /* of length 1 unless plain */
    int width;
    const int32_t *at; /* [classes] */
    int32_t classes;
    bool plain; /* row c is v itself; width is D */
};
/* The class table alone; base is read for FDIT_TABLE_BASE only. from NULL: no row is of a vector. */
enum fdit_status fdit_model_init_table(fdit_context *ctx, struct fdit_model *model,
                                       enum fdit_class_table_init how, struct fdit_checkpoint *base,
                                       uint64_t seed, const struct fdit_row_vectors *from);
/* With config.class_vectors: the map's weight [D, d] as Z^T of fdit_row_vectors and its bias so that classes
 * start as fdit_model_init_table has them for the same vectors, their own rows at 0, and all other rows as
 * there. keep: the map has its numbers, from a file. */
enum fdit_status fdit_model_init_class_map(fdit_context *ctx, struct fdit_model *model,
                                           enum fdit_class_table_init how, struct fdit_checkpoint *base,
                                           uint64_t seed, int32_t classes, bool keep);

#endif
