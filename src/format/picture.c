/* SPDX-License-Identifier: Apache-2.0 */
#include "format/picture.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/jpeg.h"
#include "format/png.h"
#include "format/webp.h"

#include <string.h>

#define MAX_FILE ((size_t)1 << 31)

enum fdit_status fdit_picture_new(fdit_context *ctx, int width, int height, int channels,
                                  struct fdit_picture *out)
{
    memset(out, 0, sizeof *out);
    if (width < 1 || height < 1 || (channels != 1 && channels != 3) ||
        (uint64_t)width * (uint64_t)height > FDIT_PICTURE_MAX_PIXELS)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "a picture of %d x %d with %d channels is not "
                         "possible; at most 2^28 pixels in 1 or 3 channels", width, height,
                         channels);
    enum fdit_status status = fdit_alloc(ctx, (size_t)width * (size_t)height, (size_t)channels,
                                         &out->pixels);
    if (status == FDIT_OK) {
        out->width = width;
        out->height = height;
        out->channels = channels;
    }
    return status;
}

void fdit_picture_fini(struct fdit_picture *p)
{
    if (!p)
        return;
    fdit_free(p->pixels);
    memset(p, 0, sizeof *p);
}

bool fdit_picture_is_name(const char *name)
{
    return fdit_path_has_suffix(name, ".png") || fdit_path_has_suffix(name, ".jpg") ||
           fdit_path_has_suffix(name, ".jpeg") || fdit_path_has_suffix(name, ".webp");
}

enum fdit_status fdit_picture_refuse(fdit_context *ctx, const uint8_t *bytes, size_t n, uint64_t size,
                                     const char *name)
{
    struct fdit_picture_kind kind = fdit_picture_kind(bytes, n);
    if (size == 0)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: the picture is empty; get it again", name);
    if (kind.name)
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "%s: is %s, pictures must be PNG, JPEG or "
                         "WebP; %s", name, kind.name, kind.remedy);
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "%s: is neither PNG nor JPEG nor WebP (%llu bytes, the "
                     "first is 0x%02x); convert or remove it", name, (unsigned long long)size,
                     n ? bytes[0] : 0);
}

enum fdit_status fdit_picture_decode(fdit_context *ctx, const uint8_t *bytes, size_t n,
                                     const char *name, struct fdit_picture *out)
{
    memset(out, 0, sizeof *out);
    switch (fdit_picture_sniff(bytes, n)) {
    case FDIT_PICTURE_PNG: return fdit_png_decode(ctx, bytes, n, name, out);
    case FDIT_PICTURE_JPEG: return fdit_jpeg_decode(ctx, bytes, n, name, out);
    case FDIT_PICTURE_WEBP: return fdit_webp_decode(ctx, bytes, n, name, out);
    case FDIT_PICTURE_UNKNOWN: break;
    }
    return fdit_picture_refuse(ctx, bytes, n, n, name);
}

enum fdit_status fdit_picture_size(fdit_context *ctx, const uint8_t *bytes, size_t n,
                                   const char *name, int *width, int *height)
{
    *width = *height = 0;
    switch (fdit_picture_sniff(bytes, n)) {
    case FDIT_PICTURE_PNG: return fdit_png_size(ctx, bytes, n, name, width, height);
    case FDIT_PICTURE_JPEG: return fdit_jpeg_size(ctx, bytes, n, name, width, height);
    case FDIT_PICTURE_WEBP: return fdit_webp_size(ctx, bytes, n, name, width, height);
    case FDIT_PICTURE_UNKNOWN: break;
    }
    return fdit_picture_refuse(ctx, bytes, n, n, name);
}

enum fdit_status fdit_picture_read(fdit_context *ctx, const char *path, struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    uint8_t *bytes = NULL;
    size_t n = 0;
    memset(out, 0, sizeof *out);
    TRY(fdit_file_read_all(ctx, path, MAX_FILE, &bytes, &n));
    TRY(fdit_picture_decode(ctx, bytes, n, path, out));
out:
    fdit_free(bytes);
    return status;
}
