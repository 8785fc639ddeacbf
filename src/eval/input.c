/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/input.h"

#include "picture/resize.h"
#include "picture/resize_float.h"

#include <string.h>

#define IMAGENET                \
    { 0.485f, 0.456f, 0.406f }, \
    {                           \
        0.229f, 0.224f, 0.225f  \
    }
#define SAME(x) \
    {           \
        x, x, x \
    }

const struct fdit_net_input fdit_input_fit = { FDIT_INPUT_FIT, 255, SAME(0.5f), SAME(0.5f) };
const struct fdit_net_input fdit_input_pytorch_fid = { FDIT_INPUT_TORCH, 255, SAME(0.5f), SAME(0.5f) };
const struct fdit_net_input fdit_input_torch_fidelity = { FDIT_INPUT_TF1, 1, SAME(128), SAME(128) };
const struct fdit_net_input fdit_input_clean_fid = { FDIT_INPUT_CLEAN, 1, SAME(128), SAME(128) };
const struct fdit_net_input fdit_input_dino = { FDIT_INPUT_PILLOW, 255, IMAGENET };
const struct fdit_net_input fdit_input_dino_clean = { FDIT_INPUT_CLEAN, 255, IMAGENET };
const struct fdit_net_input fdit_input_dino_tf = { FDIT_INPUT_TF1, 255, IMAGENET };
const struct fdit_net_input fdit_input_dino_crop = { FDIT_INPUT_CROP, 255, IMAGENET };
const struct fdit_net_input fdit_input_dino_hf = { FDIT_INPUT_CROP_DOWN, 255, IMAGENET };
const struct fdit_net_input fdit_input_clip = { FDIT_INPUT_MIDDLE,
                                                255,
                                                { 0.48145466f, 0.4578275f, 0.40821073f },
                                                { 0.26862954f, 0.26130258f, 0.27577711f } };

/* side x side pixels from (left, top), as a copy. */
static enum fdit_status cut(fdit_context *ctx, const struct fdit_picture *in, int side, int left, int top,
                            struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    size_t pixel = (size_t)in->channels, n = (size_t)side * pixel, width = (size_t)in->width;
    TRY(fdit_picture_new(ctx, side, side, in->channels, out));
    for (size_t y = 0; y < (size_t)side; y++)
        memcpy(out->pixels + y * n, in->pixels + (((size_t)top + y) * width + (size_t)left) * pixel, n);
out:
    return status;
}

static enum fdit_status middle(fdit_context *ctx, const struct fdit_picture *in, int size,
                               struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    int side = in->width < in->height ? in->width : in->height;
    struct fdit_picture square = { 0 };
    TRY(cut(ctx, in, side, (in->width - side) / 2, (in->height - side) / 2, &square));
    TRY(fdit_picture_resize(ctx, &square, FDIT_FILTER_BICUBIC, size, size, out));
out:
    fdit_picture_fini(&square);
    return status;
}

/* Half of n, rounded down or, where `even`, to the even number of two that are as near. */
static int half(int n, bool even)
{
    return n / 2 + (even && n % 4 == 3);
}

static enum fdit_status crop(fdit_context *ctx, const struct fdit_picture *in, int size, bool even,
                             struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    int64_t w = in->width, h = in->height, shorter = w < h ? w : h, to = (int64_t)size * 8 / 7;
    int64_t width = to * w / shorter, height = to * h / shorter;
    struct fdit_picture sized = { 0 };
    if (width * height > (int64_t)FDIT_PICTURE_MAX_PIXELS)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "a picture of %d x %d is too narrow for a square of %d pixels",
             in->width, in->height, size);
    TRY(fdit_picture_resize(ctx, in, FDIT_FILTER_BICUBIC, (int)width, (int)height, &sized));
    TRY(cut(ctx, &sized, size, half((int)width - size, even), half((int)height - size, even), out));
out:
    fdit_picture_fini(&sized);
    return status;
}

/* Bytes to planes of floats. */
static void spread(const struct fdit_picture *p, float divisor, float *out)
{
    size_t plane = (size_t)p->width * (size_t)p->height, channels = (size_t)p->channels;
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < plane; i++)
            *out++ = (float)p->pixels[i * channels + c] / divisor;
}

static enum fdit_status fill_bytes(fdit_context *ctx, const struct fdit_net_input *input,
                                   const struct fdit_picture *picture, int size, float *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture sized = { 0 };
    if (input->resize == FDIT_INPUT_MIDDLE)
        TRY(middle(ctx, picture, size, &sized));
    else if (input->resize == FDIT_INPUT_PILLOW)
        TRY(fdit_picture_resize(ctx, picture, FDIT_FILTER_BICUBIC, size, size, &sized));
    else
        TRY(crop(ctx, picture, size, input->resize == FDIT_INPUT_CROP, &sized));
    spread(&sized, input->divisor, out);
out:
    fdit_picture_fini(&sized);
    return status;
}

/* Three channels of the one, as the published programs have it (Pillow's convert("RGB")). */
static enum fdit_status colour(fdit_context *ctx, const struct fdit_picture *grey, struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    size_t pixels = (size_t)grey->width * (size_t)grey->height;
    TRY(fdit_picture_new(ctx, grey->width, grey->height, 3, out));
    for (size_t i = 0; i < 3 * pixels; i++)
        out->pixels[i] = grey->pixels[i / 3];
out:
    return status;
}

enum fdit_status fdit_input_fill(fdit_context *ctx, const struct fdit_net_input *input,
                                 const struct fdit_picture *picture, int size, float *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture coloured = { 0 };
    static const enum fdit_float_filter filters[] = { [FDIT_INPUT_TORCH] = FDIT_FLOAT_TORCH,
                                                      [FDIT_INPUT_TF1] = FDIT_FLOAT_TF1,
                                                      [FDIT_INPUT_CLEAN] = FDIT_FLOAT_PILLOW };
    size_t plane = (size_t)size * (size_t)size;
    if (picture->channels == 1) {
        TRY(colour(ctx, picture, &coloured));
        picture = &coloured;
    }
    if (input->resize >= FDIT_INPUT_PILLOW)
        TRY(fill_bytes(ctx, input, picture, size, out));
    else
        TRY(fdit_picture_resize_float(ctx, picture, filters[input->resize], input->divisor, size, size, out));
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < plane; i++)
            out[c * plane + i] = (out[c * plane + i] - input->mean[c]) / input->deviation[c];
out:
    fdit_picture_fini(&coloured);
    return status;
}
