/* SPDX-License-Identifier: Apache-2.0 */
#include "format/npz.h"

#include "core/file.h"
#include "core/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { LOCAL_BYTES = 30, ENTRY_BYTES = 46, END_BYTES = 22, MOST_HEADER = 512, CHUNK = 1 << 16 };

/* One array on its way into the file. */
struct entry {
    const struct fdit_npz_array *array;
    char header[MOST_HEADER]; /* of the array */
    size_t header_bytes, elements, bytes;
    uint64_t place;
    uint32_t crc;
};

static void put16(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static void put32(uint8_t *p, size_t v)
{
    put16(p, v & 0xffff);
    put16(p + 2, v >> 16 & 0xffff);
}

/* Format 1.0: the dictionary, blanks, and a line end, to a multiple of 64 bytes. */
static void make_header(struct entry *e)
{
    const struct fdit_npz_array *a = e->array;
    const char *type = a->type == FDIT_ST_F32 ? "<f4" : a->type == FDIT_ST_F64 ? "<f8" : "<i8";
    char shape[128] = "";
    e->elements = 1;
    for (int k = 0; k < a->rank; k++) {
        size_t at = strlen(shape);
        snprintf(shape + at, sizeof shape - at, "%s%" PRId64 "%s", k ? " " : "", a->shape[k],
                 k + 1 < a->rank || a->rank == 1 ? "," : "");
        e->elements *= (size_t)a->shape[k];
    }
    memset(e->header, ' ', sizeof e->header);
    memcpy(e->header, "\x93NUMPY\1", 8);
    int n = snprintf(e->header + 10, sizeof e->header - 10,
                     "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", type, shape);
    e->header[10 + n] = ' ';
    e->header_bytes = ((size_t)n + 10 + 1 + 63) / 64 * 64;
    e->header[e->header_bytes - 1] = '\n';
    put16((uint8_t *)e->header + 8, e->header_bytes - 10);
    e->bytes = e->elements * fdit_st_type_bytes(a->type);
}

/* The numbers in the file's order, in pieces: into the checksum, and into the file where w is not NULL. */
static enum fdit_status put_numbers(fdit_context *ctx, struct fdit_writer *w, struct entry *e)
{
    enum fdit_status status = FDIT_OK;
    uint8_t piece[CHUNK];
    for (size_t done = 0; done < e->bytes;) {
        size_t n = e->bytes - done < sizeof piece ? e->bytes - done : sizeof piece;
        memcpy(piece, (const uint8_t *)e->array->data + done, n);
        fdit_st_swap(e->array->type, n / fdit_st_type_bytes(e->array->type), piece);
        e->crc = (uint32_t)crc32_z(e->crc, piece, n);
        if (w)
            TRY(fdit_writer_write(ctx, w, piece, n));
        done += n;
    }
out:
    return status;
}

/* What the entry in the directory and the member's own header share, from "version needed" on. */
static void put_common(uint8_t *p, const struct entry *e)
{
    size_t name = strlen(e->array->name) + 4, bytes = e->header_bytes + e->bytes;
    put16(p, 20);
    put16(p + 8, 0x21); /* the first of January 1980: the same bytes at any time */
    put32(p + 10, e->crc);
    put32(p + 14, bytes);
    put32(p + 18, bytes);
    put16(p + 22, name);
}

static enum fdit_status put_name(fdit_context *ctx, struct fdit_writer *w, const struct entry *e)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_writer_write(ctx, w, e->array->name, strlen(e->array->name)));
    TRY(fdit_writer_write(ctx, w, ".npy", 4));
out:
    return status;
}

static enum fdit_status put_member(fdit_context *ctx, struct fdit_writer *w, struct entry *e)
{
    enum fdit_status status = FDIT_OK;
    uint8_t local[LOCAL_BYTES] = "PK\3\4";
    e->place = fdit_writer_bytes(w);
    e->crc = (uint32_t)crc32_z(0, (const Bytef *)e->header, e->header_bytes);
    TRY(put_numbers(ctx, NULL, e));
    put_common(local + 4, e);
    TRY(fdit_writer_write(ctx, w, local, sizeof local));
    TRY(put_name(ctx, w, e));
    TRY(fdit_writer_write(ctx, w, e->header, e->header_bytes));
    TRY(put_numbers(ctx, w, &(struct entry){ .array = e->array, .bytes = e->bytes }));
out:
    return status;
}

static enum fdit_status put_directory(fdit_context *ctx, struct fdit_writer *w, const struct entry *entries,
                                      size_t n)
{
    enum fdit_status status = FDIT_OK;
    uint64_t begin = fdit_writer_bytes(w);
    uint8_t end[END_BYTES] = "PK\5\6";
    for (size_t i = 0; i < n; i++) {
        uint8_t entry[ENTRY_BYTES] = "PK\1\2";
        put16(entry + 4, 20);
        put_common(entry + 6, &entries[i]);
        put32(entry + 42, (size_t)entries[i].place);
        TRY(fdit_writer_write(ctx, w, entry, sizeof entry));
        TRY(put_name(ctx, w, &entries[i]));
    }
    put16(end + 8, n);
    put16(end + 10, n);
    put32(end + 12, (size_t)(fdit_writer_bytes(w) - begin));
    put32(end + 16, (size_t)begin);
    TRY(fdit_writer_write(ctx, w, end, sizeof end));
out:
    return status;
}

enum fdit_status fdit_npz_write(fdit_context *ctx, const char *path, const struct fdit_npz_array *arrays,
                                size_t n)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_writer *w = NULL;
    struct entry *entries = NULL;
    uint64_t bytes = 0;
    TRY(fdit_alloc(ctx, n, sizeof *entries, &entries));
    for (size_t i = 0; i < n; i++) {
        entries[i].array = &arrays[i];
        make_header(&entries[i]);
        bytes += entries[i].bytes + entries[i].header_bytes + 1024;
    }
    if (bytes >= UINT32_MAX || n > 4096)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "%s: %" PRIu64 " bytes are too many for an .npz file; write a .safetensors file", path, bytes);
    TRY(fdit_writer_open(ctx, path, true, &w));
    for (size_t i = 0; i < n; i++)
        TRY(put_member(ctx, w, &entries[i]));
    TRY(put_directory(ctx, w, entries, n));
    TRY(fdit_writer_commit(ctx, &w));
out:
    fdit_writer_abort(w);
    fdit_free(entries);
    return status;
}
