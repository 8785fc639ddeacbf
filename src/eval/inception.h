/* SPDX-License-Identifier: Apache-2.0
 * inception.h: the Inception-v3 of 2015-12-05, whose features FID, sFID and the Inception score are made of.
 *
 * Files: pytorch-fid's pt_inception-2015-12-05-*.pth and torch-fidelity's
 * weights-inception-2015-12-05-*.pth (names as Mixed_5b.branch1x1.conv.weight), and NVIDIA's TorchScript
 * inception-2015-12-05.pt, which clean-fid takes too (names as layers.mixed.conv.weight; its tensors alone
 * are read). The sizes are the tensors', so smaller networks of this structure do as well. Batch norms (eps
 * 0.001) are folded into the weights. */
#ifndef FDIT_EVAL_INCEPTION_H
#define FDIT_EVAL_INCEPTION_H

#include "device/device.h"
#include "device/plan.h"

enum { FDIT_INCEPTION_SIZE = 299, FDIT_INCEPTION_SPATIAL = 7 };

struct fdit_inception;

/* Opens a file and plans the memory; a wrong one, or one that lacks a tensor, is FDIT_ERROR_FORMAT with what
 * was expected. batch: so many pictures are usually given at once; as many as help are computed together,
 * where there are `memory` bytes (0: what the device has). fdit_inception_load takes the memory and reads the
 * numbers. */
enum fdit_status fdit_inception_prepare(fdit_context *ctx, fdit_device *dev, const char *path, int batch,
                                        size_t memory, struct fdit_inception **out);
enum fdit_status fdit_inception_load(fdit_context *ctx, struct fdit_inception *self);
enum fdit_status fdit_inception_open(fdit_context *ctx, fdit_device *dev, const char *path, int batch,
                                     struct fdit_inception **out); /* both */
void fdit_inception_close(struct fdit_inception *self);            /* before the device; NULL is allowed */
size_t fdit_inception_width(const struct fdit_inception *self);    /* features: 2048 */
size_t fdit_inception_classes(const struct fdit_inception *self);  /* 1008 */
size_t fdit_inception_spatial(const struct fdit_inception *self);  /* 17 x 17 x 7 */
uint64_t fdit_inception_hash(const struct fdit_inception *self);   /* of its folded numbers */
/* Adds what it takes to `plan`. */
enum fdit_status fdit_inception_plan(fdit_context *ctx, const struct fdit_inception *self,
                                     struct fdit_plan *plan);
/* Of n pictures x [n, 3, 299, 299], about -1..1. Each may be NULL:
 *   features [n, width]     the mean of the last pictures
 *   logits [n, classes]     without the bias of the last layer, as the Inception score takes them
 *   spatial [n, spatial]    the first 7 channels of Mixed_6d.branch1x1: row, column, channel */
enum fdit_status fdit_inception_run(fdit_context *ctx, struct fdit_inception *self, const float *x, size_t n,
                                    float *features, float *logits, float *spatial);

#endif
