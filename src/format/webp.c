/* SPDX-License-Identifier: Apache-2.0
 * libwebp decodes single pictures; the demultiplexer beside it finds the first frame of an
 * animation. */
#include "format/webp.h"

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
        return fdit_fail(ctx, FDIT_ERROR_MEMORY, "%s: out of memory while reading the picture",
                         name);
    bool cut_off = code == VP8_STATUS_SUSPENDED || code == VP8_STATUS_NOT_ENOUGH_DATA;
    return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                     "%s: the WebP picture of %zu bytes is %s (%s); get it again or remove it",
                     name, n, cut_off ? "cut off" : "damaged", reason_of(code));
}

static enum fdit_status read_header(fdit_context *ctx, const uint8_t *bytes, size_t n,
                                    const char *name, WebPBitstreamFeatures *f)
{
    VP8StatusCode code = WebPGetFeatures(bytes, n, f);
    if (code != VP8_STATUS_OK)
        return refuse(ctx, name, n, code);
    if (f->width < 1 || f->height < 1)
        return refuse(ctx, name, n, VP8_STATUS_BITSTREAM_ERROR);
    if ((uint64_t)f->width * (uint64_t)f->height > FDIT_PICTURE_MAX_PIXELS)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: %d x %d are more than 2^28 pixels; make the picture smaller", name,
                         f->width, f->height);
    return FDIT_OK;
}

/* One frame's bit stream to RGB at `to`, rows of row_bytes. */
static VP8StatusCode decode_frame(const uint8_t *bytes, size_t n, int width, int height,
                                  uint8_t *to, size_t row_bytes)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return VP8_STATUS_INVALID_PARAM;
    VP8StatusCode code = WebPGetFeatures(bytes, n, &config.input);
    if (code != VP8_STATUS_OK)
        return code;
    if (config.input.width != width || config.input.height != height)
        return VP8_STATUS_BITSTREAM_ERROR;
    config.output.colorspace = MODE_RGB; /* alpha is dropped, not blended */
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = to;
    config.output.u.RGBA.stride = (int)row_bytes;
    config.output.u.RGBA.size = row_bytes * (size_t)(height - 1) + 3 * (size_t)width;
    code = WebPDecode(bytes, n, &config);
    WebPFreeDecBuffer(&config.output);
    return code;
}

static VP8StatusCode decode_first(const uint8_t *bytes, size_t n, struct fdit_picture *p)
{
    VP8StatusCode code = VP8_STATUS_BITSTREAM_ERROR;
    WebPData data = { .bytes = bytes, .size = n };
    WebPDemuxState state;
    /* a cut-off animation is read as far as its first frame, which must be whole */
    WebPDemuxer *demuxer = WebPDemuxPartial(&data, &state);
    WebPIterator frame;
    memset(&frame, 0, sizeof frame);
    if (!demuxer)
        return state == WEBP_DEMUX_PARSE_ERROR ? VP8_STATUS_BITSTREAM_ERROR
                                               : VP8_STATUS_NOT_ENOUGH_DATA;
    if (WebPDemuxGetFrame(demuxer, 1, &frame)) {
        size_t row_bytes = 3 * (size_t)p->width;
        bool inside = frame.x_offset >= 0 && frame.y_offset >= 0 && frame.width > 0 &&
                      frame.height > 0 && frame.width <= p->width - frame.x_offset &&
                      frame.height <= p->height - frame.y_offset;
        if (!frame.complete)
            code = VP8_STATUS_NOT_ENOUGH_DATA;
        else if (inside)
            code = decode_frame(
                frame.fragment.bytes, frame.fragment.size, frame.width, frame.height,
                p->pixels + (size_t)frame.y_offset * row_bytes + 3 * (size_t)frame.x_offset,
                row_bytes);
        WebPDemuxReleaseIterator(&frame);
    } else if (state != WEBP_DEMUX_DONE) {
        code = VP8_STATUS_NOT_ENOUGH_DATA;
    }
    WebPDemuxDelete(demuxer);
    return code;
}

enum fdit_status fdit_webp_decode(fdit_context *ctx, const uint8_t *bytes, size_t n,
                                  const char *name, struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    WebPBitstreamFeatures f;
    VP8StatusCode code;
    memset(out, 0, sizeof *out);
    TRY(read_header(ctx, bytes, n, name, &f));
    TRY(fdit_picture_new(ctx, f.width, f.height, 3, out));
    code = f.has_animation
               ? decode_first(bytes, n, out)
               : decode_frame(bytes, n, f.width, f.height, out->pixels, 3 * (size_t)f.width);
    if (code != VP8_STATUS_OK)
        TRY(refuse(ctx, name, n, code));
out:
    if (status != FDIT_OK)
        fdit_picture_fini(out);
    return status;
}

enum fdit_status fdit_webp_size(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                int *width, int *height)
{
    WebPBitstreamFeatures f;
    enum fdit_status status = read_header(ctx, bytes, n, name, &f);
    if (status == FDIT_OK) {
        *width = f.width;
        *height = f.height;
    }
    return status;
}

#else

static enum fdit_status refuse(fdit_context *ctx, const char *name)
{
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                     "%s: is WebP, and this program was built without libwebp; install its headers "
                     "and run configure again, or convert the pictures to PNG",
                     name);
}

enum fdit_status fdit_webp_decode(fdit_context *ctx, const uint8_t *bytes, size_t n,
                                  const char *name, struct fdit_picture *out)
{
    (void)bytes;
    (void)n;
    *out = (struct fdit_picture){ 0 };
    return refuse(ctx, name);
}

enum fdit_status fdit_webp_size(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                int *width, int *height)
{
    (void)bytes;
    (void)n;
    *width = *height = 0;
    return refuse(ctx, name);
}

#endif
