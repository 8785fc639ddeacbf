/* SPDX-License-Identifier: Apache-2.0
 * input.h: how a picture becomes what a feature network takes. Each network was published with its own way,
 * and features of another way are other numbers. */
#ifndef FDIT_EVAL_INPUT_H
#define FDIT_EVAL_INPUT_H

#include "picture/picture.h"

enum fdit_input_resize {
    FDIT_INPUT_FIT,    /* cut or padded to a square as in training (picture/resize.h) */
    FDIT_INPUT_TORCH,  /* the whole picture, its shape not kept: picture/resize_float.h */
    FDIT_INPUT_TF1,    /* likewise */
    FDIT_INPUT_CLEAN,  /* likewise: Pillow's bicubic in floats */
    FDIT_INPUT_PILLOW, /* likewise, Pillow's bicubic in bytes */
    FDIT_INPUT_MIDDLE, /* the same of the square in the middle: min(side), offsets rounded down */
    FDIT_INPUT_CROP,   /* Pillow's bicubic in bytes to a shorter side of 8 size / 7, the longer rounded down;
                        * then the middle: offsets rounded half to even, as torchvision */
    FDIT_INPUT_CROP_DOWN, /* the same with offsets rounded down, as transformers */
};

/* Then x = (v / divisor - mean[c]) / deviation[c], each operation in float32. FDIT_INPUT_FIT has
 * (v / 255 - 0.5) / 0.5. */
struct fdit_net_input {
    enum fdit_input_resize resize;
    float divisor, mean[3], deviation[3];
};
extern const struct fdit_net_input fdit_input_fit;            /* networks of this program */
extern const struct fdit_net_input fdit_input_pytorch_fid;    /* -1..1 */
extern const struct fdit_net_input fdit_input_torch_fidelity; /* (v - 128) / 128 */
extern const struct fdit_net_input fdit_input_clean_fid;      /* likewise */
extern const struct fdit_net_input fdit_input_dino; /* dgm-eval's: bytes, ImageNet's mean and deviation */
extern const struct fdit_net_input fdit_input_dino_clean; /* the same of CLEAN */
extern const struct fdit_net_input fdit_input_dino_tf;    /* of TF1, as torch-fidelity has it */
extern const struct fdit_net_input fdit_input_dino_crop;  /* of CROP: its authors' evaluation */
extern const struct fdit_net_input fdit_input_dino_hf;    /* of CROP_DOWN: transformers' */
extern const struct fdit_net_input fdit_input_clip; /* cmmd-pytorch's: MIDDLE, CLIP's mean and deviation */

/* out [3, size, size] of a picture in colour. Not for FDIT_INPUT_FIT, which the data set does while it
 * decodes. */
enum fdit_status fdit_input_fill(fdit_context *ctx, const struct fdit_net_input *input,
                                 const struct fdit_picture *picture, int size, float *out);

#endif
