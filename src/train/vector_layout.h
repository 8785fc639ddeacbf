/* SPDX-License-Identifier: Apache-2.0
 * vector_layout.h: where the trained numbers of a model stand in the one vector that devices exchange. Groups
 * (params.h) stand in the order in which the backward pass ends with their gradients: the final layer, the
 * blocks from the last to the first, then what the input goes through. So the vector is ready from its
 * beginning on, piece after piece, while the pass goes on (overlap.h). */
#ifndef FDIT_TRAIN_VECTOR_LAYOUT_H
#define FDIT_TRAIN_VECTOR_LAYOUT_H

#include "model/model.h"

struct fdit_vector_layout {
    int n;         /* groups */
    int *group;    /* [n] */
    size_t *first; /* [n + 1] where each begins; the last is the length of the vector */
    int pieces;    /* of whole groups */
    int *last;     /* [pieces] the place of the last group of each */
    size_t *ends;  /* [pieces] where each ends in the vector */
};

/* All groups with trained parameters but `without` (-1: none), with what aligns the tensors, in pieces of at
 * least `least` numbers each, but for the last. Free with fdit_vector_layout_fini. */
enum fdit_status fdit_vector_layout_init(fdit_context *ctx, const struct fdit_model *model, int without,
                                         size_t least, struct fdit_vector_layout *out);
void fdit_vector_layout_fini(struct fdit_vector_layout *layout);
size_t fdit_vector_layout_length(const struct fdit_vector_layout *layout);

#endif
