/* SPDX-License-Identifier: Apache-2.0
 * libjpeg reports errors through a callback that must not return: it jumps back, see png.c. */
#include "format/jpeg.h"

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

#define MAX_SCANS 500 /* a progressive file of a few bytes can ask for any number of passes */

struct decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    struct jpeg_source_mgr source;
    jmp_buf back;
    fdit_context *ctx;
    const char *name;
    size_t n;
    bool cut_off;
    struct fdit_picture picture;
    uint8_t *cmyk; /* one row */
    char reason[JMSG_LENGTH_MAX];
};

static void on_error(j_common_ptr jpeg)
{
    struct decoder *d = jpeg->client_data;
    jpeg->err->format_message(jpeg, d->reason);
    longjmp(d->back, 1);
}

static void on_message(j_common_ptr jpeg, int level)
{
    (void)jpeg;
    (void)level; /* warnings about odd data: decoded as far as it goes, like everybody does */
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

/* All bytes are in memory: being asked for more means that they end too early. */
static boolean on_fill(j_decompress_ptr jpeg)
{
    struct decoder *d = jpeg->client_data;
    d->cut_off = true;
    snprintf(d->reason, sizeof d->reason, "ends too early");
    longjmp(d->back, 1);
}

static void on_skip(j_decompress_ptr jpeg, long n)
{
    if (n <= 0)
        return;
    if ((unsigned long)n > jpeg->src->bytes_in_buffer)
        on_fill(jpeg);
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

static bool start(struct decoder *d)
{
    if (setjmp(d->back))
        return false;
    bool four = d->jpeg.jpeg_color_space == JCS_CMYK || d->jpeg.jpeg_color_space == JCS_YCCK;
    d->jpeg.out_color_space = four ? JCS_CMYK : JCS_RGB; /* grey becomes RGB, too */
    d->jpeg.dct_method = JDCT_ISLOW;
    jpeg_start_decompress(&d->jpeg);
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
    for (int x = 0; x < d->picture.width; x++, in += 4, out += 3)
        for (int c = 0; c < 3; c++)
            out[c] = (uint8_t)(in[3] - times(255u - in[c], in[3]));
}

static bool read_rows(struct decoder *d)
{
    if (setjmp(d->back))
        return false;
    size_t row = 3 * (size_t)d->picture.width;
    while (d->jpeg.output_scanline < d->jpeg.output_height) {
        uint8_t *out = d->picture.pixels + d->jpeg.output_scanline * row;
        JSAMPROW at = d->cmyk ? d->cmyk : out;
        jpeg_read_scanlines(&d->jpeg, &at, 1);
        if (d->cmyk)
            to_rgb(d, out);
    }
    return true;
}

static enum fdit_status refuse(const struct decoder *d)
{
    return fdit_fail(d->ctx, FDIT_ERROR_FORMAT, "%s: the JPEG picture of %zu bytes is %s (%s); get "
                     "it again or remove it", d->name, d->n, d->cut_off ? "cut off" : "damaged",
                     d->reason);
}

static enum fdit_status begin(struct decoder *d, const uint8_t *bytes)
{
    open_decoder(d, bytes);
    if (!read_header(d))
        return refuse(d);
    if ((uint64_t)d->jpeg.image_width * d->jpeg.image_height > FDIT_PICTURE_MAX_PIXELS)
        return fdit_fail(d->ctx, FDIT_ERROR_FORMAT, "%s: %u x %u are more than 2^28 pixels; make the "
                         "picture smaller", d->name, d->jpeg.image_width, d->jpeg.image_height);
    return FDIT_OK;
}

static void close_decoder(struct decoder *d)
{
    jpeg_destroy_decompress(&d->jpeg);
    fdit_free(d->cmyk);
    fdit_picture_fini(&d->picture);
}

enum fdit_status fdit_jpeg_decode(fdit_context *ctx, const uint8_t *bytes, size_t n,
                                  const char *name, struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    struct decoder d = { .ctx = ctx, .name = name, .n = n };
    memset(out, 0, sizeof *out);
    TRY(begin(&d, bytes));
    if (!start(&d))
        TRY(refuse(&d));
    TRY(fdit_picture_new(ctx, (int)d.jpeg.output_width, (int)d.jpeg.output_height, 3, &d.picture));
    if (d.jpeg.output_components == 4)
        TRY(fdit_alloc(ctx, d.jpeg.output_width, 4, &d.cmyk));
    if (!read_rows(&d))
        TRY(refuse(&d));
    *out = d.picture;
    d.picture.pixels = NULL;
out:
    close_decoder(&d);
    return status;
}

enum fdit_status fdit_jpeg_size(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                int *width, int *height)
{
    enum fdit_status status = FDIT_OK;
    struct decoder d = { .ctx = ctx, .name = name, .n = n };
    TRY(begin(&d, bytes));
    *width = (int)d.jpeg.image_width;
    *height = (int)d.jpeg.image_height;
out:
    close_decoder(&d);
    return status;
}

#else

static enum fdit_status refuse(fdit_context *ctx, const char *name)
{
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "%s: is JPEG, and this program was built without "
                     "libjpeg; install libjpeg-turbo's headers and run configure again, or convert "
                     "the pictures to PNG", name);
}

enum fdit_status fdit_jpeg_decode(fdit_context *ctx, const uint8_t *bytes, size_t n,
                                  const char *name, struct fdit_picture *out)
{
    (void)bytes;
    (void)n;
    *out = (struct fdit_picture){ 0 };
    return refuse(ctx, name);
}

enum fdit_status fdit_jpeg_size(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                int *width, int *height)
{
    (void)bytes;
    (void)n;
    *width = *height = 0;
    return refuse(ctx, name);
}

#endif
