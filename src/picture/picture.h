/* SPDX-License-Identifier: Apache-2.0
 * picture.h: 8-bit pictures in memory, and decoding by what the first bytes say. */
#ifndef FDIT_PICTURE_PICTURE_H
#define FDIT_PICTURE_PICTURE_H

#include "core/status.h"

#define FDIT_PICTURE_MAX_PIXELS (UINT64_C(1) << 28)

struct fdit_picture {
    int width, height, channels; /* channels 1 (grey) or 3 (RGB) */
    uint8_t *pixels;             /* [height][width][channels] */
};

/* A black picture; sides of at least 1 and at most 2^28 pixels, else FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_picture_new(fdit_context *ctx, int width, int height, int channels,
                                  struct fdit_picture *out);
/* planes [channels, height, width], as caches keep them, into the pixels of p, which has those sides. */
void fdit_picture_from_planes(const uint8_t *planes, struct fdit_picture *p);
void fdit_picture_fini(struct fdit_picture *p); /* frees the pixels, zeroes the struct; NULL allowed */

enum fdit_picture_format { FDIT_PICTURE_UNKNOWN, FDIT_PICTURE_PNG, FDIT_PICTURE_JPEG, FDIT_PICTURE_WEBP };
enum { FDIT_PICTURE_SNIFF_BYTES = 12, FDIT_PICTURE_KIND_BYTES = 512 };
/* From the first bytes, of which FDIT_PICTURE_SNIFF_BYTES are enough. */
enum fdit_picture_format fdit_picture_sniff(const uint8_t *bytes, size_t n);

/* What a file is by its first bytes, of which FDIT_PICTURE_KIND_BYTES are enough. */
struct fdit_picture_kind {
    const char *name;                /* "PNG", "HEIC", "TIFF or a camera's raw file"; NULL: no picture */
    enum fdit_picture_format format; /* FDIT_PICTURE_UNKNOWN: not read by this program */
    const char *remedy;              /* of those that are not read: "convert it to PNG or JPEG" */
};
struct fdit_picture_kind fdit_picture_kind(const uint8_t *bytes, size_t n);
/* FDIT_ERROR_UNSUPPORTED with the kind and its remedy, for a file that begins with these bytes and is none
 * of the formats that are read; `size` is the whole file's. Empty: FDIT_ERROR_FORMAT. */
enum fdit_status fdit_picture_refuse(fdit_context *ctx, const uint8_t *bytes, size_t n, uint64_t size,
                                     const char *name);
/* Whether a status says that the picture at hand is broken or cannot be read, and others may be good: what
 * --skip-bad leaves out. */
bool fdit_picture_is_bad(enum fdit_status status);
/* By the end of a file's name: .png, .jpg, .jpeg, .webp in any case. */
bool fdit_picture_is_name(const char *name);

/* How the pixels of a file become a picture. All zero: as they are stored, alpha dropped without blending
 * (the published pipeline's way). */
struct fdit_picture_rules {
    bool exif;         /* turn and mirror as EXIF says */
    bool matte;        /* blend transparent pixels over `ground`; else alpha is dropped */
    uint8_t ground[3]; /* RGB */
    size_t limit;      /* bytes that reading one picture may take; 0: no limit */
};
/* What users get where they say nothing: turned as EXIF says, on white. */
struct fdit_picture_rules fdit_picture_rules_usual(void);
/* "exif" or "none"; "white", "black", "none" or "#rrggbb". `option` begins the message. */
enum fdit_status fdit_orient_parse(fdit_context *ctx, const char *option, const char *text,
                                   struct fdit_picture_rules *rules);
enum fdit_status fdit_matte_parse(fdit_context *ctx, const char *option, const char *text,
                                  struct fdit_picture_rules *rules);
/* The same back as text. */
const char *fdit_orient_text(const struct fdit_picture_rules *rules);
const char *fdit_matte_text(const struct fdit_picture_rules *rules, char out[8]);

/* Any PNG, JPEG or WebP to RGB (channels 3): grey is copied to the three channels, palettes are looked up,
 * of 16 bits the high byte is taken, colour profiles are ignored; rules NULL: all zero. `name` stands in
 * messages. Broken or cut off: FDIT_ERROR_FORMAT; more than 2^28 pixels, or fewer bytes than so many
 * pixels can be held in: FDIT_ERROR_FORMAT before memory is allocated; JPEG in a build without libjpeg,
 * WebP in one without libwebp, another format, or more memory than the limit: FDIT_ERROR_UNSUPPORTED; out
 * of memory: FDIT_ERROR_MEMORY with the name and the size. */
enum fdit_status fdit_picture_decode_as(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                        const struct fdit_picture_rules *rules, struct fdit_picture *out);
/* The same with rules NULL. */
enum fdit_status fdit_picture_decode(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                     struct fdit_picture *out);
/* Width and height from the header alone. */
enum fdit_status fdit_picture_size(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                   int *width, int *height);
/* Decodes a file, rules all zero. */
enum fdit_status fdit_picture_read(fdit_context *ctx, const char *path, struct fdit_picture *out);

/* Whether this build decodes them. */
bool fdit_jpeg_available(void);
bool fdit_webp_available(void);

#endif
