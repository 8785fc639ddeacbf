/* SPDX-License-Identifier: Apache-2.0
 * preview.h: a few pictures from the weights in training, RUN/previews/step-N.png. */
#ifndef FDIT_TRAIN_PREVIEW_H
#define FDIT_TRAIN_PREVIEW_H

#include "eval/drawing.h"
#include "sample/painter.h"

struct fdit_preview;

/* For a model on pixels (1 or 3 channels), vae NULL, or on latents, which the vae decodes (it must
 * outlive this); before fdit_model_allocate. guide: a superclass, an empty row, or none. */
enum fdit_status fdit_preview_new(fdit_context *ctx, struct fdit_model *model, struct fdit_vae *vae,
                                  const struct fdit_taxonomy *taxonomy, const struct fdit_guide *guide,
                                  double guidance, struct fdit_preview **out);
void fdit_preview_bind(struct fdit_preview *p);
void fdit_preview_free(struct fdit_preview *p);          /* before the model; NULL is allowed */
int fdit_preview_pictures(const struct fdit_preview *p); /* on a sheet */
/* n pictures as the sheets have them, spread evenly over the classes, class after class, each with seeds from
 * 0: to be measured. *out belongs to p. */
void fdit_preview_drawing(struct fdit_preview *p, size_t n, struct fdit_drawing *out);
/* Whoever draws from it after steps of training calls this first: the weights are others. */
void fdit_preview_forget(struct fdit_preview *p);
/* Samples with the EMA values and writes the sheet, which names the step; counts its pictures for the phase
 * that its caller began. *png (from fdit_alloc) are the file's bytes. FDIT_ERROR_IO: only the file could
 * not be written. */
enum fdit_status fdit_preview_write(fdit_context *ctx, struct fdit_preview *p, int64_t step, const char *path,
                                    int *width, int *height, uint8_t **png, size_t *bytes);

#endif
