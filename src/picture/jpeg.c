/* SPDX-License-Identifier: Apache-2.0
 * libjpeg reports errors through a callback that must not return: it jumps back, see png.c. */
#include "picture/jpeg.h"

#include "core/mem.h"

bool fdit_jpeg_available(void)
{
#ifdef HAVE_JPEG
    return true;
#else
    return false;
#endif
}

#ifdef HAVE_JPEG

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#define MAX_SCANS 500 /* a progressive file of a few bytes can ask for any number of passes */

struct decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    struct jpeg_source_mgr source;
    jmp_buf back;
    fdit_context *ctx;
    const char *name;
    const struct fdit_row_sink *sink;
    enum fdit_status status; /* of the sink */
    size_t n;
    bool ended, cut_off, no_memory, unsupported;
    uint8_t *cmyk; /* one row */
    char reason[JMSG_LENGTH_MAX];
};

static void on_error(j_common_ptr jpeg)
{
    struct decoder *d = jpeg->client_data;
    int code = jpeg->err->msg_code;
    jpeg->err->format_message(jpeg, d->reason);
    d->no_memory = code == JERR_OUT_OF_MEMORY;
    d->unsupported = code == JERR_BAD_PRECISION || code == JERR_SOF_UNSUPPORTED ||
                     code == JERR_CONVERSION_NOTIMPL || code == JERR_ARITH_NOTIMPL ||
                     code == JERR_COMPONENT_COUNT || code == JERR_CCIR601_NOTIMPL;
    longjmp(d->back, 1);
}

static void cut_off(struct decoder *d)
{
    d->cut_off = true;
    snprintf(d->reason, sizeof d->reason, "ends too early");
    longjmp(d->back, 1);
}

/* Warnings about odd data: decoded as far as it goes, like everybody does; but not what is missing.
 */
static void on_message(j_common_ptr jpeg, int level)
{
    struct decoder *d = jpeg->client_data;
    if (level < 0 && d->ended && jpeg->err->msg_code == JWRN_HIT_MARKER)
        cut_off(d);
}

static void on_progress(j_common_ptr jpeg)
{
    struct decoder *d = jpeg->client_data;
    if (d->jpeg.input_scan_number > MAX_SCANS) {
        snprintf(d->reason, sizeof d->reason, "more than %d scans", MAX_SCANS);
        longjmp(d->back, 1);
    }
}

static void on_source(j_decompress_ptr jpeg)
{
    (void)jpeg;
}

/* All bytes are in memory: being asked for more means that they end too early, or that only the
 * mark of the end is missing, which is then put there; whoever misses pixels says so. */
static boolean on_fill(j_decompress_ptr jpeg)
{
    static const JOCTET end[2] = { 0xff, JPEG_EOI };
    struct decoder *d = jpeg->client_data;
    if (d->ended || jpeg->global_state < 202 /* in the header */)
        cut_off(d);
    d->ended = true;
    jpeg->src->next_input_byte = end;
    jpeg->src->bytes_in_buffer = sizeof end;
    return TRUE;
}

static void on_skip(j_decompress_ptr jpeg, long n)
{
    if (n <= 0)
        return;
    if ((unsigned long)n > jpeg->src->bytes_in_buffer)
        cut_off(jpeg->client_data);
    jpeg->src->next_input_byte += n;
    jpeg->src->bytes_in_buffer -= (size_t)n;
}

static void open_decoder(struct decoder *d, const uint8_t *bytes)
{
    d->jpeg.err = jpeg_std_error(&d->errors);
    d->errors.error_exit = on_error;
    d->errors.emit_message = on_message;
    d->jpeg.client_data = d;
    d->source = (struct jpeg_source_mgr){ .next_input_byte = bytes,
                                          .bytes_in_buffer = d->n,
                                          .init_source = on_source,
                                          .fill_input_buffer = on_fill,
                                          .skip_input_data = on_skip,
                                          .resync_to_restart = jpeg_resync_to_restart,
                                          .term_source = on_source };
    d->progress.progress_monitor = on_progress;
}

static bool read_header(struct decoder *d)
{
    if (setjmp(d->back))
        return false;
    jpeg_create_decompress(&d->jpeg); /* zeroes all but err and client_data */
    d->jpeg.src = &d->source;
    d->jpeg.progress = &d->progress;
    jpeg_read_header(&d->jpeg, TRUE);
    return true;
}

/* Of a file without its end in several scans: whether each of them was there. */
static bool whole(const struct decoder *d)
{
    if (!d->jpeg.coef_bits)
        return false;
    for (int c = 0; c < d->jpeg.num_components; c++)
        for (int k = 0; k < DCTSIZE2; k++)
            if (d->jpeg.coef_bits[c][k] != 0)
                return false;
    return true;
}

static bool start(struct decoder *d)
{
    if (setjmp(d->back))
        return false;
    bool four = d->jpeg.jpeg_color_space == JCS_CMYK || d->jpeg.jpeg_color_space == JCS_YCCK;
    d->jpeg.out_color_space = four ? JCS_CMYK : JCS_RGB; /* grey becomes RGB, too */
    d->jpeg.dct_method = JDCT_ISLOW;
    jpeg_start_decompress(&d->jpeg);
    if (d->ended && jpeg_has_multiple_scans(&d->jpeg) && !whole(d))
        cut_off(d);
    return true;
}

static uint8_t times(unsigned a, unsigned b)
{
    unsigned t = a * b + 128;
    return (uint8_t)((t + (t >> 8)) >> 8); /* a b / 255 rounded */
}

/* The files hold 255 - ink, as Adobe writes them; those without its mark are read the same way by
 * everybody. */
static void to_rgb(const struct decoder *d, uint8_t *out)
{
    const uint8_t *in = d->cmyk;
    for (unsigned x = 0; x < d->jpeg.output_width; x++, in += 4, out += 3)
        for (int c = 0; c < 3; c++)
            out[c] = (uint8_t)(in[3] - times(255u - in[c], in[3]));
}

static bool read_rows(struct decoder *d)
{
    if (setjmp(d->back))
        return false;
    while (d->jpeg.output_scanline < d->jpeg.output_height) {
        int y = (int)d->jpeg.output_scanline;
        uint8_t *out = d->sink->row(d->sink->self, y);
        JSAMPROW at = d->cmyk ? d->cmyk : out;
        jpeg_read_scanlines(&d->jpeg, &at, 1);
        if (d->cmyk)
            to_rgb(d, out);
        d->status = d->sink->done(d->sink->self, y);
        if (d->status != FDIT_OK)
            return false;
    }
    return true;
}

static enum fdit_status refuse(const struct decoder *d)
{
    if (d->status != FDIT_OK)
        return d->status;
    if (d->no_memory)
        return fdit_fail(d->ctx, FDIT_ERROR_MEMORY, "out of memory in libjpeg");
    if (d->unsupported)
        return fdit_fail(d->ctx, FDIT_ERROR_UNSUPPORTED,
                         "%s: is a kind of JPEG that libjpeg does not read (%s); "
                         "convert it to PNG",
                         d->name, d->reason);
    return fdit_fail(d->ctx, FDIT_ERROR_FORMAT,
                     "%s: the JPEG picture of %zu bytes is %s (%s); get "
                     "it again or remove it",
                     d->name, d->n, d->cut_off ? "cut off" : "damaged", d->reason);
}

enum fdit_status fdit_jpeg_decode(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                  const struct fdit_row_sink *sink)
{
    enum fdit_status status = FDIT_OK;
    struct decoder d = { .ctx = ctx, .name = name, .sink = sink, .n = n };
    const size_t much = 4 << 20; /* pixels */
    bool whole = false;          /* all coefficients are held, which a picture of several scans needs */
    open_decoder(&d, bytes);
    if (!read_header(&d) || !start(&d))
        TRY(refuse(&d));
    whole = jpeg_has_multiple_scans(&d.jpeg);
    TRY(sink->begin(sink->self, (int)d.jpeg.output_width, (int)d.jpeg.output_height));
    if (d.jpeg.output_components == 4)
        TRY(fdit_alloc(ctx, d.jpeg.output_width, 4, &d.cmyk));
    if (!read_rows(&d))
        TRY(refuse(&d));
out:
    whole = whole && (size_t)d.jpeg.image_width * d.jpeg.image_height > much;
    jpeg_destroy_decompress(&d.jpeg);
    fdit_free(d.cmyk);
    if (whole) /* else every thread keeps as much for its next picture */
        fdit_mem_trim();
    return status;
}

#else

enum fdit_status fdit_jpeg_decode(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                  const struct fdit_row_sink *sink)
{
    (void)bytes;
    (void)n;
    (void)sink;
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                     "%s: is JPEG, and this program was built without "
                     "libjpeg; install libjpeg-turbo's headers and run configure again, or convert "
                     "the pictures to PNG",
                     name);
}

#endif
