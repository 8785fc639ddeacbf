/* SPDX-License-Identifier: Apache-2.0 */
#include "format/pt_zip.h"

#include "core/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_LIBZIP

#include <zip.h>

struct fdit_pt_zip {
    const char *file;
    const uint8_t *bytes;
    size_t size, at;
    size_t read_at; /* where libzip's last read began: how a member's place is learnt */
    zip_error_t error;
    zip_t *zip;
    const char **names; /* of its n members; zip's */
    const char ***sorted;
    size_t n;
    bool has_sums;
};

static zip_int64_t do_read(struct fdit_pt_zip *z, void *data, zip_uint64_t length)
{
    size_t left = z->size - z->at, n = length < left ? (size_t)length : left;
    if (n)
        memcpy(data, z->bytes + z->at, n);
    z->read_at = z->at;
    z->at += n;
    return (zip_int64_t)n;
}

/* The mapped bytes as libzip wants to see a file. */
static zip_int64_t source(void *user, void *data, zip_uint64_t length, zip_source_cmd_t what)
{
    struct fdit_pt_zip *z = user;
    zip_int64_t to;
    switch (what) {
    case ZIP_SOURCE_OPEN: z->at = 0; return 0;
    case ZIP_SOURCE_READ: return do_read(z, data, length);
    case ZIP_SOURCE_STAT: {
        zip_stat_t *st = data;
        if (length < sizeof *st)
            return -1;
        zip_stat_init(st);
        st->size = z->size;
        st->valid |= ZIP_STAT_SIZE;
        return sizeof *st;
    }
    case ZIP_SOURCE_SEEK:
        to = zip_source_seek_compute_offset(z->at, z->size, data, length, &z->error);
        if (to < 0)
            return -1;
        z->at = (size_t)to;
        return 0;
    case ZIP_SOURCE_TELL: return (zip_int64_t)z->at;
    case ZIP_SOURCE_ERROR: return zip_error_to_data(&z->error, data, length);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE: return 0;
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_STAT,
                                              ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_ERROR,
                                              ZIP_SOURCE_CLOSE, ZIP_SOURCE_FREE, ZIP_SOURCE_SUPPORTS, -1);
    default: zip_error_set(&z->error, ZIP_ER_OPNOTSUPP, 0); return -1;
    }
}

static int by_name(const void *pa, const void *pb)
{
    const char **const *a = pa, **const *b = pb;
    return strcmp(**a, **b);
}

/* The directory: libzip would look through all of it for each name. */
static enum fdit_status list_members(fdit_context *ctx, struct fdit_pt_zip *z)
{
    enum fdit_status status = FDIT_OK;
    size_t n = (size_t)zip_get_num_entries(z->zip, 0);
    TRY(fdit_alloc(ctx, n, sizeof *z->names, &z->names));
    TRY(fdit_alloc(ctx, n, sizeof *z->sorted, &z->sorted));
    for (; z->n < n; z->n++) {
        zip_stat_t st;
        z->names[z->n] = zip_get_name(z->zip, z->n, ZIP_FL_ENC_RAW);
        z->sorted[z->n] = &z->names[z->n];
        if (!z->names[z->n] || zip_stat_index(z->zip, z->n, 0, &st) != 0)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: member %zu of the zip cannot be read (%s)", z->file, z->n,
                 zip_strerror(z->zip));
        z->has_sums = z->has_sums || (st.valid & ZIP_STAT_CRC && st.crc);
    }
    if (n)
        qsort(z->sorted, n, sizeof *z->sorted, by_name);
out:
    return status;
}

/* libzip calls a zip damaged in some of the places where it has no memory; malloc leaves its mark. errno must
 * have been 0 before. */
static bool no_memory(zip_error_t *error)
{
    return errno == ENOMEM || zip_error_code_zip(error) == ZIP_ER_MEMORY;
}

enum fdit_status fdit_pt_zip_open(fdit_context *ctx, const char *file, const uint8_t *bytes, size_t n,
                                  struct fdit_pt_zip **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_zip *z = NULL;
    zip_source_t *from = NULL;
    zip_error_t error;
    zip_error_init(&error);
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *z, &z));
    z->file = file;
    z->bytes = bytes;
    z->size = n;
    zip_error_init(&z->error);
    errno = 0;
    from = zip_source_function_create(source, z, &error);
    if (from)
        z->zip = zip_open_from_source(from, ZIP_RDONLY, &error);
    if (!z->zip && no_memory(&error))
        FAIL(ctx, FDIT_ERROR_MEMORY, "%s: out of memory while reading the directory of the zip", file);
    if (!z->zip)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: begins like a zip file, but has no whole directory at its end (%s); it is cut off "
             "or damaged, get it again",
             file, zip_error_strerror(&error));
    from = NULL; /* the zip's now */
    TRY(list_members(ctx, z));
    *out = z;
    z = NULL;
out:
    if (from)
        zip_source_free(from);
    zip_error_fini(&error);
    fdit_pt_zip_close(z);
    return status;
}

void fdit_pt_zip_close(struct fdit_pt_zip *z)
{
    if (!z)
        return;
    if (z->zip)
        zip_discard(z->zip);
    zip_error_fini(&z->error);
    fdit_free(z->names);
    fdit_free(z->sorted);
    fdit_free(z);
}

const char *fdit_pt_zip_name(const struct fdit_pt_zip *z, size_t i)
{
    return i < z->n ? z->names[i] : NULL;
}

bool fdit_pt_zip_has_sums(const struct fdit_pt_zip *z)
{
    return z->has_sums;
}

bool fdit_pt_zip_find(const struct fdit_pt_zip *z, const char *name, size_t *i)
{
    const char **at = &name, **const *key = &at;
    const char **const *found = z->n ? bsearch(key, z->sorted, z->n, sizeof *z->sorted, by_name) : NULL;
    if (!found)
        return false;
    *i = (size_t)(*found - z->names);
    return true;
}

enum fdit_status fdit_pt_zip_member(fdit_context *ctx, struct fdit_pt_zip *z, size_t i, const uint8_t **data,
                                    size_t *n, uint32_t *crc)
{
    enum fdit_status status = FDIT_OK;
    zip_file_t *f = NULL;
    zip_stat_t st;
    uint8_t first;
    const char *name = fdit_pt_zip_name(z, i);
    const zip_uint64_t need =
        ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD | ZIP_STAT_CRC;
    if (!name || zip_stat_index(z->zip, i, 0, &st) != 0 || (st.valid & need) != need)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: member %zu of the zip has no sizes or checksum; the file is damaged, get it again", z->file,
             i);
    if (st.comp_method != ZIP_CM_STORE || st.encryption_method != ZIP_EM_NONE)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "%s: %.100s is compressed or encrypted, which torch.save does not do; load the file in "
             "PyTorch and save it again",
             z->file, name);
    *crc = st.crc;
    if (st.size == 0) {
        *data = z->bytes;
        *n = 0;
        return FDIT_OK;
    }
    /* A byte is read to see from where: there is no other way to ask libzip for the place. */
    errno = 0;
    f = zip_fopen_index(z->zip, i, ZIP_FL_COMPRESSED);
    if (!f && no_memory(zip_get_error(z->zip)))
        FAIL(ctx, FDIT_ERROR_MEMORY, "%s: out of memory while reading %.100s", z->file, name);
    if (!f || zip_fread(f, &first, 1) != 1 || st.comp_size != st.size || st.size > z->size - z->read_at ||
        z->bytes[z->read_at] != first)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: %.100s is not where the zip's directory says, or not whole; "
             "the file is damaged, get it again",
             z->file, name);
    *data = z->bytes + z->read_at;
    *n = (size_t)st.size;
out:
    if (f)
        zip_fclose(f);
    return status;
}

#else

enum fdit_status fdit_pt_zip_open(fdit_context *ctx, const char *file, const uint8_t *bytes, size_t n,
                                  struct fdit_pt_zip **out)
{
    (void)bytes;
    (void)n;
    *out = NULL;
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                     "%s: is a torch file in a zip, and this program was built without libzip; build it "
                     "with libzip-dev, or save the tensors as safetensors",
                     file);
}

void fdit_pt_zip_close(struct fdit_pt_zip *z)
{
    (void)z;
}

const char *fdit_pt_zip_name(const struct fdit_pt_zip *z, size_t i)
{
    (void)z;
    (void)i;
    return NULL;
}

bool fdit_pt_zip_has_sums(const struct fdit_pt_zip *z)
{
    (void)z;
    return false;
}

bool fdit_pt_zip_find(const struct fdit_pt_zip *z, const char *name, size_t *i)
{
    (void)z;
    (void)name;
    (void)i;
    return false;
}

enum fdit_status fdit_pt_zip_member(fdit_context *ctx, struct fdit_pt_zip *z, size_t i, const uint8_t **data,
                                    size_t *n, uint32_t *crc)
{
    (void)z;
    (void)i;
    (void)data;
    (void)n;
    (void)crc;
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "this program was built without libzip");
}

#endif
