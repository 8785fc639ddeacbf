/* SPDX-License-Identifier: Apache-2.0
 * libwebp decodes single pictures; the demultiplexer beside it finds the first frame of an
 * animation. */
#include "picture/webp.h"

#include "core/mem.h"

bool fdit_webp_available(void)
{
#ifdef HAVE_WEBP
    return true;
#else
    return false;
#endif
}

#ifdef HAVE_WEBP

#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>

static const char *reason_of(VP8StatusCode code)
{
    switch (code) {
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA: return "it ends too early";
    case VP8_STATUS_UNSUPPORTED_FEATURE: return "a kind that libwebp does not know";
    default: return "its bit stream is wrong";
    }
}

static enum fdit_status refuse(fdit_context *ctx, const char *name, size_t n, VP8StatusCode code)
{
    if (code == VP8_STATUS_OUT_OF_MEMORY)
        return fdit_fail(ctx, FDIT_ERROR_MEMORY, "out of memory in libwebp");
    bool cut_off = code == VP8_STATUS_SUSPENDED || code == VP8_STATUS_NOT_ENOUGH_DATA;
    return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                     "%s: the WebP picture of %zu bytes is %s (%s); get it again or remove it", name, n,
                     cut_off ? "cut off" : "damaged", reason_of(code));
}

/* Pixels of the canvas: RGB, or RGBA where alpha is to be blended. */
struct canvas {
    int width, height;
    bool alpha;
    size_t row_bytes;
    uint8_t *pixels;
};

/* One frame's bit stream to `to`, inside the canvas. */
static VP8StatusCode decode_frame(const uint8_t *bytes, size_t n, int width, int height,
                                  const struct canvas *canvas, uint8_t *to)
{
    WebPDecoderConfig config;
    size_t pixel = canvas->alpha ? 4 : 3;
    if (!WebPInitDecoderConfig(&config))
        return VP8_STATUS_INVALID_PARAM;
    VP8StatusCode code = WebPGetFeatures(bytes, n, &config.input);
    if (code != VP8_STATUS_OK)
        return code;
    if (config.input.width != width || config.input.height != height)
        return VP8_STATUS_BITSTREAM_ERROR;
    config.output.colorspace = canvas->alpha ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = to;
    config.output.u.RGBA.stride = (int)canvas->row_bytes;
    config.output.u.RGBA.size = canvas->row_bytes * (size_t)(height - 1) + pixel * (size_t)width;
    code = WebPDecode(bytes, n, &config);
    WebPFreeDecBuffer(&config.output);
    return code;
}

static VP8StatusCode decode_first(const uint8_t *bytes, size_t n, const struct canvas *p)
{
    VP8StatusCode code = VP8_STATUS_BITSTREAM_ERROR;
    WebPData data = { .bytes = bytes, .size = n };
    WebPDemuxState state;
    /* a cut-off animation is read as far as its first frame, which must be whole */
    WebPDemuxer *demuxer = WebPDemuxPartial(&data, &state);
    WebPIterator frame;
    memset(&frame, 0, sizeof frame);
    if (!demuxer)
        return state == WEBP_DEMUX_PARSE_ERROR ? VP8_STATUS_BITSTREAM_ERROR : VP8_STATUS_NOT_ENOUGH_DATA;
    if (WebPDemuxGetFrame(demuxer, 1, &frame)) {
        size_t pixel = p->alpha ? 4 : 3;
        bool inside = frame.x_offset >= 0 && frame.y_offset >= 0 && frame.width > 0 && frame.height > 0 &&
                      frame.width <= p->width - frame.x_offset && frame.height <= p->height - frame.y_offset;
        if (!frame.complete)
            code = VP8_STATUS_NOT_ENOUGH_DATA;
        else if (inside)
            code = decode_frame(frame.fragment.bytes, frame.fragment.size, frame.width, frame.height, p,
                                p->pixels + (size_t)frame.y_offset * p->row_bytes +
                                    pixel * (size_t)frame.x_offset);
        WebPDemuxReleaseIterator(&frame);
    } else if (state != WEBP_DEMUX_DONE) {
        code = VP8_STATUS_NOT_ENOUGH_DATA;
    }
    WebPDemuxDelete(demuxer);
    return code;
}

static enum fdit_status give_rows(const struct canvas *p, const struct fdit_picture_rules *rules,
                                  const struct fdit_row_sink *sink)
{
    enum fdit_status status = FDIT_OK;
    TRY(sink->begin(sink->self, p->width, p->height));
    for (int y = 0; y < p->height; y++) {
        const uint8_t *from = p->pixels + (size_t)y * p->row_bytes;
        uint8_t *to = sink->row(sink->self, y);
        if (p->alpha)
            fdit_row_matte(rules, from, (size_t)p->width, to);
        else
            memcpy(to, from, 3 * (size_t)p->width);
        TRY(sink->done(sink->self, y));
    }
out:
    return status;
}

enum fdit_status fdit_webp_decode(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                  const struct fdit_picture_rules *rules, const struct fdit_row_sink *sink)
{
    enum fdit_status status = FDIT_OK;
    WebPBitstreamFeatures f;
    struct canvas p = { .width = 0 };
    VP8StatusCode code = WebPGetFeatures(bytes, n, &f);
    if (code == VP8_STATUS_OK && (f.width < 1 || f.height < 1))
        code = VP8_STATUS_BITSTREAM_ERROR;
    if (code != VP8_STATUS_OK)
        TRY(refuse(ctx, name, n, code));
    p.width = f.width;
    p.height = f.height;
    p.alpha =
        rules->matte && (f.has_alpha || f.has_animation); /* what a frame does not cover is transparent */
    p.row_bytes = (p.alpha ? 4 : 3) * (size_t)f.width;
    TRY(fdit_alloc(ctx, (size_t)f.height, p.row_bytes, &p.pixels));
    code = f.has_animation ? decode_first(bytes, n, &p)
                           : decode_frame(bytes, n, f.width, f.height, &p, p.pixels);
    if (code != VP8_STATUS_OK)
        TRY(refuse(ctx, name, n, code));
    TRY(give_rows(&p, rules, sink));
out:
    fdit_free(p.pixels);
    return status;
}

#else

enum fdit_status fdit_webp_decode(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                  const struct fdit_picture_rules *rules, const struct fdit_row_sink *sink)
{
    (void)bytes;
    (void)n;
    (void)rules;
    (void)sink;
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                     "%s: is WebP, and this program was built without libwebp; install its headers "
                     "and run configure again, or convert the pictures to PNG",
                     name);
}

#endif
