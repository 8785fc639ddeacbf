/* SPDX-License-Identifier: Apache-2.0
 * libpng reports errors with longjmp. Every setjmp is in a function of its own that keeps its state in
 * a struct of the caller, so that no local variable changes between the two. */
#include "picture/png.h"

#include "core/file.h"
#include "core/mem.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SIDE 0x7fffffff

/* ------------------------------------------------------------------ decoding */

struct decoder {
    fdit_context *ctx;
    const char *name;
    const struct fdit_picture_rules *rules;
    const struct fdit_row_sink *sink;
    enum fdit_status status; /* of the sink */
    const uint8_t *bytes;
    size_t n, at;
    png_structp png;
    png_infop info;
    uint32_t width, height, y;
    bool alpha;
    uint8_t *whole, **rows; /* of an interlaced picture */
    uint8_t *row;           /* with alpha */
    char reason[128];
    bool cut_off, no_memory;
};

static PNG_NORETURN void on_error(png_structp png, png_const_charp message)
{
    struct decoder *d = png_get_error_ptr(png);
    if (d && message)
        snprintf(d->reason, sizeof d->reason, "%s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message; /* odd colour profiles and the like: nothing we use */
}

static png_voidp on_malloc(png_structp png, png_alloc_size_t n)
{
    struct decoder *d = png_get_mem_ptr(png);
    void *p = malloc(n);
    if (!p)
        d->no_memory = true;
    return p;
}

static void on_free(png_structp png, png_voidp p)
{
    (void)png;
    free(p);
}

static void on_read(png_structp png, png_bytep out, size_t n)
{
    struct decoder *d = png_get_io_ptr(png);
    if (n > d->n - d->at) {
        d->cut_off = true;
        png_error(png, "ends too early");
    }
    memcpy(out, d->bytes + d->at, n);
    d->at += n;
}

static bool open_decoder(struct decoder *d)
{
    d->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, d, on_error, on_warning, d, on_malloc, on_free);
    d->info = d->png ? png_create_info_struct(d->png) : NULL;
    if (!d->info)
        return false;
    png_set_read_fn(d->png, d, on_read);
    return true;
}

static void close_decoder(struct decoder *d)
{
    png_destroy_read_struct(&d->png, &d->info, NULL);
    fdit_free(d->rows);
    fdit_free(d->whole);
    fdit_free(d->row);
}

static bool read_header(struct decoder *d)
{
    if (setjmp(png_jmpbuf(d->png)))
        return false;
    static const png_byte unused[] = "bKGD\0cHRM\0eXIf\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0"
                                     "sBIT\0sCAL\0sPLT\0sRGB\0tEXt\0tIME\0zTXt";
    /* our own limit on the area gives the better message */
    png_set_user_limits(d->png, MAX_SIDE, MAX_SIDE);
    png_set_chunk_malloc_max(d->png, 1 << 30); /* a long text is not a reason to refuse a picture, */
    png_set_keep_unknown_chunks(d->png, PNG_HANDLE_CHUNK_NEVER, unused, sizeof unused / 5);
    png_set_keep_unknown_chunks(d->png, PNG_HANDLE_CHUNK_NEVER, NULL, 0); /* it is passed over */
#ifdef PNG_MAXIMUM_INFLATE_WINDOW /* some writers state a smaller window than they used */
    png_set_option(d->png, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON);
#endif
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION /* changed bytes must get past the checksums */
    png_set_crc_action(d->png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
#endif
    png_read_info(d->png, d->info);
    d->width = png_get_image_width(d->png, d->info);
    d->height = png_get_image_height(d->png, d->info);
    d->alpha = d->rules->matte && ((png_get_color_type(d->png, d->info) & PNG_COLOR_MASK_ALPHA) ||
                                   png_get_valid(d->png, d->info, PNG_INFO_tRNS));
    return true;
}

static bool set_transforms(struct decoder *d)
{
    if (setjmp(png_jmpbuf(d->png)))
        return false;
    png_set_expand(d->png);   /* palette to RGB, fewer bits to 8, a transparent colour to alpha */
    png_set_strip_16(d->png); /* the high byte, without rounding */
    if (!d->alpha)
        png_set_strip_alpha(d->png); /* not blended */
    png_set_gray_to_rgb(d->png);
    png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
    if (png_get_rowbytes(d->png, d->info) != (d->alpha ? 4 : 3) * (size_t)d->width)
        png_error(d->png, "unknown kind of pixels");
    return true;
}

/* Row d->y with alpha at `from`, or already where the sink wants it. */
static bool give_row(struct decoder *d, const uint8_t *from)
{
    if (d->alpha)
        fdit_row_matte(d->rules, from, d->width, d->sink->row(d->sink->self, (int)d->y));
    else if (from)
        memcpy(d->sink->row(d->sink->self, (int)d->y), from, 3 * (size_t)d->width);
    d->status = d->sink->done(d->sink->self, (int)d->y++);
    return d->status == FDIT_OK;
}

static bool read_rows(struct decoder *d)
{
    if (setjmp(png_jmpbuf(d->png)))
        return false;
    if (d->rows)
        png_read_image(d->png, d->rows);
    while (d->y < d->height) {
        uint8_t *from = d->rows ? d->rows[d->y] : d->row;
        if (!d->rows)
            png_read_row(d->png, d->row ? d->row : d->sink->row(d->sink->self, (int)d->y), NULL);
        if (!give_row(d, from))
            return false;
    }
    return true;
}

static enum fdit_status refuse(const struct decoder *d)
{
    if (d->status != FDIT_OK)
        return d->status;
    if (d->no_memory)
        return fdit_fail(d->ctx, FDIT_ERROR_MEMORY, "out of memory in libpng");
    return fdit_fail(d->ctx, FDIT_ERROR_FORMAT,
                     "%s: the PNG picture of %zu bytes is %s (%s); get it "
                     "again or remove it",
                     d->name, d->n, d->cut_off ? "cut off" : "damaged", d->reason);
}

enum fdit_status fdit_png_decode(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                 const struct fdit_picture_rules *rules, const struct fdit_row_sink *sink)
{
    enum fdit_status status = FDIT_OK;
    struct decoder d = { .ctx = ctx, .name = name, .rules = rules, .sink = sink, .bytes = bytes, .n = n };
    if (!open_decoder(&d))
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory in libpng");
    if (!read_header(&d) || !set_transforms(&d))
        TRY(refuse(&d));
    size_t row = (d.alpha ? 4 : 3) * (size_t)d.width;
    if (png_get_interlace_type(d.png, d.info) != PNG_INTERLACE_NONE) {
        TRY(fdit_alloc(ctx, d.height, row, &d.whole));
        TRY(fdit_alloc(ctx, d.height, sizeof *d.rows, &d.rows));
        for (size_t y = 0; y < d.height; y++)
            d.rows[y] = d.whole + y * row;
    } else if (d.alpha) {
        TRY(fdit_alloc(ctx, row, 1, &d.row));
    }
    TRY(sink->begin(sink->self, (int)d.width, (int)d.height));
    if (!read_rows(&d))
        TRY(refuse(&d));
out:
    close_decoder(&d);
    return status;
}

/* ------------------------------------------------------------------ encoding */

struct encoder {
    fdit_context *ctx;
    const struct fdit_picture *picture;
    png_text *texts; /* [n_texts] */
    int n_texts;
    enum fdit_status status;
    png_structp png;
    png_infop info;
    struct fdit_writer *file; /* NULL: into bytes */
    uint8_t *bytes;
    size_t n, capacity;
};

static PNG_NORETURN void on_encode_error(png_structp png, png_const_charp message)
{
    (void)message;
    png_longjmp(png, 1);
}

static enum fdit_status take_bytes(struct encoder *e, const uint8_t *bytes, size_t n)
{
    enum fdit_status status = FDIT_OK;
    if (e->file)
        return fdit_writer_write(e->ctx, e->file, bytes, n);
    TRY(fdit_grow(e->ctx, &e->bytes, &e->capacity, e->n + n, 1));
    memcpy(e->bytes + e->n, bytes, n);
    e->n += n;
out:
    return status;
}

static void on_write(png_structp png, png_bytep bytes, size_t n)
{
    struct encoder *e = png_get_io_ptr(png);
    e->status = take_bytes(e, bytes, n);
    if (e->status != FDIT_OK)
        png_error(png, "writing");
}

static void on_flush(png_structp png)
{
    (void)png;
}

static bool encode(struct encoder *e)
{
    const struct fdit_picture *p = e->picture;
    if (setjmp(png_jmpbuf(e->png)))
        return false;
    png_set_write_fn(e->png, e, on_write, on_flush);
    png_set_user_limits(e->png, MAX_SIDE, MAX_SIDE);
    png_set_IHDR(e->png, e->info, (png_uint_32)p->width, (png_uint_32)p->height, 8,
                 p->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (e->n_texts)
        png_set_text(e->png, e->info, e->texts, e->n_texts);
    png_write_info(e->png, e->info);
    size_t row = (size_t)p->width * (size_t)p->channels;
    for (int y = 0; y < p->height; y++)
        png_write_row(e->png, p->pixels + (size_t)y * row);
    png_write_end(e->png, NULL);
    return true;
}

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((*text < 0x20 && *text != '\n') || (unsigned char)*text > 0x7e)
            return false;
    return true;
}

/* To where *e says. */
static enum fdit_status run_encoder(struct encoder *e, const struct fdit_png_text *texts, size_t n_texts)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_picture *p = e->picture;
    if (p->width < 1 || p->height < 1)
        FAIL(e->ctx, FDIT_ERROR_ARGUMENT, "a picture of %d x %d cannot be written as PNG", p->width,
             p->height);
    TRY(fdit_alloc(e->ctx, n_texts, sizeof *e->texts, &e->texts));
    for (size_t i = 0; i < n_texts; i++) /* libpng copies them */
        e->texts[e->n_texts++] =
            (png_text){ .compression =
                            is_ascii(texts[i].value) ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE,
                        .key = (char *)(uintptr_t)texts[i].key,
                        .text = (char *)(uintptr_t)texts[i].value,
                        .text_length = strlen(texts[i].value) };
    e->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, e, on_encode_error, on_warning);
    e->info = e->png ? png_create_info_struct(e->png) : NULL;
    if (!e->info)
        FAIL(e->ctx, FDIT_ERROR_MEMORY, "out of memory while writing a PNG picture");
    if (!encode(e)) {
        TRY(e->status);
        FAIL(e->ctx, FDIT_ERROR_MEMORY, "out of memory while writing a picture of %d x %d as PNG", p->width,
             p->height);
    }
out:
    png_destroy_write_struct(&e->png, &e->info);
    fdit_free(e->texts);
    return status;
}

enum fdit_status fdit_png_encode_with(fdit_context *ctx, const struct fdit_picture *p,
                                      const struct fdit_png_text *texts, size_t n_texts, uint8_t **bytes,
                                      size_t *n)
{
    struct encoder e = { .ctx = ctx, .picture = p, .status = FDIT_OK };
    enum fdit_status status = run_encoder(&e, texts, n_texts);
    if (status != FDIT_OK)
        fdit_free(e.bytes);
    *bytes = status == FDIT_OK ? e.bytes : NULL;
    *n = status == FDIT_OK ? e.n : 0;
    return status;
}

enum fdit_status fdit_png_encode(fdit_context *ctx, const struct fdit_picture *p, uint8_t **bytes, size_t *n)
{
    return fdit_png_encode_with(ctx, p, NULL, 0, bytes, n);
}

enum fdit_status fdit_png_write_with(fdit_context *ctx, const char *path, const struct fdit_picture *p,
                                     const struct fdit_png_text *texts, size_t n_texts)
{
    enum fdit_status status = FDIT_OK;
    struct encoder e = { .ctx = ctx, .picture = p, .status = FDIT_OK };
    TRY(fdit_writer_open(ctx, path, false, &e.file));
    TRY(run_encoder(&e, texts, n_texts));
    TRY(fdit_writer_commit(ctx, &e.file));
out:
    fdit_writer_abort(e.file);
    return status;
}

enum fdit_status fdit_png_write(fdit_context *ctx, const char *path, const struct fdit_picture *p)
{
    return fdit_png_write_with(ctx, path, p, NULL, 0);
}
