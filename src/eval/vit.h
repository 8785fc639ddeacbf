/* SPDX-License-Identifier: Apache-2.0
 * vit.h: features of pictures by a vision transformer, on a device.
 *
 *     x = [class, registers, patches W^T + b] + positions (registers have none)
 *     x = LN(x)                                                             CLIP alone
 *     x += s1 * Linear(Attention(Linear(LN1(x))))                           s1, s2: LayerScale, DINOv2 alone
 *     x += s2 * Linear(GELU(Linear(LN2(x)))), or with SwiGLU s2 * Linear(SiLU(a) b), (a, b) = Linear(LN2(x))
 *     features = LN(x[class]), with CLIP times its projection
 *
 * A picture's features have the same bits for any batch and number of threads. */
#ifndef FDIT_EVAL_VIT_H
#define FDIT_EVAL_VIT_H

#include "device/plan.h"
#include "eval/vit_file.h"

/* How DINOv2's table of positions, 37 x 37 in the published files, serves another number of patches n.
 * AUTHORS: torch's bicubic with the step grid / (n + 0.1), which the published features have, for networks
 * without registers; bicubic with antialias and the step grid / n for those with. TRANSFORMERS: without the
 * 0.1, other features by about 1 %. */
enum fdit_vit_positions { FDIT_VIT_AUTHORS, FDIT_VIT_TRANSFORMERS };

struct fdit_vit;

/* Opens `path` (vit_file.h) and plans the memory, which fdit_vit_load takes before it reads the numbers.
 * size: pixels of a side, a multiple of the patch; 0: as many patches as the table
 * has places, which CLIP must have. Works on as many pictures at once as are worth while, at most `batch`. */
enum fdit_status fdit_vit_prepare(fdit_context *ctx, fdit_device *dev, const char *path,
                                  enum fdit_vit_family family, int size, enum fdit_vit_positions positions,
                                  int batch, struct fdit_vit **out);
enum fdit_status fdit_vit_load(fdit_context *ctx, struct fdit_vit *v);
/* Adds what it takes to `plan`. */
enum fdit_status fdit_vit_plan(fdit_context *ctx, const struct fdit_vit *v, struct fdit_plan *plan);
enum fdit_status fdit_vit_open(fdit_context *ctx, fdit_device *dev, const char *path,
                               enum fdit_vit_family family, int size, enum fdit_vit_positions positions,
                               int batch, struct fdit_vit **out); /* both */
void fdit_vit_close(struct fdit_vit *v);                          /* before the device; NULL is allowed */
const struct fdit_vit_config *fdit_vit_config(const struct fdit_vit *v);
int fdit_vit_size(const struct fdit_vit *v);
/* Of all its numbers, whatever the file's format and names. */
uint64_t fdit_vit_hash(const struct fdit_vit *v);
/* Any number of pictures x [n, 3, size, size]; features [n, config.features]. */
enum fdit_status fdit_vit_run(fdit_context *ctx, struct fdit_vit *v, const float *x, size_t n,
                              float *features);

/* The table of positions [1 + n n, D] for n patches on a side, from that of the file. */
enum fdit_status fdit_vit_positions_for(fdit_context *ctx, const struct fdit_vit_config *c,
                                        const float *table, int n, enum fdit_vit_positions positions,
                                        float *out);

#endif
