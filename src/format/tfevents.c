/* SPDX-License-Identifier: Apache-2.0
 * tfevents.c: TFRecords with hand-encoded protocol buffers. Field numbers: tensorflow's event.proto
 * and summary.proto. */
#include "format/tfevents.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/mem.h"

#include <string.h>

struct fdit_tfevents {
    char *path;
    struct fdit_appender *file;
    uint8_t *record; /* one record at a time */
    size_t used, capacity;
};

enum {
    EVENT_WALL_TIME = 1,    /* double */
    EVENT_STEP = 2,         /* int64 */
    EVENT_FILE_VERSION = 3, /* string */
    EVENT_SUMMARY = 5,      /* Summary */
    EVENT_SESSION_LOG = 7,  /* SessionLog */
    SUMMARY_VALUE = 1,      /* repeated Value */
    VALUE_TAG = 1,          /* string */
    VALUE_SIMPLE = 2,       /* float */
    VALUE_IMAGE = 4,        /* Image */
    IMAGE_HEIGHT = 1,
    IMAGE_WIDTH = 2,
    IMAGE_COLORSPACE = 3, /* 1 grey, 3 RGB */
    IMAGE_ENCODED = 4,    /* bytes */
    SESSION_STATUS = 1,   /* enum */
    SESSION_START = 1,
};
enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
enum { HEADER_BYTES = 12, CRC_BYTES = 4 };

/* ------------------------------------------------------------------------------------- crc32c */

/* Remainders of four bits; polynomial 0x82f63b78 (reflected). */
static const uint32_t crc_table[16] = {
    0x00000000u, 0x105ec76fu, 0x20bd8edeu, 0x30e349b1u, 0x417b1dbcu, 0x5125dad3u, 0x61c69362u, 0x7198540du,
    0x82f63b78u, 0x92a8fc17u, 0xa24bb5a6u, 0xb21572c9u, 0xc38d26c4u, 0xd3d3e1abu, 0xe330a81au, 0xf36e6f75u,
};

uint32_t fdit_crc32c(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        crc = (crc >> 4) ^ crc_table[crc & 15];
        crc = (crc >> 4) ^ crc_table[crc & 15];
    }
    return ~crc;
}

uint32_t fdit_crc32c_mask(uint32_t crc)
{
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

/* ----------------------------------------------------------------------------------- encoding */

static size_t varint_bytes(uint64_t value)
{
    size_t n = 1;
    while (value >>= 7)
        n++;
    return n;
}

static size_t key_bytes(int field)
{
    return varint_bytes((uint64_t)field << 3);
}

/* Bytes of a length-delimited field that holds n bytes. */
static size_t delimited_bytes(int field, size_t n)
{
    return key_bytes(field) + varint_bytes(n) + n;
}

/* The writers below rely on room made by begin_record. */
static void put(struct fdit_tfevents *w, const void *bytes, size_t n)
{
    if (n > 0)
        memcpy(w->record + w->used, bytes, n);
    w->used += n;
}

static void put_varint(struct fdit_tfevents *w, uint64_t value)
{
    for (; value >= 128; value >>= 7)
        w->record[w->used++] = (uint8_t)(value | 128);
    w->record[w->used++] = (uint8_t)value;
}

static void put_fixed(struct fdit_tfevents *w, uint64_t bits, int n)
{
    for (int i = 0; i < n; i++)
        w->record[w->used++] = (uint8_t)(bits >> (8 * i));
}

static void put_key(struct fdit_tfevents *w, int field, enum wire wire)
{
    put_varint(w, (uint64_t)field << 3 | wire);
}

static void put_number(struct fdit_tfevents *w, int field, uint64_t value)
{
    put_key(w, field, WIRE_VARINT);
    put_varint(w, value);
}

static void put_bytes(struct fdit_tfevents *w, int field, const void *bytes, size_t n)
{
    put_key(w, field, WIRE_BYTES);
    put_varint(w, n);
    put(w, bytes, n);
}

/* Starts an event of `step` with room for `body` bytes behind wall time and step. */
static enum fdit_status begin_record(fdit_context *ctx, struct fdit_tfevents *w, int64_t step, size_t body)
{
    enum fdit_status status = FDIT_OK;
    const double date = fdit_clock_date();
    uint64_t bits;
    size_t need;

    if (!fdit_add(body, HEADER_BYTES + CRC_BYTES + 64, &need))
        FAIL(ctx, FDIT_ERROR_MEMORY, "%s: an event of %zu bytes", w->path, body);
    TRY(fdit_grow(ctx, &w->record, &w->capacity, need, 1));
    w->used = HEADER_BYTES;
    memcpy(&bits, &date, sizeof bits);
    put_key(w, EVENT_WALL_TIME, WIRE_FIXED64);
    put_fixed(w, bits, 8);
    if (step != 0)
        put_number(w, EVENT_STEP, (uint64_t)step);
out:
    return status;
}

/* Adds length and checks, and appends the record to the file. */
static enum fdit_status end_record(fdit_context *ctx, struct fdit_tfevents *w)
{
    const size_t end = w->used, n = end - HEADER_BYTES;
    w->used = 0;
    put_fixed(w, n, 8);
    put_fixed(w, fdit_crc32c_mask(fdit_crc32c(w->record, 8)), 4);
    w->used = end;
    put_fixed(w, fdit_crc32c_mask(fdit_crc32c(w->record + HEADER_BYTES, n)), 4);
    return fdit_appender_write(ctx, w->file, w->record, w->used);
}

/* ------------------------------------------------------------------------------------- events */

static enum fdit_status write_start(fdit_context *ctx, struct fdit_tfevents *w, int64_t first_step)
{
    static const char version[] = "brain.Event:2";
    enum fdit_status status = FDIT_OK;

    TRY(begin_record(ctx, w, 0, 64));
    put_bytes(w, EVENT_FILE_VERSION, version, sizeof version - 1);
    TRY(end_record(ctx, w));
    if (first_step > 0) {
        TRY(begin_record(ctx, w, first_step, 64));
        put_key(w, EVENT_SESSION_LOG, WIRE_BYTES);
        put_varint(w, 2);
        put_number(w, SESSION_STATUS, SESSION_START);
        TRY(end_record(ctx, w));
    }
out:
    return status;
}

static enum fdit_status free_path(fdit_context *ctx, const char *folder, char **out)
{
    const long long seconds = (long long)fdit_clock_date();
    enum fdit_status status = FDIT_OK;
    for (int n = 0;; n++) {
        TRY(fdit_strf(ctx, out, "%s/events.out.tfevents.%010lld.%03d", folder, seconds, n));
        if (!fdit_file_exists(*out))
            return FDIT_OK;
        fdit_free(*out);
        *out = NULL;
    }
out:
    return status;
}

enum fdit_status fdit_tfevents_open(fdit_context *ctx, const char *folder, int64_t first_step,
                                    struct fdit_tfevents **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_tfevents *w = NULL;

    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *w, &w));
    TRY(free_path(ctx, folder, &w->path));
    TRY(fdit_appender_open(ctx, w->path, 0, &w->file));
    TRY(write_start(ctx, w, first_step));
    *out = w;
    return FDIT_OK;
out:
    if (w != NULL && w->file != NULL)
        fdit_file_remove(NULL, w->path);
    fdit_tfevents_close(NULL, w);
    return status;
}

const char *fdit_tfevents_path(const struct fdit_tfevents *w)
{
    return w->path;
}

enum fdit_status fdit_tfevents_scalars(fdit_context *ctx, struct fdit_tfevents *w, int64_t step, size_t n,
                                       const char *const *tags, const float *values)
{
    enum fdit_status status = FDIT_OK;
    size_t summary = 0;

    for (size_t i = 0; i < n; i++)
        summary += delimited_bytes(SUMMARY_VALUE, delimited_bytes(VALUE_TAG, strlen(tags[i])) + 5);
    TRY(begin_record(ctx, w, step, delimited_bytes(EVENT_SUMMARY, summary)));
    put_key(w, EVENT_SUMMARY, WIRE_BYTES);
    put_varint(w, summary);
    for (size_t i = 0; i < n; i++) {
        const size_t tag = strlen(tags[i]);
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        put_key(w, SUMMARY_VALUE, WIRE_BYTES);
        put_varint(w, delimited_bytes(VALUE_TAG, tag) + 5);
        put_bytes(w, VALUE_TAG, tags[i], tag);
        put_key(w, VALUE_SIMPLE, WIRE_FIXED32);
        put_fixed(w, bits, 4);
    }
    TRY(end_record(ctx, w));
out:
    return status;
}

enum fdit_status fdit_tfevents_image(fdit_context *ctx, struct fdit_tfevents *w, int64_t step,
                                     const char *tag, int width, int height, int channels, const uint8_t *png,
                                     size_t bytes)
{
    enum fdit_status status = FDIT_OK;
    const uint64_t h = (uint64_t)height, wide = (uint64_t)width, colours = (uint64_t)channels;
    const size_t tag_bytes = strlen(tag);
    const size_t numbers = 3 + varint_bytes(h) + varint_bytes(wide) + varint_bytes(colours);
    const size_t image = numbers + delimited_bytes(IMAGE_ENCODED, bytes);
    const size_t value = delimited_bytes(VALUE_TAG, tag_bytes) + delimited_bytes(VALUE_IMAGE, image);
    const size_t summary = delimited_bytes(SUMMARY_VALUE, value);

    TRY(begin_record(ctx, w, step, delimited_bytes(EVENT_SUMMARY, summary)));
    put_key(w, EVENT_SUMMARY, WIRE_BYTES);
    put_varint(w, summary);
    put_key(w, SUMMARY_VALUE, WIRE_BYTES);
    put_varint(w, value);
    put_bytes(w, VALUE_TAG, tag, tag_bytes);
    put_key(w, VALUE_IMAGE, WIRE_BYTES);
    put_varint(w, image);
    put_number(w, IMAGE_HEIGHT, h);
    put_number(w, IMAGE_WIDTH, wide);
    put_number(w, IMAGE_COLORSPACE, colours);
    put_bytes(w, IMAGE_ENCODED, png, bytes);
    TRY(end_record(ctx, w));
out:
    return status;
}

enum fdit_status fdit_tfevents_close(fdit_context *ctx, struct fdit_tfevents *w)
{
    if (w == NULL)
        return FDIT_OK;
    enum fdit_status status = fdit_appender_close(ctx, w->file);
    fdit_free(w->record);
    fdit_free(w->path);
    fdit_free(w);
    return status;
}
